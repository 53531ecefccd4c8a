"""The values of charts/triton, typed, and what makes them out of the settings. The chart's values.schema.json is generated from here.

``python -m components.serving.values`` prints the schema. Nothing in this module knows Pulumi: late-bound facts (the repository's URL, the
Secret's name) come in as plain strings, so that every decision is tested without an engine.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from components.base.model import Model
from components.base.naming import labels
from components.base.quantities import Quantity, prometheus_duration, whole_seconds
from components.base.versions import RCLONE_IMAGE, TRITON_IMAGE
from components.serving.prefetch import models_to_copy, volume_size
from components.serving.scaling import MonitoredPods, hpa_behavior, hpa_metrics
from components.serving.settings import ServingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COMPONENT: Final = "triton"
"""Value of app.kubernetes.io/name on every object of the chart."""

_NODE_MARGIN: Final = 600
"""Seconds on top of the startup budget until a rollout counts as failed: a new GPU node takes 4 to 7 minutes (NVIDIA's Marketplace
README), the image another few."""
_MIG: Final = "nvidia.com/mig-"
"""What names of MIG slices begin with, as resources."""
_DEFAULTS: Final = ServingSettings(image=TRITON_IMAGE)
"""Defaults are written once, in the settings: a plain `helm install` gets what a stack file without keys gets."""


class ImageValues(Model):
    """The Triton image."""

    reference: str = Field(default=TRITON_IMAGE, min_length=1)
    """Image with tag or digest. Its entrypoint must run `tritonserver` with the arguments that it is given."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets of type kubernetes.io/dockerconfigjson in the release's namespace."""


class ModelRepositoryValues(Model):
    """Where models come from."""

    url: str = Field(default="", pattern=r"^\S*$")
    """What --model-repository takes: s3://bucket/prefix, s3://http://host:port/bucket/prefix, gs://bucket/prefix, or a path in the image.
    This or ``urls`` is required: the chart refuses to render without."""
    urls: tuple[Annotated[str, Field(pattern=r"^\S+$")], ...] = ()
    """Repositories that each hold models to load, all of them: one --model-repository each. Instead of ``url``."""
    mode: Literal["release", "poll", "explicit"] = "release"
    """``release``: what is there is loaded at the start and stays. ``poll``: Triton looks for changes every 15 s. ``explicit``: models
    are loaded and unloaded through Triton's API; ``models``, or all of them, at the start."""
    release: str = ""
    """Content hash of the repository. It is written into the pod template: changed models are a rolling update."""
    models: tuple[str, ...] = ()
    """Models of ``url`` to load; empty loads all of them."""
    region: str = ""
    """AWS region of the bucket; empty for other stores."""
    credentials_secret: str = ""
    """Name of a Secret whose keys become environment variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...); empty where the service
    account is the identity. The chart never makes that Secret: values of a release are readable to all who may read releases."""
    key_file_secret: str = ""
    """Name of a Secret whose keyfile.json is a Google service account's key: mounted, and named by GOOGLE_APPLICATION_CREDENTIALS. Empty
    where the service account is the identity."""


class PrefetchValues(Model):
    """An init container that copies the release to local disk and verifies it.

    Needs modelRepository.url (the folder of all releases) and modelRepository.release (the hash that the release's list must have).
    """

    enabled: bool = _DEFAULTS.prefetch.enabled
    image: str = Field(default=RCLONE_IMAGE, min_length=1)
    """Image with rclone and a POSIX shell."""
    models: tuple[str, ...] = ()
    """Models to copy, those that ensembles among them need included; empty copies the whole release."""
    parallelism: int = Field(default=_DEFAULTS.prefetch.parallelism, ge=1, le=64)
    """Files in flight at once."""
    size: Quantity | Literal[""] = ""
    """Size of the volume; required with a storage class. A pod whose emptyDir grows above it is evicted."""
    storage_class: str = ""
    """Storage class of a generic ephemeral volume; empty: emptyDir."""
    budget_seconds: int = Field(default=whole_seconds(_DEFAULTS.prefetch.budget), ge=1)
    """Longest time that the copy may take; the rollout's deadline is so much later."""


