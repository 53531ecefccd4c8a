"""Settings of the model repository: which models, from where, to which object store."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from components.base.errors import Problem
from components.base.model import Model, Project, matching

if TYPE_CHECKING:
    from collections.abc import Iterator

_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\Z")
_GCS_BUCKET: Final = re.compile(r"^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]\Z")
_GCS_PART: Final = 63
_GCS_NAME: Final = 222
_KMS_KEY: Final = re.compile(r"^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+\Z")
_PREFIX_SEGMENT: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._-]*\Z")
_BUCKET_PREFIXES: Final = ("xn--", "sthree-", "amzn-s3-demo-")
_BUCKET_SUFFIXES: Final = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def _is_ip_address(value: str) -> bool:
    try:
        ip_address(value)
    except ValueError:
        return False
    return True


def _check_s3_bucket(value: str) -> str | None:
    """What is wrong with the name of an S3 bucket (Amazon S3 user guide, "General purpose bucket naming rules")."""
    reserved = value.startswith(_BUCKET_PREFIXES) or value.endswith(_BUCKET_SUFFIXES)
    if _BUCKET.match(value) is None or ".." in value or _is_ip_address(value) or reserved:
        return (
            "is not a valid bucket name: S3 would refuse it. Use 3 to 63 lower-case letters, digits, dots and hyphens, a letter or digit "
            "at both ends, no IP address, and no prefix or suffix that S3 reserves."
        )
    return None


def _check_gcs_bucket(value: str) -> str | None:
    """What is wrong with the name of a Google bucket (Cloud Storage documentation, "About Cloud Storage buckets")."""
    parts = value.split(".")
    long = len(value) > _GCS_NAME if len(parts) > 1 else len(value) > _GCS_PART
    odd = _GCS_BUCKET.match(value) is None or any(not part or len(part) > _GCS_PART for part in parts)
    reserved = value.startswith("goog") or any(word in value for word in ("google", "g00gle"))
    if odd or long or reserved or _is_ip_address(value):
        return (
            "is not a valid bucket name: Google Cloud Storage would refuse it. Use 3 to 63 lower-case letters, digits, hyphens, "
            "underscores and dots (up to 222 with dots), a letter or digit at both ends, no IP address, no goog at the start "
            "and no google anywhere."
        )
    return None


def _check_prefix(value: str) -> str:
    if not all(_PREFIX_SEGMENT.match(segment) for segment in value.split("/")):
        message = (
            "is not a valid key prefix: Triton would not find the releases. Use letters, digits, dots, hyphens and underscores, with "
            "single slashes between them and none at either end."
        )
        raise ValueError(message)
    return value


def _check_endpoint(value: str) -> str:
    message = "is not a valid endpoint: no request could be sent to it. Write only scheme, host and port, such as https://storage.example.com:9000."
    try:
        url = urlsplit(value)
        usable = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        raise ValueError(message) from None
    if not usable or url.path or url.query or url.fragment or url.username is not None or value != value.strip():
        raise ValueError(message)
    return value


def is_loopback(endpoint: str) -> bool:
    """Whether the host of an endpoint URL is a loopback address."""
    host = urlsplit(endpoint).hostname or ""
    return host == "localhost" or host.endswith(".localhost") or (_is_ip_address(host) and ip_address(host).is_loopback)


KeyPrefix = Annotated[str, AfterValidator(_check_prefix)]
"""Key prefix in a bucket, without a slash at either end."""

Endpoint = Annotated[str, AfterValidator(_check_endpoint)]
"""``http://`` or ``https://``, host and, unless it is the scheme's default, port."""


