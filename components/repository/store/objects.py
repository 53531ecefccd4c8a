"""What a release requires of an object store. `s3.py` implements it for S3, `gcs.py` for Google Cloud Storage.

An implementation guarantees:

- writes are atomic, and listings are strongly consistent;
- before `put_*` returns, the object's checksum is compared with the file's;
- all methods are thread-safe and retry transient failures (throttling, lost connections) with backoff and jitter;
- each failure raises a FleetError with key, consequence and remedy, or StoreUnreachableError if waiting may help.
"""

from __future__ import annotations

import base64
import threading
import time
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar

import google_crc32c

from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

KEY: Final = "triton-fleet:repository"
T = TypeVar("T")
R = TypeVar("R")

PARALLEL: Final = 16
"""Maximum number of concurrent requests: at 100 ms each, 160 small files per second."""

PART_BYTES: Final = 8 << 20
"""Largest file, in bytes, that is sent in one request. Larger files are sent in parts of this size."""

LARGE_FILES: Final = 4
"""Maximum number of concurrent uploads of files larger than PART_BYTES. Limits memory use: each holds several parts."""

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Pauses between attempts at a whole transfer, in seconds: a store may take a minute to restart."""

SHORT_PAUSES_S: Final = (1.0, 2.0, 4.0)
"""Pauses for requests in a preview, in seconds."""


class StoreUnreachableError(FleetError):
    """The store does not answer, or is overloaded."""


class NoSuchBucketError(FleetError):
    """The bucket does not exist."""


class SourceChangedError(FleetError):
    """A file changed after the scan. It has no object."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"triton-fleet:repository: {path} changed during the upload: the release would mix old and new files and was not published. "
            "Run again when nothing writes to the folder."
        )


