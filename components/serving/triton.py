"""Triton deployments: charts/triton with values from the settings, the Secrets that it reads its models with, and the namespaces.

The Secrets are separate resources, not part of the chart: their values stay Pulumi secrets, encrypted in the state. As values of
the chart they would mark every object of it as secret, and a Helm release would keep them readable.
"""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_kubernetes as k8s

from components.base.drain import targets
from components.base.errors import FleetError
from components.base.handles import ServingHandle
from components.base.naming import labels, type_token
from components.base.outputs import behind
from components.serving.metrics.base import GkeCluster
from components.serving.values import COMPONENT, ModelRepositoryValues, chart_values, models_to_copy

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from components.base.drain import Targets
    from components.base.handles import ClusterHandle, GatewayHandle, GpuPool, LoadBalancerHandle, MetricsHandle, RepositoryHandle
    from components.serving.settings import ServingSettings

    _Transform = Callable[[pulumi.ResourceTransformArgs], pulumi.ResourceTransformResult | None]

CHART: Final = "./charts/triton"
"""Relative to the project: an absolute path would make the state differ between machines."""
_KEY_FILE_SECRET: Final = "gcsfs-creds"  # noqa: S105  # a name
_KEY_FILE: Final = "keyfile.json"
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
    gateway: GatewayHandle | None = None
    """The gateway that calls Triton."""
    client_namespace: str | None = None
    """Namespace of the client that calls Triton."""


def namespace_names(serving: Sequence[ServingSettings]) -> tuple[str, ...]:
    """Return the distinct namespaces of ``serving``, sorted: the order in the stack file must not matter."""
    return tuple(sorted({entry.namespace for entry in serving}))


def serving_namespaces(
    serving: Sequence[ServingSettings],
    *,
    cluster: ClusterHandle,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Output[str]] = (),
    injection: Mapping[str, pulumi.Output[str]] | None = None,
    load_balancer: LoadBalancerHandle | None = None,
) -> dict[str, k8s.core.v1.Namespace]:
    """Declare the namespaces of ``serving`` as children of ``parent`` and return them by name.

    They are siblings of the deployments and not children: if a namespace changed its parent, Pulumi would replace it with all that is in
    it. ``after`` are outputs of what the pods need, such as the controllers of load balancers and nodes: created before the namespaces and
    deleted after them. Where a deployment claims volumes, so is their driver. ``injection`` are labels that give pods sidecars.
    ``load_balancer`` decides when pods behind it are ready.

    The adapters are not among them. An autoscaler without a metric keeps its smallest number of pods and scales once it has one. On destroy
    each adapter removes its APIService first, without which Kubernetes can delete a namespace. If an adapter waited for the namespace
    instead, a broken adapter would block the namespace, and the namespace the removal of the adapter.
    """
    claims = {entry.namespace for entry in serving if entry.prefetch.enabled and entry.prefetch.volume.storage_class is not None}
    volumes = () if cluster.volumes is None else (cluster.volumes,)
    gates: dict[str, dict[str, str]] = {}
    for entry in serving:
        gates.setdefault(entry.namespace, {}).update(_targets(entry, load_balancer).namespace_labels)
    return {
        name: k8s.core.v1.Namespace(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=name,
                labels={**labels(COMPONENT, name), "pod-security.kubernetes.io/warn": "restricted", **gates[name], **(injection or {})},
            ),
            opts=pulumi.ResourceOptions(
                parent=parent, provider=cluster.provider, depends_on=behind(*after, *(volumes if name in claims else ()))
            ),
        )
        for name in namespace_names(serving)
    }


def _targets(settings: ServingSettings, load_balancer: LoadBalancerHandle | None) -> Targets:
    installed = None if load_balancer is None else load_balancer.targets
    return targets(settings.service.type, settings.service.annotations, installed)


