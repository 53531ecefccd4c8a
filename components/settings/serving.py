"""Settings of one Triton deployment: image, models, resources, probes, drain, scaling."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import DnsLabel, Duration, Model, Quantity


class ResourceSettings(Model):
    """What one Triton pod asks of its node."""

    cpu: Quantity = "2"
    memory: Quantity = "8Gi"
    gpus: int = Field(default=1, ge=0)
    """Whole GPUs, or slices where ``gpu_resource`` names one. 0 runs Triton on CPU."""
    gpu_resource: str = "nvidia.com/gpu"
    shm: Quantity = "1Gi"
    """Size of /dev/shm, a memory volume: counted in ``memory``. The Python backend takes 64 MiB of it or more a model instance."""


class ServiceSettings(Model):
    """The Service in front of Triton."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    http_node_port: int | None = Field(default=None, ge=30000, le=32767)
    grpc_node_port: int | None = Field(default=None, ge=30000, le=32767)
    annotations: dict[str, str] = Field(default_factory=dict)


class DrainSettings(Model):
    """How a pod leaves without losing a request; the grace period is computed: pre_stop + exit_timeout + a margin."""

    pre_stop: Duration = Field(default=15.0, ge=0)
    """Seconds between the pod's removal from the endpoints and SIGTERM."""
    exit_timeout: Duration = Field(default=45.0, gt=0)
    """Triton's --exit-timeout-secs: time for requests in flight after SIGTERM."""


class QueueTimeMetric(Model):
    """Mean time that a request waited in Triton's queue, per pod (``avg_time_queue_us``)."""

    kind: Literal["queueTime"]
    target: Duration = Field(gt=0)


class PendingRequestsMetric(Model):
    """Requests waiting in Triton's queues, per pod (``nv_inference_pending_request_count``)."""

    kind: Literal["pendingRequests"]
    target: float = Field(gt=0)


class GpuUtilizationMetric(Model):
    """GPU utilisation in percent through Service dcgm-exporter (``DCGM_FI_DEV_GPU_UTIL``, Object metric, as in reference 000)."""

    kind: Literal["gpuUtilization"]
    target: float = Field(gt=0, le=100)


Metric = Annotated[QueueTimeMetric | PendingRequestsMetric | GpuUtilizationMetric, Field(discriminator="kind")]


class ScalingSettings(Model):
    """HorizontalPodAutoscaler (autoscaling/v2). With several metrics the largest proposal wins."""

    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=4, ge=1)
    metrics: tuple[Metric, ...] = (
        QueueTimeMetric(kind="queueTime", target=0.05),
        PendingRequestsMetric(kind="pendingRequests", target=16),
    )
    window: Duration = Field(default=60.0, gt=0)
    """Rate window of the metrics; at least four scrapes, or the rates flap."""
    scale_down_stabilization: Duration = Field(default=300.0, ge=0, le=3600)
    scale_down_pods_per_minute: int = Field(default=1, ge=1)


class ServingSettings(Model):
    """One Triton deployment."""

    name: DnsLabel = "triton"
    namespace: DnsLabel = "triton"
    image: str
    models: tuple[str, ...] | None = None
    """Models of the repository that this deployment loads; None means all of them."""
    resources: ResourceSettings = ResourceSettings()
    service: ServiceSettings = ServiceSettings()
    drain: DrainSettings = DrainSettings()
    startup_budget: Duration = Field(default=900.0, gt=0)
    """Longest time until all models are loaded; the startup probe gives up after it."""
    scrape_interval: Duration = Field(default=5.0, gt=0)
    log_verbose: int = Field(default=0, ge=0)
    extra_args: tuple[str, ...] = ()
    """Further tritonserver flags, passed as they are."""
    scaling: ScalingSettings = ScalingSettings()
