"""The S3 bucket of a stack's models, where the stack makes it. What is in it is the model repository's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_aws as aws

from components.base.naming import type_token
from components.eks.iam import partition

if TYPE_CHECKING:
    from collections.abc import Mapping

_UNFINISHED_DAYS: Final = 3
"""Days after which S3 drops the parts of an upload that no run has finished."""
_VERSION_DAYS: Final = 30


@dataclass(frozen=True, kw_only=True)
class ModelBucketArgs:
    """Arguments of `ModelBucket`."""

    bucket: str
    region: str
    """The bucket's, which need not be the cluster's."""
    versioning: bool
    kms_key: str | None
    """ARN or alias of the KMS key that objects are encrypted with; None for S3's own."""
    adopt: bool
    """Whether the bucket exists and is imported."""
    tags: Mapping[str, str]
    provider: aws.Provider


class ModelBucket(pulumi.ComponentResource):
    """A private, encrypted bucket that refuses plain HTTP. Its deletion fails while it holds objects."""

    def __init__(self, name: str, args: ModelBucketArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ModelBucket"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        adopted = pulumi.ResourceOptions(import_=args.bucket, ignore_changes=["tags", "tagsAll"]) if args.adopt else None
        bucket = aws.s3.Bucket(
            name, bucket=args.bucket, region=args.region, tags=dict(args.tags), opts=pulumi.ResourceOptions.merge(child, adopted)
        ).bucket
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
        default = aws.s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
            sse_algorithm="AES256" if args.kms_key is None else "aws:kms", kms_master_key_id=args.kms_key
        )
        rule = aws.s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=default,
            bucket_key_enabled=None if args.kms_key is None else True,  # a request to KMS an hour and key, not one an object
        )
        aws.s3.BucketServerSideEncryptionConfiguration(name, bucket=bucket, region=args.region, rules=[rule], opts=child)
        arn = f"arn:{partition(args.region)}:s3:::"
        policy = bucket.apply(lambda known: json.dumps(tls_only(arn + known)))
        aws.s3.BucketPolicy(name, bucket=bucket, region=args.region, policy=policy, opts=child)
        rules = [
            aws.s3.BucketLifecycleConfigurationRuleArgs(
                id="triton-fleet-unfinished",
                status="Enabled",
                filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                abort_incomplete_multipart_upload=aws.s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                    days_after_initiation=_UNFINISHED_DAYS
                ),
            )
        ]
        after = child
        if args.versioning:
            versioning = aws.s3.BucketVersioning(
                name,
                bucket=bucket,
                region=args.region,
                versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
                opts=child,
            )
            # S3 applies rules for old versions from when there can be some.
            after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[versioning]))
            rules.append(
                aws.s3.BucketLifecycleConfigurationRuleArgs(
                    id="triton-fleet-old-versions",
                    status="Enabled",
                    filter=aws.s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                    # Releases are never overwritten: versions guard against deletion by mistake.
                    noncurrent_version_expiration=aws.s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                        noncurrent_days=_VERSION_DAYS
                    ),
                )
            )
        aws.s3.BucketLifecycleConfiguration(name, bucket=bucket, region=args.region, rules=rules, opts=after)
        self.register_outputs({"bucket": bucket})


def tls_only(arn: str) -> dict[str, object]:
    """Bucket policy that denies requests without TLS (AWS Security Hub control S3.5)."""
    statement = {
        "Sid": "DenyInsecureTransport",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}
