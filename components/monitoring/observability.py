"""The Grafana dashboard and the alert rules of all Triton deployments of a stack: a ConfigMap and a PrometheusRule.

One dashboard per stack and not a template of charts/triton, which would make one per deployment; there, alerts would also have to escape
``{{ $labels.pod }}`` from Helm. Alertmanager's configuration decides whom an alert notifies. The alerts on replicas read
kube-state-metrics, which comes with kube-prometheus-stack.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.naming import labels, type_token
from components.base.outputs import behind
from components.base.quantities import prometheus_duration
from components.base.watch import SELECTED, SELECTED_HPA, Alert, Panel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, MetricsHandle
    from components.base.watch import WatchedDeployment
    from components.monitoring.settings import AlertSettings

_DASHBOARD_LABEL: Final = {"grafana_dashboard": "1"}
"""Label that Grafana's sidecar selects by, the default of its chart."""
_NAME: Final = "triton-fleet"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8
"""Size of a graph; Grafana's grid has 24 columns."""
_MICROSECONDS: Final = 1_000_000
_NOT_READY_FOR: Final = 300
"""Seconds without a ready pod before the alert: longer than a restart, shorter than the start of a new node."""
_OVERLOADED_FOR: Final = 300
"""Seconds of a long queue before the alert: longer than the autoscaler and the start of a pod need to react."""


def panels(deployments: Sequence[WatchedDeployment], metrics: Sequence[Panel]) -> tuple[Panel, ...]:
    """Return the graphs: requests, replicas, those of the ``metrics`` that deployments scale by, and what requests cost."""
    window = prometheus_duration(max(deployment.window for deployment in deployments))

    def rate(series: str) -> str:
        return f"sum(rate({series}{{{SELECTED}}}[{window}])) by (model)"

    def mean(total: str, count: str) -> str:
        return f"{rate(total)} / clamp_min({rate(count)}, 0.001)"

    def replicas(series: str) -> str:
        return f"sum(kube_horizontalpodautoscaler_{series}_replicas{{{SELECTED_HPA}}}) by (horizontalpodautoscaler)"

    return (
        Panel(
            title="Requests",
            description="Requests per second that succeeded and that failed, by model.",
            unit="reqps",
            queries=((rate("nv_inference_request_success"), "{{model}}"), (rate("nv_inference_request_failure"), "{{model}} failed")),
        ),
        Panel(
            title="Replicas",
            description="Ready pods, the number that the autoscaler wants, and its maximum.",
            unit="short",
            queries=(
                (f"sum(kube_deployment_status_replicas_available{{{SELECTED}}}) by (deployment)", "{{deployment}} ready"),
                (replicas("status_desired"), "{{horizontalpodautoscaler}} wanted"),
                (replicas("spec_max"), "{{horizontalpodautoscaler}} maximum"),
            ),
        ),
        *metrics,
        Panel(
            title="Request duration",
            description="Mean from the arrival of a request to its response, by model, time in the queue included.",
            unit="µs",
            queries=((mean("nv_inference_request_duration_us", "nv_inference_request_success"), "{{model}}"),),
        ),
        Panel(
            title="Batch size",
            description="Inferences per execution of a model. At 1 under load, dynamic batching is off or its delay too short.",
            unit="short",
            queries=((mean("nv_inference_count", "nv_inference_exec_count"), "{{model}}"),),
        ),
    )


def _graph(index: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": _WIDTH * (index % 2), "y": _HEIGHT * (index // 2)},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + position), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for position, (query, legend) in enumerate(panel.queries)
        ],
    }


