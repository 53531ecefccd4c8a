"""Scaling by the duty cycle of GPUs, as Cloud Monitoring measures it on GKE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.quantities import quantity
from components.base.watch import SELECTED_HPA, Alert
from components.serving.metrics.base import GpuMetricSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.serving.metrics.base import MetricSources, Sampling, ServedPods

_MISSING_FOR: Final = 600
"""Seconds before the alert: a new pod has a value after one sample (60 s) and Cloud Monitoring's delay (120 s and more)."""


class GpuDutyCycleMetric(GpuMetricSettings):
    """GPU duty cycle in percent from Cloud Monitoring, an External metric as in references 001 and 002.

    Sampled once a minute and up to two minutes late: slower than the rest. Its name is that of Cloud Monitoring,
    ``kubernetes.io/container/accelerator/duty_cycle``, with ``|`` for the slash, which the metrics API does not allow.
    """

    name = "kubernetes.io|container|accelerator|duty_cycle"
    title = "GPU duty cycle"
    description = "Sum over the GPUs of a pod, as the autoscaler reads it, some minutes late. A gap: the autoscaler read nothing."
    unit = "percent"

    kind: Literal["gpuDutyCycle"]
    """Duty cycle of a pod's GPUs. Only on GKE, with stackdriver.enabled."""
    target: float = Field(ge=1, le=100)
    """Duty cycle of each GPU that the autoscaler aims at, in percent; the Marketplace application has 85."""

    def hpa_metric(self, pods: ServedPods) -> dict[str, Any]:
        """Return an External metric. Raises ValueError outside GKE.

        The walk-throughs use no selector. An external metric has no namespace, so they add up every GPU of the project. The autoscaler
        divides the sum of all series by the replicas, and each GPU is a series: a pod with two GPUs at 85 % reads 170.
        """
        if pods.gke is None:
            raise ValueError("gpuDutyCycle is measured on GKE only, and this is another cluster: the metric would never exist")
        labels = {
            "resource.type": "k8s_container",
            "resource.labels.cluster_name": pods.gke.name,
            "resource.labels.location": pods.gke.location,
            "resource.labels.namespace_name": pods.namespace,
            "resource.labels.container_name": pods.container,
        }
        return {
            "type": "External",
            "external": {
                "metric": {"name": self.name, "selector": {"matchLabels": labels}},
                "target": {"type": "AverageValue", "averageValue": quantity(self.target * pods.gpus)},
            },
        }

    @classmethod
    def graph(cls, sampling: Sampling) -> tuple[tuple[str, str], ...]:
        """Return what the autoscaler reports in its status: Prometheus can't read Cloud Monitoring."""
        del sampling
        matchers = f'{SELECTED_HPA},metric_name="{cls.name}"'
        return tuple(
            (f"sum(kube_horizontalpodautoscaler_{part}_target_metric{{{matchers}}}) by (horizontalpodautoscaler)", legend)
            for part, legend in (("status", "{{horizontalpodautoscaler}}"), ("spec", "{{horizontalpodautoscaler}} target"))
        )

    def alerts(self, pods: ServedPods) -> tuple[Alert, ...]:
        """Return the alert for an autoscaler that reads no duty cycle."""
        matchers = f'namespace="{pods.namespace}",horizontalpodautoscaler="{pods.container}",metric_name="{self.name}"'
        return (
            Alert(
                name="TritonNoDutyCycle",
                expr=f"absent(kube_horizontalpodautoscaler_status_target_metric{{{matchers}}})",
                wait=_MISSING_FOR,
                severity="warning",
                summary="the autoscaler reads no duty cycle",
                description="It scales by its other metrics, or not at all. Check the HPA's events and the log of the Stackdriver adapter.",
            ),
        )

    def stack_problems(self, sources: MetricSources) -> Iterator[Problem]:
        """Rule out a stack where the Stackdriver adapter is missing or has nothing to read."""
        yield from super().stack_problems(sources)
        if not sources.stackdriver_adapter:
            text = (
                "is gpuDutyCycle but stackdriver.enabled is false: nothing would serve the metric and the autoscaler could not scale. "
                "Set stackdriver.enabled to true (on GKE), or scale by queueTime or gpuUtilization."
            )
            yield Problem(at=(), text=text, also=(("stackdriver", "enabled"),))
        if not sources.system_metrics:
            text = (
                "is gpuDutyCycle but cluster.monitoring does not include system, which provides it: the metric would never exist and the "
                "autoscaler could not scale. Add system."
            )
            yield Problem(at=(), text=text, also=(("cluster", "monitoring"),))
