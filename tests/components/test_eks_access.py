"""IAM and KMS of an EKS cluster with the SDK's mocks: Karpenter's access, and keys."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import parse
from tests.components.recording import Monitor, of_type, start, waits_for
from tests.components.test_eks import ACCOUNT, POOL, ROOT, Mocks, build, cluster_settings, stack_file

if TYPE_CHECKING:
    from components.eks.cluster import EksCluster

KEY = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"


@pytest.fixture
async def monitor() -> Monitor:
    return start(Mocks())


def many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(document: str) -> dict[str, dict[str, Any]]:
    return {statement["Sid"]: statement for statement in json.loads(document)["Statement"]}


async def with_karpenter(**more: Any) -> EksCluster:
    return await build(cluster_settings(**more), autoscaler="karpenter", load_balancer=False)


async def test_karpenter_is_handed_what_it_needs_when_it_can_be_used(monitor: Monitor) -> None:
    cluster = await with_karpenter()
    aws = cluster.handle.aws
    assert aws is not None
    assert aws.autoscaler_role_arn is None
    assert aws.karpenter_role_arn is not None
    assert aws.karpenter_instance_profile is not None
    assert aws.interruption_queue is not None
    assert await aws.interruption_queue.future() == "triton-fleet"
    assert await aws.karpenter_instance_profile.future() == "cluster-karpenter-node"

    def sources(resources: Any) -> set[str]:
        return {f"{resource._type} {resource._name}" for resource in resources}

    queue = sources(await aws.interruption_queue.resources())
    assert {
        f"aws:cloudwatch/eventTarget:EventTarget cluster-karpenter-{event}" for event in ("health", "spot", "rebalance", "state")
    } <= queue
    profile = sources(await aws.karpenter_instance_profile.resources())
    assert {"aws:eks/accessEntry:AccessEntry cluster-karpenter-node", "aws:ec2/tag:Tag cluster-karpenter-discovery"} <= profile
    assert len([name for name in profile if "rolePolicyAttachment" in name]) == 3
    role = sources(await aws.karpenter_role_arn.resources())
    assert len([name for name in role if "rolePolicyAttachment" in name]) == 2


async def test_interruptions_go_to_one_queue_and_no_one_else_may_send_there(monitor: Monitor) -> None:
    await with_karpenter()
    (queue,) = of_type(monitor, "aws:sqs/queue:Queue").values()
    assert queue["name"] == "triton-fleet"
    assert (queue["messageRetentionSeconds"], queue["sqsManagedSseEnabled"]) == (300, True)
    rules = of_type(monitor, "aws:cloudwatch/eventRule:EventRule")
    assert {json.loads(rule["eventPattern"])["detail-type"][0] for rule in rules.values()} == {
        "AWS Health Event",
        "EC2 Spot Instance Interruption Warning",
        "EC2 Instance Rebalance Recommendation",
        "EC2 Instance State-change Notification",
        "EC2 Capacity Reservation Instance Interruption Warning",
    }
    arn = f"arn:aws:x:eu-west-1:{ACCOUNT}:cluster-karpenter-interruptions"
    targets = of_type(monitor, "aws:cloudwatch/eventTarget:EventTarget")
    assert {target["arn"] for target in targets.values()} == {arn}
    assert {target["rule"] for target in targets.values()} == set(rules)
    (policy,) = of_type(monitor, "aws:sqs/queuePolicy:QueuePolicy").values()
    found = statements(policy["policy"])
    assert found["SendEvents"]["Principal"] == {"Service": "events.amazonaws.com"}
    assert found["SendEvents"]["Resource"] == arn
    assert found["SendEvents"]["Condition"] == {
        "ArnEquals": {"aws:SourceArn": sorted(f"arn:aws:x:eu-west-1:{ACCOUNT}:{name}" for name in rules)}
    }
    assert (found["DenyInsecureTransport"]["Effect"], found["DenyInsecureTransport"]["Condition"]) == (
        "Deny",
        {"Bool": {"aws:SecureTransport": "false"}},
    )


async def test_karpenters_nodes_have_a_role_an_entry_and_a_profile_of_their_own(monitor: Monitor) -> None:
    await with_karpenter(sessionManager=True)
    entry = of_type(monitor, "aws:eks/accessEntry:AccessEntry")["cluster-karpenter-node"]
    role = f"arn:aws:x:eu-west-1:{ACCOUNT}:cluster-karpenter-node"
    assert (entry["type"], entry["principalArn"], entry["clusterName"]) == ("EC2_LINUX", role, "triton-fleet")
    assert "eks:index:Cluster cluster" in waits_for(monitor, "aws:eks/accessEntry:AccessEntry", "cluster-karpenter-node")
    policies = [
        attachment["policyArn"].rsplit("/", 1)[-1]
        for name, attachment in of_type(monitor, "aws:iam/rolePolicyAttachment:RolePolicyAttachment").items()
        if name.startswith("cluster-karpenter-node-")
    ]
    assert sorted(policies) == [
        "AmazonEC2ContainerRegistryPullOnly",
        "AmazonEKSWorkerNodePolicy",
        "AmazonEKS_CNI_Policy",
        "AmazonSSMManagedInstanceCore",
    ]
    (profile,) = of_type(monitor, "aws:iam/instanceProfile:InstanceProfile").values()
    assert profile["role"] == "cluster-karpenter-node"
    tag = of_type(monitor, "aws:ec2/tag:Tag")["cluster-karpenter-discovery"]
    assert (tag["resourceId"], tag["key"], tag["value"]) == ("sg-cluster", "karpenter.sh/discovery", "triton-fleet")


async def test_karpenters_role_is_for_its_service_account_and_names_what_it_may_touch(monitor: Monitor) -> None:
    await with_karpenter(diskKey=KEY)
    trusts = of_type(monitor, "aws:iam/role:Role")
    (trust,) = json.loads(trusts["cluster-karpenter-controller"]["assumeRolePolicy"])["Statement"]
    subject = trust["Condition"]["StringEquals"]["oidc.eks.eu-west-1.amazonaws.com/id/ABC:sub"]
    assert subject == "system:serviceaccount:kube-system:karpenter"
    found = statements(of_type(monitor, "aws:iam/policy:Policy")["cluster-karpenter-controller"]["policy"])
    assert found["PassNodeRole"]["Resource"] == f"arn:aws:x:eu-west-1:{ACCOUNT}:cluster-karpenter-node"
    assert found["ReadInterruptionQueue"]["Resource"] == f"arn:aws:x:eu-west-1:{ACCOUNT}:cluster-karpenter-interruptions"
    assert found["EncryptDisks"]["Resource"] == found["GrantKeyToDisks"]["Resource"] == KEY
    assert "cluster-karpenter-controller-nodes" in of_type(monitor, "aws:iam/policy:Policy")


async def test_without_karpenter_there_is_nothing_of_it(monitor: Monitor) -> None:
    cluster = await build(cluster_settings(gpuPools=[POOL]))
    assert cluster.handle.aws is not None
    assert cluster.handle.aws.karpenter_role_arn is None
    assert [key for key in monitor.requests if "karpenter" in key] == []
    assert of_type(monitor, "aws:sqs/queue:Queue") == {}


async def test_karpenter_in_an_existing_network_needs_its_tag(monitor: Monitor) -> None:
    network = {"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0000000a", "subnet-0000000b"]}
    with pytest.raises(FleetError, match=r"subnet-0000000a, without the tag karpenter.sh/discovery=triton-fleet: Karpenter would start"):
        await with_karpenter(network=network)


async def test_a_stack_with_karpenter_builds_and_its_pools_go_before_it(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    raw = stack_file("Pulumi.eks-fil.yaml")
    del raw["cluster"]["gpuPools"]
    raw["autoscaler"] = {"kind": "karpenter", "pools": [{"name": "gpu-dev", "instanceFamilies": ["g6"], "maxGpus": 8}]}
    try:
        TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
    finally:
        await wait_for_rpcs()
    kinds = [key for key in monitor.requests if "gpu-dev" in key]
    assert {
        "kubernetes:karpenter.sh/v1:NodePool nodepool-gpu-dev",
        "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass ec2nodeclass-gpu-dev",
    } <= set(kinds)
    pool = monitor.requests["kubernetes:karpenter.sh/v1:NodePool nodepool-gpu-dev"]
    assert pool.customTimeouts.delete == "30m", "time for the last pod to drain"
    triton = waits_for(monitor, "kubernetes:core/v1:Namespace", "triton")
    assert "kubernetes:karpenter.sh/v1:NodePool nodepool-gpu-dev" in triton, "Triton is deleted before its nodes drain"
    plugin = of_type(monitor, "kubernetes:helm.sh/v3:Release")["nvidia-device-plugin"]
    assert "gpu-dev" in plugin["values"]["config"]["map"]


async def test_a_disk_key_of_the_stack_s_own_lets_scaling_groups_and_the_volume_driver_use_it(monitor: Monitor) -> None:
    await build(cluster_settings(diskKey="create"))
    key = f"arn:aws:x:eu-west-1:{ACCOUNT}:cluster-disks"
    found = statements(of_type(monitor, "aws:kms/key:Key")["cluster-disks"]["policy"])
    role = f"arn:aws:iam::{ACCOUNT}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    assert found["UseKeyForDisks"]["Principal"] == found["GrantKeyToDisks"]["Principal"] == {"AWS": role}
    assert found["GrantKeyToDisks"]["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    for template in of_type(monitor, "aws:ec2/launchTemplate:LaunchTemplate").values():
        assert {disk["ebs"]["kmsKeyId"] for disk in template["blockDeviceMappings"]} == {key}
    (storage,) = of_type(monitor, "StorageClass").values()
    assert storage["parameters"]["kmsKeyId"] == key
    driver = statements(of_type(monitor, "aws:iam/policy:Policy")["cluster-ebs-key"]["policy"])
    assert {statement["Resource"] for statement in driver.values()} == {key}
    waiting = waits_for(monitor, "aws:eks/addon:Addon", "cluster-aws-ebs-csi-driver")
    assert "aws:iam/rolePolicyAttachment:RolePolicyAttachment cluster-ebs-key" in waiting


async def test_logs_have_a_key_for_one_log_group(monitor: Monitor) -> None:
    await build(cluster_settings(logsKey="create"))
    (group,) = of_type(monitor, "aws:cloudwatch/logGroup:LogGroup").values()
    assert group["kmsKeyId"].endswith(":cluster-logs")
    statement = statements(of_type(monitor, "aws:kms/key:Key")["cluster-logs"]["policy"])["UseKeyForLogs"]
    assert statement["Principal"] == {"Service": "logs.eu-west-1.amazonaws.com"}
    assert statement["Condition"] == {
        "ArnEquals": {"kms:EncryptionContext:aws:logs:arn": f"arn:aws:logs:eu-west-1:{ACCOUNT}:log-group:/aws/eks/triton-fleet/cluster"}
    }


async def test_no_key_of_the_stack_s_own_allows_everything(monitor: Monitor) -> None:
    await build(cluster_settings(diskKey="create", logsKey="create"))
    keys = of_type(monitor, "aws:kms/key:Key")
    assert set(keys) == {"cluster-secrets", "cluster-disks", "cluster-logs"}
    for key in keys.values():
        assert (key["enableKeyRotation"], key["deletionWindowInDays"]) == (True, 7)
        for statement in json.loads(key["policy"])["Statement"]:
            assert not {"*", "kms:*"} & set(many(statement["Action"]))
            assert statement["Principal"] not in ("*", {"AWS": "*"})


async def test_keys_that_are_given_are_used_and_none_is_made(monitor: Monitor) -> None:
    await build(cluster_settings(secretsKey=KEY, diskKey=KEY, logsKey=KEY))
    assert of_type(monitor, "aws:kms/key:Key") == {}
    (plane,) = of_type(monitor, "eks:index:Cluster").values()
    assert plane["encryptionConfigKeyArn"] == KEY
    (group,) = of_type(monitor, "aws:cloudwatch/logGroup:LogGroup").values()
    assert group["kmsKeyId"] == KEY


async def test_a_key_that_goes_away_is_refused_before_anything_is_made(monitor: Monitor) -> None:
    gone = f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/gone"
    with pytest.raises(FleetError) as caught:
        await build(cluster_settings(diskKey=gone, modelsKey=gone))
    assert [str(problem).split(" is in state")[0] for problem in caught.value.problems] == [
        f"triton-fleet:cluster.diskKey ({gone})",
        f"triton-fleet:cluster.modelsKey ({gone})",
    ]
    assert of_type(monitor, "aws:ec2/vpc:Vpc") == {}


async def test_a_disk_key_in_a_new_account_is_refused_with_the_command_that_mends_it(
    monitor: Monitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mocks, "roles", ())
    with pytest.raises(FleetError, match=r"aws iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com"):
        await build(cluster_settings(diskKey="create"))
    assert of_type(monitor, "aws:kms/key:Key") == {}
