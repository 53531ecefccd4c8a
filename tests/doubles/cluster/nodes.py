"""What a node group's machines look like inside the cluster. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from components import naming
from components.cluster import gpu

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP_LABEL: Final = "eks.amazonaws.com/nodegroup"
"""The label by which EKS itself names a node's group."""
GPUS_ANNOTATION: Final = "doubles.triton-fleet/gpus"
"""How many GPUs the machine has: what the device plugin will find there."""
_EFFECTS: Final = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}
_SIZES: Final = {"medium": 1, "large": 2, "xlarge": 4}
_GIB_PER_VCPU: Final = {"c": 2, "m": 4, "t": 4, "r": 8, "x": 16}
_PODS: Final = 110
_RESERVED_CPU: Final = 0.08
_RESERVED_GIB: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """A node group that is active, as the cloud's double wrote it down."""

    name: str
    machine_type: str
    nodes: int
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()
    """Key, value, effect as EKS or Kubernetes spells it."""
    ami_type: str = ""

    @classmethod
    def parse(cls, name: str, content: Mapping[str, Any]) -> Group:
        """Read one file. The keys are those of EKS' own DescribeNodegroup."""
        taints = tuple((str(item["key"]), str(item.get("value", "")), str(item["effect"])) for item in content.get("taints") or ())
        types = content.get("instanceTypes") or [content["instanceType"]]
        return cls(
            name=name,
            machine_type=str(types[0]),
            nodes=int(content.get("desired", (content.get("scalingConfig") or {}).get("desiredSize", 1))),
            labels={str(key): str(value) for key, value in (content.get("labels") or {}).items()},
            taints=taints,
            ami_type=str(content.get("amiType", "")),
        )


def capacity(machine_type: str) -> tuple[float, float, int]:
    """VCPUs, GiB of memory and GPUs of a machine type: of the catalogue where it has GPUs, else by EC2's way of naming."""
    try:
        machine = gpu.machine(machine_type)
    except (KeyError, ValueError):
        match = re.fullmatch(r"(?P<family>[a-z]+)\d\w*\.(?:(?P<count>\d+))?(?P<size>medium|large|xlarge)", machine_type)
        if match is None:
            return 4.0, 16.0, 0
        vcpus = _SIZES[match["size"]] * int(match["count"] or 1)
        return float(vcpus), float(vcpus * _GIB_PER_VCPU.get(match["family"][0], 4)), 0
    return float(machine.vcpus), float(machine.memory_gib), machine.gpus


def node_objects(group: Group) -> list[dict[str, Any]]:
    """The Node objects of a group. Whole GPUs are left out: a device plugin brings them."""
    vcpus, gib, gpus = capacity(group.machine_type)
    offered = {
        "cpu": f"{int((vcpus - _RESERVED_CPU) * 1000)}m",
        "memory": f"{int((gib - _RESERVED_GIB) * 1024)}Mi",
        "ephemeral-storage": "100Gi",
        "pods": str(_PODS),
    }
    # The image has a device plugin of its own: GPUs are there as soon as the node is.
    if gpus and group.ami_type.startswith("BOTTLEROCKET"):
        offered[gpu.RESOURCE] = str(gpus)
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": f"{group.name}-{index}".lower().replace("_", "-"),
                "labels": {
                    "kubernetes.io/arch": "arm64" if "ARM_64" in group.ami_type else "amd64",
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/hostname": f"{group.name}-{index}".lower().replace("_", "-"),
                    "node.kubernetes.io/instance-type": group.machine_type,
                    "topology.kubernetes.io/zone": "abc"[index % 3],
                    GROUP_LABEL: group.name,
                    **group.labels,
                },
                "annotations": {GPUS_ANNOTATION: str(gpus)},
            },
            "spec": {
                "providerID": f"aws:///{'abc'[index % 3]}/i-{abs(hash((group.name, index))) % 16**8:08x}",
                "taints": [{"key": key, "value": value, "effect": _EFFECTS.get(effect, effect)} for key, value, effect in group.taints],
            },
            "status": {"capacity": offered, "allocatable": offered, "phase": "Pending"},
        }
        for index in range(group.nodes)
    ]


def wants_plugin(node: Mapping[str, Any]) -> bool:
    """Whether the machine has GPUs that nothing has told Kubernetes of yet, and the stack means to install what does."""
    metadata = node["metadata"]
    has = int((metadata.get("annotations") or {}).get(GPUS_ANNOTATION, "0"))
    known = gpu.RESOURCE in ((node.get("status") or {}).get("capacity") or {})
    return has > 0 and not known and naming.GPU_PLUGIN_LABEL in (metadata.get("labels") or {})
