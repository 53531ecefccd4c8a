"""The S3 protocol: one bucket, and its failures in words. boto3 is imported when a client is made, never before."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from components.errors import FleetError
from components.repository.objectstore import (
    PARALLEL,
    PART_BYTES,
    CancelledError,
    Source,
    SourceChangedError,
    Stat,
    StoreUnreachableError,
    Transfer,
)
from components.repository.quickput import QuickPut

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_s3.client import S3Client

_ATTEMPTS: Final = 6
"""Of each request, by botocore, with backoff and jitter, within about ten seconds: for what passes at once, throttling above all.
`patiently` waits for what takes longer."""

_MAX_PARTS: Final = 10_000
"""S3's own limit (Amazon S3 user guide, "Multipart upload limits")."""

_COPY_BYTES: Final = 5 << 30
"""Largest object that one CopyObject takes (Amazon S3 user guide, "Copying objects")."""

_DELETE_KEYS: Final = 1000
"""Most keys of one DeleteObjects request."""

_SMALL: Final = 1 << 20
"""Bytes of a file that is read as it is; larger ones wait for a buffer."""
_CONNECT_S: Final = 5
_READ_S: Final = 60
_KEY: Final = "triton-fleet:repository"
_NOT_THERE: Final = frozenset({"NotImplemented", "MethodNotAllowed", "NotSupported", "501", "405"})
"""What stores answer to requests that they have not."""
_NO_CHECKSUM: Final = frozenset({"NotImplemented", "InvalidArgument", "InvalidRequest", "NotSupported"})
_UNFINISHED_DAYS: Final = 3
"""After which S3 itself drops parts that no run came back for."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """A bucket, and where it is asked for."""

    bucket: str
    region: str
    endpoint: str | None
    """URL of an S3-compatible store; None: AWS, or what AWS_ENDPOINT_URL_S3 says."""

    def describe(self) -> str:
        """Where requests go, for messages."""
        return self.endpoint or environment_endpoint(os.environ) or f"AWS in {self.region}"


def environment_endpoint(environ: Mapping[str, str]) -> str | None:
    """Endpoint that boto3 takes from the environment."""
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None


def connect(location: Location) -> S3Client:
    """Make a client. It is safe to use from several threads."""
    import boto3  # noqa: PLC0415  # heavy, and only wanted by the provider process
    from botocore.config import Config  # noqa: PLC0415

    custom = location.endpoint or environment_endpoint(os.environ)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT_S,
        read_timeout=_READ_S,
        max_pool_connections=2 * PARALLEL,
        # Checksums are given with each request here, and not every store knows those that boto3 would add.
        request_checksum_calculation="when_required",
        # A store of one's own seldom has a DNS name a bucket, which the virtual-host style needs.
        s3={"addressing_style": "path" if custom else "auto"},
    )
    with explained(location):
        return boto3.session.Session().client("s3", region_name=location.region, endpoint_url=location.endpoint, config=config)


class S3Store:
    """See `objectstore.ObjectStore` and `objectstore.ManagedBucket`."""

    def __init__(self, location: Location) -> None:
        self.location = location
        self._knows_sha256 = True
        self._buffers = _Buffers(PARALLEL)
        self._opening = threading.Lock()

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
    def _parts(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(PARALLEL, thread_name_prefix="triton-fleet-part")

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

    def exists(self) -> bool:
        """See ObjectStore."""
        with explained(self.location):
            return _found(lambda: self.client.head_bucket(Bucket=self.bucket)) is not None

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
            found = _found(lambda: self.client.head_object(Bucket=self.bucket, Key=key))
        if found is None:
            return None
        return Stat(key=key, size=found["ContentLength"], etag=found["ETag"].strip('"'), modified=found["LastModified"].timestamp())

    def get_bytes(self, key: str) -> bytes | None:
        """See ObjectStore."""
        with explained(self.location):
            found = _found(lambda: self._body(key))
        return None if found is None else bytes(found)

    def _body(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See ObjectStore."""
        with explained(self.location):
            return self._put(key, body)

    def put_file(self, key: str, source: Source, transfer: Transfer) -> Stat:
        """See ObjectStore."""
        transfer.check()
        with explained(self.location):
            if source.size > PART_BYTES:
                return self._put_parts(key, source, transfer)
            if source.size <= _SMALL:
                body = _read(source.path, 0, source.size + 1)
                if body is None or len(body) != source.size or hashlib.sha256(body).hexdigest() != source.sha256:
                    raise SourceChangedError(source.path)
                stat = self._put(key, body)
                transfer.sent(source.size)
                return stat
            with self._buffers.of(source.size) as whole:
                if not _fill(source.path, 0, whole) or hashlib.sha256(whole).hexdigest() != source.sha256:
                    raise SourceChangedError(source.path)
                transfer.check()
                stat = self._put(key, whole)
            transfer.sent(source.size)
            return stat

    def holds(self, found: Stat, source: Source | None) -> bool:
        """See ObjectStore. The ETag tells where it is a digest of the content; else the SHA-256 that the store has kept does."""
        if source is None or found.size != source.size:
            return source is None and found.size == 0
        part = _part_bytes(source.size)
        md5s: list[bytes] = []
        sha256s: list[bytes] = []
        for offset in range(0, max(source.size, 1), part):
            body = _read(source.path, offset, min(part, source.size - offset))
            if body is None:
                return False
            md5s.append(hashlib.md5(body, usedforsecurity=False).digest())
            sha256s.append(hashlib.sha256(body).digest())
        whole = source.size <= PART_BYTES
        if found.etag == (md5s[0].hex() if whole else f"{hashlib.md5(b''.join(md5s), usedforsecurity=False).hexdigest()}-{len(md5s)}"):
            return True
        with explained(self.location):
            head = _found(lambda: self.client.head_object(Bucket=self.bucket, Key=found.key, ChecksumMode="ENABLED"))
        expected = _b64(sha256s[0]) if whole else f"{_b64(hashlib.sha256(b''.join(sha256s)).digest())}-{len(sha256s)}"
        return head is not None and head.get("ChecksumSHA256") == expected

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See ObjectStore."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        if origin.size > _COPY_BYTES:
            return None  # sent again, in parts: rare enough
        with explained(self.location):
            try:
                answer = self.client.copy_object(
                    Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": origin.key}, CopySourceIfMatch=f'"{origin.etag}"'
                )
            except ClientError as error:
                if code(error) != "NoSuchBucket" and (status(error) in {404, 412} or code(error) in _NOT_THERE):
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
                        f"{_KEY}.bucket ({self.bucket}): {error.get('Key')} could not be deleted ({error.get('Code')}): it stays. "
                        "Allow s3:DeleteObject below the prefix, then run again."
                    )

    def abandon(self, prefix: str) -> None:
        """See ObjectStore."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        with explained(self.location):
            try:
                for key, upload in self._unfinished(prefix):
                    self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
            except ClientError as error:
                if code(error) not in _NOT_THERE and status(error) not in {403, 404}:
                    raise

    def _put(self, key: str, body: bytes | memoryview) -> Stat:
        """Write, with the checksum on the way and compared on arrival."""
        quick = self._quick.put(key, body)
        etag = quick[0] if quick else ""
        if quick is None:
            answer = self._checked(lambda checks: self.client.put_object(Bucket=self.bucket, Key=key, Body=bytes(body), **checks), body)
            etag = answer["ETag"].strip('"')
            if "ChecksumSHA256" not in answer and not _is_digest(etag, body, answer):
                head = self.client.head_object(Bucket=self.bucket, Key=key)
                if head["ContentLength"] != len(body):
                    raise FleetError(_corrupt(self.location, key))
        return Stat(key=key, size=len(body), etag=etag, modified=0.0)

    def _checked(self, request: Any, body: bytes | memoryview) -> Any:
        """Answer of ``request``, which gets the checksum that this store takes: SHA-256, or where it knows none, Content-MD5."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        if self._knows_sha256:
            try:
                return request({"ChecksumSHA256": _b64(hashlib.sha256(body).digest())})
            except ClientError as error:
                if code(error) not in _NO_CHECKSUM:
                    raise
                refused = error
            answer = request({"ContentMD5": _b64(hashlib.md5(body, usedforsecurity=False).digest())})
            if code(refused) in {"NotImplemented", "NotSupported"}:
                self._knows_sha256 = False
            return answer
        return request({"ContentMD5": _b64(hashlib.md5(body, usedforsecurity=False).digest())})

    def _put_parts(self, key: str, source: Source, transfer: Transfer) -> Stat:
        """Send a large file, its parts side by side; those that an earlier attempt has left are kept."""
        if not source.unchanged():
            raise SourceChangedError(source.path)
        size = _part_bytes(source.size)
        upload, there = self._resume(key)
        offsets = range(0, source.size, size)
        stop = threading.Event()

        def send(number: int, offset: int) -> dict[str, Any]:
            length = min(size, source.size - offset)
            if stop.is_set():
                raise CancelledError
            transfer.check()
            with self._buffers.of(length) as body:
                if not _fill(source.path, offset, body):
                    raise SourceChangedError(source.path)
                part = self._part_there(there.get(number), body) or self._send_part(key, upload, number, body)
            transfer.sent(length)
            return {"PartNumber": number, **part}

        futures = [self._parts.submit(send, number, offset) for number, offset in enumerate(offsets, start=1)]
        try:
            parts = [future.result() for future in futures]
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
        if not source.unchanged():
            self.client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)
            raise SourceChangedError(source.path)
        answer = self.client.complete_multipart_upload(
            Bucket=self.bucket,
            Key=key,
            UploadId=upload,
            MultipartUpload={"Parts": parts},  # type: ignore[typeddict-item]  # made above
        )
        return Stat(key=key, size=source.size, etag=answer["ETag"].strip('"'), modified=0.0)

    def _send_part(self, key: str, upload: str, number: int, body: bytes | memoryview) -> dict[str, Any]:
        quick = self._quick.put(key, body, f"partNumber={number}&uploadId={quote(upload, safe='-_.~')}")
        if quick is not None:
            return _part({"ETag": f'"{quick[0]}"', "ChecksumSHA256": quick[1]})
        answer = self._checked(
            lambda checks: self.client.upload_part(
                Bucket=self.bucket, Key=key, UploadId=upload, PartNumber=number, Body=bytes(body), **checks
            ),
            body,
        )
        if "ChecksumSHA256" not in answer and not _is_digest(answer["ETag"].strip('"'), body, answer):
            raise FleetError(_corrupt(self.location, key))
        return _part(answer)

    def _part_there(self, found: Mapping[str, Any] | None, body: bytes | memoryview) -> dict[str, Any] | None:
        """The part as an earlier attempt has left it, if its checksum is that of ``body``."""
        if found is None or found["Size"] != len(body):
            return None
        kept = found.get("ChecksumSHA256")
        same = kept == _b64(hashlib.sha256(body).digest()) if kept else _is_digest(found["ETag"].strip('"'), body, {})
        return _part(found) if same else None

    def _resume(self, key: str) -> tuple[str, dict[int, Mapping[str, Any]]]:
        """An unfinished upload of the key with its parts by number; a new one when there is none."""
        with suppress(Exception):  # only a saving: a store without listings, or a right that is missing, is no reason to fail
            for found, upload in self._unfinished(key):
                if found == key:
                    pages = self.client.get_paginator("list_parts").paginate(Bucket=self.bucket, Key=key, UploadId=upload)
                    return upload, {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}
        extra: dict[str, Any] = {"ChecksumAlgorithm": "SHA256"} if self._knows_sha256 else {}
        return self.client.create_multipart_upload(Bucket=self.bucket, Key=key, **extra)["UploadId"], {}

    def _unfinished(self, prefix: str) -> Sequence[tuple[str, str]]:
        """Key and upload id of what was begun below ``prefix``."""
        pages = self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix)
        return [(upload["Key"], upload["UploadId"]) for page in pages for upload in page.get("Uploads", [])]

    # --- the bucket itself ---

    def ensure(self, settings: Mapping[str, object]) -> None:
        """See ManagedBucket. Settings: ``versioning`` (bool), ``kmsKey`` (ARN or alias; absent: the store's own encryption)."""
        with explained(self.location):
            if not self.exists():
                if self.location.region == "us-east-1":
                    self.client.create_bucket(Bucket=self.bucket)  # the one region that S3 refuses as a constraint
                else:
                    self.client.create_bucket(
                        Bucket=self.bucket,
                        CreateBucketConfiguration={"LocationConstraint": self.location.region},  # type: ignore[typeddict-item]  # any region
                    )
            for aspect in self._aspects(settings):
                self._optional(aspect.write)

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """See ManagedBucket."""
        with explained(self.location):
            return [aspect.name for aspect in self._aspects(settings) if self._optional(aspect.read) not in {True, None}]

    def is_empty(self) -> bool:
        """Whether nothing lies in it."""
        with explained(self.location):
            return not self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=1).get("KeyCount", 0)

    def remove(self) -> None:
        """See ManagedBucket. Old versions of what was deleted go with it: nothing that a listing shows is ever deleted here."""
        with explained(self.location):
            left = self.client.list_objects_v2(Bucket=self.bucket, MaxKeys=3)
            if left.get("KeyCount", 0):
                keys = ", ".join(entry["Key"] for entry in left["Contents"])
                raise FleetError(
                    f"{_KEY}.bucket ({self.bucket}) holds objects that this stack did not upload, such as {keys}: it was kept. "
                    "Move them away and run destroy again."
                )
            self.abandon("")
            self._optional(self._purge_versions)
            self.client.delete_bucket(Bucket=self.bucket)

    def _purge_versions(self) -> None:
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.bucket):
            gone = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page.get("Versions", [])]
            gone += [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page.get("DeleteMarkers", [])]
            if gone:
                self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": gone, "Quiet": True})  # type: ignore[typeddict-item]

    def _optional(self, request: Any) -> Any:
        """Answer of ``request``; None where a store of one's own has no such thing. AWS has all of it."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return request()
        except ClientError as error:
            custom = self.location.endpoint or environment_endpoint(os.environ)
            if custom and (code(error) in _NOT_THERE or status(error) in {400, 405, 501}):
                return None
            raise

    def _aspects(self, settings: Mapping[str, object]) -> Sequence[_Aspect]:
        client, bucket = self.client, self.bucket
        everything: Any = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
        lifecycle: list[Any] = [
            {
                "ID": "triton-fleet-unfinished",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UNFINISHED_DAYS},
            }
        ]
        if settings.get("versioning"):
            lifecycle.append(
                {
                    "ID": "triton-fleet-old-versions",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    # Each release is a tree of its own: versions guard against a slip of the hand, not against a bad release.
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                }
            )
        rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        if settings.get("kmsKey"):
            rule = {
                "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": settings["kmsKey"]},
                "BucketKeyEnabled": True,  # one request to KMS an hour and key, not one an object
            }
        aspects = [
            _Aspect(
                "publicAccessBlock",
                lambda: client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=everything),
                lambda: _found(lambda: client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]) == everything,
            ),
            _Aspect(
                "encryption",
                lambda: client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}),
                lambda: _same_encryption(
                    _found(lambda: client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]), rule
                ),
            ),
            _Aspect(
                "lifecycle",
                lambda: client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": lifecycle}),
                lambda: (
                    {rule["ID"] for rule in lifecycle}
                    <= {
                        found.get("ID")
                        for found in _found(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) or []
                        if found.get("Status") == "Enabled"
                    }
                ),
            ),
        ]
        if settings.get("versioning"):
            aspects.append(
                _Aspect(
                    "versioning",
                    lambda: client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
                    lambda: client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled",
                )
            )
        if not self.describe().startswith("http://"):  # it would lock out everybody, us as well
            policy = _tls_only(bucket)
            aspects.append(
                _Aspect(
                    "policy",
                    lambda: client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy)),
                    lambda: _same_policy(_found(lambda: client.get_bucket_policy(Bucket=bucket)["Policy"]), policy),
                )
            )
        return aspects


class _Buffers:
    """Memory for bodies that several threads share out among them. It is used again: what comes and goes leaves holes behind."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)
        self._there: list[bytearray] = []

    @contextmanager
    def of(self, size: int) -> Iterator[memoryview]:
        """Wait for a buffer and have ``size`` bytes of it while the block runs."""
        with self._free:
            try:
                buffer = self._there.pop()
            except IndexError:
                buffer = bytearray()
            if len(buffer) < size:
                # A file of more than MAX_PARTS * PART_BYTES (78 GiB) has larger parts.
                buffer = bytearray(max(size, PART_BYTES) if size > _SMALL else size)
            try:
                with memoryview(buffer) as whole, whole[:size] as view:
                    yield view
            finally:
                if len(buffer) == PART_BYTES:
                    self._there.append(buffer)