class RepositorySettings(Model):
    """The folder of models that is uploaded and the bucket prefix that Triton reads."""

    source: str = "models"
    """Folder with a sub-folder for each model, relative to the project."""
    models: tuple[str, ...] | None = None
    """Names of the models to upload; None means every sub-folder of ``source``."""
    store: Literal["s3", "gcs"] = "s3"
    """Kind of object store: S3 or a compatible store, or Google Cloud Storage."""
    bucket: str
    """Name of the bucket that holds the releases."""
    prefix: KeyPrefix = "models"
    """Key prefix below which releases are written; no leading or trailing slash."""
    create_bucket: bool = False
    """True: the stack creates the bucket, and deletes it when it is destroyed and the bucket is empty. False: the bucket must exist."""
    adopt_bucket: bool = False
    """For one run, with ``create_bucket`` on EKS or GKE: imports a bucket that exists, such as one that an earlier version of this program
    made (docs/upgrading.md)."""
    region: (
        Annotated[str, matching(r"[A-Za-z0-9_-]+", "is not a region: no request could be sent to it. Write one such as eu-west-1.")] | None
    ) = None
    """Region of the bucket. None: that of an EKS cluster, or us-east-1 for an S3-compatible store; required otherwise. S3 only."""
    profile: str | None = None
    """AWS profile that uploads use. None: that of an EKS cluster, else what the default credential chain finds. S3 only."""
    project: Project | None = None
    """Google Cloud project of the bucket; None: that of a GKE cluster, else the credentials' own. GCS only."""
    location: (
        Annotated[str, matching(r"[A-Za-z0-9-]+", "is not a location: Google Cloud would reject it. Write one such as EU or us-central1.")]
        | None
    ) = None
    """Region or multi-region of a bucket that the stack creates. GCS only, and required there."""
    kms_key: str | None = Field(default=None, min_length=1)
    """Key that encrypts a bucket that the stack creates: ARN or alias of a KMS key, or on GCS
    ``projects/../locations/../keyRings/../cryptoKeys/..``. None: the store's own encryption."""
    endpoint: Endpoint | None = None
    """URL of an S3-compatible store as the uploading machine reaches it; None means AWS, or what AWS_ENDPOINT_URL_S3 or the AWS profile's
    ``endpoint_url`` names."""
    cluster_endpoint: Endpoint | None = None
    """URL of the same store as pods reach it; None means ``endpoint``, or AWS itself."""
    credentials: Literal["serviceAccount", "environment", "keyFile"] = "serviceAccount"
    """How Triton reads the bucket. ``serviceAccount``: with the identity of its Kubernetes service account. ``environment`` (S3 only): with
    a Secret of the keys that the AWS default chain finds where Pulumi runs. ``keyFile`` (GCS only): with a Google service account's key
    file, mounted from a Secret."""
    key_file: str | None = Field(default=None, min_length=1)
    """Path of the key file where Pulumi runs, relative to the project. Required with ``credentials: keyFile``. Keep it out of version
    control."""

    mode: Literal["release", "poll", "explicit"] = "release"
    """How Triton gets new models. ``release``: each release is immutable, and a rolling update replaces the pods with pods that read the
    new one. ``poll``: Triton checks a stable prefix every 15 seconds. ``explicit``: a client calls Triton's API to load a model again from
    a stable prefix. With ``poll`` and ``explicit`` Kubernetes can't roll back, and replicas differ for a while."""
    release: (
        Annotated[
            str,
            matching(
                r"[0-9a-f]{8,64}|\d{8}-\d{6}",
                "is not a release: no rollback is possible. Write 8 or more digits of its digest, or its name.",
            ),
        ]
        | None
    ) = None
    """Serves an earlier release instead of ``source``: its name (its time of publication in UTC, such as ``20261121-140512``), its digest,
    or the first 8 or more digits of its digest. The release must still be in the bucket."""
    keep: int = Field(default=3, ge=0, le=100)
    """Number of old releases that stay in the bucket to roll back to. Models that releases share are stored once."""
    verify: bool = False
    """True: each run reads every file. False: files with the same size, time of change and inode as before are not read.
    TRITON_FLEET_VERIFY=1 does the same for one run."""
    versioning: bool = False
    """For a bucket that the stack creates: keeps old versions of objects for 30 days."""

    @property
    def signing_region(self) -> str:
        """Region of requests; S3-compatible stores take any."""
        return self.region or "us-east-1"

    def _problems(self) -> list[Problem]:
        problems = [*self._of_the_store()]
        if self.models is not None:
            if not self.models:
                problems.append(
                    Problem(at=("models",), text="is an empty list: there would be nothing to serve. Name a model, or leave the key out.")
                )
            problems.extend(
                Problem(at=("models",), text=f"names {name} {self.models.count(name)} times: a model is uploaded once. Keep one.")
                for name in sorted({name for name in self.models if self.models.count(name) > 1})
            )
        if self.endpoint is not None and is_loopback(self.endpoint) and self.cluster_endpoint is None:
            problems.append(
                Problem(
                    at=("endpoint",),
                    text=f"({self.endpoint}) is a loopback address: pods would look for the store inside themselves. "
                    "Set clusterEndpoint to the store's address as pods reach it.",
                    also=(("cluster_endpoint",),),
                )
            )
        if self.cluster_endpoint is not None and is_loopback(self.cluster_endpoint):
            problems.append(
                Problem(
                    at=("cluster_endpoint",),
                    text=f"({self.cluster_endpoint}) is a loopback address: pods would look for the store inside themselves. "
                    "Set it to the store's address as pods reach it.",
                )
            )
        return problems

    def _of_the_store(self) -> Iterator[Problem]:
        """Check the settings that only one kind of store supports."""
        wrong = _check_s3_bucket(self.bucket) if self.store == "s3" else _check_gcs_bucket(self.bucket)
        if wrong is not None:
            yield Problem(at=("bucket",), text=f"({self.bucket}) {wrong}", also=(("store",),))
        if self.kms_key is not None and not self.create_bucket:
            yield Problem(
                at=("kms_key",),
                text=f"({self.kms_key}) has no effect: a bucket that the stack does not create keeps its own encryption. "
                "Set createBucket: true, or set the key on the bucket and remove it here.",
                also=(("create_bucket",),),
            )
        if self.adopt_bucket and not self.create_bucket:
            yield Problem(
                at=("adopt_bucket",),
                text="is true without createBucket: it would have no effect. Set createBucket: true, or leave adoptBucket out.",
                also=(("create_bucket",),),
            )
        if (self.credentials == "keyFile") != (self.key_file is not None):
            text = (
                "is missing while credentials is keyFile: Triton would have no key. Name the file, or use credentials: serviceAccount."
                if self.key_file is None
                else f"({self.key_file}) has no effect: credentials is {self.credentials}. Set credentials: keyFile, or remove keyFile."
            )
            yield Problem(at=("key_file",), text=text, also=(("credentials",),))
        if self.store == "s3":
            if self.credentials == "keyFile":
                text = (
                    "is keyFile with store: s3: S3 has no key files, and Triton would read the bucket without credentials. "
                    "Use serviceAccount or environment."
                )
                yield Problem(at=("credentials",), text=text, also=(("store",),))
            for name in ("project", "location"):
                if getattr(self, name) is not None:
                    yield Problem(
                        at=(name,),
                        text=f"({getattr(self, name)}) has no effect: only store: gcs has one. Leave it out, or set store: gcs.",
                        also=(("store",),),
                    )
        else:
            yield from self._of_gcs()

    def _of_gcs(self) -> Iterator[Problem]:
        if self.profile is not None:
            text = f"({self.profile}) has no effect: only store: s3 has one. Leave it out, or set store: s3."
            yield Problem(at=("profile",), text=text, also=(("store",),))
        for name in ("endpoint", "cluster_endpoint"):
            if getattr(self, name) is not None:
                yield Problem(
                    at=(name,),
                    text=f"({getattr(self, name)}) has no effect on Triton: with store: gcs it sends its requests to Google. Remove it "
                    "(STORAGE_EMULATOR_HOST directs uploads to an emulator), or set store: s3.",
                    also=(("store",),),
                )
        if self.credentials == "environment":
            yield Problem(
                at=("credentials",),
                text="is environment with store: gcs: Google has no keys for environment variables, and Triton would read the "
                "bucket without credentials. Use serviceAccount (Workload Identity) or keyFile.",
                also=(("store",),),
            )
        if self.create_bucket and self.location is None:
            yield Problem(
                at=("location",),
                text="is missing: the bucket would be created in the US, and can't be moved. Set it to the cluster's region.",
                also=(("store",), ("create_bucket",)),
            )
        if self.kms_key is not None and _KMS_KEY.match(self.kms_key) is None:
            yield Problem(
                at=("kms_key",),
                text=f"({self.kms_key}) is not a Cloud KMS key: the bucket could not be created. "
                "Write projects/PROJECT/locations/LOCATION/keyRings/RING/cryptoKeys/KEY.",
                also=(("store",),),
            )
