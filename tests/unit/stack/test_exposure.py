"""What is said about deployments behind load balancers."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pulumi
import pytest

from components.base.drain import NLB_TARGETS
from components.base.errors import FleetError
from components.base.load_balancers import ANNOTATIONS, Maker, made, maker
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
SPOT = {**NLB, "cluster": {**EKS, "gpuPools": [{"name": "gpu", "machineType": "g6.xlarge", "capacity": "spot", "min": 2, "max": 2}]}}
SHORT = {"resources": {"cpu": "1", "memory": "4Gi"}, "scaling": {"minReplicas": 2, "maxReplicas": 2}}
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
        (stack(**SPOT, serving={**DIRECT, **SHORT}), {"triton-fleet:serving[0].service"}),
        (stack(**SPOT, serving={**SHORT, "service": {"type": "NodePort"}}), set()),
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
    assert {key for key in warned(raw) if "drain" in key or "minReplicas" in key or key.endswith(".service")} == keys


@pytest.mark.parametrize(
    ("raw", "drain"),
    [
        (stack(**NLB), 60),
        (stack(**NLB, serving=DIRECT), 225),
        (stack(cluster={"provider": "existing"}, serving=DIRECT), 60),
        (stack(**NLB, serving={**DIRECT, "drain": {"preStop": 300, "exitTimeout": 10}}), 310),
    ],
)
def test_the_hops_know_the_hook_that_the_pods_have(raw: dict[str, Any], drain: int) -> None:
    assert parse(raw).hops.pod_drain == drain


@pytest.mark.parametrize(("served", "said"), [(True, 0), (None, 0), (False, 1)])
def test_an_existing_cluster_without_resource_metrics_is_named(monkeypatch: pytest.MonkeyPatch, served: bool | None, said: int) -> None:
    heard: list[str] = []
    monkeypatch.setattr(kubeconfig, "serves", lambda *_: served)
    monkeypatch.setattr(pulumi.log, "warn", heard.append)
    checks.warn_of_missing_metrics(kubeconfig.Access(path="", context="c", server="https://127.0.0.1", files="", checkable=True))
    assert len(heard) == said
    assert all(text.startswith("triton-fleet:ingress.maxReplicas has no effect") for text in heard)


AWS = "service.beta.kubernetes.io/aws-load-balancer"
GOOGLE = "networking.gke.io/load-balancer-type"
ON_GKE: dict[str, Any] = {
    "cluster": {"provider": "gke", "project": "triton-123456", "region": "us-central1", "endpoint": {"publicCidrs": ["203.0.113.0/24"]}},
    "repository": {"store": "gcs", "bucket": "models"},
}
CLUSTERS: dict[str, dict[str, Any]] = {
    "eks": {"cluster": EKS},
    "eks with the controller": NLB,
    "gke": ON_GKE,
    "existing": {"cluster": {"provider": "existing"}},
}
RANGES = ["203.0.113.0/24"]
PUBLIC = {"scheme": "internet-facing", "sourceRanges": RANGES}


def test_the_page_has_the_table() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "components" / "load-balancer.md").read_text()
    for by in ("eks", "awsController", "gke"):
        for key, value in (pair for asked in ANNOTATIONS[by].values() for pair in asked.items()):
            short = key.removeprefix("service.beta.kubernetes.io/")
            assert any(f"`{short}: {text}`" in page for text in (value, f'"{value}"')) or value == "internet-facing", key


@pytest.mark.parametrize("by", ANNOTATIONS)
def test_what_a_stack_asks_for_is_what_the_controller_makes(by: Maker) -> None:
    assert made(by, ANNOTATIONS[by]["internal"]) == "internal"
    assert made(by, ANNOTATIONS[by]["internet-facing"]) == (None if by == "unknown" else "internet-facing")
    assert maker("eks" if by == "awsController" else by, ANNOTATIONS[by]["internal"]) == by


@pytest.mark.parametrize(
    ("by", "annotations", "scheme"),
    [
        ("eks", {}, "internet-facing"),
        ("eks", {f"{AWS}-internal": "0.0.0.0/0"}, "internal"),
        ("eks", {f"{AWS}-internal": "false"}, "internet-facing"),
        ("eks", {f"{AWS}-scheme": "internal"}, "internet-facing"),
        ("eks", {GOOGLE: "Internal"}, "internet-facing"),
        ("awsController", {}, "internal"),
        ("awsController", {f"{AWS}-internal": "true"}, "internal"),
        ("awsController", {f"{AWS}-internal": "false"}, "internet-facing"),
        ("awsController", {f"{AWS}-scheme": "internet-facing", f"{AWS}-internal": "true"}, "internet-facing"),
        ("gke", {}, "internet-facing"),
        ("gke", {"cloud.google.com/load-balancer-type": "internal"}, "internal"),
        ("gke", {f"{AWS}-internal": "true"}, "internet-facing"),
        ("unknown", {}, None),
        ("unknown", {"service.beta.kubernetes.io/azure-load-balancer-internal": "true"}, "internal"),
        ("unknown", {f"{AWS}-scheme": "internet-facing"}, "internet-facing"),
    ],
)
def test_what_each_controller_makes_of_annotations(by: Maker, annotations: dict[str, str], scheme: str | None) -> None:
    assert made(by, annotations) == scheme


def both(cluster: str, fields: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """The stack with these fields at a serving entry's Service, and at the gateway's."""
    sections = CLUSTERS[cluster]
    return [
        ("serving[0].service", stack(**sections, serving={"service": {"type": "LoadBalancer", **fields}})),
        ("ingress", stack(**sections, ingress={**ISTIO, **fields})),
    ]


@pytest.mark.parametrize("cluster", CLUSTERS)
@pytest.mark.parametrize("fields", [{}, PUBLIC], ids=["internal", "public"])
def test_each_cluster_honours_both_schemes(cluster: str, fields: dict[str, Any]) -> None:
    for key, raw in both(cluster, fields):
        wanted = {f"triton-fleet:{key}.scheme"} if cluster == "existing" and not fields else set()
        assert {text for text in warned(raw) if "minReplicas" not in text} == wanted


@pytest.mark.parametrize(
    ("cluster", "fields", "at", "says"),
    [
        (
            "eks",
            {"annotations": {f"{AWS}-internal": "false"}},
            "annotations",
            "makes the load balancer internet-facing",
        ),
        (
            "eks",
            {"annotations": {f"{AWS}-type": "external"}},
            "annotations",
            "Set loadBalancer.enabled to true",
        ),
        ("eks", {"annotations": {f"{AWS}-type": "nlb-ip"}}, "annotations", "nothing would create a load balancer"),
        ("eks", {**PUBLIC, "annotations": {f"{AWS}-internal": "true"}}, "annotations", "set scheme to internal"),
        ("eks with the controller", {"annotations": {f"{AWS}-scheme": "internet-facing"}}, "annotations", "set scheme to internet-facing"),
        ("eks with the controller", {"annotations": {f"{AWS}-type": "nlb"}}, "annotations", "makes the load balancer internet-facing"),
        ("gke", {"annotations": {GOOGLE: "External"}}, "annotations", "makes the load balancer internet-facing"),
        ("gke", {**PUBLIC, "annotations": {GOOGLE: "Internal"}}, "annotations", "makes the load balancer internal"),
        ("existing", {"annotations": {f"{AWS}-scheme": "internet-facing"}}, "annotations", "makes the load balancer internet-facing"),
        *((cluster, {"scheme": "internet-facing"}, "sourceRanges", "anyone could use its GPUs") for cluster in CLUSTERS),
        ("gke", {"sourceRanges": ["everywhere"]}, "sourceRanges[0]", "network"),
    ],
)
def test_a_load_balancer_that_would_be_another_is_refused(cluster: str, fields: dict[str, Any], at: str, says: str) -> None:
    for key, raw in both(cluster, fields):
        with pytest.raises(FleetError) as caught:
            parse(raw)
        (problem,) = map(str, caught.value.problems)
        assert problem.startswith(f"triton-fleet:{key}.{at} ")
        assert says in problem


def test_what_a_service_without_load_balancer_would_ignore() -> None:
    raw = stack(cluster={"provider": "existing"}, serving={"service": {"scheme": "internet-facing"}})
    assert warned(raw) == {"triton-fleet:serving[0].service.scheme"}
    with pytest.raises(FleetError, match=r"service.sourceRanges would be ignored: a ClusterIP Service has no load balancer"):
        parse(stack(serving={"service": {"sourceRanges": RANGES}}))


def test_a_public_load_balancer_shows_clients_endpoints_only() -> None:
    service = {"type": "LoadBalancer", **PUBLIC}
    with pytest.raises(FleetError, match=r"serving\[0\].admin.open opens statistics, trace although service.scheme is internet-facing"):
        parse(stack(cluster=EKS, serving={"service": service, "admin": {"open": ["statistics", "trace"]}}))
    metrics = stack(cluster=EKS, serving={"service": {**service, "exposeMetrics": True}})
    assert warned(metrics) == {"triton-fleet:serving[0].service.exposeMetrics"}
    inside = {"service": {"type": "LoadBalancer", "exposeMetrics": True}, "admin": {"open": ["statistics"]}}
    assert warned(stack(cluster=EKS, serving=inside)) == set()


@pytest.mark.parametrize(("subnets", "keys"), [([], {"triton-fleet:ingress.scheme"}), (["subnet-0a1b2c3d"], set())])
def test_a_public_load_balancer_needs_public_subnets(subnets: list[str], keys: set[str]) -> None:
    network = {
        "kind": "existing",
        "vpcId": "vpc-0a1b2c3d",
        "privateSubnetIds": ["subnet-1a1b2c3d", "subnet-2a1b2c3d"],
        "publicSubnetIds": subnets,
    }
    assert warned(stack(cluster={**EKS, "network": network}, ingress={**ISTIO, **PUBLIC})) == keys
