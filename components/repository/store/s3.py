"""One S3 bucket. obstore transfers the objects; boto3 copies them within the store, administers the bucket and finds credentials.

obstore is called from threads, because its asynchronous API aborts the process at interpreter exit if file objects are used (0.12.1).
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

import boto3
import obstore
from botocore import exceptions
from botocore.config import Config
from obstore.auth.boto3 import Boto3CredentialProvider
from obstore.exceptions import BaseError
from obstore.store import S3Store as Objects

from components.base.aws import domain
from components.repository.store.objects import (
    PART_BYTES,
    Reading,
    Source,
    SourceChangedError,
    Stat,
    Store,
    crc32c_text,
    environment_endpoint,
)
from components.repository.store.s3_bucket import aspects, includes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mypy_boto3_s3.client import S3Client
    from obstore.store import ClientConfig

R = TypeVar("R")

WHOLE_BYTES: Final = 64 << 20
"""Largest file, in bytes, that is sent in one request. Larger files are faster in parts: one connection carries some 100 MB/s."""
_PARTS: Final = 4
"""Concurrent parts of each large file. With LARGE_FILES, they limit memory use to 4 * (4 + 1) * 8 MiB = 160 MiB."""
_MAX_PARTS: Final = 10_000
"""Maximum number of parts in one upload (Amazon S3 user guide, "Multipart upload limits")."""
_COPY_BYTES: Final = 5 << 30
"""Largest object that CopyObject can copy (Amazon S3 user guide, "Copying objects")."""
_RETRIES: Final = 5
"""Retries of each request with backoff, for about five seconds: covers short failures such as throttling. `patiently` waits longer."""

_CODE: Final = re.compile(r"<Code>([^<]+)</Code>")
_STATUS: Final = re.compile(r"status code: (\d{3})")
_UNSUPPORTED: Final = frozenset({"NotImplemented", "MethodNotAllowed", "NotSupported", "501", "405"})
"""Error codes of S3-compatible stores for a request that they don't implement."""
_NO_CREDENTIALS: Final = (
    exceptions.NoCredentialsError,
    exceptions.PartialCredentialsError,
    exceptions.TokenRetrievalError,
    exceptions.ProfileNotFound,
)
_CREDENTIALS: Final = frozenset({"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"})
_WRONG_REGION: Final = frozenset({"PermanentRedirect", "301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"})
_THROTTLED: Final = frozenset({"SlowDown", "Throttling", "RequestTimeout"})


