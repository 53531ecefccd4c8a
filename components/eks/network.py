"""The VPC of an EKS cluster: one that the stack creates, or an existing one.

Creates subnets, routes, NAT gateways and endpoints, and tags them for load balancers and Karpenter. Creates no peering, VPN or DNS zone.
A private subnet's id resolves once its egress works, so that no node starts without a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base.aws import endpoint_service
from components.base.errors import FleetError
from components.base.naming import type_token
from components.base.outputs import after
from components.eks.settings.network import DISCOVERY_TAG, PRIVATE_TAG, PUBLIC_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from components.eks.settings.network import CreatedNetworkSettings, ExistingNetworkSettings

_BLOCKS: Final = 8
"""Equal parts of the VPC. The private subnet of zone n is part n, and the last part holds all public subnets. Always eight, so that a new
zone moves no subnet."""
_FORBIDDEN_ZONE_IDS: Final = ("use1-az3", "usw1-az2", "cac1-az3")
"""Zones without EKS control planes (EKS user guide, "VPC and subnet requirements")."""
_MIN_FREE: Final = 16
"""Free addresses in a subnet that EKS recommends; it needs 6."""
_WITH_NAT: Final = "ecr.api ecr.dkr sts"
_WITHOUT_NAT: Final = f"{_WITH_NAT} ec2 logs elasticloadbalancing autoscaling eks eks-auth ssm ssmmessages ec2messages sqs kms"
"""What nodes, EKS add-ons and autoscalers call (EKS user guide, "private clusters"; ssmmessages, ec2messages and kms from published
experience)."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """A VPC with subnets that are ready for nodes and load balancers."""

    vpc_id: pulumi.Output[str]
    private: Mapping[str, tuple[pulumi.Output[str], ...]]
    """Zone -> ids of subnets for nodes; each resolves once its egress works."""
    control_plane_ids: tuple[pulumi.Output[str], ...]
    """Ids of the private subnets, by zone, known as soon as they exist. The control plane takes nine minutes and needs no egress, so it
    need not wait for NAT gateways and endpoints."""


@dataclass(frozen=True, kw_only=True)
class SubnetPlan:
    """The addresses of one zone."""

    zone: str
    private: str
    """CIDR of the subnet for nodes and pods."""
    public: str
    """CIDR of the subnet for load balancers and NAT."""
    nat_zone: str | None
    """Zone of the NAT gateway for the private subnet's egress."""


def plan_subnets(settings: CreatedNetworkSettings, zones: Sequence[str]) -> tuple[SubnetPlan, ...]:
    """Divide the VPC's addresses among ``zones`` (at most 6).

    A /16 gives private subnets of /19: about 245 nodes each with prefix delegation and at most 16 pods a node.
    """
    blocks = list(IPv4Network(settings.cidr).subnets(prefixlen_diff=_BLOCKS.bit_length() - 1))
    public = list(blocks[-1].subnets(prefixlen_diff=_BLOCKS.bit_length() - 1))
    nat = {"one": dict.fromkeys(zones, zones[0]), "perZone": {zone: zone for zone in zones}, "none": {}}[settings.nat]
    return tuple(
        SubnetPlan(zone=zone, private=str(blocks[index]), public=str(public[index]), nat_zone=nat.get(zone))
        for index, zone in enumerate(zones)
    )


def endpoint_services(settings: CreatedNetworkSettings) -> tuple[str, ...]:
    """Return the AWS services that get an interface endpoint. S3 always has a gateway endpoint."""
    if settings.nat == "none":
        return tuple(_WITHOUT_NAT.split())
    return tuple(_WITH_NAT.split()) if settings.interface_endpoints else ()


def pick_zones(available: Iterable[str], count: int) -> tuple[str, ...]:
    """Take the first ``count`` of a region's zones by name. Raises FleetError if it has fewer."""
    found = tuple(sorted(available))
    if len(found) < count:
        raise FleetError(
            f"triton-fleet:cluster.network.zoneCount ({count}) is above the {len(found)} zones that the region has for EKS "
            f"({', '.join(found) or 'none'}): the remaining subnets could not be created. Lower it."
        )
    return found[:count]


def find_zones(provider: aws.Provider, count: int) -> tuple[str, ...]:
    """Look up the region's zones. Leaves out zones that need an opt-in, which local and wavelength zones do."""
    found = aws.get_availability_zones(
        state="available",
        exclude_zone_ids=list(_FORBIDDEN_ZONE_IDS),
        filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])],
        opts=pulumi.InvokeOptions(provider=provider),
    )
    return pick_zones(found.names, count)


