"""Settings of one Triton deployment: image, models, resources, probes, drain, scaling."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import DnsLabel, Model
from components.base.quantities import Duration, Quantity
from components.base.versions import RCLONE_IMAGE, TRITON_CLIENT_IMAGE

OWNED_FLAGS: Final = frozenset(
    {
        "--model-repository",
        "--model-store",
        "--model-control-mode",
        "--repository-poll-secs",
        "--load-model",
        "--exit-timeout-secs",
        "--strict-readiness",
        "--http-port",
        "--grpc-port",
        "--metrics-port",
        "--grpc-max-connection-age",
        "--allow-http",
        "--allow-grpc",
        "--allow-metrics",
        "--allow-gpu-metrics",
        "--log-verbose",
    }
)
"""tritonserver flags that the chart writes itself, because a probe, a port, the drain or a scaling metric is computed from them."""
_WINDOW_SCRAPES: Final = 4
"""Scrapes that a rate's window must hold: two make a rate, one may fail, and windows and scrapes are not aligned."""


class ResourceSettings(Model):
    """What one Triton pod asks of its node."""

    cpu: Quantity = "2"
    """CPU request."""
    memory: Quantity = "8Gi"
    """Memory request and limit; ``shm`` is part of it."""
    gpus: int = Field(default=1, ge=0)
    """Whole GPUs, or slices where ``gpu_resource`` names one. 0 runs Triton on CPU."""
    gpu_resource: str = "nvidia.com/gpu"
    """Name of the GPU resource, such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.5gb``."""
    shm: Quantity = "1Gi"
    """Size of /dev/shm, a memory volume: counted in ``memory``. The Python backend takes 64 MiB of it or more a model instance."""


class ServiceSettings(Model):
    """The Service in front of Triton."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Kind of Service."""
    http_node_port: int | None = Field(default=None, ge=30000, le=32767)
    """Node port of HTTP; None leaves the choice to Kubernetes."""
    grpc_node_port: int | None = Field(default=None, ge=30000, le=32767)
    """Node port of gRPC; None leaves the choice to Kubernetes."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the Service, as load balancer controllers read them."""

    @model_validator(mode="after")
    def _node_ports(self) -> Self:
        problems = []
        for field, port in (("http_node_port", self.http_node_port), ("grpc_node_port", self.grpc_node_port)):
            if port is not None and self.type == "ClusterIP":
                text = f"({port}) would be ignored: a ClusterIP Service has no node port. Set type to NodePort, or leave it out."
                problems.append(Problem(at=(field,), text=text, also=(("type",),)))
        if self.http_node_port is not None and self.http_node_port == self.grpc_node_port:
            text = f"({self.grpc_node_port}) is httpNodePort too: Kubernetes would refuse the Service. Give it another port."
            problems.append(Problem(at=("grpc_node_port",), text=text, also=(("http_node_port",),)))
        if problems:
            raise FleetError(*problems)
        return self


class DrainSettings(Model):
    """How a pod leaves without losing a request; the grace period is computed: pre_stop + exit_timeout + a margin."""

    pre_stop: Duration = Field(default=15.0, ge=0)
    """Seconds between the pod's removal from the endpoints and SIGTERM."""
    exit_timeout: Duration = Field(default=45.0, gt=0)
    """Triton's --exit-timeout-secs: time for requests in flight after SIGTERM."""
    recycle_grpc: bool = True
    """Ask gRPC clients to reconnect often enough (0.6 of pre_stop) that none is connected to a pod when it ends: Triton answers calls on
    connections that are left with NOT_FOUND. False only for sequence models whose client sends a sequence as single calls."""


class QueueTimeMetric(Model):
    """Mean time that a request waited in Triton's queue, per pod (``avg_time_queue_us``)."""

    kind: Literal["queueTime"]
    """Mean time in the queue."""
    target: Duration = Field(gt=0)
    """Mean time in the queue that is held, per pod."""


class PendingRequestsMetric(Model):
    """Requests waiting in Triton's queues, per pod (``nv_inference_pending_request_count``)."""

    kind: Literal["pendingRequests"]
    """Requests in the queue."""
    target: float = Field(ge=0.001)
    """Requests in the queue that are held, per pod."""


class GpuUtilizationMetric(Model):
    """GPU utilisation in percent through Service dcgm-exporter (``DCGM_FI_DEV_GPU_UTIL``, Object metric, as in reference 000)."""

    kind: Literal["gpuUtilization"]
    """GPU utilisation."""
    target: float = Field(ge=1, le=100)
    """Utilisation that is held, in percent."""


