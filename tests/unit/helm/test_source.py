"""Where a chart comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.base import versions
from components.base.errors import FleetError, Problem, collect
from components.helm.release import chart_source
from components.helm.settings import ChartSettings

if TYPE_CHECKING:
    from pathlib import Path

PIN = versions.DCGM_EXPORTER


def test_upstream_is_the_publishers_repository_at_the_pin() -> None:
    assert chart_source(PIN, ChartSettings()) == ("dcgm-exporter", PIN.repository)


@pytest.mark.parametrize("location", ["oci://registry.example.com/charts", "oci://registry.example.com/charts/"])
def test_oci_is_one_reference_without_a_repository(location: str) -> None:
    source = chart_source(PIN, ChartSettings(source="oci", location=location))
    assert source == ("oci://registry.example.com/charts/dcgm-exporter", None)


def test_a_folder_holds_the_chart_unpacked_or_packed(tmp_path: Path) -> None:
    (tmp_path / "dcgm-exporter-4.8.2.tgz").touch()
    charts = ChartSettings(source="folder", location=str(tmp_path))
    assert chart_source(PIN, charts)[0] == str(tmp_path / "dcgm-exporter-4.8.2.tgz")
    (tmp_path / "dcgm-exporter").mkdir()
    (tmp_path / "dcgm-exporter" / "Chart.yaml").touch()
    assert chart_source(PIN, charts)[0] == str(tmp_path / "dcgm-exporter")


def test_a_relative_folder_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "charts" / "dcgm-exporter").mkdir(parents=True)
    (tmp_path / "charts" / "dcgm-exporter" / "Chart.yaml").touch()
    monkeypatch.chdir(tmp_path)
    assert chart_source(PIN, ChartSettings(source="folder", location="charts"))[0] == "charts/dcgm-exporter"


def test_an_older_packed_chart_is_not_taken_for_the_pin(tmp_path: Path) -> None:
    (tmp_path / "dcgm-exporter-4.1.3.tgz").touch()
    with pytest.raises(
        FleetError, match=r"triton-fleet:charts\.location .* neither dcgm-exporter/Chart\.yaml nor dcgm-exporter-4\.8\.2\.tgz"
    ):
        chart_source(PIN, ChartSettings(source="folder", location=str(tmp_path)))


def test_all_missing_charts_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "dcgm-exporter-4.8.2.tgz").touch()
    charts = ChartSettings(source="folder", location=str(tmp_path))
    problems: list[Problem] = []
    for pin in (versions.KUBE_PROMETHEUS_STACK, versions.DCGM_EXPORTER, versions.PROMETHEUS_ADAPTER):
        with collect(problems):
            chart_source(pin, charts)
    assert [str(problem).split("; ")[0].split("neither ")[1].split("/")[0] for problem in problems] == [
        "kube-prometheus-stack",
        "prometheus-adapter",
    ]
