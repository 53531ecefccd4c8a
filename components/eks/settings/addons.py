"""Settings of the controllers that only EKS needs: node autoscaling and load balancers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from components.base.model import Model
from components.base.quantities import Duration
from components.eks.karpenter.settings import KarpenterSettings


class NoAutoscalerSettings(Model):
    """Nobody adds or takes away nodes."""

    kind: Literal["none"] = "none"
    """No node autoscaling."""


class ClusterAutoscalerSettings(Model):
    """cluster-autoscaler: resizes the node groups that the stack makes."""

    kind: Literal["clusterAutoscaler"]
    """cluster-autoscaler."""
    expander: Literal["least-waste", "priority", "random", "most-pods"] = "least-waste"
    """Which of several fitting node groups grows; ``least-waste`` leaves the fewest idle CPUs and the least idle memory."""
    scale_down_unneeded_time: Duration = Field(default=600.0, ge=60)
    """How long a node must have been unneeded before it goes. A new GPU node takes 4 to 7 minutes: shorter than that saves little."""
    max_node_provision_time: Duration = Field(default=900.0, ge=300)
    """How long a node may take to come before another group is tried: longer than a cloud without capacity takes to say so."""


AutoscalerSettings = Annotated[
    NoAutoscalerSettings | ClusterAutoscalerSettings | KarpenterSettings,
    Field(discriminator="kind"),
]
"""What adds and takes away nodes, told apart by ``kind``."""


class LoadBalancerSettings(Model):
    """AWS Load Balancer Controller: makes the load balancers that Services ask for. Only on EKS."""

    enabled: bool = False
    """Whether it is installed. Without it, EKS itself makes load balancers of an older kind, with instances as targets."""
