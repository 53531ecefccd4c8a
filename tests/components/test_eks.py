"""An EKS cluster with the SDK's mocks: its resources, their dependencies, and the arguments that AWS gets."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pulumi
import pytest
import yaml
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.rpc import _special_resource_sig as RESOURCE_SIG  # noqa: N812 (a constant)
from pulumi.runtime.rpc import _special_sig_key as SPECIAL_SIG_KEY  # noqa: N812
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.base.naming import shortened
from components.eks.cluster import EksCluster, EksClusterArgs, replaced
from components.eks.settings.cluster import EksClusterSettings
from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import parse
from tests.components.recording import Monitor, of_type, start, waits_for
from tests.doubles.aws.provider import ROWS

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "111122223333"
KUBECONFIG = json.dumps(
    {"apiVersion": "v1", "users": [{"name": "aws", "user": {"exec": {"args": ["--region", "eu-west-1", "eks", "get-token"]}}}]}
)


INNER_URN = "urn:pulumi:test::triton-fleet::eks:index:Cluster$aws:eks/cluster:Cluster::cluster-eksCluster"
"""The component's own cluster, as its output refers to it."""


class Mocks(pulumi.runtime.Mocks):
    """AWS' side: the outputs of a resource besides its inputs."""

    roles: tuple[str, ...] = ("AWSServiceRoleForAutoScaling",)
    """The account's service-linked roles of scaling groups."""
    clusters: tuple[str, ...] = ()
    """The region's clusters."""
    referred: ClassVar = {INNER_URN: MockMonitor.ResourceRegistration(INNER_URN, "inner-id", {"name": "triton-fleet"})}
    """What outputs refer to, though no program registers it."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        outputs = dict(args.inputs)
        outputs.setdefault("arn", f"arn:aws:x:eu-west-1:{ACCOUNT}:{args.name}")
        outputs.setdefault("name", args.name)
        if args.typ == "eks:index:Cluster":
            outputs |= {
                "kubeconfigJson": KUBECONFIG,
                "oidcProviderUrl": "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC",
                "oidcIssuer": "oidc.eks.eu-west-1.amazonaws.com/id/ABC",
                "clusterSecurityGroupId": "sg-cluster",
                "eksCluster": {SPECIAL_SIG_KEY: RESOURCE_SIG, "urn": INNER_URN, "id": "inner-id", "packageVersion": ""},
            }
        if args.typ == "aws:eks/nodeGroup:NodeGroup":
            outputs |= {"nodeGroupName": f"{args.name}-1", "resources": [{"autoscalingGroups": [{"name": f"asg-{args.name}"}]}]}
        if args.typ == "aws:ec2/launchTemplate:LaunchTemplate":
            outputs |= {"latestVersion": 3}
        if args.typ == "aws:ecr/repository:Repository":
            outputs |= {"repositoryUrl": f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/{args.inputs['name']}"}
        if args.typ in {"docker-build:index:Image", "docker-build:index:Index"}:
            outputs["ref"] = f"{(args.inputs.get('tags') or [args.inputs.get('tag')])[0]}@sha256:{'0' * 64}"
        if args.typ.startswith("kubernetes:core"):
            outputs["metadata"] = {"name": f"{args.name}-1a2b3c4d", **(outputs.get("metadata") or {})}
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        answers: Mapping[str, dict[str, Any]] = {
            "aws:index/getCallerIdentity:getCallerIdentity": {
                "accountId": ACCOUNT,
                "arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/session",
                "id": ACCOUNT,
                "userId": "x",
            },
            "aws:index/getAvailabilityZones:getAvailabilityZones": {"names": ["eu-west-1c", "eu-west-1a", "eu-west-1b"], "id": "z"},
            "aws:eks/getAddonVersion:getAddonVersion": {"version": f"v1-{args.args.get('addonName')}", "id": "v"},
            "aws:ec2/getSubnet:getSubnet": {
                "id": args.args.get("id"),
                "vpcId": "vpc-0a1b2c3d",
                "availabilityZone": f"eu-west-1{str(args.args.get('id'))[-1]}",
                "availableIpAddressCount": 4000,
                "tags": {"kubernetes.io/role/internal-elb": "1"},
                "mapPublicIpOnLaunch": args.args.get("id") == "subnet-0000001a",
            },
            "aws:kms/getKey:getKey": {
                "keyState": "PendingDeletion" if str(args.args.get("keyId")).endswith("/gone") else "Enabled",
                "keyUsage": "ENCRYPT_DECRYPT",
                "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
                "id": args.args.get("keyId"),
            },
            "aws:ecr/getAuthorizationToken:getAuthorizationToken": {"userName": "AWS", "password": "for-half-a-day", "id": "t"},
            "aws:eks/getClusters:getClusters": {"names": list(self.clusters), "id": "c"},
            "aws:eks/getCluster:getCluster": {"vpcConfig": {"vpcId": "vpc-now"}, "id": "c"},
            "aws:iam/getRoles:getRoles": {"names": list(self.roles), "arns": [], "id": "r"},
        }
        return {**answers, **account_answers(args.args)}[args.token], []


def account_answers(args: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a preview asks about the account, of one that has no leftovers, every machine type everywhere, and quotas for all of it."""
    zones = [
        f"{region}{letter}" for region in ("eu-west-1", "us-east-1", "us-west-2", "ap-southeast-1", "us-gov-west-1") for letter in "abc"
    ]
    pairs = [(machine, zone) for wanted in args.get("filters") or [] for machine in wanted["values"] for zone in zones]
    return {
        "aws:cloudwatch/getLogGroups:getLogGroups": {"logGroupNames": [], "arns": [], "id": "l"},
        "aws:ec2/getInstanceType:getInstanceType": {"defaultVcpus": 4, "id": "i"},
        "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": {
            "instanceTypes": [machine for machine, _ in pairs],
            "locations": [zone for _, zone in pairs],
            "id": "o",
        },
        "aws:servicequotas/getServiceQuota:getServiceQuota": {"value": 1e6, "id": "q"},
    }


