"""The add-ons of a GKE cluster with the SDK's mocks: Cloud Monitoring's adapter, the driver's DaemonSet, dcgm-exporter, load balancers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_gcp as gcp
import pulumi_kubernetes as k8s
import pytest
from pulumi.runtime.stack import wait_for_rpcs

from components.base.drain import Hops
from components.base.handles import ClusterHandle, GcpAccess, GpuPool, MetricsHandle
from components.base.load_balancers import built_in
from components.base.versions import STACKDRIVER_ADAPTER_IMAGE
from components.gateway.istio import IstioGateway, IstioGatewayArgs
from components.gateway.settings import IstioSettings
from components.gke.gpu_driver import GpuDriver, GpuDriverArgs, pod_spec
from components.gke.settings.stackdriver import StackdriverSettings
from components.gke.stackdriver import StackdriverAdapter, StackdriverAdapterArgs
from components.gpu.dcgm_exporter import DcgmExporter, DcgmExporterArgs
from components.gpu.settings import DcgmSettings
from components.helm.settings import ChartSettings
from tests.components.recording import Monitor, start

if TYPE_CHECKING:
    from collections.abc import Awaitable

HOPS = Hops.of([(15, 45, 15)])
CHARTS = ChartSettings()
ADAPTER = "custom-metrics-stackdriver-adapter"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
DAEMON_SET = "kubernetes:apps/v1:DaemonSet"
RELEASE = "kubernetes:helm.sh/v3:Release"
API = "kubernetes:apiregistration.k8s.io/v1:APIService"
GRANT = "gcp:projects/iAMMember:IAMMember"
EXTERNAL = "v1beta1.external.metrics.k8s.io"
POOL = GpuPool(
    name="t4",
    labels={"triton-fleet/pool": "t4"},
    resource="nvidia.com/gpu",
    units=1,
    device_plugin="bundled",
    driver="daemonSet",
    os="cos",
)


class GoogleMocks(pulumi.runtime.Mocks):
    """Answers for the project's number."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        return f"{args.name}-id", dict(args.inputs)

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        assert (args.token, args.args["projectId"]) == ("gcp:organizations/getProject:getProject", "my-project")
        return {"number": "123456789012", "projectId": "my-project"}, []


@pytest.fixture
async def engine() -> Monitor:
    return start(GoogleMocks())


async def resolved(output: pulumi.Output[Any]) -> Any:
    future: Awaitable[Any] = output.future()
    return await future


def text(value: str) -> pulumi.Output[str]:
    return pulumi.Output.from_input(value)


def access() -> GcpAccess:
    # An output that comes from a resource, as the pool's name comes from the cluster.
    pool = gcp.projects.Service("stands-in-for-the-cluster", service="container.googleapis.com").id.apply(
        lambda _: "my-project.svc.id.goog"
    )
    return GcpAccess(
        project="my-project",
        location="europe-west4-a",
        region="europe-west4",
        cluster="tri",
        network=text("vpc"),
        workload_pool=pool,
        gcp=gcp.Provider("google", project="my-project"),
    )


def cluster(*, google: bool = True) -> ClusterHandle:
    provider = k8s.Provider("cluster", kubeconfig="{}")
    return ClusterHandle(name=text("tri"), provider=provider, gpu_pools=(POOL,), gcp=access() if google else None)


async def adapter(**settings: Any) -> StackdriverAdapter:
    here = cluster()
    assert here.gcp is not None
    chosen = StackdriverSettings(enabled=True, **settings)
    made = StackdriverAdapter("stackdriver", StackdriverAdapterArgs(cluster=here, access=here.gcp, settings=chosen))
    await wait_for_rpcs()
    return made