@dataclass(frozen=True)
class _Aspect:
    """One thing that the stack says about its bucket."""

    name: str
    write: Any
    read: Any
    """Whether the bucket has it."""


def _tls_only(bucket: str) -> dict[str, Any]:
    """Nobody gets in without TLS (AWS security hub control S3.5)."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _same_policy(found: Any, wanted: dict[str, Any]) -> bool:
    """Whether the statement is still among those of the bucket: others may have been added."""
    statements = json.loads(found).get("Statement", []) if found else []
    return all(statement in statements for statement in wanted["Statement"])


def _same_encryption(found: Any, wanted: dict[str, Any]) -> bool:
    default = (found or [{}])[0].get("ApplyServerSideEncryptionByDefault", {})
    expected = wanted["ApplyServerSideEncryptionByDefault"]
    return all(default.get(key) == value for key, value in expected.items())


def _found(request: Any) -> Any:
    """Answer of ``request``; None when what it asks for is not there. A bucket that is missing is something else."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        return request()
    except ClientError as error:
        if status(error) == 404 and code(error) != "NoSuchBucket":  # noqa: PLR2004  # HTTP's own number
            return None
        raise


def _part(found: Mapping[str, Any]) -> dict[str, Any]:
    part = {"ETag": found["ETag"]}
    if found.get("ChecksumSHA256"):
        part["ChecksumSHA256"] = found["ChecksumSHA256"]
    return part