@pytest.fixture
async def monitor() -> Monitor:
    return start(Mocks())


def cluster_settings(**more: Any) -> EksClusterSettings:
    raw = {"provider": "eks", "region": "eu-west-1", "endpoint": {"publicCidrs": ["203.0.113.0/24"]}, **more}
    return EksClusterSettings.model_validate(raw)


POOL = {"name": "gpu", "machineType": "g6.xlarge"}


async def build(settings: EksClusterSettings, **more: Any) -> EksCluster:
    arguments: dict[str, Any] = {"autoscaler": "clusterAutoscaler", "load_balancer": True, "resource_metrics": False, **more}
    try:
        cluster = EksCluster("cluster", EksClusterArgs(settings=settings, **arguments))
        await cluster.handle.name.future()
        return cluster
    finally:
        await wait_for_rpcs()


async def test_the_control_plane(monitor: Monitor) -> None:
    await build(cluster_settings(admins=[f"arn:aws:iam::{ACCOUNT}:role/admins"], profile="work"))
    (plane,) = of_type(monitor, "eks:index:Cluster").values()
    assert plane["authenticationMode"] == "API"
    assert plane["endpointPrivateAccess"] is True
    assert plane["publicAccessCidrs"] == ["203.0.113.0/24"]
    assert plane["version"] == "1.35"
    assert plane["skipDefaultNodeGroup"] is True
    assert plane["createInstanceRole"] is False
    assert "corednsAddonOptions" not in plane
    assert plane["vpcCniOptions"]["enablePrefixDelegation"] is True
    assert plane["vpcCniOptions"]["enableNetworkPolicy"] is True, "nothing else would enforce Triton's policies"
    assert plane["vpcCniOptions"]["addonVersion"] == "v1-vpc-cni"
    assert plane["providerCredentialOpts"] == {"profileName": "work"}
    assert plane["encryptionConfigKeyArn"].endswith("cluster-secrets")
    assert plane["enabledClusterLogTypes"] == ["api", "audit", "authenticator", "controllerManager", "scheduler"]
    entries = [entry["principalArn"] for entry in plane["accessEntries"].values()]
    assert entries == [f"arn:aws:iam::{ACCOUNT}:role/admins"]
    assert set(plane["subnetIds"]) == {f"cluster-vpc-private-eu-west-1{zone}-id" for zone in "abc"}
    assert "publicSubnetIds" not in plane


@pytest.mark.parametrize(("vpc_now", "moved"), [(None, False), ("vpc-0a1b2c3d", False), ("vpc-other", True)])
async def test_what_eks_can_t_change_makes_another_cluster(vpc_now: str | None, moved: bool) -> None:
    """The other VPC is EKS' own answer, so that an `up` that ended between the new VPC and the new cluster goes on."""
    transform = replaced(vpc_now, pulumi.Output.from_input("vpc-0a1b2c3d"), protect=True)

    async def transformed(kind: str) -> pulumi.ResourceOptions | None:
        options = pulumi.ResourceOptions(ignore_changes=["bootstrapSelfManagedAddons"])
        args = pulumi.ResourceTransformArgs(custom=True, type_=kind, name="cluster-eksCluster", props={}, opts=options)
        answer: Any = transform(args)
        found = await answer
        return None if found is None else found.opts

    options = await transformed("aws:eks/cluster:Cluster")
    assert options is not None
    assert options.replace_on_changes == ["encryptionConfig.provider.keyArn", *(["vpcConfig.subnetIds"] if moved else [])]
    assert (options.delete_before_replace, options.protect) == (True, True)
    assert options.ignore_changes == ["bootstrapSelfManagedAddons"], "the component's own options stay"
    assert await transformed("aws:eks/addon:Addon") is None