# ------------------------------------------------------------------------------------------------ Cloud Monitoring's adapter
async def test_the_objects_are_those_of_googles_manifest(engine: Monitor) -> None:
    await adapter(custom_metrics=True)
    objects = {
        (kind.rsplit(":", 1)[-1], inputs["metadata"]["name"], inputs["metadata"].get("namespace"))
        for (kind, _), inputs in engine.of("kubernetes:").items()
    }
    assert objects == {
        ("Namespace", "custom-metrics", None),
        ("ServiceAccount", ADAPTER, "custom-metrics"),
        ("ClusterRoleBinding", "custom-metrics:system:auth-delegator", None),
        ("RoleBinding", "custom-metrics-auth-reader", "kube-system"),
        ("ClusterRole", "custom-metrics-resource-reader", None),
        ("ClusterRoleBinding", "custom-metrics-resource-reader", None),
        ("Deployment", ADAPTER, "custom-metrics"),
        ("Service", ADAPTER, "custom-metrics"),
        ("APIService", "v1beta1.custom.metrics.k8s.io", None),
        ("APIService", "v1beta2.custom.metrics.k8s.io", None),
        ("APIService", EXTERNAL, None),
        ("ClusterRole", "external-metrics-reader", None),
        ("ClusterRoleBinding", "external-metrics-reader", None),
    }


