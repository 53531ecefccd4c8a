"""Every IAM and KMS policy of an EKS stack, each a function of plain values. Pure: creates no resource.

Karpenter's statements follow its own CloudFormation template for the version that `versions.py` pins (v1.14), with two differences. The
stack creates the instance profile, so the controller can't create, change or delete anything in IAM. The chart turns zonal shift off, so
its permission is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from components.eks.iam import Statement, allow, document

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.iam import Account, Conditions

_USE_KEY: Final = "kms:Decrypt DescribeKey Encrypt GenerateDataKey* ReEncrypt*"
_FOR_AWS: Final = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
"""Limits a grant to AWS services: a grant outlives the policy that allowed it."""

SCALING_ROLE: Final = "AWSServiceRoleForAutoScaling"
SCALING_PATH: Final = "/aws-service-role/autoscaling.amazonaws.com/"


def model_reader(account: Account, *, bucket: str, prefix: str, key: str | None, region: str) -> tuple[Statement, ...]:
    """Return what Triton does with its bucket: head it, list its prefix, read below the prefix, and decrypt what it reads.

    Triton starts with HeadBucket, which IAM evaluates as ListBucket without a prefix. Allowing it allows listing every key of the bucket
    as well; no policy separates the two. If key names are confidential, store the models in a separate bucket.

    Args:
        account: Where the bucket is.
        bucket: Its name.
        prefix: Key prefix without leading and trailing slashes.
        key: ARN of the KMS key that the bucket is encrypted with; None for S3's own.
        region: The bucket's region, which may differ from the cluster's.
    """
    arn = f"arn:{account.partition}:s3:::{bucket}"
    statements = [
        allow("ListModels", "s3:ListBucket", arn, conditions={"StringLike": {"s3:prefix": (prefix, f"{prefix}/*")}}),
        allow("HeadBucket", "s3:ListBucket", arn, conditions={"Null": {"s3:prefix": "true"}}),
        allow("ReadModels", "s3:GetObject", f"{arn}/{prefix}/*"),
    ]
    if key is not None:
        through_s3 = {"StringEquals": {"kms:ViaService": account.service("s3", region)}}
        statements.append(allow("DecryptModels", "kms:Decrypt", key, conditions=through_s3))
    return tuple(statements)


def volume_driver(key: str) -> tuple[Statement, ...]:
    """Return what the EBS driver needs beyond AWS' policy for it, for volumes encrypted with ``key`` (EKS user guide, "EBS CSI")."""
    return (
        allow("GrantKeyToVolumes", "kms:CreateGrant ListGrants RevokeGrant", key, conditions=_FOR_AWS),
        allow("EncryptVolumes", _USE_KEY, key),
    )


def cluster_autoscaler(account: Account, cluster: str) -> tuple[Statement, ...]:
    """Return what Cluster Autoscaler does: it describes all scaling groups and changes those that are tagged as this cluster's."""
    tag = "aws:ResourceTag/k8s.io/cluster-autoscaler"
    return (
        allow(
            "DescribeScalingGroups",
            "autoscaling:DescribeAutoScalingGroups DescribeAutoScalingInstances DescribeLaunchConfigurations DescribeScalingActivities "
            "DescribeTags ec2:DescribeImages DescribeInstanceTypes DescribeLaunchTemplateVersions GetInstanceTypesFromInstanceRequirements",
            "*",
        ),
        allow("DescribeNodeGroups", "eks:DescribeNodegroup", account.arn("eks", f"nodegroup/{cluster}/*/*")),
        allow(
            "ScaleNodeGroups",
            "autoscaling:SetDesiredCapacity TerminateInstanceInAutoScalingGroup",
            account.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*"),
            conditions={"StringEquals": {f"{tag}/enabled": "true", f"{tag}/{cluster}": "owned"}},
        ),
    )


