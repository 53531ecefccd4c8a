"""Time in a double: the real clouds' delays, scaled.

Delays are written down as the real clouds have them. A pace of 0 leaves all of them out, 1/60 makes a minute a second. What is under way is
judged by the machine's clock, so that every process sees the same state.
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.doubles import PACE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping


class Cancelled(Exception):  # noqa: N818  # an order, no mistake
    """The engine asked to stop while something was under way."""


@dataclass
class Clock:
    """The pace of one run."""

    pace: float = 0.0
    """Seconds here for one second there."""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def scaled(self, seconds: float) -> float:
        """How long ``seconds`` of the real cloud take here, in seconds."""
        return seconds * self.pace

    def due(self, seconds: float) -> float:
        """When something that starts now and takes ``seconds`` there is done here (seconds since the epoch)."""
        return time.time() + self.scaled(seconds)

    def wait(self, seconds: float) -> None:
        """Let ``seconds`` of the real cloud pass. Raises Cancelled."""
        self.wait_until(self.due(seconds))

    def wait_until(self, due: float) -> None:
        """Wait for a time since the epoch, in seconds. Raises Cancelled."""
        if self.cancelled.is_set():
            raise Cancelled
        left = due - time.time()
        if left > 0 and self.cancelled.wait(left):
            raise Cancelled


def from_environment(environment: Mapping[str, str] | None = None) -> Clock:
    """The clock that the environment sets.

    Raises:
        ValueError: The variable is set, and no number.
    """
    text = (os.environ if environment is None else environment).get(PACE_VARIABLE, "0")
    try:
        pace = float(text)
    except ValueError:
        message = f"{PACE_VARIABLE}={text!r} is no number: the doubles would not know how long a second is. Set 0, or 1/60 as 0.01667."
        raise ValueError(message) from None
    if not 0 <= pace < float("inf"):
        message = f"{PACE_VARIABLE}={text} is no length of a second. Set 0 (all at once) or more."
        raise ValueError(message)
    return Clock(pace)
