"""The `aws` double under the real engine: a life of EKS' resources, and what AWS would refuse."""

from __future__ import annotations

import importlib
import json
import warnings
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from components.eks.account import CLUSTER_TAG, check_capacity, check_leftovers
from components.eks.plan import node_groups
from components.eks.settings.cluster import EksClusterSettings
from tests.doubles import PACE_VARIABLE, nodes
from tests.doubles.aws import DOUBLE, PLUGIN, delays
from tests.doubles.aws.cloud import REGION, Cloud
from tests.doubles.aws.provider import ROWS
from tests.doubles.faults import Fault, Faults, Journal
from tests.doubles.install import sdk_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Stack

    Make = Callable[[Callable[[], None]], Stack]

with warnings.catch_warnings():
    # Old names in these modules warn when they are loaded, and a warning that is an error here leaves a module half loaded.
    warnings.simplefilter("ignore")
    import pulumi_aws as aws

    for module in ("autoscaling", "cloudwatch", "ec2", "ecr", "eks", "iam", "kms", "sqs"):
        hasattr(importlib.import_module(f"pulumi_aws.{module}"), "load")  # which happens when an attribute is asked for

pytestmark = pytest.mark.engine

DOUBLE_PLUGINS = [(PLUGIN, DOUBLE, None)]
PRELOAD = ["tests.doubles.aws.rows:load_models"]

CORE = {
    "aws:ec2/internetGateway:InternetGateway",
    "aws:ec2/routeTable:RouteTable",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
    "aws:ec2/eip:Eip",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:autoscaling/tag:Tag",
    "aws:eks/nodeGroup:NodeGroup",
    "aws:eks/addon:Addon",
}
"""Types that `Fleet` alone is made of."""
VERSION = sdk_version("aws")
EVERYTHING = "0.0.0.0/0"
NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy")
GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}


@pytest.fixture
def more_environment(cloud: Cloud) -> dict[str, str]:
    return cloud.environment()


def trust(service: str) -> str:
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": service}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


