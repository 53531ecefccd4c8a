"""The stand-in charts, rendered by real Helm with the very values that the components pass."""

from __future__ import annotations

import base64
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from components.base import versions
from components.gpu.dcgm_exporter import dcgm_values, scrape_jobs
from components.gpu.settings import DcgmSettings
from components.monitoring.adapter import adapter_values
from components.monitoring.prometheus import prometheus_values
from components.monitoring.settings import AdapterSettings, PrometheusSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Render = Callable[[str, str, str, Mapping[str, Any]], "Objects"]

pytestmark = pytest.mark.helm

DEV = PrometheusSettings(storage=None, node_port=30090, grafana=False, alertmanager=False, scrape_interval=5)
RULE = {
    "seriesQuery": 'nv_inference_pending_request_count{namespace!="",pod!=""}',
    "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
    "name": {"matches": "^nv_inference_pending_request_count$", "as": ""},
    "metricsQuery": "sum(avg_over_time(<<.Series>>{<<.LabelMatchers>>}[30s])) by (<<.GroupBy>>)",
}


class Object(BaseModel):
    """A Kubernetes object, as far as these tests look into it."""

    model_config = ConfigDict(extra="allow")

    kind: str
    api_version: str = Field(alias="apiVersion")
    metadata: Metadata
    spec: dict[str, Any] = {}


class Metadata(BaseModel):
    model_config = ConfigDict(extra="allow")

    name: str
    namespace: str | None = None
    labels: dict[str, str] = {}


