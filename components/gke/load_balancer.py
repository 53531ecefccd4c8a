"""Load balancers on GKE: GKE's own controller creates them for Services that ask by annotation; there is nothing to install.

The handle is that of AWS Load Balancer Controller, so a gateway asks for its load balancer in the same way on both clouds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi

from components.base.handles import LoadBalancerHandle
from components.base.outputs import after

if TYPE_CHECKING:
    from components.base.handles import ClusterHandle

INTERNAL: Final = {"networking.gke.io/load-balancer-type": "Internal"}
INTERNET_FACING: Final = {"cloud.google.com/l4-rbs": "enabled"}
"""A network load balancer with a backend service, which checks the gateway's own health and drains connections; the older kind, with a
target pool, checks only whether the node is up. A Service keeps the kind that it was created with."""


def google_load_balancer(cluster: ClusterHandle) -> LoadBalancerHandle:
    """Return how a Service asks for a load balancer; resolves once the cluster exists."""

    def ready(value: str) -> pulumi.Output[str]:
        return after(pulumi.Output.from_input(value), cluster.name)

    return LoadBalancerHandle(
        ready=ready("gke"),
        internal={key: ready(value) for key, value in INTERNAL.items()},
        internet_facing={key: ready(value) for key, value in INTERNET_FACING.items()},
    )
