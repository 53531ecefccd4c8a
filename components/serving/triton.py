"""One Triton deployment: our chart with values made from the settings, and the Secret that it reads its bucket with.

Makes no namespace (`namespaces.py`: several deployments may share one) and no metric (the adapter's rules are made from the same
description as the autoscaler here, `scaling.py`, but belong to the adapter's release).

The Secret is made here and not by the chart: as a resource of its own its values stay Pulumi secrets, encrypted in the state, where
values of a chart would mark every object of it as secret, and a Helm release would keep them readable.
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
from components.serving.prefetch import models_to_copy
from components.serving.values import COMPONENT, chart_values

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from components.base.handles import ClusterHandle, GpuPool, LoadBalancerHandle, MetricsHandle, RepositoryHandle
    from components.serving.settings import ServingSettings

CHART: Final = "./charts/triton"
"""Relative to the project: an absolute path would make a state that differs from machine to machine."""
KEY_FILE_SECRET: Final = "gcsfs-creds"  # noqa: S105  # a name
KEY_FILE: Final = "keyfile.json"
"""Names of reference 002; the chart mounts the Secret's one key as /etc/secrets/keyfile.json."""


@dataclass(frozen=True, kw_only=True)
class TritonArgs:
    """What Triton needs."""

    cluster: ClusterHandle
    repository: RepositoryHandle
    metrics: MetricsHandle
    """Brings the PodMonitor's kind; nothing of it goes into the values."""
    settings: ServingSettings
    namespace: k8s.core.v1.Namespace
    """The namespace named in the settings."""
    image: pulumi.Input[str] | None = None
    """What to pull in place of the settings' image, where that is the name of one of the stack's own."""
    service_account_annotations: Mapping[str, pulumi.Input[str]] = field(default_factory=dict)
    """What binds the pods' service account to a cloud identity, such as ``eks.amazonaws.com/role-arn``."""
    load_balancer: LoadBalancerHandle | None = None
    """What makes the load balancer of a LoadBalancer Service; None leaves it to the cluster itself."""


def unknown_models(key: str, settings: ServingSettings, repository: Collection[str]) -> list[str]:
    """Return a problem for each model that ``settings``, which are called ``key``, name and the ``repository`` does not have."""
    return [
        f"{key}.models names {model}, which the repository does not have: Triton would not start. Add the model or leave it out. "
        f"There: {', '.join(sorted(repository)) or 'none'}."
        for model in settings.models or ()
        if model not in repository
    ]


class Triton(pulumi.ComponentResource):
    """Triton, its Service and what scales it."""

    handle: ServingHandle

    def __init__(self, name: str, args: TritonArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("serving", "Triton"), name, None, opts)
        settings = args.settings
        problems = unknown_models(f"triton-fleet:serving ({settings.name})", settings, args.repository.models)
        if problems:
            raise FleetError(*problems)
        secret = self._credentials(name, args)
        key = self._key_file(name, args)
        values = pulumi.Output.all(
            url=args.repository.url,
            urls=[args.repository.urls[model] for model in _loaded(settings, args.repository)],
            release=args.repository.digest,
            secret=None if secret is None else secret.metadata.name,
            key=None if key is None else key.metadata.name,
            annotations=dict(args.service_account_annotations),
            # From inside unless the settings' own say otherwise: Triton asks nobody who they are.
            service=dict(args.load_balancer.internal) if args.load_balancer is not None and settings.service.type == "LoadBalancer" else {},
            image=settings.image if args.image is None else args.image,
        ).apply(lambda known: _values(args, known))
        chart = k8s.helm.v4.Chart(
            name,
            k8s.helm.v4.ChartArgs(chart=CHART, name=settings.name, namespace=args.namespace.metadata.name, values=values),
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.cluster.provider,
                # Neither Prometheus nor what serves the autoscaler's metrics: pods load their models in the meantime.
                depends_on=[args.namespace, *(made for made in (secret, key) if made is not None)],
                transforms=[
                    monitored_by(args.metrics),
                    *([leave_replicas] if settings.scaling.initial_replicas is not None else []),
                ],
            ),
        )
        # The chart's URN is given out when all of its objects are ready, and it is known in a preview, unlike its list of objects.
        self.handle = ServingHandle(
            name=settings.name,
            namespace=settings.namespace,
            service=chart.urn.apply(lambda _: f"{settings.name}.{settings.namespace}.svc.cluster.local"),
        )
        self.register_outputs({"service": self.handle.service})

    def _credentials(self, name: str, args: TritonArgs) -> k8s.core.v1.Secret | None:
        """Declare the Secret with static credentials, if the repository needs one.

        Immutable and named by Pulumi: other credentials are another Secret under another name, so that the pod template changes with them
        and the rollout can be rolled back.
        """
        if args.repository.credentials is None:
            return None
        return k8s.core.v1.Secret(
            f"{name}-credentials",
            metadata=k8s.meta.v1.ObjectMetaArgs(namespace=args.namespace.metadata.name, labels=labels(COMPONENT, args.settings.name)),
            immutable=True,
            # Already encoded: stringData is write-only, and what can't be read back can't be compared.
            data=_secret(args.repository.credentials.apply(_encoded)),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider, replace_on_changes=["data"]),
        )

    def _key_file(self, name: str, args: TritonArgs) -> k8s.core.v1.Secret | None:
        """Declare the Secret with a Google key file, if the repository needs one; see `_credentials` for how it changes."""
        if args.repository.key_file is None:
            return None
        return k8s.core.v1.Secret(
            f"{name}-{KEY_FILE_SECRET}",
            metadata=k8s.meta.v1.ObjectMetaArgs(namespace=args.namespace.metadata.name, labels=labels(COMPONENT, args.settings.name)),
            immutable=True,
            data=_secret(args.repository.key_file.apply(lambda content: _encoded({KEY_FILE: content}))),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider, replace_on_changes=["data"]),
        )


