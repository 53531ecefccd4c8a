"""Settings of Karpenter: the GPU nodes that it may start, checked against the catalogue like the pools of node groups."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.base.clusters import label_problems
from components.base.errors import Problem
from components.base.model import DnsLabel, Model
from components.base.quantities import Duration
from components.eks import ami
from components.eks.settings.node_groups import RESERVED_LABELS, DiskSettings, ReservationId
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from components.base.errors import FieldPath


def _family(machine: str) -> str:
    return machine.split(".", maxsplit=1)[0]


_FAMILIES: Final = sorted({_family(machine.name) for machine in catalogue.MACHINES.values() if machine.cloud == "ec2"})


def _check_family(value: str) -> str:
    if value in catalogue.REFUSED:
        raise ValueError(f"is not supported: it {catalogue.REFUSED[value]}. Choose a family with whole GPUs, such as g6.")
    if value in _FAMILIES:
        return value
    if _family(value) in _FAMILIES:
        raise ValueError(f"is a machine type: Karpenter would find no family of that name. Write {_family(value)}.")
    close = difflib.get_close_matches(value, _FAMILIES, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Choose from {', '.join(_FAMILIES)}."
    raise ValueError(f"is not an EC2 family with NVIDIA GPUs: no node of it would ever start. {hint}")


class KarpenterPoolSettings(Model):
    """GPU nodes that Karpenter may start, with whole GPUs only. Shared and sliced GPUs need a node group."""

    name: DnsLabel
    """Name of the NodePool and its EC2NodeClass."""
    instance_families: tuple[Annotated[str, AfterValidator(_check_family)], ...] = Field(default=("g5", "g6"), min_length=1)
    """EC2 instance families with NVIDIA GPUs."""
    capacity_types: tuple[Literal["on-demand", "spot", "reserved"], ...] = Field(default=("on-demand",), min_length=1)
    """Capacity types, by Karpenter's names. Of several, it prefers reserved to spot, and spot to on-demand."""
    capacity_reservations: tuple[ReservationId, ...] = ()
    """Ids of the capacity reservations and blocks that ``reserved`` nodes start in."""
    architecture: Literal["amd64", "arm64"] = "amd64"
    """CPU architecture of the nodes, which Triton's image must support."""
    max_gpus: int = Field(ge=1)
    """Maximum number of GPUs of the pool, which limits what a runaway autoscaler can cost."""
    disk: DiskSettings = DiskSettings()
    """Disks of the nodes. Triton's image unpacks to more than 20 GB."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Additional node labels."""
    fast_pull: bool = True
    """Pull image layers in parallel (SOCI): the image is the slow part of a new GPU node."""
    consolidate_after: Duration = Field(default=600.0, ge=0)
    """How long a node stays empty before Karpenter removes it."""

    @property
    def machines(self) -> tuple[catalogue.Machine, ...]:
        """Machines that Karpenter may choose from: those of the families with at most ``max_gpus`` GPUs."""
        return tuple(machine for machine in self._machines(self.instance_families) if machine.gpus <= self.max_gpus)

    def _machines(self, families: Iterable[str]) -> tuple[catalogue.Machine, ...]:
        """Return the machines of ``families`` with the pool's architecture."""
        arch = "arm64" if self.architecture == "arm64" else "x86_64"
        return tuple(
            machine
            for machine in catalogue.MACHINES.values()
            if machine.cloud == "ec2" and _family(machine.name) in families and machine.arch == arch
        )

    def _problems(self) -> Iterator[Problem]:
        yield from label_problems(self.labels, "EKS", RESERVED_LABELS)
        for index, family in enumerate(self.instance_families):
            at: FieldPath = ("instance_families", index)
            machine = next(machine for machine in catalogue.MACHINES.values() if _family(machine.name) == family)
            driver = ami.ami_problem(machine)
            if driver is not None:
                yield Problem(at=at, text=driver.replace(machine.name, family, 1))
            if not self._machines((family,)):
                text = f"({family}) is not {self.architecture}: no node of it would ever start. Remove it, or change architecture."
                yield Problem(at=at, text=text, also=(("architecture",),))
        found = self._machines(self.instance_families)
        if found and not self.machines:
            least = min(machine.gpus for machine in found)
            text = (
                f"({self.max_gpus}) is below the {least} GPUs of the smallest machine of {', '.join(self.instance_families)}: no node "
                f"would ever start. Raise it to {least}, or add a family with smaller machines."
            )
            yield Problem(at=("max_gpus",), text=text, also=(("instance_families",), ("architecture",)))
        reserved = "reserved" in self.capacity_types
        if reserved != bool(self.capacity_reservations):
            text = "would be ignored: capacityTypes does not include reserved. Add it, or remove the IDs."
            if reserved:
                text = "is missing: capacityTypes has reserved, whose nodes start in a reservation. Add its id, cr-..., or remove reserved."
            yield Problem(at=("capacity_reservations",), text=text, also=(("capacity_types",),))


class KarpenterSettings(Model):
    """Karpenter: starts nodes of the type that pending pods need, without node groups."""

    kind: Literal["karpenter"]
    """Karpenter."""
    ami_alias: str = "al2023@v20260715"
    """Node image and its release. Not ``latest``: every new image would replace all nodes as soon as it appears."""
    pools: tuple[KarpenterPoolSettings, ...] = Field(min_length=1)
    """The GPU pools."""

    @property
    def os(self) -> ami.OperatingSystem:
        """Operating system of the nodes."""
        return "bottlerocket" if self.ami_alias.startswith("bottlerocket@") else "al2023"

    def _problems(self) -> Iterator[Problem]:
        if self.ami_alias.endswith("@latest"):
            text = f"({self.ami_alias}) changes by itself: a new image would replace all nodes. Name a release."
            yield Problem(at=("ami_alias",), text=text)
        elif re.fullmatch(r"(al2023|bottlerocket)@v\S+", self.ami_alias) is None:
            text = f"({self.ami_alias}) is not an image with an NVIDIA variant: Karpenter would find none. "
            yield Problem(at=("ami_alias",), text=f"{text}Write al2023@v<release> or bottlerocket@v<release>.")
        names = [pool.name for pool in self.pools]
        for index, pool in enumerate(self.pools):
            first = names.index(pool.name)
            if first != index:
                text = f"({pool.name}) is the name of pools[{first}] too: one would overwrite the other. Choose another name."
                yield Problem(at=("pools", index, "name"), text=text, also=(("pools", first, "name"),))
            if pool.disk.snapshot is not None and self.os != "bottlerocket":
                text = "would be ignored: only Bottlerocket keeps images on a separate volume. Set amiAlias to bottlerocket@v<release>, "
                yield Problem(at=("pools", index, "disk", "snapshot"), text=f"{text}or leave it out.", also=(("ami_alias",),))
