"""The VPC that an EKS cluster lives in: one of its own, or one that is there.

Makes subnets, routes, NAT gateways and endpoints, and tags them for load balancers and for Karpenter. Makes no peering, no VPN and no DNS
zone. A private subnet's id is handed out once its way out is there, so that no node starts where it could not reach anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base.errors import FleetError
from components.base.naming import type_token
from components.base.outputs import after

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from components.eks.settings.network import CreatedNetworkSettings, ExistingNetworkSettings

_BLOCKS: Final = 8
"""Equal parts of the VPC. Zone n's private subnet is part n, and the last part holds all public ones. Always eight, so that a zone more
moves no subnet."""
_FORBIDDEN_ZONE_IDS: Final = ("use1-az3", "usw1-az2", "cac1-az3")
"""Zones where EKS has no control plane (EKS user guide, "VPC and subnet requirements")."""
_LEAST_FREE: Final = 16
"""Free addresses of a subnet that EKS advises; it needs 6."""
_PUBLIC_TAG: Final = "kubernetes.io/role/elb"
_PRIVATE_TAG: Final = "kubernetes.io/role/internal-elb"
_DISCOVERY_TAG: Final = "karpenter.sh/discovery"
"""Tag with the cluster's name, by which Karpenter finds where to start nodes. A subnet can have one cluster's alone."""
_WITH_NAT: Final = ("ecr.api", "ecr.dkr", "sts")
_WITHOUT_NAT: Final = (
    *_WITH_NAT,
    "ec2",
    "logs",
    "elasticloadbalancing",
    "autoscaling",
    "eks",
    "eks-auth",
    "ssm",
    "ssmmessages",
    "ec2messages",
    "sqs",
    "kms",
)
"""What nodes, EKS' add-ons and autoscalers call (EKS user guide, "private clusters"; ssmmessages, ec2messages and kms from experience of
others)."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A VPC with subnets that are ready for nodes and load balancers."""

    vpc_id: pulumi.Output[str]
    private: Mapping[str, tuple[pulumi.Output[str], ...]]
    """Zone -> ids of subnets for nodes; each resolves once it has its way out."""
    public: Mapping[str, tuple[pulumi.Output[str], ...]]
    control_plane_ids: tuple[pulumi.Output[str], ...]
    """Ids of the private subnets, by zone, known as soon as they are there: the control plane has no use for their way out, and takes nine
    minutes that NAT gateways and endpoints need not come before."""


@dataclass(frozen=True, kw_only=True)
class SubnetPlan:
    """The addresses of one zone."""

    zone: str
    private: str
    """CIDR of the subnet for nodes and pods."""
    public: str
    """CIDR of the subnet for load balancers and NAT."""
    nat_zone: str | None
    """Zone of the NAT gateway that the private subnet goes out through."""


def plan_subnets(settings: CreatedNetworkSettings, zones: Sequence[str]) -> tuple[SubnetPlan, ...]:
    """Divide the VPC's addresses among ``zones`` (at most 6).

    A /16 gives private subnets of /19: about 245 nodes each with prefix delegation and 16 pods or fewer a node.
    """
    blocks = list(IPv4Network(settings.cidr).subnets(prefixlen_diff=_BLOCKS.bit_length() - 1))
    public = list(blocks[-1].subnets(prefixlen_diff=_BLOCKS.bit_length() - 1))
    nat = {"one": dict.fromkeys(zones, zones[0]), "perZone": {zone: zone for zone in zones}, "none": {}}[settings.nat]
    return tuple(
        SubnetPlan(zone=zone, private=str(blocks[index]), public=str(public[index]), nat_zone=nat.get(zone))
        for index, zone in enumerate(zones)
    )


def endpoint_services(settings: CreatedNetworkSettings) -> tuple[str, ...]:
    """AWS services that get an interface endpoint. S3 has a gateway endpoint in any case."""
    if settings.nat == "none":
        return _WITHOUT_NAT
    return _WITH_NAT if settings.interface_endpoints else ()


def pick_zones(available: Iterable[str], count: int) -> tuple[str, ...]:
    """Take the first ``count`` of a region's zones by name. Raises FleetError when it has fewer."""
    found = tuple(sorted(available))
    if len(found) < count:
        raise FleetError(
            f"triton-fleet:cluster.network.zoneCount ({count}) is above the {len(found)} zones that the region has for EKS "
            f"({', '.join(found) or 'none'}): the rest could not be made. Lower it."
        )
    return found[:count]


@dataclass(frozen=True, kw_only=True)
class SubnetFacts:
    """What AWS says of a subnet that is there."""

    id: str
    vpc_id: str
    zone: str
    free: int
    """Addresses that are not taken."""
    tags: Mapping[str, str]
    gives_public_addresses: bool = False
    """Whether what starts there gets a public address: the mark of a subnet whose way out is an internet gateway."""


