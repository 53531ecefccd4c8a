"""The component with the SDK's mocks: what it declares, what hangs on what, what stays secret."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s
import pytest
from pulumi.runtime.rpc import deserialize_properties, is_rpc_secret, unwrap_rpc_secret
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.base.handles import ClusterHandle, GatewayHandle, GcpAccess, GpuPool, MetricsHandle, RepositoryHandle
from components.serving.settings import ServingSettings
from components.serving.triton import CHART, Triton, TritonArgs, leave_replicas, monitored_by, only_shared, serving_namespaces

if TYPE_CHECKING:
    from tests.components.conftest import Recorder

CHART_TYPE = "kubernetes:helm.sh/v4:Chart"
SECRET_TYPE = "kubernetes:core/v1:Secret"
NAMESPACE_TYPE = "kubernetes:core/v1:Namespace"
ADMIN_KEY = "bert-admin-key"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush"}


def sent(recorder: Recorder, typ: str) -> dict[str, Any]:
    """Inputs of the one resource of type ``typ`` besides the admin key, as the program sent them."""
    (name,) = recorder.of_type(typ) - {ADMIN_KEY}
    inputs: dict[str, Any] = deserialize_properties(recorder.requests[name].object)
    return inputs


class Fleet(pulumi.ComponentResource):
    def __init__(self) -> None:
        super().__init__("test:index:Fleet", "fleet")


async def deploy(**fields: Any) -> list[str]:
    """Run the program until every resource is registered; the addresses that the handles give."""
    triton = declare(**fields)
    addresses = [await item.handle.service.future() for item in triton]
    await wait_for_rpcs()
    return [str(address) for address in addresses]


def declare(
    *,
    credentials: bool = True,
    entries: tuple[ServingSettings, ...] | None = None,
    key_file: pulumi.Output[str] | None = None,
    google: GcpAccess | None = None,
    **extra: Any,
) -> list[Triton]:
    provider = k8s.Provider("cluster", kubeconfig="{}")
    operator = k8s.core.v1.ConfigMap("operator", opts=pulumi.ResourceOptions(provider=provider))
    driver = k8s.core.v1.ConfigMap("driver", opts=pulumi.ResourceOptions(provider=provider))
    volumes = driver.id.apply(lambda _: "gp3")
    cluster = ClusterHandle(name=pulumi.Output.from_input("test"), provider=provider, gcp=google, volumes=volumes)
    entries = entries or (ServingSettings(name="bert", namespace="models", image="registry.example/triton:1", models=("a",)),)
    namespaces = serving_namespaces(entries, cluster=cluster, parent=Fleet())
    return [
        Triton(
            entry.name,
            TritonArgs(
                cluster=cluster,
                repository=RepositoryHandle(
                    url=pulumi.Output.from_input("s3://bucket/models"),
                    urls={name: pulumi.Output.from_input(f"s3://bucket/models/models/{name}-1") for name in ("a", "b")},
                    sizes={"a": 1 << 20, "b": 1 << 20},
                    mode="release",
                    needs={"a": ("b",)},
                    digest=pulumi.Output.from_input("abc"),
                    digest_of=lambda models: pulumi.Output.from_input("-".join(models)),
                    models=("a", "b"),
                    region="eu-west-1",
                    credentials=pulumi.Output.from_input(CREDENTIALS) if credentials else None,
                    key_file=key_file,
                ),
                metrics=MetricsHandle(namespace="monitoring", url=operator.id.apply(lambda _: "http://kps"), port=9090),
                settings=entry,
                namespace=namespaces[entry.namespace],
                **extra,
            ),
        )
        for entry in entries
    ]


async def test_the_chart_is_released_under_the_settings_name(recorder: Recorder) -> None:
    addresses = await deploy()
    chart = sent(recorder, CHART_TYPE)
    assert (chart["chart"], chart["name"], chart["namespace"]) == (CHART, "bert", "models")
    assert not CHART.startswith("/"), "an absolute path would differ from machine to machine"
    assert chart["values"]["modelRepository"] == {
        "url": "",
        "urls": ["s3://bucket/models/models/a-1", "s3://bucket/models/models/b-1"],
        "mode": "release",
        "release": "a-b",
        "models": [],
        "region": "eu-west-1",
        "credentialsSecret": "bert-credentials-1a2b3c4d",
        "keyFileSecret": "",
    }
    assert addresses == ["bert.models.svc.cluster.local"]


async def test_models_that_are_copied_first_come_from_the_folder_of_all_releases(recorder: Recorder) -> None:
    settings = ServingSettings.model_validate(
        {"name": "bert", "namespace": "models", "image": "registry.example/triton:1", "models": ["a"], "prefetch": True}
    )
    await deploy(entries=(settings,))
    values = sent(recorder, CHART_TYPE)["values"]
    assert (values["modelRepository"]["url"], values["modelRepository"]["urls"]) == ("s3://bucket/models", [])
    assert (values["prefetch"]["enabled"], values["prefetch"]["models"], values["prefetch"]["volume"]["size"]) == (True, ["a", "b"], "67Mi")


async def test_credentials_are_a_secret_of_their_own_and_never_a_chart_value(recorder: Recorder) -> None:
    await deploy()
    secret = sent(recorder, SECRET_TYPE)
    assert secret["immutable"] is True
    assert "name" not in secret["metadata"], "named by the engine: other credentials are another Secret"
    assert secret["metadata"]["namespace"] == "models"
    assert is_rpc_secret(secret["data"]), "encrypted in the state, hidden in a diff"
    data = unwrap_rpc_secret(secret["data"])
    assert {key: base64.b64decode(value).decode() for key, value in data.items()} == CREDENTIALS
    assert "hush" not in str(sent(recorder, CHART_TYPE))
    assert base64.b64encode(b"hush").decode() not in str(sent(recorder, CHART_TYPE))


async def test_without_static_credentials_there_is_no_secret(recorder: Recorder) -> None:
    await deploy(
        credentials=False, service_account_annotations={"eks.amazonaws.com/role-arn": pulumi.Output.from_input("arn:aws:iam::1:role/r")}
    )
    assert recorder.of_type(SECRET_TYPE) == {ADMIN_KEY}
    values = sent(recorder, CHART_TYPE)["values"]
    assert values["modelRepository"]["credentialsSecret"] == ""
    assert values["serviceAccount"]["annotations"] == {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/r"}


async def test_the_key_to_the_admin_endpoints_is_made_once(recorder: Recorder) -> None:
    await deploy()
    request = recorder.requests[ADMIN_KEY]
    inputs = deserialize_properties(request.object)
    assert is_rpc_secret(inputs["data"])
    key = base64.b64decode(unwrap_rpc_secret(inputs["data"])["key"]).decode()
    assert len(key) == 32
    assert list(request.ignoreChanges) == ["data"], "the next run makes another one, which must not count"
    (chart,) = recorder.of_type(CHART_TYPE)
    assert ADMIN_KEY in recorder.dependencies(chart)
    values = sent(recorder, CHART_TYPE)["values"]
    assert values["admin"] == {"keySecret": inputs["metadata"]["name"], "open": []} == {"keySecret": "bert-admin", "open": []}
    assert key not in str(values)


async def test_a_key_of_the_users_own(recorder: Recorder) -> None:
    fields = {"name": "bert", "namespace": "models", "image": "x", "admin": {"keySecret": "vaulted", "open": ["statistics"]}}
    await deploy(credentials=False, entries=(ServingSettings.model_validate(fields),))
    assert not recorder.of_type(SECRET_TYPE)
    assert sent(recorder, CHART_TYPE)["values"]["admin"] == {"keySecret": "vaulted", "open": ["statistics"]}


@pytest.mark.parametrize("mesh", [False, True])
async def test_the_network_policy_knows_the_stacks_callers(recorder: Recorder, mesh: bool) -> None:
    service = pulumi.Output.from_input("gateway")
    gateway = GatewayHandle(namespace="istio-ingress", service=service, selector={}, injection={}) if mesh else None
    fields = {"name": "bert", "namespace": "models", "image": "x", "networkPolicy": {"namespaces": ["shop"]}}
    await deploy(entries=(ServingSettings.model_validate(fields),), gateway=gateway, client_namespace="clients" if mesh else "models")
    policy = sent(recorder, CHART_TYPE)["values"]["networkPolicy"]
    assert policy["namespaces"] == (["clients", "istio-ingress", "shop"] if mesh else ["shop"])
    assert (policy["prometheusNamespaces"], policy["istio"], policy["enabled"]) == (["monitoring"], mesh, True)


async def test_a_destroy_takes_triton_before_what_serves_it(recorder: Recorder) -> None:
    await deploy()
    (chart,), (namespace,) = recorder.of_type(CHART_TYPE), recorder.of_type(NAMESPACE_TYPE)
    assert {"models", "bert-credentials"} <= recorder.dependencies(chart)
    assert recorder.dependencies(namespace) == set()


async def test_pods_wait_neither_for_prometheus_nor_for_volumes_that_they_do_not_claim(recorder: Recorder) -> None:
    await deploy()
    (chart,), (namespace,) = recorder.of_type(CHART_TYPE), recorder.of_type(NAMESPACE_TYPE)
    assert not {"operator", "driver"} & (recorder.dependencies(chart) | recorder.dependencies(namespace))


async def test_the_pod_monitor_alone_comes_after_prometheus(recorder: Recorder) -> None:
    """Its kind is Prometheus'. The recorder asks about each object of the chart."""
    await deploy()
    assert len(recorder.requests["bert"].transforms) == 1
    operator = k8s.core.v1.ConfigMap("another-operator")
    wait = monitored_by(MetricsHandle(namespace="monitoring", url=operator.id.apply(lambda _: "http://kps"), port=9090))
    before = k8s.core.v1.ConfigMap("before")

    def asked(kind: str) -> pulumi.ResourceTransformArgs:
        return pulumi.ResourceTransformArgs(
            custom=True, type_=kind, name="bert", props={"spec": {}}, opts=pulumi.ResourceOptions(depends_on=[before])
        )

    result = wait(asked("kubernetes:monitoring.coreos.com/v1:PodMonitor"))
    assert result is not None
    assert result.props == {"spec": {}}
    listed = result.opts._depends_on_list()
    assert isinstance(listed, pulumi.Output)
    assert before in (await listed.future() or []), "what it waited for already"
    assert operator in await listed.resources()
    for kind in ("kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Service", "kubernetes:autoscaling/v2:HorizontalPodAutoscaler"):
        assert wait(asked(kind)) is None
    await wait_for_rpcs()  # what is left would be waited for in the loop of the next test


