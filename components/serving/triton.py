"""One Triton deployment: charts/triton with values from the settings, and the Secrets that it reads its models with.

The Secrets are separate resources, not part of the chart: their values stay Pulumi secrets, encrypted in the state. As values of
the chart they would mark every object of it as secret, and a Helm release would keep them readable.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.errors import FleetError
from components.base.handles import ServingHandle
from components.base.naming import labels, type_token
from components.base.outputs import behind
from components.serving.metrics import GkeCluster
from components.serving.prefetch import models_to_copy
from components.serving.values import COMPONENT, ModelRepositoryValues, chart_values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from components.base.handles import ClusterHandle, GpuPool, LoadBalancerHandle, MetricsHandle, RepositoryHandle
    from components.serving.settings import ServingSettings

CHART: Final = "./charts/triton"
"""Relative to the project: an absolute path would make the state differ between machines."""
KEY_FILE_SECRET: Final = "gcsfs-creds"  # noqa: S105  # a name
KEY_FILE: Final = "keyfile.json"
"""Names of reference 002; the chart mounts the only key of the Secret as /etc/secrets/keyfile.json."""


@dataclass(frozen=True, kw_only=True)
class TritonArgs:
    """Arguments of `Triton`."""

    cluster: ClusterHandle
    repository: RepositoryHandle
    metrics: MetricsHandle
    """Brings the kind PodMonitor; the values contain nothing of it."""
    settings: ServingSettings
    namespace: k8s.core.v1.Namespace
    """The namespace named in the settings."""
    image: pulumi.Input[str] | None = None
    """Replaces the image of the settings where that is the name of an image of the stack."""
    service_account_annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """Bind the pods' service account to a cloud identity, such as ``eks.amazonaws.com/role-arn``."""
    load_balancer: LoadBalancerHandle | None = None
    """The controller for a Service of type LoadBalancer. None: the cluster itself."""


def unknown_models(key: str, settings: ServingSettings, repository: Collection[str]) -> list[str]:
    """Return a problem for each model that ``settings`` (at ``key``) name and ``repository`` does not contain."""
    return [
        f"{key}.models names {model}, which is not in the repository: Triton would not start. Add the model, or remove it from the list. "
        f"The repository has: {', '.join(sorted(repository)) or 'none'}."
        for model in settings.models or ()
        if model not in repository
    ]


class Triton(pulumi.ComponentResource):
    """Triton, its Service and its autoscaler."""

    handle: ServingHandle

    def __init__(self, name: str, args: TritonArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("serving", "Triton"), name, None, opts)
        settings, repository = args.settings, args.repository
        if problems := unknown_models(f"triton-fleet:serving ({settings.name})", settings, repository.models):
            raise FleetError(*problems)
        credentials = key = None
        if repository.credentials is not None:
            credentials = self._secret(f"{name}-credentials", args, repository.credentials)
        if repository.key_file is not None:
            key = self._secret(f"{name}-{KEY_FILE_SECRET}", args, repository.key_file.apply(lambda content: {KEY_FILE: content}))
        values = pulumi.Output.all(
            url=repository.url,
            urls=[repository.urls[model] for model in _loaded(settings, repository)],
            release=repository.digest,
            credentials="" if credentials is None else credentials.metadata.name,
            key="" if key is None else key.metadata.name,
            annotations=dict(args.service_account_annotations),
            # Internal unless the settings say otherwise: Triton does not authenticate its clients.
            service=dict(args.load_balancer.internal) if args.load_balancer is not None and settings.service.type == "LoadBalancer" else {},
            image=settings.image if args.image is None else args.image,
        ).apply(lambda known: _values(args, known))
        chart = k8s.helm.v4.Chart(
            name,
            k8s.helm.v4.ChartArgs(chart=CHART, name=settings.name, namespace=args.namespace.metadata.name, values=values),
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.cluster.provider,
                # Neither Prometheus nor the adapters: pods load their models in the meantime.
                depends_on=[args.namespace, *(secret for secret in (credentials, key) if secret is not None)],
                transforms=[monitored_by(args.metrics), *([leave_replicas] if settings.scaling.initial_replicas is not None else [])],
            ),
        )
        # The URN resolves when all objects of the chart are ready. Unlike the list of objects, it is known in a preview.
        self.handle = ServingHandle(
            name=settings.name,
            namespace=settings.namespace,
            service=chart.urn.apply(lambda _: f"{settings.name}.{settings.namespace}.svc.cluster.local"),
        )
        self.register_outputs({"service": self.handle.service})

    def _secret(self, name: str, args: TritonArgs, content: pulumi.Output[dict[str, str]]) -> k8s.core.v1.Secret:
        """Declare a Secret, immutable and named by Pulumi.

        Changed credentials are another Secret under another name, so that the pod template changes with them and the rollout can be
        rolled back.
        """
        # Encoded: stringData is write-only, so that Pulumi could not compare it.
        data: pulumi.Output[dict[str, str]] = pulumi.Output.secret(content.apply(_encoded))
        return k8s.core.v1.Secret(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(namespace=args.namespace.metadata.name, labels=labels(COMPONENT, args.settings.name)),
            immutable=True,
            data=data,
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider, replace_on_changes=["data"]),
        )


