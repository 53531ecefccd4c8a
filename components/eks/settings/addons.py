"""Settings of the controllers that only EKS needs: node autoscalers and the load balancer controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from components.base.errors import Problem
from components.base.model import Model
from components.base.quantities import Duration
from components.eks.karpenter.settings import KarpenterSettings

if TYPE_CHECKING:
    from collections.abc import Iterator


class NoAutoscalerSettings(Model):
    """No node autoscaling."""

    kind: Literal["none"] = "none"
    """No node autoscaling."""


class ClusterAutoscalerSettings(Model):
    """cluster-autoscaler: resizes the node groups that the stack creates."""

    kind: Literal["clusterAutoscaler"]
    """cluster-autoscaler."""
    expander: Literal["least-waste", "priority", "random", "most-pods"] = "least-waste"
    """Which of several suitable node groups grows; ``least-waste`` leaves the least CPU and memory idle. ``priority`` needs a ConfigMap
    that the stack does not create."""
    scale_down_unneeded_time: Duration = Field(default=600.0, ge=60)
    """How long a node must be unneeded before it is removed. A new GPU node takes 4 to 7 minutes, so a shorter time saves little."""
    max_node_provision_time: Duration = Field(default=900.0, ge=300)
    """How long a new node may take before another group is tried: longer than a cloud takes to report missing capacity."""

    def _problems(self) -> Iterator[Problem]:
        if self.expander == "priority":  # kubernetes/autoscaler, cluster-autoscaler/expander/priority/readme.md
            text = (
                "is priority, which reads the ConfigMap kube-system/cluster-autoscaler-priority-expander: the stack does not create it, "
                "and without it any group grows. Create it, or use least-waste."
            )
            yield Problem(at=("expander",), text=text, fatal=False)


AutoscalerSettings = Annotated[
    NoAutoscalerSettings | ClusterAutoscalerSettings | KarpenterSettings,
    Field(discriminator="kind"),
]
"""What adds and removes nodes, distinguished by ``kind``."""


class LoadBalancerSettings(Model):
    """AWS Load Balancer Controller: creates the load balancers that Services request. Only on EKS."""

    enabled: bool = False
    """Whether it is installed. Without it, EKS creates classic load balancers, which target instances."""
