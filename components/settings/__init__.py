"""The settings tree: what a stack file may say, checked as a whole before anything is created."""

from __future__ import annotations

from pydantic import Field

from components.settings.addons import AdapterSettings, ChartSettings, DcgmSettings, PrometheusSettings
from components.settings.base import Model
from components.settings.cluster import ClusterSettings, ExistingClusterSettings
from components.settings.repository import RepositorySettings
from components.settings.serving import ServingSettings

__all__ = ["Settings"]


class Settings(Model):
    """Everything that a stack file says, in one frozen tree."""

    cluster: ClusterSettings = ExistingClusterSettings()
    charts: ChartSettings = ChartSettings()
    repository: RepositorySettings
    prometheus: PrometheusSettings = PrometheusSettings()
    dcgm: DcgmSettings = DcgmSettings()
    adapter: AdapterSettings = AdapterSettings()
    serving: tuple[ServingSettings, ...] = Field(min_length=1)
