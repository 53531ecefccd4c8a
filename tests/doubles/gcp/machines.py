"""What GKE knows of machine types and GPUs: which go together, how a GPU is partitioned, which disks a machine takes, its quota.

Written down anew, from GKE's autoscaler and its documentation, and not taken from the project's own catalogue: a double that agreed with
that catalogue by construction would never find a mistake in it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FAMILIES: Final = {
    "a2-highgpu": ("nvidia-tesla-a100", {1: 12, 2: 24, 4: 48, 8: 96}),
    "a2-megagpu": ("nvidia-tesla-a100", {16: 96}),
    "a2-ultragpu": ("nvidia-a100-80gb", {1: 12, 2: 24, 4: 48, 8: 96}),
    "a3-highgpu": ("nvidia-h100-80gb", {1: 26, 2: 52, 4: 104, 8: 208}),
    "a3-megagpu": ("nvidia-h100-mega-80gb", {8: 208}),
    "a3-ultragpu": ("nvidia-h200-141gb", {8: 224}),
    "a4-highgpu": ("nvidia-b200", {8: 224}),
    "a4x-highgpu": ("nvidia-gb200", {4: 140}),
}
"""Machine families whose types end in the count of GPUs: the GPU's type, and vCPUs by that count."""
_L4: Final = {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}
"""GPUs of g2-standard-N."""
_RTX: Final = {48: 1, 96: 2, 192: 4, 384: 8}
"""GPUs of g4-standard-N."""
_N1: Final = {
    "nvidia-tesla-t4": {1: 48, 2: 48, 4: 96},
    "nvidia-tesla-p4": {1: 24, 2: 48, 4: 96},
    "nvidia-tesla-v100": {1: 12, 2: 24, 4: 48, 8: 96},
    "nvidia-tesla-p100": {1: 16, 2: 32, 4: 64},
}
"""Highest number of vCPUs of an n1 machine by the count of GPUs that are attached to it."""

PARTITIONS: Final[Mapping[str, Mapping[str, int]]] = {
    "nvidia-tesla-a100": {"1g.5gb": 7, "2g.10gb": 3, "3g.20gb": 2, "7g.40gb": 1},
    "nvidia-a100-80gb": {"1g.10gb": 7, "2g.20gb": 3, "3g.40gb": 2, "7g.80gb": 1},
    "nvidia-h100-80gb": {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "7g.80gb": 1},
    "nvidia-h100-mega-80gb": {"1g.10gb": 7, "1g.20gb": 4, "2g.20gb": 3, "3g.40gb": 2, "7g.80gb": 1},
    "nvidia-h200-141gb": {"1g.18gb": 7, "1g.35gb": 4, "2g.35gb": 3, "3g.71gb": 2, "7g.141gb": 1},
    "nvidia-b200": {"1g.23gb": 7, "1g.45gb": 4, "2g.45gb": 3, "3g.90gb": 2, "7g.180gb": 1},
    "nvidia-gb200": {"1g.23gb": 7, "1g.47gb": 4, "2g.47gb": 3, "3g.93gb": 2, "7g.186gb": 1},
    "nvidia-rtx-pro-6000": {"1g.24gb": 4, "2g.48gb": 2, "4g.96gb": 1},
}
"""Sizes into which a GPU can be partitioned, and how many of each it holds."""

QUOTAS: Final = {
    "nvidia-l4": "NVIDIA_L4_GPUS",
    "nvidia-tesla-t4": "NVIDIA_T4_GPUS",
    "nvidia-tesla-p4": "NVIDIA_P4_GPUS",
    "nvidia-tesla-p100": "NVIDIA_P100_GPUS",
    "nvidia-tesla-v100": "NVIDIA_V100_GPUS",
    "nvidia-tesla-a100": "NVIDIA_A100_GPUS",
    "nvidia-a100-80gb": "NVIDIA_A100_80GB_GPUS",
}
"""Regional quota of each GPU; spot machines count on PREEMPTIBLE_ and this."""

