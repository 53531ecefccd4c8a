"""The S3 bucket of a stack's models, if the stack creates it. Creates no objects: `components/repository/` does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base.aws import partition
from components.base.naming import type_token
from components.eks.policies import bucket_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNFINISHED_DAYS: Final = 3
"""Days after which S3 deletes the parts of an unfinished upload."""
_VERSION_DAYS: Final = 30


@dataclass(frozen=True, kw_only=True)
class ModelBucketArgs:
    """Arguments of `ModelBucket`."""

    bucket: str
    region: str
    """The bucket's region, which may differ from the cluster's."""
    versioning: bool
    kms_key: str | None
    """ARN or alias of the KMS key that encrypts objects; None for S3's own."""
    adopt: bool
    """Whether the bucket exists already, so that it is imported."""
    tags: Mapping[str, str]
    provider: aws.Provider


class ModelBucket(pulumi.ComponentResource):
    """A private, encrypted bucket that refuses plain HTTP. Its deletion fails while it holds objects."""

    def __init__(self, name: str, args: ModelBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ModelBucket"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        adopted = pulumi.ResourceOptions(import_=args.bucket, ignore_changes=["tags", "tagsAll"]) if args.adopt else None
        opts = pulumi.ResourceOptions.merge(child, adopted)
        bucket = aws.s3.Bucket(name, bucket=args.bucket, region=args.region, tags=dict(args.tags), opts=opts).bucket
        aws.s3.BucketPublicAccessBlock(
            name,
            bucket=bucket,
            region=args.region,
            block_public_acls=True,
            ignore_public_acls=True,
            block_public_policy=True,
            restrict_public_buckets=True,
            opts=child,
        )
        default: aws.s3.BucketServerSideEncryptionConfigurationRuleArgsDict = {
            "apply_server_side_encryption_by_default": {"sse_algorithm": "AES256"}
        }
        if args.kms_key is not None:
            default = {
                "apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms", "kms_master_key_id": args.kms_key},
                "bucket_key_enabled": True,  # a request to KMS an hour and key, not one an object
            }
        aws.s3.BucketServerSideEncryptionConfiguration(name, bucket=bucket, region=args.region, rules=[default], opts=child)
        arn = f"arn:{partition(args.region)}:s3:::"
        policy = bucket.apply(lambda known: bucket_policy(arn + known))
        aws.s3.BucketPolicy(name, bucket=bucket, region=args.region, policy=policy, opts=child)
        rules: list[aws.s3.BucketLifecycleConfigurationRuleArgsDict] = [
            {
                "id": "triton-fleet-unfinished",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "abort_incomplete_multipart_upload": {"days_after_initiation": _UNFINISHED_DAYS},
            }
        ]
        depends_on: list[pulumi.Resource] = []
        if args.versioning:
            enabled: aws.s3.BucketVersioningVersioningConfigurationArgsDict = {"status": "Enabled"}
            depends_on.append(
                aws.s3.BucketVersioning(name, bucket=bucket, region=args.region, versioning_configuration=enabled, opts=child)
            )
            rules.append(
                {
                    "id": "triton-fleet-old-versions",
                    "status": "Enabled",
                    "filter": {"prefix": ""},
                    # Releases are never overwritten: versions guard against deletion by mistake.
                    "noncurrent_version_expiration": {"noncurrent_days": _VERSION_DAYS},
                }
            )
        after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=depends_on))
        aws.s3.BucketLifecycleConfiguration(name, bucket=bucket, region=args.region, rules=rules, opts=after)
        self.register_outputs({"bucket": bucket})
