"""Whether an object is ready: one rule per kind.

A rule examines the current object (and, through `Cluster`, related objects) and returns ready, waiting with what is missing, or failed. The
rules are those of `kubectl rollout status` and of the official provider.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from local.plugins.kubernetes.errors import ApiError, NoSuchKind
from local.plugins.kubernetes.facts import Cluster, condition, name_of, namespace_of, observed, said
from local.plugins.kubernetes.naming import WAIT_FOR, Kind, annotation, kind_of
from local.plugins.kubernetes.paths import look, parse_path
from local.plugins.kubernetes.podlook import pod_troubles

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plugins.kubernetes.client import Object

ENDPOINT_SLICE = Kind("discovery.k8s.io", "v1", "EndpointSlice")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass")


class State(Enum):
    """Readiness of an object."""

    READY = "ready"
    WAITING = "waiting"
    FAILED = "failed"


@dataclass(frozen=True)
class Verdict:
    """A rule's result and its reason (empty if ready)."""

    state: State
    message: str = ""


READY = Verdict(State.READY)


def waiting(message: str) -> Verdict:
    """Not ready yet, with the reason."""
    return Verdict(State.WAITING, message)


def failed(message: str) -> Verdict:
    """Will not become ready without a change, with the reason."""
    return Verdict(State.FAILED, message)


def deployment(obj: Object, _: Cluster) -> Verdict:  # noqa: PLR0911  # one return per finding
    """All pods of the new ReplicaSet are available, and the old ones are gone."""
    if not observed(obj):
        return waiting("the controller has not seen the change yet")
    status, wanted = obj.get("status") or {}, int(obj["spec"].get("replicas", 1))
    progressing = condition(obj, "Progressing")
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return failed(
            f"the rollout made no progress in {obj['spec'].get('progressDeadlineSeconds', 600)} s: {progressing.get('message', '')}"
        )
    failure = condition(obj, "ReplicaFailure")
    if failure.get("status") == "True":
        return waiting(f"pods can't be created: {said(failure)}")
    if obj["spec"].get("paused"):
        return READY
    updated, total, available, unavailable = (
        int(status.get(key) or 0) for key in ("updatedReplicas", "replicas", "availableReplicas", "unavailableReplicas")
    )
    if updated < wanted:
        return waiting(f"{updated} of {wanted} pods updated")
    if total > updated and unavailable:
        return waiting(f"{unavailable} new pods not available yet, {total - updated} old ones kept until they are")
    if total > updated:
        return waiting(f"{total - updated} old pods still terminating")
    if available < updated:
        return waiting(f"{available} of {updated} pods available")
    return READY


def replica_set(obj: Object, _: Cluster) -> Verdict:
    """All pods are available."""
    if not observed(obj):
        return waiting("the controller has not seen the change yet")
    status, wanted = obj.get("status") or {}, int(obj["spec"].get("replicas", 1))
    available = int(status.get("availableReplicas") or 0)
    return READY if available >= wanted else waiting(f"{available} of {wanted} pods available")


def stateful_set(obj: Object, _: Cluster) -> Verdict:
    """All pods from the partition on have the new revision, and all pods are ready."""
    if not observed(obj):
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
    """Every selected node runs an available pod of the new template."""
    if not observed(obj):
        return waiting("the controller has not seen the change yet")
    status = obj.get("status") or {}
    desired, updated, available = (
        int(status.get(key) or 0) for key in ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable")
    )
    if (obj["spec"].get("updateStrategy") or {}).get("type") != "OnDelete" and updated < desired:
        return waiting(f"{updated} of {desired} pods updated")
    return READY if available >= desired else waiting(f"{available} of {desired} pods available")


def job(obj: Object, _: Cluster) -> Verdict:
    """It has completed."""
    if condition(obj, "Complete").get("status") == "True":
        return READY
    failure = condition(obj, "Failed")
    if failure.get("status") == "True":
        return failed(f"the Job failed: {said(failure)}")
    status = obj.get("status") or {}
    return waiting(f"{status.get('succeeded') or 0} of {obj['spec'].get('completions', 1)} succeeded, {status.get('active') or 0} active")


