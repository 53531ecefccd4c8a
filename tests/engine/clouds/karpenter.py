"""Karpenter on an EKS stack: what it needs in AWS and in Kubernetes.

Karpenter does not run: the double of its chart has a Deployment and the CRDs.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from local.plugins.kubernetes.errors import ApiError
from local.plugins.kubernetes.naming import Kind

if TYPE_CHECKING:
    from tests.doubles.aws.cloud import Cloud
    from tests.doubles.cluster import ClusterDouble

NODE_POOL: Final = Kind("karpenter.sh", "v1", "NodePool")
NODE_CLASS: Final = Kind("karpenter.k8s.aws", "v1", "EC2NodeClass")
REGION: Final = "us-east-1"
FINALIZER: Final = "karpenter.k8s.aws/termination"


def karpenter_left(cloud: Cloud) -> dict[str, list[str]]:
    """Return Karpenter's resources and the keys that still exist. A deleted key is pending for a week."""
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


def check_access(cloud: Cloud, cluster: ClusterDouble) -> None:
    """Check that what Kubernetes objects name exists in AWS."""
    iam = cloud.client("iam", REGION)
    account = cloud.client("sts", REGION).get_caller_identity()["Account"]
    spec: dict[str, Any] = cluster.api.get(NODE_CLASS, "", "gpu")["spec"]
    profile = iam.get_instance_profile(InstanceProfileName=spec["instanceProfile"])["InstanceProfile"]
    (role,) = profile["Roles"]
    attached = iam.list_attached_role_policies(RoleName=role["RoleName"])["AttachedPolicies"]
    assert {policy["PolicyName"] for policy in attached} >= {"AmazonEKSWorkerNodePolicy", "AmazonEKS_CNI_Policy"}
    (disk,) = spec["blockDeviceMappings"]
    assert disk["ebs"]["kmsKeyID"].startswith(f"arn:aws:kms:{REGION}:{account}:key/")
    entry = cloud.client("eks", REGION).describe_access_entry(clusterName="triton-fleet", principalArn=role["Arn"])["accessEntry"]
    assert entry["type"] == "EC2_LINUX"
    assert cluster.api.get(NODE_POOL, "", "big")["spec"]["limits"] == {"nvidia.com/gpu": 8}

    sqs = cloud.client("sqs", REGION)
    url = sqs.get_queue_url(QueueName="triton-fleet")["QueueUrl"]
    attributes = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    rules = {rule["Arn"] for rule in cloud.client("events", REGION).list_rules()["Rules"]}
    assert len(rules) == 5
    (allowed,) = [statement for statement in json.loads(attributes["Policy"])["Statement"] if statement["Effect"] == "Allow"]
    assert set(allowed["Condition"]["ArnEquals"]["aws:SourceArn"]) == rules
