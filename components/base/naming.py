"""Names and labels. Logical names and type tokens are an interface: a rename needs an alias and a line in docs/upgrading.md."""

from __future__ import annotations

import hashlib
from typing import Final

PROJECT: Final = "triton-fleet"
"""Pulumi project: the namespace of its configuration keys and the first part of its type tokens."""
MANAGED_BY: Final = "triton-fleet"
MONITORING_NAMESPACE: Final = "monitoring"
DCGM_NAMESPACE: Final = "dcgm"
PROMETHEUS_RELEASE: Final = "kps"
ADAPTER_RELEASE: Final = "prometheus-adapter"
DCGM_RELEASE: Final = "dcgm-exporter"
STACKDRIVER_NAMESPACE: Final = "custom-metrics"
STACKDRIVER_ADAPTER: Final = "custom-metrics-stackdriver-adapter"
"""Names from Google's manifests: IAM bindings refer to them."""
GPU_DRIVER: Final = "nvidia-driver-installer"
SYSTEM_NAMESPACE: Final = "kube-system"
"""The only namespace where every cluster admits the priority classes ``system-*``."""
GPU_PLUGIN_NAMESPACE: Final = "nvidia-device-plugin"
GPU_PLUGIN_RELEASE: Final = "nvidia-device-plugin"
AUTOSCALER_RELEASE: Final = "cluster-autoscaler"
KARPENTER_RELEASE: Final = "karpenter"
KARPENTER_CRD_RELEASE: Final = "karpenter-crd"
LOAD_BALANCER_RELEASE: Final = "aws-load-balancer-controller"
PLACEHOLDER_NAMESPACE: Final = "placeholders"
ISTIO_NAMESPACE: Final = "istio-system"
GATEWAY_NAMESPACE: Final = "istio-ingress"
GATEWAY_RELEASE: Final = "triton-gateway"
OTHER_NAMESPACES: Final = frozenset({
    "default", MONITORING_NAMESPACE, DCGM_NAMESPACE, STACKDRIVER_NAMESPACE, GPU_PLUGIN_NAMESPACE, PLACEHOLDER_NAMESPACE,
})  # fmt: skip
"""Namespaces that Kubernetes has, or that other components of a stack create."""
RESERVED_NAMESPACES: Final = ("kube-", "gke-", "gmp-", "istio-", "amazon-", "openshift-", "karpenter")
"""Prefixes of the namespaces of Kubernetes itself, of clouds and of controllers."""
POOL_LABEL: Final = "triton-fleet/pool"
"""Node label with the name of the node's pool."""
GPU_PLUGIN_LABEL: Final = "nvidia.com/device-plugin.config"
"""Node label with the name of the device plugin's configuration."""


def type_token(room: str, kind: str) -> str:
    """Return the Pulumi type token of a component, such as ``triton-fleet:cluster:ExistingCluster``."""
    return f"{PROJECT}:{room}:{kind}"


def shortened(name: str, longest: int) -> str:
    """Return a name that fits: one of more than ``longest`` characters is cut, and a hash of all of it keeps it unique."""
    if len(name) <= longest:
        return name
    return f"{name[: longest - 7].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def labels(component: str, instance: str) -> dict[str, str]:
    """Return Kubernetes' recommended labels for an object of ``component`` that belongs to ``instance``."""
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }
