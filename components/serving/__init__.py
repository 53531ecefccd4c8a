"""Triton itself: the chart's typed values, its component, and what scales it."""
