"""What every metric kind states: its setting, how it is published, the autoscaler's metric, what rules it out, its panel, its alerts.

How the autoscaler treats what it reads shapes the queries of all kinds:

- A missing pod counts as 0 on the way up and as *on target* on the way down. A pod that has served nothing yet must therefore publish 0;
  without it, the autoscaler would never scale down.
- prometheus-adapter turns NaN into 0 but +Inf into the most negative integer, which proposes the *minimum* of replicas in the worst
  overload. Every denominator is clamped.
- prometheus-adapter asks for many pods in one query and expects one series per pod, so every query is grouped by ``<<.GroupBy>>``.

Rejected: ``avg`` of per-model ratios (reads too low by the share of idle models), ``delta()`` (the counter of a restarted pod goes
backwards), and ``1 + rate()`` in the denominator (reads too low below one request per second).
"""

from __future__ import annotations

from collections.abc import Mapping  # pydantic reads the annotation
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from components.base.errors import Problem
from components.base.model import Model
from components.base.quantities import quantity
from components.base.watch import SELECTED, Alert, Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.errors import FieldPath
    from components.base.tritonserver import ServerImage


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How Prometheus samples the deployments of a stack, in seconds. They share one rule per metric, hence these values."""

    window: float
    """Window of rates: the longest of all deployments. A window below four scrapes breaks a rate; a longer one only delays it."""
    scrape: float
    """Longest scrape interval."""


@dataclass(frozen=True, kw_only=True)
class GkeCluster:
    """A GKE cluster, as the labels of its metrics in Cloud Monitoring name it."""

    name: str
    location: str
    """Zone of a zonal cluster, region of a regional one."""


@dataclass(frozen=True, kw_only=True)
class ServedPods:
    """The pods of one deployment, as the selector of a metric names them."""

    container: str
    """Triton's container, which the chart names after the deployment."""
    namespace: str
    gpus: int
    """GPUs of one pod."""
    gke: GkeCluster | None = None
    """None on any other cluster."""


@dataclass(frozen=True, kw_only=True)
class MetricSources:
    """What measures and serves metrics in a stack, as far as it matters to one deployment."""

    entry: FieldPath
    """Path of the deployment's settings."""
    image: ServerImage
    prometheus_adapter: bool
    stackdriver_adapter: bool
    dcgm_exporter: bool
    system_metrics: bool
    """Whether Cloud Monitoring collects the cluster's system metrics."""
    shared_pool: str | None
    """A pool of shared GPUs, if the pods can't land in any other kind of pool."""
    sliced_pool: str | None
    """A pool of MIG slices, if the pods can't land in any other kind of pool."""


