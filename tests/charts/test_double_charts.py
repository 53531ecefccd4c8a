"""The charts that stand in for the publishers' in tests of cloud stacks: they answer to the pins, take our values and refuse others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from components.base import versions
from components.base.versions import ChartPin

pytestmark = pytest.mark.helm
ROOT = Path(__file__).resolve().parents[2]
CHARTS = ROOT / "tests" / "doubles" / "charts"
KNOWN_GOOD = ROOT / "tests" / "unit" / "helm" / "known_good"
PINS = {pin.name: pin for pin in vars(versions).values() if isinstance(pin, ChartPin)}
VALUES = {
    "aws-load-balancer-controller": "lbc.yaml",
    "cluster-autoscaler": "ca.yaml",
    "gateway": "istio-gateway.yaml",
    "istiod": "istiod.yaml",
    "nvidia-device-plugin": "nvdp.yaml",
    "base": None,
    "karpenter-crd": None,
    "karpenter": "karpenter.yaml",
}


def rendered(helm: Path, chart: str, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    values = VALUES[chart]
    files = [] if values is None else ["--values", str(KNOWN_GOOD / values)]
    command = [str(helm), "template", "release", str(CHARTS / chart), "--namespace", "space", "--include-crds", *files, *more]
    return subprocess.run(command, check=check, capture_output=True, text=True)


def test_every_chart_that_is_pinned_stands_in_somewhere() -> None:
    there = {folder.name for parent in (CHARTS, ROOT / "local" / "charts") for folder in parent.iterdir()}
    assert set(PINS) <= there


@pytest.mark.parametrize("chart", sorted(VALUES))
def test_it_has_the_pinned_version(chart: str) -> None:
    described = yaml.safe_load((CHARTS / chart / "Chart.yaml").read_text())
    assert (described["name"], str(described["version"])) == (PINS[chart].name, PINS[chart].version)


@pytest.mark.parametrize("chart", sorted(VALUES))
def test_it_takes_the_values_that_components_pass(chart: str, helm: Path) -> None:
    objects = [item for item in yaml.safe_load_all(rendered(helm, chart).stdout) if item]
    assert objects
    assert all(item["kind"] and item["metadata"]["name"] for item in objects)


@pytest.mark.parametrize("chart", sorted(VALUES))
def test_it_refuses_an_unknown_value(chart: str, helm: Path) -> None:
    done = rendered(helm, chart, "--set", "unheardOf=1", check=False)
    assert done.returncode
    assert "unheardOf" in done.stderr
