"""What the tests of the transfer share."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3.client import S3Client


@pytest.fixture(scope="session")
def connected() -> Callable[[str], S3Client]:
    """Client of the S3 server at an endpoint, made once: botocore reads two megabytes of JSON for each."""

    @functools.cache
    def connect(endpoint: str) -> S3Client:
        session = boto3.session.Session(aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1")
        return session.client("s3", endpoint_url=endpoint)

    return connect
