"""Nodes of a cloud's node groups, told to whoever plays them: one JSON file a group in the folder of the run.

A double writes `nodes/<group>.json` when a group is ready or has changed, and takes it away when the group is gone. Who makes node objects
of it (kwok on a control plane of the tests) reads `current` in a loop or waits for the file.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_EFFECTS = {"NO_SCHEDULE": "NoSchedule", "NO_EXECUTE": "NoExecute", "PREFER_NO_SCHEDULE": "PreferNoSchedule"}


def _path(folder: Path, group: str) -> Path:
    return folder / "nodes" / f"{group.replace(':', '--').replace('/', '--')}.json"


def capacity(machine: str) -> dict[str, str]:
    """What a node of a machine type has, as Kubernetes counts it. GPUs are there once a device plugin has registered them; the catalogue's.

    A machine without GPUs that nobody lists is taken for one with 4 CPUs and 16 GiB.
    """
    known = catalogue.MACHINES.get(machine)
    if known is None:
        return {"cpu": "4", "memory": "16Gi", "pods": "110", "ephemeral-storage": "80Gi"}
    pods = "110" if known.vcpus < 30 else "250"
    return {
        "cpu": str(known.vcpus),
        "memory": f"{known.memory_gib}Gi",
        "pods": pods,
        "ephemeral-storage": "80Gi",
        catalogue.RESOURCE: str(known.gpus),
    }


def write(folder: Path, group: str, content: Mapping[str, Any]) -> None:
    """Tell of a group: ``group``, ``count``, ``machine``, ``labels``, ``taints`` (key, value, effect as Kubernetes has it), ``zones``,
    ``capacity``."""
    path = _path(folder, group)
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    new.write_text(json.dumps({"group": group, **content}, sort_keys=True), encoding="utf-8")
    new.replace(path)


def forget(folder: Path, group: str) -> None:
    """The group is gone."""
    _path(folder, group).unlink(missing_ok=True)


def current(folder: Path) -> dict[str, dict[str, Any]]:
    """All groups that there are."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "nodes").glob("[!.]*.json"))]
    return {item["group"]: item for item in found}


def tell(folder: Path, group: str, said: Mapping[str, Any], *, machine: str, zones: Sequence[str], region: str) -> None:
    """Tell of a managed node group of EKS, from its description: with the labels that EKS itself gives to its nodes."""
    known = catalogue.MACHINES.get(machine)
    arm = known.arch == "arm64" if known is not None else "ARM" in str(said["amiType"])
    labels = {
        "eks.amazonaws.com/nodegroup": said["nodegroupName"],
        "eks.amazonaws.com/capacityType": said["capacityType"],
        "node.kubernetes.io/instance-type": machine,
        "topology.kubernetes.io/region": region,
        "kubernetes.io/arch": "arm64" if arm else "amd64",
        "kubernetes.io/os": "linux",
        **said["labels"],
    }
    write(
        folder,
        group,
        {
            "count": said["scalingConfig"]["desiredSize"],
            "machine": machine,
            "labels": labels,
            "taints": [{"key": item["key"], "value": item.get("value", ""), "effect": _EFFECTS[item["effect"]]} for item in said["taints"]],
            "zones": list(zones),
            "capacity": capacity(machine),
            "version": said["version"],
        },
    )
