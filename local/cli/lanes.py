"""Run jobs in parallel in a few lanes. Jobs start programs with a `Runner`, so that a time limit or Ctrl-C ends them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import IO

_ORDERLY_S: Final = 120.0
"""Seconds for an interrupted program to end before it is killed: a fixture that stops a platform takes a while."""
_REDRAW_S: Final = 1.0


class Job(Protocol):
    """Runs in a lane."""

    @property
    def name(self) -> str:
        """Name for the progress line."""
        ...

    @property
    def after(self) -> tuple[str, ...]:
        """Names of jobs that must end first; jobs that do not run are ignored."""
        ...


J = TypeVar("J", bound=Job)
R = TypeVar("R")


class Runner:
    """Starts programs, each in its own process group, and ends them."""

    def __init__(self) -> None:
        self._running: set[int] = set()
        self._lock = threading.Lock()
        self.stopped = False

    def run(
        self, command: Sequence[str], *, cwd: Path, environment: Mapping[str, str], output: IO[bytes] | None, limit_s: float, nice: int = 0
    ) -> int | None:
        """Run a program; return its exit code, or None if it was stopped after ``limit_s`` seconds.

        Args:
            command: Program and arguments.
            cwd: Working directory.
            environment: Its whole environment.
            output: For standard output and error; None inherits this process's.
            limit_s: Time limit.
            nice: Lowers its priority when the cores are busy.
        """
        if self.stopped:
            return None
        polite = ["nice", "-n", str(nice)] if nice and shutil.which("nice") else []
        # A group, not a session: the kernel first divides the cores between sessions, and nice applies only within one.
        process = subprocess.Popen(
            [*polite, *command],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=None if output is None else subprocess.STDOUT,
            process_group=0,
        )
        with self._lock:
            self._running.add(process.pid)
        try:
            return process.wait(limit_s)
        except subprocess.TimeoutExpired:
            _signal(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ORDERLY_S)
            _signal(process.pid, signal.SIGKILL)
            process.wait()
            return None
        finally:
            with self._lock:
                self._running.discard(process.pid)

    def stop(self) -> None:
        """Interrupt running programs like Ctrl-C, kill those that do not end, and start no more."""
        self.stopped = True
        end = time.monotonic() + _ORDERLY_S
        for number in (signal.SIGINT, signal.SIGKILL):
            with self._lock:
                groups = list(self._running)
            for group in groups:
                _signal(group, number)
            while self._running and time.monotonic() < end:
                time.sleep(0.1)


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


@dataclass(kw_only=True)
class Lanes(Generic[J, R]):
    """Runs jobs, at most ``count`` at a time."""

    count: int
    work: Callable[[J], R]
    show: Callable[[J, R], None]
    """Called when a job has ended; never concurrently."""
    results: dict[str, R] = field(default_factory=dict)
    running: dict[str, float] = field(default_factory=dict)
    """Start times of running jobs by name."""
    _pending: list[J] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _errors: list[BaseException] = field(default_factory=list)

    def run(self, jobs: Sequence[J], tick: Callable[[], None], runner: Runner) -> None:
        """Run ``jobs`` in order; call ``tick`` about once per second.

        Raises:
            BaseException: an exception of ``work`` or ``show``; an interrupt, after stopping running programs.
        """
        self._pending = list(jobs)
        threads = [threading.Thread(target=self._lane, name=f"lane {number}") for number in range(self.count)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                tick()
                with self._changed:
                    self._changed.wait(_REDRAW_S)
        except BaseException:
            runner.stop()
            with self._changed:
                self._pending.clear()
                self._changed.notify_all()
            raise
        finally:
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def _next(self) -> J | None:
        with self._changed:
            while self._pending:
                open_names = {job.name for job in self._pending} | set(self.running)
                for job in self._pending:
                    if not open_names & set(job.after):
                        self._pending.remove(job)
                        self.running[job.name] = time.monotonic()
                        return job
                self._changed.wait()
            return None

    def _lane(self) -> None:
        while (job := self._next()) is not None:
            try:
                result = self.work(job)
                with self._changed:
                    self.results[job.name] = result
                    self.show(job, result)
            except BaseException as error:  # noqa: BLE001 (`run` re-raises it in the main thread)
                with self._changed:
                    self._errors.append(error)
                    self._pending.clear()
            with self._changed:
                self.running.pop(job.name, None)
                self._changed.notify_all()
