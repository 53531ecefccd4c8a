"""The VPC that a GKE cluster lives in: one of its own, or one that is there.

Makes a subnet with ranges for pods and Services, Cloud NAT, and the firewall rules that a private cluster lacks. Makes no peering, no VPN
and no DNS zone. The subnet is handed out once its way out is there: a node that starts earlier can pull nothing.

Everything of a load balancer that GKE itself makes (``k8s-fw-..``, network endpoint groups) is GKE's to take away. It does so only while
the cluster is there: what asks for one comes after the cluster, and so goes before it and before the VPC, which could not be deleted else.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp

from components.base.errors import FleetError
from components.base.naming import type_token
from components.gke.settings.network import zones_missing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.network import CreatedGcpNetworkSettings, ExistingGcpNetworkSettings

POD_RANGE: Final = "pods"
SERVICE_RANGE: Final = "services"
_CONTROL_PLANE_LENGTH: Final = 28
OPERATOR_PORT: Final = 10250
"""prometheus-operator's webhook (its chart's ``tls.internalPort``), and kubelet: GKE lets the control plane through to it by itself."""
ADAPTER_PORT: Final = 6443
"""prometheus-adapter's API (its chart's ``listenPort``): without it custom.metrics.k8s.io answers to nobody on a private cluster."""
ISTIOD_PORT: Final = 15017
"""istiod's webhooks: without it no pod gets a sidecar, and none is made where that is a condition."""
HEALTH_CHECKERS: Final = ("35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22")
"""Where Google's load balancers ask whether backends live ("Health checks overview"): the first two for proxies and internal ones, the
others for external passthrough ones."""
_API_OFF: Final = ("SERVICE_DISABLED", "has not been used in project", "accessNotConfigured")
"""What Google says of an API that a project has not switched on."""
_HEALTH_PORTS: Final = ("8000", "8001", "8080", "10256", "15021", "30000-32767")
"""Triton (HTTP, gRPC), a gateway's plain port, kube-proxy's and Istio's own health, node ports."""


@dataclass(frozen=True, kw_only=True)
class GcpNetwork:
    """A VPC with a subnet that is ready for a control plane."""

    project: str
    """Project of the VPC."""
    network: pulumi.Output[str]
    """The VPC's self link."""
    subnetwork: pulumi.Output[str]
    """The subnet's self link."""
    pod_range: str
    service_range: str
    control_plane: str
    """Addresses of the control plane."""
    way_out: tuple[pulumi.Output[str], ...] = ()
    """Known once nodes have a way out: what pods pull is not Google's."""


@dataclass(frozen=True, kw_only=True)
class RangePlan:
    """Addresses of a VPC of the stack's own."""

    nodes: str
    pods: str
    services: str
    control_plane: str


def plan_ranges(settings: CreatedGcpNetworkSettings) -> RangePlan:
    """Divide ``cidr`` so that pods, of which a node has many, get half of it, and the control plane the last /28 of the other half."""
    lower, upper = IPv4Network(settings.cidr).subnets()
    nodes, rest = lower.subnets()
    services, other = rest.subnets()
    last = IPv4Network((int(other.broadcast_address) - (1 << 32 - _CONTROL_PLANE_LENGTH) + 1, _CONTROL_PLANE_LENGTH))
    return RangePlan(nodes=str(nodes), pods=str(upper), services=str(services), control_plane=settings.control_plane_cidr or str(last))


@dataclass(frozen=True, kw_only=True)
class FirewallPlan:
    """One opening."""

    name: str
    description: str
    sources: tuple[str, ...]
    ports: tuple[str, ...]


