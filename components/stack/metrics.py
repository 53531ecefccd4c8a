"""Rules on what serves the autoscalers' metrics, and whether each metric that a deployment scales by exists at all.

``custom.metrics.k8s.io`` and ``external.metrics.k8s.io`` have one owner each in a cluster: a second APIService of the same name replaces
the first, whose metrics are then gone for every autoscaler. Each metric kind checks its own requirements
(`components.serving.metrics`); this module supplies the facts about the stack.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from components.base.errors import Problem
from components.existing.settings import ExistingClusterSettings
from components.gke.settings.cluster import GkeClusterSettings
from components.serving.metrics.base import MetricSources
from components.stack.capacity import eligible_pools, pool_capacities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.serving.settings import ServingSettings
    from components.stack.settings import Settings


def metric_problems(settings: Settings) -> Iterator[Problem]:
    """Yield APIs with two owners or none, and metrics that nothing serves or that other pods' load would change."""
    yield from _owners(settings)
    for index, entry in enumerate(settings.serving):
        sources = _sources(settings, index, entry)
        for position, metric in enumerate(entry.scaling.metrics):
            at = (*sources.entry, "scaling", "metrics", position)
            yield from (replace(problem, at=at) for problem in metric.stack_problems(sources))


def _sources(settings: Settings, index: int, entry: ServingSettings) -> MetricSources:
    cluster = settings.cluster
    pools = () if isinstance(cluster, ExistingClusterSettings) else eligible_pools(entry, pool_capacities(cluster, settings.autoscaler))
    return MetricSources(
        entry=("serving", index),
        prometheus_adapter=settings.adapter.enabled,
        stackdriver_adapter=settings.stackdriver.enabled,
        dcgm_exporter=settings.dcgm.enabled,
        system_metrics=not isinstance(cluster, GkeClusterSettings) or "system" in cluster.monitoring,
        shared_pool=pools[0].name if pools and all(pool.shared for pool in pools) else None,
        sliced_pool=pools[0].name if pools and all(pool.sliced for pool in pools) else None,
    )


def _owners(settings: Settings) -> Iterator[Problem]:
    adapter, stackdriver = settings.adapter, settings.stackdriver
    if stackdriver.enabled and not isinstance(settings.cluster, GkeClusterSettings):
        yield Problem(
            at=("stackdriver", "enabled"),
            text=f"is true but cluster.provider is {settings.cluster.provider}: the adapter reads Cloud Monitoring with an identity of a "
            "Google Cloud project, and this cluster has none. Remove it.",
            also=(("cluster", "provider"),),
        )
    if stackdriver.custom_metrics and not stackdriver.enabled:
        yield Problem(
            at=("stackdriver", "custom_metrics"),
            text="is true but stackdriver.enabled is false: it would have no effect. Set enabled to true or remove customMetrics.",
            also=(("stackdriver", "enabled"),),
        )
    if stackdriver.enabled and stackdriver.custom_metrics and adapter.enabled:
        yield Problem(
            at=("stackdriver", "custom_metrics"),
            text="is true and so is adapter.enabled: both would own v1beta1.custom.metrics.k8s.io, and the second to register would hide "
            "the metrics of the first from every autoscaler. Remove customMetrics, or set adapter.enabled to false.",
            also=(("adapter", "enabled"), ("stackdriver", "enabled")),
        )
    if not adapter.enabled and not stackdriver.enabled:
        yield Problem(
            at=("adapter", "enabled"),
            text="is false and stackdriver.enabled is not true: nothing would serve metrics and no deployment could scale. "
            "Remove it, or set stackdriver.enabled to true (on GKE).",
            also=(("stackdriver", "enabled"),),
        )
