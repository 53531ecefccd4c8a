"""IPv4 networks in CIDR notation."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator

from components.base.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence


EVERYONE: Final = ("0.0.0.0/0", "::/0")
"""The whole internet."""


def check_network(value: str) -> str:
    """Return an IPv4 network unchanged. Raises ValueError for anything else, and if host bits are set."""
    try:
        return str(IPv4Network(value))
    except ValueError as error:
        hint = "Clear the host bits" if "host bits" in str(error) else "Write an address and a length, like 10.0.0.0/16"
        raise ValueError(f"is not an IPv4 network: it would be rejected. {hint}.") from None


Network = Annotated[str, AfterValidator(check_network)]
"""IPv4 network in CIDR notation."""


def public_problems(*, public: bool, cidrs: Sequence[str], refused: str = "") -> list[Problem]:
    """Return what is wrong with the networks that may reach a Kubernetes API. ``refused``: how the cloud rejects them."""
    at, also = ("public_cidrs",), (("public",),)
    if public and not cidrs:
        text = (
            "is missing: the public endpoint would be open to the whole internet. "
            "Name the networks that you connect from, write [0.0.0.0/0] to allow all, or set public to false."
        )
        return [Problem(at=at, text=text, also=also)]
    if cidrs and not public:
        return [Problem(at=at, text=f"would be ignored: public is false{refused}. Remove it or set public to true.", also=also)]
    return []
