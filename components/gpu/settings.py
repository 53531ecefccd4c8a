"""Settings of GPU metrics, the device plugin and overprovisioning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.base.model import DnsLabel, Duration, Model


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


class GpuPluginSettings(Model):
    """NVIDIA's device plugin, which tells Kubernetes of GPUs."""

    enabled: bool = True
    """Whether it is installed where a pool of this stack needs it (AL2023). Pools whose node image has one (Bottlerocket) and clusters
    that were there before are left alone, for exactly one plugin may run on a node."""
    feature_discovery: bool = False
    """Whether GPU feature discovery labels nodes with GPU model, memory and driver. Brings node-feature-discovery along. Nothing here
    needs it, except pools shared by MPS, which get it in any case."""


class WarmFloorSettings(Model):
    """Placeholder pods that keep room on GPU nodes of one pool, so that a new Triton pod need not wait for a node."""

    pool: DnsLabel
    """Name of the pool."""
    pods: int = Field(ge=1)
    """How many Triton pods' room is kept: each placeholder holds one GPU (or slice)."""
    pre_pull: bool = True
    """Whether placeholders pull Triton's image first, so that the room is warm and not only empty: 354 of 425 s of a cold start went into
    the image in one published run."""
