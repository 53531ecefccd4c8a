"""The Grafana dashboard of all Triton deployments of a stack.

One per stack and not a template of charts/triton, which would make one per deployment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from components.base.quantities import prometheus_duration
from components.base.watch import SELECTED, SELECTED_HPA, Panel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.watch import WatchedDeployment

DASHBOARD_UID: Final = "triton-fleet"
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT = 12, 8
"""Size of a graph; Grafana's grid has 24 columns."""


def panels(deployments: Sequence[WatchedDeployment], metrics: Sequence[Panel]) -> tuple[Panel, ...]:
    """Return the graphs: requests, replicas, those of the ``metrics`` that deployments scale by, and what requests cost."""
    window = prometheus_duration(max(deployment.window for deployment in deployments))

    def rate(series: str) -> str:
        return f"sum(rate({series}{{{SELECTED}}}[{window}])) by (model)"

    def mean(total: str, count: str) -> str:
        return f"{rate(total)} / clamp_min({rate(count)}, 0.001)"

    def replicas(series: str) -> str:
        return f"sum(kube_horizontalpodautoscaler_{series}_replicas{{{SELECTED_HPA}}}) by (horizontalpodautoscaler)"

    return (
        Panel(
            title="Requests",
            description="Requests per second that succeeded and that failed, by model.",
            unit="reqps",
            queries=((rate("nv_inference_request_success"), "{{model}}"), (rate("nv_inference_request_failure"), "{{model}} failed")),
        ),
        Panel(
            title="Replicas",
            description="Ready pods, the number that the autoscaler wants, and its maximum.",
            unit="short",
            queries=(
                (f"sum(kube_deployment_status_replicas_available{{{SELECTED}}}) by (deployment)", "{{deployment}} ready"),
                (replicas("status_desired"), "{{horizontalpodautoscaler}} wanted"),
                (replicas("spec_max"), "{{horizontalpodautoscaler}} maximum"),
            ),
        ),
        *metrics,
        Panel(
            title="Request duration",
            description="Mean from the arrival of a request to its response, by model, time in the queue included.",
            unit="µs",
            queries=((mean("nv_inference_request_duration_us", "nv_inference_request_success"), "{{model}}"),),
        ),
        Panel(
            title="Batch size",
            description="Inferences per execution of a model. At 1 under load, dynamic batching is off or its delay too short.",
            unit="short",
            queries=((mean("nv_inference_count", "nv_inference_exec_count"), "{{model}}"),),
        ),
    )


def _graph(index: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": _WIDTH, "x": _WIDTH * (index % 2), "y": _HEIGHT * (index // 2)},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + position), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for position, (query, legend) in enumerate(panel.queries)
        ],
    }


def _variable(name: str, query: str, *, several: bool) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "multi": several,
        "includeAll": several,
        "allValue": ".*" if several else None,
        "sort": 1,
    }


def dashboard(deployments: Sequence[WatchedDeployment], metrics: Sequence[Panel]) -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model, schema version 39; see `panels`."""
    variables = [
        {"name": "datasource", "type": "datasource", "query": "prometheus"},
        _variable("namespace", "label_values(nv_inference_request_success, namespace)", several=False),
        _variable("deployment", 'label_values(nv_inference_request_success{namespace="$namespace"}, deployment)', several=True),
    ]
    return {
        "uid": DASHBOARD_UID,
        "title": "Triton",
        "tags": ["triton"],
        "schemaVersion": 39,
        "editable": False,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_graph(index, panel) for index, panel in enumerate(panels(deployments, metrics))],
    }