class ServerValues(Model):
    """How tritonserver runs."""

    log_verbose: int = Field(default=_DEFAULTS.log_verbose, ge=0)
    extra_args: tuple[str, ...] = ()
    """Further flags, passed as they are after the chart's own."""
    env: dict[str, str] = Field(default_factory=dict)
    """Further environment variables; no place for secrets."""
    gpu_metrics: bool = True
    """--allow-gpu-metrics, where there is a GPU at all; off with MIG slices, which have no such figures."""


class DrainValues(Model):
    """How a pod leaves. terminationGracePeriodSeconds is computed: the sum of the three."""

    pre_stop_seconds: int = Field(default=whole_seconds(_DEFAULTS.drain.pre_stop), ge=0)
    """Wait before SIGTERM, while load balancers learn that the pod is gone. 0 leaves the hook out."""
    exit_timeout_seconds: int = Field(default=whole_seconds(_DEFAULTS.drain.exit_timeout), ge=1)
    """--exit-timeout-secs: time for requests in flight after SIGTERM; idle keep-alive connections consume it too."""
    margin_seconds: int = Field(default=15, ge=1)
    """Time that the server itself needs to unload and end."""
    recycle_grpc: bool = _DEFAULTS.drain.recycle_grpc
    """Have gRPC clients reconnect every 0.6 of preStopSeconds, so that none is left on a pod when it ends. Not for sequence models whose
    clients send a sequence as single calls: the next call may reach another pod."""


class ProbeValues(Model):
    """One probe; Kubernetes' own meaning of each field."""

    period_seconds: int = Field(ge=1)
    timeout_seconds: int = Field(ge=1)
    failure_threshold: int = Field(ge=1)


class ProbesValues(Model):
    """Startup and readiness ask /v2/health/ready, liveness asks /v2/health/live."""

    startup_budget_seconds: int = Field(default=whole_seconds(_DEFAULTS.startup_budget), ge=1)
    """Longest time until all models are loaded. The startup probe's threshold is computed from it."""
    startup: ProbeValues | None = None
    """Set to override what is computed: a look every 2 s until the budget is spent."""
    readiness: ProbeValues = ProbeValues(period_seconds=5, timeout_seconds=3, failure_threshold=3)
    liveness: ProbeValues = ProbeValues(period_seconds=10, timeout_seconds=5, failure_threshold=6)


class ResourceValues(Model):
    """What a pod asks of its node."""

    cpu: Quantity = _DEFAULTS.resources.cpu
    """Requested CPU; no limit is set, since throttling shows as latency."""
    memory: Quantity = _DEFAULTS.resources.memory
    """Request and limit. /dev/shm counts in."""
    gpus: int = Field(default=_DEFAULTS.resources.gpus, ge=0)
    """0 runs Triton on CPU: no GPU limit, no toleration, no GPU metrics."""
    gpu_resource: str = Field(default=_DEFAULTS.resources.gpu_resource, min_length=1)
    """Resource name, such as nvidia.com/mig-1g.10gb for a MIG slice."""
    shm: Quantity = _DEFAULTS.resources.shm
    """Size of /dev/shm (a memory volume)."""
    tmp: Quantity | None = None
    """Limit of /tmp, where models from object storage are copied to; none by default. A pod above it is evicted."""


class ServiceValues(Model):
    """The Service in front of the pods: 8000 HTTP, 8001 gRPC, 8002 metrics."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    http_node_port: int | None = Field(default=None, ge=30000, le=32767)
    grpc_node_port: int | None = Field(default=None, ge=30000, le=32767)
    expose_metrics: bool = True
    """Whether the Service has port 8002. Prometheus scrapes pods, not the Service: leave it off behind a public load balancer."""
    annotations: dict[str, str] = Field(default_factory=dict)


class ServiceAccountValues(Model):
    """The identity of the pods."""

    create: bool = True
    name: str = ""
    """Empty: the release's name when created, `default` when not."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Such as eks.amazonaws.com/role-arn or iam.gke.io/gcp-service-account."""
    wait_for_token: bool = False
    """Wait for the token of a GKE service account before Triton starts: it asks once, and is nobody afterwards."""


