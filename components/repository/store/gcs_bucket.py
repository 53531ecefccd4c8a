"""A Google Cloud Storage bucket of the stack's own, where no Google provider of Pulumi's manages it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.store.gcs_errors import KEY, Failures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_ABORT_DAYS: Final = 7
"""Unfinished uploads of the XML interface are dropped after so many days; Google drops resumable ones after as many."""
_VERSION_DAYS: Final = 30


class GcsBucket:
    """See `objects.Store`. `GcsStore` completes it."""

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
        """Time-outs and retries of each request."""
        raise NotImplementedError

    def ensure(self, settings: Mapping[str, object]) -> None:
        """See Store. Settings: ``versioning`` (bool), ``kmsKey`` (projects/../cryptoKeys/..; absent: Google's own key)."""
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
                        f"{KEY}.bucket ({self.bucket}) belongs to another project (names are unique in all of Google Cloud): "
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
        """See Store. Old versions of deleted objects go with it; an object that a listing shows is never deleted."""
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
            f"{KEY}.bucket ({self.bucket}) holds objects that this stack did not upload, such as {', '.join(keys)}: it was kept. "
            "Move them away and run destroy again."
        )

    def _drift(self, bucket: Any, settings: Mapping[str, object]) -> list[str]:
        """Names of the settings that differ. Of an emulator only those that it implements count."""
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
    """Set the properties of ``bucket``; sends nothing."""
    bucket.iam_configuration.uniform_bucket_level_access_enabled = True
    bucket.iam_configuration.public_access_prevention = "enforced"
    bucket.versioning_enabled = bool(settings.get("versioning"))
    bucket.default_kms_key_name = settings.get("kmsKey") or None
    rules: list[dict[str, Any]] = [{"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _ABORT_DAYS}}]
    if settings.get("versioning"):
        rules.append({"action": {"type": "Delete"}, "condition": {"daysSinceNoncurrentTime": _VERSION_DAYS}})
    bucket.lifecycle_rules = rules
