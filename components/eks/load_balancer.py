"""AWS Load Balancer Controller: creates network load balancers that target pods directly, for Services with its annotations.

Installs the release ``aws-load-balancer-controller`` in kube-system. Creates no load balancer and no IAM role: it takes the role's ARN, or
none with Pod Identity.

The annotations in the handle resolve once the controller is up. So a Service with them is created after the controller and, more
important, deleted before it. A load balancer without its controller would remain and keep its network interfaces, and AWS would refuse to
delete the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi

from components.base import naming, versions
from components.base.drain import NLB_PODS
from components.base.handles import LoadBalancerHandle
from components.base.load_balancers import ANNOTATIONS
from components.eks.iam import service_account
from components.helm import release

if TYPE_CHECKING:
    from components.base.drain import Hops
    from components.base.handles import AwsAccess, ClusterHandle
    from components.base.load_balancers import Scheme
    from components.helm.settings import ChartSettings

_CLIENT_PORTS: Final = (8000, 8001)
"""HTTP and gRPC, of the gateway as of Triton."""


def load_balancer_values(
    *, cluster_name: pulumi.Input[str], region: pulumi.Input[str], vpc_id: pulumi.Input[str], role_arn: pulumi.Input[str] | None
) -> dict[str, Any]:
    """Return the values of the chart aws-load-balancer-controller; without ``role_arn`` they name no role (Pod Identity)."""
    return {
        "clusterName": cluster_name,
        # Explicit: with the instance metadata's hop limit of 1, pods can't look these up.
        "region": region,
        "vpcId": vpc_id,
        "serviceAccount": {"create": True, **service_account(naming.LOAD_BALANCER_RELEASE, role_arn)},
        # The webhook would claim every LoadBalancer Service, and while the controller is down, no Service could be created at all.
        "enableServiceMutatorWebhook": False,
        # Otherwise each upgrade creates a new certificate, and webhooks fail until all pods have it.
        "keepTLSSecret": True,
    }


def service_annotations(scheme: Scheme, hops: Hops) -> dict[str, str]:
    """Return the annotations by which a Service requests a network load balancer that targets pods."""
    prefix = "service.beta.kubernetes.io/aws-load-balancer"
    return {
        **ANNOTATIONS["awsController"][scheme],
        f"{prefix}-target-group-attributes": f"deregistration_delay.timeout_seconds={hops.deregistration_delay}",
        **{f"{prefix}-listener-attributes.TCP-{port}": f"tcp.idle_timeout.seconds={hops.idle_timeout}" for port in _CLIENT_PORTS},
    }


@dataclass(frozen=True, kw_only=True)
class LoadBalancerControllerArgs:
    """Arguments of `LoadBalancerController`."""

    cluster: ClusterHandle
    aws: AwsAccess
    charts: ChartSettings
    hops: Hops


class LoadBalancerController(pulumi.ComponentResource):
    """The controller of AWS load balancers."""

    handle: LoadBalancerHandle

    def __init__(self, name: str, args: LoadBalancerControllerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "LoadBalancerController"), name, None, opts)
        controller = release.release(
            naming.LOAD_BALANCER_RELEASE,
            pin=versions.LOAD_BALANCER_CONTROLLER,
            charts=args.charts,
            namespace=naming.SYSTEM_NAMESPACE,
            values=load_balancer_values(
                cluster_name=args.cluster.name,
                region=args.aws.region,
                vpc_id=args.aws.vpc_id,
                role_arn=args.aws.load_balancer_role_arn,
            ),
            opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
        )
        self.handle = LoadBalancerHandle(
            ready=release.up(naming.LOAD_BALANCER_RELEASE, controller),
            internal=release.gated(service_annotations("internal", args.hops), controller),
            internet_facing=release.gated(service_annotations("internet-facing", args.hops), controller),
            targets=NLB_PODS,
        )
        self.register_outputs({"ready": self.handle.ready})
