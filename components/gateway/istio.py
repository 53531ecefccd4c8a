"""Istio: the control plane, one gateway, and a route to each Triton deployment.

``IstioGateway`` creates the namespaces ``istio-system`` and ``istio-ingress`` and the releases ``istio-base``, ``istiod`` and
``triton-gateway``, in this order. ``IstioRoute`` creates a deployment's Gateway, VirtualService and DestinationRule, in its namespace.

The gateway's own Envoy applies the DestinationRule: least requests, per call instead of per connection, with a warm-up of new pods. This
needs no sidecars. The gateway exposes 8000 (HTTP) and 8001 (gRPC) but not 8002: metrics name models and versions, and Prometheus scrapes
pods directly. Neither Triton nor the gateway authenticates clients, so the load balancer is internal by default.

The CRDs stay after a destroy (``helm.sh/resource-policy: keep``), and with them the objects that others created.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.base.handles import GatewayHandle
from components.base.outputs import behind
from components.base.quantities import prometheus_duration
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_kubernetes.helm.v3 import Release

    from components.base.handles import ClusterHandle, LoadBalancerHandle, ServingHandle
    from components.gateway.settings import IstioSettings
    from components.helm.settings import ChartSettings

SELECTOR: Final = {"istio": naming.GATEWAY_RELEASE}
_HTTP_PORT: Final = 8000
_GRPC_PORT: Final = 8001
_STATUS_PORT: Final = 15021
"""The gateway's own readiness, for the health check of a load balancer."""
# istiod sets the same value some seconds after its start: without it, every preview would show a change.
_BASE_VALUES: Final[dict[str, Any]] = {"base": {"validationFailurePolicy": "Fail"}}
ISTIOD_VALUES: Final[dict[str, Any]] = {
    **_BASE_VALUES,
    # Native sidecars, where nodes support them, start before Triton and stop after it. An ordinary one stops before Triton has drained.
    "pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "auto"}},
    # Triton reads its models first, which fails while the proxy does not run.
    "meshConfig": {"enablePrometheusMerge": True, "defaultConfig": {"holdApplicationUntilProxyStarts": True}},
}


