"""Rules about what clients reach: load balancers, the gateway, and the deployments behind them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from components.base.drain import NLB_PODS, targets
from components.base.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.stack.settings import Settings

_NODE_LIMIT_S: Final = 3600
"""The longest that nodes wait for a pod: see `components.stack.rules`."""


def exposure_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what clients would notice, as warnings."""
    installed = NLB_PODS if settings.load_balancer.enabled else None
    ingress = settings.ingress
    slow = (
        "is 1 behind a network load balancer, which takes 1 to 3 minutes to register a new pod: a node drain interrupts requests as long. "
        "Set it to 2 or more."
    )
    for index, entry in enumerate(settings.serving):
        reached = targets(entry.service.type, entry.service.annotations, installed)
        if reached is NLB_PODS and entry.scaling.min_replicas == 1:
            also = (("serving", index, "service"), ("load_balancer",))
            yield Problem(at=("serving", index, "scaling", "min_replicas"), text=slow, also=also, fatal=False)
    if ingress.kind != "istio":
        return
    reached = targets(ingress.service_type, ingress.annotations, installed)
    if reached is NLB_PODS and ingress.min_replicas == 1:
        yield Problem(at=("ingress", "min_replicas"), text=slow, also=(("ingress",), ("load_balancer",)), fatal=False)
    if (grace := settings.hops.gateway_grace(reached)) > _NODE_LIMIT_S:
        longest = max(range(len(settings.serving)), key=lambda index: settings.serving[index].drain.exit_timeout)
        text = (
            f"({settings.hops.request:g} s) gives the gateway a drain of {grace} s, more than {_NODE_LIMIT_S} s: when its node is removed, "
            f"the longest requests are lost. Lower it to {math.floor(settings.hops.request) - (grace - _NODE_LIMIT_S)}s, or accept that."
        )
        yield Problem(at=("serving", longest, "drain", "exit_timeout"), text=text, also=(("ingress",),), fatal=False)
