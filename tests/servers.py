"""Servers that tests and benchmarks start on loopback: ports for them, and when they listen."""

from __future__ import annotations

import contextlib
import socket
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import subprocess

_PATIENCE_S: Final = 60.0
"""A bound, no measurement: the machine may be busy with other tests."""


def free_ports(count: int) -> list[int]:
    """Loopback ports that were free a moment ago, no two the same."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    return free_ports(1)[0]


def listens(process: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until ``process`` takes connections at ``port``; False when it ends before, or a minute has passed."""
    end = time.monotonic() + _PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False
