"""Machine types with NVIDIA GPUs on EC2 and Compute Engine, and what is in them. Data and pure functions.

Sources: EC2 figures are from Karpenter's instance-types.md (2026-08); vCPU, memory and GPU counts agree with Cluster Autoscaler's list of
2026-01-22 where that has the type. p3 is only in the former. EC2's MIG profiles are from the GPU operator's default MIG configuration.
Compute Engine's figures are from GKE's cluster autoscaler; a4x-maxgpu-4g-metal is in no second source.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Cloud = Literal["ec2", "gce"]
Arch = Literal["x86_64", "arm64"]

RESOURCE: Final = "nvidia.com/gpu"
"""Kubernetes resource of whole GPUs, and of GPUs shared by time-slicing or MPS."""
PRESENT_LABEL: Final = "nvidia.com/gpu.present"
"""Node label, ``"true"`` on every node with a GPU."""
TAINT_KEY: Final = "nvidia.com/gpu"
TAINT_VALUE: Final = "present"
"""The value of GKE's own taint; node-feature-discovery's worker tolerates only this value by default."""
TOLERATION: Final = MappingProxyType({"key": TAINT_KEY, "operator": "Exists", "effect": "NoSchedule"})
"""Toleration of the taint on GPU nodes, whatever its value."""


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU model, as one cloud offers it."""

    name: str
    memory_mib: int | None
    """Memory of one GPU in MiB; None where no source was found."""
    mig: Mapping[str, int] = field(default_factory=dict)
    """MIG profile -> number of its instances on one GPU. Empty where the GPU has no MIG."""
    accelerator: str = ""
    """EC2: value of the node label ``k8s.amazonaws.com/accelerator``: Cluster Autoscaler's, or one of the same form where it has none.
    Compute Engine: the accelerator type."""
    driver: int | None = None
    """Oldest driver branch that supports it, where current AMIs have an older one; else None."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine type with GPUs."""

    name: str
    cloud: Cloud
    gpu: Gpu
    gpus: int
    vcpus: int
    memory_gib: int
    """Memory in GiB on EC2 and in GB on Compute Engine, the unit that each cloud publishes."""
    efa: int = 0
    """EC2: number of EFA network cards."""
    arch: Arch = "x86_64"
    local_ssds: int | None = None
    """Compute Engine: number of bundled local SSDs; None where none is bundled."""
    boot_disks: tuple[str, ...] = ()
    """Compute Engine: supported types of boot disk; ``pd-*`` is any persistent disk."""
    compact: bool = False
    """Compute Engine: whether compact placement is supported."""


def _profiles(text: str) -> Mapping[str, int]:
    """Parse ``1g.5gb*7 2g.10gb*3``."""
    return MappingProxyType({name: int(count) for name, count in (part.split("*") for part in text.split())})


_A100_40 = "1g.5gb*7 1g.5gb+me*1 1g.10gb*4 2g.10gb*3 3g.20gb*2 4g.20gb*1 7g.40gb*1"
_A100_80 = "1g.10gb*7 1g.10gb+me*1 1g.20gb*4 2g.20gb*3 3g.40gb*2 4g.40gb*1 7g.80gb*1"
_H200 = "1g.18gb*7 1g.18gb+me*1 1g.35gb*4 2g.35gb*3 3g.71gb*2 4g.71gb*1 7g.141gb*1"
_B200 = "1g.23gb*7 1g.23gb+me*1 1g.45gb*4 2g.45gb*3 3g.90gb*2 4g.90gb*1 7g.180gb*1"
_B300 = "1g.34gb*7 1g.34gb+me*1 1g.67gb*4 2g.67gb*3 3g.135gb*2 4g.135gb*1 7g.269gb*1"
_RTX_PRO_6000 = (
    "1g.24gb*4 1g.24gb+me*1 1g.24gb+gfx*4 1g.24gb+me.all*1 1g.24gb-me*4 2g.48gb*2 2g.48gb+gfx*2 2g.48gb+me.all*1 2g.48gb-me*2 "
    "4g.96gb*1 4g.96gb+gfx*1"
)

