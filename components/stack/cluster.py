"""Settings of the cluster that the fleet runs on, told apart by `provider`. Each cloud's are in files of its own: `eks*.py`, `gke*.py`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.eks.settings.cluster import EksClusterSettings
from components.existing.settings import ExistingClusterSettings
from components.gke.settings.cluster import GkeClusterSettings

ClusterSettings = Annotated[ExistingClusterSettings | EksClusterSettings | GkeClusterSettings, Field(discriminator="provider")]
"""Union of all providers, told apart by ``provider``."""
