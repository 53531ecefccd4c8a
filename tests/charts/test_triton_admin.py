"""charts/triton: the key to Triton's admin endpoints, in every mode, in a stack and with plain Helm."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.charts.rendering import ADMIN, Chart, serving, values
from tests.charts.shapes import Container, Deployment, EnvVar, Secret, SecretKeyRef, ValueFrom

pytestmark = pytest.mark.helm

BASE: dict[str, Any] = {"modelRepository": {"url": "s3://bucket/models"}}
ENDPOINTS = {"model-repository", "shared-memory", "statistics", "trace", "logging"}


def closed(triton: Container) -> set[str]:
    """Endpoints that are refused without the key, which must be the same over both protocols."""
    http, http_key = triton.flag("http-restricted-api").split(":", 1)
    grpc, grpc_key = triton.flag("grpc-restricted-protocol").split(":", 1)
    assert (http_key, grpc_key) == ("triton-admin-key=$(TRITON_ADMIN_KEY)", "admin-key=$(TRITON_ADMIN_KEY)")
    assert http == grpc
    return set(http.split(","))


MODES = [
    {"mode": "release"},
    {"mode": "release", "models": ["a"]},
    {"mode": "poll"},
    {"mode": "explicit"},
    {"urls": ["s3://b/a"], "url": ""},
]


@pytest.mark.parametrize("repository", MODES, ids=str)
def test_every_mode_asks_for_the_key(chart: Chart, repository: dict[str, Any]) -> None:
    rendered = chart.render({"modelRepository": {**BASE["modelRepository"], **repository}})
    assert closed(rendered[Deployment].triton) == ENDPOINTS
    wanted = EnvVar(name="TRITON_ADMIN_KEY", value_from=ValueFrom(secret_key_ref=SecretKeyRef(name="bert-admin", key="key")))
    assert wanted in rendered[Deployment].triton.env
    assert EnvVar(name="AIP_MODE", value="disabled") in rendered[Deployment].triton.env, "whatever the image or a Secret says"
    assert rendered[Secret].metadata.name == "bert-admin"
    assert len(base64.b64decode(rendered[Secret].data["key"])) == 32


def test_each_release_has_a_key_of_its_own(chart: Chart) -> None:
    assert chart.render(BASE)[Secret].data != chart.render(BASE, release="other")[Secret].data


def test_a_stack_renders_the_same_twice(chart: Chart) -> None:
    first, second = (chart.template(values(serving()), *more) for more in ((), ("--include-crds",)))
    assert first.stdout == second.stdout
    assert "kind: Secret" not in first.stdout
    assert ADMIN in first.stdout


@pytest.mark.parametrize("opened", [["statistics"], ["shared-memory", "trace"], ["logging"]])
def test_what_is_opened_needs_no_key_and_the_rest_does(chart: Chart, opened: list[str]) -> None:
    assert closed(chart.settings(admin={"open": opened})[Deployment].triton) == ENDPOINTS - set(opened)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"admin": {"open": ["model-repository"]}}, "value must be one of"),
        *(
            ({"extraArgs": [flag]}, "would open Triton's admin endpoints")
            for flag in (
                "--http-restricted-api=logging:a=b",
                "--http-r=logging:a=b",
                "--grpc-restricted-protocol=trace:a=b",
                "--allow-sagemaker=true",
                "--allow-s=1",
                "--allow-vertex-ai",
                "--allow-v=true",
            )
        ),
        *(
            ({"extraArgs": [flag]}, says)
            for flag, says in (
                ("--exit-timeout=5", "extraArgs (--exit-timeout=5) sets --exit-timeout-secs, which the chart sets from drain.exitTimeout"),
                ("--model-st=/x", "sets --model-store, which the chart sets from modelRepository"),
                ("--log-v", "from logVerbose: of two values the last wins"),
            )
        ),
        ({"secretEnv": {"AIP_MODE": {"name": "a", "key": "b"}}}, "env.AIP_MODE would open"),
        ({"env": {"AIP_MODE": "PREDICTION"}}, "env.AIP_MODE would open"),
        ({"env": {"TRITON_ADMIN_KEY": "x"}}, "env.TRITON_ADMIN_KEY would open"),
        ({"image": "nvcr.io/nvidia/tritonserver:23.10-py3"}, "is older than 23.11"),
        ({"image": "mirror.example/tritonserver:22.12-py3-min"}, "is older than 23.11"),
    ],
)
def test_nothing_opens_the_endpoints_another_way(chart: Chart, wrong: dict[str, Any], says: str) -> None:
    done = chart.template({**BASE, **wrong})
    assert done.returncode != 0
    assert says in done.stderr


@pytest.mark.parametrize(
    "fine", [{"extraArgs": ["--allow-cpu-metrics=false"]}, {"image": "x/tritonserver:23.11-py3"}, {"image": "x:1"}], ids=str
)
def test_what_does_not_is_left_alone(chart: Chart, fine: dict[str, Any]) -> None:
    chart.render({**BASE, **fine})


def test_no_key_is_in_the_pod(chart: Chart) -> None:
    rendered = chart.render(BASE)
    key = rendered[Secret].data["key"]
    text = rendered[Deployment].model_dump_json()
    assert key not in text
    assert base64.b64decode(key).decode() not in text
