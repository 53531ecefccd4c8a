"""Objects that every start applies before a stack can use the API: the administrators' role binding and cluster DNS."""

from __future__ import annotations

import datetime as dt
import math
from typing import TYPE_CHECKING, Any, Final

from local.platform import config
from local.platform.pki import ADMIN_GROUP

if TYPE_CHECKING:
    from local.platform.api import Api

COREDNS: Final = "coredns"
_NAMESPACE: Final = "kube-system"
_LABELS: Final = {"k8s-app": "kube-dns", "app.kubernetes.io/name": COREDNS, "app.kubernetes.io/managed-by": "triton-fleet-platform"}
_SELECTOR: Final = {"k8s-app": "kube-dns"}

COREFILE: Final = f"""{config.DOMAIN}:53 in-addr.arpa:53 ip6.arpa:53 {{
    errors
    health {{
        lameduck 2s
    }}
    ready
    kubernetes {config.DOMAIN} in-addr.arpa ip6.arpa {{
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus :9153
    cache 30 {{
        disable denial {config.DOMAIN}
    }}
    loadbalance
}}
.:53 {{
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""
"""The node has no egress, so every name outside the cluster gets NXDOMAIN at once; forwarding would time out. Denials are not cached: a
client that asks too early finds a new Service on its next try."""


def administrators() -> dict[str, Any]:
    """The binding that gives the administrators' group the role cluster-admin."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ADMIN_GROUP},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": ADMIN_GROUP}],
    }


def dns(image: str = config.COREDNS_IMAGE) -> list[tuple[str, dict[str, Any]]]:
    """CoreDNS's objects as (API path, object), in the order of application."""
    core, rbac = f"/api/v1/namespaces/{_NAMESPACE}", "/apis/rbac.authorization.k8s.io/v1"

    def meta(name: str, *, namespaced: bool = True) -> dict[str, Any]:
        return {"name": name, "labels": dict(_LABELS)} | ({"namespace": _NAMESPACE} if namespaced else {})

    role = f"system:{COREDNS}"
    return [
        (
            f"{core}/serviceaccounts/{COREDNS}",
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta(COREDNS)},
        ),
        (
            f"{rbac}/clusterroles/{role}",
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": meta(role, namespaced=False),
                "rules": [
                    {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                    {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
                ],
            },
        ),
        (
            f"{rbac}/clusterrolebindings/{role}",
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": meta(role, namespaced=False),
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": COREDNS, "namespace": _NAMESPACE}],
            },
        ),
        (
            f"{core}/configmaps/{COREDNS}",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta(COREDNS), "data": {"Corefile": COREFILE}},
        ),
        (
            f"{core}/services/kube-dns",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": meta("kube-dns"),
                "spec": {
                    "selector": _SELECTOR,
                    "clusterIP": config.DNS_IP,
                    "ports": [
                        {"name": "dns", "port": 53, "protocol": "UDP"},
                        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                        {"name": "metrics", "port": 9153, "protocol": "TCP"},
                    ],
                },
            },
        ),
        (
            f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments/{COREDNS}",
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(COREDNS), "spec": _deployment(image)},
        ),
    ]


def _deployment(image: str) -> dict[str, Any]:
    return {
        "replicas": 1,
        "selector": {"matchLabels": _SELECTOR},
        "template": {
            "metadata": {"labels": dict(_LABELS)},
            "spec": {
                "serviceAccountName": COREDNS,
                "priorityClassName": "system-cluster-critical",
                "dnsPolicy": "Default",
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    {
                        "name": COREDNS,
                        "image": image,
                        "imagePullPolicy": "IfNotPresent",
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "resources": {"requests": {"cpu": "20m", "memory": "40Mi"}, "limits": {"memory": "170Mi"}},
                        "ports": [
                            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                            {"name": "metrics", "containerPort": 9153, "protocol": "TCP"},
                        ],
                        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}, "initialDelaySeconds": 30, "failureThreshold": 5},
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 2},
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                        },
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": True}],
                    }
                ],
                "volumes": [{"name": "config", "configMap": {"name": COREDNS, "items": [{"key": "Corefile", "path": "Corefile"}]}}],
            },
        },
    }


def apply_administrators(api: Api) -> None:
    """Apply the administrators' role binding.

    Raises:
        ApiError: the API refuses or is unreachable.
    """
    item = administrators()
    api.apply(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{item['metadata']['name']}", item)


def apply_dns(api: Api) -> None:
    """Apply CoreDNS.

    Raises:
        ApiError: the API refuses or is unreachable.
    """
    for path, item in dns():
        api.apply(path, item)


def dns_available(api: Api, since: float) -> bool:
    """Whether CoreDNS is available with its current template, in a container started at or after ``since`` (Unix time)."""
    deployment = api.get(f"/apis/apps/v1/namespaces/{_NAMESPACE}/deployments/{COREDNS}")
    if deployment is None:
        return False
    status = deployment.get("status", {})
    current = status.get("observedGeneration", 0) >= deployment["metadata"].get("generation", 0)
    if not current or status.get("updatedReplicas", 0) < 1 or status.get("availableReplicas", 0) < 1:
        return False
    pods = api.get(f"/api/v1/namespaces/{_NAMESPACE}/pods?labelSelector=k8s-app%3Dkube-dns") or {}
    # Check the pods themselves: the Deployment's status lags behind.
    return any(is_ready(pod) and not stale_containers(pod, since) for pod in pods.get("items", []))


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether ``pod`` is ready."""
    return any(item["type"] == "Ready" and item["status"] == "True" for item in pod.get("status", {}).get("conditions", []))


def node_ready(api: Api, since: float) -> bool:
    """Whether the node is Ready with a heartbeat at or after ``since`` (Unix time): after a start the API still has the old status."""
    node = api.get(f"/api/v1/nodes/{config.NODE_NAME}")
    conditions = [] if node is None else node.get("status", {}).get("conditions", [])
    return any(
        item["type"] == "Ready" and item["status"] == "True" and moment(item["lastHeartbeatTime"]) >= math.floor(since)
        for item in conditions
    )


def pressures(api: Api) -> list[str]:
    """The node's pressure conditions, during which pods are refused or evicted."""
    node = api.get(f"/api/v1/nodes/{config.NODE_NAME}")
    conditions = [] if node is None else node.get("status", {}).get("conditions", [])
    return [
        f"{item['type']}: {item.get('message', '')}"
        for item in conditions
        if item["type"].endswith("Pressure") and item["status"] == "True"
    ]


def pods_are_current(api: Api, since: float) -> bool:
    """Whether the kubelet has updated every pod since ``since``: no status refers to a container of an earlier node."""
    pods = api.get(f"/api/v1/pods?fieldSelector=spec.nodeName%3D{config.NODE_NAME}") or {}
    return not any(stale_containers(pod, since) for pod in pods.get("items", []))


def stale_containers(pod: dict[str, Any], since: float) -> list[str]:
    """Names of containers of ``pod`` whose status says that they have run since before ``since``, that is, in an earlier node."""
    return [
        item["name"]
        for item in pod.get("status", {}).get("containerStatuses", [])
        if (running := item.get("state", {}).get("running")) and moment(running["startedAt"]) < math.floor(since)
    ]


def moment(text: str) -> float:
    """Unix time of the API's ``2026-01-02T03:04:05Z``."""
    return dt.datetime.fromisoformat(text).timestamp()
