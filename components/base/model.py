"""What every settings model shares: frozen, no unknown keys, camelCase in the stack file, and the unit types.

Nothing here reads a stack file (`load.py` does, alone) and nothing here makes a resource.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from components.base.errors import raise_problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.base.errors import Problem

_DURATION: Final = re.compile(r"^(?P<number>\d+(?:\.\d+)?)(?P<unit>us|ms|s|m|h|d)$")
_QUANTITY: Final = re.compile(r"^\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?\Z")
_UNITS: Final[dict[str, Decimal]] = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGT", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGT", start=1)},
}
_DNS_LABEL: Final = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")
_SECONDS: Final[dict[str, Decimal]] = {
    unit: Decimal(seconds) for unit, seconds in {"us": "0.000001", "ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"}.items()
}


def parse_duration(value: object) -> object:
    """Turn ``"50ms"``, ``"30s"``, ``"5m"``, ``"1h"`` or ``"7d"`` into seconds as a float; leave a plain number alone.

    Raises ValueError for a string of any other form, naming the form that is wanted.
    """
    if not isinstance(value, str):
        return value
    match = _DURATION.match(value.strip())
    if match is None:
        message = (
            "is no duration: it can't be read as a length of time. Write a number and a unit out of us, ms, s, m, h, d, like 50ms or 5m."
        )
        raise ValueError(message)
    return float(Decimal(match["number"]) * _SECONDS[match["unit"]])


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds. In a stack file either a number of seconds or a string with a unit (``50ms``, ``5m``)."""


def _check_quantity(value: str) -> str:
    if _QUANTITY.match(value) is None:
        message = "is no Kubernetes quantity: the API server would refuse it. Write a number with an optional unit, like 500m, 2 or 4Gi."
        raise ValueError(message)
    return value


def quantity_value(quantity: str) -> Decimal:
    """Number that a `Quantity` stands for, such as 1024 for ``1Ki``: bytes where it is a size.

    Raises:
        ValueError: When it is no quantity.
    """
    _check_quantity(quantity)
    number = quantity.rstrip("mkKMGTi")
    return Decimal(number) * _UNITS[quantity[len(number) :]]


def _check_dns_label(value: str) -> str:
    if _DNS_LABEL.match(value) is None:
        message = (
            "is no DNS label: Kubernetes would refuse a Service of that name. "
            "Use 1 to 63 lower-case letters, digits and hyphens, a letter first and no hyphen last."
        )
        raise ValueError(message)
    return value


Quantity = Annotated[str, AfterValidator(_check_quantity)]
"""A Kubernetes resource quantity such as ``500m``, ``2`` or ``4Gi``, kept as the string that was written."""

DnsLabel = Annotated[str, AfterValidator(_check_dns_label)]
"""An RFC 1123 label that starts with a letter: the form that Service names and Helm releases accept alike."""


def matching(pattern: str, text: str) -> AfterValidator:
    """Return a validator of strings that must match all of ``pattern``; ``text`` is the error, ``is not …: <consequence>. <remedy>``."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(text)
        return value

    return AfterValidator(check)


class Model(BaseModel):
    """Base of every settings model: immutable, unknown keys refused, camelCase keys in the stack file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        use_enum_values=False,
        validate_default=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def _problems(self) -> Iterable[Problem]:
        """Return what is wrong with values that are valid one by one. All of it is reported at once."""
        return ()

    @model_validator(mode="after")
    def _check_problems(self) -> Self:
        raise_problems(self._problems())
        return self
