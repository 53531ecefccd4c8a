"""What each setting of a cluster makes the clouds replace, by the lists of the doubles, is what docs/components/gke.md and eks.md say.

A setting that replaces a pool or the cluster must be in the row that says so; one that replaces nothing must not be. The control plane of
EKS is a component, whose cluster only the engine sees (tests/engine/clouds/test_eks.py).
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.eks.settings.cluster import EksClusterSettings
from components.gke.settings.cluster import GkeClusterSettings
from tests.components import test_eks, test_gke
from tests.components.conftest import write_gke_plugin
from tests.components.recording import start
from tests.doubles.aws.provider import ROWS
from tests.doubles.gcp.plugin import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.components.recording import Monitor

DOCS: Final = Path(__file__).resolve().parents[2] / "docs/components"
GKE: Final[dict[str, Any]] = {
    "provider": "gke",
    "project": test_gke.PROJECT,
    "region": "us-central1",
    "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
    "gpuPools": [{"name": "gpu", "machineType": "a2-highgpu-1g", "zones": ["us-central1-a"]}],
}
EKS: Final[dict[str, Any]] = {
    "provider": "eks",
    "region": "eu-west-1",
    "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
    "gpuPools": [{"name": "gpu", "machineType": "g6.xlarge"}],
}
KEY: Final = "projects/p/locations/us-central1/keyRings/r/cryptoKeys/k"

BEFORE: Final[dict[str, Monitor]] = {}
"""What the unchanged settings register, by provider."""
POOL, CLUSTER = "pool", "cluster"


def gpu(**more: Any) -> dict[str, Any]:
    return {"gpuPools": [more]}


GKE_CHANGES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "name": ({"name": "other"}, CLUSTER),
    "project": ({"project": "other-project"}, CLUSTER),
    "region": ({"region": "europe-west4", **gpu(zones=["europe-west4-a"])}, CLUSTER),
    "zone": ({"zone": "us-central1-a"}, CLUSTER),
    "network.cidr": ({"network": {"kind": "create", "cidr": "10.64.0.0/20"}}, CLUSTER),
    "network.controlPlaneCidr": ({"network": {"kind": "create", "controlPlaneCidr": "172.16.9.0/28"}}, CLUSTER),
    "dataplaneV2": ({"dataplaneV2": False}, CLUSTER),
    "podsPerNode": ({"podsPerNode": 32}, POOL),
    "diskKey": ({"diskKey": KEY}, POOL),
    "GPUs": (gpu(machineType="a2-highgpu-2g"), POOL),
    "driver": (gpu(driver="latest"), POOL),
    "sharing": (gpu(sharing={"kind": "timeSlicing", "replicas": 2}), POOL),
    "os": (gpu(os="ubuntu"), POOL),
    "capacity": (gpu(capacity="spot"), POOL),
    "cpuPool.capacity": ({"cpuPool": {"capacity": "spot"}}, POOL),
    "localSsds": (gpu(localSsds=1), POOL),
    "disk.image": (gpu(disk={"image": "projects/p/global/images/models-1"}), POOL),
    "compactPlacement": (gpu(compactPlacement=True), POOL),
}
GKE_IN_PLACE: Final[dict[str, dict[str, Any]]] = {
    "machineType": {"cpuPool": {"machineTypes": ["n2-standard-8"]}},
    "disk.size": gpu(disk={"size": 300}),
    "disk.type": gpu(disk={"type": "pd-ssd"}),
    "labels": gpu(labels={"a": "b"}),
    "min": gpu(min=1),
    "desired": gpu(desired=1),
    "max": gpu(max=9),
    "zones": gpu(zones=["us-central1-b"]),
    "perZone": gpu(perZone=True),
    "locationPolicy": gpu(locationPolicy="balanced"),
    "fastPull": gpu(fastPull=False),
    "gvnic": gpu(gvnic=False),
    "upgrade": gpu(upgrade={"maxSurge": 1, "maxUnavailable": 0}),
    "cpuPool": {"cpuPool": {"min": 3, "disk": {"size": 100}, "labels": {"a": "b"}, "upgrade": {"maxSurge": 2}}},
    "version": {"version": "1.35"},
    "releaseChannel": {"releaseChannel": "stable"},
    "endpoint": {"endpoint": {"publicCidrs": ["198.51.100.0/24"]}},
    "secretsKey": {"secretsKey": "none"},
    "autoscalingProfile": {"autoscalingProfile": "optimizeUtilization"},
    "logs": {"logs": ["system"], "monitoring": ["system", "dcgm"], "managedPrometheus": True},
    "enableApis": {"enableApis": False},
    "nodeRoles": {"nodeRoles": ["roles/storage.objectViewer"], "admins": ["user:a@example.com"], "identity": "principal"},
    "deletionProtection": {"deletionProtection": True, "tags": {"a": "b"}},
}
EKS_CHANGES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "machine types": (gpu(machineType="g6.2xlarge"), POOL),
    "os": (gpu(os="bottlerocket"), POOL),
    "capacity": (gpu(capacity="spot"), POOL),
    "zones": (gpu(zones=["eu-west-1b"]), POOL),
}
EKS_IN_PLACE: Final[dict[str, dict[str, Any]]] = {
    "labels": gpu(labels={"a": "b"}),
    "min": gpu(min=1),
    "max": gpu(max=9),
    "desired": gpu(desired=1),
    "taint": gpu(taint=False),
    "disk": gpu(disk={"size": 300}),
    "sharing": gpu(sharing={"kind": "timeSlicing", "replicas": 2}),
    "fastPull": gpu(fastPull=False),
    "release": gpu(release="1.36.0-20260101"),
    "diskKey": {"diskKey": "create"},
    "cpuPool": {"cpuPool": {"min": 3, "max": 9, "disk": {"size": 100}}},
    "version": {"version": "1.36"},
    "endpoint": {"endpoint": {"publicCidrs": ["198.51.100.0/24"]}},
    "nodeMonitoring": {"nodeMonitoring": True, "sessionManager": True, "logsKey": "create"},
    "addonVersions": {"addonVersions": {"coredns": "v1"}, "deletionProtection": True, "tags": {"a": "b"}},
}


def changed(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    values = copy.deepcopy(base)
    for key, value in change.items():
        if key == "gpuPools":
            values[key] = [changed(values[key][0], value[0])]
        elif isinstance(value, dict) and "kind" not in value:
            values[key] = changed(values.get(key, {}), value)
        else:
            values[key] = value
    return values


def at(values: Any, path: str) -> Any:
    for step in path.split("."):
        values = values.get(step) if isinstance(values, dict) else None
    return values


def replaced(before: Monitor, after: Monitor, kinds: dict[str, Sequence[str]]) -> set[str]:
    """Types of the resources that are in both and have another value where their type needs a new one."""
    found = set()
    for key in before.requests.keys() & after.requests.keys():
        kind, _, name = key.partition(" ")
        paths = [path for path in kinds.get(kind, ()) if path not in after.requests[key].ignoreChanges]
        old, new = before.inputs(kind, name), after.inputs(kind, name)
        if any(at(old, path) != at(new, path) for path in paths):
            found.add(kind)
    return found


def rows_of(page: str, setting: str) -> str:
    """The rows of "What a change replaces" that have the setting."""
    table = (DOCS / page).read_text(encoding="utf-8").partition("## What a change replaces")[2].partition("\n## ")[0]
    names = {setting if setting in {"GPUs", "machine types"} else f"`{setting}`"}
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    found = [line for line in rows if any(name in line.split("|")[1] for name in names)]
    return "\n".join(found or [line for line in rows if f"`{setting.rpartition('.')[2]}`" in line.split("|")[1]])


async def before_of(provider: str) -> Monitor:
    if provider not in BEFORE:
        BEFORE[provider] = await monitor_of(provider, GKE if provider == "gke" else EKS)
    return BEFORE[provider]


async def monitor_of(provider: str, values: dict[str, Any]) -> Monitor:
    if provider == "gke":
        monitor = start(test_gke.Mocks())
        await test_gke.build(GkeClusterSettings.model_validate(values))
    else:
        monitor = start(test_eks.Mocks())
        await test_eks.build(EksClusterSettings.model_validate(values))
    return monitor


@pytest.fixture(autouse=True)
def gke_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    write_gke_plugin(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


@pytest.mark.parametrize("setting", GKE_CHANGES)
async def test_what_gke_replaces(setting: str) -> None:
    change, what = GKE_CHANGES[setting]
    before, after = await before_of("gke"), await monitor_of("gke", changed(GKE, change))
    found = replaced(before, after, {kind: row.replaces for kind, row in KINDS.items()})
    assert (CLUSTER if "gcp:container/cluster:Cluster" in found else POOL if "gcp:container/nodePool:NodePool" in found else "") == what, (
        found
    )
    rows = rows_of("gke.md", setting)
    if what == CLUSTER:
        assert "the cluster is deleted first" in rows
    else:
        assert "another pool is created beside the old one" in rows
        pool = "cpu" if setting.startswith("cpuPool") else "gpu"
        names = {monitor.inputs("gcp:container/nodePool:NodePool", f"cluster-{pool}")["name"] for monitor in (before, after)}
        assert len(names) == 2, "both can't exist under one name"


@pytest.mark.parametrize("setting", EKS_CHANGES)
async def test_what_eks_replaces(setting: str) -> None:
    change, what = EKS_CHANGES[setting]
    before, after = await before_of("eks"), await monitor_of("eks", changed(EKS, change))
    assert "aws:eks/nodeGroup:NodeGroup" in replaced(before, after, {kind: row.replaces for kind, row in ROWS.items()})
    assert what == POOL
    assert "another node group is created beside the old one" in rows_of("eks.md", setting)
    assert "nodeGroupName" not in after.inputs("aws:eks/nodeGroup:NodeGroup", "cluster-gpu"), "a fixed name would be taken"


@pytest.mark.parametrize(
    ("provider", "base", "changes", "kinds"),
    [
        ("gke", GKE, GKE_IN_PLACE, {kind: row.replaces for kind, row in KINDS.items() if kind.startswith("gcp:container/")}),
        ("eks", EKS, EKS_IN_PLACE, {kind: row.replaces for kind, row in ROWS.items() if kind.startswith("aws:eks/")}),
    ],
)
async def test_what_is_changed_in_place(
    provider: str, base: dict[str, Any], changes: dict[str, dict[str, Any]], kinds: dict[str, Sequence[str]]
) -> None:
    """All of it at once: nothing of it replaces a cluster or a pool, and the page does not say so."""
    values = base
    for change in changes.values():
        values = changed(values, change)
    assert replaced(await before_of(provider), await monitor_of(provider, values), kinds) == set()
    for setting in changes:
        assert not re.search("beside the old one|deleted first", rows_of(f"{provider}.md", setting)), setting
