"""Settings of the add-ons between the cluster and Triton, and of where third-party charts come from."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Duration, Model, Quantity


class ChartSettings(Model):
    """Where third-party charts come from. One key moves all of them, as an air-gapped cluster needs."""

    source: Literal["upstream", "oci", "folder"] = "upstream"
    location: str | None = None
    """``oci``: registry path such as ``oci://registry.example.com/charts``. ``folder``: path with one folder or .tgz a chart."""


class PrometheusSettings(Model):
    """kube-prometheus-stack."""

    scrape_interval: Duration = Field(default=15.0, gt=0)
    retention: str = "7d"
    storage: Quantity | None = "50Gi"
    """Size of the volume that Prometheus keeps its data on; None keeps it in the pod, lost with it."""
    storage_class: str | None = None
    node_port: int | None = Field(default=None, ge=30000, le=32767)
    """NodePort of the Prometheus Service (reference 000 uses 30090); None leaves it a ClusterIP."""
    grafana: bool = True
    alertmanager: bool = True


class DcgmSettings(Model):
    """dcgm-exporter: GPU metrics."""

    enabled: bool = True
    interval: Duration = Field(default=1.0, gt=0)
    """How often DCGM samples and Prometheus scrapes. The exporter's own default of 30 s makes a 1 s scrape re-read old samples."""


class AdapterSettings(Model):
    """prometheus-adapter: Prometheus series as custom.metrics.k8s.io."""

    relist_interval: Duration = Field(default=15.0, gt=0)
