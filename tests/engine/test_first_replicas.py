"""A first number of replicas under the real engine: written once, the autoscaler's afterwards, whatever else an update changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s
import pytest

from components.serving.triton import leave_replicas
from tests.engine.conftest import DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.plugins.kubernetes.client import Client
    from tests.engine.conftest import Stack

pytestmark = pytest.mark.engine

TEMPLATE = """apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  annotations:
    # No node runs its pods here.
    pulumi.com/skipAwait: "true"
    text: {{ .Values.text | quote }}
spec:
  {{- with .Values.replicas }}
  replicas: {{ int . }}
  {{- end }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: main, image: example.invalid/demo:1}]}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text("apiVersion: v2\nname: demo\nversion: 0.1.0\n")
    (folder / "templates" / "deployment.yaml").write_text(TEMPLATE)
    return folder


def test_the_autoscalers_number_outlives_every_update(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, chart: Path
) -> None:
    values: dict[str, object] = {"text": "one", "replicas": 3}

    def program() -> None:
        opts = pulumi.ResourceOptions(transforms=[leave_replicas])
        k8s.helm.v4.Chart("triton", name="demo", namespace=space, chart=f"./{chart.name}", values=dict(values), opts=opts)

    def replicas() -> int:
        return int(kube.get(DEPLOYMENT, space, "demo")["spec"]["replicas"])

    it = stack(program)
    it.up()
    assert replicas() == 3

    scaled = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo", "namespace": space}, "spec": {"replicas": 5}}
    kube.apply(DEPLOYMENT, scaled, manager="kube-controller-manager", force=True)
    assert it.preview() == {}
    values["text"] = "two"
    it.up()
    assert kube.get(DEPLOYMENT, space, "demo")["metadata"]["annotations"]["text"] == "two"
    assert replicas() == 5, "an update of something else"
    values["replicas"] = 1
    assert it.preview() == {}, "another first number is of no account any more"
    it.up()
    assert replicas() == 5
