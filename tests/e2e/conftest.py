"""One instance for all files here but test_platform.py: a platform and a whole `up` are dear, and each test leaves it in order."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from tests.e2e.instances import Instance, copy_project, git_status, own_instance

if TYPE_CHECKING:
    from collections.abc import Generator

    from mypy_boto3_s3.client import S3Client


@pytest.fixture(scope="session")
def status_before() -> str:
    """What git says of the checkout before any command has run in it."""
    return git_status()


@pytest.fixture(scope="session")
def instance(status_before: str) -> Generator[Instance]:
    with own_instance() as made:
        yield made


@pytest.fixture(scope="session")
def first_up(instance: Instance) -> str:
    """What the first `up` on the instance said, from nothing to checked inferences."""
    return instance.up()


@pytest.fixture(scope="session")
def s3(instance: Instance, first_up: str) -> Generator[S3Client]:
    """The platform's object store, at the address and with the keys that `make env` exports."""
    exports = json.loads(instance.shell(f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"))
    client = boto3.client(
        "s3",
        endpoint_url=exports["AWS_ENDPOINT_URL_S3"],
        region_name="us-east-1",
        aws_access_key_id=exports["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=exports["AWS_SECRET_ACCESS_KEY"],
    )
    yield client
    client.close()


@pytest.fixture
def served(instance: Instance, first_up: str) -> Instance:
    """The instance, serving what this checkout's stack file says."""
    instance.ensure_served()
    return instance


@pytest.fixture
def empty(instance: Instance, first_up: str) -> Instance:
    """The instance, its platform up and no stack on it."""
    instance.ensure_empty()
    return instance


def _prefetch(content: dict[str, Any]) -> None:
    content["config"]["triton-fleet:serving"][0]["prefetch"] = True


@pytest.fixture(scope="session")
def edited(instance: Instance, first_up: str) -> Generator[Instance]:
    """The instance, driven from a checkout of the user's own, whose stack file has one line more: ``prefetch: true``."""
    folder = Path(tempfile.mkdtemp(prefix="tft-"))
    copy_project(folder / "project", _prefetch)
    yield instance.at(folder / "project")
    shutil.rmtree(folder)
