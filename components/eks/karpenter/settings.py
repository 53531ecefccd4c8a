"""Settings of Karpenter: GPU nodes that it may start, checked against the catalogue as a pool of nodes of the stack's own is."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import DnsLabel, Model
from components.base.quantities import Duration
from components.eks import ami
from components.eks.settings.node_groups import DiskSettings, label_problems
from components.gpu import catalogue

if TYPE_CHECKING:
    from components.base.errors import FieldPath

_ALIAS: Final = re.compile(r"(al2023|bottlerocket)@v\S+")
_RESERVATION: Final = re.compile(r"cr-[0-9a-f]{8,17}")
_OFFERED: Final = sorted({machine.name.split(".")[0] for machine in catalogue.MACHINES.values() if machine.cloud == "ec2"})


def _check_family(value: str) -> str:
    if value in catalogue.REFUSED:
        raise ValueError(f"is not offered: it {catalogue.REFUSED[value]}. Take a family with whole GPUs, such as g6.")
    if value in _OFFERED:
        return value
    if value.split(".", maxsplit=1)[0] in _OFFERED:
        raise ValueError(f"is a machine type: Karpenter would find none of that family. Write {value.split('.', maxsplit=1)[0]}.")
    close = difflib.get_close_matches(value, _OFFERED, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"There: {', '.join(_OFFERED)}."
    raise ValueError(f"is no EC2 family with NVIDIA GPUs: no node of it would ever start. {hint}")


def _check_reservation(value: str) -> str:
    if _RESERVATION.fullmatch(value) is None:
        raise ValueError("is no id of a capacity reservation: AWS would refuse it. Write one like cr-0a1b2c3d4e5f67890.")
    return value


class KarpenterPoolSettings(Model):
    """GPU nodes that Karpenter may start: whole GPUs only. Shared and sliced ones need a node group."""

    name: DnsLabel
    """Name of the NodePool and its EC2NodeClass."""
    instance_families: tuple[Annotated[str, AfterValidator(_check_family)], ...] = Field(default=("g5", "g6"), min_length=1)
    """EC2 instance families with NVIDIA GPUs."""
    capacity_types: tuple[Literal["on-demand", "spot", "reserved"], ...] = Field(default=("on-demand",), min_length=1)
    """Kinds of capacity, in Karpenter's own words; with several it takes reserved before spot before on-demand."""
    capacity_reservations: tuple[Annotated[str, AfterValidator(_check_reservation)], ...] = ()
    """Ids of the capacity reservations and blocks that ``reserved`` nodes start in."""
    architecture: Literal["amd64", "arm64"] = "amd64"
    """CPU of the nodes; Triton's image must have been built for it."""
    max_gpus: int = Field(ge=1)
    """Most GPUs that the pool may have in all: what a runaway autoscaler can cost."""
    disk: DiskSettings = DiskSettings()
    """Their disks. Triton's image unpacks to more than 20 GB."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Further node labels."""
    fast_pull: bool = True
    """Pull image layers in parallel (SOCI): the slow part of a new GPU node is its image."""
    consolidate_after: Duration = Field(default=600.0, ge=0)
    """How long a node stays empty before it goes."""

    @property
    def machines(self) -> tuple[catalogue.Machine, ...]:
        """What Karpenter may choose from: the families' machines that do not have more GPUs than the pool may have."""
        return tuple(machine for machine in self._of_families() if machine.gpus <= self.max_gpus)

    def _of_families(self) -> tuple[catalogue.Machine, ...]:
        arch = "arm64" if self.architecture == "arm64" else "x86_64"
        return tuple(
            machine
            for machine in catalogue.MACHINES.values()
            if machine.cloud == "ec2" and machine.name.split(".")[0] in self.instance_families and machine.arch == arch
        )

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*self._families(), *self._reservations(), *label_problems("labels", self.labels)]
        if problems:
            raise FleetError(*problems)
        return self

    def _families(self) -> list[Problem]:
        problems = []
        found = self._of_families()
        arch = "arm64" if self.architecture == "arm64" else "x86_64"
        for index, family in enumerate(self.instance_families):
            of_family = [
                machine for machine in catalogue.MACHINES.values() if machine.cloud == "ec2" and machine.name.split(".")[0] == family
            ]
            at: FieldPath = ("instance_families", index)
            driver = ami.ami_problem(of_family[0])
            if driver is not None:
                problems.append(Problem(at=at, text=driver.replace(of_family[0].name, family, 1)))
            if all(machine.arch != arch for machine in of_family):
                text = f"({family}) is not {self.architecture}: no node of it would ever start. Take it out, or change architecture."
                problems.append(Problem(at=at, text=text, also=(("architecture",),)))
        if found and not self.machines:
            least = min(machine.gpus for machine in found)
            text = (
                f"({self.max_gpus}) is below the {least} GPUs of the smallest machine of {', '.join(self.instance_families)}: no node "
                f"would ever start. Raise it to {least}, or add a family with smaller machines."
            )
            problems.append(Problem(at=("max_gpus",), text=text, also=(("instance_families",), ("architecture",))))
        return problems

    def _reservations(self) -> list[Problem]:
        at: FieldPath = ("capacity_reservations",)
        also: tuple[FieldPath, ...] = (("capacity_types",),)
        if "reserved" in self.capacity_types and not self.capacity_reservations:
            text = (
                "is missing: capacityTypes has reserved, and such nodes start in a reservation. Add its id, cr-..., or take reserved out."
            )
            return [Problem(at=at, text=text, also=also)]
        if self.capacity_reservations and "reserved" not in self.capacity_types:
            text = "would be ignored: capacityTypes has no reserved. Add it, or leave the ids out."
            return [Problem(at=at, text=text, also=also)]
        return []


