"""What serves the autoscalers' metrics: one owner per API, and at least one API."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.base.errors import FleetError
from components.stack.load import parse, warnings

DUTY_CYCLE = [{"kind": "gpuDutyCycle", "target": 85}]
QUEUE = [{"kind": "queueTime", "target": "50ms"}]
ON_GKE: dict[str, Any] = {
    "cluster": {
        "provider": "gke",
        "project": "my-project",
        "region": "europe-west4",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "t4", "machineType": "g2-standard-8", "max": 5}],
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
        "gpuPools": [{"name": "gpu", "machineType": "g6.xlarge", "max": 5}],
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


NVIDIA = "nvcr.io/nvidia/tritonserver:"
MINE = {"kind": "promql", "metric": "mine", "query": "sum(a{$pods}) by (pod)", "target": 1}
MISSING = [
    (NVIDIA + "24.07-vllm-python-py3", "vllmFirstToken", "images report from 24.08 on"),
    (NVIDIA + "25.03-trtllm-python-py3", "trtllmWaiting", "images report from 25.04 on"),
    (NVIDIA + "26.07-py3", "vllmFirstToken", "has no vllm engine"),
    (NVIDIA + "26.07-vllm-python-py3", "trtllmWaiting", "has no trtllm engine: the metric would never exist"),
    ("mirror.example/ai/tritonserver:26.07-trtllm-python-py3", "vllmWaiting", "has no vllm engine"),
]
"""Image, kind, and why the metric never exists."""
STUCK = [
    (NVIDIA + "26.07-vllm-python-py3", "queueTime", "requests wait in the engine"),
    (NVIDIA + "26.07-vllm-python-py3", "pendingRequests", "Scale by vllmFirstToken, or by promql"),
    (NVIDIA + "26.07-trtllm-python-py3", "queueTime", "Scale by trtllmWaiting"),
    ("mirror.example/ai/tritonserver:26.07-trtllm-python-py3", "pendingRequests", "never adds a pod"),
    (NVIDIA + "26.07-vllm-python-py3", "vllmWaiting", "does not report"),
]
"""Image, kind, and why the metric says little."""
FITTING = [
    (NVIDIA + "26.07-py3", "pendingRequests"),
    (NVIDIA + "26.07-vllm-python-py3", "vllmFirstToken"),
    (NVIDIA + "26.07-vllm-python-py3", "requestRate"),
    (NVIDIA + "26.07-trtllm-python-py3", "trtllmWaiting"),
    ("registry.example/my-vllm:3", "vllmWaiting"),
    ("registry.example/my-vllm:3", "queueTime"),
]


@pytest.mark.parametrize(("image", "kind", "says"), MISSING)
def test_a_metric_that_the_image_lacks_is_refused(image: str, kind: str, says: str) -> None:
    (problem,) = problems(but(ON_EKS, serving=scaled([{"kind": kind, "target": 1}], image=image)))
    assert f"serving[0].scaling.metrics[0] is {kind}" in problem
    assert says in problem


@pytest.mark.parametrize(("image", "kind", "says"), STUCK)
def test_a_metric_that_does_not_show_the_engines_queue_is_warned_of(image: str, kind: str, says: str) -> None:
    settings = parse(but(ON_EKS, serving=scaled([{"kind": kind, "target": 1}], image=image)))
    (warning,) = map(str, warnings(settings))
    assert f"triton-fleet:serving[0].scaling.metrics[0] is {kind}" in warning
    assert says in warning


@pytest.mark.parametrize(("image", "kind"), FITTING)
def test_a_metric_that_the_image_may_have_is_accepted(image: str, kind: str) -> None:
    assert warnings(parse(but(ON_EKS, serving=scaled([{"kind": kind, "target": 1}], image=image)))) == []


def test_the_image_behind_a_mirrors_name_counts() -> None:
    mirror = {"name": "llm", "kind": "mirror", "source": NVIDIA + "26.07-vllm-python-py3"}
    raw = but(ON_EKS, images=[mirror], serving=scaled([{"kind": "trtllmWaiting", "target": 1}], image="llm"))
    raw["cluster"]["imageRepository"] = {"name": "mine"}
    assert any("has no trtllm engine" in problem for problem in problems(raw))


@pytest.mark.parametrize(
    ("other", "at"),
    [
        ({**MINE, "query": "max(a{$pods}) by (pod)"}, "serving[1].scaling.metrics[0].metric (mine)"),
        ({**MINE, "metric": "avg_time_queue_us"}, "serving[1].scaling.metrics[0].metric (avg_time_queue_us)"),
        (MINE, None),
    ],
)
def test_one_name_has_one_query(other: dict[str, Any], at: str | None) -> None:
    raw = but(ON_EKS, serving=[*scaled([MINE]), *scaled([other], name="second")])
    if at is None:
        parse(raw)
    else:
        (problem,) = problems(raw)
        assert f"{at} is another metric's name too" in problem


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
    raw["serving"][0] |= {"resources": {"gpus": 0, "cpu": 1, "memory": "4Gi"}, "gpuMetrics": True}
    (problem,) = problems(raw)
    assert problem.startswith("triton-fleet:serving[0].gpuMetrics is true but resources.gpus is 0")
