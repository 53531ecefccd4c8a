"""The values of charts/triton, and how they follow from the settings of a deployment. Durations are seconds.

`Values` extends `DeploymentSettings`, which the chart shares with the stack file. values.yaml and values.schema.json are generated from it
(`chart_files.py`). This module does not import Pulumi: what is known late, such as the repository's URL, comes in as plain strings.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from components.base.model import Model
from components.base.naming import labels
from components.base.quantities import prometheus_duration, quantity_value, whole_seconds
from components.base.versions import TRITON_IMAGE
from components.serving.exposure import NetworkPolicySettings
from components.serving.metrics.base import ServedPods
from components.serving.scaling import hpa_metrics, served_pods
from components.serving.settings import (
    DeploymentSettings,
    PrefetchSettings,
    ReplicaSettings,
    RolloutSettings,
    ScalingSettings,
    ServingSettings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.serving.metrics.base import GkeCluster

COMPONENT: Final = "triton"
"""Value of app.kubernetes.io/name on every object of the chart."""

_NODE_MARGIN: Final = 600
"""Seconds added to the startup budget before a rollout counts as failed: a new GPU node takes 4 to 7 minutes (NVIDIA's Marketplace
README), the image a few more."""
_MI: Final = 1 << 20
_SLACK: Final = 1.1
"""Room for the file system and for rounding to blocks: 10,000 files of 4 KiB take 5 % more than their bytes on ext4."""
_SLACK_BYTES: Final = 64 * _MI
"""Room for the copy's list and log, and for an empty file system."""


class ModelRepositoryValues(Model):
    """Where Triton reads its models from. ``url`` or ``urls`` is required."""

    url: str = Field(default="", pattern=r"^\S*$")
    """s3://bucket/prefix, s3://http://host:port/bucket/prefix, gs://bucket/prefix, or a path in the image."""
    urls: tuple[Annotated[str, Field(pattern=r"^\S+$")], ...] = ()
    """Several repositories, all of whose models are loaded. Instead of ``url``."""
    mode: Literal["release", "poll", "explicit"] = "release"
    """``release``: Triton loads the models at the start. ``poll``: it also looks for changes every 15 s. ``explicit``: models are loaded
    and unloaded through Triton's API; at the start ``models``, or all."""
    release: str = ""
    """Content hash of the models, part of the pod template: changed models are a rolling update."""
    models: tuple[str, ...] = ()
    """Models of ``url`` to load; empty: all."""
    region: str = ""
    """AWS region of the bucket; empty for other stores."""
    credentials_secret: str = ""
    """Secret whose keys become environment variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...); empty: the service account is the
    identity. Create it outside the release, since everyone who can read a release can read its values."""
    key_file_secret: str = ""
    """Secret whose keyfile.json is the key of a Google service account; empty: the service account is the identity."""


class PrefetchValues(PrefetchSettings):
    """Copying the models to local disk before Triton starts, in parallel and verified.

    Needs ``modelRepository.url``, the folder of all releases, and ``modelRepository.release``, the hash of the release. ``volume.size`` has
    no default here.
    """

    models: tuple[str, ...] = ()
    """Models to copy, including those that ensembles among them need; empty: the whole release."""


class ProbeValues(Model):
    """The fields of a Kubernetes probe."""

    period_seconds: int = Field(ge=1)
    timeout_seconds: int = Field(ge=1)
    failure_threshold: int = Field(ge=1)


class ProbesValues(Model):
    """The startup probe asks /v2/health/ready, which waits for all models; the others /v2/health/live.

    Readiness is about the server: in the modes poll and explicit, /v2/health/ready fails on every pod at once while one new model loads,
    and for good if it can't be loaded.
    """

    startup: ProbeValues | None = None
    """None: a probe every 2 s until ``startupBudget`` is spent."""
    readiness: ProbeValues = ProbeValues(period_seconds=5, timeout_seconds=3, failure_threshold=3)
    liveness: ProbeValues = ProbeValues(period_seconds=10, timeout_seconds=5, failure_threshold=6)


class NetworkPolicyValues(NetworkPolicySettings):
    """Who may call Triton, and where it may connect to. Needs a CNI that enforces policies.

    Callers are the pods of its own namespace; with a Service of type NodePort or LoadBalancer, everyone. Triton reaches DNS, the model
    store and the cloud's identity endpoints.
    """

    prometheus_namespaces: tuple[str, ...] = ()
    """Namespaces whose pods may scrape port 8002. Empty: all."""
    istio: bool = False
    """Whether to let through what Istio's sidecars and its ambient mode use."""


