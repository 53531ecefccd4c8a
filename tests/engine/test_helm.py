"""Releases by real Helm, charts and manifests as components."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from local.plugins.kubernetes.errors import ApiError
from local.plugins.kubernetes.naming import Kind
from tests.engine.conftest import CONFIG_MAP, DEPLOYMENT, NAMESPACE, Stack
from tests.engine.kubelet import image_missing, kubelet, ready
from tests.engine.stacks import PROJECT, TEMPLATE_STACK
from tests.engine.stops import stop_up
from tests.servers import ended

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plugins.kubernetes.client import Client

pytestmark = pytest.mark.engine

CHART = """apiVersion: v2
name: demo
version: 0.1.0
appVersion: "7"
"""
TEMPLATE = """apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}-settings
data:
  text: {{ .Values.text | quote }}
  monitoring: {{ .Capabilities.APIVersions.Has "apps/v1/Deployment" | quote }}
---
apiVersion: v1
kind: Secret
metadata:
  name: {{ .Release.Name }}-login
stringData:
  password: {{ .Values.password | quote }}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ .Release.Name }}
  labels:
spec:
  replicas: {{ .Values.replicas }}
  selector: {matchLabels: {app: {{ .Release.Name }}}}
  template:
    metadata: {labels: {app: {{ .Release.Name }}}}
    spec: {containers: [{name: main, image: example.invalid/demo:1}]}
"""


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    folder = tmp_path / "demo"
    (folder / "templates").mkdir(parents=True)
    (folder / "Chart.yaml").write_text(CHART)
    (folder / "values.yaml").write_text("text: default\npassword: none\nreplicas: 0\n")
    (folder / "templates" / "all.yaml").write_text(TEMPLATE)
    return folder


def helm(environment: dict[str, str], *arguments: str) -> Any:
    done = subprocess.run(["helm", *arguments], env={**os.environ, **environment}, check=True, capture_output=True, text=True)
    return json.loads(done.stdout) if "json" in arguments else done.stdout


PASSWORD = "hunter2-for-the-chart"


def write_own_kinds(chart: Path, group: str) -> None:
    """Add a definition, an object of it, a hook and an object that is kept to the chart."""
    (chart / "crds").mkdir()
    (chart / "crds" / "widget.yaml").write_text(f"""apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: widgets.{group}}}
spec:
  group: {group}
  names: {{kind: Widget, plural: widgets}}
  scope: Namespaced
  versions:
    - name: v1
      served: true
      storage: true
      schema: {{openAPIV3Schema: {{type: object, x-kubernetes-preserve-unknown-fields: true}}}}
