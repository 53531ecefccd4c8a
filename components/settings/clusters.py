"""All kinds of cluster that a stack file may name. A provider more is a model of its own and a word here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from components.settings.cluster import EksClusterSettings, ExistingClusterSettings
from components.settings.gke import GkeClusterSettings

ClusterSettings = Annotated[ExistingClusterSettings | EksClusterSettings | GkeClusterSettings, Field(discriminator="provider")]
"""Union of all providers, told apart by ``provider``."""
