"""The stages of the test suite: what each runs, what it waits for, and its priority. docs/testing.md describes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the suite."""

    name: str
    about: str
    commands: tuple[tuple[str, ...], ...] = ()
    """Programs, or modules of this project (``local...``)."""
    paths: tuple[str, ...] = ()
    """For pytest; paths that do not exist are skipped."""
    without: tuple[str, ...] = ()
    """Paths in ``paths`` that belong to another stage."""
    processes: int = 1
    """How many tests may run in parallel (pytest-xdist); at most one per core."""
    distribution: str = "worksteal"
    """How pytest-xdist distributes tests; ``loadfile`` keeps a file's tests in one process, where they share expensive fixtures."""
    quick: bool = False
    after: tuple[str, ...] = ()
    first: bool = False
    """Whether it starts before all others when stages run in parallel: the longest stage decides when the suite ends."""
    nice: int = 5
    """Lower for stages in which real servers answer real clients; higher for those that only compute."""
    is_told: bool = False
    """Whether its output is shown as it comes, next to the progress of the others: it reports its own progress."""


TOOLS: Final = Stage(
    name="tools",
    about="the pinned tools and images, built or downloaded if they are not cached",
    commands=(("local.toolchain", "ensure"), ("local.images", "build")),
    first=True,
    nice=0,
    is_told=True,
)
"""Before the tests that use them, so that no test's time limit includes a build from source."""

STAGES: Final = (
    TOOLS,
    Stage(
        name="lint",
        about="ruff check, ruff format, mypy --strict",
        commands=(("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)),
        quick=True,
        first=True,  # takes half a minute, and its findings are the most useful
    ),
    Stage(name="unit", about="pure functions", paths=("tests/unit",), processes=8, quick=True, after=("tools",)),
    Stage(
        name="components",
        about="components with the SDK's mocks",
        paths=("tests/components",),
        processes=4,  # each loads the clouds' SDKs: seconds and half a gigabyte
        distribution="loadfile",
        quick=True,
    ),
    Stage(name="charts", about="charts rendered with real Helm", paths=("tests/charts",), processes=8, after=("tools",)),
    Stage(
        name="engine",
        about="the real engine, plugins and API server",
        paths=("tests/engine",),
        without=("tests/engine/clouds", "tests/engine/doubles"),
        processes=4,
        after=("tools",),
    ),
    Stage(
        name="clouds",
        about="whole cloud stacks under the real engine, with doubles of the clouds",
        paths=("tests/engine/clouds", "tests/engine/doubles", "tests/doubles"),
        processes=4,
        distribution="loadfile",
        after=("tools",),
        first=True,
    ),
    Stage(
        name="platform",
        about="the embedded platform itself, including kills",
        paths=("tests/e2e/test_platform.py",),
        after=("tools",),
        nice=0,
    ),
    Stage(
        name="e2e",
        about="the Makefile's commands, with real pods",
        paths=("tests/e2e",),
        without=("tests/e2e/test_platform.py",),
        after=("tools",),
        first=True,
        nice=0,
    ),
)
