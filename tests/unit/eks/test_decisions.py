"""What `components/eks` decides before it declares resources: addresses, node groups, administrators."""

from __future__ import annotations

import json
import tomllib
from email import message_from_string
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

import pulumi_aws as aws
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.base.errors import FleetError
from components.eks.network import endpoint_services, pick_zones, plan_subnets, subnet_problems
from components.eks.node_groups import asg_tags, cpu_group, gpu_groups, gpu_labels
from components.eks.plan import ADDONS, check_admins, node_groups, node_policies, principal, with_profile
from components.eks.registry import lifecycle
from components.eks.settings.cluster import EksClusterSettings
from components.eks.settings.network import CreatedNetworkSettings, ExistingNetworkSettings
from components.eks.settings.node_groups import CpuPoolSettings, GpuPoolSettings
from components.eks.user_data import mig_script, user_data

ZONES = ("eu-west-1a", "eu-west-1b", "eu-west-1c")
TEMPLATE = "k8s.io/cluster-autoscaler/node-template"


def network(**values: Any) -> CreatedNetworkSettings:
    return CreatedNetworkSettings.model_validate({"kind": "create", **values})


def pool(**values: Any) -> GpuPoolSettings:
    return GpuPoolSettings.model_validate({"name": "gpu", "machineType": "g6.xlarge", **values})


# Addresses


@given(length=st.integers(16, 21), count=st.integers(2, 6))
def test_subnets_lie_in_the_vpc_and_none_overlap(length: int, count: int) -> None:
    plan = plan_subnets(network(cidr=f"10.16.0.0/{length}"), [f"z{index}" for index in range(count)])
    found = [IPv4Network(cidr) for entry in plan for cidr in (entry.private, entry.public)]
    assert all(subnet.subnet_of(IPv4Network(f"10.16.0.0/{length}")) for subnet in found)
    assert not [pair for pair in combinations(found, 2) if pair[0].overlaps(pair[1])]
    assert all(subnet.num_addresses - 5 >= 16 for subnet in found), "AWS reserves five of each, and EKS recommends sixteen"


def test_a_zone_more_moves_no_subnet() -> None:
    three, four = plan_subnets(network(), ZONES), plan_subnets(network(), [*ZONES, "eu-west-1d"])
    assert four[:3] == three


def test_addresses_of_the_default() -> None:
    assert [(entry.private, entry.public) for entry in plan_subnets(network(), ZONES)] == [
        ("10.0.0.0/19", "10.0.224.0/22"),
        ("10.0.32.0/19", "10.0.228.0/22"),
        ("10.0.64.0/19", "10.0.232.0/22"),
    ]


@pytest.mark.parametrize(("nat", "zones"), [("one", ["a", "a"]), ("perZone", ["a", "b"]), ("none", [None, None])])
def test_way_out(nat: str, zones: list[str | None]) -> None:
    assert [entry.nat_zone for entry in plan_subnets(network(nat=nat), ["a", "b"])] == zones


def test_endpoints() -> None:
    assert endpoint_services(network()) == ()
    assert endpoint_services(network(interfaceEndpoints=True)) == ("ecr.api", "ecr.dkr", "sts")
    assert {"ec2", "ecr.api", "ecr.dkr", "sts", "eks", "eks-auth", "autoscaling"} <= set(endpoint_services(network(nat="none")))


def test_zones_are_the_first_by_name() -> None:
    assert pick_zones(["c", "a", "b", "d"], 3) == ("a", "b", "c")
    with pytest.raises(FleetError, match=r"zoneCount \(3\) is above the 2 zones"):
        pick_zones(["a", "b"], 3)


EXISTING = ExistingNetworkSettings.model_validate(
    {
        "kind": "existing",
        "vpcId": "vpc-0a1b2c3d",
        "privateSubnetIds": ["subnet-0000000a", "subnet-0000000b"],
        "publicSubnetIds": ["subnet-0000000c"],
    }
)


def subnet(number: str, zone: str, tags: dict[str, str], **more: Any) -> aws.ec2.GetSubnetResult:
    facts = {"id": f"subnet-0000000{number}", "vpc_id": "vpc-0a1b2c3d", "availability_zone": zone, "available_ip_address_count": 100}
    return aws.ec2.GetSubnetResult(**{**facts, "tags": tags, **more})  # type: ignore[no-untyped-call]  # the SDK's own has no types


def facts(**of_the_first: Any) -> list[aws.ec2.GetSubnetResult]:
    private, public = {"kubernetes.io/role/internal-elb": "1"}, {"kubernetes.io/role/elb": "1"}
    tags = of_the_first.pop("tags", private)
    return [subnet("a", "a", tags, **of_the_first), subnet("b", "b", private), subnet("c", "a", public)]


