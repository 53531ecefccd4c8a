"""One Google Cloud Storage bucket, accessed with Google's client library.

obstore, which `s3.py` uses, is not an option: it uses Google's XML API without sending checksums (0.12.1), and the emulator does not
implement that API. Google's client sends the CRC32C of small objects, and Cloud Storage rejects mismatches. Large objects are sent as one
resumable upload in parts of PART_BYTES, and the checksum is compared at the end. Credentials are those of Pulumi's Google Cloud provider.
Objects have no ACLs, because buckets with uniform bucket-level access reject them.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import google.auth
import google.auth.impersonated_credentials
import google.cloud.storage as storage  # noqa: PLR0402  # the other spelling has no type
import google.oauth2.credentials
import google.oauth2.service_account
from google.api_core import exceptions
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY
from requests.adapters import HTTPAdapter
from requests.exceptions import RequestException

from components.repository.store.objects import PARALLEL, PART_BYTES, Reading, Stat, Store, crc32c, in_parallel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from components.repository.store.objects import Source

_TIMEOUT_S: Final = (5, 60)
"""Connect and read timeouts, in seconds."""
_PATIENCE_S: Final = 60
"""How long, in seconds, a request is retried with backoff and jitter before the store is considered unreachable."""
_FIELDS: Final = "items(name,size,crc32c,updated,generation),nextPageToken"
_KEYS: Final = ("GOOGLE_CREDENTIALS", "GOOGLE_CLOUD_KEYFILE_JSON", "GCLOUD_KEYFILE_JSON")
"""Variables with a key, or the path of its file, that Pulumi's Google Cloud provider reads."""
_OF_USERS: Any = google.oauth2.credentials.Credentials
_OF_SERVICES: Any = google.oauth2.service_account.Credentials
_IMPERSONATED: Any = google.auth.impersonated_credentials.Credentials
_SCOPES: Final = ["https://www.googleapis.com/auth/cloud-platform"]
_TYPE: Final = "application/octet-stream"
_ABORT_DAYS: Final = 7
"""Days after which unfinished XML API multipart uploads are aborted. Google deletes unfinished resumable uploads after the same time."""
_VERSION_DAYS: Final = 30
"""Days after which noncurrent object versions are deleted."""


