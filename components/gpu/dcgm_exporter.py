"""dcgm-exporter: GPU metrics, from one exporter on each node labelled ``nvidia.com/gpu.present=true``, or ``gke-accelerator`` on GKE.

Creates the namespace ``dcgm``, the release ``dcgm-exporter`` and, on GKE, the quota that the exporter's priority class needs there.

Each series names, in the labels ``namespace`` and ``pod``, the pod that owns the GPU. A plain ServiceMonitor overwrites both with the
exporter's own and moves the owner's to ``exported_namespace`` and ``exported_pod``: a query in Triton's namespace then finds nothing. Both
ways of scraping keep the owner's labels and add ``service="dcgm-exporter"``, which makes ``DCGM_FI_DEV_GPU_UTIL`` an Object metric of that
Service in the owner's namespace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.base.outputs import behind
from components.base.quantities import prometheus_duration
from components.gpu import catalogue
from components.helm import release

if TYPE_CHECKING:
    from components.base.handles import ClusterHandle, MetricsHandle
    from components.gpu.settings import DcgmSettings
    from components.helm.settings import ChartSettings

_COUNTERS: Final = "/etc/dcgm-exporter/default-counters.csv"
_DRIVER_VOLUME: Final = "nvidia-install-dir-host"
_LONGEST_SCRAPE_SECONDS: Final = 10.0
"""Prometheus' own default timeout; a longer interval needs no longer scrape."""


def _scrape(interval: float) -> tuple[str, str]:
    """Return interval and timeout of a scrape. The operator refuses a monitor whose timeout exceeds its interval."""
    return prometheus_duration(interval), prometheus_duration(min(interval, _LONGEST_SCRAPE_SECONDS))


def _google() -> dict[str, Any]:
    """Return the values that differ on GKE, where the driver is in a host directory that no container runtime mounts.

    Nodes are selected by GKE's own label and every taint is tolerated, so that pools of other stacks are measured too.
    """
    accelerator = {"matchExpressions": [{"key": "cloud.google.com/gke-accelerator", "operator": "Exists"}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [accelerator]}}},
        "tolerations": [{"operator": "Exists"}],
        # The chart's default allowPrivilegeEscalation: false is rejected by the API server for privileged containers.
        "securityContext": {"privileged": True, "allowPrivilegeEscalation": True},
        "extraHostVolumes": [{"name": _DRIVER_VOLUME, "hostPath": "/home/kubernetes/bin/nvidia"}],
        # Replaces the chart's list, which mounts the file of counters.
        "extraVolumeMounts": [
            {"name": _DRIVER_VOLUME, "mountPath": "/usr/local/nvidia", "readOnly": True},
            {"name": "exporter-metrics-volume", "mountPath": _COUNTERS, "subPath": "default-counters.csv"},
        ],
        "extraEnv": [
            {"name": "LD_LIBRARY_PATH", "value": "/usr/local/nvidia/lib64"},
            # GKE's device plugin names GPUs nvidia0, nvidia1, ...: with the default (UUIDs) no series would find its pod.
            {"name": "DCGM_EXPORTER_KUBERNETES_GPU_ID_TYPE", "value": "device-name"},
        ],
    }


