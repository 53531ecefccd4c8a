"""The real engine, the offline plugin and a real API server (its control plane alone: no pod runs, so tests play the kubelet)."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from local.plugins.kubernetes import VERSION, kubeconfig
from local.plugins.kubernetes.client import Client
from local.plugins.kubernetes.errors import ApiError
from local.plugins.kubernetes.naming import Kind
from tests.conftest import ROOT, lacks, with_own_ports
from tests.doubles.warm import LIGHT, Warm
from tests.engine.clouds.fleet import pulumi_home
from tests.engine.kubelet import POD
from tests.engine.stacks import TEMPLATE_STACK, Stack, make_template
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.platform import PlatformConfig
    from local.toolchain import Toolchain

NAMESPACE = Kind("", "v1", "Namespace")
CONFIG_MAP = Kind("", "v1", "ConfigMap")
SECRET = Kind("", "v1", "Secret")
SERVICE = Kind("", "v1", "Service")
DEPLOYMENT = Kind("apps", "v1", "Deployment")
JOB = Kind("batch", "v1", "Job")
DEFINITION = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")


@pytest.fixture
def closed_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close the event loops that the SDK leaves open after an inline program that failed."""
    made: list[asyncio.AbstractEventLoop] = []
    new = asyncio.new_event_loop

    def recorded() -> asyncio.AbstractEventLoop:
        made.append(new())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", recorded)
    yield
    for loop in made:
        # A program whose plugin died takes a moment to notice.
        with contextlib.suppress(AssertionError):
            eventually(lambda loop=loop: not loop.is_running(), "the end of the program", within_s=10)  # type: ignore[misc]
        if not loop.is_running() and not loop.is_closed():
            # What was left in the middle is ended here: the garbage collector would end it without a loop, in some other test.
            # Turn by turn: such a task still stops the loop when it ends, as the run that was broken off wanted.
            for task in asyncio.all_tasks(loop):
                task.cancel()
            for _ in range(1000):
                if not asyncio.all_tasks(loop):
                    break
                loop.call_soon(loop.stop)
                loop.run_forever()
            loop.close()


