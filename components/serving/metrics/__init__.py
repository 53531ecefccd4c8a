"""The metrics that a deployment can scale by: one class per kind, in files by what measures them, and the list of kinds here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, get_args

from pydantic import Field

from components.serving.metrics.gpu import GpuDutyCycleMetric, GpuUtilizationMetric
from components.serving.metrics.triton import PendingRequestsMetric, QueueTimeMetric, RequestRateMetric

if TYPE_CHECKING:
    from components.serving.metrics.base import MetricSettings

Metric = Annotated[
    QueueTimeMetric | PendingRequestsMetric | RequestRateMetric | GpuUtilizationMetric | GpuDutyCycleMetric,
    Field(discriminator="kind"),
]
"""One metric of a deployment, told apart by ``kind``."""
KINDS: Final[tuple[type[MetricSettings], ...]] = get_args(get_args(Metric)[0])