class Fleet:
    """A program: a network, a cluster, two groups and two add-ons, with settings that change between two commands."""

    def __init__(self, **settings: Any) -> None:
        self.settings: dict[str, Any] = {
            "version": "1.34",
            "machine": "g6.xlarge",
            "groups": True,
            "addons": True,
            "labels": {"pool": "gpu"},
            "disk": 100,
            **settings,
        }

    def __call__(self) -> None:
        know = self.settings
        private = self.network()
        role = aws.iam.Role("cluster", assume_role_policy=trust("eks.amazonaws.com"))
        attached = aws.iam.RolePolicyAttachment("cluster", role=role.name, policy_arn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")
        key = aws.kms.Key("secrets", enable_key_rotation=True, deletion_window_in_days=7)
        cluster = aws.eks.Cluster(
            "fleet",
            name="fleet",
            version=know["version"],
            role_arn=role.arn,
            vpc_config=aws.eks.ClusterVpcConfigArgs(subnet_ids=private, endpoint_private_access=True),
            access_config=aws.eks.ClusterAccessConfigArgs(authentication_mode="API", bootstrap_cluster_creator_admin_permissions=True),
            encryption_config=aws.eks.ClusterEncryptionConfigArgs(
                provider=aws.eks.ClusterEncryptionConfigProviderArgs(key_arn=key.arn), resources=["secrets"]
            ),
            enabled_cluster_log_types=["api", "audit"],
            opts=pulumi.ResourceOptions(depends_on=[attached]),
        )
        pulumi.export("issuer", cluster.identities[0].oidcs[0].issuer)
        pulumi.export("group", cluster.vpc_config.cluster_security_group_id)
        cni = aws.eks.Addon("vpc-cni", cluster_name=cluster.name, addon_name="vpc-cni", resolve_conflicts_on_create="OVERWRITE")
        made: list[pulumi.Resource] = [cni]
        if know["groups"]:
            made += self.groups(cluster, private, self.node_role())
        if know["addons"]:
            aws.eks.Addon("coredns", cluster_name=cluster.name, addon_name="coredns", opts=pulumi.ResourceOptions(depends_on=made))

    def network(self) -> list[pulumi.Output[str]]:
        """Ids of the private subnets, each once it has its way out: nodes that start without one never join."""
        vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, tags={"Name": "net"})
        gateway = aws.ec2.InternetGateway("net", vpc_id=vpc.id)
        public = aws.ec2.Subnet("public", vpc_id=vpc.id, availability_zone=f"{REGION}a", cidr_block="10.0.128.0/20")
        out = aws.ec2.RouteTable(
            "public", vpc_id=vpc.id, routes=[aws.ec2.RouteTableRouteArgs(cidr_block=EVERYTHING, gateway_id=gateway.id)]
        )
        association = aws.ec2.RouteTableAssociation("public", subnet_id=public.id, route_table_id=out.id)
        address = aws.ec2.Eip("nat", domain="vpc")
        nat = aws.ec2.NatGateway(
            "nat", allocation_id=address.id, subnet_id=public.id, opts=pulumi.ResourceOptions(depends_on=[association])
        )
        routes = [aws.ec2.RouteTableRouteArgs(cidr_block=EVERYTHING, nat_gateway_id=nat.id)]
        table = aws.ec2.RouteTable("private", vpc_id=vpc.id, routes=routes)
        private = []
        for index, zone in enumerate("abc"):
            subnet = aws.ec2.Subnet(
                f"private-{zone}", vpc_id=vpc.id, availability_zone=f"{REGION}{zone}", cidr_block=f"10.0.{16 * index}.0/20"
            )
            way = aws.ec2.RouteTableAssociation(f"private-{zone}", subnet_id=subnet.id, route_table_id=table.id)
            private.append(pulumi.Output.all(subnet.id, way.id).apply(lambda known: str(known[0])))
        aws.ec2.VpcEndpoint(
            "s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{REGION}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id, out.id],
        )
        return private

    def node_role(self) -> pulumi.Output[str]:
        role = aws.iam.Role("node", assume_role_policy=trust("ec2.amazonaws.com"))
        attached = [
            aws.iam.RolePolicyAttachment(f"node-{name}", role=role.name, policy_arn=f"arn:aws:iam::aws:policy/{name}").id
            for name in NODE_POLICIES
        ]
        return pulumi.Output.all(role.arn, *attached).apply(lambda known: str(known[0]))

    def groups(self, cluster: aws.eks.Cluster, private: list[pulumi.Output[str]], role: pulumi.Output[str]) -> list[pulumi.Resource]:
        know = self.settings
        template = aws.ec2.LaunchTemplate(
            "gpu",
            update_default_version=True,
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name="/dev/xvda",
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(volume_size=know["disk"], encrypted="true", volume_type="gp3"),
                )
            ],
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(http_tokens="required", http_put_response_hop_limit=1),
        )
        group = aws.eks.NodeGroup(
            "gpu",
            cluster_name=cluster.name,
            node_role_arn=role,
            subnet_ids=private,
            ami_type="AL2023_x86_64_NVIDIA",
            instance_types=[know["machine"]],
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(min_size=0, desired_size=know.get("desired", 1), max_size=3),
            labels=know["labels"],
            taints=[aws.eks.NodeGroupTaintArgs(**GPU_TAINT)],
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str)),
            opts=pulumi.ResourceOptions(ignore_changes=["scalingConfig.desiredSize"]),
        )
        aws.autoscaling.Tag(
            "gpu",
            autoscaling_group_name=group.resources[0].autoscaling_groups[0].name,
            tag=aws.autoscaling.TagTagArgs(key="k8s.io/x", value="1", propagate_at_launch=False),
        )
        cpu = aws.eks.NodeGroup(
            "cpu",
            cluster_name=cluster.name,
            node_role_arn=role,
            subnet_ids=private,
            instance_types=["m6i.large"],
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(min_size=2, desired_size=2, max_size=3),
        )
        return [group, cpu]


