"""The objects of one S3 bucket. obstore transfers them; boto3 copies them within the store and finds credentials.

obstore is called from threads, because its asynchronous API aborts the process at interpreter exit if file objects are used (0.12.1).
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from components.repository.store.objects import LARGE_FILES, PART_BYTES, Source, Stat, read_whole, send
from components.repository.store.s3_bucket import S3Bucket
from components.repository.store.s3_errors import UNSUPPORTED, Location, explained, found, identity, no_credentials, no_such_bucket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import boto3
    import obstore
    from mypy_boto3_s3.client import S3Client
    from obstore.store import ClientConfig
    from obstore.store import S3Store as Objects

R = TypeVar("R")

_PARTS: Final = 4
"""Concurrent parts of each large file. With LARGE_FILES, they limit memory use to 4 * (4 + 1) * 8 MiB = 160 MiB."""

_MAX_PARTS: Final = 10_000
"""Maximum number of parts in one upload (Amazon S3 user guide, "Multipart upload limits")."""

_COPY_BYTES: Final = 5 << 30
"""Largest object that CopyObject can copy (Amazon S3 user guide, "Copying objects")."""

_RETRIES: Final = 5
"""Retries of each request with backoff, for about five seconds: covers short failures such as throttling. `patiently` waits longer."""


class S3Store(S3Bucket):
    """See `objects.Store`."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._lock = threading.RLock()
        self._large = threading.BoundedSemaphore(LARGE_FILES)

    @property
    def bucket(self) -> str:
        """See Store."""
        return self.location.bucket

    @cached_property
    def _session(self) -> boto3.session.Session:
        import boto3  # noqa: PLC0415  # loaded only by stacks whose repository is in S3

        return boto3.session.Session()

    @property
    def client(self) -> S3Client:
        """A boto3 client. Safe to use from several threads."""
        with self._lock:
            return self._client

    @cached_property
    def _client(self) -> S3Client:
        from botocore.config import Config  # noqa: PLC0415

        config = Config(
            retries={"mode": "standard", "total_max_attempts": _RETRIES + 1},
            connect_timeout=5,
            max_pool_connections=32,
            # Not every S3-compatible store supports the checksums that boto3 would add.
            request_checksum_calculation="when_required",
            # Virtual-host style needs a DNS name for each bucket.
            s3={"addressing_style": "path" if self.location.custom_endpoint else "auto"},
        )
        with explained(self.location):
            return self._session.client("s3", region_name=self.location.region, endpoint_url=self.location.endpoint, config=config)

    @property
    def _objects(self) -> Objects:
        with self._lock:
            return self._opened

    @cached_property
    def _opened(self) -> Objects:
        from obstore.auth.boto3 import Boto3CredentialProvider  # noqa: PLC0415
        from obstore.store import S3Store as Objects  # noqa: PLC0415

        region, custom = self.location.region, self.location.custom_endpoint
        hosted = custom is None and "." not in self.bucket  # AWS' certificate does not cover bucket names with dots
        host = f"s3.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}"
        options: ClientConfig = {"allow_http": custom is not None, "timeout": "5min", "read_timeout": "60s"}
        if bundle := os.environ.get("AWS_CA_BUNDLE"):
            options["root_certificate"] = Path(bundle).read_bytes()
        with explained(self.location):
            try:
                credentials = Boto3CredentialProvider(self._session)
            except ValueError:
                raise no_credentials(self.location, "the default chain finds none") from None
            return Objects(
                self.bucket,
                region=region,
                aws_endpoint_url_s3=custom or f"https://{self.bucket + '.' if hosted else ''}{host}",
                virtual_hosted_style_request=hosted,
                checksum_algorithm="SHA256",
                credential_provider=credentials,
                client_options=options,
                retry_config={"max_retries": _RETRIES, "retry_timeout": timedelta(minutes=2)},
            )

    def describe(self) -> str:
        """See Store."""
        return self.location.describe()

    def url(self, key: str) -> str:
        """See Store."""
        return f"s3://{self.bucket}/{key}"

    def exists(self) -> bool:
        """See Store. Lists objects, which every reader of a release is allowed to do."""
        import obstore  # noqa: PLC0415
        from obstore.exceptions import BaseError  # noqa: PLC0415

        with explained(self.location):
            try:
                next(iter(obstore.list(self._objects)), None)
            except (BaseError, FileNotFoundError) as error:
                if identity(error)[0] == "NoSuchBucket":
                    return False
                raise
        return True

    def no_such_bucket(self) -> str:
        """See Store."""
        return no_such_bucket(self.location)

    def list(self, prefix: str) -> Iterator[Stat]:
        """See Store."""
        import obstore  # noqa: PLC0415

        pages = iter(obstore.list(self._objects, prefix or None, chunk_size=1000))
        while True:
            with explained(self.location):
                page: Sequence[obstore.ObjectMeta] | None = next(pages, None)
            if page is None:
                return
            yield from map(_stat, page)

    def head(self, key: str) -> Stat | None:
        """See Store."""
        import obstore  # noqa: PLC0415

        with explained(self.location):
            return _found(lambda: _stat(obstore.head(self._objects, key)))

    def get_bytes(self, key: str) -> bytes | None:
        """See Store."""
        import obstore  # noqa: PLC0415

        with explained(self.location):
            return _found(lambda: bytes(obstore.get(self._objects, key).bytes()))

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See Store. The store verifies the SHA-256 that is sent with the object."""
        import obstore  # noqa: PLC0415

        with explained(self.location):
            answer = obstore.put(self._objects, key, body, use_multipart=False)
        return _written(key, len(body), answer)

    def put_file(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """See Store. Each request includes a SHA-256. An interrupted upload restarts from the beginning."""
        import obstore  # noqa: PLC0415

        if source.size <= PART_BYTES:
            written = self.put_bytes(key, read_whole(source))
            sent(source.size)
            return written

        def put(parts: Iterator[bytes]) -> obstore.PutResult:
            return obstore.put(self._objects, key, parts, chunk_size=part_bytes(source.size), max_concurrency=_PARTS)

        with self._large, explained(self.location):
            answer = send(source, part_bytes(source.size), sent, put)
        return _written(key, source.size, answer)

    def holds(self, there: Stat, source: Source | None) -> bool:
        """See Store. Compares the SHA-256 that the store keeps. Without one, returns False, and the file is sent again."""
        if source is None or there.size != source.size:
            return source is None and there.size == 0
        with explained(self.location):
            head = found(lambda: self.client.head_object(Bucket=self.bucket, Key=there.key, ChecksumMode="ENABLED"))
        kept = (head or {}).get("ChecksumSHA256", "")
        if source.size > PART_BYTES:
            return bool(kept) and kept.partition("-")[0] == _checksum_of_parts(source)
        return bool(kept == base64.b64encode(bytes.fromhex(source.sha256)).decode())

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See Store. Uses boto3, because obstore can't copy conditionally."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        if origin.size > _COPY_BYTES:
            return None  # sent again, in parts: rare
        with explained(self.location):
            try:
                answer = self.client.copy_object(
                    Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": origin.key}, CopySourceIfMatch=f'"{origin.etag}"'
                )
            except ClientError as error:
                code, status = identity(error)
                if code != "NoSuchBucket" and (status in {404, 412} or code in UNSUPPORTED):
                    return None
                raise
        made = answer["CopyObjectResult"]
        etag = made["ETag"].strip('"')
        # Some S3-compatible stores ignore the condition. If ETags are content digests, comparing them detects this.
        if etag != origin.etag and "-" not in origin.etag and not answer.get("ServerSideEncryption", "").startswith("aws:kms"):
            return None
        return Stat(key=key, size=origin.size, etag=etag, modified=made["LastModified"].timestamp())

    def delete_many(self, keys: Iterable[str]) -> None:
        """See Store."""
        import obstore  # noqa: PLC0415

        if rest := list(keys):
            with explained(self.location):
                obstore.delete(self._objects, rest)

    def abandon(self, prefix: str) -> None:
        """See Store."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with explained(self.location):
            try:
                for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
                    for begun in page.get("Uploads", []):
                        self.client.abort_multipart_upload(Bucket=self.bucket, Key=begun["Key"], UploadId=begun["UploadId"])
            except ClientError as error:
                code, status = identity(error)
                if code not in UNSUPPORTED and status not in {403, 404}:
                    raise


