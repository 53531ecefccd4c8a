"""Creates, configures and deletes an S3 bucket for stacks that don't use Pulumi's AWS provider, and detects drift."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.store.s3_errors import KEY, UNSUPPORTED, Location, explained, found, identity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_s3.client import S3Client

_UNFINISHED_DAYS: Final = 3
"""Days after which S3 aborts unfinished multipart uploads."""


class S3Bucket:
    """The bucket operations of `objects.Store`. `S3Store` implements the rest."""

    location: Location

    @property
    def client(self) -> S3Client:
        """A client of the store."""
        raise NotImplementedError

    def exists(self) -> bool:
        """Whether the bucket exists."""
        raise NotImplementedError

    def abandon(self, prefix: str) -> None:
        """Abort unfinished multipart uploads under ``prefix``."""
        raise NotImplementedError

    def ensure(self, settings: Mapping[str, object]) -> None:
        """See Store. Settings: ``versioning`` (bool), ``kmsKey`` (ARN or alias; default: the store's default encryption)."""
        with explained(self.location):
            if not self.exists():
                if self.location.region == "us-east-1":
                    self.client.create_bucket(Bucket=self.location.bucket)  # the only region that S3 rejects as a constraint
                else:
                    self.client.create_bucket(
                        Bucket=self.location.bucket,
                        CreateBucketConfiguration={"LocationConstraint": self.location.region},  # type: ignore[typeddict-item]  # any region
                    )
            for aspect in self._aspects(settings):
                self._optional(aspect.write)

    def drift(self, settings: Mapping[str, object]) -> Sequence[str]:
        """See Store."""
        with explained(self.location):
            return [aspect.name for aspect in self._aspects(settings) if self._optional(aspect.read) not in {True, None}]

    def remove(self) -> None:
        """See Store. Deletes noncurrent versions along with the bucket, but never a live object."""
        with explained(self.location):
            left = self.client.list_objects_v2(Bucket=self.location.bucket, MaxKeys=3)
            if left.get("KeyCount", 0):
                keys = ", ".join(entry["Key"] for entry in left["Contents"])
                raise FleetError(
                    f"{KEY}.bucket ({self.location.bucket}) contains objects that this stack did not upload, such as {keys}: "
                    "the bucket was kept. Move or delete them, then run destroy again."
                )
            self.purge()
            self.client.delete_bucket(Bucket=self.location.bucket)

    def purge(self) -> None:
        """See Store."""
        with explained(self.location):
            if not self.client.list_objects_v2(Bucket=self.location.bucket, MaxKeys=1).get("KeyCount", 0):
                self.abandon("")
                self._optional(self._purge_versions)

    def _purge_versions(self) -> None:
        for page in self.client.get_paginator("list_object_versions").paginate(Bucket=self.location.bucket):
            gone = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page.get("Versions", [])]
            gone += [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in page.get("DeleteMarkers", [])]
            if gone:
                self.client.delete_objects(Bucket=self.location.bucket, Delete={"Objects": gone, "Quiet": True})  # type: ignore[typeddict-item]

    def _optional(self, request: Any) -> Any:
        """Return the response, or None if an S3-compatible store doesn't support the request. Errors from AWS are always raised."""
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return request()
        except ClientError as error:
            code, status = identity(error)
            if self.location.custom_endpoint and (code in UNSUPPORTED or status in {400, 405, 501}):
                return None
            raise

    def _aspects(self, settings: Mapping[str, object]) -> Sequence[_Aspect]:
        client, bucket = self.client, self.location.bucket
        everything: Any = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
        lifecycle: list[Any] = [
            {
                "ID": "triton-fleet-unfinished",
                "Status": "Enabled",
                "Filter": {"Prefix": ""},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UNFINISHED_DAYS},
            }
        ]
        if settings.get("versioning"):
            lifecycle.append(
                {
                    "ID": "triton-fleet-old-versions",
                    "Status": "Enabled",
                    "Filter": {"Prefix": ""},
                    # Each release is stored separately, so versions protect against accidental deletion, not against a bad release.
                    "NoncurrentVersionExpiration": {"NoncurrentDays": 30},
                }
            )
        rule: Any = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        if settings.get("kmsKey"):
            rule = {
                "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": settings["kmsKey"]},
                "BucketKeyEnabled": True,  # one KMS request per key and hour instead of one per object
            }
        aspects = [
            _Aspect(
                "publicAccessBlock",
                lambda: client.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=everything),
                lambda: found(lambda: client.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]) == everything,
            ),
            _Aspect(
                "encryption",
                lambda: client.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": [rule]}),
                lambda: _same_encryption(
                    found(lambda: client.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]), rule
                ),
            ),
            _Aspect(
                "lifecycle",
                lambda: client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": lifecycle}),
                lambda: (
                    {rule["ID"] for rule in lifecycle}
                    <= {
                        each.get("ID")
                        for each in found(lambda: client.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]) or []
                        if each.get("Status") == "Enabled"
                    }
                ),
            ),
        ]
        if settings.get("versioning"):
            aspects.append(
                _Aspect(
                    "versioning",
                    lambda: client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}),
                    lambda: client.get_bucket_versioning(Bucket=bucket).get("Status") == "Enabled",
                )
            )
        if not self.location.describe().startswith("http://"):  # it would lock out everybody, us as well
            policy = _tls_only(bucket)
            aspects.append(
                _Aspect(
                    "policy",
                    lambda: client.put_bucket_policy(Bucket=bucket, Policy=json.dumps(policy)),
                    lambda: _same_policy(found(lambda: client.get_bucket_policy(Bucket=bucket)["Policy"]), policy),
                )
            )
        return aspects


@dataclass(frozen=True)
class _Aspect:
    """One thing that the stack says about its bucket."""

    name: str
    write: Any
    read: Any
    """Whether the bucket has it."""


def _tls_only(bucket: str) -> dict[str, Any]:
    """Deny requests without TLS (AWS Security Hub control S3.5)."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def _same_policy(there: Any, wanted: dict[str, Any]) -> bool:
    """Whether the statement is still among those of the bucket: others may have been added."""
    statements = json.loads(there).get("Statement", []) if there else []
    return all(statement in statements for statement in wanted["Statement"])


def _same_encryption(there: Any, wanted: dict[str, Any]) -> bool:
    default = (there or [{}])[0].get("ApplyServerSideEncryptionByDefault", {})
    expected = wanted["ApplyServerSideEncryptionByDefault"]
    return all(default.get(key) == value for key, value in expected.items())
