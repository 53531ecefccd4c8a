"""Releases below one prefix of a bucket. Knows neither Pulumi nor any one store.

A release is whole or absent: the process may be killed at any moment and run again. Two stacks may publish and collect at the same time:
a publisher writes its claim before it looks for deletion markers, and a collector writes its marker before it looks for claims again, so
that one of the two sees the other.
"""

from __future__ import annotations

from components.repository.release.collect import Collector
from components.repository.release.publish import Publisher
from components.repository.release.stable import StablePrefix


class Catalog(Publisher, Collector, StablePrefix):
    """All releases below one prefix, as one stack sees them."""