async def test_what_is_in_the_cluster_is_replaced_with_it(monitor: Monitor) -> None:
    """By a property: what only depends_on the cluster would still hang on it when it is deleted."""
    await build(cluster_settings(gpuPools=[POOL]), autoscaler="karpenter", resource_metrics=True)
    named = {key: request for key, request in monitor.requests.items() if "clusterName" in request.object}
    kinds = {key.split(" ")[0] for key in named}
    assert kinds == {"aws:eks/nodeGroup:NodeGroup", "aws:eks/addon:Addon", "aws:eks/accessEntry:AccessEntry"}
    assert {key for key, request in named.items() if INNER_URN not in request.propertyDependencies["clusterName"].urns} == set()
    provider = monitor.requests["pulumi:providers:kubernetes cluster"]
    assert INNER_URN in provider.propertyDependencies["clusterIdentifier"].urns


async def test_an_address_stays_with_its_vpc(monitor: Monitor) -> None:
    """A new VPC's NAT gateway takes another address: the old one has its own until the old cluster is gone."""
    await build(cluster_settings())
    address = monitor.requests["aws:ec2/eip:Eip cluster-vpc-nat-eu-west-1a"]
    assert address.replacement_trigger.string_value == "cluster-vpc-id"
    assert list(monitor.requests["aws:ec2/internetGateway:InternetGateway cluster-vpc"].replaceOnChanges) == ["vpcId"]


async def test_a_provider_of_ones_own_comes_with_credentials_options_always(monitor: Monitor) -> None:
    await build(cluster_settings())
    (plane,) = of_type(monitor, "eks:index:Cluster").values()
    assert plane["providerCredentialOpts"] == {}


async def test_deployments_wait_for_the_untainted_nodes_and_gpu_nodes_don_t(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[POOL]))
    for addon in ("coredns", "aws-ebs-csi-driver"):
        waiting = waits_for(monitor, "aws:eks/addon:Addon", f"cluster-{addon}")
        assert "aws:eks/nodeGroup:NodeGroup cluster-cpu" in waiting
        assert not [name for name in waiting if name.endswith("cluster-gpu")]
    waiting = waits_for(monitor, "aws:eks/nodeGroup:NodeGroup", "cluster-gpu")
    assert not [name for name in waiting if name.endswith("cluster-cpu")], "GPU nodes start in parallel with the others"


async def test_what_goes_through_the_cluster_comes_after_all_of_it(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[POOL]))
    waiting = waits_for(monitor, "pulumi:providers:kubernetes", "cluster")
    assert {
        "aws:eks/nodeGroup:NodeGroup cluster-cpu",
        "aws:eks/nodeGroup:NodeGroup cluster-gpu",
        "aws:eks/addon:Addon cluster-coredns",
    } <= waiting


@pytest.mark.parametrize("wanted", [False, True])
async def test_the_resource_metrics_api_comes_with_the_autoscalers_that_read_it(monitor: Monitor, wanted: bool) -> None:
    """EKS has no metrics-server of its own. Nothing waits for it: until then an autoscaler keeps its smallest number of pods."""
    cluster = await build(cluster_settings(addonVersions={"metrics-server": "v0.8.0-eksbuild.1"}), resource_metrics=wanted)
    addons = of_type(monitor, "aws:eks/addon:Addon")
    assert ("cluster-metrics-server" in addons) == wanted
    if wanted:
        assert addons["cluster-metrics-server"]["addonVersion"] == "v0.8.0-eksbuild.1"
        assert "aws:eks/nodeGroup:NodeGroup cluster-cpu" in waits_for(monitor, "aws:eks/addon:Addon", "cluster-metrics-server")
    assert "aws:eks/addon:Addon cluster-metrics-server" not in waits_for(monitor, "pulumi:providers:kubernetes", "cluster")
    assert "cluster-metrics-server" not in {resource._name for resource in await cluster.handle.name.resources()}


@pytest.mark.parametrize("wanted", [False, True])
async def test_node_monitoring_runs_on_tainted_nodes_too(monitor: Monitor, wanted: bool) -> None:
    await build(cluster_settings(nodeMonitoring=wanted))
    addons = of_type(monitor, "aws:eks/addon:Addon")
    assert ("cluster-eks-node-monitoring-agent" in addons) == wanted
    if wanted:
        values = json.loads(addons["cluster-eks-node-monitoring-agent"]["configurationValues"])
        assert values == {"dcgmAgent": {"tolerations": [{"operator": "Exists"}]}}
    assert "configurationValues" not in addons["cluster-coredns"]