_EC2_GPUS: Final[Mapping[str, Gpu]] = {
    "t4": Gpu(name="T4", memory_mib=16384, accelerator="nvidia-tesla-t4"),
    "a10g": Gpu(name="A10G", memory_mib=22888, accelerator="nvidia-a10g"),
    "t4g": Gpu(name="T4G", memory_mib=16384, accelerator="nvidia-t4g"),
    "l4": Gpu(name="L4", memory_mib=22888, accelerator="nvidia-l4"),
    "l40s": Gpu(name="L40S", memory_mib=45776, accelerator="nvidia-l40s"),
    # Has MIG with at most two instances (NVIDIA's MIG guide), but no source with its profiles was found: not offered.
    "rtx-pro-4500": Gpu(name="RTX PRO 4500", memory_mib=32768, accelerator="nvidia-rtx-pro-4500", driver=595),
    # MIG on g7e: aws-samples/awsome-inference#73 reports that it works; aws/sagemaker-hyperpod-cli#403 removed it.
    "rtx-pro-6000": Gpu(name="RTX PRO 6000", memory_mib=98304, mig=_profiles(_RTX_PRO_6000), accelerator="nvidia-rtx-pro-6000"),
    "v100": Gpu(name="V100", memory_mib=None, accelerator="nvidia-tesla-v100"),
    "v100-32": Gpu(name="V100 32 GB", memory_mib=32768, accelerator="nvidia-tesla-v100"),
    "a100": Gpu(name="A100 40 GB", memory_mib=40960, mig=_profiles(_A100_40), accelerator="nvidia-tesla-a100"),
    "a100-80": Gpu(name="A100 80 GB", memory_mib=81920, mig=_profiles(_A100_80), accelerator="nvidia-tesla-a100"),
    "h100": Gpu(name="H100 80 GB", memory_mib=81920, mig=_profiles(_A100_80), accelerator="nvidia-h100"),
    "h200": Gpu(name="H200", memory_mib=144384, mig=_profiles(_H200), accelerator="nvidia-h200"),
    "b200": Gpu(name="B200", memory_mib=183359, mig=_profiles(_B200), accelerator="nvidia-b200"),
    "b300": Gpu(name="B300", memory_mib=275040, mig=_profiles(_B300), accelerator="nvidia-b300"),
}

_EC2_MACHINES: Final = """
g4dn t4: xlarge 1/4/16/0, 2xlarge 1/8/32/0, 4xlarge 1/16/64/0, 8xlarge 1/32/128/1, 12xlarge 4/48/192/1, 16xlarge 1/64/256/1
g4dn t4: metal 8/96/384/1
g5 a10g: xlarge 1/4/16/0, 2xlarge 1/8/32/0, 4xlarge 1/16/64/0, 8xlarge 1/32/128/1, 12xlarge 4/48/192/1, 16xlarge 1/64/256/1
g5 a10g: 24xlarge 4/96/384/1, 48xlarge 8/192/768/1
g5g t4g: xlarge 1/4/8/0, 2xlarge 1/8/16/0, 4xlarge 1/16/32/0, 8xlarge 1/32/64/0, 16xlarge 2/64/128/0, metal 2/64/128/0
g6 l4: xlarge 1/4/16/0, 2xlarge 1/8/32/0, 4xlarge 1/16/64/0, 8xlarge 1/32/128/1, 12xlarge 4/48/192/1, 16xlarge 1/64/256/1
g6 l4: 24xlarge 4/96/384/1, 48xlarge 8/192/768/1
gr6 l4: 4xlarge 1/16/128/0, 8xlarge 1/32/256/1
g6e l40s: xlarge 1/4/32/0, 2xlarge 1/8/64/0, 4xlarge 1/16/128/0, 8xlarge 1/32/256/1, 12xlarge 4/48/384/1, 16xlarge 1/64/512/1
g6e l40s: 24xlarge 4/96/768/2, 48xlarge 8/192/1536/4
g7 rtx-pro-4500: 2xlarge 1/8/32/0, 4xlarge 1/16/64/0, 8xlarge 1/32/128/1, 12xlarge 2/48/192/1, 24xlarge 4/96/384/1, 48xlarge 8/192/768/2
g7e rtx-pro-6000: 2xlarge 1/8/64/0, 4xlarge 1/16/128/0, 8xlarge 1/32/256/1, 12xlarge 2/48/512/1, 24xlarge 4/96/1024/2
g7e rtx-pro-6000: 48xlarge 8/192/2048/4
p3 v100: 2xlarge 1/8/61/0, 8xlarge 4/32/244/0, 16xlarge 8/64/488/0
p3dn v100-32: 24xlarge 8/96/768/1
p4d a100: 24xlarge 8/96/1152/4
p4de a100-80: 24xlarge 8/96/1152/4
p5 h100: 4xlarge 1/16/256/1, 48xlarge 8/192/2048/32
p5e h200: 48xlarge 8/192/2048/32
p5en h200: 48xlarge 8/192/2048/16
p6-b200 b200: 48xlarge 8/192/2048/8
p6-b300 b300: 48xlarge 8/192/4096/16
"""
"""Family, key of _EC2_GPUS: size GPUs/vCPUs/GiB/EFA network cards, ..."""
_ARM_FAMILIES: Final = frozenset({"g5g"})
REFUSED: Final[Mapping[str, str]] = {
    "g6f": "has a fraction of an L4, which autoscalers do not count as a GPU",
    "gr6f": "has a fraction of an L4, which autoscalers do not count as a GPU",
    "p6e-gb200": "is sold as whole racks, and no source has its figures",
}
"""EC2 families with GPUs that are refused -> the reason."""

