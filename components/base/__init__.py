"""What every room uses: the settings base, quantities, problems, names, versions and handles."""
