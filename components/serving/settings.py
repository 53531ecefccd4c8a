"""Settings of one Triton deployment.

`DeploymentSettings` contains the settings that a stack file and the chart share; the chart's values extend it (`values.py`). Declare a new
setting there and use it in a template of the chart; nothing else is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field, model_validator

from components.base.clusters import AnyNetwork
from components.base.credentials import looks_secret
from components.base.errors import Problem
from components.base.load_balancers import UNRESTRICTED
from components.base.model import DnsLabel, ImageReference, Model, ObjectName
from components.base.naming import OTHER_NAMESPACES, RESERVED_NAMESPACES
from components.base.quantities import Duration, Quantity, Size, quantity_value
from components.base.versions import RCLONE_IMAGE, TRITON_CLIENT_IMAGE
from components.serving.exposure import AdminSettings, NetworkPolicySettings
from components.serving.flags import flag_problems
from components.serving.image import image_problems
from components.serving.metrics import Metric
from components.serving.metrics.triton import PendingRequestsMetric, QueueTimeMetric

if TYPE_CHECKING:
    from collections.abc import Iterator

_OWNED_VARIABLES: Final = frozenset({"TRITON_ADMIN_KEY", "AIP_MODE"})
"""Environment variables of the key; AIP_MODE=PREDICTION is Triton's --allow-vertex-ai."""
_MOST_CPUS: Final = 2000
"""More than any machine type of AWS or Google Cloud has."""
_WINDOW_SCRAPES: Final = 4
"""Scrapes that a rate's window must hold: two make a rate, one may fail, and windows and scrapes are not aligned."""


class ResourceSettings(Model):
    """What one Triton pod requests."""

    cpu: Quantity = "2"
    """CPU request. There is no limit, because throttling would add latency."""
    memory: Size = "8Gi"
    """Memory request and limit; ``shm`` is part of it."""
    gpus: int = Field(default=1, ge=0)
    """Whole GPUs, or slices where ``gpuResource`` names one. 0 runs Triton on CPU."""
    gpu_resource: str = Field(default="nvidia.com/gpu", min_length=1)
    """Name of the GPU resource, such as ``nvidia.com/gpu`` or ``nvidia.com/mig-1g.5gb``."""
    shm: Size = "1Gi"
    """Size of /dev/shm, a memory volume that counts towards ``memory``. The Python backend takes 64 MiB or more per model instance."""
    tmp: Size | None = None
    """Limit of /tmp, where Triton copies models from object storage; Kubernetes evicts a pod above it. None: no limit."""

    def _problems(self) -> Iterator[Problem]:
        shm, memory = quantity_value(self.shm), quantity_value(self.memory)
        if shm >= memory:
            text = (
                f"({self.shm}) leaves nothing of memory ({self.memory}), which /dev/shm counts towards: Triton would be killed before it "
                "is full. Raise memory to what Triton needs besides, or lower shm."
            )
            yield Problem(at=("shm",), text=text, also=(("memory",),), fatal=shm > memory)
        if quantity_value(self.cpu) > _MOST_CPUS:
            text = f"({self.cpu}) is more CPUs than a node has: no pod could be scheduled. Write {self.cpu}m if thousandths are meant."
            yield Problem(at=("cpu",), text=text)


class ServiceSettings(Model):
    """The Service in front of Triton: port 8000 HTTP, 8001 gRPC, 8002 metrics."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    """Type of the Service."""
    http_node_port: int | None = Field(default=None, ge=30000, le=32767)
    """Node port of HTTP. None: Kubernetes chooses."""
    grpc_node_port: int | None = Field(default=None, ge=30000, le=32767)
    """Node port of gRPC. None: Kubernetes chooses."""
    expose_metrics: bool | None = None
    """Whether the Service has port 8002; Prometheus scrapes pods, not the Service. None: unless ``type`` is LoadBalancer."""
    source_ranges: tuple[AnyNetwork, ...] = ()
    """CIDRs that may reach the load balancer. Empty: everyone who can reach its addresses."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the Service, as load balancer controllers read them."""

    def _problems(self) -> Iterator[Problem]:
        for field, port in (("http_node_port", self.http_node_port), ("grpc_node_port", self.grpc_node_port)):
            if port is not None and self.type == "ClusterIP":
                text = f"({port}) would be ignored: a ClusterIP Service has no node port. Set type to NodePort, or remove the key."
                yield Problem(at=(field,), text=text, also=(("type",),))
        if self.http_node_port is not None and self.http_node_port == self.grpc_node_port:
            text = f"({self.grpc_node_port}) is httpNodePort too: Kubernetes would reject the Service. Choose another port."
            yield Problem(at=("grpc_node_port",), text=text, also=(("http_node_port",),))
        if self.source_ranges and self.type != "LoadBalancer":
            text = f"would be ignored: a {self.type} Service has no load balancer. Remove it or set type to LoadBalancer."
            yield Problem(at=("source_ranges",), text=text, also=(("type",),))


