"""Waiting: for what becomes ready, for what never does, for what does not go away; and being told to stop."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from tests.engine.conftest import CONFIG_MAP, DEPLOYMENT, POD, Stack, deployment
from tests.engine.kubelet import crashing, give_endpoints, image_missing, kubelet, ready, set_status
from tests.engine.stops import stop_up
from tests.servers import ended

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.plugins.kubernetes.client import Client

pytestmark = pytest.mark.engine

SHORT = pulumi.CustomTimeouts(create="10s", update="10s", delete="3s")


def test_rollout_is_awaited_and_rolled_on(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    image = "example.invalid/web:1"

    def program() -> None:
        web = k8s.apps.v1.Deployment("web", **deployment(space, replicas=2, container={"image": image}))
        pulumi.export("available", web.status.available_replicas)

    it = stack(program)
    with kubelet(kube, space, ready):
        assert it.up().outputs["available"].value == 2
        image = "example.invalid/web:2"
        assert it.preview() == {"update": 1}
        it.up()
    live = kube.get(DEPLOYMENT, space, "web")
    assert live["status"]["updatedReplicas"] == live["status"]["replicas"] == 2
    assert it.preview() == {}
    assert it.refresh() == {}


def test_broken_rollout_says_what_the_new_pod_says(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    image, patience = "example.invalid/web:1", None

    def program() -> None:
        args = deployment(space, replicas=1, container={"image": image}, strategy={"rolling_update": {"max_unavailable": 0}})
        k8s.apps.v1.Deployment("web", **args, opts=pulumi.ResourceOptions(custom_timeouts=patience))

    it = stack(program)
    with kubelet(kube, space, ready):
        it.up()
    image, patience = "example.invalid/web:2", SHORT
    with kubelet(kube, space, crashing):
        text = it.fails(it.up)
    reason = "CrashLoopBackOff: back-off 40s restarting failed container (last exit code 3, Error)"
    progress = [line for line in it.said.splitlines() if "updating (" in line and reason in line]
    assert progress, "shown while it waits"
    assert "new pods not available yet, 1 old ones kept until they are" in text
    assert reason in text.split("Diagnostics:")[1]


def test_what_never_becomes_ready_says_why_is_kept_and_healed(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str
) -> None:
    """A Deployment without an image, one without a node, a Service without pods, an object without its value: all in one update.

    And one that comes when another of its name has gone; and one that is held at the end.
    """
    old = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "heir", "namespace": space, "finalizers": ["example.com/hold"]}}
    kube.create(CONFIG_MAP, old, manager="somebody")
    kube.delete(CONFIG_MAP, space, "heir", propagation="Background")
    short = pulumi.ResourceOptions(custom_timeouts=SHORT)

    def named(name: str, **more: Any) -> Any:
        return {"name": name, "namespace": space, **more}

    def program() -> None:
        k8s.apps.v1.Deployment("web", **deployment(space, replicas=1), opts=short)
        k8s.apps.v1.Deployment("lonely", **deployment(space, "lonely", replicas=1, annotations={"pulumi.com/timeoutSeconds": "9"}))
        k8s.core.v1.Service("service", metadata=named("service"), spec={"selector": {"app": "none"}, "ports": [{"port": 80}]}, opts=short)
        waiting: Any = named("settings", annotations={"pulumi.com/waitFor": "jsonpath={.data.done}=yes"})
        k8s.core.v1.ConfigMap("settings", metadata=waiting, data={"a": "b"}, opts=short)
        k8s.core.v1.ConfigMap("held", metadata=named("held", finalizers=["example.com/hold"]), opts=short)
        k8s.core.v1.ConfigMap("heir", metadata=named("heir"), data={"a": "b"})

    def status(pod: dict[str, Any]) -> dict[str, Any]:
        return image_missing(pod) if pod["metadata"]["labels"]["app"] == "web" else {}

    it = stack(program)
    release = threading.Timer(6, kube.patch, (CONFIG_MAP, space, "heir", [{"op": "remove", "path": "/metadata/finalizers"}]))
    release.start()
    with kubelet(kube, space, status):
        text = it.fails(it.up)
    release.join()
    assert "0 of 1 pods available" in text
    assert 'ImagePullBackOff: Back-off pulling image "example.invalid/web:1"' in text
    assert "Unschedulable" in text
    assert "after 9 s" in text
    assert "no ready pod matches the selector app=none" in text
    assert "data.done is None, not yes" in text
    failed = ("web", "lonely", "service", "settings")
    assert {name for name, item in it.resources().items() if item.get("initErrors")} == set(failed)
    assert kube.get(CONFIG_MAP, space, "heir")["data"] == {"a": "b"}, "the old object has gone before the new one came"
    for pod in kube.list(POD, space):
        set_status(kube, pod, ready(pod))
    kube.patch(CONFIG_MAP, space, "settings", [{"op": "add", "path": "/data/done", "value": "yes"}], manager="somebody")
    give_endpoints(kube, space, "service")
    assert it.steps() == dict.fromkeys(failed, "update"), "what did not become ready is looked at again"
    it.up()
    assert not [name for name, item in it.resources().items() if item.get("initErrors")]
    assert it.steps() == {}
    assert "finalizers example.com/hold" in it.fails(it.destroy)
    kube.patch(CONFIG_MAP, space, "held", [{"op": "remove", "path": "/metadata/finalizers"}])
    it.destroy()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_update_ends_at_once_and_the_next_one_goes_on(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, number: signal.Signals, engine_environment: dict[str, str]
) -> None:
    def program() -> None:
        first = k8s.core.v1.ConfigMap("first", metadata={"name": "first", "namespace": space}, data={"a": "b"})
        k8s.apps.v1.Deployment("web", **deployment(space, replicas=1), opts=pulumi.ResourceOptions(depends_on=[first]))

    it = stack(program)
    stop_up(it, number, lambda: bool(kube.list(DEPLOYMENT, space)))
    ended("local/plugins/kubernetes/__main__.py", engine_environment["PULUMI_HOME"])
    it.cli("cancel", "--yes", check=False)  # a killed engine leaves its lock
    with kubelet(kube, space, ready):
        for pod in kube.list(POD, space):
            set_status(kube, pod, ready(pod))
        it.up()
    assert it.preview() == {}
    assert set(it.resources()) >= {"first", "web"}


def test_unreachable_cluster_previews_and_fails_plainly(stack: Callable[[Callable[[], None]], Stack], tmp_path: Path) -> None:
    dead = tmp_path / "dead"
    dead.write_text(
        """{"apiVersion": "v1", "kind": "Config", "current-context": "dead",
        "contexts": [{"name": "dead", "context": {"cluster": "dead", "user": "me"}}],
        "clusters": [{"name": "dead", "cluster": {"server": "https://127.0.0.1:9"}}], "users": [{"name": "me", "user": {"token": "x"}}]}"""
    )

    def program() -> None:
        provider = k8s.Provider("dead", kubeconfig=str(dead))
        k8s.core.v1.ConfigMap("settings", data={"a": "b"}, opts=pulumi.ResourceOptions(provider=provider))

    it = stack(program)
    assert it.preview() == {"create": 3}
    text = it.fails(it.up)
    assert "configured Kubernetes cluster is unreachable" in text
    assert "https://127.0.0.1:9" in text
