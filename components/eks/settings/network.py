"""Settings of an EKS cluster's network: its VPC, and who reaches its Kubernetes API."""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Model
from components.base.networks import EVERYONE, Network, public_problems

ZONE: Final = re.compile(r"^[a-z]{2}(-[a-z]+)+-\d[a-z]\Z")
"""Form of an availability zone's name."""
_MOST_ZONES: Final = 6
PUBLIC_TAG: Final = "kubernetes.io/role/elb"
PRIVATE_TAG: Final = "kubernetes.io/role/internal-elb"
"""Tags with the value 1 by which load balancers find their subnets."""
DISCOVERY_TAG: Final = "karpenter.sh/discovery"
"""Tag with the cluster's name by which Karpenter finds subnets and security groups. A subnet can carry it for one cluster only."""


def check_zone(value: str) -> str:
    """Give a zone's name back as it is. Raises ValueError for anything else."""
    if ZONE.match(value) is None:
        raise ValueError("is no availability zone: no subnet could be made there. Write one like eu-west-1a.")
    return value


Zone = Annotated[str, AfterValidator(check_zone)]
"""Name of an availability zone."""


class CreatedNetworkSettings(Model):
    """A VPC of the stack's own: a public and a private subnet in each zone. Nodes are in the private ones."""

    kind: Literal["create"]
    """A VPC of the stack's own."""
    cidr: Network = "10.0.0.0/16"
    """Addresses of the VPC, a /16 to a /21. Choose one that no network you peer with uses: it can't be changed."""
    zones: tuple[Zone, ...] | None = None
    """Availability zones, 2 or more; None takes the first ``zoneCount`` of the region's. Name them where none may ever move."""
    zone_count: int = Field(default=3, ge=2, le=_MOST_ZONES)
    """How many zones, where ``zones`` names none."""
    nat: Literal["one", "perZone", "none"] = "one"
    """NAT gateways. ``one``: cheapest, and its zone's failure cuts all nodes off from the internet. ``perZone``: one each. ``none``: no way
    out; then the interface endpoints are made that nodes need, and images must come from ECR."""
    interface_endpoints: bool = False
    """Private endpoints for ECR and STS: no image layer goes through a NAT gateway. Always made without NAT. S3 has one anyway, free."""

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        problems = []
        length = IPv4Network(self.cidr).prefixlen
        if not 16 <= length <= 21:  # noqa: PLR2004  # AWS' bound, and three private subnets of at least a /24 each
            text = f"({self.cidr}) is not a /16 to a /21: a VPC can't be larger, and a smaller one has too few pod addresses. Change it."
            problems.append(Problem(at=("cidr",), text=text))
        if self.zones is not None and not 2 <= len(self.zones) <= _MOST_ZONES:  # noqa: PLR2004  # EKS' own bound
            text = f"names {len(self.zones)}: EKS needs subnets in 2 zones or more, and {_MOST_ZONES} is most. Name 2 to {_MOST_ZONES}."
            problems.append(Problem(at=("zones",), text=text))
        if self.zones is not None and len(set(self.zones)) != len(self.zones):
            text = "names a zone twice: its second subnets would be refused. Name each once."
            problems.append(Problem(at=("zones",), text=text))
        if problems:
            raise FleetError(*problems)
        return self


class ExistingNetworkSettings(Model):
    """A VPC that is there. Its subnets are checked against AWS at preview; its routes are yours."""

    kind: Literal["existing"]
    """A VPC that is there."""
    vpc_id: str = Field(pattern=r"^vpc-[0-9a-f]{8,17}$")
    """Id of the VPC."""
    private_subnet_ids: tuple[str, ...] = Field(min_length=2)
    """Subnets for nodes, in 2 zones or more, with a way out and the tag ``kubernetes.io/role/internal-elb=1``."""
    public_subnet_ids: tuple[str, ...] = ()
    """Subnets for public load balancers, with the tag ``kubernetes.io/role/elb=1``."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        problems: list[Problem] = []
        for field, ids in (("private_subnet_ids", self.private_subnet_ids), ("public_subnet_ids", self.public_subnet_ids)):
            problems.extend(
                Problem(at=(field,), text=f"names {wrong}, which is no subnet id: AWS would refuse it. Write one like subnet-0a1b2c3d.")
                for wrong in ids
                if re.fullmatch(r"subnet-[0-9a-f]{8,17}", wrong) is None
            )
        both = sorted(set(self.private_subnet_ids) & set(self.public_subnet_ids))
        if both:
            text = f"names {', '.join(both)}, private too: nodes in it would have no address that the internet answers to. Keep it in one."
            problems.append(Problem(at=("public_subnet_ids",), text=text, also=(("private_subnet_ids",),)))
        if problems:
            raise FleetError(*problems)
        return self


NetworkSettings = Annotated[CreatedNetworkSettings | ExistingNetworkSettings, Field(discriminator="kind")]


class EndpointSettings(Model):
    """The Kubernetes API's addresses."""

    private: bool = True
    """Whether nodes reach the API inside the VPC."""
    public: bool = True
    """Whether the API has a public address. Without, Pulumi must run where the VPC can be reached."""
    public_cidrs: tuple[Network, ...] = ()
    """Networks that may reach the public address. 0.0.0.0/0 must be written out to be meant."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        problems = []
        if not self.public and not self.private:
            problems.append(
                Problem(at=("private",), text="and public are both false: nobody could reach the API. Set one of them to true.")
            )
        problems += public_problems(public=self.public, cidrs=self.public_cidrs, refused=", and EKS refuses both together")
        if self.public and not self.private and self.public_cidrs and not set(self.public_cidrs) & set(EVERYONE):
            text = "is false while publicCidrs limits the public endpoint: nodes are locked out and never join. Set private to true."
            problems.append(Problem(at=("private",), text=text, also=(("public_cidrs",), ("public",))))
        if problems:
            raise FleetError(*problems)
        return self
