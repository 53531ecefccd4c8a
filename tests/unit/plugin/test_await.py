"""When objects of each kind are ready, against states as a cluster reports them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from local.plugins.kubernetes import await_
from local.plugins.kubernetes.errors import ApiError, Unreachable
from local.plugins.kubernetes.judge import State, judge
from local.plugins.kubernetes.podlook import pod_troubles

if TYPE_CHECKING:
    from local.plugins.kubernetes.naming import Kind


class FakeCluster:
    """Answers from lists."""

    def __init__(self, **objects: list[dict[str, Any]]) -> None:
        self.objects = objects
        self.logs = "the end of the log"
        self.states: list[dict[str, Any] | Exception] = []

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        if self.states:
            state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
            if isinstance(state, Exception):
                raise state
            return state
        for item in self.objects.get(kind.kind, []):
            if item["metadata"]["name"] == name:
                return item
        raise ApiError(404, "NotFound", f"{name} not found")

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[dict[str, Any]]:
        return self.objects.get(kind.kind, [])

    def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        return self.logs


def make(api_version: str, kind: str, spec: Any = None, status: Any = None, **more: Any) -> dict[str, Any]:
    metadata = {"name": "x", "namespace": "s", "generation": 2, "uid": "u", **more.pop("metadata", {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, "spec": spec or {}, "status": status or {}, **more}


def conditions(**given: str) -> list[dict[str, str]]:
    return [{"type": key, "status": value, "reason": "Because", "message": "of that"} for key, value in given.items()]


SEEN = {"observedGeneration": 2}
READY, WAITING, FAILED = State.READY, State.WAITING, State.FAILED


@pytest.mark.parametrize(
    ("spec", "status", "state", "message"),
    [
        ({"replicas": 2}, {"observedGeneration": 1}, WAITING, "not seen"),
        ({"replicas": 2}, {**SEEN, "updatedReplicas": 1, "replicas": 2}, WAITING, "1 of 2 pods updated"),
        ({"replicas": 2}, {**SEEN, "updatedReplicas": 2, "replicas": 3, "availableReplicas": 3}, WAITING, "1 old pods"),
        (
            {"replicas": 1},
            {**SEEN, "updatedReplicas": 1, "replicas": 2, "availableReplicas": 1, "unavailableReplicas": 1},
            WAITING,
            "1 new pods not available yet, 1 old ones kept",
        ),
        ({"replicas": 2}, {**SEEN, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 1}, WAITING, "1 of 2 pods available"),
        ({"replicas": 2}, {**SEEN, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}, READY, ""),
        ({"replicas": 0}, SEEN, READY, ""),
        ({}, {**SEEN, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}, READY, ""),
        (
            {"replicas": 1},
            {**SEEN, "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}]},
            FAILED,
            "no progress in 600 s",
        ),
        ({"replicas": 1}, {**SEEN, "conditions": conditions(ReplicaFailure="True")}, WAITING, "Because: of that"),
        ({"replicas": 1, "paused": True}, SEEN, READY, ""),
    ],
)
def test_deployment(spec: Any, status: Any, state: State, message: str) -> None:
    verdict = judge(make("apps/v1", "Deployment", spec, status), FakeCluster())
    assert verdict.state is state
    assert message in verdict.message


@pytest.mark.parametrize(
    ("spec", "status", "state"),
    [
        ({"replicas": 2}, {**SEEN, "readyReplicas": 1}, WAITING),
        ({"replicas": 2}, {**SEEN, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "a"}, WAITING),
        ({"replicas": 2}, {**SEEN, "readyReplicas": 2, "updateRevision": "b", "currentRevision": "b"}, READY),
        (
            {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {**SEEN, "readyReplicas": 3},
            WAITING,
        ),
        (
            {"replicas": 3, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}},
            {**SEEN, "readyReplicas": 3, "updatedReplicas": 1},
            READY,
        ),
        ({"replicas": 1, "updateStrategy": {"type": "OnDelete"}}, {**SEEN, "readyReplicas": 1, "updateRevision": "b"}, READY),
    ],
)
def test_stateful_set(spec: Any, status: Any, state: State) -> None:
    assert judge(make("apps/v1", "StatefulSet", spec, status), FakeCluster()).state is state


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"observedGeneration": 1}, WAITING),
        ({**SEEN, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1, "numberAvailable": 2}, WAITING),
        ({**SEEN, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 1}, WAITING),
        ({**SEEN, "desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}, READY),
        (SEEN, READY),
    ],
)
def test_daemon_set(status: Any, state: State) -> None:
    assert judge(make("apps/v1", "DaemonSet", {}, status), FakeCluster()).state is state


@pytest.mark.parametrize(
    ("api_version", "kind", "spec", "status", "state", "message"),
    [
        ("batch/v1", "Job", {}, {"active": 1}, WAITING, "0 of 1 succeeded, 1 active"),
        ("batch/v1", "Job", {}, {"conditions": conditions(Complete="True")}, READY, ""),
        ("batch/v1", "Job", {}, {"conditions": conditions(Failed="True")}, FAILED, "Because: of that"),
        ("v1", "Pod", {}, {"phase": "Running", "conditions": conditions(Ready="True")}, READY, ""),
        ("v1", "Pod", {}, {"phase": "Succeeded"}, READY, ""),
        ("v1", "Pod", {}, {"phase": "Failed", "reason": "Evicted", "message": "disk"}, FAILED, "Evicted: disk"),
        ("v1", "Pod", {}, {"phase": "Pending", "conditions": conditions(PodScheduled="False")}, WAITING, "Because: of that"),
        ("v1", "PersistentVolumeClaim", {}, {"phase": "Bound"}, READY, ""),
        ("v1", "PersistentVolumeClaim", {}, {"phase": "Lost"}, FAILED, "lost"),
        ("v1", "PersistentVolumeClaim", {"storageClassName": "none"}, {"phase": "Pending"}, WAITING, "StorageClass 'none' does not exist"),
        ("v1", "PersistentVolumeClaim", {"storageClassName": "late"}, {"phase": "Pending"}, READY, ""),
        ("v1", "PersistentVolumeClaim", {"storageClassName": "now"}, {"phase": "Pending"}, WAITING, "Pending"),
        ("v1", "Namespace", {}, {"phase": "Active"}, READY, ""),
        ("v1", "Namespace", {}, {"phase": "Terminating"}, WAITING, "deleted"),
        ("networking.k8s.io/v1", "Ingress", {}, {}, WAITING, "address"),
        ("networking.k8s.io/v1", "Ingress", {}, {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}, READY, ""),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions(Established="True")}, READY, ""),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {}, WAITING, "not established"),
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", {}, {"conditions": conditions(NamesAccepted="False")}, FAILED, "taken"),
        ("apiregistration.k8s.io/v1", "APIService", {}, {"conditions": conditions(Available="True")}, READY, ""),
        ("apiregistration.k8s.io/v1", "APIService", {}, {"conditions": conditions(Available="False")}, WAITING, "Because: of that"),
        ("v1", "ConfigMap", {}, {}, READY, ""),
        ("example.com/v1", "Widget", {}, {"phase": "whatever"}, READY, ""),
    ],
)
def test_other_kinds(  # noqa: PLR0917
    api_version: str, kind: str, spec: Any, status: Any, state: State, message: str
) -> None:
    classes = [
        {"metadata": {"name": "late"}, "volumeBindingMode": "WaitForFirstConsumer"},
        {"metadata": {"name": "now"}, "volumeBindingMode": "Immediate"},
    ]
    verdict = judge(make(api_version, kind, spec, status), FakeCluster(StorageClass=classes))
    assert verdict.state is state
    assert message in verdict.message


SLICE = {"endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": True}}]}
NOT_READY = {"endpoints": [{"addresses": ["192.0.2.1"], "conditions": {"ready": False}}]}


@pytest.mark.parametrize(
    ("spec", "status", "slices", "state"),
    [
        ({"type": "ExternalName"}, {}, [], READY),
        ({"clusterIP": "None", "selector": {"a": "b"}}, {}, [], READY),
        ({"clusterIP": "10.0.0.1"}, {}, [], READY),
        ({"clusterIP": "10.0.0.1", "selector": {"a": "b"}}, {}, [], WAITING),
        ({"clusterIP": "10.0.0.1", "selector": {"a": "b"}}, {}, [NOT_READY], WAITING),
        ({"clusterIP": "10.0.0.1", "selector": {"a": "b"}}, {}, [SLICE], READY),
        ({"clusterIP": "10.0.0.1", "selector": {"a": "b"}, "type": "LoadBalancer"}, {}, [SLICE], WAITING),
        (
            {"clusterIP": "10.0.0.1", "selector": {"a": "b"}, "type": "LoadBalancer"},
            {"loadBalancer": {"ingress": [{"hostname": "lb"}]}},
            [SLICE],
            READY,
        ),
    ],
)
def test_service(spec: Any, status: Any, slices: list[Any], state: State) -> None:
    assert judge(make("v1", "Service", spec, status), FakeCluster(EndpointSlice=slices)).state is state


@pytest.mark.parametrize(
    ("annotation", "status", "state"),
    [
        ("condition=Synced", {"conditions": conditions(Synced="True")}, READY),
        ("condition=Synced", {}, WAITING),
        ("condition=Stalled=False", {"conditions": conditions(Stalled="False")}, READY),
        ("jsonpath={.status.phase}", {"phase": "x"}, READY),
        ("jsonpath={.status.phase}=Ready", {"phase": "x"}, WAITING),
        ('["condition=Synced", "jsonpath={.status.phase}=x"]', {"phase": "x", "conditions": conditions(Synced="True")}, READY),
        ("until it works", {}, FAILED),
    ],
)
def test_wait_for(annotation: str, status: Any, state: State) -> None:
    widget = make("example.com/v1", "Widget", {}, status, metadata={"annotations": {"pulumi.com/waitFor": annotation}})
    assert judge(widget, FakeCluster()).state is state


def crashing_pod() -> dict[str, Any]:
    return make(
        "v1",
        "Pod",
        {},
        {
            "containerStatuses": [
                {
                    "name": "main",
                    "ready": False,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ]
        },
    )


def test_troubles_of_pods() -> None:
    assert pod_troubles(crashing_pod()) == ["container 'main': CrashLoopBackOff: back-off 5m0s (last exit code 137, OOMKilled)"]
    starting = make("v1", "Pod", {}, {"containerStatuses": [{"name": "m", "state": {"waiting": {"reason": "ContainerCreating"}}}]})
    assert pod_troubles(starting) == []
    probing = make("v1", "Pod", {}, {"containerStatuses": [{"name": "m", "ready": False, "state": {"running": {}}}]})
    assert "readiness probe" in pod_troubles(probing)[0]


def test_failure_shows_pods_and_logs() -> None:
    web = make("apps/v1", "Deployment", {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}}, SEEN)
    cluster = FakeCluster(Pod=[crashing_pod()])
    cluster.states = [web]
    said: list[str] = []
    with pytest.raises(await_.NotReady) as caught:
        await_.wait_ready(web, {}, cluster, timeout_s=0.1, cancelled=threading.Event(), status=said.append)
    text = "\n".join(caught.value.reasons)
    assert "was not ready after" in str(caught.value)
    assert "CrashLoopBackOff" in text
    assert "the end of the log" in text
    assert caught.value.live is web


def test_wait_ends_with_the_last_state() -> None:
    web = make("apps/v1", "Deployment", {"replicas": 1, "selector": {}}, {"observedGeneration": 1})
    done = make(
        "apps/v1", "Deployment", {"replicas": 1, "selector": {}}, {**SEEN, "updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}
    )
    cluster = FakeCluster()
    cluster.states = [web, Unreachable("gone for a moment"), done]
    assert await_.wait_ready(web, {}, cluster, timeout_s=30, cancelled=threading.Event(), status=lambda _: None) is done


def test_skip_await_and_cancel() -> None:
    web = make("apps/v1", "Deployment", {"replicas": 1}, {})
    skip = {"metadata": {"annotations": {"pulumi.com/skipAwait": "true"}}}
    assert await_.wait_ready(web, skip, FakeCluster(), timeout_s=30, cancelled=threading.Event(), status=lambda _: None) is web
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(await_.Cancelled, match="Deployment s/x"):
        await_.wait_ready(web, {}, FakeCluster(), timeout_s=30, cancelled=cancelled, status=lambda _: None)


def test_object_deleted_under_the_wait() -> None:
    web = make("apps/v1", "Deployment", {"replicas": 1}, {})
    cluster = FakeCluster()
    cluster.states = [ApiError(404, "NotFound", "gone")]
    with pytest.raises(await_.NotReady, match="was deleted"):
        await_.wait_ready(web, {}, cluster, timeout_s=30, cancelled=threading.Event(), status=lambda _: None)


def test_deletion_is_over_when_another_object_has_the_name() -> None:
    cluster = FakeCluster()
    cluster.states = [make("v1", "ConfigMap"), make("v1", "ConfigMap", metadata={"uid": "another"})]
    await_.wait_gone(make("v1", "ConfigMap"), cluster, timeout_s=30, cancelled=threading.Event(), status=lambda _: None)


def test_deletion_that_is_held() -> None:
    held = make("v1", "Namespace", metadata={"finalizers": ["foregroundDeletion", "example.com/mine"]})
    held["status"] = {"conditions": [{"type": "NamespaceContentRemaining", "status": "True", "message": "pods remain"}]}
    cluster = FakeCluster()
    cluster.states = [held]
    with pytest.raises(await_.NotReady) as caught:
        await_.wait_gone(held, cluster, timeout_s=0.1, cancelled=threading.Event(), status=lambda _: None)
    assert "example.com/mine" in str(caught.value)
    assert "pods remain" in str(caught.value)


def test_timeouts() -> None:
    annotated = {"metadata": {"annotations": {"pulumi.com/timeoutSeconds": "7"}}}
    assert await_.timeout_of(3, annotated) == 3
    assert await_.timeout_of(0, annotated) == 7
    assert await_.timeout_of(0, {}) == 600
