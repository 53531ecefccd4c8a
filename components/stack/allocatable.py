"""What pods can request of a node: its machine, less what the kernel, the kubelet and the DaemonSets of every node take.

Each amount is the least that is taken, so a pod that is refused here fits on no such node. Sources:

- Kernel: kubernetes/autoscaler, cloudprovider/gce/gce_reserved.go (1/64 of the memory holds the kernel's page structures on any cloud).
- EKS, AL2023: awslabs/amazon-eks-ami, nodeadm/internal/kubelet/config.go. Bottlerocket uses the same formulas.
- GKE: https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.eks.settings.cluster import EksClusterSettings
    from components.gke.settings.cluster import GkeClusterSettings

_MI: Final = 1 << 20
_GI: Final = 1 << 30
_EVICTION: Final = 100 * _MI
"""Hard eviction threshold of memory, on EKS and GKE."""
_CPU_TIERS: Final = ((1, 0.06), (1, 0.01), (2, 0.005), (10_000, 0.0025))
"""vCPUs, and the share of each that the kubelet reserves: the same on EKS and GKE."""
_GKE_MEMORY_TIERS: Final = ((4, 0.25), (4, 0.2), (8, 0.1), (112, 0.06), (100_000, 0.02))
"""GiB, and the share of each that GKE reserves."""
_FEWEST_PODS: Final = {"nano": 4, "micro": 4, "small": 8, "medium": 8}
"""Fewest pods that nodeadm allows on a size of EC2 instances (defaultMaxENIs x (addresses - 1) + 2 of its instance-info.jsonl)."""
_MANY_PODS: Final = 29
"""Fewest pods on any larger instance, such as g4dn.xlarge and m7i.large."""
_T_GIB: Final = {"nano": 0.5, "micro": 1.0, "small": 2.0, "medium": 4.0, "large": 8.0, "xlarge": 16.0, "2xlarge": 32.0}
_EC2: Final = re.compile(r"(?P<family>[cmr])[5-9][a-z]*(-flex)?\.(?P<size>medium|large|\d*xlarge)|(?P<burst>t[34][a-z]*)\.(?P<bsize>\w+)")
_GCE: Final = re.compile(r"(?P<family>[a-z]\d[a-z]?)-(?P<kind>standard|highmem|highcpu)-(?P<vcpus>\d+)(-lssd)?")
_EC2_GIB: Final = {"c": 2, "m": 4, "r": 8}
"""GiB for each vCPU of an EC2 family, from generation 5 on."""
_GCE_GIB: Final = {"standard": 4.0, "highmem": 8.0, "highcpu": 2.0}
"""Most memory for each vCPU of a Compute Engine machine; n1, e2, n2 and c4 have a little less."""


class Room(NamedTuple):
    """CPU in cores and memory in bytes."""

    cpu: float
    memory: float

    def __str__(self) -> str:
        """Both in a manifest's units, rounded down."""
        return f"{int(self.cpu * 1000 + 1e-6)}m CPU and {int(self.memory / _MI)}Mi"


_EKS_DAEMONS: Final = (Room(0.05, 0), Room(0.1, 0), Room(0.03, 120 * _MI))
"""vpc-cni (aws-node and its network policy agent: charts/aws-vpc-cni of aws/amazon-vpc-cni-k8s), kube-proxy (unverified: AWS publishes no
manifest), and aws-ebs-csi-driver's node plugin (charts/aws-ebs-csi-driver of kubernetes-sigs/aws-ebs-csi-driver)."""
_NODE_MONITORING: Final = Room(0.01, 30 * _MI)
"""EKS' node monitoring agent (values.yaml of aws/eks-node-monitoring-agent 1.7.0); its DCGM server requests nothing."""
_GKE_DAEMONS: Final = (Room(0.1, 100 * _MI), Room(0.008, 65 * _MI), Room(0.03, 50 * _MI), Room(0.01, 20 * _MI))
"""gke-metadata-server, netd, node-local-dns and pdcsi-node. Google publishes no list: these and the next ones are from `kubectl describe
node` of a 1.36 node, printed in a public load test report (n2-standard-4, 1.36.3-gke.1767000), and a public list of DaemonSets of another
cluster; the lower value where they differ."""
_FLUENTBIT: Final = Room(0.105, 230 * _MI)
_METRICS_AGENT: Final = Room(0.019, 145 * _MI)
_KUBE_PROXY, _ANETD = Room(0.1, 0), Room(0.205, 0)
"""Without and with Dataplane V2. anetd's memory is not known."""
_GPU_PLUGIN, _GKE_DCGM = Room(0.055, 0), Room(0.1, 0)
"""On GPU nodes; their memory is not known."""
DCGM: Final = Room(0.1, 256 * _MI)
"""Our dcgm-exporter, on GPU nodes."""
SIDECAR: Final = Room(0.1, 128 * _MI)
"""Istio's proxy in each pod, where the gateway injects it (istio's chart istiod, global.proxy.resources)."""


