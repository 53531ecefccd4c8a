"""What the stack says about an S3 bucket that no Pulumi cloud provider manages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from components.base.aws import partition

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNFINISHED_DAYS: Final = 3
"""Days after which S3 aborts unfinished multipart uploads."""
_VERSION_DAYS: Final = 30
"""Days after which noncurrent versions are deleted. Releases are stored separately: versions protect against accidental deletion only."""


def aspects(bucket: str, region: str, settings: Mapping[str, object], *, tls: bool) -> dict[str, tuple[str, str, Any, Any]]:
    """Return what the stack says about its bucket, by name: request, argument, its value, and what the bucket must have of it."""
    everything = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    unfinished = {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UNFINISHED_DAYS}}
    rules = [{"ID": "triton-fleet-unfinished", "Status": "Enabled", "Filter": {"Prefix": ""}, **unfinished}]
    default: dict[str, Any] = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    encryption = default
    if settings.get("kmsKey"):
        default = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": settings["kmsKey"]}}
        encryption = {**default, "BucketKeyEnabled": True}  # one KMS request per key and hour instead of one per object
    if settings.get("versioning"):
        old = {"NoncurrentVersionExpiration": {"NoncurrentDays": _VERSION_DAYS}}
        rules.append({"ID": "triton-fleet-old-versions", "Status": "Enabled", "Filter": {"Prefix": ""}, **old})
    held = {"Rules": [{"ID": rule["ID"], "Status": rule["Status"]} for rule in rules]}
    aspects: dict[str, tuple[str, str, Any, Any]] = {
        "publicAccessBlock": ("public_access_block", "PublicAccessBlockConfiguration", everything, everything),
        "encryption": ("bucket_encryption", "ServerSideEncryptionConfiguration", {"Rules": [encryption]}, {"Rules": [default]}),
        "lifecycle": ("bucket_lifecycle_configuration", "LifecycleConfiguration", {"Rules": rules}, held),
    }
    if settings.get("versioning"):
        aspects["versioning"] = ("bucket_versioning", "VersioningConfiguration", {"Status": "Enabled"}, {"Status": "Enabled"})
    if tls:  # otherwise the policy would deny every request, ours too
        policy = tls_only(bucket, region)
        aspects["policy"] = ("bucket_policy", "Policy", policy, policy)
    return aspects


def tls_only(bucket: str, region: str) -> dict[str, Any]:
    """Return a bucket policy that denies requests without TLS (AWS Security Hub control S3.5)."""
    arn = f"arn:{partition(region)}:s3:::{bucket}"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }


def includes(held: Any, wanted: Any) -> bool:
    """Whether ``held`` has all values of ``wanted``: others may have been added."""
    if isinstance(wanted, dict):
        return isinstance(held, dict) and all(includes(held.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(held, list) and all(any(includes(each, value) for each in held) for value in wanted)
    return bool(held == wanted)