async def test_only_what_claims_volumes_waits_for_their_driver(monitor: Monitor) -> None:
    """It takes longest. What claims volumes depends on it, so it is deleted first: without the driver, volumes are never deleted."""
    cluster = await build(cluster_settings(gpuPools=[POOL]))
    driver = "cluster-aws-ebs-csi-driver"
    assert f"aws:eks/addon:Addon {driver}" not in waits_for(monitor, "pulumi:providers:kubernetes", "cluster")
    assert driver not in {resource._name for resource in await cluster.handle.name.resources()}
    volumes = cluster.handle.volumes
    assert volumes is not None
    assert await volumes.future() == "gp3"
    assert {driver, "gp3"} <= {resource._name for resource in await volumes.resources()}


async def test_node_groups_wait_for_the_role_s_policies_and_the_way_out(monitor: Monitor) -> None:
    await build(cluster_settings())
    waiting = waits_for(monitor, "aws:eks/nodeGroup:NodeGroup", "cluster-cpu")
    policies = {name for name in waiting if name.startswith("aws:iam/rolePolicyAttachment")}
    assert {name.rsplit("-", 1)[-1] for name in policies} == {
        "AmazonEKSWorkerNodePolicy",
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEKS_CNI_Policy",
    }
    assert {f"aws:ec2/routeTableAssociation:RouteTableAssociation cluster-vpc-private-eu-west-1{zone}" for zone in "abc"} <= waiting
    assert "eks:index:Cluster cluster" in waiting


async def test_nodes_have_the_version_of_the_control_plane_and_come_after_it(monitor: Monitor) -> None:
    await build(cluster_settings(version="1.35", gpuPools=[POOL]))
    for name, group in of_type(monitor, "aws:eks/nodeGroup:NodeGroup").items():
        assert group["version"] == "1.35"
        assert "eks:index:Cluster cluster" in waits_for(monitor, "aws:eks/nodeGroup:NodeGroup", name)


async def test_the_control_plane_waits_for_no_way_out(monitor: Monitor) -> None:
    await build(cluster_settings())
    waiting = {name.split(" ")[0] for name in waits_for(monitor, "eks:index:Cluster", "cluster")}
    assert "aws:ec2/subnet:Subnet" in waiting
    assert not waiting & {f"aws:ec2/{kind}" for kind in ("natGateway:NatGateway", "vpcEndpoint:VpcEndpoint", "routeTable:RouteTable")}


async def test_a_gpu_group_as_aws_gets_it(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[{**POOL, "desired": 1, "disk": {"size": 300, "iops": 6000, "throughput": 600}}]))
    group = of_type(monitor, "aws:eks/nodeGroup:NodeGroup")["cluster-gpu"]
    assert group["amiType"] == "AL2023_x86_64_NVIDIA"
    assert group["instanceTypes"] == ["g6.xlarge"]
    assert group["scalingConfig"] == {"minSize": 0, "desiredSize": 1, "maxSize": 5}
    assert group["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert "nodeGroupName" not in group
    assert "remoteAccess" not in group
    assert "diskSize" not in group
    assert group["launchTemplate"] == {"id": "cluster-gpu-id", "version": "3"}
    request = next(request for key, request in monitor.requests.items() if key == "aws:eks/nodeGroup:NodeGroup cluster-gpu")
    assert list(request.ignoreChanges) == ["scalingConfig.desiredSize"], "in the provider's spelling; any other is ignored"

    template = of_type(monitor, "aws:ec2/launchTemplate:LaunchTemplate")["cluster-gpu"]
    (disk,) = template["blockDeviceMappings"]
    assert disk["ebs"]["encrypted"] == "true"
    assert (disk["ebs"]["volumeType"], disk["ebs"]["volumeSize"], disk["ebs"]["throughput"]) == ("gp3", 300, 600)
    assert template["metadataOptions"] == {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1}
    assert "instanceType" not in template
    assert "vpcSecurityGroupIds" not in template
    assert "FastImagePull: true" in base64.b64decode(template["userData"]).decode()

    tags = of_type(monitor, "aws:autoscaling/tag:Tag")
    assert {tag["autoscalingGroupName"] for tag in tags.values()} == {"asg-cluster-gpu"}
    named = {tag["tag"]["key"]: tag["tag"]["value"] for tag in tags.values()}
    assert named["k8s.io/cluster-autoscaler/node-template/taint/nvidia.com/gpu"] == "present:NoSchedule"
    assert not any(tag["tag"]["propagateAtLaunch"] for tag in tags.values())


async def test_a_release_of_the_node_image_is_said_where_it_is_named(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[{**POOL, "release": "1.35.0-20260715"}]))
    groups = of_type(monitor, "aws:eks/nodeGroup:NodeGroup")
    assert groups["cluster-gpu"]["releaseVersion"] == "1.35.0-20260715"
    assert "releaseVersion" not in groups["cluster-cpu"], "EKS takes the newest whenever the version changes"