async def test_beside_prometheus_adapter_it_serves_external_metrics_alone(engine: Monitor) -> None:
    made = await adapter()
    assert {name for _, name in engine.of(API)} == {EXTERNAL}
    container = engine.inputs(DEPLOYMENT, ADAPTER)["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == STACKDRIVER_ADAPTER_IMAGE
    assert container["command"] == [
        "/adapter",
        "--use-new-resource-model=true",
        "--fallback-for-container-metrics=true",
        "--enable-custom-metrics-api=false",
    ]
    assert await resolved(made.ready) == EXTERNAL


async def test_alone_it_serves_both_apis(engine: Monitor) -> None:
    await adapter(custom_metrics=True, image="mirror.example/adapter:1")
    container = engine.inputs(DEPLOYMENT, ADAPTER)["spec"]["template"]["spec"]["containers"][0]
    assert "--enable-custom-metrics-api=false" not in container["command"]
    assert container["image"] == "mirror.example/adapter:1"


async def test_an_api_service_points_at_the_adapter(engine: Monitor) -> None:
    await adapter(custom_metrics=True)
    for (_, name), inputs in engine.of(API).items():
        spec = inputs["spec"]
        assert name == f"{spec['version']}.{spec['group']}"
        assert (spec["service"]["name"], spec["service"]["namespace"]) == (ADAPTER, "custom-metrics")
        assert (spec["insecureSkipTLSVerify"], spec["groupPriorityMinimum"]) == (True, 100)
    priorities = {name: inputs["spec"]["versionPriority"] for (_, name), inputs in engine.of(API).items()}
    assert priorities["v1beta2.custom.metrics.k8s.io"] > priorities["v1beta1.custom.metrics.k8s.io"]


async def test_its_identity_is_workload_identity_without_a_key(engine: Monitor) -> None:
    await adapter()
    assert engine.inputs(GRANT, f"{ADAPTER}-viewer") == {
        "project": "my-project",
        "role": "roles/monitoring.viewer",
        # The project's number, then its id in the pool's name; namespace and account are those of the ServiceAccount above.
        "member": "principal://iam.googleapis.com/projects/123456789012/locations/global/workloadIdentityPools/my-project.svc.id.goog"
        "/subject/ns/custom-metrics/sa/custom-metrics-stackdriver-adapter",
    }
    account = engine.inputs("kubernetes:core/v1:ServiceAccount", ADAPTER)
    assert (account["metadata"]["namespace"], account["metadata"]["name"]) == ("custom-metrics", ADAPTER)
    assert not engine.of("kubernetes:core/v1:Secret")


async def test_the_grant_waits_for_the_cluster_and_the_adapter_for_the_grant(engine: Monitor) -> None:
    """The pool exists once the cluster does. Without the role the adapter ends as soon as it starts."""
    await adapter()
    assert ("Service", "stands-in-for-the-cluster") in engine.waits(GRANT, f"{ADAPTER}-viewer")
    assert {("IAMMember", f"{ADAPTER}-viewer"), ("ServiceAccount", ADAPTER)} <= engine.waits(DEPLOYMENT, ADAPTER)


async def test_the_api_goes_before_what_serves_it(engine: Monitor) -> None:
    """And comes after it: no namespace can be deleted while an APIService that nobody serves is registered."""
    made = await adapter()
    assert {("Deployment", ADAPTER), ("Service", ADAPTER)} <= engine.waits(API, EXTERNAL)
    assert {resource._name for resource in await made.ready.resources()} == {EXTERNAL}


async def test_the_adapter_never_runs_on_a_gpu_node(engine: Monitor) -> None:
    """Google's manifest tolerates the taint; a node with a GPU would be held by a pod that has no use for it."""
    await adapter()
    assert "tolerations" not in engine.inputs(DEPLOYMENT, ADAPTER)["spec"]["template"]["spec"]


async def test_everything_goes_through_the_providers_of_the_handle(engine: Monitor) -> None:
    await adapter()
    for key, request in engine.requests.items():
        if key.startswith("kubernetes:"):
            assert "pulumi:providers:kubernetes::cluster" in request.provider, key
        if request.type == GRANT:
            assert "pulumi:providers:gcp::google" in request.provider


# ------------------------------------------------------------------------------------------------ the driver
async def test_the_drivers_daemon_set(engine: Monitor) -> None:
    made = GpuDriver("gpu-driver", GpuDriverArgs(cluster=cluster(), pools=[POOL]))
    assert await resolved(made.ready) == "nvidia-driver-installer"
    await wait_for_rpcs()
    inputs = engine.inputs(DAEMON_SET, "nvidia-driver-installer")
    assert (inputs["metadata"]["namespace"], inputs["metadata"]["name"]) == ("kube-system", "nvidia-driver-installer")
    pod = inputs["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "system-node-critical", "let in only in kube-system"
    install, partition = pod["initContainers"]
    assert (install["image"], install["imagePullPolicy"]) == ("cos-nvidia-installer:fixed", "Never")
    assert all(container["securityContext"] == {"privileged": True} for container in (install, partition))
    assert "@sha256:" in partition["image"]
    assert (pod["hostNetwork"], pod["hostPID"], pod["tolerations"]) == (True, True, [{"operator": "Exists"}])
    folders = {volume["name"]: volume["hostPath"]["path"] for volume in pod["volumes"]}
    assert folders == {
        "dev": "/dev",
        "vulkan-icd-mount": "/home/kubernetes/bin/nvidia/vulkan/icd.d",
        "nvidia-install-dir-host": "/home/kubernetes/bin/nvidia",
        "root-mount": "/",
        "cos-tools": "/var/lib/cos-tools",
        "nvidia-config": "/etc/nvidia",
    }
    mounted = {mount["name"] for container in (install, partition) for mount in container["volumeMounts"]}
    assert mounted == set(folders)


def test_a_pool_whose_driver_the_cloud_brings_gets_no_installer() -> None:
    pod: Any = pod_spec("cos", [POOL])
    (term,) = pod["affinity"]["node_affinity"]["required_during_scheduling_ignored_during_execution"]["node_selector_terms"]
    # Only where GKE says that it has not installed one itself: two installers would interfere.
    assert term["match_expressions"] == [
        {"key": "cloud.google.com/gke-accelerator", "operator": "Exists"},
        {"key": "cloud.google.com/gke-gpu-driver-version", "operator": "DoesNotExist"},
        {"key": "triton-fleet/pool", "operator": "In", "values": ["t4"]},
    ]


async def test_each_operating_system_has_an_installer_of_its_own(engine: Monitor) -> None:
    ubuntu = GpuPool(name="u", labels={"p": "u"}, resource="nvidia.com/gpu", units=1, driver="daemonSet", os="ubuntu")
    second = GpuPool(name="v", labels={"p": "v"}, resource="nvidia.com/gpu", units=1, driver="daemonSet", os="ubuntu")
    GpuDriver("gpu-driver", GpuDriverArgs(cluster=cluster(), pools=[ubuntu, POOL, second]))
    await wait_for_rpcs()
    found = {}
    for (_, name), inputs in engine.of(DAEMON_SET).items():
        pod = inputs["spec"]["template"]["spec"]
        terms = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        found[name] = [(term["matchExpressions"][2]["key"], term["matchExpressions"][2]["values"]) for term in terms]
    assert found == {
        "nvidia-driver-installer": [("triton-fleet/pool", ["t4"])],
        "nvidia-driver-installer-ubuntu": [("p", ["u"]), ("p", ["v"])],
    }
    pod = engine.inputs(DAEMON_SET, "nvidia-driver-installer-ubuntu")["spec"]["template"]["spec"]
    (install,) = pod["initContainers"]
    assert (install["image"], install["imagePullPolicy"]) == ("gke-nvidia-installer:fixed", "Never")
    assert {volume["hostPath"]["path"] for volume in pod["volumes"]} == {"/dev", "/boot", "/"}


async def test_no_installer_is_made_up_for_another_system(engine: Monitor) -> None:
    odd = GpuPool(name="w", labels={}, resource="nvidia.com/gpu", units=1, driver="daemonSet", os="windows")
    with pytest.raises(ValueError, match="no installer of the GPU driver for nodes of windows"):
        GpuDriver("gpu-driver", GpuDriverArgs(cluster=cluster(), pools=[odd]))


# ------------------------------------------------------------------------------------------------ dcgm-exporter
def metrics() -> MetricsHandle:
    return MetricsHandle(namespace="monitoring", url=text("http://kps-prometheus.monitoring.svc"), port=9090)


@pytest.mark.parametrize("google", [True, False])
async def test_dcgm_knows_the_cloud_by_the_handle(engine: Monitor, google: bool) -> None:
    args = DcgmExporterArgs(cluster=cluster(google=google), metrics=metrics(), settings=DcgmSettings(), charts=CHARTS)
    DcgmExporter("dcgm", args)
    await wait_for_rpcs()
    values = engine.inputs(RELEASE, "dcgm-exporter")["values"]
    assert ("extraHostVolumes" in values, "nodeSelector" in values) == (google, not google)
    assert bool(engine.of("kubernetes:core/v1:ResourceQuota")) is google


async def test_gke_lets_the_exporters_priority_in(engine: Monitor) -> None:
    DcgmExporter("dcgm", DcgmExporterArgs(cluster=cluster(), metrics=metrics(), settings=DcgmSettings(), charts=CHARTS))
    await wait_for_rpcs()
    quota = engine.inputs("kubernetes:core/v1:ResourceQuota", "dcgm-critical-pods")
    assert quota["metadata"]["namespace"] == "dcgm"
    (requirement,) = quota["spec"]["scopeSelector"]["matchExpressions"]
    assert (requirement["scopeName"], requirement["operator"]) == ("PriorityClass", "In")
    assert "system-node-critical" in requirement["values"]
    # The pods of the release would be refused without.
    assert ("ResourceQuota", "dcgm-critical-pods") in engine.waits(RELEASE, "dcgm-exporter")


# ------------------------------------------------------------------------------------------------ load balancers
@pytest.mark.parametrize(
    ("scheme", "annotations"),
    [
        ("internal", {"networking.gke.io/load-balancer-type": "Internal"}),
        ("internet-facing", {"cloud.google.com/l4-rbs": "enabled"}),
    ],
)
async def test_the_gateway_asks_for_googles_load_balancer(engine: Monitor, scheme: str, annotations: dict[str, str]) -> None:
    here = cluster()
    settings = IstioSettings.model_validate({"kind": "istio", "scheme": scheme, "sourceRanges": ["203.0.113.0/24"]})
    IstioGateway(
        "gateway", IstioGatewayArgs(cluster=here, settings=settings, charts=CHARTS, hops=HOPS, load_balancer=built_in("gke", here.name))
    )
    await wait_for_rpcs()
    service = engine.inputs(RELEASE, "triton-gateway")["values"]["service"]
    assert service["annotations"] == annotations
    assert service["loadBalancerSourceRanges"] == ["203.0.113.0/24"]


async def test_the_settings_annotations_win(engine: Monitor) -> None:
    here = cluster()
    settings = IstioSettings(
        kind="istio",
        annotations={
            "networking.gke.io/load-balancer-type": "External",
            "networking.gke.io/internal-load-balancer-allow-global-access": "true",
        },
    )
    IstioGateway(
        "gateway", IstioGatewayArgs(cluster=here, settings=settings, charts=CHARTS, hops=HOPS, load_balancer=built_in("gke", here.name))
    )
    await wait_for_rpcs()
    annotations = engine.inputs(RELEASE, "triton-gateway")["values"]["service"]["annotations"]
    assert annotations == {
        "networking.gke.io/load-balancer-type": "External",
        "networking.gke.io/internal-load-balancer-allow-global-access": "true",
    }
