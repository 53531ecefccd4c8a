"""What the tests of the transfer share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.repository import s3client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3.client import S3Client


@pytest.fixture(scope="session")
def connected() -> Iterator[Callable[[s3client.Location], S3Client]]:
    """`connect`, once for each place: botocore reads two megabytes of JSON for every client, which says nothing about the transfer.

    Credentials are those of the environment at the first call: for tests that all have the same.
    """
    made: dict[s3client.Location, S3Client] = {}

    def connect(location: s3client.Location) -> S3Client:
        if location not in made:
            made[location] = s3client.connect(location)
        return made[location]

    yield connect
    for client in made.values():
        client.close()