def pod(obj: Object, _: Cluster) -> Verdict:
    """It is ready, or has succeeded."""
    status = obj.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded" or condition(obj, "Ready").get("status") == "True":
        return READY
    if phase == "Failed":
        return failed(f"the pod failed: {said(status) or '; '.join(pod_troubles(obj)) or 'no reason given'}")
    return waiting("; ".join(pod_troubles(obj)) or f"the pod is {phase or 'not scheduled'}")


def service(obj: Object, cluster: Cluster) -> Verdict:
    """It has a ready endpoint and, for a load balancer, an address."""
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        return READY
    if spec.get("clusterIP") != "None" and spec.get("selector"):
        slices = cluster.list(ENDPOINT_SLICE, namespace_of(obj), labels=f"kubernetes.io/service-name={name_of(obj)}")
        endpoints = [endpoint for item in slices for endpoint in item.get("endpoints") or []]
        if not any((endpoint.get("conditions") or {}).get("ready", True) is not False for endpoint in endpoints):
            return waiting("no ready pod matches the selector " + ", ".join(f"{key}={value}" for key, value in spec["selector"].items()))
    if spec.get("type") == "LoadBalancer" and not ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return waiting("no address from the load balancer yet")
    return READY


def ingress(obj: Object, _: Cluster) -> Verdict:
    """It has an address."""
    if ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return READY
    return waiting("no ingress controller has given it an address yet")


def volume_claim(obj: Object, cluster: Cluster) -> Verdict:
    """It is bound, or waits for its first consumer because of its StorageClass."""
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
            return waiting(f"StorageClass {class_name!r} does not exist")
        if chosen.get("volumeBindingMode") == "WaitForFirstConsumer":
            return READY
    return waiting(f"the claim is {phase or 'new'}")


def volume(obj: Object, _: Cluster) -> Verdict:
    """It is available or bound."""
    phase = (obj.get("status") or {}).get("phase")
    return READY if phase in ("Available", "Bound") else waiting(f"the volume is {phase or 'new'}")


def custom_resource_definition(obj: Object, _: Cluster) -> Verdict:
    """The kind is served."""
    names = condition(obj, "NamesAccepted")
    if names.get("status") == "False":
        return failed(f"its names are taken: {said(names)}")
    established = condition(obj, "Established")
    return READY if established.get("status") == "True" else waiting(said(established) or "not established yet")


def api_service(obj: Object, _: Cluster) -> Verdict:
    """Its server is available."""
    available = condition(obj, "Available")
    return READY if available.get("status") == "True" else waiting(said(available) or "not available yet")


def namespace(obj: Object, _: Cluster) -> Verdict:
    """It is not terminating."""
    phase = (obj.get("status") or {}).get("phase")
    return waiting("it is being deleted") if phase == "Terminating" else READY


def secret(obj: Object, _: Cluster) -> Verdict:
    """If it is for a service account, it has the token."""
    if obj.get("type") == "kubernetes.io/service-account-token" and not (obj.get("data") or {}).get("token"):
        return waiting("the token has not been generated yet")
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
    """The verdict on an object of any kind; without a rule for its kind, it is ready."""
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
                return waiting(f"condition {name} is not {status or 'True'}: {said(condition(obj, name)) or 'not set'}")
        elif what == "jsonpath":
            path, _, value = rest.partition("}")
            found = look(obj, parse_path(path.lstrip("{")))
            value = value.removeprefix("=")
            if found is None or (value and str(found) != value):
                return waiting(f"{path.lstrip('{')} is {found!r}, not {value or 'set'}")
        else:
            return failed(f'{WAIT_FOR}: expected a "jsonpath=" or "condition=" prefix, got {expression!r}')
    return READY
