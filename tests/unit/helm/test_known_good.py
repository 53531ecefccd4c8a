"""The components' values against values files that were rendered with the publishers' charts: key for key, and each difference named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from components.base.drain import NLB_PODS, Hops
from components.base.handles import GpuPool
from components.eks.cluster_autoscaler import autoscaler_values
from components.eks.karpenter.controller import karpenter_values, node_class, node_pool
from components.eks.karpenter.settings import KarpenterPoolSettings, KarpenterSettings
from components.eks.load_balancer import load_balancer_values, service_annotations
from components.eks.settings.addons import ClusterAutoscalerSettings
from components.gateway.istio import destination_rule_spec, gateway_spec, gateway_values, istiod_values, virtual_service_spec
from components.gateway.settings import IstioSettings
from components.gpu.dcgm_exporter import dcgm_values
from components.gpu.device_plugin import gpu_plugin_values
from components.gpu.settings import DcgmSettings, GpuPluginSettings

FOLDER = Path(__file__).parent / "known_good"
ISTIO = IstioSettings(kind="istio")
HOPS = Hops.of([(15, 45, 15)])


def known(name: str) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return values


def known_objects(name: str) -> dict[str, dict[str, Any]]:
    """Kind -> spec."""
    documents = yaml.safe_load_all((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document["spec"] for document in documents}


def test_device_plugin() -> None:
    pools = (
        GpuPool(name="ts4", labels={}, resource="nvidia.com/gpu", units=4, sharing="timeSlicing", replicas=4),
        GpuPool(name="mps4", labels={}, resource="nvidia.com/gpu", units=4, sharing="mps", replicas=4),
        GpuPool(name="mig-single", labels={}, resource="nvidia.com/gpu", units=7, sharing="mig", mig_strategy="single"),
        GpuPool(name="mig-mixed", labels={}, resource="nvidia.com/mig-1g.10gb", units=7, sharing="mig", mig_strategy="mixed"),
    )
    ours = gpu_plugin_values(GpuPluginSettings(feature_discovery=True), pools)
    theirs = known("nvdp")
    assert {name: yaml.safe_load(text) for name, text in ours["config"].pop("map").items()} == {
        name: yaml.safe_load(text) for name, text in theirs["config"].pop("map").items()
    }
    # Ours besides: only on nodes whose pool has no plugin of its own, and on all of them.
    assert ours.pop("affinity")
    assert ours.pop("tolerations") == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert ours == theirs


def test_dcgm_exporter_on_gke() -> None:
    theirs = known("dcgm-gke")
    # Theirs gives the chart's priority up; ours keeps it, with a quota that lets it in.
    assert theirs.pop("priorityClassName") == ""
    ours = dcgm_values(DcgmSettings(), google=True)
    plain = dcgm_values(DcgmSettings())
    assert {key: ours[key] for key in theirs} == theirs
    # What else differs from other clusters: nothing, but for the label that is GKE's own.
    assert {key for key in ours.keys() | plain.keys() if ours.get(key) != plain.get(key)} - theirs.keys() == {"nodeSelector"}


def test_cluster_autoscaler() -> None:
    ours = autoscaler_values(
        ClusterAutoscalerSettings(kind="clusterAutoscaler"),
        cluster_name="my-cluster",
        region="us-west-2",
        kubernetes_version="1.34",
        role_arn="arn:aws:iam::111122223333:role/ca",
        hops=HOPS,
    )
    theirs = known("ca")
    assert ours.pop("resources")["requests"] == {"cpu": "100m", "memory": "300Mi"}
    assert ours["extraArgs"].pop("skip-nodes-with-local-storage") is False
    assert ours["extraArgs"].pop("max-node-provision-time") == "900s"
    assert ours["extraArgs"].pop("max-graceful-termination-sec") == 600
    assert (ours["extraArgs"].pop("scale-down-unneeded-time"), theirs["extraArgs"].pop("scale-down-unneeded-time")) == ("600s", "10m")
    assert ours == theirs


def test_load_balancer_controller() -> None:
    ours = load_balancer_values(cluster_name="my-cluster", region="us-west-2", vpc_id="vpc-0123", role_arn=None)
    assert ours == known("lbc")


def test_karpenter() -> None:
    ours = karpenter_values(cluster_name="my-cluster", interruption_queue="my-cluster", role_arn=None)
    # Karpenter's own example asks for a CPU each: half of two small nodes.
    resources = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}
    assert ours == {**known("karpenter"), "controller": {"resources": resources}}


def test_karpenter_objects() -> None:
    theirs = known_objects("karpenter-objects")
    pool = KarpenterPoolSettings(name="gpu", max_gpus=8)
    settings = KarpenterSettings(kind="karpenter", pools=(pool,))
    ours = node_class(pool, settings, instance_profile="nodes", cluster_name="my-cluster")
    # Ours makes no profile out of a role: it names one.
    assert (ours.pop("instanceProfile"), theirs["EC2NodeClass"].pop("role")) == ("nodes", "KarpenterNodeRole-my-cluster")
    # Ours besides: layers are pulled in parallel, onto a disk that keeps up.
    assert "FastImagePull: true" in ours.pop("userData")
    (disk,) = ours["blockDeviceMappings"]
    assert (disk["ebs"].pop("iops"), disk["ebs"].pop("throughput")) == (3000, 600)
    # Ours besides: no pod takes the node's role.
    assert ours.pop("metadataOptions") == {"httpEndpoint": "enabled", "httpPutResponseHopLimit": 1, "httpTokens": "required"}
    assert ours == theirs["EC2NodeClass"]

    nodes = node_pool(pool, device_plugin="install")
    labels = nodes["template"]["metadata"].pop("labels")
    assert labels == {"nvidia.com/gpu.present": "true", "triton-fleet/pool": "gpu", "nvidia.com/device-plugin.config": "gpu"}
    assert theirs["NodePool"]["template"]["metadata"].pop("labels").items() <= labels.items()
    assert (nodes["disruption"].pop("consolidateAfter"), theirs["NodePool"]["disruption"].pop("consolidateAfter")) == ("600s", "10m")
    # One value of the taint on all kinds of nodes, those of node groups too.
    assert nodes["template"]["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    theirs["NodePool"]["template"]["spec"]["taints"][0]["value"] = "present"
    # Ours besides: no node goes because of its age.
    assert nodes["template"]["spec"].pop("expireAfter") == "Never"
    assert nodes == theirs["NodePool"]


def test_istiod() -> None:
    ours = istiod_values(HOPS)
    # Ours besides: a sidecar lasts as long as Triton's drain.
    assert ours["meshConfig"]["defaultConfig"].pop("terminationDrainDuration") == "60s"
    assert ours == known("istiod")


def test_istio_gateway() -> None:
    annotations = service_annotations("internal", HOPS)
    theirs = known("istio-gateway")
    # Ours besides: what follows from the drain (tests/unit/gateway/test_chain.py).
    timed = {key: value for key, value in annotations.items() if key.endswith("attributes") or "listener" in key}
    assert len(timed) == 3
    ours = gateway_values(ISTIO, {key: value for key, value in annotations.items() if key not in timed}, HOPS, NLB_PODS)
    for key in ("lifecycle", "podAnnotations", "terminationGracePeriodSeconds", "strategy"):
        assert ours.pop(key)
    # Metrics stay inside, and a drained node takes one gateway pod at a time.
    theirs["service"]["ports"] = [port for port in theirs["service"]["ports"] if port["port"] != 8002]
    assert ours.pop("podDisruptionBudget") == {"maxUnavailable": 1}
    assert ours == theirs


def test_istio_objects() -> None:
    service = "triton.triton.svc.cluster.local"
    theirs = known_objects("istio-objects")
    assert gateway_spec(("*",)) == theirs["Gateway"]
    # Theirs lets every path through, cuts requests at 30 s, and retries what a model may have computed: ours does not.
    route, known_route = virtual_service_spec("triton", service, ("*",)), theirs["VirtualService"]
    destinations = {str(one["route"]) for one in route.pop("http") if "route" in one}
    assert destinations == {str(one["route"]) for one in known_route.pop("http")}
    assert route == known_route
    # Theirs limits requests in flight, and ejects pods for the errors of their models.
    rule, known_rule = destination_rule_spec(service, ISTIO), theirs["DestinationRule"]
    for spec in (rule, known_rule):
        for key in ("connectionPool", "outlierDetection"):
            assert spec["trafficPolicy"].pop(key)
    assert rule == known_rule
