"""Policies: which statements are refused, and that every policy is as narrow as its actions allow."""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest

from components.base.aws import partition
from components.eks import iam, policies
from components.eks.iam import NO_RESOURCE, Account, Statement, document, service_account_trust

ACCOUNT = Account(partition="aws", region="eu-west-1", id="111122223333")
LONGEST = "c" * 80
"""Longest name of a cluster with Karpenter: policies repeat the name many times."""
KEY = "arn:aws:kms:eu-west-1:111122223333:key/1"
POLICIES = {
    "models": policies.model_reader(ACCOUNT, bucket="models", prefix="releases", key=KEY, region="eu-west-1"),
    "models without key": policies.model_reader(ACCOUNT, bucket="models", prefix="releases", key=None, region="eu-west-1"),
    "autoscaler": policies.cluster_autoscaler(ACCOUNT, "c"),
    "load balancer": policies.load_balancer_controller(ACCOUNT, "c"),
    "volume driver": policies.volume_driver(KEY),
    "karpenter": policies.karpenter_controller(
        ACCOUNT,
        LONGEST,
        node_role="arn:aws:iam::111122223333:role/node",
        queue=f"arn:aws:sqs:eu-west-1:111122223333:{LONGEST}",
        disk_key=KEY,
    ),
    "karpenter's nodes": policies.karpenter_nodes(ACCOUNT, LONGEST),
}
RESOURCE_POLICIES = {
    **{f"key for {purpose}": policies.key_policy(purpose, ACCOUNT, "/aws/eks/c/cluster") for purpose in ("secrets", "disks", "logs")},
    "bucket": policies.bucket_policy("arn:aws:s3:::b"),
    "queue": policies.queue_policy("arn:aws:sqs:eu-west-1:111122223333:c", ["arn:aws:events:eu-west-1:111122223333:rule/r"]),
}
"""Policies of a resource, which say who may use it."""


def parsed(name: str) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = json.loads(document(POLICIES[name]))["Statement"]
    return statements