def _asked(settings: ServingSettings, load_balancer: LoadBalancerHandle | None) -> dict[str, pulumi.Output[str]]:
    if load_balancer is None or settings.service.type != "LoadBalancer":
        return {}
    return dict(load_balancer.internal if settings.service.scheme == "internal" else load_balancer.internet_facing)


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
            key = self._secret(f"{name}-{_KEY_FILE_SECRET}", args, repository.key_file.apply(lambda content: {_KEY_FILE: content}))
        admin = None if settings.admin.key_secret else self._admin_key(f"{name}-admin-key", args)
        loaded = models_to_copy(settings, repository.needs) or repository.models
        values = pulumi.Output.all(
            source={
                "url": repository.url,
                "urls": [repository.urls[model] for model in loaded if model in repository.urls],
                "release": repository.digest_of(loaded),
                "credentials_secret": "" if credentials is None else credentials.metadata.name,
                "key_file_secret": "" if key is None else key.metadata.name,
            },
            annotations=dict(args.service_account_annotations),
            service=_asked(settings, args.load_balancer),
            image=settings.image if args.image is None else args.image,
        ).apply(lambda known: _values(args, known))
        chart = k8s.helm.v4.Chart(
            name,
            k8s.helm.v4.ChartArgs(chart=CHART, name=settings.name, namespace=args.namespace.metadata.name, values=values),
            opts=pulumi.ResourceOptions(
                parent=self,
                provider=args.cluster.provider,
                # Neither Prometheus nor the adapters: pods load their models in the meantime.
                depends_on=[args.namespace, *(secret for secret in (credentials, key, admin) if secret is not None)],
                transforms=[monitored_by(args.metrics), *([leave_replicas] if settings.scaling.initial_replicas is not None else [])],
            ),
        )
        # The URN resolves when all objects of the chart are ready. Unlike the list of objects, it is known in a preview.
        self.handle = ServingHandle(
            name=settings.name,
            namespace=settings.namespace,
            service=chart.urn.apply(lambda _: f"{settings.name}.{settings.namespace}.svc.cluster.local"),
            admin_secret=_admin_secret(settings),
        )
        self.register_outputs({"service": self.handle.service})

    def _secret(self, name: str, args: TritonArgs, content: pulumi.Output[dict[str, str]]) -> k8s.core.v1.Secret:
        """Declare a Secret, immutable and named by Pulumi.

        Changed credentials are another Secret under another name, so that the pod template changes with them and the rollout can be
        rolled back.
        """
        # Encoded: stringData is write-only, so that Pulumi could not compare it.
        data: pulumi.Output[dict[str, str]] = pulumi.Output.secret(
            content.apply(lambda known: {key: base64.b64encode(value.encode()).decode() for key, value in known.items()})
        )
        return k8s.core.v1.Secret(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(namespace=args.namespace.metadata.name, labels=labels(COMPONENT, args.settings.name)),
            immutable=True,
            data=data,
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider, replace_on_changes=["data"]),
        )

    def _admin_key(self, name: str, args: TritonArgs) -> k8s.core.v1.Secret:
        """Declare the Secret with a random key to the admin endpoints. Only its first run's key counts: later ones are ignored.

        Its name is fixed, so that the first preview already shows the chart's objects.
        """
        key = base64.b64encode(secrets.token_hex(16).encode()).decode()
        return k8s.core.v1.Secret(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=_admin_secret(args.settings),
                namespace=args.namespace.metadata.name,
                labels=labels(COMPONENT, args.settings.name),
            ),
            data=pulumi.Output.secret({"key": key}),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider, ignore_changes=["data"]),
        )


def _admin_secret(settings: ServingSettings) -> str:
    return settings.admin.key_secret or f"{settings.name}-admin"


def _with_options(kind: str, **options: Any) -> _Transform:
    """Return a transform that gives the chart's objects of one ``kind`` more resource options."""

    def transform(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
        if args.type_ != kind:
            return None
        merged = pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(**options))
        return pulumi.ResourceTransformResult(props=args.props, opts=merged)

    return transform


def monitored_by(metrics: MetricsHandle) -> _Transform:
    """Return a transform that makes only the chart's PodMonitor wait for Prometheus, which installs its CRD.

    The engine calls it before it creates an object of the chart, and waits for the result. It does not record the dependency in the state
    (Pulumi 3.255), so a destroy has no order between the two. None is needed: the kind outlives the release of Prometheus, and the operator
    sets no finalizer.
    """
    return _with_options("kubernetes:monitoring.coreos.com/v1:PodMonitor", depends_on=behind(metrics.url))


leave_replicas: Final = _with_options("kubernetes:apps/v1:Deployment", ignore_changes=["spec.replicas"])
"""Transform that sets the replicas of a Deployment when it is created only: afterwards the autoscaler owns them."""


def only_shared(settings: ServingSettings, pools: Sequence[GpuPool], sharing: Literal["mig", "mps"]) -> bool:
    """Return whether the pods can only land on GPUs shared this way. On GKE a slice is called nvidia.com/gpu too: only its pool tells."""
    ours = {key for pool in pools for key in pool.labels}
    wanted = {key: value for key, value in settings.node_selector.items() if key in ours}
    eligible = [pool for pool in pools if wanted.items() <= pool.labels.items()]
    return bool(eligible) and all(pool.sharing == sharing for pool in eligible)


def _values(args: TritonArgs, known: Mapping[str, Any]) -> dict[str, Any]:
    settings, repository, google = args.settings, args.repository, args.cluster.gcp
    callers = {name for name in (args.gateway and args.gateway.namespace, args.client_namespace) if name}
    # Named here, or the chart would make a key of its own, and another one at each preview.
    admin = settings.admin.model_copy(update={"key_secret": _admin_secret(settings)})
    resolved: dict[str, Any] = {"image": known["image"], "admin": admin}
    pre_stop = _targets(settings, args.load_balancer).pre_stop(settings.drain.pre_stop)
    resolved["drain"] = settings.drain.model_copy(update={"pre_stop": pre_stop})
    if known["service"]:
        resolved["service"] = settings.service.model_copy(update={"annotations": {**known["service"], **settings.service.annotations}})
    if settings.gpu_metrics is None and only_shared(settings, args.cluster.gpu_pools, "mig"):
        resolved["gpu_metrics"] = False
    if settings.mps is None and settings.resources.gpus and only_shared(settings, args.cluster.gpu_pools, "mps"):
        resolved["mps"] = "plugin" if google is None else "hostIpc"
    return chart_values(
        settings.model_copy(update=resolved),
        ModelRepositoryValues(**known["source"], mode=repository.mode, region=repository.region),
        annotations=known["annotations"],
        gke=None if google is None else GkeCluster(name=google.cluster, location=google.location),
        sizes=repository.sizes,
        needs=repository.needs,
        policy={
            "namespaces": sorted({*settings.network_policy.namespaces, *callers} - {settings.namespace}),
            "prometheus_namespaces": (args.metrics.namespace,),
            "istio": args.gateway is not None,
        },
    ).dump()
