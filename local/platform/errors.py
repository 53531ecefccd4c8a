"""The one exception that users of the platform see."""

from __future__ import annotations


class PlatformError(RuntimeError):
    """Something that the embedded platform can't do. The message names the thing, the consequence and the remedy."""


OWN_CLUSTER_HINT = "Or use a Kubernetes cluster of your own instead: make up KUBE_CONTEXT=kind-x (any context of your kubeconfig)."
"""Ends every message on a machine that can't run the embedded platform."""
