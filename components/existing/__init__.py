"""A cluster that exists already."""
