"""The nodes of GKE's pools, written down for the control plane that stands in for a cluster's: a file for each pool that is RUNNING.

Labels, taints and resources are those that GKE gives to a node by itself: its device plugin is part of it, so that GPUs are there at once,
partitioned and shared as the pool says.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.doubles import nodes
from tests.doubles.gcp import machines

if TYPE_CHECKING:
    from tests.doubles.gcp.api import Body
    from tests.doubles.gcp.session import Session

POOL_LABEL: Final = "cloud.google.com/gke-nodepool"
GPU: Final = "nvidia.com/gpu"
_GIB_PER_CPU: Final = {"highcpu": 1.0, "standard": 4.0, "highmem": 8.0, "highgpu": 7.0, "megagpu": 14.0, "ultragpu": 14.0}
_SHARING: Final = {"TIME_SHARING": "time-sharing", "MPS": "mps"}
_EFFECTS: Final = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


def group_of(name: str) -> str:
    """What a pool's machines are named after."""
    parts = name.split("/")
    return f"gke-{parts[-3]}-{parts[-1]}"


def describe(pool: Body, count: int) -> dict[str, Any]:
    """A pool's nodes."""
    config = pool["config"]
    kind = machines.machine(config["machineType"])
    cpus = kind.cpus if kind else 2
    family = next((factor for key, factor in _GIB_PER_CPU.items() if key in config["machineType"]), 4.0)
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": config["machineType"],
        "topology.kubernetes.io/region": pool["locations"][0].rpartition("-")[0],
        "cloud.google.com/machine-family": config["machineType"].split("-")[0],
        POOL_LABEL: pool["name"],
        **config.get("labels", {}),
    }
    if config.get("spot"):
        labels["cloud.google.com/gke-spot"] = "true"
    if config.get("gcfsConfig", {}).get("enabled"):
        labels["cloud.google.com/gke-image-streaming"] = "true"
    gpus = 0
    for item in config.get("accelerators", []):
        gpus += units(item)
        labels |= gpu_labels(item)
    capacity = {"cpu": str(cpus), "memory": f"{int(cpus * family)}Gi", "pods": "110", "ephemeral-storage": "80Gi"}
    return {
        "count": count,
        "machine": config["machineType"],
        "labels": labels,
        "taints": [
            {"key": item["key"], "value": item.get("value", ""), "effect": _EFFECTS[item["effect"]]} for item in config.get("taints", [])
        ],
        "zones": pool["locations"],
        # The device plugin is GKE's own and part of the node. What a DaemonSet of drivers adds to its time is not played.
        "capacity": {**capacity, **({GPU: str(gpus)} if gpus else {})},
        "version": pool["version"],
    }


def gpu_labels(item: Body) -> dict[str, str]:
    """Labels that GKE puts on nodes with such GPUs."""
    labels = {"cloud.google.com/gke-accelerator": item["acceleratorType"], "cloud.google.com/gke-gpu": "true"}
    driver = item.get("gpuDriverInstallationConfig", {}).get("gpuDriverVersion", "DEFAULT")
    if driver != "INSTALLATION_DISABLED":
        labels["cloud.google.com/gke-gpu-driver-version"] = driver.lower()
    if item.get("gpuPartitionSize"):
        labels["cloud.google.com/gke-gpu-partition-size"] = item["gpuPartitionSize"]
    sharing = item.get("gpuSharingConfig")
    if sharing:
        labels["cloud.google.com/gke-gpu-sharing-strategy"] = _SHARING[sharing["gpuSharingStrategy"]]
        labels["cloud.google.com/gke-max-shared-clients-per-gpu"] = str(sharing["maxSharedClientsPerGpu"])
    return labels


def units(item: Body) -> int:
    """How many ``nvidia.com/gpu`` a node offers: GPUs by partitions by those who share each."""
    count = int(item["acceleratorCount"])
    parts = machines.PARTITIONS.get(item["acceleratorType"], {}).get(item.get("gpuPartitionSize", ""), 1)
    return count * parts * int(item.get("gpuSharingConfig", {}).get("maxSharedClientsPerGpu", 1))


def write(session: Session, name: str, pool: Body, count: int) -> None:
    """Write a pool's nodes down."""
    nodes.write(Path(session.state["folder"]), group_of(name), describe(pool, count))


def remove(session: Session, name: str) -> None:
    """A pool's nodes are no more."""
    nodes.forget(Path(session.state["folder"]), group_of(name))
