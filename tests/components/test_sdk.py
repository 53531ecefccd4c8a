"""components/sdk.py asks the engine for the same as the SDKs would: each of these is registered once with it and once with them."""

from __future__ import annotations

import copy
import importlib
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.stack import wait_for_rpcs

from components import sdk
from components.fleet import TritonFleet, TritonFleetArgs
from components.settings.load import parse
from tests.components import test_eks, test_eks_arguments, test_fleet, test_gke
from tests.components.recording import Registered, start
from tests.components.test_parity import on

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

pytestmark = pytest.mark.usefixtures("surroundings")

ROOT: Final = Path(__file__).resolve().parents[2]
UNLIKE: Final = ("aliases", "sourcePosition", "stackTrace")
"""Types that the SDK's classes had in older API versions, which the fleet has never used, and where in which file they were made."""


class Recording(Registered):
    """Keeps what is asked of functions, too."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.calls: list[dict[str, Any]] = []

    def Invoke(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        self.calls.append(plain(request))
        return super().Invoke(request)


def plain(request: Any) -> dict[str, Any]:
    """A request without what is meant to differ, and without the order of what has none."""
    values: dict[str, Any] = MessageToDict(request)
    for key in UNLIKE:
        values.pop(key, None)
    values["transforms"] = len(values.get("transforms", ()))  # told apart by their place in memory
    values["dependencies"] = sorted(values.get("dependencies", ()))
    for of in values.get("propertyDependencies", {}).values():
        of["urns"] = sorted(of.get("urns", ()))
    return values


@contextmanager
def whole_sdks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The SDKs themselves, in the place of what components/sdk.py makes of them."""

    def whole(self: Any, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(importlib.import_module(".".join(filter(None, (self._package, self._path)))), name)

    with monkeypatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old names in these modules warn when they are loaded
        for module in (sdk.aws, sdk.eks, sdk.gcp, sdk.k8s):
            for known in set(vars(module)) - {"_package", "_path"}:
                patch.delitem(vars(module), known)
        patch.setattr(sdk._Module, "__getattr__", whole)
        yield


async def registered(cloud: str, work: Callable[[], Awaitable[Any]]) -> tuple[dict[Any, dict[str, Any]], list[dict[str, Any]], Any]:
    """What ``work`` registers, what it asks, and what comes of it."""
    mocks: Callable[[], pulumi.runtime.Mocks] = {"eks": test_eks.Mocks, "gke": test_gke.Mocks, "existing": test_fleet.Mocks}[cloud]
    monitor = start(mocks(), Recording)
    assert isinstance(monitor, Recording)
    try:
        result = await work()
    finally:
        await wait_for_rpcs()
    requests = {key: plain(request) for key, request in monitor.requests.items()}
    return requests, sorted(monitor.calls, key=str), result


async def compare(cloud: str, work: Callable[[], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch) -> int:
    """Do ``work`` both ways and see that nothing differs; how many resources it was."""
    ours = await registered(cloud, work)
    with whole_sdks(monkeypatch):
        theirs = await registered(cloud, work)
    assert ours[0].keys() == theirs[0].keys()
    for key, request in theirs[0].items():
        assert ours[0][key] == request, key
    assert ours[1:] == theirs[1:]
    return len(ours[0])


def stack(name: str, **more: Any) -> dict[str, Any]:
    """A stack file's settings with sections changed; a key's ``None`` takes it out."""
    config = yaml.safe_load((ROOT / f"Pulumi.{name}.yaml").read_text(encoding="utf-8"))["config"]
    raw: dict[str, Any] = {key.removeprefix("triton-fleet:"): copy.deepcopy(value) for key, value in config.items()}
    for section, changes in more.items():
        raw[section] = {**raw.get(section, {}), **changes} if isinstance(changes, dict) else changes
    for entry in raw["serving"]:
        entry["scaling"].pop("initialReplicas", None)  # by a transform, which is the engine's and no mock's
    return raw


FILES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "dev": ("existing", stack("dev")),
    "eks": ("eks", stack("eks")),
    "eks-fil": ("eks", stack("eks-fil")),
    "gke": ("gke", stack("gke")),
    "gke-fil": ("gke", stack("gke-fil")),
    "all of both, on EKS": ("eks", on("eks", autoscaler={"kind": "clusterAutoscaler"}, loadBalancer={"enabled": True})),
    "all of both, on GKE": ("gke", on("gke")),
    "Karpenter and keys": (
        "eks",
        stack(
            "eks-fil",
            cluster={"diskKey": "create", "logsKey": "create", "imageRepository": {"name": "triton"}},
            autoscaler={"kind": "karpenter", "pools": [{"name": "k", "instanceFamilies": ["g6"], "maxGpus": 4}]},
        ),
    ),
}


CLUSTERS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    **{f"EKS, {name}": ("eks", settings) for name, settings in test_eks_arguments.KINDS.items() if "autoscaler" not in settings},
    "EKS, administrators": ("eks", {"admins": ["arn:aws:iam::111122223333:role/admins"], "profile": "work", "logsKey": "create"}),
    "GKE, a control plane told all": ("gke", test_gke.TOLD_ALL),
    "GKE, every kind of pool": ("gke", {"gpuPools": test_gke.EVERY_KIND}),
    "GKE, another's network": ("gke", {"network": test_gke.SHARED_VPC}),
    "GKE, images and no NAT": (
        "gke",
        {"imageRepository": {"name": "triton", "keepUntaggedDays": 7}, "network": {"kind": "create", "nat": "none"}},
    ),
}


@pytest.mark.parametrize("name", list(FILES))
async def test_a_stack_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, raw = FILES[name]

    async def work() -> Any:
        fleet = TritonFleet("fleet", TritonFleetArgs(settings=parse(copy.deepcopy(raw)), project_dir=ROOT))
        return await pulumi.Output.from_input(fleet.exports).future()

    assert await compare(cloud, work, monkeypatch) > 10


@pytest.mark.parametrize("name", list(CLUSTERS))
async def test_a_cluster_is_the_same(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud, settings = CLUSTERS[name]

    async def work() -> None:
        if cloud == "eks":
            await test_eks.build(test_eks.cluster_settings(**copy.deepcopy(settings)))
        else:
            await test_gke.build(test_gke.cluster_settings(**copy.deepcopy(settings)))

    assert await compare(cloud, work, monkeypatch) > 10