class DeployedServiceSettings(ServiceSettings):
    """The Service, and the scheme of its load balancer."""

    scheme: Literal["internal", "internet-facing"] = "internal"
    """Where the load balancer can be reached from. ``internet-facing`` needs ``sourceRanges``, because Triton does not authenticate
    clients."""

    def _problems(self) -> Iterator[Problem]:
        yield from super()._problems()
        if self.scheme == "internet-facing" and self.type == "LoadBalancer" and not self.source_ranges:
            yield Problem(at=("source_ranges",), text=UNRESTRICTED, also=(("scheme",), ("type",)))


class DrainSettings(Model):
    """How a pod stops without losing a request. Its grace period is the sum of ``preStop``, ``exitTimeout`` and ``margin``."""

    pre_stop: Duration = Field(default=15.0, ge=0)
    """Time between the pod's removal from the endpoints and SIGTERM. 0: no preStop hook."""
    exit_timeout: Duration = Field(default=45.0, gt=0)
    """Triton's --exit-timeout-secs: time for requests in flight after SIGTERM. Idle keep-alive connections use it up too."""
    margin: Duration = Field(default=15.0, gt=0)
    """Time for Triton to unload models and exit after that."""
    recycle_grpc: bool = True
    """Make gRPC clients reconnect often enough (every 0.6 of ``preStop``) that none is connected to a pod when it stops: Triton answers
    calls on the remaining connections with NOT_FOUND. Set it to false only for sequence models whose clients send a sequence as single
    calls."""

    @property
    def total(self) -> float:
        """Seconds until a pod is gone: its grace period."""
        return self.pre_stop + self.exit_timeout + self.margin


class RolloutSettings(Model):
    """How a new version replaces the old one. By default there are never fewer ready pods than wanted."""

    max_surge: int = Field(default=1, ge=0)
    """Extra pods. Each needs its GPU: without a free one, a rollout waits for a node."""
    max_unavailable: int = Field(default=0, ge=0)
    """Pods that may be missing. With 1, and ``maxSurge`` 0, a pod ends before its successor starts: for pools without a spare GPU. A
    single replica is then away until the new one has loaded its models."""

    def _problems(self) -> Iterator[Problem]:
        if self.max_surge + self.max_unavailable == 0:
            text = "and maxUnavailable are both 0: Kubernetes would reject the Deployment. Raise one of them."
            yield Problem(at=("max_surge",), text=text, also=(("max_unavailable",),))


class ReplicaSettings(Model):
    """How many pods there may be, and how fast their number falls."""

    min_replicas: int = Field(default=1, ge=1)
    """Fewest pods."""
    max_replicas: int = Field(default=4, ge=1)
    """Most pods."""
    initial_replicas: int | None = Field(default=None, ge=1)
    """Pods that a new deployment starts with, before the autoscaler has a metric (the Marketplace's initReplicaCount). Applies only when
    the deployment is created. None: ``minReplicas``."""
    scale_down_stabilization: Duration = Field(default=300.0, ge=0, le=3600)
    """How long fewer pods must have been enough before one is removed."""
    scale_down_pods_per_minute: int = Field(default=1, ge=1)
    """Most pods removed per minute, so that each can drain."""


class ScalingSettings(ReplicaSettings):
    """HorizontalPodAutoscaler (autoscaling/v2). With several metrics the largest proposal wins."""

    metrics: tuple[Metric, ...] = Field(
        default=(QueueTimeMetric(kind="queueTime", target=0.05), PendingRequestsMetric(kind="pendingRequests", target=16)), min_length=1
    )
    """Metrics and their targets; with several the largest proposal wins. Each kind once."""
    window: Duration = Field(default=60.0, gt=0, le=600)
    """Window of the metrics that are rates; at least four scrapes, or the rates are unsteady. All deployments of a stack share one rule per
    metric, hence one window: the longest that any of them sets."""

    def _problems(self) -> Iterator[Problem]:
        least, most, first = self.min_replicas, self.max_replicas, self.initial_replicas
        if least > most:
            text = f"({least}) is above maxReplicas ({most}): Kubernetes would reject the autoscaler. Lower it or raise maxReplicas."
            yield Problem(at=("min_replicas",), text=text, also=(("max_replicas",),))
        if first is not None and not least <= first <= most:
            text = (
                f"({first}) is not between minReplicas ({least}) and maxReplicas ({most}): the autoscaler would change it at once. "
                "Change it, or remove the key."
            )
            yield Problem(at=("initial_replicas",), text=text, also=(("min_replicas",), ("max_replicas",)))
        names = [metric.published for metric in self.metrics]
        for position, name in enumerate(names):
            if name in names[:position]:
                text = f"is {self.metrics[position].kind} again: only the lowest target of a kind has an effect. Keep one."
                yield Problem(at=("metrics", position), text=text)


