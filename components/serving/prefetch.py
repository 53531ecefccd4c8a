"""What a deployment's init container copies, and how much room that takes. Pure; the copying itself is charts/triton/files/prefetch.sh."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from components.base.quantities import quantity_value

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.serving.settings import ServingSettings

_MI: Final = 1 << 20
_SLACK: Final = 1.1
"""File systems and rounding to blocks: 10,000 files of 4 KiB take about a twentieth more than their bytes on ext4."""
_SLACK_BYTES: Final = 64 * _MI
"""List and log of the copy itself, and the empty file system."""


def models_to_copy(settings: ServingSettings, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Models that ``settings`` load and those that these load (``needs``), sorted; empty means all of the release."""
    found: set[str] = set()
    pending = list(settings.models or ())
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(needs.get(name, ()))
    return tuple(sorted(found))


def bytes_to_copy(settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> int:
    """Bytes of what `models_to_copy` gives."""
    models = models_to_copy(settings, needs)
    return sum(size for name, size in sizes.items() if not models or name in models)


def volume_size(settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> str:
    """Size of the volume as a Kubernetes quantity: the one that is set, else computed; empty when nobody has counted the models."""
    if settings.prefetch.volume.size is not None:
        return settings.prefetch.volume.size
    if not sizes:
        return ""
    return f"{math.ceil((bytes_to_copy(settings, sizes, needs) * _SLACK + _SLACK_BYTES) / _MI)}Mi"


def too_small(key: str, settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return what is wrong with the volume of the deployment whose settings are at ``key``; None when the models fit."""
    size = settings.prefetch.volume.size
    if not settings.prefetch.enabled or size is None:
        return None
    wanted = bytes_to_copy(settings, sizes, needs)
    if quantity_value(size) >= wanted:
        return None
    return (
        f"{key}.prefetch.volume.size ({size}) is less than the {wanted} bytes of the models that {settings.name} loads: every pod would be "
        f"evicted, or fail, while it copies. Raise it to {math.ceil((wanted * _SLACK + _SLACK_BYTES) / _MI)}Mi or more, or leave it out."
    )
