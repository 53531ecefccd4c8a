"""Settings of who may use a deployment: the key to Triton's admin endpoints, and the network policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.base.clusters import Network
from components.base.errors import Problem
from components.base.model import DnsLabel, Model

if TYPE_CHECKING:
    from collections.abc import Iterator

AdminEndpoint = Literal["shared-memory", "statistics", "trace", "logging"]
"""Endpoints that a deployment may open. Not model-repository: whoever may load a model can send its code along."""


class AdminSettings(Model):
    """The key to Triton's admin endpoints: model repository, shared memory, statistics, trace and logging, over HTTP and gRPC.

    Clients send it in the header ``triton-admin-key`` (HTTP) or ``triton-grpc-protocol-admin-key`` (gRPC). Inference, health, metadata and
    the model configuration need no key.
    """

    key_secret: DnsLabel | None = None
    """Secret in the same namespace whose ``key`` is the key. None: a new one, ``<name>-admin``, whose key stays the same."""
    open: tuple[AdminEndpoint, ...] = ()
    """Endpoints that need no key, such as ``[statistics]`` for perf_analyzer. Whoever can reach Triton can then use them."""


class EgressRule(Model):
    """Connections that Triton's pods may open."""

    cidr: Network | None = None
    """Addresses, such as ``10.20.0.0/16``. None: any, unless ``namespace`` is set."""
    namespace: DnsLabel | None = None
    """Namespace whose pods are meant. Instead of ``cidr``."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """TCP ports. Empty: all."""

    def _problems(self) -> Iterator[Problem]:
        if self.cidr is not None and self.namespace is not None:
            text = f"({self.namespace}) is set together with cidr ({self.cidr}): a peer is one or the other. Write two rules."
            yield Problem(at=("namespace",), text=text, also=(("cidr",),))


class NetworkPolicySettings(Model):
    """The NetworkPolicy of the pods: who may call Triton, and where Triton may connect to.

    Callers are the pods of its own namespace and those of the gateway, the client and Prometheus (metrics only); with a Service of type
    NodePort or LoadBalancer, everyone. Triton reaches DNS, the model store and the cloud's identity endpoints.
    """

    enabled: bool = True
    """Whether there is a policy. The cluster's CNI must enforce it: the stack's EKS clusters and GKE clusters with Dataplane V2 do."""
    namespaces: tuple[DnsLabel, ...] = ()
    """Further namespaces whose pods may call Triton (ports 8000 and 8001)."""
    cidrs: tuple[Network, ...] = ()
    """Addresses that may call Triton. With a Service of type NodePort or LoadBalancer: instead of everyone; list the nodes' networks too
    unless the load balancer keeps the clients' addresses."""
    egress: tuple[EgressRule, ...] = ()
    """Further connections that Triton's pods may open, such as those of Python models."""
