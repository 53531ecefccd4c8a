"""Istio: control plane and one gateway, and a route to each Triton deployment.

``IstioGateway`` makes the namespaces ``istio-system`` and ``istio-ingress`` and the releases ``istio-base``, ``istiod`` and
``triton-gateway``, in this order. ``IstioRoute`` makes the Gateway, VirtualService and DestinationRule of one deployment, in its namespace.

The gateway's own Envoy applies the DestinationRule: least requests, calls instead of connections, a warm-up for new pods. That needs no
sidecar, and none is given unless the setting asks for it. It opens 8000 (HTTP) and 8001 (gRPC) and never 8002: metrics name models and
versions, and Prometheus reads pods, not the gateway. It asks nobody who they are; who may reach its load balancer is all the protection
there is, so it is internal by default.

The CRDs stay after a destroy (``helm.sh/resource-policy: keep``), and with them what others made of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_kubernetes as k8s
from pydantic import ConfigDict, Field

from components.base import naming, versions
from components.base.handles import GatewayHandle
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.base.handles import ClusterHandle, LoadBalancerHandle, ServingHandle
    from components.gateway.settings import IstioSettings
    from components.helm.settings import ChartSettings

API_VERSION: Final = "networking.istio.io/v1"
INJECTION: Final = {"istio-injection": "enabled"}
SELECTOR: Final = {"istio": naming.GATEWAY_RELEASE}
HTTP_PORT: Final = 8000
GRPC_PORT: Final = 8001
_STATUS_PORT: Final = 15021
"""Readiness of the gateway itself: what a load balancer looks at."""


class _BaseToggle(release.ChartValues):
    validation_failure_policy: Literal["Fail"] = "Fail"
    """What istiod would set itself some seconds later: written out, so that no two take turns with the field."""


class IstioBaseValues(release.ChartValues):
    """What is passed to the chart base, key for key."""

    base: _BaseToggle = _BaseToggle()


class _Pilot(release.ChartValues):
    env: dict[str, str]


class _DefaultConfig(release.ChartValues):
    hold_application_until_proxy_starts: bool = True
    """Triton reads its models first thing; without a proxy in between it could not."""


class _MeshConfig(release.ChartValues):
    enable_prometheus_merge: bool = True
    default_config: _DefaultConfig = _DefaultConfig()


class IstiodValues(release.ChartValues):
    """What is passed to the chart istiod, key for key."""

    # Native sidecars start before and end after Triton, where nodes know them: an ordinary one is gone before Triton has drained.
    pilot: _Pilot = Field(default_factory=lambda: _Pilot(env={"ENABLE_NATIVE_SIDECARS": "auto"}))
    base: _BaseToggle = _BaseToggle()
    mesh_config: _MeshConfig = _MeshConfig()


class _Port(release.ChartValues):
    name: str
    port: int
    target_port: int
    protocol: Literal["TCP"] = "TCP"


class _Service(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    type: Literal["LoadBalancer", "NodePort", "ClusterIP"]
    annotations: dict[str, str | pulumi.Output[str]]
    load_balancer_source_ranges: list[str] | None
    ports: list[_Port]


class _Autoscaling(release.ChartValues):
    enabled: bool = True
    min_replicas: int
    max_replicas: int


class _Budget(release.ChartValues):
    max_unavailable: int = 1


class GatewayValues(release.ChartValues):
    """What is passed to the chart gateway, key for key; the chart refuses what it doesn't know."""

    labels: dict[str, str] = Field(default_factory=lambda: dict(SELECTOR))
    service: _Service
    autoscaling: _Autoscaling
    pod_disruption_budget: _Budget | None


class _GatewayPort(release.ChartValues):
    number: int
    name: str
    protocol: Literal["HTTP", "GRPC"]


class _Server(release.ChartValues):
    port: _GatewayPort
    hosts: list[str]


class GatewaySpec(release.ChartValues):
    """``spec`` of a networking.istio.io/v1 Gateway."""

    selector: dict[str, str]
    servers: list[_Server]


class _DestinationPort(release.ChartValues):
    number: int


class _Destination(release.ChartValues):
    host: str
    port: _DestinationPort


class _RouteDestination(release.ChartValues):
    destination: _Destination


class _Match(release.ChartValues):
    port: int


class _Retries(release.ChartValues):
    attempts: int
    per_try_timeout: str | None = None
    retry_on: str | None = None


