"""Karpenter: starts GPU nodes of the size that waiting pods need, without node groups, and takes them away.

Makes the releases ``karpenter-crd`` and ``karpenter`` in kube-system, and an EC2NodeClass and a NodePool a pool. Makes no IAM role, no
queue and no tag on subnets: it is handed their names. The CRDs have a chart of their own, because Helm installs those inside a chart once
and never upgrades them.

The order of a destroy is what matters. NodePools go first and EC2NodeClasses after them; an EC2NodeClass is gone only when no node of it is
left (Karpenter's finalizer). Only then Karpenter itself goes: without it, finalizers would hold nodes, and instances would run on unseen.
What runs on its nodes comes after the NodePools, and so is gone before nodes are drained.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pulumi
import pulumi_kubernetes as k8s
from pydantic import ConfigDict, Field

from components.base import naming, versions
from components.base.handles import GpuPool
from components.eks import user_data as nodeconfig
from components.gpu import catalogue
from components.helm import release

if TYPE_CHECKING:
    from components.base.handles import AwsAccess, ClusterHandle
    from components.eks.settings.karpenter import KarpenterPoolSettings, KarpenterSettings
    from components.helm.settings import ChartSettings

ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
DISCOVERY_TAG: Final = "karpenter.sh/discovery"
"""Tag of subnets and security groups with the cluster's name: where nodes are started."""
_WHOLE_GPU: Final = "nvidia.com/gpu"
_GONE_AFTER: Final = "30m"
"""How long a pool may take to go: the drain of its last pod, and EC2's end of an instance, which takes minutes with GPUs."""


