"""The queries that the adapter sends, asked of Prometheus' own engine (promtool), over series that Triton and DCGM would write."""

from __future__ import annotations

import itertools
import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from components.serving.scaling import adapter_rules
from components.serving.settings import ServingSettings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SCRAPE = 5
RULES = adapter_rules([ServingSettings(image="registry.example/triton:1", scrape_interval=SCRAPE)])
QUEUE, PENDING, RATE, GPU = RULES
KV_CACHE = "max(vllm:kv_cache_usage_perc{$pods}) by (pod) or 0 * sum(up{$pods}) by (pod)"
ENGINES = [
    {"kind": "vllmFirstToken", "target": "500ms"},
    {"kind": "vllmWaiting", "target": 8},
    {"kind": "trtllmWaiting", "target": 8},
    {"kind": "promql", "metric": "kv_cache_used", "query": KV_CACHE, "target": 0.8},
]
"""Kinds that are published only where a deployment scales by them."""
WITH_ENGINES = {
    rule["name"]["as"]: rule
    for rule in adapter_rules(
        [ServingSettings.model_validate({"image": "x", "scrapeInterval": SCRAPE, "scaling": {"metrics": ENGINES}})],
    )
}
NOW = 300
"""Seconds at which all queries are asked."""


def rendered(rule: dict[str, Any], group: str, **labels: str) -> str:
    """Fill in the adapter's template as it does: several names of a resource become one regular expression."""
    matchers = ",".join(f'{name}{"=~" if "|" in value else "="}"{value}"' for name, value in labels.items())
    filled = (
        str(rule["metricsQuery"])
        .replace("<<.Series>>", series(rule))
        .replace("<<.LabelMatchers>>", matchers)
        .replace("<<.GroupBy>>", group)
    )
    assert "<<" not in filled
    return filled


def series(rule: dict[str, Any]) -> str:
    return str(rule["seriesQuery"]).split("{", maxsplit=1)[0]


def counter(steps: Iterable[float], start: float = 0) -> str:
    """Samples of a counter that rises by ``steps``, one a scrape."""
    return " ".join(f"{value:g}" for value in itertools.accumulate(steps, initial=start))


