"""What add-ons decide about nodes: which pools get a device plugin, who is started where, what holds room."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from components.base.drain import Hops
from components.base.handles import GpuPool
from components.base.versions import KARPENTER, cluster_autoscaler_image
from components.eks.cluster_autoscaler import autoscaler_values
from components.eks.karpenter.controller import gpu_pools, karpenter_values, node_class, node_pool
from components.eks.karpenter.settings import KarpenterPoolSettings, KarpenterSettings
from components.eks.load_balancer import load_balancer_values, service_annotations
from components.eks.settings.addons import ClusterAutoscalerSettings
from components.gpu.device_plugin import gpu_plugin_values, needing, plugin_config
from components.gpu.overprovisioning import PRIORITY, deployment_spec
from components.gpu.settings import GpuPluginSettings, WarmFloorSettings
from components.helm.release import chart_source
from components.helm.settings import ChartSettings

HOPS = Hops.of([(15, 45, 15)])
WHOLE = GpuPool(name="l4", labels={"triton-fleet/pool": "l4"}, resource="nvidia.com/gpu", units=1)
BUNDLED = GpuPool(name="rocket", labels={}, resource="nvidia.com/gpu", units=1, device_plugin="bundled")
MPS = GpuPool(name="mps", labels={}, resource="nvidia.com/gpu", units=2, sharing="mps", replicas=2)
MIG = GpuPool(
    name="mig", labels={"triton-fleet/pool": "mig"}, resource="nvidia.com/mig-1g.10gb", units=7, sharing="mig", mig_strategy="mixed"
)
POOL = KarpenterPoolSettings(name="gpu", max_gpus=8)


def karpenter(**more: object) -> KarpenterSettings:
    return KarpenterSettings.model_validate({"kind": "karpenter", "pools": [POOL], **more})


def test_one_plugin_a_node() -> None:
    """A node whose image brings a plugin must not get a second."""
    values = gpu_plugin_values(GpuPluginSettings(), needing([WHOLE, BUNDLED]))
    (term,) = values["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term == {"matchExpressions": [{"key": "nvidia.com/device-plugin.config", "operator": "In", "values": ["l4"]}]}
    assert values["config"]["map"].keys() == {"default", "l4"}


def test_no_plugin_where_none_is_needed() -> None:
    assert needing([BUNDLED]) == []
    assert needing([WHOLE, BUNDLED, MPS]) == [WHOLE, MPS]


def test_feature_discovery_comes_only_where_it_is_asked_for_or_mps_needs_it() -> None:
    """The chart's MPS daemon waits for a label that only feature discovery sets."""
    assert gpu_plugin_values(GpuPluginSettings(), [WHOLE])["gfd"] == {"enabled": False}
    assert "nfd" not in gpu_plugin_values(GpuPluginSettings(), [WHOLE])
    assert gpu_plugin_values(GpuPluginSettings(), [MPS])["gfd"] == {"enabled": True}
    assert gpu_plugin_values(GpuPluginSettings(feature_discovery=True), [WHOLE])["nfd"]["worker"]["tolerations"] == [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}
    ]


def test_configurations_are_texts_of_the_plugins_own_format() -> None:
    written = gpu_plugin_values(GpuPluginSettings(), [MIG])["config"]["map"]["mig"]
    assert isinstance(written, str)
    assert yaml.safe_load(written) == plugin_config(MIG) == {"version": "v1", "flags": {"migStrategy": "mixed"}}


@pytest.mark.parametrize(("minor", "tag"), [("1.34", "v1.34.5"), ("1.35", "v1.35.0"), ("1.36", "v1.36.0")])
def test_the_cluster_autoscaler_follows_the_cluster(minor: str, tag: str) -> None:
    settings = ClusterAutoscalerSettings(kind="clusterAutoscaler")
    values = autoscaler_values(settings, cluster_name="c", region="r", kubernetes_version=minor, role_arn=None, hops=HOPS)
    assert values["image"]["tag"] == tag == cluster_autoscaler_image(minor)


