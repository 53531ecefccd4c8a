"""The metrics that a deployment can scale by: one file per kind, and the list of kinds here."""

from __future__ import annotations

from typing import Annotated, Final, get_args

from pydantic import Field

from components.serving.metrics.base import GkeCluster, MetricSettings, MetricSources, Sampling, ServedPods
from components.serving.metrics.gpu_duty_cycle import GpuDutyCycleMetric
from components.serving.metrics.gpu_utilization import GpuUtilizationMetric
from components.serving.metrics.pending_requests import PendingRequestsMetric
from components.serving.metrics.queue_time import QueueTimeMetric
from components.serving.metrics.request_rate import RequestRateMetric

__all__ = [
    "KINDS", "GkeCluster", "GpuUtilizationMetric", "Metric", "MetricSettings", "MetricSources", "PendingRequestsMetric",
    "QueueTimeMetric", "Sampling", "ServedPods",
]  # fmt: skip

Metric = Annotated[
    QueueTimeMetric | PendingRequestsMetric | RequestRateMetric | GpuUtilizationMetric | GpuDutyCycleMetric,
    Field(discriminator="kind"),
]
"""One metric of a deployment, told apart by ``kind``."""
KINDS: Final[tuple[type[MetricSettings], ...]] = get_args(get_args(Metric)[0])
