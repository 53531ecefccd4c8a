"""Settings of GPU metrics, the device plugin and overprovisioning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.base.model import DnsLabel, Model
from components.base.quantities import Duration


class DcgmSettings(Model):
    """dcgm-exporter: GPU metrics."""

    enabled: bool = True
    """Whether GPU metrics are exported. Scaling by gpuUtilization needs them."""
    interval: Duration = Field(default=1.0, ge=0.1)
    """How often DCGM samples and Prometheus scrapes; at least 100 ms, the exporter's minimum. With the exporter's default of 30 s, a scrape
    every second would read the same sample 30 times."""
    scrape: Literal["serviceMonitor", "job"] = "serviceMonitor"
    """``serviceMonitor``: the chart's ServiceMonitor. ``job``: a raw scrape job ``gpu-metrics``, as in reference 000. Both label the series
    with the namespace and pod that own the GPU and with ``service="dcgm-exporter"``. Only one is used, or each GPU would count twice."""


class GpuPluginSettings(Model):
    """NVIDIA's device plugin, which advertises GPUs to Kubernetes."""

    enabled: bool = True
    """Whether it is installed for the pools of this stack that need it (AL2023). Pools whose node image has one (Bottlerocket) and existing
    clusters are left alone, because exactly one plugin may run on a node."""
    feature_discovery: bool = False
    """Whether GPU feature discovery labels nodes with GPU model, memory and driver. Also installs node-feature-discovery. Only pools shared
    by MPS need it, and get it in any case."""


class WarmFloorSettings(Model):
    """Placeholder pods that keep room on the GPU nodes of one pool, so that a new Triton pod does not wait for a node."""

    pool: DnsLabel
    """Name of the pool."""
    pods: int = Field(ge=1)
    """Number of placeholders; each holds one GPU, share or slice."""
    pre_pull: bool = True
    """Whether placeholders pull Triton's image first. In one published run, pulling the image took 354 of the 425 s of a cold start."""
