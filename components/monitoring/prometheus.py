"""kube-prometheus-stack: Prometheus by its operator, and with it the ServiceMonitor, PodMonitor and PrometheusRule kinds.

Makes the namespace ``monitoring`` and the release ``kps`` (Service ``kps-prometheus``, port 9090). Makes no monitor of its own: who owns a
workload owns its PodMonitor, and Prometheus takes monitors and rules from every namespace, whatever their labels. Scrapes no control
plane: managed clusters hide it, and targets that are always down drown the ones that matter. The CRDs stay after a destroy, as Helm leaves
them: deleting them would delete every monitor in the cluster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi

from components.base import naming, versions
from components.base.handles import ClusterHandle, MetricsHandle
from components.base.quantities import prometheus_duration, quantity_value
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.helm.settings import ChartSettings
    from components.monitoring.settings import PrometheusSettings

PORT: Final = 9090
_SERVICE: Final = f"{naming.PROMETHEUS_RELEASE}-prometheus"
_RETENTION_SHARE: Final = 0.8
"""Part of a volume that blocks may fill; the rest is for the write-ahead log and compaction, which retentionSize does not bound."""
_POD_RETENTION_SIZE: Final = "4096MB"
"""Bound without a volume: the data lies on the node's disk, and a full one evicts Triton."""
_BUSYBOX_TAG: Final = "1.37"
"""The chart's own default is ``latest``. Update: any release of busybox with bzcat will do."""
_MEBIBYTE: Final = 2**20


class _Toggle(release.ChartValues):
    enabled: bool


class _ImageTag(release.ChartValues):
    tag: str


class _UpgradeImages(release.ChartValues):
    busybox: _ImageTag


class _UpgradeJob(release.ChartValues):
    enabled: bool
    image: _UpgradeImages


class _Crds(release.ChartValues):
    enabled: bool
    upgrade_job: _UpgradeJob


class _Service(release.ChartValues):
    type: Literal["ClusterIP", "NodePort"]
    port: int
    node_port: int | None


class _PrometheusSpec(release.ChartValues):
    """``prometheus.prometheusSpec``.

    Each ``...NilUsesHelmValues`` that is true would select only objects labelled with this release, and our PodMonitors are none of them.
    """

    service_monitor_selector_nil_uses_helm_values: bool = False
    pod_monitor_selector_nil_uses_helm_values: bool = False
    rule_selector_nil_uses_helm_values: bool = False
    probe_selector_nil_uses_helm_values: bool = False
    scrape_config_selector_nil_uses_helm_values: bool = False
    service_discovery_role: Literal["Endpoints", "EndpointSlice"] = "EndpointSlice"
    """Endpoints is deprecated from Kubernetes 1.33 on."""
    scrape_interval: str
    evaluation_interval: str
    retention: str
    retention_size: str
    storage_spec: dict[str, Any] | None
    additional_scrape_configs: list[dict[str, Any]] | None


class _Prometheus(release.ChartValues):
    service: _Service
    prometheus_spec: _PrometheusSpec


class PrometheusValues(release.ChartValues):
    """What is passed to kube-prometheus-stack, key for key."""

    fullname_override: str = naming.PROMETHEUS_RELEASE
    crds: _Crds
    prometheus: _Prometheus
    grafana: _Toggle
    alertmanager: _Toggle
    kube_controller_manager: _Toggle = _Toggle(enabled=False)
    kube_scheduler: _Toggle = _Toggle(enabled=False)
    kube_etcd: _Toggle = _Toggle(enabled=False)
    kube_proxy: _Toggle = _Toggle(enabled=False)


def retention_size(storage: str | None) -> str:
    """Say how much of ``storage`` (a Kubernetes quantity; None: no volume) blocks may fill, as Prometheus writes it: its MB is 2**20 B.

    Raises ValueError where ``storage`` is no quantity.
    """
    if storage is None:
        return _POD_RETENTION_SIZE
    return f"{int(float(quantity_value(storage)) * _RETENTION_SHARE / _MEBIBYTE)}MB"


def _storage_spec(settings: PrometheusSettings) -> dict[str, Any] | None:
    if settings.storage is None:
        return None
    claim: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": settings.storage}}}
    if settings.storage_class is not None:
        claim["storageClassName"] = settings.storage_class
    return {"volumeClaimTemplate": {"spec": claim}}


def prometheus_values(settings: PrometheusSettings, scrape_jobs: Sequence[Mapping[str, Any]] = ()) -> PrometheusValues:
    """Decide the chart's values. ``scrape_jobs`` are raw Prometheus scrape configurations; the chart reads ``{{`` in them as a template."""
    interval = prometheus_duration(settings.scrape_interval)
    return PrometheusValues(
        crds=_Crds(
            enabled=True,
            upgrade_job=_UpgradeJob(enabled=settings.upgrade_crds, image=_UpgradeImages(busybox=_ImageTag(tag=_BUSYBOX_TAG))),
        ),
        prometheus=_Prometheus(
            service=_Service(
                type="ClusterIP" if settings.node_port is None else "NodePort",
                port=PORT,
                node_port=settings.node_port,
            ),
            prometheus_spec=_PrometheusSpec(
                scrape_interval=interval,
                # Rules that lag the scrape would add their own delay to every metric that scales.
                evaluation_interval=interval,
                retention=settings.retention,
                retention_size=retention_size(settings.storage),
                storage_spec=_storage_spec(settings),
                additional_scrape_configs=[dict(job) for job in scrape_jobs] or None,
            ),
        ),
        grafana=_Toggle(enabled=settings.grafana),
        alertmanager=_Toggle(enabled=settings.alertmanager),
    )


def _behind_volumes(args: PrometheusStackArgs) -> pulumi.ResourceOptions | None:
    if args.settings.storage is None or args.cluster.volumes is None:
        return None
    return pulumi.ResourceOptions(depends_on=release.after(args.cluster.volumes))


@dataclass(frozen=True, kw_only=True)
class PrometheusStackArgs:
    """What PrometheusStack needs."""

    cluster: ClusterHandle
    settings: PrometheusSettings
    charts: ChartSettings
    scrape_jobs: Sequence[Mapping[str, Any]] = ()
    """Raw scrape configurations of others, such as ``components.gpu.dcgm_exporter.scrape_jobs``."""


class PrometheusStack(pulumi.ComponentResource):
    """Prometheus and its operator."""

    handle: MetricsHandle
    """``url`` resolves once the release is up: the CRDs are there and the operator runs, so that monitors can be made."""
    url: pulumi.Output[str]
    """In-cluster address with port."""

    def __init__(self, name: str, args: PrometheusStackArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "PrometheusStack"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        namespace = release.namespace(
            naming.MONITORING_NAMESPACE,
            component="prometheus",
            # The claim is the operator's, which leaves it behind: it goes with the namespace, and its volume is only deleted then.
            opts=pulumi.ResourceOptions.merge(child, _behind_volumes(args)),
        )
        stack = release.release(
            naming.PROMETHEUS_RELEASE,
            pin=versions.KUBE_PROMETHEUS_STACK,
            charts=args.charts,
            namespace=naming.MONITORING_NAMESPACE,
            values=prometheus_values(args.settings, args.scrape_jobs).to_helm(),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace])),
        )
        self.handle = MetricsHandle(
            namespace=naming.MONITORING_NAMESPACE,
            url=release.up(f"http://{_SERVICE}.{naming.MONITORING_NAMESPACE}.svc", stack),
            port=PORT,
        )
        self.url = self.handle.url.apply(lambda url: f"{url}:{PORT}")
        self.register_outputs({"url": self.url})
