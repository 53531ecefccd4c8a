"""Settings of Prometheus, prometheus-adapter, the alert rules and the dashboard."""

from __future__ import annotations

from pydantic import Field

from components.base.model import Model
from components.base.quantities import Duration, Quantity


class PrometheusSettings(Model):
    """kube-prometheus-stack."""

    scrape_interval: Duration = Field(default=15.0, gt=0)
    """How often Prometheus scrapes what does not ask for another interval."""
    retention: str = Field(default="7d", pattern=r"^(\d+y)?(\d+w)?(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$", min_length=2)
    """How long samples are kept, as Prometheus writes it (``7d``, ``1w3d``). The operator would take a wrong one and start nothing."""
    storage: Quantity | None = "50Gi"
    """Size of the volume that Prometheus keeps its data on; None keeps it in the pod, lost with it."""
    storage_class: str | None = None
    """Storage class of that volume; None means the cluster's default."""
    node_port: int | None = Field(default=None, ge=30000, le=32767)
    """NodePort of the Prometheus Service (reference 000 uses 30090); None leaves it a ClusterIP."""
    grafana: bool = True
    """Whether Grafana is installed with it."""
    alertmanager: bool = True
    """Whether Alertmanager is installed with it."""
    upgrade_crds: bool = True
    """True: a job of the chart brings the CRDs up to the chart's version before each install and upgrade (Helm itself never upgrades
    CRDs). It pulls busybox from docker.io and kubectl from registry.k8s.io; without reach to both, set False and apply CRDs yourself."""


class AdapterSettings(Model):
    """prometheus-adapter: Prometheus series as custom.metrics.k8s.io."""

    enabled: bool = True
    """Whether it is installed. False only where the Stackdriver adapter serves all that the deployments scale by."""
    relist_interval: Duration = Field(default=15.0, gt=0)
    """How often the adapter looks for new series: what a first sample waits until an autoscaler can see it."""


class AlertSettings(Model):
    """Alert rules for Triton, as a PrometheusRule. Those of replicas need kube-state-metrics, which kube-prometheus-stack brings."""

    enabled: bool = False
    """Whether the rules are made."""
    queue_time: Duration = Field(default=0.5, gt=0)
    """Mean time in the queue of a pod above which it counts as overloaded: what users would notice, not what the autoscaler holds."""
    failure_ratio: float = Field(default=0.01, gt=0, lt=1)
    """Share of a model's requests that may fail."""
    at_max_for: Duration = Field(default=900.0, ge=60)
    """How long an autoscaler may want all the replicas it may have, before somebody should look."""


class DashboardSettings(Model):
    """Grafana dashboard of all Triton deployments."""

    enabled: bool = False
    """Whether it is made; Grafana's sidecar finds it by its label."""