class GcsStore(Store):
    """See `Store`."""

    cloud = "Google"
    scheme = "gs"
    errors = (exceptions.GoogleAPIError, GoogleAuthError, InvalidResponse, DataCorruption, RequestException, ConnectionError)
    remedies: ClassVar[Mapping[str, str]] = {
        "no credentials": "Run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS; set project where the "
        "credentials name none.",
        "credentials": "Renew them with `gcloud auth application-default login`, or fix GOOGLE_APPLICATION_CREDENTIALS.",
        "forbidden": "Grant them roles/storage.objectAdmin on the bucket (roles/storage.admin with createBucket: true); "
        "if the bucket belongs to another project, choose another name.",
        "unreachable": "Fix the network (or STORAGE_EMULATOR_HOST), then run again: only what is missing is sent.",
    }

    def __init__(self, bucket: str, *, project: str | None = None, location: str | None = None, endpoint: str | None = None) -> None:
        super().__init__(bucket)
        self._project = project
        """Project of a new bucket; None: the credentials' project."""
        self._location = location
        """Region or multi-region of a new bucket."""
        self._endpoint = endpoint or os.environ.get("STORAGE_EMULATOR_HOST") or None
        """URL of an emulator; None: Google."""
        # Timeouts, and retries for connection failures, 408, 429 and 5xx. All requests are safe to repeat: keys come from content.
        retry = DEFAULT_RETRY.with_timeout(_PATIENCE_S).with_delay(initial=0.2, maximum=10.0, multiplier=2.0)
        self._request: dict[str, Any] = {"timeout": _TIMEOUT_S, "retry": retry}
        options: dict[str, Any] = {"project": project}
        try:
            if self._endpoint:
                anonymous = AnonymousCredentials()  # type: ignore[no-untyped-call]
                options = {"project": project or "emulator", "credentials": anonymous, "client_options": {"api_endpoint": self._endpoint}}
            else:
                options["credentials"] = _credentials(os.environ)
            self._client: Any = storage.Client(**options)
        except (GoogleAuthError, OSError, ValueError) as error:
            raise self.failure("no credentials", error) from None
        # One pooled connection per concurrent request: with the default of 10, the others would reconnect for each request.
        adapter = HTTPAdapter(pool_connections=PARALLEL, pool_maxsize=2 * PARALLEL)
        for scheme in ("http://", "https://"):
            self._client._http.mount(scheme, adapter)  # noqa: SLF001  # the client has no setting for it

    @property
    def _bucket(self) -> Any:
        return self._client.bucket(self.bucket)

    def describe(self) -> str:
        """See Store."""
        return f"the emulator at {self._endpoint}" if self._endpoint else "Google Cloud Storage"

    def _classify(self, error: Exception) -> tuple[str, object]:
        if isinstance(error, DataCorruption):
            return "corrupt", error
        if isinstance(error, exceptions.RetryError):
            return "unreachable", error.cause or error
        if isinstance(error, (RequestException, ConnectionError, TransportError)):
            return "unreachable", error
        if isinstance(error, GoogleAuthError):
            return "credentials", error
        status = int(getattr(error.response, "status_code", 0) if isinstance(error, InvalidResponse) else getattr(error, "code", None) or 0)
        if status == 403 and ("cloudkms" in str(error) or "Cloud KMS" in str(error)):  # noqa: PLR2004  # HTTP: forbidden
            return "key", error
        known = {401: "credentials", 403: "forbidden", 404: "no bucket", 408: "unreachable", 429: "unreachable"}
        return known.get(status, "rejected" if status < 500 else "unreachable"), error  # noqa: PLR2004  # HTTP: server errors

    def list(self, prefix: str) -> Iterator[Stat]:
        """See Store."""
        with self.explained():
            yield from map(_stat, self._client.list_blobs(self.bucket, prefix=prefix, page_size=1000, fields=_FIELDS, **self._request))

    def head(self, key: str) -> Stat | None:
        """See Store."""
        with self.explained():
            blob = self._bucket.get_blob(key, **self._request)
        return None if blob is None else _stat(blob)

    def get_bytes(self, key: str) -> bytes | None:
        """See Store. The client verifies the checksum."""
        with self.explained():
            try:
                content: bytes = self._bucket.blob(key).download_as_bytes(checksum="crc32c", **self._request)
            except exceptions.NotFound:
                if not self.exists():
                    raise
                return None
        return content

    def put_bytes(self, key: str, body: bytes) -> Stat:
        """See Store."""
        with self.explained():
            blob = self._bucket.blob(key)
            blob.upload_from_string(body, content_type=_TYPE, checksum="crc32c", **self._request)
            return self._compared(blob, len(body), crc32c(body))

    def _put_large(self, key: str, source: Source, sent: Callable[[int], None]) -> Stat:
        """Send the file as one resumable upload, with the CRC32C of the scan."""
        blob = self._bucket.blob(key, chunk_size=PART_BYTES)
        with self._large, Reading(source, sent) as stream:
            blob.upload_from_file(stream, size=source.size, content_type=_TYPE, crc32c_checksum_value=source.crc32c, **self._request)
        return self._compared(blob, source.size, source.crc32c)

    def holds(self, found: Stat, source: Source | None) -> bool:
        """See Store. Uses the checksum from the scan; the file is not read again."""
        if source is None:
            return found.size == 0
        return found.size == source.size and found.etag == source.crc32c

    def copy(self, origin: Stat, key: str) -> Stat | None:
        """See Store. Copies exactly the generation that was checked; large objects take several requests."""
        with self.explained():
            source = self._bucket.get_blob(origin.key, **self._request)
            if source is None or _stat(source).etag != origin.etag:
                return None
            target = self._bucket.blob(key)
            token: str | None = None
            try:
                while True:
                    token, _, _ = target.rewrite(source, token=token, if_source_generation_match=source.generation, **self._request)
                    if token is None:
                        break
            except (exceptions.NotFound, exceptions.PreconditionFailed):
                if not self.exists():
                    raise
                return None
            return self._compared(target, origin.size, origin.etag)

    def delete_many(self, keys: Iterable[str]) -> None:
        """See Store. Cloud Storage has no multi-object delete; its batch API only wraps single requests."""

        def delete(key: str) -> None:
            try:
                self._bucket.blob(key).delete(**self._request)
            except exceptions.NotFound:
                if not self.exists():
                    raise

        with self.explained():
            in_parallel(delete, keys)

    def abandon(self, prefix: str) -> None:
        """See Store. Does nothing: an unfinished upload costs nothing and expires after a week."""

    def _compared(self, blob: Any, size: int, checksum: str) -> Stat:
        """Return the Stat of a written object. Deletes the object and raises StoreUnreachableError if it differs from what was sent."""
        written = _stat(blob)
        if (written.size, written.etag) != (size, checksum):
            self.delete_many([written.key])
            what = f"{written.size} bytes with the checksum {written.etag} instead of {size} with {checksum}"
            raise self.failure("corrupt", f"{self.url(written.key)} was stored as {what}")
        return written

    # ------------------------------------------------------------------ the bucket
    def ensure(self, settings: Mapping[str, object]) -> None:
        """See Store. Settings: ``versioning`` (bool), ``kmsKey`` (projects/../cryptoKeys/..; default: a Google-managed key)."""
        with self.explained():
            bucket = self._client.lookup_bucket(self.bucket, **self._request)
            if bucket is None:
                bucket = self._client.bucket(self.bucket)
                _configure(bucket, settings)
                try:
                    self._client.create_bucket(bucket, project=self._project, location=self._location, **self._request)
                except exceptions.Conflict:
                    raise self.failure("taken") from None
            elif self._drift(bucket, settings):
                _configure(bucket, settings)
                bucket.patch(**self._request)

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """See Store."""
        with self.explained():
            bucket = self._client.lookup_bucket(self.bucket, **self._request)
            return [] if bucket is None else self._drift(bucket, settings)

    def _purge(self) -> None:
        for blob in self._client.list_blobs(self.bucket, versions=True, **self._request):
            with suppress(exceptions.NotFound):
                blob.delete(**self._request)

    def _delete_bucket(self) -> None:
        try:
            self._bucket.delete(**self._request)
        except exceptions.Conflict:
            raise self.failure("not empty", "one that was just written") from None

    def _drift(self, bucket: Any, settings: Mapping[str, object]) -> Sequence[str]:
        """Return the names of the settings that differ. For an emulator, check only those that it implements."""
        access = bucket.iam_configuration
        same = {
            "uniformAccess": access.uniform_bucket_level_access_enabled is True,
            "publicAccessPrevention": access.public_access_prevention == "enforced",
            "versioning": bool(bucket.versioning_enabled) == bool(settings.get("versioning")),
            "kmsKey": (bucket.default_kms_key_name or None) == (settings.get("kmsKey") or None),
            "lifecycle": any(rule.get("action", {}).get("type") == "AbortIncompleteMultipartUpload" for rule in bucket.lifecycle_rules),
        }
        known = {"versioning"} if self._endpoint else set(same)
        return sorted(name for name, held in same.items() if name in known and not held)


