"""Settings of an EKS cluster's nodes: the pool without GPUs, and pools of GPU nodes with one machine type each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.base import naming
from components.base.clusters import EVERYONE, Network, label_problems, scaling_problems
from components.base.errors import Problem
from components.base.model import DnsLabel, Model, matching
from components.eks import ami
from components.eks.settings.network import Zone
from components.gpu import catalogue
from components.gpu.sharing import Offer, Sharing, WholeSharing, offer, sharing_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

_EC2_TYPE: Final = re.compile(
    r"(?P<family>[a-z]+\d+(?P<attributes>[a-z]*)(-[a-z0-9]+)?)\."
    r"(?P<size>(\d+)?(nano|micro|small|medium|large|xlarge)|metal(-\d+xl)?)"
)
_MIN_IOPS, _MAX_IOPS = 3000, 80000
_MIN_THROUGHPUT, _MAX_THROUGHPUT = 125, 2000
"""gp3's limits since 2025 (Amazon EBS user guide, "General Purpose SSD volumes")."""
_THROUGHPUT_PER_IOPS: Final = 0.25
"""gp3: MiB/s that one provisioned IOPS allows."""
_FAST_PULL_THROUGHPUT: Final = 600
"""MiB/s that parallel pulls can use (awslabs/amazon-eks-ami, FastImagePull). The free 3000 IOPS allow it."""
_LONGEST_LABEL: Final = 63
_RELEASES: Final = {
    "al2023": (r"\d+\.\d+\.\d+-\d{8}", "1.35.0-20260715"),
    "bottlerocket": (r"\d+\.\d+\.\d+-[0-9a-f]{8}", "1.54.0-5043decc"),
}
"""Form and example of an image's release."""

ReservationId = Annotated[
    str,
    matching(r"cr-[0-9a-f]{8,17}", "is not an id of a capacity reservation: AWS would refuse it. Write one like cr-0a1b2c3d4e5f67890."),
]
"""Id of a capacity reservation or capacity block."""


def _check_cpu_machine(value: str) -> str:
    match = _EC2_TYPE.fullmatch(value)
    if match is None:
        raise ValueError("is not an EC2 instance type: its nodes could not be created. Write one like m7i.xlarge.")
    if match["family"] in catalogue.EC2_FAMILIES:
        raise ValueError("has a GPU: it would cost money and stay unused. Choose one without, like m7i.xlarge, and put GPUs in gpuPools.")
    return value


def _check_gpu_machine(value: str) -> str:
    catalogue.machine(value, cloud="ec2")
    return value


class DiskSettings(Model):
    """A node's disk: gp3, encrypted."""

    size: int = Field(default=200, ge=30, le=16384)
    """GiB. An unpacked Triton image takes 20 to 40; the AMI's own disk has only 20."""
    iops: int = Field(default=_MIN_IOPS, ge=_MIN_IOPS, le=_MAX_IOPS)
    """Provisioned IOPS; 3000 are free."""
    throughput: int | None = Field(default=None, ge=_MIN_THROUGHPUT, le=_MAX_THROUGHPUT)
    """MiB/s. None: 125, or 600 if the pool has ``fastPull``, because the disk limits a parallel pull of a 10 GB image."""
    snapshot: (
        Annotated[str, matching(r"snap-[0-9a-f]{8,17}", "is not an EBS snapshot id: EC2 would refuse it. Write one like snap-0a1b2c3d.")]
        | None
    ) = None
    """Bottlerocket: snapshot of a data volume that already has the image, so that a new node pulls nothing."""

    def _problems(self) -> Iterator[Problem]:
        if self.throughput is not None and self.throughput > self.iops * _THROUGHPUT_PER_IOPS:
            enough = int(self.throughput / _THROUGHPUT_PER_IOPS)
            text = f"({self.throughput}) is more than {self.iops} iops allow: EC2 would refuse the volume. Raise iops to {enough}."
            yield Problem(at=("throughput",), text=text, also=(("iops",),))

    @property
    def requestable_gib(self) -> int:
        """What pods can request of it, rounded down: nodeadm reserves 1 GiB and evicts at 10 %, and a file system takes about 1 %."""
        return int(self.size * 0.89) - 1

    def rate(self, *, fast_pull: bool) -> int:
        """Return the throughput of the volume in MiB/s."""
        if self.throughput is not None:
            return self.throughput
        return _FAST_PULL_THROUGHPUT if fast_pull else _MIN_THROUGHPUT