@dataclass(frozen=True, kw_only=True)
class Stat:
    """One object in a listing."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes whenever the content does (S3: the ETag without quotes; GCS: the CRC32C). Compared with its value at
    publication."""
    modified: float
    """Modification time, in seconds since 1970, by the store's clock."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A scanned file to send."""

    path: Path
    size: int
    """Bytes."""
    sha256: str
    """Hex digest."""
    crc32c: str
    """Base64, as in the stores' APIs."""
    modified_ns: int
    """Modification time in nanoseconds since 1970."""

    def unchanged(self) -> bool:
        """Whether size and modification time are the same as in the scan."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


MESSAGES: Final[Mapping[str, str]] = {
    "no bucket": ".bucket ({bucket}) does not exist at {where}: nothing was uploaded. "
    "Create it, correct the name or set createBucket: true.",
    "not empty": ".bucket ({bucket}) contains objects that this stack did not upload, such as {reason}: the bucket was kept. "
    "Move or delete them, then run destroy again.",
    "taken": ".bucket ({bucket}) belongs to another project (bucket names are globally unique): nothing was created. Choose another name.",
    "region": ".region ({reason}) is not the region of bucket {bucket}: S3 redirects each request. Set it to the bucket's region.",
    "no credentials": ": no usable {cloud} credentials where Pulumi runs ({reason}): bucket {bucket} can't be reached.",
    "credentials": ": {where} rejects the credentials that Pulumi uses ({reason}): nothing was uploaded.",
    "forbidden": ".bucket ({bucket}) can't be accessed with the credentials that Pulumi uses ({reason}): nothing was uploaded.",
    "key": ".kmsKey can't be used by Cloud Storage ({reason}): nothing can be written. Grant the project's storage service agent "
    "roles/cloudkms.cryptoKeyEncrypterDecrypter on the key, and use a key in the bucket's location.",
    "corrupt": ": {reason}: the data was corrupted in transit, and the object was deleted or rejected. "
    "Run again; if it happens again, check proxies and memory.",
    "unreachable": ": {where} does not answer ({reason}): what was uploaded to bucket {bucket} is kept.",
    "rejected": ": {where} rejected a request for bucket {bucket} ({reason}): uploaded files are kept. "
    "Fix the reported problem and run again: only what is missing is sent.",
}
"""What is wrong and its consequence, by kind of failure, with the remedy where it is the same for each store."""
_CLASSES: Final = {"unreachable": StoreUnreachableError, "corrupt": StoreUnreachableError, "no bucket": NoSuchBucketError}


class ObjectStore(Protocol):
    """The objects of one bucket."""

    bucket: str
    """Name of the bucket."""

    def describe(self) -> str:
        """Endpoint, or cloud and region, for messages."""

    def url(self, key: str) -> str:
        """URL of an object or prefix in the store's format, such as ``s3://bucket/key``, for messages."""

    def exists(self) -> bool:
        """Whether the bucket exists."""

    def list(self, prefix: str) -> Iterator[Stat]:
        """Yield all objects under ``prefix`` (empty, or ending in a slash), sorted by key. Keeps one page in memory."""

    def head(self, key: str) -> Stat | None:
        """Return one object, or None if it does not exist."""

    def get_bytes(self, key: str) -> bytes | None:
        """Return the content of a small object, or None if it does not exist."""

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """Write a small object and verify its checksum."""

    def put_file(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """Write a file, in parts if it is larger than PART_BYTES, and verify its checksum.

        Args:
            key: Key of the object.
            source: The file.
            sent: Called with the number of bytes sent since the last call; negative if bytes must be sent again.

        Raises:
            SourceChangedError: The file changed after the scan; no object was left.
        """

    def holds(self, found: Stat, source: Source | None) -> bool:
        """Compare an object with a file (None: an empty file) by checksum, without downloading it."""

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """Copy an object within the store. Returns None if it no longer exists or its etag has changed."""

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete objects. Missing objects are ignored."""

    def abandon(self, prefix: str) -> None:
        """Abort unfinished multipart uploads under ``prefix``."""


class Store(ObjectStore):
    """One bucket and its objects: what S3 and Google Cloud Storage have in common."""

    cloud: ClassVar[str]
    scheme: ClassVar[str]
    """Of URLs in the store's format."""
    errors: ClassVar[tuple[type[Exception], ...]]
    """What the store's client libraries raise."""
    remedies: ClassVar[Mapping[str, str]]
    """The remedy that ends a message of MESSAGES, where it depends on the store."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self._lock = threading.Lock()
        self._large = threading.BoundedSemaphore(LARGE_FILES)

    @abstractmethod
    def ensure(self, settings: Mapping[str, object]) -> None:
        """Create the bucket if needed and write its settings: ``versioning`` (bool), ``kmsKey`` (default: the store's key).

        Raises:
            FleetError: The bucket belongs to another account or project.
        """

    @abstractmethod
    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """Return the names of settings that have changed on the bucket."""

    @abstractmethod
    def _purge(self) -> None:
        """Delete noncurrent versions and unfinished uploads of a bucket without objects."""

    @abstractmethod
    def _delete_bucket(self) -> None:
        """Delete an empty bucket."""

    @abstractmethod
    def _put_large(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """Write a file that is larger than PART_BYTES."""

    @abstractmethod
    def _classify(self, error: Exception) -> tuple[str, object]:
        """Return the kind of failure, as in `failure`, and its reason."""

    def url(self, key: str) -> str:
        """See ObjectStore."""
        return f"{self.scheme}://{self.bucket}/{key}"

    def exists(self) -> bool:
        """See ObjectStore. Lists objects, which every reader of a release is allowed to do; few may get the bucket itself."""
        try:
            next(iter(self.list("")), None)
        except NoSuchBucketError:
            return False
        return True

    def put_file(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """See ObjectStore. If the upload of a large file is interrupted, it restarts from the beginning."""
        if not source.unchanged():
            raise SourceChangedError(source.path)
        if source.size <= PART_BYTES:
            written = self.put_bytes(key, read_whole(source))
            sent(source.size)
            return written
        try:
            with self.explained():
                written = self._put_large(key, source, sent)
        except (FleetError, OSError):
            if source.unchanged():
                raise
        if not source.unchanged():
            self.delete_many([key])
            raise SourceChangedError(source.path)
        return written

    def purge(self) -> None:
        """Delete noncurrent versions and unfinished uploads, which block a bucket's deletion. Does nothing if it contains objects."""
        with self.explained():
            if next(iter(self.list("")), None) is None:
                self._purge()

    def remove(self) -> None:
        """Delete the bucket with its noncurrent versions. Raises FleetError if it contains objects."""
        with self.explained():
            if left := [stat.key for stat in islice(self.list(""), 3)]:
                raise self.failure("not empty", ", ".join(left))
            self._purge()
            self._delete_bucket()

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Convert what the client libraries raise inside the block to FleetErrors with key, consequence and remedy."""
        try:
            yield
        except self.errors as error:
            raise self.failure(*self._classify(error)) from None

    def failure(self, kind: str, reason: object = "") -> FleetError:
        """Return the error for a ``kind`` of MESSAGES."""
        text = " ".join(str(reason).partition("\n\nDebug source")[0].split())[:400]  # obstore appends debug output to its first paragraph
        more = self.remedies.get(kind, "")
        message = f"{KEY}{MESSAGES[kind].format(bucket=self.bucket, cloud=self.cloud, where=self.describe(), reason=text)} {more}".rstrip()
        return _CLASSES.get(kind, FleetError)(message)


class Reading(FileIO):
    """A scanned file, open for reading."""

    def __init__(self, source: Source, sent: Callable[[int], None]) -> None:
        super().__init__(source.path)
        self._sent = sent
        self._reported = 0
        self.checksum = 0
        """CRC32C of what was read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read, and report to ``sent`` how much further, or back after a seek, the position is."""
        part = super().read(size) or b""
        self.checksum = google_crc32c.extend(self.checksum, part)
        position = self.tell()
        self._sent(position - self._reported)
        self._reported = position
        return part

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self.close()
        if kind is not None:
            self._sent(-self._reported)


def patiently(work: Callable[[], R], pauses_s: Sequence[float] | None = None) -> R:
    """Call ``work`` and return its result, retrying after each pause (seconds; None: PAUSES_S) on StoreUnreachableError."""
    for pause in PAUSES_S if pauses_s is None else pauses_s:
        try:
            return work()
        except StoreUnreachableError:
            time.sleep(pause)
    return work()


def read_whole(source: Source) -> bytes:
    """Return the content of a small file. Raises SourceChangedError if it differs from the scan."""
    try:
        with source.path.open("rb") as stream:
            content = stream.read(source.size + 1)
    except OSError:
        raise SourceChangedError(source.path) from None
    if len(content) != source.size or crc32c(content) != source.crc32c:
        raise SourceChangedError(source.path)
    return content


def crc32c(content: bytes) -> str:
    """Return the CRC32C of ``content``, base64-encoded."""
    return crc32c_text(google_crc32c.value(content))


def crc32c_text(checksum: int) -> str:
    """Encode a CRC32C as in the stores' APIs: base64 of four big-endian bytes."""
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results of ``work`` in the order of ``items``. After a failure no item is begun; it is raised once those under way are done."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="triton-fleet-store") as pool:
        return list(pool.map(work, items))


def few(names: Sequence[Any], shown: int = 3) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(str(name) for name in names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def environment_endpoint(environ: Mapping[str, str], profile: str | None = None) -> str | None:
    """Return the S3 endpoint that the AWS SDKs read from the environment, or from the AWS profile."""
    if environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return None
    return environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or _profile_endpoint(environ, profile)


def _profile_endpoint(environ: Mapping[str, str], profile: str | None) -> str | None:
    """Return ``endpoint_url`` of a profile as boto3 reads it; obstore does not. That of its ``services`` section comes first."""
    home = Path(environ.get("HOME", "/")) / ".aws"
    files = (Path(environ.get("AWS_CONFIG_FILE", home / "config")), Path(environ.get("AWS_SHARED_CREDENTIALS_FILE", home / "credentials")))
    if not any(b"endpoint_url" in path.read_bytes() for path in map(Path.expanduser, files) if path.is_file()):
        return None  # without importing botocore
    import botocore.session  # noqa: PLC0415  # loaded only by stacks with S3

    session = botocore.session.Session(profile=profile)
    try:
        known = session.get_scoped_config()
    except botocore.exceptions.BotoCoreError:
        return None  # reported when the store is opened
    services = session.full_config.get("services", {}).get(known.get("services", ""), {})
    return (services.get("s3") or {}).get("endpoint_url") or known.get("endpoint_url") or None
