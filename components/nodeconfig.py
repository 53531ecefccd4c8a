"""What EC2 nodes are told about pulling images, in the form that their operating system reads. Pure: node groups and Karpenter share it."""

from __future__ import annotations

from typing import Final

AL2023_FAST_PULL: Final = "---\napiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  featureGates:\n    FastImagePull: true\n"
"""NodeConfig that has containerd pull and unpack layers in parallel (SOCI); nodeadm leaves it off on machines under 4 vCPU."""
BOTTLEROCKET_FAST_PULL: Final = (
    '[settings.container-runtime]\nsnapshotter = "soci"\n\n'
    '[settings.container-runtime-plugins.soci-snapshotter]\npull-mode = "parallel-pull-unpack"\n'
)
"""The same for Bottlerocket. Changing the snapshotter wipes the images that a data volume brought."""
DATA_DEVICE: Final = {"al2023": "/dev/xvda", "bottlerocket": "/dev/xvdb"}
"""The device that images are unpacked to. Bottlerocket keeps its system on a small one of its own."""
ROOT_DEVICE: Final = "/dev/xvda"
BOTTLEROCKET_ROOT_GIB: Final = 4
"""Size of Bottlerocket's system volume."""


def fast_pull(system: str) -> str:
    """Give the part of a node's user data that turns parallel pulls on."""
    return BOTTLEROCKET_FAST_PULL if system == "bottlerocket" else AL2023_FAST_PULL
