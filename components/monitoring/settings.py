"""Settings of Prometheus, prometheus-adapter, the alert rules and the dashboard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.base.model import Model, ObjectName, matching
from components.base.quantities import Duration, Size


class TargetSettings(Model):
    """Targets of the chart to switch on or off. None: on where Prometheus reaches them, as docs/components/prometheus.md lists."""

    core_dns: bool | None = None
    """CoreDNS, at port 9153."""
    kube_dns: bool | None = None
    """kube-dns, at ports 10054 and 10055."""
    kube_controller_manager: bool | None = None
    """kube-controller-manager; it must listen on an address that pods reach."""
    kube_scheduler: bool | None = None
    """kube-scheduler, likewise."""
    kube_etcd: bool | None = None
    """etcd, likewise."""
    kube_proxy: bool | None = None
    """kube-proxy, likewise."""
    node_exporter: bool | None = None
    """node-exporter, which takes port 9100 of each node: false where the cluster has one."""


class PrometheusSettings(Model):
    """kube-prometheus-stack."""

    scrape_interval: Duration = Field(default=15.0, gt=0)
    """How often Prometheus scrapes targets that don't set their own interval."""
    retention: Annotated[
        str,
        matching(
            r"(?=.)(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?",
            "is not a Prometheus duration: the operator would start nothing. Write numbers with units, largest first, such as 15d or 1w3d.",
        ),
    ] = "7d"
    """How long Prometheus keeps samples, in its own notation (``7d``, ``1w3d``). With an invalid value, the operator would not start it."""
    storage: Size | None = "50Gi"
    """Size of the volume for its data. None: in the pod, lost with it."""
    storage_class: ObjectName | None = None
    """Storage class of that volume. None: the cluster's default."""
    node_port: int | None = Field(default=None, ge=30000, le=32767)
    """Node port of the Prometheus Service (reference 000 uses 30090). None: a ClusterIP Service."""
    grafana: bool = True
    """Whether Grafana is installed."""
    alertmanager: bool = True
    """Whether Alertmanager is installed."""
    targets: TargetSettings = TargetSettings()
    """Targets of the chart to switch on or off."""
    upgrade_crds: bool = True
    """Whether a job of the chart upgrades the CRDs before each install and upgrade, which Helm itself never does. It pulls busybox from
    docker.io and kubectl from registry.k8s.io; if nodes can't reach both, set it to false and apply the CRDs yourself."""


class AdapterSettings(Model):
    """prometheus-adapter: Prometheus series as custom.metrics.k8s.io."""

    enabled: bool = True
    """Whether it is installed. Set it to false only if the Stackdriver adapter serves every metric that the deployments scale by."""
    relist_interval: Duration = Field(default=15.0, gt=0)
    """How often the adapter looks for new series: how long a first sample may be invisible to an autoscaler."""


class AlertSettings(Model):
    """Alert rules for Triton, as a PrometheusRule. Those on replicas need kube-state-metrics, part of kube-prometheus-stack."""

    enabled: bool = False
    """Whether the rules are created."""
    queue_time: Duration = Field(default=0.5, gt=0)
    """Mean time in the queue of a pod above which it counts as overloaded: what users would notice, not the autoscaler's target."""
    failure_ratio: float = Field(default=0.01, gt=0, lt=1)
    """Largest share of a model's requests that may fail."""
    at_max_for: Duration = Field(default=900.0, ge=60)
    """How long an autoscaler may want ``maxReplicas`` before the alert."""


class DashboardSettings(Model):
    """Grafana dashboard of all Triton deployments."""

    enabled: bool = False
    """Whether it is created. Grafana's sidecar finds it by its label."""
