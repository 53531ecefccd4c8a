"""Settings of an EKS cluster's nodes: the pool without GPUs, and pools of GPU nodes of one machine type each."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base.errors import FieldPath, FleetError, Problem
from components.base.model import DnsLabel, Model
from components.base.networks import EVERYONE, Network
from components.base.pools import scaling_problems
from components.eks import ami
from components.eks.settings.network import Zone
from components.gpu import catalogue
from components.gpu.sharing import Sharing, WholeSharing, sharing_problem

_EC2_TYPE: Final = re.compile(
    r"^(?P<family>[a-z]+\d+(?P<attributes>[a-z]*)(-[a-z0-9]+)?)\."
    r"(?P<size>(\d+)?(nano|micro|small|medium|large|xlarge)|metal(-\d+xl)?)\Z"
)
_LEAST_IOPS, _MOST_IOPS = 3000, 80000
_LEAST_THROUGHPUT, _MOST_THROUGHPUT = 125, 2000
"""gp3's bounds since 2025 (Amazon EBS user guide, "General Purpose SSD volumes")."""
_FAST_PULL_THROUGHPUT: Final = 600
"""MiB/s that parallel pulls want (awslabs/amazon-eks-ami, FastImagePull). 3000 IOPS, which are free, allow it."""
_RELEASES: Final = {
    "al2023": re.compile(r"\d+\.\d+\.\d+-\d{8}"),
    "bottlerocket": re.compile(r"\d+\.\d+\.\d+-[0-9a-f]{8}"),
}
_THROUGHPUT_PER_IOPS: Final = 0.25
"""gp3: MiB/s that one provisioned IOPS allows."""


def _check_cpu_machine(value: str) -> str:
    match = _EC2_TYPE.match(value)
    if match is None:
        raise ValueError("is no EC2 instance type: nodes of it could not be made. Write one like m7i.large.")
    if match["family"] in catalogue.EC2_FAMILIES:
        raise ValueError(
            "has a GPU: it would be paid for and used by nothing. Take one without, like m7i.large, and name GPUs in gpuPools."
        )
    return value


def _check_gpu_machine(value: str) -> str:
    catalogue.machine(value, cloud="ec2")
    return value


class DiskSettings(Model):
    """A node's disk: gp3, encrypted."""

    size: int = Field(default=200, ge=30, le=16384)
    """GiB. A Triton image takes 20 to 40 unpacked, and the AMI's own 20 GiB would not hold one."""
    iops: int = Field(default=_LEAST_IOPS, ge=_LEAST_IOPS, le=_MOST_IOPS)
    """Provisioned IOPS; 3000 are free."""
    throughput: int | None = Field(default=None, ge=_LEAST_THROUGHPUT, le=_MOST_THROUGHPUT)
    """MiB/s. None: 125, and 600 where a pool has ``fastPull``: pulling a 10 GB image waits for the disk, and in parallel it needs that."""
    snapshot: str | None = Field(default=None, pattern=r"^snap-[0-9a-f]{8,17}$")
    """Bottlerocket: snapshot of a data volume that has the image already, so that a new node pulls nothing."""

    @model_validator(mode="after")
    def _gp3(self) -> Self:
        if self.throughput is not None and self.throughput > self.iops * _THROUGHPUT_PER_IOPS:
            least = int(self.throughput / _THROUGHPUT_PER_IOPS)
            text = (
                f"({self.throughput}) is more than {self.iops} iops allow: EC2 would refuse the volume. Raise iops to {least} or lower it."
            )
            raise FleetError(Problem(at=("throughput",), text=text, also=(("iops",),)))
        return self

    def rate(self, *, fast_pull: bool) -> int:
        """Throughput of the volume, MiB/s."""
        if self.throughput is not None:
            return self.throughput
        return _FAST_PULL_THROUGHPUT if fast_pull else _LEAST_THROUGHPUT


class SshSettings(Model):
    """SSH to nodes. Session Manager (nodeRole has it on request) needs neither key nor open port."""

    key: str
    """Name of an EC2 key pair in the region."""
    source_cidrs: tuple[Network, ...] = Field(min_length=1)
    """Networks that may reach port 22."""

    @model_validator(mode="after")
    def _not_the_world(self) -> Self:
        if set(self.source_cidrs) & set(EVERYONE):
            text = "has 0.0.0.0/0: port 22 of every node would be open to the world. Name the networks that you work from."
            raise FleetError(Problem(at=("source_cidrs",), text=text))
        return self


