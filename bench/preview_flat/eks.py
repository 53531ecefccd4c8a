"""The resources of Pulumi.eks.yaml, registered by one flat file: what `bench/preview` holds the fleet against.

Written once from what the fleet registers; the benchmark checks that both still register the same resources.
"""

import json

import pulumi
import pulumi_aws as aws
import pulumi_eks as eks
import pulumi_kubernetes as k8s

from components.repository.sync import BucketProvider, ReleaseProvider

CONFIG = pulumi.Config()
ROOT = CONFIG.require("root")
CHARTS = CONFIG.require("charts")


class Bucket(pulumi.dynamic.Resource, module="repository", name="Bucket"):
    """The models' bucket."""


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


cluster = aws.Provider("cluster", region="us-east-1", skip_region_validation=True, skip_credentials_validation=False)
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
                    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
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
                    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                    "Resource": "*",
                    "Sid": "UseKeyThroughIAM",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    description="Kubernetes Secrets of triton-fleet",
    deletion_window_in_days=7,
    enable_key_rotation=True,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node = aws.iam.Role(
    "cluster-node",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    assume_role_policy=json.dumps(
        {
            "Statement": [{"Action": "sts:AssumeRole", "Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}}],
            "Version": "2012-10-17",
        }
    ),
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_ebs = aws.iam.Role(
    "cluster-ebs",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
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
cluster_logs = aws.cloudwatch.LogGroup(
    "cluster-logs",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    name="/aws/eks/triton-fleet/cluster",
    retention_in_days=30,
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
    tags={"Name": "triton-fleet-nat-us-east-1a", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    domain="vpc",
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
                    "Resource": "arn:aws:eks:us-east-1:123456789012:nodegroup/triton-fleet/*/*",
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
                    "Resource": "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:*:autoScalingGroupName/*",
                    "Sid": "ScaleNodeGroups",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
repository = Bucket(
    BucketProvider(),
    "repository",
    {"versioning": False, "store": "s3", "region": "us-east-1", "bucket": "triton-fleet-models", "name": None, "previous": None},
)
cluster_cpu = aws.ec2.LaunchTemplate(
    "cluster-cpu",
    update_default_version=True,
    tag_specifications=[
        aws.ec2.LaunchTemplateTagSpecificationArgs(
            tags={"Name": "triton-fleet-cpu", "project": "triton", "triton-fleet/cluster": "triton-fleet", "triton-fleet/pool": "cpu"},
            resource_type="instance",
        ),
        aws.ec2.LaunchTemplateTagSpecificationArgs(
            tags={"Name": "triton-fleet-cpu", "project": "triton", "triton-fleet/cluster": "triton-fleet", "triton-fleet/pool": "cpu"},
            resource_type="volume",
        ),
        aws.ec2.LaunchTemplateTagSpecificationArgs(
            tags={"Name": "triton-fleet-cpu", "project": "triton", "triton-fleet/cluster": "triton-fleet", "triton-fleet/pool": "cpu"},
            resource_type="network-interface",
        ),
    ],
    metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
        http_endpoint="enabled", http_put_response_hop_limit=1, http_tokens="required"
    ),
    block_device_mappings=[
        aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
            ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                delete_on_termination="true", throughput=125, encrypted="true", volume_type="gp3", iops=3000, volume_size=80
            ),
            device_name="/dev/xvda",
        )
    ],
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
                    "Resource": "arn:aws:ec2:us-east-1:123456789012:vpc/*",
                    "Sid": "ListSecurityGroupsOfVpcs",
                },
                {
                    "Action": "iam:CreateServiceLinkedRole",
                    "Condition": {"StringEquals": {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}},
                    "Effect": "Allow",
                    "Resource": "arn:aws:iam::123456789012:role/aws-service-role/elasticloadbalancing.amazonaws.com/*",
                    "Sid": "CreateServiceLinkedRole",
                },
                {
                    "Action": "ec2:CreateSecurityGroup",
                    "Effect": "Allow",
                    "Resource": ["arn:aws:ec2:us-east-1:123456789012:vpc/*", "arn:aws:ec2:us-east-1:123456789012:security-group/*"],
                    "Sid": "CreateSecurityGroups",
                },
                {
                    "Action": "ec2:CreateTags",
                    "Condition": {
                        "StringEquals": {"aws:RequestTag/elbv2.k8s.aws/cluster": "triton-fleet", "ec2:CreateAction": "CreateSecurityGroup"}
                    },
                    "Effect": "Allow",
                    "Resource": "arn:aws:ec2:us-east-1:123456789012:security-group/*",
                    "Sid": "TagNewSecurityGroups",
                },
                {
                    "Action": ["ec2:DeleteSecurityGroup", "ec2:CreateTags", "ec2:DeleteTags"],
                    "Condition": {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": "triton-fleet"}},
                    "Effect": "Allow",
                    "Resource": "arn:aws:ec2:us-east-1:123456789012:security-group/*",
                    "Sid": "ChangeSecurityGroups",
                },
                {
                    "Action": ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"],
                    "Effect": "Allow",
                    "Resource": [
                        "arn:aws:ec2:us-east-1:123456789012:security-group/*",
                        "arn:aws:ec2:us-east-1:123456789012:security-group-rule/*",
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
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/*",
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/*/*",
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
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/*",
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/*/*",
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
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:loadbalancer/net/*",
                        "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/net/*/*/*",
                    ],
                    "Sid": "ChangeListeners",
                },
                {
                    "Action": ["elasticloadbalancing:RegisterTargets", "elasticloadbalancing:DeregisterTargets"],
                    "Effect": "Allow",
                    "Resource": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/*/*",
                    "Sid": "RegisterTargets",
                },
            ],
            "Version": "2012-10-17",
        }
    ),
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node_amazon_eksworker_node_policy = aws.iam.RolePolicyAttachment(
    "cluster-node-AmazonEKSWorkerNodePolicy",
    role=cluster_node.name,
    policy_arn="arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node_amazon_ec2_container_registry_pull_only = aws.iam.RolePolicyAttachment(
    "cluster-node-AmazonEC2ContainerRegistryPullOnly",
    role=cluster_node.name,
    policy_arn="arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_node_amazon_eks_cni_policy = aws.iam.RolePolicyAttachment(
    "cluster-node-AmazonEKS_CNI_Policy",
    role=cluster_node.name,
    policy_arn="arn:aws:iam::aws:policy/AmazonEKS_CNI_Policy",
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_cluster_ebs = aws.iam.RolePolicyAttachment(
    "cluster-ebs",
    role=cluster_ebs.name,
    policy_arn="arn:aws:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy",
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
cluster_vpc_public_us_east_1a = aws.ec2.Subnet(
    "cluster-vpc-public-us-east-1a",
    vpc_id=cluster_vpc.id,
    tags={
        "Name": "triton-fleet-public-us-east-1a",
        "project": "triton",
        "kubernetes.io/role/elb": "1",
        "triton-fleet/cluster": "triton-fleet",
    },
    availability_zone="us-east-1a",
    cidr_block="10.0.224.0/22",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_public_us_east_1b = aws.ec2.Subnet(
    "cluster-vpc-public-us-east-1b",
    vpc_id=cluster_vpc.id,
    tags={
        "Name": "triton-fleet-public-us-east-1b",
        "project": "triton",
        "kubernetes.io/role/elb": "1",
        "triton-fleet/cluster": "triton-fleet",
    },
    availability_zone="us-east-1b",
    cidr_block="10.0.228.0/22",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_public_us_east_1c = aws.ec2.Subnet(
    "cluster-vpc-public-us-east-1c",
    vpc_id=cluster_vpc.id,
    tags={
        "Name": "triton-fleet-public-us-east-1c",
        "project": "triton",
        "kubernetes.io/role/elb": "1",
        "triton-fleet/cluster": "triton-fleet",
    },
    availability_zone="us-east-1c",
    cidr_block="10.0.232.0/22",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_private_us_east_1a = aws.ec2.Subnet(
    "cluster-vpc-private-us-east-1a",
    vpc_id=cluster_vpc.id,
    tags={
        "Name": "triton-fleet-private-us-east-1a",
        "project": "triton",
        "kubernetes.io/role/internal-elb": "1",
        "karpenter.sh/discovery": "triton-fleet",
        "triton-fleet/cluster": "triton-fleet",
    },
    availability_zone="us-east-1a",
    cidr_block="10.0.0.0/19",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_private_us_east_1b = aws.ec2.Subnet(
    "cluster-vpc-private-us-east-1b",
    vpc_id=cluster_vpc.id,
    tags={
        "Name": "triton-fleet-private-us-east-1b",
        "project": "triton",
        "kubernetes.io/role/internal-elb": "1",
        "karpenter.sh/discovery": "triton-fleet",
        "triton-fleet/cluster": "triton-fleet",
    },
    availability_zone="us-east-1b",
    cidr_block="10.0.32.0/19",
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_private_us_east_1c = aws.ec2.Subnet(
    "cluster-vpc-private-us-east-1c",
    vpc_id=cluster_vpc.id,
    tags={
        "Name": "triton-fleet-private-us-east-1c",
        "project": "triton",
        "kubernetes.io/role/internal-elb": "1",
        "karpenter.sh/discovery": "triton-fleet",
        "triton-fleet/cluster": "triton-fleet",
    },
    availability_zone="us-east-1c",
    cidr_block="10.0.64.0/19",
    opts=pulumi.ResourceOptions(provider=cluster),
)
internet_gateway_cluster_vpc = aws.ec2.InternetGateway(
    "cluster-vpc",
    vpc_id=cluster_vpc.id,
    tags={"Name": "triton-fleet-internet", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    opts=pulumi.ResourceOptions(provider=cluster),
)
release_repository = Release(
    ReleaseProvider(),
    "repository",
    {
        "region": "us-east-1",
        "keep": 3,
        "store": "s3",
        "mode": "release",
        "prefix": "model_repository",
        f"{ROOT}/models": {
            "upper": "e94aa7e0c028dbd18ca6c9f44dce618e173f1f00eb5ffb7fc9f1162d20fbd3d8",
            "pipeline": "99521413a0490523fdec94a6e63245403deb74a18886f2a9d6586b21995cd4fb",
            "add_sub": "469b02831749377d3db58aad7727c0eadd01285c3985a2d22212f25aa8f70feb",
            "busy": "a89f1fcfa57af674b3484516f74f727ecf250a1a3e242711c09978299edac770",
        },
        "url": "s3://https://s3.amazonaws.com:443/triton-fleet-models/model_repository",
        "owner": "None.triton-fleet.eks.repository",
        "verify": False,
        "digest": "a10c5758f1b006225ce66ae7ff72da97be95c81613d409c4d3f96c4a40a79bcf",
        "createBucket": True,
        "bucket": "triton-fleet-models",
        "source": f"{ROOT}/models",
        "display": "",
        "name": None,
        "previous": None,
    },
    opts=pulumi.ResourceOptions(depends_on=[repository]),
)
cluster_cluster = eks.Cluster(
    "cluster",
    vpc_id=cluster_vpc.id,
    public_access_cidrs=["203.0.113.0/24"],
    authentication_mode="API",
    upgrade_policy=aws.eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
    kube_proxy_addon_options=eks.KubeProxyAddonOptionsArgs(
        version="v1-kube-proxy", resolve_conflicts_on_update="OVERWRITE", resolve_conflicts_on_create="OVERWRITE"
    ),
    subnet_ids=[cluster_vpc_private_us_east_1a.id, cluster_vpc_private_us_east_1b.id, cluster_vpc_private_us_east_1c.id],
    deletion_protection=False,
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    skip_default_node_group=True,
    vpc_cni_options=eks.VpcCniOptionsArgs(
        enable_prefix_delegation=True,
        resolve_conflicts_on_create="OVERWRITE",
        warm_prefix_target=1,
        resolve_conflicts_on_update="OVERWRITE",
        log_level="INFO",
        addon_version="v1-vpc-cni",
    ),
    provider_credential_opts=eks.KubeconfigOptionsArgs(),
    encryption_config_key_arn=cluster_secrets.arn,
    name="triton-fleet",
    enabled_cluster_log_types=["api", "audit", "authenticator", "controllerManager", "scheduler"],
    endpoint_public_access=True,
    skip_default_security_groups=True,
    access_entries={},
    endpoint_private_access=True,
    version="1.35",
    create_instance_role=False,
    create_oidc_provider=False,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_logs]),
)
cluster_vpc_public = aws.ec2.RouteTable(
    "cluster-vpc-public",
    vpc_id=cluster_vpc.id,
    tags={"Name": "triton-fleet-public", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    routes=[aws.ec2.RouteTableRouteArgs(gateway_id=internet_gateway_cluster_vpc.id, cidr_block="0.0.0.0/0")],
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_eks_pod_identity_agent = aws.eks.Addon(
    "cluster-eks-pod-identity-agent",
    resolve_conflicts_on_create="OVERWRITE",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    cluster_name="triton-fleet",
    addon_name="eks-pod-identity-agent",
    resolve_conflicts_on_update="PRESERVE",
    addon_version="v1-eks-pod-identity-agent",
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[cluster_cluster]),
)
route_table_association_cluster_vpc_public_us_east_1a = aws.ec2.RouteTableAssociation(
    "cluster-vpc-public-us-east-1a",
    route_table_id=cluster_vpc_public.id,
    subnet_id=cluster_vpc_public_us_east_1a.id,
    opts=pulumi.ResourceOptions(provider=cluster),
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
open_id_connect_provider_cluster = aws.iam.OpenIdConnectProvider(
    "cluster",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    client_id_lists=["sts.amazonaws.com"],
    url=cluster_cluster.oidc_provider_url,
    opts=pulumi.ResourceOptions(provider=cluster),
)
nat_gateway_cluster_vpc_nat_us_east_1a = aws.ec2.NatGateway(
    "cluster-vpc-nat-us-east-1a",
    tags={"Name": "triton-fleet-nat-us-east-1a", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    allocation_id=cluster_vpc_nat_us_east_1a.id,
    subnet_id=cluster_vpc_public_us_east_1a.id,
    opts=pulumi.ResourceOptions(provider=cluster, depends_on=[route_table_association_cluster_vpc_public_us_east_1a]),
)
role_cluster_autoscaler = aws.iam.Role(
    "cluster-autoscaler",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
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
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
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
    tags={"Name": "triton-fleet-private-us-east-1a", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    routes=[aws.ec2.RouteTableRouteArgs(nat_gateway_id=nat_gateway_cluster_vpc_nat_us_east_1a.id, cidr_block="0.0.0.0/0")],
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_cluster_vpc_private_us_east_1c = aws.ec2.RouteTable(
    "cluster-vpc-private-us-east-1c",
    vpc_id=cluster_vpc.id,
    tags={"Name": "triton-fleet-private-us-east-1c", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    routes=[aws.ec2.RouteTableRouteArgs(nat_gateway_id=nat_gateway_cluster_vpc_nat_us_east_1a.id, cidr_block="0.0.0.0/0")],
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_cluster_vpc_private_us_east_1b = aws.ec2.RouteTable(
    "cluster-vpc-private-us-east-1b",
    vpc_id=cluster_vpc.id,
    tags={"Name": "triton-fleet-private-us-east-1b", "project": "triton", "triton-fleet/cluster": "triton-fleet"},
    routes=[aws.ec2.RouteTableRouteArgs(nat_gateway_id=nat_gateway_cluster_vpc_nat_us_east_1a.id, cidr_block="0.0.0.0/0")],
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_private_us_east_1a = aws.ec2.RouteTableAssociation(
    "cluster-vpc-private-us-east-1a",
    route_table_id=route_table_cluster_vpc_private_us_east_1a.id,
    subnet_id=cluster_vpc_private_us_east_1a.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
cluster_vpc_s3 = aws.ec2.VpcEndpoint(
    "cluster-vpc-s3",
    vpc_id=cluster_vpc.id,
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    service_name="com.amazonaws.us-east-1.s3",
    route_table_ids=[
        cluster_vpc_public.id,
        route_table_cluster_vpc_private_us_east_1a.id,
        route_table_cluster_vpc_private_us_east_1b.id,
        route_table_cluster_vpc_private_us_east_1c.id,
    ],
    vpc_endpoint_type="Gateway",
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_private_us_east_1c = aws.ec2.RouteTableAssociation(
    "cluster-vpc-private-us-east-1c",
    route_table_id=route_table_cluster_vpc_private_us_east_1c.id,
    subnet_id=cluster_vpc_private_us_east_1c.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
route_table_association_cluster_vpc_private_us_east_1b = aws.ec2.RouteTableAssociation(
    "cluster-vpc-private-us-east-1b",
    route_table_id=route_table_cluster_vpc_private_us_east_1b.id,
    subnet_id=cluster_vpc_private_us_east_1b.id,
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_cluster_autoscaler = aws.iam.RolePolicyAttachment(
    "cluster-autoscaler",
    role=role_cluster_autoscaler.name,
    policy_arn=cluster_autoscaler.arn,
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_cluster_load_balancer = aws.iam.RolePolicyAttachment(
    "cluster-load-balancer",
    role=role_cluster_load_balancer.name,
    policy_arn=cluster_load_balancer.arn,
    opts=pulumi.ResourceOptions(provider=cluster),
)
role_policy_attachment_triton_reader = aws.iam.RolePolicyAttachment(
    "triton-reader", role=role_triton_reader.name, policy_arn=triton_reader.arn, opts=pulumi.ResourceOptions(provider=cluster)
)
node_group_cluster_cpu = aws.eks.NodeGroup(
    "cluster-cpu",
    node_role_arn=cluster_node.arn,
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    launch_template=aws.eks.NodeGroupLaunchTemplateArgs(id=cluster_cpu.id, version="3"),
    instance_types=["m7i.xlarge"],
    ami_type="AL2023_x86_64_STANDARD",
    scaling_config=aws.eks.NodeGroupScalingConfigArgs(max_size=6, min_size=2, desired_size=2),
    update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
    subnet_ids=[cluster_vpc_private_us_east_1a.id, cluster_vpc_private_us_east_1b.id, cluster_vpc_private_us_east_1c.id],
    cluster_name="triton-fleet",
    node_repair_config=aws.eks.NodeGroupNodeRepairConfigArgs(enabled=True),
    capacity_type="ON_DEMAND",
    version="1.35",
    taints=[],
    labels={"triton-fleet/pool": "cpu"},
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
    resolve_conflicts_on_create="OVERWRITE",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    cluster_name="triton-fleet",
    addon_name="coredns",
    resolve_conflicts_on_update="PRESERVE",
    addon_version="v1-coredns",
    opts=pulumi.ResourceOptions(
        provider=cluster, depends_on=[cluster_cluster, cluster_cpu, cluster_eks_pod_identity_agent, node_group_cluster_cpu]
    ),
)
cluster_aws_ebs_csi_driver = aws.eks.Addon(
    "cluster-aws-ebs-csi-driver",
    resolve_conflicts_on_create="OVERWRITE",
    tags={"project": "triton", "triton-fleet/cluster": "triton-fleet"},
    cluster_name="triton-fleet",
    addon_name="aws-ebs-csi-driver",
    resolve_conflicts_on_update="PRESERVE",
    pod_identity_associations=[aws.eks.AddonPodIdentityAssociationArgs(role_arn=cluster_ebs.arn, service_account="ebs-csi-controller-sa")],
    addon_version="v1-aws-ebs-csi-driver",
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
    cluster_identifier="us-east-1/triton-fleet",
    opts=pulumi.ResourceOptions(depends_on=[cluster_coredns, cluster_cpu, cluster_eks_pod_identity_agent, node_group_cluster_cpu]),
)
gp3 = k8s.storage.v1.StorageClass(
    "gp3",
    allow_volume_expansion=True,
    parameters={"type": "gp3", "encrypted": "true"},
    provisioner="ebs.csi.aws.com",
    volume_binding_mode="WaitForFirstConsumer",
    metadata=k8s.meta.v1.ObjectMetaArgs(name="gp3", annotations={"storageclass.kubernetes.io/is-default-class": "true"}),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster),
)
release_cluster_autoscaler = k8s.helm.v3.Release(
    "cluster-autoscaler",
    max_history=5,
    name="cluster-autoscaler",
    create_namespace=False,
    values={
        "cloudProvider": "aws",
        "autoDiscovery": {"clusterName": "triton-fleet"},
        "rbac": {
            "serviceAccount": {"name": "cluster-autoscaler", "annotations": {"eks.amazonaws.com/role-arn": role_cluster_autoscaler.arn}}
        },
        "image": {"tag": "v1.35.0"},
        "extraArgs": {
            "max-node-provision-time": "900s",
            "balance-similar-node-groups": True,
            "skip-nodes-with-local-storage": False,
            "skip-nodes-with-system-pods": False,
            "scale-down-unneeded-time": "600s",
            "expander": "least-waste",
        },
        "resources": {"limits": {"memory": "600Mi"}, "requests": {"memory": "300Mi", "cpu": "100m"}},
        "awsRegion": "us-east-1",
        "fullnameOverride": "cluster-autoscaler",
    },
    atomic=True,
    timeout=600,
    version="9.59.0",
    chart=f"{CHARTS}/cluster-autoscaler",
    namespace="kube-system",
    compat="true",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_coredns, cluster_eks_pod_identity_agent, node_group_cluster_cpu, role_policy_attachment_cluster_autoscaler],
        delete_before_replace=True,
    ),
)
aws_load_balancer_controller = k8s.helm.v3.Release(
    "aws-load-balancer-controller",
    max_history=5,
    name="aws-load-balancer-controller",
    create_namespace=False,
    values={
        "vpcId": cluster_vpc.id,
        "region": "us-east-1",
        "keepTLSSecret": True,
        "clusterName": "triton-fleet",
        "enableServiceMutatorWebhook": False,
        "serviceAccount": {
            "annotations": {"eks.amazonaws.com/role-arn": role_cluster_load_balancer.arn},
            "name": "aws-load-balancer-controller",
            "create": True,
        },
    },
    atomic=True,
    timeout=600,
    version="3.5.0",
    chart=f"{CHARTS}/aws-load-balancer-controller",
    namespace="kube-system",
    compat="true",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[cluster_coredns, cluster_eks_pod_identity_agent, node_group_cluster_cpu, role_policy_attachment_cluster_load_balancer],
        delete_before_replace=True,
    ),
)
triton = k8s.core.v1.Namespace(
    "triton",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton",
        labels={
            "pod-security.kubernetes.io/warn": "restricted",
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/instance": "triton",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[aws_load_balancer_controller, release_cluster_autoscaler]),
)
monitoring = k8s.core.v1.Namespace(
    "monitoring",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="monitoring",
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "prometheus",
            "app.kubernetes.io/instance": "prometheus",
            "pod-security.kubernetes.io/enforce": "privileged",
        },
    ),
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[cluster_aws_ebs_csi_driver, gp3]),
)
k8s.helm.v4.Chart(
    "triton",
    name="triton",
    values={
        "prefetch": {
            "parallelism": 16,
            "image": "docker.io/rclone/rclone:1.75.2",
            "volume": {},
            f"{ROOT}/models": [],
            "budget": 900,
            "enabled": False,
        },
        "autoscaling": {
            "scaleDownPodsPerMinute": 1,
            "scaleDownStabilization": 300,
            "metrics": [
                {
                    "pods": {"target": {"averageValue": "50k", "type": "AverageValue"}, "metric": {"name": "avg_time_queue_us"}},
                    "type": "Pods",
                },
                {
                    "pods": {
                        "target": {"averageValue": "16", "type": "AverageValue"},
                        "metric": {"name": "nv_inference_pending_request_count"},
                    },
                    "type": "Pods",
                },
            ],
            "maxReplicas": 4,
            "enabled": True,
            "behavior": {},
            "minReplicas": 1,
        },
        "imagePullSecrets": [],
        "labels": {
            "app.kubernetes.io/managed-by": "triton-fleet",
            "app.kubernetes.io/name": "triton",
            "app.kubernetes.io/instance": "triton",
        },
        "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
        "modelRepository": {
            "region": "us-east-1",
            "release": "a10c5758f1b006225ce66ae7ff72da97be95c81613d409c4d3f96c4a40a79bcf",
            "mode": "release",
            "keyFileSecret": "",
            f"{ROOT}/models": [],
            "urls": [
                "s3://https://s3.amazonaws.com:443/triton-fleet-models/model_repository/models/add_sub-469b02831749377d",
                "s3://https://s3.amazonaws.com:443/triton-fleet-models/model_repository/models/busy-a89f1fcfa57af674",
                "s3://https://s3.amazonaws.com:443/triton-fleet-models/model_repository/models/pipeline-99521413a0490523",
                "s3://https://s3.amazonaws.com:443/triton-fleet-models/model_repository/models/upper-e94aa7e0c028dbd1",
            ],
            "credentialsSecret": "",
            "url": "",
        },
        "disruption": {"enabled": True, "maxUnavailable": 1},
        "affinity": {},
        "rollout": {"maxSurge": 1},
        "readOnlyRootFilesystem": True,
        "envFromSecrets": [],
        "podLabels": {},
        "extraArgs": [],
        "imagePullPolicy": "IfNotPresent",
        "runAsUser": 1000,
        "startupBudget": 900,
        "podAnnotations": {},
        "resources": {"memory": "4Gi", "cpu": "1", "gpus": 0, "shm": "1Gi", "gpuResource": "nvidia.com/gpu"},
        "service": {
            "type": "LoadBalancer",
            "annotations": {
                "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type": "ip",
                "service.beta.kubernetes.io/aws-load-balancer-scheme": "internal",
                "service.beta.kubernetes.io/aws-load-balancer-type": "external",
            },
        },
        "serviceAccount": {
            "annotations": {"eks.amazonaws.com/role-arn": role_triton_reader.arn},
            "waitForToken": False,
            "name": "",
            "create": True,
        },
        "env": {},
        "podMonitor": {"enabled": True, "interval": "5s", "labels": {}},
        "priorityClassName": "",
        "runtimeClassName": "",
        "tolerations": [],
        "probes": {
            "readiness": {"timeoutSeconds": 3, "failureThreshold": 3, "periodSeconds": 5},
            "liveness": {"timeoutSeconds": 5, "failureThreshold": 6, "periodSeconds": 10},
        },
        "nodeSelector": {},
        "drain": {"preStop": 15, "exitTimeout": 45, "recycleGrpc": True, "margin": 15},
        "logVerbose": 0,
        "deploymentAnnotations": {"pulumi.com/timeoutSeconds": "1500"},
    },
    namespace="triton",
    chart=f"{ROOT}/charts/triton",
    opts=pulumi.ResourceOptions(
        provider=kubernetes_cluster,
        depends_on=[aws_load_balancer_controller, release_repository, role_policy_attachment_triton_reader, triton],
        transforms=[of_the_chart],
    ),
)
kps = k8s.helm.v3.Release(
    "kps",
    max_history=5,
    name="kps",
    create_namespace=False,
    values={
        "kubeProxy": {"enabled": False},
        "kubeScheduler": {"enabled": False},
        "crds": {"upgradeJob": {"image": {"busybox": {"tag": "1.37"}}, "enabled": True}, "enabled": True},
        "alertmanager": {"enabled": True},
        "kubeControllerManager": {"enabled": False},
        "grafana": {"enabled": True},
        "prometheus": {
            "prometheusSpec": {
                "retentionSize": "40960MB",
                "probeSelectorNilUsesHelmValues": False,
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "scrapeConfigSelectorNilUsesHelmValues": False,
                "podMonitorSelectorNilUsesHelmValues": False,
                "serviceDiscoveryRole": "EndpointSlice",
                "scrapeInterval": "15s",
                "ruleSelectorNilUsesHelmValues": False,
                "evaluationInterval": "15s",
                "storageSpec": {
                    "volumeClaimTemplate": {"spec": {"resources": {"requests": {"storage": "50Gi"}}, "accessModes": ["ReadWriteOnce"]}}
                },
                "retention": "7d",
            },
            "service": {"type": "ClusterIP", "port": 9090},
        },
        "kubeEtcd": {"enabled": False},
        "fullnameOverride": "kps",
    },
    atomic=True,
    timeout=600,
    version="88.5.3",
    chart=f"{CHARTS}/kube-prometheus-stack",
    namespace="monitoring",
    compat="true",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[monitoring], delete_before_replace=True),
)
k8s.helm.v3.Release(
    "prometheus-adapter",
    max_history=5,
    name="prometheus-adapter",
    create_namespace=False,
    values={
        "metricsRelistInterval": "15s",
        "rules": {
            "default": False,
            "custom": [
                {
                    "name": {"as": "avg_time_queue_us", "matches": "^nv_inference_queue_duration_us$"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "seriesQuery": 'nv_inference_queue_duration_us{namespace!="",pod!=""}',
                    "metricsQuery": "sum(rate(nv_inference_queue_duration_us{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) / clamp_min(sum(rate(nv_inference_request_success{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>), 0.001) or 0 * sum(nv_inference_queue_duration_us{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                },
                {
                    "name": {"as": "nv_inference_pending_request_count", "matches": "^nv_inference_pending_request_count$"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "seriesQuery": 'nv_inference_pending_request_count{namespace!="",pod!=""}',
                    "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[15s])) by (<<.GroupBy>>)",
                },
                {
                    "name": {"as": "nv_inference_requests_per_second", "matches": "^nv_inference_request_success$"},
                    "resources": {"overrides": {"pod": {"resource": "pod"}, "namespace": {"resource": "namespace"}}},
                    "seriesQuery": 'nv_inference_request_success{namespace!="",pod!=""}',
                    "metricsQuery": "sum(rate(<<.Series>>{<<.LabelMatchers>>}[60s])) by (<<.GroupBy>>) or 0 * sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
                },
                {
                    "name": {"as": "DCGM_FI_DEV_GPU_UTIL", "matches": "^DCGM_FI_DEV_GPU_UTIL$"},
                    "resources": {"overrides": {"service": {"resource": "service"}, "namespace": {"resource": "namespace"}}},
                    "seriesQuery": 'DCGM_FI_DEV_GPU_UTIL{namespace!="",pod!="",service!=""}',
                    "metricsQuery": "avg(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
                },
            ],
        },
        "resources": {"limits": {"memory": "512Mi", "cpu": "500m"}, "requests": {"memory": "128Mi", "cpu": "100m"}},
        "extraArguments": ["--metrics-max-age=60s"],
        "prometheus": {"path": "", "port": 9090, "url": "http://kps-prometheus.monitoring.svc"},
        "readinessProbe": {"initialDelaySeconds": 2, "periodSeconds": 3},
    },
    atomic=True,
    timeout=600,
    version="5.3.0",
    chart=f"{CHARTS}/prometheus-adapter",
    namespace="monitoring",
    compat="true",
    opts=pulumi.ResourceOptions(provider=kubernetes_cluster, depends_on=[kps], delete_before_replace=True),
)
k8s.core.v1.ConfigMap(
    "observability-dashboard",
    metadata=k8s.meta.v1.ObjectMetaArgs(
        name="triton-fleet-dashboard",
        namespace="monitoring",
        labels={
            "app.kubernetes.io/managed-by": "triton-fleet",
            "grafana_dashboard": "1",
            "app.kubernetes.io/name": "triton-observability",
            "app.kubernetes.io/instance": "dashboard",
        },
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
                            "multi": False,
                            "includeAll": False,
                            "allValue": None,
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
