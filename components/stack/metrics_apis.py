"""What serves the autoscalers' metrics: prometheus-adapter, the Stackdriver adapter, or both, with one API each.

The settings reject a stack in which an API has two owners or a metric has none.
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
    """Declare the adapters. ``rules`` are those of prometheus-adapter.

    Nothing depends on them: until it has a metric, an autoscaler keeps the smallest number of pods.

    Raises ValueError when no adapter can be created, which the settings rule out.
    """
    if not settings.adapter.enabled and (not settings.stackdriver.enabled or cluster.gcp is None):
        raise ValueError("no adapter: no autoscaler could read a metric")
    if settings.adapter.enabled:
        args = PrometheusAdapterArgs(cluster=cluster, metrics=metrics, settings=settings.adapter, charts=settings.charts, rules=rules)
        PrometheusAdapter("adapter", args, child)
    if settings.stackdriver.enabled and cluster.gcp is not None:
        from components.gke.stackdriver import StackdriverAdapter, StackdriverAdapterArgs  # noqa: PLC0415  # loads Google Cloud's SDK

        reader = StackdriverAdapterArgs(cluster=cluster, access=cluster.gcp, settings=settings.stackdriver)
        StackdriverAdapter("stackdriver", reader, child)