class SshSettings(Model):
    """SSH to nodes. Session Manager (``sessionManager``) needs neither a key nor an open port."""

    key: str
    """Name of an EC2 key pair in the region."""
    source_cidrs: tuple[Network, ...] = Field(min_length=1, examples=[["203.0.113.0/24"]])
    """Networks that may reach port 22."""

    def _problems(self) -> Iterator[Problem]:
        if set(self.source_cidrs) & set(EVERYONE):
            text = "has 0.0.0.0/0: port 22 of every node would be open to the internet. Name the networks that you connect from."
            yield Problem(at=("source_cidrs",), text=text)


RESERVED_LABELS: Final = ("kubernetes.io", "k8s.io", "eks.amazonaws.com")


def group_label_problems(labels: dict[str, str]) -> Iterator[Problem]:
    """Yield labels that a node group can't have: EKS limits a whole key to 63 characters, and takes no empty value (CreateNodegroup)."""
    yield from label_problems(labels, "EKS", RESERVED_LABELS)
    for key, value in labels.items():
        if len(key) > _LONGEST_LABEL or not value:
            text = f"has {key}: {value}, and EKS wants keys of at most {_LONGEST_LABEL} characters and values that are not empty: "
            yield Problem(at=("labels",), text=f"{text}the node group could not be created. Shorten the key, or write a value.")


def release_problems(release: str | None, system: ami.OperatingSystem) -> Iterator[Problem]:
    """Yield what EKS would refuse about a node image's release."""
    form, example = _RELEASES[system]
    if release is not None and re.fullmatch(form, release) is None:
        text = f"({release}) is not a release of {system}'s image: EKS would refuse the group. Write one like {example}."
        yield Problem(at=("release",), text=text, also=(("os",),) if system == "bottlerocket" else ())


class CpuPoolSettings(Model):
    """The nodes without GPUs, for DNS, Prometheus and autoscalers, and for Triton in a stack without GPUs. Never tainted."""

    machine_types: tuple[Annotated[str, AfterValidator(_check_cpu_machine)], ...] = Field(default=("m7i.xlarge",), min_length=1)
    """EC2 instance types of one architecture. With spot, several types find capacity more often."""
    min: int = Field(default=2, ge=1)
    """Minimum number of nodes. Not 0: DNS could not run, and its add-on would fail after 20 minutes."""
    desired: int | None = Field(default=None, ge=1)
    """Nodes at creation; None is ``min``. Ignored later: the autoscaler owns the number."""
    max: int = Field(default=6, ge=1)
    """Maximum number of nodes."""
    capacity: Literal["onDemand", "spot"] = "onDemand"
    """How nodes are bought."""
    release: str | None = None
    """Release of the node image, such as ``1.35.0-20260715``; a change replaces the nodes one by one. None: the newest at creation and
    whenever the Kubernetes version changes."""
    disk: DiskSettings = DiskSettings(size=80)
    """Disks of the nodes."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Additional node labels."""

    def _problems(self) -> Iterator[Problem]:
        yield from scaling_problems(self.min, self.desired, self.max)
        yield from group_label_problems(self.labels)
        if len({architecture(machine) for machine in self.machine_types}) > 1:
            text = "mixes x86-64 and Arm: a node image runs on one architecture only. Keep one."
            yield Problem(at=("machine_types",), text=text)
        yield from release_problems(self.release, "al2023")


def architecture(machine_type: str) -> catalogue.Arch:
    """Return the architecture of an EC2 instance type without GPU: Graviton has a g after the generation (``m7g``, ``c6gn``, ``t4g``)."""
    match = _EC2_TYPE.fullmatch(machine_type)
    return "arm64" if match is not None and "g" in match["attributes"] else "x86_64"


