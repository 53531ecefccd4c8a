"""Which models a deployment copies before Triton starts, and how much room they take. charts/triton/files/prefetch.sh copies them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from components.base.quantities import quantity_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.serving.settings import ServingSettings

_MI: Final = 1 << 20
_SLACK: Final = 1.1
"""Room for the file system and for rounding to blocks: 10,000 files of 4 KiB take 5 % more than their bytes on ext4."""
_SLACK_BYTES: Final = 64 * _MI
"""Room for the copy's list and log, and for an empty file system."""


def models_to_copy(settings: ServingSettings, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the models that ``settings`` name and those that these load (``needs``), sorted; empty means the whole release."""
    found: set[str] = set()
    pending = list(settings.models or ())
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(needs.get(name, ()))
    return tuple(sorted(found))


def _bytes_to_copy(settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> int:
    models = models_to_copy(settings, needs)
    return sum(size for name, size in sizes.items() if not models or name in models)


def _room(size: int) -> str:
    return f"{math.ceil((size * _SLACK + _SLACK_BYTES) / _MI)}Mi"


def volume_size(settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return the size of the volume as a Kubernetes quantity: the setting, else computed; None when the sizes are unknown."""
    if settings.prefetch.volume.size is not None or not sizes:
        return settings.prefetch.volume.size
    return _room(_bytes_to_copy(settings, sizes, needs))


def too_small(key: str, settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return what is wrong with the volume of the deployment whose settings are at ``key``; None when the models fit."""
    size = settings.prefetch.volume.size
    if not settings.prefetch.enabled or size is None:
        return None
    wanted = _bytes_to_copy(settings, sizes, needs)
    if quantity_value(size) >= wanted:
        return None
    return (
        f"{key}.prefetch.volume.size ({size}) is less than the {wanted} bytes of the models that {settings.name} loads: every pod would be "
        f"evicted, or fail, while it copies. Raise it to {_room(wanted)} or more, or remove the key."
    )
