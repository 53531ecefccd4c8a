"""Models report what their deployment scales by."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from components.repository.validation import Deployment, validate
from components.stack.checks import _check_models
from components.stack.load import parse
from tests.unit.repository.validation.cases import CODE, GOOD, Case

if TYPE_CHECKING:
    from pathlib import Path

NVIDIA = "nvcr.io/nvidia/tritonserver:"
VLLM, TRTLLM, OWN = f"{NVIDIA}26.07-vllm-python-py3", f"{NVIDIA}26.07-trtllm-python-py3", "registry.example/llm:1"
BOTH = {"vllm": "vllmFirstToken", "trtllm": "trtllmWaiting"}


def parameter(name: str, value: str) -> str:
    return f'parameters {{ key: "{name}" value {{ string_value: "{value}" }} }}\n'


ON, OFF = parameter("REPORT_CUSTOM_METRICS", "true"), parameter("iter_stats_max_iterations", "0")


def case(name: str, backend: str, config: str = "", arguments: object = None) -> Case:
    files = (
        CODE if backend == "python" else {"1/model.json": json.dumps(arguments or {"model": "x"})} if backend == "vllm" else {"1/x": "x"}
    )
    good = GOOD.replace("python", backend).replace("max_batch_size: 8", "max_batch_size: 0" if backend == "vllm" else "max_batch_size: 8")
    path = parameter("gpt_model_path", "/engines/x") if backend == "tensorrtllm" else ""
    return Case(name=name, config=good + path + config, files={**files})


@pytest.mark.parametrize(
    ("image", "models", "says", "fatal"),
    [
        (VLLM, [case("a", "vllm", ON)], None, False),
        (VLLM, [case("a", "vllm")], 'REPORT_CUSTOM_METRICS"] is missing, and s scales by vllmFirstToken', True),
        (VLLM, [case("a", "vllm", parameter("REPORT_CUSTOM_METRICS", "yes"))], "is yes, and s scales by", True),
        (VLLM, [case("a", "vllm", parameter("REPORT_CUSTOM_METRICS", "True"))], None, False),
        (f"{NVIDIA}24.11-vllm-python-py3", [case("a", "vllm", ON)], 'Set its string_value to "yes"', True),
        (f"{NVIDIA}24.11-vllm-python-py3", [case("a", "vllm", parameter("REPORT_CUSTOM_METRICS", "yes"))], None, False),
        (VLLM, [case("a", "vllm", ON, {"disable_log_stats": True})], "sets disable_log_stats", True),
        (VLLM, [case("a", "vllm", ON, {"disable_log_stats": False})], None, False),
        (VLLM, [case("a", "vllm", ON), case("b", "vllm")], "its requests would not count", False),
        (VLLM, [case("a", "python")], "none of its models has backend vllm", False),
        (OWN, [case("a", "vllm")], "is missing", False),
        (OWN, [case("a", "vllm", parameter("REPORT_CUSTOM_METRICS", "yes"))], None, False),
        (TRTLLM, [case("a", "tensorrtllm")], None, False),
        (TRTLLM, [case("a", "tensorrtllm", OFF)], 'iter_stats_max_iterations"] is 0', True),
        (TRTLLM, [case("a", "python")], "none of its models has backend tensorrtllm", False),
        (TRTLLM, [case("a", "python"), case("b", "tensorrtllm")], None, False),
    ],
)
def test_a_model_that_does_not_report_what_its_deployment_scales_by(
    image: str, models: list[Case], says: str | None, fatal: bool, tmp_path: Path
) -> None:
    for model in models:
        model.write(tmp_path)
    engine = "trtllm" if image == TRTLLM else "vllm"
    deployment = Deployment(key="s", image=image, gpus=1, metrics={BOTH[engine]: engine})
    found = validate(tmp_path, None, [deployment])
    if says is None:
        assert found == []
        return
    (problem,) = found
    assert says in problem.text
    assert problem.fatal == fatal
    assert validate(tmp_path, None, [Deployment(key="s", image=image, gpus=1)]) == []


@pytest.mark.parametrize(
    ("metric", "reported"),
    [
        ({"kind": "vllmFirstToken", "target": "800ms"}, True),
        ({"kind": "promql", "metric": "m", "query": "sum(vllm:kv_cache_usage_perc{$pods}) by (pod)", "target": 1}, True),
        ({"kind": "promql", "metric": "m", "query": "sum(mine{$pods}) by (pod)", "target": 1}, False),
        ({"kind": "requestRate", "target": 10}, False),
    ],
)
def test_the_stack_file_says_what_models_must_report(metric: dict[str, object], reported: bool, tmp_path: Path) -> None:
    case("a", "vllm").write(tmp_path / "models")
    raw = {
        "repository": {"source": "models", "bucket": "models-of-mine", "region": "eu-west-1"},
        "serving": [{"name": "s", "image": VLLM, "scaling": {"metrics": [metric]}}],
    }
    if reported:
        with pytest.raises(Exception, match="REPORT_CUSTOM_METRICS"):
            _check_models(parse(raw), tmp_path)
    else:
        _check_models(parse(raw), tmp_path)
