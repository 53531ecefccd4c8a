"""When GKE may upgrade a cluster: the settings, and the maintenance policy that they become."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.model import Model, matching
from components.gke.settings.network import GcpName

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pulumi_gcp as gcp

_LEAST_HOURS_IN_32_DAYS: Final = 48
"""GKE requires 48 hours of maintenance windows in any 32 days, each of 4 hours or more ("Maintenance windows and exclusions")."""
_SHORT_EXCLUSION_DAYS: Final = 90
_MONDAY: Final = "2026-01-05"
"""The date that the weekly window starts from. Any date would do, but a changed one would appear in every preview."""
_SCOPES: Final = {
    "noUpgrades": "NO_UPGRADES",
    "noMinorUpgrades": "NO_MINOR_UPGRADES",
    "noMinorOrNodeUpgrades": "NO_MINOR_OR_NODE_UPGRADES",
}


class ExclusionSettings(Model):
    """A time without upgrades."""

    name: GcpName
    """Name of the exclusion."""
    start: str = Field(examples=["2026-12-20T00:00:00Z"])
    """Its start, in UTC: ``2026-12-20T00:00:00Z``."""
    end: str = Field(examples=["2026-12-27T00:00:00Z"])
    """Its end."""
    scope: Literal["noUpgrades", "noMinorUpgrades", "noMinorOrNodeUpgrades"] = "noMinorOrNodeUpgrades"
    """What is excluded; ``noUpgrades`` for at most 90 days."""

    def _problems(self) -> Iterator[Problem]:
        times = []
        for field, value in (("start", self.start), ("end", self.end)):
            try:
                times.append(datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ"))  # noqa: DTZ007  # the format has its Z
            except ValueError:
                text = (
                    f"({value}) is not a UTC time: GKE would return it in another form, and every preview would show a change. "
                    "Write it like 2026-12-20T00:00:00Z, in quotes."
                )
                yield Problem(at=(field,), text=text)
        if len(times) < 2:  # noqa: PLR2004  # both
            return
        start, end = times
        if end <= start:
            text = f"({self.end}) is not after start ({self.start}): GKE would reject it. Change one of them."
            yield Problem(at=("end",), text=text, also=(("start",),))
        elif self.scope == "noUpgrades" and (end - start).days > _SHORT_EXCLUSION_DAYS:
            text = (
                f"is noUpgrades for {(end - start).days} days, above the {_SHORT_EXCLUSION_DAYS} that GKE allows: it would be rejected. "
                "Shorten it, or use noMinorOrNodeUpgrades."
            )
            yield Problem(at=("scope",), text=text, also=(("start",), ("end",)))


class MaintenanceSettings(Model):
    """When GKE may upgrade the control plane and nodes."""

    days: tuple[Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"], ...] = Field(default=("SA", "SU"), min_length=1)
    """Days of the week."""
    start: Annotated[
        str, matching(r"([01]\d|2[0-3]):[0-5]\d", "is not a time of day: GKE would reject it. Write hours and minutes, such as 02:00.")
    ] = "02:00"
    """Start of the window on each day, in UTC."""
    hours: int = Field(default=6, ge=4, le=24)
    """Length of the window."""
    exclusions: tuple[ExclusionSettings, ...] = Field(default=(), max_length=20)
    """Times without upgrades."""

    def _problems(self) -> Iterator[Problem]:
        hours = self.hours * len(set(self.days)) * 32 // 7
        if hours < _LEAST_HOURS_IN_32_DAYS:
            text = (
                f"({self.hours}) on {len(set(self.days))} days a week makes {hours} in 32 days, below GKE's {_LEAST_HOURS_IN_32_DAYS}: the "
                "window would be rejected. Raise it or name more days."
            )
            yield Problem(at=("hours",), text=text, also=(("days",),))
        names = [exclusion.name for exclusion in self.exclusions]
        for index, name in enumerate(names):
            if name in names[:index]:
                text = f"({name}) is also the name of another exclusion: one would overwrite the other. Change it."
                yield Problem(at=("exclusions", index, "name"), text=text)

    @property
    def policy(self) -> gcp.container.ClusterMaintenancePolicyArgsDict:
        """The maintenance policy of the control plane: the first window in UTC, and its recurrence (RFC 5545)."""
        start = datetime.fromisoformat(f"{_MONDAY}T{self.start}:00")
        return {
            "recurring_window": {
                "start_time": f"{start.isoformat()}Z",
                "end_time": f"{(start + timedelta(hours=self.hours)).isoformat()}Z",
                "recurrence": f"FREQ=WEEKLY;BYDAY={','.join(dict.fromkeys(self.days))}",
            },
            "maintenance_exclusions": [
                {
                    "exclusion_name": exclusion.name,
                    "start_time": exclusion.start,
                    "end_time": exclusion.end,
                    "exclusion_options": {"scope": _SCOPES[exclusion.scope]},
                }
                for exclusion in self.exclusions
            ],
        }
