"""Settings of a GKE cluster's nodes: the pool without GPUs and the GPU pools.

Keys are the same as in EKS' pools wherever the thing is the same. They reject here what GKE would reject after ten minutes, or accept and
never run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Final, Literal

from pydantic import AfterValidator, Field

from components.base import naming
from components.base.clusters import label_problems, scaling_problems
from components.base.errors import Problem
from components.base.model import DnsLabel, Model, matching
from components.gpu import catalogue
from components.gpu.sharing import Offer, Sharing, WholeSharing, offer, sharing_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONE: Final = r"[a-z]+-[a-z]+\d+-[a-z]"
_HYPERDISK_ONLY: Final = frozenset({"n4", "n4a", "n4d", "c4", "c4a", "c4d", "m4", "x4", "h4d"})
"""Families without GPUs that support no persistent disk (Compute Engine's "disk types that each machine series supports")."""
_ARM_FAMILIES: Final = frozenset({"t2a", "c4a", "n4a"})
_GPU_FAMILIES: Final = frozenset({"a2", "a3", "a4", "a4x", "g2", "g4"})
_KNOWN_FAMILIES: Final = (
    _HYPERDISK_ONLY | _ARM_FAMILIES | {"e2", "n1", "n2", "n2d", "c2", "c2d", "c3", "c3d", "t2d", "m1", "m2", "m3", "h3", "z3"}
)
_TOO_SMALL: Final = ("e2-micro", "e2-small", "f1-micro", "g1-small")
_RESERVED_PREFIXES: Final = ("kubernetes.io", "k8s.io", "cloud.google.com", "gke.io")


def _check_cpu_machine(value: str) -> str:
    if value in _TOO_SMALL:
        raise ValueError("is too small for GKE's own pods and Prometheus: nothing would start. Choose e2-standard-4 or larger.")
    if family(value) in _GPU_FAMILIES:
        raise ValueError(
            "has a GPU: nothing would use it. Choose a machine type without one, such as c3-standard-4, and put GPUs in gpuPools."
        )
    if family(value) not in _KNOWN_FAMILIES or re.fullmatch("[a-z0-9]+-[a-z]+-[a-z0-9-]+", value) is None:
        raise ValueError("is not a machine type of Compute Engine: its nodes could not be created. Write one such as c3-standard-4.")
    return value


def _check_gpu_machine(value: str) -> str:
    if not value.startswith("n1-"):
        catalogue.machine(value, cloud="gce")
    return value


GcpZone = Annotated[str, matching(ZONE, "is not a Google Cloud zone: its nodes could not be created. Write one such as us-central1-a.")]
"""Name of a Google Cloud zone."""
DiskType = Literal["pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"]


def family(machine_type: str) -> str:
    """Return the family of a machine type, such as ``n1`` of ``n1-standard-8``."""
    return machine_type.split("-", maxsplit=1)[0]


def gce_architecture(machine_type: str) -> catalogue.Arch:
    """Return the architecture of a machine type without GPUs; the Arm families are those of "Arm workloads on GKE"."""
    return "arm64" if family(machine_type) in _ARM_FAMILIES else "x86_64"


def only_hyperdisk(machine_type: str) -> bool:
    """Whether a machine without GPUs supports no persistent disk, either as its own or as a volume of GKE's default storage class."""
    return family(machine_type) in _HYPERDISK_ONLY


class GkeDiskSettings(Model):
    """A node's disk."""

    size: int = Field(default=200, ge=30, le=65536)
    """GiB. A Triton image takes 20 to 40 unpacked."""
    type: DiskType | None = None
    """Kind of disk; None is ``pd-balanced``, or ``hyperdisk-balanced`` if the machine supports no other."""
    iops: int | None = Field(default=None, ge=3000, le=160000)
    """Provisioned IOPS, only for ``hyperdisk-balanced``: of other disks they follow from the size."""
    throughput: int | None = Field(default=None, ge=140, le=2400)
    """Provisioned MiB/s, only for ``hyperdisk-balanced``."""
    image: (
        Annotated[
            str,
            matching(
                r"projects/[a-z][a-z0-9.:-]*/global/images/[a-z][a-z0-9-]*",
                "is not a disk image: GKE would reject it. Write projects/PROJECT/global/images/NAME.",
            ),
        ]
        | None
    ) = None
    """GPU pools: disk image that contains container images (``projects/P/global/images/I``, built by Google's gke-disk-image-builder). Each
    node gets it as a second disk, and need not pull these images."""


def disk_type(disk: GkeDiskSettings, supported: tuple[str, ...]) -> DiskType:
    """Return the kind of a node's disk on a machine that supports ``supported`` (``pd-*`` is any persistent disk)."""
    if disk.type is not None:
        return disk.type
    return "pd-balanced" if _supports("pd-balanced", supported) else "hyperdisk-balanced"


def _supports(kind: str, supported: tuple[str, ...]) -> bool:
    return kind in supported or ("pd-*" in supported and kind.startswith("pd-"))


class UpgradeSettings(Model):
    """How nodes are replaced when GKE upgrades them or a setting changes."""

    max_surge: int = Field(default=0, ge=0, le=20)
    """Extra nodes during the replacement. 0 with GPUs: a spare GPU needs quota and stock, and an upgrade would wait for them."""
    max_unavailable: int = Field(default=1, ge=0, le=20)
    """Nodes that are unavailable at the same time."""

    def _problems(self) -> Iterator[Problem]:
        if self.max_surge + self.max_unavailable == 0:
            text = "and maxUnavailable are both 0: no node could ever be upgraded. Set one of them to 1."
            yield Problem(at=("max_surge",), text=text, also=(("max_unavailable",),))


class GkeCpuPoolSettings(Model):
    """The nodes without GPUs: for DNS, Prometheus, and Triton in a stack without GPUs. Never tainted."""

    # What only GPU pools let a user choose.
    name: ClassVar = "cpu"
    os: ClassVar = "cos"
    zones: ClassVar[tuple[str, ...] | None] = None
    per_zone: ClassVar = False
    location_policy: ClassVar = "balanced"
    gvnic: ClassVar = True
    compact_placement: ClassVar = False
    capacity_reservation: ClassVar[str | None] = None
    ssds: ClassVar[int | None] = None

    machine_types: tuple[Annotated[str, AfterValidator(_check_cpu_machine)], ...] = Field(default=("c3-standard-4",), min_length=1)
    """Machine type, exactly one; a list because EKS takes several."""
    min: int = Field(default=2, ge=1)
    """Fewest nodes. Never 0: DNS would have nowhere to run."""
    desired: int | None = Field(default=None, ge=1)
    """Nodes at creation; None is ``min``. GKE starts the same number in each zone, so there may be a few more."""
    max: int = Field(default=6, ge=1)
    """Most nodes in all zones."""
    capacity: Literal["onDemand", "spot"] = "onDemand"
    """How nodes are bought."""
    disk: GkeDiskSettings = GkeDiskSettings(size=80)
    """The nodes' disks."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    upgrade: UpgradeSettings = UpgradeSettings(max_surge=1, max_unavailable=0)
    """How nodes are replaced."""

    @property
    def machine_type(self) -> str:
        """The one machine type."""
        return self.machine_types[0]

    @property
    def disk_types(self) -> tuple[str, ...]:
        """Kinds of disk that the machine supports."""
        return ("hyperdisk-balanced",) if only_hyperdisk(self.machine_type) else ("pd-*", "hyperdisk-balanced")

    def _problems(self) -> Iterator[Problem]:
        yield from _pool_problems(self)
        if len(self.machine_types) > 1:
            text = f"names {len(self.machine_types)}: a node pool on GKE has one machine type. Keep one."
            yield Problem(at=("machine_types",), text=text)
        yield from _disk_problems(self, "machine_types")
        if self.disk.image is not None:
            text = "would be ignored: Triton's image is needed on GPU nodes. Set it on a GPU pool."
            yield Problem(at=("disk", "image"), text=text)


class AcceleratorSettings(Model):
    """GPUs attached to an N1 machine, as in ``--accelerator type=..,count=..``."""

    type: str
    """Accelerator type, such as ``nvidia-tesla-t4``."""
    count: int = Field(default=1, ge=1, le=8)
    """GPUs per node."""


class GkeGpuPoolSettings(Model):
    """A pool of GPU nodes of one machine type."""

    name: DnsLabel = Field(max_length=32)
    """Name of the pool, and value of the label ``triton-fleet/pool`` of its nodes. GKE's own name for it has a suffix."""
    machine_type: Annotated[str, AfterValidator(_check_gpu_machine)] = Field(examples=["g2-standard-8"])
    """Machine type with GPUs, such as ``g2-standard-8``; or an N1 machine with ``accelerator``."""
    accelerator: AcceleratorSettings | None = None
    """GPUs to attach to an N1 machine. With other machine types the GPUs are fixed."""
    min: int = Field(default=0, ge=0)
    """Fewest nodes in all zones, or in each zone with ``perZone``."""
    desired: int | None = Field(default=None, ge=0)
    """Nodes at creation; None is ``min``. GKE starts the same number in each zone, at most ``max`` in all. Ignored afterwards."""
    max: int = Field(default=5, ge=1)
    """Most nodes in all zones, or in each zone with ``perZone``. A rollout at full scale needs a GPU more than ``maxReplicas`` do."""
    capacity: Literal["onDemand", "spot", "reservation"] = "onDemand"
    """How nodes are bought."""
    capacity_reservation: str | None = Field(
        default=None, pattern=r"^(projects/[a-z][a-z0-9-]*/reservations/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
    )
    """Name of the reservation, or ``projects/P/reservations/R`` of another project's; only with ``reservation``."""
    os: Literal["cos", "ubuntu"] = "cos"
    """Node image: Container-Optimized OS or Ubuntu, both with containerd."""
    driver: Literal["default", "latest", "daemonSet"] = "default"
    """NVIDIA's driver. ``default`` and ``latest``: GKE installs the one for the node's version. ``daemonSet``: the stack installs it with
    the DaemonSet of Google's walk-throughs."""
    zones: tuple[GcpZone, ...] | None = None
    """Zones of the pool; None is all of the cluster's. A zone without this GPU makes the pool fail: name those that have it."""
    per_zone: bool = False
    """Whether ``min``, ``desired`` and ``max`` count in each zone."""
    location_policy: Literal["any", "balanced"] = "any"
    """Where the autoscaler starts nodes: ``any`` goes where there is stock, and uses reservations; ``balanced`` keeps zones even."""
    disk: GkeDiskSettings = GkeDiskSettings()
    """The nodes' disks."""
    local_ssds: int | None = Field(default=None, ge=1, le=32)
    """Local SSDs of 375 GiB for pods' emptyDir volumes; None: those that come with the machine type, if any."""
    sharing: Sharing = WholeSharing(kind="whole")
    """How each GPU is divided among pods. Slices of ``mig`` are ``nvidia.com/gpu`` on GKE, distinguished by the pool."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    taint: bool = True
    """Taint ``nvidia.com/gpu=present:NoSchedule``, which GKE sets itself: it can't be left out."""
    fast_pull: bool = True
    """Image streaming: pods start before their image is pulled. For images in Artifact Registry on Container-Optimized OS."""
    gvnic: bool = True
    """Google's virtual network interface: higher bandwidth, required by large machines."""
    compact_placement: bool = False
    """All nodes close together, in one zone."""
    upgrade: UpgradeSettings = UpgradeSettings()
    """How nodes are replaced."""

    @property
    def machine(self) -> catalogue.Machine:
        """The machine type's entry in the catalogue, with its GPUs."""
        if self.machine_type.startswith("n1-"):
            asked = self.accelerator or AcceleratorSettings(type="")
            return catalogue.attached(self.machine_type, asked.type, asked.count)
        return catalogue.machine(self.machine_type, cloud="gce")

    @property
    def disk_types(self) -> tuple[str, ...]:
        """Kinds of disk that the machine supports."""
        return self.machine.boot_disks

    @property
    def offer(self) -> Offer:
        """What pods find on a node: GKE's device plugin offers slices as whole GPUs (MIG strategy ``single``)."""
        return offer(self.machine, self.sharing, "single")

    @property
    def ssds(self) -> int | None:
        """Number of local SSDs, whether chosen or part of the machine type."""
        return self.local_ssds or self.machine.local_ssds

    @property
    def streams(self) -> bool:
        """Whether nodes stream images."""
        return self.fast_pull and self.os == "cos"

    @property
    def node_labels(self) -> dict[str, str]:
        """Labels that its nodes are sure to have, including GKE's own."""
        labels = {
            naming.POOL_LABEL: self.name,
            catalogue.PRESENT_LABEL: "true",
            "cloud.google.com/gke-accelerator": self.machine.gpu.accelerator,
            **self.labels,
        }
        if self.sharing.kind == "mig":
            labels["cloud.google.com/gke-gpu-partition-size"] = self.sharing.profile
        elif self.sharing.kind != "whole":
            labels["cloud.google.com/gke-gpu-sharing-strategy"] = "mps" if self.sharing.kind == "mps" else "time-sharing"
            labels["cloud.google.com/gke-max-shared-clients-per-gpu"] = str(self.sharing.replicas)
        if self.capacity == "spot":
            labels["cloud.google.com/gke-spot"] = "true"
        return labels

    def _problems(self) -> Iterator[Problem]:
        yield from _pool_problems(self)
        machine_problem = self._machine_problem()
        if machine_problem is not None:
            yield machine_problem
            return
        yield from sharing_problems(self.machine, self.sharing)
        if not self.taint:
            text = "is false, but GKE taints GPU nodes in any case: pods without a GPU could not run on them. Leave it out."
            yield Problem(at=("taint",), text=text)
        yield from self._capacity_problems()
        yield from self._image_problems()
        yield from _disk_problems(self, "machine_type")

    def _machine_problem(self) -> Problem | None:
        asked = self.accelerator
        try:
            machine = self.machine
        except ValueError as error:
            if asked is not None:
                return Problem(at=("machine_type",), text=f"({self.machine_type}) {error}", also=(("accelerator",),))
            text = f"is missing: {self.machine_type} has no built-in GPU, so the pool would have none. Add type and count."
            return Problem(at=("accelerator",), text=text, also=(("machine_type",),))
        if asked is not None and (asked.type, asked.count) != (machine.gpu.accelerator, machine.gpus):
            text = (
                f"is {asked.count} {asked.type}, but {self.machine_type} comes with {machine.gpus} {machine.gpu.accelerator}: "
                "GKE would reject the pool. Leave it out, or use an n1 machine."
            )
            return Problem(at=("accelerator",), text=text, also=(("machine_type",),))
        return None

    def _capacity_problems(self) -> Iterator[Problem]:
        reserved, one_zone = self.capacity == "reservation", self.zones is not None and len(set(self.zones)) == 1
        if reserved and self.capacity_reservation is None:
            text = "is missing: capacity is reservation, and its nodes start in an existing one. Add its name."
            yield Problem(at=("capacity_reservation",), text=text, also=(("capacity",),))
        if not reserved and self.capacity_reservation is not None:
            text = f"would be ignored: capacity is {self.capacity}. Set capacity to reservation or leave it out."
            yield Problem(at=("capacity_reservation",), text=text, also=(("capacity",),))
        if reserved and not one_zone:
            text = "is reservation, but a reservation is in one zone: nodes elsewhere would never start. Name only that zone in zones."
            yield Problem(at=("capacity",), text=text, also=(("zones",),))
        if self.compact_placement and not self.machine.compact:
            text = f"is true, but {self.machine_type} has no compact placement: the pool would be rejected. Use an A2, A3, A4, G2 or G4."
            yield Problem(at=("compact_placement",), text=text, also=(("machine_type",),))
        elif self.compact_placement and not one_zone:
            text = "is true, but compact placement works in one zone only: the pool would be rejected. Name one zone in zones."
            yield Problem(at=("compact_placement",), text=text, also=(("zones",),))

    def _image_problems(self) -> Iterator[Problem]:
        if self.os == "ubuntu" and self.driver == "latest":
            text = "is latest, but only Container-Optimized OS has it: the pool would be rejected. Set driver to default or os to cos."
            yield Problem(at=("driver",), text=text, also=(("os",),))
        if self.os == "ubuntu" and self.driver == "daemonSet" and self.sharing.kind == "mig":
            text = (
                "is mig, but the driver's DaemonSet divides GPUs only on Container-Optimized OS: pods would find no slice. Set driver to "
                "default or os to cos."
            )
            yield Problem(at=("sharing",), text=text, also=(("driver",), ("os",)))
        if self.os == "ubuntu" and self.fast_pull and "fast_pull" in self.model_fields_set:
            text = "is true, but Ubuntu nodes can't stream images: the pool would be rejected. Set it to false or os to cos."
            yield Problem(at=("fast_pull",), text=text, also=(("os",),))
        if self.disk.image is not None and not self.streams:
            text = "requires image streaming, on Container-Optimized OS: the disk would be rejected. Set fastPull to true and os to cos."
            yield Problem(at=("disk", "image"), text=text, also=(("os",), ("fast_pull",)))
        bundled = self.machine.local_ssds
        if self.local_ssds is not None and bundled is not None and self.local_ssds != bundled:
            text = f"({self.local_ssds}) is not the {bundled} of {self.machine_type}: the pool would be rejected. Leave it out."
            yield Problem(at=("local_ssds",), text=text, also=(("machine_type",),))


def _pool_problems(pool: GkeCpuPoolSettings | GkeGpuPoolSettings) -> Iterator[Problem]:
    yield from scaling_problems(pool.min, pool.desired, pool.max)
    yield from label_problems(pool.labels, "GKE", _RESERVED_PREFIXES)


def _disk_problems(pool: GkeCpuPoolSettings | GkeGpuPoolSettings, machine_key: str) -> Iterator[Problem]:
    disk, kind = pool.disk, disk_type(pool.disk, pool.disk_types)
    if not _supports(kind, pool.disk_types):
        text = f"({kind}) is not supported by {pool.machine_type}: nodes could not be created. It supports {', '.join(pool.disk_types)}."
        yield Problem(at=("disk", "type"), text=text, also=((machine_key,),))
    for field, value in (("iops", disk.iops), ("throughput", disk.throughput)):
        if value is not None and kind != "hyperdisk-balanced":
            text = (
                f"({value}) applies only to hyperdisk-balanced, but this is {kind}, whose speed follows from its size: Compute Engine "
                "would reject it. Leave it out, or set type."
            )
            yield Problem(at=("disk", field), text=text, also=(("disk", "type"), (machine_key,)))
