"""Triton itself: its settings, the values of its chart, its component, and the metrics that scale it."""
