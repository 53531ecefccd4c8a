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
from typing import TYPE_CHECKING, Any, ClassVar

from components.base.errors import Problem
from components.base.model import Model
from components.base.quantities import quantity
from components.base.watch import SELECTED, Alert, Panel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.errors import FieldPath


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
    series: ClassVar[str | None] = None
    """Prometheus series; while it exists, so does the metric. None: prometheus-adapter does not serve the metric."""
    resources: ClassVar[Mapping[str, str]] = {"namespace": "namespace", "pod": "pod"}
    """Label of the series -> Kubernetes resource that it names."""
    title: ClassVar[str]
    """Of the dashboard's graph, as `description` and `unit`; see `Panel`."""
    description: ClassVar[str]
    unit: ClassVar[str]
    selected: ClassVar[str] = SELECTED
    """Label matchers of the deployments that the dashboard shows."""

    kind: str
    """Which metric."""
    target: float
    """Value that the autoscaler aims at."""

    @classmethod
    def query(cls, sampling: Sampling) -> str:
        """Return the query as prometheus-adapter's Go template, with the delimiters ``<<`` and ``>>``."""
        raise NotImplementedError

    @classmethod
    def rule(cls, sampling: Sampling) -> dict[str, Any]:
        """Return the entry of ``rules.custom`` in the values of the prometheus-adapter chart."""
        present = ",".join(f'{label}!=""' for label in sorted({"pod", *cls.resources}))
        return {
            "seriesQuery": f"{cls.series}{{{present}}}",
            "resources": {"overrides": {label: {"resource": resource} for label, resource in cls.resources.items()}},
            "name": {"matches": f"^{cls.series}$", "as": cls.name},
            "metricsQuery": cls.query(sampling),
        }

    @classmethod
    def promql(cls, sampling: Sampling, matchers: str) -> str:
        """Return the query as PromQL, by pod, for the series that match ``matchers``."""
        text = cls.query(sampling).replace("<<.Series>>", str(cls.series))
        return text.replace("<<.LabelMatchers>>", matchers).replace("<<.GroupBy>>", "pod")

    @classmethod
    def panel(cls, sampling: Sampling) -> Panel:
        """Return the dashboard's graph: the query that the autoscaler reads."""
        queries = ((cls.promql(sampling, cls.selected), "{{pod}}"),)
        return Panel(title=cls.title, description=cls.description, unit=cls.unit, queries=queries)

    def average(self) -> float:
        """Return the target in the unit of the published metric."""
        return self.target

    def hpa_metric(self, pods: ServedPods) -> dict[str, Any]:
        """Return the entry of ``spec.metrics`` of an autoscaling/v2 HorizontalPodAutoscaler for ``pods``."""
        del pods
        target = {"type": "AverageValue", "averageValue": quantity(self.average())}
        return {"type": "Pods", "pods": {"metric": {"name": self.name}, "target": target}}

    def alerts(self, pods: ServedPods) -> tuple[Alert, ...]:
        """Return the alerts of a deployment that scales by the metric."""
        del pods
        return ()

    def pod_problems(self, *, gpus: int, gpu_resource: str) -> Iterator[Problem]:
        """Yield what rules the metric out for pods with ``gpus`` of ``gpu_resource``. Paths in ``also`` start at the deployment."""
        del gpus, gpu_resource
        return iter(())

    def stack_problems(self, sources: MetricSources) -> Iterator[Problem]:
        """Yield what rules the metric out in a stack. Paths in ``also`` start at the stack file."""
        if self.series is not None and not sources.prometheus_adapter:
            yield self.unserved("adapter", "Remove adapter.enabled, or use only gpuDutyCycle.")

    def unserved(self, adapter: str, remedy: str, consequence: str = "serve the metric") -> Problem:
        """Return the problem of a metric whose component (a top-level key) is off."""
        text = f"is {self.kind} but {adapter}.enabled is false: nothing would {consequence} and the autoscaler could not scale. {remedy}"
        return Problem(at=(), text=text, also=((adapter, "enabled"),))
