"""How long requests, idle connections and drains last at each hop: load balancer, gateway, pod. All durations are in seconds.

One number decides: the longest request that a pod finishes after SIGTERM (``drain.exitTimeout``). Each hop in front of the pod lets such a
request through and, when it stops itself, waits for it. docs/drain.md has the chain and the sources of the numbers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NLB_TARGETS: Final = "service.beta.kubernetes.io/aws-load-balancer-nlb-target-type"
"""Annotation of a Service: what its network load balancer has as targets, ``ip`` (pods) or ``instance`` (nodes)."""
NODE_WAIT_S: Final = 3600
"""The longest that managed node groups wait before they end a node. GKE: "respects PodDisruptionBudget and graceful termination for up to
one hour"."""
_MARGIN: Final = 15
"""From the end of the last request to the end of the process."""


@dataclass(frozen=True, kw_only=True)
class Targets:
    """How requests reach the pods of a Service."""

    removal: int
    """Seconds in which a pod that is going away may still get new connections: its preStop hook must last as long."""
    namespace_labels: Mapping[str, str]
    """Labels of the pods' namespace that make a pod ready only once the load balancer has registered it."""

    def pre_stop(self, own: float) -> float:
        """Return how long the preStop hook lasts where the settings ask for ``own``. Only a network load balancer needs more."""
        return own if self.removal == VIA_NODES.removal else max(own, self.removal)


VIA_NODES: Final = Targets(removal=15, namespace_labels={})
"""Through kube-proxy or Istio, which follow the endpoints within seconds: inside the cluster, and from load balancers with nodes as targets
(all of GKE's)."""
NLB_PODS: Final = Targets(removal=180, namespace_labels={"elbv2.k8s.aws/pod-readiness-gate-inject": "enabled"})
"""Pods as targets of an AWS network load balancer. A new target gets connections after 1 to 3 minutes, and a removed one for 2 minutes more
(kubernetes-sigs/aws-load-balancer-controller#1834, #2366). The third minute is for the controller, whose calls AWS throttles."""


def targets(service_type: str, annotations: Mapping[str, str], installed: Targets | None) -> Targets:
    """Return how the pods of a Service are reached. ``installed``: what the stack's load balancers do; the annotations take precedence."""
    if service_type != "LoadBalancer":
        return VIA_NODES
    return {"ip": NLB_PODS, "instance": VIA_NODES}.get(annotations.get(NLB_TARGETS, ""), installed or VIA_NODES)


@dataclass(frozen=True, kw_only=True)
class Hops:
    """The timeouts and drains in front of pods whose longest request takes ``request`` seconds."""

    request: float
    pod_drain: float = 0
    """From a pod's removal to the end of its last request: preStop and exitTimeout."""
    margin: float = _MARGIN
    """From then to the pod's end."""

    @classmethod
    def of(cls, drains: Iterable[tuple[float, float, float]]) -> Hops:
        """Return the hops in front of several deployments, each given as its hook's preStop, exitTimeout and margin."""
        before, requests, margins = zip(*drains, strict=True)
        return cls(request=max(requests), pod_drain=max(map(sum, zip(before, requests, strict=True))), margin=max(margins))

    @property
    def gateway_connections(self) -> int:
        """Time in which a stopping gateway asks clients to reconnect (``drainDuration``), with the response to their next request."""
        return VIA_NODES.removal

    @property
    def gateway_drain(self) -> int:
        """From the gateway's SIGTERM to its end (``terminationDrainDuration``): the last request may start when all clients are asked."""
        return self.gateway_connections + math.ceil(self.request)

    def gateway_grace(self, reached: Targets) -> int:
        """Grace period of the gateway's pods."""
        return reached.removal + self.gateway_drain + _MARGIN

    @property
    def node_drain(self) -> int:
        """The longest grace period of any pod: how long the removal of a node must wait."""
        return max(self.gateway_grace(NLB_PODS), math.ceil(self.pod_drain + self.margin))

    @property
    def sidecar_drain(self) -> int:
        """``terminationDrainDuration`` of sidecars: one that is an ordinary container gets SIGTERM together with Triton's preStop hook."""
        return math.ceil(self.pod_drain)

    @property
    def idle_timeout(self) -> int:
        """Idle timeout of a network load balancer's TCP listener: a model may compute that long before it sends a byte.

        AWS' default is 350 s, the most 6,000 s.
        """
        return min(6000, max(350, math.ceil(self.request) + _MARGIN))

    @property
    def deregistration_delay(self) -> int:
        """Time for which a network load balancer keeps the connections of a removed pod, at most 3,600 s."""
        return min(3600, max(self.gateway_grace(NLB_PODS), math.ceil(self.pod_drain) + _MARGIN))
