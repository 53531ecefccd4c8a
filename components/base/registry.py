"""Settings of a registry for the images of a stack."""

from __future__ import annotations

from pydantic import Field

from components.base.model import Model


class ImageRepositorySettings(Model):
    """An ECR repository for Triton images of one's own."""

    name: str = Field(default="triton", pattern=r"^[a-z0-9]+([._/-][a-z0-9]+)*$", min_length=2, max_length=256)
    """Name of the repository."""
    keep_untagged_days: int = Field(default=14, ge=1)
    """Days after which images without a tag are deleted."""
    retain: bool = True
    """True: a destroy leaves a repository that has images and fails there. False: images go with it."""