@pytest.mark.parametrize(("prefetch", "waits"), [({"enabled": True, "volume": {"storageClass": "gp3"}}, {"driver"}), (True, set())])
async def test_a_deployment_that_claims_volumes_goes_before_what_makes_them(recorder: Recorder, prefetch: Any, waits: set[str]) -> None:
    raw = {"name": "bert", "namespace": "models", "image": "x", "models": ["a"], "prefetch": prefetch}
    await deploy(entries=(ServingSettings.model_validate(raw),))
    (namespace,) = recorder.of_type(NAMESPACE_TYPE)
    assert recorder.dependencies(namespace) == waits


async def test_deployments_that_share_a_namespace_share_one_resource(recorder: Recorder) -> None:
    entries = tuple(ServingSettings(name=name, namespace="models", image="registry.example/triton:1") for name in ("bert", "fil"))
    await deploy(entries=entries)
    assert recorder.of_type(NAMESPACE_TYPE) == {"models"}
    assert recorder.of_type(CHART_TYPE) == {"bert", "fil"}


async def test_models_that_the_repository_lacks_stop_it_before_anything_is_made(recorder: Recorder) -> None:
    with pytest.raises(FleetError, match="names nope, which is not in the repository"):
        await deploy(entries=(ServingSettings(name="bert", image="registry.example/triton:1", models=("nope",)),))
    await wait_for_rpcs()
    assert not recorder.of_type(CHART_TYPE) | recorder.of_type(SECRET_TYPE)


