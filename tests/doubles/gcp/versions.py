"""Kubernetes' versions at GKE, and which release channel has which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.doubles.gcp.compute import region_of
from tests.doubles.gcp.session import Session, handles, invalid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body

VERSIONS: Final = ("1.36.1-gke.1127000", "1.35.4-gke.1031000", "1.35.2-gke.1842000", "1.34.8-gke.1074000", "1.33.11-gke.1013000")
"""Versions that can be had, the newest first."""
_CHANNELS: Final = {"RAPID": 0, "REGULAR": 1, "STABLE": 3, "EXTENDED": 3}
"""Each release channel's default, by its place in VERSIONS; what is newer than a channel's default it has not."""


def resolve_version(asked: str, channel: str) -> str:
    """The version that GKE takes for what is asked for (``1.35``, ``latest``, nothing). Raises GoogleError."""
    first = _CHANNELS.get(channel, 1)
    if asked in ("", "-"):
        return VERSIONS[first]
    if asked == "latest":
        return VERSIONS[first if channel in _CHANNELS else 0]
    for version in VERSIONS[first if channel in _CHANNELS else 0 :]:
        if version == asked or version.startswith((f"{asked}.", f"{asked}-")):
            return version
    raise invalid(
        f'Master version "{asked}" is unsupported.' if not channel else f'Master version "{asked}" is not available in channel {channel}.'
    )


def minor(version: str) -> int:
    """The second number of a version."""
    return int(version.split(".")[1])


@handles("container.projects.locations.getServerConfig")
def server_config(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """Versions that can be had in a place."""
    del session
    region_of(parameters["name"].rsplit("/", 1)[-1])
    channels = [
        {"channel": key, "defaultVersion": VERSIONS[first], "validVersions": list(VERSIONS[first:])} for key, first in _CHANNELS.items()
    ]
    return {
        "defaultClusterVersion": VERSIONS[1],
        "validMasterVersions": list(VERSIONS),
        "validNodeVersions": list(VERSIONS),
        "channels": channels,
        "defaultImageType": "COS_CONTAINERD",
        "validImageTypes": ["COS_CONTAINERD", "UBUNTU_CONTAINERD", "WINDOWS_LTSC_CONTAINERD"],
    }