def test_service_accounts_have_fixed_names_and_a_role_only_where_one_is_given() -> None:
    autoscaler = ClusterAutoscalerSettings(kind="clusterAutoscaler")
    for role in (None, "arn:aws:iam::111122223333:role/r"):
        scaler = autoscaler_values(autoscaler, cluster_name="c", region="r", kubernetes_version="1.35", role_arn=role, hops=HOPS)
        accounts = {
            "cluster-autoscaler": scaler["rbac"]["serviceAccount"],
            "aws-load-balancer-controller": load_balancer_values(cluster_name="c", region="r", vpc_id="v", role_arn=role)["serviceAccount"],
            "karpenter": karpenter_values(cluster_name="c", interruption_queue=None, role_arn=role)["serviceAccount"],
        }
        for name, account in accounts.items():
            assert account["name"] == name
            assert account.get("annotations") == (None if role is None else {"eks.amazonaws.com/role-arn": role})


def test_a_load_balancer_reaches_pods_and_says_where_it_stands() -> None:
    annotations = service_annotations("internal", HOPS)
    assert annotations["service.beta.kubernetes.io/aws-load-balancer-nlb-target-type"] == "ip"
    assert annotations["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    assert service_annotations("internet-facing", HOPS).keys() == annotations.keys()


def test_no_queue_is_no_key() -> None:
    assert "interruptionQueue" not in karpenter_values(cluster_name="c", interruption_queue=None, role_arn=None)["settings"]


def test_karpenters_nodes_are_bounded_and_never_moved_to_save_a_gpu() -> None:
    spec = node_pool(POOL, device_plugin="install")
    assert spec["limits"] == {"nvidia.com/gpu": 8}
    assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty"


def test_bottlerocket_has_its_plugin_and_its_own_data_volume() -> None:
    settings = karpenter(amiAlias="bottlerocket@v1.54.0")
    (pool,) = gpu_pools(settings)
    assert pool.device_plugin == "bundled"
    labels = node_pool(POOL, device_plugin=pool.device_plugin)["template"]["metadata"]["labels"]
    assert "nvidia.com/device-plugin.config" not in labels
    system, device = node_class(POOL, settings, instance_profile="r", cluster_name="c")["blockDeviceMappings"]
    assert (device["deviceName"], device["ebs"]["volumeSize"]) == ("/dev/xvdb", "200Gi")
    assert (system["deviceName"], system["ebs"]["encrypted"]) == ("/dev/xvda", True)


@pytest.mark.parametrize("alias", ["al2023@latest", "al2@v20260715", "bottlerocket", "windows2022@v1"])
def test_a_node_image_that_moves_or_has_no_driver_is_refused(alias: str) -> None:
    with pytest.raises(ValidationError, match="ami_alias"):
        karpenter(amiAlias=alias)


def test_a_chart_from_a_registry_is_one_reference() -> None:
    assert chart_source(KARPENTER, ChartSettings()) == ("oci://public.ecr.aws/karpenter/karpenter", None)


def test_a_floor_holds_what_triton_would_ask_for() -> None:
    spec = deployment_spec(WarmFloorSettings(pool="mig", pods=2), MIG, ["triton:1", "triton:1", "triton:2"])
    assert spec["replicas"] == 2
    pod = spec["template"]["spec"]
    assert pod["nodeSelector"] == {"triton-fleet/pool": "mig"}
    assert pod["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (pause,) = pod["containers"]
    assert pause["resources"]["requests"]["nvidia.com/mig-1g.10gb"] == pause["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == "1"
    assert [(container["image"], container["command"]) for container in pod["initContainers"]] == [
        ("triton:1", ["/bin/true"]),
        ("triton:2", ["/bin/true"]),
    ]
    # No GPU for a pull: with the pause container's it would be asked for twice.
    assert not any("nvidia.com" in key for container in pod["initContainers"] for key in container["resources"]["requests"])


def test_a_placeholder_gives_way_at_once_and_still_brings_nodes() -> None:
    pod = deployment_spec(WarmFloorSettings(pool="l4", pods=1, pre_pull=False), WHOLE, ["triton:1"])["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 0
    assert pod["initContainers"] == []
    assert PRIORITY == -10, "cluster-autoscaler starts no node for pods below its cutoff of -10"