def gateway_values(settings: IstioSettings, annotations: Mapping[str, str | pulumi.Output[str]]) -> dict[str, Any]:
    """Return the gateway chart's values.

    Args:
        settings: Their ``annotations`` take precedence.
        annotations: Request a load balancer from the cloud's controller.
    """
    ports = {"status-port": _STATUS_PORT, "http-triton": _HTTP_PORT, "grpc-triton": _GRPC_PORT}
    service: dict[str, Any] = {
        "type": settings.service_type,
        "annotations": {**(annotations if settings.service_type == "LoadBalancer" else {}), **settings.annotations},
        "ports": [{"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in ports.items()],
    }
    if settings.source_ranges:
        service["loadBalancerSourceRanges"] = list(settings.source_ranges)
    values: dict[str, Any] = {
        "labels": dict(SELECTOR),
        "service": service,
        "autoscaling": {"enabled": True, "minReplicas": settings.min_replicas, "maxReplicas": settings.max_replicas},
    }
    if settings.min_replicas > 1:  # a budget for a single pod would block every drain of its node
        values["podDisruptionBudget"] = {"maxUnavailable": 1}
    return values


def route_hosts(name: str, settings: IstioSettings) -> tuple[str, ...]:
    """Return the hosts of the deployment ``name``: its own under the domain, or any."""
    return ("*",) if settings.domain is None else (f"{name}.{settings.domain}",)


def gateway_spec(hosts: tuple[str, ...]) -> dict[str, Any]:
    """Return the ``spec`` of a networking.istio.io/v1 Gateway with the two ports for clients."""
    ports = (
        {"number": _HTTP_PORT, "name": "http-triton", "protocol": "HTTP"},
        {"number": _GRPC_PORT, "name": "grpc-triton", "protocol": "GRPC"},
    )
    return {"selector": dict(SELECTOR), "servers": [{"port": port, "hosts": list(hosts)} for port in ports]}


def virtual_service_spec(name: str, service: str, hosts: tuple[str, ...]) -> dict[str, Any]:
    """Return the ``spec`` of a VirtualService from the Gateway ``name`` to the in-cluster DNS name ``service``.

    gRPC has no timeout, because a stream may last, and its clients retry themselves. HTTP is retried only where the first attempt cannot
    have reached a model: a slow request must not be computed twice.
    """

    def to(port: int) -> dict[str, Any]:
        return {"match": [{"port": port}], "route": [{"destination": {"host": service, "port": {"number": port}}}]}

    retries = {"attempts": 2, "perTryTimeout": "30s", "retryOn": "connect-failure,refused-stream,unavailable"}
    http = [{**to(_GRPC_PORT), "timeout": "0s"}, {**to(_HTTP_PORT), "retries": retries}]
    return {"hosts": list(hosts), "gateways": [name], "http": http}


def destination_rule_spec(service: str, settings: IstioSettings) -> dict[str, Any]:
    """Return the ``spec`` of a DestinationRule: how requests are balanced over the pods of ``service``."""
    return {
        "host": service,
        "trafficPolicy": {
            # Requests differ in cost by model and batch: round robin would queue some behind a slow one while other pods idle.
            "loadBalancer": {"simple": "LEAST_REQUEST", "warmup": {"duration": prometheus_duration(settings.warmup)}},
            # 0 is unlimited: a new connection for each request costs more than a small model.
            "connectionPool": {"http": {"http2MaxRequests": 1000, "maxRequestsPerConnection": 0}},
            "outlierDetection": {
                "consecutive5xxErrors": 5,
                "consecutiveGatewayErrors": 5,
                "interval": "10s",
                "baseEjectionTime": "30s",
                # A model that fails everywhere must not eject every pod.
                "maxEjectionPercent": 50,
            },
        },
    }


@dataclass(frozen=True, kw_only=True)
class IstioGatewayArgs:
    """Arguments of `IstioGateway`."""

    cluster: ClusterHandle
    settings: IstioSettings
    charts: ChartSettings
    load_balancer: LoadBalancerHandle | None = None
    """The controller that creates the load balancer; None leaves it to the cluster."""


class IstioGateway(pulumi.ComponentResource):
    """Istio's control plane and gateway."""

    handle: GatewayHandle

    def __init__(self, name: str, args: IstioGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "IstioGateway"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        system, ingress = naming.ISTIO_NAMESPACE, naming.GATEWAY_NAMESPACE

        def install(release_name: str, pin: versions.ChartPin, space: str, values: Mapping[str, Any], *after: pulumi.Resource) -> Release:
            ordered = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=after))
            return release.release(release_name, pin=pin, charts=args.charts, namespace=space, values=values, opts=ordered)

        base = install("istio-base", versions.ISTIO_BASE, system, _BASE_VALUES, release.namespace(system, component="istio", opts=child))
        # Without a label that disables injection: injection also sets the image of the gateway's own pods.
        own = release.namespace(ingress, component="gateway", opts=child)
        istiod = install("istiod", versions.ISTIOD, system, ISTIOD_VALUES, base)
        annotations: Mapping[str, str | pulumi.Output[str]] = {}
        if args.load_balancer is not None:
            public = args.settings.scheme == "internet-facing"
            annotations = args.load_balancer.internet_facing if public else args.load_balancer.internal
        values = gateway_values(args.settings, annotations)
        gateway = install(naming.GATEWAY_RELEASE, versions.ISTIO_GATEWAY, ingress, values, istiod, own)
        self.handle = GatewayHandle(
            namespace=ingress,
            service=release.up(f"{naming.GATEWAY_RELEASE}.{ingress}.svc.cluster.local", gateway),
            selector=SELECTOR,
            injection=release.gated({"istio-injection": "enabled"}, istiod) if args.settings.injection else {},
        )
        self.register_outputs({"service": self.handle.service})


@dataclass(frozen=True, kw_only=True)
class IstioRouteArgs:
    """Arguments of `IstioRoute`."""

    cluster: ClusterHandle
    gateway: GatewayHandle
    serving: ServingHandle
    settings: IstioSettings


class IstioRoute(pulumi.ComponentResource):
    """The route from the gateway to one Triton deployment."""

    hosts: tuple[str, ...]
    """Hosts of the route."""

    def __init__(self, name: str, args: IstioRouteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "IstioRoute"), name, None, opts)
        self.hosts = route_hosts(args.serving.name, args.settings)
        # Fully qualified: Istio resolves a short name in the namespace of the object that has it.
        service = f"{args.serving.name}.{args.serving.namespace}.svc.cluster.local"
        specs: dict[str, dict[str, Any]] = {
            "DestinationRule": destination_rule_spec(service, args.settings),
            "Gateway": gateway_spec(self.hosts),
            "VirtualService": virtual_service_spec(args.serving.name, service, self.hosts),
        }
        for kind, spec in specs.items():
            k8s.apiextensions.CustomResource(
                f"{name}-{kind.lower()}",
                api_version="networking.istio.io/v1",
                kind=kind,
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=args.serving.name,
                    namespace=args.serving.namespace,
                    labels=naming.labels("triton-route", args.serving.name),
                ),
                spec=spec,
                opts=pulumi.ResourceOptions(
                    parent=self,
                    provider=args.cluster.provider,
                    # After the gateway, because istiod serves their validating webhook; after Triton, so that no request fails.
                    depends_on=behind(args.gateway.service, args.serving.service),
                ),
            )
        self.register_outputs({"hosts": list(self.hosts)})
