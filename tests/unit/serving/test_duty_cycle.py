"""Scaling by the GPUs' duty cycle: the name of the references, narrowed down to the deployment's own containers."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.serving.metrics.base import GkeCluster, ServedPods
from components.serving.scaling import adapter_rules, hpa_metrics
from components.serving.settings import ServingSettings
from components.serving.values import ModelRepositoryValues, chart_values

CLUSTER = GkeCluster(name="tri", location="europe-west4-a")


def pods(container: str = "triton", gpus: int = 1, gke: GkeCluster | None = CLUSTER) -> ServedPods:
    return ServedPods(container=container, namespace="triton", gpus=gpus, gke=gke)


def serving(target: float = 85, **fields: Any) -> ServingSettings:
    return ServingSettings.model_validate({"image": "x", "scaling": {"metrics": [{"kind": "gpuDutyCycle", "target": target}]}, **fields})


def test_the_metric_is_the_references() -> None:
    (metric,) = hpa_metrics(serving().scaling, pods())
    assert metric["type"] == "External"
    assert metric["external"]["metric"]["name"] == "kubernetes.io|container|accelerator|duty_cycle"
    assert metric["external"]["target"] == {"type": "AverageValue", "averageValue": "85"}


def test_no_gpu_of_another_workload_is_counted() -> None:
    """Without a selector the sum is that of every GPU in the project: an external metric has no namespace of its own."""
    (metric,) = hpa_metrics(serving().scaling, pods("bert"))
    assert metric["external"]["metric"]["selector"] == {
        "matchLabels": {
            "resource.type": "k8s_container",
            "resource.labels.cluster_name": "tri",
            "resource.labels.location": "europe-west4-a",
            "resource.labels.namespace_name": "triton",
            "resource.labels.container_name": "bert",
        }
    }


@given(target=st.floats(1, 100), gpus=st.integers(1, 16), busy=st.floats(0, 100), replicas=st.integers(1, 50))
def test_the_target_is_of_each_gpu_however_many_a_pod_has(target: float, gpus: int, busy: float, replicas: int) -> None:
    """The autoscaler wants sum / target replicas, and the sum has a series a GPU."""
    (metric,) = hpa_metrics(serving(target).scaling, pods(gpus=gpus))
    text = metric["external"]["target"]["averageValue"]
    units = {"m": 0.001, "k": 1000.0}
    average = float(text.rstrip("mk")) * units.get(text[-1], 1.0)
    wanted = replicas * gpus * busy / average
    assert wanted == pytest.approx(replicas * busy / target, rel=1e-2)


def test_elsewhere_than_on_gke_it_is_refused() -> None:
    with pytest.raises(ValueError, match="measured on GKE only"):
        hpa_metrics(serving().scaling, pods(gke=None))


def test_the_chart_gets_it_beside_the_others() -> None:
    settings = ServingSettings.model_validate(
        {
            "image": "x",
            "name": "bert",
            "namespace": "models",
            "resources": {"gpus": 2},
            "scaling": {"metrics": [{"kind": "queueTime", "target": "50ms"}, {"kind": "gpuDutyCycle", "target": 40}]},
        }
    )
    values = chart_values(settings, ModelRepositoryValues(url="gs://b/p"), gke=GkeCluster(name="tri", location="europe-west4")).dump()
    queue, duty = values["autoscaling"]["metrics"]
    assert queue["type"] == "Pods"
    assert duty["external"]["metric"]["selector"]["matchLabels"]["resource.labels.location"] == "europe-west4"
    assert duty["external"]["metric"]["selector"]["matchLabels"]["resource.labels.container_name"] == "bert"
    assert duty["external"]["target"]["averageValue"] == "80"


def test_prometheus_adapter_gets_no_rule_of_it() -> None:
    assert "duty_cycle" not in str(adapter_rules([serving()]))
