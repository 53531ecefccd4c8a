from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.base.quantities import quantity_value
from components.serving.metrics import Metric
from components.serving.metrics.base import ServedPods
from components.serving.metrics.gpu import GpuUtilizationMetric
from components.serving.metrics.triton import PendingRequestsMetric, QueueTimeMetric
from components.serving.scaling import adapter_rules, hpa_metrics
from components.serving.settings import ScalingSettings, ServingSettings

IMAGE = "registry.example/triton:1"
ALL_KINDS = (
    QueueTimeMetric(kind="queueTime", target=0.01),
    PendingRequestsMetric(kind="pendingRequests", target=16),
    GpuUtilizationMetric(kind="gpuUtilization", target=80),
)


def serving(**fields: Any) -> ServingSettings:
    return ServingSettings.model_validate({"image": IMAGE, **fields})


def pods(container: str) -> ServedPods:
    return ServedPods(container=container, namespace="triton", gpus=1)


def windows(query: str) -> set[str]:
    return set(re.findall(r"\[(\w+)\]", query))


def test_the_names_of_the_references_are_served() -> None:
    assert [rule["name"]["as"] for rule in adapter_rules([serving()])] == [
        "avg_time_queue_us",
        "nv_inference_pending_request_count",
        "nv_inference_requests_per_second",
        "DCGM_FI_DEV_GPU_UTIL",
    ]


def test_a_metric_of_an_engine_is_served_only_where_a_deployment_scales_by_it() -> None:
    metrics = [{"kind": "trtllmWaiting", "target": 4}, {"kind": "promql", "metric": "mine", "query": "sum(a{$pods}) by (pod)", "target": 1}]
    names = [rule["name"]["as"] for rule in adapter_rules([serving(), serving(name="llm", scaling={"metrics": metrics})])]
    assert names[4:] == ["mine", "nv_trt_llm_requests_waiting"]
    assert [entry["pods"]["metric"]["name"] for entry in hpa_metrics(serving(scaling={"metrics": metrics}).scaling, pods("llm"))] == [
        "nv_trt_llm_requests_waiting", "mine",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("sum(a{$pods}) by (pod)", None),
        ("sum(rate(a{$pods,x='{1}'}[1m])) by (pod) or 0 * sum(b{ $pods }) by (pod)", None),
        ("sum by (namespace, pod) (a{$pods})", None),
        ("sum(a) by (pod)", "selector without \\$pods"),
        ("sum(a{$pods}) by (pod) / sum(b{}) by (pod)", "selector without \\$pods"),
        ("sum(a{$pods}) by (pod) / sum(b{x='$pods'}) by (pod)", "selector without \\$pods"),
        ("sum(a{$pods})", "not grouped by pod"),
    ],
)
def test_a_query_that_would_mix_pods_is_refused(query: str, says: str | None) -> None:
    metric = {"kind": "promql", "metric": "m", "query": query, "target": 1}
    if says is None:
        serving(scaling={"metrics": [metric]})
    else:
        with pytest.raises(ValueError, match=says):
            serving(scaling={"metrics": [metric]})


UNITS: dict[str, tuple[list[Any], list[Any]]] = {
    "queueTime": ([50, 10, "50us"], ["50ms", 0.05, "2s", 1]),
    "pendingRequests": ([0.05, 50_000], [0.5, 16, 1000]),
    "requestRate": ([0.001, 1e6], [0.1, 12.5, 5000]),
    "gpuUtilization": ([1, 95, 100], [60, 85, 90]),
    "gpuDutyCycle": ([1, 95], [85]),
    "vllmFirstToken": ([800, "200us"], ["800ms", 1, 10]),
    "vllmWaiting": ([0.01], [8]),
    "trtllmWaiting": ([0.01, 20_000], [8]),
}
"""Kind -> targets that are almost certainly in another unit, and targets that may be meant."""


def test_every_kind_has_limits_of_its_targets() -> None:
    kinds = get_args(get_args(Metric)[0])
    assert {get_args(kind.model_fields["kind"].annotation)[0] for kind in kinds} == {*UNITS, "promql"}, "promql has any unit"


@pytest.mark.parametrize("kind", UNITS)
def test_a_target_in_another_unit_is_warned_of(kind: str) -> None:
    def warned(target: object) -> list[str]:
        settings = serving(scaling={"metrics": [{"kind": kind, "target": target}]})
        return [str(problem) for problem in settings.warnings(("serving", 0))]

    wrong, right = UNITS[kind]
    assert [target for target in wrong if not any("scaling.metrics[0].target (" in text for text in warned(target))] == []
    assert [target for target in right if warned(target)] == []


def test_the_warning_names_consequence_and_remedy() -> None:
    (problem,) = serving(scaling={"metrics": [{"kind": "queueTime", "target": 50}]}).warnings(("serving", 0))
    assert str(problem) == (
        "serving[0].scaling.metrics[0].target (50) is so high that no pod reaches it: the autoscaler would never add a pod. "
        "A number without a unit is in seconds: write 50ms for 50 milliseconds."
    )


