"""Rows of S3: a bucket, and what the provider has as resources of their own beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.doubles.aws import shapes
from tests.doubles.aws.rows import Row, Update, same, unsent

if TYPE_CHECKING:
    from tests.doubles.aws.rows import Template
    from tests.doubles.aws.session import Session
    from tests.doubles.provider import Call, Props

_GONE: Final = ("404", "NoSuchBucket")


def _place(inputs: Props) -> Template:
    region = inputs.get("region") or "us-east-1"
    return {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}


def _tag(session: Session, call: Call, _: Any) -> None:
    tags = [{"Key": key, "Value": str(value)} for key, value in (call.inputs.get("tags") or {}).items()]
    if tags:
        session.call("s3", "put_bucket_tagging", Bucket=call.inputs["bucket"], Tagging={"TagSet": tags})
    else:
        session.call("s3", "delete_bucket_tagging", Bucket=call.inputs["bucket"])


def _bucket_look(session: Session, bucket: str, _: Props, __: Props) -> Props:
    session.call("s3", "head_bucket", Bucket=bucket)
    return {"Name": bucket, "Region": session.call("s3", "get_bucket_location", Bucket=bucket).get("LocationConstraint") or "us-east-1"}


def _suspend(session: Session, call: Call) -> None:
    session.call("s3", "put_bucket_versioning", Bucket=call.id, VersioningConfiguration={"Status": "Suspended"})


def _beside(what: str, properties: dict[str, str], *gone: str, end: str = "", live: dict[str, str] | None = None) -> Row:
    """A resource that is one setting of a bucket: it is put as a whole, and its id is the bucket's name."""

    def put(session: Session, call: Call, _: Props) -> None:
        row = ROWS[call.token]
        parameters: Template = {}
        shape = session.shape("s3", row.create)
        for key, where in row.properties.items():
            if where is not None and call.inputs.get(key) is not None:
                shapes.place(parameters, shape, where, call.inputs[key], prop=key, renames={})
        session.call("s3", row.create, **parameters)

    return Row(
        service="s3",
        create=f"put_{what}",
        properties={"bucket": "Bucket", **properties},
        id="${bucket}",
        read=f"get_{what}",
        read_by={"Bucket": "$id"},
        live=live or {},
        updates=(Update(properties=tuple(properties), do=put),),
        delete=f"delete_{end or what}" if end != "-" else None,
        delete_by={"Bucket": "$id"},
        first=_suspend if end == "-" else None,
        gone=("NoSuchBucket", *gone),
        replaces=("bucket",),
    )


_BLOCK: Final = "blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets"
ROWS: Final = {
    "aws:s3/bucket:Bucket": Row(
        service="s3",
        create="create_bucket",
        properties={"bucket": "Bucket", **unsent("tags tagsAll forceDestroy")},
        more=_place,
        id="${bucket}",
        then=_tag,
        look=_bucket_look,
        constant={"arn": "arn:aws:s3:::{id}"},
        live={"bucket": "Name", "region": "Region"},
        updates=(Update(properties=("tags",), do=_tag),),
        delete="delete_bucket",
        delete_by={"Bucket": "$id"},
        gone=_GONE,
        replaces=("bucket",),
        name="bucket",
    ),
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": _beside(
        "public_access_block",
        same(_BLOCK, style="PublicAccessBlockConfiguration"),
        "NoSuchPublicAccessBlockConfiguration",
        live=same(_BLOCK, style="PublicAccessBlockConfiguration"),
    ),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _beside(
        "bucket_encryption", {"rules": "ServerSideEncryptionConfiguration.Rules"}, "ServerSideEncryptionConfigurationNotFoundError"
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _beside("bucket_policy", {"policy": "Policy"}, "NoSuchBucketPolicy", live={"policy": "Policy"}),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _beside(
        "bucket_lifecycle_configuration",
        {"rules": "LifecycleConfiguration.Rules"},
        "NoSuchLifecycleConfiguration",
        end="bucket_lifecycle",
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _beside(
        "bucket_versioning", {"versioningConfiguration": "VersioningConfiguration"}, end="-"
    ),
}
