"""charts/triton rendered by real Helm for many settings, read into typed objects that refuse every field they don't know."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from components.serving.scaling import adapter_rules
from components.serving.values import chart_values, rollout_deadline
from components.settings.serving import ServingSettings

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.helm

FIRST = "bert-credentials-1"
IMAGE = "registry.example/triton:1"


class Part(BaseModel):
    """A piece of a Kubernetes object: camelCase, and a field that is not named here is a mistake in the chart."""

    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True, frozen=True)


class Metadata(Part):
    name: str
    namespace: str
    labels: dict[str, str]
    annotations: dict[str, str] = {}


class LabelSelector(Part):
    match_labels: dict[str, str]


class HttpGet(Part):
    path: str
    port: str


class Probe(Part):
    http_get: HttpGet
    period_seconds: int
    timeout_seconds: int
    failure_threshold: int

    @property
    def budget(self) -> int:
        """Seconds until it gives up."""
        return self.period_seconds * self.failure_threshold


class Sleep(Part):
    seconds: int = Field(ge=1)


class Hook(Part):
    sleep: Sleep


class Lifecycle(Part):
    pre_stop: Hook


class ContainerPort(Part):
    name: str = Field(max_length=15)
    container_port: int
    protocol: Literal["TCP"]


class EnvVar(Part):
    name: str
    value: str


class SecretRef(Part):
    name: str


class EnvFrom(Part):
    secret_ref: SecretRef


class Resources(Part):
    requests: dict[str, str]
    limits: dict[str, str]


class Capabilities(Part):
    drop: list[str]


class ContainerSecurity(Part):
    allow_privilege_escalation: bool
    read_only_root_filesystem: bool
    capabilities: Capabilities


class Mount(Part):
    name: str
    mount_path: str
    read_only: bool = False


class KeyToPath(Part):
    key: str
    path: str


class SecretVolume(Part):
    secret_name: str
    default_mode: int
    items: list[KeyToPath]


class Container(Part):
    name: str
    image: str
    image_pull_policy: str
    args: list[str]
    env: list[EnvVar]
    env_from: list[EnvFrom] = []
    ports: list[ContainerPort]
    startup_probe: Probe
    readiness_probe: Probe
    liveness_probe: Probe
    lifecycle: Lifecycle | None = None
    resources: Resources
    security_context: ContainerSecurity
    volume_mounts: list[Mount]

    def flag(self, name: str) -> str:
        """Value of the one flag ``--name``."""
        (value,) = (arg.split("=", 1)[1] for arg in self.args if arg.startswith(f"--{name}="))
        return value


class InitContainer(Part):
    name: str
    image: str
    image_pull_policy: str
    command: list[str]
    env: list[EnvVar] = []
    env_from: list[EnvFrom] = []
    termination_message_policy: str
    resources: Resources
    security_context: ContainerSecurity
    volume_mounts: list[Mount] = []

    def variable(self, name: str) -> str | None:
        """Value of an environment variable; None when it is not set."""
        values = [entry.value for entry in self.env if entry.name == name]
        assert len(values) <= 1, name
        return values[0] if values else None


class EmptyDir(Part):
    medium: Literal["Memory"] | None = None
    size_limit: str | None = None


class Volume(Part):
    name: str
    empty_dir: EmptyDir | None = None
    ephemeral: dict[str, Any] | None = None
    secret: SecretVolume | None = None


class Seccomp(Part):
    type: Literal["RuntimeDefault"]


class PodSecurity(Part):
    run_as_non_root: bool
    run_as_user: int
    run_as_group: int
    fs_group: int
    seccomp_profile: Seccomp


class Toleration(Part):
    key: str | None = None
    operator: str | None = None
    value: str | None = None
    effect: str | None = None


class Spread(Part):
    topology_key: str
    max_skew: int
    when_unsatisfiable: str
    label_selector: LabelSelector
    match_label_keys: list[str]


class PodSpec(Part):
    service_account_name: str
    automount_service_account_token: bool
    enable_service_links: bool
    termination_grace_period_seconds: int
    security_context: PodSecurity
    image_pull_secrets: list[SecretRef] = []
    priority_class_name: str | None = None
    runtime_class_name: str | None = None
    node_selector: dict[str, str] = {}
    affinity: dict[str, Any] = {}
    tolerations: list[Toleration] = []
    topology_spread_constraints: list[Spread]
    init_containers: list[InitContainer] = Field(default=[], max_length=2)
    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume]


class TemplateMetadata(Part):
    labels: dict[str, str]
    annotations: dict[str, str]


class Template(Part):
    metadata: TemplateMetadata
    spec: PodSpec


class RollingUpdate(Part):
    max_unavailable: int
    max_surge: int


class Strategy(Part):
    type: Literal["RollingUpdate"]
    rolling_update: RollingUpdate


class DeploymentSpec(Part):
    replicas: int | None = None
    progress_deadline_seconds: int
    selector: LabelSelector
    strategy: Strategy
    template: Template


class Deployment(Part):
    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec

    @property
    def pod(self) -> PodSpec:
        return self.spec.template.spec

    @property
    def triton(self) -> Container:
        return self.pod.containers[0]

    @property
    def prefetch(self) -> InitContainer:
        (container,) = self.pod.init_containers
        return container


class ServicePort(Part):
    name: str
    port: int
    target_port: str
    protocol: Literal["TCP"]
    app_protocol: str
    node_port: int | None = None


class ServiceSpec(Part):
    type: str
    selector: dict[str, str]
    ports: list[ServicePort]


class Service(Part):
    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class ServiceAccount(Part):
    api_version: Literal["v1"]
    kind: Literal["ServiceAccount"]
    metadata: Metadata
    automount_service_account_token: bool


class ScaleTarget(Part):
    api_version: str
    kind: str
    name: str


class HpaSpec(Part):
    scale_target_ref: ScaleTarget
    min_replicas: int
    max_replicas: int
    metrics: list[dict[str, Any]]
    behavior: dict[str, Any]


class Hpa(Part):
    api_version: Literal["autoscaling/v2"]
    kind: Literal["HorizontalPodAutoscaler"]
    metadata: Metadata
    spec: HpaSpec

    @property
    def names(self) -> list[str]:
        """Metrics that it reads, in order."""
        return [(metric.get("pods") or metric["object"])["metric"]["name"] for metric in self.spec.metrics]


class Relabeling(Part):
    action: Literal["replace"]
    source_labels: list[str]
    target_label: str


class Endpoint(Part):
    port: str
    path: str
    interval: str
    honor_labels: bool
    relabelings: list[Relabeling]


class Names(Part):
    match_names: list[str]


class PodMonitorSpec(Part):
    selector: LabelSelector
    namespace_selector: Names
    pod_metrics_endpoints: list[Endpoint] = Field(min_length=1, max_length=1)


class PodMonitor(Part):
    api_version: Literal["monitoring.coreos.com/v1"]
    kind: Literal["PodMonitor"]
    metadata: Metadata
    spec: PodMonitorSpec


class BudgetSpec(Part):
    max_unavailable: int
    unhealthy_pod_eviction_policy: Literal["AlwaysAllow"]
    selector: LabelSelector


class Budget(Part):
    api_version: Literal["policy/v1"]
    kind: Literal["PodDisruptionBudget"]
    metadata: Metadata
    spec: BudgetSpec


Kind = TypeVar("Kind", bound=Part)
KINDS: dict[str, type[Part]] = {
    "Deployment": Deployment,
    "Service": Service,
    "ServiceAccount": ServiceAccount,
    "HorizontalPodAutoscaler": Hpa,
    "PodMonitor": PodMonitor,
    "PodDisruptionBudget": Budget,
}


@dataclass(frozen=True)
class Rendered:
    """The objects of one release, by kind."""

    objects: dict[str, Part]
    settings: ServingSettings | None = None

    def __getitem__(self, kind: type[Kind]) -> Kind:
        (found,) = (item for item in self.objects.values() if isinstance(item, kind))
        return found


@dataclass(frozen=True)
class Chart:
    """The chart, for rendering."""

    helm: Path
    path: Path
    scratch: Path

    def template(self, values: dict[str, Any], *more: str, release: str = "bert") -> subprocess.CompletedProcess[str]:
        file = self.scratch / "values.json"
        file.write_text(json.dumps(values))
        command: list[str | Path] = [self.helm, "template", release, self.path, "--namespace", "models", "--values", file, *more]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def render(self, values: dict[str, Any], *more: str, release: str = "bert") -> Rendered:
        done = self.template(values, *more, release=release)
        assert done.returncode == 0, done.stderr
        objects: dict[str, Part] = {}
        for document in yaml.safe_load_all(done.stdout):
            assert document["kind"] not in objects
            objects[document["kind"]] = KINDS[document["kind"]].model_validate(document)
        return Rendered(objects)

    def settings(self, **fields: Any) -> Rendered:
        settings = serving(**fields)
        return replace(self.render(values(settings)), settings=settings)


def serving(**fields: Any) -> ServingSettings:
    return ServingSettings.model_validate({"name": "bert", "namespace": "models", "image": IMAGE, **fields})


def values(settings: ServingSettings, secret: str | None = FIRST) -> dict[str, Any]:
    made = chart_values(
        settings,
        url="s3://http://10.0.0.1:7070/bucket/models/abc",
        release="abc",
        region="eu-west-1",
        credentials_secret=secret,
        service_account_annotations={"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/reader"},
    )
    return made.dump()


@pytest.fixture(scope="module")
def chart(helm: Path, project: Path, tmp_path_factory: pytest.TempPathFactory) -> Chart:
    return Chart(helm, project / "charts" / "triton", tmp_path_factory.mktemp("chart"))


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "cpu": {"resources": {"gpus": 0, "cpu": "250m", "memory": "1Gi", "shm": "512Mi"}},
    "no pre-stop": {"drain": {"preStop": 0, "exitTimeout": "1s"}},
    "long": {"drain": {"preStop": "90s", "exitTimeout": "10m"}, "startupBudget": "2h"},
    "short": {"startupBudget": "1s"},
    "mig": {"resources": {"gpus": 1, "gpuResource": "nvidia.com/mig-1g.10gb"}},
    "node ports": {"service": {"type": "NodePort", "httpNodePort": 30800, "grpcNodePort": 30801}},
    "load balancer": {"service": {"type": "LoadBalancer", "annotations": {"cloud/internal": "true"}}},
    "all metrics": {
        "scaling": {
            "maxReplicas": 8,
            "metrics": [
                {"kind": "queueTime", "target": "10ms"},
                {"kind": "pendingRequests", "target": 1.5},
                {"kind": "gpuUtilization", "target": 80},
            ],
        }
    },
    "root": {"runAsUser": 0},
    "subset": {"models": ["a", "b"]},
}


@pytest.fixture(scope="module", params=list(SETTINGS))
def rendered(request: pytest.FixtureRequest, chart: Chart) -> Rendered:
    return chart.settings(**SETTINGS[request.param])


@pytest.fixture
def settings(rendered: Rendered) -> ServingSettings:
    """What was rendered."""
    assert rendered.settings is not None
    return rendered.settings


def test_all_objects_belong_together(rendered: Rendered) -> None:
    assert set(rendered.objects) == set(KINDS)
    deployment = rendered[Deployment]
    selector = {"app.kubernetes.io/name": "triton", "app.kubernetes.io/instance": "bert"}
    for part in rendered.objects.values():
        metadata: Metadata = part.metadata  # type: ignore[attr-defined]
        assert (metadata.name, metadata.namespace) == ("bert", "models")
        assert metadata.labels == {**selector, "app.kubernetes.io/managed-by": "triton-fleet"}
        assert not any(key.startswith("helm.sh/hook") for key in metadata.annotations), "a Pulumi chart drops hooks"
    assert deployment.spec.selector.match_labels == selector
    assert selector.items() <= deployment.spec.template.metadata.labels.items()
    assert rendered[Service].spec.selector == selector
    assert rendered[Budget].spec.selector.match_labels == selector
    assert rendered[PodMonitor].spec.selector.match_labels == selector
    assert all(spread.label_selector.match_labels == selector for spread in deployment.pod.topology_spread_constraints)
    assert deployment.pod.service_account_name == rendered[ServiceAccount].metadata.name


def test_the_grace_period_holds_the_whole_drain(rendered: Rendered) -> None:
    pod, triton = rendered[Deployment].pod, rendered[Deployment].triton
    pre_stop = triton.lifecycle.pre_stop.sleep.seconds if triton.lifecycle else 0
    assert pod.termination_grace_period_seconds > pre_stop + int(triton.flag("exit-timeout-secs"))


def test_grpc_connections_are_gone_before_the_server_is(rendered: Rendered) -> None:
    triton = rendered[Deployment].triton
    ages = [int(argument.split("=")[1]) for argument in triton.args if argument.startswith("--grpc-max-connection-age=")]
    if triton.lifecycle is None:
        assert not ages
    else:
        (age,) = ages
        milliseconds = triton.lifecycle.pre_stop.sleep.seconds * 1000
        assert age * 1.1 + 1000 < milliseconds, "gRPC's jitter, and a second for the endpoints to be known"


def test_sequences_of_single_calls_can_keep_their_connection(chart: Chart) -> None:
    assert not any("max-connection-age" in argument for argument in chart.settings(drain={"recycleGrpc": False})[Deployment].triton.args)


def test_probes_leave_models_time_to_load_and_restart_only_what_hangs(rendered: Rendered, settings: ServingSettings) -> None:
    deployment = rendered[Deployment]
    startup, readiness, liveness = deployment.triton.startup_probe, deployment.triton.readiness_probe, deployment.triton.liveness_probe
    assert settings.startup_budget <= startup.budget <= settings.startup_budget + startup.period_seconds
    assert startup.period_seconds <= 2, "what is waited for after the last look is time that a scale-up comes late"
    assert startup.http_get == readiness.http_get == HttpGet(path="/v2/health/ready", port="http-triton")
    assert liveness.http_get == HttpGet(path="/v2/health/live", port="http-triton")
    assert liveness.budget >= 3 * readiness.budget, "out of rotation long before a restart"
    assert deployment.spec.progress_deadline_seconds == rollout_deadline(settings) > startup.budget
    assert int(deployment.metadata.annotations["pulumi.com/timeoutSeconds"]) >= deployment.spec.progress_deadline_seconds


def test_the_autoscaler_owns_the_number_of_replicas(rendered: Rendered, settings: ServingSettings) -> None:
    hpa = rendered[Hpa]
    assert rendered[Deployment].spec.replicas is None
    assert hpa.spec.scale_target_ref == ScaleTarget(api_version="apps/v1", kind="Deployment", name="bert")
    assert (hpa.spec.min_replicas, hpa.spec.max_replicas) == (settings.scaling.min_replicas, settings.scaling.max_replicas)
    assert set(hpa.spec.behavior) == {"scaleUp", "scaleDown"}


def test_the_autoscaler_reads_what_the_adapter_serves(rendered: Rendered, settings: ServingSettings) -> None:
    served = {rule["name"]["as"] for rule in adapter_rules([settings])}
    assert len(rendered[Hpa].names) == len(settings.scaling.metrics)
    assert set(rendered[Hpa].names) <= served
    for metric in rendered[Hpa].spec.metrics:
        if metric["type"] == "Object":
            assert metric["object"]["metric"]["selector"]["matchLabels"]["container"] == rendered[Deployment].triton.name


def test_series_get_the_labels_that_the_rules_look_for(rendered: Rendered) -> None:
    (endpoint,) = rendered[PodMonitor].spec.pod_metrics_endpoints
    assert endpoint.port in {port.name for port in rendered[Deployment].triton.ports}
    targets = {relabeling.target_label for relabeling in endpoint.relabelings}
    assert {"namespace", "pod"} <= targets
    assert endpoint.honor_labels is False
    assert rendered[PodMonitor].spec.namespace_selector.match_names == ["models"]


def test_gpus_are_limits_and_tolerated_and_a_cpu_pod_asks_for_none(rendered: Rendered, settings: ServingSettings) -> None:
    pod, triton = rendered[Deployment].pod, rendered[Deployment].triton
    gpus = {key: value for key, value in triton.resources.limits.items() if key.startswith("nvidia.com/")}
    tolerated = [toleration for toleration in pod.tolerations if toleration.key == "nvidia.com/gpu"]
    if settings.resources.gpus:
        assert gpus == {settings.resources.gpu_resource: str(settings.resources.gpus)}
        assert tolerated == [Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule")]
        sliced = settings.resources.gpu_resource.startswith("nvidia.com/mig-")
        assert triton.flag("allow-gpu-metrics") == ("false" if sliced else "true"), "a slice has no such figures"
    else:
        assert not gpus
        assert not pod.tolerations
        assert triton.flag("allow-gpu-metrics") == "false"
    assert triton.resources.requests.keys() == {*triton.resources.limits, "cpu"}
    assert triton.resources.requests["memory"] == triton.resources.limits["memory"] == settings.resources.memory


def test_a_rollout_never_goes_below_what_is_wanted_and_a_drain_is_never_blocked(rendered: Rendered) -> None:
    assert rendered[Deployment].spec.strategy.rolling_update == RollingUpdate(max_unavailable=0, max_surge=1)
    assert rendered[Budget].spec.max_unavailable >= 1, "minAvailable with one replica would block node drains for ever"


def test_ports_meet(rendered: Rendered, settings: ServingSettings) -> None:
    wanted, service = settings.service, rendered[Service].spec
    ports = {port.name: port for port in rendered[Deployment].triton.ports}
    assert {name: port.container_port for name, port in ports.items()} == {"http-triton": 8000, "grpc-triton": 8001, "http-metrics": 8002}
    for port in service.ports:
        assert ports[port.target_port].container_port == port.port
    assert service.type == wanted.type
    nodes = {port.name: port.node_port for port in service.ports if port.node_port}
    asked = {"http-triton": wanted.http_node_port, "grpc-triton": wanted.grpc_node_port}
    assert nodes == {name: port for name, port in asked.items() if port}
    assert ("http-metrics" in {port.name for port in service.ports}) == (wanted.type != "LoadBalancer")
    assert {port.app_protocol for port in service.ports if port.name == "grpc-triton"} == {"grpc"}
    for name, value in (("http-port", "8000"), ("grpc-port", "8001"), ("metrics-port", "8002")):
        assert rendered[Deployment].triton.flag(name) == value


def test_the_server_runs_restricted(rendered: Rendered, settings: ServingSettings) -> None:
    pod, triton = rendered[Deployment].pod, rendered[Deployment].triton
    assert pod.security_context.run_as_user == pod.security_context.fs_group == settings.run_as_user
    assert pod.security_context.run_as_non_root == (settings.run_as_user != 0)
    assert triton.security_context.capabilities.drop == ["ALL"]
    assert not triton.security_context.allow_privilege_escalation
    assert not pod.automount_service_account_token
    mounts = {mount.mount_path: mount.name for mount in triton.volume_mounts}
    volumes = {volume.name: volume.empty_dir for volume in pod.volumes}
    assert volumes[mounts["/dev/shm"]] == EmptyDir(medium="Memory", size_limit=settings.resources.shm)
    scratch = volumes[mounts["/tmp"]]
    assert scratch is not None
    assert scratch.medium is None
    assert EnvVar(name="HOME", value="/tmp") in triton.env


def test_the_server_is_started_as_process_one_with_real_flags(rendered: Rendered, settings: ServingSettings) -> None:
    triton = rendered[Deployment].triton
    assert triton.args[0] == "tritonserver"
    assert all(re.fullmatch(r"--[a-z-]+=\S+", argument) for argument in triton.args[1:])
    assert triton.flag("model-repository") == "s3://http://10.0.0.1:7070/bucket/models/abc"
    loaded = [argument.split("=")[1] for argument in triton.args if argument.startswith("--load-model=")]
    assert loaded == list(settings.models or ())
    assert triton.flag("model-control-mode") == ("explicit" if loaded else "none")


def test_changed_models_or_credentials_roll_out(chart: Chart) -> None:
    settings = serving()
    before = chart.render(values(settings))[Deployment].spec.template
    assert before.metadata.annotations == {"triton-fleet/model-release": "abc"}
    changed = values(settings)
    changed["modelRepository"]["release"] = "def"
    assert chart.render(changed)[Deployment].spec.template != before
    assert chart.render(values(settings, secret="bert-credentials-2"))[Deployment].spec.template != before


def test_scaling_and_the_service_do_not_restart_pods(chart: Chart) -> None:
    before = chart.settings()[Deployment].spec.template
    after = chart.settings(
        scaling={"minReplicas": 3, "maxReplicas": 9}, service={"type": "NodePort", "httpNodePort": 30800}, scrapeInterval="10s"
    )
    assert after[Deployment].spec.template == before


def test_identity(chart: Chart) -> None:
    annotated = chart.settings()
    assert annotated[ServiceAccount].metadata.annotations == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/reader"}
    assert annotated[Deployment].triton.env_from == [EnvFrom(secret_ref=SecretRef(name=FIRST))]
    assert EnvVar(name="AWS_REGION", value="eu-west-1") in annotated[Deployment].triton.env
    assert chart.render(values(serving(), secret=None))[Deployment].triton.env_from == []


def test_what_the_settings_pass_through(chart: Chart) -> None:
    deployment = chart.settings(
        env={"OMP_NUM_THREADS": "4", "QUOTED": 'a "b": {{ c }}'},
        extraArgs=["--metrics-config=summary_latencies=true", "--backend-config=python,shm-default-byte-size=1048576"],
        imagePullSecrets=["registry"],
        nodeSelector={"pool": "gpu"},
        logVerbose=1,
    )[Deployment]
    assert EnvVar(name="QUOTED", value='a "b": {{ c }}') in deployment.triton.env
    assert deployment.triton.args[-1] == "--backend-config=python,shm-default-byte-size=1048576"
    assert deployment.pod.image_pull_secrets == [SecretRef(name="registry")]
    assert deployment.pod.node_selector == {"pool": "gpu"}
    assert deployment.triton.flag("log-verbose") == "1"


def test_plain_helm_needs_only_a_repository(chart: Chart) -> None:
    plain = chart.render({}, "--set", "modelRepository.url=gs://bucket/models")
    assert set(plain.objects) == set(KINDS)
    assert plain[Deployment].metadata.labels["app.kubernetes.io/managed-by"] == "Helm"


def test_plain_helm_can_leave_out_what_a_cluster_lacks(chart: Chart) -> None:
    off = ["autoscaling.enabled=false", "podMonitor.enabled=false", "disruption.enabled=false", "serviceAccount.create=false"]
    bare = chart.render({"modelRepository": {"url": "/models"}, "autoscaling": {"minReplicas": 3}}, "--set", ",".join(off))
    assert set(bare.objects) == {"Deployment", "Service"}
    assert bare[Deployment].spec.replicas == 3
    assert bare[Deployment].pod.service_account_name == "default"


def test_the_rest_of_the_pod_is_open_to_plain_helm(chart: Chart) -> None:
    pod = {
        "annotations": {"sidecar.istio.io/inject": "true"},
        "labels": {"team": "speech", "app.kubernetes.io/instance": "not-this"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "runtimeClassName": "nvidia",
    }
    deployment = chart.render({"modelRepository": {"url": "/models"}, "pod": pod, "resources": {"tmp": "20Gi"}})[Deployment]
    assert deployment.spec.template.metadata.labels["team"] == "speech"
    assert deployment.spec.template.metadata.labels["app.kubernetes.io/instance"] == "bert", "a selector's label can't be taken away"
    assert deployment.spec.template.metadata.annotations["sidecar.istio.io/inject"] == "true"
    assert [toleration.key for toleration in deployment.pod.tolerations] == ["nvidia.com/gpu", "spot"]
    assert (deployment.pod.priority_class_name, deployment.pod.runtime_class_name) == ("high", "nvidia")
    assert EmptyDir(size_limit="20Gi") in [volume.empty_dir for volume in deployment.pod.volumes]


def test_a_startup_probe_of_ones_own(chart: Chart) -> None:
    startup = {"periodSeconds": 10, "timeoutSeconds": 3, "failureThreshold": 60}
    probe = chart.render({"modelRepository": {"url": "/models"}, "probes": {"startup": startup}})[Deployment].triton.startup_probe
    assert (probe.period_seconds, probe.timeout_seconds, probe.failure_threshold) == (10, 3, 60)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"replicas": 3}, "additional properties 'replicas' not allowed"),
        ({"resources": {"gpu": 1}}, "additional properties 'gpu' not allowed"),
        ({"resources": {"gpus": -1}}, "minimum"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"autoscaling": {"metrics": [{"type": "Pods", "pods": {"metric": {"nam": "x"}}}]}}, "autoscaling/metrics/0"),
        ({"autoscaling": {"minReplicas": 5}}, r"minReplicas \(5\) is above autoscaling.maxReplicas \(4\)"),
        ({"modelRepository": {"url": ""}}, "modelRepository.url is not set"),
        ({"service": {"httpNodePort": 80}}, "httpNodePort"),
    ],
)
def test_wrong_values_are_refused_by_name(chart: Chart, wrong: dict[str, Any], says: str) -> None:
    base = {"modelRepository": {"url": "s3://bucket/models"}}
    done = chart.template({**base, **wrong})
    assert done.returncode != 0
    assert re.search(says, done.stderr), done.stderr


def test_a_release_as_a_part_of_another_chart_gets_helms_globals(chart: Chart) -> None:
    chart.render({"modelRepository": {"url": "/models"}, "global": {"imageRegistry": "x"}})


def test_the_chart_passes_helm_lint(chart: Chart) -> None:
    done = subprocess.run(
        [chart.helm, "lint", "--strict", chart.path, "--set", "modelRepository.url=s3://bucket/models"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------------------------------------------------------- where models come from
RELEASE = "5a" * 32
BASE = "s3://http://10.0.0.1:7070/bucket/prefix"


def prefetching(url: str = BASE, *, sizes: dict[str, int] | None = None, **fields: Any) -> dict[str, Any]:
    """Values of a deployment that copies its models first."""
    return chart_values(
        serving(**{"prefetch": True, **fields}),
        url=url,
        urls=[f"{url}/models/a-0123456789abcdef"],
        release=RELEASE,
        region="eu-west-1",
        credentials_secret=FIRST,
        service_account_annotations={},
        sizes={"a": 10 << 20, "b": 20 << 20, "c": 1 << 30} if sizes is None else sizes,
        needs={"b": ("a",)},
    ).dump()


def test_one_repository_a_model(chart: Chart) -> None:
    made = chart_values(
        serving(models=["a"]),
        url=BASE,
        urls=[f"{BASE}/models/a-1", f"{BASE}/models/b-2"],
        release=RELEASE,
        region="eu-west-1",
        credentials_secret=None,
        service_account_annotations={},
    ).dump()
    triton = chart.render(made)[Deployment].triton
    assert [argument for argument in triton.args if "model" in argument] == [
        f"--model-repository={BASE}/models/a-1",
        f"--model-repository={BASE}/models/b-2",
        "--model-control-mode=none",
    ]
    assert EnvVar(name="AWS_REGION", value="eu-west-1") in triton.env


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ({"mode": "poll"}, ["--model-control-mode=poll", "--repository-poll-secs=15"]),
        ({"mode": "explicit"}, ["--model-control-mode=explicit", "--load-model=*"]),
        ({"mode": "explicit", "models": ["a"]}, ["--model-control-mode=explicit", "--load-model=a"]),
    ],
)
def test_modes(chart: Chart, values: dict[str, Any], flags: list[str]) -> None:
    triton = chart.render({"modelRepository": {"url": BASE, **values}})[Deployment].triton
    assert triton.args[1:4][: 1 + len(flags)] == [f"--model-repository={BASE}", *flags]


def of_gke(url: str = "gs://bucket/models", *, key: str | None = None, **fields: Any) -> dict[str, Any]:
    """Values of a deployment on GKE."""
    return chart_values(
        serving(**fields),
        url=url,
        release=RELEASE,
        region="",
        credentials_secret=None,
        key_file_secret=key,
        service_account_annotations={},
        monitored=("fleet", "us-central1"),
        sizes={"a": 1, "b": 1, "c": 1},
    ).dump()


def test_a_pod_on_gke_has_its_identity_before_anything_reads_models(chart: Chart) -> None:
    waiting, copying = chart.render(of_gke(prefetch=True))[Deployment].pod.init_containers
    assert (waiting.name, copying.name) == ("identity", "prefetch")
    triton = chart.render(of_gke())[Deployment].triton
    assert waiting.image == triton.image, "nothing more to pull"
    assert waiting.security_context == triton.security_context
    assert "Metadata-Flavor: Google" in waiting.command[-1]
    assert "nvidia.com/gpu" not in waiting.resources.limits


@pytest.mark.parametrize("values", [of_gke(key="gcsfs-creds-1"), of_gke(url=BASE)], ids=["with a key file", "with another cloud's store"])
def test_who_has_keys_waits_for_none(chart: Chart, values: dict[str, Any]) -> None:
    assert chart.render(values)[Deployment].pod.init_containers == []


def test_models_are_copied_first_to_a_volume_that_the_server_only_reads(chart: Chart) -> None:
    deployment = chart.render(prefetching())[Deployment]
    prefetch, triton = deployment.prefetch, deployment.triton
    assert triton.flag("model-repository") == "/models/release"
    (server,) = (mount for mount in triton.volume_mounts if mount.mount_path == "/models")
    (copier,) = (mount for mount in prefetch.volume_mounts if mount.mount_path == "/models")
    assert server.name == copier.name
    assert server.read_only
    assert not copier.read_only
    assert prefetch.variable("VOLUME") == "/models"
    assert prefetch.variable("RELEASE") == RELEASE == deployment.spec.template.metadata.annotations["triton-fleet/model-release"]
    assert prefetch.env_from == triton.env_from
    assert prefetch.security_context == triton.security_context
    assert prefetch.termination_message_policy == "FallbackToLogsOnError"


def test_the_script_reaches_the_shell_as_it_is(chart: Chart, project: Path) -> None:
    prefetch = chart.render(prefetching())[Deployment].prefetch
    script = (project / "charts" / "triton" / "files" / "prefetch.sh").read_text()
    assert prefetch.command[:2] == ["/bin/sh", "-c"]
    assert prefetch.command[2].strip() == script.strip()
    # The kubelet replaces $(NAME) where NAME is a variable of the container, and makes $$ one dollar.
    assert "$$" not in script
    assert not {entry.name for entry in prefetch.env} & set(re.findall(r"\$\(([A-Za-z_]+)\)", script))


@pytest.mark.parametrize(
    ("url", "base", "endpoint", "provider"),
    [
        (BASE, ":s3:bucket/prefix", "http://10.0.0.1:7070", "Other"),
        ("s3://https://store.example:443/bucket/a/b", ":s3:bucket/a/b", "https://store.example:443", "Other"),
        ("s3://store.example:9000/bucket/prefix/", ":s3:bucket/prefix", "http://store.example:9000", "Other"),
        ("s3://https://[fd00::1]:9000/bucket/prefix", ":s3:bucket/prefix", "https://[fd00::1]:9000", "Other"),
        ("s3://bucket/prefix", ":s3:bucket/prefix", None, "AWS"),
        ("gs://bucket/prefix", ":gcs:bucket/prefix", None, None),
    ],
)
def test_every_form_of_tritons_urls_is_understood(chart: Chart, url: str, base: str, endpoint: str | None, provider: str | None) -> None:
    prefetch = chart.render(prefetching(url))[Deployment].prefetch
    assert prefetch.variable("BASE") == base
    assert prefetch.variable("RCLONE_S3_ENDPOINT") == endpoint
    assert prefetch.variable("RCLONE_S3_PROVIDER") == provider
    kind = "GCS" if url.startswith("gs://") else "S3"
    assert prefetch.variable(f"RCLONE_{kind}_ENV_AUTH") == "true"
    assert prefetch.variable("RCLONE_S3_REGION") == ("eu-west-1" if kind == "S3" else None)


@pytest.mark.parametrize(
    ("fields", "models", "size"),
    [
        ({}, "", "1224Mi"),
        ({"models": ["a"]}, "a", "75Mi"),
        ({"models": ["b"]}, "a b", "97Mi"),  # an ensemble, and what it is made of
        ({"models": ["a"], "prefetch": {"enabled": True, "volume": {"size": "2Gi"}}}, "a", "2Gi"),
    ],
)
def test_the_volume_holds_what_is_copied(chart: Chart, fields: dict[str, Any], models: str, size: str) -> None:
    deployment = chart.render(prefetching(**fields))[Deployment]
    (volume,) = (volume for volume in deployment.pod.volumes if volume.name == "models")
    assert deployment.prefetch.variable("MODELS") == models
    assert volume.empty_dir == EmptyDir(size_limit=size)
    assert deployment.prefetch.resources.requests["ephemeral-storage"] == size, "so that the pod goes where there is room"


def test_a_volume_of_a_storage_class(chart: Chart) -> None:
    deployment = chart.render(prefetching(prefetch={"enabled": True, "volume": {"storageClass": "gp3", "size": "20Gi"}}))[Deployment]
    (volume,) = (volume for volume in deployment.pod.volumes if volume.name == "models")
    assert volume.empty_dir is None
    assert volume.ephemeral == {
        "volumeClaimTemplate": {
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "gp3", "resources": {"requests": {"storage": "20Gi"}}}
        }
    }
    assert "ephemeral-storage" not in deployment.prefetch.resources.requests


def test_the_rollout_waits_for_the_copy(chart: Chart) -> None:
    settings = serving(prefetch={"enabled": True, "budget": "20m"}, startupBudget="5m")
    deployment = chart.render(prefetching(prefetch={"enabled": True, "budget": "20m"}, startupBudget="5m"))[Deployment]
    assert deployment.spec.progress_deadline_seconds == rollout_deadline(settings) == 300 + 600 + 1200
    assert int(deployment.metadata.annotations["pulumi.com/timeoutSeconds"]) >= deployment.spec.progress_deadline_seconds


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"modelRepository": {"url": BASE, "urls": [BASE]}}, "are both set"),
        ({"modelRepository": {"url": BASE, "mode": "poll", "models": ["a"]}}, "Triton loads all that is there"),
        ({"modelRepository": {"url": BASE, "mode": "poll", "release": RELEASE}, "prefetch": {"enabled": True}}, "would never see a change"),
        ({"modelRepository": {"url": BASE, "release": "abc"}, "prefetch": {"enabled": True}}, "is no SHA-256 in hex"),
        ({"modelRepository": {"urls": [BASE], "release": RELEASE}, "prefetch": {"enabled": True}}, "nowhere to copy from"),
        ({"modelRepository": {"url": "/models", "release": RELEASE}, "prefetch": {"enabled": True}}, "neither s3:// nor gs://"),
        (
            {"modelRepository": {"url": BASE, "release": RELEASE}, "prefetch": {"enabled": True, "storageClass": "gp3"}},
            "prefetch.size is not set",
        ),
    ],
)
def test_what_goes_wrong_with_the_source_of_models_is_said_before_it_is_applied(chart: Chart, values: dict[str, Any], said: str) -> None:
    done = chart.template(values)
    assert done.returncode != 0
    assert said in done.stderr


# ------------------------------------------------------------------------------------------------ what the walk-throughs on GKE set
def google(settings: ServingSettings) -> dict[str, Any]:
    made = chart_values(
        settings,
        url="gs://bucket/models",
        release="a" * 64,
        region="",
        credentials_secret=None,
        key_file_secret="gcsfs-creds-1",
        service_account_annotations={},
        monitored=("tri", "europe-west4"),
    )
    return made.dump()


@pytest.mark.parametrize("prefetch", [False, True])
def test_a_key_file_is_mounted_where_the_walk_through_has_it(chart: Chart, prefetch: bool) -> None:
    deployment = chart.render(google(serving(prefetch=prefetch)))[Deployment]
    (volume,) = (volume for volume in deployment.pod.volumes if volume.secret is not None)
    assert volume.secret is not None
    assert (volume.name, volume.secret.secret_name) == ("gcsfs-creds", "gcsfs-creds-1")
    assert [(item.key, item.path) for item in volume.secret.items] == [("keyfile.json", "keyfile.json")]
    assert oct(volume.secret.default_mode) == "0o440", "the server's group may read it, which is fsGroup"
    containers: list[Container | InitContainer] = [deployment.triton, *deployment.pod.init_containers]
    for container in containers:
        (mount,) = (mount for mount in container.volume_mounts if mount.name == "gcsfs-creds")
        assert (mount.mount_path, mount.read_only) == ("/etc/secrets", True)
        assert EnvVar(name="GOOGLE_APPLICATION_CREDENTIALS", value="/etc/secrets/keyfile.json") in container.env
    assert len(deployment.pod.init_containers) == prefetch


def test_without_a_key_file_nothing_of_it_is_there(chart: Chart) -> None:
    deployment = chart.settings()[Deployment]
    assert not any(volume.secret for volume in deployment.pod.volumes)
    assert not any(variable.name == "GOOGLE_APPLICATION_CREDENTIALS" for variable in deployment.triton.env)


def test_the_duty_cycle_reaches_the_autoscaler(chart: Chart) -> None:
    metrics = [{"kind": "queueTime", "target": "50ms"}, {"kind": "gpuDutyCycle", "target": 85}]
    hpa = chart.render(google(serving(scaling={"metrics": metrics})))[Hpa]
    pods, external = hpa.spec.metrics
    assert pods["type"] == "Pods"
    assert external["external"]["metric"]["name"] == "kubernetes.io|container|accelerator|duty_cycle"
    assert external["external"]["metric"]["selector"]["matchLabels"]["resource.labels.container_name"] == "bert"
    assert external["external"]["target"] == {"type": "AverageValue", "averageValue": "85"}


def test_a_first_number_of_replicas(chart: Chart) -> None:
    assert chart.settings(scaling={"initialReplicas": 3})[Deployment].spec.replicas == 3
    assert chart.settings()[Deployment].spec.replicas is None


@pytest.mark.parametrize(
    ("fields", "measured"),
    [
        ({}, "true"),
        ({"gpuMetrics": False}, "false"),
        ({"resources": {"gpuResource": "nvidia.com/mig-1g.5gb"}}, "false"),
        ({"resources": {"gpuResource": "nvidia.com/mig-1g.5gb"}, "gpuMetrics": True}, "true"),
        ({"resources": {"gpus": 0}}, "false"),
    ],
)
def test_triton_measures_whole_gpus_unless_told_otherwise(chart: Chart, fields: dict[str, Any], measured: str) -> None:
    assert chart.settings(**fields)[Deployment].triton.flag("allow-gpu-metrics") == measured


def test_when_a_node_asks_the_registry(chart: Chart) -> None:
    assert chart.settings()[Deployment].triton.image_pull_policy == "IfNotPresent"
    assert chart.settings(imagePullPolicy="Always")[Deployment].triton.image_pull_policy == "Always"
