"""IPv4 networks in CIDR notation."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

from components.base.errors import Problem

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
