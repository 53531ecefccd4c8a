"""Karpenter: starts GPU nodes of the size that pending pods need, without node groups, and removes them.

Installs the releases ``karpenter-crd`` and ``karpenter`` in kube-system, and creates an EC2NodeClass and a NodePool for each pool. The CRDs
have a separate chart, because Helm never upgrades CRDs inside a chart. IAM roles, the queue and subnet tags are created elsewhere.

The order of a destroy matters. NodePools go first, then EC2NodeClasses; Karpenter's finalizer keeps an EC2NodeClass until its last node is
gone. Only then Karpenter goes: without it, the finalizers would block the deletion while instances keep running. What runs on its nodes
depends on the NodePools, so it is deleted before they drain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.base.handles import GpuPool
from components.base.quantities import prometheus_duration
from components.eks import ami
from components.eks.iam import service_account
from components.eks.settings.network import DISCOVERY_TAG
from components.eks.user_data import fast_pull
from components.gpu import catalogue
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.base.handles import AwsAccess, ClusterHandle
    from components.eks.karpenter.settings import KarpenterPoolSettings, KarpenterSettings
    from components.helm.settings import ChartSettings

_DELETE_TIMEOUT: Final = "30m"
"""Covers the drain of a pool's last pod and the termination of its instance, which takes minutes with GPUs."""


def karpenter_values(
    *, cluster_name: pulumi.Input[str], interruption_queue: pulumi.Input[str] | None, role_arn: pulumi.Input[str] | None
) -> dict[str, Any]:
    """Return the values of the chart karpenter. No ``role_arn`` means Pod Identity; without a queue, spot nodes get no warning."""
    queue = {} if interruption_queue is None else {"interruptionQueue": interruption_queue}
    return {
        "serviceAccount": service_account(naming.KARPENTER_RELEASE, role_arn),
        "settings": {"clusterName": cluster_name, **queue},
        # The memory request equals the limit: Karpenter keeps all instance types in memory, and an OOM kill would stop new nodes. Its
        # example requests 1 CPU; two replicas would take half of two small nodes, and it is mostly idle. No CPU limit: throttling would
        # delay new nodes.
        "controller": {"resources": {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
    }


def gpu_pools(settings: KarpenterSettings) -> tuple[GpuPool, ...]:
    """Return Karpenter's pools as other components see them: whole GPUs, at least one per node."""
    return tuple(
        GpuPool(
            name=pool.name,
            labels={naming.POOL_LABEL: pool.name},
            resource=catalogue.RESOURCE,
            units=1,
            device_plugin="bundled" if ami.brings_device_plugin(settings.os) else "install",
        )
        for pool in settings.pools
    )


def node_pool(pool: KarpenterPoolSettings, *, device_plugin: Literal["install", "bundled"]) -> dict[str, Any]:
    """Return the ``spec`` of a karpenter.sh/v1 NodePool. Nodes have its labels from their start, before any pod runs."""
    labels = {catalogue.PRESENT_LABEL: "true", naming.POOL_LABEL: pool.name, **pool.labels}
    if device_plugin == "install":  # without the plugin a node never becomes initialized, and Karpenter starts another
        labels[naming.GPU_PLUGIN_LABEL] = pool.name
    requirements = {
        "karpenter.k8s.aws/instance-gpu-manufacturer": ["nvidia"],
        "karpenter.k8s.aws/instance-family": list(pool.instance_families),
        "karpenter.sh/capacity-type": list(pool.capacity_types),
        "kubernetes.io/arch": [pool.architecture],
    }
    return {
        "limits": {catalogue.RESOURCE: pool.max_gpus},
        # Not WhenEmptyOrUnderutilized: it would move Triton's pods to save a GPU, and each move is a cold start.
        "disruption": {"consolidationPolicy": "WhenEmpty", "consolidateAfter": prometheus_duration(pool.consolidate_after)},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                # By default a node is replaced after 30 days, whether it serves or not. `amiAlias` rolls out a newer image.
                "expireAfter": "Never",
                "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": pool.name},
                "taints": [{"key": catalogue.TAINT_KEY, "value": catalogue.TAINT_VALUE, "effect": "NoSchedule"}],
                "requirements": [{"key": key, "operator": "In", "values": values} for key, values in requirements.items()],
            },
        },
    }


