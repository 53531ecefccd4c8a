"""Who serves the autoscalers' metrics: prometheus-adapter, the Stackdriver adapter, or both, each an API of its own.

The settings have refused what would give one API two owners, or a metric none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

from components.addons.adapter import PrometheusAdapter, PrometheusAdapterArgs
from components.addons.stackdriver import StackdriverAdapter, StackdriverAdapterArgs
from components.handles import CustomMetricsHandle

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.handles import ClusterHandle, MetricsHandle
    from components.settings import Settings


def metrics_apis(
    settings: Settings, *, cluster: ClusterHandle, metrics: MetricsHandle, rules: Sequence[Mapping[str, Any]], child: pulumi.ResourceOptions
) -> CustomMetricsHandle:
    """Declare what serves metrics to autoscalers; the handle is ready when all of it is. ``rules`` are those of prometheus-adapter.

    Raises ValueError when nothing would: the settings let no such stack through.
    """
    served = []
    if settings.adapter.enabled:
        args = PrometheusAdapterArgs(cluster=cluster, metrics=metrics, settings=settings.adapter, charts=settings.charts, rules=rules)
        served.append(PrometheusAdapter("adapter", args, child).handle)
    if settings.stackdriver.enabled and cluster.gcp is not None:
        reader = StackdriverAdapterArgs(cluster=cluster, access=cluster.gcp, settings=settings.stackdriver)
        served.append(StackdriverAdapter("stackdriver", reader, child).handle)
    if not served:
        raise ValueError("neither adapter is there: no autoscaler could read a metric")
    if len(served) == 1:
        return served[0]
    return CustomMetricsHandle(ready=pulumi.Output.all(*(handle.ready for handle in served)).apply(lambda names: ",".join(map(str, names))))
