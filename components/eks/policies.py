"""Every IAM and KMS policy of an EKS stack, each a function of plain values. Pure: creates no resource.

Karpenter's statements follow its own CloudFormation template for the version that `versions.py` pins (v1.14), with two differences. The
stack creates the instance profile, so the controller can't create, change or delete anything in IAM. The chart turns zonal shift off, so
its permission is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from components.eks.iam import Statement, actions, document

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.eks.iam import Account

_ANY: Final = ("*",)
"""Only for actions that take no resource, and in a key's own policy, where it means that key."""
_USE_KEY: Final = actions(kms="Decrypt DescribeKey Encrypt GenerateDataKey* ReEncrypt*")
_FOR_AWS: Final = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
"""Limits a grant to AWS services: a grant outlives the policy that allowed it."""

SCALING_ROLE: Final = "AWSServiceRoleForAutoScaling"
SCALING_PATH: Final = "/aws-service-role/autoscaling.amazonaws.com/"


def model_reader(account: Account, *, bucket: str, prefix: str, key: str | None, region: str) -> tuple[Statement, ...]:
    """What Triton does with its bucket: head it, list its prefix, read below the prefix, and decrypt what it reads.

    Triton starts with HeadBucket, which IAM evaluates as ListBucket without a prefix. Allowing it allows listing every key of the bucket
    as well; no policy separates the two. Where names are secret, give the models a bucket of their own.

    Args:
        account: Where the bucket is.
        bucket: Its name.
        prefix: Key prefix without leading and trailing slashes.
        key: ARN of the KMS key that the bucket is encrypted with; None for S3's own.
        region: The bucket's region, which may differ from the cluster's.
    """
    arn = f"arn:{account.partition}:s3:::{bucket}"
    in_prefix = {"StringLike": {"s3:prefix": (prefix, f"{prefix}/*")}}
    statements = [
        Statement(sid="ListModels", actions=("s3:ListBucket",), resources=(arn,), conditions=in_prefix),
        Statement(sid="HeadBucket", actions=("s3:ListBucket",), resources=(arn,), conditions={"Null": {"s3:prefix": "true"}}),
        Statement(sid="ReadModels", actions=("s3:GetObject",), resources=(f"{arn}/{prefix}/*",)),
    ]
    if key is not None:
        through_s3 = {"StringEquals": {"kms:ViaService": account.service("s3", region)}}
        statements.append(Statement(sid="DecryptModels", actions=("kms:Decrypt",), resources=(key,), conditions=through_s3))
    return tuple(statements)


def volume_driver(key: str) -> tuple[Statement, ...]:
    """What the EBS driver needs besides AWS' policy for it, for volumes encrypted with ``key`` (EKS user guide, "EBS CSI")."""
    return (
        Statement(
            sid="GrantKeyToVolumes", actions=actions(kms="CreateGrant ListGrants RevokeGrant"), resources=(key,), conditions=_FOR_AWS
        ),
        Statement(sid="EncryptVolumes", actions=_USE_KEY, resources=(key,)),
    )


