"""Google Cloud Storage, as `objectstore.py` asks for it. google-cloud-storage is imported when a client is made, never before.

Credentials are the client's own default chain (GOOGLE_APPLICATION_CREDENTIALS, `gcloud auth application-default login`, the metadata
server). Objects have no ACL: buckets with uniform access take none, and none is sent.

Every object is written with its CRC32C: small ones declare it and the store refuses what arrives otherwise; large ones go as one resumable
upload in chunks of PART_BYTES whose checksum is compared at the end, and what doesn't match is deleted. Each chunk is repeated where it
failed. Unlike S3's parts, what a killed process had sent of one file is sent again: the address of an unfinished upload is as good as a
key to write with, and is kept nowhere.
"""

from __future__ import annotations

import functools
import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.checksum import crc32c, extend, text
from components.repository.objectstore import PARALLEL, PART_BYTES, SourceChangedError, Stat, StoreUnreachableError

if TYPE_CHECKING:
    import builtins
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from components.repository.objectstore import Source, Transfer

_KEY: Final = "triton-fleet:repository"
_TIMEOUT_S: Final = (5, 60)
"""To connect, and between two bytes."""
_PATIENCE_S: Final = 60
"""How long one request is repeated, with backoff and jitter, before the store counts as unreachable."""
_PAGE: Final = 1000
_FIELDS: Final = "items(name,size,crc32c,updated,generation),nextPageToken"
_ABORT_DAYS: Final = 7
"""Unfinished uploads of the XML interface are dropped after so many days; Google drops resumable ones itself after as many."""


