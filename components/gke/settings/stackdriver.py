"""Settings of Google's custom-metrics-stackdriver-adapter."""

from __future__ import annotations

from components.base.model import ImageReference, Model
from components.base.versions import STACKDRIVER_ADAPTER_IMAGE


class StackdriverSettings(Model):
    """Google's custom-metrics-stackdriver-adapter: serves Cloud Monitoring's metrics as external.metrics.k8s.io. Only on GKE."""

    enabled: bool = False
    """Whether it is installed. Scaling by gpuDutyCycle requires it."""
    custom_metrics: bool = False
    """Whether it also serves custom.metrics.k8s.io, as in GKE's walk-throughs; adapter.enabled must then be false, because an API has one
    owner."""
    image: ImageReference = STACKDRIVER_ADAPTER_IMAGE
    """Container image of the adapter; name one in your mirror if nodes can't reach gcr.io."""
