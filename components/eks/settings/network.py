"""Settings of an EKS cluster's network: its VPC, and access to its Kubernetes API."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field

from components.base.clusters import EVERYONE, Network, public_problems
from components.base.errors import Problem
from components.base.model import Model, matching

if TYPE_CHECKING:
    from collections.abc import Iterator

PUBLIC_TAG: Final = "kubernetes.io/role/elb"
PRIVATE_TAG: Final = "kubernetes.io/role/internal-elb"
"""Tags with the value 1 by which load balancers find their subnets."""
DISCOVERY_TAG: Final = "karpenter.sh/discovery"
"""Tag with the cluster's name by which Karpenter finds subnets and security groups. A subnet can carry it for one cluster only."""
ZONE: Final = r"[a-z]{2,4}(-[a-z]+)+-\d[a-z]"
_MAX_ZONES: Final = 6

Zone = Annotated[str, matching(ZONE, "is not an availability zone: no subnet could be created in it. Write one like eu-west-1a.")]
"""Name of an availability zone."""
_SubnetId = Annotated[str, matching(r"subnet-[0-9a-f]{8,17}", "is not a subnet id: AWS would refuse it. Write one like subnet-0a1b2c3d.")]


class CreatedNetworkSettings(Model):
    """A VPC that the stack creates, with a public and a private subnet in each zone. Nodes run in the private ones."""

    kind: Literal["create"]
    """The stack creates the VPC."""
    cidr: Network = "10.0.0.0/16"
    """Addresses of the VPC, a /16 to a /21. They can't be changed; choose a range that no peered network uses."""
    zones: tuple[Zone, ...] | None = None
    """Availability zones, 2 or more; None takes the first ``zoneCount`` of the region. Name them if they must never change."""
    zone_count: int = Field(default=3, ge=2, le=_MAX_ZONES)
    """Number of zones if ``zones`` names none."""
    nat: Literal["one", "perZone", "none"] = "one"
    """NAT gateways. ``one`` is cheapest; if its zone fails, all nodes lose internet egress. ``perZone``: one in each zone. ``none``: no
    internet egress; the stack creates the interface endpoints that nodes need, and images must come from ECR."""
    interface_endpoints: bool = False
    """Private endpoints for ECR and STS, so that no image layer passes a NAT gateway. Always created with ``nat: none``. S3 always has a
    gateway endpoint, which is free."""

    def _problems(self) -> Iterator[Problem]:
        if not 16 <= IPv4Network(self.cidr).prefixlen <= 21:  # noqa: PLR2004  # AWS' limit, and at least a /24 for each of 3 private subnets
            text = f"({self.cidr}) is not a /16 to a /21: a VPC can't be larger, and a smaller one has too few pod addresses. Change it."
            yield Problem(at=("cidr",), text=text)
        if self.zones is not None and not 2 <= len(self.zones) <= _MAX_ZONES:  # noqa: PLR2004  # EKS' own limit
            text = f"names {len(self.zones)}: EKS needs subnets in at least 2 zones, and the VPC has room for {_MAX_ZONES}. "
            yield Problem(at=("zones",), text=f"{text}Name 2 to {_MAX_ZONES}.")
        if self.zones is not None and len(set(self.zones)) != len(self.zones):
            yield Problem(at=("zones",), text="names a zone twice: its second subnets would be refused. Name each zone once.")


class ExistingNetworkSettings(Model):
    """An existing VPC. A preview checks its subnets against AWS; its routes are not checked."""

    kind: Literal["existing"]
    """The VPC exists."""
    vpc_id: Annotated[str, matching(r"vpc-[0-9a-f]{8,17}", "is not a VPC id: AWS would refuse it. Write one like vpc-0a1b2c3d.")] = Field(
        examples=["vpc-0a1b2c3d"]
    )
    """Id of the VPC."""
    private_subnet_ids: tuple[_SubnetId, ...] = Field(min_length=2, examples=[["subnet-0a1b2c3d", "subnet-4e5f6a7b"]])
    """Subnets for nodes, in 2 zones or more, with internet egress and the tag ``kubernetes.io/role/internal-elb=1``."""
    public_subnet_ids: tuple[_SubnetId, ...] = ()
    """Subnets for public load balancers, with the tag ``kubernetes.io/role/elb=1``."""

    def _problems(self) -> Iterator[Problem]:
        both = sorted(set(self.private_subnet_ids) & set(self.public_subnet_ids))
        if both:
            text = f"names {', '.join(both)}, which privateSubnetIds names too: a subnet is private or public. Keep it in one of them."
            yield Problem(at=("public_subnet_ids",), text=text, also=(("private_subnet_ids",),))


NetworkSettings = Annotated[CreatedNetworkSettings | ExistingNetworkSettings, Field(discriminator="kind")]


class EndpointSettings(Model):
    """Endpoints of the Kubernetes API."""

    private: bool = True
    """Whether nodes reach the API inside the VPC."""
    public: bool = True
    """Whether the API has a public endpoint. Without it, Pulumi must run where it can reach the VPC."""
    public_cidrs: tuple[Network, ...] = ()
    """Networks that may reach the public endpoint. To allow the whole internet, write 0.0.0.0/0."""

    def _problems(self) -> Iterator[Problem]:
        if not self.public and not self.private:
            yield Problem(at=("private",), text="and public are both false: the API would be unreachable. Set one of them to true.")
        yield from public_problems(public=self.public, cidrs=self.public_cidrs, refused=", and EKS refuses both together")
        if self.public and not self.private and self.public_cidrs and not set(self.public_cidrs) & set(EVERYONE):
            text = (
                "is false while publicCidrs limits the public endpoint: nodes could not reach the API and never join. Set private to true."
            )
            yield Problem(at=("private",), text=text, also=(("public_cidrs",), ("public",)))