class MetricSettings(Model):
    """One metric that a deployment scales by. The defaults describe a value of each pod that prometheus-adapter publishes."""

    name: ClassVar[str]
    """Name in the metrics API, which the autoscaler reads."""
    adapter: ClassVar[Literal["adapter", "stackdriver"]] = "adapter"
    """Top-level key of the adapter that serves the metric."""
    series: ClassVar[str]
    """Prometheus series; while it exists, so does the metric."""
    labels: ClassVar[str] = ""
    """Further label matchers of the series."""
    resources: ClassVar[Mapping[str, str]] = {"namespace": "namespace", "pod": "pod"}
    """Label of the series -> Kubernetes resource that it names."""
    title: ClassVar[str]
    """Of the dashboard's graph, as `description` and `unit`; see `Panel`."""
    description: ClassVar[str]
    unit: ClassVar[str]
    selected: ClassVar[str] = SELECTED
    """Label matchers of the deployments that the dashboard shows."""
    engine: ClassVar[str | None] = None
    """Engine whose queue the metric is about; see `ServerImage`. None: the metric is right for all."""
    since: ClassVar[tuple[int, int]] = (0, 0)
    """Year and month of the first image that reports the metric."""
    counted: ClassVar[bool] = False
    """Whether the metric is lost with Triton's counters (``--metrics-config=counter_latencies=false``)."""
    plausible: ClassVar[tuple[float, float]]
    """Lowest and highest target that makes sense; one outside is almost certainly in another unit."""
    unit_hint: ClassVar[str]
    """Remedy for such a target."""

    kind: str
    """Which metric."""
    target: float
    """Value that the autoscaler aims at."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the query as prometheus-adapter's Go template, with the delimiters ``<<`` and ``>>``."""
        raise NotImplementedError

    @property
    def published(self) -> str:
        """Name in the metrics API."""
        return self.name

    @property
    def reads(self) -> str | None:
        """Engine that reports what the metric reads; None: none, or unknown."""
        return self.engine

    def rule(self, sampling: Sampling) -> dict[str, Any]:
        """Return the entry of ``rules.custom`` in the values of the prometheus-adapter chart."""
        return self._rule(self.series, self.query(sampling))

    def _rule(self, series: str, query: str) -> dict[str, Any]:
        present = ",".join([*(f'{label}!=""' for label in sorted({"pod", *self.resources})), *([self.labels] if self.labels else [])])
        return {
            "seriesQuery": f"{series}{{{present}}}",
            "resources": {"overrides": {label: {"resource": resource} for label, resource in self.resources.items()}},
            "name": {"matches": f"^{series}$", "as": self.published},
            "metricsQuery": query,
        }

    @classmethod
    def promql(cls, sampling: Sampling, matchers: str) -> str:
        """Return the query as PromQL, by pod, for the series that match ``matchers``."""
        text = cls.query(sampling).replace("<<.Series>>", cls.series)
        return text.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")

    def panel(self, sampling: Sampling) -> Panel:
        """Return the dashboard's graph: the query that the autoscaler reads."""
        queries = ((self.promql(sampling, self.selected), "{{pod}}"),)
        return Panel(title=self.title, description=self.description, unit=self.unit, queries=queries)

    def average(self) -> float:
        """Return the target in the unit of the published metric."""
        return self.target

    def hpa_metric(self, pods: ServedPods) -> dict[str, Any]:
        """Return the entry of ``spec.metrics`` of an autoscaling/v2 HorizontalPodAutoscaler for ``pods``."""
        del pods
        target = {"type": "AverageValue", "averageValue": quantity(self.average())}
        return {"type": "Pods", "pods": {"metric": {"name": self.published}, "target": target}}

    def alerts(self, pods: ServedPods) -> tuple[Alert, ...]:
        """Return the alerts of a deployment that scales by the metric."""
        del pods
        return ()

    def pod_problems(self, *, gpus: int, gpu_resource: str) -> Iterator[Problem]:
        """Yield what rules the metric out for pods with ``gpus`` of ``gpu_resource``. Paths in ``also`` start at the deployment."""
        del gpus, gpu_resource
        lowest, highest = self.plausible
        if not lowest <= self.target <= highest:
            what = "is so low that an idle pod exceeds it" if self.target < lowest else "is so high that no pod reaches it"
            consequence = "run maxReplicas" if self.target < lowest else "never add a pod"
            text = f"({self.target:g}) {what}: the autoscaler would {consequence}. {self.unit_hint}"
            yield Problem(at=("target",), text=text, fatal=False)

    def stack_problems(self, sources: MetricSources) -> Iterator[Problem]:
        """Yield what rules the metric out in a stack. Paths in ``also`` start at the stack file."""
        image, missing = sources.image, "the metric would never exist and the autoscaler could not scale"
        if self.adapter == "adapter" and not sources.prometheus_adapter:
            yield self.unserved("adapter", "Remove adapter.enabled, or use only gpuDutyCycle.")
        if image.release is not None and image.release < self.since:
            first = "{:02}.{:02}".format(*self.since)
            text = f"is {self.kind}, which images report from {first} on: {missing}. Use a newer image, or scale by requestRate."
            yield Problem(at=(), text=text, also=((*sources.entry, "image"),))
        if None not in {self.reads, image.engine} and self.reads != image.engine:
            queue = {"vllm": "vllmFirstToken", "trtllm": "trtllmWaiting", "triton": "queueTime or pendingRequests"}[str(image.engine)]
            if self.reads == "triton":
                why = f"in the {image.engine} image, requests wait in the engine and not in Triton's queue, so the metric stays near 0"
                text = f"is {self.kind}: {why} and the autoscaler never adds a pod. Scale by {queue}, or by promql."
            else:
                text = f"is {self.kind}, and the image has no {self.reads} engine: {missing}. Scale by {queue}."
            yield Problem(at=(), text=text, also=((*sources.entry, "image"),), fatal=self.reads != "triton")

    def unserved(self, adapter: str, remedy: str, consequence: str = "serve the metric") -> Problem:
        """Return the problem of a metric whose component (a top-level key) is off."""
        text = f"is {self.kind} but {adapter}.enabled is false: nothing would {consequence} and the autoscaler could not scale. {remedy}"
        return Problem(at=(), text=text, also=((adapter, "enabled"),))
