"""Settings of the cluster that the fleet runs on, told apart by `provider`. Each cloud's are in files of its own: `eks*.py`, `gke*.py`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.settings.base import Model
from components.settings.eks import EksClusterSettings
from components.settings.gke import GkeClusterSettings


class ExistingClusterSettings(Model):
    """A cluster that is there already: found through a kubeconfig, never created, changed or deleted."""

    provider: Literal["existing"] = "existing"
    """Kind of cluster; ``existing`` is one that is there already."""
    kubeconfig: str | None = None
    """Path of a kubeconfig file; None means what kubectl would use (KUBECONFIG, else ~/.kube/config)."""
    context: str | None = None
    """Context inside that file; None means its current-context."""


ClusterSettings = Annotated[ExistingClusterSettings | EksClusterSettings | GkeClusterSettings, Field(discriminator="provider")]
"""Union of all providers, told apart by ``provider``."""