def node_class(
    pool: KarpenterPoolSettings,
    settings: KarpenterSettings,
    *,
    instance_profile: pulumi.Input[str],
    cluster_name: pulumi.Input[str],
    disk_key: pulumi.Input[str] | None = None,
) -> dict[str, Any]:
    """Return the ``spec`` of a karpenter.k8s.aws/v1 EC2NodeClass.

    Its nodes start in the subnets, and with the security groups, that carry the cluster's discovery tag.
    """
    discovery = [{"tags": {DISCOVERY_TAG: cluster_name}}]
    images: dict[str, Any] = {
        "volumeSize": f"{pool.disk.size}Gi",
        "iops": pool.disk.iops,
        "throughput": pool.disk.rate(fast_pull=pool.fast_pull),
    }
    if pool.disk.snapshot is not None:
        images["snapshotID"] = pool.disk.snapshot
    disks = {ami.DATA_DEVICE[settings.os]: images}
    if settings.os == "bottlerocket":  # listed too: otherwise only accounts that encrypt by default would encrypt it
        disks = {ami.ROOT_DEVICE: {"volumeSize": f"{ami.BOTTLEROCKET_ROOT_GIB}Gi"}, **disks}
    encrypted = {
        "volumeType": "gp3",
        "encrypted": True,
        "deleteOnTermination": True,
        **({} if disk_key is None else {"kmsKeyID": disk_key}),
    }
    spec = {
        "instanceProfile": instance_profile,  # with `role`, Karpenter would create profiles and need the permission to
        "amiSelectorTerms": [{"alias": settings.ami_alias}],
        "subnetSelectorTerms": discovery,
        "securityGroupSelectorTerms": discovery,
        "blockDeviceMappings": [{"deviceName": device, "ebs": {**disk, **encrypted}} for device, disk in disks.items()],
        # Hop limit 1: a pod that is not on the host's network can't assume the node's role.
        "metadataOptions": {"httpEndpoint": "enabled", "httpPutResponseHopLimit": 1, "httpTokens": "required"},
    }
    if pool.capacity_reservations:
        spec["capacityReservationSelectorTerms"] = [{"id": reservation} for reservation in pool.capacity_reservations]
    if pool.fast_pull:
        spec["userData"] = fast_pull(settings.os)
    return spec


@dataclass(frozen=True, kw_only=True)
class KarpenterArgs:
    """Arguments of `Karpenter`."""

    cluster: ClusterHandle
    aws: AwsAccess
    """With ``karpenter_instance_profile``. Without ``interruption_queue``, nodes get no warning before AWS reclaims them."""
    settings: KarpenterSettings
    charts: ChartSettings


class Karpenter(pulumi.ComponentResource):
    """Karpenter and its GPU pools."""

    pools: tuple[GpuPool, ...]
    ready: pulumi.Output[str]
    """Name of the release; resolves once it is up and its pools exist."""

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        """Raise ValueError without an instance profile: no node could start."""
        super().__init__(naming.type_token("addons", "Karpenter"), name, None, opts)
        profile = args.aws.karpenter_instance_profile
        if profile is None:
            message = "Karpenter got no instance profile for its nodes: none could start. Pass AwsAccess.karpenter_instance_profile."
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
        controller = release.release(
            naming.KARPENTER_RELEASE,
            pin=versions.KARPENTER,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values=karpenter_values(
                cluster_name=args.cluster.name, interruption_queue=args.aws.interruption_queue, role_arn=args.aws.karpenter_role_arn
            ),
            skip_crds=True,
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[crds])),
        )
        self.pools = gpu_pools(args.settings)
        created = []
        for pool, described in zip(args.settings.pools, self.pools, strict=True):
            nodes = node_class(pool, args.settings, instance_profile=profile, cluster_name=args.cluster.name, disk_key=args.aws.disk_key)
            classes = _custom("karpenter.k8s.aws/v1", "EC2NodeClass", pool.name, spec=nodes, after=controller, opts=child)
            spec = node_pool(pool, device_plugin=described.device_plugin)
            created.append(_custom("karpenter.sh/v1", "NodePool", pool.name, spec=spec, after=classes, opts=child).urn)
        self.ready = pulumi.Output.all(release.up(naming.KARPENTER_RELEASE, controller), *created).apply(lambda known: str(known[0]))
        self.register_outputs({"ready": self.ready})


def _custom(
    api_version: str, kind: str, name: str, *, spec: Mapping[str, Any], after: pulumi.Resource, opts: pulumi.ResourceOptions
) -> k8s.apiextensions.CustomResource:
    later = pulumi.ResourceOptions(depends_on=[after], custom_timeouts=pulumi.CustomTimeouts(delete=_DELETE_TIMEOUT))
    return k8s.apiextensions.CustomResource(
        f"{kind.lower()}-{name}",
        api_version=api_version,
        kind=kind,
        metadata=k8s.meta.v1.ObjectMetaArgs(name=name, labels=naming.labels("karpenter", name)),
        spec=spec,
        opts=pulumi.ResourceOptions.merge(opts, later),
    )