def cluster_autoscaler(account: Account, cluster: str) -> tuple[Statement, ...]:
    """What Cluster Autoscaler does: it describes all scaling groups and changes those that are tagged as this cluster's."""
    tag = "aws:ResourceTag/k8s.io/cluster-autoscaler"
    return (
        Statement(
            sid="DescribeScalingGroups",
            actions=actions(
                autoscaling="DescribeAutoScalingGroups DescribeAutoScalingInstances DescribeLaunchConfigurations "
                "DescribeScalingActivities DescribeTags",
                ec2="DescribeImages DescribeInstanceTypes DescribeLaunchTemplateVersions GetInstanceTypesFromInstanceRequirements",
            ),
            resources=_ANY,
        ),
        Statement(
            sid="DescribeNodeGroups", actions=("eks:DescribeNodegroup",), resources=(account.arn("eks", f"nodegroup/{cluster}/*/*"),)
        ),
        Statement(
            sid="ScaleNodeGroups",
            actions=actions(autoscaling="SetDesiredCapacity TerminateInstanceInAutoScalingGroup"),
            resources=(account.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*"),),
            conditions={"StringEquals": {f"{tag}/enabled": "true", f"{tag}/{cluster}": "owned"}},
        ),
    )


def load_balancer_controller(account: Account, cluster: str) -> tuple[Statement, ...]:
    """What AWS Load Balancer Controller does for Services (network load balancers), and no more.

    The publisher's policy also allows Ingress, WAF, Shield and Cognito, most of it on ``*``. This one limits changes to network load
    balancers of the account and to security groups that carry the cluster's tag.
    """
    balancers = (account.arn("elasticloadbalancing", "loadbalancer/net/*"),)
    targets = (account.arn("elasticloadbalancing", "targetgroup/*/*"),)
    listeners = (account.arn("elasticloadbalancing", "listener/net/*/*/*"),)
    groups = (account.arn("ec2", "security-group/*"),)
    vpcs = (account.arn("ec2", "vpc/*"),)
    tagged = {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": cluster}}
    tagging = {"aws:RequestTag/elbv2.k8s.aws/cluster": cluster}
    service = "elasticloadbalancing.amazonaws.com"
    return (
        Statement(
            sid="DescribeNetworksAndLoadBalancers",
            actions=actions(
                ec2="DescribeAccountAttributes DescribeAddresses DescribeAvailabilityZones DescribeInstances DescribeInternetGateways "
                "DescribeNetworkInterfaces DescribeRouteTables DescribeSecurityGroups DescribeSubnets DescribeTags "
                "DescribeVpcPeeringConnections DescribeVpcs",
                elasticloadbalancing="DescribeListenerAttributes DescribeListenerCertificates DescribeListeners "
                "DescribeLoadBalancerAttributes DescribeLoadBalancers DescribeRules DescribeSSLPolicies DescribeTags "
                "DescribeTargetGroupAttributes DescribeTargetGroups DescribeTargetHealth",
            ),
            resources=_ANY,
        ),
        Statement(sid="ListSecurityGroupsOfVpcs", actions=("ec2:GetSecurityGroupsForVpc",), resources=vpcs),
        Statement(
            sid="CreateServiceLinkedRole",
            actions=("iam:CreateServiceLinkedRole",),
            resources=(account.arn("iam", f"role/aws-service-role/{service}/*"),),
            conditions={"StringEquals": {"iam:AWSServiceName": service}},
        ),
        Statement(sid="CreateSecurityGroups", actions=("ec2:CreateSecurityGroup",), resources=(*vpcs, *groups)),
        Statement(
            sid="TagNewSecurityGroups",
            actions=("ec2:CreateTags",),
            resources=groups,
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup", **tagging}},
        ),
        Statement(
            sid="ChangeSecurityGroups",
            actions=actions(ec2="DeleteSecurityGroup CreateTags DeleteTags"),
            resources=groups,
            conditions=tagged,
        ),
        # Without a condition: the controller opens ports in the nodes' own group, which does not carry its tag.
        Statement(
            sid="ChangeIngressRules",
            actions=actions(ec2="AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress"),
            resources=(*groups, account.arn("ec2", "security-group-rule/*")),
        ),
        Statement(
            sid="CreateLoadBalancers",
            actions=actions(elasticloadbalancing="CreateLoadBalancer CreateTargetGroup AddTags"),
            resources=(*balancers, *targets),
            conditions={"StringEquals": tagging},
        ),
        Statement(
            sid="ChangeLoadBalancers",
            actions=actions(
                elasticloadbalancing="ModifyLoadBalancerAttributes SetIpAddressType SetSecurityGroups SetSubnets DeleteLoadBalancer "
                "ModifyTargetGroup ModifyTargetGroupAttributes DeleteTargetGroup AddTags RemoveTags"
            ),
            resources=(*balancers, *targets),
            conditions=tagged,
        ),
        Statement(
            sid="ChangeListeners",
            actions=actions(
                elasticloadbalancing="CreateListener DeleteListener ModifyListener ModifyListenerAttributes AddListenerCertificates "
                "RemoveListenerCertificates AddTags RemoveTags"
            ),
            resources=(*balancers, *listeners),
        ),
        Statement(sid="RegisterTargets", actions=actions(elasticloadbalancing="RegisterTargets DeregisterTargets"), resources=targets),
    )


# Karpenter.


def karpenter_nodes(account: Account, cluster: str) -> tuple[Statement, ...]:
    """Launch, tag and terminate instances: only those that carry the cluster's tag and a NodePool's.

    A launch only reads images, snapshots, subnets, security groups and reservations, and some of them belong to other accounts, so their
    account is left open.
    """
    owned, name, pool = f"kubernetes.io/cluster/{cluster}", "eks:eks-cluster-name", "karpenter.sh/nodepool"
    launched = tuple(
        account.arn("ec2", f"{kind}/*")
        for kind in ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
    )
    instances, templates = account.arn("ec2", "instance/*"), account.arn("ec2", "launch-template/*")
    ec2 = f"arn:{account.partition}:ec2:{account.region}"
    read = (":image/*", ":snapshot/*", "*:security-group/*", "*:subnet/*", "*:capacity-reservation/*", "*:placement-group/*")
    of_cluster = {"StringEquals": {f"aws:ResourceTag/{owned}": "owned"}, "StringLike": {f"aws:ResourceTag/{pool}": "*"}}
    tagged = {f"aws:RequestTag/{owned}": "owned", f"aws:RequestTag/{name}": cluster}
    pooled = {f"aws:RequestTag/{pool}": "*"}
    launch = actions(ec2="RunInstances CreateFleet")
    return (
        Statement(sid="LaunchFromImagesAndSubnets", actions=launch, resources=tuple(f"{ec2}:{resource}" for resource in read)),
        Statement(sid="LaunchFromTemplates", actions=launch, resources=(templates,), conditions=of_cluster),
        Statement(
            sid="LaunchNodes",
            actions=(*launch, "ec2:CreateLaunchTemplate"),
            resources=launched,
            conditions={"StringEquals": tagged, "StringLike": pooled},
        ),
        Statement(
            sid="TagNewNodes",
            actions=("ec2:CreateTags",),
            resources=launched,
            conditions={
                "StringEquals": {**tagged, "ec2:CreateAction": ("RunInstances", "CreateFleet", "CreateLaunchTemplate")},
                "StringLike": pooled,
            },
        ),
        Statement(
            sid="TagNodes",
            actions=("ec2:CreateTags",),
            resources=(instances,),
            conditions={
                **of_cluster,
                "StringEqualsIfExists": {f"aws:RequestTag/{name}": cluster},
                "ForAllValues:StringEquals": {"aws:TagKeys": (name, "karpenter.sh/nodeclaim", "Name")},
            },
        ),
        Statement(
            sid="TerminateNodes",
            actions=actions(ec2="TerminateInstances DeleteLaunchTemplate"),
            resources=(instances, templates),
            conditions=of_cluster,
        ),
    )


def karpenter_controller(account: Account, cluster: str, *, node_role: str, queue: str, disk_key: str | None) -> tuple[Statement, ...]:
    """What the controller does besides launching and terminating nodes.

    Args:
        account: Where all of it is.
        cluster: Name of the cluster.
        node_role: ARN of the role of nodes.
        queue: ARN of the interruption queue.
        disk_key: ARN of the key that encrypts nodes' disks; None for AWS' own. Karpenter launches instances itself, so its own role needs
            the key; with a scaling group, that group's role does.
    """
    to_ec2 = {"StringEquals": {"iam:PassedToService": ("ec2.amazonaws.com", "ec2.amazonaws.com.cn")}}
    statements = [
        Statement(sid="PassNodeRole", actions=("iam:PassRole",), resources=(node_role,), conditions=to_ec2),
        # Its garbage collector looks for profiles of its own. Finding none, it deletes none.
        Statement(
            sid="ReadInstanceProfiles",
            actions=actions(iam="ListInstanceProfiles GetInstanceProfile"),
            resources=(account.arn("iam", "instance-profile/*"),),
        ),
        Statement(sid="DescribeCluster", actions=("eks:DescribeCluster",), resources=(account.arn("eks", f"cluster/{cluster}"),)),
        Statement(sid="ReadInterruptionQueue", actions=actions(sqs="DeleteMessage GetQueueUrl ReceiveMessage"), resources=(queue,)),
        Statement(
            sid="DescribeEC2",
            actions=actions(
                ec2="DescribeCapacityReservations DescribeImages DescribeInstances DescribeInstanceStatus DescribeInstanceTypeOfferings "
                "DescribeInstanceTypes DescribeLaunchTemplates DescribePlacementGroups DescribeSecurityGroups DescribeSpotPriceHistory "
                "DescribeSubnets"
            ),
            resources=_ANY,
            conditions={"StringEquals": {"aws:RequestedRegion": account.region}},
        ),
        Statement(
            sid="ReadImageParameters",
            actions=("ssm:GetParameter",),
            resources=(f"arn:{account.partition}:ssm:{account.region}::parameter/aws/service/*",),
        ),
        Statement(sid="ReadPrices", actions=("pricing:GetProducts",), resources=_ANY),
    ]
    if disk_key is not None:  # EC2 user guide, "EBS encryption"
        through_ec2 = {"StringEquals": {"kms:ViaService": account.service("ec2")}}
        use = actions(kms="Decrypt DescribeKey GenerateDataKeyWithoutPlaintext ReEncrypt*")
        statements += [
            Statement(sid="EncryptDisks", actions=use, resources=(disk_key,), conditions=through_ec2),
            Statement(sid="GrantKeyToDisks", actions=("kms:CreateGrant",), resources=(disk_key,), conditions={**through_ec2, **_FOR_AWS}),
        ]
    return tuple(statements)


def queue_policy(queue: str, rules: Sequence[str]) -> str:
    """Policy of the interruption queue: only the stack's own rules send to it, and only over TLS."""
    return document(
        [
            Statement(
                sid="SendEvents",
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


# Keys.

Purpose = Literal["secrets", "disks", "logs"]
"""What a key encrypts."""


def key_policy(purpose: Purpose, account: Account, log_group: str) -> str:
    """Policy of a key that the stack creates. ``secrets`` needs no more: EKS gets a grant from whoever creates the cluster.

    The account's own policies decide about the rest: roles that name the key may use it, and administrators may change it. Every action is
    named; without a policy a key gets ``kms:*``.
    """
    root = {"AWS": (account.arn("iam", "root"),)}
    statements = [
        Statement(
            sid="AdministerKey",
            actions=actions(
                kms="CancelKeyDeletion CreateAlias DeleteAlias DescribeKey DisableKey DisableKeyRotation EnableKey EnableKeyRotation "
                "GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListKeyRotations ListResourceTags PutKeyPolicy RetireGrant "
                "RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion TagResource UntagResource UpdateAlias UpdateKeyDescription"
            ),
            resources=_ANY,
            principals=root,
        ),
        Statement(sid="UseKeyThroughIAM", actions=(*_USE_KEY, "kms:CreateGrant"), resources=_ANY, principals=root),
    ]
    if purpose == "disks":
        # Scaling groups start nodes by their service-linked role, which has no policy of its own to name the key in (EC2 Auto Scaling user
        # guide, "required KMS key policy").
        scaling = {"AWS": (account.arn("iam", f"role{SCALING_PATH}{SCALING_ROLE}"),)}
        statements += [
            Statement(sid="UseKeyForDisks", actions=_USE_KEY, resources=_ANY, principals=scaling),
            Statement(sid="GrantKeyToDisks", actions=("kms:CreateGrant",), resources=_ANY, principals=scaling, conditions=_FOR_AWS),
        ]
    if purpose == "logs":  # CloudWatch Logs user guide, "encrypt log data using KMS"
        statements.append(
            Statement(
                sid="UseKeyForLogs",
                actions=_USE_KEY,
                resources=_ANY,
                principals={"Service": (account.service("logs"),)},
                conditions={"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": account.arn("logs", f"log-group:{log_group}")}},
            )
        )
    return document(statements)
