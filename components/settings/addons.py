"""Settings of the add-ons between the cluster and Triton, and of where third-party charts come from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from components.settings.base import Duration, Model, Problem, Problems, Quantity


class ChartSettings(Model):
    """Where third-party charts come from. One key moves all of them, as an air-gapped cluster needs."""

    source: Literal["upstream", "oci", "folder"] = "upstream"
    """``upstream``: the publishers' own repositories. ``oci``: a registry that mirrors them. ``folder``: files on this machine."""
    location: str | None = None
    """``oci``: registry path such as ``oci://registry.example.com/charts``. ``folder``: path with one folder or .tgz a chart."""

    @model_validator(mode="after")
    def _location_as_the_source_needs_it(self) -> Self:
        text = None
        if self.source == "upstream" and self.location is not None:
            text = f"({self.location}) would be ignored: source is upstream, the publishers' own repositories. Set source to oci or folder."
        elif self.source != "upstream" and not self.location:
            text = f"is missing: charts.source is {self.source}, so there is nowhere to take charts from. Add the location."
        elif self.source == "oci" and self.location is not None and not self.location.startswith("oci://"):
            text = (
                f"({self.location}) is no OCI registry path: Helm would look for a folder. Write it as oci://registry.example.com/charts."
            )
        if text is not None:
            raise Problems(Problem(at=("location",), text=text, also=(("source",),)))
        return self


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


class DcgmSettings(Model):
    """dcgm-exporter: GPU metrics."""

    enabled: bool = True
    """Whether GPU metrics are exported. Scaling by gpuUtilization needs them."""
    interval: Duration = Field(default=1.0, ge=0.1)
    """How often DCGM samples and Prometheus scrapes; 100 ms is the exporter's least. Its own default of 30 s makes a 1 s scrape re-read
    old samples."""
    scrape: Literal["serviceMonitor", "job"] = "serviceMonitor"
    """``serviceMonitor``: by the chart's ServiceMonitor. ``job``: by a raw scrape job ``gpu-metrics``, as in reference 000. Never both,
    which would count each GPU twice; both give the series the namespace and pod that own the GPU, and ``service="dcgm-exporter"``."""


class AdapterSettings(Model):
    """prometheus-adapter: Prometheus series as custom.metrics.k8s.io."""

    relist_interval: Duration = Field(default=15.0, gt=0)
    """How often the adapter looks for new series: what a first sample waits until an autoscaler can see it."""