def many(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@pytest.mark.parametrize("name", POLICIES)
def test_no_statement_is_wider_than_its_actions(name: str) -> None:
    for statement in parsed(name):
        assert statement["Effect"] == "Allow"
        for action in many(statement["Action"]):
            assert action.split(":")[1].rstrip("*"), statement
            if "*" in many(statement["Resource"]):
                assert ":Describe" in action or action in NO_RESOURCE, (action, statement)
        for resource in many(statement["Resource"]):
            if resource != "*":
                assert resource.startswith("arn:aws:"), statement
                assert not resource.endswith(":*"), statement


def test_every_policy_of_the_product_is_looked_at() -> None:
    """No function with statements is missing from the tables above."""
    makers = {name for name, made in vars(policies).items() if inspect.isfunction(made) and made.__module__ == policies.__name__}
    statements = "model_reader cluster_autoscaler load_balancer_controller volume_driver karpenter_controller karpenter_nodes _deny_http"
    assert makers == {*statements.split(), "key_policy", "queue_policy", "bucket_policy"}


@pytest.mark.parametrize("name", POLICIES)
def test_statements_have_names_of_their_own(name: str) -> None:
    names = [statement["Sid"] for statement in parsed(name)]
    assert len(set(names)) == len(names)
    assert all(found.isalnum() for found in names), "IAM takes letters and digits"


@pytest.mark.parametrize("name", POLICIES)
def test_policies_are_short_enough(name: str) -> None:
    assert len(document(POLICIES[name]).replace(" ", "")) < 6144, "a managed policy's limit"


@pytest.mark.parametrize("name", RESOURCE_POLICIES)
def test_a_thing_s_policy_names_who_and_what(name: str) -> None:
    for statement in json.loads(RESOURCE_POLICIES[name])["Statement"]:
        actions = many(statement["Action"])
        who = [one for kind in statement["Principal"].values() for one in many(kind)]
        if statement["Effect"] == "Deny":
            assert who == ["*"]
            continue
        assert "*" not in who
        assert all(action.split(":")[1] not in {"", "*"} for action in actions), statement
        if "*" in many(statement["Resource"]):  # in a key's policy it means that key
            assert all(action.startswith("kms:") for action in actions)


def test_a_key_is_lent_to_aws_services_alone() -> None:
    """A grant outlives the policy that allowed it. Only the account's administrators may create others."""
    for statement in json.loads(RESOURCE_POLICIES["key for disks"])["Statement"]:
        if "kms:CreateGrant" in many(statement["Action"]) and not many(statement["Principal"]["AWS"])[0].endswith(":root"):
            assert statement["Condition"] == {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    for name in ("karpenter", "volume driver"):
        (lend,) = [statement for statement in parsed(name) if "kms:CreateGrant" in many(statement["Action"])]
        assert lend["Condition"]["Bool"] == {"kms:GrantIsForAWSResource": "true"}


def test_karpenter_starts_and_ends_what_carries_its_tags_alone() -> None:
    by_name = {statement["Sid"]: statement for statement in parsed("karpenter's nodes")}
    owned = f"kubernetes.io/cluster/{LONGEST}"
    for name in ("LaunchFromTemplates", "TerminateNodes", "TagNodes"):
        assert by_name[name]["Condition"]["StringEquals"] == {f"aws:ResourceTag/{owned}": "owned"}
        assert by_name[name]["Condition"]["StringLike"] == {"aws:ResourceTag/karpenter.sh/nodepool": "*"}
    for name in ("LaunchNodes", "TagNewNodes"):
        assert by_name[name]["Condition"]["StringEquals"][f"aws:RequestTag/{owned}"] == "owned"
        assert by_name[name]["Condition"]["StringLike"] == {"aws:RequestTag/karpenter.sh/nodepool": "*"}
    assert not {"arn:aws:ec2:eu-west-1:*:instance/*"} & {one for found in by_name.values() for one in many(found["Resource"])}


def test_karpenter_changes_nothing_in_iam() -> None:
    """The stack creates its instance profile: it only reads, and passes one role to EC2."""
    actions = {action for name in ("karpenter", "karpenter's nodes") for found in parsed(name) for action in many(found["Action"])}
    assert {action for action in actions if action.startswith("iam:")} == {
        "iam:PassRole",
        "iam:ListInstanceProfiles",
        "iam:GetInstanceProfile",
    }
    by_name = {statement["Sid"]: statement for statement in parsed("karpenter")}
    assert by_name["PassNodeRole"]["Resource"] == "arn:aws:iam::111122223333:role/node"
    assert set(by_name["PassNodeRole"]["Condition"]) == {"StringEquals"}


def test_services_are_named_as_their_partition_has_them() -> None:
    assert ACCOUNT.service("ec2") == "ec2.eu-west-1.amazonaws.com"
    assert Account(partition="aws-cn", region="cn-north-1", id="1").service("s3") == "s3.cn-north-1.amazonaws.com.cn"


def test_triton_reads_its_prefix_and_nothing_else() -> None:
    by_name = {statement["Sid"]: statement for statement in parsed("models")}
    assert {action for statement in by_name.values() for action in many(statement["Action"])} == {
        "s3:ListBucket",
        "s3:GetObject",
        "kms:Decrypt",
    }
    assert by_name["ReadModels"]["Resource"] == "arn:aws:s3:::models/releases/*"
    assert by_name["ListModels"]["Condition"] == {"StringLike": {"s3:prefix": ["releases", "releases/*"]}}
    assert by_name["DecryptModels"]["Resource"] == KEY
    assert by_name["DecryptModels"]["Condition"] == {"StringEquals": {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}}


def test_triton_may_look_at_its_bucket_without_a_prefix() -> None:
    """IAM evaluates HeadBucket as ListBucket without s3:prefix: with the prefix alone, Triton would not start."""
    assert [statement["Condition"] for statement in parsed("models") if "Null" in statement.get("Condition", {})] == [
        {"Null": {"s3:prefix": "true"}}
    ]


def test_without_a_key_of_ones_own_nothing_is_decrypted() -> None:
    assert not [statement for statement in parsed("models without key") if "kms:Decrypt" in many(statement["Action"])]


def test_the_autoscaler_changes_this_cluster_s_groups_alone() -> None:
    (scale,) = [statement for statement in parsed("autoscaler") if "autoscaling:SetDesiredCapacity" in many(statement["Action"])]
    assert scale["Condition"]["StringEquals"] == {
        "aws:ResourceTag/k8s.io/cluster-autoscaler/enabled": "true",
        "aws:ResourceTag/k8s.io/cluster-autoscaler/c": "owned",
    }


def test_the_load_balancer_controller_deletes_what_carries_the_cluster_s_tag_alone() -> None:
    for statement in parsed("load balancer"):
        deletes = [action for action in many(statement["Action"]) if ":Delete" in action and "Listener" not in action]
        if deletes:
            assert statement["Condition"] == {"StringEquals": {"aws:ResourceTag/elbv2.k8s.aws/cluster": "c"}}, deletes


@pytest.mark.parametrize(
    "values",
    [
        {"actions": ("s3:GetObject",), "resources": ("*",)},
        {"actions": ("ec2:DescribeInstances", "ec2:TerminateInstances"), "resources": ("*",)},
        {"actions": ("*",), "resources": ("arn:aws:s3:::b",)},
        {"actions": ("GetObject",), "resources": ("arn:aws:s3:::b",)},
        {"actions": (), "resources": ("arn:aws:s3:::b",)},
        {"actions": ("s3:GetObject",)},
        {"actions": ("kms:Decrypt",), "resources": ("*",)},
        {"actions": ("sqs:SendMessage",), "resources": ("*",), "principals": {"Service": ("events.amazonaws.com",)}},
    ],
)
def test_too_wide_statements_can_t_be_made(values: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"names no|support resource-level permissions"):
        Statement(**values)


def test_what_may_be_wide() -> None:
    Statement(actions=("ecr:GetAuthorizationToken",), resources=("*",))
    Statement(actions=("s3:*",), resources=("*",), effect="Deny", principals={"AWS": ("*",)})
    Statement(actions=("kms:Encrypt",), resources=("*",), principals={"AWS": ("arn:aws:iam::1:role/r",)})


def test_a_trust_names_one_service_account() -> None:
    text = service_account_trust(oidc_arn="arn:oidc", issuer="oidc.eks/id/A", namespace="triton", service_account="triton")
    (statement,) = json.loads(text)["Statement"]
    assert statement == {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Principal": {"Federated": "arn:oidc"},
        "Condition": {
            "StringEquals": {"oidc.eks/id/A:sub": "system:serviceaccount:triton:triton", "oidc.eks/id/A:aud": "sts.amazonaws.com"}
        },
    }


@pytest.mark.parametrize(
    ("namespace", "account", "issuer"), [("*", "a", "i"), ("n", "a*", "i"), ("n", "?", "i"), ("", "a", "i"), ("n", "a", "https://i")]
)
def test_a_trust_in_many_can_t_be_made(namespace: str, account: str, issuer: str) -> None:
    with pytest.raises(ValueError, match=r"does not name one service account|has a scheme"):
        service_account_trust(oidc_arn="a", issuer=issuer, namespace=namespace, service_account=account)


def test_other_trusts() -> None:
    (node,) = json.loads(iam.service_trust("ec2.amazonaws.com"))["Statement"]
    assert node == {"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "ec2.amazonaws.com"}}
    (pod,) = json.loads(iam.pod_identity_trust())["Statement"]
    assert pod["Action"] == ["sts:AssumeRole", "sts:TagSession"]
    assert pod["Principal"] == {"Service": "pods.eks.amazonaws.com"}


@pytest.mark.parametrize(("region", "expected"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_partition(region: str, expected: str) -> None:
    assert partition(region) == expected