class PrefetchVolumeSettings(Model):
    """The volume that holds the copy."""

    size: Quantity | None = None
    """Size of the volume. None: the models of the release, a tenth more, and 64 MiB. Must hold the models."""
    storage_class: ObjectName | None = None
    """Storage class of a generic ephemeral volume, one per pod. None: an emptyDir on the node's own disk, which is local SSD on machine
    types with local ephemeral storage."""


class PrefetchSettings(Model):
    """Copy the release to local disk before Triton starts, in parallel and verified; Triton itself copies one file after the other.

    ``true`` and ``false`` stand for ``{enabled: true}`` and ``{enabled: false}``.
    """

    enabled: bool = False
    """Whether models are copied first."""
    image: ImageReference = RCLONE_IMAGE
    """Container image with rclone and a POSIX shell; set a mirror where nodes can't reach Docker Hub."""
    parallelism: int = Field(default=16, ge=1, le=64)
    """Files in flight at once; files above 256 MiB use four streams each."""
    volume: PrefetchVolumeSettings = PrefetchVolumeSettings()
    """The volume that holds the copy."""
    budget: Duration = Field(default=900.0, gt=0)
    """Longest time that the copy may take; it extends the deadline of a rollout."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"enabled": value} if isinstance(value, bool) else value


class ClientSettings(Model):
    """A pod inside the cluster with perf_analyzer and the Python clients."""

    enabled: bool = False
    """Whether it is created, in the namespace of the first deployment."""
    image: str = Field(default=TRITON_CLIENT_IMAGE, min_length=1)
    """Container image with perf_analyzer; of Triton's own version, or a little older."""
    cpu: Quantity = "2"
    """CPU request. With too little, perf_analyzer measures itself."""
    memory: Size = "4Gi"
    """Memory request and limit."""

    def _problems(self) -> Iterator[Problem]:
        yield from (replace(problem, at=("image",)) for problem in image_problems(self.image, client=True))


class SecretKey(Model):
    """A key of a Secret in the same namespace."""

    name: str = Field(min_length=1)
    """Name of the Secret."""
    key: str = Field(min_length=1)
    """Key whose value is taken."""


class DeploymentSettings(Model):
    """Settings that a stack file and the chart's values share."""

    image: str = Field(min_length=1)
    """Container image with tritonserver, such as ``nvcr.io/nvidia/tritonserver:26.07-py3``. Its entrypoint must run the arguments that it
    is given."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node pulls the image. ``Always`` is for tags that move, which no rollout then shows."""
    image_pull_secrets: tuple[DnsLabel, ...] = ()
    """Secrets of type kubernetes.io/dockerconfigjson in the same namespace, for a private registry."""
    resources: ResourceSettings = ResourceSettings()
    """What one pod requests."""
    service: ServiceSettings = ServiceSettings()
    """The Service in front of Triton."""
    drain: DrainSettings = DrainSettings()
    """How a pod stops without losing a request."""
    admin: AdminSettings = AdminSettings()
    """The key to Triton's admin endpoints."""
    rollout: RolloutSettings = RolloutSettings()
    """How a new version replaces the old one."""
    network_policy: NetworkPolicySettings = NetworkPolicySettings()
    """Who may call Triton, and where it may connect to."""
    startup_budget: Duration = Field(default=900.0, gt=0)
    """Longest time until all models are loaded; the startup probe gives up after it."""
    log_verbose: int = Field(default=0, ge=0)
    """tritonserver's --log-verbose; 0 is quiet."""
    extra_args: tuple[str, ...] = ()
    """More flags of tritonserver, passed unchanged. A stack file can't repeat the flags that the chart sets itself."""
    env: dict[str, str] = Field(default_factory=dict)
    """More environment variables of the container. Not for credentials: whoever can read the Deployment can read them."""
    secret_env: dict[str, SecretKey] = Field(default_factory=dict)
    """Environment variables from Secrets, such as ``{HF_TOKEN: {name: hugging-face, key: token}}``. A pod does not start without them."""
    env_from_secrets: tuple[DnsLabel, ...] = ()
    """Secrets in the same namespace all of whose keys become environment variables. A pod does not start without them."""
    gpu_metrics: bool | None = None
    """Whether Triton measures its GPUs (``--allow-gpu-metrics``). None: with whole GPUs; MIG slices have no such metrics."""
    mps: Literal["none", "plugin", "hostIpc"] | None = None
    """How pods reach a GPU that MPS shares. ``plugin``: NVIDIA's device plugin mounts the MPS daemon's /dev/shm, so the pod has none of its
    own. ``hostIpc``: the pod shares the node's IPC namespace, as GKE requires. None: as the stack's pools need; else ``none``."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Labels that a node must have to run the pods."""
    run_as_user: int = Field(default=1000, ge=0)
    """User and group id of the server; 1000 is ``triton-server`` in NVIDIA's images. 0 (root) only where an image needs it."""
    prefetch: PrefetchSettings = PrefetchSettings()
    """Copying the models to local disk before Triton starts."""