def firewall_plans(control_plane: str, webhooks: Iterable[int]) -> tuple[FirewallPlan, ...]:
    """Openings of a private cluster: GKE's own rules let the control plane reach nodes on 443 and 10250 alone."""
    return (
        FirewallPlan(
            name="webhooks",
            description="Control plane to webhooks and aggregated APIs that run in pods",
            sources=(control_plane,),
            ports=tuple(str(port) for port in sorted(set(webhooks))),
        ),
        FirewallPlan(
            name="health-checks",
            description="Health checks of Google's load balancers",
            sources=HEALTH_CHECKERS,
            ports=_HEALTH_PORTS,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class SubnetworkFacts:
    """What Google says of a subnet that is there."""

    network: str
    """Self link of its VPC."""
    google_access: bool
    """Whether machines without a public address reach Google's APIs."""
    ranges: tuple[str, ...]
    """Names of its secondary ranges."""


def subnetwork_problems(settings: ExistingGcpNetworkSettings, facts: SubnetworkFacts) -> list[str]:
    """Say what is wrong with a subnet that is there, as whole messages."""
    key = "triton-fleet:cluster.network"
    problems = []
    if facts.network.rsplit("/", maxsplit=1)[-1] != settings.network:
        problems.append(
            f"{key}.subnetwork ({settings.subnetwork}) is in {facts.network.rsplit('/', maxsplit=1)[-1]} and not in network "
            f"({settings.network}): GKE would refuse it. Name its VPC."
        )
    there = ", ".join(facts.ranges) or "none"
    problems += [
        f"{key}.{field} ({name}) is no secondary range of {settings.subnetwork}: GKE would refuse it. There: {there}."
        for field, name in (("podRange", settings.pod_range), ("serviceRange", settings.service_range))
        if name not in facts.ranges
    ]
    if not facts.google_access:
        problems.append(
            f"{key}.subnetwork ({settings.subnetwork}) has Private Google Access off: nodes without public addresses could not reach "
            "Google's registries and APIs. Turn it on (gcloud compute networks subnets update --enable-private-ip-google-access)."
        )
    return problems


def pick_zones(settings: GkeClusterSettings, available: Sequence[str]) -> tuple[str, ...]:
    """Zones of the nodes: those that are named, or the first of the region's, the cluster's own in front.

    Raises:
        FleetError: When the region has not so many, or not those.
    """
    key, there = "triton-fleet:cluster.network", ", ".join(sorted(available)) or "none"
    named = settings.zone_names
    if named is None:
        found = tuple(sorted(available))[: settings.network.zone_count]
        if len(found) < settings.network.zone_count:
            raise FleetError(
                f"{key}.zoneCount ({settings.network.zone_count}) is above the {len(available)} zones of {settings.region} ({there}): "
                "the rest could not be made. Lower it."
            )
        return found
    missing = zones_missing(named, available)
    if missing:
        at = f"{key}.zones" if settings.network.zones is not None else "triton-fleet:cluster.zone"
        raise FleetError(f"{at} names {', '.join(missing)}, which {settings.region} has not: no node could be made. Choose from {there}.")
    return named


def find_zones(settings: GkeClusterSettings, provider: pulumi.ProviderResource) -> tuple[str, ...]:
    """Ask Google for the region's zones and choose among them.

    Zones that are named are believed where Google can't be asked yet, because the stack is only about to switch its API on.

    Raises:
        FleetError: Like `pick_zones`, or when a pool names a zone that there is not.
    """
    try:
        asked = gcp.compute.get_zones(
            project=settings.project, region=settings.region, status="UP", opts=pulumi.InvokeOptions(provider=provider)
        )
    except Exception as error:
        if not any(words in str(error) for words in _API_OFF):
            raise
        if settings.zone_names is None:
            raise FleetError(
                f"triton-fleet:cluster.project ({settings.project}) has the Compute Engine API switched off: its zones can't be asked for. "
                f"Run gcloud services enable compute.googleapis.com --project {settings.project}, or name network.zones."
            ) from None
        return settings.zone_names
    found = list(asked.names)
    zones = pick_zones(settings, found)
    problems = [
        f"triton-fleet:cluster.gpuPools[{index}].zones names {zone}, which {settings.region} has not: its nodes could not be made. "
        f"Choose from {', '.join(sorted(found))}."
        for index, pool in enumerate(settings.gpu_pools)
        for zone in zones_missing(pool.zones or (), found)
    ]
    if problems:
        raise FleetError(*problems)
    return zones


@dataclass(frozen=True, kw_only=True)
class GcpVpcArgs:
    """Arguments of `GcpVpc`."""

    settings: CreatedGcpNetworkSettings
    cluster: str
    """Name of the cluster: beginning of all names."""
    project: str
    region: str
    provider: pulumi.ProviderResource
    depends_on: Sequence[pulumi.Resource] = ()


class GcpVpc(pulumi.ComponentResource):
    """A VPC of the stack's own."""

    network: GcpNetwork

    def __init__(self, name: str, args: GcpVpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "GcpVpc"), name, None, opts)
        plan = plan_ranges(args.settings)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        vpc = gcp.compute.Network(
            name,
            name=args.cluster,
            project=args.project,
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            description=f"VPC of the GKE cluster {args.cluster}",
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(args.depends_on))),
        )
        subnet = gcp.compute.Subnetwork(
            name,
            name=args.cluster,
            project=args.project,
            region=args.region,
            network=vpc.id,
            ip_cidr_range=plan.nodes,
            private_ip_google_access=True,
            secondary_ip_ranges=[
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name=POD_RANGE, ip_cidr_range=plan.pods),
                gcp.compute.SubnetworkSecondaryIpRangeArgs(range_name=SERVICE_RANGE, ip_cidr_range=plan.services),
            ],
            opts=child,
        )
        self.network = GcpNetwork(
            project=args.project,
            network=vpc.self_link,
            subnetwork=subnet.self_link,
            pod_range=POD_RANGE,
            service_range=SERVICE_RANGE,
            control_plane=plan.control_plane,
            way_out=() if args.settings.nat == "none" else (self._nat(name, args, vpc.id, subnet.id, child),),
        )
        self.register_outputs({"network": vpc.self_link})

    def _nat(
        self, name: str, args: GcpVpcArgs, network: pulumi.Output[str], subnet: pulumi.Output[str], child: pulumi.ResourceOptions
    ) -> pulumi.Output[str]:
        router = gcp.compute.Router(name, name=args.cluster, project=args.project, region=args.region, network=network, opts=child)
        nat = gcp.compute.RouterNat(
            name,
            name=args.cluster,
            project=args.project,
            region=args.region,
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            # All ranges: pods have addresses of their own, and pull models and packages from outside.
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[gcp.compute.RouterNatSubnetworkArgs(name=subnet, source_ip_ranges_to_nats=["ALL_IP_RANGES"])],
            log_config=gcp.compute.RouterNatLogConfigArgs(enable=True, filter="ERRORS_ONLY"),
            opts=child,
        )
        return nat.id


