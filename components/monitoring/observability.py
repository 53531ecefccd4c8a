"""Dashboard and alert rules as resources: a ConfigMap for Grafana's sidecar and a PrometheusRule."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.naming import labels, type_token
from components.base.outputs import behind
from components.monitoring.alerts import alert_rules
from components.monitoring.dashboards import dashboard

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, MetricsHandle
    from components.base.watch import Panel, WatchedDeployment
    from components.monitoring.settings import AlertSettings

DASHBOARD_LABEL: Final = {"grafana_dashboard": "1"}
"""What Grafana's sidecar selects by, as its chart sets it by default."""
NAME: Final = "triton-fleet"


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """Arguments of `Observability`."""

    cluster: ClusterHandle
    metrics: MetricsHandle
    deployments: Sequence[WatchedDeployment]
    panels: Sequence[Panel]
    """Graphs of the metrics that the deployments scale by."""
    alerts: AlertSettings | None
    """None: no alert rules."""
    dashboard: bool


class Observability(pulumi.ComponentResource):
    """Dashboard and alert rules, in the namespace of Prometheus."""

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("serving", "Observability"), name, None, opts)
        # Prometheus brings the namespace and the kind PrometheusRule.
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider, depends_on=behind(args.metrics.url))
        if args.dashboard:
            k8s.core.v1.ConfigMap(
                f"{name}-dashboard",
                metadata=_metadata(args.metrics.namespace, "dashboard", DASHBOARD_LABEL),
                data={f"{NAME}.json": json.dumps(dashboard(args.deployments, args.panels), indent=1, ensure_ascii=False)},
                opts=child,
            )
        if args.alerts is not None:
            k8s.apiextensions.CustomResource(
                f"{name}-alerts",
                api_version="monitoring.coreos.com/v1",
                kind="PrometheusRule",
                metadata=_metadata(args.metrics.namespace, "alerts"),
                spec=alert_rules(args.alerts, args.deployments),
                opts=child,
            )
        self.register_outputs({})


def _metadata(namespace: str, what: str, more: Mapping[str, str] | None = None) -> k8s.meta.v1.ObjectMetaArgs:
    own = labels("triton-observability", what)
    return k8s.meta.v1.ObjectMetaArgs(name=f"{NAME}-{what}", namespace=namespace, labels={**own, **(more or {})})
