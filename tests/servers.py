"""How tests and benchmarks deal with other processes: ports of their own, and waits for what those processes do.

Another process listens some time after it starts, counts after it answers, and writes its log when it likes. A test that looks once passes
or fails by chance: look with `eventually`, and at a log or a page through `Text`, which can only be waited for.
tests/unit/architecture/test_waits.py keeps this the only place that sleeps, fetches pages or reads logs.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

T = TypeVar("T")

PATIENCE_S: Final = 300.0
"""Longest wait, in seconds. It only ends what hangs: the machine may be many times slower than the author's, and busy with other tests."""
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.3
_TAIL: Final = 4000
_PORTS: Final = range(20000, 32000)
"""Outside of the range from which systems take ports for outgoing connections (from 32768 on Linux, from 49152 elsewhere)."""


# ------------------------------------------------------------------ waits
def eventually(
    ask: Callable[[], T],
    what: str,
    holds: Callable[[T], object] = bool,
    *,
    process: subprocess.Popen[Any] | None = None,
    log: Text | None = None,
    within_s: float = PATIENCE_S,
) -> T:
    """Ask until the answer is the expected one, and return it.

    Args:
        ask: Asked at least once. An exception counts as "not yet", and is told when nothing better comes.
        what: Names the expected state in the failure, such as "two ready pods".
        holds: Whether an answer is the expected one; by default, whether it is true.
        process: Fail as soon as this process has ended.
        log: What the failure shows beside the last answer.
        within_s: Longest wait, in seconds.

    Raises:
        AssertionError: The expected answer did not come.
    """
    end, pause = time.monotonic() + within_s, _FIRST_PAUSE_S
    while True:
        over = f"not within {within_s:.0f} s" if time.monotonic() > end else ""
        if process is not None and process.poll() is not None:
            over = f"the process ended with {process.returncode}"
        last: object
        try:
            answer = ask()
            if holds(answer):
                return answer
            last = answer
        except Exception as error:  # noqa: BLE001 (whatever it is, it may pass)
            last = error
        if over:
            raise AssertionError(f"{what}: {over}; last: {last!r}" + (f"\n{log._tail()}" if log else ""))
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE_S)


def fetch(url: str, body: bytes | None = None, *, headers: Mapping[str, str] | None = None, timeout_s: float = 60.0) -> tuple[int, str]:
    """Status and text that a server on loopback answers now: for what is true once it is asked, such as the result of a call.

    Raises:
        OSError: No answer.
    """
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(urllib.request.Request(url, data=body, headers=dict(headers or {})), timeout=timeout_s) as answer:  # noqa: S310 (loopback)
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@dataclass(frozen=True)
class Text:
    """A text that another process writes: a log file (a path) or a page (a URL). It can only be waited for."""

    _source: Path | str
    _process: subprocess.Popen[Any] | None = None
    """The process that writes: nothing more comes once it has ended."""

    def when(self, holds: Callable[[str], object], what: str) -> str:
        """The text, as soon as ``holds`` is true of it. Raises AssertionError when it never is."""
        return eventually(self._read, f"{what} in {self._source}", holds, process=self._process)

    def having(self, *parts: str) -> str:
        """The text, as soon as it has all ``parts``. Raises AssertionError when it never has."""
        return self.when(lambda text: all(part in text for part in parts), " and ".join(map(repr, parts)))

    def _tail(self) -> str:
        """The end of the text, for the message of a failure."""
        try:
            return self._read()[-_TAIL:]
        except OSError as error:
            return f"({error})"

    def _read(self) -> str:
        if isinstance(self._source, Path):
            return self._source.read_text(encoding="utf-8", errors="replace")
        status, text = fetch(self._source)
        assert status < 400, f"{self._source} answers {status}"
        return text


@contextlib.contextmanager
def running(command: Sequence[str | Path], port: int, environment: Mapping[str, str] | None = None) -> Generator[int | None]:
    """Start a server that ends with the context. Gives its process number as soon as it listens at ``port``, None when it never does."""
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:

        def connected() -> int:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return process.pid

        number: int | None = None
        try:
            with contextlib.suppress(AssertionError):
                number = eventually(connected, "a server that listens", process=process)
            yield number
        finally:
            process.terminate()


def ended(*marks: str) -> None:
    """Wait until no other process has all ``marks`` in its command line and environment."""

    def left() -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                text = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
                if folder.name != str(os.getpid()) and all(mark.encode() in text for mark in marks):
                    found.append(folder.name)
        return found

    eventually(left, f"the end of all processes of {marks}", lambda found: found == [])


# ------------------------------------------------------------------ ports
def hold(ports: Iterable[int]) -> bool:
    """Take loopback ports for this process, until it ends; False when one is in use, or another process of tests holds it.

    Between a look at a port and the moment at which a server binds it, another process of the tests would find it free as well. Each port
    therefore has a lock file that stays locked as long as this process lives.
    """
    folder = Path(tempfile.gettempdir(), f"triton-fleet-test-ports-{os.getuid()}")
    folder.mkdir(exist_ok=True)
    held: list[int] = []
    try:
        for port in ports:
            held.append(os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o600))
            fcntl.flock(held[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.create_server(("127.0.0.1", port)):
                pass
    except OSError:
        for lock in held:
            os.close(lock)
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Loopback ports for servers that this process starts, each held by it alone (`hold`)."""
    found: list[int] = []
    for port in random.sample(_PORTS, len(_PORTS)):
        if len(found) == count:
            break
        if hold([port]):
            found.append(port)
    return found


def free_port() -> int:
    """One of `free_ports`."""
    return free_ports(1)[0]
