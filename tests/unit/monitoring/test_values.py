"""What is passed to the charts, key for key, as the upstream charts take it."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from components.base.handles import Cloud
from components.gpu.dcgm_exporter import dcgm_values, scrape_jobs
from components.gpu.settings import DcgmSettings
from components.monitoring.adapter import adapter_values
from components.monitoring.prometheus import prometheus_values, retention_size
from components.monitoring.settings import AdapterSettings, PrometheusSettings

RULE = {"seriesQuery": "up", "resources": {}, "metricsQuery": "sum(up) by (<<.GroupBy>>)"}


def test_prometheus_on_a_cluster() -> None:
    assert prometheus_values(PrometheusSettings(storage_class="gp3")) == {
        "fullnameOverride": "kps",
        "crds": {"enabled": True, "upgradeJob": {"enabled": True, "image": {"busybox": {"tag": "1.37"}}}},
        "prometheus": {
            "service": {"type": "ClusterIP", "port": 9090},
            "prometheusSpec": {
                "serviceMonitorSelectorNilUsesHelmValues": False,
                "podMonitorSelectorNilUsesHelmValues": False,
                "ruleSelectorNilUsesHelmValues": False,
                "probeSelectorNilUsesHelmValues": False,
                "scrapeConfigSelectorNilUsesHelmValues": False,
                "serviceDiscoveryRole": "EndpointSlice",
                "scrapeInterval": "15s",
                "evaluationInterval": "15s",
                "retention": "7d",
                "retentionSize": "40960MB",
                "storageSpec": {
                    "volumeClaimTemplate": {
                        "spec": {
                            "storageClassName": "gp3",
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "50Gi"}},
                        }
                    }
                },
            },
        },
        "grafana": {"enabled": True},
        "alertmanager": {"enabled": True},
        "kubeControllerManager": {"enabled": False},
        "kubeScheduler": {"enabled": False},
        "kubeEtcd": {"enabled": False},
        "kubeProxy": {"enabled": False},
    }


TARGETS = {
    # Target of the chart: the clouds where Prometheus reaches it (docs/components/prometheus.md).
    "kubeApiServer": {"eks", "gke", "existing"},
    "kubelet": {"eks", "gke", "existing"},
    "kubeStateMetrics": {"eks", "gke", "existing"},
    "nodeExporter": {"eks", "gke", "existing"},
    "coreDns": {"eks", "existing"},
    "kubeDns": set(),
    "kubeControllerManager": set(),
    "kubeScheduler": set(),
    "kubeEtcd": set(),
    "kubeProxy": set(),
}
OFF_BY_DEFAULT = {"kubeDns"}
"""In the chart's own values (88.5.3)."""


@pytest.mark.parametrize("cloud", get_args(Cloud))
@pytest.mark.parametrize("target", TARGETS)
def test_only_what_can_be_reached_is_scraped(cloud: Cloud, target: str) -> None:
    values = prometheus_values(PrometheusSettings(), cloud=cloud)
    assert values.get(target, {"enabled": target not in OFF_BY_DEFAULT})["enabled"] == (cloud in TARGETS[target])


@pytest.mark.parametrize("target", sorted({*TARGETS, "nodeExporter"} - {"kubeApiServer", "kubelet", "kubeStateMetrics"}))
@pytest.mark.parametrize("on", [True, False])
def test_a_target_is_switched_by_the_stack_file(target: str, on: bool) -> None:
    settings = PrometheusSettings.model_validate({"targets": {target: on}})
    for cloud in get_args(Cloud):
        values = prometheus_values(settings, cloud=cloud)
        assert values == {**prometheus_values(PrometheusSettings(), cloud=cloud), target: {"enabled": on}}


def test_prometheus_without_a_volume_is_bounded_and_claims_nothing() -> None:
    spec = prometheus_values(PrometheusSettings(storage=None))["prometheus"]["prometheusSpec"]
    assert "storageSpec" not in spec
    assert spec["retentionSize"] == "4096MB"


def test_no_storage_class_leaves_the_choice_to_the_cluster() -> None:
    claim = prometheus_values(PrometheusSettings())["prometheus"]["prometheusSpec"]["storageSpec"]["volumeClaimTemplate"]["spec"]
    assert "storageClassName" not in claim


def test_a_node_port_makes_the_service_one() -> None:
    service = prometheus_values(PrometheusSettings(node_port=30090))["prometheus"]["service"]
    assert service == {"type": "NodePort", "port": 9090, "nodePort": 30090}


