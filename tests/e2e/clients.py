"""Clients that keep their gRPC connection, as services do, and count what is lost."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import tritonclient.grpc as grpc_client

from local.cli import verify
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

PAUSE_S = 0.1
CALL_LIMIT_S = 30.0
MOST = 6000  # calls of one client: the end of a test that hangs elsewhere


@dataclass(kw_only=True)
class Calls:
    """What all clients saw."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, problem: str | None) -> None:
        with self._lock:
            if problem is None:
                self.answered += 1
            else:
                self.failed.append(problem)


def _call(server: grpc_client.InferenceServerClient, inputs: list[grpc_client.InferInput]) -> str | None:
    """One inference; what was wrong with it, or None."""
    try:
        result = server.infer(verify.MODEL, inputs, client_timeout=CALL_LIMIT_S)
    except grpc_client.InferenceServerException as error:
        return str(error)
    total = tuple(float(value) for value in result.as_numpy("OUTPUT0").reshape(-1))
    return None if total == verify.SUM else f"a wrong answer: {total}"


def _serve(target: str, calls: Calls, stop: threading.Event) -> None:
    inputs = []
    for name, data in (("INPUT0", verify.FIRST), ("INPUT1", verify.SECOND)):
        inputs.append(grpc_client.InferInput(name, [1, 16], "FP32"))
        inputs[-1].set_data_from_numpy(np.array([data], dtype=np.float32))
    # The channel is this client's alone: tritonclient would share one between clients of the same address. No proxy is asked for loopback.
    options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]
    server = grpc_client.InferenceServerClient(target, channel_args=options)
    try:
        for _ in range(MOST):
            if stop.wait(PAUSE_S):
                return
            calls.note(_call(server, inputs))
    finally:
        server.close()


@contextlib.contextmanager
def kept_connections(target: str, count: int) -> Iterator[Calls]:
    """``count`` clients, each of which calls ``target`` (host:port on loopback) ten times a second at most, until the end of this."""
    calls, stop = Calls(), threading.Event()
    threads = [threading.Thread(target=_serve, args=(target, calls, stop)) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: calls.answered or calls.failed, "an answer to the first call")
        yield calls
    finally:
        stop.set()
        for thread in threads:
            thread.join()
