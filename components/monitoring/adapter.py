"""prometheus-adapter: Prometheus series as custom.metrics.k8s.io, which the HPA reads.

Makes the release ``prometheus-adapter`` in the metrics namespace. Makes no rule: those are an argument, derived from the same description
as the HPA. Serves no external metrics, which belong to KEDA where there is one: two owners of that APIService fail the second install.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
from pydantic import ConfigDict

from components.base import naming, versions
from components.base.errors import FleetError
from components.base.handles import ClusterHandle, CustomMetricsHandle, MetricsHandle
from components.base.quantities import prometheus_duration
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.helm.settings import ChartSettings
    from components.monitoring.settings import AdapterSettings

API_SERVICE: Final = "v1beta1.custom.metrics.k8s.io"
_LEAST_MAX_AGE_SECONDS: Final = 60.0
_MAX_AGE_RELISTS: Final = 4


class _PrometheusAddress(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    url: str | pulumi.Output[str]
    """Without port. An output where it is not known before Prometheus is up."""
    port: int
    path: str = ""


class _Rules(release.ChartValues):
    default: bool = False
    """The chart's default rules sum each series by resource: two GPUs at 50 % would read 100."""
    custom: list[dict[str, Any]]


class _Readiness(release.ChartValues):
    initial_delay_seconds: int
    period_seconds: int


class AdapterValues(release.ChartValues):
    """What is passed to the chart prometheus-adapter, key for key."""

    prometheus: _PrometheusAddress
    metrics_relist_interval: str
    extra_arguments: list[str]
    rules: _Rules
    readiness_probe: _Readiness = _Readiness(initial_delay_seconds=2, period_seconds=3)
    """Merged into the chart's probe. Its own first look after 30 s holds up every install and every change of rules."""
    resources: release.ContainerResources = release.ContainerResources(
        requests={"cpu": "100m", "memory": "128Mi"},
        limits={"cpu": "500m", "memory": "512Mi"},
    )


def adapter_values(
    settings: AdapterSettings, *, url: str | pulumi.Output[str], port: int, rules: Sequence[Mapping[str, Any]]
) -> AdapterValues:
    """Decide the chart's values. ``rules`` are entries of the adapter's ``rules.custom``; ``url`` has no port.

    Raises FleetError without rules: the chart then makes no APIService, and an HPA would wait for a metric that nobody serves.
    """
    if not rules:
        message = (
            "prometheus-adapter got no rules: custom.metrics.k8s.io would not be served and no HPA could scale."
            " Name at least one of triton-fleet:serving[*].scaling.metrics, or leave the adapter out."
        )
        raise FleetError(message)
    # The adapter forgets a series that its last look, max-age back, didn't find. By default max-age is the relist interval itself, so that
    # one late scrape takes the metric away and the HPA reports it missing.
    max_age = max(_MAX_AGE_RELISTS * settings.relist_interval, _LEAST_MAX_AGE_SECONDS)
    return AdapterValues(
        prometheus=_PrometheusAddress(url=url, port=port),
        metrics_relist_interval=prometheus_duration(settings.relist_interval),
        extra_arguments=[f"--metrics-max-age={prometheus_duration(max_age)}"],
        rules=_Rules(custom=[dict(rule) for rule in rules]),
    )


@dataclass(frozen=True, kw_only=True)
class PrometheusAdapterArgs:
    """What PrometheusAdapter needs."""

    cluster: ClusterHandle
    metrics: MetricsHandle
    settings: AdapterSettings
    charts: ChartSettings
    rules: Sequence[Mapping[str, Any]]
    """Entries of the adapter's ``rules.custom``."""


class PrometheusAdapter(pulumi.ComponentResource):
    """The custom metrics API."""

    handle: CustomMetricsHandle

    def __init__(self, name: str, args: PrometheusAdapterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "PrometheusAdapter"), name, None, opts)
        values = adapter_values(args.settings, url=args.metrics.url, port=args.metrics.port, rules=args.rules)
        adapter = release.release(
            naming.ADAPTER_RELEASE,
            pin=versions.PROMETHEUS_ADAPTER,
            charts=args.charts,
            namespace=args.metrics.namespace,
            # The address is an output of the Prometheus release: that orders the two, and on destroy the adapter and its APIService go
            # first. A namespace can't be deleted while an APIService that nobody serves is registered.
            values=values.to_helm(),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.handle = CustomMetricsHandle(ready=release.up(API_SERVICE, adapter))
        self.register_outputs({"apiService": self.handle.ready})
