"""dcgm-exporter: GPU metrics, one exporter on each node that is labelled ``nvidia.com/gpu.present=true``.

Makes the namespace ``dcgm`` and the release ``dcgm-exporter``. Makes no GPU driver and no label: those are the cluster's.

The trap in its labels: each series names, in ``namespace`` and ``pod``, the pod that owns the GPU. A plain ServiceMonitor overwrites both
with the exporter's own and keeps the owner's as ``exported_namespace`` and ``exported_pod``, so that a metric asked for in Triton's
namespace finds nothing. Both ways of scraping here keep the owner's labels and add ``service="dcgm-exporter"``: that is what makes
``DCGM_FI_DEV_GPU_UTIL`` an Object metric of that Service in the owner's namespace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
from pydantic import Field

from components import naming, versions
from components.addons import release

if TYPE_CHECKING:
    from components.handles import ClusterHandle, MetricsHandle
    from components.settings.addons import ChartSettings, DcgmSettings

PORT_NAME: Final = "metrics"
GPU_NODE_LABEL: Final = "nvidia.com/gpu.present"
_COUNTERS: Final = "/etc/dcgm-exporter/default-counters.csv"
_LONGEST_SCRAPE_SECONDS: Final = 10.0
"""Prometheus' own default timeout; a longer interval needs no longer scrape."""


class _ServiceMonitor(release.ChartValues):
    enabled: bool
    interval: str | None = None
    scrape_timeout: str | None = None
    honor_labels: bool | None = None
    relabelings: list[dict[str, Any]] | None = None


class _Toleration(release.ChartValues):
    key: str
    operator: Literal["Exists", "Equal"]
    effect: str


class _Liveness(release.ChartValues):
    initial_delay_seconds: int
    period_seconds: int


class _Readiness(release.ChartValues):
    initial_delay_seconds: int


class DcgmValues(release.ChartValues):
    """What is passed to the chart dcgm-exporter, key for key."""

    fullname_override: str = naming.DCGM_RELEASE
    arguments: list[str]
    service_monitor: _ServiceMonitor
    node_selector: dict[str, str] = Field(default_factory=lambda: {GPU_NODE_LABEL: "true"})
    tolerations: list[_Toleration] = Field(
        default_factory=lambda: [_Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")]
    )
    liveness_probe: _Liveness = _Liveness(initial_delay_seconds=90, period_seconds=10)
    """DCGM takes its time on a machine with many GPUs; reference 000 met the restart loop that a short delay makes."""
    readiness_probe: _Readiness = _Readiness(initial_delay_seconds=5)
    """Short, because a readiness probe that fails early costs nothing, and a long delay holds up every install."""
    resources: release.ContainerResources = release.ContainerResources(
        requests={"cpu": "100m", "memory": "256Mi"},
        # The chart's own 512Mi is met by the exporter on machines with eight GPUs and profiling metrics.
        limits={"cpu": "500m", "memory": "1Gi"},
    )


def _timeout(interval: float) -> float:
    """A scrape may last as long as the interval and no longer: the operator refuses a monitor whose timeout exceeds its interval."""
    return min(interval, _LONGEST_SCRAPE_SECONDS)


def dcgm_values(settings: DcgmSettings) -> DcgmValues:
    """Decide the chart's values: DCGM samples as often as Prometheus scrapes."""
    monitor = _ServiceMonitor(enabled=False)
    if settings.scrape == "serviceMonitor":
        monitor = _ServiceMonitor(
            enabled=True,
            interval=release.duration(settings.interval),
            scrape_timeout=release.duration(_timeout(settings.interval)),
            honor_labels=True,
            relabelings=[{"action": "replace", "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "kubernetes_node"}],
        )
    # One word, not "-c", "1000": the chart writes its arguments unquoted, and a number where a string belongs is refused by the API server.
    interval = f"--collect-interval={math.ceil(settings.interval * 1000)}"
    return DcgmValues(arguments=["-f", _COUNTERS, interval], service_monitor=monitor)


def scrape_jobs(settings: DcgmSettings) -> tuple[dict[str, Any], ...]:
    """Give the raw scrape job ``gpu-metrics`` of reference 000 where the settings ask for it, else none.

    Two differences: ``keep`` names the one port of the one Service, because the reference's job scrapes every endpoint of the namespace;
    and the role is endpointslice, because Endpoints is deprecated.
    """
    if not settings.enabled or settings.scrape != "job":
        return ()
    keep = ["__meta_kubernetes_service_name", "__meta_kubernetes_endpointslice_port_name"]
    return (
        {
            "job_name": "gpu-metrics",
            "scrape_interval": release.duration(settings.interval),
            "scrape_timeout": release.duration(_timeout(settings.interval)),
            "metrics_path": "/metrics",
            "scheme": "http",
            "kubernetes_sd_configs": [{"role": "endpointslice", "namespaces": {"names": [naming.DCGM_NAMESPACE]}}],
            "relabel_configs": [
                {"action": "keep", "source_labels": keep, "regex": f"{naming.DCGM_RELEASE};{PORT_NAME}"},
                {"action": "replace", "source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "kubernetes_node"},
                {"action": "replace", "source_labels": ["__meta_kubernetes_service_name"], "target_label": "service"},
            ],
        },
    )


@dataclass(frozen=True, kw_only=True)
class DcgmExporterArgs:
    """What DcgmExporter needs."""

    cluster: ClusterHandle
    metrics: MetricsHandle
    settings: DcgmSettings
    charts: ChartSettings


class DcgmExporter(pulumi.ComponentResource):
    """GPU metrics of every GPU node."""

    service: pulumi.Output[str]
    """Name of the Service that GPU metrics hang on as Object metrics; resolves once the exporters run."""

    def __init__(self, name: str, args: DcgmExporterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "DcgmExporter"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        namespace = release.namespace(naming.DCGM_NAMESPACE, component="dcgm-exporter", opts=child)
        exporter = release.release(
            naming.DCGM_RELEASE,
            pin=versions.DCGM_EXPORTER,
            charts=args.charts,
            namespace=naming.DCGM_NAMESPACE,
            values=dcgm_values(args.settings).to_helm(),
            # Nothing of the metrics handle goes into the values, and yet the ServiceMonitor's kind must be there first.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=release.after(args.metrics.url, namespace))),
        )
        self.service = release.up(naming.DCGM_RELEASE, exporter)
        self.register_outputs({"service": self.service})