def monitored_by(metrics: MetricsHandle) -> Callable[[pulumi.ResourceTransformArgs], pulumi.ResourceTransformResult | None]:
    """Return a transform that makes only the chart's PodMonitor wait for Prometheus, which installs its CRD.

    The engine calls it before it creates an object of the chart, and waits for the result. It does not record the dependency in the state
    (Pulumi 3.255), so a destroy has no order between the two. None is needed: the kind outlives the release of Prometheus, and the operator
    sets no finalizer.
    """

    def wait(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ != "kubernetes:monitoring.coreos.com/v1:PodMonitor":
            return None
        more = pulumi.ResourceOptions(depends_on=behind(metrics.url))
        return pulumi.ResourceTransformResult(props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, more))

    return wait


def leave_replicas(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
    """Set the replicas of a Deployment when it is created only: afterwards the autoscaler owns them."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    kept = pulumi.ResourceOptions(ignore_changes=["spec.replicas"])
    return pulumi.ResourceTransformResult(props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, kept))


def _encoded(content: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}


def _loaded(settings: ServingSettings, repository: RepositoryHandle) -> list[str]:
    """Return the models with a separate repository that a deployment loads, including those that its ensembles need."""
    wanted = models_to_copy(settings, repository.needs) or repository.models
    return [model for model in wanted if model in repository.urls]


def only_slices(settings: ServingSettings, pools: Sequence[GpuPool]) -> bool:
    """Return whether the pods can only land on slices of GPUs. On GKE a slice is called nvidia.com/gpu too, and only its pool tells."""
    ours = {key for pool in pools for key in pool.labels}
    wanted = {key: value for key, value in settings.node_selector.items() if key in ours}
    eligible = [pool for pool in pools if wanted.items() <= pool.labels.items()]
    return bool(eligible) and all(pool.sharing == "mig" for pool in eligible)


def _values(args: TritonArgs, known: Mapping[str, Any]) -> dict[str, Any]:
    settings, repository, google = args.settings, args.repository, args.cluster.gcp
    resolved: dict[str, Any] = {"image": known["image"]}
    if known["service"]:
        resolved["service"] = settings.service.model_copy(update={"annotations": {**known["service"], **settings.service.annotations}})
    if settings.gpu_metrics is None and only_slices(settings, args.cluster.gpu_pools):
        resolved["gpu_metrics"] = False
    source = ModelRepositoryValues(
        url=known["url"],
        urls=tuple(known["urls"]),
        mode=repository.mode,
        release=known["release"],
        region=repository.region,
        credentials_secret=known["credentials"],
        key_file_secret=known["key"],
    )
    return chart_values(
        settings.model_copy(update=resolved),
        source,
        annotations=known["annotations"],
        gke=None if google is None else GkeCluster(name=google.cluster, location=google.location),
        sizes=repository.sizes,
        needs=repository.needs,
    ).dump()
