"""The alert rules of all Triton deployments of a stack.

Not a template of charts/triton, where ``{{ $labels.pod }}`` would have to be escaped from Helm. Whom an alert notifies is up to the
configuration of Alertmanager. The alerts on replicas read kube-state-metrics, which comes with kube-prometheus-stack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from components.base.quantities import prometheus_duration
from components.base.watch import Alert

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.watch import WatchedDeployment
    from components.monitoring.settings import AlertSettings

_MICROSECONDS: Final = 1_000_000
_NOT_READY_FOR: Final = 300
"""Seconds without a ready pod before the alert: longer than a restart, shorter than the start of a new node."""
_OVERLOADED_FOR: Final = 300
"""Seconds of a long queue before the alert: longer than the autoscaler and the start of a pod need to react."""


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
    groups = []
    for deployment in deployments:
        rules = [
            {
                "alert": alert.name,
                "expr": alert.expr,
                "for": prometheus_duration(alert.wait),
                "labels": {"severity": alert.severity},
                "annotations": {
                    "summary": f"Triton {deployment.namespace}/{deployment.name}: {alert.summary}",
                    "description": alert.description,
                },
            }
            for alert in _alerts(settings, deployment)
        ]
        groups.append({"name": f"triton-{deployment.namespace}-{deployment.name}", "rules": rules})
    return {"groups": groups}