class _HttpRoute(release.ChartValues):
    match: list[_Match]
    route: list[_RouteDestination]
    timeout: str | None = None
    retries: _Retries | None = None


class VirtualServiceSpec(release.ChartValues):
    """``spec`` of a networking.istio.io/v1 VirtualService."""

    hosts: list[str]
    gateways: list[str]
    http: list[_HttpRoute]


class _Warmup(release.ChartValues):
    duration: str


class _LoadBalancing(release.ChartValues):
    simple: Literal["LEAST_REQUEST"] = "LEAST_REQUEST"
    """Requests differ in cost by model and batch: taking turns would queue behind the slow one while others idle."""
    warmup: _Warmup


class _Http(release.ChartValues):
    http2_max_requests: int = Field(default=1000, alias="http2MaxRequests")
    max_requests_per_connection: int = 0
    """Without limit: a connection a request would spend more on handshakes than on small models."""


class _ConnectionPool(release.ChartValues):
    http: _Http = _Http()


class _OutlierDetection(release.ChartValues):
    consecutive5xx_errors: int = Field(default=5, alias="consecutive5xxErrors")
    consecutive_gateway_errors: int = 5
    interval: str = "10s"
    base_ejection_time: str = "30s"
    max_ejection_percent: int = 50
    """Never more than half: a model that fails everywhere would else take all pods out."""


class _TrafficPolicy(release.ChartValues):
    load_balancer: _LoadBalancing
    connection_pool: _ConnectionPool = _ConnectionPool()
    outlier_detection: _OutlierDetection = _OutlierDetection()


class DestinationRuleSpec(release.ChartValues):
    """``spec`` of a networking.istio.io/v1 DestinationRule."""

    host: str
    traffic_policy: _TrafficPolicy


def gateway_values(settings: IstioSettings, annotations: Mapping[str, str | pulumi.Output[str]]) -> GatewayValues:
    """Decide the gateway chart's values; ``annotations`` ask a controller for a load balancer, and those of the settings win over them."""
    balanced = settings.service_type == "LoadBalancer"
    return GatewayValues(
        service=_Service(
            type=settings.service_type,
            annotations={**(annotations if balanced else {}), **settings.annotations},
            load_balancer_source_ranges=list(settings.source_ranges) or None,
            ports=[
                _Port(name="status-port", port=_STATUS_PORT, target_port=_STATUS_PORT),
                _Port(name="http-triton", port=HTTP_PORT, target_port=HTTP_PORT),
                _Port(name="grpc-triton", port=GRPC_PORT, target_port=GRPC_PORT),
            ],
        ),
        autoscaling=_Autoscaling(min_replicas=settings.min_replicas, max_replicas=settings.max_replicas),
        # With one pod a budget would only keep its node from ever being drained.
        pod_disruption_budget=_Budget() if settings.min_replicas > 1 else None,
    )


def route_hosts(name: str, settings: IstioSettings) -> tuple[str, ...]:
    """Say under which hosts the deployment ``name`` is reached: any, or its own under the domain."""
    return ("*",) if settings.domain is None else (f"{name}.{settings.domain}",)


def gateway_spec(hosts: tuple[str, ...]) -> GatewaySpec:
    """Decide a Gateway: the two ports that clients use."""
    return GatewaySpec(
        selector=dict(SELECTOR),
        servers=[
            _Server(port=_GatewayPort(number=HTTP_PORT, name="http-triton", protocol="HTTP"), hosts=list(hosts)),
            _Server(port=_GatewayPort(number=GRPC_PORT, name="grpc-triton", protocol="GRPC"), hosts=list(hosts)),
        ],
    )


def virtual_service_spec(name: str, service: str, hosts: tuple[str, ...]) -> VirtualServiceSpec:
    """Decide a VirtualService: the Gateway ``name``'s two ports to those of the in-cluster DNS name ``service``.

    gRPC has no timeout, for a stream may last; its clients retry by themselves. HTTP is tried again only where the first try can't have
    reached a model: an answer that is merely late must not be computed twice.
    """

    def to(port: int) -> list[_RouteDestination]:
        return [_RouteDestination(destination=_Destination(host=service, port=_DestinationPort(number=port)))]

    return VirtualServiceSpec(
        hosts=list(hosts),
        gateways=[name],
        http=[
            _HttpRoute(match=[_Match(port=GRPC_PORT)], route=to(GRPC_PORT), timeout="0s"),
            _HttpRoute(
                match=[_Match(port=HTTP_PORT)],
                route=to(HTTP_PORT),
                retries=_Retries(attempts=2, per_try_timeout="30s", retry_on="connect-failure,refused-stream,unavailable"),
            ),
        ],
    )