def _part_bytes(size: int) -> int:
    """Bytes of each part of a file of ``size`` bytes: PART_BYTES, or more whole MiB where it would take more parts than S3 allows."""
    least = -(-size // _MAX_PARTS)
    return PART_BYTES if least <= PART_BYTES else -(-least // (1 << 20)) << 20


def _read(path: os.PathLike[str], offset: int, length: int) -> bytes | None:
    """Up to ``length`` bytes; None when the file can't be read any more."""
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (unbuffered, without a second copy)
            stream.seek(offset)
            body = stream.read(length)
            while 0 < len(body) < length:
                more = stream.read(length - len(body))
                if not more:
                    break
                body += more
            return body
    except OSError:
        return None


def _fill(path: os.PathLike[str], offset: int, body: memoryview) -> bool:
    """Read a piece of a file; False when it can't be, or there is less."""
    try:
        with open(path, "rb", buffering=0) as stream:  # noqa: PTH123 (as above)
            stream.seek(offset)
            done = 0
            while done < len(body):
                count = stream.readinto(body[done:])
                if not count:
                    return False
                done += count
            return True
    except OSError:
        return False


def _is_digest(etag: str, body: bytes | memoryview, answer: Mapping[str, Any]) -> bool:
    """Whether an ETag is the MD5 of ``body``. It is none of anything under KMS; such stores know SHA-256."""
    return answer.get("ServerSideEncryption", "AES256") == "AES256" and etag == hashlib.md5(body, usedforsecurity=False).hexdigest()


def _b64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def status(error: Exception) -> int:
    """HTTP status of a botocore ClientError; 0 for anything else."""
    response = getattr(error, "response", None)
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)) if isinstance(response, dict) else 0


