"""What a person looks at: one Grafana dashboard and one set of alert rules for all Triton deployments of a stack.

The queries are the autoscaler's own (`scaling.adapter_metrics`), with its labels filled in: a panel shows what the autoscaler reads, and an
alert speaks of the same number. Both are resources of the stack and not templates of charts/triton: a dashboard a release would be as many
dashboards as deployments, ``{{ $labels.pod }}`` would have to be hidden from Helm, and the chart stays free of what is Prometheus'.

Makes no contact point: who is woken, and how, is Alertmanager's configuration. The alerts of replicas read kube-state-metrics, which comes
with kube-prometheus-stack.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.naming import labels, type_token
from components.base.quantities import prometheus_duration
from components.serving.scaling import GPU_DUTY_CYCLE, GPU_UTILIZATION, PENDING_REQUESTS, QUEUE_TIME, adapter_metrics

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, MetricsHandle
    from components.monitoring.settings import AlertSettings
    from components.serving.scaling import AdapterMetric
    from components.serving.settings import ServingSettings

DASHBOARD_LABEL: Final = {"grafana_dashboard": "1"}
"""What Grafana's sidecar looks for, in the chart's own default."""
DASHBOARD_UID: Final = "triton-fleet"
NAME: Final = "triton-fleet"
_SELECTED: Final = 'namespace="$namespace",deployment=~"$deployment"'
_MICROSECONDS: Final = 1_000_000
_HALF: Final = 12
"""Columns of half a row; Grafana's grid has 24."""
_HEIGHT: Final = 8
_NOT_READY_FOR: Final = 300
"""Seconds without a ready pod until somebody is told: longer than a restart, shorter than a new node."""
_OVERLOADED_FOR: Final = 300
"""Seconds of a long queue: longer than the autoscaler and a pod's start need to answer it."""
_NO_DUTY_CYCLE_FOR: Final = 600
"""Seconds without a duty cycle: a new pod has one after a sample (60 s) and what Cloud Monitoring takes to show it (120 s and more)."""


def fill(metric: AdapterMetric, *, matchers: str, by: str) -> str:
    """Write an adapter's template out as PromQL, for series that match ``matchers``, grouped ``by`` labels."""
    text = metric.query.replace("<<.Series>>", metric.series)
    return text.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", by)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One graph."""

    title: str
    text: str
    """What it tells and what to do about it."""
    unit: str
    """Grafana's name of the unit."""
    queries: tuple[tuple[str, str], ...]
    """PromQL and legend."""


def _scales_by_duty_cycle(entry: ServingSettings) -> bool:
    return any(metric.kind == "gpuDutyCycle" for metric in entry.scaling.metrics)


def _duty_cycle_panel() -> Panel:
    """What the autoscaler itself has read, out of its status: the figure is Cloud Monitoring's, and Prometheus has no other way to it."""
    of = f'namespace="$namespace",horizontalpodautoscaler=~"$deployment",metric_name="{GPU_DUTY_CYCLE}"'
    return Panel(
        title="GPU duty cycle",
        text="Of a pod's GPUs added up, as the autoscaler reads it from Cloud Monitoring; a gap: it read nothing. Some minutes late.",
        unit="percent",
        queries=(
            (f"sum(kube_horizontalpodautoscaler_status_target_metric{{{of}}}) by (horizontalpodautoscaler)", "{{horizontalpodautoscaler}}"),
            (
                f"sum(kube_horizontalpodautoscaler_spec_target_metric{{{of}}}) by (horizontalpodautoscaler)",
                "{{horizontalpodautoscaler}} target",
            ),
        ),
    )