class GpuPoolSettings(Model):
    """A pool of GPU nodes with one machine type."""

    name: DnsLabel
    """Name of the pool: label ``triton-fleet/pool`` of its nodes."""
    machine_type: Annotated[str, AfterValidator(_check_gpu_machine)] = Field(examples=["g5.xlarge"])
    """EC2 instance type with GPUs, such as ``g6.xlarge``."""
    min: int = Field(default=0, ge=0)
    """Minimum number of nodes; with ``perZone``, in each zone."""
    desired: int | None = Field(default=None, ge=0)
    """Nodes at creation; None is ``min``. Ignored later: the autoscaler owns the number."""
    max: int = Field(default=5, ge=1)
    """Maximum number of nodes; with ``perZone``, in each zone. A rollout at full scale needs a GPU more than ``maxReplicas`` do."""
    capacity: Literal["onDemand", "spot", "capacityBlock"] = "onDemand"
    """How nodes are bought."""
    capacity_reservation: ReservationId | None = None
    """Id of the capacity block; with ``capacityBlock`` only."""
    os: Literal["al2023", "bottlerocket"] = "al2023"
    """Node image: Amazon Linux 2023 or Bottlerocket, both with NVIDIA's driver."""
    release: str | None = None
    """Release of the node image, such as ``1.35.0-20260715`` (AL2023) or ``1.54.0-5043decc`` (Bottlerocket); a change replaces the nodes
    one by one. None: the newest at creation and whenever the Kubernetes version changes."""
    zones: tuple[Zone, ...] | None = None
    """Zones of the pool; None is all of the network's."""
    per_zone: bool = False
    """One node group per zone, so that an autoscaler can choose the zone, as zonal volumes and scarce capacity need."""
    disk: DiskSettings = DiskSettings()
    """Disks of the nodes."""
    sharing: Sharing = WholeSharing(kind="whole")
    """How each GPU is divided among pods."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Additional node labels."""
    taint: bool = True
    """Taint ``nvidia.com/gpu=present:NoSchedule``: only pods that request a GPU run on these nodes."""
    fast_pull: bool = True
    """Pull image layers in parallel (SOCI): the image is the slow part of a new GPU node."""
    efa: bool = False
    """Elastic Fabric Adapters on all network cards, in a cluster placement group in one zone."""
    ssh: SshSettings | None = None
    """SSH to the nodes, as in reference 000; None keeps port 22 closed."""

    @property
    def machine(self) -> catalogue.Machine:
        """The machine type's entry in the catalogue."""
        return catalogue.machine(self.machine_type, cloud="ec2")

    @property
    def offer(self) -> Offer:
        """What pods find on a node."""
        return offer(self.machine, self.sharing, ami.MIG_STRATEGY[self.os])

    @property
    def node_labels(self) -> dict[str, str]:
        """Labels of its nodes, but for the device plugin's.

        On a node with the accelerator label, Cluster Autoscaler waits for ``nvidia.com/gpu`` and measures its use by that alone. Without
        it, as with slices of another name, the node would never be ready, and count as empty while it serves (kubernetes/autoscaler,
        processors/customresources/gpu_processor.go and simulator/utilization/info.go).
        """
        whole = self.offer.resource == catalogue.RESOURCE
        accelerator = {"k8s.amazonaws.com/accelerator": self.machine.gpu.accelerator} if whole else {}
        return {naming.POOL_LABEL: self.name, catalogue.PRESENT_LABEL: "true", **accelerator, **self.labels}

    def _problems(self) -> Iterator[Problem]:
        yield from scaling_problems(self.min, self.desired, self.max)
        yield from group_label_problems(self.labels)
        yield from release_problems(self.release, self.os)
        yield from self._image_problems()
        yield from self._capacity_problems()

    def _image_problems(self) -> Iterator[Problem]:
        driver = ami.ami_problem(self.machine)
        if driver is not None:
            yield Problem(at=("machine_type",), text=driver)
        sharing = list(sharing_problems(self.machine, self.sharing))
        yield from sharing
        if not sharing and self.sharing.kind == "mig" and self.os == "bottlerocket" and self.machine.gpu.name not in ami.BOTTLEROCKET_MIG:
            text = f"is mig, which Bottlerocket does not support on {self.machine.gpu.name}: no slice would ever appear. Set os to al2023."
            yield Problem(at=("sharing",), text=text, also=(("os",), ("machine_type",)))
        if self.disk.snapshot is not None and self.os != "bottlerocket":
            text = "would be ignored: only Bottlerocket keeps images on a separate volume. Set os to bottlerocket, or leave it out."
            yield Problem(at=("disk", "snapshot"), text=text, also=(("os",),))

    def _capacity_problems(self) -> Iterator[Problem]:
        block = self.capacity == "capacityBlock"
        if block != (self.capacity_reservation is not None):
            text = f"would be ignored: capacity is {self.capacity}. Set capacity to capacityBlock, or leave it out."
            if block:
                text = "is missing: capacity is capacityBlock, whose nodes start in a purchased block. Add its id, cr-..."
            yield Problem(at=("capacity_reservation",), text=text, also=(("capacity",),))
        for field, used, why in (
            ("capacity", block, "is capacityBlock, and a block is in one zone"),
            ("efa", self.efa, "is true, and its placement group is in one zone"),
        ):
            if used and (self.zones is None or len(self.zones) != 1):
                text = f"{why}: nodes in other zones would never start. Name only that zone in zones."
                yield Problem(at=(field,), text=text, also=(("zones",),))
        if self.efa and not self.machine.efa:
            text = (
                f"is true, and {self.machine_type} has no EFA: EC2 would refuse its nodes. Choose a larger machine type, or leave it out."
            )
            yield Problem(at=("efa",), text=text, also=(("machine_type",),))