class ServingSettings(DeploymentSettings):
    """One Triton deployment."""

    service: DeployedServiceSettings = DeployedServiceSettings()
    """The Service in front of Triton."""
    name: DnsLabel = Field(default="triton", max_length=53)
    """Name of the deployment, its Service and its autoscaler; another name is another deployment. At most 53 characters: Helm's limit."""
    namespace: DnsLabel = "triton"
    """Kubernetes namespace. The stack creates it, and several deployments may share it."""
    models: tuple[str, ...] | None = None
    """Models of the repository that the deployment loads, with those that ensembles among them need. Name models that Python models call
    (BLS) too. None: all of them."""
    backends: tuple[str, ...] | None = None
    """Backends in ``image``, such as ``[python, onnxruntime]``; the preview rejects models that need another one. None: those of NVIDIA's
    images, known by name. In any other image, every backend is accepted."""
    scrape_interval: Duration = Field(default=5.0, gt=0)
    """How often Prometheus scrapes Triton; the autoscaler can't see load sooner."""
    scaling: ScalingSettings = ScalingSettings()
    """The autoscaler and its metrics."""

    def _problems(self) -> Iterator[Problem]:
        yield from (replace(problem, at=("image",)) for problem in image_problems(self.image))
        yield from self._variables()
        if self.namespace in OTHER_NAMESPACES or self.namespace.startswith(RESERVED_NAMESPACES):
            text = f"({self.namespace}) is Kubernetes', a cloud's or another component's: the stack could not create it. Choose another."
            yield Problem(at=("namespace",), text=text)
        if self.models is not None and not self.models:
            text = "is an empty list: Triton would serve nothing. Name models, or leave the key out to serve all of them."
            yield Problem(at=("models",), text=text)
        counted = any(metric.counted for metric in self.scaling.metrics)
        for problem in flag_problems(self.extra_args, self.env, counted=counted):
            yield replace(problem, at=("extra_args", *problem.at))
        gpus = self.resources.gpus
        if self.gpu_metrics and gpus == 0:
            text = "is true but resources.gpus is 0: there is no GPU to measure. Remove the key."
            yield Problem(at=("gpu_metrics",), text=text, also=(("resources", "gpus"),))
        window, scrape = self.scaling.window, self.scrape_interval
        if window < _WINDOW_SCRAPES * scrape:
            text = (
                f"({window:g} s) is shorter than {_WINDOW_SCRAPES} scrapes of scrapeInterval ({scrape:g} s): a rate over fewer samples "
                f"is unsteady, and so is the number of replicas. Raise it to {_WINDOW_SCRAPES * scrape:g}s or lower scrapeInterval."
            )
            yield Problem(at=("scaling", "window"), text=text, also=(("scrape_interval",),))
        for position, metric in enumerate(self.scaling.metrics):
            found = metric.pod_problems(gpus=gpus, gpu_resource=self.resources.gpu_resource)
            yield from (replace(problem, at=("scaling", "metrics", position, *problem.at)) for problem in found)

    def _variables(self) -> Iterator[Problem]:
        readers = "looks like a credential: whoever can read the Deployment can read it"
        for key, names in (("env", self.env), ("secret_env", self.secret_env)):
            for name in sorted(_OWNED_VARIABLES & names.keys()):
                text = f"sets {name}: it would open Triton's admin endpoints or change their key. Remove it, or see admin."
                yield Problem(at=(key,), text=text)
        for name in (name for name, value in self.env.items() if looks_secret(name, value)):
            text = (
                f"sets {name}, which looks like a credential: {readers}. Put it in a Secret, and name that in secretEnv or envFromSecrets."
            )
            yield Problem(at=("env",), text=text, fatal=False)
        for name in sorted(self.env.keys() & self.secret_env.keys()):
            text = f"sets {name}, as env does: only one of the values would count. Remove one."
            yield Problem(at=("secret_env",), text=text, also=(("env",),))
        for position, (option, _, value) in enumerate(argument.partition("=") for argument in self.extra_args):
            if looks_secret("", value):
                text = f"({option}=…) {readers}. Put it in a Secret, name that in secretEnv, and write $(NAME) in its place."
                yield Problem(at=("extra_args", position), text=text, fatal=False)
