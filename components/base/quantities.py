"""Numbers in the spelling that Kubernetes and Prometheus store them in, so that what is declared reads back unchanged."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Final

_STEPS: Final = ((1_000_000_000_000, "G"), (1_000_000_000, "M"), (1_000_000, "k"), (1_000, ""), (1, "m"))
"""Thousandths in one of each unit, largest first."""


def quantity(value: float) -> str:
    """Return ``value`` as a canonical decimal Kubernetes quantity: 50000 -> ``50k``, 16 -> ``16``, 0.5 -> ``500m``.

    The API server stores the canonical form; any other spelling would read back as a difference. Rounded to a thousandth, the unit that
    the autoscaler computes in. Raises ValueError for a number that is not at least a thousandth: no target can be met there.
    """
    thousandths = round(Decimal(str(value)) * 1000) if math.isfinite(value) else 0
    if thousandths <= 0:
        message = f"{value!r} is no target of a metric: it would be refused, or never met. Write a number of at least 0.001."
        raise ValueError(message)
    unit, suffix = next(step for step in _STEPS if thousandths % step[0] == 0)
    return f"{thousandths // unit}{suffix}"


def prometheus_duration(seconds: float) -> str:
    """Return a Prometheus duration: whole seconds where it is one (``60s``), else milliseconds, at least 1 (``2500ms``)."""
    if float(seconds).is_integer():
        return f"{int(seconds)}s"
    return f"{max(1, round(seconds * 1000))}ms"


def whole_seconds(seconds: float) -> int:
    """Return ``seconds`` rounded up: Kubernetes takes whole seconds, and rounding a budget down would break it."""
    return math.ceil(seconds)