# ------------------------------------------------------------------------------------------------ on Google Cloud
async def test_a_key_file_is_a_mounted_secret_and_nothing_else(recorder: Recorder) -> None:
    content = '{"type": "service_account", "private_key": "hush"}'
    await deploy(credentials=False, key_file=pulumi.Output.secret(content))
    (name,) = recorder.of_type(SECRET_TYPE) - {ADMIN_KEY}
    assert name == "bert-gcsfs-creds"
    request = recorder.requests[name]
    data = deserialize_properties(request.object)["data"]
    assert is_rpc_secret(data)
    assert {key: base64.b64decode(value).decode() for key, value in unwrap_rpc_secret(data).items()} == {"keyfile.json": content}
    inputs = deserialize_properties(request.object)
    assert (inputs["immutable"], list(request.replaceOnChanges)) == (True, ["data"]), "another key is another Secret, and a rollout"
    values = sent(recorder, CHART_TYPE)["values"]["modelRepository"]
    assert (values["keyFileSecret"], values["credentialsSecret"]) == ("bert-gcsfs-creds-1a2b3c4d", "")
    assert "hush" not in str(sent(recorder, CHART_TYPE))


async def test_the_duty_cycle_is_asked_for_of_this_cluster(recorder: Recorder) -> None:
    google = GcpAccess(
        project="my-project",
        location="europe-west4",
        region="europe-west4",
        cluster="tri",
        network=pulumi.Output.from_input("vpc"),
        workload_pool=pulumi.Output.from_input("my-project.svc.id.goog"),
        gcp=gcp.Provider("google", project="my-project"),
    )
    metrics = [{"kind": "gpuDutyCycle", "target": 85}]
    entry = ServingSettings.model_validate({"name": "bert", "namespace": "models", "image": "x", "scaling": {"metrics": metrics}})
    await deploy(google=google, entries=(entry,))
    (metric,) = sent(recorder, CHART_TYPE)["values"]["autoscaling"]["metrics"]
    selector = metric["external"]["metric"]["selector"]["matchLabels"]
    assert (selector["resource.labels.cluster_name"], selector["resource.labels.location"]) == ("tri", "europe-west4")