_GCE_H100 = _profiles("1g.10gb*7 1g.20gb*4 2g.20gb*3 3g.40gb*2 7g.80gb*1")

_GCE_GPUS: Final[Mapping[str, Gpu]] = {
    "nvidia-l4": Gpu(name="L4", memory_mib=24 * 1024),
    "nvidia-tesla-a100": Gpu(name="A100 40 GB", memory_mib=40 * 1024, mig=_profiles("1g.5gb*7 2g.10gb*3 3g.20gb*2 7g.40gb*1")),
    "nvidia-a100-80gb": Gpu(name="A100 80 GB", memory_mib=80 * 1024, mig=_profiles("1g.10gb*7 2g.20gb*3 3g.40gb*2 7g.80gb*1")),
    "nvidia-h100-80gb": Gpu(name="H100 80 GB", memory_mib=80 * 1024, mig=_GCE_H100),
    "nvidia-h100-mega-80gb": Gpu(name="H100 80 GB", memory_mib=80 * 1024, mig=_GCE_H100),
    "nvidia-h200-141gb": Gpu(name="H200", memory_mib=141 * 1024, mig=_profiles("1g.18gb*7 1g.35gb*4 2g.35gb*3 3g.71gb*2 7g.141gb*1")),
    "nvidia-b200": Gpu(name="B200", memory_mib=180 * 1024, mig=_profiles("1g.23gb*7 1g.45gb*4 2g.45gb*3 3g.90gb*2 7g.180gb*1")),
    "nvidia-gb200": Gpu(name="GB200", memory_mib=186 * 1024, mig=_profiles("1g.23gb*7 1g.47gb*4 2g.47gb*3 3g.93gb*2 7g.186gb*1")),
    "nvidia-gb300": Gpu(name="GB300", memory_mib=None),
    # Two sources disagree on the names of the +me and +gfx variants, which are therefore left out.
    "nvidia-rtx-pro-6000": Gpu(name="RTX PRO 6000", memory_mib=96 * 1024, mig=_profiles("1g.24gb*4 2g.48gb*2 4g.96gb*1")),
}
"""By accelerator type."""

