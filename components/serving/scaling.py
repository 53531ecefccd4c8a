"""What scales Triton, from one description: the adapter's rules, the autoscaler's metrics and its behaviour. Pure.

A metric is described once, as an `AdapterMetric`; the rule that publishes it on custom.metrics.k8s.io and the HorizontalPodAutoscaler
that reads it are both made from that description, so that the names cannot drift apart.

How the autoscaler treats what it reads shapes every query here:

- a missing pod counts as 0 on the way up and as *on target* on the way down, so a pod that has served nothing yet must publish 0, or it
  would hold the replicas up for ever;
- the adapter turns NaN into 0 but +Inf into the most negative integer, which proposes the *minimum* of replicas in the worst overload:
  every denominator is clamped;
- the adapter asks for many pods in one query and reads one series a pod, so every query is grouped by what it was asked for.

Refused: ``avg`` of ratios a model (it under-reports by the number of idle models), ``delta()`` (a restarted pod's counter goes
backwards), and ``1 + rate()`` in the denominator (it under-reports below one request a second).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

from components.base.naming import DCGM_RELEASE
from components.base.quantities import prometheus_duration, quantity

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.serving.settings import Metric, ScalingSettings, ServingSettings

QUEUE_TIME: Final = "avg_time_queue_us"
PENDING_REQUESTS: Final = "nv_inference_pending_request_count"
GPU_UTILIZATION: Final = "DCGM_FI_DEV_GPU_UTIL"
GPU_DUTY_CYCLE: Final = "kubernetes.io|container|accelerator|duty_cycle"
"""Cloud Monitoring's ``kubernetes.io/container/accelerator/duty_cycle``: a metric's name in the API can't have a slash."""

_RATE_FLOOR: Final = "0.001"
"""Requests a second below which the queue time's denominator is clamped. One request in the longest window that settings allow (600 s)
is a rate of 0.0017, above the floor: real traffic is never clamped, only 0/0 is."""
_GPU_WINDOW: Final = 30.0
"""Seconds that GPU utilisation is averaged over: DCGM samples once a second and a single sample is mostly noise."""
_PENDING_WINDOW_SCRAPES: Final = 3
_PENDING_WINDOW_FLOOR: Final = 15.0
"""One sync period of the autoscaler: averaging the gauge over less would only pick a random moment of the period."""
_MICROSECONDS: Final = 1_000_000

_POD_RESOURCES: Final = {"namespace": "namespace", "pod": "pod"}


@dataclass(frozen=True, kw_only=True)
class AdapterMetric:
    """One metric of custom.metrics.k8s.io: which series it is made from, and how."""

    name: str
    """Its name in the metrics API, which the autoscaler reads."""
    series: str
    """The Prometheus series whose presence makes the metric be there."""
    resources: Mapping[str, str]
    """Label of the series -> Kubernetes resource that the label names."""
    labels: tuple[str, ...]
    """Labels that a series must have to count."""
    query: str
    """The adapter's Go template of the query: delimiters ``<<`` and ``>>``."""

    def rule(self) -> dict[str, Any]:
        """Return the entry for ``rules.custom`` of the prometheus-adapter chart."""
        present = ",".join(f'{label}!=""' for label in self.labels)
        return {
            "seriesQuery": f"{self.series}{{{present}}}",
            "resources": {"overrides": {label: {"resource": resource} for label, resource in self.resources.items()}},
            "name": {"matches": f"^{self.series}$", "as": self.name},
            "metricsQuery": self.query,
        }


def _queue_time(window: str) -> AdapterMetric:
    """Mean time in Triton's queue of the requests that finished within ``window``, in microseconds, over all models of a pod.

    The last term gives 0 to a pod that is scraped but has no rate yet (one sample, or no model asked): present, as the autoscaler needs.
    """
    total = f"sum(rate(nv_inference_queue_duration_us{{<<.LabelMatchers>>}}[{window}])) by (<<.GroupBy>>)"
    finished = f"sum(rate(nv_inference_request_success{{<<.LabelMatchers>>}}[{window}])) by (<<.GroupBy>>)"
    idle = "0 * sum(nv_inference_queue_duration_us{<<.LabelMatchers>>}) by (<<.GroupBy>>)"
    return AdapterMetric(
        name=QUEUE_TIME,
        series="nv_inference_queue_duration_us",
        resources=_POD_RESOURCES,
        labels=("namespace", "pod"),
        query=f"{total} / clamp_min({finished}, {_RATE_FLOOR}) or {idle}",
    )


def _pending_requests(window: str) -> AdapterMetric:
    """Requests waiting in a pod's queues, over all its models, as a mean over ``window``: a single look at a gauge is a lottery."""
    return AdapterMetric(
        name=PENDING_REQUESTS,
        series="nv_inference_pending_request_count",
        resources=_POD_RESOURCES,
        labels=("namespace", "pod"),
        query=f"sum(avg_over_time(<<.Series>>{{<<.LabelMatchers>>}}[{window}])) by (<<.GroupBy>>)",
    )


def _gpu_utilization(window: str) -> AdapterMetric:
    """Mean utilisation in percent of the GPUs that pods of one namespace hold, addressed through the exporter's Service.

    The namespace is that of the GPU's owner, not the exporter's: the adapter never looks the Service up. ``avg``, where the adapter's
    default rule sums all GPUs (two at 50 % would read 100).
    """
    return AdapterMetric(
        name=GPU_UTILIZATION,
        series="DCGM_FI_DEV_GPU_UTIL",
        resources={"namespace": "namespace", "service": "service"},
        labels=("namespace", "pod", "service"),
        query=f"avg(avg_over_time(<<.Series>>{{<<.LabelMatchers>>}}[{window}])) by (<<.GroupBy>>)",
    )


