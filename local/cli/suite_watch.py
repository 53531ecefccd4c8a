"""A pytest plugin that reports a stage's progress to `make test`: a line per test in the file named by TRITON_FLEET_SUITE_PROGRESS.

Loaded with ``-p local.cli.suite_watch``. With pytest-xdist the controller process writes the file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE: Final = "TRITON_FLEET_SUITE_PROGRESS"
_TAIL: Final = 4096  # bytes; more than two lines


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a stage."""

    done: int
    failed: int
    total: int
    test: str
    """The test that started last, without parameters."""

    def line(self) -> str:
        """One line for `read`."""
        return f"{self.done} {self.failed} {self.total} {self.test}\n"


def read(file: Path) -> Progress | None:
    """The last complete line of ``file``; None before the first one."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - _TAIL))
            lines = opened.read().decode(errors="replace").split("\n")[:-1]
    except OSError:
        return None
    fields = lines[-1].split(" ", 3) if lines else []
    if len(fields) != 4 or not all(field.isdigit() for field in fields[:3]):  # noqa: PLR2004 (as written by `Progress.line`)
        return None
    return Progress(done=int(fields[0]), failed=int(fields[1]), total=int(fields[2]), test=fields[3])


class Watch:
    """Counts tests and writes the counts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._done = self._failed = self._total = 0
        self._test = ""

    def _write(self) -> None:
        with self._file.open("a", encoding="utf-8") as opened:
            opened.write(Progress(done=self._done, failed=self._failed, total=self._total, test=self._test).line())

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Set the total, without xdist."""
        self._total = max(self._total, len(session.items))
        self._write()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Set the total, with xdist: every worker collects all tests."""
        self._total = max(self._total, len(ids))
        self._write()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note the test that starts."""
        self._test = nodeid.rsplit("::", 1)[-1].split("[", 1)[0].replace("\n", " ")
        self._write()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a failure."""
        self._failed += report.failed

    def pytest_runtest_logfinish(self) -> None:
        """Count the test."""
        self._done += 1
        self._write()


def pytest_configure(config: pytest.Config) -> None:
    """Register the watch in the controller process."""
    file = os.environ.get(VARIABLE)
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watch(Path(file)), "triton-fleet-watch")
