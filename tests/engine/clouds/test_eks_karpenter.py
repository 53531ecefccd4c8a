"""Karpenter and keys of the stack's own, under the real engine: refused in a new account, then up, no change, and a destroy in order.

Karpenter itself does not run: its chart's stand-in has a Deployment and the kinds, and this test plays its finalizer.
"""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest

from local.plugins.kubernetes.client import ApiError
from local.plugins.kubernetes.naming import Kind
from tests.engine.clouds.eks import eks_fleet
from tests.engine.clouds.fleet import CommandFailedError
from tests.engine.clouds.test_eks import DEPLOYMENT, aws, gone, spans
from tests.engine.conftest import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.doubles.aws.cloud import Cloud
    from tests.doubles.cluster import ClusterDouble

__all__ = ["aws"]  # the fixture

pytestmark = pytest.mark.engine

NODE_POOL = Kind("karpenter.sh", "v1", "NodePool")
NODE_CLASS = Kind("karpenter.k8s.aws", "v1", "EC2NodeClass")
REGION = "us-east-1"
FINALIZER = "karpenter.k8s.aws/termination"


def karpenter_left(cloud: Cloud) -> dict[str, list[str]]:
    """What is Karpenter's or encrypts, and is still there. A deleted key is pending for a week."""
    kms = cloud.client("kms", REGION)
    keys = [kms.describe_key(KeyId=key["KeyId"])["KeyMetadata"] for key in kms.list_keys()["Keys"]]
    found = {
        "queues": cloud.client("sqs", REGION).list_queues().get("QueueUrls", []),
        "rules": [rule["Name"] for rule in cloud.client("events", REGION).list_rules()["Rules"]],
        "profiles": [entry["InstanceProfileName"] for entry in cloud.client("iam", REGION).list_instance_profiles()["InstanceProfiles"]],
        "keys": [key["KeyId"] for key in keys if key["KeyManager"] == "CUSTOMER" and key["KeyState"] == "Enabled"],
    }
    return {kind: names for kind, names in found.items() if names}


def exists(cluster: ClusterDouble, kind: Kind, namespace: str, name: str) -> bool:
    try:
        cluster.api.get(kind, namespace, name)
    except ApiError as error:
        if error.not_found:
            return False
        raise
    return True


def check_access(cloud: Cloud, cluster_double: ClusterDouble) -> None:
    """What Kubernetes is told, and whether it is there in AWS."""
    iam = cloud.client("iam", REGION)
    account = cloud.client("sts", REGION).get_caller_identity()["Account"]
    spec: dict[str, Any] = cluster_double.api.get(NODE_CLASS, "", "gpu")["spec"]
    profile = iam.get_instance_profile(InstanceProfileName=spec["instanceProfile"])["InstanceProfile"]
    (role,) = profile["Roles"]
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert {policy["PolicyName"] for policy in attached} >= {"AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"}
    (disk,) = spec["blockDeviceMappings"]
    assert disk["ebs"]["kmsKeyID"].startswith(f"arn:aws:kms:{REGION}:{account}:key/")
    entry = cloud.client("eks", REGION).describe_access_entry(clusterName="triton-fleet", principalArn=role["Arn"])["accessEntry"]
    assert entry["type"] == "EC2_LINUX"
    assert cluster_double.api.get(NODE_POOL, "", "big")["spec"]["limits"] == {"nvidia.com/gpu": 8}

    sqs = cloud.client("sqs", REGION)
    url = sqs.get_queue_url(QueueName="triton-fleet")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    rules = {rule["Arn"] for rule in cloud.client("events", REGION).list_rules()["Rules"]}
    assert len(rules) == 5
    (allowed,) = [statement for statement in json.loads(attributes["Policy"])["Statement"] if statement["Effect"] == "Allow"]
    assert set(allowed["Condition"]["ArnEquals"]["aws:SourceArn"]) == rules


def test_karpenter_and_keys(
    aws: tuple[Cloud, dict[str, str]],  # the fixture
    cluster_double: ClusterDouble,
    doubles_folder: Path,
    tmp_path: Path,
) -> None:
    cloud, environment = aws
    fleet = eks_fleet("eks", tmp_path / "stack", environment, doubles_folder)
    fleet.journal.clear()
    fleet.of("cluster")["diskKey"] = "create"
    fleet.of("cluster")["logsKey"] = "create"
    pools = [{"name": name, "instanceFamilies": families, "maxGpus": 8} for name, families in (("gpu", ["g5", "g6"]), ("big", ["p4d"]))]
    fleet.settings["triton-fleet:autoscaler"] = {"kind": "karpenter", "pools": pools}
    fleet.write()

    # A new account has no role of scaling groups, which the disk key's policy has to name.
    iam = cloud.client("iam", REGION)
    if not [role for role in iam.list_roles()["Roles"] if role["RoleName"] == "AWSServiceRoleForAutoScaling"]:
        with pytest.raises(CommandFailedError, match="aws iam create-service-linked-role --aws-service-name autoscaling"):
            fleet.preview()
        iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")

    fleet.up()
    assert fleet.preview() == {}

    check_access(cloud, cluster_double)

    # The last node of a class goes slowly: until it is gone, Karpenter stays.
    cluster_double.api.patch(NODE_CLASS, "", "gpu", [{"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}])
    fleet.journal.clear()
    outcome: list[int] = []
    destroy = threading.Thread(target=lambda: outcome.append(fleet.destroy(check=False).returncode))
    destroy.start()
    try:
        eventually(lambda: "deletionTimestamp" in cluster_double.api.get(NODE_CLASS, "", "gpu")["metadata"], timeout_s=180)
        assert not exists(cluster_double, NODE_POOL, "", "gpu"), "pools go before their class"
        assert not exists(cluster_double, DEPLOYMENT, "triton", "triton"), "Triton goes before its nodes"
        assert exists(cluster_double, DEPLOYMENT, "kube-system", "karpenter"), "Karpenter outlives the nodes that it takes away"
    finally:
        cluster_double.api.patch(NODE_CLASS, "", "gpu", [{"op": "remove", "path": "/metadata/finalizers"}])
        destroy.join()
    assert outcome == [0]
    gone(fleet, cloud, cluster_double, REGION)
    assert karpenter_left(cloud) == {}
    for kind in ("aws:sqs/queue:Queue", "aws:eks/accessEntry:AccessEntry", "aws:iam/instanceProfile:InstanceProfile"):
        assert spans(fleet, kind, "delete")
