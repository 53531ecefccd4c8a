"""Istio: the control plane, one gateway, and a route to each Triton deployment.

``IstioGateway`` creates the namespaces ``istio-system`` and ``istio-ingress`` and the releases ``istio-base``, ``istiod`` and
``triton-gateway``, in this order. ``IstioRoute`` creates a deployment's Gateway, VirtualService and DestinationRule, in its namespace.

The gateway's own Envoy applies the DestinationRule: least requests, per call instead of per connection, with a warm-up of new pods. This
needs no sidecars. The gateway exposes 8000 (HTTP) and 8001 (gRPC) but not 8002: metrics name models and versions, and Prometheus scrapes
pods directly. Neither Triton nor the gateway authenticates clients, so the load balancer is internal by default, and the routes let only
inference, health and metadata through: the admin endpoints of Triton can run code.

The CRDs stay after a destroy (``helm.sh/resource-policy: keep``), and with them the objects that others created.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.base.drain import targets
from components.base.handles import GatewayHandle
from components.base.outputs import behind
from components.base.quantities import prometheus_duration
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulumi_kubernetes.helm.v3 import Release

    from components.base.drain import Hops, Targets
    from components.base.handles import ClusterHandle, LoadBalancerHandle, ServingHandle
    from components.gateway.settings import IstioSettings
    from components.helm.settings import ChartSettings

SELECTOR: Final = {"istio": naming.GATEWAY_RELEASE}
_HTTP_PORT: Final = 8000
_GRPC_PORT: Final = 8001
_STATUS_PORT: Final = 15021
"""The gateway's own readiness, for the health check of a load balancer."""
_STATISTICS: Final = "/v2/models/stats"
"""Statistics of all models: Triton compares this path first, so no model of this name can be reached."""
HTTP_PATHS: Final = {
    "GET": r"/v2(/health/(live|ready))?|/v2/models/[^/]+(/versions/[0-9]+)?(/ready)?",
    "POST": r"/v2/models/[^/]+(/versions/[0-9]+)?/(infer|generate|generate_stream)",
}
"""Paths that the routes let through, as RE2 expressions: a part of those that Triton's src/http_server.cc matches."""
GRPC_PATHS: Final = (
    r"/inference\.GRPCInferenceService/(ServerLive|ServerReady|ModelReady|ServerMetadata|ModelMetadata|ModelInfer|ModelStreamInfer)"
    r"|/grpc\.health\.v1\.Health/(Check|Watch)"
)
# istiod sets the same value some seconds after its start: without it, every preview would show a change.
_BASE_VALUES: Final[dict[str, Any]] = {"base": {"validationFailurePolicy": "Fail"}}


def istiod_values(hops: Hops) -> dict[str, Any]:
    """Return the istiod chart's values."""
    proxy = {
        # Triton reads its models first, which fails while the proxy does not run.
        "holdApplicationUntilProxyStarts": True,
        # Istio's default is 5 s. An ordinary sidecar would end while Triton still serves, in its preStop hook.
        "terminationDrainDuration": f"{hops.sidecar_drain}s",
    }
    return {
        **_BASE_VALUES,
        # Native sidecars, where nodes support them, start before Triton and stop after it.
        "pilot": {"env": {"ENABLE_NATIVE_SIDECARS": "auto"}},
        "meshConfig": {"enablePrometheusMerge": True, "defaultConfig": proxy},
    }