def part_bytes(size: int) -> int:
    """Return the part size for a file of ``size`` bytes: PART_BYTES, or more whole MiB if the file would need more parts than S3 allows."""
    least = -(-size // _MAX_PARTS)
    return PART_BYTES if least <= PART_BYTES else -(-least // (1 << 20)) << 20


def _stat(meta: obstore.ObjectMeta) -> Stat:
    return Stat(key=meta["path"], size=meta["size"], etag=(meta["e_tag"] or "").strip('"'), modified=meta["last_modified"].timestamp())


def _written(key: str, size: int, answer: obstore.PutResult) -> Stat:
    return Stat(key=key, size=size, etag=(answer["e_tag"] or "").strip('"'), modified=0.0)


def _found(request: Callable[[], R]) -> R | None:
    """Return the response of ``request``, or None if the object does not exist. A missing bucket raises."""
    try:
        return request()
    except FileNotFoundError as error:
        if identity(error)[0] == "NoSuchBucket":
            raise
        return None


def _checksum_of_parts(source: Source) -> str:
    """Return S3's checksum of a multipart object: the SHA-256 of its parts' SHA-256s, in base64. Empty if the file no longer exists."""
    digests = b""
    try:
        with source.path.open("rb") as stream:
            while part := stream.read(part_bytes(source.size)):
                digests += hashlib.sha256(part).digest()
    except OSError:
        return ""
    return base64.b64encode(hashlib.sha256(digests).digest()).decode()
