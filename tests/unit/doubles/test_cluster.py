"""The pure parts of the cluster that stands in for a cloud's."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.doubles.cluster import nodes
from tests.doubles.cluster.answers import METRICS, metrics, review
from tests.doubles.cluster.control_plane import stages
from tests.doubles.eks import access
from tests.doubles.eks.component import check, cni_configuration

STAGES = Path(nodes.__file__).with_name("stages.yaml")
GROUP: dict[str, Any] = {
    "group": "tri:Gpu_1a2b",
    "machine": "g4dn.12xlarge",
    "count": 2,
    "labels": {"triton-fleet/pool": "gpu", "nvidia.com/device-plugin.config": "gpu"},
    "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
    "zones": ["eu-west-1a", "eu-west-1b"],
    "capacity": {"cpu": "48", "memory": "192Gi", "pods": "250", "nvidia.com/gpu": "4"},
}
ARGUMENTS: dict[str, Any] = {
    "name": "c",
    "subnetIds": ["subnet-1"],
    "authenticationMode": "API",
    "createOidcProvider": False,
    "createInstanceRole": False,
    "skipDefaultNodeGroup": True,
    "skipDefaultSecurityGroups": True,
    "providerCredentialOpts": {},
}


def test_a_group_s_nodes() -> None:
    first, second = nodes.node_objects(nodes.Group.parse(GROUP))
    assert [first["metadata"]["name"], second["metadata"]["name"]] == ["tri-gpu-1a2b-0", "tri-gpu-1a2b-1"]
    assert first["metadata"]["labels"]["triton-fleet/pool"] == "gpu"
    assert first["spec"]["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]
    assert "nvidia.com/gpu" not in first["status"]["allocatable"], "the device plugin brings them"
    assert nodes.wants_plugin(first)
    first["status"]["capacity"] = {"nvidia.com/gpu": "4"}
    assert not nodes.wants_plugin(first)


def test_an_image_with_a_plugin_of_its_own_has_gpus_at_once() -> None:
    (node, _) = nodes.node_objects(nodes.Group.parse({**GROUP, "labels": {"triton-fleet/pool": "gpu"}}))
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"


def test_every_stage_is_of_nodes_or_pods() -> None:
    stages = list(yaml.safe_load_all(STAGES.read_text(encoding="utf-8")))
    assert {stage["metadata"]["name"] for stage in stages} == {"node-ready", "node-heartbeat", "pod-ready", "pod-complete", "pod-delete"}
    assert {stage["spec"]["resourceRef"]["kind"] for stage in stages} == {"Node", "Pod"}


def test_pods_may_take_their_time() -> None:
    made = list(yaml.safe_load_all(stages(STAGES.read_text(encoding="utf-8"), {"": 1.5, "triton": 20})))
    delays = {stage["metadata"]["name"]: stage["spec"].get("delay") for stage in made}
    assert delays["pod-ready"] == {"durationMilliseconds": 1500}
    assert delays["pod-ready-triton"] == {"durationMilliseconds": 20000}
    operators = [
        stage["spec"]["selector"]["matchExpressions"][-1]["operator"] for stage in made if "ready-triton" in stage["metadata"]["name"]
    ]
    assert operators == ["In"]
    assert "delay" not in next(iter(yaml.safe_load_all(stages(STAGES.read_text(encoding="utf-8"), {}))))["spec"]


def test_a_review_is_allowed_under_its_own_number() -> None:
    answer = review({"apiVersion": "admission.k8s.io/v1", "request": {"uid": "u1"}})
    assert answer["response"] == {"uid": "u1", "allowed": True}


def test_metrics_of_an_object_are_zero() -> None:
    found = metrics(f"{METRICS}/namespaces/triton/services/dcgm-exporter/DCGM_FI_DEV_GPU_UTIL?x=1")
    assert found is not None
    (item,) = found["items"]
    assert item["describedObject"] == {"kind": "Service", "namespace": "triton", "name": "dcgm-exporter"}
    assert item["value"] == "0"
    of_pods = metrics(f"{METRICS}/namespaces/triton/pods/*/avg_time_queue_us")
    assert of_pods is not None
    assert of_pods["items"] == []
    listing = metrics(METRICS)
    assert listing is not None
    assert listing["kind"] == "APIResourceList"
    assert metrics("/apis/other") is None


def test_the_kubeconfig_and_its_command(tmp_path: Path) -> None:
    (tmp_path / access.CLUSTER_FILE).write_text(json.dumps({"server": "https://127.0.0.1:1", "authority": "eA=="}))
    config = access.eks_kubeconfig(tmp_path, name="tri", region="us-west-2")
    command = config["users"][0]["user"]["exec"]
    assert [command["command"], *command["args"][:6]] == ["aws", "--region", "us-west-2", "eks", "get-token", "--cluster-name", "tri"]
    access.write_aws_command(tmp_path / "bin", tmp_path)
    assert (tmp_path / "bin" / "aws").stat().st_mode & stat.S_IXUSR


def test_the_component_takes_what_triton_fleet_passes() -> None:
    check(ARGUMENTS)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"nodeGroupOptions": {}}, "nodeGroupOptions"),
        ({"skipDefaultNodeGroup": None}, "skipDefaultNodeGroup"),
        ({"authenticationMode": "CONFIG_MAP"}, "authenticationMode"),
        ({"publicAccessCidrs": ["10.0.0.0/8"], "endpointPublicAccess": False}, "publicAccessCidrs"),
        ({"providerCredentialOpts": None}, "providerCredentialOpts"),
    ],
)
def test_the_component_refuses(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        check({**ARGUMENTS, **change})


def test_the_network_add_on_s_environment() -> None:
    options = {"addonVersion": "v1", "enablePrefixDelegation": True, "warmPrefixTarget": 1.0, "logLevel": "INFO"}
    assert json.loads(cni_configuration(options))["env"] == {
        "WARM_ENI_TARGET": "1",
        "WARM_PREFIX_TARGET": "1",
        "ENABLE_PREFIX_DELEGATION": "true",
        "AWS_VPC_K8S_CNI_LOGLEVEL": "INFO",
    }
    assert json.loads(cni_configuration({**options, "enableNetworkPolicy": True}))["enableNetworkPolicy"] == "true"
    with pytest.raises(ValueError, match="enablePodEni"):
        cni_configuration({**options, "enablePodEni": True})