def label_problems(at: str, labels: dict[str, str]) -> list[Problem]:
    """Labels with prefixes that EKS keeps for itself."""
    return [
        Problem(at=(at,), text=f"has {key}: EKS keeps that prefix for itself and would refuse the group. Choose another key.")
        for key in labels
        if key.split("/", maxsplit=1)[0].endswith(("kubernetes.io", "k8s.io", "eks.amazonaws.com"))
    ]


def release_problems(release: str | None, system: ami.OperatingSystem) -> list[Problem]:
    """What EKS would refuse of a node image's release."""
    if release is None or _RELEASES[system].fullmatch(release) is not None:
        return []
    example = "1.54.0-5043decc" if system == "bottlerocket" else "1.35.0-20260715"
    text = f"({release}) is no release of {system}'s image: EKS would refuse the group. Write one like {example}."
    return [Problem(at=("release",), text=text, also=(("os",),) if system == "bottlerocket" else ())]


class CpuPoolSettings(Model):
    """The nodes without GPUs: DNS, Prometheus, autoscalers, and Triton too in a stack without GPUs. Never tainted."""

    machine_types: tuple[Annotated[str, AfterValidator(_check_cpu_machine)], ...] = Field(default=("m7i.large",), min_length=1)
    """EC2 instance types of one architecture; with spot, several find capacity more often."""
    min: int = Field(default=2, ge=1)
    """Fewest nodes. Never 0: DNS would have nowhere to run, and its add-on would fail after 20 minutes."""
    desired: int | None = Field(default=None, ge=1)
    """Nodes at creation; None is ``min``. Ignored afterwards: the autoscaler owns the number."""
    max: int = Field(default=6, ge=1)
    """Most nodes."""
    capacity: Literal["onDemand", "spot"] = "onDemand"
    """How nodes are bought."""
    release: str | None = None
    """Release of the node image, such as ``1.35.0-20260715``; another one replaces the nodes one by one. None: the newest when the
    group is made and when its Kubernetes version moves, and then it stays."""
    disk: DiskSettings = DiskSettings(size=80)
    """Their disks."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*scaling_problems(self.min, self.desired, self.max), *label_problems("labels", self.labels)]
        if len({architecture(machine) for machine in self.machine_types}) > 1:
            text = "mixes x86-64 and Arm: one node image runs on one of them. Keep one architecture."
            problems.append(Problem(at=("machine_types",), text=text))
        problems += release_problems(self.release, "al2023")
        if problems:
            raise FleetError(*problems)
        return self


def architecture(machine_type: str) -> catalogue.Arch:
    """Architecture of an EC2 instance type without GPU: Graviton families have a g behind their generation (``m7g``, ``c6gn``, ``t4g``)."""
    match = _EC2_TYPE.match(machine_type)
    return "arm64" if match is not None and "g" in match["attributes"] else "x86_64"


class GpuPoolSettings(Model):
    """A pool of GPU nodes of one machine type."""

    name: DnsLabel
    """Name of the pool: label ``triton-fleet/pool`` of its nodes."""
    machine_type: Annotated[str, AfterValidator(_check_gpu_machine)]
    """EC2 instance type with GPUs, such as ``g6.xlarge``."""
    min: int = Field(default=0, ge=0)
    """Fewest nodes, in each zone where ``perZone`` is set."""
    desired: int | None = Field(default=None, ge=0)
    """Nodes at creation; None is ``min``. Ignored afterwards: the autoscaler owns the number."""
    max: int = Field(default=4, ge=1)
    """Most nodes, in each zone where ``perZone`` is set."""
    capacity: Literal["onDemand", "spot", "capacityBlock"] = "onDemand"
    """How nodes are bought."""
    capacity_reservation: str | None = Field(default=None, pattern=r"^cr-[0-9a-f]{8,17}$")
    """Id of the capacity block; with ``capacityBlock`` only."""
    os: Literal["al2023", "bottlerocket"] = "al2023"
    """Node image: Amazon Linux 2023 or Bottlerocket, both with NVIDIA's driver."""
    release: str | None = None
    """Release of the node image, such as ``1.35.0-20260715`` (AL2023) or ``1.54.0-5043decc`` (Bottlerocket); another replaces the nodes,
    one after the other. None: the newest when the group is made and when its Kubernetes version moves, and then it stays."""
    zones: tuple[Zone, ...] | None = None
    """Zones of the pool; None is all of the network's."""
    per_zone: bool = False
    """One node group in each zone: an autoscaler can then choose the zone, which volumes of one zone and capacity need."""
    disk: DiskSettings = DiskSettings()
    """Their disks."""
    sharing: Sharing = WholeSharing(kind="whole")
    """How each GPU is divided among pods."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    taint: bool = True
    """Taint ``nvidia.com/gpu=present:NoSchedule``: only what asks for a GPU runs there."""
    fast_pull: bool = True
    """Pull image layers in parallel (SOCI): the slow part of a new GPU node is its image."""
    efa: bool = False
    """Elastic Fabric Adapters, on all network cards, in a cluster placement group in one zone."""
    ssh: SshSettings | None = None
    """SSH to the nodes, as reference 000 has it; None: port 22 is closed."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [
            *scaling_problems(self.min, self.desired, self.max),
            *label_problems("labels", self.labels),
            *release_problems(self.release, self.os),
            *self._image(),
            *self._capacity(),
        ]
        if problems:
            raise FleetError(*problems)
        return self

    @property
    def machine(self) -> catalogue.Machine:
        """The machine type's entry in the catalogue."""
        return catalogue.machine(self.machine_type, cloud="ec2")

    def _image(self) -> list[Problem]:
        problems = []
        image = ami.ami_problem(self.machine)
        if image is not None:
            problems.append(Problem(at=("machine_type",), text=image))
        sharing = sharing_problem(self.machine, self.sharing)
        if sharing is not None:
            at: FieldPath = ("sharing", "profile") if sharing.startswith("(") else ("sharing",)
            problems.append(Problem(at=at, text=sharing, also=(("machine_type",),)))
        if (
            sharing is None
            and self.sharing.kind == "mig"
            and self.os == "bottlerocket"
            and self.machine.gpu.name not in ami.BOTTLEROCKET_MIG
        ):
            text = f"is mig, which Bottlerocket can't set up on {self.machine.gpu.name}: no slice would ever appear. Set os to al2023."
            problems.append(Problem(at=("sharing",), text=text, also=(("os",), ("machine_type",))))
        if self.disk.snapshot is not None and self.os != "bottlerocket":
            text = "would be ignored: only Bottlerocket keeps images on a volume of their own. Set os to bottlerocket or leave it out."
            problems.append(Problem(at=("disk", "snapshot"), text=text, also=(("os",),)))
        return problems

    def _capacity(self) -> list[Problem]:
        problems = []
        block = self.capacity == "capacityBlock"
        if block and self.capacity_reservation is None:
            text = "is missing: capacity is capacityBlock, and nodes of it start in a block that was bought. Add its id, cr-..."
            problems.append(Problem(at=("capacity_reservation",), text=text, also=(("capacity",),)))
        if not block and self.capacity_reservation is not None:
            text = f"would be ignored: capacity is {self.capacity}. Set capacity to capacityBlock or leave it out."
            problems.append(Problem(at=("capacity_reservation",), text=text, also=(("capacity",),)))
        for field, asked, why in (
            ("capacity", block, "is capacityBlock, which lies in one zone"),
            ("efa", self.efa, "is true, and its placement group lies in one zone"),
        ):
            if asked and (self.zones is None or len(self.zones) != 1):
                text = f"{why}: nodes elsewhere would never start. Name that zone alone in zones."
                problems.append(Problem(at=(field,), text=text, also=(("zones",),)))
        if self.efa and not self.machine.efa:
            text = f"is true, and {self.machine_type} has no EFA: its nodes would be refused. Take a larger machine or leave it out."
            problems.append(Problem(at=("efa",), text=text, also=(("machine_type",),)))
        return problems
