"""Messages to the engine: permanent lines, or a status next to the resource, which the next one replaces."""

from __future__ import annotations

import threading
from typing import Any, Protocol


class Log(Protocol):
    """Receives messages."""

    def info(self, urn: str, text: str) -> None:
        """Log information."""

    def warning(self, urn: str, text: str) -> None:
        """Log a warning."""

    def error(self, urn: str, text: str) -> None:
        """Log an error."""

    def status(self, urn: str, text: str) -> None:
        """Show progress; an empty text clears it."""


class EngineLog:
    """The engine's Log call. Messages that can't be delivered are dropped: the engine has exited."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stub: Any = None
        self._lock = threading.Lock()
        self._last: dict[str, str] = {}
        self._protocol: Any = None
        if address:
            # Import now: while another thread imports the whole SDK (`light.whole_packages`), an import of a part of it would find
            # incomplete packages.
            import grpc  # noqa: PLC0415  # not needed by the pure modules and their tests
            from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc  # noqa: PLC0415

            self._protocol = (grpc, engine_pb2, engine_pb2_grpc)

    def info(self, urn: str, text: str) -> None:
        """See `Log`."""
        self._send(1, urn, text, ephemeral=False)

    def warning(self, urn: str, text: str) -> None:
        """See `Log`."""
        self._send(2, urn, text, ephemeral=False)

    def error(self, urn: str, text: str) -> None:
        """See `Log`."""
        self._send(3, urn, text, ephemeral=False)

    def status(self, urn: str, text: str) -> None:
        """See `Log`."""
        with self._lock:
            if self._last.get(urn, "") == text:
                return
            self._last[urn] = text
        self._send(1, urn, text, ephemeral=True)

    def _send(self, severity: int, urn: str, text: str, *, ephemeral: bool) -> None:
        if self._protocol is None:
            return
        grpc, engine_pb2, engine_pb2_grpc = self._protocol
        with self._lock:
            if self._stub is None:
                self._stub = engine_pb2_grpc.EngineStub(grpc.insecure_channel(self._address))
        request = engine_pb2.LogRequest(
            severity=engine_pb2.LogSeverity.ValueType(severity), message=text, urn=urn, streamId=0, ephemeral=ephemeral
        )
        try:
            self._stub.Log(request, timeout=10)
        except grpc.RpcError:
            return
