"""A pytest plugin that tells `make test` how far a stage is: a line for each test in the file that TRITON_FLEET_SUITE_PROGRESS names.

``-p local.cli.suite_watch`` loads it. With pytest-xdist the workers report to the process that leads them, and that one writes.
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
    """How far a stage is."""

    done: int
    failed: int
    total: int
    test: str
    """The test that started last, without its parameters."""

    def line(self) -> str:
        """The text of it, as `read` takes it."""
        return f"{self.done} {self.failed} {self.total} {self.test}\n"


def read(file: Path) -> Progress | None:
    """The last whole line of ``file``; None before the first one."""
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
    """Counts, and writes the counts."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._done = self._failed = self._total = 0
        self._test = ""

    def _write(self) -> None:
        with self._file.open("a", encoding="utf-8") as opened:
            opened.write(Progress(done=self._done, failed=self._failed, total=self._total, test=self._test).line())

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Learn how many there are, without xdist."""
        self._total = max(self._total, len(session.items))
        self._write()

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Learn how many there are, with xdist: every worker collects them all."""
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
    """Watch, in the process that leads."""
    file = os.environ.get(VARIABLE)
    if file and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watch(Path(file)), "triton-fleet-watch")