def test_good_subnets() -> None:
    assert subnet_problems(EXISTING, "c", facts()) == []
    shared = {"kubernetes.io/role/internal-elb": "1", "kubernetes.io/cluster/other": "shared", "kubernetes.io/cluster/c": "shared"}
    assert subnet_problems(EXISTING, "c", facts(tags=shared)) == []


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ({"vpc_id": "vpc-1"}, "which is in vpc-1 and not in vpcId"),
        ({"available_ip_address_count": 10}, "with 10 free addresses"),
        ({"availability_zone": "b"}, "are all in b: EKS needs 2 zones"),
        ({"tags": {}}, "without the tag kubernetes.io/role/internal-elb=1"),
        ({"tags": {"kubernetes.io/role/internal-elb": "1", "kubernetes.io/cluster/other": "owned"}}, "for another cluster"),
    ],
)
def test_bad_subnets(first: dict[str, Any], says: str) -> None:
    (problem,) = subnet_problems(EXISTING, "c", facts(**first))
    assert says in problem


# Node groups


def test_the_cpu_group_is_not_tainted_and_in_all_zones() -> None:
    plan = cpu_group(CpuPoolSettings(), ZONES)
    assert plan.taints == ()
    assert plan.zones == ZONES
    assert plan.ami_type == "AL2023_x86_64_STANDARD"
    assert (plan.min, plan.desired, plan.max) == (2, 2, 6)


def test_an_arm_cpu_group() -> None:
    assert cpu_group(CpuPoolSettings.model_validate({"machineTypes": ["m7g.large"]}), ZONES).ami_type == "AL2023_ARM_64_STANDARD"


@pytest.mark.parametrize(
    ("values", "ami"),
    [
        ({}, "AL2023_x86_64_NVIDIA"),
        ({"machineType": "g5g.xlarge"}, "AL2023_ARM_64_NVIDIA"),
        ({"os": "bottlerocket"}, "BOTTLEROCKET_x86_64_NVIDIA"),
    ],
)
def test_a_gpu_group_has_an_image_with_a_driver(values: dict[str, Any], ami: str) -> None:
    (plan,) = gpu_groups(pool(**values), ZONES)
    assert plan.ami_type == ami
    assert plan.taints == (("nvidia.com/gpu", "present", "NO_SCHEDULE"),)


@pytest.mark.parametrize(("capacity", "expected"), [("onDemand", "ON_DEMAND"), ("spot", "SPOT")])
def test_capacity(capacity: str, expected: str) -> None:
    (plan,) = gpu_groups(pool(capacity=capacity), ZONES)
    assert plan.capacity == expected
    assert not plan.instance_type_in_template


def test_a_group_a_zone_and_zones_of_a_pool() -> None:
    assert [plan.name for plan in gpu_groups(pool(perZone=True), ZONES)] == [f"gpu-{zone}" for zone in ZONES]
    assert [plan.zones for plan in gpu_groups(pool(zones=["eu-west-1b"]), ZONES)] == [("eu-west-1b",)]


def test_a_zone_that_an_existing_network_has_not() -> None:
    raw = {
        "provider": "eks",
        "region": "eu-west-1",
        "endpoint": {"public": False},
        "network": {"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0000000a", "subnet-0000000b"]},
        "gpuPools": [{"name": "gpu", "machineType": "g6.xlarge", "zones": ["eu-west-1c"]}],
    }
    with pytest.raises(FleetError, match="names eu-west-1c, where the network has no subnet"):
        node_groups(EksClusterSettings.model_validate(raw), ("eu-west-1a", "eu-west-1b"))


def test_desired_is_zero_where_it_says_zero() -> None:
    (plan,) = gpu_groups(pool(min=0, desired=0), ZONES)
    assert plan.desired == 0
    (plan,) = gpu_groups(pool(min=2), ZONES)
    assert plan.desired == 2


def test_the_device_plugin_s_label_is_where_the_plugin_is() -> None:
    assert gpu_labels(pool())["nvidia.com/device-plugin.config"] == "gpu"
    assert "nvidia.com/device-plugin.config" not in gpu_labels(pool(os="bottlerocket"))
    assert gpu_labels(pool())["k8s.amazonaws.com/accelerator"] == "nvidia-l4"


def test_disks() -> None:
    (plan,) = gpu_groups(pool(disk={"size": 300}), ZONES)
    assert [(volume.device, volume.size) for volume in plan.volumes] == [("/dev/xvda", 300)]
    (plan,) = gpu_groups(pool(os="bottlerocket", disk={"size": 300, "snapshot": "snap-0a1b2c3d"}), ZONES)
    assert [(volume.device, volume.size, volume.snapshot) for volume in plan.volumes] == [
        ("/dev/xvda", 4, None),
        ("/dev/xvdb", 300, "snap-0a1b2c3d"),
    ]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {"nvidia.com/gpu": "1", "ephemeral-storage": "177Gi"}),
        ({"sharing": {"kind": "timeSlicing", "replicas": 4}}, {"nvidia.com/gpu": "4", "ephemeral-storage": "177Gi"}),
        (
            {"machineType": "p4d.24xlarge", "sharing": {"kind": "mig", "profile": "1g.5gb+me"}},
            {"nvidia.com/mig-1g.5gb.me": "8", "nvidia.com/gpu": "0", "ephemeral-storage": "177Gi"},
        ),
    ],
)
def test_an_autoscaler_knows_an_empty_group(values: dict[str, Any], expected: dict[str, str]) -> None:
    found = pool(**values)
    tags = asg_tags(found, gpu_labels(found))
    assert {key.removeprefix(f"{TEMPLATE}/resources/"): value for key, value in tags.items() if "/resources/" in key} == expected
    assert tags[f"{TEMPLATE}/taint/nvidia.com/gpu"] == "present:NoSchedule"
    assert tags[f"{TEMPLATE}/label/triton-fleet/pool"] == "gpu"
    assert all(len(key) <= 128 and len(value) <= 256 for key, value in tags.items()), "EC2's limits of a tag"


