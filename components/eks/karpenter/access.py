"""What Karpenter needs of AWS: the controller's role, the nodes' role with its instance profile, and the queue of interruptions.

The statements are those of Karpenter's own CloudFormation template for the version that `versions.py` pins (v1.14), with two differences.
The instance profile is made here and named in the EC2NodeClass, so that the controller may create, change and delete nothing in IAM, and a
destroy can't stumble over a profile that holds the role. Zonal shift is off in the chart, and its permission is left out. Makes no
Kubernetes object: `addons/karpenter.py` does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base import naming
from components.base.naming import type_token
from components.base.outputs import after
from components.eks.iam import Statement, document, service_trust
from components.eks.identity import ServiceAccountRole, ServiceAccountRoleArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.identity import Account, Identity

DISCOVERY_TAG: Final = "karpenter.sh/discovery"
_MESSAGE_SECONDS: Final = 300
"""How long a message waits: a spot warning older than its two minutes is of no use."""
_NODEPOOL: Final = "karpenter.sh/nodepool"

EVENTS: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "health": ("aws.health", "AWS Health Event"),
        "spot": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
        "rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
        "state": ("aws.ec2", "EC2 Instance State-change Notification"),
        "reservation": ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
    }
)
"""What Karpenter wants to hear of: name of the rule -> source and kind of the event."""


def event_pattern(name: str) -> str:
    """Pattern of an EventBridge rule for one of `EVENTS`."""
    source, kind = EVENTS[name]
    return json.dumps({"source": [source], "detail-type": [kind]}, sort_keys=True)


def node_lifecycle(account: Account, cluster: str) -> tuple[Statement, ...]:
    """Start, tag and end instances: those that carry the cluster's tag and a NodePool's, and no others.

    Images, snapshots, subnets, security groups and reservations are read by a launch and not changed; some belong to other accounts, which
    is why theirs is left open.
    """
    owned = f"kubernetes.io/cluster/{cluster}"
    started = tuple(
        account.arn("ec2", f"{kind}/*")
        for kind in ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
    )
    ec2 = f"arn:{account.partition}:ec2:{account.region}"
    of_cluster = {"StringEquals": {f"aws:ResourceTag/{owned}": "owned"}, "StringLike": {f"aws:ResourceTag/{_NODEPOOL}": "*"}}
    tagged = {f"aws:RequestTag/{owned}": "owned", "aws:RequestTag/eks:eks-cluster-name": cluster}
    pooled = {f"aws:RequestTag/{_NODEPOOL}": "*"}
    return (
        Statement(
            sid="LaunchFrom",
            actions=("ec2:RunInstances", "ec2:CreateFleet"),
            resources=(
                f"{ec2}::image/*",
                f"{ec2}::snapshot/*",
                f"{ec2}:*:security-group/*",
                f"{ec2}:*:subnet/*",
                f"{ec2}:*:capacity-reservation/*",
                f"{ec2}:*:placement-group/*",
            ),
        ),
        Statement(
            sid="LaunchByTemplate",
            actions=("ec2:RunInstances", "ec2:CreateFleet"),
            resources=(account.arn("ec2", "launch-template/*"),),
            conditions=of_cluster,
        ),
        Statement(
            sid="Launch",
            actions=("ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"),
            resources=started,
            conditions={"StringEquals": tagged, "StringLike": pooled},
        ),
        Statement(
            sid="TagWhatIsLaunched",
            actions=("ec2:CreateTags",),
            resources=started,
            conditions={
                "StringEquals": {**tagged, "ec2:CreateAction": ("RunInstances", "CreateFleet", "CreateLaunchTemplate")},
                "StringLike": pooled,
            },
        ),
        Statement(
            sid="TagNodes",
            actions=("ec2:CreateTags",),
            resources=(account.arn("ec2", "instance/*"),),
            conditions={
                **of_cluster,
                "StringEqualsIfExists": {"aws:RequestTag/eks:eks-cluster-name": cluster},
                "ForAllValues:StringEquals": {"aws:TagKeys": ("eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name")},
            },
        ),
        Statement(
            sid="End",
            actions=("ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"),
            resources=(account.arn("ec2", "instance/*"), account.arn("ec2", "launch-template/*")),
            conditions=of_cluster,
        ),
    )


def controller(account: Account, cluster: str, *, node_role: str, queue: str, disk_key: str | None) -> tuple[Statement, ...]:
    """Everything that the controller does besides starting and ending nodes.

    Args:
        account: Where all of it is.
        cluster: Name of the cluster.
        node_role: ARN of the role that nodes get.
        queue: ARN of the queue of interruptions.
        disk_key: ARN of the key that nodes' disks are encrypted with. Karpenter launches instances itself, so that, other than with a
            scaling group, it is its own role that needs the key.
    """
    profiles = f"arn:{account.partition}:iam::{account.id}:instance-profile/*"
    statements = [
        Statement(
            sid="GiveNodesTheirRole",
            actions=("iam:PassRole",),
            resources=(node_role,),
            conditions={"StringEquals": {"iam:PassedToService": ("ec2.amazonaws.com", "ec2.amazonaws.com.cn")}},
        ),
        # Its garbage collector looks for profiles that it made itself, of which there are none.
        Statement(sid="SeeProfiles", actions=("iam:ListInstanceProfiles", "iam:GetInstanceProfile"), resources=(profiles,)),
        Statement(sid="SeeCluster", actions=("eks:DescribeCluster",), resources=(account.arn("eks", f"cluster/{cluster}"),)),
        Statement(sid="Hear", actions=("sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"), resources=(queue,)),
        Statement(
            sid="See",
            actions=(
                "ec2:DescribeCapacityReservations",
                "ec2:DescribeImages",
                "ec2:DescribeInstances",
                "ec2:DescribeInstanceStatus",
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribePlacementGroups",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSpotPriceHistory",
                "ec2:DescribeSubnets",
            ),
            resources=("*",),
            conditions={"StringEquals": {"aws:RequestedRegion": account.region}},
        ),
        Statement(
            sid="FindImages",
            actions=("ssm:GetParameter",),
            resources=(f"arn:{account.partition}:ssm:{account.region}::parameter/aws/service/*",),
        ),
        Statement(sid="SeePrices", actions=("pricing:GetProducts",), resources=("*",)),
    ]
    if disk_key is not None:
        statements += launch_with_key(account, disk_key)
    return tuple(statements)


def launch_with_key(account: Account, key: str) -> tuple[Statement, ...]:
    """What a principal needs that launches instances with disks encrypted with ``key`` (EC2 user guide, "EBS encryption")."""
    through_ec2 = {"kms:ViaService": account.service("ec2")}
    return (
        Statement(
            sid="EncryptDisks",
            actions=("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncrypt*"),
            resources=(key,),
            conditions={"StringEquals": through_ec2},
        ),
        Statement(
            sid="LendKeyToDisks",
            actions=("kms:CreateGrant",),
            resources=(key,),
            conditions={"StringEquals": through_ec2, "Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
    )


def queue_policy(queue: str, rules: Sequence[str]) -> str:
    """Policy of the queue: the stack's own rules may send to it, over TLS, and nobody else."""
    return document(
        [
            Statement(
                sid="Events",
                actions=("sqs:SendMessage",),
                resources=(queue,),
                principals={"Service": ("events.amazonaws.com",)},
                conditions={"ArnEquals": {"aws:SourceArn": tuple(sorted(rules))}},
            ),
            Statement(
                sid="DenyHTTP",
                effect="Deny",
                actions=("sqs:*",),
                resources=(queue,),
                principals={"AWS": ("*",)},
                conditions={"Bool": {"aws:SecureTransport": "false"}},
            ),
        ]
    )