def adapter_metrics(serving: Sequence[ServingSettings]) -> tuple[AdapterMetric, ...]:
    """Return every metric that deployments can scale by, used by one of them or not, always in the same order.

    All of them always: which metrics a deployment scales by can then change without the adapter being restarted, and the names of the
    reference walk-throughs can be looked up on every stack. The adapter knows one rule a name, so the windows are shared: the longest that
    any deployment asks for, since a window below four scrapes breaks a rate while a longer one only delays it.

    Raises ValueError when there is no deployment.
    """
    if not serving:
        message = "no deployment to scale: the adapter's windows are derived from the entries of `serving`. Add one."
        raise ValueError(message)
    window = max(entry.scaling.window for entry in serving)
    scrape = max(entry.scrape_interval for entry in serving)
    pending = max(_PENDING_WINDOW_FLOOR, _PENDING_WINDOW_SCRAPES * scrape)
    return (
        _queue_time(prometheus_duration(window)),
        _pending_requests(prometheus_duration(pending)),
        _gpu_utilization(prometheus_duration(_GPU_WINDOW)),
    )


def adapter_rules(serving: Sequence[ServingSettings]) -> list[dict[str, Any]]:
    """Return the entries of ``rules.custom`` for the prometheus-adapter chart; see `adapter_metrics`."""
    return [metric.rule() for metric in adapter_metrics(serving)]


def _pods(name: str, average: float) -> dict[str, Any]:
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": quantity(average)}}}


@dataclass(frozen=True, kw_only=True)
class MonitoredPods:
    """How Cloud Monitoring names a deployment's containers: labels of its resource ``k8s_container``."""

    cluster: str
    location: str
    """Zone of a zonal cluster, region of a regional one."""
    namespace: str
    gpus: int
    """GPUs of one pod; each is a series of its own."""


def _duty_cycle(target: float, container: str, pods: MonitoredPods | None) -> dict[str, Any]:
    """Read the GPUs' duty cycle, an External metric.

    The walk-throughs ask for it without a selector: an external metric knows no namespace, and the sum would be that of every GPU in the
    project. The autoscaler divides the sum of all series by the replicas, and each GPU is a series, so that a pod of two at 85 % reads 170.
    """
    if pods is None:
        raise ValueError("gpuDutyCycle is measured on GKE alone, and this cluster is none: it would never be there")
    labels = {
        "resource.type": "k8s_container",
        "resource.labels.cluster_name": pods.cluster,
        "resource.labels.location": pods.location,
        "resource.labels.namespace_name": pods.namespace,
        "resource.labels.container_name": container,
    }
    return {
        "type": "External",
        "external": {
            "metric": {"name": GPU_DUTY_CYCLE, "selector": {"matchLabels": labels}},
            "target": {"type": "AverageValue", "averageValue": quantity(target * pods.gpus)},
        },
    }


def _hpa_metric(metric: Metric, container: str, pods: MonitoredPods | None) -> dict[str, Any]:
    match metric.kind:
        case "queueTime":
            # Settings are seconds, the published metric microseconds; rounded, for 0.05 s is not exactly 50000 us in binary.
            return _pods(QUEUE_TIME, max(1, round(metric.target * _MICROSECONDS)))
        case "pendingRequests":
            return _pods(PENDING_REQUESTS, metric.target)
        case "gpuUtilization":
            return {
                "type": "Object",
                "object": {
                    # The selector keeps deployments that share a namespace apart: dcgm-exporter names the container that holds the GPU.
                    "metric": {"name": GPU_UTILIZATION, "selector": {"matchLabels": {"container": container}}},
                    "describedObject": {"apiVersion": "v1", "kind": "Service", "name": DCGM_RELEASE},
                    "target": {"type": "Value", "value": quantity(metric.target)},
                },
            }
        case "gpuDutyCycle":
            return _duty_cycle(metric.target, container, pods)
    assert_never(metric)


def hpa_metrics(scaling: ScalingSettings, *, container: str, pods: MonitoredPods | None = None) -> list[dict[str, Any]]:
    """Return ``spec.metrics`` of an autoscaling/v2 HorizontalPodAutoscaler, in the order of the settings.

    ``container`` is the name of Triton's container, which the chart sets to the deployment's name. ``pods`` says where Cloud Monitoring
    looks for them. Raises ValueError for gpuDutyCycle without.
    """
    return [_hpa_metric(metric, container, pods) for metric in scaling.metrics]


def hpa_behavior(scaling: ScalingSettings) -> dict[str, Any]:
    """Return ``spec.behavior``, complete: what the API server would default is written out, so that nothing reads back as a difference.

    Up: Kubernetes' own default (double, or 4 pods, in 15 s, whichever is more), without a window, because late capacity is lost requests.
    Down: only after ``scale_down_stabilization`` seconds of lower proposals, some pods a minute, so that each can drain.
    """
    return {
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "selectPolicy": "Max",
            "policies": [
                {"type": "Pods", "value": 4, "periodSeconds": 15},
                {"type": "Percent", "value": 100, "periodSeconds": 15},
            ],
        },
        "scaleDown": {
            "stabilizationWindowSeconds": round(scaling.scale_down_stabilization),
            "selectPolicy": "Max",
            "policies": [{"type": "Pods", "value": scaling.scale_down_pods_per_minute, "periodSeconds": 60}],
        },
    }