class MetricSelector(Model):
    """Which series of a metric."""

    match_labels: dict[str, str]


class MetricIdentifier(Model):
    """A metric of the custom or external metrics API."""

    name: str = Field(min_length=1)
    selector: MetricSelector | None = None


class AverageTarget(Model):
    """Mean over the pods."""

    type: Literal["AverageValue"]
    average_value: str


class ValueTarget(Model):
    """The value as it is."""

    type: Literal["Value"]
    value: str


class UtilizationTarget(Model):
    """Percent of what the pods request."""

    type: Literal["Utilization"]
    average_utilization: int = Field(ge=1)


Target = Annotated[AverageTarget | ValueTarget, Field(discriminator="type")]


class PodsSource(Model):
    """A metric that each pod has."""

    metric: MetricIdentifier
    target: AverageTarget


class DescribedObject(Model):
    """The object that a metric is about."""

    api_version: str
    kind: str
    name: str


class ObjectSource(Model):
    """A metric about one object."""

    metric: MetricIdentifier
    described_object: DescribedObject
    target: Target


class ExternalSource(Model):
    """A metric about nothing in the cluster."""

    metric: MetricIdentifier
    target: Target


class ResourceSource(Model):
    """CPU or memory of the pods."""

    name: Literal["cpu", "memory"]
    target: Annotated[AverageTarget | UtilizationTarget, Field(discriminator="type")]


class PodsMetric(Model):
    """See autoscaling/v2."""

    type: Literal["Pods"]
    pods: PodsSource


class ObjectMetric(Model):
    """See autoscaling/v2."""

    type: Literal["Object"]
    object: ObjectSource


class ExternalMetric(Model):
    """See autoscaling/v2."""

    type: Literal["External"]
    external: ExternalSource


class ResourceMetric(Model):
    """See autoscaling/v2."""

    type: Literal["Resource"]
    resource: ResourceSource


HpaMetric = Annotated[PodsMetric | ObjectMetric | ExternalMetric | ResourceMetric, Field(discriminator="type")]


class ScalingPolicy(Model):
    """At most so much in a period."""

    type: Literal["Pods", "Percent"]
    value: int = Field(ge=1)
    period_seconds: int = Field(ge=1, le=1800)


class ScalingRules(Model):
    """One direction."""

    stabilization_window_seconds: int = Field(ge=0, le=3600)
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[ScalingPolicy, ...] = Field(min_length=1)


class BehaviorValues(Model):
    """spec.behavior of the autoscaler."""

    scale_up: ScalingRules
    scale_down: ScalingRules


class AutoscalingValues(Model):
    """HorizontalPodAutoscaler (autoscaling/v2). It owns the number of replicas: the Deployment names none while it is enabled."""

    enabled: bool = True
    min_replicas: int = Field(default=_DEFAULTS.scaling.min_replicas, ge=1)
    """Also the fixed number of replicas where autoscaling is not enabled."""
    initial_replicas: int | None = Field(default=None, ge=1)
    """Replicas that the Deployment is made with. Whoever sets it must see to it that later applies leave the number to the autoscaler; none
    by default, and the API server makes it 1."""
    max_replicas: int = Field(default=_DEFAULTS.scaling.max_replicas, ge=1)
    metrics: tuple[HpaMetric, ...] = Field(
        default=TypeAdapter(tuple[HpaMetric, ...]).validate_python(hpa_metrics(_DEFAULTS.scaling, container=_DEFAULTS.name)),
        min_length=1,
    )
    """The largest proposal wins. The names must be served by the cluster's metrics adapter."""
    behavior: BehaviorValues = BehaviorValues.model_validate(hpa_behavior(_DEFAULTS.scaling))


class PodMonitorValues(Model):
    """PodMonitor of the Prometheus operator."""

    enabled: bool = True
    interval: str = Field(default=prometheus_duration(_DEFAULTS.scrape_interval), pattern=r"^(\d+(ms|s|m))$")
    labels: dict[str, str] = Field(default_factory=dict)
    """Further labels, where the operator selects monitors by label."""