def test_no_taint_no_tag() -> None:
    found = pool(taint=False)
    assert not [key for key in asg_tags(found, {}) if "/taint/" in key]
    (plan,) = gpu_groups(found, ZONES)
    assert plan.taints == ()


def parts(text: str | None) -> dict[str, str]:
    assert text is not None
    message = message_from_string(text)
    assert message.get_content_type() == "multipart/mixed"
    return {part.get_content_type(): str(part.get_payload()) for part in message.get_payload()}  # type: ignore[union-attr]  # of a multipart, messages


def test_user_data_of_al2023() -> None:
    node = yaml.safe_load(parts(user_data(pool()))["application/node.eks.aws"])
    assert node["kind"] == "NodeConfig"
    assert node["spec"] == {"featureGates": {"FastImagePull": True}}
    assert user_data(pool(fastPull=False)) is None


def test_gpus_are_cut_before_kubelet_looks() -> None:
    found = parts(user_data(pool(machineType="p4d.24xlarge", sharing={"kind": "mig", "profile": "3g.20gb"})))
    script = found["text/x-shellscript"]
    assert "nvidia-smi mig -cgi 3g.20gb,3g.20gb -C" in script
    assert "Before=kubelet.service" in script
    assert script.startswith("#!/bin/bash\n")
    assert mig_script("1g.5gb", 7).count("1g.5gb") == 7


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, {}),
        (
            {"sharing": {"kind": "timeSlicing", "replicas": 4}},
            {
                "device-sharing-strategy": "time-slicing",
                "time-slicing": {"replicas": 4, "rename-by-default": False, "fail-requests-greater-than-one": True},
            },
        ),
        (
            {"sharing": {"kind": "mps", "replicas": 2}},
            {"device-sharing-strategy": "mps", "mps": {"replicas": 2, "rename-by-default": False}},
        ),
        (
            {"machineType": "p4d.24xlarge", "sharing": {"kind": "mig", "profile": "1g.5gb"}},
            {"device-partitioning-strategy": "mig", "mig": {"profile": {"a100.40gb": "1g.5gb"}}},
        ),
    ],
)
def test_user_data_of_bottlerocket(values: dict[str, Any], expected: dict[str, Any]) -> None:
    text = user_data(pool(os="bottlerocket", **values))
    assert text is not None
    settings = tomllib.loads(text)["settings"]
    assert settings.get("kubelet-device-plugins", {}).get("nvidia", {}) == expected
    assert settings["container-runtime"] == {"snapshotter": "soci"}
    assert user_data(pool(os="bottlerocket", fastPull=False)) is None


# Control plane


def test_deployments_among_the_add_ons_need_nodes() -> None:
    assert {addon for addon, needs_nodes in ADDONS.items() if needs_nodes} == {"coredns", "aws-ebs-csi-driver", "metrics-server"}


def test_session_manager_is_asked_for() -> None:
    raw = {"provider": "eks", "region": "eu-west-1", "endpoint": {"public": False}}
    assert "AmazonSSMManagedInstanceCore" not in node_policies(EksClusterSettings.model_validate(raw))
    assert "AmazonSSMManagedInstanceCore" in node_policies(EksClusterSettings.model_validate({**raw, "sessionManager": True}))


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("arn:aws:sts::111122223333:assumed-role/deployer/session", "arn:aws:iam::111122223333:role/deployer"),
        ("arn:aws:iam::111122223333:user/me", "arn:aws:iam::111122223333:user/me"),
    ],
)
def test_principal(caller: str, expected: str) -> None:
    assert principal(caller) == expected


def test_who_deploys_is_no_admin_besides() -> None:
    caller = "arn:aws:sts::111122223333:assumed-role/deployer/session"
    check_admins(["arn:aws:iam::111122223333:role/admins"], caller)
    for admin in ("arn:aws:iam::111122223333:role/deployer", "arn:aws:iam::111122223333:role/ci/deployer"):
        with pytest.raises(FleetError, match="the principal that runs Pulumi"):
            check_admins([admin], caller)


def test_the_profile_goes_into_the_kubeconfig_once() -> None:
    kubeconfig = json.dumps({"users": [{"user": {"exec": {"args": ["eks", "get-token"]}}}]})
    once = with_profile(kubeconfig, "work")
    assert json.loads(once)["users"][0]["user"]["exec"]["args"] == ["eks", "get-token", "--profile", "work"]
    assert with_profile(once, "work") == once
    assert "--profile" not in with_profile(kubeconfig, None)


def test_tagged_images_stay() -> None:
    (rule,) = json.loads(lifecycle(14))["rules"]
    assert rule["selection"]["tagStatus"] == "untagged"
