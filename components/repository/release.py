"""Releases in an object store: whole or absent, shared, kept, rolled back to, collected. Knows nothing of Pulumi or of any one store.

`layout.py` says what lies where. Safe to kill at any moment and to run again. Two owners may publish and collect at the same time: who
publishes first marks, then looks for garbage; who collects first says what is garbage, then looks at the marks again. One of the two sees
the other.
"""

from __future__ import annotations

from components.repository.collect import Collector
from components.repository.live import Live
from components.repository.publish import Publisher


class Releases(Publisher, Collector, Live):
    """All releases below one prefix of one bucket, as one owner sees them."""
