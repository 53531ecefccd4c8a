"""Who may do what in AWS: policies as typed statements, and the roles of service accounts.

Every policy is a plain function of plain values. A role is bound to one service account of one namespace, and its ARN is handed out once
its policies are attached.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.base.naming import type_token
from components.base.outputs import after
from components.eks.iam import Statement, document, service_account_trust

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Account:
    """Where ARNs are, in plain values."""

    partition: str
    region: str
    id: str

    def arn(self, service: str, resource: str) -> str:
        """ARN of a resource of this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.id}:{resource}"

    def service(self, name: str, region: str | None = None) -> str:
        """Name of a service of AWS in a region (this one's unless told), as ``kms:ViaService`` and principals have it."""
        return f"{name}.{region or self.region}.amazonaws.com{'.cn' if self.partition == 'aws-cn' else ''}"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a role for a service account of a cluster is made of."""

    account: Account
    oidc_arn: pulumi.Output[str]
    issuer: pulumi.Output[str]
    """The cluster's issuer, without scheme."""
    provider: aws.Provider


def model_reader(account: Account, *, bucket: str, prefix: str, key: str | None, region: str) -> tuple[Statement, ...]:
    """What Triton does with its bucket: look at it, list its prefix, read below it, and decrypt what it reads.

    The second statement is for HeadBucket, which Triton sends before all else and IAM judges as ListBucket without a prefix. It allows to
    list the names of all keys as well; no policy allows the one without the other. Where names are secret, give models a bucket of their
    own.

    Args:
        account: Where the bucket is.
        bucket: Its name.
        prefix: Key prefix without slashes at its ends.
        key: ARN of the KMS key that the bucket is encrypted with; None for S3's own.
        region: The bucket's, which need not be the cluster's.
    """
    arn = f"arn:{account.partition}:s3:::{bucket}"
    statements = [
        Statement(
            sid="ListModels",
            actions=("s3:ListBucket",),
            resources=(arn,),
            conditions={"StringLike": {"s3:prefix": (prefix, f"{prefix}/*")}},
        ),
        Statement(sid="HeadBucket", actions=("s3:ListBucket",), resources=(arn,), conditions={"Null": {"s3:prefix": "true"}}),
        Statement(sid="ReadModels", actions=("s3:GetObject",), resources=(f"{arn}/{prefix}/*",)),
    ]
    if key is not None:
        statements.append(
            Statement(
                sid="DecryptModels",
                actions=("kms:Decrypt",),
                resources=(key,),
                conditions={"StringEquals": {"kms:ViaService": account.service("s3", region)}},
            )
        )
    return tuple(statements)


def volume_driver(key: str) -> tuple[Statement, ...]:
    """What the EBS driver needs besides AWS' policy for it, to make volumes that are encrypted with ``key`` (EKS user guide, "EBS CSI")."""
    return (
        Statement(
            sid="LendKeyToVolumes",
            actions=("kms:CreateGrant", "kms:ListGrants", "kms:RevokeGrant"),
            resources=(key,),
            conditions={"Bool": {"kms:GrantIsForAWSResource": "true"}},
        ),
        Statement(
            sid="EncryptVolumes",
            actions=("kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"),
            resources=(key,),
        ),
    )


def cluster_autoscaler(account: Account, cluster: str) -> tuple[Statement, ...]:
    """What Cluster Autoscaler does: it sees all scaling groups and changes those that are tagged as this cluster's."""
    return (
        Statement(
            sid="See",
            actions=(
                "autoscaling:DescribeAutoScalingGroups",
                "autoscaling:DescribeAutoScalingInstances",
                "autoscaling:DescribeLaunchConfigurations",
                "autoscaling:DescribeScalingActivities",
                "autoscaling:DescribeTags",
                "ec2:DescribeImages",
                "ec2:DescribeInstanceTypes",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:GetInstanceTypesFromInstanceRequirements",
            ),
            resources=("*",),
        ),
        Statement(sid="SeeNodeGroups", actions=("eks:DescribeNodegroup",), resources=(account.arn("eks", f"nodegroup/{cluster}/*/*"),)),
        Statement(
            sid="Scale",
            actions=("autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"),
            resources=(account.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*"),),
            conditions={
                "StringEquals": {
                    "aws:ResourceTag/k8s.io/cluster-autoscaler/enabled": "true",
                    f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster}": "owned",
                }
            },
        ),
    )


