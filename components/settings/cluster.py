"""Settings of the cluster that the fleet runs on, told apart by `provider`. Each cloud's are in a file of its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.eks import EksClusterSettings, ImageRepositorySettings
from components.settings.eks_network import CreatedNetworkSettings, ExistingNetworkSettings
from components.settings.eks_pools import CpuPoolSettings, DiskSettings, GpuPoolSettings, architecture
from components.settings.pools import (
    EVERYONE,
    MigSharing,
    MpsSharing,
    Network,
    Sharing,
    TimeSlicingSharing,
    WholeSharing,
    catalogue_sharing,
    scaling_problems,
)

__all__ = [
    "EVERYONE",
    "ClusterSettings",
    "CpuPoolSettings",
    "CreatedNetworkSettings",
    "DiskSettings",
    "EksClusterSettings",
    "ExistingClusterSettings",
    "ExistingNetworkSettings",
    "GpuPoolSettings",
    "ImageRepositorySettings",
    "MigSharing",
    "MpsSharing",
    "Network",
    "Sharing",
    "TimeSlicingSharing",
    "WholeSharing",
    "architecture",
    "catalogue_sharing",
    "scaling_problems",
]


class ExistingClusterSettings(Model):
    """A cluster that is there already: found through a kubeconfig, never created, changed or deleted."""

    provider: Literal["existing"] = "existing"
    """Kind of cluster; ``existing`` is one that is there already."""
    kubeconfig: str | None = None
    """Path of a kubeconfig file; None means what kubectl would use (KUBECONFIG, else ~/.kube/config)."""
    context: str | None = None
    """Context inside that file; None means its current-context."""


ClusterSettings = Annotated[ExistingClusterSettings | EksClusterSettings, Field(discriminator="provider")]
"""Union of all providers, told apart by ``provider``."""
