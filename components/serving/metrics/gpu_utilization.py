"""Scaling by GPU utilization, as dcgm-exporter measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.naming import DCGM_RELEASE
from components.base.quantities import quantity
from components.serving.metrics.base import GpuMetricSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.serving.metrics.base import MetricSources, Sampling, ServedPods


class GpuUtilizationMetric(GpuMetricSettings):
    """GPU utilization in percent (``DCGM_FI_DEV_GPU_UTIL``), an Object metric of Service dcgm-exporter as in reference 000."""

    name = series = "DCGM_FI_DEV_GPU_UTIL"
    resources = {"namespace": "namespace", "service": "service"}  # noqa: RUF012  # as the base declares it
    title = "GPU utilization"
    description = "GPUs of each pod. Shared GPUs show the whole GPU; MIG slices show nothing."
    unit = "percent"
    selected = 'namespace="$namespace",container=~"$deployment"'

    kind: Literal["gpuUtilization"]
    """GPU utilization."""
    target: float = Field(ge=1, le=100)
    """Utilization that the autoscaler aims at, in percent."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the mean over 30 s (DCGM samples once a second) and over the GPUs that pods of one namespace hold.

        It is addressed by the exporter's Service, but the namespace is that of the pods: prometheus-adapter never looks the Service up.
        The adapter's default rule sums all GPUs instead, so that two at 50 % would read 100.
        """
        del sampling
        return "avg(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)"

    def hpa_metric(self, pods: ServedPods) -> dict[str, Any]:
        """Return an Object metric. dcgm-exporter labels a GPU with its container, which tells deployments in one namespace apart."""
        return {
            "type": "Object",
            "object": {
                "metric": {"name": self.name, "selector": {"matchLabels": {"container": pods.container}}},
                "describedObject": {"apiVersion": "v1", "kind": "Service", "name": DCGM_RELEASE},
                "target": {"type": "Value", "value": quantity(self.target)},
            },
        }

    def stack_problems(self, sources: MetricSources) -> Iterator[Problem]:
        """Rule out a stack without dcgm-exporter."""
        yield from super().stack_problems(sources)
        if not sources.dcgm_exporter:
            text = (
                "is gpuUtilization but dcgm.enabled is false: nothing would measure it and the autoscaler could not scale. "
                "Enable dcgm, or scale by queueTime."
            )
            yield Problem(at=(), text=text, also=(("dcgm", "enabled"),))
