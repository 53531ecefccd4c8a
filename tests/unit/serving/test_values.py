from __future__ import annotations

import ast
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from components.base.quantities import quantity_value
from components.serving.chart_files import schema, values_yaml
from components.serving.scaling import hpa_metrics, served_pods
from components.serving.settings import ServingSettings
from components.serving.triton import namespace_names, unknown_models
from components.serving.values import ModelRepositoryValues, Values, chart_values, models_to_copy, rollout_deadline, too_small

if TYPE_CHECKING:
    from collections.abc import Iterator

CHART = Path(__file__).resolve().parents[3] / "charts" / "triton"
IMAGE = "registry.example/triton:1"


def serving(**fields: Any) -> ServingSettings:
    return ServingSettings.model_validate({"image": IMAGE, **fields})


def values(settings: ServingSettings, url: str = "s3://bucket/models/abc", secret: str = "") -> dict[str, Any]:
    repository = ModelRepositoryValues(url=url, release="abc", region="eu-west-1", credentials_secret=secret)
    return chart_values(settings, repository, annotations={"role": "reader"}).dump()


def objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for child in node.values():
            yield from objects(child)
    elif isinstance(node, list):
        for child in node:
            yield from objects(child)


def test_the_charts_generated_files_are_what_the_models_give() -> None:
    assert (CHART / "values.schema.json").read_text() == schema(), "run make schema"
    assert (CHART / "values.yaml").read_text() == values_yaml(), "run make schema"


def test_the_charts_own_defaults_are_the_models_defaults() -> None:
    assert yaml.safe_load((CHART / "values.yaml").read_text()) == Values().dump()


def test_the_schema_is_draft_7_and_refuses_unknown_keys_everywhere() -> None:
    document = json.loads(schema())
    jsonschema.Draft7Validator.check_schema(document)
    jsonschema.Draft7Validator(document).validate({"resources": {"cpu": 4}})  # as in `helm --set resources.cpu=4`
    for node in objects(document):
        if "properties" in node:
            assert node["additionalProperties"] is False, node


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"resources": {"gpus": 0}},
        {"models": ["a"], "resources": {"gpus": 2, "gpuResource": "nvidia.com/mig-1g.10gb"}},
        {"scaling": {"metrics": [{"kind": "gpuUtilization", "target": 80}]}},
        {"service": {"type": "NodePort", "httpNodePort": 30800, "grpcNodePort": 30801, "annotations": {"a": "b"}}},
        {"drain": {"preStop": 0, "exitTimeout": "1s"}, "runAsUser": 0, "extraArgs": ["--metrics-interval-ms=500"], "env": {"A": "b"}},
    ],
)
def test_what_settings_give_is_valid_and_plain(fields: dict[str, Any]) -> None:
    dumped = values(serving(**fields))
    jsonschema.Draft7Validator(json.loads(schema())).validate(json.loads(json.dumps(dumped)))
    assert Values.model_validate(dumped).dump() == dumped


def test_scaling_reaches_the_chart_as_it_was_decided() -> None:
    settings = serving(
        scaling={
            "minReplicas": 2,
            "maxReplicas": 7,
            "metrics": [
                {"kind": "queueTime", "target": "10ms"},
                {"kind": "pendingRequests", "target": 2.5},
                {"kind": "gpuUtilization", "target": 80},
            ],
        }
    )
    autoscaling = values(settings)["autoscaling"]
    assert autoscaling["metrics"] == hpa_metrics(settings.scaling, served_pods(settings))
    assert (autoscaling["minReplicas"], autoscaling["maxReplicas"]) == (2, 7)


def test_the_engine_waits_for_as_long_as_a_rollout_may_take() -> None:
    settings = serving(startupBudget="30m")
    assert values(settings)["deploymentAnnotations"] == {"pulumi.com/timeoutSeconds": str(rollout_deadline(settings))}
    assert rollout_deadline(settings) >= 1800 + 7 * 60, "models, and a new GPU node before them"


@pytest.mark.parametrize(("url", "region"), [("s3://bucket/p", "eu-west-1"), ("s3://http://h:1/b/p", "eu-west-1"), ("gs://bucket/p", "")])
def test_only_s3_has_a_region(url: str, region: str) -> None:
    assert values(serving(), url=url)["modelRepository"]["region"] == region