_GCE_MACHINES: Final = """
nvidia-l4 pd-balanced,pd-ssd compact: g2-standard-4 1/4/16/-, g2-standard-8 1/8/32/-, g2-standard-12 1/12/48/-, g2-standard-16 1/16/64/-
nvidia-l4 pd-balanced,pd-ssd compact: g2-standard-32 1/32/128/-, g2-standard-24 2/24/96/-, g2-standard-48 4/48/192/-
nvidia-l4 pd-balanced,pd-ssd compact: g2-standard-96 8/96/384/-
nvidia-tesla-a100 pd-* compact: a2-highgpu-1g 1/12/85/-, a2-highgpu-2g 2/24/170/-, a2-highgpu-4g 4/48/340/-, a2-highgpu-8g 8/96/680/-
nvidia-tesla-a100 pd-* compact: a2-megagpu-16g 16/96/1360/-
nvidia-a100-80gb pd-* compact: a2-ultragpu-1g 1/12/170/1, a2-ultragpu-2g 2/24/340/2, a2-ultragpu-4g 4/48/680/4, a2-ultragpu-8g 8/96/1360/8
nvidia-h100-80gb pd-balanced,pd-ssd,hyperdisk-balanced compact: a3-highgpu-1g 1/26/234/2, a3-highgpu-2g 2/52/468/4
nvidia-h100-80gb pd-balanced,pd-ssd,hyperdisk-balanced compact: a3-highgpu-4g 4/104/936/8, a3-highgpu-8g 8/208/1872/16
nvidia-h100-mega-80gb pd-balanced,pd-ssd,hyperdisk-balanced compact: a3-megagpu-8g 8/208/1872/16
nvidia-h200-141gb hyperdisk-balanced compact: a3-ultragpu-8g 8/224/2952/32
nvidia-b200 hyperdisk-balanced compact: a4-highgpu-8g 8/224/3968/32
nvidia-gb200 hyperdisk-balanced -: a4x-highgpu-4g 4/140/884/4
nvidia-gb300 hyperdisk-balanced -: a4x-maxgpu-4g-metal 4/144/960/4
nvidia-rtx-pro-6000 hyperdisk-balanced compact: g4-standard-48 1/48/180/-, g4-standard-96 2/96/360/-, g4-standard-192 4/192/720/-
nvidia-rtx-pro-6000 hyperdisk-balanced compact: g4-standard-384 8/384/1440/-
"""
"""Accelerator type, types of boot disk, compact placement: machine GPUs/vCPUs/GB/bundled local SSDs (- for none), ..."""
_GCE_ARM: Final = frozenset({"nvidia-gb200", "nvidia-gb300"})


# Number of GPUs -> most vCPUs and most GB of memory of the machine that they are attached to.
_ATTACHABLE: Final[Mapping[str, tuple[Gpu, Mapping[int, tuple[int, int]]]]] = {
    "nvidia-tesla-t4": (Gpu(name="T4", memory_mib=16 * 1024), {1: (48, 312), 2: (48, 312), 4: (96, 624)}),
    "nvidia-tesla-p4": (Gpu(name="P4", memory_mib=8 * 1024), {1: (24, 156), 2: (48, 312), 4: (96, 624)}),
    "nvidia-tesla-v100": (Gpu(name="V100", memory_mib=16 * 1024), {1: (12, 78), 2: (24, 156), 4: (48, 312), 8: (96, 624)}),
    # With four P100, GKE's autoscaler allows 64 vCPUs and SkyPilot 96: the lower one.
    "nvidia-tesla-p100": (Gpu(name="P100", memory_mib=16 * 1024), {1: (16, 104), 2: (32, 208), 4: (64, 416)}),
}
"""GPUs that Compute Engine attaches to N1 machines, by accelerator type. No other machine family takes attached GPUs."""
_N1: Final = re.compile(r"^n1-(?P<kind>standard|highmem|highcpu)-(?P<vcpus>1|2|4|8|16|32|64|96)\Z")
_N1_GB: Final[Mapping[str, float]] = {"standard": 3.75, "highmem": 6.5, "highcpu": 0.9}


def _table(text: str) -> Iterator[tuple[list[str], str, list[str]]]:
    """Yield the words before the colon, a machine's name and its figures."""
    for line in text.strip().splitlines():
        head, machines = line.split(": ")
        for entry in machines.split(", "):
            name, figures = entry.split(" ")
            yield head.split(" "), name, figures.split("/")


def _machines() -> Iterator[Machine]:
    for (family, model), size, (gpus, vcpus, memory, efa) in _table(_EC2_MACHINES):
        yield Machine(
            name=f"{family}.{size}",
            cloud="ec2",
            gpu=_EC2_GPUS[model],
            gpus=int(gpus),
            vcpus=int(vcpus),
            memory_gib=int(memory),
            efa=int(efa),
            arch="arm64" if family in _ARM_FAMILIES else "x86_64",
        )
    for (accelerator, disks, compact), name, (gpus, vcpus, memory, ssds) in _table(_GCE_MACHINES):
        yield Machine(
            name=name,
            cloud="gce",
            gpu=replace(_GCE_GPUS[accelerator], accelerator=accelerator),
            gpus=int(gpus),
            vcpus=int(vcpus),
            memory_gib=int(memory),
            arch="arm64" if accelerator in _GCE_ARM else "x86_64",
            local_ssds=None if ssds == "-" else int(ssds),
            boot_disks=tuple(disks.split(",")),
            compact=compact == "compact",
        )