def load_balancer_controller(account: Account, cluster: str) -> tuple[Statement, ...]:
    """What AWS Load Balancer Controller does for Services (network load balancers), and no more.

    The publisher's policy allows Ingress, WAF, Shield and Cognito too, most of it on ``*``. Here what changes a thing names this account's
    load balancers, or, for security groups, those that carry the cluster's tag.
    """
    balancers = (account.arn("elasticloadbalancing", "loadbalancer/net/*"),)
    groups = (account.arn("elasticloadbalancing", "targetgroup/*/*"),)
    listeners = (account.arn("elasticloadbalancing", "listener/net/*/*/*"),)
    security_groups = (account.arn("ec2", "security-group/*"),)
    tagged = {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": cluster}}
    tagging = {"StringEquals": {"aws:RequestTag/elbv2.k8s.aws/cluster": cluster}}
    change = (
        "elasticloadbalancing:ModifyLoadBalancerAttributes",
        "elasticloadbalancing:SetIpAddressType",
        "elasticloadbalancing:SetSecurityGroups",
        "elasticloadbalancing:SetSubnets",
        "elasticloadbalancing:DeleteLoadBalancer",
        "elasticloadbalancing:ModifyTargetGroup",
        "elasticloadbalancing:ModifyTargetGroupAttributes",
        "elasticloadbalancing:DeleteTargetGroup",
        "elasticloadbalancing:AddTags",
        "elasticloadbalancing:RemoveTags",
    )
    return (
        Statement(
            sid="See",
            actions=(
                "ec2:DescribeAccountAttributes",
                "ec2:DescribeAddresses",
                "ec2:DescribeAvailabilityZones",
                "ec2:DescribeInstances",
                "ec2:DescribeInternetGateways",
                "ec2:DescribeNetworkInterfaces",
                "ec2:DescribeRouteTables",
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeTags",
                "ec2:DescribeVpcPeeringConnections",
                "ec2:DescribeVpcs",
                "elasticloadbalancing:DescribeListenerAttributes",
                "elasticloadbalancing:DescribeListenerCertificates",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeLoadBalancerAttributes",
                "elasticloadbalancing:DescribeLoadBalancers",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeSSLPolicies",
                "elasticloadbalancing:DescribeTags",
                "elasticloadbalancing:DescribeTargetGroupAttributes",
                "elasticloadbalancing:DescribeTargetGroups",
                "elasticloadbalancing:DescribeTargetHealth",
            ),
            resources=("*",),
        ),
        Statement(sid="SeeSecurityGroups", actions=("ec2:GetSecurityGroupsForVpc",), resources=(account.arn("ec2", "vpc/*"),)),
        Statement(
            sid="LinkService",
            actions=("iam:CreateServiceLinkedRole",),
            resources=(f"arn:{account.partition}:iam::{account.id}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*",),
            conditions={"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
        ),
        Statement(
            sid="MakeSecurityGroups",
            actions=("ec2:CreateSecurityGroup",),
            resources=(account.arn("ec2", "vpc/*"), *security_groups),
        ),
        Statement(
            sid="TagNewSecurityGroups",
            actions=("ec2:CreateTags",),
            resources=security_groups,
            conditions={"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup", **tagging["StringEquals"]}},
        ),
        Statement(
            sid="ChangeSecurityGroups",
            actions=("ec2:DeleteSecurityGroup", "ec2:CreateTags", "ec2:DeleteTags"),
            resources=security_groups,
            conditions=tagged,
        ),
        # The nodes' own group is not tagged by the controller, and it is where it lets traffic in.
        Statement(
            sid="LetIn",
            actions=("ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"),
            resources=(*security_groups, account.arn("ec2", "security-group-rule/*")),
        ),
        Statement(
            sid="Make",
            actions=("elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup", "elasticloadbalancing:AddTags"),
            resources=(*balancers, *groups),
            conditions=tagging,
        ),
        Statement(sid="Change", actions=change, resources=(*balancers, *groups), conditions=tagged),
        Statement(
            sid="Listen",
            actions=(
                "elasticloadbalancing:CreateListener",
                "elasticloadbalancing:DeleteListener",
                "elasticloadbalancing:ModifyListener",
                "elasticloadbalancing:ModifyListenerAttributes",
                "elasticloadbalancing:AddListenerCertificates",
                "elasticloadbalancing:RemoveListenerCertificates",
                "elasticloadbalancing:AddTags",
                "elasticloadbalancing:RemoveTags",
            ),
            resources=(*balancers, *listeners),
        ),
        Statement(
            sid="Register",
            actions=("elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"),
            resources=groups,
        ),
    )


@dataclass(frozen=True, kw_only=True)
class ServiceAccountRoleArgs:
    """Arguments of `ServiceAccountRole`."""

    identity: Identity
    namespace: str
    service_account: str
    statements: Sequence[Statement] | pulumi.Output[Sequence[Statement]]
    """An output where an ARN in them is only known once it is made."""
    tags: Mapping[str, str]
    more: Mapping[str, Sequence[Statement]] = field(default_factory=dict)
    """Further policies, by the last part of their names: one holds 6144 characters."""


class ServiceAccountRole(pulumi.ComponentResource):
    """A role that one Kubernetes service account takes (IRSA).

    Not Pod Identity: Triton's AWS SDK (aws-sdk-cpp 1.11.60) is older than the first that knows it (1.11.263).
    """

    arn: pulumi.Output[str]
    """Resolves once the policy is attached."""

    def __init__(self, name: str, args: ServiceAccountRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ServiceAccountRole"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.identity.provider)
        role = aws.iam.Role(
            name,
            assume_role_policy=pulumi.Output.all(args.identity.oidc_arn, args.identity.issuer).apply(
                lambda known: service_account_trust(
                    oidc_arn=known[0], issuer=known[1], namespace=args.namespace, service_account=args.service_account
                )
            ),
            tags=dict(args.tags),
            opts=child,
        )
        statements = args.statements
        policies: dict[str, pulumi.Input[str]] = {
            name: statements.apply(document) if isinstance(statements, pulumi.Output) else document(statements),
            **{f"{name}-{part}": document(further) for part, further in args.more.items()},
        }
        attachments = []
        for policy_name, text in policies.items():
            policy = aws.iam.Policy(policy_name, policy=text, tags=dict(args.tags), opts=child)
            attachment = aws.iam.RolePolicyAttachment(policy_name, role=role.name, policy_arn=policy.arn, opts=child)
            attachments.append(attachment.id)
        self.arn = after(role.arn, *attachments)
        self.register_outputs({"arn": self.arn})