class GcsStore:
    """One bucket."""

    def __init__(self, *, bucket: str, project: str | None = None, location: str | None = None, endpoint: str | None = None) -> None:
        self.bucket = bucket
        self.project = project
        """Project that a new bucket belongs to; None: the credentials' own."""
        self.location = location
        """Region or multi-region of a new bucket."""
        self.endpoint = endpoint or os.environ.get("STORAGE_EMULATOR_HOST") or None
        """An emulator's URL; None: Google's own."""

    def describe(self) -> str:
        """See ObjectStore."""
        return f"the emulator at {self.endpoint}" if self.endpoint else "Google Cloud Storage"

    def url(self, key: str) -> str:
        """See ObjectStore."""
        return f"gs://{self.bucket}/{key}"

    def no_such_bucket(self) -> str:
        """See ObjectStore."""
        return (
            f"{_KEY}.bucket ({self.bucket}) does not exist at {self.describe()}: there is nowhere to put the models, nothing was uploaded. "
            "Create it, correct the name or set createBucket: true."
        )

    # --- objects ---

    def exists(self) -> bool:
        """See ObjectStore. Asks for a listing, which every user of a release may do; roles for objects only may not look at the bucket."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with self._explained():
            try:
                next(iter(self._client.list_blobs(self.bucket, max_results=1, timeout=_TIMEOUT_S, retry=self._retry)), None)
            except NotFound:
                return False
        return True

    def list(self, prefix: str) -> Iterator[Stat]:
        """See ObjectStore. The store sorts by the bytes of the names."""
        with self._explained():
            for blob in self._client.list_blobs(
                self.bucket, prefix=prefix, page_size=_PAGE, fields=_FIELDS, timeout=_TIMEOUT_S, retry=self._retry
            ):
                yield _stat(blob)

    def head(self, key: str) -> Stat | None:
        """See ObjectStore."""
        with self._explained():
            blob = self._bucket.get_blob(key, timeout=_TIMEOUT_S, retry=self._retry)
        return None if blob is None else _stat(blob)

    def get_bytes(self, key: str) -> bytes | None:
        """See ObjectStore. The client compares the checksum."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with self._explained():
            try:
                content: bytes = self._bucket.blob(key).download_as_bytes(checksum="crc32c", timeout=_TIMEOUT_S, retry=self._retry)
            except NotFound:
                if not self.exists():
                    raise
                return None
        return content

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See ObjectStore. The checksum goes along, and the store refuses what does not have it."""
        with self._explained():
            blob = self._bucket.blob(key)
            blob.upload_from_string(body, content_type="application/octet-stream", checksum="crc32c", timeout=_TIMEOUT_S, retry=self._retry)
            return self._arrived(blob, len(body), crc32c(body))

    def put_file(self, key: str, source: Source, transfer: Transfer) -> Stat:
        """See ObjectStore."""
        transfer.check()
        if not source.unchanged():
            raise SourceChangedError(source.path)
        if source.size <= PART_BYTES:
            body = _read(source.path, PART_BYTES + 1)
            if hashlib.sha256(body).hexdigest() != source.sha256:
                raise SourceChangedError(source.path)
            written = self.put_bytes(key, body)
            transfer.sent(source.size)
            return written
        with self._explained(), source.path.open("rb") as stream:
            blob = self._bucket.blob(key, chunk_size=PART_BYTES)
            reader = _Reader(stream, source, transfer)
            blob.upload_from_file(
                reader,
                size=source.size,
                content_type="application/octet-stream",
                checksum="crc32c",
                timeout=_TIMEOUT_S,
                retry=self._retry,
            )
            written = self._arrived(blob, source.size, source.crc32c)
        reader.done()
        return written

    def holds(self, found: Stat, source: Source | None) -> bool:
        """See ObjectStore. By what the scan has found: the file is not read again."""
        if source is None:
            return found.size == 0
        return found.size == source.size and found.etag == source.crc32c

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See ObjectStore. Pinned to the generation that was looked at; large objects take several requests."""
        from google.api_core.exceptions import NotFound, PreconditionFailed  # noqa: PLC0415

        with self._explained():
            source = self._bucket.get_blob(origin.key, timeout=_TIMEOUT_S, retry=self._retry)
            if source is None or _stat(source).etag != origin.etag:
                return None
            target = self._bucket.blob(key)
            token: str | None = None
            try:
                while True:
                    token, _, _ = target.rewrite(
                        source, token=token, if_source_generation_match=source.generation, timeout=_TIMEOUT_S, retry=self._retry
                    )
                    if token is None:
                        break
            except (NotFound, PreconditionFailed):
                if not self.exists():
                    raise
                return None
            return self._arrived(target, origin.size, origin.etag)

    def delete_many(self, keys: Iterable[str]) -> None:
        """See ObjectStore. Side by side: the store has no request for many, its batches are as many requests in one envelope."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        def delete(key: str) -> None:
            try:
                self._bucket.blob(key).delete(timeout=_TIMEOUT_S, retry=self._retry)
            except NotFound:
                if not self.exists():
                    raise

        with self._explained(), ThreadPoolExecutor(max_workers=PARALLEL, thread_name_prefix="triton-fleet-gcs") as pool:
            for _ in pool.map(delete, keys):
                pass

    def abandon(self, prefix: str) -> None:
        """See ObjectStore. Nothing to do: an unfinished upload is visible to nobody, costs nothing, and ends after a week."""

    # --- the bucket itself ---

    def ensure(self, settings: Mapping[str, object]) -> None:
        """See ManagedBucket. Settings: ``versioning`` (bool), ``kmsKey`` (projects/../cryptoKeys/..; absent: Google's own key)."""
        from google.api_core.exceptions import Conflict  # noqa: PLC0415

        with self._explained():
            bucket = self._client.lookup_bucket(self.bucket, timeout=_TIMEOUT_S, retry=self._retry)
            if bucket is None:
                bucket = self._client.bucket(self.bucket)
                self._wish(bucket, settings)
                try:
                    self._client.create_bucket(bucket, project=self.project, location=self.location, timeout=_TIMEOUT_S, retry=self._retry)
                except Conflict:
                    raise FleetError(
                        f"{_KEY}.bucket ({self.bucket}) is taken by somebody else (names are unique in all of Google Cloud): "
                        "nothing was created. Choose another name."
                    ) from None
                return
            if self._lacks(bucket, settings):
                self._wish(bucket, settings)
                bucket.patch(timeout=_TIMEOUT_S, retry=self._retry)

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """See ManagedBucket."""
        with self._explained():
            bucket = self._client.lookup_bucket(self.bucket, timeout=_TIMEOUT_S, retry=self._retry)
            return [] if bucket is None else self._lacks(bucket, settings)

    def is_empty(self) -> bool:
        """Whether nothing lies in it."""
        return next(iter(self.list("")), None) is None

    def remove(self) -> None:
        """See ManagedBucket. Old versions of what was deleted go with it: nothing that a listing shows is ever deleted here."""
        from google.api_core.exceptions import Conflict, NotFound  # noqa: PLC0415

        with self._explained():
            left = [blob.name for blob in self._client.list_blobs(self.bucket, max_results=3, timeout=_TIMEOUT_S, retry=self._retry)]
            if left:
                raise self._kept(left)
            old = self._client.list_blobs(self.bucket, versions=True, timeout=_TIMEOUT_S, retry=self._retry)
            for blob in old:
                try:
                    blob.delete(timeout=_TIMEOUT_S, retry=self._retry)
                except NotFound:
                    continue
            try:
                self._client.bucket(self.bucket).delete(timeout=_TIMEOUT_S, retry=self._retry)
            except NotFound:
                return
            except Conflict:
                raise self._kept(["one that has just come"]) from None

    def _kept(self, keys: Sequence[str]) -> FleetError:
        return FleetError(
            f"{_KEY}.bucket ({self.bucket}) holds objects that this stack did not upload, such as {', '.join(keys)}: it was kept. "
            "Move them away and run destroy again."
        )

    @staticmethod
    def _wish(bucket: Any, settings: Mapping[str, object]) -> None:
        """Write into ``bucket`` what it is to be; nothing is sent."""
        bucket.iam_configuration.uniform_bucket_level_access_enabled = True
        bucket.iam_configuration.public_access_prevention = "enforced"
        bucket.versioning_enabled = bool(settings.get("versioning"))
        bucket.default_kms_key_name = settings.get("kmsKey") or None
        rules: list[dict[str, Any]] = [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _ABORT_DAYS}}]
        if settings.get("versioning"):
            rules.append({"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": 30}})
        bucket.lifecycle_rules = rules

    def _lacks(self, bucket: Any, settings: Mapping[str, object]) -> builtins.list[str]:
        """Names of the settings that the bucket does not have. An emulator keeps few of them: there only those that it knows count."""
        access = bucket.iam_configuration
        have = {
            "uniformAccess": access.uniform_bucket_level_access_enabled is True,
            "publicAccessPrevention": access.public_access_prevention == "enforced",
            "versioning": bool(bucket.versioning_enabled) == bool(settings.get("versioning")),
            "kmsKey": (bucket.default_kms_key_name or None) == (settings.get("kmsKey") or None),
            "lifecycle": any(rule.get("action", {}).get("type") == "AbortIncompleteMultipartUpload" for rule in bucket.lifecycle_rules),
        }
        known = {"versioning"} if self.endpoint else set(have)
        return sorted(name for name, held in have.items() if name in known and not held)

    # --- the client, and its failures in words ---

    @functools.cached_property
    def _client(self) -> Any:
        import google.cloud.storage as storage  # noqa: PLC0415, PLR0402  # the other spelling has no type
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415
        from requests.adapters import HTTPAdapter  # noqa: PLC0415

        options: dict[str, Any] = {}
        if self.endpoint:
            from google.auth.credentials import AnonymousCredentials  # noqa: PLC0415

            options = {
                "credentials": AnonymousCredentials(),  # type: ignore[no-untyped-call]
                "client_options": {"api_endpoint": self.endpoint},
            }
        try:
            client = storage.Client(project=self.project or ("emulator" if self.endpoint else None), **options)
        except (GoogleAuthError, OSError) as error:
            raise FleetError(
                f"{_KEY}: no usable Google credentials where Pulumi runs ({error}): bucket {self.bucket} can't be reached. "
                "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; and name the project (project) where "
                "the credentials have none."
            ) from None
        # As many connections as there are requests in flight; the default of 10 would close and open them all the time.
        adapter = HTTPAdapter(pool_connections=PARALLEL, pool_maxsize=2 * PARALLEL)
        for scheme in ("http://", "https://"):
            client._http.mount(scheme, adapter)  # noqa: SLF001  # the client has no setting for it
        return client

    @functools.cached_property
    def _bucket(self) -> Any:
        return self._client.bucket(self.bucket)

    @functools.cached_property
    def _retry(self) -> Any:
        """Connection failures, 408, 429 and 5xx, with backoff and jitter. Everything here may be repeated: keys are content."""
        from google.cloud.storage.retry import DEFAULT_RETRY  # noqa: PLC0415

        return DEFAULT_RETRY.with_timeout(_PATIENCE_S).with_delay(initial=0.2, maximum=10.0, multiplier=2.0)

    def _arrived(self, blob: Any, size: int, crc32c: str) -> Stat:
        """What the store says that it has written, compared with what was meant."""
        written = _stat(blob)
        if (written.size, written.etag) != (size, crc32c):
            self.delete_many([written.key])
            raise StoreUnreachableError(
                f"{_KEY}: {self.url(written.key)} arrived as {written.size} bytes with the checksum {written.etag} instead of {size} with "
                f"{crc32c}: something between here and the store changes data; the object was deleted. Run again; if it comes back, "
                "look at proxies and memory."
            )
        return written

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the client raises inside the block into a FleetError with key, consequence and remedy."""
        from google.api_core import exceptions  # noqa: PLC0415
        from google.auth.exceptions import GoogleAuthError, TransportError  # noqa: PLC0415
        from google.cloud.exceptions import GoogleCloudError  # noqa: PLC0415
        from google.cloud.storage.exceptions import DataCorruption, InvalidResponse  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415

        try:
            yield
        except exceptions.RetryError as error:
            raise StoreUnreachableError(self._unreachable(error.cause or error)) from None
        except (exceptions.TooManyRequests, exceptions.ServerError, RequestException, ConnectionError, TransportError) as error:
            raise StoreUnreachableError(self._unreachable(error)) from None
        except DataCorruption as error:
            raise StoreUnreachableError(
                f"{_KEY}: an object of bucket {self.bucket} arrived with another checksum ({error}): it was deleted or not taken. "
                "Run again; if it comes back, look at proxies and memory."
            ) from None
        except InvalidResponse as error:
            status = int(getattr(error.response, "status_code", 0))
            if status >= 500 or status in {408, 429}:  # noqa: PLR2004  # HTTP's own numbers
                raise StoreUnreachableError(self._unreachable(error)) from None
            raise self._refused(status, error) from None
        except GoogleAuthError as error:
            raise FleetError(
                f"{_KEY}: Google does not take the credentials that Pulumi runs with ({error}): nothing was uploaded. "
                "Renew them with `gcloud auth application-default login`, or mend GOOGLE_APPLICATION_CREDENTIALS."
            ) from None
        except (exceptions.GoogleAPICallError, GoogleCloudError) as error:
            raise self._refused(int(error.code or 0), error) from None

    def _refused(self, status: int, error: Exception) -> FleetError:
        text = " ".join(str(error).split())[:400]
        if status == 404:  # noqa: PLR2004  # HTTP's own number
            return FleetError(self.no_such_bucket())
        if status == 401:  # noqa: PLR2004
            return FleetError(
                f"{_KEY}: Google does not know the credentials that Pulumi runs with ({text}): nothing was uploaded. "
                "Renew them with `gcloud auth application-default login`, or mend GOOGLE_APPLICATION_CREDENTIALS."
            )
        if status == 403:  # noqa: PLR2004
            if "cloudkms" in text or "Cloud KMS" in text:
                return FleetError(
                    f"{_KEY}.kmsKey can't be used by Cloud Storage ({text}): nothing can be written. Grant the project's storage service "
                    "agent roles/cloudkms.cryptoKeyEncrypterDecrypter on the key, and use a key in the bucket's own location."
                )
            return FleetError(
                f"{_KEY}.bucket ({self.bucket}) can't be used with the credentials that Pulumi runs with ({text}): nothing was uploaded. "
                "Grant them roles/storage.objectAdmin on the bucket (roles/storage.admin with createBucket: true); "
                "or it is somebody else's bucket: choose another name."
            )
        return FleetError(
            f"{_KEY}: {self.describe()} refused a request on bucket {self.bucket} ({text}): what had arrived is kept. "
            "Mend what it names and run again: only what is missing is sent."
        )

    def _unreachable(self, reason: object) -> str:
        return (
            f"{_KEY}: {self.describe()} does not answer ({' '.join(str(reason).split())[:300]}): what had arrived in bucket {self.bucket} "
            "is kept. Mend the network (or STORAGE_EMULATOR_HOST), then run again: only what is missing is sent."
        )


class _Reader:
    """A file as the client reads it, chunk by chunk: counts what was sent, ends when it shall, and lets no changed file become an object.

    The last chunk is given out only when all that was read is what was scanned: without it there is no object.
    """

    def __init__(self, stream: IO[bytes], source: Source, transfer: Transfer) -> None:
        self._stream = stream
        self._source = source
        self._transfer = transfer
        self._crc = 0
        self._hashed = 0
        self._reported = 0

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def read(self, size: int = -1) -> bytes:
        self._transfer.check()
        at = self._stream.tell()
        self._report(at)  # who asks for more has sent what was before
        chunk = self._stream.read(size)
        end = at + len(chunk)
        if end > self._hashed:  # a chunk that is repeated is read again
            self._crc = extend(self._crc, chunk[self._hashed - at :])
            self._hashed = end
        short = len(chunk) < size and end < self._source.size
        last = end >= self._source.size
        if short or (last and (text(self._crc) != self._source.crc32c or not self._source.unchanged())):
            raise SourceChangedError(self._source.path)
        return chunk

    def done(self) -> None:
        """All has arrived."""
        self._report(self._source.size)

    def _report(self, until: int) -> None:
        if until > self._reported:
            self._transfer.sent(until - self._reported)
            self._reported = until


def _stat(blob: Any) -> Stat:
    return Stat(
        key=blob.name,
        size=int(blob.size or 0),
        etag=str(blob.crc32c or ""),
        modified=blob.updated.timestamp() if blob.updated is not None else 0.0,
    )


def _read(path: Path, most: int) -> bytes:
    """The first ``most`` bytes of a file. Raises SourceChangedError when it can't be read any more."""
    try:
        with path.open("rb") as stream:
            return stream.read(most)
    except OSError:
        raise SourceChangedError(path) from None
