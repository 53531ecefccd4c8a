"""What the cloud behind the `aws` double refuses, and how its things change with time: asked by boto3, without Pulumi."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from tests.doubles.aws import FAULT_HEADER, PACE_HEADER, delays
from tests.doubles.aws.cloud import REGION, Cloud
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

GPU_TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}
POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy")


class Account:
    """An account with a network and roles."""

    def __init__(self, cloud: Cloud) -> None:
        self.ec2, self.iam, self.eks = cloud.client("ec2"), cloud.client("iam"), cloud.client("eks")
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.ec2.modify_vpc_attribute(VpcId=self.vpc, EnableDnsHostnames={"Value": True})
        self.gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=self.gateway, VpcId=self.vpc)
        main = self.ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])["RouteTables"][0]["RouteTableId"]
        self.ec2.create_route(RouteTableId=main, DestinationCidrBlock="0.0.0.0/0", GatewayId=self.gateway)
        self.subnets = [self.subnet(zone, f"10.0.{index * 16}.0/20") for index, zone in enumerate("ab")]
        self.plane = self.role("plane", "AmazonEKSClusterPolicy")
        self.nodes = self.role("nodes", *POLICIES)

    def subnet(self, zone: str, cidr: str) -> str:
        made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone=f"{REGION}{zone}")
        return str(made["Subnet"]["SubnetId"])

    def role(self, name: str, *policies: str) -> str:
        trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "x.y"}}]}
        arn = self.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        for policy in policies:
            self.iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        return str(arn)

    def headers(self, **values: str) -> None:
        """What the next calls say beside their parameters."""
        self.eks.meta.events.unregister("before-call.eks", unique_id="test")
        self.eks.meta.events.register("before-call.eks", lambda params, **_: params["headers"].update(values), unique_id="test")

    def cluster(self, **more: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {"roleArn": self.plane, "resourcesVpcConfig": {"subnetIds": self.subnets}, "version": "1.34", **more}
        made: dict[str, Any] = self.eks.create_cluster(name="c", **arguments)["cluster"]
        return made

    def group(self, name: str = "g", **more: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {"subnets": self.subnets, "nodeRole": self.nodes, "instanceTypes": ["m6i.large"], **more}
        made: dict[str, Any] = self.eks.create_nodegroup(clusterName="c", nodegroupName=name, **arguments)["nodegroup"]
        return made

    def status(self, name: str = "g") -> str:
        return str(self.eks.describe_nodegroup(clusterName="c", nodegroupName=name)["nodegroup"]["status"])

    def addon(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.eks.describe_addon(clusterName="c", addonName=name)["addon"]
        return found


@pytest.fixture
def account(cloud: Cloud) -> Iterator[Account]:
    made = Account(cloud)
    yield made
    made.headers()


def refused(call: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call()
    return str(caught.value)


def test_a_cluster_is_made_over_time_and_groups_wait_for_it(account: Account) -> None:
    account.headers(**{PACE_HEADER: "1"})
    assert account.cluster()["status"] == "CREATING"
    assert "Cluster 'c' is not in ACTIVE status" in refused(account.group)
    assert "is being created" in refused(lambda: account.eks.delete_cluster(name="c"))


def test_a_cluster_is_ready_after_its_time(account: Account) -> None:
    account.headers(**{PACE_HEADER: str(2 / delays.CLUSTER_CREATE)})
    assert "endpoint" not in account.cluster()
    describe = account.eks.describe_cluster
    found = eventually(lambda: describe(name="c")["cluster"], "a cluster", lambda cluster: cluster["status"] == "ACTIVE")
    assert found["endpoint"].startswith("https://")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"version": "1.20"}, "unsupported Kubernetes version 1.20"),
        ({"roleArn": "arn:aws:iam::123456789012:role/none"}, "does not exist"),
        ({"resourcesVpcConfig": {"subnetIds": ["subnet-none"]}}, "'subnet-none' does not exist"),
        ({"encryptionConfig": [{"resources": ["secrets"], "provider": {"keyArn": "arn:aws:kms:x:1:key/none"}}]}, "KMS key"),
    ],
)
def test_clusters_that_are_refused(account: Account, more: dict[str, Any], problem: str) -> None:
    assert problem in refused(lambda: account.cluster(**more))


def test_a_cluster_in_one_zone_and_one_without_its_policy(account: Account) -> None:
    one = {"resourcesVpcConfig": {"subnetIds": account.subnets[:1]}}
    assert "at least two different AZs" in refused(lambda: account.cluster(**one))
    bare = account.role("bare")
    assert "AmazonEKSClusterPolicy" in refused(lambda: account.cluster(roleArn=bare))


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"instanceTypes": ["g6.tiny"]}, "instance types do not exist: [g6.tiny]"),
        ({"instanceTypes": ["g5g.xlarge"], "amiType": "AL2023_x86_64_NVIDIA"}, "[g5g.xlarge] instance types are not valid"),
        ({"scalingConfig": {"minSize": 2, "maxSize": 3, "desiredSize": 1}}, "can't be less than min size"),
        ({"capacityType": "CAPACITY_BLOCK"}, "need the instance type in the launch template"),
        ({"labels": {"eks.amazonaws.com/x": "y"}}, "reserved prefixes"),
        ({"launchTemplate": {"id": "lt-none", "version": "1"}}, "lt-none does not exist"),
        ({"nodeRole": "arn:aws:iam::123456789012:role/none"}, "does not exist"),
    ],
)
def test_groups_that_are_refused(account: Account, more: dict[str, Any], problem: str) -> None:
    account.cluster()
    assert problem in refused(lambda: account.group(**more))


def test_nodes_that_never_join(account: Account) -> None:
    account.cluster()
    account.group("fine")
    assert account.status("fine") == "ACTIVE"
    weak = account.role("weak", "AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy")
    account.group("weak", nodeRole=weak)
    found = account.eks.describe_nodegroup(clusterName="c", nodegroupName="weak")["nodegroup"]
    assert found["status"] == "CREATE_FAILED"
    assert "lacks AmazonEC2ContainerRegistryPullOnly" in found["health"]["issues"][0]["message"]
    lonely = account.ec2.create_security_group(GroupName="x", Description="x", VpcId=account.vpc)["GroupId"]
    made = account.ec2.create_launch_template(LaunchTemplateName="t", LaunchTemplateData={"SecurityGroupIds": [lonely]})
    template = made["LaunchTemplate"]
    account.group("lonely", launchTemplate={"id": template["LaunchTemplateId"], "version": "1"})
    assert account.status("lonely") == "CREATE_FAILED"
    table = account.ec2.create_route_table(VpcId=account.vpc)["RouteTable"]["RouteTableId"]
    account.ec2.associate_route_table(RouteTableId=table, SubnetId=account.subnets[0])
    account.group("shut in")
    assert account.status("shut in") == "CREATE_FAILED"


def test_a_group_that_is_told_to_fail(account: Account) -> None:
    account.cluster()
    account.headers(**{FAULT_HEADER: json.dumps({"delay": 0, "message": "no capacity"})})
    account.group()
    assert account.status() == "CREATE_FAILED"


def test_coredns_needs_a_node_without_taint(account: Account) -> None:
    account.cluster()
    account.eks.create_addon(clusterName="c", addonName="coredns")
    assert account.addon("coredns")["status"] == "DEGRADED"
    account.group("gpu", instanceTypes=["g6.xlarge"], taints=[GPU_TAINT])
    assert account.addon("coredns")["status"] == "DEGRADED"
    account.group("cpu")
    assert account.addon("coredns")["status"] == "ACTIVE"
    assert "already exists" in refused(lambda: account.eks.create_addon(clusterName="c", addonName="coredns"))
    assert "not supported" in refused(lambda: account.eks.create_addon(clusterName="c", addonName="vpc-cni", addonVersion="v0"))


def test_upgrades_go_one_step_at_a_time(account: Account) -> None:
    account.cluster()
    update = account.eks.update_cluster_version
    assert "from 1.34 to 1.36" in refused(lambda: update(name="c", version="1.36"))
    number = update(name="c", version="1.35")["update"]["id"]
    assert account.eks.describe_update(name="c", updateId=number)["update"]["status"] == "Successful"
    account.group()
    assert "above the cluster's" in refused(
        lambda: account.eks.update_nodegroup_version(clusterName="c", nodegroupName="g", version="1.36")
    )


def test_who_may_enter(account: Account) -> None:
    account.cluster(accessConfig={"authenticationMode": "API", "bootstrapClusterCreatorAdminPermissions": True})
    own = account.eks.list_access_entries(clusterName="c")["accessEntries"]
    assert len(own) == 1
    create = account.eks.create_access_entry
    assert "already in use" in refused(lambda: create(clusterName="c", principalArn=own[0]))
    account.group()
    assert "already in use" in refused(lambda: create(clusterName="c", principalArn=account.nodes)), "EKS let its nodes in itself"
    associate = account.eks.associate_access_policy
    scope = {"clusterName": "c", "principalArn": own[0], "accessScope": {"type": "cluster"}}
    assert "not valid" in refused(lambda: associate(policyArn="arn:aws:iam::aws:policy/AdministratorAccess", **scope))


def test_what_blocks_what_from_going(account: Account) -> None:
    account.cluster(deletionProtection=True)
    account.group()
    eks, ec2 = account.eks, account.ec2
    assert "deletion protection" in refused(lambda: eks.delete_cluster(name="c"))
    eks.update_cluster_config(name="c", deletionProtection=False)
    assert "has nodegroups attached" in refused(lambda: eks.delete_cluster(name="c"))
    assert "DependencyViolation" in refused(lambda: ec2.delete_subnet(SubnetId=account.subnets[0]))
    eks.delete_nodegroup(clusterName="c", nodegroupName="g")
    assert "DependencyViolation" in refused(lambda: ec2.delete_subnet(SubnetId=account.subnets[0])), "the control plane is still in it"
    eks.delete_cluster(name="c")
    assert "ResourceNotFoundException" in refused(lambda: eks.describe_cluster(name="c"))
    assert "DependencyViolation" in refused(lambda: ec2.delete_vpc(VpcId=account.vpc))
    for subnet in account.subnets:
        ec2.delete_subnet(SubnetId=subnet)
    assert "DependencyViolation" in refused(lambda: ec2.delete_vpc(VpcId=account.vpc)), "the gateway is still there"
    ec2.detach_internet_gateway(InternetGatewayId=account.gateway, VpcId=account.vpc)
    ec2.delete_internet_gateway(InternetGatewayId=account.gateway)
    ec2.delete_vpc(VpcId=account.vpc)


def test_an_address_in_use_keeps_itself_and_the_gateway(account: Account) -> None:
    ec2 = account.ec2
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=account.subnets[0], AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert "InvalidIPAddress.InUse" in refused(lambda: ec2.release_address(AllocationId=address))
    assert "mapped public address" in refused(lambda: ec2.detach_internet_gateway(InternetGatewayId=account.gateway, VpcId=account.vpc))
    ec2.delete_nat_gateway(NatGatewayId=nat)
    ec2.release_address(AllocationId=address)
    ec2.detach_internet_gateway(InternetGatewayId=account.gateway, VpcId=account.vpc)


def test_a_security_group_that_another_names(account: Account) -> None:
    ec2 = account.ec2
    one, two = (ec2.create_security_group(GroupName=name, Description=name, VpcId=account.vpc)["GroupId"] for name in ("one", "two"))
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "UserIdGroupPairs": [{"GroupId": one}]}
    ec2.authorize_security_group_ingress(GroupId=two, IpPermissions=[rule])
    assert "dependent object" in refused(lambda: ec2.delete_security_group(GroupId=one))
    ec2.delete_security_group(GroupId=two)
    ec2.delete_security_group(GroupId=one)


def test_many_at_once_are_answered(account: Account) -> None:
    """moto looks through all policies for each attachment, and a policy that another caller makes meanwhile broke that off."""
    account.role("crowd")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Action": "*", "Resource": "*"}]})

    def make(number: int) -> None:
        made = account.iam.create_policy(PolicyName=f"crowd-{number}", PolicyDocument=document)["Policy"]["Arn"]
        account.iam.attach_role_policy(RoleName="crowd", PolicyArn=made)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(200)))
    attached = account.iam.get_paginator("list_attached_role_policies").paginate(RoleName="crowd")
    assert sum(len(page["AttachedPolicies"]) for page in attached) == 200
