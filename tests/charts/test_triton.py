"""charts/triton: what a deployment consists of, how it starts, scales, rolls out and ends."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from components.serving.scaling import adapter_rules
from components.serving.values import rollout_deadline
from tests.charts.rendering import FIRST, Chart, Rendered, serving, values
from tests.charts.shapes import (
    KINDS,
    Budget,
    Deployment,
    EmptyDir,
    EnvFrom,
    EnvVar,
    Hpa,
    HttpGet,
    Metadata,
    NetworkPolicy,
    PodMonitor,
    RollingUpdate,
    ScaleTarget,
    SecretRef,
    Service,
    ServiceAccount,
    Toleration,
)

if TYPE_CHECKING:
    from components.serving.settings import ServingSettings

pytestmark = pytest.mark.helm


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
    assert set(rendered.objects) == set(KINDS) - {"Secret"}, "the stack makes the Secret: the chart would make another at each preview"
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
    assert rendered[NetworkPolicy].spec.pod_selector.match_labels == selector
    assert all(spread.label_selector.match_labels == selector for spread in deployment.pod.topology_spread_constraints)
    assert deployment.pod.service_account_name == rendered[ServiceAccount].metadata.name


def test_the_grace_period_holds_the_whole_drain(rendered: Rendered) -> None:
    pod, triton = rendered[Deployment].pod, rendered[Deployment].triton
    pre_stop = triton.lifecycle.pre_stop.sleep.seconds if triton.lifecycle else 0
    assert pod.termination_grace_period_seconds > pre_stop + int(triton.flag("exit-timeout-secs"))


def test_seconds_are_rounded_up(chart: Chart) -> None:
    triton = chart.settings(drain={"preStop": "4200ms", "exitTimeout": "20500ms"})[Deployment].triton
    assert triton.lifecycle is not None
    assert (triton.lifecycle.pre_stop.sleep.seconds, triton.flag("exit-timeout-secs")) == (5, "21")


def test_a_service_shows_metrics_or_not_as_told(chart: Chart) -> None:
    for service in ({"type": "LoadBalancer", "exposeMetrics": True}, {"exposeMetrics": False}):
        ports = {port.name for port in chart.settings(service=service)[Service].spec.ports}
        assert ("http-metrics" in ports) == service["exposeMetrics"]


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
    assert startup.http_get == HttpGet(path="/v2/health/ready", port="http-triton"), "a pod starts with all its models"
    assert readiness.http_get == liveness.http_get == HttpGet(path="/v2/health/live", port="http-triton"), "one model is not the server"
    assert deployment.triton.flag("strict-readiness") == "true"
    assert liveness.budget >= 3 * readiness.budget, "out of rotation long before a restart"
    assert deployment.spec.progress_deadline_seconds == rollout_deadline(settings) > startup.budget
    assert int(deployment.metadata.annotations["pulumi.com/timeoutSeconds"]) >= deployment.spec.progress_deadline_seconds


def test_the_autoscaler_owns_the_number_of_replicas(rendered: Rendered, settings: ServingSettings) -> None:
    hpa = rendered[Hpa]
    assert rendered[Deployment].spec.replicas is None
    assert hpa.spec.scale_target_ref == ScaleTarget(api_version="apps/v1", kind="Deployment", name="bert")
    assert (hpa.spec.min_replicas, hpa.spec.max_replicas) == (settings.scaling.min_replicas, settings.scaling.max_replicas)
    assert set(hpa.spec.behavior) == {"scaleUp", "scaleDown"}


def test_behaviour_states_what_kubernetes_would_default(chart: Chart) -> None:
    behaviour = chart.settings(scaling={"scaleDownStabilization": 60, "scaleDownPodsPerMinute": 4})[Hpa].spec.behavior
    for direction in behaviour.values():
        assert set(direction) == {"stabilizationWindowSeconds", "selectPolicy", "policies"}
    assert behaviour["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behaviour["scaleDown"] == {
        "stabilizationWindowSeconds": 60,
        "selectPolicy": "Max",
        "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}],
    }


def test_plain_helm_can_replace_the_behaviour(chart: Chart) -> None:
    values = {"modelRepository": {"url": "/models"}, "autoscaling": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}}
    assert chart.render(values)[Hpa].spec.behavior == {"scaleDown": {"selectPolicy": "Disabled"}}


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


def test_a_stack_with_a_full_pool_replaces_pods_in_place(chart: Chart) -> None:
    update = chart.settings(rollout={"maxSurge": 0, "maxUnavailable": 1})[Deployment].spec.strategy.rolling_update
    assert update == RollingUpdate(max_surge=0, max_unavailable=1)


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
    assert chart.render(values(serving(), secret=""))[Deployment].triton.env_from == []


def test_secrets_become_environment_variables_beside_those_of_the_bucket(chart: Chart) -> None:
    settings = serving(envFromSecrets=["hugging-face", "license"])
    for secret, expected in ((FIRST, [FIRST, "hugging-face", "license"]), ("", ["hugging-face", "license"])):
        triton = chart.render(values(settings, secret=secret))[Deployment].triton
        assert triton.env_from == [EnvFrom(secret_ref=SecretRef(name=name)) for name in expected]


def test_keys_of_secrets_become_environment_variables(chart: Chart) -> None:
    settings = serving(env={"A": "b"}, secretEnv={"HF_TOKEN": {"name": "hugging-face", "key": "token"}})
    found = {entry.name: entry.model_dump() for entry in chart.render(values(settings))[Deployment].triton.env}
    assert found["A"]["value"] == "b"
    assert found["HF_TOKEN"]["value_from"] == {"secret_key_ref": {"name": "hugging-face", "key": "token"}}


def test_a_load_balancer_is_open_to_the_ranges_that_are_listed(chart: Chart) -> None:
    for fields, expected in (({"type": "LoadBalancer", "sourceRanges": ["203.0.113.0/24"]}, ["203.0.113.0/24"]), ({}, None)):
        assert chart.render(values(serving(service=fields)))[Service].spec.load_balancer_source_ranges == expected


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


@pytest.mark.parametrize(("mps", "shm", "host"), [("none", True, None), ("plugin", False, None), ("hostIpc", False, True)])
def test_a_pod_on_a_gpu_shared_by_mps_reaches_the_nodes_daemon(chart: Chart, mps: Any, shm: bool, host: bool | None) -> None:
    """A volume at /dev/shm would hide the daemon's; on GKE the daemon is reached through the node's IPC namespace."""
    deployment = chart.render(values(serving(mps=mps)))[Deployment]
    pod = deployment.pod
    assert ("/dev/shm" in {mount.mount_path for mount in deployment.triton.volume_mounts}) == shm
    assert ("shm" in {volume.name for volume in pod.volumes}) == shm
    assert pod.host_ipc is host
