"""What serves the autoscalers' metrics: one owner per API, and at least one API."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.base.errors import FleetError
from components.stack.load import parse

DUTY_CYCLE = [{"kind": "gpuDutyCycle", "target": 85}]
QUEUE = [{"kind": "queueTime", "target": "50ms"}]
ON_GKE: dict[str, Any] = {
    "cluster": {
        "provider": "gke",
        "project": "my-project",
        "region": "europe-west4",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "t4", "machineType": "g2-standard-8", "max": 4}],
    },
    "repository": {"store": "gcs", "bucket": "models-of-mine"},
    "stackdriver": {"enabled": True},
    "serving": [{"name": "triton", "image": "tritonserver:26.07-py3", "scaling": {"metrics": DUTY_CYCLE}}],
}
ON_EKS: dict[str, Any] = {
    "cluster": {
        "provider": "eks",
        "region": "eu-west-1",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "gpu", "machineType": "g6.xlarge", "max": 4}],
    },
    "autoscaler": {"kind": "clusterAutoscaler"},
    "repository": {"bucket": "models"},
    "serving": [{"name": "triton", "image": "tritonserver:1", "resources": {"cpu": "2", "memory": "8Gi"}}],
}


def but(base: dict[str, Any], **sections: Any) -> dict[str, Any]:
    return {**copy.deepcopy(base), **sections}


def scaled(metrics: list[dict[str, Any]], **fields: Any) -> list[dict[str, Any]]:
    return [{"name": "triton", "image": "tritonserver:26.07-py3", "scaling": {"metrics": metrics}, **fields}]


def problems(raw: dict[str, Any]) -> tuple[str, ...]:
    with pytest.raises(FleetError) as caught:
        parse(raw)
    return tuple(map(str, caught.value.problems))


def test_both_adapters_each_with_an_api_of_its_own() -> None:
    settings = parse(but(ON_GKE, serving=scaled([*QUEUE, *DUTY_CYCLE])))
    assert (settings.adapter.enabled, settings.stackdriver.enabled, settings.stackdriver.custom_metrics) == (True, True, False)


def test_the_walk_throughs_shape_stackdriver_alone() -> None:
    settings = parse(but(ON_GKE, adapter={"enabled": False}, stackdriver={"enabled": True, "customMetrics": True}))
    assert not settings.adapter.enabled


def test_prometheus_adapter_alone_is_the_default() -> None:
    settings = parse(but(ON_GKE, stackdriver={}, serving=scaled(QUEUE)))
    assert (settings.adapter.enabled, settings.stackdriver.enabled) == (True, False)


def test_two_owners_of_one_api_are_refused() -> None:
    (problem,) = problems(but(ON_GKE, stackdriver={"enabled": True, "customMetrics": True}))
    assert problem == (
        "triton-fleet:stackdriver.customMetrics is true and so is adapter.enabled: both would own v1beta1.custom.metrics.k8s.io, and "
        "the second to register would hide the metrics of the first from every autoscaler. Remove customMetrics, or set adapter.enabled to "
        "false."
    )


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (
            but(ON_GKE, stackdriver={}),
            "triton-fleet:serving[0].scaling.metrics[0] is gpuDutyCycle but stackdriver.enabled is false: nothing would serve the metric",
        ),
        (
            but(ON_GKE, adapter={"enabled": False}, serving=scaled([*DUTY_CYCLE, *QUEUE])),
            "triton-fleet:serving[0].scaling.metrics[1] is queueTime but adapter.enabled is false: nothing would serve the metric",
        ),
        (
            but(ON_GKE, serving=scaled(DUTY_CYCLE, resources={"gpuResource": "nvidia.com/mig-1g.5gb"})),
            "triton-fleet:serving[0].scaling.metrics[0] is gpuDutyCycle but resources.gpuResource is nvidia.com/mig-1g.5gb: the",
        ),
        (
            but(ON_GKE, serving=scaled(DUTY_CYCLE, resources={"gpus": 0})),
            "triton-fleet:serving[0].scaling.metrics[0] is gpuDutyCycle but resources.gpus is 0: the metric would never exist",
        ),
        (
            but(ON_GKE, cluster={**ON_GKE["cluster"], "monitoring": ["hpa"]}),
            "triton-fleet:serving[0].scaling.metrics[0] is gpuDutyCycle but cluster.monitoring does not include system, which provides it",
        ),
        (
            but(ON_GKE, stackdriver={"customMetrics": True}, serving=scaled(QUEUE)),
            "triton-fleet:stackdriver.customMetrics is true but stackdriver.enabled is false: it would have no effect.",
        ),
        (
            but(ON_EKS, stackdriver={"enabled": True}),
            "triton-fleet:stackdriver.enabled is true but cluster.provider is eks: the adapter reads Cloud Monitoring with an identity",
        ),
        (
            but(ON_EKS, cluster={"provider": "existing"}, autoscaler={}, stackdriver={"enabled": True}),
            "triton-fleet:stackdriver.enabled is true but cluster.provider is existing",
        ),
    ],
)
def test_each_mistake_is_told(raw: dict[str, Any], says: str) -> None:
    found = problems(raw)
    assert any(problem.startswith(says) for problem in found), found


def test_nothing_to_serve_a_metric() -> None:
    found = problems(but(ON_EKS, adapter={"enabled": False}))
    assert found[0].startswith(
        "triton-fleet:adapter.enabled is false and stackdriver.enabled is not true: nothing would serve metrics and no deployment "
        "could scale."
    )


@pytest.mark.parametrize("sharing", [{"kind": "timeSlicing", "replicas": 4}, {"kind": "mps", "replicas": 4}])
@pytest.mark.parametrize("kind", ["gpuDutyCycle", "gpuUtilization"])
def test_a_figure_of_the_whole_device_scales_no_sharer(sharing: dict[str, Any], kind: str) -> None:
    raw = but(ON_GKE, serving=scaled([{"kind": kind, "target": 85}]))
    raw["cluster"]["gpuPools"][0]["sharing"] = sharing
    (problem,) = problems(raw)
    assert problem.startswith(f"triton-fleet:serving[0].scaling.metrics[0] is {kind}, and pool t4 shares its GPUs")


def test_on_eks_too() -> None:
    raw = but(ON_EKS)
    raw["cluster"]["gpuPools"][0]["sharing"] = {"kind": "timeSlicing", "replicas": 4}
    raw["serving"][0]["scaling"] = {"metrics": [{"kind": "gpuUtilization", "target": 80}]}
    (problem,) = problems(raw)
    assert problem.startswith("triton-fleet:serving[0].scaling.metrics[0] is gpuUtilization, and pool gpu shares its GPUs")


def test_a_sharers_neighbour_with_whole_gpus_may() -> None:
    raw = but(ON_EKS)
    raw["cluster"]["gpuPools"].append({"name": "shared", "machineType": "g6.xlarge", "max": 1, "sharing": {"kind": "mps", "replicas": 4}})
    raw["serving"][0]["scaling"] = {"metrics": [{"kind": "gpuUtilization", "target": 80}]}
    raw["serving"][0]["nodeSelector"] = {"triton-fleet/pool": "gpu"}
    assert parse(raw)


# ------------------------------------------------------------------------------------------------ parameters of the Marketplace app
@pytest.mark.parametrize(("first", "fits"), [(1, True), (3, True), (4, False)])
def test_initial_replicas_lie_within_the_autoscalers_bounds(first: int, fits: bool) -> None:
    raw = but(ON_GKE, serving=scaled(DUTY_CYCLE))
    raw["serving"][0]["scaling"] |= {"maxReplicas": 3, "initialReplicas": first}
    if fits:
        assert parse(raw).serving[0].scaling.initial_replicas == first
    else:
        (problem,) = problems(raw)
        assert problem.startswith(
            "triton-fleet:serving[0].scaling.initialReplicas (4) is not between minReplicas (1) and maxReplicas (3): the autoscaler would"
        )


def test_gpu_metrics_without_a_gpu() -> None:
    raw = but(ON_EKS)
    raw["serving"][0] |= {"resources": {"gpus": 0}, "gpuMetrics": True}
    (problem,) = problems(raw)
    assert problem.startswith("triton-fleet:serving[0].gpuMetrics is true but resources.gpus is 0")