def dcgm_values(settings: DcgmSettings, *, google: bool = False) -> dict[str, Any]:
    """Return the chart's values: DCGM samples as often as Prometheus scrapes. ``google`` is whether the cluster is GKE's."""
    monitor: dict[str, Any] = {"enabled": False}
    interval, timeout = _scrape(settings.interval)
    if settings.scrape == "serviceMonitor":
        monitor = {
            "enabled": True,
            "interval": interval,
            "scrapeTimeout": timeout,
            "honorLabels": True,
            "relabelings": [{"action": "replace", "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "kubernetes_node"}],
        }
    nodes = {"nodeSelector": {catalogue.PRESENT_LABEL: "true"}, "tolerations": [dict(catalogue.TOLERATION)]}
    return {
        "fullnameOverride": naming.DCGM_RELEASE,
        # --collect-interval in one word: the chart writes arguments unquoted, and the API server refuses a bare number.
        "arguments": ["-f", _COUNTERS, f"--collect-interval={math.ceil(settings.interval * 1000)}"],
        "serviceMonitor": monitor,
        # DCGM starts slowly on a machine with many GPUs; reference 000 describes the restart loop that a shorter delay causes.
        "livenessProbe": {"initialDelaySeconds": 90, "periodSeconds": 10},
        # Short: a readiness probe that fails early costs nothing, and a long delay slows every install.
        "readinessProbe": {"initialDelaySeconds": 5},
        # With eight GPUs and profiling metrics the exporter reaches the chart's own limit of 512Mi.
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "500m", "memory": "1Gi"}},
        **(_google() if google else nodes),
    }


def scrape_jobs(settings: DcgmSettings) -> tuple[dict[str, Any], ...]:
    """Return the raw scrape job ``gpu-metrics`` of reference 000 when the settings ask for it.

    Unlike the reference's, it keeps only the metrics port of the exporter's Service and not every endpoint of the namespace, and uses the
    role endpointslice, because Endpoints are deprecated.
    """
    if not settings.enabled or settings.scrape != "job":
        return ()
    interval, timeout = _scrape(settings.interval)
    keep = ["__meta_kubernetes_service_name", "__meta_kubernetes_endpointslice_port_name"]
    return (
        {
            "job_name": "gpu-metrics",
            "scrape_interval": interval,
            "scrape_timeout": timeout,
            "metrics_path": "/metrics",
            "scheme": "http",
            "kubernetes_sd_configs": [{"role": "endpointslice", "namespaces": {"names": [naming.DCGM_NAMESPACE]}}],
            "relabel_configs": [
                {"action": "keep", "source_labels": keep, "regex": f"{naming.DCGM_RELEASE};metrics"},
                {"action": "replace", "source_labels": ["__meta_kubernetes_pod_node_name"], "target_label": "kubernetes_node"},
                {"action": "replace", "source_labels": ["__meta_kubernetes_service_name"], "target_label": "service"},
            ],
        },
    )


def _critical_pods(opts: pulumi.ResourceOptions) -> k8s.core.v1.ResourceQuota:
    """Allow the chart's priority class ``system-node-critical``, which GKE refuses outside kube-system without a quota for it.

    A lower priority was refused: the exporter would be evicted first, and scaling by GPU metrics would stop when the node is full.
    """
    critical = ["system-node-critical", "system-cluster-critical"]
    return k8s.core.v1.ResourceQuota(
        "dcgm-critical-pods",
        metadata={"name": "critical-pods", "namespace": naming.DCGM_NAMESPACE, "labels": naming.labels("dcgm-exporter", "dcgm-exporter")},
        # In effect no limit; the value of GKE's own quota in kube-system.
        spec={
            "hard": {"pods": "1G"},
            "scope_selector": {"match_expressions": [{"scope_name": "PriorityClass", "operator": "In", "values": critical}]},
        },
        opts=opts,
    )


@dataclass(frozen=True, kw_only=True)
class DcgmExporterArgs:
    """Arguments of `DcgmExporter`."""

    cluster: ClusterHandle
    metrics: MetricsHandle
    settings: DcgmSettings
    charts: ChartSettings


class DcgmExporter(pulumi.ComponentResource):
    """GPU metrics of every GPU node."""

    service: pulumi.Output[str]
    """Name of the Service to which GPU metrics belong as Object metrics; resolves once the release is ready."""

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
            values=dcgm_values(args.settings, google=google),
            # The kind ServiceMonitor comes with Prometheus' release.
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=behind(args.metrics.url, also=needed))),
        )
        self.service = release.up(naming.DCGM_RELEASE, exporter)
        self.register_outputs({"service": self.service})
