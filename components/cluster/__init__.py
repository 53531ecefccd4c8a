"""Clusters: where the fleet runs."""
