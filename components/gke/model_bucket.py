"""The Cloud Storage bucket of a stack's models, if the stack creates it. The model repository owns its contents."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_gcp as gcp

from components.base.naming import type_token

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNFINISHED_DAYS: Final = 7
"""Days after which unfinished uploads through the XML API are dropped, as Google does with resumable ones."""
_VERSION_DAYS: Final = 30


@dataclass(frozen=True, kw_only=True)
class ModelBucketArgs:
    """Arguments of `ModelBucket`."""

    bucket: str
    project: str | None
    """None for the provider's project."""
    location: str
    """Region or multi-region."""
    versioning: bool
    kms_key: str | None
    """Resource name of the Cloud KMS key that encrypts objects; None for Google's own."""
    adopt: bool
    """Whether the bucket already exists and is imported."""
    tags: Mapping[str, str]
    """Labels."""
    provider: pulumi.ProviderResource


class ModelBucket(pulumi.ComponentResource):
    """A private bucket with uniform access. Its deletion fails while it holds objects."""

    def __init__(self, name: str, args: ModelBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ModelBucket"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        adopted = pulumi.ResourceOptions(import_=args.bucket, ignore_changes=["labels"]) if args.adopt else None
        rules: list[gcp.storage.BucketLifecycleRuleArgsDict] = [
            {"action": {"type": "AbortIncompleteMultipartUpload"}, "condition": {"age": _UNFINISHED_DAYS}}
        ]
        if args.versioning:
            # Objects are never overwritten: versions protect against deletion by mistake.
            rules.append({"action": {"type": "Delete"}, "condition": {"days_since_noncurrent_time": _VERSION_DAYS}})
        bucket = gcp.storage.Bucket(
            name,
            name=args.bucket,
            project=args.project,
            location=args.location.upper(),  # the form that Google returns
            uniform_bucket_level_access=True,
            public_access_prevention="enforced",
            versioning={"enabled": True} if args.versioning else None,
            encryption=None if args.kms_key is None else {"default_kms_key_name": args.kms_key},
            lifecycle_rules=rules,
            labels=dict(args.tags),
            opts=pulumi.ResourceOptions.merge(child, adopted),
        )
        self.register_outputs({"bucket": bucket.name})
