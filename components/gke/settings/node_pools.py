"""Settings of a GKE cluster's nodes: the pool without GPUs and the GPU pools.

The keys are those of EKS' pools wherever the thing is the same. What GKE would refuse after ten minutes, or take and never run, is refused
here.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base import naming
from components.base.errors import FleetError, Problem
from components.base.model import DnsLabel, Model
from components.base.pools import scaling_problems
from components.gpu import catalogue
from components.gpu.sharing import Offer, Sharing, WholeSharing, offer, sharing_problem

_GCP_ZONE: Final = re.compile(r"^[a-z]+-[a-z]+\d+-[a-z]\Z")
_MACHINE: Final = re.compile(r"^(?P<family>[a-z]\d[a-z]?)-(?P<kind>[a-z]+)(-(?P<size>[a-z0-9-]+))?\Z")
_HYPERDISK_ONLY: Final = frozenset({"n4", "n4a", "n4d", "c4", "c4a", "c4d", "m4", "x4", "h4d"})
"""Families of general machines that take no persistent disk (Compute Engine's "disk types that each machine series supports")."""
_ARM_FAMILIES: Final = frozenset({"t2a", "c4a", "n4a"})
_GPU_FAMILIES: Final = frozenset({"a2", "a3", "a4", "a4x", "g2", "g4"})
_KNOWN_FAMILIES: Final = (
    _HYPERDISK_ONLY | _ARM_FAMILIES | {"e2", "n1", "n2", "n2d", "c2", "c2d", "c3", "c3d", "t2d", "m1", "m2", "m3", "h3", "z3"}
)
_SMALLEST: Final = ("e2-micro", "e2-small", "f1-micro", "g1-small")
_LEAST_IOPS, _MOST_IOPS = 3000, 160000
_LEAST_THROUGHPUT, _MOST_THROUGHPUT = 140, 2400
"""Hyperdisk Balanced's bounds (Compute Engine's "About Hyperdisk"); a disk of less than 6 GiB has others, and none is so small."""
_RESERVED_PREFIXES: Final = ("kubernetes.io", "k8s.io", "cloud.google.com", "gke.io")
_IMAGE: Final = re.compile(r"^projects/[a-z][a-z0-9.:-]*/global/images/[a-z][a-z0-9-]*\Z")
_RESERVATION: Final = re.compile(r"^(projects/[a-z][a-z0-9-]*/reservations/)?[a-z]([a-z0-9-]{0,61}[a-z0-9])?\Z")


def _check_zone(value: str) -> str:
    if _GCP_ZONE.match(value) is None:
        raise ValueError("is no zone of Google Cloud: no node could be made there. Write one like us-central1-a.")
    return value


def _check_cpu_machine(value: str) -> str:
    match = _MACHINE.match(value)
    if match is None or match["family"] not in _KNOWN_FAMILIES | _GPU_FAMILIES or (match["size"] is None and value not in _SMALLEST):
        raise ValueError("is no machine type of Compute Engine: nodes of it could not be made. Write one like c3-standard-4.")
    if match["family"] in _GPU_FAMILIES:
        raise ValueError("has a GPU: it would be paid for and used by nothing. Take one without, like c3-standard-4, and name GPUs in gpuPools.")  # fmt: skip  # noqa: E501
    if value in _SMALLEST:
        raise ValueError("is too small for GKE's own pods and Prometheus: nothing would start. Take e2-standard-4 or larger.")
    return value


def _check_gpu_machine(value: str) -> str:
    if not value.startswith("n1-"):
        catalogue.machine(value, cloud="gce")
    return value


GcpZone = Annotated[str, AfterValidator(_check_zone)]
"""Name of a zone of Google Cloud."""
DiskType = Literal["pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced"]


def family(machine_type: str) -> str:
    """Family of a machine type, such as ``n1`` of ``n1-standard-8``."""
    return machine_type.split("-", maxsplit=1)[0]


def gce_architecture(machine_type: str) -> catalogue.Arch:
    """Architecture of a machine type without GPUs: GKE names its Arm families ("Arm workloads on GKE")."""
    return "arm64" if family(machine_type) in _ARM_FAMILIES else "x86_64"


def only_hyperdisk(machine_type: str) -> bool:
    """Whether a machine without GPUs takes no persistent disk: neither as its own nor as a volume of GKE's default storage class."""
    return family(machine_type) in _HYPERDISK_ONLY


class GkeDiskSettings(Model):
    """A node's disk."""

    size: int = Field(default=200, ge=30, le=65536)
    """GiB. A Triton image takes 20 to 40 unpacked."""
    type: DiskType | None = None
    """Kind of disk; None is ``pd-balanced``, or ``hyperdisk-balanced`` where the machine takes no other."""
    iops: int | None = Field(default=None, ge=_LEAST_IOPS, le=_MOST_IOPS)
    """Provisioned IOPS; of ``hyperdisk-balanced`` alone, for others' follow from their size."""
    throughput: int | None = Field(default=None, ge=_LEAST_THROUGHPUT, le=_MOST_THROUGHPUT)
    """Provisioned MiB/s; of ``hyperdisk-balanced`` alone."""
    image: str | None = Field(default=None, pattern=_IMAGE.pattern.removesuffix(r"\Z") + "$")
    """GPU pools: disk image with container images in it (``projects/P/global/images/I``, made by Google's gke-disk-image-builder): each
    node gets it as a second disk, and pulls nothing that is on it."""


def disk_type(disk: GkeDiskSettings, supported: tuple[str, ...]) -> DiskType:
    """Kind of a node's disk on a machine that takes ``supported`` (``pd-*`` is any persistent disk)."""
    if disk.type is not None:
        return disk.type
    return "pd-balanced" if _takes("pd-balanced", supported) else "hyperdisk-balanced"


def _takes(kind: str, supported: tuple[str, ...]) -> bool:
    return kind in supported or ("pd-*" in supported and kind.startswith("pd-"))


def _disk_problems(disk: GkeDiskSettings, machine_type: str, supported: tuple[str, ...], key: str) -> list[Problem]:
    problems = []
    kind = disk_type(disk, supported)
    if not _takes(kind, supported):
        there = ", ".join(supported)
        text = f"({kind}) is no disk that {machine_type} takes: its nodes could not be made. It takes {there}."
        problems.append(Problem(at=("disk", "type"), text=text, also=((key,),)))
    for field, value in (("iops", disk.iops), ("throughput", disk.throughput)):
        if value is not None and kind != "hyperdisk-balanced":
            text = f"({value}) is of hyperdisk-balanced alone, and this is {kind}, whose speed follows from its size: Compute Engine would refuse it. Leave it out, or set type."  # noqa: E501
            problems.append(Problem(at=("disk", field), text=text, also=(("disk", "type"), (key,))))
    return problems


def _label_problems(labels: dict[str, str]) -> list[Problem]:
    return [
        Problem(at=("labels",), text=f"has {key}: GKE sets labels of that prefix itself and would refuse the pool. Choose another key.")
        for key in labels
        if key.split("/", maxsplit=1)[0].endswith(_RESERVED_PREFIXES) and "/" in key
    ]


class UpgradeSettings(Model):
    """How nodes are replaced when GKE brings a new version, or a setting changes."""

    max_surge: int = Field(default=0, ge=0, le=20)
    """Nodes above the pool's size meanwhile. 0 with GPUs: a spare GPU needs quota and stock, and an upgrade would wait for them."""
    max_unavailable: int = Field(default=1, ge=0, le=20)
    """Nodes that are away at a time."""

    @model_validator(mode="after")
    def _moves(self) -> Self:
        if self.max_surge + self.max_unavailable == 0:
            text = "and maxUnavailable are both 0: no node could ever be upgraded. Set one of them to 1."
            raise FleetError(Problem(at=("max_surge",), text=text, also=(("max_unavailable",),)))
        return self


class GkeCpuPoolSettings(Model):
    """The nodes without GPUs: DNS, Prometheus, and Triton too in a stack without GPUs. Never tainted."""

    machine_types: tuple[Annotated[str, AfterValidator(_check_cpu_machine)], ...] = Field(default=("c3-standard-4",), min_length=1)
    """Machine type, exactly one: a list because EKS takes several."""
    min: int = Field(default=2, ge=1)
    """Fewest nodes. Never 0: DNS would have nowhere to run."""
    desired: int | None = Field(default=None, ge=1)
    """Nodes at creation; None is ``min``. GKE starts the same number in each zone: it may be some more."""
    max: int = Field(default=6, ge=1)
    """Most nodes, over all zones."""
    capacity: Literal["onDemand", "spot"] = "onDemand"
    """How nodes are bought."""
    disk: GkeDiskSettings = GkeDiskSettings(size=80)
    """Their disks."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    upgrade: UpgradeSettings = UpgradeSettings(max_surge=1, max_unavailable=0)
    """How nodes are replaced."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*scaling_problems(self.min, self.desired, self.max), *_label_problems(self.labels)]
        if len(self.machine_types) > 1:
            text = f"names {len(self.machine_types)}: a node pool of GKE has one machine type. Keep one."
            problems.append(Problem(at=("machine_types",), text=text))
        problems += _disk_problems(self.disk, self.machine_type, self.disk_types, "machine_types")
        if self.disk.image is not None:
            text = "would be ignored: Triton's image is wanted on GPU nodes. Set it on a GPU pool."
            problems.append(Problem(at=("disk", "image"), text=text))
        if problems:
            raise FleetError(*problems)
        return self

    @property
    def machine_type(self) -> str:
        """The one machine type."""
        return self.machine_types[0]

    @property
    def disk_types(self) -> tuple[str, ...]:
        """Kinds of disk that its machines take."""
        return ("hyperdisk-balanced",) if only_hyperdisk(self.machine_type) else ("pd-*", "hyperdisk-balanced")


class AcceleratorSettings(Model):
    """GPUs attached to an N1 machine, as ``--accelerator type=..,count=..`` has them."""

    type: str
    """Accelerator type, such as ``nvidia-tesla-t4``."""
    count: int = Field(default=1, ge=1, le=8)
    """GPUs of one node."""


class GkeGpuPoolSettings(Model):
    """A pool of GPU nodes of one machine type."""

    name: DnsLabel = Field(max_length=32)
    """Name of the pool: label ``triton-fleet/pool`` of its nodes. GKE's own name for it has a few letters more."""
    machine_type: Annotated[str, AfterValidator(_check_gpu_machine)]
    """Machine type with GPUs, such as ``g2-standard-8``; or an N1 machine with ``accelerator``."""
    accelerator: AcceleratorSettings | None = None
    """GPUs to attach to an N1 machine. Others have theirs by their type."""
    min: int = Field(default=0, ge=0)
    """Fewest nodes over all zones, or in each zone where ``perZone`` is set."""
    desired: int | None = Field(default=None, ge=0)
    """Nodes at creation; None is ``min``. GKE starts the same number in each zone, at most ``max`` in all. Ignored afterwards."""
    max: int = Field(default=4, ge=1)
    """Most nodes over all zones, or in each zone where ``perZone`` is set."""
    capacity: Literal["onDemand", "spot", "reservation"] = "onDemand"
    """How nodes are bought."""
    capacity_reservation: str | None = Field(default=None, pattern=_RESERVATION.pattern.removesuffix(r"\Z") + "$")
    """Name of the reservation, or ``projects/P/reservations/R`` of another project's; with ``reservation`` only."""
    os: Literal["cos", "ubuntu"] = "cos"
    """Node image: Container-Optimized OS or Ubuntu, both with containerd."""
    driver: Literal["default", "latest", "daemonSet"] = "default"
    """NVIDIA's driver. ``default`` and ``latest``: GKE installs that of the node's version. ``daemonSet``: the stack installs it by the
    DaemonSet of Google's walk-throughs."""
    zones: tuple[GcpZone, ...] | None = None
    """Zones of the pool; None is all of the cluster's. A zone that sells no such GPU makes the pool fail: name those that do."""
    per_zone: bool = False
    """Whether ``min``, ``desired`` and ``max`` count in each zone."""
    location_policy: Literal["any", "balanced"] = "any"
    """Where the autoscaler starts nodes: ``any`` goes where there is stock, and uses reservations; ``balanced`` keeps zones alike."""
    disk: GkeDiskSettings = GkeDiskSettings()
    """Their disks."""
    local_ssds: int | None = Field(default=None, ge=1, le=32)
    """Local SSDs of 375 GiB that pods' emptyDir volumes lie on; None: those that come with the machine type, if any."""
    sharing: Sharing = WholeSharing(kind="whole")
    """How each GPU is divided among pods. Slices of ``mig`` are ``nvidia.com/gpu`` on GKE, told apart by the pool."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    taint: bool = True
    """Taint ``nvidia.com/gpu=present:NoSchedule``, which GKE sets itself: it can't be left out."""
    fast_pull: bool = True
    """Image streaming: pods start before their image is there. For images in Artifact Registry on Container-Optimized OS."""
    gvnic: bool = True
    """Google's virtual network card: higher bandwidth, and what large machines need."""
    compact_placement: bool = False
    """All nodes close together, in one zone."""
    upgrade: UpgradeSettings = UpgradeSettings()
    """How nodes are replaced."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*scaling_problems(self.min, self.desired, self.max), *_label_problems(self.labels), *self._accelerator()]
        if not problems or all(problem.at[0] not in {"machine_type", "accelerator"} for problem in problems):
            problems += [*self._sharing(), *self._capacity(), *self._image()]
            problems += _disk_problems(self.disk, self.machine_type, self.machine.boot_disks, "machine_type")
        if problems:
            raise FleetError(*problems)
        return self

    @property
    def machine(self) -> catalogue.Machine:
        """The machine type's entry in the catalogue, with its GPUs."""
        if self.machine_type.startswith("n1-"):
            asked = self.accelerator or AcceleratorSettings(type="")
            return catalogue.attached(self.machine_type, asked.type, asked.count)
        return catalogue.machine(self.machine_type, cloud="gce")

    @property
    def offer(self) -> Offer:
        """What pods find on a node: GKE's device plugin offers slices as whole GPUs (MIG strategy ``single``)."""
        return replace(offer(self.machine, self.sharing), resource=catalogue.RESOURCE)

    @property
    def node_labels(self) -> dict[str, str]:
        """Labels that its nodes have for certain, GKE's own among them."""
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

    def _accelerator(self) -> list[Problem]:
        asked = self.accelerator
        if not self.machine_type.startswith("n1-"):
            machine = catalogue.machine(self.machine_type, cloud="gce")
            if asked is not None and (asked.type, asked.count) != (machine.gpu.accelerator, machine.gpus):
                text = (
                    f"is {asked.count} {asked.type}, and {self.machine_type} has {machine.gpus} {machine.gpu.accelerator} by its type: "
                    "GKE would refuse the pool. Leave it out, or take an n1 machine."
                )
                return [Problem(at=("accelerator",), text=text, also=(("machine_type",),))]
            return []
        if asked is None:
            text = f"is missing: {self.machine_type} has no GPU of its own, and nothing would be attached. Add type and count."
            return [Problem(at=("accelerator",), text=text, also=(("machine_type",),))]
        try:
            catalogue.attached(self.machine_type, asked.type, asked.count)
        except ValueError as error:
            return [Problem(at=("machine_type",), text=f"({self.machine_type}) {error}", also=(("accelerator",),))]
        return []

    def _sharing(self) -> list[Problem]:
        problems = []
        sharing = sharing_problem(self.machine, self.sharing)
        if sharing is not None:
            at = ("sharing", "profile") if sharing.startswith("(") else ("sharing",)
            problems.append(Problem(at=at, text=sharing, also=(("machine_type",),)))
        if not self.taint:
            text = (
                "is false, and GKE taints GPU nodes whatever is said here: what should run there without a GPU never would. Leave it out."
            )
            problems.append(Problem(at=("taint",), text=text))
        return problems

    def _capacity(self) -> list[Problem]:
        problems = []
        reserved = self.capacity == "reservation"
        if reserved and self.capacity_reservation is None:
            text = "is missing: capacity is reservation, and nodes of it start in one that is there. Add its name."
            problems.append(Problem(at=("capacity_reservation",), text=text, also=(("capacity",),)))
        if not reserved and self.capacity_reservation is not None:
            text = f"would be ignored: capacity is {self.capacity}. Set capacity to reservation or leave it out."
            problems.append(Problem(at=("capacity_reservation",), text=text, also=(("capacity",),)))
        if reserved and (self.zones is None or len(self.zones) != 1):
            text = "is reservation, which lies in one zone: nodes elsewhere would never start. Name that zone alone in zones."
            problems.append(Problem(at=("capacity",), text=text, also=(("zones",),)))
        if self.compact_placement:
            if not self.machine.compact:
                text = (
                    f"is true, and {self.machine_type} can't be placed compactly: the pool would be refused. Take an A2, A3, A4, G2 or G4."
                )
                problems.append(Problem(at=("compact_placement",), text=text, also=(("machine_type",),)))
            elif self.zones is None or len(self.zones) != 1:
                text = "is true, and such nodes lie in one zone: the pool would be refused. Name one zone in zones."
                problems.append(Problem(at=("compact_placement",), text=text, also=(("zones",),)))
        if self.zones is not None and len(set(self.zones)) != len(self.zones):
            text = "names a zone twice: GKE would refuse the pool. Name each once."
            problems.append(Problem(at=("zones",), text=text))
        return problems

    def _image(self) -> list[Problem]:
        problems = []
        if self.os == "ubuntu" and self.driver == "latest":
            text = (
                "is latest, which GKE has for Container-Optimized OS alone: the pool would be refused. Set driver to default or os to cos."
            )
            problems.append(Problem(at=("driver",), text=text, also=(("os",),)))
        if self.os == "ubuntu" and self.fast_pull and "fast_pull" in self.model_fields_set:
            text = "is true, and Ubuntu nodes stream no images: the pool would be refused. Set it to false or os to cos."
            problems.append(Problem(at=("fast_pull",), text=text, also=(("os",),)))
        if self.disk.image is not None and (self.os != "cos" or not self.fast_pull):
            text = "needs image streaming and Container-Optimized OS: the second disk would be refused. Set fastPull to true and os to cos."
            problems.append(Problem(at=("disk", "image"), text=text, also=(("os",), ("fast_pull",))))
        bundled = self.machine.local_ssds
        if self.local_ssds is not None and bundled is not None and self.local_ssds != bundled:
            text = f"({self.local_ssds}) is not the {bundled} that {self.machine_type} comes with: the pool would be refused. Leave it out."
            problems.append(Problem(at=("local_ssds",), text=text, also=(("machine_type",),)))
        return problems

    @property
    def streams(self) -> bool:
        """Whether nodes stream images."""
        return self.fast_pull and self.os == "cos"
