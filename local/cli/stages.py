"""The parts of the suite: what each runs, what it waits for, how it stands beside the others. docs/testing.md says it for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the suite."""

    name: str
    about: str
    commands: tuple[tuple[str, ...], ...] = ()
    """Programs, or modules of ours (``local...``)."""
    paths: tuple[str, ...] = ()
    """For pytest; a path that does not exist is left out."""
    without: tuple[str, ...] = ()
    """Below ``paths``, but another stage's."""
    processes: int = 1
    """How many tests may run beside each other (pytest-xdist); never more than there are cores."""
    distribution: str = "worksteal"
    """How pytest-xdist deals them out; ``loadfile`` keeps a file's tests in one process, where they share what is dear."""
    quick: bool = False
    after: tuple[str, ...] = ()
    first: bool = False
    """Whether it is taken before all others where stages run beside each other: the longest one decides when the whole ends."""
    nice: int = 5
    """A stage in which real servers answer real clients goes before those that only compute."""
    is_told: bool = False
    """Whether what it prints is passed on as it comes, beside the others' progress: it tells itself how far it is and how long it takes."""


TOOLS: Final = Stage(
    name="tools",
    about="the pinned tools and images, made or downloaded where the cache lacks them",
    commands=(("local.toolchain", "ensure"), ("local.images", "build")),
    first=True,
    nice=0,
    is_told=True,
)
"""Before the tests that use them, so that no test's time limit has to hold a build from source."""

STAGES: Final = (
    TOOLS,
    Stage(
        name="lint",
        about="ruff check, ruff format, mypy --strict",
        commands=(("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)),
        quick=True,
        first=True,  # half a minute, and what it says is what one wants to know first
    ),
    Stage(name="unit", about="pure functions", paths=("tests/unit",), processes=8, quick=True, after=("tools",)),
    Stage(
        name="components",
        about="components over the SDK's mocks",
        paths=("tests/components",),
        processes=4,  # each loads the clouds' SDKs, seconds and half a gigabyte
        distribution="loadfile",
        quick=True,
    ),
    Stage(name="charts", about="charts rendered by real Helm", paths=("tests/charts",), processes=8, after=("tools",)),
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
        about="whole cloud stacks under the real engine, over doubles of the clouds",
        paths=("tests/engine/clouds", "tests/engine/doubles", "tests/doubles"),
        processes=4,
        distribution="loadfile",
        after=("tools",),
        first=True,
    ),
    Stage(
        name="platform",
        about="the embedded platform itself, and what kills do to it",
        paths=("tests/e2e/test_platform.py",),
        after=("tools",),
        nice=0,
    ),
    Stage(
        name="e2e",
        about="the commands of a newcomer, on real pods",
        paths=("tests/e2e",),
        without=("tests/e2e/test_platform.py",),
        after=("tools",),
        first=True,
        nice=0,
    ),
)
