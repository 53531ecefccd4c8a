"""How long Google takes, in seconds of Google's own.

The cluster's is Terraform's for the whole resource in a published log (9 min 7 s, tranquilitybase-io/tb-gcp#589). Its module sets
``remove_default_node_pool``, as this project does: the resource is done only when GKE's first pool is gone again, which is part of that
time. What a pool takes by itself is from documents and others' reports.
"""

from __future__ import annotations

from typing import Final

SERVICE_ENABLE: Final = 20.0
NETWORK: Final = 12.0
SUBNETWORK: Final = 16.0
SMALL: Final = 8.0
"""Anything else of Compute Engine's."""
REPOSITORY: Final = 5.0
CLUSTER: Final = 547.0
"""Until a new cluster is there and its first pool is gone."""
CLUSTER_UPDATE: Final = 60.0
CLUSTER_UPGRADE: Final = 480.0
CLUSTER_DELETE: Final = 300.0
POOL_CREATE: Final = 100.0
"""Until a pool's nodes begin to come."""
POOL_NODES: Final = 90.0
POOL_DELETE: Final = 240.0
POOL_UPDATE: Final = 120.0
POOL_HEAL: Final = 2100.0
"""Until machines that were out of stock are there (35 minutes in two published accounts)."""
CLUSTER_CREATE: Final = CLUSTER - POOL_DELETE
"""Until the cluster has its first pool."""
