"""What a release needs of an object store, and nothing of any one store: `store.py` is S3, `gcs.py` is Google Cloud Storage.

Everything above (`release.py`, `sync.py`) knows keys, sizes, checksums and failures in words. An implementation must hold to this:

- an object appears whole or not at all, and a listing shows it as soon as the request that wrote it is answered;
- what was asked to be written is what lies there: the store's own checksum is compared, end to end, before `put_*` returns;
- each call may be made from any thread, and repeats what passes at once (throttling, a lost connection) by itself, with backoff and jitter;
- all that goes wrong comes out as a FleetError with key, consequence and remedy; StoreUnreachableError when waiting may help.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

R = TypeVar("R")

PARALLEL: Final = 16
"""Requests in flight at once. Small files wait for round trips, not for bandwidth; 16 keeps a 100 ms store at 160 files a second."""

PART_BYTES: Final = 8 << 20
"""Files that are too large for one request go in parts of this, and a request in flight holds no more than it in memory:
PARALLEL * PART_BYTES = 128 MiB."""

PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Between attempts at a whole transfer: a store that restarts within a minute goes unnoticed, one that stays away is told after it."""

SHORT_PAUSES_S: Final = (1.0, 2.0, 4.0)
"""The same for a question in a preview, where somebody sits and waits."""


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

    def is_empty(self) -> bool:
        """Whether nothing lies in it."""

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


def jittered(attempt: int, base_s: float = 0.2, most_s: float = 10.0) -> float:
    """Seconds to wait before attempt number ``attempt`` (from 1): exponential with full jitter, so that clients don't come back in step."""
    return random.uniform(0, min(most_s, base_s * 2**attempt))  # noqa: S311 (no secret)
