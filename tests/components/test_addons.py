"""The add-on components with the SDK's mocks: names, charts, and what waits for what."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.base import versions
from components.base.handles import ClusterHandle
from components.gpu.dcgm_exporter import DcgmExporter, DcgmExporterArgs, scrape_jobs
from components.gpu.settings import DcgmSettings
from components.helm.settings import ChartSettings
from components.monitoring.adapter import PrometheusAdapter, PrometheusAdapterArgs
from components.monitoring.prometheus import PrometheusStack, PrometheusStackArgs
from components.monitoring.settings import AdapterSettings, PrometheusSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tests.components.conftest import Recorder

CHARTS = Path(__file__).resolve().parents[2] / "local" / "charts"
RELEASE = "kubernetes:helm.sh/v3:Release"
RULE = {"seriesQuery": "up", "resources": {}, "metricsQuery": "sum(up) by (<<.GroupBy>>)"}


async def resolved(output: pulumi.Output[Any]) -> Any:
    future: Awaitable[Any] = output.future()
    return await future


async def declare(
    charts: ChartSettings, dcgm: DcgmSettings, *, storage: str | None = "50Gi"
) -> tuple[PrometheusStack, DcgmExporter, PrometheusAdapter]:
    provider = k8s.Provider("cluster", kubeconfig="{}")
    driver = k8s.core.v1.ConfigMap("driver", opts=pulumi.ResourceOptions(provider=provider))
    cluster = ClusterHandle(name=pulumi.Output.from_input("test"), provider=provider, volumes=driver.id.apply(lambda _: "gp3"))
    settings = PrometheusSettings(storage=storage)
    prometheus = PrometheusStack(
        "prometheus", PrometheusStackArgs(cluster=cluster, settings=settings, charts=charts, scrape_jobs=scrape_jobs(dcgm))
    )
    exporter = DcgmExporter("dcgm", DcgmExporterArgs(cluster=cluster, metrics=prometheus.handle, settings=dcgm, charts=charts))
    adapter = PrometheusAdapter(
        "adapter",
        PrometheusAdapterArgs(cluster=cluster, metrics=prometheus.handle, settings=AdapterSettings(), charts=charts, rules=[RULE]),
    )
    await pulumi.runtime.stack.wait_for_rpcs()
    return prometheus, exporter, adapter


async def test_releases_have_fixed_names_and_pinned_charts(recorder: Recorder) -> None:
    await declare(ChartSettings(), DcgmSettings())
    releases = {name: recorder.inputs[name] for name in recorder.of_type(RELEASE)}
    assert {name: (r["name"], r["chart"], r["version"], r["namespace"]) for name, r in releases.items()} == {
        "kps": ("kps", "kube-prometheus-stack", versions.KUBE_PROMETHEUS_STACK.version, "monitoring"),
        "dcgm-exporter": ("dcgm-exporter", "dcgm-exporter", versions.DCGM_EXPORTER.version, "dcgm"),
        "prometheus-adapter": ("prometheus-adapter", "prometheus-adapter", versions.PROMETHEUS_ADAPTER.version, "monitoring"),
    }
    for release in releases.values():
        assert release["repositoryOpts"]["repo"].startswith("https://")
        assert (release["atomic"], release["createNamespace"], release["timeout"]) == (True, False, 600)
        assert "skipAwait" not in release


async def test_a_folder_of_charts_serves_all_three(recorder: Recorder) -> None:
    await declare(ChartSettings(source="folder", location=str(CHARTS)), DcgmSettings())
    for name, chart in {
        "kps": "kube-prometheus-stack",
        "dcgm-exporter": "dcgm-exporter",
        "prometheus-adapter": "prometheus-adapter",
    }.items():
        assert recorder.inputs[name]["chart"] == str(CHARTS / chart)
        assert "repositoryOpts" not in recorder.inputs[name]


async def test_each_namespace_is_made_once_by_its_owner(recorder: Recorder) -> None:
    await declare(ChartSettings(), DcgmSettings())
    namespaces = recorder.of_type("kubernetes:core/v1:Namespace")
    assert namespaces == {"monitoring", "dcgm"}
    assert recorder.requests["monitoring"].parent.endswith("PrometheusStack::prometheus")
    assert recorder.requests["dcgm"].parent.endswith("DcgmExporter::dcgm")
    for name in namespaces:
        metadata = recorder.inputs[name]["metadata"]
        assert metadata["name"] == name
        assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "privileged"


async def test_prometheus_is_first_up_and_last_down(recorder: Recorder) -> None:
    await declare(ChartSettings(), DcgmSettings())
    assert "monitoring" in recorder.dependencies("kps")
    assert {"kps", "dcgm"} <= recorder.dependencies("dcgm-exporter")
    assert "kps" in recorder.dependencies("prometheus-adapter")


@pytest.mark.parametrize(("storage", "waits"), [("50Gi", {"driver"}), (None, set())])
async def test_the_namespace_of_the_claim_goes_before_what_makes_volumes(recorder: Recorder, storage: str | None, waits: set[str]) -> None:
    """The operator leaves its claim behind: it goes with the namespace, and its volume is deleted only while the driver runs."""
    await declare(ChartSettings(), DcgmSettings(), storage=storage)
    assert recorder.dependencies("monitoring") == waits
    assert recorder.dependencies("dcgm") == set()


async def test_handles_name_what_is_reached_in_the_cluster(recorder: Recorder) -> None:
    prometheus, exporter, adapter = await declare(ChartSettings(), DcgmSettings())
    assert await resolved(prometheus.handle.url) == "http://kps-prometheus.monitoring.svc"
    assert await resolved(prometheus.handle.address) == "http://kps-prometheus.monitoring.svc:9090"
    assert (prometheus.handle.namespace, prometheus.handle.port) == ("monitoring", 9090)
    assert await resolved(adapter.ready) == "v1beta1.custom.metrics.k8s.io"
    assert await resolved(exporter.service) == "dcgm-exporter"
    assert {resource._name for resource in await prometheus.handle.url.resources()} == {"kps"}
    assert {resource._name for resource in await adapter.ready.resources()} == {"prometheus-adapter"}


async def test_the_adapter_is_told_where_prometheus_is(recorder: Recorder) -> None:
    await declare(ChartSettings(), DcgmSettings())
    values = recorder.inputs["prometheus-adapter"]["values"]
    assert values["prometheus"] == {"url": "http://kps-prometheus.monitoring.svc", "port": 9090, "path": ""}
    assert values["rules"]["custom"] == [RULE]


@pytest.mark.parametrize("scrape", ["serviceMonitor", "job"])
async def test_gpus_are_scraped_once(recorder: Recorder, scrape: str) -> None:
    await declare(ChartSettings(), DcgmSettings.model_validate({"scrape": scrape}))
    by_monitor = recorder.inputs["dcgm-exporter"]["values"]["serviceMonitor"]["enabled"]
    by_job = "additionalScrapeConfigs" in recorder.inputs["kps"]["values"]["prometheus"]["prometheusSpec"]
    assert (by_monitor, by_job) == (scrape == "serviceMonitor", scrape == "job")


async def test_type_tokens(recorder: Recorder) -> None:
    await declare(ChartSettings(), DcgmSettings())
    assert {recorder.requests[name].type for name in ("prometheus", "adapter")} | {"triton-fleet:addons:DcgmExporter"} == {
        "triton-fleet:addons:PrometheusStack",
        "triton-fleet:addons:PrometheusAdapter",
        "triton-fleet:addons:DcgmExporter",
    }