class KarpenterSettings(Model):
    """Karpenter: starts nodes of the type that waiting pods need, without node groups."""

    kind: Literal["karpenter"]
    """Karpenter."""
    ami_alias: str = "al2023@v20260715"
    """Node image and its release. Never ``latest``: each new one would replace all nodes on a day of its own choosing."""
    pools: tuple[KarpenterPoolSettings, ...] = Field(min_length=1)
    """The GPU pools."""

    @property
    def os(self) -> ami.OperatingSystem:
        """Operating system of the nodes."""
        return "bottlerocket" if self.ami_alias.startswith("bottlerocket@") else "al2023"

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*self._image()]
        names = [pool.name for pool in self.pools]
        for index, name in enumerate(names):
            if name in names[:index]:
                text = (
                    f"({name}) is pools[{names.index(name)}]'s name too: one would overwrite the other. Give each pool a name of its own."
                )
                problems.append(Problem(at=("pools", index, "name"), text=text, also=(("pools", names.index(name), "name"),)))
        if problems:
            raise FleetError(*problems)
        return self

    def _image(self) -> list[Problem]:
        if self.ami_alias.endswith("@latest"):
            text = f"({self.ami_alias}) changes by itself: all nodes would be replaced when a new image appears. Name a release."
            return [Problem(at=("ami_alias",), text=text)]
        if _ALIAS.fullmatch(self.ami_alias) is None:
            text = (
                f"({self.ami_alias}) is no image with an NVIDIA variant: Karpenter would find none. "
                "Write al2023@v<release> or bottlerocket@v<release>."
            )
            return [Problem(at=("ami_alias",), text=text)]
        return [
            Problem(
                at=("pools", index, "disk", "snapshot"),
                text="would be ignored: only Bottlerocket keeps images on a volume of their own. Set amiAlias to bottlerocket@v<release>, "
                "or leave it out.",
                also=(("ami_alias",),),
            )
            for index, pool in enumerate(self.pools)
            if pool.disk.snapshot is not None and self.os != "bottlerocket"
        ]
