"""Settings of who serves the autoscalers' metrics, and whether each metric that a deployment scales by is served at all.

Two APIs serve such metrics, ``custom.metrics.k8s.io`` and ``external.metrics.k8s.io``, and each has one owner in a cluster: a second
APIService of the same name takes it away from the first, whose metrics are then gone for every autoscaler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from components.base import naming
from components.base.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from components.gke.settings.stackdriver import StackdriverSettings
    from components.monitoring.settings import AdapterSettings
    from components.serving.settings import ServingSettings
    from components.stack.cluster import ClusterSettings

_ON_GOOGLE_CLOUD: Final = frozenset({"gke"})
"""Providers whose clusters belong to a Google Cloud project that the stack knows."""
_FROM_PROMETHEUS: Final = frozenset({"queueTime", "pendingRequests", "gpuUtilization"})
_OF_THE_GPU: Final = frozenset({"gpuUtilization", "gpuDutyCycle"})
_SHARED: Final = frozenset({"timeSlicing", "mps"})
_WHOLE_GPU: Final = "nvidia.com/gpu"


def metric_problems(
    cluster: ClusterSettings, adapter: AdapterSettings, stackdriver: StackdriverSettings, serving: Sequence[ServingSettings]
) -> Iterator[Problem]:
    """Yield APIs with two owners or none, and metrics that nobody would serve or that would be another's."""
    yield from _owners(cluster, adapter, stackdriver)
    for index, entry in enumerate(serving):
        for position, metric in enumerate(entry.scaling.metrics):
            at = ("serving", index, "scaling", "metrics", position)
            if metric.kind in _FROM_PROMETHEUS and not adapter.enabled:
                yield Problem(
                    at=at,
                    text=f"is {metric.kind} but adapter.enabled is false: nobody would serve it and the autoscaler would hold still. "
                    "Leave adapter.enabled out, or scale by gpuDutyCycle alone.",
                    also=(("adapter", "enabled"),),
                )
            if metric.kind == "gpuDutyCycle" and not stackdriver.enabled:
                yield Problem(
                    at=at,
                    text="is gpuDutyCycle but stackdriver.enabled is false: nobody would serve it and the autoscaler would hold still. "
                    "Set stackdriver.enabled to true (on GKE), or scale by queueTime or gpuUtilization.",
                    also=(("stackdriver", "enabled"),),
                )
            if metric.kind == "gpuDutyCycle" and "system" not in getattr(cluster, "monitoring", ("system",)):
                yield Problem(
                    at=at,
                    text="is gpuDutyCycle but cluster.monitoring lacks system, which it is part of: the metric would never exist and the "
                    "autoscaler would hold still. Add system there.",
                    also=(("cluster", "monitoring"),),
                )
            if metric.kind == "gpuDutyCycle" and entry.resources.gpu_resource != _WHOLE_GPU:
                yield Problem(
                    at=at,
                    text=f"is gpuDutyCycle but resources.gpuResource is {entry.resources.gpu_resource}: GKE has no duty cycle of a slice. "
                    "Scale by queueTime or pendingRequests.",
                    also=(("serving", index, "resources", "gpu_resource"),),
                )
            shared = _shared(cluster, entry) if metric.kind in _OF_THE_GPU else None
            if shared is not None:
                yield Problem(
                    at=at,
                    text=f"is {metric.kind}, and pool {shared} shares its GPUs: the figure is the whole device's, and each sharer would "
                    "scale by its neighbours' work. Scale by queueTime or pendingRequests.",
                    also=(("cluster", "gpu_pools"), ("serving", index, "node_selector")),
                )


def _owners(cluster: ClusterSettings, adapter: AdapterSettings, stackdriver: StackdriverSettings) -> Iterator[Problem]:
    if stackdriver.enabled and cluster.provider not in _ON_GOOGLE_CLOUD:
        yield Problem(
            at=("stackdriver", "enabled"),
            text=f"is true but cluster.provider is {cluster.provider}: the adapter reads Cloud Monitoring by the identity of a project, "
            "and there is none here. Leave it out.",
            also=(("cluster", "provider"),),
        )
    if stackdriver.custom_metrics and not stackdriver.enabled:
        yield Problem(
            at=("stackdriver", "custom_metrics"),
            text="is true but stackdriver.enabled is false: it would have no effect. Set enabled to true or leave it out.",
            also=(("stackdriver", "enabled"),),
        )
    if stackdriver.enabled and stackdriver.custom_metrics and adapter.enabled:
        yield Problem(
            at=("stackdriver", "custom_metrics"),
            text="is true and so is adapter.enabled: both would own v1beta1.custom.metrics.k8s.io, and whoever comes second takes the "
            "other's metrics from every autoscaler. Leave customMetrics out, or set adapter.enabled to false.",
            also=(("adapter", "enabled"), ("stackdriver", "enabled")),
        )
    if not adapter.enabled and not stackdriver.enabled:
        yield Problem(
            at=("adapter", "enabled"),
            text="is false and stackdriver.enabled is not true: nobody would serve a metric and no deployment could scale. "
            "Leave it out, or set stackdriver.enabled to true (on GKE).",
            also=(("stackdriver", "enabled"),),
        )


def _shared(cluster: ClusterSettings, entry: ServingSettings) -> str | None:
    """Name of a pool of shared GPUs where the pods can land in none of whole ones; None elsewhere, or where nobody knows the pools."""
    wanted = entry.node_selector.get(naming.POOL_LABEL)
    pools = [pool for pool in getattr(cluster, "gpu_pools", ()) if wanted is None or pool.name == wanted]
    if not pools or any(pool.sharing.kind not in _SHARED for pool in pools):
        return None
    return str(pools[0].name)