def test_credentials_and_identity() -> None:
    assert values(serving(), secret="s-1")["modelRepository"]["credentialsSecret"] == "s-1"
    assert values(serving())["modelRepository"]["credentialsSecret"] == ""
    assert values(serving())["serviceAccount"]["annotations"] == {"role": "reader"}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"scaling": {"minReplicas": 5, "maxReplicas": 4}}, r"min_replicas \(5\) is above maxReplicas \(4\).*raise maxReplicas"),
        ({"scaling": {"metrics": []}}, "at least 1 item"),
        ({"scaling": {"metrics": [{"kind": "queueTime", "target": 1}] * 2}}, r"metrics\[1\] is queueTime again.*Keep one"),
        ({"scaling": {"window": "10s"}}, r"window \(10 s\) is shorter than 4 scrapes.*Raise it to 20s or lower scrapeInterval"),
        ({"scaling": {"window": "11m"}}, "less than or equal to 600"),
        (
            {"resources": {"gpus": 0}, "scaling": {"metrics": [{"kind": "gpuUtilization", "target": 80}]}},
            "gpuUtilization but resources.gpus is 0",
        ),
        ({"models": []}, "models is an empty list.*leave the key out"),
        (
            {"extraArgs": ["--log-info=false", "--exit-timeout-secs=1"]},
            r"extra_args\[1\] \(--exit-timeout-secs=1\) is a flag that the chart sets: .* Use drain.exitTimeout",
        ),
        ({"service": {"httpNodePort": 30800}}, r"http_node_port \(30800\) would be ignored.*Set type to NodePort"),
        ({"service": {"type": "NodePort", "httpNodePort": 30800, "grpcNodePort": 30800}}, r"grpc_node_port \(30800\) is httpNodePort too"),
        ({"service": {"type": "NodePort", "httpNodePort": 80}}, "greater than or equal to 30000"),
        ({"replicas": 3}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_the_remedy(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        serving(**fields)


def test_models_that_the_repository_lacks_are_named() -> None:
    assert unknown_models("triton-fleet:serving[0]", serving(models=["a", "b", "c"]), ("b", "z")) == [
        f"triton-fleet:serving[0].models names {model}, which is not in the repository: Triton would not start. Add the model, or "
        "remove it from the list. The repository has: b, z."
        for model in ("a", "c")
    ]
    assert unknown_models("k", serving(models=["b"]), ("b", "z")) == []
    assert unknown_models("k", serving(), ()) == []


def test_one_namespace_a_distinct_name_whatever_the_order() -> None:
    entries = [serving(name="a", namespace="x"), serving(name="b", namespace="w"), serving(name="c", namespace="x")]
    assert namespace_names(entries) == namespace_names(entries[::-1]) == ("w", "x")


def test_what_decides_values_knows_no_engine() -> None:
    """The pure half of the room stays importable, and testable, without Pulumi."""
    components = CHART.parents[1] / "components"
    for module in ("base/quantities", "serving/metrics/base", "serving/scaling", "serving/values"):
        tree = ast.parse((components / f"{module}.py").read_text())
        imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not {name for name in imported if name.startswith("pulumi")}


def prefetching(size: str | None = None, **fields: Any) -> ServingSettings:
    return serving(name="bert", prefetch={"enabled": True, "volume": {"size": size} if size else {}}, **fields)


def test_prefetch_is_a_switch_or_a_set_of_keys() -> None:
    assert serving(prefetch=True).prefetch == serving(prefetch={"enabled": True}).prefetch
    assert serving(prefetch=False).prefetch == serving().prefetch
    assert not serving().prefetch.enabled


def test_what_is_copied_includes_what_ensembles_need_and_what_these_need() -> None:
    needs = {"outer": ("inner", "a"), "inner": ("b", "outer")}
    assert models_to_copy(serving(models=["outer"]), needs) == ("a", "b", "inner", "outer")
    assert models_to_copy(serving(models=["c"]), needs) == ("c",)
    assert models_to_copy(serving(), needs) == (), "all"


@pytest.mark.parametrize(
    ("size", "models", "fits"),
    [
        ("100Mi", ["a"], True),
        ("100Mi", ["b"], False),
        ("100Mi", None, False),
        ("209715200", ["b"], True),
        ("200M", ["b"], False),
        (None, None, True),
    ],
)
def test_a_volume_smaller_than_its_models_is_refused(size: str | None, models: list[str] | None, fits: bool) -> None:
    sizes = {"a": 100 << 20, "b": 200 << 20}
    problem = too_small("triton-fleet:serving[0]", prefetching(size, models=models), sizes, {})
    assert (problem is None) == fits
    if problem is not None:
        assert f"triton-fleet:serving[0].prefetch.volume.size ({size}) is less than" in problem
        assert re.search(r"Raise it to \d+Mi or more", problem)
        raised = re.search(r"\d+Mi", problem.split("Raise it to ")[1])
        assert raised is not None
        assert too_small("", prefetching(raised[0], models=models), sizes, {}) is None


def test_nothing_about_models_goes_into_the_values_while_prefetch_is_off() -> None:
    repository = ModelRepositoryValues(urls=("s3://b/models/a-1",), region="x")
    off = chart_values(serving(), repository, sizes={"a": 1}, needs={"a": ("b",)})
    assert off.prefetch == Values().prefetch


@pytest.mark.parametrize(
    ("written", "number"), [("1", "1"), ("1Ki", "1024"), ("1.5Gi", "1610612736"), ("2k", "2000"), ("500m", "0.5"), ("3T", "3e12")]
)
def test_quantities_as_numbers(written: str, number: str) -> None:
    assert quantity_value(written) == Decimal(number)
