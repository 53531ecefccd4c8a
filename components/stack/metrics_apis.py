"""Who serves the autoscalers' metrics: prometheus-adapter, the Stackdriver adapter, or both, each an API of its own.

The settings have refused what would give one API two owners, or a metric none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from components.monitoring.adapter import PrometheusAdapter, PrometheusAdapterArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi

    from components.base.handles import ClusterHandle, MetricsHandle
    from components.stack.settings import Settings


def metrics_apis(
    settings: Settings, *, cluster: ClusterHandle, metrics: MetricsHandle, rules: Sequence[Mapping[str, Any]], child: pulumi.ResourceOptions
) -> None:
    """Declare what serves metrics to autoscalers. ``rules`` are those of prometheus-adapter.

    Nothing waits for it: an autoscaler scales from when there is a metric, and until then keeps to its least number of pods.

    Raises ValueError when nothing would: the settings let no such stack through.
    """
    if not settings.adapter.enabled and (not settings.stackdriver.enabled or cluster.gcp is None):
        raise ValueError("neither adapter is there: no autoscaler could read a metric")
    if settings.adapter.enabled:
        args = PrometheusAdapterArgs(cluster=cluster, metrics=metrics, settings=settings.adapter, charts=settings.charts, rules=rules)
        PrometheusAdapter("adapter", args, child)
    if settings.stackdriver.enabled and cluster.gcp is not None:
        from components.gke.stackdriver import StackdriverAdapter, StackdriverAdapterArgs  # noqa: PLC0415  # loads Google Cloud's SDK

        reader = StackdriverAdapterArgs(cluster=cluster, access=cluster.gcp, settings=settings.stackdriver)
        StackdriverAdapter("stackdriver", reader, child)