def load_balancer_controller(account: Account, cluster: str) -> tuple[Statement, ...]:
    """Return what AWS Load Balancer Controller does for Services (network load balancers), and no more.

    The publisher's policy also allows Ingress, WAF, Shield and Cognito, most of it on ``*``. This one limits changes to network load
    balancers of the account and to security groups that carry the cluster's tag.
    """
    elb = "elasticloadbalancing"
    balancers = (account.arn(elb, "loadbalancer/net/*"), account.arn(elb, "targetgroup/*/*"))
    listeners = (account.arn(elb, "loadbalancer/net/*"), account.arn(elb, "listener/net/*/*/*"))
    groups, rules = account.arn("ec2", "security-group/*"), account.arn("ec2", "security-group-rule/*")
    vpcs = account.arn("ec2", "vpc/*")
    tagged = {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": cluster}}
    new = {"StringEquals": {"aws:RequestTag/elbv2.k8s.aws/cluster": cluster}}
    new_group = {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup", **new["StringEquals"]}}
    service = f"{elb}.amazonaws.com"
    return (
        allow(
            "DescribeNetworksAndLoadBalancers",
            "ec2:DescribeAccountAttributes DescribeAddresses DescribeAvailabilityZones DescribeInstances DescribeInternetGateways "
            "DescribeNetworkInterfaces DescribeRouteTables DescribeSecurityGroups DescribeSubnets DescribeTags "
            "DescribeVpcPeeringConnections DescribeVpcs "
            f"{elb}:DescribeListenerAttributes DescribeListenerCertificates DescribeListeners DescribeLoadBalancerAttributes "
            "DescribeLoadBalancers DescribeRules DescribeSSLPolicies DescribeTags DescribeTargetGroupAttributes DescribeTargetGroups "
            "DescribeTargetHealth",
            "*",
        ),
        allow("ListSecurityGroupsOfVpcs", "ec2:GetSecurityGroupsForVpc", vpcs),
        allow(
            "CreateServiceLinkedRole",
            "iam:CreateServiceLinkedRole",
            account.arn("iam", f"role/aws-service-role/{service}/*"),
            conditions={"StringEquals": {"iam:AWSServiceName": service}},
        ),
        allow("CreateSecurityGroups", "ec2:CreateSecurityGroup", vpcs, groups),
        allow("TagNewSecurityGroups", "ec2:CreateTags", groups, conditions=new_group),
        allow("ChangeSecurityGroups", "ec2:DeleteSecurityGroup CreateTags DeleteTags", groups, conditions=tagged),
        # Without a condition: the controller opens ports in the nodes' own group, which does not carry its tag.
        allow("ChangeIngressRules", "ec2:AuthorizeSecurityGroupIngress RevokeSecurityGroupIngress", groups, rules),
        allow("CreateLoadBalancers", f"{elb}:CreateLoadBalancer CreateTargetGroup AddTags", *balancers, conditions=new),
        allow(
            "ChangeLoadBalancers",
            f"{elb}:ModifyLoadBalancerAttributes SetIpAddressType SetSecurityGroups SetSubnets DeleteLoadBalancer ModifyTargetGroup "
            "ModifyTargetGroupAttributes DeleteTargetGroup AddTags RemoveTags",
            *balancers,
            conditions=tagged,
        ),
        allow(
            "ChangeListeners",
            f"{elb}:CreateListener DeleteListener ModifyListener ModifyListenerAttributes AddListenerCertificates "
            "RemoveListenerCertificates AddTags RemoveTags",
            *listeners,
        ),
        allow("RegisterTargets", f"{elb}:RegisterTargets DeregisterTargets", account.arn(elb, "targetgroup/*/*")),
    )


# Karpenter.


def karpenter_nodes(account: Account, cluster: str) -> tuple[Statement, ...]:
    """Return how Karpenter launches, tags and terminates instances: only those that carry the cluster's tag and a NodePool's.

    A launch only reads images, snapshots, subnets, security groups and reservations, and some of them belong to other accounts, so their
    account is left open.
    """
    owned, name, pool = f"kubernetes.io/cluster/{cluster}", "eks:eks-cluster-name", "karpenter.sh/nodepool"
    ec2 = f"arn:{account.partition}:ec2:{account.region}"
    read = (":image/*", ":snapshot/*", "*:security-group/*", "*:subnet/*", "*:capacity-reservation/*", "*:placement-group/*")
    kinds = ("fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request")
    launched = [account.arn("ec2", f"{kind}/*") for kind in kinds]
    instances, templates = account.arn("ec2", "instance/*"), account.arn("ec2", "launch-template/*")
    of_cluster = {"StringEquals": {f"aws:ResourceTag/{owned}": "owned"}, "StringLike": {f"aws:ResourceTag/{pool}": "*"}}
    tags = {f"aws:RequestTag/{owned}": "owned", f"aws:RequestTag/{name}": cluster}
    pooled = {f"aws:RequestTag/{pool}": "*"}
    at_launch: Mapping[str, str | tuple[str, ...]] = {**tags, "ec2:CreateAction": ("RunInstances", "CreateFleet", "CreateLaunchTemplate")}
    later: Conditions = {
        **of_cluster,
        "StringEqualsIfExists": {f"aws:RequestTag/{name}": cluster},
        "ForAllValues:StringEquals": {"aws:TagKeys": (name, "karpenter.sh/nodeclaim", "Name")},
    }
    launch = "ec2:RunInstances CreateFleet"
    return (
        allow("LaunchFromImagesAndSubnets", launch, *(f"{ec2}:{resource}" for resource in read)),
        allow("LaunchFromTemplates", launch, templates, conditions=of_cluster),
        allow("LaunchNodes", f"{launch} CreateLaunchTemplate", *launched, conditions={"StringEquals": tags, "StringLike": pooled}),
        allow("TagNewNodes", "ec2:CreateTags", *launched, conditions={"StringEquals": at_launch, "StringLike": pooled}),
        allow("TagNodes", "ec2:CreateTags", instances, conditions=later),
        allow("TerminateNodes", "ec2:TerminateInstances DeleteLaunchTemplate", instances, templates, conditions=of_cluster),
    )


def karpenter_controller(account: Account, cluster: str, *, node_role: str, queue: str, disk_key: str | None) -> tuple[Statement, ...]:
    """Return what Karpenter's controller does, except launching and terminating nodes.

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
        allow("PassNodeRole", "iam:PassRole", node_role, conditions=to_ec2),
        # Karpenter's garbage collector lists instance profiles that Karpenter created. There are none to delete.
        allow("ReadInstanceProfiles", "iam:ListInstanceProfiles GetInstanceProfile", account.arn("iam", "instance-profile/*")),
        allow("DescribeCluster", "eks:DescribeCluster", account.arn("eks", f"cluster/{cluster}")),
        allow("ReadInterruptionQueue", "sqs:DeleteMessage GetQueueUrl ReceiveMessage", queue),
        allow(
            "DescribeEC2",
            "ec2:DescribeCapacityReservations DescribeImages DescribeInstances DescribeInstanceStatus DescribeInstanceTypeOfferings "
            "DescribeInstanceTypes DescribeLaunchTemplates DescribePlacementGroups DescribeSecurityGroups DescribeSpotPriceHistory "
            "DescribeSubnets",
            "*",
            conditions={"StringEquals": {"aws:RequestedRegion": account.region}},
        ),
        allow("ReadImageParameters", "ssm:GetParameter", f"arn:{account.partition}:ssm:{account.region}::parameter/aws/service/*"),
        allow("ReadPrices", "pricing:GetProducts", "*"),
    ]
    if disk_key is not None:  # EC2 user guide, "EBS encryption"
        through_ec2 = {"StringEquals": {"kms:ViaService": account.service("ec2")}}
        use = "kms:Decrypt DescribeKey GenerateDataKeyWithoutPlaintext ReEncrypt*"
        statements.append(allow("EncryptDisks", use, disk_key, conditions=through_ec2))
        statements.append(allow("GrantKeyToDisks", "kms:CreateGrant", disk_key, conditions={**through_ec2, **_FOR_AWS}))
    return tuple(statements)


def queue_policy(queue: str, rules: Sequence[str]) -> str:
    """Return the policy of the interruption queue: only the stack's own rules send to it, and only over TLS."""
    from_rules = {"ArnEquals": {"aws:SourceArn": tuple(sorted(rules))}}
    events = {"Service": ("events.amazonaws.com",)}
    send = allow("SendEvents", "sqs:SendMessage", queue, principals=events, conditions=from_rules)
    return document([send, _deny_http("sqs:*", queue)])


# Buckets and keys.


def bucket_policy(arn: str) -> str:
    """Return the policy of the models' bucket: it denies requests without TLS (AWS Security Hub control S3.5)."""
    return document([_deny_http("s3:*", arn, f"{arn}/*")])


def _deny_http(action: str, *resources: str) -> Statement:
    return Statement(
        sid="DenyInsecureTransport",
        effect="Deny",
        actions=(action,),
        resources=resources,
        principals={"AWS": ("*",)},
        conditions={"Bool": {"aws:SecureTransport": "false"}},
    )


Purpose = Literal["secrets", "disks", "logs"]
"""What a key encrypts."""


def key_policy(purpose: Purpose, account: Account, log_group: str) -> str:
    """Return the policy of a key that the stack creates, in which the resource ``*`` is the key itself.

    The purpose ``secrets`` adds nothing: EKS gets a grant from the principal that creates the cluster.

    The account's own policies decide about the rest: roles that name the key may use it, and administrators may change it. Every action is
    named; without a policy a key gets ``kms:*``.
    """
    root = {"AWS": (account.arn("iam", "root"),)}
    statements = [
        allow(
            "AdministerKey",
            "kms:CancelKeyDeletion CreateAlias DeleteAlias DescribeKey DisableKey DisableKeyRotation EnableKey EnableKeyRotation "
            "GetKeyPolicy GetKeyRotationStatus ListGrants ListKeyPolicies ListKeyRotations ListResourceTags PutKeyPolicy RetireGrant "
            "RevokeGrant RotateKeyOnDemand ScheduleKeyDeletion TagResource UntagResource UpdateAlias UpdateKeyDescription",
            "*",
            principals=root,
        ),
        allow("UseKeyThroughIAM", f"{_USE_KEY} CreateGrant", "*", principals=root),
    ]
    if purpose == "disks":
        # Scaling groups start nodes by their service-linked role, whose policy can't be changed to allow the key (EC2 Auto Scaling user
        # guide, "required KMS key policy").
        scaling = {"AWS": (account.arn("iam", f"role{SCALING_PATH}{SCALING_ROLE}"),)}
        statements.append(allow("UseKeyForDisks", _USE_KEY, "*", principals=scaling))
        statements.append(allow("GrantKeyToDisks", "kms:CreateGrant", "*", principals=scaling, conditions=_FOR_AWS))
    if purpose == "logs":  # CloudWatch Logs user guide, "encrypt log data using KMS"
        group = {"ArnEquals": {"kms:EncryptionContext:aws:logs:arn": account.arn("logs", f"log-group:{log_group}")}}
        statements.append(allow("UseKeyForLogs", _USE_KEY, "*", principals={"Service": (account.logs,)}, conditions=group))
    return document(statements)
