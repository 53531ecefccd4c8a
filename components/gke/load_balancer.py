"""Load balancers on GKE: the cloud's own controller makes them, for Services that ask by annotation. Pure: there is nothing to install.

The same handle as AWS Load Balancer Controller's, so that a gateway asks for its load balancer in the same way on both clouds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi

from components.base.handles import LoadBalancerHandle

if TYPE_CHECKING:
    from components.base.handles import ClusterHandle

INTERNAL: Final = {"networking.gke.io/load-balancer-type": "Internal"}
INTERNET_FACING: Final = {"cloud.google.com/l4-rbs": "enabled"}
"""A network load balancer with a backend service: it looks at the gateway's own health and drains, where the older kind, with a target
pool, knows only whether a node lives. What a Service is made with it keeps."""


def google_load_balancer(cluster: ClusterHandle) -> LoadBalancerHandle:
    """Say how a Service on ``cluster`` asks for a load balancer; resolves once the cluster is there."""

    def with_cluster(annotations: dict[str, str]) -> dict[str, pulumi.Output[str]]:
        return {key: pulumi.Output.all(cluster.name, value).apply(lambda known: str(known[1])) for key, value in annotations.items()}

    return LoadBalancerHandle(
        ready=cluster.name.apply(lambda _: "gke"), internal=with_cluster(INTERNAL), internet_facing=with_cluster(INTERNET_FACING)
    )
