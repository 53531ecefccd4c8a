"""Settings of a GKE cluster's network: VPC, zones, and endpoints of the Kubernetes API."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from components.base.clusters import Network, public_problems
from components.base.errors import Problem
from components.base.model import Model, Project, matching
from components.gke.settings.node_pools import GcpZone

if TYPE_CHECKING:
    from collections.abc import Iterator

GcpName = Annotated[
    str,
    matching(
        r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?",
        "is not a Google Cloud name: it would be rejected. Use 1 to 63 lower-case letters, digits and hyphens; start with a letter and "
        "don't end with a hyphen.",
    ),
]
"""Name of most things in Google Cloud."""
_SMALLEST_CIDR: Final = 21
_CONTROL_PLANE_LENGTH: Final = 28
_PRIVATE: Final = tuple(IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"))
_RESERVED: Final = IPv4Network("172.17.0.0/16")
"""Docker's bridge on GKE nodes: pods could not reach addresses in it."""


class _ZonesSettings(Model):
    zones: tuple[GcpZone, ...] | None = None
    """Zones of the nodes; None: the first ``zoneCount`` of the region, or the cluster's own in a zonal cluster. Name them if the GPU is not
    available in every zone."""
    zone_count: int = Field(default=3, ge=1, le=6)
    """Number of zones, if ``zones`` names none and the cluster is regional."""


class CreatedGcpNetworkSettings(_ZonesSettings):
    """A VPC that the stack creates: a subnet with secondary ranges for pods and Services, and Cloud NAT. Nodes have no public address."""

    kind: Literal["create"]
    """A VPC that the stack creates."""
    cidr: Network = "10.0.0.0/16"
    """Address range: half for pods, a quarter for nodes, an eighth for Services, a /28 for the control plane. Choose one that no peered
    network uses: it can't be changed."""
    control_plane_cidr: Network | None = None
    """Address range of the control plane, a /28; None: part of ``cidr``."""
    nat: Literal["one", "perZone", "none"] = "one"
    """Cloud NAT is regional and survives the loss of a zone: ``one`` and ``perZone`` are the same here. ``none``: no egress; images must
    then come from Artifact Registry."""

    def _problems(self) -> Iterator[Problem]:
        if IPv4Network(self.cidr).prefixlen > _SMALLEST_CIDR:
            text = f"({self.cidr}) is smaller than a /{_SMALLEST_CIDR}: pods would have no addresses. Choose a larger network."
            yield Problem(at=("cidr",), text=text)
        yield from _private_problems("cidr", self.cidr)
        if self.control_plane_cidr is not None:
            yield from _control_plane_problems(self.control_plane_cidr)
            if IPv4Network(self.control_plane_cidr).overlaps(IPv4Network(self.cidr)):
                text = (
                    f"({self.control_plane_cidr}) overlaps cidr ({self.cidr}), the range of nodes and pods: GKE would reject the cluster. "
                    "Leave it out, or choose another range."
                )
                yield Problem(at=("control_plane_cidr",), text=text, also=(("cidr",),))


class ExistingGcpNetworkSettings(_ZonesSettings):
    """An existing VPC, possibly of another project (Shared VPC). Previews check its subnet; you provide the egress."""

    kind: Literal["existing"]
    """An existing VPC."""
    network: GcpName
    """Name of the VPC."""
    subnetwork: GcpName
    """Name of the subnet for nodes, in the cluster's region, with Private Google Access."""
    pod_range: GcpName
    """Name of its secondary range for pods."""
    service_range: Annotated[GcpName, Field(examples=["services"])]
    """Name of its secondary range for Services."""
    host_project: Project | None = None
    """Project of the VPC, if it is another one; GKE's service account needs roles/container.hostServiceAgentUser there."""
    control_plane_cidr: Network = "172.16.0.0/28"
    """Address range of the control plane, a /28 that nothing else in the VPC uses."""
    firewall: bool = True
    """Whether the stack creates the firewall rules that webhooks and metrics need. False: they already exist."""

    def _problems(self) -> Iterator[Problem]:
        yield from _control_plane_problems(self.control_plane_cidr)
        if self.pod_range == self.service_range:
            text = f"({self.service_range}) is also podRange: a range serves only one of them. Name another."
            yield Problem(at=("service_range",), text=text, also=(("pod_range",),))


def _private_problems(at: str, cidr: str) -> Iterator[Problem]:
    network = IPv4Network(cidr)
    if not any(network.subnet_of(block) for block in _PRIVATE):
        text = f"({cidr}) has public addresses: their owners on the internet could not be reached. Choose from 10.0.0.0/8 or 172.16.0.0/12."
        yield Problem(at=(at,), text=text)
    elif network.overlaps(_RESERVED):
        text = (
            f"({cidr}) overlaps {_RESERVED}, which containers on the nodes use: its addresses could not be reached. Choose another range."
        )
        yield Problem(at=(at,), text=text)


def _control_plane_problems(cidr: str) -> Iterator[Problem]:
    yield from _private_problems("control_plane_cidr", cidr)
    if IPv4Network(cidr).prefixlen != _CONTROL_PLANE_LENGTH:
        text = f"({cidr}) must be a /{_CONTROL_PLANE_LENGTH}: GKE would reject another length. Write one such as 172.16.0.0/28."
        yield Problem(at=("control_plane_cidr",), text=text)


GcpNetworkSettings = Annotated[CreatedGcpNetworkSettings | ExistingGcpNetworkSettings, Field(discriminator="kind")]


class GkeEndpointSettings(Model):
    """Endpoints of the Kubernetes API."""

    private: bool = True
    """Always true: a GKE control plane has an address inside the VPC, which nodes use."""
    public: bool = True
    """Whether the API has a public address. If not, Pulumi must run where it can reach the VPC, or use ``dns``."""
    public_cidrs: tuple[Network, ...] = ()
    """Networks that may reach the public address. Opening it to the internet requires 0.0.0.0/0, written out."""
    dns: bool = False
    """Whether the API has a DNS name that is reachable from any network and protected by IAM (``container.clusters.connect``). Pulumi then
    uses it."""

    def _problems(self) -> Iterator[Problem]:
        if not self.private:
            text = "is false, but a GKE control plane always has an address inside the VPC: the setting would be ignored. Leave it out."
            yield Problem(at=("private",), text=text)
        yield from public_problems(public=self.public, cidrs=self.public_cidrs)