def monitored_by(metrics: MetricsHandle) -> Callable[[pulumi.ResourceTransformArgs], pulumi.ResourceTransformResult | None]:
    """Make the chart's PodMonitor alone wait for Prometheus, whose kind it is.

    The engine asks before it makes an object of the chart, and waits for the answer. It does not write down what an object of a plugin's
    chart depends on by a transform of the chart's (Pulumi 3.255), so that a destroy has no order between the two. It needs none: the kind
    outlives Prometheus' release, and the operator puts no finalizer on what is of it.
    """

    def wait(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ != "kubernetes:monitoring.coreos.com/v1:PodMonitor":
            return None
        behind = pulumi.ResourceOptions(depends_on=metrics.url.apply(lambda _: list[pulumi.Input[pulumi.Resource]]()))
        return pulumi.ResourceTransformResult(props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, behind))

    return wait


def leave_replicas(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
    """Keep the number of replicas that a Deployment was made with to its making: afterwards it is the autoscaler's."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    kept = pulumi.ResourceOptions(ignore_changes=["spec.replicas"])
    return pulumi.ResourceTransformResult(props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, kept))


def _secret(value: pulumi.Output[dict[str, str]]) -> pulumi.Output[dict[str, str]]:
    """Mark ``value`` as a secret, whether or not whoever made it did."""
    return pulumi.Output.all(value, pulumi.Output.secret("")).apply(lambda both: dict(both[0]))


def _encoded(credentials: Mapping[str, str]) -> dict[str, str]:
    return {key: base64.b64encode(value.encode()).decode() for key, value in credentials.items()}


def _loaded(settings: ServingSettings, repository: RepositoryHandle) -> list[str]:
    """Models that have a repository of their own and that a deployment loads, those that its ensembles need included."""
    wanted = models_to_copy(settings, repository.needs) or repository.models
    return [model for model in wanted if model in repository.urls]


def only_slices(settings: ServingSettings, pools: Sequence[GpuPool]) -> bool:
    """Whether the pods can only land on slices of GPUs: on GKE those are called nvidia.com/gpu too, and the pool alone tells."""
    ours = {key for pool in pools for key in pool.labels}
    wanted = {key: value for key, value in settings.node_selector.items() if key in ours}
    eligible = [pool for pool in pools if wanted.items() <= pool.labels.items()]
    return bool(eligible) and all(pool.sharing == "mig" for pool in eligible)


def _resolved(args: TritonArgs, known: Mapping[str, Any]) -> ServingSettings:
    """Fill in what the settings leave to the rest of the stack."""
    settings = args.settings
    changes: dict[str, Any] = {"image": known["image"]}
    if known["service"]:
        changes["service"] = settings.service.model_copy(update={"annotations": {**known["service"], **settings.service.annotations}})
    if settings.gpu_metrics is None and only_slices(settings, args.cluster.gpu_pools):
        changes["gpu_metrics"] = False
    return settings.model_copy(update=changes)


def _values(args: TritonArgs, known: Mapping[str, Any]) -> dict[str, Any]:
    repository, google = args.repository, args.cluster.gcp
    return chart_values(
        _resolved(args, known),
        url=known["url"],
        urls=known["urls"],
        mode=repository.mode,
        release=known["release"],
        region=repository.region,
        credentials_secret=known["secret"],
        key_file_secret=known["key"],
        monitored=None if google is None else (google.cluster, google.location),
        service_account_annotations=known["annotations"],
        sizes=repository.sizes,
        needs=repository.needs,
    ).dump()