@pytest.mark.parametrize("kind", ["kubernetes:apps/v1:Deployment", "kubernetes:core/v1:Service"])
def test_the_first_number_of_replicas_is_the_autoscalers_afterwards(kind: str) -> None:
    args = pulumi.ResourceTransformArgs(
        custom=True, type_=kind, name="bert", props={"spec": {"replicas": 3}}, opts=pulumi.ResourceOptions()
    )
    result = leave_replicas(args)
    if kind.endswith("Service"):
        assert result is None
    else:
        assert result is not None
        assert (result.props, result.opts.ignore_changes) == (args.props, ["spec.replicas"])


async def test_only_a_first_number_of_replicas_needs_leaving_alone(recorder: Recorder) -> None:
    await deploy()
    scaled = {"name": "fil", "image": "x", "scaling": {"initialReplicas": 2, "maxReplicas": 4}}
    await deploy(entries=(ServingSettings.model_validate(scaled),))
    assert (len(recorder.requests["bert"].transforms), len(recorder.requests["fil"].transforms)) == (1, 2), "one is the PodMonitor's"


def pool(name: str, sharing: Any) -> GpuPool:
    return GpuPool(name=name, labels={"triton-fleet/pool": name}, resource="nvidia.com/gpu", units=7, sharing=sharing)


@pytest.mark.parametrize(
    ("selector", "pools", "sliced"),
    [
        ({}, (), False),
        ({}, (pool("cut", "mig"),), True),
        ({}, (pool("cut", "mig"), pool("whole", "none")), False),
        ({"triton-fleet/pool": "cut"}, (pool("cut", "mig"), pool("whole", "none")), True),
        ({"triton-fleet/pool": "whole"}, (pool("cut", "mig"), pool("whole", "none")), False),
        ({"somebody": "else"}, (pool("cut", "mig"),), True),
    ],
)
def test_slices_are_known_by_their_pool(selector: dict[str, str], pools: tuple[GpuPool, ...], sliced: bool) -> None:
    settings = ServingSettings(image="x", node_selector=selector)
    assert only_shared(settings, pools, "mig") is sliced