def test_the_examples_of_the_page_are_valid() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "scaling.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    metrics = [metric for block in blocks for metric in (block if isinstance(block, list) else block["scaling"]["metrics"])]
    named = {metric["kind"] for metric in metrics}
    assert len(named) == 8
    assert list(serving(scaling={"metrics": metrics}).warnings()) == []
    assert all(f"| `{kind}` |" in page for kind in (*named, "vllmWaiting"))


def test_an_autoscaler_reads_only_what_a_rule_serves() -> None:
    served = {rule["name"]["as"]: rule["resources"]["overrides"] for rule in adapter_rules([serving()])}
    for metric in hpa_metrics(ScalingSettings(metrics=ALL_KINDS), pods("triton")):
        source = metric["pods"] if metric["type"] == "Pods" else metric["object"]
        resource = "pod" if metric["type"] == "Pods" else source["describedObject"]["kind"].lower()
        assert {"resource": resource} in served[source["metric"]["name"]].values()
        assert {"resource": "namespace"} in served[source["metric"]["name"]].values()


def test_rules_do_not_depend_on_the_order_or_number_of_deployments() -> None:
    entries = [serving(name=name, scaling={"window": window}) for name, window in (("a", "30s"), ("b", "2m"), ("c", "60s"))]
    expected = adapter_rules(entries)
    assert all(adapter_rules(order) == expected for order in itertools.permutations(entries))
    assert len(expected) == len(adapter_rules(entries[:1]))


def test_deployments_share_the_longest_window() -> None:
    queue, *_ = adapter_rules([serving(scaling={"window": "30s"}), serving(name="slow", scaling={"window": "2m"})])
    assert windows(queue["metricsQuery"]) == {"120s"}


@pytest.mark.parametrize(("scrape", "window"), [("1s", "15s"), ("5s", "15s"), ("10s", "30s"), ("2500ms", "15s"), ("5500ms", "16500ms")])
def test_pending_requests_are_averaged_over_three_scrapes_and_no_less_than_a_sync_period(scrape: str, window: str) -> None:
    _, pending, *_ = adapter_rules([serving(scrapeInterval=scrape)])
    assert windows(pending["metricsQuery"]) == {window}


def test_no_deployment_is_refused() -> None:
    with pytest.raises(ValueError, match="no deployment to scale"):
        adapter_rules([])


def test_every_query_is_grouped_and_matched_by_what_the_adapter_was_asked_for() -> None:
    for rule in adapter_rules([serving()]):
        query = rule["metricsQuery"]
        assert set(re.findall(r"<<(.*?)>>", query)) <= {".Series", ".LabelMatchers", ".GroupBy"}
        assert query.count("by (<<.GroupBy>>)") == len(re.findall(r"\b(?:sum|avg)\(", query)), "an ungrouped sum would mix pods"
        assert len(re.findall(r"\{<<\.LabelMatchers>>\}", query)) == len(re.findall(r"\{", query)), "an unmatched selector reads every pod"
        assert re.fullmatch(rule["name"]["matches"], rule["seriesQuery"].split("{")[0])


def test_queue_time_as_reference_003_has_it() -> None:
    (metric,) = hpa_metrics(ScalingSettings(metrics=(QueueTimeMetric(kind="queueTime", target=0.01),)), pods("speech"))
    assert metric == {
        "type": "Pods",
        "pods": {"metric": {"name": "avg_time_queue_us"}, "target": {"type": "AverageValue", "averageValue": "10k"}},
    }


def test_the_request_rate_is_per_pod() -> None:
    scaling = ScalingSettings.model_validate({"metrics": [{"kind": "requestRate", "target": 12.5}]})
    assert hpa_metrics(scaling, pods("bert")) == [
        {
            "type": "Pods",
            "pods": {
                "metric": {"name": "nv_inference_requests_per_second"},
                "target": {"type": "AverageValue", "averageValue": "12500m"},
            },
        }
    ]


def test_gpu_utilisation_as_reference_000_has_it_and_told_apart_by_container() -> None:
    (metric,) = hpa_metrics(ScalingSettings(metrics=(GpuUtilizationMetric(kind="gpuUtilization", target=80),)), pods("fil"))
    assert metric == {
        "type": "Object",
        "object": {
            "metric": {"name": "DCGM_FI_DEV_GPU_UTIL", "selector": {"matchLabels": {"container": "fil"}}},
            "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "dcgm-exporter"},
            "target": {"type": "Value", "value": "80"},
        },
    }


@given(st.floats(min_value=1e-6, max_value=60))
def test_queue_targets_are_whole_microseconds(seconds: float) -> None:
    (metric,) = hpa_metrics(ScalingSettings(metrics=(QueueTimeMetric(kind="queueTime", target=seconds),)), pods("triton"))
    text = metric["pods"]["target"]["averageValue"]
    assert re.fullmatch(r"[1-9]\d*[kMG]?", text)
    assert float(quantity_value(text)) == pytest.approx(seconds * 1e6, abs=0.5)
