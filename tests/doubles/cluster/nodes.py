"""What a node group's machines look like inside the cluster, from what `tests.doubles.nodes` tells of it. Pure."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from components.base import naming
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUP_LABEL: Final = "doubles.triton-fleet/group"
"""On every node that the tests' cloud made: the name of its group."""
GPUS_ANNOTATION: Final = "doubles.triton-fleet/gpus"
"""How many GPUs the machine has: what the device plugin will find there."""
_NAME: Final = re.compile(r"[^a-z0-9.]+")


@dataclass(frozen=True, kw_only=True)
class Group:
    """A node group that is active, as the cloud's double wrote it down."""

    name: str
    machine: str
    nodes: int
    capacity: Mapping[str, str]
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Mapping[str, str], ...] = ()
    zones: tuple[str, ...] = ()

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> Group:
        """Read one file."""
        return cls(
            name=_NAME.sub("-", str(content["group"]).rsplit("/", 1)[-1].lower()).strip("-"),
            machine=str(content["machine"]),
            nodes=int(content["count"]),
            capacity=dict(content["capacity"]),
            labels=dict(content["labels"]),
            taints=tuple(content["taints"]),
            zones=tuple(content["zones"]),
        )


def node_objects(group: Group) -> list[dict[str, Any]]:
    """The Node objects of a group. GPUs that wait for a device plugin are left out: it brings them."""
    gpus = group.capacity.get(catalogue.RESOURCE, "0")
    offered = dict(group.capacity)
    if naming.GPU_PLUGIN_LABEL in group.labels:
        offered.pop(catalogue.RESOURCE, None)
    return [_node(group, index, offered, gpus) for index in range(group.nodes)]


def _node(group: Group, index: int, offered: Mapping[str, str], gpus: str) -> dict[str, Any]:
    name = f"{group.name}-{index}"
    zone = group.zones[index % len(group.zones)] if group.zones else "zone"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, **group.labels, GROUP_LABEL: group.name[-63:]},
            "annotations": {GPUS_ANNOTATION: gpus},
        },
        "spec": {
            "providerID": f"aws:///{zone}/i-{hashlib.sha256(name.encode()).hexdigest()[:17]}",
            "taints": [{"key": item["key"], "value": item.get("value", ""), "effect": item["effect"]} for item in group.taints],
        },
        "status": {"capacity": offered, "allocatable": offered, "phase": "Pending"},
    }


def wants_plugin(node: Mapping[str, Any]) -> bool:
    """Whether the machine has GPUs that nothing has told Kubernetes of yet, and the stack means to install what does."""
    metadata = node["metadata"]
    has = int((metadata.get("annotations") or {}).get(GPUS_ANNOTATION, "0"))
    known = catalogue.RESOURCE in ((node.get("status") or {}).get("capacity") or {})
    return has > 0 and not known and naming.GPU_PLUGIN_LABEL in (metadata.get("labels") or {})
