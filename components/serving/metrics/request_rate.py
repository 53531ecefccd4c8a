"""Scaling by the rate of requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.base.quantities import prometheus_duration
from components.serving.metrics.base import MetricSettings

if TYPE_CHECKING:
    from components.serving.metrics.base import Sampling


class RequestRateMetric(MetricSettings):
    """Requests per second that succeed, per pod (from ``nv_inference_request_success``)."""

    name = "nv_inference_requests_per_second"
    series = "nv_inference_request_success"
    title = "Requests per pod"
    description = "Successful requests per second of each pod, as the autoscaler reads them."
    unit = "reqps"

    kind: Literal["requestRate"]
    """Rate of requests."""
    target: float = Field(ge=0.001)
    """Requests per second that the autoscaler aims at, per pod: what one pod serves within the latency target, from a load test."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the sum of the rates of all models of a pod; the last term gives 0 for a pod that has no rate yet."""
        rate = f"sum(rate(<<.Series>>{{<<.LabelMatchers>>}}[{prometheus_duration(sampling.window)}])) by (<<.GroupBy>>)"
        return f"{rate} or 0 * sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)"