async def test_ssh_keeps_the_cluster_s_own_security_group(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[{**POOL, "ssh": {"key": "mine", "sourceCidrs": ["203.0.113.0/24"]}}]))
    template = of_type(monitor, "aws:ec2/launchTemplate:LaunchTemplate")["cluster-gpu"]
    assert template["vpcSecurityGroupIds"] == ["sg-cluster", "cluster-gpu-ssh-id"]
    assert template["keyName"] == "mine"
    (rule,) = of_type(monitor, "aws:ec2/securityGroup:SecurityGroup")["cluster-gpu-ssh"]["ingress"]
    assert (rule["fromPort"], rule["toPort"], rule["cidrBlocks"]) == (22, 22, ["203.0.113.0/24"])


async def test_a_capacity_block_names_its_machine_in_the_template(monitor: Monitor) -> None:
    block = {"capacity": "capacityBlock", "capacityReservation": "cr-0a1b2c3d", "zones": ["eu-west-1a"]}
    await build(cluster_settings(gpuPools=[{"name": "gpu", "machineType": "p5.48xlarge", **block}]))
    group = of_type(monitor, "aws:eks/nodeGroup:NodeGroup")["cluster-gpu"]
    assert group["capacityType"] == "CAPACITY_BLOCK"
    assert "instanceTypes" not in group
    assert group["subnetIds"] == ["cluster-vpc-private-eu-west-1a-id"]
    template = of_type(monitor, "aws:ec2/launchTemplate:LaunchTemplate")["cluster-gpu"]
    assert template["instanceType"] == "p5.48xlarge"
    assert template["instanceMarketOptions"] == {"marketType": "capacity-block"}
    target = template["capacityReservationSpecification"]["capacityReservationTarget"]
    assert target == {"capacityReservationId": "cr-0a1b2c3d"}


async def test_efa_has_a_card_an_interface_and_one_place(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[{"name": "gpu", "machineType": "p4d.24xlarge", "efa": True, "zones": ["eu-west-1b"]}]))
    template = of_type(monitor, "aws:ec2/launchTemplate:LaunchTemplate")["cluster-gpu"]
    cards = template["networkInterfaces"]
    assert [(card["networkCardIndex"], card["deviceIndex"], card["interfaceType"]) for card in cards] == [
        (0, 0, "efa"),
        (1, 1, "efa-only"),
        (2, 1, "efa-only"),
        (3, 1, "efa-only"),
    ]
    assert all(card["securityGroups"][0] == "sg-cluster" for card in cards)
    assert template["placement"]["groupName"] == "cluster-gpu"
    assert of_type(monitor, "aws:ec2/placementGroup:PlacementGroup")["cluster-gpu"]["strategy"] == "cluster"
    rules = of_type(monitor, "aws:ec2/securityGroup:SecurityGroup")["cluster-gpu-efa"]
    assert rules["ingress"][0]["self"] is True
    assert rules["egress"][0]["self"] is True


async def test_a_group_a_zone(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[{**POOL, "perZone": True}]))
    groups = of_type(monitor, "aws:eks/nodeGroup:NodeGroup")
    assert set(groups) == {"cluster-cpu", *(f"cluster-gpu-eu-west-1{zone}" for zone in "abc")}
    assert groups["cluster-gpu-eu-west-1b"]["subnetIds"] == ["cluster-vpc-private-eu-west-1b-id"]


async def test_the_network(monitor: Monitor) -> None:
    await build(cluster_settings())
    subnets = of_type(monitor, "aws:ec2/subnet:Subnet")
    assert len(subnets) == 6
    assert subnets["cluster-vpc-private-eu-west-1a"]["tags"]["kubernetes.io/role/internal-elb"] == "1"
    assert subnets["cluster-vpc-private-eu-west-1a"]["tags"]["karpenter.sh/discovery"] == "triton-fleet"
    assert subnets["cluster-vpc-public-eu-west-1a"]["tags"]["kubernetes.io/role/elb"] == "1"
    assert set(of_type(monitor, "aws:ec2/natGateway:NatGateway")) == {"cluster-vpc-nat-eu-west-1a"}
    endpoints = of_type(monitor, "aws:ec2/vpcEndpoint:VpcEndpoint")
    assert [endpoint["vpcEndpointType"] for endpoint in endpoints.values()] == ["Gateway"]
    assert len(endpoints["cluster-vpc-s3"]["routeTableIds"]) == 4
    (vpc,) = of_type(monitor, "aws:ec2/vpc:Vpc").values()
    assert vpc["enableDnsHostnames"] is True


