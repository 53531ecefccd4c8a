"""Samples of the cluster during the load: replicas from the HPA, queue time and pending requests from Prometheus."""

from __future__ import annotations

import json
import time
import urllib.parse
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from local.cli.verify import get
from local.load.client import MODEL

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping

QUEUE_TIME: Final = (
    f'sum(rate(nv_inference_queue_duration_us{{model="{MODEL}"}}[20s]))'
    f' / clamp_min(sum(rate(nv_inference_request_success{{model="{MODEL}"}}[20s])), 0.001) / 1000'
)
"""Mean queue time in milliseconds over 4 scrapes: sum of rates divided by sum of rates, like the autoscaler's metric."""
PENDING: Final = f'sum(nv_inference_pending_request_count{{model="{MODEL}"}})'
_QUERY_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Replicas of the deployment and limits of its HPA."""

    current: int
    ready: int
    desired: int
    minimum: int
    maximum: int


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample. An unavailable value is None, which draws a gap instead of a zero."""

    t: float
    """Seconds from the start of the run."""
    replicas: int | None
    desired: int | None
    ready: int | None
    queue_ms: float | None
    pending: float | None
    rps: float
    """Answers per second since the previous sample."""
    p50_ms: float
    p99_ms: float
    failed: int
    """Failures so far."""

    def to_json(self) -> dict[str, Any]:
        """The sample in out/load.json."""
        return asdict(self)


def find_scale(hpas: Mapping[str, Any], deployments: Mapping[str, Any], deployment: str) -> Scale | None:
    """The scale of ``deployment`` from the API's lists; None if no HPA targets it."""
    for hpa in hpas.get("items", []):
        target = hpa["spec"]["scaleTargetRef"]
        if (target.get("kind"), target.get("name")) != ("Deployment", deployment):
            continue
        status = hpa.get("status", {})
        own: Mapping[str, Any] = next((one for one in deployments.get("items", []) if one["metadata"]["name"] == deployment), {})
        return Scale(
            # The HPA's own currentReplicas may be a sync period (15 s) old.
            current=int(own.get("status", {}).get("replicas") or 0),
            desired=int(status.get("desiredReplicas") or 0),
            ready=int(own.get("status", {}).get("readyReplicas") or 0),
            minimum=int(hpa["spec"].get("minReplicas") or 1),
            maximum=int(hpa["spec"]["maxReplicas"]),
        )
    return None


def query_value(body: bytes) -> float | None:
    """The number in Prometheus' response to an instant query; None if it is missing or NaN."""
    result = json.loads(body).get("data", {}).get("result", [])
    if not result:
        return None
    value = float(result[0]["value"][1])
    return value if value == value else None  # noqa: PLR0124 (only NaN differs from itself)


class Cluster:
    """Queries the API server with kubectl, and Prometheus on its port."""

    def __init__(
        self, kubectl: Callable[..., subprocess.CompletedProcess[str]], prometheus: str | None, namespace: str, deployment: str
    ) -> None:
        self._kubectl = kubectl
        self._prometheus = prometheus
        self._namespace = namespace
        self._deployment = deployment

    def scale(self) -> Scale | None:
        """Current replicas; None if the API is unreachable or no HPA scales the deployment."""
        hpas = self._list(f"/apis/autoscaling/v2/namespaces/{self._namespace}/horizontalpodautoscalers")
        deployments = self._list(f"/apis/apps/v1/namespaces/{self._namespace}/deployments")
        return find_scale(hpas, deployments, self._deployment) if hpas is not None and deployments is not None else None

    def _list(self, path: str) -> dict[str, Any] | None:
        answer = self._kubectl("get", "--raw", path)
        if answer.returncode:
            return None
        result: dict[str, Any] = json.loads(answer.stdout)
        return result

    def query(self, expression: str) -> float | None:
        """Prometheus' current value of ``expression``; None if it has none."""
        if self._prometheus is None:
            return None
        try:
            return query_value(get(f"{self._prometheus}/api/v1/query?{urllib.parse.urlencode({'query': expression})}", _QUERY_TIMEOUT_S))
        except (OSError, ValueError, KeyError):
            return None

    def wait_for_scale(self, wanted: Callable[[Scale], bool], budget_s: float) -> Scale | None:
        """Poll until ``wanted`` is true or ``budget_s`` seconds have passed; return the last scale."""
        deadline = time.monotonic() + budget_s
        while True:
            scale = self.scale()
            if (scale is not None and wanted(scale)) or time.monotonic() > deadline:
                return scale
            time.sleep(1.0)