def subnet_problems(settings: ExistingNetworkSettings, cluster: str, facts: Iterable[SubnetFacts], *, discovery: bool = False) -> list[str]:
    """Say what is wrong with existing subnets, as whole messages; with ``discovery``, for Karpenter too."""
    key = "triton-fleet:cluster.network"
    private, public = set(settings.private_subnet_ids), set(settings.public_subnet_ids)
    found = list(facts)
    problems = [
        f"{key} names {subnet.id}, which is in {subnet.vpc_id} and not in vpcId ({settings.vpc_id}): EKS would refuse it. Name its VPC."
        for subnet in found
        if subnet.vpc_id != settings.vpc_id
    ]
    problems += [
        f"{key} names {subnet.id} with {subnet.free} free addresses: EKS wants {_LEAST_FREE}, and pods would have none. Name a larger one."
        for subnet in found
        if subnet.free < _LEAST_FREE
    ]
    zones = {subnet.zone for subnet in found if subnet.id in private}
    if len(zones) < 2:  # noqa: PLR2004  # EKS' own bound
        problems.append(
            f"{key}.privateSubnetIds are all in {', '.join(zones)}: EKS needs 2 zones and would refuse them. Add one of another."
        )
    for subnet in found:
        foreign = [
            tag for tag in subnet.tags if tag.startswith("kubernetes.io/cluster/") and tag.removeprefix("kubernetes.io/cluster/") != cluster
        ]
        wanted = _PUBLIC_TAG if subnet.id in public else _PRIVATE_TAG
        if foreign and f"kubernetes.io/cluster/{cluster}" not in subnet.tags:
            problems.append(
                f"{key} names {subnet.id}, tagged {foreign[0]} for another cluster: load balancers would not be made there. "
                f"Tag it kubernetes.io/cluster/{cluster}=shared too."
            )
        if subnet.tags.get(wanted) != "1":
            problems.append(
                f"{key} names {subnet.id} without the tag {wanted}=1: load balancers would not find it. Tag it, or name another."
            )
        if subnet.id in private and subnet.gives_public_addresses:
            problems.append(
                f"{key}.privateSubnetIds names {subnet.id}, which gives public addresses: its nodes would stand in the internet. Name a "
                "subnet whose way out is a NAT gateway, or turn the addresses off."
            )
        if discovery and subnet.id in private and subnet.tags.get(_DISCOVERY_TAG) != cluster:
            problems.append(
                f"{key} names {subnet.id} without the tag {_DISCOVERY_TAG}={cluster}: Karpenter would start no node there. Tag it."
            )
    return problems


@dataclass(frozen=True, kw_only=True)
class VpcArgs:
    """Arguments of `Vpc`."""

    settings: CreatedNetworkSettings
    cluster: str
    """Name of the cluster, for Karpenter's discovery tag."""
    region: str
    provider: aws.Provider
    tags: Mapping[str, str]