def eks_daemons(cluster: EksClusterSettings) -> tuple[Room, ...]:
    """Return what EKS' own DaemonSets request of each node."""
    return (*_EKS_DAEMONS, _NODE_MONITORING) if cluster.node_monitoring else _EKS_DAEMONS


def gke_daemons(cluster: GkeClusterSettings, *, gpus: bool) -> tuple[Room, ...]:
    """Return what GKE's own DaemonSets request of each node."""
    found = [*_GKE_DAEMONS, _ANETD if cluster.dataplane_v2 else _KUBE_PROXY]
    if cluster.logs:
        found.append(_FLUENTBIT)
    if cluster.monitoring:
        found.append(_METRICS_AGENT)
    if gpus:
        found += [_GPU_PLUGIN, *([_GKE_DCGM] if "dcgm" in cluster.monitoring else [])]
    return tuple(found)


def eks_room(vcpus: float, memory_gib: float, machine_type: str, daemons: Sequence[Room]) -> Room:
    """Return what pods can request of an EKS node with AL2023 or Bottlerocket."""
    pods = _FEWEST_PODS.get(machine_type.rpartition(".")[2], _MANY_PODS)
    return _less(vcpus, memory_gib * _GI, (11 * pods + 255) * _MI, daemons)


def gke_room(vcpus: float, memory_gib: float, daemons: Sequence[Room]) -> Room:
    """Return what pods can request of a GKE node with Container-Optimized OS or Ubuntu."""
    return _less(vcpus, memory_gib * _GI, _tiers(memory_gib, _GKE_MEMORY_TIERS) * _GI, daemons)


def gke_disk_gib(size: int, system: str) -> float:
    """Return GiB that pods can request of a GKE boot disk of ``size`` GiB: less partitions, kube-reserved and 10 % for eviction."""
    partitions = 0.015635 * size + 4.148 if system == "cos" else 0.03083 * size + 0.171
    return size - partitions - min(0.5 * size, 6 + 0.35 * size, 100) - 0.1 * size


def _less(vcpus: float, memory: float, reserved: float, daemons: Sequence[Room]) -> Room:
    kernel = memory / 64 + 16 * _MI + (64 * _MI if memory > 3 * _GI else 0)
    cpu = vcpus - _tiers(vcpus, _CPU_TIERS) - sum(daemon.cpu for daemon in daemons)
    return Room(cpu, memory - kernel - reserved - _EVICTION - sum(daemon.memory for daemon in daemons))


def _tiers(amount: float, tiers: Sequence[tuple[int, float]]) -> float:
    reserved = 0.0
    for width, share in tiers:
        reserved += min(amount, width) * share
        amount = max(0.0, amount - width)
    return reserved


def ec2_size(machine_type: str) -> tuple[float, float] | None:
    """Return vCPUs and GiB of an EC2 type without GPU, by Amazon's naming; None for families that don't follow it."""
    match = _EC2.fullmatch(machine_type)
    if match is None:
        return None
    size = match["size"] or match["bsize"]
    vcpus = {"medium": 1, "large": 2, "xlarge": 4}.get(size) or int(size.removesuffix("xlarge") or 0) * 4 if match["size"] else 2
    if match["burst"]:
        gib = _T_GIB.get(size)
        return None if gib is None else ({"xlarge": 4, "2xlarge": 8}.get(size, 2), gib)
    return vcpus, vcpus * _EC2_GIB[match["family"]]


def gce_size(machine_type: str) -> tuple[float, float] | None:
    """Return vCPUs and, at most, GiB of a Compute Engine type without GPU; None for custom machines and families of other sizes."""
    match = _GCE.fullmatch(machine_type)
    return None if match is None else (int(match["vcpus"]), int(match["vcpus"]) * _GCE_GIB[match["kind"]])
