"""The VPC of a GKE cluster: created by the stack, or an existing one.

A created VPC has a subnet with ranges for pods and Services, Cloud NAT, and the firewall rules missing from a private cluster. It has no
peering, VPN or DNS zone.

GKE creates and deletes the parts of a load balancer (``k8s-fw-..`` rules, network endpoint groups), and only while the cluster exists. So
whatever asks for a load balancer is created after the cluster and deleted before it: leftovers would block the deletion of the VPC.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Final, NamedTuple

import pulumi
import pulumi_gcp as gcp

from components.base.errors import FleetError
from components.base.naming import type_token

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.network import CreatedGcpNetworkSettings, ExistingGcpNetworkSettings

OPERATOR_PORT: Final = 10250
"""prometheus-operator's webhook (its chart's ``tls.internalPort``). The kubelet has the same port, which GKE opens itself."""
ADAPTER_PORT: Final = 6443
"""prometheus-adapter's API (its chart's ``listenPort``): if it is closed, custom.metrics.k8s.io does not work on a private cluster."""
ISTIOD_PORT: Final = 15017
"""istiod's webhooks: if it is closed, no pod gets a sidecar, and pods that require one are not created."""
HEALTH_CHECKERS: Final = ("35.191.0.0/16", "130.211.0.0/22", "209.85.152.0/22", "209.85.204.0/22")
"""Sources of Google's health checks ("Health checks overview"): the first two for proxy and internal load balancers, the others for
external passthrough ones."""
_HEALTH_PORTS: Final = ("8000", "8001", "8080", "10256", "15021", "30000-32767")
"""Triton (HTTP, gRPC), a gateway's plain port, health ports of kube-proxy and Istio, node ports."""
_API_OFF: Final = ("SERVICE_DISABLED", "has not been used in project", "accessNotConfigured")
"""Texts of Google's error for an API that the project has not enabled."""


@dataclass(frozen=True, kw_only=True)
class GcpNetwork:
    """A VPC with a subnet that is ready for a control plane."""

    project: str
    """Project of the VPC."""
    network: pulumi.Output[str]
    subnetwork: pulumi.Output[str]
    """Self links."""
    pod_range: str = "pods"
    service_range: str = "services"
    control_plane: str
    """Address range of the control plane."""
    egress: tuple[pulumi.Output[str], ...] = ()
    """Resolve once nodes have egress, which pulling images from outside Google needs."""


class RangePlan(NamedTuple):
    """Address ranges of a VPC that the stack creates."""

    nodes: str
    pods: str
    services: str
    control_plane: str


def plan_ranges(settings: CreatedGcpNetworkSettings) -> RangePlan:
    """Divide ``cidr``: half for pods, of which a node has many; a /28 at the end of the other half for the control plane."""
    lower, upper = IPv4Network(settings.cidr).subnets()
    nodes, rest = lower.subnets()
    services, other = rest.subnets()
    last = IPv4Network((int(other.broadcast_address) - 15, 28))
    return RangePlan(nodes=str(nodes), pods=str(upper), services=str(services), control_plane=settings.control_plane_cidr or str(last))


def firewall_rules(control_plane: str, webhooks: Iterable[int]) -> dict[str, tuple[str, Sequence[str], Sequence[str]]]:
    """Return description, sources and TCP ports of the rules that a private cluster needs, by name.

    GKE's own rules let the control plane reach nodes only on 443 and 10250.
    """
    ports = [str(port) for port in sorted(set(webhooks))]
    return {
        "webhooks": ("Control plane to webhooks and aggregated APIs that run in pods", [control_plane], ports),
        "health-checks": ("Health checks of Google's load balancers", HEALTH_CHECKERS, _HEALTH_PORTS),
    }


def pick_zones(settings: GkeClusterSettings, available: Sequence[str]) -> tuple[str, ...]:
    """Return the zones of the nodes: those that the settings name, or the first of the region.

    Raises:
        FleetError: If the region has fewer zones, or not these.
    """
    key, known = "triton-fleet:cluster", sorted(available)
    choice, named, count = ", ".join(known) or "none", settings.zone_names, settings.network.zone_count
    if named is None and len(known) < count:
        raise FleetError(
            f"{key}.network.zoneCount ({count}) is above the {len(known)} zones of {settings.region} ({choice}): "
            "nodes could not be created in the others. Lower it."
        )
    field = "zone" if settings.network.zones is None else "network.zones"
    wanted = [(field, named), *((f"gpuPools[{index}].zones", pool.zones) for index, pool in enumerate(settings.gpu_pools))]
    problems = [
        f"{key}.{at} names {', '.join(missing)}, which {settings.region} does not have: nodes could not be created there. "
        f"Choose from {choice}."
        for at, zones in wanted
        if (missing := [zone for zone in zones or () if zone not in known])
    ]
    if problems:
        raise FleetError(*problems)
    return named or tuple(known[:count])


