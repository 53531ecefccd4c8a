"""Settings of the registry for a stack's own images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.base.model import Model, matching


class ImageRepositorySettings(Model):
    """A repository for the stack's own images: in ECR on EKS, in Artifact Registry on GKE."""

    name: Annotated[
        str,
        matching(
            r"(?=.{2,256}$)[a-z0-9]+([._/-][a-z0-9]+)*",
            "is not a repository name: the registry would reject it. Use 2 to 256 lower-case letters and digits, separated by . _ / or -.",
        ),
    ] = "triton"
    """Name of the repository."""
    keep_untagged_days: int = Field(default=14, ge=1)
    """Days after which untagged images are deleted."""
    retain: bool = True
    """True: a destroy keeps a repository with images, and fails there. False: it deletes the images too."""
