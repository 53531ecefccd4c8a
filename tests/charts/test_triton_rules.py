"""The rules that the chart alone checks too: one table in Python, and the same verdict on both sides."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from components.base.tritonserver import server_image
from components.serving.chart_files import CHART, rules
from components.serving.flags import OWNED, flag_problems
from components.serving.metrics.base import MetricSources
from components.serving.scaling import hpa_metrics, served_pods
from tests.charts.rendering import serving

if TYPE_CHECKING:
    from pathlib import Path

    from tests.charts.rendering import Chart

pytestmark = pytest.mark.helm

SOURCES = MetricSources(
    entry=(),
    image=server_image(""),
    prometheus_adapter=True,
    stackdriver_adapter=True,
    dcgm_exporter=True,
    system_metrics=True,
    shared_pool=None,
    sliced_pool=None,
)
PLAIN, VLLM, TRTLLM = (f"nvcr.io/nvidia/tritonserver:26.07-{variant}" for variant in ("py3", "vllm-python-py3", "trtllm-python-py3"))


def test_the_generated_file_is_up_to_date() -> None:
    assert (CHART / "files" / "rules.json").read_text() == rules(), "run make schema"


@pytest.mark.parametrize("image", [PLAIN, VLLM, TRTLLM, "nvcr.io/nvidia/tritonserver:24.07-vllm-python-py3", "registry.example/mine:1"])
@pytest.mark.parametrize(
    "metric",
    [
        {"kind": "queueTime", "target": "50ms"},
        {"kind": "queueTime", "target": 50},  # meant milliseconds
        {"kind": "queueTime", "target": "20us"},
        {"kind": "pendingRequests", "target": 16},
        {"kind": "pendingRequests", "target": 0.01},
        {"kind": "pendingRequests", "target": 16000},
        {"kind": "requestRate", "target": 30},
        {"kind": "requestRate", "target": 200000},
        {"kind": "gpuUtilization", "target": 80},
        {"kind": "gpuUtilization", "target": 99},
        {"kind": "vllmFirstToken", "target": "800ms"},
        {"kind": "vllmFirstToken", "target": 800},
        {"kind": "trtllmWaiting", "target": 8},
    ],
    ids=lambda metric: f"{metric['kind']}={metric['target']}",
)
def test_a_metric_is_judged_as_in_a_stack_file(chart: Chart, image: str, metric: dict[str, Any]) -> None:
    settings = serving(image=image, scaling={"metrics": [metric]})
    (kind,) = settings.scaling.metrics
    found = [
        *kind.pod_problems(gpus=1, gpu_resource="nvidia.com/gpu"),
        *kind.stack_problems(replace(SOURCES, image=server_image(image))),
    ]
    found = [problem for problem in found if "does not report" not in problem.text]  # of NVIDIA's releases, which change
    values = {
        "image": image,
        "modelRepository": {"url": "s3://bucket/models"},
        "autoscaling": {"metrics": hpa_metrics(settings.scaling, served_pods(settings))},
    }
    assert (chart.template(values).returncode != 0) == any(problem.fatal for problem in found), found
    if not any(problem.fatal for problem in found):
        assert len(warnings(chart, values)) == len(found), found


def warnings(chart: Chart, values: dict[str, Any]) -> list[str]:
    """What `helm install` says after it."""
    file = chart.scratch / "notes.json"
    file.write_text(json.dumps(values))
    command: list[str | Path] = [chart.helm, "install", "bert", chart.path, "--dry-run=client", "--values", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [line for line in done.stdout.splitlines() if line.startswith("WARNING: autoscaling.metrics")]


FLAGS = [
    *(f"--{option}={value}" for option, (harmless, _) in OWNED.items() for value in sorted(harmless)),
    *(f"--{option}=9" for option in sorted(OWNED) if not option.startswith("allow-") and option != "strict-readiness"),
    *(f"--{option}={value}" for option in sorted(OWNED) if option.startswith("allow-") for value in ("false", "1")),
    "--exit-timeout=5",
    "--metrics-po=9000",
    "--model-store=/x",
    "--metrics-interval-ms=500",
    "--allow-cpu-metrics=false",
    "--http-port=$(PORT)",
    "--metrics-config=counter_latencies=false",
    "--metrics-config=summary_latencies=true",
]


@pytest.mark.parametrize("flag", FLAGS)
def test_a_flag_is_judged_as_in_a_stack_file(chart: Chart, flag: str) -> None:
    fatal = any(problem.fatal for problem in flag_problems([flag], {}, counted=True))
    done = chart.template({"image": "x:1", "modelRepository": {"url": "s3://bucket/models"}, "extraArgs": [flag]})
    assert (done.returncode != 0) == fatal, (done.stderr, flag)
