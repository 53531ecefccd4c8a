"""Settings and rules that clusters share across clouds: networks, node pools and the registry for the stack's own images."""

from __future__ import annotations

import re
from ipaddress import IPv4Network, ip_network
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from components.base.errors import Problem
from components.base.model import Model, matching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

EVERYONE: Final = ("0.0.0.0/0", "::/0")
"""The whole internet."""
_NAME: Final = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY: Final = re.compile(rf"([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{_NAME}")
_LABEL_VALUE: Final = re.compile(rf"({_NAME})?")


def _network(kind: str, parse: Callable[[str], object]) -> AfterValidator:
    def check(value: str) -> str:
        try:
            return str(parse(value))
        except ValueError as error:
            hint = "Clear the host bits" if "host bits" in str(error) else "Write an address and a length, like 10.0.0.0/16"
            raise ValueError(f"is not an {kind} network: it would be rejected. {hint}.") from None

    return AfterValidator(check)


Network = Annotated[str, _network("IPv4", IPv4Network)]
"""IPv4 network in CIDR notation, without host bits."""
AnyNetwork = Annotated[str, _network("IP", ip_network)]
"""IPv4 or IPv6 network in CIDR notation, without host bits."""


class ImageRepositorySettings(Model):
    """A repository for the stack's own images: in ECR on EKS, in Artifact Registry on GKE."""

    name: Annotated[
        str,
        matching(
            r"(?=.{2,256}$)[a-z0-9]+([._/-][a-z0-9]+)*",
            "is not a repository name: the registry would reject it. Use 2 to 256 lower-case letters and digits, separated by . _ / or -.",
        ),
    ] = "triton"
    """Name of the repository."""
    keep_untagged_days: int = Field(default=14, ge=1)
    """Days after which untagged images are deleted."""
    retain: bool = True
    """True: a destroy keeps a repository with images, and fails there. False: it deletes the images too."""


def public_problems(*, public: bool, cidrs: Sequence[str], refused: str = "") -> list[Problem]:
    """Return what is wrong with the networks that may reach a Kubernetes API. ``refused``: how the cloud rejects them."""
    text = None
    if public and not cidrs:
        text = (
            "is missing: the public endpoint would be open to the whole internet. "
            "Name the networks that you connect from, write [0.0.0.0/0] to allow all, or set public to false."
        )
    elif cidrs and not public:
        text = f"would be ignored: public is false{refused}. Remove it or set public to true."
    return [] if text is None else [Problem(at=("public_cidrs",), text=text, also=(("public",),))]


def scaling_problems(least: int, desired: int | None, most: int) -> list[Problem]:
    """Return what a cloud would reject in a pool's numbers of nodes."""
    if least > most:
        text = f"({least}) is above max ({most}): the pool could never be created. Lower min or raise max."
        return [Problem(at=("min",), text=text, also=(("max",),))]
    if desired is not None and not least <= desired <= most:
        text = f"({desired}) is not between min ({least}) and max ({most}): the pool could never be created. Change it, or remove it."
        return [Problem(at=("desired",), text=text, also=(("min",), ("max",)))]
    return []


def label_problems(labels: Mapping[str, str], cloud: str, reserved: tuple[str, ...]) -> Iterator[Problem]:
    """Yield labels of nodes that Kubernetes or ``cloud`` would reject. ``reserved``: the last parts of the cloud's own prefixes."""
    for key, value in labels.items():
        if _LABEL_KEY.fullmatch(key) is None or _LABEL_VALUE.fullmatch(value) is None:
            text = (
                f"has {key}: {value}, which is not a label: its nodes could not be created. Use at most 63 letters, digits, hyphens, "
                "underscores and dots, a letter or digit first and last."
            )
            yield Problem(at=("labels",), text=text)
        elif key.split("/", maxsplit=1)[0].endswith(reserved):
            text = f"has {key}: {cloud} reserves that prefix and would reject the pool. Choose another key."
            yield Problem(at=("labels",), text=text)


def pool_name_problems(names: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the names of ``gpuPools``: duplicates, and the name of the pool without GPUs."""
    problems = []
    for index, name in enumerate(names):
        at, first = ("gpu_pools", index, "name"), names.index(name)
        if first != index:
            text = f"({name}) is gpuPools[{first}]'s name too: one would overwrite the other. Choose another name."
            problems.append(Problem(at=at, text=text, also=(("gpu_pools", first, "name"),)))
        elif name == "cpu":
            text = "(cpu) is the name of the pool without GPUs: one would overwrite the other. Choose another name."
            problems.append(Problem(at=at, text=text))
    return problems
