"""No name of AWS assumes the commercial partition."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import botocore
import pytest

from components.base.aws import domain, endpoint_service, partition
from components.eks.iam import Account
from components.eks.settings.cluster import EksClusterSettings
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


PARTITIONS = json.loads((Path(botocore.__file__).parent / "data/partitions.json").read_text())["partitions"]
REGIONS = [
    pytest.param(region, each["id"], each["outputs"]["dnsSuffix"], id=region)
    for each in PARTITIONS
    for region in each["regions"]
    if not region.endswith("-global")
]


@pytest.mark.parametrize(("region", "name", "host"), REGIONS)
def test_each_region_has_the_names_of_its_partition(region: str, name: str, host: str) -> None:
    assert (partition(region), domain(region)) == (name, host)
    account = Account(partition=partition(region), region=region, id="111122223333")
    assert account.service("kms") == f"kms.{region}.{host}"
    assert tls_only("b", region)["Statement"][0]["Resource"] == [f"arn:{name}:s3:::b", f"arn:{name}:s3:::b/*"]
    assert endpoint_service(region, "s3") == f"com.amazonaws.{region}.s3", "a gateway endpoint"
    cluster = EksClusterSettings.model_validate(
        {
            "provider": "eks",
            "region": region,
            "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
            "admins": [account.arn("iam", "role/admins")],
            "secretsKey": account.arn("kms", "key/1234abcd"),
            "network": {"kind": "create", "zones": [f"{region}a", f"{region}b"]},
        }
    )
    assert list(cluster.problems()) == []


@pytest.mark.parametrize(
    ("region", "ecr", "sqs", "ec2", "logs"),
    [
        ("eu-west-1", "com.amazonaws", "com.amazonaws", "amazonaws.com", "amazonaws.com"),
        ("us-gov-west-1", "com.amazonaws", "com.amazonaws", "amazonaws.com", "amazonaws.com"),
        ("cn-north-1", "cn.com.amazonaws", "cn.com.amazonaws", "amazonaws.com.cn", "amazonaws.com.cn"),
        ("eusc-de-east-1", "eu.amazonaws", "com.amazonaws", "amazonaws.com", "amazonaws.com"),
        ("us-iso-east-1", "gov.ic.c2s", "gov.ic.c2s", "amazonaws.com", "c2s.ic.gov"),
        ("us-isob-east-1", "gov.sgov.sc2s", "gov.sgov.sc2s", "amazonaws.com", "sc2s.sgov.gov"),
        ("us-isob-west-1", "gov.sgov.sc2s", "com.amazonaws", "amazonaws.com", "sc2s.sgov.gov"),
        ("us-isof-south-1", "gov.ic.hci.csp", "com.amazonaws", "amazonaws.com", "amazonaws.com"),
        ("eu-isoe-west-1", "uk.adc-e.cloud", "com.amazonaws", "amazonaws.com", "amazonaws.com"),
    ],
)
def test_endpoints_and_principals_are_in_a_domain_of_their_own(region: str, ecr: str, sqs: str, ec2: str, logs: str) -> None:
    assert endpoint_service(region, "ecr.dkr") == f"{ecr}.{region}.ecr.dkr"
    assert endpoint_service(region, "sqs") == f"{sqs}.{region}.sqs"
    assert endpoint_service(region, "kms") == f"com.amazonaws.{region}.kms"
    account = Account(partition=partition(region), region=region, id="1")
    assert (account.ec2, account.logs) == (f"ec2.{ec2}", f"logs.{region}.{logs}")
