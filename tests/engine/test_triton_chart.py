"""charts/triton as a stack applies it and as `helm template` renders it: the same objects, field by field."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pulumi_kubernetes as k8s
import pytest
import yaml

from components.serving.settings import ServingSettings
from components.serving.values import ModelRepositoryValues, chart_values
from local.plugins.kubernetes.naming import Kind
from tests.conftest import ROOT
from tests.engine.kubelet import give_endpoints, kubelet, ready

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plugins.kubernetes.client import Client
    from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

CHART = ROOT / "charts" / "triton"
# Names and values that YAML would read as something else belong to it: "on", "YES", "1".
RELEASE = "0123456789abcdef" * 4
ENTRIES: tuple[dict[str, Any], ...] = (
    {"name": "plain", "image": "registry.example/triton:1", "models": ["a"], "resources": {"gpus": 0, "cpu": "250m", "memory": "1.0Gi"}},
    {
        "name": "on",
        "image": "registry.example/triton:1",
        "resources": {"gpus": 1, "cpu": "1500m"},
        "service": {"type": "NodePort", "httpNodePort": 30800, "grpcNodePort": 30801},
        "prefetch": {"enabled": True, "image": "registry.example/copier:1"},
        "env": {"OMP_NUM_THREADS": "1", "EMPTY": "", "YES": "yes"},
        "nodeSelector": {"pool": "gpu"},
        "imagePullSecrets": ["registry"],
        "drain": {"preStop": "5s", "exitTimeout": "20s", "recycleGrpc": False},
        "scaling": {"minReplicas": 1, "maxReplicas": 3},
    },
)


def values(entry: dict[str, Any]) -> dict[str, Any]:
    return chart_values(
        ServingSettings.model_validate({**entry, "admin": {"keySecret": "admin"}}),
        ModelRepositoryValues(url=f"s3://models/releases/{RELEASE}", release=RELEASE, region="eu-west-1", credentials_secret="credentials"),
        annotations={"eks.amazonaws.com/role-arn": "arn:aws:iam::000000000000:role/x"},
        sizes={"a": 1000},
        needs={"a": ()},
    ).dump()


def rendered(entry: dict[str, Any], space: str) -> list[dict[str, Any]]:
    """What Helm makes of the chart, without us."""
    command = ["helm", "template", entry["name"], str(CHART), "--namespace", space, "--values", "-"]
    text = subprocess.run(command, check=True, capture_output=True, text=True, input=json.dumps(values(entry))).stdout
    return [item for item in yaml.safe_load_all(text) if item]


def identity(item: dict[str, Any]) -> tuple[str, str, str]:
    return item["apiVersion"], item["kind"], item["metadata"]["name"]


@pytest.mark.usefixtures("pod_monitors")
def test_what_is_applied_is_what_helm_renders(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        for entry in ENTRIES:
            k8s.helm.v4.Chart(entry["name"], chart=str(CHART), name=entry["name"], namespace=space, values=values(entry))

    it = stack(program)
    for entry in ENTRIES:
        give_endpoints(kube, space, entry["name"])
    with kubelet(kube, space, ready):
        it.up()
    wanted = {identity(item): item for entry in ENTRIES for item in rendered(entry, space)}
    assert {kind for _, kind, _ in wanted} >= {
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "PodMonitor",
        "NetworkPolicy",
    }
    # What the plugin was given, as its state has it: no object more, none less, each as Helm wrote it.
    state = json.loads(it.state.read_text())["checkpoint"]["latest"]["resources"]
    applied = {identity(item["inputs"]): item["inputs"] for item in state if item["custom"] and "kind" in item.get("inputs", {})}
    assert applied == wanted
    # And as the API server has it, in its own spelling (1.0Gi is 1Gi there): Helm's text, applied by somebody else, would change nothing.
    for (version, kind, name), item in wanted.items():
        group, _, number = version.rpartition("/")
        live = kube.get(Kind(group, number, kind), space, name)
        again = kube.apply(Kind(group, number, kind), item, manager="helm", force=True, dry_run=True)
        for one in (live, again):
            del one["metadata"]["managedFields"], one["metadata"]["resourceVersion"]
            one.pop("status", None)
        assert again == live, (kind, name)
    # Kubernetes' garbage collector looks for new kinds every half a minute; what is deleted with it in charge would wait for that.
    for _, kind, name in wanted:
        if kind == "PodMonitor":
            kube.delete(Kind("monitoring.coreos.com", "v1", kind), space, name, propagation="Background")
