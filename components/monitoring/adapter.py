"""prometheus-adapter: Prometheus series as custom.metrics.k8s.io, which the autoscalers read.

Creates the release ``prometheus-adapter`` in the namespace of Prometheus. It serves no external metrics, which belong to KEDA where that is
installed: an APIService has one owner, and a second install of it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi

from components.base import naming, versions
from components.base.quantities import prometheus_duration
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, MetricsHandle
    from components.helm.settings import ChartSettings
    from components.monitoring.settings import AdapterSettings

API_SERVICE: Final = "v1beta1.custom.metrics.k8s.io"
_SHORTEST_MAX_AGE: Final = 60.0
_MAX_AGE_RELISTS: Final = 4


def adapter_values(
    settings: AdapterSettings, *, url: str | pulumi.Output[str], port: int, rules: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the chart's values. ``rules`` are entries of ``rules.custom``, at least one; ``url`` has no port."""
    # The adapter forgets a series that no look within max-age has found. The default is one relist interval, so that a single late scrape
    # would remove the metric.
    max_age = max(_MAX_AGE_RELISTS * settings.relist_interval, _SHORTEST_MAX_AGE)
    return {
        "prometheus": {"url": url, "port": port, "path": ""},
        "metricsRelistInterval": prometheus_duration(settings.relist_interval),
        "extraArguments": [f"--metrics-max-age={prometheus_duration(max_age)}"],
        # The chart's default rules sum each series by resource: two GPUs at 50 % would read 100.
        "rules": {"default": False, "custom": [dict(rule) for rule in rules]},
        # Merged into the chart's probe, whose initial delay of 30 s would slow down every install and every change of rules.
        "readinessProbe": {"initialDelaySeconds": 2, "periodSeconds": 3},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "500m", "memory": "512Mi"}},
    }


@dataclass(frozen=True, kw_only=True)
class PrometheusAdapterArgs:
    """Arguments of `PrometheusAdapter`."""

    cluster: ClusterHandle
    metrics: MetricsHandle
    settings: AdapterSettings
    charts: ChartSettings
    rules: Sequence[Mapping[str, Any]]
    """Entries of ``rules.custom``."""


class PrometheusAdapter(pulumi.ComponentResource):
    """The custom metrics API."""

    ready: pulumi.Output[str]
    """Name of the APIService; resolves once the adapter is ready."""

    def __init__(self, name: str, args: PrometheusAdapterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "PrometheusAdapter"), name, None, opts)
        adapter = release.release(
            naming.ADAPTER_RELEASE,
            pin=versions.PROMETHEUS_ADAPTER,
            charts=args.charts,
            namespace=args.metrics.namespace,
            # The URL is an output of Prometheus' release, so a destroy removes the adapter and its APIService first. Kubernetes can't
            # delete a namespace while an APIService without a server is registered.
            values=adapter_values(args.settings, url=args.metrics.url, port=args.metrics.port, rules=args.rules),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.ready = release.up(API_SERVICE, adapter)
        self.register_outputs({"apiService": self.ready})
