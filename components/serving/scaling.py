"""The adapter's rules, the autoscaler's metrics, panels and alerts: all from the metric kinds (`components.serving.metrics`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.base.watch import WatchedDeployment
from components.serving.metrics import KINDS
from components.serving.metrics.base import Sampling, ServedPods
from components.serving.metrics.triton import QueueTimeMetric

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.watch import Panel
    from components.serving.metrics.base import GkeCluster
    from components.serving.settings import ScalingSettings, ServingSettings


def _sampling(serving: Sequence[ServingSettings]) -> Sampling:
    if not serving:
        raise ValueError("no deployment to scale: the windows of the metrics come from the entries of `serving`. Add one.")
    return Sampling(window=max(entry.scaling.window for entry in serving), scrape=max(entry.scrape_interval for entry in serving))


def served_pods(entry: ServingSettings, gke: GkeCluster | None = None) -> ServedPods:
    """Describe the pods of a deployment to its metrics; ``gke`` is the cluster, on GKE."""
    return ServedPods(container=entry.name, namespace=entry.namespace, gpus=entry.resources.gpus, gke=gke)


def adapter_rules(serving: Sequence[ServingSettings]) -> list[dict[str, Any]]:
    """Return ``rules.custom`` for the prometheus-adapter chart: every metric that it can publish, always all and in the same order.

    A deployment can then change its metrics without a restart of the adapter, and every stack serves the names of the walk-throughs.

    Raises ValueError when there is no deployment.
    """
    sampling = _sampling(serving)
    return [kind.rule(sampling) for kind in KINDS if kind.series is not None]


def metric_panels(serving: Sequence[ServingSettings]) -> tuple[Panel, ...]:
    """Return the dashboard's graphs of all metrics from Prometheus, and of the others that a deployment scales by."""
    sampling = _sampling(serving)
    used = {type(metric) for entry in serving for metric in entry.scaling.metrics}
    return tuple(kind.panel(sampling) for kind in KINDS if kind.series is not None or kind in used)


def watched(entry: ServingSettings, serving: Sequence[ServingSettings]) -> WatchedDeployment:
    """Describe ``entry`` to the alerts; ``serving`` are all deployments of the stack."""
    pods = served_pods(entry)
    return WatchedDeployment(
        name=entry.name,
        namespace=entry.namespace,
        window=entry.scaling.window,
        queue_time=QueueTimeMetric.promql(_sampling(serving), f'namespace="{entry.namespace}",deployment="{entry.name}"'),
        autoscaled=entry.scaling.min_replicas < entry.scaling.max_replicas,
        alerts=tuple(alert for metric in entry.scaling.metrics for alert in metric.alerts(pods)),
    )


def hpa_metrics(scaling: ScalingSettings, pods: ServedPods) -> list[dict[str, Any]]:
    """Return ``spec.metrics`` of an autoscaling/v2 HorizontalPodAutoscaler, in the order of the settings.

    Raises ValueError for gpuDutyCycle outside GKE.
    """
    return [metric.hpa_metric(pods) for metric in scaling.metrics]