class GpuDutyCycleMetric(Model):
    """GPU duty cycle in percent from Cloud Monitoring, an External metric as in references 001 and 002.

    Its name is ``kubernetes.io|container|accelerator|duty_cycle``. Sampled once a minute and up to two minutes late: slower than the rest.
    """

    kind: Literal["gpuDutyCycle"]
    """Duty cycle of a pod's GPUs. Only on GKE, with stackdriver.enabled."""
    target: float = Field(ge=1, le=100)
    """Duty cycle of each GPU that is held, in percent; the Marketplace application has 85."""


Metric = Annotated[
    QueueTimeMetric | PendingRequestsMetric | GpuUtilizationMetric | GpuDutyCycleMetric,
    Field(discriminator="kind"),
]


class ScalingSettings(Model):
    """HorizontalPodAutoscaler (autoscaling/v2). With several metrics the largest proposal wins."""

    min_replicas: int = Field(default=1, ge=1)
    """Fewest pods."""
    max_replicas: int = Field(default=4, ge=1)
    """Most pods."""
    initial_replicas: int | None = Field(default=None, ge=1)
    """Pods that a new deployment starts with, before the autoscaler has a metric to go by (the Marketplace's initReplicaCount). Read when
    the deployment is made and never again. None: ``min_replicas``."""
    metrics: tuple[Metric, ...] = Field(
        default=(
            QueueTimeMetric(kind="queueTime", target=0.05),
            PendingRequestsMetric(kind="pendingRequests", target=16),
        ),
        min_length=1,
    )
    """What is held; with several the largest proposal wins. Each kind once."""
    window: Duration = Field(default=60.0, gt=0, le=600)
    """Rate window of the metrics; at least four scrapes, or the rates flap. All deployments of a stack share one rule a metric, hence
    one window: the longest that any of them asks for."""
    scale_down_stabilization: Duration = Field(default=300.0, ge=0, le=3600)
    """How long fewer pods must have been enough before one is taken away."""
    scale_down_pods_per_minute: int = Field(default=1, ge=1)
    """Pods taken away a minute at most."""

    @model_validator(mode="after")
    def _bounds_and_metrics(self) -> Self:
        problems = []
        if self.min_replicas > self.max_replicas:
            text = (
                f"({self.min_replicas}) is above maxReplicas ({self.max_replicas}): the autoscaler would be refused. "
                "Lower it or raise maxReplicas."
            )
            problems.append(Problem(at=("min_replicas",), text=text, also=(("max_replicas",),)))
        if self.initial_replicas is not None and not self.min_replicas <= self.initial_replicas <= self.max_replicas:
            text = (
                f"({self.initial_replicas}) is not between minReplicas ({self.min_replicas}) and maxReplicas ({self.max_replicas}): the "
                "autoscaler would change it at once. Change it, or leave it out."
            )
            problems.append(Problem(at=("initial_replicas",), text=text, also=(("min_replicas",), ("max_replicas",))))
        kinds = [metric.kind for metric in self.metrics]
        for position, kind in enumerate(kinds):
            if kind in kinds[:position]:
                text = f"is {kind} again: only the lowest target of a kind would ever act. Keep one."
                problems.append(Problem(at=("metrics", position), text=text))
        if problems:
            raise FleetError(*problems)
        return self


class PrefetchVolumeSettings(Model):
    """Where the copy lies."""

    size: Quantity | None = None
    """Its size. None: the models of the release, a tenth and 64 MiB. Smaller than the models is refused."""
    storage_class: str | None = None
    """Storage class of a volume of each pod's own (a generic ephemeral volume). None: a folder on the node's own disk (emptyDir), which is
    local SSD on machine types whose ephemeral storage is."""


class PrefetchSettings(Model):
    """Copy the release to local disk before Triton starts, in parallel and verified; Triton's own pull goes file by file.

    ``true`` and ``false`` alone are the same as ``{enabled: true}`` and ``{enabled: false}``.
    """

    enabled: bool = False
    """Whether it is done."""
    image: str = Field(default=RCLONE_IMAGE, min_length=1)
    """Container image with rclone and a POSIX shell; name your mirror's here where nodes can't reach Docker Hub."""
    parallelism: int = Field(default=16, ge=1, le=64)
    """Files in flight at once; files above 256 MiB have four streams each."""
    volume: PrefetchVolumeSettings = PrefetchVolumeSettings()
    """Where the copy lies."""
    budget: Duration = Field(default=900.0, gt=0)
    """Longest time that the copy may take; the rollout's deadline is so much later."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"enabled": value} if isinstance(value, bool) else value


class ClientSettings(Model):
    """A pod inside the cluster to ask Triton from: perf_analyzer and the Python clients."""

    enabled: bool = False
    """Whether it is made, in the first deployment's namespace."""
    image: str = Field(default=TRITON_CLIENT_IMAGE, min_length=1)
    """Container image with perf_analyzer; of Triton's own version, or a little older."""
    cpu: Quantity = "2"
    """CPU request: a client that is short of it measures itself."""
    memory: Quantity = "4Gi"
    """Memory request and limit."""