class S3Store(Store):
    """See `Store`."""

    cloud = "AWS"
    scheme = "s3"
    errors = (exceptions.ClientError, exceptions.BotoCoreError, BaseError, FileNotFoundError)
    remedies: ClassVar[Mapping[str, str]] = {
        "no credentials": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE or sign in with `aws sso login`; "
        '`eval "$(make -s env)"` for the embedded store.',
        "credentials": "Renew them (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, or the profile).",
        "forbidden": "Allow them s3:ListBucket on the bucket, and s3:GetObject, s3:PutObject and s3:DeleteObject below the prefix; "
        "if the bucket belongs to another account, choose another name.",
        "unreachable": "Start the store (make up) or fix the endpoint, then run again: only what is missing is sent.",
    }

    def __init__(self, bucket: str, *, region: str, endpoint: str | None = None, profile: str | None = None) -> None:
        super().__init__(bucket)
        self._region = region
        self._endpoint = endpoint or environment_endpoint(os.environ, profile)
        """URL of an S3-compatible store; None: AWS."""
        with self.explained():
            self._session = boto3.session.Session(profile_name=profile)

    @property
    def client(self) -> S3Client:
        """A boto3 client. Safe to use from several threads."""
        with self._lock:
            return self._client

    @cached_property
    def _client(self) -> S3Client:
        config = Config(
            retries={"mode": "standard", "total_max_attempts": _RETRIES + 1},
            connect_timeout=5,
            max_pool_connections=32,
            # Not every S3-compatible store supports the checksums that boto3 would add.
            request_checksum_calculation="when_required",
            s3={
                # Virtual-host style needs a DNS name for each bucket.
                "addressing_style": "path" if self._endpoint else "auto",
                # With TLS, the signature covers the SHA-256 that `_put_large` sends: boto3 would compute the same hash again.
                "payload_signing_enabled": (self._endpoint or "").startswith("http://"),
            },
        )
        return self._session.client("s3", region_name=self._region, endpoint_url=self._endpoint, config=config)

    @property
    def _objects(self) -> Objects:
        with self._lock:
            return self._opened

    @cached_property
    def _opened(self) -> Objects:
        region, custom = self._region, self._endpoint
        hosted = custom is None and "." not in self.bucket  # AWS' certificate does not cover bucket names with dots
        host = f"s3.{region}.{domain(region)}"
        options: ClientConfig = {"allow_http": custom is not None, "timeout": "5min", "read_timeout": "60s"}
        if bundle := os.environ.get("AWS_CA_BUNDLE"):
            options["root_certificate"] = Path(bundle).read_bytes()
        try:
            credentials = Boto3CredentialProvider(self._session)
        except ValueError:
            raise self.failure("no credentials", "the default chain finds none") from None
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
        return self._endpoint or f"AWS in {self._region}"

    def _classify(self, error: Exception) -> tuple[str, object]:
        if isinstance(error, _NO_CREDENTIALS):
            return "no credentials", error
        code, status = _identity(error)
        no_answer = isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError)) or (
            not status and isinstance(error, (BaseError, FileNotFoundError))
        )
        kinds = {
            "no bucket": code == "NoSuchBucket",
            "unreachable": no_answer or status >= 500 or code in _THROTTLED,  # noqa: PLR2004  # HTTP: server errors
            "credentials": code in _CREDENTIALS,
            "region": code in _WRONG_REGION or status == 301,  # noqa: PLR2004  # HTTP: moved
            "forbidden": status == 403,  # noqa: PLR2004  # HTTP
        }
        kind = next((kind for kind, applies in kinds.items() if applies), "rejected")
        return kind, {"credentials": code, "region": self._region, "forbidden": code or status}.get(kind, error)

    # ------------------------------------------------------------------ objects
    def list(self, prefix: str) -> Iterator[Stat]:
        """See Store."""
        with self.explained():
            for page in obstore.list(self._objects, prefix or None, chunk_size=1000):
                yield from map(_stat, page)

    def head(self, key: str) -> Stat | None:
        """See Store."""
        with self.explained():
            return _found(lambda: _stat(obstore.head(self._objects, key)))

    def get_bytes(self, key: str) -> bytes | None:
        """See Store."""
        with self.explained():
            return _found(lambda: bytes(obstore.get(self._objects, key).bytes()))

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See Store. The store verifies the SHA-256 that is sent with the object."""
        with self.explained():
            return _written(key, len(body), obstore.put(self._objects, key, body, use_multipart=False))

    def _put_large(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """Send the file whole with boto3, which takes the SHA-256 of the scan, or in parts with obstore, which computes one for each."""
        if source.size <= WHOLE_BYTES:
            with Reading(source, sent) as stream:
                written = self.client.put_object(Bucket=self.bucket, Key=key, Body=stream, ChecksumSHA256=_base64(source.sha256))
            return Stat(key=key, size=source.size, etag=written["ETag"].strip('"'), modified=0.0)
        with self._large, Reading(source, sent) as stream:
            answer = obstore.put(self._objects, key, stream, chunk_size=part_bytes(source.size), max_concurrency=_PARTS)
            if crc32c_text(stream.checksum) != source.crc32c:
                self.delete_many([key])
                raise SourceChangedError(source.path)
        return _written(key, source.size, answer)

    def holds(self, found: Stat, source: Source | None) -> bool:
        """See Store. Compares the SHA-256 that the store keeps. Without one, returns False, and the file is sent again."""
        if source is None or found.size != source.size:
            return source is None and found.size == 0
        with self.explained():
            head: Mapping[str, Any] | None = _found(
                lambda: self.client.head_object(Bucket=self.bucket, Key=found.key, ChecksumMode="ENABLED")
            )
        kept = (head or {}).get("ChecksumSHA256", "")
        whole, _, parts = kept.partition("-")
        return bool(whole) and whole == (_checksum_of_parts(source) if parts else _base64(source.sha256))

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See Store. Uses boto3, because obstore can't copy conditionally."""
        if origin.size > _COPY_BYTES:
            return None  # sent again, in parts: rare
        with self.explained():
            try:
                answer = self.client.copy_object(
                    Bucket=self.bucket, Key=key, CopySource={"Bucket": self.bucket, "Key": origin.key}, CopySourceIfMatch=f'"{origin.etag}"'
                )
            except exceptions.ClientError as error:
                code, status = _identity(error)
                if code != "NoSuchBucket" and (status in {404, 412} or code in _UNSUPPORTED):
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
        if rest := [*keys]:
            with self.explained():
                obstore.delete(self._objects, rest)

    def abandon(self, prefix: str) -> None:
        """See Store."""
        with self.explained():
            try:
                for page in self.client.get_paginator("list_multipart_uploads").paginate(Bucket=self.bucket, Prefix=prefix):
                    for begun in page.get("Uploads", []):
                        self.client.abort_multipart_upload(Bucket=self.bucket, Key=begun["Key"], UploadId=begun["UploadId"])
            except exceptions.ClientError as error:
                code, status = _identity(error)
                if code not in _UNSUPPORTED and status not in {403, 404}:
                    raise

    # ------------------------------------------------------------------ the bucket
    def ensure(self, settings: Mapping[str, object]) -> None:
        """See Store. ``kmsKey``: ARN or alias."""
        if not self.exists():
            # us-east-1 is the only region that S3 rejects as a constraint.
            place: Any = {} if self._region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": self._region}}
            with self.explained():
                self.client.create_bucket(Bucket=self.bucket, **place)
        for what, argument, value, _ in self._aspects(settings).values():
            arguments: Any = {argument: json.dumps(value) if argument == "Policy" else value}
            self._optional(getattr(self.client, f"put_{what}"), **arguments)

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """See Store."""
        changed = []
        for name, (what, argument, _, wanted) in self._aspects(settings).items():
            answer = self._optional(getattr(self.client, f"get_{what}"))
            if answer is not None:
                held = answer.get(argument, answer)
                if not includes(json.loads(held) if isinstance(held, str) else held, wanted):
                    changed.append(name)
        return changed

    def _aspects(self, settings: Mapping[str, object]) -> dict[str, tuple[str, str, Any, Any]]:
        return aspects(self.bucket, self._region, settings, tls=not (self._endpoint or "").startswith("http://"))

    def _purge(self) -> None:
        self.abandon("")
        for page in self._optional(self.client.get_paginator("list_object_versions").paginate) or []:
            gone: Any = [
                {"Key": entry["Key"], "VersionId": entry["VersionId"]}
                for kind in ("Versions", "DeleteMarkers")
                for entry in page.get(kind, [])
            ]
            if gone:
                self.client.delete_objects(Bucket=self.bucket, Delete={"Objects": gone, "Quiet": True})

    def _delete_bucket(self) -> None:
        self.client.delete_bucket(Bucket=self.bucket)

    def _optional(self, request: Callable[..., Any], **arguments: Any) -> Any:
        """Return the response: empty if the setting does not exist, None if an S3-compatible store doesn't support the request."""
        with self.explained():
            try:
                return request(Bucket=self.bucket, **arguments)
            except exceptions.ClientError as error:
                code, status = _identity(error)
                if status == 404 and code != "NoSuchBucket":  # noqa: PLR2004  # HTTP: not found
                    return {}
                if self._endpoint and (code in _UNSUPPORTED or status in {400, 405, 501}):
                    return None
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
    except (FileNotFoundError, exceptions.ClientError) as error:
        code, status = _identity(error)
        if code == "NoSuchBucket" or (isinstance(error, exceptions.ClientError) and status != 404):  # noqa: PLR2004  # HTTP: not found
            raise
        return None


def _identity(error: Exception) -> tuple[str, int]:
    """Return S3's error code, such as ``NoSuchBucket``, and the HTTP status from a boto3 or obstore error; empty and 0 if it has none."""
    if isinstance(error, exceptions.ClientError):
        response = error.response
        return str(response.get("Error", {}).get("Code", "")), int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    # obstore has them only in its text: a request that failed, and the store's answer as XML.
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    return code[1] if code else "", int(status[1]) if status else 0


def _base64(digest: str) -> str:
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _checksum_of_parts(source: Source) -> str:
    """Return S3's checksum of a multipart object: the SHA-256 of its parts' SHA-256s, in base64. Empty if the file no longer exists."""
    digests = b""
    try:
        with source.path.open("rb") as stream:
            while part := stream.read(part_bytes(source.size)):
                digests += hashlib.sha256(part).digest()
    except OSError:
        return ""
    return _base64(hashlib.sha256(digests).hexdigest())
