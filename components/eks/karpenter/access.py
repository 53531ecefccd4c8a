"""What Karpenter needs in AWS: the controller's role, the nodes' role with its instance profile, and the interruption queue.

The EC2NodeClass names the stack's instance profile, so that no profile of Karpenter's own keeps the role from being deleted. Creates no
Kubernetes object: `controller.py` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base import naming
from components.base.outputs import after
from components.eks.identity import ServiceAccountRole, ServiceAccountRoleArgs, node_role
from components.eks.policies import karpenter_controller, karpenter_nodes, queue_policy
from components.eks.settings.network import DISCOVERY_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.identity import Identity

_EVENTS: Final[Mapping[str, tuple[str, str]]] = {
    "health": ("aws.health", "AWS Health Event"),
    "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "state": ("aws.ec2", "EC2 Instance State-change Notification"),
    "reservation": ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
}
"""What Karpenter reacts to: name of the rule -> source and detail type of the event."""


@dataclass(frozen=True, kw_only=True)
class KarpenterAccessArgs:
    """Arguments of `KarpenterAccess`."""

    cluster: str
    """Name of the cluster, and of the queue."""
    cluster_name: pulumi.Input[str]
    """The same as an output of the cluster: the access entry is replaced with it."""
    identity: Identity
    node_policies: Sequence[str]
    """Names of AWS' managed policies of the node role."""
    security_group_id: pulumi.Input[str]
    """The cluster's own group, which nodes join; tagged here, so that Karpenter finds it."""
    disk_key: pulumi.Input[str] | None
    tags: Mapping[str, str]
    depends_on: Sequence[pulumi.Resource] = ()
    """The control plane, which holds the access entry of the nodes."""


class KarpenterAccess(pulumi.ComponentResource):
    """Karpenter's roles, instance profile and queue in AWS."""

    role_arn: pulumi.Output[str]
    """Role of the controller; resolves once its policies are attached."""
    instance_profile: pulumi.Output[str]
    """Name of the profile of nodes; resolves once a node with it can join."""
    queue: pulumi.Output[str]
    """Name of the queue; resolves once interruptions arrive in it."""

    def __init__(self, name: str, args: KarpenterAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("cluster", "KarpenterAccess"), name, None, opts)
        account = args.identity.account
        self._child = pulumi.ResourceOptions(parent=self, provider=args.identity.provider)
        node_role_arn = self._nodes(name, args)
        queue_arn = self._queue(name, args)
        known = pulumi.Output.all(node_role=node_role_arn, queue=queue_arn, disk_key=args.disk_key)
        self.role_arn = ServiceAccountRole(
            f"{name}-controller",
            ServiceAccountRoleArgs(
                identity=args.identity,
                namespace=naming.SYSTEM_NAMESPACE,
                service_account=naming.KARPENTER_RELEASE,
                statements=known.apply(lambda arns: karpenter_controller(account, args.cluster, **arns)),
                more={"nodes": karpenter_nodes(account, args.cluster)},  # together they exceed a policy's limit
                tags=args.tags,
            ),
            pulumi.ResourceOptions(parent=self),
        ).arn
        self.register_outputs({"roleArn": self.role_arn, "instanceProfile": self.instance_profile, "queue": self.queue})

    def _nodes(self, name: str, args: KarpenterAccessArgs) -> pulumi.Output[str]:
        """Create the nodes' role, profile and access entry; return the role's ARN.

        Not the role of the managed node groups: EKS creates an entry for theirs and would refuse a second one.
        """
        tags = dict(args.tags)
        role, ready = node_role(f"{name}-node", args.identity.account, args.node_policies, tags=tags, opts=self._child)
        entry = aws.eks.AccessEntry(
            f"{name}-node",
            cluster_name=args.cluster_name,
            principal_arn=role.arn,
            type="EC2_LINUX",
            tags=tags,
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(args.depends_on))),
        )
        profile = aws.iam.InstanceProfile(f"{name}-node", role=role.name, tags=tags, opts=self._child)
        group = aws.ec2.Tag(
            f"{name}-discovery", resource_id=args.security_group_id, key=DISCOVERY_TAG, value=args.cluster, opts=self._child
        )
        self.instance_profile = after(profile.name, entry.id, ready, group.id)
        return role.arn

    def _queue(self, name: str, args: KarpenterAccessArgs) -> pulumi.Output[str]:
        """Create the queue, its policy, and the rules that fill it; return its ARN."""
        tags = dict(args.tags)
        queue = aws.sqs.Queue(
            f"{name}-interruptions",
            name=args.cluster,
            message_retention_seconds=300,  # a spot warning older than its two minutes is useless
            sqs_managed_sse_enabled=True,
            tags=tags,
            opts=self._child,
        )
        rules = {
            event: aws.cloudwatch.EventRule(
                f"{name}-{event}",
                description=f"{kind}, for Karpenter in {args.cluster}",
                event_pattern=json.dumps({"source": [source], "detail-type": [kind]}, sort_keys=True),
                tags=tags,
                opts=self._child,
            )
            for event, (source, kind) in _EVENTS.items()
        }
        policy = aws.sqs.QueuePolicy(
            f"{name}-interruptions",
            queue_url=queue.url,
            policy=pulumi.Output.all(queue.arn, *(rule.arn for rule in rules.values())).apply(
                lambda known: queue_policy(known[0], known[1:])
            ),
            opts=self._child,
        )
        targets = [
            aws.cloudwatch.EventTarget(f"{name}-{event}", rule=rule.name, arn=after(queue.arn, policy.id), opts=self._child).id
            for event, rule in rules.items()
        ]
        self.queue = after(queue.name, policy.id, *targets)
        return queue.arn
