"""docs/marketplace.md lists every parameter of the Marketplace application, and every setting that it names exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from components.stack.load import parse
from components.stack.reference import keys

PAGE = Path(__file__).resolve().parents[3] / "docs" / "marketplace.md"
FORM = (
    "name",
    "namespace",
    "initReplicaCount",
    "minReplicaCount",
    "maxReplicaCount",
    "tritonProtocol",
    "HPATargetAverageValue",
    "modelRepositoryPath",
    "image.ldPreloadPath",
    "image.logVerboseLevel",
    "image.strictModelConfig",
    "image.allowGPUMetrics",
    "istioEnabled",
)
"""`properties` of the application's schema.yaml, 2.71.0."""
CHART = (
    "image.registry",
    "image.pullPolicy",
    "image.numGpus",
    "service.type",
    "deployment.livenessProbe",
    "publishedVersion",
    "gcpMarketplace",
)
"""Values of its chart that the form does not offer."""


@pytest.mark.parametrize("parameter", FORM + CHART)
def test_every_parameter_has_a_row(parameter: str) -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    assert [row for row in rows if f"`{parameter}`" in row.split("|")[1]], parameter


def documented() -> set[str]:
    """Keys of the settings, as dotted paths; lists as ``[]``."""
    found = set()
    section = ""
    for line in keys().splitlines():
        if line.startswith("### "):
            section = line.strip("# `")
        elif match := re.match(r"\| `([^`]+)`", line):
            key = match[1]
            found.add(f"{section}{key}" if key.startswith("[]") else f"{section}.{key}")
    return found


def test_every_setting_it_names_exists() -> None:
    sections = "serving|repository|cluster|ingress|stackdriver|adapter|client|alerts|dashboard|warmFloor"
    named = set(re.findall(rf"`((?:{sections})(?:\[\]|\.)[\w.\[\]]+)", PAGE.read_text(encoding="utf-8")))
    assert len(named) > 15
    known = documented()
    assert {key for key in named if not any(one == key or one.startswith((f"{key}.", f"{key}[]")) for one in known)} == set()


def test_the_form_s_defaults_make_a_valid_stack() -> None:
    """The application's defaults, written as a stack file."""
    raw: dict[str, Any] = {
        "cluster": {
            "provider": "gke",
            "project": "my-project",
            "region": "us-central1",
            "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
            "gpuPools": [
                {"name": "accel", "machineType": "n1-standard-4", "accelerator": {"type": "nvidia-tesla-t4"}, "max": 3},
            ],
        },
        "repository": {"store": "gcs", "bucket": "models-of-mine"},
        "adapter": {"enabled": False},
        "stackdriver": {"enabled": True, "customMetrics": True},
        "ingress": {"kind": "istio"},
        "client": {"enabled": True},
        "serving": [
            {
                "name": "triton",
                "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
                "imagePullPolicy": "IfNotPresent",
                "env": {"LD_PRELOAD": ""},
                "logVerbose": 0,
                "gpuMetrics": True,
                "resources": {"gpus": 1},
                "scaling": {
                    "initialReplicas": 1,
                    "minReplicas": 1,
                    "maxReplicas": 3,
                    "metrics": [{"kind": "gpuDutyCycle", "target": 85}],
                },
            }
        ],
    }
    settings = parse(raw)
    assert settings.serving[0].scaling.initial_replicas == 1
    raw["serving"][0]["extraArgs"] = ["--disable-auto-complete-config"]  # strictModelConfig: true
    assert parse(raw).serving[0].extra_args
