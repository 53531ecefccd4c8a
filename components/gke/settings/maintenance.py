"""Settings of when GKE may upgrade a cluster."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Model
from components.gke.settings.network import NAME

_LEAST_WINDOW_HOURS: Final = 4
_LEAST_HOURS_IN_32_DAYS: Final = 48
"""GKE wants 48 hours of maintenance windows in any 32 days, in pieces of 4 hours or more ("Maintenance windows and exclusions")."""
_SHORT_EXCLUSION_DAYS: Final = 90
_MOST_EXCLUSIONS: Final = 20


class ExclusionSettings(Model):
    """A time without upgrades."""

    name: str = Field(pattern=NAME)
    """Name of it."""
    start: str
    """Its beginning, in UTC: ``2026-12-20T00:00:00Z``."""
    end: str
    """Its end."""
    scope: Literal["noUpgrades", "noMinorUpgrades", "noMinorOrNodeUpgrades"] = "noMinorOrNodeUpgrades"
    """What is held back; ``noUpgrades`` for 90 days at most."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        problems = []
        times = {}
        for field, value in (("start", self.start), ("end", self.end)):
            try:
                times[field] = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ")  # noqa: DTZ007  # Z, as the format has it
            except ValueError:
                text = f"({value}) is no time in UTC: GKE would give it back in another form, and each preview would show a change. Write it like 2026-12-20T00:00:00Z, in quotes."  # noqa: E501
                problems.append(Problem(at=(field,), text=text))
        if len(times) > 1 and times["end"] <= times["start"]:
            text = f"({self.end}) is not after start ({self.start}): GKE would refuse it. Change one of them."
            problems.append(Problem(at=("end",), text=text, also=(("start",),)))
        elif len(times) > 1 and self.scope == "noUpgrades" and (times["end"] - times["start"]).days > _SHORT_EXCLUSION_DAYS:
            text = f"is noUpgrades for {(times['end'] - times['start']).days} days, above the {_SHORT_EXCLUSION_DAYS} that GKE allows: it would be refused. Shorten it, or take noMinorOrNodeUpgrades."  # noqa: E501
            problems.append(Problem(at=("scope",), text=text, also=(("start",), ("end",))))
        if problems:
            raise FleetError(*problems)
        return self


class MaintenanceSettings(Model):
    """When GKE may upgrade the control plane and nodes."""

    days: tuple[Literal["MO", "TU", "WE", "TH", "FR", "SA", "SU"], ...] = Field(default=("SA", "SU"), min_length=1)
    """Days of the week."""
    start: str = Field(default="02:00", pattern=r"^([01]\d|2[0-3]):[0-5]\d$")
    """Beginning of the window on each, in UTC."""
    hours: int = Field(default=6, ge=_LEAST_WINDOW_HOURS, le=24)
    """Length of the window."""
    exclusions: tuple[ExclusionSettings, ...] = Field(default=(), max_length=_MOST_EXCLUSIONS)
    """Times without upgrades."""

    @model_validator(mode="after")
    def _often_enough(self) -> Self:
        problems = []
        hours = self.hours * len(set(self.days)) * 32 // 7
        if hours < _LEAST_HOURS_IN_32_DAYS:
            text = f"({self.hours}) on {len(set(self.days))} days a week makes {hours} in 32 days, and GKE wants {_LEAST_HOURS_IN_32_DAYS}: the window would be refused. Raise it or name more days."  # noqa: E501
            problems.append(Problem(at=("hours",), text=text, also=(("days",),)))
        names = [exclusion.name for exclusion in self.exclusions]
        problems += [
            Problem(at=("exclusions", index, "name"), text=f"({name}) is another's name too: one would overwrite the other. Change it.")
            for index, name in enumerate(names)
            if name in names[:index]
        ]
        if problems:
            raise FleetError(*problems)
        return self
