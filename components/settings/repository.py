"""Settings of the model repository: which models, from where, to which object store."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from components.settings.base import Model


class RepositorySettings(Model):
    """The folder of models that is uploaded and the bucket prefix that Triton reads."""

    source: str = "models"
    """Folder with one sub-folder a model, relative to the project."""
    models: tuple[str, ...] | None = None
    """Names of the models to upload; None means every sub-folder of ``source``."""
    store: Literal["s3"] = "s3"
    bucket: str = Field(min_length=3, max_length=63)
    prefix: str = "models"
    """Key prefix below which releases are written; no leading or trailing slash."""
    create_bucket: bool = False
    """True: the bucket is made by the stack and destroyed with it. False: it must exist."""
    region: str = "us-east-1"
    endpoint: str | None = None
    """URL of an S3-compatible store as the uploading machine reaches it; None means AWS, or AWS_ENDPOINT_URL_S3 when set."""
    cluster_endpoint: str | None = None
    """URL of the same store as pods reach it; None means ``endpoint``, or AWS itself."""
    credentials: Literal["serviceAccount", "environment"] = "serviceAccount"
    """How Triton reads the bucket. ``serviceAccount``: by the identity of its Kubernetes service account. ``environment``: a Secret
    filled with the keys that the AWS default chain finds where Pulumi runs."""
