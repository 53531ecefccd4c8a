"""What a release needs of an object store, whichever it is: `s3.py` is S3, `gcs.py` is Google Cloud Storage.

An implementation holds to this:

- an object appears whole or not at all, and a listing shows it as soon as the request that wrote it is answered;
- the store's checksum of an object is compared with that of the file before `put_*` returns;
- each call may be made from any thread, and repeats what fails for a moment (throttling, a lost connection), with backoff and jitter;
- each failure is a FleetError with key, consequence and remedy; StoreUnreachableError when waiting may help.
"""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
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
    """The store does not answer, or answers that it can't at the moment."""


class SourceChangedError(FleetError):
    """A file is not what was scanned: what was to be sent of it did not appear in the store."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"triton-fleet:repository: {path} changed while it was sent: the release would be a mixture, it was not published. "
            "Run again once the folder is at rest."
        )


class CancelledError(FleetError):
    """The run was cancelled."""

    def __init__(self) -> None:
        super().__init__(
            "triton-fleet:repository: the upload was cancelled: nothing was published, what has arrived stays and is not sent again. "
            "Run `pulumi up` again to finish it."
        )


@dataclass(frozen=True, kw_only=True)
class Stat:
    """One object, as a listing shows it."""

    key: str
    size: int
    """Bytes."""
    etag: str
    """Says what the content is, by the store's own means (S3: the ETag without quotes; GCS: the CRC32C): changes whenever the content does.
    Compared with what it was when the object was published, never across stores."""
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
    """Time of change in nanoseconds since 1970: a file that has another one now is refused (SourceChangedError)."""

    def unchanged(self) -> bool:
        """Whether the file still looks as it did when it was scanned."""
        try:
            now = self.path.stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (self.size, self.modified_ns)


@dataclass
class Transfer:
    """What a transfer and those who watch it share. Safe to use from several threads."""

    sent: Callable[[int], None] = lambda _: None
    """Called with the number of bytes that have arrived since the last call; with a negative one when they have to be sent again."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set to end it: no new request is begun."""

    def check(self) -> None:
        """Raise CancelledError once the transfer is cancelled: to be called between requests."""
        if self.cancelled.is_set():
            raise CancelledError

    def send(self, source: Source, size: int, put: Callable[[Iterator[bytes]], R]) -> R:
        """Have ``put`` send the file in parts of ``size`` bytes.

        The last part is handed out only when all that was read is what was scanned: without it there is no object.

        Raises:
            SourceChangedError: When it is not.
            CancelledError: When the transfer is cancelled.
        """
        reported = 0

        def parts() -> Iterator[bytes]:
            nonlocal reported
            checksum = read = 0
            try:
                with source.path.open("rb") as stream:
                    while read < source.size:
                        self.check()
                        self.sent(read - reported)
                        reported = read
                        part = stream.read(min(size, source.size - read))
                        checksum = google_crc32c.extend(checksum, part)
                        read += len(part)
                        whole = read == source.size and crc32c_text(checksum) == source.crc32c
                        if not part or (read == source.size and not (whole and source.unchanged())):
                            raise SourceChangedError(source.path)
                        yield part
            except OSError:
                raise SourceChangedError(source.path) from None

        try:
            answer = put(parts())
        except BaseException:
            self.sent(-reported)
            raise
        self.sent(source.size - reported)
        return answer


class ObjectStore(Protocol):
    """One bucket of one store."""

    @property
    def bucket(self) -> str:
        """Name of the bucket."""

    def describe(self) -> str:
        """Where requests go, for messages: an endpoint, or the provider and region."""

    def url(self, key: str) -> str:
        """The address of an object or prefix in the store's own terms, such as ``s3://bucket/key``: for people, not for Triton."""

    def exists(self) -> bool:
        """Whether the bucket is there."""

    def no_such_bucket(self) -> str:
        """What to say when the bucket is not there."""

    def list(self, prefix: str) -> Iterator[Stat]:
        """All objects below ``prefix``, sorted by key; a page at a time in memory."""

    def head(self, key: str) -> Stat | None:
        """One object; None when it is not there."""

    def get_bytes(self, key: str) -> bytes | None:
        """Content of a small object; None when it is not there."""

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """Write a small object, checksum compared."""

    def put_file(self, key: str, source: Source, transfer: Transfer) -> Stat:
        """Write a file: streamed, in parts where it is large, at most PART_BYTES in memory per call, checksum compared.

        Parts of an earlier attempt that was killed are used where the store still has them.

        Raises:
            SourceChangedError: When the file is not what was scanned; the object was not written.
            CancelledError: When the transfer is cancelled.
        """

    def holds(self, found: Stat, source: Source | None) -> bool:
        """Whether the object that a listing found has the content of the file (None: is empty), told by its checksum.

        May read the file, and ask the store about the object, but does not fetch its content.
        """

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """Copy an object inside of the store; None when it is not there any more, or not as it was (its etag has changed)."""

    def delete_many(self, keys: Iterable[str]) -> None:
        """Delete; one that is not there is no error."""

    def abandon(self, prefix: str) -> None:
        """Drop what unfinished uploads below ``prefix`` have left in the store, where it keeps such things."""


class ManagedBucket(Protocol):
    """The same store, where the stack makes the bucket itself."""

    def ensure(self, settings: Mapping[str, object]) -> None:
        """Make the bucket if it is not there, and bring what the stack says about it (encryption, versioning, ...) about.

        Raises:
            FleetError: When it exists and is not ours to take.
        """

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """Names of the settings that the bucket does not have any more."""

    def purge(self) -> None:
        """Delete what keeps a bucket without objects from being deleted: old versions and unfinished uploads. Does nothing to others."""

    def remove(self) -> None:
        """Delete the bucket if it is empty. Raises FleetError when it is not."""


def patiently(work: Callable[[], R], pauses_s: Sequence[float] | None = None) -> R:
    """Result of ``work``, which is begun anew after each pause (seconds; None: PAUSES_S) while the store is unreachable.

    It must be safe to repeat.

    Raises:
        StoreUnreachableError: When it still is after the last pause.
    """
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
    """Results of ``work`` in the order of ``items``. A failure is raised once what has begun is done; the rest is not begun."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="triton-fleet-store") as pool:
        return list(pool.map(work, items))


def few(names: Sequence[Any], shown: int = 3) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(str(name) for name in names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
