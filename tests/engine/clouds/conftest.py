"""What whole stacks of the clouds run on: a control plane that stands in, the clouds' servers, a Pulumi with doubles for plugins."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import lacks
from tests.doubles.cluster import TOOLS, ClusterDouble, start
from tests.engine.clouds.fleet import pulumi_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.toolchain import Toolchain


@pytest.fixture(scope="session")
def doubles_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What all doubles of the session share: a cluster has one cloud."""
    return tmp_path_factory.mktemp("doubles")


@pytest.fixture(scope="session")
def cluster_double(
    tool: Callable[[str], Path], toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory, doubles_folder: Path
) -> Iterator[ClusterDouble]:
    """A control plane with kwok for nodes and pods."""
    from local.platform import PlatformError  # noqa: PLC0415

    if sys.platform != "linux" or os.geteuid() != 0:
        lacks("a control plane of our own needs root on Linux")
    for name in TOOLS:
        tool(name)
    instance = f"clouds-{os.getpid()}"
    # Where `make test` looks for what a killed test left running.
    home = os.environ.get("TRITON_FLEET_HOME")
    root = (Path(home) if home else tmp_path_factory.mktemp("cluster")) / instance
    try:
        with start(toolchain, root, doubles_folder, instance=instance) as cluster:
            yield cluster
    except PlatformError as error:
        lacks(f"the control plane does not start here: {error}")


@pytest.fixture(scope="session")
def clouds_home(pulumi_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PULUMI_HOME with the plugin for Kubernetes; each cloud installs its doubles into it."""
    return pulumi_home(pulumi_cli, tmp_path_factory.mktemp("clouds"))