_HYPERDISK_ONLY: Final = ("a3-ultragpu", "a4-", "a4x-", "g4-", "c4-", "n4-", "c4a-")
_NO_STANDARD_DISK: Final = ("g2-", "a3-", "c3-", "h3-", "m3-")
_PERSISTENT: Final = ("pd-standard", "pd-balanced", "pd-ssd")
_GENERAL: Final = re.compile(
    r"^(e2|n1|n2|n2d|n4|n4d|c2|c2d|c3|c3d|c4|c4a|c4d|t2d|t2a|h3|m3)-(standard|highmem|highcpu|medium|small|micro)(-\d+)?(-lssd)?$"
)
_CPUS: Final = re.compile(r"-(\d+)(?:-lssd|-nolssd)?$")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine type."""

    name: str
    cpus: int
    gpu: str | None = None
    """Type of the GPUs that are part of it; None where it has none, or where some can be attached."""
    gpus: int = 0
    attachable: Mapping[str, Mapping[int, int]] = field(default_factory=dict)


def machine(name: str) -> Machine | None:
    """Look up a machine type; None where Google has none of this name."""
    plain = name.removesuffix("-nolssd")
    for family, (gpu, sizes) in _FAMILIES.items():
        for count, cpus in sizes.items():
            if plain == f"{family}-{count}g":
                return Machine(name=name, cpus=cpus, gpu=gpu, gpus=count)
    for prefix, gpu, counts in (("g2-standard-", "nvidia-l4", _L4), ("g4-standard-", "nvidia-rtx-pro-6000", _RTX)):
        size = plain.removeprefix(prefix)
        if plain.startswith(prefix) and size.isdigit() and int(size) in counts:
            return Machine(name=name, cpus=int(size), gpu=gpu, gpus=counts[int(size)])
    if not _GENERAL.match(name):
        return None
    found = _CPUS.search(name)
    return Machine(name=name, cpus=int(found[1]) if found else 2, attachable=_N1 if name.startswith("n1-") else {})


def gpu_problems(kind: Machine, accelerators: list[tuple[str, int, str]]) -> Iterator[str]:
    """What GKE refuses of a machine's GPUs, each as (type, count, partition size)."""
    if kind.gpu is None and not accelerators:
        return
    if len(accelerators) > 1:
        yield "Only one accelerator type can be attached to a node."
        return
    gpu, count, partition = accelerators[0] if accelerators else ("", 0, "")
    if kind.gpu is not None and (gpu, count) != (kind.gpu, kind.gpus):
        yield f"Machine type {kind.name} comes with {kind.gpus} {kind.gpu}; accelerator {gpu or 'none'} with count {count} does not match."
    elif kind.gpu is None and gpu not in kind.attachable:
        yield f"Accelerator type {gpu!r} cannot be attached to machine type {kind.name}."
    elif kind.gpu is None and kind.cpus > kind.attachable[gpu].get(count, 0):
        allowed = ", ".join(f"{number} (up to {cpus} vCPUs)" for number, cpus in kind.attachable[gpu].items())
        yield f"{count} {gpu} cannot be attached to machine type {kind.name}. Allowed counts: {allowed}."
    if partition and partition not in PARTITIONS.get(gpu, {}):
        yield f"GPU partition size {partition!r} is not supported for {gpu}. Supported: {', '.join(PARTITIONS.get(gpu, {})) or 'none'}."


def disk_problem(machine_type: str, disk: str) -> str | None:
    """What GKE says against a boot disk's type on a machine; None where they go together."""
    if machine_type.startswith(_HYPERDISK_ONLY):
        wrong = disk != "hyperdisk-balanced"
    elif disk == "hyperdisk-balanced":
        wrong = not machine_type.startswith(("a3-", "c3-", "m3-", "h3-"))
    else:
        wrong = disk not in _PERSISTENT or (disk == "pd-standard" and machine_type.startswith(_NO_STANDARD_DISK))
    return f"[{disk}] features are not compatible for creating instance on machine type {machine_type}." if wrong else None


def quotas(gpu: str, *, spot: bool) -> tuple[str, ...]:
    """Names of the quotas that a GPU counts on."""
    regional = QUOTAS.get(gpu, "")
    if spot:
        return tuple(f"PREEMPTIBLE_{regional}" for _ in (1,) if regional)
    return ("GPUS_ALL_REGIONS", *((regional,) if regional else ()))
