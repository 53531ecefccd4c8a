"""What rooms hand to each other. A handle's outputs resolve only when what they name is usable, so that reading one is waiting for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi
    import pulumi_kubernetes as k8s


@dataclass(frozen=True, kw_only=True)
class ClusterHandle:
    """A cluster whose API server answers and whose nodes take pods."""

    name: pulumi.Output[str]
    provider: k8s.Provider
    """Every Kubernetes resource of the fleet is made through this provider."""


@dataclass(frozen=True, kw_only=True)
class RepositoryHandle:
    """A model repository release that is whole in its object store."""

    url: pulumi.Output[str]
    """Where releases lie, as seen from a pod: ``s3://bucket/prefix`` or ``s3://http://host:port/bucket/prefix``. In the modes poll and
    explicit: the one repository that Triton reads."""
    urls: Mapping[str, pulumi.Output[str]]
    """What --model-repository takes for each model, by name: one repository a model, each immutable. Empty in modes poll and
    explicit."""
    digest: pulumi.Output[str]
    """Content hash of the release (hex): goes into the pod template, so that changed models roll out. Empty in modes poll and
    explicit."""
    models: tuple[str, ...]
    """Names of the models in the release."""
    sizes: Mapping[str, int]
    """Bytes of each model, by name."""
    mode: Literal["release", "poll", "explicit"]
    """How Triton learns of other models; see RepositorySettings."""
    region: str
    credentials: pulumi.Output[dict[str, str]] | None
    """Environment variables (AWS_ACCESS_KEY_ID, ...) for a Secret, or None where the service account is the identity."""
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Models that a model loads with itself (an ensemble's steps), by name; absent for a model that loads none."""


@dataclass(frozen=True, kw_only=True)
class MetricsHandle:
    """A Prometheus that answers queries."""

    namespace: str
    url: pulumi.Output[str]
    """In-cluster base URL without port, such as ``http://kps-prometheus.monitoring.svc``; resolves once its release is up."""
    port: int


@dataclass(frozen=True, kw_only=True)
class CustomMetricsHandle:
    """custom.metrics.k8s.io, served."""

    ready: pulumi.Output[str]
    """Name of the APIService; resolves once the adapter's release is up."""


@dataclass(frozen=True, kw_only=True)
class ServingHandle:
    """One Triton deployment that is ready."""

    name: str
    namespace: str
    service: pulumi.Output[str]
    """In-cluster DNS name of the Service, ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)."""
