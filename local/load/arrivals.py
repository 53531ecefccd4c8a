"""When requests are sent: an open loop with Poisson arrivals, computed in advance.

In an open loop a slow server does not slow the clients down, as with real users; latency counts from the time at which a request was due.
(A closed loop was rejected: its clients wait for answers, so the queue that the autoscaler should see never grows.)
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A time span with a constant mean rate."""

    name: str
    seconds: float
    rps: float
    """Mean requests per second; 0 sends nothing."""


def phases(*, base_rps: float, surge_rps: float, seconds: float) -> tuple[Phase, ...]:
    """Base rate for a sixth of the time, surge for two thirds, base for the last sixth.

    Raises:
        ValueError: a rate or the time is not above 0, or the surge is below the base.
    """
    if not (base_rps > 0 and seconds > 0 and surge_rps >= base_rps):
        asked = f"base {base_rps:g}/s, surge {surge_rps:g}/s, {seconds:g} s"
        message = f"{asked}: rates and time must be above 0, and the surge at least the base"
        raise ValueError(message)
    return (
        Phase(name="base", seconds=seconds / 6, rps=base_rps),
        Phase(name="surge", seconds=seconds * 2 / 3, rps=surge_rps),
        Phase(name="base", seconds=seconds / 6, rps=base_rps),
    )


def arrivals(plan: Sequence[Phase], seed: int) -> Iterator[float]:
    """Yield when requests are due, in seconds from the start: exponential gaps in each phase, reproducible by ``seed``."""
    chance = random.Random(seed)  # noqa: S311 (not for security)
    begin = 0.0
    for phase in plan:
        end = begin + phase.seconds
        moment = begin
        while phase.rps > 0:
            moment += chance.expovariate(phase.rps)
            if moment >= end:
                break
            yield moment
        begin = end


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of ``values`` at ``share`` (0.99 for p99); 0.0 if empty."""
    if not values:
        return 0.0
    ordered = sorted(values)
    rank = max(0, min(len(ordered), math.ceil(len(ordered) * share)) - 1)
    return ordered[rank]
