"""What the SDK tells the engine for `--debug`, sent a few times a second instead of some five times a resource.

Pulumi's SDK reports each step of each registration and waits for each answer, whether somebody reads it or not: a seventh of what a preview
of 75 resources costs. A program is never told whether it runs with `--debug`, so nothing is left out: what comes within `PAUSE_S` is one
message of many lines. Warnings and errors go at once, after what was said before them.
"""

from __future__ import annotations

import atexit
import contextlib
import threading
from typing import TYPE_CHECKING, Final

import grpc
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import get_engine

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

PAUSE_S: Final = 0.2
"""Seconds that a message waits for others."""


class DebugLog:
    """Stands for the engine's ``Log`` call. Called from any thread."""

    def __init__(self, send: Callable[[Message], object]) -> None:
        """Hand everything to ``send`` in the end."""
        self._send = send
        self._lock = threading.Lock()
        self._lines: list[str] = []

    def __call__(self, request: engine_pb2.LogRequest) -> None:
        """Log a message; as the SDK's own call, it raises grpc.RpcError when the engine is not there to hear it at once."""
        if request.severity != engine_pb2.DEBUG or request.urn:
            self.flush()
            self._send(request)
            return
        with self._lock:
            self._lines.append(request.message)
            if len(self._lines) > 1:
                return
        # Nothing runs on the event loop while the program declares, which is when it says most.
        later = threading.Timer(PAUSE_S, self.flush)
        later.daemon = True
        later.start()

    def flush(self) -> None:
        """Send what has gathered. Returns when it is sent, also when another thread does so."""
        with self._lock:
            lines, self._lines = self._lines, []
            if lines:
                # An engine that is gone reads no log, and whoever needs it for more is told so.
                with contextlib.suppress(grpc.RpcError):
                    self._send(engine_pb2.LogRequest(severity=engine_pb2.DEBUG, message="\n".join(lines)))


def gather_debug_messages() -> None:
    """From here on. Does nothing where no engine listens, as under tests' mocks."""
    engine = get_engine()
    if engine is None or not hasattr(engine, "Log"):
        return
    log = DebugLog(engine.Log)
    engine.Log = log
    atexit.register(log.flush)