""")
    (chart / "templates" / "widget.yaml").write_text(
        f"apiVersion: {group}/v1\nkind: Widget\nmetadata: {{name: w}}\nspec: {{enabled: yes, 8080: port}}\n"
    )
    (chart / "templates" / "hook.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: hook, annotations: {helm.sh/hook: pre-install}}\n"
    )
    (chart / "templates" / "kept.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kept, annotations: {helm.sh/resource-policy: keep}}\n"
    )


def as_made(kube: Client, space: str, outputs: Any) -> None:
    """What is there and what is told after the first update."""
    assert outputs["status"].value == {
        "app_version": "7", "chart": "demo", "name": "demo", "namespace": space, "revision": 1, "status": "deployed", "version": "0.1.0",
    }  # fmt: skip
    assert outputs["names"].value == {"ConfigMap/v1": ["demo-settings"], "Deployment.apps/apps/v1": ["demo"], "Secret/v1": ["demo-login"]}
    assert outputs["login"].value == f"{space}/demo-login"
    assert outputs["count"].value == 6
    assert kube.get(Kind(f"{space}.example.com", "v1", "Widget"), space, "w")["spec"] == {"enabled": True, "8080": "port"}
    assert kube.get(CONFIG_MAP, space, "chart-settings")["data"]["monitoring"] == "true"
    assert kube.get(CONFIG_MAP, f"{space}-own", "two")["data"] == {"v": "2"}


def test_life_of_a_release_a_chart_and_manifests(  # noqa: PLR0917 (fixtures)
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, chart: Path, tmp_path: Path, engine_environment: dict[str, str]
) -> None:
    text = "one"
    group = f"{space}.example.com"
    write_own_kinds(Path(shutil.copytree(chart, tmp_path / "component")), group)
    (tmp_path / "one.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: one, namespace: {space}}}\ndata: {{v: '1'}}\n---\n"
    )
    (tmp_path / "two.yaml").write_text(
        f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: two, namespace: {space}-own}}\ndata: {{v: '2'}}\n"
    )

    def program() -> None:
        values = {"text": text, "password": pulumi.Output.secret(PASSWORD)}
        release = k8s.helm.v3.Release("release", name="demo", namespace=space, chart="./demo", values=values, timeout=60)
        pulumi.export("status", release.status)
        pulumi.export("names", release.resource_names)
        pulumi.export("login", release.status.apply(lambda status: f"{status.namespace}/{status.name}-login"))
        parent = k8s.helm.v4.Chart("triton", name="chart", namespace=space, chart="./component", values={**values, "replicas": 0})
        pulumi.export("count", parent.resources.apply(lambda made: len(made or [])))
        k8s.yaml.v2.ConfigGroup(
            "group",
            files=["*.yaml"],
            yaml=f"apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: Namespace, metadata: {{name: {space}-own}}}}\n",
            objs=[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "three", "namespace": space}, "data": {"v": "3"}}],
        )
        (tmp_path / "alone.yml").write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: alone, namespace: {space}}}\n")
        k8s.yaml.v2.ConfigFile("file", file="alone.yml", resource_prefix="f")

    it = stack(program)
    of_chart = ("chart-settings", "chart-login", "chart", "w", "kept")
    expected = {
        "release", "triton", f"triton:widgets.{group}", *(f"triton:{space}/{name}" for name in of_chart),
        "group", f"group:{space}/one", f"group:{space}-own/two", f"group:{space}/three", f"group:{space}-own", "file", f"f:{space}/alone",
        f"{PROJECT}-{TEMPLATE_STACK}",
    }  # fmt: skip
    assert it.steps() == dict.fromkeys(expected, "create"), "and no hook of the chart's"
    as_made(kube, space, it.up().outputs)
    assert {name for name in it.resources() if not name.startswith("default")} == expected
    assert it.steps() == {}
    assert it.refresh() == {}
    assert it.steps() == {}
    assert PASSWORD not in it.raw_state()
    # An edited template of a local chart is a change, though version and values are the same.
    (chart / "templates" / "all.yaml").write_text(TEMPLATE.replace("text: {{", "more: x\n  text: {{"))
    assert it.steps() == {"release": "update"}
    text = "two"
    assert it.steps() == {"release": "update", f"triton:{space}/chart-settings": "replace"}, "one object's difference shows"
    it.up()
    assert kube.get(CONFIG_MAP, space, "demo-settings")["data"] == {"more": "x", "text": "two", "monitoring": "true"}
    assert it.steps() == {}
    # Uninstalled by somebody else.
    helm(engine_environment, "uninstall", "demo", "--namespace", space)
    assert it.refresh() == {"delete": 1}
    assert it.steps() == {"release": "create"}
    it.up()
    it.destroy()
    assert helm(engine_environment, "list", "--namespace", space, "--output", "json") == []
    assert kube.get(CONFIG_MAP, space, "kept")
    for kind, where, name in ((DEPLOYMENT, space, "chart"), (NAMESPACE, "", f"{space}-own")):
        with pytest.raises(ApiError):
            kube.get(kind, where, name)


def test_failing_release_says_what_its_pods_say(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, chart: Path
) -> None:
    def program() -> None:
        k8s.helm.v3.Release("release", name="demo", namespace=space, chart="./demo", values={"replicas": 1}, timeout=timeout, atomic=atomic)

    timeout, atomic = 12, True
    it = stack(program)
    with kubelet(kube, space, image_missing):
        text = it.fails(it.up)
    assert "ImagePullBackOff" in text
    assert "release" not in it.resources(), "atomic: nothing is left"
    atomic = False
    with kubelet(kube, space, image_missing):
        text = it.fails(it.up)
    assert "ImagePullBackOff" in text
    assert it.resources()["release"]["initErrors"]
    assert it.resources()["release"]["outputs"]["status"]["status"] == "failed"
    for pod in kube.list(Kind("", "v1", "Pod"), space):
        kube.delete(Kind("", "v1", "Pod"), space, pod["metadata"]["name"], propagation="Background")
    timeout = 60
    with kubelet(kube, space, ready):
        it.up()
    assert it.resources()["release"]["outputs"]["status"]["status"] == "deployed"
    assert it.preview() == {}


def stopped_install(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, number: signal.Signals) -> Stack:
    """A stack with a release whose pods never come, its engine stopped in the middle of the install."""

    def program() -> None:
        k8s.helm.v3.Release("release", name="demo", namespace=space, chart="./demo", values={"replicas": 1}, timeout=300, atomic=True)

    it = stack(program)
    stop_up(it, number, lambda: bool(kube.list(DEPLOYMENT, space)))
    return it


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_install_is_taken_up(  # noqa: PLR0917 (fixtures)
    stack: Callable[[Callable[[], None]], Stack],
    kube: Client,
    space: str,
    chart: Path,
    number: signal.Signals,
    engine_environment: dict[str, str],
) -> None:
    it = stopped_install(stack, kube, space, number)
    ended("local/plugins/kubernetes/__main__.py", engine_environment["PULUMI_HOME"])
    it.cli("cancel", "--yes", check=False)  # a killed engine leaves its lock
    with kubelet(kube, space, ready):
        it.up()
    assert it.resources()["release"]["outputs"]["status"]["status"] == "deployed"
    assert it.preview() == {}


def test_interrupted_install_is_known_and_goes_with_the_stack(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, chart: Path, engine_environment: dict[str, str]
) -> None:
    it = stopped_install(stack, kube, space, signal.SIGINT)
    assert it.resources()["release"]["outputs"]["status"]["status"] == "pending-install"
    it.destroy()
    assert helm(engine_environment, "list", "--namespace", space, "--output", "json") == []
    assert kube.list(DEPLOYMENT, space) == []


def test_release_of_somebody_else_is_refused(
    stack: Callable[[Callable[[], None]], Stack], space: str, chart: Path, engine_environment: dict[str, str]
) -> None:
    helm(engine_environment, "install", "demo", str(chart), "--namespace", space)

    def program() -> None:
        k8s.helm.v3.Release("release", name="demo", namespace=space, chart="./demo", timeout=60)

    it = stack(program)
    text = it.fails(it.up)
    assert "cannot re-use a name that is still in use" in text
    assert helm(engine_environment, "list", "--namespace", space, "--output", "json")[0]["revision"] == "1"


def test_missing_chart_is_named(stack: Callable[[Callable[[], None]], Stack], space: str) -> None:
    def program() -> None:
        k8s.helm.v3.Release("release", name="demo", namespace=space, chart="./nowhere")

    it = stack(program)
    assert "./nowhere" in it.fails(it.preview)


def test_chart_that_does_not_render_says_why(stack: Callable[[Callable[[], None]], Stack], space: str, chart: Path) -> None:
    (chart / "templates" / "bad.yaml").write_text('{{ fail "text must be set" }}')

    def program() -> None:
        k8s.helm.v4.Chart("triton", namespace=space, chart="./demo")

    it = stack(program)
    text = it.fails(it.preview)
    assert "text must be set" in text
    assert "./demo" in text
