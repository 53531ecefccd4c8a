"""cluster-autoscaler: grows a node group when a pod finds no room, and shrinks it when nodes stand empty.

Makes the release ``cluster-autoscaler`` in kube-system, with a service account of that name. Makes no IAM role: it is handed the role's
ARN (IRSA), or none where a Pod Identity association names the service account. Makes no tag on an auto-scaling group: those by which it
finds the groups are EKS' own, and those by which it learns of a group's GPUs before its first node are the node group's.

What it does with Triton's pods: it moves them (no ``safe-to-evict: false``), within the disruption budget and with their grace period,
when their node is below half used. It looks at requests, not at load, so a busy GPU that is requested is always used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
from pydantic import ConfigDict, Field

from components.base import naming, versions
from components.helm import release

if TYPE_CHECKING:
    from components.base.handles import AwsAccess, ClusterHandle
    from components.eks.settings.addons import ClusterAutoscalerSettings
    from components.helm.settings import ChartSettings

ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"


class _AutoDiscovery(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    cluster_name: str | pulumi.Output[str]


class _Image(release.ChartValues):
    tag: str


class _ServiceAccount(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    name: str = naming.AUTOSCALER_RELEASE
    """Fixed: the role's trust policy names it."""
    annotations: dict[str, str | pulumi.Output[str]] | None


class _Rbac(release.ChartValues):
    service_account: _ServiceAccount


class AutoscalerValues(release.ChartValues):
    """What is passed to the chart cluster-autoscaler, key for key."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    fullname_override: str = naming.AUTOSCALER_RELEASE
    cloud_provider: str = "aws"
    aws_region: str | pulumi.Output[str]
    auto_discovery: _AutoDiscovery
    image: _Image
    rbac: _Rbac
    extra_args: dict[str, str | bool]
    resources: release.ContainerResources = Field(
        # No CPU limit: throttled, it would be late with the one thing that it does.
        default_factory=lambda: release.ContainerResources(requests={"cpu": "100m", "memory": "300Mi"}, limits={"memory": "600Mi"})
    )


def autoscaler_values(
    settings: ClusterAutoscalerSettings,
    *,
    cluster_name: str | pulumi.Output[str],
    region: str | pulumi.Output[str],
    kubernetes_version: str,
    role_arn: str | pulumi.Output[str] | None,
) -> AutoscalerValues:
    """Decide the chart's values. ``kubernetes_version`` is a minor such as ``1.35``; without ``role_arn`` none is named (Pod Identity)."""
    return AutoscalerValues(
        aws_region=region,
        auto_discovery=_AutoDiscovery(cluster_name=cluster_name),
        image=_Image(tag=versions.cluster_autoscaler_image(kubernetes_version)),
        rbac=_Rbac(service_account=_ServiceAccount(annotations=None if role_arn is None else {ROLE_ANNOTATION: role_arn})),
        extra_args={
            "expander": settings.expander,
            # One group a zone: without it the first in the alphabet takes all.
            "balance-similar-node-groups": True,
            # A node with one DaemonSet-less pod of kube-system on it would never go.
            "skip-nodes-with-system-pods": False,
            # Triton's /tmp and /dev/shm are emptyDirs: with the default, a node that ever ran Triton is kept for ever.
            "skip-nodes-with-local-storage": False,
            "scale-down-unneeded-time": release.duration(settings.scale_down_unneeded_time),
            "max-node-provision-time": release.duration(settings.max_node_provision_time),
        },
    )


@dataclass(frozen=True, kw_only=True)
class ClusterAutoscalerArgs:
    """What ClusterAutoscaler needs."""

    cluster: ClusterHandle
    aws: AwsAccess
    settings: ClusterAutoscalerSettings
    charts: ChartSettings


class ClusterAutoscaler(pulumi.ComponentResource):
    """The node autoscaler for node groups."""

    ready: pulumi.Output[str]
    """Name of the release; resolves once it is up."""

    def __init__(self, name: str, args: ClusterAutoscalerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "ClusterAutoscaler"), name, None, opts)
        values = autoscaler_values(
            args.settings,
            cluster_name=args.cluster.name,
            region=args.aws.region,
            kubernetes_version=args.aws.kubernetes_version,
            role_arn=args.aws.autoscaler_role_arn,
        )
        autoscaler = release.release(
            naming.AUTOSCALER_RELEASE,
            pin=versions.CLUSTER_AUTOSCALER,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values=values.to_helm(),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.ready = release.up(naming.AUTOSCALER_RELEASE, autoscaler)
        self.register_outputs({"ready": self.ready})