def dashboard(deployments: Sequence[WatchedDeployment], metrics: Sequence[Panel]) -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model, schema version 39; see `panels`."""
    common = {"type": "query", "datasource": _SOURCE, "refresh": 2, "sort": 1}
    spaces = "label_values(nv_inference_request_success, namespace)"
    names = 'label_values(nv_inference_request_success{namespace="$namespace"}, deployment)'
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        {"name": "namespace", "query": {"query": spaces, "refId": "namespace"}, **common},
        {
            "name": "deployment",
            "query": {"query": names, "refId": "deployment"},
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            **common,
        },
    ]
    return {
        "uid": _NAME,
        "title": "Triton",
        "tags": ["triton"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_graph(index, panel) for index, panel in enumerate(panels(deployments, metrics))],
    }


def _alerts(settings: AlertSettings, deployment: WatchedDeployment) -> tuple[Alert, ...]:
    pods = f'namespace="{deployment.namespace}",deployment="{deployment.name}"'
    hpa = f'namespace="{deployment.namespace}",horizontalpodautoscaler="{deployment.name}"'
    window = prometheus_duration(deployment.window)
    failed = f"sum(rate(nv_inference_request_failure{{{pods}}}[{window}])) by (model)"
    served = f"sum(rate(nv_inference_request_success{{{pods}}}[{window}])) by (model)"
    available = f"kube_deployment_status_replicas_available{{{pods}}}"
    alerts = (
        Alert(
            name="TritonQueueHigh",
            expr=f"({deployment.queue_time}) > {round(settings.queue_time * _MICROSECONDS)}",
            wait=_OVERLOADED_FOR,
            severity="warning",
            summary="long queue on {{ $labels.pod }}",
            description="Requests wait {{ $value | humanize }} µs. Raise maxReplicas, or check whether new pods are pending for nodes.",
        ),
        Alert(
            name="TritonRequestsFail",
            # A model that has only ever failed has no rate of success: the ratio is then 1, not missing.
            expr=f"{failed} / clamp_min({failed} + ({served} or 0 * {failed}), 0.001) > {settings.failure_ratio:g}",
            wait=_OVERLOADED_FOR,
            severity="critical",
            summary="requests to {{ $labels.model }} fail",
            description="{{ $value | humanizePercentage }} of the requests fail. Search the pods' logs for the model's name.",
        ),
        Alert(
            name="TritonNoReadyPods",
            # Absent as well as 0: a deleted Deployment has no series.
            expr=f"{available} == 0 or absent({available})",
            wait=_NOT_READY_FOR,
            severity="critical",
            summary="no ready pods",
            description="Check the pods' events: no node, image pull errors, or models that fail to load.",
        ),
        Alert(
            name="TritonNotScraped",
            expr=f"absent(up{{{pods}}} == 1)",
            wait=_NOT_READY_FOR,
            severity="warning",
            summary="no pods scraped by Prometheus",
            description="The autoscaler has no metrics and can't scale. Check the targets in Prometheus.",
        ),
    )
    at_max = Alert(
        name="TritonAtMaxReplicas",
        expr=f"kube_horizontalpodautoscaler_status_desired_replicas{{{hpa}}} >= kube_horizontalpodautoscaler_spec_max_replicas{{{hpa}}}",
        wait=settings.at_max_for,
        severity="warning",
        summary="the autoscaler is at maxReplicas",
        description="It wants {{ $value | humanize }} replicas, its maximum. If the queue is long too, raise maxReplicas.",
    )
    # A fixed number of replicas is always at its maximum.
    return (*alerts, *([at_max] if deployment.autoscaled else []), *deployment.alerts)


def alert_rules(settings: AlertSettings, deployments: Sequence[WatchedDeployment]) -> dict[str, Any]:
    """Return ``spec`` of a PrometheusRule, with one group per deployment."""

    def rule(deployment: WatchedDeployment, alert: Alert) -> dict[str, Any]:
        summary = f"Triton {deployment.namespace}/{deployment.name}: {alert.summary}"
        return {
            "alert": alert.name,
            "expr": alert.expr,
            "for": prometheus_duration(alert.wait),
            "labels": {"severity": alert.severity},
            "annotations": {"summary": summary, "description": alert.description},
        }

    return {
        "groups": [
            {"name": f"triton-{each.namespace}-{each.name}", "rules": [rule(each, alert) for alert in _alerts(settings, each)]}
            for each in deployments
        ]
    }


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
                metadata=_metadata(args.metrics.namespace, "dashboard", _DASHBOARD_LABEL),
                data={f"{_NAME}.json": json.dumps(dashboard(args.deployments, args.panels), indent=1, ensure_ascii=False)},
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
    return k8s.meta.v1.ObjectMetaArgs(name=f"{_NAME}-{what}", namespace=namespace, labels={**own, **(more or {})})
