"""Settings of a cluster that already exists."""

from __future__ import annotations

from typing import Literal

from components.base.model import Model


class ExistingClusterSettings(Model):
    """A cluster that already exists: found through a kubeconfig, never created, changed or deleted."""

    provider: Literal["existing"] = "existing"
    """Kind of cluster: ``existing`` uses one that already exists."""
    kubeconfig: str | None = None
    """Path of a kubeconfig file; None means what kubectl would use (KUBECONFIG, else ~/.kube/config)."""
    context: str | None = None
    """Context in that file; None means its current-context."""