class DisruptionValues(Model):
    """PodDisruptionBudget."""

    enabled: bool = True
    max_unavailable: int = Field(default=1, ge=1)
    """Pods that a node drain may take at once. Not minAvailable: with one replica that would block every drain for ever."""


class RolloutValues(Model):
    """How a new version replaces the old one: never below the wanted number of ready pods."""

    max_surge: int = Field(default=1, ge=1)
    """Pods started ahead. Each needs its GPU: with none to spare a rollout waits for a node."""
    progress_deadline_seconds: int | None = Field(default=None, ge=1)
    """After how long without progress a rollout counts as failed; computed by default: startup budget + 600 s for a node and the image, and
    prefetch.budgetSeconds where models are copied first."""


class SecurityValues(Model):
    """Who the server runs as. The defaults meet Kubernetes' restricted Pod Security Standard."""

    run_as_user: int = Field(default=_DEFAULTS.run_as_user, ge=0)
    """User and group id; 1000 is triton-server in NVIDIA's images. 0 lifts the non-root rule."""
    read_only_root_filesystem: bool = True


class Toleration(Model):
    """See core/v1."""

    key: str | None = None
    operator: Literal["Exists", "Equal"] | None = None
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = None


class PodValues(Model):
    """The rest of the pod template."""

    annotations: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    """On top of the one for nvidia.com/gpu, which is there where GPUs are asked for."""
    affinity: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str = ""
    runtime_class_name: str = ""