class _ServiceAccount(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = naming.KARPENTER_RELEASE
    """Fixed: the role's trust policy names it."""
    annotations: dict[str, str | pulumi.Output[str]] | None


class _Settings(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    cluster_name: str | pulumi.Output[str]
    interruption_queue: str | pulumi.Output[str] | None


class _Controller(release.ChartValues):
    resources: release.ContainerResources


class KarpenterValues(release.ChartValues):
    """What is passed to the chart karpenter, key for key."""

    service_account: _ServiceAccount
    settings: _Settings
    controller: _Controller = Field(
        # As much memory as is limited: it keeps all instance types in it, and killed for that it starts no node. Of CPU its own example
        # asks for one; it idles between nodes, and two of them would take half of two small nodes. No limit: throttled, it would be late.
        default_factory=lambda: _Controller(
            resources=release.ContainerResources(requests={"cpu": "250m", "memory": "1Gi"}, limits={"memory": "1Gi"})
        )
    )


class _Metadata(release.ChartValues):
    labels: dict[str, str]


class _NodeClassRef(release.ChartValues):
    group: Literal["karpenter.k8s.aws"] = "karpenter.k8s.aws"
    kind: Literal["EC2NodeClass"] = "EC2NodeClass"
    name: str


class _Taint(release.ChartValues):
    key: str = catalogue.TAINT_KEY
    value: str = "present"
    effect: str = "NoSchedule"


class _Requirement(release.ChartValues):
    key: str
    operator: Literal["In"] = "In"
    values: list[str]


class _NodeSpec(release.ChartValues):
    expire_after: Literal["Never"] = "Never"
    """Not the default of 30 days, after which a node goes whether it serves or not. A newer image comes by ``amiAlias``."""
    node_class_ref: _NodeClassRef
    taints: list[_Taint]
    requirements: list[_Requirement]


class _Template(release.ChartValues):
    metadata: _Metadata
    spec: _NodeSpec


class _Disruption(release.ChartValues):
    consolidation_policy: Literal["WhenEmpty"] = "WhenEmpty"
    """Never WhenEmptyOrUnderutilized: it would move Triton's pods to save a GPU, and each move is a cold start."""
    consolidate_after: str


class NodePoolSpec(release.ChartValues):
    """``spec`` of a karpenter.sh/v1 NodePool."""

    limits: dict[str, int]
    disruption: _Disruption
    template: _Template


class _Selector(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    tags: dict[str, str | pulumi.Output[str]]


class _Reservation(release.ChartValues):
    id: str


class _AmiSelector(release.ChartValues):
    alias: str


class _Ebs(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    volume_size: str
    volume_type: Literal["gp3"] = "gp3"
    iops: int | None = None
    throughput: int | None = None
    kms_key_id: str | pulumi.Output[str] | None = Field(default=None, serialization_alias="kmsKeyID")
    snapshot_id: str | None = Field(default=None, serialization_alias="snapshotID")
    encrypted: bool = True
    delete_on_termination: bool = True


class _BlockDevice(release.ChartValues):
    device_name: str
    ebs: _Ebs


class _MetadataOptions(release.ChartValues):
    http_endpoint: Literal["enabled"] = "enabled"
    http_put_response_hop_limit: int = 1
    """1: a pod that isn't on the host's network can't take the node's role."""
    http_tokens: Literal["required"] = "required"


class NodeClassSpec(release.ChartValues):
    """``spec`` of a karpenter.k8s.aws/v1 EC2NodeClass."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    instance_profile: str | pulumi.Output[str]
    """And not ``role``, for which Karpenter would make profiles itself, and need the right to."""
    ami_selector_terms: list[_AmiSelector]
    subnet_selector_terms: list[_Selector]
    security_group_selector_terms: list[_Selector]
    capacity_reservation_selector_terms: list[_Reservation] | None = None
    block_device_mappings: list[_BlockDevice]
    user_data: str | None = None
    metadata_options: _MetadataOptions = _MetadataOptions()


def karpenter_values(
    *,
    cluster_name: str | pulumi.Output[str],
    interruption_queue: str | pulumi.Output[str] | None,
    role_arn: str | pulumi.Output[str] | None,
) -> KarpenterValues:
    """Decide the chart's values; without ``role_arn`` no role is named (Pod Identity), without a queue spot nodes go unannounced."""
    return KarpenterValues(
        service_account=_ServiceAccount(annotations=None if role_arn is None else {ROLE_ANNOTATION: role_arn}),
        settings=_Settings(cluster_name=cluster_name, interruption_queue=interruption_queue),
    )


def gpu_pools(settings: KarpenterSettings) -> tuple[GpuPool, ...]:
    """Describe Karpenter's pools as others see them: whole GPUs, one a node at least."""
    bundled = settings.os == "bottlerocket"
    return tuple(
        GpuPool(
            name=pool.name,
            labels={naming.POOL_LABEL: pool.name},
            resource=_WHOLE_GPU,
            units=1,
            device_plugin="bundled" if bundled else "install",
        )
        for pool in settings.pools
    )


def node_pool(pool: KarpenterPoolSettings, *, device_plugin: Literal["install", "bundled"]) -> NodePoolSpec:
    """Decide a NodePool. Its labels are on the nodes from the first moment, before anything on them runs."""
    labels = {catalogue.PRESENT_LABEL: "true", naming.POOL_LABEL: pool.name, **pool.labels}
    if device_plugin == "install":  # without the plugin a node never counts as initialised, and Karpenter starts another
        labels[naming.GPU_PLUGIN_LABEL] = pool.name
    return NodePoolSpec(
        limits={_WHOLE_GPU: pool.max_gpus},
        disruption=_Disruption(consolidate_after=release.duration(pool.consolidate_after)),
        template=_Template(
            metadata=_Metadata(labels=labels),
            spec=_NodeSpec(
                node_class_ref=_NodeClassRef(name=pool.name),
                taints=[_Taint()],
                requirements=[
                    _Requirement(key="karpenter.k8s.aws/instance-gpu-manufacturer", values=["nvidia"]),
                    _Requirement(key="karpenter.k8s.aws/instance-family", values=list(pool.instance_families)),
                    _Requirement(key="karpenter.sh/capacity-type", values=list(pool.capacity_types)),
                    _Requirement(key="kubernetes.io/arch", values=[pool.architecture]),
                ],
            ),
        ),
    )


def node_class(
    pool: KarpenterPoolSettings,
    settings: KarpenterSettings,
    *,
    instance_profile: str | pulumi.Output[str],
    cluster_name: str | pulumi.Output[str],
    disk_key: str | pulumi.Output[str] | None = None,
) -> NodeClassSpec:
    """Decide an EC2NodeClass: nodes in the subnets and with the security groups that carry the cluster's discovery tag."""
    discovery = [_Selector(tags={DISCOVERY_TAG: cluster_name})]
    images = _Ebs(
        volume_size=f"{pool.disk.size}Gi",
        iops=pool.disk.iops,
        throughput=pool.disk.rate(fast_pull=pool.fast_pull),
        kms_key_id=disk_key,
        snapshot_id=pool.disk.snapshot,
    )
    disks = [_BlockDevice(device_name=nodeconfig.DATA_DEVICE[settings.os], ebs=images)]
    if settings.os == "bottlerocket":  # named too, or it would be left unencrypted where the account does not encrypt by default
        system = _Ebs(volume_size=f"{nodeconfig.BOTTLEROCKET_ROOT_GIB}Gi", kms_key_id=disk_key)
        disks.insert(0, _BlockDevice(device_name=nodeconfig.ROOT_DEVICE, ebs=system))
    return NodeClassSpec(
        instance_profile=instance_profile,
        ami_selector_terms=[_AmiSelector(alias=settings.ami_alias)],
        subnet_selector_terms=discovery,
        security_group_selector_terms=discovery,
        capacity_reservation_selector_terms=[_Reservation(id=found) for found in pool.capacity_reservations] or None,
        block_device_mappings=disks,
        user_data=nodeconfig.fast_pull(settings.os) if pool.fast_pull else None,
    )


def _object(
    api_version: str, kind: str, name: str, *, spec: release.ChartValues, opts: pulumi.ResourceOptions
) -> k8s.apiextensions.CustomResource:
    return k8s.apiextensions.CustomResource(
        f"{kind.lower()}-{name}",
        api_version=api_version,
        kind=kind,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, labels=naming.labels("karpenter", name)),
        spec=spec.to_helm(),
        opts=opts,
    )


def _after(child: pulumi.ResourceOptions, earlier: pulumi.Resource) -> pulumi.ResourceOptions:
    timeouts = pulumi.CustomTimeouts(delete=_GONE_AFTER)
    return pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[earlier], custom_timeouts=timeouts))


@dataclass(frozen=True, kw_only=True)
class KarpenterArgs:
    """What Karpenter needs."""

    cluster: ClusterHandle
    aws: AwsAccess
    """With ``karpenter_instance_profile``; without ``interruption_queue`` nodes are taken away unannounced."""
    settings: KarpenterSettings
    charts: ChartSettings


class Karpenter(pulumi.ComponentResource):
    """Karpenter and its GPU pools."""

    pools: tuple[GpuPool, ...]
    ready: pulumi.Output[str]
    """Name of the release; resolves once it is up and its pools are there."""

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raise ValueError without an instance profile: no node could ever start."""
        super().__init__(naming.type_token("addons", "Karpenter"), name, None, opts)
        if args.aws.karpenter_instance_profile is None:
            message = "Karpenter was given no profile for its nodes: none could start. Pass AwsAccess.karpenter_instance_profile."
            raise ValueError(message)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        crds = release.release(
            naming.KARPENTER_CRD_RELEASE,
            pin=versions.KARPENTER_CRD,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values={},
            opts=child,
        )
        values = karpenter_values(
            cluster_name=args.cluster.name, interruption_queue=args.aws.interruption_queue, role_arn=args.aws.karpenter_role_arn
        )
        controller = release.release(
            naming.KARPENTER_RELEASE,
            pin=versions.KARPENTER,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values=values.to_helm(),
            skip_crds=True,
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[crds])),
        )
        self.pools = gpu_pools(args.settings)
        ready = [release.up(naming.KARPENTER_RELEASE, controller)]
        for pool, described in zip(args.settings.pools, self.pools, strict=True):
            nodes = node_class(
                pool,
                args.settings,
                instance_profile=args.aws.karpenter_instance_profile,
                cluster_name=args.cluster.name,
                disk_key=args.aws.disk_key,
            )
            used = _object("karpenter.k8s.aws/v1", "EC2NodeClass", pool.name, spec=nodes, opts=_after(child, controller))
            pooled = node_pool(pool, device_plugin=described.device_plugin)
            ready.append(_object("karpenter.sh/v1", "NodePool", pool.name, spec=pooled, opts=_after(child, used)).urn)
        self.ready = pulumi.Output.all(*ready).apply(lambda known: str(known[0]))
        self.register_outputs({"ready": self.ready})
