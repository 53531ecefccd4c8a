"""The real engine with doubles for plugins; no Kubernetes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.doubles.aws.cloud import Cloud
from tests.doubles.faults import Faults, Journal
from tests.doubles.install import environment, install
from tests.doubles.warm import DOUBLES, Warm
from tests.engine.conftest import Stack
from tests.engine.stacks import TEMPLATE_STACK, make_template

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def pulumi_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PULUMI_HOME of these tests; each module installs its doubles into it."""
    return tmp_path_factory.mktemp("doubles-home")


@pytest.fixture(scope="module")
def plugin(request: pytest.FixtureRequest, pulumi_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The doubles that the module names in ``DOUBLE_PLUGINS`` (name, class, version), starting warm."""
    plugins: list[tuple[str, str, str | None]] = request.module.DOUBLE_PLUGINS
    modules = (double.partition(":")[0] for _, double, _ in plugins)
    with Warm(tmp_path_factory.mktemp("warm"), preload=(*DOUBLES, *modules, *getattr(request.module, "PRELOAD", ()))) as warm:
        for name, double, version in plugins:
            install(pulumi_home, name, double, version=version, python=warm.python)
        yield


@pytest.fixture(scope="session")
def engine(pulumi_cli: Path, pulumi_home: Path) -> dict[str, str]:
    """What every Pulumi of these tests is started with."""
    return {
        "PATH": f"{pulumi_cli.parent}{os.pathsep}{os.environ['PATH']}",
        "PULUMI_HOME": str(pulumi_home),
        "PULUMI_CONFIG_PASSPHRASE": "engine-tests",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }


@pytest.fixture(scope="session")
def template(engine: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty stack, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", engine["PATH"])
        return make_template(engine, tmp_path_factory.mktemp("template") / "stack")


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[Cloud]:
    """AWS: a server takes seconds to start, and forgets at once."""
    with Cloud() as started:
        yield started


@pytest.fixture
def cloud(cloud_server: Cloud) -> Iterator[Cloud]:
    """AWS with nothing in it."""
    cloud_server.reset()
    yield cloud_server
    cloud_server.reset()


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
    plugin: None,
    engine: dict[str, str],
    template: Path,
    folder: Path,
    faults: Faults,
    more_environment: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    closed_loops: None,
) -> Iterator[Callable[[Callable[[], None]], Stack]]:
    """Makes stacks of programs, and destroys them after the test."""
    known = {**engine, **environment(folder), **more_environment}
    for key, value in known.items():
        monkeypatch.setenv(key, value)
    monkeypatch.chdir(tmp_path)
    made: list[Stack] = []

    def make(program: Callable[[], None]) -> Stack:
        place = tmp_path / f"stack{len(made)}"
        place.mkdir()
        made.append(Stack(known, program, place, TEMPLATE_STACK, template=template))
        return made[-1]

    yield make
    faults.clear()
    for item in made:
        if item.resources():
            item.destroy()