async def test_without_nat_there_are_endpoints_for_all_that_nodes_call(monitor: Monitor) -> None:
    await build(cluster_settings(network={"kind": "create", "nat": "none"}))
    assert of_type(monitor, "aws:ec2/natGateway:NatGateway") == {}
    endpoints = of_type(monitor, "aws:ec2/vpcEndpoint:VpcEndpoint")
    services = {endpoint["serviceName"].removeprefix("com.amazonaws.eu-west-1.") for endpoint in endpoints.values()}
    assert {"s3", "ec2", "ecr.api", "ecr.dkr", "sts", "eks", "eks-auth", "logs", "autoscaling"} <= services
    assert all(endpoint["privateDnsEnabled"] for endpoint in endpoints.values() if endpoint["vpcEndpointType"] == "Interface")
    for table in of_type(monitor, "aws:ec2/routeTable:RouteTable").items():
        assert "public" in table[0] or table[1].get("routes") == []


async def test_an_existing_network_is_checked_and_used(monitor: Monitor) -> None:
    network = {"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0000000a", "subnet-0000000b"]}
    await build(cluster_settings(network=network))
    (plane,) = of_type(monitor, "eks:index:Cluster").values()
    assert plane["subnetIds"] == ["subnet-0000000a", "subnet-0000000b"]
    assert plane["vpcId"] == "vpc-0a1b2c3d"
    assert of_type(monitor, "aws:ec2/vpc:Vpc") == {}


async def test_an_existing_network_in_one_zone_stops_it(monitor: Monitor) -> None:
    network = {"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0000000a", "subnet-0000002a"]}
    with pytest.raises(FleetError, match="EKS needs 2 zones"):
        await build(cluster_settings(network=network))
    assert of_type(monitor, "eks:index:Cluster") == {}


async def test_the_deployer_is_no_second_administrator(monitor: Monitor) -> None:
    with pytest.raises(FleetError, match="the principal that runs Pulumi"):
        await build(cluster_settings(admins=[f"arn:aws:iam::{ACCOUNT}:role/path/deployer"]))


