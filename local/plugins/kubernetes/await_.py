"""When is an object ready: one pure judgement a kind, and the loop that asks again.

A judgement looks at the object as it is now (and, through `Cluster`, at what belongs to it) and says ready, waiting with what is missing,
or failed. The rules are those of `kubectl rollout status` and of the official provider. The loop polls: one GET every second or less,
over a kept connection, and no informers to keep in step.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from local.plugins.kubernetes.client import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.diff import look, parse_path
from local.plugins.kubernetes.naming import SKIP_AWAIT, TIMEOUT_SECONDS, WAIT_FOR, Kind, annotation, is_true, kind_of, object_id

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from local.plugins.kubernetes.client import Object

DEFAULT_TIMEOUT_S = 600.0  # the official provider's
_POLL_FIRST_S, _POLL_MOST_S, _POLL_GROWTH = 0.1, 1.0, 1.5
_QUIET_S = 1.0  # what is over sooner needs no progress
_LOG_LINES = 20
_PODS_NAMED = 3  # in a message; the others say the same
_UNREACHABLE_PATIENCE_S = 60.0  # an API server that restarts is back by then

POD = Kind("", "v1", "Pod")
REPLICA_SET = Kind("apps", "v1", "ReplicaSet")
ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass")
EVENT = Kind("", "v1", "Event")


class State(Enum):
    """How far an object is."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """A judgement and its reason (empty when ready)."""

    state: State
    message: str = ""


READY = Verdict(State.READY)


def waiting(message: str) -> Verdict:
    """Not yet, because."""
    return Verdict(State.WAITING, message)


def failed(message: str) -> Verdict:
    """It will not become ready by itself, because."""
    return Verdict(State.FAILED, message)


class Cluster(Protocol):
    """What the judgements look up."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """One object."""

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """Objects by selector."""

    def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """The end of a log."""


class NotReady(Exception):  # noqa: N818
    """The wait ended without success.

    Attributes:
        reasons: What the object's pods and events say, a line each.
        live: The object as it was last seen.
    """

    def __init__(self, message: str, reasons: list[str], live: Object) -> None:
        super().__init__(message)
        self.reasons = reasons
        self.live = live


class Cancelled(Exception):  # noqa: N818
    """The user asked to stop."""


def _namespace(obj: Object) -> str:
    return str(obj["metadata"].get("namespace") or "")


def _name(obj: Object) -> str:
    return str(obj["metadata"]["name"])


def condition(obj: Object, name: str) -> Object:
    """A status condition by its type; empty if it is not there."""
    for item in (obj.get("status") or {}).get("conditions") or []:
        if item.get("type") == name:
            return dict(item)
    return {}


def _said(item: Object) -> str:
    return ": ".join(part for part in (item.get("reason"), item.get("message")) if part)


def _observed(obj: Object) -> bool:
    return int((obj.get("status") or {}).get("observedGeneration") or 0) >= int(obj["metadata"].get("generation") or 0)


def _selector(labels: Any) -> str:
    """A label selector object as text."""
    parts = [f"{key}={value}" for key, value in ((labels or {}).get("matchLabels") or {}).items()]
    for item in (labels or {}).get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        match item["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)


# --- judgements


def deployment(obj: Object, _: Cluster) -> Verdict:  # noqa: PLR0911  # one return a finding
    """The new ReplicaSet has all its pods available and the old ones are gone."""
    if not _observed(obj):
        return waiting("the controller has not seen the change yet")
    status, wanted = obj.get("status") or {}, int(obj["spec"].get("replicas", 1))
    progressing = condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return failed(
            f"the rollout made no progress in {obj['spec'].get('progressDeadlineSeconds', 600)} s: {progressing.get('message', '')}"
        )
    failure = condition(obj, "ReplicaFailure")
    if failure.get("status") == "True":
        return waiting(f"pods can't be created: {_said(failure)}")
    if obj["spec"].get("paused"):
        return READY
    updated, total, available, lacking = (
        int(status.get(key) or 0) for key in ("updatedReplicas", "replicas", "availableReplicas", "unavailableReplicas")
    )
    if updated < wanted:
        return waiting(f"{updated} of {wanted} pods updated")
    if total > updated and lacking:
        return waiting(f"{lacking} new pods not available yet, {total - updated} old ones kept until they are")
    if total > updated:
        return waiting(f"{total - updated} old pods still terminating")
    if available < updated:
        return waiting(f"{available} of {updated} pods available")
    return READY


def replica_set(obj: Object, _: Cluster) -> Verdict:
    """All pods are available."""
    if not _observed(obj):
        return waiting("the controller has not seen the change yet")
    status, wanted = obj.get("status") or {}, int(obj["spec"].get("replicas", 1))
    available = int(status.get("availableReplicas") or 0)
    return READY if available >= wanted else waiting(f"{available} of {wanted} pods available")


def stateful_set(obj: Object, _: Cluster) -> Verdict:
    """Every pod up to the partition is of the new revision, and all are ready."""
    if not _observed(obj):
        return waiting("the controller has not seen the change yet")
    status, spec = obj.get("status") or {}, obj["spec"]
    wanted = int(spec.get("replicas", 1))
    ready, updated = int(status.get("readyReplicas") or 0), int(status.get("updatedReplicas") or 0)
    if ready < wanted:
        return waiting(f"{ready} of {wanted} pods ready")
    strategy = spec.get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return READY
    partition = int((strategy.get("rollingUpdate") or {}).get("partition") or 0)
    if partition:
        return READY if updated >= wanted - partition else waiting(f"{updated} of {wanted - partition} pods updated")
    if status.get("updateRevision") != status.get("currentRevision"):
        return waiting(f"{updated} of {wanted} pods updated")
    return READY


def daemon_set(obj: Object, _: Cluster) -> Verdict:
    """Every node that should run a pod runs an available one of the new template."""
    if not _observed(obj):
        return waiting("the controller has not seen the change yet")
    status = obj.get("status") or {}
    desired, updated, available = (
        int(status.get(key) or 0) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    if (obj["spec"].get("updateStrategy") or {}).get("type") != "OnDelete" and updated < desired:
        return waiting(f"{updated} of {desired} pods updated")
    return READY if available >= desired else waiting(f"{available} of {desired} pods available")


def job(obj: Object, _: Cluster) -> Verdict:
    """It completed."""
    if condition(obj, "Complete").get("status") == "True":
        return READY
    failure = condition(obj, "Failed")
    if failure.get("status") == "True":
        return failed(f"the Job failed: {_said(failure)}")
    status = obj.get("status") or {}
    return waiting(f"{status.get('succeeded') or 0} of {obj['spec'].get('completions', 1)} succeeded, {status.get('active') or 0} active")


def pod(obj: Object, _: Cluster) -> Verdict:
    """It is ready, or has done its work."""
    status = obj.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded" or condition(obj, "Ready").get("status") == "True":
        return READY
    if phase == "Failed":
        return failed(f"the pod failed: {_said(status) or '; '.join(pod_troubles(obj)) or 'no reason given'}")
    return waiting("; ".join(pod_troubles(obj)) or f"the pod is {phase or 'not scheduled'}")


def service(obj: Object, cluster: Cluster) -> Verdict:
    """It has somewhere to send a request, and a load balancer its address."""
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return READY
    if spec.get("clusterIP") != "None" and spec.get("selector"):
        slices = cluster.list(ENDPOINT_SLICE, _namespace(obj), labels=f"kubernetes.io/service-name={_name(obj)}")
        endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or []]
        if not any((endpoint.get("conditions") or {}).get("ready", True) is not False for endpoint in endpoints):
            return waiting("no ready pod matches the selector " + ", ".join(f"{key}={value}" for key, value in spec["selector"].items()))
    if spec.get("type") == "LoadBalancer" and not ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return waiting("no address from the load balancer yet")
    return READY


def ingress(obj: Object, _: Cluster) -> Verdict:
    """A controller gave it an address."""
    if ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return READY
    return waiting("no ingress controller has given it an address yet")


def volume_claim(obj: Object, cluster: Cluster) -> Verdict:
    """It is bound, or waits for its first pod as its class wants."""
    phase = (obj.get("status") or {}).get("phase")
    if phase == "Bound":
        return READY
    if phase == "Lost":
        return failed("the volume behind the claim is lost")
    class_name = obj["spec"].get("storageClassName")
    if class_name:
        try:
            chosen = cluster.get(STORAGE_CLASS, "", class_name)
        except (ApiError, NoSuchKind):
            return waiting(f"there is no StorageClass {class_name!r}")
        if chosen.get("volumeBindingMode") == "WaitForFirstConsumer":
            return READY
    return waiting(f"the claim is {phase or 'new'}")


def volume(obj: Object, _: Cluster) -> Verdict:
    """It can be claimed."""
    phase = (obj.get("status") or {}).get("phase")
    return READY if phase in ("Available", "Bound") else waiting(f"the volume is {phase or 'new'}")


def custom_resource_definition(obj: Object, _: Cluster) -> Verdict:
    """The kind is served."""
    names = condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return failed(f"its names are taken: {_said(names)}")
    established = condition(obj, "Established")
    return READY if established.get("status") == "True" else waiting(_said(established) or "not established yet")


def api_service(obj: Object, _: Cluster) -> Verdict:
    """The server behind it answers."""
    available = condition(obj, "Available")
    return READY if available.get("status") == "True" else waiting(_said(available) or "not available yet")


def namespace(obj: Object, _: Cluster) -> Verdict:
    """It takes objects."""
    phase = (obj.get("status") or {}).get("phase")
    return waiting("it is being deleted") if phase == "Terminating" else READY


def secret(obj: Object, _: Cluster) -> Verdict:
    """A service account's token has been filled in."""
    if obj.get("type") == "kubernetes.io/service-account-token" and not (obj.get("data") or {}).get("token"):
        return waiting("the token is not there yet")
    return READY