MACHINES: Final = MappingProxyType({entry.name: entry for entry in _machines()})
"""Every machine type with GPUs that a stack may use, by name."""
EC2_FAMILIES: Final = frozenset(entry.name.split(".")[0] for entry in MACHINES.values() if entry.cloud == "ec2") | frozenset(REFUSED)
"""Families of EC2 instance types with GPUs, refused ones included."""


def machine(name: str, *, cloud: Cloud | None = None) -> Machine:
    """Return the machine type ``name``.

    Raises:
        ValueError: When ``cloud`` (None is any) has no such machine type, with the nearest name or the reason.
    """
    found = MACHINES.get(name)
    if found is not None and cloud in {None, found.cloud}:
        return found
    known = sorted(entry.name for entry in MACHINES.values() if cloud in {None, entry.cloud})
    family = name.split(".", maxsplit=1)[0]
    if family in REFUSED and cloud != "gce":
        raise ValueError(f"is not supported: it {REFUSED[family]}. Choose a machine with whole GPUs, such as g6.xlarge.")
    sizes = sorted((entry.split(".")[1] for entry in known if entry.startswith(f"{family}.")), key=_size)
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.8)
    if sizes and "." in name:
        hint = f"The sizes of {family} are {', '.join(sizes)}."
    elif close:
        hint = f"Did you mean {close[0]}?"
    else:
        families = sorted({re.split(r"[.]|-(?=[a-z]*(?:gpu|standard))", entry)[0] for entry in known})
        hint = f"Known families: {', '.join(families)}."
    raise ValueError(f"is not a machine type with GPUs: its nodes could not be created. {hint}")


def _size(name: str) -> tuple[int, str]:
    """Sort key of an EC2 size: xlarge, 2xlarge, ..., metal."""
    number = name.removesuffix("xlarge")
    return (int(number or 1) if number != name else 1000, name)


def attached(name: str, accelerator: str, count: int) -> Machine:
    """Return the N1 machine ``name`` with ``count`` GPUs of the type ``accelerator`` attached.

    Raises:
        ValueError: When the machine is not an N1, takes no such accelerator, or is too large for that number of GPUs.
    """
    match = _N1.match(name)
    if match is None:
        raise ValueError(
            "is not an N1 machine: Compute Engine attaches GPUs to no other. Use one such as n1-standard-8, or a machine type with GPUs."
        )
    if accelerator not in _ATTACHABLE:
        close = difflib.get_close_matches(accelerator, _ATTACHABLE, n=1)
        hint = f"Did you mean {close[0]}? " if close else ""
        raise ValueError(
            f"cannot have {accelerator} attached: Compute Engine would refuse it. {hint}N1 machines take {', '.join(_ATTACHABLE)}."
        )
    gpu, limits = _ATTACHABLE[accelerator]
    if count not in limits:
        raise ValueError(
            f"takes {', '.join(map(str, limits))} GPUs of {accelerator}, not {count}: Compute Engine would refuse it. Change it."
        )
    vcpus = int(match["vcpus"])
    memory = int(vcpus * _N1_GB[match["kind"]])
    most_vcpus, most_memory = limits[count]
    if vcpus > most_vcpus or memory > most_memory:
        raise ValueError(
            f"has {vcpus} vCPUs and {memory} GB, above the {most_vcpus} vCPUs and {most_memory} GB allowed with {count} {accelerator}: "
            "Compute Engine would refuse it. Attach more GPUs or choose a smaller machine."
        )
    gpu = replace(gpu, accelerator=accelerator)
    return Machine(name=name, cloud="gce", gpu=gpu, gpus=count, vcpus=vcpus, memory_gib=memory, boot_disks=("pd-*",))