class ServiceAccountValues(Model):
    """The service account of the pods."""

    create: bool = True
    name: str = ""
    """Empty: the name of the release if it is created, ``default`` if not."""
    annotations: dict[str, str] = Field(default_factory=dict)
    """Such as eks.amazonaws.com/role-arn or iam.gke.io/gcp-service-account."""
    wait_for_token: bool = False
    """Wait until the GKE service account has a token before Triton starts: Triton asks only once and otherwise stays anonymous."""


class MetricIdentifier(Model):
    """A metric in the custom or external metrics API."""

    name: str = Field(min_length=1)
    selector: dict[str, dict[str, str]] | None = None


class MetricTarget(Model):
    """What the autoscaler aims at."""

    type: Literal["AverageValue", "Value", "Utilization"]
    average_value: str | None = None
    value: str | None = None
    average_utilization: int | None = Field(default=None, ge=1)


class MetricSource(Model):
    """Metric and target. ``describedObject`` is for type Object, ``name`` (cpu or memory) for type Resource."""

    metric: MetricIdentifier | None = None
    target: MetricTarget
    described_object: dict[str, str] | None = None
    name: Literal["cpu", "memory"] | None = None


class HpaMetric(Model):
    """A metric of autoscaling/v2: its type, and the key of that type."""

    type: Literal["Pods", "Object", "External", "Resource"]
    pods: MetricSource | None = None
    object: MetricSource | None = None
    external: MetricSource | None = None
    resource: MetricSource | None = None


class AutoscalingValues(ReplicaSettings):
    """HorizontalPodAutoscaler (autoscaling/v2). While it is enabled, it owns the number of replicas."""

    enabled: bool = True
    """If false, ``minReplicas`` is the fixed number of replicas."""
    metrics: tuple[HpaMetric, ...] = Field(min_length=1)
    """The largest proposal wins. By default microseconds in the queue and requests in the queue; a metrics adapter must serve both."""
    behavior: dict[str, Any] = Field(default_factory=dict)
    """``spec.behavior``. Empty: Kubernetes' default for scaling up, and ``scaleDownStabilization`` and ``scaleDownPodsPerMinute``."""

    @classmethod
    def of(cls, scaling: ScalingSettings, pods: ServedPods) -> AutoscalingValues:
        """Return the autoscaler of ``pods``. Raises ValueError for gpuDutyCycle outside GKE."""
        replicas = {name: getattr(scaling, name) for name in ReplicaSettings.model_fields}
        return cls.model_validate({**replicas, "metrics": hpa_metrics(scaling, pods)})


class PodMonitorValues(Model):
    """PodMonitor. Needs the CRDs of the Prometheus operator."""

    enabled: bool = True
    interval: str = Field(default=prometheus_duration(ServingSettings.model_fields["scrape_interval"].default), pattern=r"^(\d+(ms|s|m))$")
    labels: dict[str, str] = Field(default_factory=dict)
    """More labels, for an operator that selects monitors by label."""


class DisruptionValues(Model):
    """PodDisruptionBudget."""

    enabled: bool = True
    max_unavailable: int = Field(default=1, ge=1)
    """Pods that a node drain may evict at once. minAvailable would block every drain of a single replica."""


class RolloutValues(RolloutSettings):
    """How a new version replaces the old one. By default there are never fewer ready pods than wanted."""

    progress_deadline_seconds: int | None = Field(default=None, ge=1)
    """Seconds without progress after which a rollout counts as failed. None: ``startupBudget`` + 600 s for a node and the image, and
    ``prefetch.budget`` if models are copied first."""


