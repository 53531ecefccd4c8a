"""How a third-party chart is installed, and where charts come from."""
