"""Creates, configures and deletes a Google Cloud Storage bucket for stacks that don't use Pulumi's Google Cloud provider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.store.gcs_errors import KEY, Failures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ABORT_DAYS: Final = 7
"""Days after which unfinished XML API multipart uploads are aborted. Google deletes unfinished resumable uploads after the same time."""
_VERSION_DAYS: Final = 30
"""Days after which noncurrent object versions are deleted."""


class GcsBucket:
    """The bucket operations of `objects.Store`. `GcsStore` implements the rest."""

    failures: Failures
    project: str | None
    location: str | None

    @property
    def bucket(self) -> str:
        """Name of the bucket."""
        return self.failures.bucket

    @property
    def client(self) -> Any:
        """A google.cloud.storage.Client."""
        raise NotImplementedError

    @property
    def request(self) -> dict[str, Any]:
        """Timeout and retry arguments for each request."""
        raise NotImplementedError

    def ensure(self, settings: Mapping[str, object]) -> None:
        """See Store. Settings: ``versioning`` (bool), ``kmsKey`` (projects/../cryptoKeys/..; default: a Google-managed key)."""
        from google.api_core.exceptions import Conflict  # noqa: PLC0415

        with self.failures.explained():
            bucket = self.client.lookup_bucket(self.bucket, **self.request)
            if bucket is None:
                bucket = self.client.bucket(self.bucket)
                _configure(bucket, settings)
                try:
                    self.client.create_bucket(bucket, project=self.project, location=self.location, **self.request)
                except Conflict:
                    raise FleetError(
                        f"{KEY}.bucket ({self.bucket}) belongs to another project (bucket names are globally unique): "
                        "nothing was created. Choose another name."
                    ) from None
            elif self._drift(bucket, settings):
                _configure(bucket, settings)
                bucket.patch(**self.request)

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """See Store."""
        with self.failures.explained():
            bucket = self.client.lookup_bucket(self.bucket, **self.request)
            return [] if bucket is None else self._drift(bucket, settings)

    def remove(self) -> None:
        """See Store. Deletes noncurrent versions along with the bucket, but never a live object."""
        from google.api_core.exceptions import Conflict, NotFound  # noqa: PLC0415

        with self.failures.explained():
            left = [blob.name for blob in self.client.list_blobs(self.bucket, max_results=3, **self.request)]
            if left:
                raise self._not_empty(left)
            self.purge()
            try:
                self.client.bucket(self.bucket).delete(**self.request)
            except NotFound:
                return
            except Conflict:
                raise self._not_empty(["one that was just written"]) from None

    def purge(self) -> None:
        """See Store."""
        from google.api_core.exceptions import NotFound  # noqa: PLC0415

        with self.failures.explained():
            if next(iter(self.client.list_blobs(self.bucket, max_results=1, **self.request)), None) is not None:
                return
            for blob in self.client.list_blobs(self.bucket, versions=True, **self.request):
                try:
                    blob.delete(**self.request)
                except NotFound:
                    continue

    def _not_empty(self, keys: Sequence[str]) -> FleetError:
        return FleetError(
            f"{KEY}.bucket ({self.bucket}) contains objects that this stack did not upload, such as {', '.join(keys)}: "
            "the bucket was kept. Move or delete them, then run destroy again."
        )

    def _drift(self, bucket: Any, settings: Mapping[str, object]) -> list[str]:
        """Return the names of the settings that differ. For an emulator, check only those that it implements."""
        access = bucket.iam_configuration
        same = {
            "uniformAccess": access.uniform_bucket_level_access_enabled is True,
            "publicAccessPrevention": access.public_access_prevention == "enforced",
            "versioning": bool(bucket.versioning_enabled) == bool(settings.get("versioning")),
            "kmsKey": (bucket.default_kms_key_name or None) == (settings.get("kmsKey") or None),
            "lifecycle": any(rule.get("action", {}).get("type") == "AbortIncompleteMultipartUpload" for rule in bucket.lifecycle_rules),
        }
        known = {"versioning"} if self.failures.endpoint else set(same)
        return sorted(name for name, held in same.items() if name in known and not held)


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
