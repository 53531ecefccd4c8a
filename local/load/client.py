"""Send inferences, each on its own connection, and record the results.

One connection per request, because kube-proxy chooses a pod for each connection: a new pod gets its share at once. A client with a
connection pool would stay with the old pods.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

MODEL: Final = "busy"
MAX_IN_FLIGHT: Final = 1500
"""Most requests in flight: limits file descriptors of this process and the forwarder. Requests beyond it are sent late, and their latency
shows it, because it counts from the due time."""
_ATTEMPT_S: Final = 60.0
_HEADER_END: Final = b"\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One request."""

    due: float
    """Seconds from the start of the run."""
    latency: float
    """Seconds from its due time until the complete answer or the failure."""
    error: str | None


@dataclass(kw_only=True)
class Recorder:
    """Results so far; the display reads them during the run."""

    results: list[Result] = field(default_factory=list)
    sent: int = 0
    in_flight: int = 0

    @property
    def failed(self) -> list[Result]:
        """Requests without a correct answer."""
        return [result for result in self.results if result.error is not None]


class AnswerError(Exception):
    """The server's answer is not the correct inference."""


def request_bytes(host: str, value: float) -> bytes:
    """The HTTP request for one inference of `MODEL` with ``value``."""
    body = json.dumps({"inputs": [{"name": "INPUT", "shape": [1, 1], "datatype": "FP32", "data": [value]}]}).encode()
    head = (
        f"POST /v2/models/{MODEL}/infer HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def check_answer(answer: bytes, value: float) -> None:
    """Raise AnswerError unless ``answer`` is a complete HTTP response that echoes ``value``."""
    head, separator, body = answer.partition(_HEADER_END)
    if not separator:
        message = f"connection closed after {len(answer)} bytes"
        raise AnswerError(message)
    status = head.split(b"\r\n", 1)[0].decode("latin-1")
    if " 200 " not in f"{status} ":
        message = f"{status}: {body[:200].decode('utf-8', 'replace')}"
        raise AnswerError(message)
    try:
        outputs = json.loads(body)["outputs"]
        echoed = float(outputs[0]["data"][0])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        message = f"the response contains no inference ({error!r})"
        raise AnswerError(message) from error
    if echoed != value:
        message = f"sent {value:g}, got {echoed:g}"
        raise AnswerError(message)


class Client:
    """Sends requests to ``base`` (``http://host:port``) when they are due."""

    def __init__(self, base: str, recorder: Recorder) -> None:
        split = urlsplit(base)
        if split.scheme != "http" or split.hostname is None:
            message = f"{base!r} must be http://host:port"
            raise ValueError(message)
        self._host, self._port = split.hostname, split.port or 80
        self._recorder = recorder
        self._limit = asyncio.Semaphore(MAX_IN_FLIGHT)

    async def send(self, due: Iterable[float], began: float, stop: asyncio.Event) -> None:
        """Send a request at each time in ``due`` (seconds after ``began``, monotonic clock) until ``stop``; return when all have ended."""
        async with asyncio.TaskGroup() as group:
            for number, moment in enumerate(due):
                left = began + moment - time.monotonic()
                if left > 0:
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(stop.wait(), left)
                if stop.is_set():
                    break
                await self._limit.acquire()
                group.create_task(self._one(moment, began, float(number % 1024)))

    async def _one(self, due: float, began: float, value: float) -> None:
        recorder = self._recorder
        recorder.sent += 1
        recorder.in_flight += 1
        error: str | None = None
        try:
            async with asyncio.timeout(_ATTEMPT_S):
                await self._exchange(value)
        except TimeoutError:
            error = f"no answer within {_ATTEMPT_S:.0f} s"
        except (OSError, AnswerError, asyncio.IncompleteReadError) as problem:
            error = str(problem) or type(problem).__name__
        finally:
            recorder.in_flight -= 1
            self._limit.release()
        recorder.results.append(Result(due=due, latency=time.monotonic() - began - due, error=error))

    async def _exchange(self, value: float) -> None:
        reader, writer = await asyncio.open_connection(self._host, self._port)
        try:
            writer.write(request_bytes(f"{self._host}:{self._port}", value))
            await writer.drain()
            answer = await reader.read(-1)
        finally:
            writer.close()
        check_answer(answer, value)
