"""How long AWS takes, in seconds of the real cloud.

Control plane, node group and add-ons from published runs (8 to 16, 3, and 1 to 4 minutes); NAT gateways and interface endpoints from the
AWS provider's acceptance tests, which wait about as long; deletes likewise. What answers at once is left out.
"""

from __future__ import annotations

from typing import Final

_MINUTE: Final = 60.0

CLUSTER_CREATE: Final = 9 * _MINUTE
CLUSTER_UPDATE: Final = 3 * _MINUTE
CLUSTER_UPGRADE: Final = 9 * _MINUTE
CLUSTER_DELETE: Final = 3 * _MINUTE
NODE_GROUP_CREATE: Final = 3 * _MINUTE
NODE_GROUP_UPDATE: Final = 4 * _MINUTE
NODE_GROUP_CONFIGURE: Final = 20.0
NODE_GROUP_DELETE: Final = 4 * _MINUTE
NODE_GROUP_FAILS: Final = 25 * _MINUTE
"""Until EKS gives up on nodes that never join."""
ADDON_CREATE: Final = {"vpc-cni": 60.0, "kube-proxy": 60.0, "eks-pod-identity-agent": 60.0, "coredns": 90.0, "aws-ebs-csi-driver": 150.0}
ADDON_OTHER: Final = 120.0
ADDON_DELETE: Final = 20.0
ADDON_FAILS: Final = 20 * _MINUTE
"""The provider's own patience, too."""
NAT_CREATE: Final = 100.0
NAT_DELETE: Final = 60.0
ENDPOINT_CREATE: Final = 90.0
ENDPOINT_DELETE: Final = 60.0
GATEWAY_ENDPOINT: Final = 6.0
ROLE_CREATE: Final = 8.0
"""Until a new role is seen everywhere; the provider waits for it."""
VPC_CREATE: Final = 11.0
SUBNET_CREATE: Final = 1.0
