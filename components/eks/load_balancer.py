"""AWS Load Balancer Controller: network load balancers that send to pods directly, for Services that ask for one.

Makes the release ``aws-load-balancer-controller`` in kube-system. Makes no IAM role (it is handed the ARN, or none under Pod Identity) and
no load balancer: a Service asks for one by the annotations that the handle carries, and they resolve only when the controller is up. So a
Service that has them is made after the controller and, what matters more, deleted before it: a load balancer whose controller is gone
stays, keeps its network interfaces, and the network can't be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import pulumi
from pydantic import ConfigDict, Field

from components.base import naming, versions
from components.base.handles import LoadBalancerHandle
from components.helm import release

if TYPE_CHECKING:
    from components.base.handles import AwsAccess, ClusterHandle
    from components.helm.settings import ChartSettings

ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
_SERVICE: Final = "service.beta.kubernetes.io/aws-load-balancer"


class _ServiceAccount(release.ChartValues):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    create: bool = True
    name: str = naming.LOAD_BALANCER_RELEASE
    """Fixed: the role's trust policy names it."""
    annotations: dict[str, str | pulumi.Output[str]] | None


class LoadBalancerValues(release.ChartValues):
    """What is passed to the chart aws-load-balancer-controller, key for key."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    cluster_name: str | pulumi.Output[str]
    region: str | pulumi.Output[str]
    vpc_id: str | pulumi.Output[str]
    """Said, not found out: pods can't ask the instance's metadata where its hop limit is 1."""
    service_account: _ServiceAccount
    enable_service_mutator_webhook: bool = False
    """It would make every LoadBalancer Service ours, and fail every Service of the cluster while the controller is away."""
    keep_tls_secret: bool = Field(default=True, alias="keepTLSSecret")
    """Else each upgrade makes a new certificate, and webhooks fail until all pods have it."""


def load_balancer_values(
    *,
    cluster_name: str | pulumi.Output[str],
    region: str | pulumi.Output[str],
    vpc_id: str | pulumi.Output[str],
    role_arn: str | pulumi.Output[str] | None,
) -> LoadBalancerValues:
    """Decide the chart's values; without ``role_arn`` no role is named (Pod Identity)."""
    return LoadBalancerValues(
        cluster_name=cluster_name,
        region=region,
        vpc_id=vpc_id,
        service_account=_ServiceAccount(annotations=None if role_arn is None else {ROLE_ANNOTATION: role_arn}),
    )


def service_annotations(scheme: Literal["internal", "internet-facing"]) -> dict[str, str]:
    """Give the annotations by which a Service asks this controller for a network load balancer with pods as targets."""
    return {f"{_SERVICE}-type": "external", f"{_SERVICE}-nlb-target-type": "ip", f"{_SERVICE}-scheme": scheme}


@dataclass(frozen=True, kw_only=True)
class LoadBalancerControllerArgs:
    """What LoadBalancerController needs."""

    cluster: ClusterHandle
    aws: AwsAccess
    charts: ChartSettings


class LoadBalancerController(pulumi.ComponentResource):
    """The controller of AWS load balancers."""

    handle: LoadBalancerHandle

    def __init__(self, name: str, args: LoadBalancerControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "LoadBalancerController"), name, None, opts)
        values = load_balancer_values(
            cluster_name=args.cluster.name,
            region=args.aws.region,
            vpc_id=args.aws.vpc_id,
            role_arn=args.aws.load_balancer_role_arn,
        )
        controller = release.release(
            naming.LOAD_BALANCER_RELEASE,
            pin=versions.LOAD_BALANCER_CONTROLLER,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values=values.to_helm(),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.handle = LoadBalancerHandle(
            ready=release.up(naming.LOAD_BALANCER_RELEASE, controller),
            internal=release.gated(service_annotations("internal"), controller),
            internet_facing=release.gated(service_annotations("internet-facing"), controller),
        )
        self.register_outputs({"ready": self.handle.ready})
