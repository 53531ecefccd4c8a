"""Settings of the registry for a stack's own images."""

from __future__ import annotations

from pydantic import Field

from components.base.model import Model


class ImageRepositorySettings(Model):
    """A repository for the stack's own images: in ECR on EKS, in Artifact Registry on GKE."""

    name: str = Field(default="triton", pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$", min_length=2, max_length=256)
    """Name of the repository."""
    keep_untagged_days: int = Field(default=14, ge=1)
    """Days after which untagged images are deleted."""
    retain: bool = True
    """True: a destroy keeps a repository with images, and fails there. False: it deletes the images too."""
