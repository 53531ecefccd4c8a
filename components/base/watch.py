"""Panels and alerts: serving describes its deployments with them, and monitoring turns them into Kubernetes objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SELECTED: Final = 'namespace="$namespace",deployment=~"$deployment"'
"""Label matchers of the deployments that the viewer of the dashboard has selected."""
SELECTED_HPA: Final = 'namespace="$namespace",horizontalpodautoscaler=~"$deployment"'
"""Label matchers of their autoscalers' series."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One graph of the dashboard."""

    title: str
    description: str
    """What the graph shows and what to do about it."""
    unit: str
    """Unit id of Grafana, such as ``reqps`` or ``percent``."""
    queries: tuple[tuple[str, str], ...]
    """Pairs of PromQL and legend."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert of one deployment."""

    name: str
    expr: str
    wait: float
    """Seconds for which ``expr`` must hold before the alert fires."""
    severity: Literal["warning", "critical"]
    summary: str
    """Follows the deployment's name."""
    description: str


@dataclass(frozen=True, kw_only=True)
class WatchedDeployment:
    """What alerts and panels need to know about one Triton deployment."""

    name: str
    namespace: str
    window: float
    """Window of rates, in seconds."""
    queue_time: str
    """PromQL of the mean queue time of each pod, in microseconds, as the autoscaler reads it."""
    autoscaled: bool
    """Whether the autoscaler can change the number of replicas."""
    alerts: tuple[Alert, ...] = ()
    """Alerts of the metrics that the deployment scales by."""
