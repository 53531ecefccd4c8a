"""Processes that the language host starts and must not leave behind."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Generator

_STOP_GRACE_S: Final = 4.0
"""Seconds between SIGTERM and SIGKILL. The engine kills the host 5 s after it asks it to stop."""


class Children:
    """Child processes of this host."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()

    @contextlib.contextmanager
    def run(self, arguments: list[str], **options: Any) -> Generator[subprocess.Popen[bytes]]:
        """Start a program and stop it when the context ends."""
        process = subprocess.Popen(arguments, **options)
        with self._lock:
            self._running.add(process)
        try:
            yield process
        finally:
            stop(process)
            with self._lock:
                self._running.discard(process)

    def stop_all(self) -> None:
        """Stop every child."""
        with self._lock:
            running = list(self._running)
        for process in running:
            if process.poll() is None:
                process.terminate()
        for process in running:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop ``process`` if it still runs: with SIGTERM, then SIGKILL."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_STOP_GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
