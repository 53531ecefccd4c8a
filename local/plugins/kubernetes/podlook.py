"""Why the pods that an object waits for are not ready. Only explains failures: its own errors are ignored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.facts import Cluster, condition, name_of, namespace_of, said, selector_text
from local.plugins.kubernetes.naming import Kind, annotation, kind_of, object_id

if TYPE_CHECKING:
    from local.plugins.kubernetes.client import Object

_LOG_LINES = 20
_PODS_NAMED = 3  # in a message; the others usually have the same reason

POD = Kind("", "v1", "Pod")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet")
EVENT = Kind("", "v1", "Event")


def pod_troubles(obj: Object) -> list[str]:
    """Why a pod is not ready: scheduling, images, crashes."""
    troubles = []
    status = obj.get("status") or {}
    scheduled = condition(obj, "PodScheduled")
    if scheduled.get("status") == "False":
        troubles.append(said(scheduled))
    for item in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        state = item.get("state") or {}
        name = item.get("name")
        stopped = state.get("waiting") or {}
        if stopped.get("reason") and stopped["reason"] not in ("ContainerCreating", "PodInitializing"):
            text = f"container {name!r}: {said(stopped)}"
            last = (item.get("lastState") or {}).get("terminated") or {}
            if last:
                text += f" (last exit code {last.get('exitCode')}{', ' + last['reason'] if last.get('reason') else ''})"
            troubles.append(text)
        ended = state.get("terminated") or {}
        if ended and ended.get("exitCode"):
            troubles.append(f"container {name!r} ended with exit code {ended['exitCode']}: {said(ended)}")
        if "running" in state and not item.get("ready") and item in (status.get("containerStatuses") or []):
            troubles.append(f"container {name!r} is running but not ready (readiness probe)")
    return troubles


def pods_of(obj: Object, cluster: Cluster) -> list[Object]:
    """The pods that an object waits for; for a Deployment, those of its latest ReplicaSet."""
    kind = kind_of(obj)
    spec = obj.get("spec") or {}
    space = namespace_of(obj)
    if (kind.group, kind.kind) == ("", "Pod"):
        return [obj]
    if (kind.group, kind.kind) == ("", "Service"):
        selector = ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())
    else:
        selector = selector_text(spec.get("selector"))
    if not selector:
        return []
    if (kind.group, kind.kind) == ("apps", "Deployment"):
        uid = obj["metadata"].get("uid")
        sets = [item for item in cluster.list(REPLICA_SET, space, labels=selector) if _owned(item, uid)]
        if sets:
            newest = max(sets, key=lambda item: int(annotation(item, "deployment.kubernetes.io/revision") or 0))
            template = (newest["metadata"].get("labels") or {}).get("pod-template-hash")
            if template:
                selector += f",pod-template-hash={template}"
    return cluster.list(POD, space, labels=selector)


def _owned(obj: Object, uid: Any) -> bool:
    return any(owner.get("uid") == uid for owner in obj["metadata"].get("ownerReferences") or [])


_WITH_PODS = frozenset({"Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "Pod", "Service"})


def pod_reasons(obj: Object, cluster: Cluster, *, logs: bool = False) -> list[str]:
    """Why an object's pods are not ready, a line for each pod, with the end of crashed containers' logs. Never raises."""
    if kind_of(obj).kind not in _WITH_PODS:
        return []
    try:
        pods = pods_of(obj, cluster)
    except (ApiError, NoSuchKind, Unreachable):
        return []
    lines: list[str] = []
    for item in pods:
        troubles = pod_troubles(item)
        if troubles and len(lines) < _PODS_NAMED:
            text = f"pod {object_id(item)}: " + "; ".join(troubles)
            if logs:
                text += "".join(_crash_logs(item, cluster))
            lines.append(text)
    return lines


def _crash_logs(obj: Object, cluster: Cluster) -> list[str]:
    texts = []
    status = obj.get("status") or {}
    for item in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        state = item.get("state") or {}
        crashed_now = bool((state.get("terminated") or {}).get("exitCode"))
        crashed_before = bool((item.get("lastState") or {}).get("terminated"))
        if not crashed_now and not crashed_before:
            continue
        try:
            tail = cluster.log_tail(
                namespace_of(obj), name_of(obj), item["name"], lines=_LOG_LINES, previous=crashed_before and not crashed_now
            ).rstrip()
        except (ApiError, Unreachable):
            continue
        if tail:
            texts.append(f"\n    last lines of container {item['name']!r}:\n      " + tail.replace("\n", "\n      "))
    return texts


def warnings_of(obj: Object, cluster: Cluster) -> list[str]:
    """Warning events of an object. Never raises."""
    uid = obj["metadata"].get("uid")
    try:
        events = cluster.list(EVENT, namespace_of(obj), fields=f"involvedObject.uid={uid},type=Warning")
    except (ApiError, NoSuchKind, Unreachable):
        return []
    return sorted({f"event {said(item)}" for item in events})[:_PODS_NAMED]