class Values(Model):
    """All values of the chart."""

    global_: dict[str, Any] = Field(default_factory=dict, alias="global")
    """Helm's own, when the chart is part of another; not read."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels on every object, over the chart's own; selectors are not touched."""
    deployment_annotations: dict[str, str] = Field(default_factory=dict)
    image: ImageValues = ImageValues()
    model_repository: ModelRepositoryValues = ModelRepositoryValues()
    prefetch: PrefetchValues = PrefetchValues()
    server: ServerValues = ServerValues()
    drain: DrainValues = DrainValues()
    probes: ProbesValues = ProbesValues()
    resources: ResourceValues = ResourceValues()
    service: ServiceValues = ServiceValues()
    service_account: ServiceAccountValues = ServiceAccountValues()
    autoscaling: AutoscalingValues = AutoscalingValues()
    pod_monitor: PodMonitorValues = PodMonitorValues()
    disruption: DisruptionValues = DisruptionValues()
    rollout: RolloutValues = RolloutValues()
    security: SecurityValues = SecurityValues()
    pod: PodValues = PodValues()

    def dump(self) -> dict[str, Any]:
        """Return the values as Helm takes them: camelCase, plain JSON types, unset ones left out (a null would delete a default)."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"global_"})


def rollout_deadline(settings: ServingSettings) -> int:
    """Return the seconds after which a rollout of ``settings`` counts as failed."""
    copying = whole_seconds(settings.prefetch.budget) if settings.prefetch.enabled else 0
    return whole_seconds(settings.startup_budget) + _NODE_MARGIN + copying


def chart_values(
    settings: ServingSettings,
    *,
    url: str,
    release: str,
    region: str,
    credentials_secret: str | None,
    service_account_annotations: Mapping[str, str],
    urls: Sequence[str] = (),
    mode: Literal["release", "poll", "explicit"] = "release",
    sizes: Mapping[str, int] | None = None,
    needs: Mapping[str, tuple[str, ...]] | None = None,
    key_file_secret: str | None = None,
    monitored: tuple[str, str] | None = None,
) -> Values:
    """Return the chart's values of one deployment.

    ``url``, ``urls`` (of the models to load), ``release``, ``mode``, ``region``, ``sizes`` and ``needs`` are those of the repository's
    handle; ``urls`` go before ``url``, except where models are copied first. ``credentials_secret`` is the name of the Secret with static
    credentials, None where the service account is the identity; ``key_file_secret`` that of the Secret with a Google key file.
    ``monitored`` is the cluster's name and location in Cloud Monitoring, None anywhere but on GKE.

    Raises ValueError for gpuDutyCycle where nobody measures it.
    """
    if urls and not settings.prefetch.enabled:
        url = ""
    else:
        urls = ()
    pods = None
    if monitored is not None:
        pods = MonitoredPods(cluster=monitored[0], location=monitored[1], namespace=settings.namespace, gpus=settings.resources.gpus)
    gpu_metrics = settings.gpu_metrics if settings.gpu_metrics is not None else not settings.resources.gpu_resource.startswith(_MIG)
    return Values(
        labels=labels(COMPONENT, settings.name),
        # Both providers wait for a Deployment for 10 minutes at most unless this says otherwise; models may well load for longer.
        deployment_annotations={"pulumi.com/timeoutSeconds": str(rollout_deadline(settings))},
        image=ImageValues(reference=settings.image, pull_policy=settings.image_pull_policy, pull_secrets=settings.image_pull_secrets),
        model_repository=ModelRepositoryValues(
            url=url,
            urls=tuple(urls),
            mode=mode,
            release=release,
            models=() if urls else settings.models or (),
            region=region if (url or urls[0]).startswith("s3://") else "",
            credentials_secret=credentials_secret or "",
            key_file_secret=key_file_secret or "",
        ),
        prefetch=PrefetchValues(
            enabled=settings.prefetch.enabled,
            image=settings.prefetch.image,
            models=models_to_copy(settings, needs or {}) if settings.prefetch.enabled else (),
            parallelism=settings.prefetch.parallelism,
            # While it is off nothing about the models goes in: other sizes would be a change of a chart that doesn't use them.
            size=volume_size(settings, sizes or {}, needs or {}) if settings.prefetch.enabled else "",
            storage_class=settings.prefetch.volume.storage_class or "",
            budget_seconds=whole_seconds(settings.prefetch.budget),
        ),
        server=ServerValues(log_verbose=settings.log_verbose, extra_args=settings.extra_args, env=settings.env, gpu_metrics=gpu_metrics),
        drain=DrainValues(
            pre_stop_seconds=whole_seconds(settings.drain.pre_stop),
            exit_timeout_seconds=whole_seconds(settings.drain.exit_timeout),
            recycle_grpc=settings.drain.recycle_grpc,
        ),
        probes=ProbesValues(startup_budget_seconds=whole_seconds(settings.startup_budget)),
        resources=ResourceValues(
            cpu=settings.resources.cpu,
            memory=settings.resources.memory,
            gpus=settings.resources.gpus,
            gpu_resource=settings.resources.gpu_resource,
            shm=settings.resources.shm,
        ),
        service=ServiceValues(
            type=settings.service.type,
            http_node_port=settings.service.http_node_port,
            grpc_node_port=settings.service.grpc_node_port,
            expose_metrics=settings.service.type != "LoadBalancer",
            annotations=settings.service.annotations,
        ),
        service_account=ServiceAccountValues(
            annotations=dict(service_account_annotations),
            wait_for_token=monitored is not None and key_file_secret is None and (url or urls[0]).startswith("gs://"),
        ),
        autoscaling=AutoscalingValues.model_validate(
            {
                "minReplicas": settings.scaling.min_replicas,
                "maxReplicas": settings.scaling.max_replicas,
                "initialReplicas": settings.scaling.initial_replicas,
                "metrics": hpa_metrics(settings.scaling, container=settings.name, pods=pods),
                "behavior": hpa_behavior(settings.scaling),
            }
        ),
        pod_monitor=PodMonitorValues(interval=prometheus_duration(settings.scrape_interval)),
        security=SecurityValues(run_as_user=settings.run_as_user),
        pod=PodValues(node_selector=settings.node_selector),
    )


class _WithoutTitles(GenerateJsonSchema):
    """Leaves out titles: they repeat the key."""

    def field_title_should_be_set(self, _schema: object) -> bool:
        return False


def schema() -> str:
    """Return the JSON schema of the values, as the text of charts/triton/values.schema.json."""
    described = Values.model_json_schema(by_alias=True, schema_generator=_WithoutTitles)
    for definition in [described, *described["$defs"].values()]:
        definition.pop("title", None)
    # Draft 7 is what every Helm since 3.0 can check; nothing here needs more.
    document = {**described, "$schema": "http://json-schema.org/draft-07/schema#", "title": "Values of the chart triton"}
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema())
