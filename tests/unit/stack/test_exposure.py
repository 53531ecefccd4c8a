"""What is said about deployments behind load balancers."""

from __future__ import annotations

import copy
from typing import Any

import pulumi
import pytest

from components.base.drain import NLB_TARGETS
from components.existing import kubeconfig
from components.stack import checks
from components.stack.load import parse, warnings

EKS = {"provider": "eks", "name": "c", "region": "eu-west-1", "endpoint": {"publicCidrs": ["203.0.113.0/24"]}}
GKE = {"provider": "gke", "name": "c", "project": "triton-123456", "location": "us-central1"}
ISTIO = {"kind": "istio"}


def stack(**sections: Any) -> dict[str, Any]:
    raw: dict[str, Any] = {
        "repository": {"bucket": "models"},
        "serving": [{"image": "nvcr.io/nvidia/tritonserver:26.07-py3", "resources": {"gpus": 0, "cpu": "1", "memory": "2Gi"}}],
    }
    for key, value in copy.deepcopy(sections).items():
        if key == "serving":
            raw["serving"][0] |= value
        else:
            raw[key] = value
    return raw


def warned(raw: dict[str, Any]) -> set[str]:
    return {str(problem).split(" ", 1)[0] for problem in warnings(parse(raw))}


NLB = {"cluster": EKS, "loadBalancer": {"enabled": True}}
DIRECT = {"service": {"type": "LoadBalancer"}}


@pytest.mark.parametrize(
    ("raw", "keys"),
    [
        (stack(**NLB, serving=DIRECT), {"triton-fleet:serving[0].scaling.minReplicas"}),
        (stack(**NLB, serving={**DIRECT, "scaling": {"minReplicas": 2}}), set()),
        (stack(**NLB, serving={"service": {"type": "NodePort"}}), set()),
        (stack(**NLB, serving={"service": {"type": "LoadBalancer", "annotations": {NLB_TARGETS: "instance"}}}), set()),
        (stack(cluster={"provider": "existing"}, serving=DIRECT), set()),
        (
            stack(cluster={"provider": "existing"}, serving={"service": {"type": "LoadBalancer", "annotations": {NLB_TARGETS: "ip"}}}),
            {"triton-fleet:serving[0].scaling.minReplicas"},
        ),
        (stack(**NLB, ingress={**ISTIO, "minReplicas": 1}), {"triton-fleet:ingress.minReplicas"}),
        (stack(**NLB, ingress=ISTIO), set()),
        (stack(cluster={"provider": "existing"}, ingress={**ISTIO, "minReplicas": 1}), set()),
        (stack(**NLB, ingress=ISTIO, serving={"drain": {"exitTimeout": 3400}}), {"triton-fleet:serving[0].drain.exitTimeout"}),
        (stack(**NLB, ingress=ISTIO, serving={"drain": {"exitTimeout": 3300}}), set()),
        (stack(cluster={"provider": "existing"}, ingress=ISTIO, serving={"drain": {"exitTimeout": 3500}}), set()),
    ],
    ids=str,
)
def test_a_network_load_balancer_takes_minutes(raw: dict[str, Any], keys: set[str]) -> None:
    assert {key for key in warned(raw) if "drain" in key or "minReplicas" in key} == keys


@pytest.mark.parametrize(("served", "said"), [(True, 0), (None, 0), (False, 1)])
def test_an_existing_cluster_without_resource_metrics_is_named(monkeypatch: pytest.MonkeyPatch, served: bool | None, said: int) -> None:
    heard: list[str] = []
    monkeypatch.setattr(kubeconfig, "serves", lambda *_: served)
    monkeypatch.setattr(pulumi.log, "warn", heard.append)
    checks.warn_of_missing_metrics(kubeconfig.Access(path="", context="c", server="https://127.0.0.1", files="", checkable=True))
    assert len(heard) == said
    assert all(text.startswith("triton-fleet:ingress.maxReplicas has no effect") for text in heard)
