"""The real engine with doubles for plugins; no Kubernetes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.doubles.faults import Faults, Journal
from tests.doubles.install import environment
from tests.engine.conftest import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def pulumi_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PULUMI_HOME of these tests; each module installs its doubles into it."""
    return tmp_path_factory.mktemp("doubles-home")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What the doubles of a test share."""
    path = tmp_path / "doubles"
    path.mkdir()
    return path


@pytest.fixture
def faults(folder: Path) -> Faults:
    """What goes wrong."""
    return Faults(folder)


@pytest.fixture
def journal(folder: Path) -> Journal:
    """What happened."""
    return Journal(folder)


@pytest.fixture
def more_environment() -> dict[str, str]:
    """What a module's doubles want to know beside."""
    return {}


@pytest.fixture
def doubles(  # noqa: PLR0917  # fixtures
    pulumi_cli: Path,
    pulumi_home: Path,
    folder: Path,
    faults: Faults,
    more_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    closed_loops: None,
) -> Iterator[Callable[[Callable[[], None]], Stack]]:
    """Makes stacks of programs, and destroys them after the test."""
    known = {
        "PATH": f"{pulumi_cli.parent}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_CONFIG_PASSPHRASE": "engine-tests",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        **environment(folder),
        **more_environment,
    }
    for key, value in known.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    made: list[Stack] = []

    def make(program: Callable[[], None]) -> Stack:
        place = tmp_path / f"stack{len(made)}"
        place.mkdir()
        made.append(Stack(known, program, place))
        return made[-1]

    yield make
    faults.clear()
    for item in made:
        item.destroy()
