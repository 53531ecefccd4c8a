"""What Istio is told: which ports are open, who may come, how requests are spread."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import ValidationError

from components.base.drain import VIA_NODES, Hops
from components.gateway import istio as rendered
from components.gateway.istio import destination_rule_spec, gateway_spec, route_hosts, virtual_service_spec
from components.gateway.settings import IstioSettings

SERVICE = "triton.triton.svc.cluster.local"


def gateway_values(settings: IstioSettings, annotations: dict[str, str]) -> dict[str, Any]:
    return rendered.gateway_values(settings, annotations, Hops.of([(15, 45, 15)]), VIA_NODES)


def istio(**more: object) -> IstioSettings:
    return IstioSettings.model_validate({"kind": "istio", **more})


def ports(values: dict[str, Any]) -> set[int]:
    return {port["port"] for port in values["service"]["ports"]}


def test_metrics_are_not_reached_from_outside() -> None:
    assert ports(gateway_values(istio(), {})) == {15021, 8000, 8001}
    assert "8002" not in str(gateway_spec(("*",)))
    assert "8002" not in str(virtual_service_spec("triton", SERVICE, ("*",)))


def test_all_names_of_ports_say_their_protocol() -> None:
    """Istio balances a port by connection unless its name or appProtocol says what is spoken."""
    servers = {server["port"]["number"]: server["port"] for server in gateway_spec(("*",))["servers"]}
    assert (servers[8000]["protocol"], servers[8001]["protocol"]) == ("HTTP", "GRPC")
    assert servers[8001]["name"].startswith("grpc-")


def test_nobody_comes_in_from_the_internet_unasked() -> None:
    with pytest.raises(ValidationError, match="anyone could use its GPUs"):
        istio(scheme="internet-facing")
    values = gateway_values(istio(scheme="internet-facing", sourceRanges=["203.0.113.0/24"]), {})
    assert values["service"]["loadBalancerSourceRanges"] == ["203.0.113.0/24"]


def test_source_ranges_without_a_load_balancer_are_refused() -> None:
    with pytest.raises(ValidationError, match="would be ignored"):
        istio(serviceType="NodePort", sourceRanges=["203.0.113.0/24"])


def test_bounds_of_the_gateway() -> None:
    with pytest.raises(ValidationError, match="above maxReplicas"):
        istio(minReplicas=6)


def test_annotations_of_the_stack_file_win() -> None:
    values = gateway_values(istio(annotations={"a": "mine"}), {"a": "computed", "b": "computed"})
    assert values["service"]["annotations"] == {"a": "mine", "b": "computed"}


def test_without_a_load_balancer_nobody_is_asked_for_one() -> None:
    values = gateway_values(istio(serviceType="NodePort"), {"a": "computed"})
    assert (values["service"]["type"], values["service"]["annotations"]) == ("NodePort", {})


def test_one_gateway_pod_has_no_disruption_budget() -> None:
    assert "podDisruptionBudget" not in gateway_values(istio(minReplicas=1), {})


def test_deployments_are_told_apart_by_host() -> None:
    assert route_hosts("triton", istio()) == ("*",)
    assert route_hosts("small", istio(domain="models.example.com")) == ("small.models.example.com",)


@pytest.mark.parametrize(
    "domain",
    [
        "https://models.example.com/",
        "https://models.example.com",
        "http://models.example.com",
        "models.example.com:443",
        "models.example.com/",
        "models.example.com/v2",
        "models.example.com.",
        ".example.com",
        "*.example.com",
        "user@example.com",
        "models example.com",
        " models.example.com",
        "models_a.example.com",
        "Models.example.com",
        "-a.example.com",
        "a..b",
        "",
        "a" * 64 + ".com",
        ".".join(["a" * 60] * 4),
        "[::1]",
    ],
)
def test_a_domain_is_a_name_and_nothing_else(domain: str) -> None:
    with pytest.raises(ValidationError, match=r"is not a domain: .* Write only the name"):
        istio(domain=domain)


@pytest.mark.parametrize("domain", ["example.com", "models.example.com", "localhost", "a-b.c", "1.example.com", "xn--mnchen-3ya.de"])
def test_domains(domain: str) -> None:
    assert route_hosts("small", istio(domain=domain)) == (f"small.{domain}",)


@pytest.mark.parametrize("network", ["203.0.113.0/8", "example.com", "https://203.0.113.0/24", "203.0.113.0-203.0.113.9", ""])
def test_source_ranges_are_networks(network: str) -> None:
    with pytest.raises(ValidationError, match="is not an IP network"):
        istio(sourceRanges=[network])


def test_source_ranges_may_be_of_either_version() -> None:
    assert istio(sourceRanges=["203.0.113.7", "2001:db8::/32"]).source_ranges == ("203.0.113.7/32", "2001:db8::/32")


def test_requests_go_to_whom_they_wait_least_for() -> None:
    policy = destination_rule_spec(SERVICE, istio(warmup="90s"))["trafficPolicy"]
    assert policy["loadBalancer"] == {"simple": "LEAST_REQUEST", "warmup": {"duration": "90s"}}
    assert policy["outlierDetection"]["maxEjectionPercent"] == 50


@pytest.mark.parametrize("drain", [(0.0, 0.001, 0.001), (15, 45, 15), (1700, 1700, 200)])
def test_every_duration_is_one_that_istio_takes(drain: tuple[float, float, float]) -> None:
    """Istio's webhook rejects an object with a duration below 1 ms (pkg/config/validation/agent, `ValidateDuration`)."""
    hops = Hops.of([drain])
    values = rendered.gateway_values(istio(), {}, hops, VIA_NODES)
    objects = [
        virtual_service_spec("triton", SERVICE, ("*",)),
        destination_rule_spec(SERVICE, istio(warmup="1s")),
        rendered.istiod_values(hops),
        json.loads(values["podAnnotations"]["proxy.istio.io/config"]),
    ]
    durations = re.findall(r'"(\d+)(ms|s|m|h)"', json.dumps(objects))
    assert len(durations) >= 6
    assert all(int(number) > 0 for number, _ in durations)
