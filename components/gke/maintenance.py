"""When GKE may upgrade a cluster: its maintenance policy."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import pulumi_gcp as gcp

    from components.gke.settings.maintenance import MaintenanceSettings

_MONDAY: Final = "2026-01-05"
"""The date that the weekly window starts from. Any date would do, but a changed one would appear in every preview."""
_SCOPES: Final = {
    "noUpgrades": "NO_UPGRADES",
    "noMinorUpgrades": "NO_MINOR_UPGRADES",
    "noMinorOrNodeUpgrades": "NO_MINOR_OR_NODE_UPGRADES",
}


def window(settings: MaintenanceSettings) -> tuple[str, str, str]:
    """Return start and end of the first window (UTC), and its recurrence (RFC 5545)."""
    start = datetime.fromisoformat(f"{_MONDAY}T{settings.start}:00")
    days = ",".join(dict.fromkeys(settings.days))
    return f"{start.isoformat()}Z", f"{(start + timedelta(hours=settings.hours)).isoformat()}Z", f"FREQ=WEEKLY;BYDAY={days}"


def maintenance_policy(settings: MaintenanceSettings) -> gcp.container.ClusterMaintenancePolicyArgsDict:
    """Return the policy that the control plane gets."""
    start, end, recurrence = window(settings)
    return {
        "recurring_window": {"start_time": start, "end_time": end, "recurrence": recurrence},
        "maintenance_exclusions": [
            {
                "exclusion_name": exclusion.name,
                "start_time": exclusion.start,
                "end_time": exclusion.end,
                "exclusion_options": {"scope": _SCOPES[exclusion.scope]},
            }
            for exclusion in settings.exclusions
        ],
    }
