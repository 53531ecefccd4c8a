"""How many pods a pool can hold, and what a node has for them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.base.errors import FleetError
from components.eks.settings.cluster import EksClusterSettings
from components.gke.settings.cluster import GkeClusterSettings
from components.gpu import catalogue
from components.stack.allocatable import Room, ec2_size, eks_daemons, eks_room, gce_size, gke_daemons, gke_disk_gib, gke_room
from components.stack.capacity import PoolCapacity, disk_problem, pool_capacities
from components.stack.load import parse
from components.stack.rules import stack_problems

EKS: dict[str, Any] = {
    "cluster": {
        "provider": "eks",
        "region": "eu-west-1",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "gpu", "machineType": "g4dn.xlarge", "max": 4}],
    },
    "autoscaler": {"kind": "clusterAutoscaler"},
    "repository": {"bucket": "models"},
}
GKE: dict[str, Any] = {
    "cluster": {
        "provider": "gke",
        "project": "my-project",
        "region": "europe-west4",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "gpu", "machineType": "g2-standard-4", "max": 4}],
    },
    "repository": {"store": "gcs", "bucket": "models-of-mine"},
}


@pytest.mark.parametrize(("each", "expected"), [(1, 8), (3, 2), (4, 2), (5, 0)])
def test_pods_do_not_span_nodes(each: int, expected: int) -> None:
    machine, rooms = catalogue.machine("g6.12xlarge"), (Room(47, 1e11),)
    pool = PoolCapacity(name="l4", labels={}, resource=catalogue.RESOURCE, per_pod=4, units=8, machines=(machine,), rooms=rooms, nodes=2)
    assert pool.holds(each) == expected


@pytest.mark.parametrize(
    ("machine_type", "size"),
    [
        ("m7i.large", (2, 8)),
        ("c6g.medium", (1, 2)),
        ("r6i.4xlarge", (16, 128)),
        ("m7i-flex.xlarge", (4, 16)),
        ("t3.micro", (2, 1)),
        ("t4g.2xlarge", (8, 32)),
        ("c3-standard-4", (4, 16)),
        ("n2-highmem-8", (8, 64)),
        ("x2gd.large", None),
        ("m4.large", None),
        ("n2-custom-8-32768", None),
    ],
)
def test_sizes_of_machines_without_gpus(machine_type: str, size: tuple[float, float] | None) -> None:
    assert (gce_size if "-" in machine_type and "." not in machine_type else ec2_size)(machine_type) == size


def test_published_figures_of_nodes() -> None:
    """GKE's page shows a node of 4 vCPU and 16 GB with 3920m and 13498416Ki, and 47060071478 bytes of a 100 GB disk; a node of 1.36 has
    13591652Ki, and its DaemonSets request 374m and 626Mi."""
    room = gke_room(4, 16, ())
    assert room.cpu == pytest.approx(3.92)
    assert 13498416 * 1024 <= 13591652 * 1024 <= room.memory <= 13498416 * 1024 * 1.01
    settings = parse({**GKE, "serving": [{"image": "tritonserver:26.07-py3"}]}).cluster
    assert isinstance(settings, GkeClusterSettings)
    daemons = gke_daemons(settings.model_copy(update={"dataplane_v2": False}), gpus=False)
    assert 0.35 < sum(daemon.cpu for daemon in daemons) <= 0.374
    assert 500 < sum(daemon.memory for daemon in daemons) / 2**20 <= 626
    assert gke_disk_gib(100, "cos") * 2**30 == pytest.approx(47060071478, rel=0.1)
    eks = parse({**EKS, "serving": [{"image": "tritonserver:26.07-py3"}]}).cluster
    assert isinstance(eks, EksClusterSettings)
    assert eks_room(4, 16, "g4dn.xlarge", ()).cpu == pytest.approx(3.92), "nodeadm reserves 80m of 4 vCPU"
    assert eks_room(4, 16, "g4dn.xlarge", eks_daemons(eks)).memory < 15 * 2**30
    assert len(eks_daemons(eks.model_copy(update={"node_monitoring": True}))) == len(eks_daemons(eks)) + 1


def problems(base: dict[str, Any], entry: dict[str, Any], cluster: dict[str, Any]) -> list[str]:
    raw = copy.deepcopy(base)
    raw["cluster"].update(cluster)
    raw["serving"] = [{"name": "triton", "image": "tritonserver:26.07-py3", "scaling": {"maxReplicas": 2}, **entry}]
    try:
        parse(raw)
    except FleetError as error:
        return list(map(str, error.problems))
    return []


CPU = {"gpus": 0}
TINY = {"cpuPool": {"machineTypes": ["t3.micro"]}}
MPS = [
    {"name": "gpu", "machineType": "g4dn.xlarge", "max": 4},
    {"name": "mps", "machineType": "g4dn.xlarge", "max": 4, "sharing": {"kind": "mps", "replicas": 2}},
]
PREFETCH = {"prefetch": {"enabled": True, "volume": {"size": "180Gi"}}}


@pytest.mark.parametrize(
    ("base", "entry", "cluster", "says"),
    [
        (EKS, {"resources": {"cpu": "3900m", "memory": "8Gi"}}, {}, "resources requests 3900m CPU and 8Gi, but g4dn.xlarge has 3640m CPU"),
        (EKS, {"resources": {"cpu": "3", "memory": "15Gi"}}, {}, "resources requests 3 CPU and 15Gi, but g4dn.xlarge has 3640m CPU"),
        (EKS, {"resources": {"cpu": "3600m", "memory": "14Gi"}}, {}, None),
        (GKE, {"resources": {"cpu": "3900m"}}, {}, "resources requests 3900m CPU and 8Gi, but g2-standard-4 has 3288m CPU"),
        (GKE, {"resources": {"cpu": "3", "memory": "13Gi"}}, {}, "but g2-standard-4 has 3288m CPU"),
        (GKE, {"resources": {"cpu": "3", "memory": "12Gi"}}, {}, None),
        (EKS, {"resources": {**CPU, "cpu": 8}}, {}, "requests 8 CPU and 8Gi, but m7i.xlarge has 3740m CPU"),
        (EKS, {"resources": {**CPU, "cpu": 8}}, {"cpuPool": {"machineTypes": ["m7i.large", "m7i.4xlarge"]}}, None),
        (EKS, {"resources": {**CPU, "cpu": 8}}, {"cpuPool": {"machineTypes": ["x2gd.large"]}}, None),
        (GKE, {"resources": {**CPU, "cpu": 4}}, {}, "requests 4 CPU and 8Gi, but c3-standard-4 has 3443m CPU"),
        (EKS, {}, TINY, "cluster.cpuPool.machineTypes[0] (t3.micro) has 1750m CPU and 473Mi for pods"),
        (EKS, {}, {"cpuPool": {"machineTypes": ["t3.medium"]}}, None),
        (GKE, {}, {"cpuPool": {"machineTypes": ["e2-micro"]}}, "(e2-micro) is too small for GKE"),
        (EKS, PREFETCH, {}, "prefetch.volume.size (180Gi) is more than the 177Gi of a node's disk"),
        (GKE, PREFETCH, {}, "prefetch.volume.size (180Gi) is more than the"),
        (EKS, {"prefetch": {"enabled": True, "volume": {"size": "180Gi", "storageClass": "gp3"}}}, {}, None),
        (EKS, {}, {"gpuPools": MPS}, "nodeSelector allows pools with and without MPS"),
        (EKS, {"nodeSelector": {"triton-fleet/pool": "mps"}}, {"gpuPools": MPS}, None),
    ],
)
def test_what_a_pod_needs_and_a_node_has(base: dict[str, Any], entry: dict[str, Any], cluster: dict[str, Any], says: str | None) -> None:
    found = problems(base, entry, cluster)
    assert found == [] if says is None else len(found) == 1 and says in found[0], found


def test_a_sidecar_needs_room_too() -> None:
    entry = {"name": "triton", "image": "tritonserver:26.07-py3", "resources": {"cpu": "3600m"}, "scaling": {"maxReplicas": 2}}
    parse({**EKS, "serving": [entry], "ingress": {"kind": "istio"}})
    with pytest.raises(FleetError, match="has 3540m CPU and"):
        parse({**EKS, "serving": [entry], "ingress": {"kind": "istio", "injection": True}})


@pytest.mark.parametrize(("size", "fits"), [("10Gi", True), ("177Gi", True), ("178Gi", False)])
def test_models_whose_size_is_computed_must_fit_on_a_disk_too(size: str, fits: bool) -> None:
    settings = parse({**EKS, "serving": [{"name": "triton", "image": "tritonserver:26.07-py3", "prefetch": {"enabled": True}}]})
    assert (disk_problem(settings.serving[0], size, pool_capacities(settings)) is None) == fits


@pytest.mark.parametrize(
    ("most", "rollout", "warned"),
    [
        (3, {}, False),
        (4, {}, True),
        (3, {"maxSurge": 2}, True),
        (4, {"maxSurge": 0, "maxUnavailable": 1}, False),
        (4, {"maxSurge": 1, "maxUnavailable": 1}, False),
    ],
)
def test_a_rollout_without_a_spare_gpu_is_warned_of(most: int, rollout: dict[str, int], warned: bool) -> None:
    entry = {"name": "triton", "image": "tritonserver:26.07-py3", "scaling": {"maxReplicas": most}, "rollout": rollout}
    raw = {**EKS, "serving": [entry]}
    found = [problem for problem in stack_problems(parse(raw)) if "all that the pools can hold" in problem.text]
    assert [problem.fatal for problem in found] == [False] * warned


SHARED = {"kind": "timeSlicing", "replicas": 4}
KARPENTER = {"kind": "karpenter", "pools": [{"name": "k", "instanceFamilies": ["g4dn"], "maxGpus": 16}]}


@pytest.mark.parametrize(
    ("base", "pool", "entry", "says"),
    [
        (EKS, {"machineType": "g4dn.xlarge", "sharing": SHARED, "max": 2}, {}, "above the 2 pods of 2 CPU and 8Gi"),
        (EKS, {"machineType": "g4dn.xlarge", "sharing": SHARED, "max": 2}, {"resources": {"cpu": "500m", "memory": "3Gi"}}, None),
        (EKS, {"machineType": "g4dn.xlarge", "sharing": SHARED, "max": 2}, {"resources": {"cpu": "500m", "memory": "5Gi"}}, "above the 4 "),
        (EKS, {"machineType": "g4dn.12xlarge", "max": 2}, {"resources": {"cpu": "20", "memory": "8Gi"}}, "above the 4 pods of 20 CPU"),
        (GKE, {"machineType": "g2-standard-4", "sharing": {**SHARED, "kind": "mps"}, "max": 3}, {}, "above the 3 pods"),
        (GKE, {"machineType": "a2-highgpu-1g", "sharing": {"kind": "mig", "profile": "1g.5gb"}}, {}, None),
        (EKS, KARPENTER, {"resources": {"cpu": "40", "memory": "8Gi"}}, None),
        (EKS, KARPENTER, {"resources": {"cpu": "90", "memory": "8Gi"}}, "above the 2 pods of 90 CPU"),
    ],
)
def test_more_pods_than_have_their_cpu_and_memory_are_warned_of(
    base: dict[str, Any], pool: dict[str, Any], entry: dict[str, Any], says: str | None
) -> None:
    raw = copy.deepcopy(base)
    if pool is KARPENTER:
        raw["cluster"].pop("gpuPools")
        raw["autoscaler"] = KARPENTER
    else:
        raw["cluster"]["gpuPools"] = [{"name": "gpu", **pool}]
    raw["serving"] = [{"name": "triton", "image": "tritonserver:26.07-py3", "scaling": {"maxReplicas": 6}, **entry}]
    found = [str(problem) for problem in stack_problems(parse(raw)) if "have room for" in problem.text]
    assert found == [] if says is None else len(found) == 1 and says in found[0], found