@pytest.fixture(scope="session")
def control_plane(tool: Callable[[str], Path], toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A kubeconfig of an API server with its controllers: one for all processes of pytest-xdist, each test has a namespace of its own."""
    from local.platform import CONTROL_PLANE_TOOLS, Platform, PlatformError  # noqa: PLC0415

    if sys.platform != "linux" or os.geteuid() != 0:
        lacks("an API server of our own needs root on Linux")
    for name in CONTROL_PLANE_TOOLS:
        tool(name)
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "control-plane"
    shared.mkdir(exist_ok=True)
    with _users(shared) as users:
        platform = Platform(_config(shared, users), toolchain)
        try:
            platform.start(None)  # at once where it runs
        except PlatformError as error:
            platform.stop()
            lacks(f"the control plane does not start here: {error}")
        (shared / f"user-{os.getpid()}").touch()
    try:
        yield platform.environment()["KUBECONFIG"]
    finally:
        with _users(shared) as users:
            (shared / f"user-{os.getpid()}").unlink()
            if len(users) == 1:
                platform.stop()


@contextlib.contextmanager
def _users(shared: Path) -> Iterator[list[Path]]:
    """Who uses the control plane of ``shared``, while nobody comes or goes."""
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield list(shared.glob("user-*"))


def _config(shared: Path, users: list[Path]) -> PlatformConfig:
    """The instance of the first user, for all."""
    from local.platform import PlatformConfig  # noqa: PLC0415

    chosen = shared / "instance.json"
    # A name that no other process of tests takes; and where `make test` looks for what a killed test left running.
    instance = json.loads(chosen.read_text()) if users else {"instance": f"engine-{os.getpid()}"}
    home = os.environ.get("TRITON_FLEET_HOME")
    root = (Path(home) if home else shared) / instance["instance"]
    config = PlatformConfig(control_plane_only=True, root=root, **instance)
    if not users:
        config = with_own_ports(config)
        chosen.write_text(json.dumps({**instance, "port_offset": config.port_offset}))
    return config


@pytest.fixture(scope="session")
def kube(control_plane: str) -> Client:
    """The API server, asked past Pulumi."""
    return Client(kubeconfig.access(kubeconfig.read(control_plane)))


@pytest.fixture(scope="session")
def engine_environment(
    control_plane: str, pulumi_cli: Path, helm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    """A Pulumi of these tests' own, with the offline plugin installed as `make up` does it, but that it starts warm."""
    root = tmp_path_factory.mktemp("engine")
    with Warm(root / "warm", preload=(LIGHT, "local.plugins.kubernetes.server")) as warm:
        yield {
            "PATH": f"{pulumi_cli.parent}{os.pathsep}{helm.parent}{os.pathsep}{os.environ['PATH']}",
            "PULUMI_HOME": str(pulumi_home(pulumi_cli, root, python=warm.python)),
            "PULUMI_BACKEND_URL": (root / "backend").as_uri(),
            "PULUMI_CONFIG_PASSPHRASE": "engine-tests",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "KUBECONFIG": control_plane,
            "HELM_CACHE_HOME": str(root / "helm"),
        }


@pytest.fixture(scope="session")
def template(engine_environment: dict[str, str], pulumi_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty stack, to be copied."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", engine_environment["PATH"])
        return make_template(engine_environment, tmp_path_factory.mktemp("template") / "stack")


@pytest.fixture
def stack(  # noqa: PLR0917 (fixtures)
    engine_environment: dict[str, str], template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, closed_loops: None, space: str
) -> Iterator[Callable[[Callable[[], None]], Stack]]:
    """Makes stacks, and destroys them after the test; before their namespace, which would take from under them what they delete."""
    # The inline program runs in this process, and its SDK reads these as it would in a process of its own.
    for key in ("KUBECONFIG", "PATH"):
        monkeypatch.setenv(key, engine_environment[key])
    monkeypatch.chdir(tmp_path)
    made: list[Stack] = []

    def make(program: Callable[[], None]) -> Stack:
        folder = tmp_path / f"stack{len(made)}"
        folder.mkdir()
        made.append(Stack(engine_environment, program, folder, TEMPLATE_STACK, template=template))
        return made[-1]

    yield make
    for item in made:
        if item.resources():
            item.destroy()


@pytest.fixture
def space(kube: Client) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kube.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, manager="test")
    yield name
    try:
        kube.delete(NAMESPACE, "", name, propagation="Background")
    except ApiError as error:
        if not error.not_found:
            raise


@pytest.fixture
def pod_monitors(kube: Client) -> None:
    """The operator's kind, as its chart brings it."""
    definition = yaml.safe_load((ROOT / "local" / "charts" / "kube-prometheus-stack" / "crds" / "podmonitors.yaml").read_text())
    kube.apply(DEFINITION, definition, manager="test", force=True)

    def is_served() -> bool:
        found = kube.get(DEFINITION, "", definition["metadata"]["name"])
        return any(one["type"] == "Established" and one["status"] == "True" for one in found["status"]["conditions"])

    eventually(is_served, "a definition that is served")


def deployment(space: str, name: str = "web", *, replicas: int = 0, **spec: Any) -> dict[str, Any]:
    """Arguments of a Deployment; with no replicas it is ready at once, on a cluster without nodes too."""
    return {
        "metadata": {"name": name, "namespace": space, "annotations": spec.pop("annotations", {})},
        "spec": {
            "replicas": replicas,
            "selector": {"match_labels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "example.invalid/web:1", **spec.pop("container", {})}]},
            },
            **spec,
        },
    }


__all__ = ["CONFIG_MAP", "DEPLOYMENT", "JOB", "NAMESPACE", "POD", "SECRET", "SERVICE", "VERSION", "Stack", "deployment"]
