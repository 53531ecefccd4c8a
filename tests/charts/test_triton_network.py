"""charts/triton: who may call Triton's pods, and where they may connect to."""

from __future__ import annotations

from typing import Any

import pytest

from components.serving.values import ModelRepositoryValues, chart_values
from tests.charts.policies import End, Pod, lets_in, lets_out
from tests.charts.rendering import Chart, serving
from tests.charts.shapes import NetworkPolicy

pytestmark = pytest.mark.helm

STRANGER, NEIGHBOUR = Pod(namespace="shop"), Pod(namespace="models")
GATEWAY, PROMETHEUS = Pod(namespace="istio-ingress"), Pod(namespace="monitoring")
INTERNET = "203.0.113.7"
POLICY = {"namespaces": ["istio-ingress"], "prometheus_namespaces": ("monitoring",), "istio": True}


def policy(chart: Chart, url: str = "s3://bucket/models", known: dict[str, Any] | None = None, **fields: Any) -> NetworkPolicy:
    """The policy of a deployment whose stack has Istio, unless ``known`` says otherwise."""
    settings = serving(admin={"keySecret": "key"}, **fields)
    found = chart_values(settings, ModelRepositoryValues(url=url, release="abc"), policy=POLICY if known is None else known)
    return chart.render(found.dump())[NetworkPolicy]


@pytest.mark.parametrize(
    ("source", "ports"),
    [
        (NEIGHBOUR, {8000, 8001, 8002, 15008, 15020, 15090}),
        (GATEWAY, {8000, 8001, 15008}),
        (PROMETHEUS, {8002, 15008, 15020, 15090}),
        (STRANGER, set()),
        (INTERNET, set()),
        ("169.254.7.127", {8000, 8001, 15008}),  # a probe in ambient mode
    ],
)
def test_callers(chart: Chart, source: End, ports: set[int]) -> None:
    """8080 is the port of the servers for SageMaker and Vertex AI."""
    found = policy(chart)
    assert {port for port in (22, 8000, 8001, 8002, 8080, 15008, 15020, 15090) if lets_in(found, source, port)} == ports


@pytest.mark.parametrize("kind", ["NodePort", "LoadBalancer"])
def test_a_service_for_the_outside_is_reached_from_there(chart: Chart, kind: str) -> None:
    for source in (INTERNET, "10.0.3.4", STRANGER):
        assert lets_in(policy(chart, service={"type": kind}), source, 8000)
        assert not lets_in(policy(chart, service={"type": kind}), source, 8002), "only Prometheus may read metrics"
    narrowed = policy(chart, service={"type": kind}, networkPolicy={"cidrs": ["10.0.0.0/16"]})
    assert lets_in(narrowed, "10.0.3.4", 8001)
    assert not lets_in(narrowed, INTERNET, 8001)
    assert not lets_in(narrowed, STRANGER, 8001)
    assert lets_in(narrowed, GATEWAY, 8001)


def test_callers_can_be_added(chart: Chart) -> None:
    known = {**POLICY, "namespaces": ["istio-ingress", "shop"]}
    found = policy(chart, known=known, networkPolicy={"cidrs": ["192.0.2.0/24"]})
    assert lets_in(found, STRANGER, 8000)
    assert lets_in(found, "192.0.2.9", 8001)
    assert not lets_in(found, "192.0.2.9", 8002)
    assert not lets_in(found, INTERNET, 8000)


def test_plain_helm_is_scraped_from_anywhere(chart: Chart) -> None:
    found = policy(chart, known={})
    assert lets_in(found, PROMETHEUS, 8002)
    assert not lets_in(found, PROMETHEUS, 8000)
    assert not lets_in(found, PROMETHEUS, 15020)