def _credentials(environ: Mapping[str, str]) -> Any:
    """Return the credentials that Pulumi's Google Cloud provider would use; None: the application default credentials.

    The provider reads its own variables first, a token before a key (provider/resources.go of pulumi/pulumi-gcp).
    """
    found: Any = None
    key = next((environ[name] for name in _KEYS if environ.get(name)), "")
    if token := environ.get("GOOGLE_OAUTH_ACCESS_TOKEN"):
        found = _OF_USERS(token)
    elif key:
        content = json.loads(key if key.lstrip().startswith("{") else Path(key).read_text(encoding="utf-8"))
        user = content.get("type") == "authorized_user"
        found = _OF_USERS.from_authorized_user_info(content) if user else _OF_SERVICES.from_service_account_info(content, scopes=_SCOPES)
    if target := environ.get("GOOGLE_IMPERSONATE_SERVICE_ACCOUNT"):
        found = _IMPERSONATED(found or google.auth.default(scopes=_SCOPES)[0], target_principal=target, target_scopes=_SCOPES)
    return found


def _stat(blob: Any) -> Stat:
    return Stat(
        key=blob.name,
        size=int(blob.size or 0),
        etag=str(blob.crc32c or ""),
        modified=blob.updated.timestamp() if blob.updated is not None else 0.0,
    )


def _configure(bucket: Any, settings: Mapping[str, object]) -> None:
    """Set the properties of ``bucket`` without sending a request."""
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    bucket.versioning_enabled = bool(settings.get("versioning"))
    bucket.default_kms_key_name = settings.get("kmsKey") or None
    rules: list[dict[str, Any]] = [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _ABORT_DAYS}}]
    if settings.get("versioning"):
        rules.append({"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": _VERSION_DAYS}})
    bucket.lifecycle_rules = rules