@dataclass(frozen=True, kw_only=True)
class KarpenterAccessArgs:
    """Arguments of `KarpenterAccess`."""

    cluster: str
    """Name of the cluster, and of the queue."""
    identity: Identity
    node_policies: Sequence[str]
    """Names of AWS' managed policies that a node's role has."""
    node_service: str
    """Service that takes the nodes' role; China has one of its own."""
    security_group_id: pulumi.Input[str]
    """The cluster's own group, which nodes get; tagged here, so that Karpenter finds it."""
    disk_key: pulumi.Input[str] | None
    tags: Mapping[str, str]
    depends_on: Sequence[pulumi.Resource] = ()
    """The control plane: an access entry is one of its."""


class KarpenterAccess(pulumi.ComponentResource):
    """Karpenter's place in an AWS account."""

    role_arn: pulumi.Output[str]
    """Role of the controller; resolves once its policies are attached."""
    instance_profile: pulumi.Output[str]
    """Name of the profile of nodes; resolves once a node that has it could join."""
    queue: pulumi.Output[str]
    """Name of the queue; resolves once interruptions arrive there."""

    def __init__(self, name: str, args: KarpenterAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "KarpenterAccess"), name, None, opts)
        account = args.identity.account
        self._child = pulumi.ResourceOptions(parent=self, provider=args.identity.provider)
        self._tags = dict(args.tags)
        node_role = self._nodes(name, args)
        queue_arn = self._queue(name, args)
        found = aws.ec2.Tag(
            f"{name}-discovery", resource_id=args.security_group_id, key=DISCOVERY_TAG, value=args.cluster, opts=self._child
        )
        self.instance_profile = after(self.instance_profile, found.id)

        def rest(known: Sequence[str]) -> tuple[Statement, ...]:
            key = known[2] if len(known) > 2 else None  # noqa: PLR2004  # role and queue come first
            return controller(account, args.cluster, node_role=known[0], queue=known[1], disk_key=key)

        self.role_arn = ServiceAccountRole(
            f"{name}-controller",
            ServiceAccountRoleArgs(
                identity=args.identity,
                namespace=naming.SYSTEM_NAMESPACE,
                service_account=naming.KARPENTER_RELEASE,
                statements=pulumi.Output.all(node_role, queue_arn, *([] if args.disk_key is None else [args.disk_key])).apply(rest),
                # A policy of its own: both together are longer than one may be.
                more={"nodes": node_lifecycle(account, args.cluster)},
                tags=args.tags,
            ),
            pulumi.ResourceOptions(parent=self),
        ).arn
        self.register_outputs({"roleArn": self.role_arn, "instanceProfile": self.instance_profile, "queue": self.queue})

    def _nodes(self, name: str, args: KarpenterAccessArgs) -> pulumi.Output[str]:
        """Make the nodes' role, its profile and its entry; give the role's ARN.

        A role of its own, apart from the managed groups': EKS makes an entry for theirs itself, and would refuse a second.
        """
        role = aws.iam.Role(f"{name}-node", assume_role_policy=service_trust(args.node_service), tags=self._tags, opts=self._child)
        attached = [
            aws.iam.RolePolicyAttachment(
                f"{name}-node-{policy}",
                role=role.name,
                policy_arn=f"arn:{args.identity.account.partition}:iam::aws:policy/{policy}",
                opts=self._child,
            ).id
            for policy in args.node_policies
        ]
        entry = aws.eks.AccessEntry(
            f"{name}-node",
            cluster_name=args.cluster,
            principal_arn=role.arn,
            type="EC2_LINUX",
            tags=self._tags,
            opts=pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(args.depends_on))),
        )
        profile = aws.iam.InstanceProfile(f"{name}-node", role=role.name, tags=self._tags, opts=self._child)
        self.instance_profile = after(profile.name, entry.id, *attached)
        return role.arn

    def _queue(self, name: str, args: KarpenterAccessArgs) -> pulumi.Output[str]:
        """Make the queue, what fills it, and its policy; give its ARN."""
        queue = aws.sqs.Queue(
            f"{name}-interruptions",
            name=args.cluster,
            message_retention_seconds=_MESSAGE_SECONDS,
            sqs_managed_sse_enabled=True,
            tags=self._tags,
            opts=self._child,
        )
        rules = {
            event: aws.cloudwatch.EventRule(
                f"{name}-{event}",
                description=f"{kind}, for Karpenter in {args.cluster}",
                event_pattern=event_pattern(event),
                tags=self._tags,
                opts=self._child,
            )
            for event, (_, kind) in EVENTS.items()
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
