"""Scaling by what waits in an engine: vLLM and TensorRT-LLM take every request at once and queue it themselves, not in Triton."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.quantities import Duration  # noqa: TC001  # pydantic reads the annotation
from components.serving.metrics.triton import MeanTimeMetric, QueueLengthMetric

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.serving.metrics.base import MetricSources


class VllmFirstTokenMetric(MeanTimeMetric):
    """Mean time from a request's arrival to its first token, which grows with vLLM's queue (``vllm:time_to_first_token_seconds``).

    Source: src/utils/metrics.py of github.com/triton-inference-server/vllm_backend, since v24.08.
    """

    name = "vllm_avg_time_to_first_token_us"
    series = number = "vllm:time_to_first_token_seconds_count"
    total = "vllm:time_to_first_token_seconds_sum"
    factor = "1e6 * "
    title = "Time to the first token"
    description = "Mean of each pod, as the autoscaler reads it: time in vLLM's queue and in the prompt."
    engine = "vllm"
    since = (24, 8)
    plausible = (0.001, 60)
    unit_hint = "A number without a unit is in seconds: write 800ms for 800 milliseconds."

    kind: Literal["vllmFirstToken"]
    """Time to the first token, on images with vLLM."""
    target: Duration = Field(gt=0)
    """Mean time to the first token that the autoscaler aims at, per pod. Needs ``REPORT_CUSTOM_METRICS`` in the model's config.pbtxt."""


class VllmWaitingMetric(QueueLengthMetric):
    """Requests that wait in vLLM's queue, per pod (``vllm:num_requests_waiting``).

    No release of vllm_backend up to 26.01 reports it; github.com/triton-inference-server/vllm_backend/pull/92 would.
    """

    name = "vllm_num_requests_waiting"
    series = "vllm:num_requests_waiting"
    title = "Requests in vLLM's queue"
    description = "Requests that wait in the engine of each pod, as the autoscaler reads them."
    engine = "vllm"

    kind: Literal["vllmWaiting"]
    """Requests in vLLM's queue, where the image's backend reports them: NVIDIA's did not, up to 26.01."""

    def stack_problems(self, sources: MetricSources) -> Iterator[Problem]:
        """Warn of NVIDIA's own images."""
        yield from super().stack_problems(sources)
        if sources.image.engine == "vllm":
            text = (
                "is vllmWaiting, which the vLLM backend of NVIDIA's images does not report (checked up to 26.01): without it, the "
                "autoscaler can't scale. Check /metrics for vllm:num_requests_waiting, or scale by vllmFirstToken."
            )
            yield Problem(at=(), text=text, also=((*sources.entry, "image"),), fatal=False)


class TrtllmWaitingMetric(QueueLengthMetric):
    """Requests that wait in TensorRT-LLM's queue, per pod (``nv_trt_llm_request_metrics``, ``request_type="waiting"``).

    Source: inflight_batcher_llm/src/custom_metrics_reporter of github.com/triton-inference-server/tensorrtllm_backend: r25.04 has it and
    r25.03 does not. Only the C++ backend reports it: not the Python one (issue 479), and not models of the LLM API.
    """

    name = "nv_trt_llm_requests_waiting"
    series = "nv_trt_llm_request_metrics"
    labels = 'request_type="waiting"'
    title = "Requests in TensorRT-LLM's queue"
    description = "Requests that wait in the engine of each pod, as the autoscaler reads them."
    engine = "trtllm"
    since = (25, 4)

    kind: Literal["trtllmWaiting"]
    """Requests in TensorRT-LLM's queue, on images with its C++ backend."""
