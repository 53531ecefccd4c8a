"""A chart's PodMonitor under the real engine: it waits for Prometheus, and what else is in the chart does not."""

from __future__ import annotations

import json
from datetime import datetime
from threading import Thread
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.base.handles import MetricsHandle
from components.serving.triton import monitored_by
from local.plugins.kubernetes.naming import Kind
from tests.engine.conftest import DEPLOYMENT
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.plugins.kubernetes.client import Client
    from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

CONFIG_MAP = Kind("", "v1", "ConfigMap")
TEMPLATES = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
spec:
  replicas: 0
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: main, image: example.invalid/demo:1}]}
---
apiVersion: monitoring.coreos.com/v1
kind: PodMonitor
metadata:
  name: {{ .Release.Name }}
spec:
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  podMetricsEndpoints: [{port: metrics}]
"""


@pytest.mark.usefixtures("pod_monitors")
def test_pods_come_up_while_prometheus_does(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    (folder / "templates" / "all.yaml").write_text(TEMPLATES)

    def program() -> None:
        # Stands for Prometheus, and is not up before somebody says so.
        operator = k8s.core.v1.ConfigMap(
            "operator",
            metadata={"name": "operator", "namespace": space, "annotations": {"pulumi.com/waitFor": "jsonpath={.data.up}=yes"}},
        )
        metrics = MetricsHandle(namespace=space, url=operator.metadata.name.apply(lambda _: "http://prometheus"), port=9090)
        opts = pulumi.ResourceOptions(transforms=[monitored_by(metrics)])
        k8s.helm.v4.Chart("triton", name="demo", namespace=space, chart=f"./{folder.name}", opts=opts)

    def say_up_when_pods_may_come() -> None:
        eventually(lambda: kube.list(DEPLOYMENT, space), "a Deployment")
        told = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "operator", "namespace": space}, "data": {"up": "yes"}}
        kube.apply(CONFIG_MAP, told, manager="test", force=True)

    it = stack(program)
    watching = Thread(target=say_up_when_pods_may_come)
    watching.start()
    try:
        it.up()  # it would wait for ever, did the Deployment wait for Prometheus
    finally:
        watching.join()

    state = json.loads(it.state.read_text())["checkpoint"]["latest"]["resources"]
    made = {item["type"].rsplit(":", 1)[-1]: datetime.fromisoformat(item["created"]) for item in state if "created" in item}
    # That the Deployment came before the ConfigMap was up is what the thread has seen; which of the two is called ready first is chance.
    assert "Deployment" in made
    assert made["ConfigMap"] < made["PodMonitor"]
    assert it.preview() == {}