class ServingSettings(Model):
    """One Triton deployment."""

    name: DnsLabel = "triton"
    """Name of the deployment, its Service and its autoscaler; another name is another deployment."""
    namespace: DnsLabel = "triton"
    """Kubernetes namespace; made by the stack, and several deployments may share it."""
    image: str
    """Container image with tritonserver, such as ``nvcr.io/nvidia/tritonserver:26.07-py3``."""
    models: tuple[str, ...] | None = None
    """Models of the repository that this deployment loads; None means all of them."""
    backends: tuple[str, ...] | None = None
    """Backends that ``image`` brings, such as ``[python, onnxruntime]``: models that want another one are refused by the preview. None:
    what is known of NVIDIA's images by their names; of an image of one's own nothing is known, and every backend goes through."""
    resources: ResourceSettings = ResourceSettings()
    """What one pod asks of its node."""
    service: ServiceSettings = ServiceSettings()
    """The Service in front of Triton."""
    drain: DrainSettings = DrainSettings()
    """How a pod leaves without losing a request."""
    startup_budget: Duration = Field(default=900.0, gt=0)
    """Longest time until all models are loaded; the startup probe gives up after it."""
    scrape_interval: Duration = Field(default=5.0, gt=0)
    """How often Prometheus scrapes Triton; bounds how fast the autoscaler can see load."""
    log_verbose: int = Field(default=0, ge=0)
    """tritonserver's --log-verbose; 0 is quiet."""
    extra_args: tuple[str, ...] = ()
    """Further tritonserver flags, passed as they are. Flags that the chart computes itself (OWNED_FLAGS) are refused."""
    env: dict[str, str] = Field(default_factory=dict)
    """Further environment variables of the container. Not for secrets: they are readable in the Deployment."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node asks the registry for the image; ``Always`` only where a tag's image changes, which no rollout then shows."""
    gpu_metrics: bool | None = None
    """Whether Triton itself measures its GPUs (``--allow-gpu-metrics``). None: with whole GPUs it does, with MIG slices it can't."""
    image_pull_secrets: tuple[DnsLabel, ...] = ()
    """Secrets of type dockerconfigjson, in the same namespace, for a private registry."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have to run the pods."""
    run_as_user: int = Field(default=1000, ge=0)
    """User and group id of the server; 1000 is ``triton-server`` in NVIDIA's images. 0 (root) only where an image needs it."""
    scaling: ScalingSettings = ScalingSettings()
    """The autoscaler and its metrics."""
    prefetch: PrefetchSettings = PrefetchSettings()
    """Copying the models to local disk before Triton starts."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = []
        if self.models is not None and not self.models:
            text = "is an empty list: Triton would serve nothing. Name models, or leave the key out to serve all of them."
            problems.append(Problem(at=("models",), text=text))
        for position, argument in enumerate(self.extra_args):
            flag = argument.split("=", 1)[0]
            if flag in OWNED_FLAGS:
                text = f"({flag}) is a flag that the chart computes: given twice, either could win. Use the setting made for it."
                problems.append(Problem(at=("extra_args", position), text=text))
        if self.gpu_metrics and self.resources.gpus == 0:
            text = "is true but resources.gpus is 0: there is no GPU to measure. Leave it out."
            problems.append(Problem(at=("gpu_metrics",), text=text, also=(("resources", "gpus"),)))
        window, scrape = self.scaling.window, self.scrape_interval
        if window < _WINDOW_SCRAPES * scrape:
            text = (
                f"({window:g} s) is shorter than {_WINDOW_SCRAPES} scrapes of scrapeInterval ({scrape:g} s): a rate over fewer samples "
                f"flaps, and the replicas with it. Raise it to {_WINDOW_SCRAPES * scrape:g}s or lower scrapeInterval."
            )
            problems.append(Problem(at=("scaling", "window"), text=text, also=(("scrape_interval",),)))
        for position, metric in enumerate(self.scaling.metrics):
            if metric.kind in {"gpuUtilization", "gpuDutyCycle"} and self.resources.gpus == 0:
                text = (
                    f"is {metric.kind} but resources.gpus is 0: the metric would never exist and the autoscaler would hold still. "
                    "Give the pod a GPU, or scale by queueTime or pendingRequests."
                )
                problems.append(Problem(at=("scaling", "metrics", position), text=text, also=(("resources", "gpus"),)))
        if problems:
            raise FleetError(*problems)
        return self
