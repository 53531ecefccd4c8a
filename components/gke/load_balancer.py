"""Load balancers on GKE: GKE's own controller creates them for Services that ask by annotation; nothing is installed.

The handle is that of AWS Load Balancer Controller, so a gateway asks for its load balancer in the same way on both clouds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.base.drain import VIA_NODES
from components.base.handles import LoadBalancerHandle

if TYPE_CHECKING:
    from components.base.handles import ClusterHandle


def google_load_balancer(cluster: ClusterHandle) -> LoadBalancerHandle:
    """Return how a Service asks for a load balancer; resolves once the cluster exists.

    The public one has a backend service, which checks the gateway's own health and drains connections; the older kind, with a target pool,
    checks only whether the node is up. A Service keeps the kind that it was created with.
    """
    return LoadBalancerHandle(
        ready=cluster.name.apply(lambda _: "gke"),
        internal={"networking.gke.io/load-balancer-type": cluster.name.apply(lambda _: "Internal")},
        internet_facing={"cloud.google.com/l4-rbs": cluster.name.apply(lambda _: "enabled")},
        targets=VIA_NODES,
    )
