"""cluster-autoscaler: adds nodes to a node group when a pod has no room, and removes nodes that are unneeded.

Installs the release ``cluster-autoscaler`` in kube-system, with a service account of that name. Creates no IAM role: it takes the role's
ARN (IRSA), or none where a Pod Identity association names the service account. Creates no tag either: EKS sets the tags by which it finds
scaling groups, and `node_groups.py` those that describe a group's GPUs before its first node.

It moves Triton's pods, within the disruption budget and their grace period, when less than half of a node is requested. It looks at
requests and not at load, so a requested GPU always counts as used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from components.base import naming, versions
from components.base.quantities import prometheus_duration
from components.eks.iam import service_account
from components.helm import release

if TYPE_CHECKING:
    from components.base.drain import Hops
    from components.base.handles import AwsAccess, ClusterHandle
    from components.eks.settings.addons import ClusterAutoscalerSettings
    from components.helm.settings import ChartSettings


def autoscaler_values(
    settings: ClusterAutoscalerSettings,
    *,
    cluster_name: pulumi.Input[str],
    region: pulumi.Input[str],
    kubernetes_version: str,
    role_arn: pulumi.Input[str] | None,
    hops: Hops,
) -> dict[str, Any]:
    """Return the values of the chart cluster-autoscaler; without ``role_arn`` they name no role (Pod Identity).

    ``kubernetes_version`` is a minor version such as ``1.35``: the image simulates the scheduler of that version.
    """
    return {
        "fullnameOverride": naming.AUTOSCALER_RELEASE,
        "cloudProvider": "aws",
        "awsRegion": region,
        "autoDiscovery": {"clusterName": cluster_name},
        "image": {"tag": versions.cluster_autoscaler_image(kubernetes_version)},
        "rbac": {"serviceAccount": service_account(naming.AUTOSCALER_RELEASE, role_arn)},
        "extraArgs": {
            "expander": settings.expander,
            # With one group per zone, only the first one in alphabetical order would grow.
            "balance-similar-node-groups": True,
            # A node with a pod of kube-system that no DaemonSet owns would never be removed.
            "skip-nodes-with-system-pods": False,
            # Triton's /tmp and /dev/shm are emptyDirs: by default a node that ever ran Triton would never be removed.
            "skip-nodes-with-local-storage": False,
            "scale-down-unneeded-time": prometheus_duration(settings.scale_down_unneeded_time),
            "max-node-provision-time": prometheus_duration(settings.max_node_provision_time),
            # The default is 600 s; it would cut a longer grace period short (kubernetes/kubernetes#94435).
            "max-graceful-termination-sec": max(600, hops.node_drain),
        },
        # No CPU limit: throttling would delay new nodes.
        "resources": {"requests": {"cpu": "100m", "memory": "300Mi"}, "limits": {"memory": "600Mi"}},
    }


@dataclass(frozen=True, kw_only=True)
class ClusterAutoscalerArgs:
    """Arguments of `ClusterAutoscaler`."""

    cluster: ClusterHandle
    aws: AwsAccess
    settings: ClusterAutoscalerSettings
    charts: ChartSettings
    hops: Hops


class ClusterAutoscaler(pulumi.ComponentResource):
    """The node autoscaler for node groups."""

    ready: pulumi.Output[str]
    """Name of the release; resolves once it is up."""

    def __init__(self, name: str, args: ClusterAutoscalerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "ClusterAutoscaler"), name, None, opts)
        autoscaler = release.release(
            naming.AUTOSCALER_RELEASE,
            pin=versions.CLUSTER_AUTOSCALER,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values=autoscaler_values(
                args.settings,
                cluster_name=args.cluster.name,
                region=args.aws.region,
                kubernetes_version=args.aws.kubernetes_version,
                role_arn=args.aws.autoscaler_role_arn,
                hops=args.hops,
            ),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.ready = release.up(naming.AUTOSCALER_RELEASE, autoscaler)
        self.register_outputs({"ready": self.ready})