def left(cloud: Cloud) -> list[str]:
    """What there is in the account."""
    ec2, iam, eks = cloud.client("ec2"), cloud.client("iam"), cloud.client("eks")
    vpcs = [item["VpcId"] for item in ec2.describe_vpcs()["Vpcs"] if not item["IsDefault"]]
    addresses = [item["AllocationId"] for item in ec2.describe_addresses()["Addresses"]]
    interfaces = [item["NetworkInterfaceId"] for item in ec2.describe_network_interfaces()["NetworkInterfaces"]]
    templates = [item["LaunchTemplateName"] for item in ec2.describe_launch_templates()["LaunchTemplates"]]
    roles = [item["RoleName"] for item in iam.list_roles()["Roles"]]
    scaling = [item["AutoScalingGroupName"] for item in cloud.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]]
    return [*vpcs, *addresses, *interfaces, *templates, *roles, *scaling, *eks.list_clusters()["clusters"]]


def test_a_fleet_s_life(doubles: Make, cloud: Cloud, folder: Path, journal: Journal) -> None:
    fleet = Fleet()
    stack = doubles(fleet)
    stack.environment[PACE_VARIABLE] = str(1 / 250)
    assert set(stack.preview()) == {"create"}
    assert not left(cloud), "a preview makes nothing"
    outputs = stack.up().outputs
    spans = {(span.type.rsplit(":", 1)[-1], span.name): span for span in journal.spans()}
    plane, gpu_group, cpu_group = spans["Cluster", "fleet"], spans["NodeGroup", "gpu"], spans["NodeGroup", "cpu"]
    assert plane.end is not None
    assert plane.end - plane.begin >= delays.CLUSTER_CREATE / 250
    assert gpu_group.overlaps(cpu_group)
    assert gpu_group.begin >= plane.end
    assert outputs["issuer"].value.startswith("https://oidc.eks.eu-west-1")
    assert outputs["group"].value.startswith("sg-")
    assert stack.preview() == {}
    told = {item["labels"].get("pool", "cpu"): item for item in nodes.current(folder).values()}
    assert (told["gpu"]["count"], told["gpu"]["capacity"]["nvidia.com/gpu"], told["gpu"]["machine"]) == (1, "1", "g6.xlarge")
    assert told["gpu"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert told["cpu"]["count"] == 2

    # An autoscaler's change is nobody's difference, a changed disk is a new version of the template, which the group takes in place.
    fleet.settings |= {"desired": 3, "disk": 200, "labels": {"pool": "gpu", "more": "yes"}}
    assert stack.preview() == {"update": 2}
    stack.up()
    eks = cloud.client("eks")
    (gpu,) = [name for name in eks.list_nodegroups(clusterName="fleet")["nodegroups"] if name.startswith("gpu")]
    group = eks.describe_nodegroup(clusterName="fleet", nodegroupName=gpu)["nodegroup"]
    assert (group["launchTemplate"]["version"], group["scalingConfig"]["desiredSize"], group["labels"]["more"]) == ("2", 1, "yes")
    assert stack.preview() == {}

    # Another machine type makes the new group beside the old one.
    journal.clear()
    fleet.settings["machine"] = "g6e.xlarge"
    assert stack.preview() == {"replace": 2}, "the group, and the tag on its scaling group"
    stack.up()
    order = [(span.operation, span.name) for span in journal.spans() if span.type.endswith(":NodeGroup")]
    assert order == [("create", "gpu"), ("delete", "gpu")]

    fleet.settings["version"] = "1.35"
    assert stack.preview() == {"update": 1}
    stack.up()
    assert eks.describe_cluster(name="fleet")["cluster"]["version"] == "1.35"
    fleet.settings["version"] = "1.33"
    assert "Unsupported Kubernetes minor version update from 1.35 to 1.33" in stack.fails(stack.up)
    fleet.settings["version"] = "1.35"

    assert stack.refresh() == {}
    stack.destroy()
    assert not left(cloud)
    assert not nodes.current(folder)


def the_rest(know: dict[str, Any]) -> None:
    """One of each type that a fleet's core is not made of."""
    tags = {"team": know["team"]}
    vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, tags=tags)
    subnets = [
        aws.ec2.Subnet(zone, vpc_id=vpc.id, availability_zone=f"{REGION}{zone}", cidr_block=f"10.0.{16 * index}.0/20", tags=tags)
        for index, zone in enumerate("ab")
    ]
    https = aws.ec2.SecurityGroupIngressArgs(protocol="tcp", from_port=443, to_port=443, cidr_blocks=know["cidrs"])
    own = aws.ec2.SecurityGroupIngressArgs(protocol="-1", from_port=0, to_port=0, self=True)
    group = aws.ec2.SecurityGroup("in", vpc_id=vpc.id, description="in", ingress=[https, own], tags=tags)
    aws.ec2.Tag("found", resource_id=group.id, key="karpenter.sh/discovery", value="fleet")
    aws.ec2.VpcEndpoint(
        "sts",
        vpc_id=vpc.id,
        service_name=f"com.amazonaws.{REGION}.sts",
        vpc_endpoint_type="Interface",
        private_dns_enabled=True,
        subnet_ids=[subnet.id for subnet in subnets],
        security_group_ids=[group.id],
    )
    aws.ec2.PlacementGroup("close", strategy="cluster")
    key = aws.kms.Key("key", description=know["team"], deletion_window_in_days=7, tags=tags)
    aws.kms.Alias("key", name="alias/fleet", target_key_id=key.key_id)
    aws.cloudwatch.LogGroup("logs", name="/aws/eks/fleet/cluster", retention_in_days=know["days"], tags=tags)
    repository = aws.ecr.Repository(
        "images",
        name="triton",
        image_tag_mutability="IMMUTABLE",
        image_scanning_configuration=aws.ecr.RepositoryImageScanningConfigurationArgs(scan_on_push=True),
        force_delete=True,
        tags=tags,
    )
    selection = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": know["days"]}
    rules = {"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]}
    aws.ecr.LifecyclePolicy("images", repository=repository.name, policy=json.dumps(rules))
    queue = aws.sqs.Queue("interruptions", message_retention_seconds=300 + know["days"], sqs_managed_sse_enabled=True, tags=tags)
    statement = {"Effect": "Allow", "Action": "sqs:SendMessage", "Principal": {"Service": "events.amazonaws.com"}}
    allowed = aws.sqs.QueuePolicy(
        "interruptions",
        queue_url=queue.url,
        policy=queue.arn.apply(lambda arn: json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Resource": arn}]})),
    )
    rule = aws.cloudwatch.EventRule("spot", event_pattern=json.dumps({"source": ["aws.ec2"]}), description=know["team"], tags=tags)
    target = pulumi.Output.all(queue.arn, allowed.id).apply(lambda known: str(known[0]))
    aws.cloudwatch.EventTarget("spot", rule=rule.name, arn=target)
    plane = aws.iam.Role("plane", assume_role_policy=trust("eks.amazonaws.com"), tags=tags)
    attached = aws.iam.RolePolicyAttachment("plane", role=plane.name, policy_arn="arn:aws:iam::aws:policy/AmazonEKSClusterPolicy")
    node = aws.iam.Role("node", assume_role_policy=trust("ec2.amazonaws.com"), description=know["team"])
    aws.iam.RolePolicy("node", role=node.name, policy=json.dumps({"Version": "2012-10-17", "Statement": [allow(know["action"])]}))
    policy = aws.iam.Policy("pod", policy=json.dumps({"Version": "2012-10-17", "Statement": [allow(know["action"])]}), tags=tags)
    aws.iam.RolePolicyAttachment("pod", role=node.name, policy_arn=policy.arn)
    aws.iam.InstanceProfile("node", role=node.name)
    aws.iam.ServiceLinkedRole("scaling", aws_service_name="autoscaling.amazonaws.com")
    cluster = aws.eks.Cluster(
        "fleet",
        name="fleet",
        role_arn=plane.arn,
        vpc_config=aws.eks.ClusterVpcConfigArgs(subnet_ids=[subnet.id for subnet in subnets], public_access_cidrs=know["cidrs"]),
        access_config=aws.eks.ClusterAccessConfigArgs(authentication_mode="API"),
        enabled_cluster_log_types=know["logs"],
        tags=tags,
        opts=pulumi.ResourceOptions(depends_on=[attached]),
    )
    url = cluster.identities[0].oidcs[0].issuer.apply(str)
    aws.iam.OpenIdConnectProvider("oidc", url=url, client_id_lists=["sts.amazonaws.com"], tags=tags)
    entry = aws.eks.AccessEntry("node", cluster_name=cluster.name, principal_arn=node.arn, type="EC2_LINUX", tags=tags)
    admin = aws.eks.AccessEntry("admin", cluster_name=cluster.name, principal_arn="arn:aws:iam::111122223333:role/admin")
    aws.eks.AccessPolicyAssociation(
        "admin",
        cluster_name=cluster.name,
        principal_arn=admin.principal_arn,
        policy_arn="arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy",
        access_scope=aws.eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
        opts=pulumi.ResourceOptions(depends_on=[entry]),
    )
    aws.eks.PodIdentityAssociation(
        "pod", cluster_name=cluster.name, namespace="kube-system", service_account="driver", role_arn=node.arn, tags=tags
    )


def allow(action: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": "arn:aws:s3:::models"}


def test_the_rest_s_life(doubles: Make, cloud: Cloud, journal: Journal) -> None:
    know: dict[str, Any] = {"team": "ml", "cidrs": ["203.0.113.0/24"], "days": 7, "action": "s3:ListBucket", "logs": ["api"]}
    stack = doubles(lambda: the_rest(know))
    stack.up()
    assert stack.preview() == {}
    assert stack.refresh() == {}, stack.said
    know |= {"team": "platform", "cidrs": ["198.51.100.0/24"], "days": 14, "action": "s3:GetObject", "logs": ["api", "audit"]}
    assert set(stack.preview()) == {"update"}, "nothing of it needs a new resource"
    stack.up()
    assert stack.preview() == {}
    assert stack.refresh() == {}, stack.said
    kinds = {span.type for span in journal.spans()}
    assert not {token for token in ROWS if token not in kinds and not token.startswith("aws:s3/")} - CORE, "a type without a test"
    stack.destroy()
    assert not left(cloud)


def test_a_typing_error_is_refused_in_the_preview(doubles: Make) -> None:
    def program() -> None:
        pulumi.CustomResource("aws:ec2/vpc:Vpc", "net", {"cidrBlok": "10.0.0.0/16"}, pulumi.ResourceOptions(version=VERSION))

    stack = doubles(program)
    assert "aws:ec2/vpc:Vpc has no property cidrBlok" in stack.fails(stack.preview)


def test_a_wrong_nested_property_and_a_wrong_value_are_refused_in_the_preview(doubles: Make) -> None:
    def nested() -> None:
        props = {"blockDeviceMappings": [{"deviceName": "/dev/xvda", "ebs": {"volumSize": 10}}]}
        pulumi.CustomResource("aws:ec2/launchTemplate:LaunchTemplate", "t", props, pulumi.ResourceOptions(version=VERSION))

    stack = doubles(nested)
    assert "knows no volumSize" in stack.fails(stack.preview)


def test_an_unknown_type_and_function_are_refused(doubles: Make) -> None:
    def program() -> None:
        pulumi.CustomResource("aws:foo/bar:Bar", "x", {}, pulumi.ResourceOptions(version=VERSION))

    stack = doubles(program)
    assert "no resource type aws:foo/bar:Bar" in stack.fails(stack.preview)


def test_a_group_that_fails_stays_and_is_not_mended_by_the_next_up(doubles: Make, cloud: Cloud, faults: Faults) -> None:
    """As the real provider: it keeps the broken group, and the next `up` only reads it (an empty update)."""
    stack = doubles(Fleet(addons=False))
    faults.set(Fault(kind="createFailed", type="aws:eks/nodeGroup:NodeGroup", name="gpu", delay=300, message="no capacity in any zone"))
    assert "no capacity in any zone" in stack.fails(stack.up)
    assert stack.resources()["gpu"]
    stack.up()
    eks = cloud.client("eks")
    (gpu,) = [name for name in eks.list_nodegroups(clusterName="fleet")["nodegroups"] if name.startswith("gpu")]
    assert eks.describe_nodegroup(clusterName="fleet", nodegroupName=gpu)["nodegroup"]["status"] == "CREATE_FAILED"
    stack.destroy()
    assert not left(cloud)


def test_a_leftover_interface_keeps_the_subnet(doubles: Make, cloud: Cloud) -> None:
    def program() -> None:
        vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")
        pulumi.export("subnet", aws.ec2.Subnet("one", vpc_id=vpc.id, cidr_block="10.0.0.0/20").id)

    stack = doubles(program)
    subnet = stack.up().outputs["subnet"].value
    ec2 = cloud.client("ec2")
    interface = ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
    assert "DependencyViolation" in stack.fails(stack.destroy)
    ec2.delete_network_interface(NetworkInterfaceId=interface)
    stack.destroy()
    assert not left(cloud)


def test_a_log_group_that_eks_wrote_again_is_named_and_may_be_deleted(doubles: Make, cloud: Cloud, faults: Faults) -> None:
    """And a question that AWS does not answer fails neither preview nor update."""
    settings = EksClusterSettings.model_validate(
        {"provider": "eks", "region": REGION, "name": "c", "endpoint": {"publicCidrs": ["203.0.113.0/24"]}}
    )

    def program() -> None:
        provider = aws.Provider("aws", region=REGION)
        check_leftovers(settings, "/aws/eks/c/cluster", provider)
        check_capacity(node_groups(settings, (f"{REGION}a", f"{REGION}b")), settings, provider)
        aws.cloudwatch.LogGroup("logs", name="/aws/eks/c/cluster", tags={CLUSTER_TAG: "c"}, opts=pulumi.ResourceOptions(provider=provider))

    stack, logs = doubles(program), cloud.client("logs")
    stack.up()
    assert set(stack.preview()) <= {"same"}, "the group is the stack's own"
    stack.destroy()
    logs.create_log_group(logGroupName="/aws/eks/c/cluster")  # the cluster's last lines
    logs.untag_log_group(logGroupName="/aws/eks/c/cluster", tags=[CLUSTER_TAG])  # moto keeps the tags of what is deleted
    assert "cluster.name (c) is the name of an earlier cluster" in stack.fails(stack.up)
    logs.delete_log_group(logGroupName="/aws/eks/c/cluster")
    faults.set(Fault(kind="refused", type="aws:*/get*", operation="invoke", times=Fault.always, message="AccessDenied"))
    stack.up()
    faults.set()
    stack.destroy()
    assert not left(cloud)


def test_drift_is_seen_and_taken_back(doubles: Make, cloud: Cloud) -> None:
    def program() -> None:
        vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, tags={"Name": "net"})
        role = aws.iam.Role("r", assume_role_policy=trust("ec2.amazonaws.com"), tags={"a": "b"})
        pulumi.export("vpc", vpc.id)
        pulumi.export("role", role.name)

    stack = doubles(program)
    outputs = stack.up().outputs
    assert stack.refresh() == {}
    cloud.client("ec2").modify_vpc_attribute(VpcId=outputs["vpc"].value, EnableDnsHostnames={"Value": False})
    cloud.client("iam").delete_role(RoleName=outputs["role"].value)
    assert stack.refresh() == {"update": 1, "delete": 1}
    assert stack.preview() == {"update": 1, "create": 1}
    stack.up()
    found = cloud.client("ec2").describe_vpc_attribute(VpcId=outputs["vpc"].value, Attribute="enableDnsHostnames")
    assert found["EnableDnsHostnames"]["Value"] is True


def test_functions(doubles: Make) -> None:
    def program() -> None:
        pulumi.export("account", aws.get_caller_identity().account_id)
        zones = aws.get_availability_zones(
            state="available", filters=[aws.GetAvailabilityZonesFilterArgs(name="opt-in-status", values=["opt-in-not-required"])]
        )
        pulumi.export("zones", zones.names)
        pulumi.export("coredns", aws.eks.get_addon_version(addon_name="coredns", kubernetes_version="1.35").version)
        pulumi.export("partition", aws.get_partition().partition)

    outputs = doubles(program).up().outputs
    assert outputs["account"].value == "123456789012"
    assert outputs["zones"].value == [f"{REGION}{zone}" for zone in "abc"]
    assert outputs["coredns"].value == "v1.12.35-eksbuild.1"
    assert outputs["partition"].value == "aws"
