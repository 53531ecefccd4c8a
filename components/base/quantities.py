"""Quantities and durations: how a stack file writes them, their values, and their canonical form in Kubernetes and Prometheus.

The API server stores the canonical form. Any other spelling would show a difference in every preview.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

UNITS: Final = {
    "m": Decimal("0.001"),
    "": Decimal(1),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", start=1)},
}
"""Suffixes of Kubernetes quantities."""

_SECONDS: Final = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "": Decimal(1),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_NUMBER: Final = re.compile(r"(?P<number>\d+(\.\d+)?)(?P<unit>[A-Za-z]*)")


def _read(text: str, units: dict[str, Decimal]) -> Decimal | None:
    match = _NUMBER.fullmatch(text)
    return None if match is None or match["unit"] not in units else Decimal(match["number"]) * units[match["unit"]]


def parse_duration(value: object) -> object:
    """Convert ``"50ms"``, ``"30s"``, ``"5m"``, ``"1h"``, ``"7d"`` or ``"90"`` to seconds. Raise ValueError for other strings."""
    if not isinstance(value, str):
        return value
    seconds = _read(value.strip(), _SECONDS)
    if seconds is None:
        raise ValueError("is not a duration: it can't be read. Write a number with a unit (us, ms, s, m, h or d), such as 50ms or 5m.")
    return float(seconds)


def quantity_value(quantity: str) -> Decimal:
    """Return the value of a `Quantity`, such as 1024 for ``1Ki``. Raise ValueError for other strings."""
    value = _read(quantity, UNITS)
    if value is None:
        raise ValueError(
            "is not a Kubernetes quantity: the API server would reject it. Write a number with an optional unit, such as 500m, 2 or 4Gi."
        )
    return value


def _check_quantity(value: str) -> str:
    quantity_value(value)
    return value


def _number_to_text(value: object) -> object:
    """Accept ``cpu: 4`` as every Kubernetes manifest does; ``true`` is not a number."""
    if isinstance(value, bool):
        raise ValueError("must be a quantity: true and false are not. Write one such as 500m, 2 or 4Gi.")  # noqa: TRY004  # pydantic collects ValueErrors
    return str(value) if isinstance(value, int | float) else value


Duration = Annotated[float, BeforeValidator(parse_duration)]
"""Seconds. A stack file has a number of seconds or a string with a unit (``50ms``, ``5m``)."""

Quantity = Annotated[str, BeforeValidator(_number_to_text), AfterValidator(_check_quantity), WithJsonSchema({"type": ["string", "number"]})]
"""A Kubernetes quantity such as ``500m``, ``2`` or ``4Gi``, kept as written. A number is accepted too, as in ``helm --set``."""


def _check_size(value: str) -> str:
    if quantity_value(value) < UNITS["Mi"]:
        raise ValueError("is less than 1Mi: a size without a unit is in bytes; no pod could start. Write a unit, such as 2Gi.")
    return value


Size = Annotated[Quantity, AfterValidator(_check_size)]
"""A `Quantity` of memory or disk, at least 1Mi."""


def quantity(value: float) -> str:
    """Return ``value`` as a canonical decimal quantity: 50000 -> ``50k``, 16 -> ``16``, 0.5 -> ``500m``.

    Rounded to a thousandth, the autoscaler's unit. Raise ValueError below that.
    """
    thousandths = round(Decimal(str(value)) * 1000) if math.isfinite(value) else 0
    if thousandths <= 0:
        message = f"{value!r} can't be a metric's target: it would be rejected, or never met. Write a number of at least 0.001."
        raise ValueError(message)
    suffix = next(unit for unit in ("G", "M", "k", "", "m") if thousandths % (UNITS[unit] * 1000) == 0)
    return f"{thousandths / (UNITS[suffix] * 1000):f}{suffix}"


def prometheus_duration(seconds: float) -> str:
    """Return ``seconds``, rounded up to a millisecond, as Prometheus and Go both read it: ``500ms``, ``5s``, ``90s``."""
    milliseconds = max(1, math.ceil(round(seconds * 1000, 6)))
    return f"{milliseconds // 1000}s" if milliseconds % 1000 == 0 else f"{milliseconds}ms"


def whole_seconds(seconds: float) -> int:
    """Round ``seconds`` up: Kubernetes takes whole seconds, and less than a budget would break it."""
    return math.ceil(seconds)
