"""What pools and networks of every cloud share: IPv4 networks, the sizes of a group of nodes, and how a GPU is divided among pods."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.cluster import gpu
from components.settings.base import Model, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERYONE: Final = ("0.0.0.0/0", "::/0")
"""Networks that stand for the whole internet."""


def check_network(value: str) -> str:
    """Give an IPv4 network back as it is. Raises ValueError for anything else, and where bits behind the prefix length are set."""
    try:
        return str(IPv4Network(value))
    except ValueError as error:
        hint = "Clear the bits behind the prefix length" if "host bits" in str(error) else "Write an address and a length, like 10.0.0.0/16"
        raise ValueError(f"is no IPv4 network: it would be refused. {hint}.") from None


Network = Annotated[str, AfterValidator(check_network)]
"""IPv4 network in CIDR notation."""


def public_problems(*, public: bool, cidrs: Sequence[str], refused: str = "") -> list[Problem]:
    """What is wrong with the networks that may reach a Kubernetes API. ``refused``: what the cloud says to some without an address."""
    at, also = ("public_cidrs",), (("public",),)
    if public and not cidrs:
        text = (
            "is missing: the public endpoint would be open to the whole internet. "
            "Name the networks that you work from, or write [0.0.0.0/0] if that is meant, or set public to false."
        )
        return [Problem(at=at, text=text, also=also)]
    if cidrs and not public:
        return [Problem(at=at, text=f"would be ignored: public is false{refused}. Leave it out or set public to true.", also=also)]
    return []


class WholeSharing(Model):
    """Each pod has whole GPUs."""

    kind: Literal["whole"]
    """Each pod has whole GPUs."""


class TimeSlicingSharing(Model):
    """Pods take turns on a GPU. No memory limit: one pod can starve the others of it."""

    kind: Literal["timeSlicing"]
    """Pods take turns on a GPU."""
    replicas: int = Field(ge=2, le=gpu.MAX_REPLICAS)
    """Pods on one GPU."""


class MpsSharing(Model):
    """Pods compute on a GPU at once, each with its share of the memory (MPS; NVIDIA calls the plugin's support experimental)."""

    kind: Literal["mps"]
    """Pods compute on a GPU at once."""
    replicas: int = Field(ge=2, le=gpu.MAX_REPLICAS)
    """Pods on one GPU."""


class MigSharing(Model):
    """Each GPU is cut into slices with compute and memory of their own."""

    kind: Literal["mig"]
    """Each GPU is cut into slices."""
    profile: str
    """Slice, such as ``1g.10gb``; each GPU gets as many as fit. Pods ask for ``nvidia.com/mig-1g.10gb``."""


Sharing = Annotated[WholeSharing | TimeSlicingSharing | MpsSharing | MigSharing, Field(discriminator="kind")]


def catalogue_sharing(sharing: Sharing) -> gpu.Sharing:
    """Give ``sharing`` as the catalogue of machines takes it."""
    replicas = sharing.replicas if isinstance(sharing, (TimeSlicingSharing, MpsSharing)) else 1
    profile = sharing.profile if isinstance(sharing, MigSharing) else None
    return gpu.Sharing(kind=sharing.kind, replicas=replicas, profile=profile)


def scaling_problems(least: int, desired: int | None, most: int) -> list[Problem]:
    """What a cloud would refuse of a group's three numbers."""
    problems = []
    if least > most:
        text = f"({least}) is above max ({most}): the pool could never be made. Lower min or raise max."
        problems.append(Problem(at=("min",), text=text, also=(("max",),)))
    elif desired is not None and not least <= desired <= most:
        text = f"({desired}) is not between min ({least}) and max ({most}): the pool could never be made. Change it, or leave it out."
        problems.append(Problem(at=("desired",), text=text, also=(("min",), ("max",))))
    return problems


def pool_name_problems(names: Sequence[str]) -> list[Problem]:
    """What is wrong with the names of ``gpuPools``, in their order: two alike, or the one that the pool without GPUs has."""
    problems = [
        Problem(
            at=("gpu_pools", index, "name"),
            text=f"({name}) is gpuPools[{names.index(name)}]'s name too: one would overwrite the other. Give each a name of its own.",
            also=(("gpu_pools", names.index(name), "name"),),
        )
        for index, name in enumerate(names)
        if names.index(name) != index
    ]
    if "cpu" in names:
        text = "(cpu) is the name of the pool without GPUs: one would overwrite the other. Choose another."
        problems.append(Problem(at=("gpu_pools", names.index("cpu"), "name"), text=text))
    return problems