JUDGEMENTS: dict[tuple[str, str], Callable[[Object, Cluster], Verdict]] = {
    ("apps", "Deployment"): deployment,
    ("apps", "ReplicaSet"): replica_set,
    ("apps", "StatefulSet"): stateful_set,
    ("apps", "DaemonSet"): daemon_set,
    ("batch", "Job"): job,
    ("", "Pod"): pod,
    ("", "Service"): service,
    ("", "PersistentVolumeClaim"): volume_claim,
    ("", "PersistentVolume"): volume,
    ("", "Namespace"): namespace,
    ("", "Secret"): secret,
    ("networking.k8s.io", "Ingress"): ingress,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): custom_resource_definition,
    ("apiregistration.k8s.io", "APIService"): api_service,
}


def judge(obj: Object, cluster: Cluster) -> Verdict:
    """The verdict on an object of any kind; one that we know no rule for is ready."""
    wanted = annotation(obj, WAIT_FOR)
    if wanted:
        return _custom(obj, wanted)
    kind = kind_of(obj)
    rule = JUDGEMENTS.get((kind.group, kind.kind))
    return rule(obj, cluster) if rule else READY


def _custom(obj: Object, wanted: str) -> Verdict:
    """The annotation `pulumi.com/waitFor`: `condition=Type[=Status]`, `jsonpath={.a.b}[=value]`, or a JSON list of these."""
    try:
        parsed = json.loads(wanted)
    except ValueError:
        parsed = wanted
    for expression in parsed if isinstance(parsed, list) else [parsed]:
        what, _, rest = str(expression).partition("=")
        if what == "condition":
            name, _, status = rest.partition("=")
            if str(condition(obj, name).get("status", "")).lower() != (status or "True").lower():
                return waiting(f"condition {name} is not {status or 'True'}: {_said(condition(obj, name)) or 'not set'}")
        elif what == "jsonpath":
            path, _, value = rest.partition("}")
            found = look(obj, parse_path(path.lstrip("{")))
            value = value.removeprefix("=")
            if found is None or (value and str(found) != value):
                return waiting(f"{path.lstrip('{')} is {found!r}, not {value or 'set'}")
        else:
            return failed(f'{WAIT_FOR}: expected a "jsonpath=" or "condition=" prefix, got {expression!r}')
    return READY


