"""The objects of one Google Cloud Storage bucket, accessed with Google's client library.

obstore, which `s3.py` uses, is not an option: it uses Google's XML API without sending checksums (0.12.1), and the emulator does not
implement that API. Google's client sends the CRC32C of small objects, and Cloud Storage rejects mismatches. Large objects are sent as one
resumable upload in parts of PART_BYTES, and the checksum is compared at the end. Credentials are the application default credentials.
Objects have no ACLs, because buckets with uniform bucket-level access reject them.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from components.repository.store.gcs_bucket import GcsBucket
from components.repository.store.gcs_errors import KEY, Failures
from components.repository.store.objects import (
    LARGE_FILES,
    PARALLEL,
    PART_BYTES,
    SourceChangedError,
    Stat,
    StoreUnreachableError,
    crc32c,
    in_parallel,
    read_whole,
    send,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from components.repository.store.objects import Source

_TIMEOUT_S: Final = (5, 60)
"""Connect and read timeouts, in seconds."""
_PATIENCE_S: Final = 60
"""How long, in seconds, a request is retried with backoff and jitter before the store is considered unreachable."""
_FIELDS: Final = "items(name,size,crc32c,updated,generation),nextPageToken"
_TYPE: Final = "application/octet-stream"


class GcsStore(GcsBucket):
    """See `objects.Store`."""

    def __init__(self, *, bucket: str, project: str | None = None, location: str | None = None, endpoint: str | None = None) -> None:
        self.project = project
        """Project of a new bucket; None: the credentials' project."""
        self.location = location
        """Region or multi-region of a new bucket."""
        self.failures = Failures(bucket=bucket, endpoint=endpoint or os.environ.get("STORAGE_EMULATOR_HOST") or None)
        self._lock = threading.Lock()
        self._large = threading.BoundedSemaphore(LARGE_FILES)

    def describe(self) -> str:
        """See Store."""
        return self.failures.describe()

    def url(self, key: str) -> str:
        """See Store."""
        return f"gs://{self.bucket}/{key}"

    def no_such_bucket(self) -> str:
        """See Store."""
        return self.failures.no_such_bucket()

    def exists(self) -> bool:
        """See Store. Lists objects, which every reader of a release is allowed to do; object roles can't get the bucket itself."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with self.failures.explained():
            try:
                next(iter(self.client.list_blobs(self.bucket, max_results=1, **self.request)), None)
            except NotFound:
                return False
        return True

    def list(self, prefix: str) -> Iterator[Stat]:
        """See Store."""
        with self.failures.explained():
            yield from map(_stat, self.client.list_blobs(self.bucket, prefix=prefix, page_size=1000, fields=_FIELDS, **self.request))

    def head(self, key: str) -> Stat | None:
        """See Store."""
        with self.failures.explained():
            blob = self._bucket.get_blob(key, **self.request)
        return None if blob is None else _stat(blob)

    def get_bytes(self, key: str) -> bytes | None:
        """See Store. The client verifies the checksum."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with self.failures.explained():
            try:
                content: bytes = self._bucket.blob(key).download_as_bytes(checksum="crc32c", **self.request)
            except NotFound:
                if not self.exists():
                    raise
                return None
        return content

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See Store."""
        with self.failures.explained():
            blob = self._bucket.blob(key)
            blob.upload_from_string(body, content_type=_TYPE, checksum="crc32c", **self.request)
            return self._compared(blob, len(body), crc32c(body))

    def put_file(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """See Store. If the upload of a large file is interrupted, it restarts from the beginning."""
        if not source.unchanged():
            raise SourceChangedError(source.path)
        if source.size <= PART_BYTES:
            written = self.put_bytes(key, read_whole(source))
            sent(source.size)
            return written
        blob = self._bucket.blob(key)

        def put(parts: Iterator[bytes]) -> None:
            # An exception inside the block cancels the upload and deletes its data.
            with blob.open("wb", chunk_size=PART_BYTES, content_type=_TYPE, checksum="crc32c", **self.request) as upload:
                for part in parts:
                    upload.write(part)

        with self._large, self.failures.explained():
            send(source, PART_BYTES, sent, put)
            blob.reload(**self.request)
            return self._compared(blob, source.size, source.crc32c)

    def holds(self, found: Stat, source: Source | None) -> bool:
        """See Store. Uses the checksum from the scan; the file is not read again."""
        if source is None:
            return found.size == 0
        return found.size == source.size and found.etag == source.crc32c

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See Store. Copies exactly the generation that was checked; large objects take several requests."""
        from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

        with self.failures.explained():
            source = self._bucket.get_blob(origin.key, **self.request)
            if source is None or _stat(source).etag != origin.etag:
                return None
            target = self._bucket.blob(key)
            token: str | None = None
            try:
                while True:
                    token, _, _ = target.rewrite(source, token=token, if_source_generation_match=source.generation, **self.request)
                    if token is None:
                        break
            except (NotFound, PreconditionFailed):
                if not self.exists():
                    raise
                return None
            return self._compared(target, origin.size, origin.etag)

    def delete_many(self, keys: Iterable[str]) -> None:
        """See Store. Cloud Storage has no multi-object delete; its batch API only wraps single requests."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        def delete(key: str) -> None:
            try:
                self._bucket.blob(key).delete(**self.request)
            except NotFound:
                if not self.exists():
                    raise

        with self.failures.explained():
            in_parallel(delete, keys)

    def abandon(self, prefix: str) -> None:
        """See Store. Does nothing: an unfinished upload costs nothing and expires after a week."""

    @property
    def client(self) -> Any:
        """A google.cloud.storage.Client. Safe to use from several threads."""
        with self._lock:
            return self._client

    @cached_property
    def _client(self) -> Any:
        import google.cloud.storage as storage  # noqa: PLC0415, PLR0402  # the other spelling has no type
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
        from requests.adapters import HTTPAdapter  # noqa: PLC0415

        options: dict[str, Any] = {}
        if self.failures.endpoint:
            from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415

            options = {
                "credentials": AnonymousCredentials(),  # type: ignore[no-untyped-call]
                "client_options": {"api_endpoint": self.failures.endpoint},
            }
        try:
            client = storage.Client(project=self.project or ("emulator" if self.failures.endpoint else None), **options)
        except (GoogleAuthError, OSError) as error:
            raise self.failures.no_credentials(error) from None
        # One pooled connection per concurrent request: with the default of 10, the others would reconnect for each request.
        adapter = HTTPAdapter(pool_connections=PARALLEL, pool_maxsize=2 * PARALLEL)
        for scheme in ("http://", "https://"):
            client._http.mount(scheme, adapter)  # noqa: SLF001  # the client has no setting for it
        return client

    @property
    def _bucket(self) -> Any:
        return self.client.bucket(self.bucket)

    @cached_property
    def request(self) -> dict[str, Any]:
        """Timeouts, and retries for connection failures, 408, 429 and 5xx. All requests are safe to repeat: keys come from content."""
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

        return {
            "timeout": _TIMEOUT_S,
            "retry": DEFAULT_RETRY.with_timeout(_PATIENCE_S).with_delay(initial=0.2, maximum=10.0, multiplier=2.0),
        }

    def _compared(self, blob: Any, size: int, checksum: str) -> Stat:
        """Return the Stat of a written object. Deletes the object and raises StoreUnreachableError if it differs from what was sent."""
        written = _stat(blob)
        if (written.size, written.etag) != (size, checksum):
            self.delete_many([written.key])
            raise StoreUnreachableError(
                f"{KEY}: {self.url(written.key)} was stored as {written.size} bytes with the checksum {written.etag} instead of {size} "
                f"with {checksum}: the data was corrupted in transit, and the object was deleted. Run again; if it "
                "happens again, check proxies and memory."
            )
        return written


def _stat(blob: Any) -> Stat:
    return Stat(
        key=blob.name,
        size=int(blob.size or 0),
        etag=str(blob.crc32c or ""),
        modified=blob.updated.timestamp() if blob.updated is not None else 0.0,
    )
