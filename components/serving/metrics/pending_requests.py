"""Scaling by the number of requests that wait in Triton's queues."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from components.base.quantities import prometheus_duration
from components.serving.metrics.base import MetricSettings

if TYPE_CHECKING:
    from components.serving.metrics.base import Sampling

_SCRAPES: Final = 3
_SHORTEST_WINDOW: Final = 15.0
"""One sync period of the autoscaler, in seconds: a shorter mean would pick a random moment of the period."""


class PendingRequestsMetric(MetricSettings):
    """Requests that wait in Triton's queues, per pod (``nv_inference_pending_request_count``)."""

    name = series = "nv_inference_pending_request_count"
    title = "Pending requests"
    description = "Requests in the queues of each pod, as the autoscaler reads them."
    unit = "short"

    kind: Literal["pendingRequests"]
    """Requests in the queues."""
    target: float = Field(ge=0.001)
    """Requests in the queues that the autoscaler aims at, per pod."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the sum over all models of a pod, as a mean over some scrapes: a single sample of a gauge says little."""
        window = prometheus_duration(max(_SHORTEST_WINDOW, _SCRAPES * sampling.scrape))
        return f"sum(avg_over_time(<<.Series>>{{<<.LabelMatchers>>}}[{window}])) by (<<.GroupBy>>)"
