"""What a release requires of an object store. `s3.py` implements it for S3, `gcs.py` for Google Cloud Storage.

An implementation holds to this:

- an object appears whole or not at all, and a listing shows it as soon as the request that wrote it is answered;
- the store's checksum of an object is compared with that of the file before `put_*` returns;
- each call may be made from any thread, and repeats what fails for a moment (throttling, a lost connection), with backoff and jitter;
- each failure is a FleetError with key, consequence and remedy; StoreUnreachableError when waiting may help.
"""

from __future__ import annotations

import base64
import hashlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

import google_crc32c

from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

T = TypeVar("T")
R = TypeVar("R")

PARALLEL: Final = 16
"""Requests in flight at once: with 100 ms for each, 160 small files a second."""

PART_BYTES: Final = 8 << 20
"""Largest file that is sent in one request. Larger ones go in parts of this size."""

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between attempts at a whole transfer, in seconds: a store may take a minute to restart."""

SHORT_PAUSES_S: Final = (1.0, 2.0, 4.0)
"""The same for a question in a preview."""


class StoreUnreachableError(FleetError):
    """The store does not answer, or is overloaded."""


class SourceChangedError(FleetError):
    """A file is not what was scanned. Its object was not written."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"triton-fleet:repository: {path} changed while it was sent: the release would mix old and new files and was not published. "
            "Run again when nothing writes to the folder."
        )


@dataclass(frozen=True, kw_only=True)
class Stat:
    """One object, as a listing shows it."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Changes whenever the content does (S3: the ETag without quotes; GCS: the CRC32C). Compared with that of the same object when it was
    published."""
    modified: float
    """Seconds since 1970, by the store's clock."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file to send, as it was scanned."""

    path: Path
    size: int
    """Bytes."""
    sha256: str
    """Hex digest."""
    crc32c: str
    """Base64, as stores write it."""
    modified_ns: int
    """Time of change in nanoseconds since 1970."""

    def unchanged(self) -> bool:
        """Whether size and time of change are as scanned."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


class ObjectStore(Protocol):
    """The objects of one bucket."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""

    def describe(self) -> str:
        """Where requests go, for messages: an endpoint, or the cloud and region."""

    def url(self, key: str) -> str:
        """URL of an object or prefix in the store's own form, such as ``s3://bucket/key``, for messages."""

    def exists(self) -> bool:
        """Whether the bucket exists."""

    def no_such_bucket(self) -> str:
        """Message for a bucket that does not exist."""

    def list(self, prefix: str) -> Iterator[Stat]:
        """All objects below ``prefix`` (empty, or a folder with its slash), sorted by key. Holds one page in memory."""

    def head(self, key: str) -> Stat | None:
        """One object; None when it does not exist."""

    def get_bytes(self, key: str) -> bytes | None:
        """Content of a small object; None when it does not exist."""

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """Write a small object. Its checksum is compared."""

    def put_file(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """Write a file, in parts of PART_BYTES where it is larger. Its checksum is compared.

        Args:
            key: Key of the object.
            source: The file.
            sent: Called with the number of bytes sent since the last call; a negative one when they have to be sent again.

        Raises:
            SourceChangedError: When the file is not what was scanned; the object was not written.
        """

    def holds(self, found: Stat, source: Source | None) -> bool:
        """Whether an object has the content of the file (None: is empty), by checksum. Does not fetch the object."""

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """Copy an object inside the store; None when it no longer exists or its etag has changed."""

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete objects. Missing objects are ignored."""

    def abandon(self, prefix: str) -> None:
        """Delete the parts that unfinished uploads below ``prefix`` have left."""


class Store(ObjectStore, Protocol):
    """One bucket, and what is in it."""

    def ensure(self, settings: Mapping[str, object]) -> None:
        """Create the bucket if it does not exist, and write its settings: ``versioning`` (bool), ``kmsKey`` (absent: the store's own).

        Raises:
            FleetError: The bucket belongs to another account or project.
        """

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """Names of settings that the bucket no longer has."""

    def purge(self) -> None:
        """Delete what keeps an empty bucket from being deleted: old versions and unfinished uploads. Skips one that has objects."""

    def remove(self) -> None:
        """Delete the bucket. Raises FleetError when it has objects."""


def send(source: Source, size: int, sent: Callable[[int], None], put: Callable[[Iterator[bytes]], R]) -> R:
    """Have ``put`` send a file in parts of ``size`` bytes. ``sent`` is called like `Progress.sent`.

    The last part is handed out only when all that was read is what was scanned: without it there is no object.

    Raises:
        SourceChangedError: When it is not.
    """
    reported = 0

    def parts() -> Iterator[bytes]:
        nonlocal reported
        checksum = read = 0
        try:
            with source.path.open("rb") as stream:
                while read < source.size:
                    sent(read - reported)
                    reported = read
                    part = stream.read(min(size, source.size - read))
                    checksum = google_crc32c.extend(checksum, part)
                    read += len(part)
                    same = crc32c_text(checksum) == source.crc32c and source.unchanged()
                    if not part or (read == source.size and not same):
                        raise SourceChangedError(source.path)
                    yield part
        except OSError:
            raise SourceChangedError(source.path) from None

    try:
        answer = put(parts())
    except BaseException:
        sent(-reported)
        raise
    sent(source.size - reported)
    return answer


def patiently(work: Callable[[], R], pauses_s: Sequence[float] | None = None) -> R:
    """Result of ``work``, repeated after each pause (seconds; None: PAUSES_S) while it raises StoreUnreachableError."""
    for pause in PAUSES_S if pauses_s is None else pauses_s:
        try:
            return work()
        except StoreUnreachableError:
            time.sleep(pause)
    return work()


def read_whole(source: Source) -> bytes:
    """Content of a small file. Raises SourceChangedError when it is not what was scanned."""
    try:
        with source.path.open("rb") as stream:
            content = stream.read(source.size + 1)
    except OSError:
        raise SourceChangedError(source.path) from None
    if hashlib.sha256(content).hexdigest() != source.sha256:
        raise SourceChangedError(source.path)
    return content


def crc32c(content: bytes) -> str:
    """CRC32C of ``content``, as stores write it."""
    return crc32c_text(google_crc32c.value(content))


def crc32c_text(checksum: int) -> str:
    """A CRC32C as stores write it: base64 of four bytes, the highest first."""
    return base64.b64encode(checksum.to_bytes(4, "big")).decode()


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results of ``work`` in the order of ``items``. After a failure no item is begun; it is raised once those under way are done."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="triton-fleet-store") as pool:
        return list(pool.map(work, items))


def few(names: Sequence[Any], shown: int = 3) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(str(name) for name in names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
