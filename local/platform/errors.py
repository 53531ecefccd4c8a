"""The platform's exception."""

from __future__ import annotations


class PlatformError(RuntimeError):
    """The embedded platform can't do something. The message names the cause, the consequence and the remedy."""


OWN_CLUSTER_HINT = "Or use your own Kubernetes cluster instead: make up KUBE_CONTEXT=kind-x (any context of your kubeconfig)."
"""Last sentence of every message that this machine can't run the embedded platform."""
