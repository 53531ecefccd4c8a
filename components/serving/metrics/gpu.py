"""Scaling by how busy whole GPUs are, as dcgm-exporter or Cloud Monitoring (on GKE) measures it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.naming import DCGM_RELEASE
from components.base.quantities import quantity
from components.base.watch import SELECTED_HPA, Alert, Panel
from components.serving.metrics.base import MetricSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.serving.metrics.base import MetricSources, Sampling, ServedPods

WHOLE_GPU: Final = "nvidia.com/gpu"
_POD_METRICS: Final = "Scale by queueTime or pendingRequests."
_MISSING_FOR: Final = 600
"""Seconds before the alert: a new pod has a value after one sample (60 s) and Cloud Monitoring's delay (120 s and more)."""


class GpuMetricSettings(MetricSettings):
    """A metric of whole GPUs."""

    unit = "percent"
    plausible = (5, 90)
    """Above 100/1.1 nothing can exceed the target by the 10 % that the autoscaler tolerates."""
    unit_hint = "It is a percentage that leaves room for growth, such as 80."

    def pod_problems(self, *, gpus: int, gpu_resource: str) -> Iterator[Problem]:
        """Rule out pods without whole GPUs."""
        yield from super().pod_problems(gpus=gpus, gpu_resource=gpu_resource)
        if gpus == 0:
            text = "the metric would never exist and the autoscaler could not scale. Give the pod a GPU, or scale by queueTime."
            yield Problem(at=(), text=f"is {self.kind} but resources.gpus is 0: {text}", also=(("resources", "gpus"),))
        if gpu_resource != WHOLE_GPU:
            text = f"is {self.kind} but resources.gpuResource is {gpu_resource}: the metric exists for whole GPUs only. {_POD_METRICS}"
            yield Problem(at=(), text=text, also=(("resources", "gpu_resource"),))

    def stack_problems(self, sources: MetricSources) -> Iterator[Problem]:
        """Rule out pools of shared or sliced GPUs."""
        yield from super().stack_problems(sources)
        for pool, why in (
            (sources.shared_pool, "shares its GPUs: the metric covers the whole GPU, so each pod would scale by its neighbours' load."),
            (sources.sliced_pool, "splits its GPUs into MIG slices, which don't have this metric: the autoscaler could not scale."),
        ):
            if pool is not None:
                also = (("cluster", "gpu_pools"), (*sources.entry, "node_selector"))
                yield Problem(at=(), text=f"is {self.kind}, and pool {pool} {why} {_POD_METRICS}", also=also)


class GpuUtilizationMetric(GpuMetricSettings):
    """GPU utilization in percent (``DCGM_FI_DEV_GPU_UTIL``), an Object metric of Service dcgm-exporter as in reference 000."""

    name = series = "DCGM_FI_DEV_GPU_UTIL"
    resources = {"namespace": "namespace", "service": "service"}  # noqa: RUF012  # as the base declares it
    title = "GPU utilization"
    description = "GPUs of each pod. Shared GPUs show the whole GPU; MIG slices show nothing."
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
            yield self.unserved("dcgm", "Enable dcgm, or scale by queueTime.", "measure it")


class GpuDutyCycleMetric(GpuMetricSettings):
    """GPU duty cycle in percent from Cloud Monitoring, an External metric as in references 001 and 002.

    Sampled once a minute and up to two minutes late: slower than the rest. Its name is that of Cloud Monitoring,
    ``kubernetes.io/container/accelerator/duty_cycle``, with ``|`` for the slash, which the metrics API does not allow.
    """

    name = "kubernetes.io|container|accelerator|duty_cycle"
    adapter = "stackdriver"
    title = "GPU duty cycle"
    description = "Sum over the GPUs of a pod, as the autoscaler reads it, some minutes late. A gap: the autoscaler read nothing."

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

    def panel(self, sampling: Sampling) -> Panel:
        """Return the graph of what the autoscaler reports in its status: Prometheus can't read Cloud Monitoring."""
        del sampling
        matchers = f'{SELECTED_HPA},metric_name="{self.name}"'
        queries = tuple(
            (f"sum(kube_horizontalpodautoscaler_{part}_target_metric{{{matchers}}}) by (horizontalpodautoscaler)", legend)
            for part, legend in (("status", "{{horizontalpodautoscaler}}"), ("spec", "{{horizontalpodautoscaler}} target"))
        )
        return Panel(title=self.title, description=self.description, unit=self.unit, queries=queries)

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
            remedy = "Set stackdriver.enabled to true (on GKE), or scale by queueTime or gpuUtilization."
            yield self.unserved("stackdriver", remedy)
        if not sources.system_metrics:
            text = (
                "is gpuDutyCycle but cluster.monitoring does not include system, which provides it: the metric would never exist and the "
                "autoscaler could not scale. Add system."
            )
            yield Problem(at=(), text=text, also=(("cluster", "monitoring"),))
