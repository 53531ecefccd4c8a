"""kube-prometheus-stack: Prometheus under its operator, with the kinds ServiceMonitor, PodMonitor and PrometheusRule.

Creates the namespace ``monitoring`` and the release ``kps`` (Service ``kps-prometheus``, port 9090). Workloads bring their own monitors;
Prometheus selects monitors and rules in every namespace, whatever their labels. It does not scrape what the provider hides. The CRDs stay
after a destroy, as Helm leaves them, since deleting them would delete every monitor in the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi

from components.base import naming, versions
from components.base.handles import Cloud, ClusterHandle, MetricsHandle
from components.base.outputs import behind
from components.base.quantities import prometheus_duration, quantity_value
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.helm.settings import ChartSettings
    from components.monitoring.settings import PrometheusSettings

PORT: Final = 9090
_SERVICE: Final = f"{naming.PROMETHEUS_RELEASE}-prometheus"
_MEBIBYTE: Final = 2**20
_CONTROL_PLANE: Final = ("kubeControllerManager", "kubeScheduler", "kubeEtcd", "kubeProxy")
UNREACHABLE: Final[Mapping[Cloud, tuple[str, ...]]] = {
    "eks": _CONTROL_PLANE,
    "gke": (*_CONTROL_PLANE, "coreDns"),
    "existing": _CONTROL_PLANE,
}
"""Targets of the chart that Prometheus can't reach, by provider: docs/components/prometheus.md has the table and its sources."""


def retention_size(storage: str | None) -> str:
    """Return how much disk blocks may fill, in Prometheus' MB of 2**20 bytes: 80 % of ``storage``, a Kubernetes quantity.

    retentionSize does not limit the write-ahead log and compaction, which need the rest. None: no volume; the data is on the node's disk,
    and a full disk would evict Triton.
    """
    return "4096MB" if storage is None else f"{int(quantity_value(storage) * 80 / 100 / _MEBIBYTE)}MB"


def prometheus_values(
    settings: PrometheusSettings, scrape_jobs: Sequence[Mapping[str, Any]] = (), *, cloud: Cloud = "existing"
) -> dict[str, Any]:
    """Return the chart's values. ``scrape_jobs`` are raw scrape configurations of Prometheus, in which the chart expands ``{{``."""
    interval = prometheus_duration(settings.scrape_interval)
    service: dict[str, Any] = {"type": "ClusterIP", "port": PORT}
    if settings.node_port is not None:
        service = {"type": "NodePort", "port": PORT, "nodePort": settings.node_port}
    # Each ...NilUsesHelmValues that is true would select only objects with the label of this release, which our PodMonitors don't have.
    kinds = ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
    spec: dict[str, Any] = {
        **{f"{kind}SelectorNilUsesHelmValues": False for kind in kinds},
        "serviceDiscoveryRole": "EndpointSlice",  # Endpoints is deprecated since Kubernetes 1.33
        "scrapeInterval": interval,
        # Rules that run less often than the scrape would delay every metric that scales.
        "evaluationInterval": interval,
        "retention": settings.retention,
        "retentionSize": retention_size(settings.storage),
    }
    if settings.storage is not None:
        claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
        if settings.storage_class is not None:
            claim["storageClassName"] = settings.storage_class
        spec["storageSpec"] = {"volumeClaimTemplate": {"spec": claim}}
    if scrape_jobs:
        spec["additionalScrapeConfigs"] = [dict(job) for job in scrape_jobs]
    return {
        "fullnameOverride": naming.PROMETHEUS_RELEASE,
        "crds": {
            "enabled": True,
            # In place of the chart's default, latest. Any release of busybox with bzcat works.
            "upgradeJob": {"enabled": settings.upgrade_crds, "image": {"busybox": {"tag": "1.37"}}},
        },
        "prometheus": {"service": service, "prometheusSpec": spec},
        "grafana": {"enabled": settings.grafana},
        "alertmanager": {"enabled": settings.alertmanager},
        **{part: {"enabled": False} for part in UNREACHABLE[cloud]},
        **{part: {"enabled": on} for part, on in settings.targets.model_dump(by_alias=True, exclude_none=True).items()},
    }


@dataclass(frozen=True, kw_only=True)
class PrometheusStackArgs:
    """Arguments of `PrometheusStack`."""

    cluster: ClusterHandle
    settings: PrometheusSettings
    charts: ChartSettings
    scrape_jobs: Sequence[Mapping[str, Any]] = ()
    """Raw scrape configurations, such as ``components.gpu.dcgm_exporter.scrape_jobs`` returns."""


class PrometheusStack(pulumi.ComponentResource):
    """Prometheus and its operator."""

    handle: MetricsHandle
    """``url`` resolves once the release is up: the CRDs exist and the operator runs, so monitors can be created."""

    def __init__(self, name: str, args: PrometheusStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "PrometheusStack"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        volumes = [args.cluster.volumes] if args.settings.storage is not None and args.cluster.volumes is not None else []
        namespace = release.namespace(
            naming.MONITORING_NAMESPACE,
            component="prometheus",
            # The operator creates the claim and never deletes it: it and its volume are deleted with the namespace.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=behind(*volumes))),
        )
        stack = release.release(
            naming.PROMETHEUS_RELEASE,
            pin=versions.KUBE_PROMETHEUS_STACK,
            charts=args.charts,
            namespace=naming.MONITORING_NAMESPACE,
            values=prometheus_values(args.settings, args.scrape_jobs, cloud=args.cluster.cloud),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace])),
        )
        self.handle = MetricsHandle(
            namespace=naming.MONITORING_NAMESPACE,
            url=release.up(f"http://{_SERVICE}.{naming.MONITORING_NAMESPACE}.svc", stack),
            port=PORT,
        )
        self.register_outputs({"url": self.handle.address})
