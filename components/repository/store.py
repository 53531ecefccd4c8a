"""The S3 protocol: the objects of one bucket."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Final

from components.base.errors import FleetError
from components.repository.objectstore import Source, Stat, Transfer
from components.repository.quickput import QuickPut
from components.repository.s3bucket import S3Bucket
from components.repository.s3client import KEY, NOT_THERE, Location, code, connect, explained, found, no_such_bucket, status
from components.repository.s3send import Sender

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mypy_boto3_s3.client import S3Client

_SMALL: Final = 1 << 20
"""Bytes of a file that is read as a whole before it is sent."""

WHOLE_BYTES: Final = 64 << 20
"""Files up to this go in one request, larger ones in parts. A request is less work than parts for both sides (versitygw and others write
parts twice; S3 charges for each), parts go on where a kill or a failure has stopped them: this is the most that a file begins again with.
Amazon advises parts from 100 MB on (Amazon S3 user guide, "Uploading and copying objects using multipart upload")."""

_COPY_BYTES: Final = 5 << 30
"""Largest object that one CopyObject takes (Amazon S3 user guide, "Copying objects")."""

_DELETE_KEYS: Final = 1000
"""Most keys of one DeleteObjects request."""


class S3Store(S3Bucket):
    """See `objectstore.ObjectStore` and `objectstore.ManagedBucket`."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._opening = threading.Lock()
        self._sender = Sender(self, lambda: self._quick)

    @property
    def bucket(self) -> str:
        """See ObjectStore."""
        return self.location.bucket

    @cached_property
    def _made(self) -> S3Client:
        return connect(self.location)

    @property
    def client(self) -> S3Client:
        """Client of this store, made when it is first asked for."""
        with self._opening:
            return self._made

    @cached_property
    def _quick(self) -> QuickPut:
        return QuickPut(self.client, self.bucket)

    def describe(self) -> str:
        """See ObjectStore."""
        return self.location.describe()

    def url(self, key: str) -> str:
        """See ObjectStore."""
        return f"s3://{self.bucket}/{key}"

    def no_such_bucket(self) -> str:
        """See ObjectStore."""
        return no_such_bucket(self.location)

    def list(self, prefix: str) -> Iterator[Stat]:
        """See ObjectStore."""
        pages = iter(self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix))
        while True:
            with explained(self.location):
                page = next(pages, None)
            if page is None:
                return
            for entry in page.get("Contents", []):
                yield Stat(key=entry["Key"], size=entry["Size"], etag=entry["ETag"].strip('"'), modified=entry["LastModified"].timestamp())

    def head(self, key: str) -> Stat | None:
        """See ObjectStore."""
        with explained(self.location):
            there = found(lambda: self.client.head_object(Bucket=self.bucket, Key=key))
        if there is None:
            return None
        return Stat(key=key, size=there["ContentLength"], etag=there["ETag"].strip('"'), modified=there["LastModified"].timestamp())

    def get_bytes(self, key: str) -> bytes | None:
        """See ObjectStore."""
        with explained(self.location):
            there = found(lambda: self._body(key))
        return None if there is None else bytes(there)

    def _body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See ObjectStore."""
        with explained(self.location):
            return self._sender.put(key, body)

    def put_file(self, key: str, source: Source, transfer: Transfer) -> Stat:
        """See ObjectStore."""
        transfer.check()
        with explained(self.location):
            if source.size <= _SMALL:
                stat = self._sender.put_small(key, source)
                transfer.sent(source.size)
                return stat
            streamed = self._sender.put_stream(key, source, transfer) if source.size <= WHOLE_BYTES else None
            return streamed or self._sender.put_parts(key, source, transfer)

    def holds(self, there: Stat, source: Source | None) -> bool:
        """See ObjectStore."""
        if source is None or there.size != source.size:
            return source is None and there.size == 0
        with explained(self.location):
            return self._sender.holds(there, source)

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See ObjectStore."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        if origin.size > _COPY_BYTES:
            return None  # sent again, in parts: rare enough
        with explained(self.location):
            if origin.size <= WHOLE_BYTES and self._quick.copy(origin.key, origin.etag, key) == origin.etag:
                return Stat(key=key, size=origin.size, etag=origin.etag, modified=0.0)
            try:
                answer = self.client.copy_object(
                    Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": origin.key}, CopySourceIfMatch=f'"{origin.etag}"'
                )
            except ClientError as error:
                if code(error) != "NoSuchBucket" and (status(error) in {404, 412} or code(error) in NOT_THERE):
                    return None
                raise
        made = answer["CopyObjectResult"]
        etag = made["ETag"].strip('"')
        # Not every store of one's own heeds the condition; where ETags are digests of the content, they tell.
        if etag != origin.etag and "-" not in origin.etag and not answer.get("ServerSideEncryption", "").startswith("aws:kms"):
            return None
        return Stat(key=key, size=origin.size, etag=etag, modified=made["LastModified"].timestamp())

    def delete_many(self, keys: Iterable[str]) -> None:
        """See ObjectStore."""
        rest = list(keys)
        with explained(self.location):
            while rest:
                batch, rest = rest[:_DELETE_KEYS], rest[_DELETE_KEYS:]
                answer = self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": [{"Key": key} for key in batch], "Quiet": True})
                for error in answer.get("Errors", []):
                    raise FleetError(
                        f"{KEY}.bucket ({self.bucket}): {error.get('Key')} could not be deleted ({error.get('Code')}): it stays. "
                        "Allow s3:DeleteObject below the prefix, then run again."
                    )

    def abandon(self, prefix: str) -> None:
        """See ObjectStore."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with explained(self.location):
            try:
                for begun in self._sender.unfinished(prefix):
                    self.client.abort_multipart_upload(Bucket=self.bucket, Key=begun["Key"], UploadId=begun["UploadId"])
            except ClientError as error:
                if code(error) not in NOT_THERE and status(error) not in {403, 404}:
                    raise