# --- what is wrong with the pods


def pod_troubles(obj: Object) -> list[str]:
    """Why a pod is not ready: scheduling, images, crashes; in its own words."""
    troubles = []
    status = obj.get("status") or {}
    scheduled = condition(obj, "PodScheduled")
    if scheduled.get("status") == "False":
        troubles.append(_said(scheduled))
    for item in (status.get("initContainerStatuses") or []) + (status.get("containerStatuses") or []):
        state = item.get("state") or {}
        name = item.get("name")
        stopped = state.get("waiting") or {}
        if stopped.get("reason") and stopped["reason"] not in ("ContainerCreating", "PodInitializing"):
            text = f"container {name!r}: {_said(stopped)}"
            last = (item.get("lastState") or {}).get("terminated") or {}
            if last:
                text += f" (last exit code {last.get('exitCode')}{', ' + last['reason'] if last.get('reason') else ''})"
            troubles.append(text)
        ended = state.get("terminated") or {}
        if ended and ended.get("exitCode"):
            troubles.append(f"container {name!r} ended with exit code {ended['exitCode']}: {_said(ended)}")
        if "running" in state and not item.get("ready") and item in (status.get("containerStatuses") or []):
            troubles.append(f"container {name!r} runs and is not ready (readiness probe)")
    return troubles


