"""The add-ons of an EKS cluster with the SDK's mocks: names, charts, and above all what waits for what, on the way up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.base import versions
from components.base.drain import Hops
from components.base.handles import AwsAccess, ClusterHandle, GpuPool, MetricsHandle, ServingHandle
from components.eks.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.eks.karpenter.controller import Karpenter, KarpenterArgs
from components.eks.karpenter.settings import KarpenterSettings
from components.eks.load_balancer import LoadBalancerController, LoadBalancerControllerArgs
from components.eks.settings.addons import ClusterAutoscalerSettings
from components.gateway.istio import IstioGateway, IstioGatewayArgs, IstioRoute, IstioRouteArgs
from components.gateway.settings import IstioSettings
from components.gpu.device_plugin import GpuPlugin, GpuPluginArgs
from components.gpu.overprovisioning import Placeholders, PlaceholdersArgs
from components.gpu.settings import GpuPluginSettings, WarmFloorSettings
from components.helm.settings import ChartSettings
from components.monitoring.observability import Observability, ObservabilityArgs
from components.monitoring.settings import AlertSettings
from components.serving.scaling import metric_panels, watched
from components.serving.settings import ServingSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from components.base.versions import ChartPin
    from tests.components.conftest import Recorder

RELEASE = "kubernetes:helm.sh/v3:Release"
HOPS = Hops.of([(15, 45, 15)])
CHARTS = ChartSettings()
POOL = GpuPool(name="l4", labels={"triton-fleet/pool": "l4"}, resource="nvidia.com/gpu", units=1)


async def resolved(output: pulumi.Output[Any]) -> Any:
    future: Awaitable[Any] = output.future()
    return await future


def text(value: str) -> pulumi.Output[str]:
    return pulumi.Output.from_input(value)


def cluster() -> ClusterHandle:
    return ClusterHandle(name=text("tri"), provider=k8s.Provider("cluster", kubeconfig="{}"), gpu_pools=(POOL,))


def aws(**more: pulumi.Output[str]) -> AwsAccess:
    return AwsAccess(region=text("us-west-2"), vpc_id=text("vpc-1"), kubernetes_version="1.35", **more)


def release(recorder: Recorder, name: str, pin: ChartPin, namespace: str) -> dict[str, Any]:
    """Inputs of a release, after a look at what all of them have in common."""
    inputs = recorder.inputs[name]
    chart = f"{pin.repository}/{pin.name}" if pin.repository.startswith("oci://") else pin.name
    assert (inputs["name"], inputs["chart"], inputs["version"], inputs["namespace"]) == (name, chart, pin.version, namespace)
    assert (inputs["atomic"], inputs["createNamespace"]) == (True, False)
    return dict(inputs["values"])


async def test_the_device_plugin(recorder: Recorder) -> None:
    GpuPlugin("gpu-plugin", GpuPluginArgs(cluster=cluster(), settings=GpuPluginSettings(), charts=CHARTS, pools=(POOL,)))
    await pulumi.runtime.stack.wait_for_rpcs()
    values = release(recorder, "nvidia-device-plugin", versions.NVIDIA_DEVICE_PLUGIN, "nvidia-device-plugin")
    assert values["config"]["default"] == "default"
    # The namespace has the release's name; a release can't wait for itself.
    assert "nvidia-device-plugin" in recorder.dependencies("nvidia-device-plugin")


@pytest.mark.parametrize("role", [None, "arn:aws:iam::111122223333:role/ca"])
async def test_the_cluster_autoscaler(recorder: Recorder, role: str | None) -> None:
    access = aws() if role is None else aws(autoscaler_role_arn=text(role))
    settings = ClusterAutoscalerSettings(kind="clusterAutoscaler")
    component = ClusterAutoscaler(
        "autoscaler", ClusterAutoscalerArgs(cluster=cluster(), aws=access, settings=settings, charts=CHARTS, hops=HOPS)
    )
    assert await resolved(component.ready) == "cluster-autoscaler"
    values = release(recorder, "cluster-autoscaler", versions.CLUSTER_AUTOSCALER, "kube-system")
    assert (values["autoDiscovery"], values["awsRegion"]) == ({"clusterName": "tri"}, "us-west-2")
    assert values["rbac"]["serviceAccount"].get("annotations", {}).get("eks.amazonaws.com/role-arn") == role


async def test_node_pools_are_gone_before_karpenter(recorder: Recorder) -> None:
    """A destroy goes backwards: pools, then classes (whose finalizer waits for the last node), then Karpenter, then its kinds."""
    settings = KarpenterSettings.model_validate({"kind": "karpenter", "pools": [{"name": "gpu", "maxGpus": 8}]})
    access = aws(karpenter_instance_profile=text("nodes"), interruption_queue=text("queue"))
    component = Karpenter("karpenter-addon", KarpenterArgs(cluster=cluster(), aws=access, settings=settings, charts=CHARTS))
    await pulumi.runtime.stack.wait_for_rpcs()
    assert "ec2nodeclass-gpu" in recorder.dependencies("nodepool-gpu")
    assert "karpenter" in recorder.dependencies("ec2nodeclass-gpu")
    assert "karpenter-crd" in recorder.dependencies("karpenter")
    assert release(recorder, "karpenter", versions.KARPENTER, "kube-system")["settings"] == {
        "clusterName": "tri",
        "interruptionQueue": "queue",
    }
    assert recorder.inputs["karpenter"]["skipCrds"] is True, "one owner of the kinds"
    release(recorder, "karpenter-crd", versions.KARPENTER_CRD, "kube-system")
    assert recorder.inputs["ec2nodeclass-gpu"]["spec"]["instanceProfile"] == "nodes"
    assert recorder.inputs["ec2nodeclass-gpu"]["spec"]["subnetSelectorTerms"] == [{"tags": {"karpenter.sh/discovery": "tri"}}]
    assert recorder.inputs["nodepool-gpu"]["apiVersion"] == "karpenter.sh/v1"
    assert [pool.name for pool in component.pools] == ["gpu"]
    assert await resolved(component.ready) == "karpenter"
    brought = {resource._name for resource in await component.ready.resources()}
    assert {"karpenter", "nodepool-gpu"} <= brought, "what runs on its nodes is gone before they are drained"


async def test_karpenter_without_a_profile_for_nodes_is_a_mistake_of_the_program(recorder: Recorder) -> None:
    settings = KarpenterSettings.model_validate({"kind": "karpenter", "pools": [{"name": "gpu", "maxGpus": 8}]})
    with pytest.raises(ValueError, match="no instance profile for its nodes"):
        Karpenter("karpenter-addon", KarpenterArgs(cluster=cluster(), aws=aws(), settings=settings, charts=CHARTS))
    await pulumi.runtime.stack.wait_for_rpcs()


async def test_what_asks_for_a_load_balancer_comes_after_the_controller(recorder: Recorder) -> None:
    """And so goes before it: a load balancer that outlives its controller keeps the network from being deleted."""
    here = cluster()
    controller = LoadBalancerController("lb", LoadBalancerControllerArgs(cluster=here, aws=aws(), charts=CHARTS, hops=HOPS))
    settings = IstioSettings(kind="istio")
    IstioGateway("gateway", IstioGatewayArgs(cluster=here, settings=settings, charts=CHARTS, hops=HOPS, load_balancer=controller.handle))
    await pulumi.runtime.stack.wait_for_rpcs()
    values = release(recorder, "aws-load-balancer-controller", versions.LOAD_BALANCER_CONTROLLER, "kube-system")
    assert (values["vpcId"], values["region"], values["clusterName"]) == ("vpc-1", "us-west-2", "tri")
    assert "aws-load-balancer-controller" in recorder.dependencies("triton-gateway")
    annotations = recorder.inputs["triton-gateway"]["values"]["service"]["annotations"]
    assert annotations["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"


@pytest.mark.parametrize("injection", [False, True])
async def test_istio_from_base_to_route(recorder: Recorder, injection: bool) -> None:
    here = cluster()
    settings = IstioSettings(kind="istio", injection=injection)
    gateway = IstioGateway("gateway", IstioGatewayArgs(cluster=here, settings=settings, charts=CHARTS, hops=HOPS)).handle
    serving = ServingHandle(name="triton", namespace="models", service=text("triton.models.svc.cluster.local"), admin_secret="triton-admin")
    IstioRoute("triton-route", IstioRouteArgs(cluster=here, gateway=gateway, serving=serving, settings=settings))
    await pulumi.runtime.stack.wait_for_rpcs()

    release(recorder, "istio-base", versions.ISTIO_BASE, "istio-system")
    release(recorder, "istiod", versions.ISTIOD, "istio-system")
    release(recorder, "triton-gateway", versions.ISTIO_GATEWAY, "istio-ingress")
    assert "istio-base" in recorder.dependencies("istiod")
    assert {"istiod", "istio-ingress"} <= recorder.dependencies("triton-gateway")
    for kind in ("gateway", "virtualservice", "destinationrule"):
        assert "triton-gateway" in recorder.dependencies(f"triton-route-{kind}")
        assert recorder.inputs[f"triton-route-{kind}"]["metadata"]["namespace"] == "models"
    assert recorder.inputs["triton-route-destinationrule"]["spec"]["host"] == "triton.models.svc.cluster.local"

    labels = {key: await resolved(value) for key, value in gateway.injection.items()}
    assert labels == ({"istio-injection": "enabled"} if injection else {})
    for value in gateway.injection.values():  # no pod before the one that injects: it would run without a sidecar
        assert {resource._name for resource in await value.resources()} == {"istiod"}
    assert "istio-injection" not in recorder.inputs["istio-ingress"]["metadata"]["labels"]


async def test_placeholders_come_after_what_starts_nodes(recorder: Recorder) -> None:
    here = cluster()
    settings = ClusterAutoscalerSettings(kind="clusterAutoscaler")
    autoscaler = ClusterAutoscaler(
        "autoscaler", ClusterAutoscalerArgs(cluster=here, aws=aws(), settings=settings, charts=CHARTS, hops=HOPS)
    )
    floors = [WarmFloorSettings(pool="l4", pods=2)]
    args = PlaceholdersArgs(cluster=here, floors=floors, pools=here.gpu_pools, images=["triton:1"], autoscaler=autoscaler.ready)
    Placeholders("placeholders-addon", args)
    await pulumi.runtime.stack.wait_for_rpcs()
    assert {"placeholders", "triton-fleet-placeholder", "cluster-autoscaler"} <= recorder.dependencies("placeholder-l4")
    priority = recorder.inputs["triton-fleet-placeholder"]
    assert (priority["value"], priority["preemptionPolicy"], priority["globalDefault"]) == (-10, "Never", False)
    deployment = recorder.inputs["placeholder-l4"]
    assert deployment["metadata"]["annotations"] == {"pulumi.com/skipAwait": "true"}
    assert deployment["spec"]["template"]["spec"]["priorityClassName"] == "triton-fleet-placeholder"
    assert deployment["spec"]["selector"]["matchLabels"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(("alerts", "dashboard"), [(True, False), (False, True), (True, True)])
async def test_dashboard_and_alerts(recorder: Recorder, alerts: bool, dashboard: bool) -> None:
    metrics = MetricsHandle(namespace="monitoring", url=text("http://kps"), port=9090)
    serving = [ServingSettings(image="x")]
    Observability(
        "observability",
        ObservabilityArgs(
            cluster=cluster(),
            metrics=metrics,
            deployments=[watched(entry, serving) for entry in serving],
            panels=metric_panels(serving),
            alerts=AlertSettings() if alerts else None,
            dashboard=dashboard,
        ),
    )
    await pulumi.runtime.stack.wait_for_rpcs()
    assert ("observability-alerts" in recorder.requests, "observability-dashboard" in recorder.requests) == (alerts, dashboard)
    if dashboard:
        board = recorder.inputs["observability-dashboard"]
        assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert board["metadata"]["namespace"] == "monitoring"
        assert board["data"].keys() == {"triton-fleet.json"}
    if alerts:
        rule = recorder.inputs["observability-alerts"]
        assert (rule["kind"], rule["metadata"]["namespace"]) == ("PrometheusRule", "monitoring")
        assert rule["spec"]["groups"]
