"""Settings of where a GKE cluster is on the network: its VPC, zones, and the Kubernetes API's addresses."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Model
from components.base.networks import Network, public_problems
from components.gke.settings.node_pools import GcpZone

if TYPE_CHECKING:
    from collections.abc import Iterable

PROJECT: Final = re.compile(r"^[a-z][a-z0-9-]{4,28}[a-z0-9]\Z")
NAME: Final = r"^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$"
"""Name of most things in Google Cloud."""
_SMALLEST_CIDR: Final = 21
_CONTROL_PLANE_LENGTH: Final = 28
_PRIVATE: Final = tuple(IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
_RESERVED: Final = IPv4Network("172.17.0.0/16")
"""Docker's bridge on GKE nodes: pods could not reach addresses in it."""


def _check_project(value: str) -> str:
    if PROJECT.match(value) is None:
        raise ValueError(
            "is no id of a project: nothing could be made in it. Write its id (not its name or number): 6 to 30 lower-case letters, digits "
            "and hyphens."
        )
    return value


Project = Annotated[str, AfterValidator(_check_project)]
"""Id of a project of Google Cloud."""


class _ZonesSettings(Model):
    zones: tuple[GcpZone, ...] | None = None
    """Zones of the nodes; None: the first ``zoneCount`` of the region's, or the cluster's own in a zonal cluster. Name them where GPUs are
    not sold in every zone."""
    zone_count: int = Field(default=3, ge=1, le=6)
    """How many zones, where ``zones`` names none and the cluster is regional."""


class CreatedGcpNetworkSettings(_ZonesSettings):
    """A VPC of the stack's own: one subnet with secondary ranges for pods and Services, and Cloud NAT. Nodes have no public address."""

    kind: Literal["create"]
    """A VPC of the stack's own."""
    cidr: Network = "10.0.0.0/16"
    """Addresses of everything: half for pods, a quarter for nodes, an eighth for Services, a /28 for the control plane. Choose one that no
    network you peer with uses: it can't be changed."""
    control_plane_cidr: Network | None = None
    """Addresses of the control plane, a /28; None: out of ``cidr``."""
    nat: Literal["one", "perZone", "none"] = "one"
    """Cloud NAT, which is a region's and survives the loss of a zone: ``one`` and ``perZone`` are the same here. ``none``: no way out; then
    images must come from Artifact Registry."""

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        problems = []
        if IPv4Network(self.cidr).prefixlen > _SMALLEST_CIDR:
            text = f"({self.cidr}) is smaller than a /{_SMALLEST_CIDR}: there would be no addresses for pods. Change it."
            problems.append(Problem(at=("cidr",), text=text))
        problems += _private_problems("cidr", self.cidr)
        problems += _control_plane_problems(self.control_plane_cidr)
        if self.control_plane_cidr is not None and IPv4Network(self.control_plane_cidr).overlaps(IPv4Network(self.cidr)):
            text = f"({self.control_plane_cidr}) lies in cidr ({self.cidr}), where nodes and pods are: GKE would refuse the cluster. Leave it out, or take others."  # noqa: E501
            problems.append(Problem(at=("control_plane_cidr",), text=text, also=(("cidr",),)))
        if problems:
            raise FleetError(*problems)
        return self


class ExistingGcpNetworkSettings(_ZonesSettings):
    """A VPC that is there, maybe another project's (Shared VPC). Its subnet is checked at preview; the way out is yours."""

    kind: Literal["existing"]
    """A VPC that is there."""
    network: str = Field(pattern=NAME)
    """Name of the VPC."""
    subnetwork: str = Field(pattern=NAME)
    """Name of the subnet for nodes, in the cluster's region, with Private Google Access."""
    pod_range: str = Field(pattern=NAME)
    """Name of its secondary range for pods."""
    service_range: str = Field(pattern=NAME)
    """Name of its secondary range for Services."""
    host_project: Project | None = None
    """Project of the VPC where it is another's; GKE's service account there needs roles/container.hostServiceAgentUser."""
    control_plane_cidr: Network = "172.16.0.0/28"
    """Addresses of the control plane, a /28 that nothing in the VPC has."""
    firewall: bool = True
    """Whether the stack makes the firewall rules that webhooks and metrics need. False: somebody else has."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = _control_plane_problems(self.control_plane_cidr)
        if self.pod_range == self.service_range:
            text = f"({self.service_range}) is podRange too: a range is for one of them. Name another."
            problems.append(Problem(at=("service_range",), text=text, also=(("pod_range",),)))
        if problems:
            raise FleetError(*problems)
        return self


def _private_problems(at: str, cidr: str) -> list[Problem]:
    network = IPv4Network(cidr)
    if not any(network.subnet_of(block) for block in _PRIVATE):
        text = f"({cidr}) has addresses of the internet's: what lives there could not be reached. Take some of 10.0.0.0/8 or 172.16.0.0/12."
        return [Problem(at=(at,), text=text)]
    if network.overlaps(_RESERVED):
        text = f"({cidr}) has addresses of {_RESERVED}, which containers on the nodes use: they could not be reached. Take others."
        return [Problem(at=(at,), text=text)]
    return []


def _control_plane_problems(cidr: str | None) -> list[Problem]:
    if cidr is None:
        return []
    problems = _private_problems("control_plane_cidr", cidr)
    if IPv4Network(cidr).prefixlen != _CONTROL_PLANE_LENGTH:
        text = f"({cidr}) is no /{_CONTROL_PLANE_LENGTH}: GKE takes no other length. Write one like 172.16.0.0/28."
        problems.append(Problem(at=("control_plane_cidr",), text=text))
    return problems


GcpNetworkSettings = Annotated[CreatedGcpNetworkSettings | ExistingGcpNetworkSettings, Field(discriminator="kind")]


class GkeEndpointSettings(Model):
    """The Kubernetes API's addresses."""

    private: bool = True
    """Always true: a control plane of GKE has an address inside the VPC, which nodes use."""
    public: bool = True
    """Whether the API has a public address. Without, Pulumi must run where the VPC can be reached, or through ``dns``."""
    public_cidrs: tuple[Network, ...] = ()
    """Networks that may reach the public address. 0.0.0.0/0 must be written out to be meant."""
    dns: bool = False
    """Whether the API has a DNS name that IAM guards (``container.clusters.connect``) and any network reaches: Pulumi goes through it."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        problems = []
        if not self.private:
            text = "is false, and a GKE control plane has its address inside the VPC in any case. Leave it out."
            problems.append(Problem(at=("private",), text=text))
        problems += public_problems(public=self.public, cidrs=self.public_cidrs)
        if problems:
            raise FleetError(*problems)
        return self


def zones_missing(wanted: Iterable[str], there: Iterable[str]) -> tuple[str, ...]:
    """Zones of ``wanted`` that are not ``there``."""
    known = set(there)
    return tuple(zone for zone in wanted if zone not in known)
