"""dcgm-exporter: GPU metrics, one exporter on each node that is labelled ``nvidia.com/gpu.present=true``, on GKE ``gke-accelerator``.

Makes the namespace ``dcgm`` and the release ``dcgm-exporter``; on GKE, which the cluster's handle tells, also the quota without which the
exporter's priority is refused there. Makes no GPU driver and no label: those are the cluster's.

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
import pulumi_kubernetes as k8s
from pydantic import Field

from components.base import naming, versions
from components.helm import release

if TYPE_CHECKING:
    from components.base.handles import ClusterHandle, MetricsHandle
    from components.gpu.settings import DcgmSettings
    from components.helm.settings import ChartSettings

PORT_NAME: Final = "metrics"
GPU_NODE_LABEL: Final = "nvidia.com/gpu.present"
GKE_ACCELERATOR_LABEL: Final = "cloud.google.com/gke-accelerator"
"""GKE's label of every node with a GPU."""
_DRIVER_VOLUME: Final = "nvidia-install-dir-host"
_EVERY_NODE: Final = "1G"
"""Pods that the quota lets in: as many as there may be nodes. GKE's own quota in kube-system has the same number."""
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
    key: str | None = None
    operator: Literal["Exists", "Equal"]
    effect: str | None = None


class _SecurityContext(release.ChartValues):
    privileged: bool
    allow_privilege_escalation: bool
    """Written out: the chart's own false beside ``privileged`` is refused by the API server."""


class _HostVolume(release.ChartValues):
    name: str
    host_path: str


class _Mount(release.ChartValues):
    name: str
    mount_path: str
    sub_path: str | None = None
    read_only: bool | None = None


class _Variable(release.ChartValues):
    name: str
    value: str


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
    node_selector: dict[str, str] | None = Field(default_factory=lambda: {GPU_NODE_LABEL: "true"})
    affinity: dict[str, Any] | None = None
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
    security_context: _SecurityContext | None = None
    extra_host_volumes: list[_HostVolume] | None = None
    extra_volume_mounts: list[_Mount] | None = None
    extra_env: list[_Variable] | None = None


def _timeout(interval: float) -> float:
    """A scrape may last as long as the interval and no longer: the operator refuses a monitor whose timeout exceeds its interval."""
    return min(interval, _LONGEST_SCRAPE_SECONDS)


def _google() -> dict[str, Any]:
    """Decide what differs on GKE's nodes, whose driver lies in a folder of its own and not where a container's runtime would mount it from.

    By GKE's own label and not by ours, so that pools from elsewhere are measured too, and whatever else a GPU node is tainted with.
    """
    accelerator = {"matchExpressions": [{"key": GKE_ACCELERATOR_LABEL, "operator": "Exists"}]}
    return {
        "node_selector": None,
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [accelerator]}}},
        "tolerations": [_Toleration(operator="Exists")],
        "security_context": _SecurityContext(privileged=True, allow_privilege_escalation=True),
        "extra_host_volumes": [_HostVolume(name=_DRIVER_VOLUME, host_path="/home/kubernetes/bin/nvidia")],
        # The list replaces the chart's own, of which the counters' file is.
        "extra_volume_mounts": [
            _Mount(name=_DRIVER_VOLUME, mount_path="/usr/local/nvidia", read_only=True),
            _Mount(name="exporter-metrics-volume", mount_path=_COUNTERS, sub_path="default-counters.csv"),
        ],
        "extra_env": [
            _Variable(name="LD_LIBRARY_PATH", value="/usr/local/nvidia/lib64"),
            # GKE's device plugin names GPUs nvidia0, nvidia1, ...: by UUID no series would find its pod.
            _Variable(name="DCGM_EXPORTER_KUBERNETES_GPU_ID_TYPE", value="device-name"),
        ],
    }


def dcgm_values(settings: DcgmSettings, *, google: bool = False) -> DcgmValues:
    """Decide the chart's values: DCGM samples as often as Prometheus scrapes. ``google`` on GKE."""
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
    return DcgmValues(arguments=["-f", _COUNTERS, interval], service_monitor=monitor, **(_google() if google else {}))


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


def _critical_pods(opts: pulumi.ResourceOptions) -> k8s.core.v1.ResourceQuota:
    """Let the chart's priority ``system-node-critical`` into the namespace: GKE refuses it outside of kube-system without a quota for it.

    Not another priority: an exporter that is evicted first leaves the autoscaler blind when the node is full.
    """
    critical = ["system-node-critical", "system-cluster-critical"]
    return k8s.core.v1.ResourceQuota(
        "dcgm-critical-pods",
        metadata=k8s.meta.v1.ObjectMetaArgs(
            name="critical-pods", namespace=naming.DCGM_NAMESPACE, labels=naming.labels("dcgm-exporter", "dcgm-exporter")
        ),
        spec=k8s.core.v1.ResourceQuotaSpecArgs(
            hard={"pods": _EVERY_NODE},
            scope_selector=k8s.core.v1.ScopeSelectorArgs(
                match_expressions=[
                    k8s.core.v1.ScopedResourceSelectorRequirementArgs(scope_name="PriorityClass", operator="In", values=critical)
                ]
            ),
        ),
        opts=opts,
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
        google = args.cluster.gcp is not None
        needed: list[pulumi.Resource] = [namespace]
        if google:
            needed.append(_critical_pods(pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace]))))
        exporter = release.release(
            naming.DCGM_RELEASE,
            pin=versions.DCGM_EXPORTER,
            charts=args.charts,
            namespace=naming.DCGM_NAMESPACE,
            values=dcgm_values(args.settings, google=google).to_helm(),
            # Nothing of the metrics handle goes into the values, and yet the ServiceMonitor's kind must be there first.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=release.after(args.metrics.url, *needed))),
        )
        self.service = release.up(naming.DCGM_RELEASE, exporter)
        self.register_outputs({"service": self.service})
