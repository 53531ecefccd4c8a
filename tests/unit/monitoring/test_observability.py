"""Dashboard and alerts: valid in the eyes of those who read them, and about the numbers that scale."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from components.monitoring import observability
from components.monitoring.settings import AlertSettings
from components.serving.metrics.base import Sampling
from components.serving.metrics.gpu import GpuDutyCycleMetric
from components.serving.metrics.triton import PendingRequestsMetric
from components.serving.scaling import adapter_rules, metric_panels, watched
from components.serving.settings import ServingSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from components.base.watch import Panel

GPU_DUTY_CYCLE = GpuDutyCycleMetric.name

SERVING = (ServingSettings(image="x"), ServingSettings(name="small", namespace="other", image="x"))


def dashboard(serving: Sequence[ServingSettings]) -> dict[str, Any]:
    return observability.dashboard([watched(entry, serving) for entry in serving], metric_panels(serving))


def panels(serving: Sequence[ServingSettings]) -> tuple[Panel, ...]:
    return observability.panels([watched(entry, serving) for entry in serving], metric_panels(serving))


def alert_rules(settings: AlertSettings, serving: Sequence[ServingSettings]) -> dict[str, Any]:
    return observability.alert_rules(settings, [watched(entry, serving) for entry in serving])


def rules_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in spec["groups"] for rule in group["rules"]]


def test_the_dashboard_is_json_that_says_what_grafana_needs() -> None:
    board = json.loads(json.dumps(dashboard(SERVING)))
    assert (board["title"], board["uid"], board["schemaVersion"]) == ("Triton", "triton-fleet", 39)
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "namespace", "deployment"]
    assert {panel["title"] for panel in board["panels"]} >= {
        "Requests",
        "Time in the queue",
        "Pending requests",
        "Replicas",
        "GPU utilization",
    }
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    for panel in board["panels"]:
        assert panel["type"] == "timeseries"
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        assert all(target["datasource"] == {"type": "prometheus", "uid": "${datasource}"} for target in panel["targets"])


def test_no_two_panels_lie_on_each_other() -> None:
    places = set()
    for panel in dashboard(SERVING)["panels"]:
        grid = panel["gridPos"]
        assert grid["x"] + grid["w"] <= 24
        places.add((grid["x"], grid["y"]))
    assert len(places) == len(panels(SERVING))


def test_the_dashboard_shows_what_the_autoscaler_reads() -> None:
    shown = " ".join(query for panel in panels(SERVING) for query, _ in panel.queries)
    for rule in adapter_rules(SERVING):
        assert rule["seriesQuery"].split("{")[0] in shown


def test_no_template_of_the_adapter_is_left() -> None:
    texts = [query for panel in panels(SERVING) for query, _ in panel.queries] + [
        rule["expr"] for rule in rules_of(alert_rules(AlertSettings(), SERVING))
    ]
    assert not [text for text in texts if "<<" in text or ">>" in text]
    filled = PendingRequestsMetric.promql(Sampling(window=60, scrape=5), 'a="b"')
    assert filled == 'sum(avg_over_time(nv_inference_pending_request_count{a="b"}[15s])) by (pod)'


def test_every_deployment_has_its_own_group() -> None:
    spec = alert_rules(AlertSettings(), SERVING)
    assert [group["name"] for group in spec["groups"]] == ["triton-triton-triton", "triton-other-small"]
    for group, entry in zip(spec["groups"], SERVING, strict=True):
        for rule in group["rules"]:
            assert f'namespace="{entry.namespace}"' in rule["expr"]
            assert rule["labels"]["severity"] in {"warning", "critical"}


def test_a_fixed_number_of_replicas_is_never_at_its_maximum() -> None:
    fixed = ServingSettings.model_validate({"image": "x", "scaling": {"minReplicas": 3, "maxReplicas": 3}})
    assert "TritonAtMaxReplicas" not in [rule["alert"] for rule in rules_of(alert_rules(AlertSettings(), [fixed]))]


@pytest.fixture
def written(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(alert_rules(AlertSettings(), [DUTY_CYCLE])), encoding="utf-8")
    return file


def test_prometheus_reads_the_rules(promtool: Path, written: Path) -> None:
    subprocess.run([promtool, "check", "rules", "--lint=all", "--lint-fatal", written], check=True, capture_output=True, timeout=60)


def test_prometheus_reads_the_panels(promtool: Path, tmp_path: Path) -> None:
    """As recording rules: promtool parses queries only in those. Grafana's variables are put in first."""
    queries = [query for panel in panels([*SERVING, DUTY_CYCLE]) for query, _ in panel.queries]
    plain = [re.sub(r"\$(namespace|deployment)", "x", query) for query in queries]
    rules = [{"record": f"panel:{index}", "expr": query} for index, query in enumerate(plain)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    subprocess.run([promtool, "check", "rules", file], check=True, capture_output=True, timeout=60)


DUTY_CYCLE = ServingSettings.model_validate(
    {"image": "x", "scaling": {"metrics": [{"kind": "pendingRequests", "target": 16}, {"kind": "gpuDutyCycle", "target": 85}]}}
)


def test_a_duty_cycle_has_its_panel_and_alert_where_something_scales_by_it() -> None:
    assert "GPU duty cycle" not in [panel.title for panel in panels(SERVING)]
    (panel,) = (panel for panel in panels([*SERVING, DUTY_CYCLE]) if panel.title == "GPU duty cycle")
    assert all(f'metric_name="{GPU_DUTY_CYCLE}"' in query for query, _ in panel.queries)
    assert "TritonNoDutyCycle" not in [rule["alert"] for rule in rules_of(alert_rules(AlertSettings(), SERVING))]
    assert "TritonNoDutyCycle" in [rule["alert"] for rule in rules_of(alert_rules(AlertSettings(), [DUTY_CYCLE]))]


HERE = 'namespace="triton",deployment="triton",pod="p",model="m",version="1"'
KUBE = {
    "ready": 'kube_deployment_status_replicas_available{namespace="triton",deployment="triton"}',
    "wanted": 'kube_horizontalpodautoscaler_status_desired_replicas{namespace="triton",horizontalpodautoscaler="triton"}',
    "most": 'kube_horizontalpodautoscaler_spec_max_replicas{namespace="triton",horizontalpodautoscaler="triton"}',
    "up": 'up{namespace="triton",deployment="triton",pod="p"}',
    "duty": "kube_horizontalpodautoscaler_status_target_metric"
    f'{{namespace="triton",horizontalpodautoscaler="triton",metric_name="{GPU_DUTY_CYCLE}",metric_target_type="average"}}',
    "queue": f"nv_inference_queue_duration_us{{{HERE}}}",
    "success": f"nv_inference_request_success{{{HERE}}}",
    "failure": f'nv_inference_request_failure{{{HERE},reason="OTHER"}}',
}
WELL = {
    "ready": "1x120",
    "wanted": "2x120",
    "most": "4x120",
    "up": "1x120",
    "duty": "40x120",
    # 10 requests a second, each 1 ms in the queue.
    "queue": "0+150000x120",
    "success": "0+150x120",
    "failure": "0x120",
}


@pytest.mark.parametrize(
    ("alert", "changed"),
    [
        (None, {}),
        ("TritonQueueHigh", {"queue": "0+90000000x120"}),  # 600 ms each
        ("TritonRequestsFail", {"failure": "0+3x120"}),  # 2 %
        ("TritonRequestsFail", {"failure": "0+3x120", "success": None}),  # a model that has never served
        ("TritonNoReadyPods", {"ready": "0x120"}),
        ("TritonNoReadyPods", {"ready": None}),
        ("TritonNotScraped", {"up": "0x120"}),
        ("TritonNotScraped", {"up": None}),
        ("TritonAtMaxReplicas", {"wanted": "4x120"}),
        ("TritonNoDutyCycle", {"duty": None}),
    ],
)
def test_each_alert_fires_for_its_own_trouble_and_for_no_other(
    promtool: Path, written: Path, alert: str | None, changed: dict[str, str | None]
) -> None:
    series = [{"series": KUBE[name], "values": values} for name, values in {**WELL, **changed}.items() if values is not None]
    firing = 'count(ALERTS{alertstate="firing"}) by (alertname)'
    expected = [] if alert is None else [{"labels": f'{{alertname="{alert}"}}', "value": 1}]
    test = {
        "rule_files": [str(written)],
        "evaluation_interval": "15s",
        # 15 s a sample, looked at after 25 minutes: longer than every rule waits.
        "tests": [
            {
                "interval": "15s",
                "input_series": series,
                "promql_expr_test": [{"expr": firing, "eval_time": "25m", "exp_samples": expected}],
            }
        ],
    }
    file = written.with_name("test.yaml")
    file.write_text(yaml.safe_dump(test), encoding="utf-8")
    result = subprocess.run([promtool, "test", "rules", file], check=False, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
