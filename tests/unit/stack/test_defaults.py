"""Every default fits every other default, and the published stack files preview without a warning."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import yaml

from components.stack.load import parse
from components.stack.rules import stack_problems
from tests.conftest import ROOT

ENDPOINT = {"publicCidrs": ["203.0.113.0/24"]}
BASES: dict[str, dict[str, Any]] = {
    "eks": {
        "cluster": {"provider": "eks", "region": "eu-west-1", "endpoint": ENDPOINT},
        "autoscaler": {"kind": "clusterAutoscaler"},
        "repository": {"bucket": "models-of-mine"},
    },
    "gke": {
        "cluster": {"provider": "gke", "region": "europe-west4", "project": "my-project", "endpoint": ENDPOINT},
        "repository": {"store": "gcs", "bucket": "models-of-mine"},
    },
}
GPU = {"eks": "g5.xlarge", "gke": "g2-standard-8"}
"""The examples of ``cluster.gpuPools[].machineType``."""
ON_CPU = {"serving": {"resources": {"gpus": 0}}}
SECTIONS: dict[str, dict[str, Any]] = {
    "on CPU": ON_CPU,
    "client": {"client": {"enabled": True}},
    "istio": {"ingress": {"kind": "istio"}},
    "sidecars": {"ingress": {"kind": "istio", "injection": True}},
    "dashboard": {"dashboard": {"enabled": True}, "prometheus": {"grafana": True}},
    "prefetch": {"serving": {"prefetch": True}},
    "warm floor": {"warmFloor": [{"pool": "gpu", "pods": 1}]},
    "no alerts": {"alerts": {"enabled": False}},
}
"""Sections that are switched on and otherwise left alone."""


def found(raw: dict[str, Any]) -> list[str]:
    """Every error and warning of a stack file."""
    return [str(problem) for problem in stack_problems(parse(raw))]


def stack(provider: str, sections: tuple[str, ...]) -> dict[str, Any]:
    raw = copy.deepcopy(BASES[provider])
    raw["serving"] = [{"image": "nvcr.io/nvidia/tritonserver:26.07-py3"}]
    for section in sections:
        for key, value in copy.deepcopy(SECTIONS[section]).items():
            if key == "serving":
                raw["serving"][0].update(value)
            else:
                raw[key] = {**raw.get(key, {}), **value} if isinstance(value, dict) else value
    if "on CPU" not in sections or "warm floor" in sections:
        raw["cluster"]["gpuPools"] = [{"name": "gpu", "machineType": GPU[provider]}]
    return raw


@pytest.mark.parametrize("provider", BASES)
@pytest.mark.parametrize("sections", [*itertools.combinations(SECTIONS, 1), *itertools.combinations(SECTIONS, 2)], ids=" + ".join)
def test_every_default_fits_every_default(provider: str, sections: tuple[str, ...]) -> None:
    assert found(stack(provider, sections)) == []


@pytest.mark.parametrize("name", [path.name for path in sorted(ROOT.glob("Pulumi.*.yaml"))])
def test_a_published_stack_file_previews_without_a_warning(name: str) -> None:
    raw = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))["config"]
    assert found({key.removeprefix("triton-fleet:"): value for key, value in raw.items()}) == []
