"""Waits with generous limits: where these tests run may be many times slower and busier than where they were written."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT_S = 300.0


def until(condition: Callable[[], Any], what: str, timeout_s: float = LIMIT_S, pause_s: float = 0.2) -> Any:
    """The first true answer of ``condition``; an exception counts as not yet."""
    deadline = time.monotonic() + timeout_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            last = condition()
        except Exception as error:  # noqa: BLE001 (whatever it is, it may pass)
            last = error
        else:
            if last:
                return last
        time.sleep(pause_s)
    pytest.fail(f"{what} never came: {last!r}")
