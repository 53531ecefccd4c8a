"""Progress of long jobs: the current step, its time, its estimate, and the estimate of what is left.

The modules of ``local/`` depend only on `Reporter`; `TerminalReporter` is the implementation for people. Steps may nest and may run in
several threads at once. On a terminal the running step redraws its line; elsewhere (a log, CI) each step prints a line when it starts and
when it ends, and a heartbeat in between, so that the log shows the times.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from contextvars import ContextVar
from dataclasses import dataclass
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Final, Protocol, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from contextlib import AbstractContextManager

_HEARTBEAT_S: Final = 60.0
"""Seconds between two heartbeats of a long step in a log: CI systems kill jobs that print nothing for about ten minutes."""
_REDRAW_S: Final = 0.5
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
_WORTH_SAYING_S: Final = 2.0
"""In a log, a nested step that succeeds in less time prints no line."""
_depth: ContextVar[int] = ContextVar("triton_fleet_progress_depth", default=0)


class Reporter(Protocol):
    """Receives the progress of a long job."""

    def step(self, name: str, estimate_s: float | None = None) -> AbstractContextManager[None]:
        """Return a context for the step ``name``; ``estimate_s`` is its expected duration in seconds."""
        ...

    def note(self, text: str) -> None:
        """Print a message."""
        ...


class SilentReporter:
    """Prints nothing: for tests, and for commands whose output is read by a program."""

    @contextlib.contextmanager
    def step(self, name: str, estimate_s: float | None = None) -> Generator[None]:  # noqa: ARG002 (the protocol's names)
        """Do nothing around the work."""
        yield

    def note(self, text: str) -> None:
        """Drop ``text``."""


def duration(seconds: float) -> str:
    """Format seconds for people: ``0.4 s``, ``42 s``, ``3 min 05 s``, ``1 h 10 min``."""
    if seconds < 9.95:  # noqa: PLR2004 (one decimal only below ten)
        return f"{max(seconds, 0.0):.1f} s"
    if seconds < _MINUTE - 0.5:
        return f"{seconds:.0f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def about(seconds: float) -> str:
    """Format an estimate, rounded: ``a moment``, ``about 40 s``, ``about 12 min``."""
    if seconds < _WORTH_SAYING_S:
        return "a moment"
    if seconds < 90:  # noqa: PLR2004
        return f"about {max(5, round(seconds / 5) * 5)} s"
    if seconds < _HOUR * 1.5:
        return f"about {round(seconds / 60)} min"
    return f"about {seconds / 3600:.1f} h"


@dataclass
class _Running:
    name: str
    estimate_s: float | None
    started: float
    depth: int
    number: int | None
    said: float
    announced: bool


class TerminalReporter:
    """Shows steps to people.

    Args:
        stream: the output; a terminal gets a line that redraws itself, anything else plain lines. Standard error by default, which leaves
            standard output for results.
        plan: names of the top-level steps and their expected seconds. They are numbered (``[3/9]``), and `begin` announces the total.
        clock: monotonic seconds; a substitute in tests.
    """

    def __init__(
        self,
        stream: TextIO | None = None,
        plan: Sequence[tuple[str, float | None]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream if stream is not None else sys.stderr
        self._tty = self._stream.isatty()
        self._clock = clock
        self._plan: list[tuple[str, float | None]] = list(plan)
        self._done = 0
        self._began = clock()
        self._running: list[_Running] = []
        self._lock = threading.RLock()
        self._painted = False
        self._hidden = False
        self._wake = threading.Event()
        self._painter: threading.Thread | None = None

    # ------------------------------------------------------------------ for commands
    def begin(self, title: str, plan: Sequence[tuple[str, float | None]] | None = None) -> None:
        """Print ``title``, the number of steps and their total estimate."""
        with self._lock:
            if plan is not None:
                self._plan = list(plan)
            self._done = 0
            total = sum(estimate or 0.0 for _, estimate in self._plan)
            expected = f"{len(self._plan)} steps, {about(total)}" if self._plan else ""
            self._line(f"{title}: {expected}" if expected else title)

    def revise(self, name: str, estimate_s: float) -> None:
        """Replace the estimate of a planned step that has not started."""
        with self._lock:
            self._plan = [(step, estimate_s if step == name else estimate) for step, estimate in self._plan]

    def elapsed(self) -> float:
        """Seconds since this reporter was created."""
        return self._clock() - self._began

    @contextlib.contextmanager
    def step(self, name: str, estimate_s: float | None = None) -> Generator[None]:
        """Show ``name`` as running until the context ends; a failure is shown and propagates."""
        depth = _depth.get()
        token = _depth.set(depth + 1)
        now = self._clock()
        number, estimate = self._numbered(name, depth, estimate_s)
        running = _Running(name=name, estimate_s=estimate, started=now, depth=depth, number=number, said=now, announced=False)
        with self._lock:
            self._running.append(running)
            if not self._tty and (depth == 0 or (estimate or 0.0) >= _WORTH_SAYING_S):
                running.announced = True
                self._line(f"{self._head(running)} ... ({about(estimate)})" if estimate else f"{self._head(running)} ...")
            self._start_painter()
        failed = True
        try:
            yield
            failed = False
        finally:
            _depth.reset(token)
            with self._lock:
                self._running.remove(running)
                self._finished(running, failed=failed)
                if not self._running:
                    self._wake.set()

    def note(self, text: str) -> None:
        """Print ``text`` above the running line, indented like the innermost step."""
        indent = "  " * _depth.get()
        with self._lock:
            for line in text.splitlines() or [""]:
                self._line(f"{indent}{line}")

    def raw(self, line: str) -> None:
        """Print one line of another program's output above the running line, unchanged."""
        with self._lock:
            self._line(line)

    @property
    def is_terminal(self) -> bool:
        """Whether the output is a terminal."""
        return self._tty

    @contextlib.contextmanager
    def hidden(self) -> Generator[None]:
        """Leave the terminal to another program until the context ends."""
        with self._lock:
            self._hidden = True
            if self._painted:
                self._stream.write("\r\x1b[K")
                self._stream.flush()
                self._painted = False
        try:
            yield
        finally:
            with self._lock:
                self._hidden = False

    # ------------------------------------------------------------------ drawing
    def _numbered(self, name: str, depth: int, estimate_s: float | None) -> tuple[int | None, float | None]:
        if depth:
            return None, estimate_s
        with self._lock:
            for index, (planned, expected) in enumerate(self._plan, start=1):
                if planned == name:
                    return index, estimate_s if estimate_s is not None else expected
        return None, estimate_s

    def _head(self, running: _Running) -> str:
        number = f"[{running.number:>2}/{len(self._plan)}] " if running.number else ""
        return f"{'  ' * running.depth}{number}{running.name}"

    def _finished(self, running: _Running, *, failed: bool) -> None:
        took = self._clock() - running.started
        if running.depth == 0 and running.number:
            self._done = max(self._done, running.number)
        if failed:
            self._line(f"{self._head(running)}: FAILED after {duration(took)}")
        elif running.depth == 0:
            total = f"  ({duration(self.elapsed())} in total{self._left()})" if running.number else ""
            self._line(f"{self._head(running)}: done in {duration(took)}{total}")
        elif running.announced or took >= _WORTH_SAYING_S:
            self._line(f"{self._head(running)}: done in {duration(took)}")

    def _left(self) -> str:
        left = sum(estimate or 0.0 for _, estimate in self._plan[self._done :])
        return f", {about(left)} left" if left >= _WORTH_SAYING_S else ""

    def _line(self, text: str) -> None:
        if self._painted:
            self._stream.write("\r\x1b[K")
            self._painted = False
        self._stream.write(text + "\n")
        self._stream.flush()

    def _start_painter(self) -> None:
        if self._painter is not None and self._painter.is_alive() and not self._wake.is_set():
            return
        self._wake = threading.Event()
        self._painter = threading.Thread(target=self._paint, args=(self._wake,), name="progress", daemon=True)
        self._painter.start()

    def _paint(self, wake: threading.Event) -> None:
        while not wake.wait(_REDRAW_S):
            with self._lock:
                if not self._running or wake.is_set():
                    return
                if not self._hidden:
                    self._paint_once()

    def _paint_once(self) -> None:
        now = self._clock()
        if self._tty:
            innermost = self._running[-1]
            width = get_terminal_size().columns - 1
            others = f"  +{len(self._running) - 1}" if len({r.depth for r in self._running}) < len(self._running) else ""
            self._stream.write("\r\x1b[K" + f"{self._head(innermost)}  {self._times(innermost, now)}{others}"[:width])
            self._stream.flush()
            self._painted = True
            return
        for running in self._running:
            if now - running.said >= _HEARTBEAT_S and running is self._running[-1]:
                running.said = now
                self._line(f"{self._head(running)}: {self._times(running, now)}")

    def _times(self, running: _Running, now: float) -> str:
        took = now - running.started
        if running.estimate_s is None:
            return duration(took)
        left = running.estimate_s - took
        rest = f"{about(left)} left" if left > 0 else "longer than expected"
        return f"{duration(took)} of {about(running.estimate_s)}, {rest}"
