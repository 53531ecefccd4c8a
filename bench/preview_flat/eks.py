"""The resources of Pulumi.eks.yaml, registered by one flat file: what `bench/preview` holds the fleet against.

tests/components/test_preview_flat.py fails as soon as the fleet registers another resource, or a resource with another argument.
"""

import base64
import json
import secrets

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as k8s

from components.repository.sync import ReleaseProvider

CONFIG = pulumi.Config()
ROOT = CONFIG.require("root")
CHARTS = CONFIG.require("charts")


class Release(pulumi.dynamic.Resource, module="repository", name="Release"):
    """The models' release."""

    digest: pulumi.Output[object]
    url: pulumi.Output[object]


def of_the_chart(args: pulumi.ResourceTransformArgs) -> pulumi.ResourceTransformResult | None:
    """Set a Deployment's replicas when it is created only."""
    if args.type_ != "kubernetes:apps/v1:Deployment":
        return None
    return pulumi.ResourceTransformResult(
        props=args.props, opts=pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(ignore_changes=["spec.replicas"]))
    )


cluster = aws.Provider("cluster", skip_credentials_validation=False, skip_region_validation=True, region="us-east-1")
IN_ACCOUNT = pulumi.InvokeOptions(provider=cluster)
ACCOUNT = aws.get_caller_identity(opts=IN_ACCOUNT).account_id
aws.get_availability_zones(
    state="available", filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])], opts=IN_ACCOUNT
)
vpc_cni_addon = aws.eks.get_addon_version_output(
    addon_name="vpc-cni", kubernetes_version="1.35", most_recent=False, opts=pulumi.InvokeOutputOptions(provider=cluster)
)
eks_pod_identity_agent_addon = aws.eks.get_addon_version_output(
    addon_name="eks-pod-identity-agent", kubernetes_version="1.35", most_recent=False, opts=pulumi.InvokeOutputOptions(provider=cluster)
)
coredns_addon = aws.eks.get_addon_version_output(
    addon_name="coredns", kubernetes_version="1.35", most_recent=False, opts=pulumi.InvokeOutputOptions(provider=cluster)
)
aws_ebs_csi_driver_addon = aws.eks.get_addon_version_output(
    addon_name="aws-ebs-csi-driver", kubernetes_version="1.35", most_recent=False, opts=pulumi.InvokeOutputOptions(provider=cluster)
)
kube_proxy_addon = aws.eks.get_addon_version_output(
    addon_name="kube-proxy", kubernetes_version="1.35", most_recent=False, opts=pulumi.InvokeOutputOptions(provider=cluster)
)
cluster_logs = aws.cloudwatch.LogGroup(
    "cluster-logs",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    retention_in_days=30,
    name="/aws/eks/triton-fleet/cluster",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node = aws.iam.Role(
    "cluster-node",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    assume_role_policy=json.dumps(
        {
            "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_secrets = aws.kms.Key(
    "cluster-secrets",
    policy=json.dumps(
        {
            "Statement": [
                {
                    "Action": [
                        "kms:CancelKeyDeletion",
                        "kms:CreateAlias",
                        "kms:DeleteAlias",
                        "kms:DescribeKey",
                        "kms:DisableKey",
                        "kms:DisableKeyRotation",
                        "kms:EnableKey",
                        "kms:EnableKeyRotation",
                        "kms:GetKeyPolicy",
                        "kms:GetKeyRotationStatus",
                        "kms:ListGrants",
                        "kms:ListKeyPolicies",
                        "kms:ListKeyRotations",
                        "kms:ListResourceTags",
                        "kms:PutKeyPolicy",
                        "kms:RetireGrant",
                        "kms:RevokeGrant",
                        "kms:RotateKeyOnDemand",
                        "kms:ScheduleKeyDeletion",
                        "kms:TagResource",
                        "kms:UntagResource",
                        "kms:UpdateAlias",
                        "kms:UpdateKeyDescription",
                    ],
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                    "Resource": "*",
                    "Sid": "AdministerKey",
                },
                {
                    "Action": [
                        "kms:Decrypt",
                        "kms:DescribeKey",
                        "kms:Encrypt",
                        "kms:GenerateDataKey*",
                        "kms:ReEncrypt*",
                        "kms:CreateGrant",
                    ],
                    "Effect": "Allow",
                    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
                    "Resource": "*",
                    "Sid": "UseKeyThroughIAM",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    deletion_window_in_days=7,
    enable_key_rotation=True,
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    description="Kubernetes Secrets of triton-fleet",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_ebs = aws.iam.Role(
    "cluster-ebs",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    assume_role_policy=json.dumps(
        {
            "Statement": [
                {"Action": ["sts:AssumeRole", "sts:TagSession"], "Effect": "Allow", "Principal": {"Service": "pods.eks.amazonaws.com"}}
            ],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc = aws.ec2.Vpc(
    "cluster-vpc",
    enable_dns_hostnames=True,
    tags={"Name": "triton-fleet-vpc", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    enable_dns_support=True,
    cidr_block="10.0.0.0/16",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_nat_us_east_1a = aws.ec2.Eip(
    "cluster-vpc-nat-us-east-1a",
    domain="vpc",
    tags={"Name": "triton-fleet-nat-us-east-1a", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_load_balancer = aws.iam.Policy(
    "cluster-load-balancer",
    policy=json.dumps(
        {
            "Statement": [
                {
                    "Action": [
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
                    ],
                    "Effect": "Allow",
                    "Resource": "*",
                    "Sid": "DescribeNetworksAndLoadBalancers",
                },
                {
                    "Action": "ec2:GetSecurityGroupsForVpc",
                    "Effect": "Allow",
                    "Resource": f"arn:aws:ec2:us-east-1:{ACCOUNT}:vpc/*",
                    "Sid": "ListSecurityGroupsOfVpcs",
                },
                {
                    "Action": "iam:CreateServiceLinkedRole",
                    "Condition": {"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
                    "Effect": "Allow",
                    "Resource": f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/elasticloadbalancing.amazonaws.com/*",
                    "Sid": "CreateServiceLinkedRole",
                },
                {
                    "Action": "ec2:CreateSecurityGroup",
                    "Effect": "Allow",
                    "Resource": [f"arn:aws:ec2:us-east-1:{ACCOUNT}:vpc/*", f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/*"],
                    "Sid": "CreateSecurityGroups",
                },
                {
                    "Action": "ec2:CreateTags",
                    "Condition": {
                        "StringEquals": {"aws:RequestTag/elbv2.k8s.aws/cluster": "triton-fleet", "ec2:CreateAction": "CreateSecurityGroup"}
                    },
                    "Effect": "Allow",
                    "Resource": f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/*",
                    "Sid": "TagNewSecurityGroups",
                },
                {
                    "Action": ["ec2:DeleteSecurityGroup", "ec2:CreateTags", "ec2:DeleteTags"],
                    "Condition": {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": "triton-fleet"}},
                    "Effect": "Allow",
                    "Resource": f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/*",
                    "Sid": "ChangeSecurityGroups",
                },
                {
                    "Action": ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"],
                    "Effect": "Allow",
                    "Resource": [
                        f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group/*",
                        f"arn:aws:ec2:us-east-1:{ACCOUNT}:security-group-rule/*",
                    ],
                    "Sid": "ChangeIngressRules",
                },
                {
                    "Action": [
                        "elasticloadbalancing:CreateLoadBalancer",
                        "elasticloadbalancing:CreateTargetGroup",
                        "elasticloadbalancing:AddTags",
                    ],
                    "Condition": {"StringEquals": {"aws:RequestTag/elbv2.k8s.aws/cluster": "triton-fleet"}},
                    "Effect": "Allow",
                    "Resource": [
                        f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:loadbalancer/net/*",
                        f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:targetgroup/*/*",
                    ],
                    "Sid": "CreateLoadBalancers",
                },
                {
                    "Action": [
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
                    ],
                    "Condition": {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": "triton-fleet"}},
                    "Effect": "Allow",
                    "Resource": [
                        f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:loadbalancer/net/*",
                        f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:targetgroup/*/*",
                    ],
                    "Sid": "ChangeLoadBalancers",
                },
                {
                    "Action": [
                        "elasticloadbalancing:CreateListener",
                        "elasticloadbalancing:DeleteListener",
                        "elasticloadbalancing:ModifyListener",
                        "elasticloadbalancing:ModifyListenerAttributes",
                        "elasticloadbalancing:AddListenerCertificates",
                        "elasticloadbalancing:RemoveListenerCertificates",
                        "elasticloadbalancing:AddTags",
                        "elasticloadbalancing:RemoveTags",
                    ],
                    "Effect": "Allow",
                    "Resource": [
                        f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:loadbalancer/net/*",
                        f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:listener/net/*/*/*",
                    ],
                    "Sid": "ChangeListeners",
                },
                {
                    "Action": ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
                    "Effect": "Allow",
                    "Resource": f"arn:aws:elasticloadbalancing:us-east-1:{ACCOUNT}:targetgroup/*/*",
                    "Sid": "RegisterTargets",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository = aws.s3.Bucket(
    "repository",
    bucket="triton-fleet-models",
    region="us-east-1",
    tags={"project": "triton"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository_public_access_block = aws.s3.BucketPublicAccessBlock(
    "repository",
    bucket=repository.bucket,
    region="us-east-1",
    block_public_acls=True,
    ignore_public_acls=True,
    block_public_policy=True,
    restrict_public_buckets=True,
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository_encryption = aws.s3.BucketServerSideEncryptionConfiguration(
    "repository",
    bucket=repository.bucket,
    region="us-east-1",
    rules=[
        aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
                sse_algorithm="AES256"
            )
        )
    ],
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository_policy = aws.s3.BucketPolicy(
    "repository",
    bucket=repository.bucket,
    region="us-east-1",
    policy=json.dumps(
        {
            "Statement": [
                {
                    "Action": "s3:*",
                    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
                    "Effect": "Deny",
                    "Principal": {"AWS": "*"},
                    "Resource": ["arn:aws:s3:::triton-fleet-models", "arn:aws:s3:::triton-fleet-models/*"],
                    "Sid": "DenyInsecureTransport",
                }
            ],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository_lifecycle = aws.s3.BucketLifecycleConfiguration(
    "repository",
    bucket=repository.bucket,
    region="us-east-1",
    rules=[
        aws.s3.BucketLifecycleConfigurationRuleArgs(
            id="triton-fleet-unfinished",
            status="Enabled",
            filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
            abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                days_after_initiation=3
            ),
        )
    ],
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node_amazon_eksworker_node_policy = aws.iam.RolePolicyAttachment(
    "cluster-node-AmazonEKSWorkerNodePolicy",
    policy_arn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    role=cluster_node.name,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node_amazon_ec2_container_registry_pull_only = aws.iam.RolePolicyAttachment(
    "cluster-node-AmazonEC2ContainerRegistryPullOnly",
    policy_arn="arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    role=cluster_node.name,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node_amazon_eks_cni_policy = aws.iam.RolePolicyAttachment(
    "cluster-node-AmazonEKS_CNI_Policy",
    policy_arn="arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    role=cluster_node.name,
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_cluster_ebs = aws.iam.RolePolicyAttachment(
    "cluster-ebs",
    policy_arn="arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy",
    role=cluster_ebs.name,
    opts=pulumi.ResourceOptions(provider=cluster),
)
triton_reader = aws.iam.Policy(
    "triton-reader",
    policy=json.dumps(
        {
            "Statement": [
                {
                    "Action": "s3:ListBucket",
                    "Condition": {"StringLike": {"s3:prefix": ["model_repository", "model_repository/*"]}},
                    "Effect": "Allow",
                    "Resource": "arn:aws:s3:::triton-fleet-models",
                    "Sid": "ListModels",
                },
                {
                    "Action": "s3:ListBucket",
                    "Condition": {"Null": {"s3:prefix": "true"}},
                    "Effect": "Allow",
                    "Resource": "arn:aws:s3:::triton-fleet-models",
                    "Sid": "HeadBucket",
                },
                {
                    "Action": "s3:GetObject",
                    "Effect": "Allow",
                    "Resource": "arn:aws:s3:::triton-fleet-models/model_repository/*",
                    "Sid": "ReadModels",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    tags={"project": "triton"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_autoscaler = aws.iam.Policy(
    "cluster-autoscaler",
    policy=json.dumps(
        {
            "Statement": [
                {
                    "Action": [
                        "autoscaling:DescribeAutoScalingGroups",
                        "autoscaling:DescribeAutoScalingInstances",
                        "autoscaling:DescribeLaunchConfigurations",
                        "autoscaling:DescribeScalingActivities",
                        "autoscaling:DescribeTags",
                        "ec2:DescribeImages",
                        "ec2:DescribeInstanceTypes",
                        "ec2:DescribeLaunchTemplateVersions",
                        "ec2:GetInstanceTypesFromInstanceRequirements",
                    ],
                    "Effect": "Allow",
                    "Resource": "*",
                    "Sid": "DescribeScalingGroups",
                },
                {
                    "Action": "eks:DescribeNodegroup",
                    "Effect": "Allow",
                    "Resource": f"arn:aws:eks:us-east-1:{ACCOUNT}:nodegroup/triton-fleet/*/*",
                    "Sid": "DescribeNodeGroups",
                },
                {
                    "Action": ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
                    "Condition": {
                        "StringEquals": {
                            "aws:ResourceTag/k8s.io/cluster-autoscaler/enabled": "true",
                            "aws:ResourceTag/k8s.io/cluster-autoscaler/triton-fleet": "owned",
                        }
                    },
                    "Effect": "Allow",
                    "Resource": f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:*:autoScalingGroupName/*",
                    "Sid": "ScaleNodeGroups",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cpu = aws.ec2.LaunchTemplate(
    "cluster-cpu",
    update_default_version=True,
    tag_specifications=[
        aws.ec2.LaunchTemplateTagSpecificationArgs(
            resource_type="instance",
            tags={"Name": "triton-fleet-cpu", "project": "triton", "triton-fleet/cluster": "triton-fleet", "triton-fleet/pool": "cpu"},
        ),
        aws.ec2.LaunchTemplateTagSpecificationArgs(
            resource_type="volume",
            tags={"Name": "triton-fleet-cpu", "project": "triton", "triton-fleet/cluster": "triton-fleet", "triton-fleet/pool": "cpu"},
        ),
        aws.ec2.LaunchTemplateTagSpecificationArgs(
            resource_type="network-interface",
            tags={"Name": "triton-fleet-cpu", "project": "triton", "triton-fleet/cluster": "triton-fleet", "triton-fleet/pool": "cpu"},
        ),
    ],
    metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
    ),
    block_device_mappings=[
        aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
            ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                volume_type="gp3", delete_on_termination="true", volume_size=80, iops=3000, throughput=125, encrypted="true"
            ),
            device_name="/dev/xvda",
        )
    ],
    opts=pulumi.ResourceOptions(provider=cluster),
)
internet_gateway_cluster_vpc = aws.ec2.InternetGateway(
    "cluster-vpc",
    vpc_id=cluster_vpc.id,
    tags={"Name": "triton-fleet-internet", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_public_us_east_1a = aws.ec2.Subnet(
    "cluster-vpc-public-us-east-1a",
    vpc_id=cluster_vpc.id,
    availability_zone="us-east-1a",
    tags={
        "Name": "triton-fleet-public-us-east-1a",
        "project": "triton",
        "triton-fleet/cluster": "triton-fleet",
        "kubernetes.io/role/elb": "1",
    },
    cidr_block="10.0.224.0/22",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_public_us_east_1c = aws.ec2.Subnet(
    "cluster-vpc-public-us-east-1c",
    vpc_id=cluster_vpc.id,
    availability_zone="us-east-1c",
    tags={
        "Name": "triton-fleet-public-us-east-1c",
        "project": "triton",
        "triton-fleet/cluster": "triton-fleet",
        "kubernetes.io/role/elb": "1",
    },
    cidr_block="10.0.232.0/22",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_private_us_east_1a = aws.ec2.Subnet(
    "cluster-vpc-private-us-east-1a",
    vpc_id=cluster_vpc.id,
    availability_zone="us-east-1a",
    tags={
        "Name": "triton-fleet-private-us-east-1a",
        "project": "triton",
        "karpenter.sh/discovery": "triton-fleet",
        "kubernetes.io/role/internal-elb": "1",
        "triton-fleet/cluster": "triton-fleet",
    },
    cidr_block="10.0.0.0/19",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_private_us_east_1b = aws.ec2.Subnet(
    "cluster-vpc-private-us-east-1b",
    vpc_id=cluster_vpc.id,
    availability_zone="us-east-1b",
    tags={
        "Name": "triton-fleet-private-us-east-1b",
        "project": "triton",
        "karpenter.sh/discovery": "triton-fleet",
        "kubernetes.io/role/internal-elb": "1",
        "triton-fleet/cluster": "triton-fleet",
    },
    cidr_block="10.0.32.0/19",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_private_us_east_1c = aws.ec2.Subnet(
    "cluster-vpc-private-us-east-1c",
    vpc_id=cluster_vpc.id,
    availability_zone="us-east-1c",
    tags={
        "Name": "triton-fleet-private-us-east-1c",
        "project": "triton",
        "karpenter.sh/discovery": "triton-fleet",
        "kubernetes.io/role/internal-elb": "1",
        "triton-fleet/cluster": "triton-fleet",
    },
    cidr_block="10.0.64.0/19",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_public_us_east_1b = aws.ec2.Subnet(
    "cluster-vpc-public-us-east-1b",
    vpc_id=cluster_vpc.id,
    availability_zone="us-east-1b",
    tags={
        "Name": "triton-fleet-public-us-east-1b",
        "project": "triton",
        "triton-fleet/cluster": "triton-fleet",
        "kubernetes.io/role/elb": "1",
    },
    cidr_block="10.0.228.0/22",
    opts=pulumi.ResourceOptions(provider=cluster),
)
release_repository = Release(
    ReleaseProvider(),
    "repository",
    {
        "prefix": "model_repository",
        "mode": "release",
        "url": "s3://triton-fleet-models/model_repository",
        "source": f"{ROOT}/models",
        "keep": 3,
        "bucket": "triton-fleet-models",
        "digest": "a10c5758f1b006225ce66ae7ff72da97be95c81613d409c4d3f96c4a40a79bcf",
        "verify": False,
        "region": "us-east-1",
        "createBucket": "cloud",
        "store": "s3",
        "models": {
            "upper": "e94aa7e0c028dbd18ca6c9f44dce618e173f1f00eb5ffb7fc9f1162d20fbd3d8",
            "pipeline": "99521413a0490523fdec94a6e63245403deb74a18886f2a9d6586b21995cd4fb",
            "busy": "a89f1fcfa57af674b3484516f74f727ecf250a1a3e242711c09978299edac770",
            "add_sub": "469b02831749377d3db58aad7727c0eadd01285c3985a2d22212f25aa8f70feb",
        },
        "owner": "None.triton-fleet.eks.repository",
        "display": "",
        "name": None,
        "previous": None,
    },
    opts=pulumi.ResourceOptions(
        depends_on=[repository, repository_public_access_block, repository_encryption, repository_policy, repository_lifecycle]
    ),
)
cluster_vpc_public = aws.ec2.RouteTable(
    "cluster-vpc-public",
    vpc_id=cluster_vpc.id,
    routes=[aws.ec2.RouteTableRouteArgs(gateway_id=internet_gateway_cluster_vpc.id, cidr_block="0.0.0.0/0")],
    tags={"Name": "triton-fleet-public", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_cluster = eks.Cluster(
    "cluster",
    upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
    create_instance_role=False,
    endpoint_public_access=True,
    create_oidc_provider=False,
    public_access_cidrs=["203.0.113.0/24"],
    subnet_ids=[cluster_vpc_private_us_east_1a.id, cluster_vpc_private_us_east_1b.id, cluster_vpc_private_us_east_1c.id],
    encryption_config_key_arn=cluster_secrets.arn,
    skip_default_security_groups=True,
    skip_default_node_group=True,
    deletion_protection=False,
    version="1.35",
    vpc_cni_options=eks.VpcCniOptionsArgs(
        log_level="INFO",
        warm_prefix_target=1,
        enable_prefix_delegation=True,
        enable_network_policy=True,
        resolve_conflicts_on_update=eks.ResolveConflictsOnUpdate.OVERWRITE,
        resolve_conflicts_on_create=eks.ResolveConflictsOnCreate.OVERWRITE,
        addon_version=vpc_cni_addon.version,
    ),
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    provider_credential_opts=eks.KubeconfigOptionsArgs(),
    endpoint_private_access=True,
    vpc_id=cluster_vpc.id,
    enabled_cluster_log_types=["api", "audit", "authenticator", "controllerManager", "scheduler"],
    kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(
        resolve_conflicts_on_update=eks.ResolveConflictsOnUpdate.OVERWRITE,
        version=kube_proxy_addon.version,
        resolve_conflicts_on_create=eks.ResolveConflictsOnCreate.OVERWRITE,
    ),
    access_entries={},
    name="triton-fleet",
    authentication_mode=eks.AuthenticationMode.API,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_logs]),
)
aws.ec2.RouteTableAssociation(
    "cluster-vpc-public-us-east-1b",
    route_table_id=cluster_vpc_public.id,
    subnet_id=cluster_vpc_public_us_east_1b.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
aws.ec2.RouteTableAssociation(
    "cluster-vpc-public-us-east-1c",
    route_table_id=cluster_vpc_public.id,
    subnet_id=cluster_vpc_public_us_east_1c.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_eks_pod_identity_agent = aws.eks.Addon(
    "cluster-eks-pod-identity-agent",
    cluster_name=cluster_cluster.eks_cluster.name,
    addon_version=eks_pod_identity_agent_addon.version,
    resolve_conflicts_on_create="OVERWRITE",
    resolve_conflicts_on_update="PRESERVE",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    addon_name="eks-pod-identity-agent",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
open_id_connect_provider_cluster = aws.iam.OpenIdConnectProvider(
    "cluster",
    url=cluster_cluster.oidc_provider_url,
    client_id_lists=["sts.amazonaws.com"],
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_public_us_east_1a = aws.ec2.RouteTableAssociation(
    "cluster-vpc-public-us-east-1a",
    route_table_id=cluster_vpc_public.id,
    subnet_id=cluster_vpc_public_us_east_1a.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
nat_gateway_cluster_vpc_nat_us_east_1a = aws.ec2.NatGateway(
    "cluster-vpc-nat-us-east-1a",
    tags={"Name": "triton-fleet-nat-us-east-1a", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    subnet_id=cluster_vpc_public_us_east_1a.id,
    allocation_id=cluster_vpc_nat_us_east_1a.id,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[route_table_association_cluster_vpc_public_us_east_1a]),
)
role_cluster_autoscaler = aws.iam.Role(
    "cluster-autoscaler",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    assume_role_policy=pulumi.Output.json_dumps(
        {
            "Statement": [
                {
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {
                        "StringEquals": {
                            pulumi.Output.concat(cluster_cluster.oidc_issuer, ":aud"): "sts.amazonaws.com",
                            pulumi.Output.concat(
                                cluster_cluster.oidc_issuer, ":sub"
                            ): "system:serviceaccount:kube-system:cluster-autoscaler",
                        }
                    },
                    "Effect": "Allow",
                    "Principal": {"Federated": open_id_connect_provider_cluster.arn},
                }
            ],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_cluster_load_balancer = aws.iam.Role(
    "cluster-load-balancer",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    assume_role_policy=pulumi.Output.json_dumps(
        {
            "Statement": [
                {
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {
                        "StringEquals": {
                            pulumi.Output.concat(cluster_cluster.oidc_issuer, ":aud"): "sts.amazonaws.com",
                            pulumi.Output.concat(
                                cluster_cluster.oidc_issuer, ":sub"
                            ): "system:serviceaccount:kube-system:aws-load-balancer-controller",
                        }
                    },
                    "Effect": "Allow",
                    "Principal": {"Federated": open_id_connect_provider_cluster.arn},
                }
            ],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_triton_reader = aws.iam.Role(
    "triton-reader",
    tags={"project": "triton"},
    assume_role_policy=pulumi.Output.json_dumps(
        {
            "Statement": [
                {
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {
                        "StringEquals": {
                            pulumi.Output.concat(cluster_cluster.oidc_issuer, ":aud"): "sts.amazonaws.com",
                            pulumi.Output.concat(cluster_cluster.oidc_issuer, ":sub"): "system:serviceaccount:triton:triton",
                        }
                    },
                    "Effect": "Allow",
                    "Principal": {"Federated": open_id_connect_provider_cluster.arn},
                }
            ],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_cluster_vpc_private_us_east_1a = aws.ec2.RouteTable(
    "cluster-vpc-private-us-east-1a",
    vpc_id=cluster_vpc.id,
    routes=[aws.ec2.RouteTableRouteArgs(nat_gateway_id=nat_gateway_cluster_vpc_nat_us_east_1a.id, cidr_block="0.0.0.0/0")],
    tags={"Name": "triton-fleet-private-us-east-1a", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_cluster_vpc_private_us_east_1b = aws.ec2.RouteTable(
    "cluster-vpc-private-us-east-1b",
    vpc_id=cluster_vpc.id,
    routes=[aws.ec2.RouteTableRouteArgs(nat_gateway_id=nat_gateway_cluster_vpc_nat_us_east_1a.id, cidr_block="0.0.0.0/0")],
    tags={"Name": "triton-fleet-private-us-east-1b", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_cluster_vpc_private_us_east_1c = aws.ec2.RouteTable(
    "cluster-vpc-private-us-east-1c",
    vpc_id=cluster_vpc.id,
    routes=[aws.ec2.RouteTableRouteArgs(nat_gateway_id=nat_gateway_cluster_vpc_nat_us_east_1a.id, cidr_block="0.0.0.0/0")],
    tags={"Name": "triton-fleet-private-us-east-1c", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_cluster_autoscaler = aws.iam.RolePolicyAttachment(
    "cluster-autoscaler",
    policy_arn=cluster_autoscaler.arn,
    role=role_cluster_autoscaler.name,
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_cluster_load_balancer = aws.iam.RolePolicyAttachment(
    "cluster-load-balancer",
    policy_arn=cluster_load_balancer.arn,
    role=role_cluster_load_balancer.name,
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_triton_reader = aws.iam.RolePolicyAttachment(
    "triton-reader", policy_arn=triton_reader.arn, role=role_triton_reader.name, opts=pulumi.ResourceOptions(provider=cluster)
)
cluster_vpc_s3 = aws.ec2.VpcEndpoint(
    "cluster-vpc-s3",
    vpc_id=cluster_vpc.id,
    service_name="com.amazonaws.us-east-1.s3",
    route_table_ids=[
        cluster_vpc_public.id,
        route_table_cluster_vpc_private_us_east_1a.id,
        route_table_cluster_vpc_private_us_east_1b.id,
        route_table_cluster_vpc_private_us_east_1c.id,
    ],
    vpc_endpoint_type="Gateway",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_private_us_east_1b = aws.ec2.RouteTableAssociation(
    "cluster-vpc-private-us-east-1b",
    route_table_id=route_table_cluster_vpc_private_us_east_1b.id,
    subnet_id=cluster_vpc_private_us_east_1b.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_private_us_east_1c = aws.ec2.RouteTableAssociation(
    "cluster-vpc-private-us-east-1c",
    route_table_id=route_table_cluster_vpc_private_us_east_1c.id,
    subnet_id=cluster_vpc_private_us_east_1c.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_private_us_east_1a = aws.ec2.RouteTableAssociation(
    "cluster-vpc-private-us-east-1a",
    route_table_id=route_table_cluster_vpc_private_us_east_1a.id,
    subnet_id=cluster_vpc_private_us_east_1a.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
node_group_cluster_cpu = aws.eks.NodeGroup(
    "cluster-cpu",
    ami_type="AL2023_x86_64_STANDARD",
    node_role_arn=cluster_node.arn,
    update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    instance_types=["m7i.xlarge"],
    launch_template=aws.eks.NodeGroupLaunchTemplateArgs(version="3", id=cluster_cpu.id),
    cluster_name=cluster_cluster.eks_cluster.name,
    subnet_ids=[cluster_vpc_private_us_east_1a.id, cluster_vpc_private_us_east_1b.id, cluster_vpc_private_us_east_1c.id],
    capacity_type="ON_DEMAND",
    labels={"triton-fleet/pool": "cpu"},
    version="1.35",
    taints=[],
    scaling_config=aws.eks.NodeGroupScalingConfigArgs(desired_size=2, max_size=6, min_size=2),
    node_repair_config=aws.eks.NodeGroupNodeRepairConfigArgs(enabled=True),
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_cluster,
            cluster_node_amazon_ec2_container_registry_pull_only,
            cluster_node_amazon_eks_cni_policy,
            cluster_node_amazon_eksworker_node_policy,
            cluster_vpc_s3,
            route_table_association_cluster_vpc_private_us_east_1a,
            route_table_association_cluster_vpc_private_us_east_1b,
            route_table_association_cluster_vpc_private_us_east_1c,
        ],
        ignore_changes=["scalingConfig.desiredSize"],
    ),
)
cluster_coredns = aws.eks.Addon(
    "cluster-coredns",
    cluster_name=cluster_cluster.eks_cluster.name,
    addon_version=coredns_addon.version,
    resolve_conflicts_on_create="OVERWRITE",
    resolve_conflicts_on_update="PRESERVE",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    addon_name="coredns",
    opts=pulumi.ResourceOptions(
        provider=cluster, depends_on=[cluster_cluster, cluster_cpu, cluster_eks_pod_identity_agent, node_group_cluster_cpu]
    ),
)
cluster_aws_ebs_csi_driver = aws.eks.Addon(
    "cluster-aws-ebs-csi-driver",
    cluster_name=cluster_cluster.eks_cluster.name,
    addon_version=aws_ebs_csi_driver_addon.version,
    resolve_conflicts_on_create="OVERWRITE",
    resolve_conflicts_on_update="PRESERVE",
    tags={"triton-fleet/cluster": "triton-fleet", "project": "triton"},
    pod_identity_associations=[aws.eks.AddonPodIdentityAssociationArgs(role_arn=cluster_ebs.arn, service_account="ebs-csi-controller-sa")],
    addon_name="aws-ebs-csi-driver",
    opts=pulumi.ResourceOptions(
        provider=cluster,
        depends_on=[
            cluster_cluster,
            cluster_cpu,
            cluster_eks_pod_identity_agent,
            node_group_cluster_cpu,
            role_policy_attachment_cluster_ebs,
        ],
    ),
)
kubernetes_cluster = k8s.Provider(
    "cluster",
    kubeconfig=cluster_cluster.kubeconfig_json,
    enable_server_side_apply=True,
    cluster_identifier=cluster_cluster.eks_cluster.id.apply(lambda _: "us-east-1/triton-fleet"),
    opts=pulumi.ResourceOptions(depends_on=[cluster_coredns, cluster_cpu, cluster_eks_pod_identity_agent, node_group_cluster_cpu]),
)
release_cluster_autoscaler = k8s.helm.v3.Release(
    "cluster-autoscaler",
    version="9.59.0",
    compat="true",
    create_namespace=False,
    values={
        "awsRegion": "us-east-1",
        "extraArgs": {
            "skip-nodes-with-system-pods": False,
            "skip-nodes-with-local-storage": False,
            "balance-similar-node-groups": True,
            "max-node-provision-time": "900s",
            "max-graceful-termination-sec": 600,
            "scale-down-unneeded-time": "600s",
            "expander": "least-waste",
        },
        "rbac": {
            "serviceAccount": {"name": "cluster-autoscaler", "annotations": {"eks.amazonaws.com/role-arn": role_cluster_autoscaler.arn}}
        },
        "image": {"tag": "v1.35.0"},
        "autoDiscovery": {"clusterName": "triton-fleet"},
        "resources": {"limits": {"memory": "600Mi"}, "requests": {"cpu": "100m", "memory": "300Mi"}},
        "fullnameOverride": "cluster-autoscaler",
        "cloudProvider": "aws",
    },
    namespace="kube-system",
    max_history=5,
    timeout=600,
    atomic=True,
    name="cluster-autoscaler",
    chart=f"{CHARTS}/cluster-autoscaler",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_coredns, cluster_eks_pod_identity_agent, node_group_cluster_cpu, role_policy_attachment_cluster_autoscaler],
        delete_before_replace=True,
    ),
)
aws_load_balancer_controller = k8s.helm.v3.Release(
    "aws-load-balancer-controller",
    version="3.5.0",
    compat="true",
    create_namespace=False,
    values={
        "vpcId": cluster_vpc.id,
        "keepTLSSecret": True,
        "enableServiceMutatorWebhook": False,
        "clusterName": "triton-fleet",
        "region": "us-east-1",
        "serviceAccount": {
            "create": True,
            "name": "aws-load-balancer-controller",
            "annotations": {"eks.amazonaws.com/role-arn": role_cluster_load_balancer.arn},
        },
    },
    namespace="kube-system",
    max_history=5,
    timeout=600,
    atomic=True,
    name="aws-load-balancer-controller",
    chart=f"{CHARTS}/aws-load-balancer-controller",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_coredns, cluster_eks_pod_identity_agent, node_group_cluster_cpu, role_policy_attachment_cluster_load_balancer],
        delete_before_replace=True,
    ),
)
gp3 = k8s.storage.v1.StorageClass(
    "gp3",
    volume_binding_mode="WaitForFirstConsumer",
    metadata=k8s.meta.v1.ObjectMetaArgs(name="gp3", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
    provisioner="ebs.csi.aws.com",
    parameters={"encrypted": "true", "type": "gp3"},
    allow_volume_expansion=True,
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
triton = k8s.core.v1.Namespace(
    "triton",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/name": "triton",
            "pod-security.kubernetes.io/warn": "restricted",
            "elbv2.k8s.aws/pod-readiness-gate-inject": "enabled",
        },
        name="triton",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[aws_load_balancer_controller, release_cluster_autoscaler]),
)
monitoring = k8s.core.v1.Namespace(
    "monitoring",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        labels={
            "pod-security.kubernetes.io/enforce": "privileged",
            "app.kubernetes.io/instance": "prometheus",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "prometheus",
        },
        name="monitoring",
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[cluster_aws_ebs_csi_driver, gp3]),
)
triton_admin = k8s.core.v1.Secret(
    "triton-admin-key",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton-admin",
        namespace="triton",
        labels={
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "triton",
        },
    ),
    data=pulumi.Output.secret({"key": base64.b64encode(secrets.token_hex(16).encode()).decode()}),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[triton], ignore_changes=["data"]),
)
k8s.helm.v4.Chart(
    "triton",
    values={
        "podMonitor": {"labels": {}, "interval": "5s", "enabled": True},
        "autoscaling": {
            "enabled": True,
            "behavior": {},
            "minReplicas": 2,
            "metrics": [
                {
                    "pods": {"metric": {"name": "avg_time_queue_us"}, "target": {"averageValue": "50k", "type": "AverageValue"}},
                    "type": "Pods",
                },
                {
                    "pods": {
                        "metric": {"name": "nv_inference_pending_request_count"},
                        "target": {"averageValue": "16", "type": "AverageValue"},
                    },
                    "type": "Pods",
                },
            ],
            "scaleDownPodsPerMinute": 1,
            "maxReplicas": 4,
            "scaleDownStabilization": 300,
        },
        "affinity": {},
        "runtimeClassName": "",
        "service": {
            "type": "LoadBalancer",
            "annotations": {
                "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip",
                "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
                "service.beta.kubernetes.io/aws-load-balancer-type": "external",
                "service.beta.kubernetes.io/aws-load-balancer-target-group-attributes": "deregistration_delay.timeout_seconds=255",
                "service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-8000": "tcp.idle_timeout.seconds=350",
                "service.beta.kubernetes.io/aws-load-balancer-listener-attributes.TCP-8001": "tcp.idle_timeout.seconds=350",
            },
            "sourceRanges": [],
        },
        "readOnlyRootFilesystem": True,
        "admin": {"open": [], "keySecret": "triton-admin"},
        "networkPolicy": {
            "enabled": True,
            "namespaces": [],
            "prometheusNamespaces": ["monitoring"],
            "istio": False,
            "cidrs": [],
            "egress": [],
        },
        "secretEnv": {},
        "podLabels": {},
        "logVerbose": 0,
        "envFromSecrets": [],
        "prefetch": {
            "volume": {},
            "parallelism": 16,
            "budget": 900,
            "models": [],
            "enabled": False,
            "image": "docker.io/rclone/rclone:1.75.2",
        },
        "imagePullPolicy": "IfNotPresent",
        "probes": {
            "liveness": {"failureThreshold": 6, "timeoutSeconds": 5, "periodSeconds": 10},
            "readiness": {"failureThreshold": 3, "timeoutSeconds": 3, "periodSeconds": 5},
        },
        "disruption": {"enabled": True, "maxUnavailable": 1},
        "rollout": {"maxSurge": 1, "maxUnavailable": 0},
        "deploymentAnnotations": {"pulumi.com/timeoutSeconds": "1500"},
        "drain": {"preStop": 180, "recycleGrpc": True, "margin": 15, "exitTimeout": 45},
        "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
        "runAsUser": 1000,
        "nodeSelector": {},
        "tolerations": [],
        "extraArgs": [],
        "modelRepository": {
            "release": "a10c5758f1b006225ce66ae7ff72da97be95c81613d409c4d3f96c4a40a79bcf",
            "urls": [
                "s3://triton-fleet-models/model_repository/models/add_sub-469b02831749377d",
                "s3://triton-fleet-models/model_repository/models/busy-a89f1fcfa57af674",
                "s3://triton-fleet-models/model_repository/models/pipeline-99521413a0490523",
                "s3://triton-fleet-models/model_repository/models/upper-e94aa7e0c028dbd1",
            ],
            "mode": "release",
            "url": "",
            "keyFileSecret": "",
            "models": [],
            "credentialsSecret": "",
            "region": "us-east-1",
        },
        "serviceAccount": {
            "create": True,
            "waitForToken": False,
            "name": "",
            "annotations": {"eks.amazonaws.com/role-arn": role_triton_reader.arn},
        },
        "labels": {
            "app.kubernetes.io/instance": "triton",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "triton",
        },
        "priorityClassName": "",
        "resources": {"shm": "1Gi", "cpu": "1", "gpus": 0, "memory": "4Gi", "gpuResource": "nvidia.com/gpu"},
        "imagePullSecrets": [],
        "env": {},
        "podAnnotations": {},
        "startupBudget": 900,
    },
    namespace="triton",
    name="triton",
    chart=f"{ROOT}/charts/triton",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[triton_admin, aws_load_balancer_controller, release_repository, role_policy_attachment_triton_reader, triton],
        transforms=[of_the_chart],
    ),
)
kps = k8s.helm.v3.Release(
    "kps",
    version="88.5.3",
    compat="true",
    create_namespace=False,
    values={
        "alertmanager": {"enabled": True},
        "grafana": {"enabled": True},
        "kubeEtcd": {"enabled": False},
        "kubeProxy": {"enabled": False},
        "kubeControllerManager": {"enabled": False},
        "kubeScheduler": {"enabled": False},
        "prometheus": {
            "prometheusSpec": {
                "probeSelectorNilUsesHelmValues": False,
                "ruleSelectorNilUsesHelmValues": False,
                "retention": "7d",
                "podMonitorSelectorNilUsesHelmValues": False,
                "retentionSize": "40960MB",
                "serviceDiscoveryRole": "EndpointSlice",
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "evaluationInterval": "15s",
                "scrapeInterval": "15s",
                "scrapeConfigSelectorNilUsesHelmValues": False,
                "storageSpec": {
                    "volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}}}
                },
            },
            "service": {"port": 9090, "type": "ClusterIP"},
        },
        "crds": {"upgradeJob": {"enabled": True, "image": {"busybox": {"tag": "1.37"}}}, "enabled": True},
        "fullnameOverride": "kps",
    },
    namespace="monitoring",
    max_history=5,
    timeout=600,
    atomic=True,
    name="kps",
    chart=f"{CHARTS}/kube-prometheus-stack",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[monitoring], delete_before_replace=True),
)
k8s.helm.v3.Release(
    "prometheus-adapter",
    version="5.3.0",
    compat="true",
    create_namespace=False,
    values={
        "readinessProbe": {"periodSeconds": 3, "initialDelaySeconds": 2},
        "resources": {"limits": {"cpu": "500m", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "prometheus": {"port": 9090, "url": "http://kps-prometheus.monitoring.svc", "path": ""},
        "metricsRelistInterval": "15s",
        "extraArguments": ["--metrics-max-age=60s"],
        "rules": {
            "custom": [
                {
                    "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
                    "metricsQuery": "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) / clamp_min(sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>), 0.001) or 0 * sum(nv_inference_queue_duration_us{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "name": {"as": "avg_time_queue_us", "matches": "^nv_inference_queue_duration_us$"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                },
                {
                    "seriesQuery": 'nv_inference_pending_request_count{namespace!="",pod!=""}',
                    "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[15s])) by (<<.GroupBy>>)",
                    "name": {"as": "nv_inference_pending_request_count", "matches": "^nv_inference_pending_request_count$"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                },
                {
                    "seriesQuery": 'nv_inference_request_success{namespace!="",pod!=""}',
                    "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) or 0 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                    "name": {"as": "nv_inference_requests_per_second", "matches": "^nv_inference_request_success$"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                },
                {
                    "seriesQuery": 'DCGM_FI_DEV_GPU_UTIL{namespace!="",pod!="",service!=""}',
                    "metricsQuery": "avg(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
                    "name": {"as": "DCGM_FI_DEV_GPU_UTIL", "matches": "^DCGM_FI_DEV_GPU_UTIL$"},
                    "resources": {"overrides": {"namespace": {"resource": "namespace"}, "service": {"resource": "service"}}},
                },
            ],
            "default": False,
        },
    },
    namespace="monitoring",
    max_history=5,
    timeout=600,
    atomic=True,
    name="prometheus-adapter",
    chart=f"{CHARTS}/prometheus-adapter",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[kps], delete_before_replace=True),
)
k8s.core.v1.ConfigMap(
    "observability-dashboard",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        namespace="monitoring",
        labels={
            "app.kubernetes.io/instance": "dashboard",
            "grafana_dashboard": "1",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "triton-observability",
        },
        name="triton-fleet-dashboard",
    ),
    data={
        "triton-fleet.json": json.dumps(
            {
                "uid": "triton-fleet",
                "title": "Triton",
                "tags": ["triton"],
                "schemaVersion": 39,
                "editable": False,
                "refresh": "10s",
                "time": {"from": "now-1h", "to": "now"},
                "templating": {
                    "list": [
                        {"name": "datasource", "type": "datasource", "query": "prometheus"},
                        {
                            "name": "namespace",
                            "type": "query",
                            "datasource": {"type": "prometheus", "uid": "${datasource}"},
                            "query": {"query": "label_values(nv_inference_request_success, namespace)", "refId": "namespace"},
                            "refresh": 2,
                            "sort": 1,
                        },
                        {
                            "name": "deployment",
                            "type": "query",
                            "datasource": {"type": "prometheus", "uid": "${datasource}"},
                            "query": {
                                "query": 'label_values(nv_inference_request_success{namespace="$namespace"}, deployment)',
                                "refId": "deployment",
                            },
                            "refresh": 2,
                            "multi": True,
                            "includeAll": True,
                            "allValue": ".*",
                            "sort": 1,
                        },
                    ]
                },
                "panels": [
                    {
                        "id": 1,
                        "type": "timeseries",
                        "title": "Requests",
                        "description": "Requests per second that succeeded and that failed, by model.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 0},
                        "fieldConfig": {"defaults": {"unit": "reqps", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(rate(nv_inference_request_success{namespace="$namespace",deployment=~"$deployment"}[60s])) by (model)',
                                "legendFormat": "{{model}}",
                            },
                            {
                                "refId": "B",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(rate(nv_inference_request_failure{namespace="$namespace",deployment=~"$deployment"}[60s])) by (model)',
                                "legendFormat": "{{model}} failed",
                            },
                        ],
                    },
                    {
                        "id": 2,
                        "type": "timeseries",
                        "title": "Replicas",
                        "description": "Ready pods, the number that the autoscaler wants, and its maximum.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 12, "y": 0},
                        "fieldConfig": {"defaults": {"unit": "short", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(kube_deployment_status_replicas_available{namespace="$namespace",deployment=~"$deployment"}) by (deployment)',
                                "legendFormat": "{{deployment}} ready",
                            },
                            {
                                "refId": "B",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(kube_horizontalpodautoscaler_status_desired_replicas{namespace="$namespace",horizontalpodautoscaler=~"$deployment"}) by (horizontalpodautoscaler)',
                                "legendFormat": "{{horizontalpodautoscaler}} wanted",
                            },
                            {
                                "refId": "C",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(kube_horizontalpodautoscaler_spec_max_replicas{namespace="$namespace",horizontalpodautoscaler=~"$deployment"}) by (horizontalpodautoscaler)',
                                "legendFormat": "{{horizontalpodautoscaler}} maximum",
                            },
                        ],
                    },
                    {
                        "id": 3,
                        "type": "timeseries",
                        "title": "Time in the queue",
                        "description": "Mean of each pod, as the autoscaler reads it. If it rises with all replicas running, raise maxReplicas.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 8},
                        "fieldConfig": {"defaults": {"unit": "µs", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(rate(nv_inference_queue_duration_us{namespace="$namespace",deployment=~"$deployment"}[60s])) by (pod) / clamp_min(sum(rate(nv_inference_request_success{namespace="$namespace",deployment=~"$deployment"}[60s])) by (pod), 0.001) or 0 * sum(nv_inference_queue_duration_us{namespace="$namespace",deployment=~"$deployment"}) by (pod)',
                                "legendFormat": "{{pod}}",
                            }
                        ],
                    },
                    {
                        "id": 4,
                        "type": "timeseries",
                        "title": "Pending requests",
                        "description": "Requests in the queues of each pod, as the autoscaler reads them.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 12, "y": 8},
                        "fieldConfig": {"defaults": {"unit": "short", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(avg_over_time(nv_inference_pending_request_count{namespace="$namespace",deployment=~"$deployment"}[15s])) by (pod)',
                                "legendFormat": "{{pod}}",
                            }
                        ],
                    },
                    {
                        "id": 5,
                        "type": "timeseries",
                        "title": "Requests per pod",
                        "description": "Successful requests per second of each pod, as the autoscaler reads them.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 16},
                        "fieldConfig": {"defaults": {"unit": "reqps", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(rate(nv_inference_request_success{namespace="$namespace",deployment=~"$deployment"}[60s])) by (pod) or 0 * sum(nv_inference_request_success{namespace="$namespace",deployment=~"$deployment"}) by (pod)',
                                "legendFormat": "{{pod}}",
                            }
                        ],
                    },
                    {
                        "id": 6,
                        "type": "timeseries",
                        "title": "GPU utilization",
                        "description": "GPUs of each pod. Shared GPUs show the whole GPU; MIG slices show nothing.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 12, "y": 16},
                        "fieldConfig": {"defaults": {"unit": "percent", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'avg(avg_over_time(DCGM_FI_DEV_GPU_UTIL{namespace="$namespace",container=~"$deployment"}[30s])) by (pod)',
                                "legendFormat": "{{pod}}",
                            }
                        ],
                    },
                    {
                        "id": 7,
                        "type": "timeseries",
                        "title": "Request duration",
                        "description": "Mean from the arrival of a request to its response, by model, time in the queue included.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 0, "y": 24},
                        "fieldConfig": {"defaults": {"unit": "µs", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(rate(nv_inference_request_duration_us{namespace="$namespace",deployment=~"$deployment"}[60s])) by (model) / clamp_min(sum(rate(nv_inference_request_success{namespace="$namespace",deployment=~"$deployment"}[60s])) by (model), 0.001)',
                                "legendFormat": "{{model}}",
                            }
                        ],
                    },
                    {
                        "id": 8,
                        "type": "timeseries",
                        "title": "Batch size",
                        "description": "Inferences per execution of a model. At 1 under load, dynamic batching is off or its delay too short.",
                        "datasource": {"type": "prometheus", "uid": "${datasource}"},
                        "gridPos": {"h": 8, "w": 12, "x": 12, "y": 24},
                        "fieldConfig": {"defaults": {"unit": "short", "min": 0}, "overrides": []},
                        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
                        "targets": [
                            {
                                "refId": "A",
                                "datasource": {"type": "prometheus", "uid": "${datasource}"},
                                "expr": 'sum(rate(nv_inference_count{namespace="$namespace",deployment=~"$deployment"}[60s])) by (model) / clamp_min(sum(rate(nv_inference_exec_count{namespace="$namespace",deployment=~"$deployment"}[60s])) by (model), 0.001)',
                                "legendFormat": "{{model}}",
                            }
                        ],
                    },
                ],
            }
        )
    },
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[kps]),
)