class Port(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    port: int
    target_port: int | str = Field(alias="targetPort")
    node_port: int | None = Field(default=None, alias="nodePort")
    protocol: str = "TCP"
    app_protocol: str | None = Field(default=None, alias="appProtocol")


class Container(BaseModel):
    """A container; strict, because a number among the arguments is refused by the API server."""

    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    image: str
    image_pull_policy: str = Field(alias="imagePullPolicy")
    args: list[str]
    resources: dict[str, dict[str, str]]


class Endpoint(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    port: str
    interval: str
    scrape_timeout: str = Field(alias="scrapeTimeout")
    honor_labels: bool = Field(alias="honorLabels")


class Objects(dict[tuple[str, str], Object]):
    """The objects of a release by kind and name."""

    def container(self, kind: str, name: str) -> Container:
        (container,) = self[kind, name].spec["template"]["spec"]["containers"]
        return Container.model_validate(container)

    def ports(self, name: str) -> dict[str, Port]:
        return {port["name"]: Port.model_validate(port) for port in self["Service", name].spec["ports"]}


@pytest.fixture(scope="session")
def render(helm: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Render:
    """Render a chart of local/charts with values; a failure is a CalledProcessError."""
    folder = tmp_path_factory.mktemp("values")

    def run(release: str, chart: str, namespace: str, values: Mapping[str, Any]) -> Objects:
        file = folder / f"{release}.json"
        file.write_text(json.dumps(values))
        source = project / "local" / "charts" / chart
        command = [str(part) for part in (helm, "template", release, source, "--namespace", namespace, "--values", file)]
        text = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
        found = [Object.model_validate(document) for document in yaml.safe_load_all(text) if document]
        objects = Objects({(one.kind, one.metadata.name): one for one in found})
        assert len(objects) == len(found), "two objects of one kind and name"
        return objects

    return run


@pytest.fixture(scope="session")
def kps(render: Render) -> Objects:
    return render("kps", "kube-prometheus-stack", "monitoring", prometheus_values(DEV))


@pytest.fixture(scope="session")
def adapter(render: Render) -> Objects:
    values = adapter_values(AdapterSettings(), url="http://kps-prometheus.monitoring.svc", port=9090, rules=[RULE])
    return render("prometheus-adapter", "prometheus-adapter", "monitoring", values)


@pytest.fixture(scope="session")
def dcgm(render: Render) -> Objects:
    return render("dcgm-exporter", "dcgm-exporter", "dcgm", dcgm_values(DcgmSettings()))


@pytest.mark.parametrize(
    "pin", [versions.KUBE_PROMETHEUS_STACK, versions.PROMETHEUS_ADAPTER, versions.DCGM_EXPORTER], ids=lambda pin: pin.name
)
def test_a_stand_in_answers_to_the_pin(project: Path, pin: versions.ChartPin) -> None:
    chart = yaml.safe_load((project / "local" / "charts" / pin.name / "Chart.yaml").read_text())
    assert (chart["name"], str(chart["version"])) == (pin.name, pin.version)


@pytest.mark.parametrize(
    ("chart", "values", "key"),
    [
        ("kube-prometheus-stack", {"prometheus": {"prometheusSpec": {"scrapeIntervall": "5s"}}}, "scrapeIntervall"),
        ("kube-prometheus-stack", {"grafanaa": {"enabled": True}}, "grafanaa"),
        ("prometheus-adapter", {"rules": {"customs": []}}, "customs"),
        ("prometheus-adapter", {"rules": {"default": True}}, "default"),
        ("dcgm-exporter", {"serviceMonitor": {"scrapeInterval": "1s"}}, "scrapeInterval"),
        ("dcgm-exporter", {"readinessProbe": {"periodSeconds": 1}}, "periodSeconds"),
    ],
)
def test_a_key_that_a_stand_in_does_not_know_fails_the_render(render: Render, chart: str, values: dict[str, Any], key: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        render("drift", chart, "default", values)
    assert key in caught.value.stderr


@pytest.mark.parametrize(
    "settings", [DEV, PrometheusSettings(), PrometheusSettings(storage_class="gp3", retention="30d")], ids=["dev", "cluster", "class"]
)
def test_whatever_the_settings_say_renders(render: Render, settings: PrometheusSettings) -> None:
    objects = render("kps", "kube-prometheus-stack", "monitoring", prometheus_values(settings))
    spec = objects["Prometheus", "kps-prometheus"].spec
    assert spec["retention"] == settings.retention
    assert ("storage" in spec) == (settings.storage is not None)


def test_prometheus_is_reached_as_upstream(kps: Objects) -> None:
    service = kps["Service", "kps-prometheus"]
    assert (service.metadata.namespace, service.spec["type"]) == ("monitoring", "NodePort")
    web = kps.ports("kps-prometheus")["http-web"]
    assert (web.port, web.target_port, web.node_port) == (9090, 9090, 30090)
    assert service.spec["selector"] == {"app.kubernetes.io/name": "prometheus", "operator.prometheus.io/name": "kps-prometheus"}


def test_prometheus_takes_every_monitor_and_rule(kps: Objects) -> None:
    spec = kps["Prometheus", "kps-prometheus"].spec
    for kind in ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig"):
        assert spec[f"{kind}Selector"] == {}
        assert spec[f"{kind}NamespaceSelector"] == {}
    assert (spec["scrapeInterval"], spec["evaluationInterval"], spec["serviceDiscoveryRole"]) == ("5s", "5s", "EndpointSlice")


def test_without_the_toggles_only_the_releases_own_monitors_are_taken(render: Render) -> None:
    spec = render("kps", "kube-prometheus-stack", "monitoring", {})["Prometheus", "kps-kube-prometheus-stack-prometheus"].spec
    assert spec["podMonitorSelector"] == {"matchLabels": {"release": "kps"}}


def test_the_operator_runs_the_local_images(kps: Objects) -> None:
    operator = kps.container("Deployment", "kps-operator")
    assert operator.image == "triton-fleet.local/prometheus-operator:v0.85.0"
    assert "--prometheus-config-reloader=triton-fleet.local/prometheus-config-reloader:v0.85.0" in operator.args
    assert kps["Prometheus", "kps-prometheus"].spec["image"] == "triton-fleet.local/prometheus:v3"


def test_nothing_is_pulled_and_all_is_bounded(kps: Objects, adapter: Objects, dcgm: Objects) -> None:
    for objects, kind, name in (
        (kps, "Deployment", "kps-operator"),
        (adapter, "Deployment", "prometheus-adapter"),
        (dcgm, "DaemonSet", "dcgm-exporter"),
    ):
        container = objects.container(kind, name)
        assert container.image.startswith("triton-fleet.local/")
        assert container.image_pull_policy == "IfNotPresent"
        assert "memory" in container.resources["limits"]
        assert {"cpu", "memory"} <= container.resources["requests"].keys()


def test_the_raw_job_reaches_prometheus_as_a_secret(render: Render, promtool: Path, tmp_path: Path) -> None:
    settings = DcgmSettings(scrape="job")
    objects = render("kps", "kube-prometheus-stack", "monitoring", prometheus_values(DEV, scrape_jobs(settings)))
    reference = objects["Prometheus", "kps-prometheus"].spec["additionalScrapeConfigs"]
    assert reference == {"name": "kps-prometheus-scrape-confg", "key": "additional-scrape-configs.yaml"}
    secret = objects["Secret", reference["name"]].model_dump()
    jobs = yaml.safe_load(base64.b64decode(secret["data"][reference["key"]]))
    assert jobs == list(scrape_jobs(settings))
    config = tmp_path / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"scrape_configs": jobs}))
    subprocess.run([promtool, "check", "config", config], check=True, capture_output=True, timeout=60)


def test_crds_have_the_names_and_scope_that_the_operator_looks_for(project: Path) -> None:
    files = sorted((project / "local" / "charts" / "kube-prometheus-stack" / "crds").iterdir())
    definitions = {d["metadata"]["name"]: d["spec"] for d in (yaml.safe_load(file.read_text()) for file in files)}
    # Without ScrapeConfig the operator runs too; without one of the others it waits for its caches for ever.
    kinds = {"prometheuses", "servicemonitors", "podmonitors", "probes", "prometheusrules", "scrapeconfigs"}
    assert definitions.keys() == {f"{plural}.monitoring.coreos.com" for plural in kinds}
    assert {spec["scope"] for spec in definitions.values()} == {"Namespaced"}
    assert {spec["names"]["kind"]: spec["versions"][0]["name"] for spec in definitions.values()}["ScrapeConfig"] == "v1alpha1"
    assert definitions["prometheuses.monitoring.coreos.com"]["versions"][0]["subresources"]["status"] == {}


def test_the_adapter_serves_what_the_hpa_asks(adapter: Objects) -> None:
    service = adapter["APIService", "v1beta1.custom.metrics.k8s.io"].spec
    assert service["service"] == {"name": "prometheus-adapter", "namespace": "monitoring"}
    assert service["insecureSkipTLSVerify"] is True
    assert adapter.ports("prometheus-adapter")["https"].port == 443
    args = adapter.container("Deployment", "prometheus-adapter").args
    assert {
        "--prometheus-url=http://kps-prometheus.monitoring.svc:9090",
        "--metrics-relist-interval=15s",
        "--metrics-max-age=60s",
        "--config=/etc/adapter/config.yaml",
        "--secure-port=6443",
    } < set(args)
    config = adapter["ConfigMap", "prometheus-adapter"].model_dump()["data"]["config.yaml"]
    assert yaml.safe_load(config) == {"rules": [RULE]}


def test_the_adapters_probe_keeps_what_the_chart_says_of_it(adapter: Objects) -> None:
    probe = adapter.container("Deployment", "prometheus-adapter").model_dump()["readinessProbe"]
    assert probe["httpGet"] == {"path": "/healthz", "port": "https", "scheme": "HTTPS"}
    assert (probe["initialDelaySeconds"], probe["periodSeconds"]) == (2, 3)


def test_a_change_of_rules_is_a_rollout(render: Render, adapter: Objects) -> None:
    values = adapter_values(
        AdapterSettings(), url="http://kps-prometheus.monitoring.svc", port=9090, rules=[{**RULE, "name": {"as": "other"}}]
    )
    other = render("prometheus-adapter", "prometheus-adapter", "monitoring", values)

    def checksum(objects: Objects) -> str:
        return str(objects["Deployment", "prometheus-adapter"].spec["template"]["metadata"]["annotations"]["checksum/config"])

    assert checksum(adapter) != checksum(other)


def test_gpu_metrics_are_reached_as_upstream(dcgm: Objects) -> None:
    port = dcgm.ports("dcgm-exporter")["metrics"]
    assert (port.port, port.target_port) == (9400, 9400)
    pod = dcgm["DaemonSet", "dcgm-exporter"].spec["template"]["spec"]
    assert pod["nodeSelector"] == {"nvidia.com/gpu.present": "true"}
    assert dcgm.container("DaemonSet", "dcgm-exporter").args == ["-f", "/etc/dcgm-exporter/default-counters.csv", "--collect-interval=1000"]
    counters = dcgm["ConfigMap", "exporter-metrics-config-map"].model_dump()["data"]["metrics"]
    assert "DCGM_FI_DEV_GPU_UTIL" in counters


def test_on_gke_the_exporter_sees_the_driver(render: Render, dcgm: Objects) -> None:
    values = dcgm_values(DcgmSettings(), google=True)
    objects = render("dcgm-exporter", "dcgm-exporter", "dcgm", values)
    pod = objects["DaemonSet", "dcgm-exporter"].spec["template"]["spec"]
    container = pod["containers"][0]
    driver = next(volume for volume in pod["volumes"] if "hostPath" in volume)
    mount = next(mount for mount in container["volumeMounts"] if mount["name"] == driver["name"])
    assert (driver["hostPath"]["path"], mount["mountPath"], mount["readOnly"]) == ("/home/kubernetes/bin/nvidia", "/usr/local/nvidia", True)
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert variables["LD_LIBRARY_PATH"].startswith(f"{mount['mountPath']}/")
    # A list that is passed replaces the chart's own: without the counters' file the exporter would not start.
    assert container["args"][1] in {mount["mountPath"] for mount in container["volumeMounts"]}
    # Refused by the API server with privileged beside a denied escalation.
    assert container["securityContext"] == {"privileged": True, "allowPrivilegeEscalation": True}
    assert ("nodeSelector" in pod, "affinity" in pod) == (False, True)
    other = dcgm["DaemonSet", "dcgm-exporter"].spec["template"]["spec"]
    assert pod["priorityClassName"] == other["priorityClassName"] == "system-node-critical"
    assert not any("hostPath" in volume for volume in other["volumes"])


def test_the_service_monitor_finds_the_service_and_keeps_the_owners_labels(dcgm: Objects) -> None:
    monitor = dcgm["ServiceMonitor", "dcgm-exporter"]
    (endpoint,) = (Endpoint.model_validate(one) for one in monitor.spec["endpoints"])
    assert (endpoint.port, endpoint.interval, endpoint.scrape_timeout, endpoint.honor_labels) == ("metrics", "1s", "1s", True)
    assert monitor.spec["selector"]["matchLabels"].items() <= dcgm["Service", "dcgm-exporter"].metadata.labels.items()
    assert monitor.spec["namespaceSelector"] == {"matchNames": ["dcgm"]}


def test_with_the_raw_job_there_is_no_service_monitor(render: Render) -> None:
    objects = render("dcgm-exporter", "dcgm-exporter", "dcgm", dcgm_values(DcgmSettings(scrape="job")))
    assert ("ServiceMonitor", "dcgm-exporter") not in objects


def test_an_argument_that_reads_as_a_number_is_caught(render: Render) -> None:
    values = dcgm_values(DcgmSettings()) | {"arguments": ["-c", "1000"]}
    objects = render("dcgm-exporter", "dcgm-exporter", "dcgm", values)
    with pytest.raises(ValueError, match="valid string"):
        objects.container("DaemonSet", "dcgm-exporter")
