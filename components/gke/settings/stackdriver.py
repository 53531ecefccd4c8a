"""Settings of Google's custom-metrics-stackdriver-adapter."""

from __future__ import annotations

from pydantic import Field

from components.base.model import Model
from components.base.versions import STACKDRIVER_ADAPTER_IMAGE


class StackdriverSettings(Model):
    """Google's custom-metrics-stackdriver-adapter: Cloud Monitoring's metrics as external.metrics.k8s.io. Only on GKE."""

    enabled: bool = False
    """Whether it is installed. Scaling by gpuDutyCycle needs it."""
    custom_metrics: bool = False
    """Whether it serves custom.metrics.k8s.io too, as the walk-throughs on GKE have it; then adapter.enabled must be false, for an API
    has one owner."""
    image: str = Field(default=STACKDRIVER_ADAPTER_IMAGE, min_length=1)
    """Container image of the adapter; name your mirror's here where nodes can't reach gcr.io."""
