"""Scaling by what Triton counts itself, and by queues and times in general."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, Literal

from pydantic import Field

from components.base.quantities import Duration, prometheus_duration
from components.serving.metrics.base import MetricSettings

if TYPE_CHECKING:
    from components.serving.metrics.base import Sampling

_RATE_FLOOR: Final = "0.001"
"""Requests per second below which the denominator is clamped. One request in the longest window that settings allow (600 s) is a rate of
0.0017, above the floor: only 0/0 is clamped, never real traffic."""
_SCRAPES: Final = 3
_SHORTEST_WINDOW: Final = 15.0
"""One sync period of the autoscaler, in seconds: a shorter mean would pick a random moment of the period."""


class QueueLengthMetric(MetricSettings):
    """A gauge of the requests that wait, per pod."""

    unit = "short"
    plausible = (0.1, 10_000)
    unit_hint = "It is a number of requests, such as 16."

    target: float = Field(ge=0.001)
    """Requests in the queues that the autoscaler aims at, per pod."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the sum over all models of a pod, as a mean over some scrapes: a single sample of a gauge says little."""
        window, labels = prometheus_duration(max(_SHORTEST_WINDOW, _SCRAPES * sampling.scrape)), f",{cls.labels}" if cls.labels else ""
        return f"sum(avg_over_time(<<.Series>>{{<<.LabelMatchers>>{labels}}}[{window}])) by (<<.GroupBy>>)"


class MeanTimeMetric(MetricSettings):
    """A mean time of requests, per pod: the sum of the times over the number of requests."""

    unit = "µs"
    total: ClassVar[str]
    """Series of the sum."""
    number: ClassVar[str]
    """Series of the number."""
    factor: ClassVar[str] = ""
    """Converts the sum to microseconds."""

    target: Duration = Field(gt=0)
    """Mean time that the autoscaler aims at, per pod."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the mean over the requests of all models that finished within the window, in microseconds.

        The last term gives 0 for a pod that is scraped but has no rate yet (one sample, or no requests).
        """
        window = prometheus_duration(sampling.window)
        total, number = (f"sum(rate({series}{{<<.LabelMatchers>>}}[{window}])) by (<<.GroupBy>>)" for series in (cls.total, cls.number))
        idle = f"0 * sum({cls.series}{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)"
        return f"{cls.factor}{total} / clamp_min({number}, {_RATE_FLOOR}) or {idle}"

    def average(self) -> float:
        """Return microseconds, rounded because 0.05 s is not exactly 50,000 µs in binary."""
        return max(1, round(self.target * 1_000_000))


class QueueTimeMetric(MeanTimeMetric):
    """Mean time that a request waits in Triton's queue, per pod (``avg_time_queue_us``)."""

    name = "avg_time_queue_us"
    series = total = "nv_inference_queue_duration_us"
    number = "nv_inference_request_success"
    title = "Time in the queue"
    description = "Mean of each pod, as the autoscaler reads it. If it rises with all replicas running, raise maxReplicas."
    engine = "triton"
    counted = True
    plausible = (0.0001, 5)
    unit_hint = "A number without a unit is in seconds: write 50ms for 50 milliseconds."

    kind: Literal["queueTime"]
    """Mean time in the queue."""
    target: Duration = Field(gt=0)
    """Mean time in the queue that the autoscaler aims at, per pod."""


class PendingRequestsMetric(QueueLengthMetric):
    """Requests that wait in Triton's queues, per pod (``nv_inference_pending_request_count``)."""

    name = series = "nv_inference_pending_request_count"
    title = "Pending requests"
    description = "Requests in the queues of each pod, as the autoscaler reads them."
    engine = "triton"

    kind: Literal["pendingRequests"]
    """Requests in the queues."""


class RequestRateMetric(MetricSettings):
    """Requests per second that succeed, per pod (from ``nv_inference_request_success``)."""

    name = "nv_inference_requests_per_second"
    series = "nv_inference_request_success"
    title = "Requests per pod"
    description = "Successful requests per second of each pod, as the autoscaler reads them."
    unit = "reqps"
    counted = True
    plausible = (0.01, 100_000)
    unit_hint = "It is requests per second of one pod, not per minute or of all pods."

    kind: Literal["requestRate"]
    """Rate of requests."""
    target: float = Field(ge=0.001)
    """Requests per second that the autoscaler aims at, per pod: what one pod serves within the latency target, from a load test."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the sum of the rates of all models of a pod; the last term gives 0 for a pod that has no rate yet."""
        rate = f"sum(rate(<<.Series>>{{<<.LabelMatchers>>}}[{prometheus_duration(sampling.window)}])) by (<<.GroupBy>>)"
        return f"{rate} or 0 * sum(<<.Series>>{{<<.LabelMatchers>>}}) by (<<.GroupBy>>)"