def test_toggles_reach_the_chart() -> None:
    values = prometheus_values(PrometheusSettings(grafana=False, alertmanager=False, upgrade_crds=False))
    assert (values["grafana"], values["alertmanager"]) == ({"enabled": False}, {"enabled": False})
    assert values["crds"]["upgradeJob"]["enabled"] is False


@pytest.mark.parametrize(("storage", "size"), [("50Gi", "40960MB"), ("1Ti", "838860MB"), ("10G", "7629MB"), (None, "4096MB")])
def test_retention_leaves_room_for_the_write_ahead_log(storage: str | None, size: str) -> None:
    assert retention_size(storage) == size


@pytest.mark.parametrize("retention", ["", "7", "7 d", "d", "1h1d", "forever"])
def test_a_retention_that_prometheus_cannot_read_is_refused(retention: str) -> None:
    with pytest.raises(ValidationError, match="retention"):
        PrometheusSettings(retention=retention)


@pytest.mark.parametrize("retention", ["7d", "1w3d", "12h30m"])
def test_a_retention_reaches_prometheus_as_written(retention: str) -> None:
    values = prometheus_values(PrometheusSettings(retention=retention))
    assert values["prometheus"]["prometheusSpec"]["retention"] == retention


def test_dcgm_samples_as_often_as_prometheus_scrapes() -> None:
    values = dcgm_values(DcgmSettings())
    # One word: the chart writes arguments unquoted, and "1000" alone would be a number, which the API server refuses.
    assert values["arguments"] == ["-f", "/etc/dcgm-exporter/default-counters.csv", "--collect-interval=1000"]
    assert values["serviceMonitor"] == {
        "enabled": True,
        "interval": "1s",
        "scrapeTimeout": "1s",
        "honorLabels": True,
        "relabelings": [{"action": "replace", "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "kubernetes_node"}],
    }
    assert values["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert values["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert values["resources"]["limits"]["memory"] == "1Gi"


@pytest.mark.parametrize(
    ("seconds", "interval", "timeout"), [(0.1, "100ms", "100ms"), (2.5, "2500ms", "2500ms"), (10.0, "10s", "10s"), (30.0, "30s", "10s")]
)
def test_a_scrape_never_outlasts_its_interval(seconds: float, interval: str, timeout: str) -> None:
    settings = DcgmSettings(interval=seconds)
    monitor = dcgm_values(settings)["serviceMonitor"]
    assert (monitor["interval"], monitor["scrapeTimeout"]) == (interval, timeout)
    (job,) = scrape_jobs(DcgmSettings(interval=seconds, scrape="job"))
    assert (job["scrape_interval"], job["scrape_timeout"]) == (interval, timeout)


def test_dcgm_is_scraped_in_one_way_only() -> None:
    by_monitor, by_job = DcgmSettings(), DcgmSettings(scrape="job")
    assert scrape_jobs(by_monitor) == ()
    assert dcgm_values(by_job)["serviceMonitor"] == {"enabled": False}
    (job,) = scrape_jobs(by_job)
    assert job["job_name"] == "gpu-metrics"
    assert {"action": "replace", "source_labels": ["__meta_kubernetes_service_name"], "target_label": "service"} in job["relabel_configs"]
    assert prometheus_values(PrometheusSettings(), [job])["prometheus"]["prometheusSpec"]["additionalScrapeConfigs"] == [job]


def test_no_job_for_an_exporter_that_is_not_there() -> None:
    assert scrape_jobs(DcgmSettings(enabled=False, scrape="job")) == ()


def test_dcgm_cannot_sample_faster_than_every_100_ms() -> None:
    with pytest.raises(ValidationError, match="interval"):
        DcgmSettings(interval=0.05)


def test_adapter() -> None:
    values = adapter_values(AdapterSettings(), url="http://kps-prometheus.monitoring.svc", port=9090, rules=[RULE])
    assert values["prometheus"] == {"url": "http://kps-prometheus.monitoring.svc", "port": 9090, "path": ""}
    assert values["metricsRelistInterval"] == "15s"
    assert values["rules"] == {"default": False, "custom": [RULE]}


@pytest.mark.parametrize(("relist", "max_age"), [(5.0, "60s"), (15.0, "60s"), (30.0, "120s")])
def test_a_late_scrape_does_not_take_the_metric_away(relist: float, max_age: str) -> None:
    values = adapter_values(AdapterSettings(relist_interval=relist), url="http://kps", port=9090, rules=[RULE])
    assert values["extraArguments"] == [f"--metrics-max-age={max_age}"]