def every_scrape(step: float) -> str:
    return counter([step] * (NOW // SCRAPE))


@dataclass
class Prometheus:
    """Series, and what a query over them must answer."""

    promtool: Path
    folder: Path
    series: list[dict[str, str]] = field(default_factory=list)

    def triton(self, pod: str, model: str, *, queue_us: str, success: str) -> None:
        labels = f'namespace="triton",pod="{pod}",model="{model}",version="1"'
        self.series.append({"series": f"nv_inference_queue_duration_us{{{labels}}}", "values": queue_us})
        self.series.append({"series": f"nv_inference_request_success{{{labels}}}", "values": success})

    def gauge(self, name: str, values: str, **labels: str) -> None:
        inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
        self.series.append({"series": f"{name}{{{inner}}}", "values": values})

    def check(self, query: str, expected: dict[str, float], label: str = "pod") -> None:
        samples: list[dict[str, Any]] = [{"labels": f'{{{label}="{name}"}}', "value": value} for name, value in expected.items()]
        test = {
            "interval": f"{SCRAPE}s",
            "input_series": self.series,
            "promql_expr_test": [{"expr": query, "eval_time": f"{NOW}s", "exp_samples": samples}],
        }
        path = self.folder / "test.yaml"
        path.write_text(yaml.safe_dump({"rule_files": [], "evaluation_interval": f"{SCRAPE}s", "fuzzy_compare": True, "tests": [test]}))
        done = subprocess.run([self.promtool, "test", "rules", path], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def queue_time(self, expected: dict[str, float]) -> None:
        pods = "|".join(expected)
        self.check(rendered(QUEUE, "pod", namespace="triton", pod=pods), expected)


@pytest.fixture
def prometheus(promtool: Path, tmp_path: Path) -> Prometheus:
    return Prometheus(promtool, tmp_path)


@pytest.mark.parametrize("per_scrape", [5000, 5], ids=["1000 a second", "1 a second"])
def test_queue_time_is_the_mean_over_requests(prometheus: Prometheus, per_scrape: int) -> None:
    prometheus.triton("a", "m", queue_us=every_scrape(250 * per_scrape), success=every_scrape(per_scrape))
    prometheus.queue_time({"a": 250})


def test_queue_time_of_one_request_in_ten_seconds(prometheus: Prometheus) -> None:
    steps = list(itertools.islice(itertools.cycle([0, 1]), NOW // SCRAPE))
    prometheus.triton("a", "m", queue_us=counter(7000 * step for step in steps), success=counter(steps))
    prometheus.queue_time({"a": 7000})


@pytest.mark.parametrize("window", [15.0, 60.0, 600.0])
def test_a_single_request_in_the_window_is_not_clamped_away(prometheus: Prometheus, window: float) -> None:
    settings = ServingSettings.model_validate({"image": "x", "scrapeInterval": 3.0, "scaling": {"window": window}})
    steps = [0] * (NOW // SCRAPE)
    steps[-2] = 1
    prometheus.triton("a", "m", queue_us=counter(90_000 * step for step in steps), success=counter(steps))
    queue, *_ = adapter_rules([settings])
    prometheus.check(rendered(queue, "pod", namespace="triton", pod="a"), {"a": 90_000})


def test_idle_models_do_not_dilute_a_busy_one(prometheus: Prometheus) -> None:
    """A mean of ratios a model would say 100: a fifth of what each request waits."""
    prometheus.triton("a", "busy", queue_us=every_scrape(500 * 100), success=every_scrape(100))
    for model in ("idle1", "idle2", "idle3", "idle4"):
        prometheus.triton("a", model, queue_us=every_scrape(0), success=every_scrape(0))
    prometheus.queue_time({"a": 500})


def test_models_weigh_by_their_requests(prometheus: Prometheus) -> None:
    prometheus.triton("a", "slow", queue_us=every_scrape(1 * 9000), success=every_scrape(1))
    prometheus.triton("a", "fast", queue_us=every_scrape(9 * 100), success=every_scrape(9))
    prometheus.queue_time({"a": (9000 + 900) / 10})


def test_pods_are_told_apart_and_one_without_traffic_gives_zero(prometheus: Prometheus) -> None:
    prometheus.triton("a", "m", queue_us=every_scrape(1000), success=every_scrape(10))
    prometheus.triton("b", "m", queue_us=every_scrape(0), success=every_scrape(0))
    prometheus.triton("elsewhere", "m", queue_us=every_scrape(5), success=every_scrape(5))
    prometheus.queue_time({"a": 100, "b": 0})


def test_a_pod_that_was_scraped_once_gives_zero_and_not_nothing(prometheus: Prometheus) -> None:
    first = " ".join(["_"] * (NOW // SCRAPE) + ["0"])
    prometheus.triton("a", "m", queue_us=every_scrape(1000), success=every_scrape(10))
    prometheus.triton("new", "m", queue_us=first, success=first)
    prometheus.queue_time({"a": 100, "new": 0})


def test_a_restart_of_the_container_is_no_jump(prometheus: Prometheus) -> None:
    before, after = [10.0] * (NOW // SCRAPE - 5), [10.0] * 4
    success = f"{counter(before)} {counter(after)}"
    queue = f"{counter(3000 * step for step in before)} {counter(3000 * step for step in after)}"
    prometheus.triton("a", "m", queue_us=queue, success=success)
    prometheus.queue_time({"a": 3000})


def test_no_division_by_zero_when_nothing_finishes(prometheus: Prometheus) -> None:
    """The queue's counter without a finished request is not seen in Triton; +Inf would scale to the minimum, so it is tried anyway."""
    prometheus.triton("a", "m", queue_us=every_scrape(0), success=every_scrape(0))
    prometheus.triton("b", "m", queue_us=every_scrape(50), success=every_scrape(0))
    prometheus.queue_time({"a": 0, "b": 50 / SCRAPE / 0.001})


def test_a_pod_whose_series_ended_is_not_reported(prometheus: Prometheus) -> None:
    gone = counter([10.0] * (NOW // SCRAPE - 30)) + " stale" + " _" * 29
    prometheus.triton("gone", "m", queue_us=gone, success=gone)
    prometheus.check(rendered(QUEUE, "pod", namespace="triton", pod="gone"), {})


def test_pending_requests_are_summed_over_models_and_averaged_over_the_window(prometheus: Prometheus) -> None:
    assert "[15s]" in PENDING["metricsQuery"]
    quiet = "0 " * (NOW // SCRAPE - 2)
    prometheus.gauge(series(PENDING), quiet + "30 60 0", namespace="triton", pod="a", model="m1")
    prometheus.gauge(series(PENDING), quiet + "3 3 3", namespace="triton", pod="a", model="m2")
    prometheus.gauge(series(PENDING), quiet + "0 0 0", namespace="triton", pod="b", model="m1")
    prometheus.check(rendered(PENDING, "pod", namespace="triton", pod="a|b"), {"a": 33, "b": 0})


def test_the_request_rate_is_summed_over_models_and_zero_for_a_new_pod(prometheus: Prometheus) -> None:
    first = " ".join(["_"] * (NOW // SCRAPE) + ["0"])
    prometheus.triton("a", "m1", queue_us=every_scrape(0), success=every_scrape(10))
    prometheus.triton("a", "m2", queue_us=every_scrape(0), success=every_scrape(5))
    prometheus.triton("new", "m1", queue_us=first, success=first)
    prometheus.check(rendered(RATE, "pod", namespace="triton", pod="a|new"), {"a": 15 / SCRAPE, "new": 0})


def test_the_time_to_the_first_token_is_the_mean_over_requests_and_zero_for_an_idle_pod(prometheus: Prometheus) -> None:
    rule = WITH_ENGINES["vllm_avg_time_to_first_token_us"]
    for pod, requests in (("a", 10), ("idle", 0)):
        labels = {"namespace": "triton", "pod": pod, "model": "llama", "version": "1"}
        prometheus.gauge("vllm:time_to_first_token_seconds_sum", every_scrape(0.25 * requests), **labels)
        prometheus.gauge("vllm:time_to_first_token_seconds_count", every_scrape(requests), **labels)
    prometheus.check(rendered(rule, "pod", namespace="triton", pod="a|idle"), {"a": 250_000, "idle": 0})


def test_only_what_waits_in_the_engine_counts(prometheus: Prometheus) -> None:
    rule = WITH_ENGINES["nv_trt_llm_requests_waiting"]
    assert rule["seriesQuery"].endswith(',request_type="waiting"}'), "the other request types alone must not make the metric exist"
    steady = "x".join(["{0}+0", str(NOW // SCRAPE)])
    for kind, value in (("waiting", 7), ("active", 100), ("max", 512)):
        labels = {"namespace": "triton", "pod": "a", "model": "tensorrt_llm", "version": "1", "request_type": kind}
        prometheus.gauge("nv_trt_llm_request_metrics", steady.format(value), **labels)
    prometheus.check(rendered(rule, "pod", namespace="triton", pod="a|b"), {"a": 7})


def test_what_waits_in_vllm_is_averaged_over_scrapes(prometheus: Prometheus) -> None:
    rule = WITH_ENGINES["vllm_num_requests_waiting"]
    prometheus.gauge(series(rule), "0 " * (NOW // SCRAPE - 2) + "30 60 0", namespace="triton", pod="a", model="llama")
    prometheus.check(rendered(rule, "pod", namespace="triton", pod="a|b"), {"a": 30})


def test_a_query_of_the_users_own_reads_the_pods_that_the_adapter_asks_for(prometheus: Prometheus) -> None:
    rule = WITH_ENGINES["kv_cache_used"]
    assert series(rule) == "vllm:kv_cache_usage_perc"
    steady = "x".join(["{0}+0", str(NOW // SCRAPE)])
    for pod, value in (("a", 0.9), ("elsewhere", 0.1)):
        prometheus.gauge("vllm:kv_cache_usage_perc", steady.format(value), namespace="triton", pod=pod)
    for pod in ("a", "new"):
        prometheus.gauge("up", steady.format(1), namespace="triton", pod=pod)
    prometheus.check(rendered(rule, "pod", namespace="triton", pod="a|new"), {"a": 0.9, "new": 0})


def test_gpu_utilisation_is_a_mean_over_the_gpus_of_one_deployment(prometheus: Prometheus) -> None:
    steady = "x".join(["{0}+0", str(NOW // SCRAPE)])
    owners = [("triton", "fil", 50), ("triton", "fil", 90), ("triton", "bert", 10), ("other", "fil", 100)]
    for gpu, (namespace, container, value) in enumerate(owners):
        labels = {"namespace": namespace, "container": container, "pod": f"p{gpu}", "service": "dcgm-exporter", "gpu": str(gpu)}
        prometheus.gauge(series(GPU), steady.format(value), **labels)
    query = rendered(GPU, "service", namespace="triton", service="dcgm-exporter", container="fil")
    prometheus.check(query, {"dcgm-exporter": 70}, label="service")


def test_the_rules_as_recording_rules_pass_promtools_check(promtool: Path, tmp_path: Path) -> None:
    groups = [
        {
            "name": "as-rules",
            "rules": [
                {
                    "record": f"check:{re.sub(r'[^a-z]', '_', rule['name']['as'].lower())}",
                    "expr": rendered(rule, "pod", pod="a|b"),
                }
                for rule in WITH_ENGINES.values()
            ],
        }
    ]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": groups}))
    done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