def pods_of(obj: Object, cluster: Cluster) -> list[Object]:
    """The pods that an object waits for; for a Deployment those of its newest ReplicaSet."""
    kind = kind_of(obj)
    spec = obj.get("spec") or {}
    space = _namespace(obj)
    if (kind.group, kind.kind) == ("", "Pod"):
        return [obj]
    if (kind.group, kind.kind) == ("", "Service"):
        selector = ",".join(f"{key}={value}" for key, value in (spec.get("selector") or {}).items())
    else:
        selector = _selector(spec.get("selector"))
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
    """What keeps an object's pods from being ready, a line a pod; with the end of the logs of what crashed.

    Never raises: this only explains a failure that is there already.
    """
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
                _namespace(obj), _name(obj), item["name"], lines=_LOG_LINES, previous=crashed_before and not crashed_now
            ).rstrip()
        except (ApiError, Unreachable):
            continue
        if tail:
            texts.append(f"\n    last lines of container {item['name']!r}:\n      " + tail.replace("\n", "\n      "))
    return texts


def _events(obj: Object, cluster: Cluster) -> list[str]:
    uid = obj["metadata"].get("uid")
    try:
        events = cluster.list(EVENT, _namespace(obj), fields=f"involvedObject.uid={uid},type=Warning")
    except (ApiError, NoSuchKind, Unreachable):
        return []
    return sorted({f"event {_said(item)}" for item in events})[:_PODS_NAMED]


# --- the loops


def timeout_of(custom_s: float, inputs: Object) -> float:
    """How long to wait, in seconds: the resource option `custom_timeouts`, else the annotation, else the default."""
    if custom_s > 0:
        return custom_s
    text = annotation(inputs, TIMEOUT_SECONDS)
    return float(text) if text.isdigit() else DEFAULT_TIMEOUT_S