# An existing network.


def subnet_problems(
    settings: ExistingNetworkSettings, cluster: str, subnets: Sequence[aws.ec2.GetSubnetResult], *, discovery: bool = False
) -> list[str]:
    """Return what is wrong with existing subnets, as whole messages; with ``discovery``, for Karpenter too."""
    key = "triton-fleet:cluster.network"
    problems = []
    zones = {subnet.availability_zone for subnet in subnets if subnet.id in settings.private_subnet_ids}
    if len(zones) < 2:  # noqa: PLR2004  # EKS' own limit
        problems.append(
            f"{key}.privateSubnetIds are all in {', '.join(zones)}: EKS needs 2 zones and would refuse them. Add a subnet in another zone."
        )
    for subnet in subnets:
        private, free = subnet.id in settings.private_subnet_ids, subnet.available_ip_address_count
        role_tag = PRIVATE_TAG if private else PUBLIC_TAG
        own = f"kubernetes.io/cluster/{cluster}"
        foreign = [tag for tag in subnet.tags if tag.startswith("kubernetes.io/cluster/") and tag != own]
        checks = {
            f"which is in {subnet.vpc_id} and not in vpcId ({settings.vpc_id}): EKS would refuse it. Name its VPC": (
                subnet.vpc_id != settings.vpc_id
            ),
            f"with {free} free addresses: EKS recommends {_MIN_FREE}, and pods would run out of them. Name a larger subnet": (
                free < _MIN_FREE
            ),
            f"tagged {', '.join(foreign)} for another cluster: it would get no load balancers. Add the tag {own}=shared": (
                bool(foreign) and own not in subnet.tags
            ),
            f"without the tag {role_tag}=1: load balancers would not find it. Add the tag, or name another subnet": (
                subnet.tags.get(role_tag) != "1"
            ),
            # Public addresses mark a subnet whose egress is an internet gateway.
            "which gives public addresses: its nodes would be exposed to the internet. Name a subnet with egress through a NAT gateway": (
                private and bool(subnet.map_public_ip_on_launch)
            ),
            f"without the tag {DISCOVERY_TAG}={cluster}: Karpenter would start no node there. Add the tag": (
                discovery and private and subnet.tags.get(DISCOVERY_TAG) != cluster
            ),
        }
        setting = "privateSubnetIds" if private else "publicSubnetIds"
        problems += [f"{key}.{setting} names {subnet.id}, {text}." for text, wrong in checks.items() if wrong]
    return problems


def find_network(settings: ExistingNetworkSettings, cluster: str, provider: aws.Provider, *, discovery: bool = False) -> Network:
    """Look up existing subnets and check them; with ``discovery``, for Karpenter too. Raises FleetError with everything that is wrong."""
    options = pulumi.InvokeOptions(provider=provider)
    found = {subnet: aws.ec2.get_subnet(id=subnet, opts=options) for subnet in (*settings.private_subnet_ids, *settings.public_subnet_ids)}
    problems = subnet_problems(settings, cluster, list(found.values()), discovery=discovery)
    if problems:
        raise FleetError(*problems)
    ids = {subnet: pulumi.Output.from_input(subnet) for subnet in settings.private_subnet_ids}
    zones = sorted({found[subnet].availability_zone for subnet in ids})
    return Network(
        vpc_id=pulumi.Output.from_input(settings.vpc_id),
        private={zone: tuple(ids[subnet] for subnet in ids if found[subnet].availability_zone == zone) for zone in zones},
        control_plane_ids=tuple(ids.values()),
    )


