"""What whole stacks of the clouds run on: a control plane that stands in, the clouds' servers, a Pulumi with doubles for plugins."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import lacks
from tests.doubles.aws import DOUBLE as AWS
from tests.doubles.cluster import TOOLS, ClusterDouble, start
from tests.doubles.gcp import DOUBLE as GCP
from tests.doubles.install import install_all
from tests.doubles.warm import DOUBLES, LIGHT, Warm
from tests.engine.clouds.eks import EKS, Amazon, eks_environment
from tests.engine.clouds.fleet import pulumi_home
from tests.engine.clouds.gke import Google, gke_environment

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
def warm_plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Starts the language host and the plugin for Kubernetes."""
    with Warm(tmp_path_factory.mktemp("plugins"), preload=(LIGHT, "local.plugins.kubernetes.server", "importlib.metadata")) as warm:
        yield warm


@pytest.fixture(scope="session")
def clouds_cli(pulumi_cli: Path, warm_plugins: Warm, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The CLI with a language host that starts warm."""
    from local.cli.pulumi import assemble  # noqa: PLC0415

    assert pulumi_cli
    return assemble(tmp_path_factory.mktemp("cli"), toolchain, warm_plugins.python)


@pytest.fixture(scope="session")
def clouds_home(pulumi_cli: Path, warm_plugins: Warm, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """PULUMI_HOME with the plugin for Kubernetes; each cloud installs its doubles into it."""
    return pulumi_home(pulumi_cli, tmp_path_factory.mktemp("clouds"), python=warm_plugins.python)


@pytest.fixture(scope="session")
def aws(  # noqa: PLR0917  # fixtures
    cluster_double: ClusterDouble,
    clouds_cli: Path,
    helm: Path,
    clouds_home: Path,
    doubles_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Amazon]:
    """AWS, and how the program and its plugins find it."""
    scratch = tmp_path_factory.mktemp("eks")
    place = eks_environment(cluster=cluster_double, cli=clouds_cli, helm=helm, home=clouds_home, doubles=doubles_folder, scratch=scratch)
    with (
        place as (cloud, environment),
        Warm(scratch / "programs", environment={**os.environ, **environment}) as programs,
        Warm(
            scratch / "doubles",
            preload=(LIGHT, "tests.doubles.provider_server", AWS.partition(":")[0], "tests.doubles.aws.rows:load_models"),
        ) as doubles,
    ):
        install_all(clouds_home, [("aws", AWS)], python=doubles.python)
        install_all(clouds_home, [("eks", EKS)], python=programs.python)  # a component: it has the SDK, as programs have
        yield Amazon(cluster=cluster_double, cloud=cloud, environment=environment, doubles=doubles_folder, virtualenv=programs.virtualenv)


@pytest.fixture(scope="session")
def google(  # noqa: PLR0917  # fixtures
    cluster_double: ClusterDouble,
    clouds_cli: Path,
    helm: Path,
    clouds_home: Path,
    doubles_folder: Path,
    gcs_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Google]:
    """Google, and how the program and its plugin find it."""
    scratch = tmp_path_factory.mktemp("gke")
    place = gke_environment(
        cluster=cluster_double,
        cli=clouds_cli,
        helm=helm,
        home=clouds_home,
        doubles=doubles_folder,
        scratch=scratch,
        buckets=gcs_server,
    )
    with (
        place as (memory, environment),
        Warm(scratch / "programs", environment={**os.environ, **environment}) as programs,
        Warm(scratch / "doubles", preload=(*DOUBLES, GCP.partition(":")[0], "tests.doubles.gcp.api:load_documents")) as doubles,
    ):
        install_all(clouds_home, [("gcp", GCP)], python=doubles.python)
        yield Google(
            cluster=cluster_double,
            memory=memory,
            environment=environment,
            doubles=doubles_folder,
            virtualenv=programs.virtualenv,
            imports=scratch / "imports",
        )