class Vpc(pulumi.ComponentResource):
    """A VPC of the stack's own."""

    network: Network

    def __init__(self, name: str, args: VpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        zones = settings.zones or find_zones(args.provider, settings.zone_count)
        plan = plan_subnets(settings, zones)
        super().__init__(type_token("cluster", "Vpc"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)

        def tags(part: str) -> dict[str, str]:
            return {**args.tags, "Name": f"{args.cluster}-{part}"}

        vpc = aws.ec2.Vpc(
            name,
            cidr_block=settings.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,  # without it nodes can't register
            tags=tags("vpc"),
            opts=child,
        )
        gateway = aws.ec2.InternetGateway(name, vpc_id=vpc.id, tags=tags("internet"), opts=child)
        out = aws.ec2.RouteTable(
            f"{name}-public",
            vpc_id=vpc.id,
            routes=[aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)],
            tags=tags("public"),
            opts=child,
        )
        public: dict[str, pulumi.Output[str]] = {}
        for entry in plan:
            subnet = aws.ec2.Subnet(
                f"{name}-public-{entry.zone}",
                vpc_id=vpc.id,
                availability_zone=entry.zone,
                cidr_block=entry.public,
                tags={**tags(f"public-{entry.zone}"), _PUBLIC_TAG: "1"},
                opts=child,
            )
            association = aws.ec2.RouteTableAssociation(
                f"{name}-public-{entry.zone}", subnet_id=subnet.id, route_table_id=out.id, opts=child
            )
            public[entry.zone] = after(subnet.id, association.id)
        nat = {
            zone: self._nat(name, zone, public[zone], tags(f"nat-{zone}"), child)
            for zone in dict.fromkeys(entry.nat_zone for entry in plan)
            if zone is not None
        }
        private: dict[str, pulumi.Output[str]] = {}
        bare: list[pulumi.Output[str]] = []
        tables: list[pulumi.Output[str]] = [out.id]
        for entry in plan:
            subnet = aws.ec2.Subnet(
                f"{name}-private-{entry.zone}",
                vpc_id=vpc.id,
                availability_zone=entry.zone,
                cidr_block=entry.private,
                tags={**tags(f"private-{entry.zone}"), _PRIVATE_TAG: "1", _DISCOVERY_TAG: args.cluster},
                opts=child,
            )
            routes = (
                [] if entry.nat_zone is None else [aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", nat_gateway_id=nat[entry.nat_zone])]
            )
            table = aws.ec2.RouteTable(
                f"{name}-private-{entry.zone}", vpc_id=vpc.id, routes=routes, tags=tags(f"private-{entry.zone}"), opts=child
            )
            association = aws.ec2.RouteTableAssociation(
                f"{name}-private-{entry.zone}", subnet_id=subnet.id, route_table_id=table.id, opts=child
            )
            tables.append(table.id)
            bare.append(subnet.id)
            private[entry.zone] = after(subnet.id, association.id)
        endpoints = self._endpoints(name, args, vpc.id, tables=tables, subnets=list(private.values()), child=child)
        self.network = Network(
            vpc_id=vpc.id,
            private={zone: (after(subnet, *endpoints),) for zone, subnet in private.items()},
            public={zone: (subnet,) for zone, subnet in public.items()},
            control_plane_ids=tuple(bare),
        )
        self.register_outputs({"vpcId": vpc.id})

    def _nat(
        self, name: str, zone: str, subnet: pulumi.Output[str], tags: dict[str, str], child: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        address = aws.ec2.Eip(f"{name}-nat-{zone}", domain="vpc", tags=tags, opts=child)
        return aws.ec2.NatGateway(f"{name}-nat-{zone}", allocation_id=address.id, subnet_id=subnet, tags=tags, opts=child).id

    def _endpoints(
        self,
        name: str,
        args: VpcArgs,
        vpc_id: pulumi.Output[str],
        *,
        tables: list[pulumi.Output[str]],
        subnets: list[pulumi.Output[str]],
        child: pulumi.ResourceOptions,
    ) -> list[pulumi.Output[str]]:
        """Make the endpoints; what nodes need of them is ready when their ids are given out."""
        ids = [
            aws.ec2.VpcEndpoint(
                f"{name}-s3",
                vpc_id=vpc_id,
                service_name=f"com.amazonaws.{args.region}.s3",
                vpc_endpoint_type="Gateway",
                route_table_ids=tables,
                tags=dict(args.tags),
                opts=child,
            ).id
        ]
        services = endpoint_services(args.settings)
        if not services:
            return ids
        group = aws.ec2.SecurityGroup(
            f"{name}-endpoints",
            vpc_id=vpc_id,
            description="HTTPS from inside the VPC to the endpoints of AWS services",
            ingress=[
                aws.ec2.SecurityGroupIngressArgs(protocol="tcp", from_port=443, to_port=443, cidr_blocks=[args.settings.cidr]),
            ],
            opts=child,
        )
        ids += [
            aws.ec2.VpcEndpoint(
                f"{name}-{service}",
                vpc_id=vpc_id,
                service_name=f"com.amazonaws.{args.region}.{service}",
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=subnets,
                security_group_ids=[group.id],
                tags=dict(args.tags),
                opts=child,
            ).id
            for service in services
        ]
        return ids


def existing(settings: ExistingNetworkSettings, cluster: str, provider: aws.Provider, *, discovery: bool = False) -> Network:
    """Look existing subnets up and check them; with ``discovery``, for Karpenter too. Raises FleetError with all that is wrong."""
    ids = [*settings.private_subnet_ids, *settings.public_subnet_ids]
    facts = []
    for subnet in ids:
        found = aws.ec2.get_subnet(id=subnet, opts=pulumi.InvokeOptions(provider=provider))
        facts.append(
            SubnetFacts(
                id=subnet,
                vpc_id=found.vpc_id,
                zone=found.availability_zone,
                free=found.available_ip_address_count,
                tags=found.tags,
                gives_public_addresses=bool(found.map_public_ip_on_launch),
            )
        )
    problems = subnet_problems(settings, cluster, facts, discovery=discovery)
    if problems:
        raise FleetError(*problems)
    zone = {subnet.id: subnet.zone for subnet in facts}

    def by_zone(wanted: Sequence[str]) -> dict[str, tuple[pulumi.Output[str], ...]]:
        return {
            name: tuple(pulumi.Output.from_input(subnet) for subnet in wanted if zone[subnet] == name)
            for name in sorted({zone[subnet] for subnet in wanted})
        }

    return Network(
        vpc_id=pulumi.Output.from_input(settings.vpc_id),
        private=by_zone(settings.private_subnet_ids),
        public=by_zone(settings.public_subnet_ids),
        control_plane_ids=tuple(pulumi.Output.from_input(subnet) for subnet in settings.private_subnet_ids),
    )


def find_zones(provider: aws.Provider, count: int) -> tuple[str, ...]:
    """Ask AWS for the region's zones. Local and wavelength zones are opt-in, and left out with all others that are."""
    found = aws.get_availability_zones(
        state="available",
        exclude_zone_ids=list(_FORBIDDEN_ZONE_IDS),
        filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
        opts=pulumi.InvokeOptions(provider=provider),
    )
    return pick_zones(found.names, count)
