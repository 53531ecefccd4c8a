"""What every room uses: settings base, quantities, errors, names, versions, handles."""
