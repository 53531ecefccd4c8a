"""Scaling by any PromQL query with one value per pod."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.model import matching
from components.base.watch import Panel
from components.serving.metrics.base import MetricSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.serving.metrics.base import Sampling

_PODS: Final = "$pods"
_SERIES: Final = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{[^}]*\$pods")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|`[^`]*`')


class PromqlMetric(MetricSettings):
    """A query of the user's own, served by prometheus-adapter like the other kinds."""

    title = "Query"
    description = "The query of each pod, as the autoscaler reads it. A gap: the autoscaler read nothing."
    unit = "short"
    plausible = (0, float("inf"))
    unit_hint = ""

    kind: Literal["promql"]
    """Any query."""
    metric: Annotated[
        str,
        matching(
            "[a-z][a-z0-9_]{0,62}",
            "is not a metric's name: the metrics API could not serve it. Use lower-case letters, digits and underscores.",
        ),
    ] = Field(examples=["stand_in"])
    """Name of the metric in custom.metrics.k8s.io. Deployments that use one name share one query."""
    query_: str = Field(alias="query", examples=["sum(up{$pods}) by (pod)"])
    """PromQL with one value per pod, such as `sum(vllm:kv_cache_usage_perc{$pods}) by (pod)`. ``$pods`` stands for the label matchers
    of the pods and must be in every selector. Add `or 0 * …` if a new pod has no value yet: without one, the autoscaler never scales
    down."""
    target: float = Field(ge=0.001)
    """Value that the autoscaler aims at, per pod."""

    @property
    def published(self) -> str:
        """Name in the metrics API."""
        return self.metric

    @property
    def reads(self) -> str | None:
        """Engine whose series the query has."""
        return next((engine for engine, prefix in (("vllm", "vllm:"), ("trtllm", "nv_trt_llm_")) if prefix in self.query_), None)

    def rule(self, sampling: Sampling) -> dict[str, Any]:
        """Return the adapter's rule, for the series of the first selector with ``$pods``."""
        del sampling
        found = _SERIES.search(self.query_)
        return self._rule("" if found is None else found[1], self.query_.replace(_PODS, "<<.LabelMatchers>>"))

    def panel(self, sampling: Sampling) -> Panel:
        """Return the graph of the query."""
        del sampling
        queries = ((self.query_.replace(_PODS, self.selected), "{{pod}}"),)
        return Panel(title=f"{self.title} {self.metric}", description=self.description, unit=self.unit, queries=queries)

    def _problems(self) -> Iterator[Problem]:
        plain = _STRING.sub('""', self.query_)
        if _SERIES.search(plain) is None or any(_PODS not in selector for selector in re.findall(r"\{[^}]*\}", plain)):
            text = 'has a selector without $pods: it would read every pod of the cluster. Write {$pods} or {$pods,label="value"} in each.'
            yield Problem(at=("query",), text=text)
        if re.search(r"\bby\s*\([^)]*\bpod\b[^)]*\)", plain) is None:
            yield Problem(
                at=("query",), text="is not grouped by pod: the adapter expects one value per pod. Add `by (pod)` to the aggregation."
            )
