"""How a GPU is divided among pods."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.base.model import Model
from components.gpu import catalogue


class WholeSharing(Model):
    """Each pod has whole GPUs."""

    kind: Literal["whole"]
    """Each pod has whole GPUs."""


class TimeSlicingSharing(Model):
    """Pods take turns on a GPU. No memory limit: one pod can starve the others of it."""

    kind: Literal["timeSlicing"]
    """Pods take turns on a GPU."""
    replicas: int = Field(ge=2, le=catalogue.MAX_REPLICAS)
    """Pods on one GPU."""


class MpsSharing(Model):
    """Pods compute on a GPU at once, each with its share of the memory (MPS; NVIDIA calls the plugin's support experimental)."""

    kind: Literal["mps"]
    """Pods compute on a GPU at once."""
    replicas: int = Field(ge=2, le=catalogue.MAX_REPLICAS)
    """Pods on one GPU."""


class MigSharing(Model):
    """Each GPU is cut into slices with compute and memory of their own."""

    kind: Literal["mig"]
    """Each GPU is cut into slices."""
    profile: str
    """Slice, such as ``1g.10gb``; each GPU gets as many as fit. Pods ask for ``nvidia.com/mig-1g.10gb``."""


Sharing = Annotated[WholeSharing | TimeSlicingSharing | MpsSharing | MigSharing, Field(discriminator="kind")]


def catalogue_sharing(sharing: Sharing) -> catalogue.Sharing:
    """Give ``sharing`` as the catalogue of machines takes it."""
    replicas = sharing.replicas if isinstance(sharing, (TimeSlicingSharing, MpsSharing)) else 1
    profile = sharing.profile if isinstance(sharing, MigSharing) else None
    return catalogue.Sharing(kind=sharing.kind, replicas=replicas, profile=profile)