def existing(settings: ExistingGcpNetworkSettings, *, project: str, region: str, provider: pulumi.ProviderResource) -> GcpNetwork:
    """Look an existing subnet up and check it. Raises FleetError with all that is wrong."""
    host = settings.host_project or project
    found = gcp.compute.get_subnetwork(name=settings.subnetwork, project=host, region=region, opts=pulumi.InvokeOptions(provider=provider))
    facts = SubnetworkFacts(
        network=found.network,
        google_access=found.private_ip_google_access,
        ranges=tuple(entry.range_name for entry in found.secondary_ip_ranges),
    )
    problems = subnetwork_problems(settings, facts)
    if problems:
        raise FleetError(*problems)
    return GcpNetwork(
        project=host,
        network=pulumi.Output.from_input(found.network),
        subnetwork=pulumi.Output.from_input(found.self_link),
        pod_range=settings.pod_range,
        service_range=settings.service_range,
        control_plane=settings.control_plane_cidr,
    )


def open_firewall(
    name: str,
    network: GcpNetwork,
    plans: Sequence[FirewallPlan],
    *,
    cluster: str,
    target: str,
    opts: pulumi.ResourceOptions,
) -> list[gcp.compute.Firewall]:
    """Declare the openings for nodes with the network tag ``target``."""
    return [
        gcp.compute.Firewall(
            f"{name}-{plan.name}",
            name=f"{cluster}-{plan.name}",
            project=network.project,
            network=network.network,
            description=plan.description,
            direction="INGRESS",
            source_ranges=list(plan.sources),
            target_tags=[target],
            allows=[gcp.compute.FirewallAllowArgs(protocol="tcp", ports=list(plan.ports))],
            opts=opts,
        )
        for plan in plans
    ]
