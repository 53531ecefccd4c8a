"""From load balancer to pod: no hop ends before what is behind it, whatever the settings and the provider."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.drain import NLB_PODS, NLB_TARGETS, VIA_NODES, Hops, Targets, targets
from components.eks.cluster_autoscaler import autoscaler_values
from components.eks.load_balancer import service_annotations
from components.eks.settings.addons import ClusterAutoscalerSettings
from components.gateway.istio import destination_rule_spec, gateway_values, istiod_values, virtual_service_spec
from components.gateway.settings import IstioSettings

SCALER = ClusterAutoscalerSettings(kind="clusterAutoscaler")
PREFIX = "service.beta.kubernetes.io/aws-load-balancer"
NLB_REMOVAL = 120
"""Seconds for which a removed target of a network load balancer still gets connections, as measured
(kubernetes-sigs/aws-load-balancer-controller#2366)."""
NODE_LIMIT = 3600
"""The longest drain that nodes wait for on both clouds; `components.stack.rules` rejects longer ones."""


@dataclass(frozen=True)
class Provider:
    name: Literal["eks", "gke", "existing"]
    installed: Targets | None
    """What the stack's load balancers do; None without."""
    annotations: dict[str, str]
    """Of the stack file."""
    pods: bool
    """Whether pods are the targets."""


PROVIDERS = [
    Provider("eks", NLB_PODS, {}, pods=True),
    Provider("eks", NLB_PODS, {NLB_TARGETS: "instance"}, pods=False),
    Provider("gke", VIA_NODES, {}, pods=False),
    Provider("existing", None, {}, pods=False),
    Provider("existing", None, {NLB_TARGETS: "ip"}, pods=True),
]
DRAINS = st.lists(st.tuples(st.floats(0, 1700), st.floats(0.1, 1700), st.floats(0.1, 200)), min_size=1, max_size=4)


def seconds(text: str) -> float:
    assert text.endswith("s")
    return float(text[:-1])


def attribute(text: str, name: str) -> float:
    key, _, value = text.partition("=")
    assert key == name
    return float(value)


def pod_config(values: dict[str, Any]) -> dict[str, str]:
    config: dict[str, str] = json.loads(values["podAnnotations"]["proxy.istio.io/config"])
    return config


@pytest.mark.parametrize("provider", PROVIDERS, ids=str)
@settings(max_examples=60, deadline=None)
@given(drains=DRAINS)
def test_no_hop_ends_before_the_one_behind_it(provider: Provider, drains: list[tuple[float, float, float]]) -> None:
    longest = max(request for _, request, _ in drains)
    reached = targets("LoadBalancer", provider.annotations, provider.installed)
    hops = Hops.of((reached.pre_stop(before), request, margin) for before, request, margin in drains)
    istio = IstioSettings(kind="istio", annotations=provider.annotations)
    removal = NLB_REMOVAL if provider.pods else 0
    assert bool(reached.namespace_labels) == provider.pods, "ready only once registered"

    # Load balancer: a request that computes in silence is not cut, and no connection of a draining pod is.
    for scheme in ("internal", "internet-facing"):
        made = service_annotations(scheme, hops)
        for port in (8000, 8001):
            idle = attribute(made[f"{PREFIX}-listener-attributes.TCP-{port}"], "tcp.idle_timeout.seconds")
            assert max(longest, 350) <= idle <= 6000
        delay = attribute(made[f"{PREFIX}-target-group-attributes"], "deregistration_delay.timeout_seconds")
        assert min(NODE_LIMIT, NLB_REMOVAL + longest) <= delay <= 3600

    # Gateway, while it runs: it cuts no request, and refuses none.
    for route in virtual_service_spec("triton", "triton", ("*",))["http"]:
        if "route" in route:
            assert "timeout" not in route
            assert "perTryTimeout" not in route["retries"]
    pool = destination_rule_spec("triton", istio)["trafficPolicy"]["connectionPool"]
    assert not {"http1MaxPendingRequests", "http2MaxRequests", "maxRetries"} & pool["http"].keys()
    assert seconds(pool["tcp"]["tcpKeepalive"]["time"]) < 350

    # Gateway, when it ends: out of the load balancer, then all clients are asked to reconnect, then the last request.
    values = gateway_values(istio, {}, hops, reached)
    wait, config = values["lifecycle"]["preStop"]["sleep"]["seconds"], pod_config(values)
    drain = seconds(config["terminationDrainDuration"])
    assert wait >= removal
    assert drain >= seconds(config["drainDuration"]) + longest
    assert values["terminationGracePeriodSeconds"] >= wait + drain + 10
    assert values["strategy"]["rollingUpdate"]["maxUnavailable"] == 0

    # Sidecars, where they are ordinary containers, outlast the preStop hook and the requests of each pod.
    sidecar = seconds(istiod_values(hops)["meshConfig"]["defaultConfig"]["terminationDrainDuration"])
    assert sidecar >= max(reached.pre_stop(before) + request for before, request, _ in drains)

    # Pods that are targets themselves, and the nodes that the cluster autoscaler removes under them.
    scaler = autoscaler_values(SCALER, cluster_name="c", region="r", kubernetes_version="1.35", role_arn=None, hops=hops)
    patience = scaler["extraArgs"]["max-graceful-termination-sec"]
    assert patience >= max(600, values["terminationGracePeriodSeconds"])
    for before, request, margin in drains:
        wait = reached.pre_stop(before)
        assert wait >= max(before, removal)
        assert patience >= wait + request + margin


@pytest.mark.parametrize("service_type", ["ClusterIP", "NodePort"])
def test_without_a_load_balancer_there_is_nothing_to_wait_for(service_type: str) -> None:
    assert targets(service_type, {NLB_TARGETS: "ip"}, NLB_PODS) == VIA_NODES


def test_a_pod_keeps_its_own_drain_where_endpoints_are_followed() -> None:
    assert [VIA_NODES.pre_stop(own) for own in (0, 5, 30)] == [0, 5, 30]
    assert [NLB_PODS.pre_stop(own) for own in (0, 5, 600)] == [180, 180, 600]


def test_answers_of_models_eject_no_pod() -> None:
    """A full queue answers 503, and a broken model 500, on whichever pod it runs: without those pods the others would be full too."""
    found = destination_rule_spec("triton", IstioSettings(kind="istio"))["trafficPolicy"]["outlierDetection"]
    assert (found["consecutive5xxErrors"], found["consecutiveGatewayErrors"]) == (0, 0)
    assert found["splitExternalLocalOriginErrors"]
    assert found["consecutiveLocalOriginFailures"] > 0
