"""The metrics that a deployment can scale by: one class per kind, in files by what measures them, and the list of kinds here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from components.serving.metrics.engines import TrtllmWaitingMetric, VllmFirstTokenMetric, VllmWaitingMetric
from components.serving.metrics.gpu import GpuDutyCycleMetric, GpuUtilizationMetric
from components.serving.metrics.promql import PromqlMetric
from components.serving.metrics.triton import PendingRequestsMetric, QueueTimeMetric, RequestRateMetric

if TYPE_CHECKING:
    from components.serving.metrics.base import MetricSettings

Metric = Annotated[
    QueueTimeMetric
    | PendingRequestsMetric
    | RequestRateMetric
    | GpuUtilizationMetric
    | GpuDutyCycleMetric
    | VllmFirstTokenMetric
    | VllmWaitingMetric
    | TrtllmWaitingMetric
    | PromqlMetric,
    Field(discriminator="kind"),
]
"""One metric of a deployment; ``kind`` is the discriminator."""
PUBLISHED: Final[tuple[type[MetricSettings], ...]] = (
    QueueTimeMetric,
    PendingRequestsMetric,
    RequestRateMetric,
    GpuUtilizationMetric,
    GpuDutyCycleMetric,
    VllmFirstTokenMetric,
    VllmWaitingMetric,
    TrtllmWaitingMetric,
)
"""Kinds whose metric has a fixed name."""
ALWAYS: Final[tuple[MetricSettings, ...]] = (
    QueueTimeMetric(kind="queueTime", target=1),
    PendingRequestsMetric(kind="pendingRequests", target=1),
    RequestRateMetric(kind="requestRate", target=1),
    GpuUtilizationMetric(kind="gpuUtilization", target=50),
)
"""Metrics that every stack publishes and shows, so that a deployment can change its metrics without a restart of the adapter."""
