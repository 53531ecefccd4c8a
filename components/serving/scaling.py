"""The adapter's rules, the autoscaler's metrics, panels and alerts: all from the metric kinds (`components.serving.metrics`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.base.errors import Problem
from components.base.watch import WatchedDeployment
from components.serving.metrics import ALWAYS
from components.serving.metrics.base import Sampling, ServedPods
from components.serving.metrics.triton import QueueTimeMetric

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from components.base.errors import FieldPath
    from components.base.watch import Panel
    from components.serving.metrics.base import GkeCluster, MetricSettings
    from components.serving.settings import ScalingSettings, ServingSettings


def _sampling(serving: Sequence[ServingSettings]) -> Sampling:
    if not serving:
        raise ValueError("no deployment to scale: the windows of the metrics come from the entries of `serving`. Add one.")
    return Sampling(window=max(entry.scaling.window for entry in serving), scrape=max(entry.scrape_interval for entry in serving))


def served_pods(entry: ServingSettings, gke: GkeCluster | None = None) -> ServedPods:
    """Describe the pods of a deployment to its metrics; ``gke`` is the cluster, on GKE."""
    return ServedPods(container=entry.name, namespace=entry.namespace, gpus=entry.resources.gpus, gke=gke)


def _metrics(serving: Sequence[ServingSettings]) -> list[MetricSettings]:
    """Return what every stack publishes, then what deployments scale by besides: each name once, whatever the order of the deployments."""
    used = sorted((metric for entry in serving for metric in entry.scaling.metrics), key=lambda metric: metric.published)
    return list({metric.published: metric for metric in (*ALWAYS, *used)}.values())


def name_problems(serving: Sequence[ServingSettings]) -> Iterator[Problem]:
    """Yield metrics that another metric of the stack has the name of. Paths start at the stack file."""
    first: dict[str, tuple[FieldPath, str]] = {metric.published: ((), metric.kind) for metric in ALWAYS}
    for index, entry in enumerate(serving):
        for position, metric in enumerate(entry.scaling.metrics):
            path, query = ("serving", index, "scaling", "metrics", position), getattr(metric, "query_", metric.kind)
            other, published = first.setdefault(metric.published, (path, query))
            if query != published:
                text = f"({metric.published}) is another metric's name too: the adapter could serve only one of them. Choose another name."
                yield Problem(at=(*path, "metric"), text=text, also=(other,) if other else ())


def adapter_rules(serving: Sequence[ServingSettings]) -> list[dict[str, Any]]:
    """Return ``rules.custom`` for the prometheus-adapter chart. Raises ValueError when there is no deployment."""
    sampling = _sampling(serving)
    return [metric.rule(sampling) for metric in _metrics(serving) if metric.adapter == "adapter"]


def metric_panels(serving: Sequence[ServingSettings]) -> tuple[Panel, ...]:
    """Return the dashboard's graphs."""
    sampling = _sampling(serving)
    return tuple(metric.panel(sampling) for metric in _metrics(serving))


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
