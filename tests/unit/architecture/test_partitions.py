"""No name of AWS assumes the commercial partition."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from components.base.aws import domain, endpoint_service, partition
from components.eks.iam import Account
from components.repository.store.s3_bucket import tls_only

ROOT = Path(__file__).resolve().parents[3]
COMPONENTS = sorted((ROOT / "components").rglob("*.py"))
EVERYWHERE = {
    "sts.amazonaws.com",  # audience of service account tokens
    "autoscaling.amazonaws.com",
    "events.amazonaws.com",
    "pods.eks.amazonaws.com",
    "ec2.amazonaws.com",
    "ec2.amazonaws.com.cn",  # both: iam:PassedToService of a policy for any partition
    "eks.amazonaws.com",
    "k8s.amazonaws.com",
}
"""Service principals and labels that are the same in every partition."""


@pytest.mark.parametrize("path", COMPONENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_string_names_a_partition_or_a_domain(path: Path) -> None:
    tree = ast.parse(path.read_text())
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)}  # docstrings
    texts = [
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose
    ]
    wrong = [text for text in texts if re.search(r"arn:aws:|console\.aws|aws\.amazon\.com", text) and "Write one like arn:aws:" not in text]
    if path.name != "aws.py":
        hosts = (host.rstrip(".") for text in texts for host in re.findall(r"[a-z0-9.-]*amazonaws[a-z.]*", text))
        wrong += [host for host in hosts if host not in {*EVERYWHERE, ".amazonaws.com"}]
    assert wrong == []


@pytest.mark.parametrize(
    ("region", "name", "host", "ecr", "kms"),
    [
        ("eu-west-1", "aws", "amazonaws.com", "com.amazonaws.eu-west-1.ecr.dkr", "com.amazonaws.eu-west-1.kms"),
        ("us-gov-west-1", "aws-us-gov", "amazonaws.com", "com.amazonaws.us-gov-west-1.ecr.dkr", "com.amazonaws.us-gov-west-1.kms"),
        ("cn-north-1", "aws-cn", "amazonaws.com.cn", "cn.com.amazonaws.cn-north-1.ecr.dkr", "com.amazonaws.cn-north-1.kms"),
        ("cn-northwest-1", "aws-cn", "amazonaws.com.cn", "cn.com.amazonaws.cn-northwest-1.ecr.dkr", "com.amazonaws.cn-northwest-1.kms"),
    ],
)
def test_each_partition_has_its_names(region: str, name: str, host: str, ecr: str, kms: str) -> None:
    assert (partition(region), domain(region)) == (name, host)
    assert (endpoint_service(region, "ecr.dkr"), endpoint_service(region, "kms")) == (ecr, kms)
    assert endpoint_service(region, "s3") == f"com.amazonaws.{region}.s3"
    account = Account(partition=partition(region), region=region, id="1")
    assert account.service("kms") == f"kms.{region}.{host}"
    assert account.ec2 == f"ec2.{host}"
    assert tls_only("b", region)["Statement"][0]["Resource"] == [f"arn:{name}:s3:::b", f"arn:{name}:s3:::b/*"]