async def test_every_policy_names_its_resources_and_every_trust_one_account(monitor: Monitor) -> None:
    """Parses all policies that AWS gets."""
    await build(cluster_settings(gpuPools=[POOL], modelsKey=f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"))
    policies = [json.loads(policy["policy"]) for policy in of_type(monitor, "aws:iam/policy:Policy").values()]
    assert len(policies) == 2
    for statement in (statement for policy in policies for statement in policy["Statement"]):
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        if statement["Resource"] == "*":
            assert all(":Describe" in action or action == "ec2:GetInstanceTypesFromInstanceRequirements" for action in actions)
        assert "*" not in actions
    trusts = {name: json.loads(role["assumeRolePolicy"]) for name, role in of_type(monitor, "aws:iam/role:Role").items()}
    for name, account in (("cluster-autoscaler", "cluster-autoscaler"), ("cluster-load-balancer", "aws-load-balancer-controller")):
        (statement,) = trusts[name]["Statement"]
        condition = statement["Condition"]["StringEquals"]
        assert condition["oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub"] == f"system:serviceaccount:kube-system:{account}"
        assert condition["oidc.eks.eu-west-1.amazonaws.com/id/ABC:aud"] == "sts.amazonaws.com"


async def test_roles_that_nobody_asked_for_are_not_made(monitor: Monitor) -> None:
    cluster = await build(cluster_settings(), autoscaler="none", load_balancer=False)
    assert cluster.handle.aws is not None
    assert cluster.handle.aws.autoscaler_role_arn is None
    assert cluster.handle.aws.load_balancer_role_arn is None
    assert of_type(monitor, "aws:iam/policy:Policy") == {}


async def test_the_kubeconfig_has_the_profile_and_the_provider_is_pinned(monitor: Monitor) -> None:
    await build(cluster_settings(profile="work"))
    (provider,) = of_type(monitor, "pulumi:providers:kubernetes").values()
    arguments = json.loads(provider["kubeconfig"])["users"][0]["user"]["exec"]["args"]
    assert arguments[-2:] == ["--profile", "work"]
    assert provider["clusterIdentifier"] == "eu-west-1/triton-fleet"


async def test_a_volume_finds_a_storage_class(monitor: Monitor) -> None:
    await build(cluster_settings())
    (storage,) = of_type(monitor, "StorageClass").values()
    assert storage["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    assert storage["parameters"]["encrypted"] == "true"


async def test_the_image_repository(monitor: Monitor) -> None:
    cluster = await build(cluster_settings(imageRepository={"name": "triton"}))
    assert cluster.registry is not None
    assert await cluster.registry.address.future() == f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
    assert await cluster.registry.url.future() == f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/triton"
    (repository,) = of_type(monitor, "aws:ecr/repository:Repository").values()
    assert repository["imageTagMutability"] == "IMMUTABLE_WITH_EXCLUSION"
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["forceDelete"] is False


async def test_pools_are_told_to_add_ons(monitor: Monitor) -> None:
    pools = [
        {**POOL, "name": "whole"},
        {**POOL, "name": "shared", "sharing": {"kind": "timeSlicing", "replicas": 4}},
        {"name": "cut", "machineType": "p4d.24xlarge", "sharing": {"kind": "mig", "profile": "1g.5gb"}},
        {**POOL, "name": "bottle", "os": "bottlerocket"},
    ]
    cluster = await build(cluster_settings(gpuPools=pools))
    told = {pool.name: (pool.resource, pool.units, pool.sharing, pool.device_plugin) for pool in cluster.handle.gpu_pools}
    assert told == {
        "whole": ("nvidia.com/gpu", 1, "none", "install"),
        "shared": ("nvidia.com/gpu", 4, "timeSlicing", "install"),
        "cut": ("nvidia.com/mig-1g.5gb", 56, "mig", "install"),
        "bottle": ("nvidia.com/gpu", 1, "none", "bundled"),
    }


def stack_file(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return {key.removeprefix("triton-fleet:"): value for key, value in content["config"].items()}


@pytest.mark.parametrize("name", ["Pulumi.eks.yaml", "Pulumi.eks-fil.yaml"])
async def test_the_stack_files_build(monitor: Monitor, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    try:
        fleet = TritonFleet("fleet", TritonFleetArgs(settings=parse(stack_file(name)), project_dir=ROOT))
        exports: Any = await pulumi.Output.from_input(fleet.exports).future()
    finally:
        await wait_for_rpcs()
    assert exports["serving"]["triton"]["service"] == "triton.triton.svc.cluster.local"
    (chart,) = of_type(monitor, "kubernetes:helm.sh/v4:Chart").values()
    annotations = chart["values"]["serviceAccount"]["annotations"]
    assert annotations["eks.amazonaws.com/role-arn"].endswith("triton-reader")
    (trust,) = json.loads(of_type(monitor, "aws:iam/role:Role")["triton-reader"]["assumeRolePolicy"])["Statement"]
    assert trust["Condition"]["StringEquals"]["oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub"] == "system:serviceaccount:triton:triton"
    waiting = waits_for(monitor, "kubernetes:helm.sh/v4:Chart", "triton")
    assert "aws:iam/rolePolicyAttachment:RolePolicyAttachment triton-reader" in waiting
    # The bucket is AWS' provider's, private and encrypted before anything is in it.
    assert "pulumi-python:dynamic/repository:Bucket repository" not in monitor.requests
    repository = stack_file(name)["repository"]
    (bucket,) = of_type(monitor, "aws:s3/bucket:Bucket").values()
    assert (bucket["bucket"], bucket["region"], bucket.get("forceDestroy")) == (repository["bucket"], repository["region"], None)
    waiting = waits_for(monitor, "pulumi-python:dynamic/repository:Release", "repository")
    for kind in ("BucketPublicAccessBlock", "BucketServerSideEncryptionConfiguration", "BucketPolicy", "BucketLifecycleConfiguration"):
        assert f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind} repository" in waiting
    (policy,) = of_type(monitor, "aws:s3/bucketPolicy:BucketPolicy").values()
    assert json.loads(policy["policy"])["Statement"][0]["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


NAMES: dict[str, tuple[str, int]] = {
    "cloudwatch/eventRule:EventRule": ("name", 64),
    "cloudwatch/eventTarget:EventTarget": ("targetId", 64),
    "cloudwatch/logGroup:LogGroup": ("name", 512),
    "ec2/launchTemplate:LaunchTemplate": ("name", 128),
    "ec2/placementGroup:PlacementGroup": ("name", 255),
    "ec2/securityGroup:SecurityGroup": ("name", 255),
    "ecr/repository:Repository": ("name", 256),
    "eks/cluster:Cluster": ("name", 100),
    "eks/nodeGroup:NodeGroup": ("nodeGroupName", 63),
    "iam/instanceProfile:InstanceProfile": ("name", 128),
    "iam/policy:Policy": ("name", 128),
    "iam/role:Role": ("name", 64),
    "s3/bucket:Bucket": ("bucket", 63),
    "sqs/queue:Queue": ("name", 80),
}
"""Types of an EKS stack that have a name: the property, and AWS' most characters. A name that is left out gets eight more."""
NAMELESS = (
    "autoscaling/tag:Tag ec2/eip:Eip ec2/internetGateway:InternetGateway ec2/natGateway:NatGateway ec2/routeTable:RouteTable "
    "ec2/routeTableAssociation:RouteTableAssociation ec2/subnet:Subnet ec2/tag:Tag ec2/vpc:Vpc ec2/vpcEndpoint:VpcEndpoint "
    "ecr/lifecyclePolicy:LifecyclePolicy eks/accessEntry:AccessEntry eks/addon:Addon iam/openIdConnectProvider:OpenIdConnectProvider "
    "iam/rolePolicyAttachment:RolePolicyAttachment kms/key:Key s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration "
    "s3/bucketPolicy:BucketPolicy s3/bucketPublicAccessBlock:BucketPublicAccessBlock sqs/queuePolicy:QueuePolicy "
    "s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
)


@pytest.mark.parametrize("region", ["ap-southeast-1", "us-gov-west-1", "eu-west-1"])
@pytest.mark.parametrize("scaler", ["clusterAutoscaler", "karpenter"])
async def test_every_name_fits_with_the_longest_that_a_stack_file_may_have(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch, region: str, scaler: str
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    raw, zone = stack_file("Pulumi.eks-fil.yaml"), f"{region}a"
    tags = {f"k{number:02}".ljust(128, "k"): "v" * 256 for number in range(40)}
    raw["cluster"] |= {
        "name": "c" * (80 if scaler == "karpenter" else 100),
        "region": region,
        "tags": tags,
        "secretsKey": "create",
        "logsKey": "create",
    }
    raw["cluster"]["network"] = {"kind": "create", "zones": [zone, f"{region}b"], "interfaceEndpoints": True}
    (pool,) = raw["cluster"]["gpuPools"]
    label = {"k" * 63: "v" * 63}
    zonal = {**pool, "name": "z" * (47 - len(zone) - 1), "perZone": True, "labels": label}
    packed = {**pool, "name": "e" * 47, "machineType": "g6.48xlarge", "efa": True, "zones": [zone]}
    raw["cluster"] |= {"gpuPools": [zonal, packed], "imageRepository": {"name": "r" * 256}, "cpuPool": {"labels": label}}
    if scaler == "karpenter":
        started = {"name": "k" * 63, "instanceFamilies": ["g4dn"], "maxGpus": 8, "labels": label}
        raw["cluster"]["gpuPools"] = [{**one, "min": 1} for one in raw["cluster"]["gpuPools"]]
        raw["autoscaler"] = {"kind": "karpenter", "pools": [started]}
    raw["repository"] |= {"bucket": "b" * 63, "region": region}
    raw["serving"][0] |= {"name": "s" * 53, "namespace": "n" * 63, "nodeSelector": {"triton-fleet/pool": zonal["name"]}}
    try:
        TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
    finally:
        await wait_for_rpcs()
    found = {key.split(" ", 1)[0].removeprefix("aws:") for key in monitor.requests if key.startswith("aws:")}
    assert found <= NAMES.keys() | set(NAMELESS.split()), "a type without a row"
    for kind in found:
        row = ROWS.get(f"aws:{kind}")
        assert row is None or (kind in NAMES) == (row.name is not None), kind
        for request in (one for key, one in monitor.requests.items() if key.startswith(f"aws:{kind} ")):
            inputs = dict(deserialize_properties(request.object))
            if kind in NAMES:
                prop, limit = NAMES[kind]
                assert row is None or (row.name, row.name_length) == (prop, limit), "the double refuses what AWS refuses"
                assert len(inputs.get(prop) or f"{request.name}-1234567") <= limit, f"{kind} {request.name}"
            specs = [spec["tags"] for spec in inputs.get("tagSpecifications") or []]
            for given in [inputs.get("tags") or {}, *specs, {inputs["tag"]["key"]: inputs["tag"]["value"]} if "tag" in inputs else {}]:
                assert len(given) <= 45, "EKS and controllers add theirs"
                assert all(len(key) <= 128 and len(value) <= 256 for key, value in given.items()), f"{kind} {request.name}"
            for key, value in (inputs.get("labels") or {}).items():
                assert max(len(key), len(value)) <= 63


def test_long_names_of_two_stacks_differ() -> None:
    """Roles belong to an account, and not to a cluster or region."""
    names = {shortened(f"{'s' * 53}-reader-{stack}-{region}", 64) for stack in ("dev", "prod") for region in ("eu-west-1", "eu-west-2")}
    assert len(names) == 4
    assert {len(name) for name in names} == {64}
    assert shortened("triton-reader", 64) == "triton-reader"


async def test_a_bucket_of_an_earlier_version_is_imported(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    raw = stack_file("Pulumi.eks.yaml")
    raw["repository"] |= {"adoptBucket": True, "versioning": True}
    try:
        TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
    finally:
        await wait_for_rpcs()
    request = monitor.requests["aws:s3/bucket:Bucket repository"]
    assert (request.importId, list(request.ignoreChanges)) == (raw["repository"]["bucket"], ["tags", "tagsAll"])
    assert of_type(monitor, "pulumi-python:dynamic/repository:Bucket")["repository"]["handedOver"] is True
    assert "aws:s3/bucketVersioning:BucketVersioning repository" in monitor.requests