@pytest.mark.parametrize(
    ("target", "port", "protocol"),
    [
        (Pod(namespace="kube-system"), 53, "UDP"),
        (Pod(namespace="kube-system"), 53, "TCP"),
        ("169.254.20.10", 53, "UDP"),  # NodeLocal DNSCache
        ("169.254.169.254", 53, "UDP"),  # Cloud DNS
        ("169.254.169.254", 80, "TCP"),  # EC2, and GKE with Dataplane V2
        ("169.254.169.254", 8080, "TCP"),
        ("169.254.169.252", 987, "TCP"),  # GKE without
        ("169.254.169.252", 988, "TCP"),
        ("169.254.170.23", 80, "TCP"),  # EKS Pod Identity
        ("fd00:ec2::23", 80, "TCP"),
        (Pod(namespace="istio-system"), 15012, "TCP"),
    ],
)
@pytest.mark.parametrize("url", ["s3://bucket/models", "s3://http://10.0.0.1:7070/b", "/models"])
def test_names_and_identities_are_reached_whatever_the_store(chart: Chart, url: str, target: End, port: int, protocol: str) -> None:
    assert lets_out(policy(chart, url), target, port, protocol)


STORES: list[tuple[str, list[tuple[End, int]], list[tuple[End, int]]]] = [
    ("s3://bucket/models", [(INTERNET, 443)], [(INTERNET, 80), (STRANGER, 8080)]),
    ("gs://bucket/models", [(INTERNET, 443)], [(INTERNET, 80)]),
    ("s3://http://10.0.0.1:7070/b/m", [("10.0.0.1", 7070)], [("10.0.0.2", 7070), ("10.0.0.1", 22), (INTERNET, 443)]),
    ("s3://10.0.0.1:7070/b/m", [("10.0.0.1", 7070)], [(INTERNET, 443)]),
    ("s3://https://10.0.0.1/b/m", [("10.0.0.1", 443)], [(INTERNET, 443)]),
    ("s3://https://[fd00::1]:9000/b", [("fd00::1", 9000)], [("fd00::2", 9000)]),
    ("s3://https://store.example.com/b", [(INTERNET, 443)], [(INTERNET, 80), (Pod(namespace="example"), 9000)]),
    ("s3://http://minio.store.svc.cluster.local:80/b", [(Pod(namespace="store"), 9000)], [(STRANGER, 9000), (INTERNET, 443)]),
    ("s3://minio.store:9000/b", [(Pod(namespace="store"), 9001)], [(STRANGER, 9001)]),
    ("s3://minio:9000/b", [(NEIGHBOUR, 9001)], [(STRANGER, 9001)]),
    ("/models", [], [(INTERNET, 443), (NEIGHBOUR, 8000)]),
]


@pytest.mark.parametrize(("url", "reached", "refused"), STORES, ids=[store[0] for store in STORES])
def test_a_store_is_reached_and_little_else(chart: Chart, url: str, reached: list[tuple[End, int]], refused: list[tuple[End, int]]) -> None:
    found = policy(chart, url)
    assert [end for end in reached if not lets_out(found, *end)] == []
    assert [end for end in refused if lets_out(found, *end)] == []
    assert not lets_out(found, "169.254.169.254", 22)


def test_a_role_is_exchanged_for_keys_wherever_the_models_are(chart: Chart) -> None:
    values = {
        "modelRepository": {"url": "s3://http://10.0.0.1:7070/b"},
        "serviceAccount": {"annotations": {"eks.amazonaws.com/role-arn": "r"}},
    }
    assert lets_out(chart.render(values)[NetworkPolicy], INTERNET, 443)


def test_connections_can_be_added(chart: Chart) -> None:
    rules = [{"cidr": "10.5.0.0/16", "ports": [5432]}, {"namespace": "shop"}, {"ports": [6379]}]
    found = policy(chart, "/models", networkPolicy={"egress": rules})
    assert lets_out(found, "10.5.1.1", 5432)
    assert not lets_out(found, "10.6.1.1", 5432)
    assert lets_out(found, STRANGER, 1234)
    assert lets_out(found, INTERNET, 6379)
    assert not lets_out(found, INTERNET, 443)
    assert lets_out(policy(chart, "/models", networkPolicy={"egress": [{}]}), INTERNET, 443)


def test_every_field_is_written_out(chart: Chart) -> None:
    """One that the API server adds would read back as a difference at each refresh. `shapes` requires protocols."""
    found = policy(chart)
    assert found.spec.policy_types == ["Ingress", "Egress"]
    assert all(rule.peers for rule in found.spec.ingress)
