"""The bucket of an EKS stack under the real engine: made by the cloud's provider, taken over from the dynamic one, changed, deleted."""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from components.repository.resource import ModelRepository, ModelRepositoryArgs
from components.repository.scan.folder import scan
from components.repository.settings import RepositorySettings
from tests.conftest import ROOT
from tests.doubles.aws import DOUBLE, PLUGIN
from tests.doubles.aws.cloud import REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.aws.cloud import Cloud
    from tests.engine.conftest import Stack

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # as in test_aws.py
    import pulumi_aws as aws

    hasattr(importlib.import_module("pulumi_aws.s3"), "load")
    from components.eks.model_bucket import ModelBucket, ModelBucketArgs

pytestmark = pytest.mark.engine

DOUBLE_PLUGINS = [(PLUGIN, DOUBLE, None)]
BUCKET = "fleet-models"


@pytest.fixture
def more_environment(cloud: Cloud) -> dict[str, str]:
    # A real stack's program has components/ in its folder, and Pulumi.yaml names the virtual environment.
    return {**cloud.environment(), "PYTHONPATH": str(ROOT), "PULUMI_RUNTIME_VIRTUALENV": sys.prefix}


class Program:
    """The bucket as a stack file says it, and a release in it."""

    by = "cloud"
    """``dynamic``: an earlier version's stack. ``adopt``: the run with adoptBucket."""
    versioning = False

    def __call__(self) -> None:
        provider = aws.Provider("aws", region=REGION)
        adopt = self.by == "adopt"
        settings = RepositorySettings(
            bucket=BUCKET,
            region=REGION,
            source=str(ROOT / "models"),
            models=("add_sub",),
            create_bucket=True,
            adopt_bucket=adopt,
            versioning=self.versioning,
            cluster_endpoint="http://store.example:80",
        )
        bucket = None
        if self.by != "dynamic":
            arguments = ModelBucketArgs(
                bucket=BUCKET,
                region=REGION,
                versioning=self.versioning,
                kms_key=None,
                adopt=adopt,
                tags={"project": "triton"},
                provider=provider,
            )
            bucket = ModelBucket("repository", arguments)
        ModelRepository("repository", ModelRepositoryArgs(settings=settings, plan=scan(ROOT / "models", ["add_sub"]), bucket=bucket))


def objects(cloud: Cloud) -> dict[str, str]:
    """Every object, and what tells a rewritten one."""
    listed = cloud.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {item["Key"]: item["LastModified"].isoformat() for item in listed}


def settings_of(cloud: Cloud) -> dict[str, Any]:
    s3 = cloud.client("s3")
    (rule,) = s3.get_bucket_encryption(Bucket=BUCKET)["ServerSideEncryptionConfiguration"]["Rules"]
    return {
        "public": s3.get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"],
        "encryption": rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"],
        "policy": json.loads(s3.get_bucket_policy(Bucket=BUCKET)["Policy"])["Statement"][0]["Effect"],
        "lifecycle": [rule["ID"] for rule in s3.get_bucket_lifecycle_configuration(Bucket=BUCKET)["Rules"]],
        "versioning": s3.get_bucket_versioning(Bucket=BUCKET).get("Status"),
    }


SETTINGS: dict[str, Any] = {
    "public": dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True),
    "encryption": "AES256",
    "policy": "Deny",
    "lifecycle": ["triton-fleet-unfinished"],
    "versioning": None,
}


def test_the_bucket_of_the_clouds_provider(doubles: Callable[[Callable[[], None]], Stack], cloud: Cloud) -> None:
    program = Program()
    stack = doubles(program)
    stack.up()
    assert objects(cloud)
    assert settings_of(cloud) == SETTINGS
    assert stack.preview() == {}
    program.versioning = True
    stack.up()
    assert settings_of(cloud) == {
        **SETTINGS,
        "lifecycle": ["triton-fleet-unfinished", "triton-fleet-old-versions"],
        "versioning": "Enabled",
    }
    assert stack.preview() == {}
    # By hand: a refresh finds it, and the next update takes it back.
    cloud.client("s3").delete_public_access_block(Bucket=BUCKET)
    stack.refresh()
    stack.up()
    assert settings_of(cloud)["public"] == SETTINGS["public"]
    stack.destroy()
    assert cloud.client("s3").list_buckets()["Buckets"] == []


def test_a_bucket_of_an_earlier_version_is_taken_over(doubles: Callable[[Callable[[], None]], Stack], cloud: Cloud) -> None:
    """As docs/upgrading.md says: one run with adoptBucket, and one without."""
    program = Program()
    program.by = "dynamic"
    stack = doubles(program)
    stack.up()
    before = objects(cloud)
    assert before
    program.by = "cloud"
    assert "Set adoptBucket: true for one run, which imports it" in stack.fails(stack.preview)
    program.by = "adopt"
    stack.up()
    assert "import" in stack.said
    assert "aws:s3/bucket:Bucket" in stack.state.read_text()
    assert objects(cloud) == before
    program.by = "cloud"
    stack.up()
    assert "dynamic/repository:Bucket" not in stack.state.read_text()
    assert objects(cloud) == before, "the bucket stays when the dynamic resource goes"
    tags = cloud.client("s3").get_bucket_tagging(Bucket=BUCKET)["TagSet"]
    assert tags == [{"Key": "project", "Value": "triton"}]
    assert settings_of(cloud) == SETTINGS
    assert stack.preview() == {}
    stack.destroy()
    assert cloud.client("s3").list_buckets()["Buckets"] == []