def destination_rule_spec(service: str, settings: IstioSettings) -> DestinationRuleSpec:
    """Decide how requests are spread over the pods of ``service``."""
    balancing = _LoadBalancing(warmup=_Warmup(duration=release.duration(settings.warmup)))
    return DestinationRuleSpec(host=service, traffic_policy=_TrafficPolicy(load_balancer=balancing))


@dataclass(frozen=True, kw_only=True)
class IstioGatewayArgs:
    """What IstioGateway needs."""

    cluster: ClusterHandle
    settings: IstioSettings
    charts: ChartSettings
    load_balancer: LoadBalancerHandle | None = None
    """What makes the load balancer; None leaves it to the cluster itself."""


class IstioGateway(pulumi.ComponentResource):
    """Istio's control plane and the gateway."""

    handle: GatewayHandle

    def __init__(self, name: str, args: IstioGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "IstioGateway"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        system = release.namespace(naming.ISTIO_NAMESPACE, component="istio", opts=child)
        # Without a label on injection: the gateway's image is put in by injection too, and `disabled` would leave it out.
        ingress = release.namespace(naming.GATEWAY_NAMESPACE, component="gateway", opts=child)

        base = release.release(
            naming.ISTIO_BASE_RELEASE,
            pin=versions.ISTIO_BASE,
            charts=args.charts,
            namespace=naming.ISTIO_NAMESPACE,
            values=IstioBaseValues().to_helm(),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[system])),
        )
        istiod = release.release(
            naming.ISTIOD_RELEASE,
            pin=versions.ISTIOD,
            charts=args.charts,
            namespace=naming.ISTIO_NAMESPACE,
            values=IstiodValues().to_helm(),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[base])),
        )
        gateway = release.release(
            naming.GATEWAY_RELEASE,
            pin=versions.ISTIO_GATEWAY,
            charts=args.charts,
            namespace=naming.GATEWAY_NAMESPACE,
            values=gateway_values(args.settings, self._annotations(args)).to_helm(),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[istiod, ingress])),
        )
        self.handle = GatewayHandle(
            namespace=naming.GATEWAY_NAMESPACE,
            service=release.up(f"{naming.GATEWAY_RELEASE}.{naming.GATEWAY_NAMESPACE}.svc.cluster.local", gateway),
            selector=SELECTOR,
            injection=release.gated(INJECTION, istiod) if args.settings.injection else {},
        )
        self.register_outputs({"service": self.handle.service})

    @staticmethod
    def _annotations(args: IstioGatewayArgs) -> Mapping[str, str | pulumi.Output[str]]:
        if args.load_balancer is None:
            return {}
        public = args.settings.scheme == "internet-facing"
        return dict(args.load_balancer.internet_facing if public else args.load_balancer.internal)


@dataclass(frozen=True, kw_only=True)
class IstioRouteArgs:
    """What IstioRoute needs."""

    cluster: ClusterHandle
    gateway: GatewayHandle
    serving: ServingHandle
    settings: IstioSettings


class IstioRoute(pulumi.ComponentResource):
    """The way from the gateway to one Triton deployment."""

    hosts: tuple[str, ...]
    """Hosts that it answers to."""

    def __init__(self, name: str, args: IstioRouteArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "IstioRoute"), name, None, opts)
        self.hosts = route_hosts(args.serving.name, args.settings)
        # The whole name: a short one would be looked for in the namespace of whoever asks.
        service = f"{args.serving.name}.{args.serving.namespace}.svc.cluster.local"
        specs: dict[str, dict[str, Any]] = {
            "DestinationRule": destination_rule_spec(service, args.settings).to_helm(),
            "Gateway": gateway_spec(self.hosts).to_helm(),
            "VirtualService": virtual_service_spec(args.serving.name, service, self.hosts).to_helm(),
        }
        for kind, spec in specs.items():
            k8s.apiextensions.CustomResource(
                f"{name}-{kind.lower()}",
                api_version=API_VERSION,
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
                    # After the gateway: istiod answers the webhook that looks at them. After Triton: no request before somebody answers.
                    depends_on=pulumi.Output.all(args.gateway.service, args.serving.service).apply(
                        lambda _: list[pulumi.Input[pulumi.Resource]]()
                    ),
                ),
            )
        self.register_outputs({"hosts": list(self.hosts)})