def code(error: Exception) -> str:
    """S3's error code of a botocore ClientError, such as ``NoSuchBucket``; empty for anything else."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


@contextmanager
def explained(location: Location) -> Iterator[None]:
    """Turn what boto3 raises inside the block into a FleetError with key, consequence and remedy."""
    from botocore import exceptions  # noqa: PLC0415

    try:
        yield
    except exceptions.ClientError as error:
        raise _client_error(error, location) from None
    except (exceptions.NoCredentialsError, exceptions.PartialCredentialsError, exceptions.TokenRetrievalError) as error:
        raise FleetError(
            f"{_KEY}: no usable AWS credentials where Pulumi runs ({error}): bucket {location.bucket} can't be reached. "
            'Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or sign in with `aws sso login`; `eval "$(make -s env)"` for '
            "the embedded store."
        ) from None
    except (exceptions.HTTPClientError, exceptions.EndpointConnectionError, exceptions.ConnectionError) as error:
        raise StoreUnreachableError(_unreachable(location, str(error))) from None
    except exceptions.BotoCoreError as error:
        raise FleetError(_other(error, location)) from None


def no_such_bucket(location: Location) -> str:
    """What to say when the bucket is not there."""
    return (
        f"{_KEY}.bucket ({location.bucket}) does not exist at {location.describe()}: there is nowhere to put the models, nothing was "
        f"uploaded. "
        "Create it, correct the name or set createBucket: true."
    )


def _client_error(error: Exception, location: Location) -> FleetError:
    name, number = code(error), status(error)
    if name == "NoSuchBucket":
        return FleetError(no_such_bucket(location))
    if number >= 500 or name in {"SlowDown", "Throttling", "RequestTimeout"}:  # noqa: PLR2004  # HTTP: the server's own failures
        return StoreUnreachableError(_unreachable(location, str(error)))
    if name in {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}:
        return FleetError(
            f"{_KEY}: {location.describe()} does not know the credentials that Pulumi runs with ({name}): nothing was uploaded. "
            "Renew them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile)."
        )
    if number in {301, 307, 400} and name in {
        "PermanentRedirect",
        "301",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
    }:
        return FleetError(
            f"{_KEY}.region ({location.region}) is not the region of bucket {location.bucket}: S3 sends requests away. "
            "Write the bucket's own region."
        )
    if number == 403:  # noqa: PLR2004  # HTTP's own number
        return FleetError(
            f"{_KEY}.bucket ({location.bucket}) can't be used with the credentials that Pulumi runs with ({name}): nothing was uploaded. "
            "Allow them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix; "
            "or it is somebody else's bucket: choose another name."
        )
    return FleetError(_other(error, location))


def _unreachable(location: Location, reason: str) -> str:
    return (
        f"{_KEY}: the object store at {location.describe()} does not answer ({reason}): what had arrived in bucket {location.bucket} is "
        f"kept. "
        "Start the store (make up) or fix the endpoint, then run again: only what is missing is sent."
    )


def _other(error: Exception, location: Location) -> str:
    return (
        f"{_KEY}: the object store at {location.describe()} refused a request on bucket {location.bucket} ({error}): what had arrived "
        f"is kept. "
        "Mend what it names and run again: only what is missing is sent."
    )


def _corrupt(location: Location, key: str) -> str:
    return (
        f"{_KEY}: {key} did not arrive in bucket {location.bucket} at {location.describe()} as it was sent: nothing was published. "
        "Run again; if it happens again, look for a proxy that changes what passes, or a failing disk."
    )
