"""Flags that undo what the chart computes, in every spelling that the server accepts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from components.serving.flags import OWNED
from components.serving.settings import ServingSettings

TEMPLATE = Path(__file__).resolve().parents[3] / "charts" / "triton" / "templates" / "deployment.yaml"


def settings(*arguments: str, **fields: object) -> ServingSettings:
    return ServingSettings.model_validate({"image": "registry.example/triton:1", "extraArgs": arguments, **fields})


def test_every_flag_that_the_template_writes_is_owned() -> None:
    written = set(re.findall(r"(?:- |printf \")--([a-z-]+)=", TEMPLATE.read_text()))
    assert len(written) >= 13
    assert written <= OWNED.keys()


@pytest.mark.parametrize("option", OWNED)
@pytest.mark.parametrize("spelling", ["--{0}={1}", "--{0} {1}", "--{2}={1}"], ids=["equals", "space", "shortened"])
def test_an_owned_flag_is_refused_however_it_is_written(option: str, spelling: str) -> None:
    value = "poll" if option == "model-control-mode" else "1" if option.endswith(("secs", "port", "age", "verbose")) else "0"
    shortened = option[:-1] if option not in {"http-port", "grpc-max-connection-age"} else option
    with pytest.raises(ValidationError, match=r"extra_args\[0\] \(.*\) is a flag that the chart sets.*: .*\. (Use [a-zA-Z.]+|Remove it)\."):
        settings(*spelling.format(option, value, shortened).split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--exit-timeout=5", r"is a flag that the chart sets \(--exit-timeout-secs\): .*Use drain.exitTimeout"),
        ("--id=a --model-st=/models", r"extra_args\[1\] .*\(--model-repository\): .*Use repository"),
        ("--allow-metrics=OFF", "autoscaler could not scale. Remove it"),
        ("--metrics-config=counter_latencies=false", "stops all of Triton's counters: the autoscaler could not scale"),
        ("--metrics-conf counter_latencies=false", "stops all of Triton's counters"),
        ("--allow-metrics", "has no value: the server would exit"),
        ("--allow-cpu-metrics=no", "must be true or false"),
        ("--http-thread-count=many", "must be an integer"),
        ("--model", "may stand for --"),
        ("--http-address=127.0.0.1", "probes, Services and the gateway would not reach it"),
        ("log-info=true", "is not a long option"),
        ("-- --log-info=true", r"extra_args\[1\] .*is not an option"),
        ("$(DRAIN)", r"\(\$\(DRAIN\)\) is a flag that the chart sets \(--exit-timeout-secs\)"),
    ],
)
def test_what_the_server_would_do_decides(arguments: str, says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        settings(*arguments.split(), env={"DRAIN": "--exit-timeout-secs=1"})


@pytest.mark.parametrize(
    "arguments",
    [
        "--allow-metrics=1 --allow-http=TRUE --allow-grpc on",
        "--http-port=8000 --metrics-port 8002",
        "--http-address=0.0.0.0",
        "--metrics-config=counter_latencies=true --metrics-config=summary_latencies=true",
        "--metrics-config=counter_latencies=False",
        "--id=--exit-timeout-secs=1",
        "--id --exit-timeout-secs=1",
        "--backend-config=python,shm-default-byte-size=1048576 --log-info=false",
        "--",
    ],
)
def test_what_changes_nothing_is_accepted(arguments: str) -> None:
    assert list(settings(*arguments.split()).warnings()) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--id=a --id=b", "(--id=b) repeats --id: the server uses the last value. Keep one."),
        ("--metrics-confg=a=b", "Did you mean --metrics-config?"),
        ("--grpc-max-connection-age-grace=1000", "ends calls that outlast it"),
        ("--grpc-use-ssl=1", "the gateway and the client pod don't"),
        ("--grpc-use-ssl-m true", "the gateway and the client pod don't"),
        ("--log-file=/tmp/log", "kubectl logs shows nothing"),
        ("--model-config-name=a100", "Use config.pbtxt"),
    ],
)
def test_what_may_be_meant_is_warned_of(arguments: str, says: str) -> None:
    (warning,) = settings(*arguments.split()).warnings()
    assert says in str(warning)


def test_counters_that_only_alerts_read_may_be_switched_off() -> None:
    scaling = {"metrics": [{"kind": "pendingRequests", "target": 16}]}
    (warning,) = settings("--metrics-config=counter_latencies=false", scaling=scaling).warnings()
    assert "alerts and the dashboard would show nothing" in str(warning)
