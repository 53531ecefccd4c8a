"""What a NetworkPolicy lets through, as Kubernetes defines it: a peer and a port of one rule, and nothing else.

The embedded platform's pods hang on the bridge plugin, which enforces no policies, so the rules are read here and not tried on packets.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.charts.shapes import NetworkPolicy, Peer, PolicyPort


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A pod at the other end."""

    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.9.9.9"


PORTS = {"http-triton": 8000, "grpc-triton": 8001, "http-metrics": 8002}
End = Pod | str
"""A pod, or an address outside the cluster."""


def lets_in(policy: NetworkPolicy, source: End, port: int) -> bool:
    """Whether ``source`` may connect to a port of Triton's pods."""
    return any(_port(rule.ports, port, "TCP") and _peer(policy, rule.peers, source) for rule in policy.spec.ingress)


def lets_out(policy: NetworkPolicy, target: End, port: int, protocol: str = "TCP") -> bool:
    """Whether Triton's pods may connect to ``target``."""
    return any(_port(rule.ports, port, protocol) and _peer(policy, rule.peers, target) for rule in policy.spec.egress)


def _port(ports: Sequence[PolicyPort], port: int, protocol: str) -> bool:
    return not ports or any(PORTS.get(str(one.port), one.port) == port and one.protocol == protocol for one in ports)


def _peer(policy: NetworkPolicy, peers: Sequence[Peer], end: End) -> bool:
    return not peers or any(_matches(policy.metadata.namespace, peer, end) for peer in peers)


def _matches(own: str, peer: Peer, end: End) -> bool:
    if peer.ip_block is not None:
        return ip_address(end.address if isinstance(end, Pod) else end) in ip_network(peer.ip_block.cidr)
    if not isinstance(end, Pod):
        return False
    if peer.namespace_selector is None:
        place = end.namespace == own
    else:
        place = peer.namespace_selector.match_labels.items() <= {"kubernetes.io/metadata.name": end.namespace}.items()
    return place and (peer.pod_selector is None or peer.pod_selector.match_labels.items() <= end.labels.items())
