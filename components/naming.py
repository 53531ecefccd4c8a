"""Names and labels, in one place.

Logical names and type tokens are an interface: a rename needs an alias and a line in docs/upgrading.md.
"""

from __future__ import annotations

from typing import Final

PROJECT: Final = "triton-fleet"
"""Name of the Pulumi project: namespace of its configuration keys and first part of its type tokens."""
MANAGED_BY: Final = "triton-fleet"
MONITORING_NAMESPACE: Final = "monitoring"
DCGM_NAMESPACE: Final = "dcgm"
PROMETHEUS_RELEASE: Final = "kps"
ADAPTER_RELEASE: Final = "prometheus-adapter"
DCGM_RELEASE: Final = "dcgm-exporter"


def type_token(room: str, kind: str) -> str:
    """Pulumi type token of a component, such as ``triton-fleet:cluster:ExistingCluster``."""
    return f"{PROJECT}:{room}:{kind}"


def labels(component: str, instance: str) -> dict[str, str]:
    """Kubernetes' recommended labels for an object of ``component`` that belongs to ``instance``."""
    return {
        "app.kubernetes.io/name": component,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/managed-by": MANAGED_BY,
    }