def panels(serving: Sequence[ServingSettings]) -> tuple[Panel, ...]:
    """Decide the dashboard's graphs; ``$namespace`` and ``$deployment`` are chosen by whoever looks."""
    metrics = {metric.name: metric for metric in adapter_metrics(serving)}
    window = prometheus_duration(max(entry.scaling.window for entry in serving))

    def rate(series: str, by: str) -> str:
        return f"sum(rate({series}{{{_SELECTED}}}[{window}])) by ({by})"

    def mean(total: str, count: str) -> str:
        return f"{rate(total, 'model')} / clamp_min({rate(count, 'model')}, 0.001)"

    scaled = 'namespace="$namespace",horizontalpodautoscaler=~"$deployment"'
    return (
        Panel(
            title="Requests",
            text="Requests a second that Triton answered, and those that it failed, by model.",
            unit="reqps",
            queries=(
                (rate("nv_inference_request_success", "model"), "{{model}}"),
                (rate("nv_inference_request_failure", "model"), "{{model}} failed"),
            ),
        ),
        Panel(
            title="Time in the queue",
            text="Mean of a pod, as the autoscaler reads it. Rising while replicas stand at the maximum: raise maxReplicas.",
            unit="µs",
            queries=((fill(metrics[QUEUE_TIME], matchers=_SELECTED, by="pod"), "{{pod}}"),),
        ),
        Panel(
            title="Pending requests",
            text="Requests in the queues of a pod, as the autoscaler reads it.",
            unit="short",
            queries=((fill(metrics[PENDING_REQUESTS], matchers=_SELECTED, by="pod"), "{{pod}}"),),
        ),
        Panel(
            title="Replicas",
            text="What runs, what the autoscaler wants, and what it may.",
            unit="short",
            queries=(
                (f"sum(kube_deployment_status_replicas_available{{{_SELECTED}}}) by (deployment)", "{{deployment}} ready"),
                (
                    f"sum(kube_horizontalpodautoscaler_status_desired_replicas{{{scaled}}}) by (horizontalpodautoscaler)",
                    "{{horizontalpodautoscaler}} wanted",
                ),
                (
                    f"sum(kube_horizontalpodautoscaler_spec_max_replicas{{{scaled}}}) by (horizontalpodautoscaler)",
                    "{{horizontalpodautoscaler}} at most",
                ),
            ),
        ),
        Panel(
            title="GPU utilisation",
            text="Of the GPUs that the pods hold. On shared GPUs it is the whole device's, with MIG there is none.",
            unit="percent",
            queries=((fill(metrics[GPU_UTILIZATION], matchers='namespace="$namespace",container=~"$deployment"', by="pod"), "{{pod}}"),),
        ),
        Panel(
            title="Time of a request",
            text="Mean from a request's arrival to its answer, by model: queue and computing together.",
            unit="µs",
            queries=((mean("nv_inference_request_duration_us", "nv_inference_request_success"), "{{model}}"),),
        ),
        Panel(
            title="Batch size",
            text="Inferences a run of a model. At 1 under load: dynamic batching is off, or its delay too short.",
            unit="short",
            queries=((mean("nv_inference_count", "nv_inference_exec_count"), "{{model}}"),),
        ),
        *([_duty_cycle_panel()] if any(map(_scales_by_duty_cycle, serving)) else []),
    )


def _variable(name: str, query: str, *, several: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": several,
        "includeAll": several,
        "allValue": ".*" if several else None,
        "sort": 1,
    }


def dashboard(serving: Sequence[ServingSettings]) -> dict[str, Any]:
    """Make the dashboard, as Grafana's JSON model of schema version 39. Raises ValueError when there is no deployment."""
    source = {"type": "prometheus", "uid": "${datasource}"}
    graphs = [
        {
            "id": index + 1,
            "type": "timeseries",
            "title": panel.title,
            "description": panel.text,
            "datasource": source,
            "gridPos": {"h": _HEIGHT, "w": _HALF, "x": _HALF * (index % 2), "y": _HEIGHT * (index // 2)},
            "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
            "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
            "targets": [
                {"refId": chr(ord("A") + position), "datasource": source, "expr": query, "legendFormat": legend}
                for position, (query, legend) in enumerate(panel.queries)
            ],
        }
        for index, panel in enumerate(panels(serving))
    ]
    return {
        "uid": DASHBOARD_UID,
        "title": "Triton",
        "tags": ["triton"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {
            "list": [
                {"name": "datasource", "type": "datasource", "query": "prometheus"},
                _variable("namespace", "label_values(nv_inference_request_success, namespace)", several=False),
                _variable("deployment", 'label_values(nv_inference_request_success{namespace="$namespace"}, deployment)', several=True),
            ]
        },
        "panels": graphs,
    }


def _alert(name: str, expr: str, *, wait: float, severity: str, summary: str, description: str) -> dict[str, Any]:
    return {
        "alert": name,
        "expr": expr,
        "for": prometheus_duration(wait),
        "labels": {"severity": severity},
        "annotations": {"summary": summary, "description": description},
    }


def alert_rules(settings: AlertSettings, serving: Sequence[ServingSettings]) -> dict[str, Any]:
    """Make ``spec`` of a PrometheusRule: one group a deployment, so that one can be silenced without the others.

    Raises ValueError when there is no deployment.
    """
    queue = next(metric for metric in adapter_metrics(serving) if metric.name == QUEUE_TIME)
    groups = []
    for entry in serving:
        here = f'namespace="{entry.namespace}",deployment="{entry.name}"'
        scaled = f'namespace="{entry.namespace}",horizontalpodautoscaler="{entry.name}"'
        what = f"Triton {entry.namespace}/{entry.name}"
        window = prometheus_duration(entry.scaling.window)
        failed = f"sum(rate(nv_inference_request_failure{{{here}}}[{window}])) by (model)"
        served = f"sum(rate(nv_inference_request_success{{{here}}}[{window}])) by (model)"
        rules = [
            _alert(
                "TritonQueueHigh",
                f"({fill(queue, matchers=here, by='pod')}) > {round(settings.queue_time * _MICROSECONDS)}",
                wait=_OVERLOADED_FOR,
                severity="warning",
                summary=f"{what}: requests wait long on {{{{ $labels.pod }}}}",
                description="{{ $value | humanize }} µs in the queue. Raise maxReplicas, or see whether new pods find nodes.",
            ),
            _alert(
                "TritonRequestsFail",
                # A model that only fails has no rate of success until it has served once: then the ratio is 1, not missing.
                f"{failed} / clamp_min({failed} + ({served} or 0 * {failed}), 0.001) > {settings.failure_ratio:g}",
                wait=_OVERLOADED_FOR,
                severity="critical",
                summary=f"{what}: {{{{ $labels.model }}}} fails requests",
                description="{{ $value | humanizePercentage }} of them. Look at the pods' logs for the model's name.",
            ),
            _alert(
                "TritonNoReadyPods",
                # Absent as well as 0: a Deployment that is gone has no series at all.
                f"kube_deployment_status_replicas_available{{{here}}} == 0 or absent(kube_deployment_status_replicas_available{{{here}}})",
                wait=_NOT_READY_FOR,
                severity="critical",
                summary=f"{what}: nobody answers",
                description="No pod is ready. Look at the pods' events: no node, no image, or models that don't load.",
            ),
            _alert(
                "TritonNotScraped",
                f'absent(up{{namespace="{entry.namespace}",deployment="{entry.name}"}} == 1)',
                wait=_NOT_READY_FOR,
                severity="warning",
                summary=f"{what}: Prometheus sees no pod of it",
                description="The autoscaler is blind and holds still. Look at Prometheus' targets.",
            ),
        ]
        if entry.scaling.min_replicas < entry.scaling.max_replicas:  # else it is always at its maximum
            rules.append(
                _alert(
                    "TritonAtMaxReplicas",
                    f"kube_horizontalpodautoscaler_status_desired_replicas{{{scaled}}}"
                    f" >= kube_horizontalpodautoscaler_spec_max_replicas{{{scaled}}}",
                    wait=settings.at_max_for,
                    severity="warning",
                    summary=f"{what}: the autoscaler has no more replicas to give",
                    description="{{ $value | humanize }} replicas wanted, all it may have. Raise maxReplicas if the queue is long too.",
                )
            )
        if _scales_by_duty_cycle(entry):
            read = f'kube_horizontalpodautoscaler_status_target_metric{{{scaled},metric_name="{GPU_DUTY_CYCLE}"}}'
            rules.append(
                _alert(
                    "TritonNoDutyCycle",
                    f"absent({read})",
                    wait=_NO_DUTY_CYCLE_FOR,
                    severity="warning",
                    summary=f"{what}: the autoscaler reads no duty cycle",
                    description="It goes by its other metrics, or holds still. Look at the HPA's events and the Stackdriver adapter's log.",
                )
            )
        groups.append({"name": f"triton-{entry.namespace}-{entry.name}", "rules": rules})
    return {"groups": groups}


@dataclass(frozen=True, kw_only=True)
class ObservabilityArgs:
    """What Observability needs."""

    cluster: ClusterHandle
    metrics: MetricsHandle
    serving: Sequence[ServingSettings]
    alerts: AlertSettings | None
    """None: no alert rules."""
    dashboard: bool


class Observability(pulumi.ComponentResource):
    """Dashboard and alert rules, in the metrics namespace."""

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("serving", "Observability"), name, None, opts)
        # The kind of the rule is Prometheus', and so is the namespace.
        child = pulumi.ResourceOptions(
            parent=self,
            provider=args.cluster.provider,
            depends_on=args.metrics.url.apply(lambda _: list[pulumi.Input[pulumi.Resource]]()),
        )
        if args.dashboard:
            k8s.core.v1.ConfigMap(
                f"{name}-dashboard",
                metadata=_metadata(args.metrics.namespace, "dashboard", DASHBOARD_LABEL),
                data={f"{NAME}.json": json.dumps(dashboard(args.serving), indent=1, ensure_ascii=False)},
                opts=child,
            )
        if args.alerts is not None:
            k8s.apiextensions.CustomResource(
                f"{name}-alerts",
                api_version="monitoring.coreos.com/v1",
                kind="PrometheusRule",
                metadata=_metadata(args.metrics.namespace, "alerts"),
                spec=alert_rules(args.alerts, args.serving),
                opts=child,
            )
        self.register_outputs({})


def _metadata(namespace: str, what: str, more: Mapping[str, str] | None = None) -> k8s.meta.v1.ObjectMetaArgs:
    return k8s.meta.v1.ObjectMetaArgs(
        name=f"{NAME}-{what}", namespace=namespace, labels={**labels("triton-observability", what), **(more or {})}
    )
