"""A cluster that already exists."""