class Values(DeploymentSettings):
    """All values of the chart."""

    global_: dict[str, Any] = Field(default_factory=dict, alias="global")
    """Helm's own, when the chart is part of another; not used."""
    image: str = Field(default=TRITON_IMAGE, min_length=1)
    """Container image with tritonserver. Its entrypoint must run the arguments that it is given."""
    model_repository: ModelRepositoryValues = ModelRepositoryValues()
    prefetch: PrefetchValues = PrefetchValues()
    autoscaling: AutoscalingValues = AutoscalingValues.of(ScalingSettings(), ServedPods(container="triton", namespace="triton", gpus=1))
    network_policy: NetworkPolicyValues = NetworkPolicyValues()
    probes: ProbesValues = ProbesValues()
    service_account: ServiceAccountValues = ServiceAccountValues()
    pod_monitor: PodMonitorValues = PodMonitorValues()
    disruption: DisruptionValues = DisruptionValues()
    rollout: RolloutValues = RolloutValues()
    read_only_root_filesystem: bool = True
    """Whether the containers' root file systems are read-only."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of every object, over the chart's own; selectors do not change."""
    deployment_annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the Deployment."""
    pod_annotations: dict[str, str] = Field(default_factory=dict)
    """Annotations of the pods."""
    pod_labels: dict[str, str] = Field(default_factory=dict)
    """Labels of the pods."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Tolerations, besides the one for nvidia.com/gpu that every pod with a GPU has."""
    affinity: dict[str, Any] = Field(default_factory=dict)
    """Affinity of the pods."""
    priority_class_name: str = ""
    """PriorityClass of the pods."""
    runtime_class_name: str = ""
    """RuntimeClass of the pods."""

    def dump(self) -> dict[str, Any]:
        """Return the values as Helm takes them: camelCase, plain JSON types, without None (a null would delete a default)."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"global_"})


def models_to_copy(settings: ServingSettings, needs: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    """Return the models that ``settings`` name and those that these load (``needs``), sorted; empty means the whole release."""
    found: set[str] = set()
    pending = list(settings.models or ())
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(needs.get(name, ()))
    return tuple(sorted(found))


def bytes_to_copy(settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> tuple[int, str]:
    """Return the bytes of the models that are copied, and a volume size with room for them."""
    models = models_to_copy(settings, needs)
    size = sum(size for name, size in sizes.items() if not models or name in models)
    return size, f"{math.ceil((size * _SLACK + _SLACK_BYTES) / _MI)}Mi"


def too_small(key: str, settings: ServingSettings, sizes: Mapping[str, int], needs: Mapping[str, tuple[str, ...]]) -> str | None:
    """Return what is wrong with the prefetch volume of the deployment whose settings are at ``key``; None when the models fit."""
    size = settings.prefetch.volume.size
    wanted, room = bytes_to_copy(settings, sizes, needs)
    if not settings.prefetch.enabled or size is None or quantity_value(size) >= wanted:
        return None
    return (
        f"{key}.prefetch.volume.size ({size}) is less than the {wanted} bytes of the models that {settings.name} loads: every pod would be "
        f"evicted, or fail, while it copies. Raise it to {room} or more, or remove the key."
    )


def rollout_deadline(settings: ServingSettings) -> int:
    """Return the seconds after which a rollout of ``settings`` counts as failed."""
    copying = whole_seconds(settings.prefetch.budget) if settings.prefetch.enabled else 0
    return whole_seconds(settings.startup_budget) + _NODE_MARGIN + copying


def chart_values(
    settings: ServingSettings,
    repository: ModelRepositoryValues,
    *,
    annotations: Mapping[str, str] | None = None,
    gke: GkeCluster | None = None,
    sizes: Mapping[str, int] | None = None,
    needs: Mapping[str, tuple[str, ...]] | None = None,
    policy: Mapping[str, Any] | None = None,
) -> Values:
    """Return the chart's values of one deployment. Raises ValueError for gpuDutyCycle outside GKE.

    Args:
        settings: The deployment.
        repository: Its ``url`` has all models, and prefetch copies from it; ``urls``, one per model, take precedence otherwise.
            ``models`` is ignored.
        annotations: Bind the service account to a cloud identity.
        gke: The cluster, on GKE.
        sizes: Bytes of each model.
        needs: Models that a model loads with itself.
        policy: Fields of `NetworkPolicyValues` that the stack knows, beside those of the settings.
    """
    copied, sizes, needs = settings.prefetch.enabled, sizes or {}, needs or {}
    by_model = bool(repository.urls) and not copied
    url = repository.urls[0] if by_model else repository.url
    source = {
        "url": "" if by_model else url,
        "urls": repository.urls if by_model else (),
        "models": () if by_model else settings.models or (),
        "region": repository.region if url.startswith("s3://") else "",
    }
    # With prefetch off nothing about the models goes in: other sizes would change a chart that does not use them.
    copy: dict[str, Any] = {}
    if copied:
        size = settings.prefetch.volume.size or (bytes_to_copy(settings, sizes, needs)[1] if sizes else None)
        copy = {"models": models_to_copy(settings, needs), "volume": settings.prefetch.volume.model_copy(update={"size": size})}
    shared = {name: getattr(settings, name) for name in DeploymentSettings.model_fields}
    return Values.model_validate(
        {
            **shared,
            "prefetch": {**dict(settings.prefetch), **copy},
            "network_policy": {**dict(settings.network_policy), **(policy or {})},
            "rollout": dict(settings.rollout),
            "labels": labels(COMPONENT, settings.name),
            # Pulumi waits for a Deployment for 10 minutes unless this says otherwise; models may take longer to load.
            "deployment_annotations": {"pulumi.com/timeoutSeconds": str(rollout_deadline(settings))},
            "model_repository": repository.model_copy(update=source),
            "service_account": {
                "annotations": dict(annotations or {}),
                "wait_for_token": gke is not None and not repository.key_file_secret and url.startswith("gs://"),
            },
            "autoscaling": AutoscalingValues.of(settings.scaling, served_pods(settings, gke)),
            "pod_monitor": {"interval": prometheus_duration(settings.scrape_interval)},
        }
    )