def gateway_values(
    settings: IstioSettings, annotations: Mapping[str, str | pulumi.Output[str]], hops: Hops, reached: Targets
) -> dict[str, Any]:
    """Return the gateway chart's values.

    Args:
        settings: Their ``annotations`` take precedence.
        annotations: Request a load balancer from the cloud's controller.
        hops: Timeouts and drains in front of the deployments.
        reached: How requests reach the gateway's pods.
    """
    ports = {"status-port": _STATUS_PORT, "http-triton": _HTTP_PORT, "grpc-triton": _GRPC_PORT}
    service: dict[str, Any] = {
        "type": settings.service_type,
        "annotations": {**(annotations if settings.service_type == "LoadBalancer" else {}), **settings.annotations},
        "ports": [{"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in ports.items()],
    }
    if settings.source_ranges:
        service["loadBalancerSourceRanges"] = list(settings.source_ranges)
    drain = {"drainDuration": f"{hops.gateway_connections}s", "terminationDrainDuration": f"{hops.gateway_drain}s"}
    values: dict[str, Any] = {
        "labels": dict(SELECTOR),
        "service": service,
        # Kubernetes itself sleeps: the proxy goes on as before, and the image needs no shell.
        "lifecycle": {"preStop": {"sleep": {"seconds": reached.removal}}},
        "podAnnotations": {"proxy.istio.io/config": json.dumps(drain)},
        "terminationGracePeriodSeconds": hops.gateway_grace(reached),
        # All new pods at once: with a readiness gate each takes minutes, and Helm waits 10 minutes for all of them.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "100%", "maxUnavailable": 0}},
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

    A request has no timeout, Istio's default (its webhook rejects an explicit 0s): only its client knows how long a model may take, and a
    stream may last for days. A request is retried only if no pod can have computed it. Without ``retries``, Istio would also retry gRPC
    calls that a model has answered with UNAVAILABLE or CANCELLED.
    """

    def route(port: int, path: str, **more: Any) -> dict[str, Any]:
        return {
            "match": [{"port": port, "uri": {"regex": path}, **more}],
            "route": [{"destination": {"host": service, "port": {"number": port}}}],
            "retries": {"attempts": 2, "retryOn": "connect-failure,refused-stream"},
        }

    http = [route(_HTTP_PORT, path, method={"exact": method}) for method, path in HTTP_PATHS.items()]
    refused = {"match": [{"port": _HTTP_PORT, "uri": {"exact": _STATISTICS}}], "directResponse": {"status": 404}}
    # Of several routes the first that matches counts; where none does, the gateway answers 404 (gRPC: UNIMPLEMENTED).
    return {"hosts": list(hosts), "gateways": [name], "http": [refused, *http, route(_GRPC_PORT, GRPC_PATHS)]}


def destination_rule_spec(service: str, settings: IstioSettings) -> dict[str, Any]:
    """Return the ``spec`` of a DestinationRule: how requests are balanced over the pods of ``service``."""
    return {
        "host": service,
        "trafficPolicy": {
            # Requests differ in cost by model and batch: round robin would queue some behind a slow one while other pods idle.
            "loadBalancer": {"simple": "LEAST_REQUEST", "warmup": {"duration": prometheus_duration(settings.warmup)}},
            "connectionPool": {
                # Below 350 s, after which AWS forgets idle connections between newer instances; Google Cloud does after 600 s.
                "tcp": {"tcpKeepalive": {"time": "60s", "interval": "60s", "probes": 5}},
                # 0 is unlimited: a new connection for each request costs more than a small model. Requests in flight have no limit either
                # (Istio's default, 2^32-1): those that wait are what the autoscaler reads.
                "http": {"maxRequestsPerConnection": 0},
            },
            # Only pods that do not answer. A 5xx is an answer: of a model that fails wherever it runs, or of a queue that is full.
            "outlierDetection": {
                "splitExternalLocalOriginErrors": True,
                "consecutiveLocalOriginFailures": 5,
                "consecutive5xxErrors": 0,
                "consecutiveGatewayErrors": 0,
                "interval": "10s",
                "baseEjectionTime": "30s",
                # Some pods must stay when none answers.
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
    hops: Hops
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

        annotations: Mapping[str, str | pulumi.Output[str]] = {}
        installed = None
        if args.load_balancer is not None:
            public = args.settings.scheme == "internet-facing"
            annotations = args.load_balancer.internet_facing if public else args.load_balancer.internal
            installed = args.load_balancer.targets
        reached = targets(args.settings.service_type, args.settings.annotations, installed)
        base = install("istio-base", versions.ISTIO_BASE, system, _BASE_VALUES, release.namespace(system, component="istio", opts=child))
        # Without a label that disables injection: injection also sets the image of the gateway's own pods.
        own = release.namespace(ingress, component="gateway", opts=child, labels=reached.namespace_labels)
        istiod = install("istiod", versions.ISTIOD, system, istiod_values(args.hops), base)
        values = gateway_values(args.settings, annotations, args.hops, reached)
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