def find_zones(settings: GkeClusterSettings, provider: pulumi.ProviderResource) -> tuple[str, ...]:
    """Look up the region's zones at Google and choose among them as `pick_zones` does, with its errors.

    Zones that the settings name are taken on trust while the project's API is off, because the stack may be about to enable it.
    """
    try:
        found = gcp.compute.get_zones(
            project=settings.project, region=settings.region, status="UP", opts=pulumi.InvokeOptions(provider=provider)
        )
    except Exception as error:
        if not any(words in str(error) for words in _API_OFF):
            raise
        if settings.zone_names is None:
            raise FleetError(
                f"triton-fleet:cluster.project ({settings.project}) has the Compute Engine API disabled: its zones can't be looked up. "
                f"Run gcloud services enable compute.googleapis.com --project {settings.project}, or name network.zones."
            ) from None
        return settings.zone_names
    return pick_zones(settings, found.names)


@dataclass(frozen=True, kw_only=True)
class GcpVpcArgs:
    """Arguments of `GcpVpc`."""

    settings: CreatedGcpNetworkSettings
    cluster: GkeClusterSettings
    depends_on: Sequence[pulumi.Resource] = ()


class GcpVpc(pulumi.ComponentResource):
    """A VPC that the stack creates."""

    network: GcpNetwork

    def __init__(self, name: str, args: GcpVpcArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "GcpVpc"), name, None, opts)
        plan, cluster = plan_ranges(args.settings), args.cluster
        own, project, region = cluster.name, cluster.project, cluster.region
        child = pulumi.ResourceOptions(parent=self)
        vpc = gcp.compute.Network(
            name,
            name=own,
            project=project,
            auto_create_subnetworks=False,
            routing_mode="REGIONAL",
            description=f"VPC of the GKE cluster {own}",
            opts=pulumi.ResourceOptions(parent=self, depends_on=list(args.depends_on)),
        )
        subnet = gcp.compute.Subnetwork(
            name,
            name=own,
            project=project,
            region=region,
            network=vpc.id,
            ip_cidr_range=plan.nodes,
            private_ip_google_access=True,
            secondary_ip_ranges=[
                {"range_name": GcpNetwork.pod_range, "ip_cidr_range": plan.pods},
                {"range_name": GcpNetwork.service_range, "ip_cidr_range": plan.services},
            ],
            opts=child,
        )
        egress: tuple[pulumi.Output[str], ...] = ()
        if args.settings.nat != "none":
            router = gcp.compute.Router(name, name=own, project=project, region=region, network=vpc.id, opts=child)
            nat = gcp.compute.RouterNat(
                name,
                name=own,
                project=project,
                region=region,
                router=router.name,
                nat_ip_allocate_option="AUTO_ONLY",
                # All ranges: pods have their own addresses, and pull models and packages from outside.
                source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
                subnetworks=[{"name": subnet.id, "source_ip_ranges_to_nats": ["ALL_IP_RANGES"]}],
                log_config={"enable": True, "filter": "ERRORS_ONLY"},
                # Google deletes no subnet that a NAT names, so the NAT goes before a subnet that is replaced.
                opts=pulumi.ResourceOptions(parent=self, replace_on_changes=["subnetworks"], delete_before_replace=True),
            )
            egress = (nat.id,)
        self.network = GcpNetwork(
            project=project, network=vpc.self_link, subnetwork=subnet.self_link, control_plane=plan.control_plane, egress=egress
        )
        self.register_outputs({"network": vpc.self_link})


def existing_network(settings: ExistingGcpNetworkSettings, cluster: GkeClusterSettings, provider: pulumi.ProviderResource) -> GcpNetwork:
    """Look up an existing subnet and check it. Raises FleetError with everything that is wrong."""
    host = settings.host_project or cluster.project
    found = gcp.compute.get_subnetwork(
        name=settings.subnetwork, project=host, region=cluster.region, opts=pulumi.InvokeOptions(provider=provider)
    )
    key, vpc, problems = "triton-fleet:cluster.network", found.network.rsplit("/", maxsplit=1)[-1], []
    if vpc != settings.network:
        problems.append(
            f"{key}.subnetwork ({settings.subnetwork}) is in {vpc} and not in network ({settings.network}): GKE would reject it. "
            f"Set network to {vpc}, or name another subnet."
        )
    ranges = [entry.range_name for entry in found.secondary_ip_ranges]
    problems += [
        f"{key}.{field} ({name}) is not a secondary range of {settings.subnetwork}: GKE would reject it. "
        f"It must be one of: {', '.join(ranges) or 'none'}."
        for field, name in (("podRange", settings.pod_range), ("serviceRange", settings.service_range))
        if name not in ranges
    ]
    if not found.private_ip_google_access:
        problems.append(
            f"{key}.subnetwork ({settings.subnetwork}) has Private Google Access off: nodes without public addresses could not reach "
            "Google's registries and APIs. Turn it on (gcloud compute networks subnets update --enable-private-ip-google-access)."
        )
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
    name: str, cluster: GkeClusterSettings, network: GcpNetwork, webhooks: Iterable[int], opts: pulumi.ResourceOptions
) -> list[gcp.compute.Firewall]:
    """Declare `firewall_rules` for the cluster's nodes."""
    return [
        gcp.compute.Firewall(
            f"{name}-{rule}",
            name=f"{cluster.name}-{rule}",
            project=network.project,
            network=network.network,
            description=description,
            direction="INGRESS",
            source_ranges=sources,
            target_tags=[cluster.network_tag],
            allows=[{"protocol": "tcp", "ports": ports}],
            opts=opts,
        )
        for rule, (description, sources, ports) in firewall_rules(network.control_plane, webhooks).items()
    ]