# A network of the stack's own.


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
    """A VPC that the stack creates."""

    network: Network

    def __init__(self, name: str, args: VpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings = args.settings
        plan = plan_subnets(settings, settings.zones or find_zones(args.provider, settings.zone_count))
        super().__init__(type_token("cluster", "Vpc"), name, None, opts)
        self._name, self._args = name, args
        self._child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        self._vpc = vpc = aws.ec2.Vpc(
            name,
            cidr_block=settings.cidr,
            enable_dns_support=True,
            enable_dns_hostnames=True,  # nodes can't register without it
            tags=self._tags("vpc"),
            opts=self._child,
        )
        gateway = aws.ec2.InternetGateway(
            name,
            vpc_id=vpc.id,
            tags=self._tags("internet"),
            # In place, it would have to leave the old VPC while the NAT gateways there still use it, which AWS refuses.
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(replace_on_changes=["vpcId"])),
        )
        route = aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", gateway_id=gateway.id)
        public_table = self._table("public", [route])
        public = {
            entry.zone: self._subnet(f"public-{entry.zone}", entry.zone, entry.public, {PUBLIC_TAG: "1"}, public_table)[1] for entry in plan
        }
        nat = {zone: self._nat(zone, public[zone]) for zone in dict.fromkeys(entry.nat_zone for entry in plan) if zone is not None}
        private_tags = {PRIVATE_TAG: "1", DISCOVERY_TAG: args.cluster}
        tables = [public_table.id]
        subnets: dict[str, tuple[pulumi.Output[str], pulumi.Output[str]]] = {}
        for entry in plan:
            part = f"private-{entry.zone}"
            egress = [] if entry.nat_zone is None else [nat[entry.nat_zone]]
            routes = [aws.ec2.RouteTableRouteArgs(cidr_block="0.0.0.0/0", nat_gateway_id=gateway_id) for gateway_id in egress]
            table = self._table(part, routes)
            tables.append(table.id)
            subnets[entry.zone] = self._subnet(part, entry.zone, entry.private, private_tags, table)
        endpoints = self._endpoints(tables, [routed for _, routed in subnets.values()])
        self.network = Network(
            vpc_id=vpc.id,
            private={zone: (after(routed, *endpoints),) for zone, (_, routed) in subnets.items()},
            control_plane_ids=tuple(subnet for subnet, _ in subnets.values()),
        )
        self.register_outputs({"vpcId": vpc.id})

    def _tags(self, part: str) -> dict[str, str]:
        return {**self._args.tags, "Name": f"{self._args.cluster}-{part}"}

    def _table(self, part: str, routes: list[aws.ec2.RouteTableRouteArgs]) -> aws.ec2.RouteTable:
        return aws.ec2.RouteTable(f"{self._name}-{part}", vpc_id=self._vpc.id, routes=routes, tags=self._tags(part), opts=self._child)

    def _subnet(
        self, part: str, zone: str, cidr: str, tags: Mapping[str, str], table: aws.ec2.RouteTable
    ) -> tuple[pulumi.Output[str], pulumi.Output[str]]:
        """Create a subnet; return its id, and the same id once its routes exist."""
        subnet = aws.ec2.Subnet(
            f"{self._name}-{part}",
            vpc_id=self._vpc.id,
            availability_zone=zone,
            cidr_block=cidr,
            tags={**self._tags(part), **tags},
            opts=self._child,
        )
        association = aws.ec2.RouteTableAssociation(f"{self._name}-{part}", subnet_id=subnet.id, route_table_id=table.id, opts=self._child)
        return subnet.id, after(subnet.id, association.id)

    def _nat(self, zone: str, subnet: pulumi.Output[str]) -> pulumi.Output[str]:
        name, tags = f"{self._name}-nat-{zone}", self._tags(f"nat-{zone}")
        # Another VPC gets another address: the old NAT gateway has this one until everything in the old cluster is gone.
        with_vpc = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(replacement_trigger=self._vpc.id))
        address = aws.ec2.Eip(name, domain="vpc", tags=tags, opts=with_vpc)
        return aws.ec2.NatGateway(name, allocation_id=address.id, subnet_id=subnet, tags=tags, opts=self._child).id

    def _endpoints(self, tables: list[pulumi.Output[str]], subnets: list[pulumi.Output[str]]) -> list[pulumi.Output[str]]:
        """Create the endpoints; return their ids, which nodes wait for."""
        region, tags = self._args.region, dict(self._args.tags)
        s3 = aws.ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=self._vpc.id,
            service_name=endpoint_service(region, "s3"),
            vpc_endpoint_type="Gateway",
            route_table_ids=tables,
            tags=tags,
            opts=self._child,
        )
        interfaces = endpoint_services(self._args.settings)
        if not interfaces:
            return [s3.id]
        https = aws.ec2.SecurityGroupIngressArgs(protocol="tcp", from_port=443, to_port=443, cidr_blocks=[self._args.settings.cidr])
        group = aws.ec2.SecurityGroup(
            f"{self._name}-endpoints",
            vpc_id=self._vpc.id,
            description="HTTPS from inside the VPC to the endpoints of AWS services",
            ingress=[https],
            opts=self._child,
        )
        endpoints = [
            aws.ec2.VpcEndpoint(
                f"{self._name}-{interface}",
                vpc_id=self._vpc.id,
                service_name=endpoint_service(region, interface),
                vpc_endpoint_type="Interface",
                private_dns_enabled=True,
                subnet_ids=subnets,
                security_group_ids=[group.id],
                tags=tags,
                opts=self._child,
            ).id
            for interface in interfaces
        ]
        return [s3.id, *endpoints]