def wait_ready(  # noqa: C901, PLR0912  # one loop, with every way out of it
    obj: Object,
    inputs: Object,
    cluster: Cluster,
    *,
    timeout_s: float,
    cancelled: threading.Event,
    status: Callable[[str], None],
) -> Object:
    """Wait until an object is ready.

    Args:
        obj: The object as the API server returned it.
        inputs: What the program asked for (its annotations steer the wait).
        cluster: To look again.
        timeout_s: How long.
        cancelled: Set when the user asks to stop.
        status: Gets the progress, a line each.

    Returns:
        The object as it was last seen.

    Raises:
        NotReady: It failed or the time is up.
        Cancelled: The user asked to stop.
    """
    if is_true(inputs, SKIP_AWAIT):
        return obj
    kind, space, name = kind_of(obj), _namespace(obj), _name(obj)
    started = time.monotonic()
    last_answer = started
    pause = _POLL_FIRST_S
    live = obj
    verdict = waiting("")
    looked = 0.0
    reasons: list[str] = []
    while True:
        try:
            verdict = judge(live, cluster)
            last_answer = time.monotonic()
        except Unreachable as error:
            verdict = waiting(str(error))
            if time.monotonic() - last_answer > _UNREACHABLE_PATIENCE_S:
                raise NotReady(f"lost the API server while waiting: {error}", [], live) from error
        if verdict.state is State.READY:
            status("")
            return live
        now = time.monotonic()
        if verdict.state is State.FAILED or now - started >= timeout_s:
            break
        if now - looked > _POLL_MOST_S * 3 and now - started > _POLL_MOST_S:
            looked, reasons = now, pod_reasons(live, cluster)
        if now - started > _QUIET_S:
            status(f"{verdict.message}{' (' + reasons[0] + ')' if reasons else ''}")
        if cancelled.wait(min(pause, max(0.0, timeout_s - (now - started)))):
            raise Cancelled(f"cancelled while waiting for {kind.kind} {object_id(live)}: {verdict.message}")
        pause = min(pause * _POLL_GROWTH, _POLL_MOST_S)
        try:
            live = cluster.get(kind, space, name)
        except Unreachable:
            continue
        except ApiError as error:
            if not error.not_found:
                raise
            if kind.kind in ("Job", "Pod") and ((live.get("spec") or {}).get("ttlSecondsAfterFinished") is not None):
                status("")
                return live  # cleaned up after it finished
            raise NotReady(f"{kind.kind} {object_id(live)} was deleted by somebody else while waiting for it", [], live) from error
    details = pod_reasons(live, cluster, logs=True) + _events(live, cluster)
    if verdict.state is State.FAILED:
        raise NotReady(f"{kind.kind} {object_id(live)} failed: {verdict.message}", details, live)
    raise NotReady(
        f"{kind.kind} {object_id(live)} was not ready after {timeout_s:.0f} s: {verdict.message}",
        details,
        live,
    )


def wait_gone(  # noqa: C901  # one loop, with every way out of it
    obj: Object,
    cluster: Cluster,
    *,
    timeout_s: float,
    cancelled: threading.Event,
    status: Callable[[str], None],
) -> None:
    """Wait until an object is gone, or another one has its name.

    Raises:
        NotReady: The time is up; the reasons name what holds the object.
        Cancelled: The user asked to stop.
    """
    kind, space, name = kind_of(obj), _namespace(obj), _name(obj)
    uid = obj["metadata"].get("uid")
    started = last_answer = time.monotonic()
    pause = _POLL_FIRST_S / 2
    live = obj
    while True:
        try:
            live = cluster.get(kind, space, name)
            last_answer = time.monotonic()
            if uid and live["metadata"].get("uid") != uid:
                break
        except NoSuchKind:
            break
        except ApiError as error:
            if error.not_found:
                break
            raise
        except Unreachable:
            if time.monotonic() - last_answer > _UNREACHABLE_PATIENCE_S:
                raise
        holding = what_holds(live)
        now = time.monotonic()
        if now - started >= timeout_s:
            raise NotReady(
                f"{kind.kind} {object_id(live)} is still there {timeout_s:.0f} s after its deletion was asked for: {'; '.join(holding)}",
                holding,
                live,
            )
        if now - started > _QUIET_S:
            status("waiting for deletion: " + "; ".join(holding))
        if cancelled.wait(min(pause, timeout_s - (now - started))):
            raise Cancelled(f"cancelled while waiting for the deletion of {kind.kind} {object_id(live)}")
        pause = min(pause * _POLL_GROWTH, _POLL_MOST_S)
    status("")


def what_holds(live: Object) -> list[str]:
    """Why a deleted object is still there."""
    lines = []
    finalizers = live["metadata"].get("finalizers") or []
    own = [item for item in finalizers if item not in ("foregroundDeletion", "orphan")]
    if own:
        lines.append(f"finalizers {', '.join(own)} (whoever put them there must take them away)")
    if "foregroundDeletion" in finalizers:
        lines.append("the objects that it owns go first")
    if kind_of(live).kind == "Namespace":
        conditions = (live.get("status") or {}).get("conditions") or []
        lines += [str(item["message"]) for item in conditions if item.get("status") == "True" and item.get("message")]
    return lines or ["it is terminating"]
