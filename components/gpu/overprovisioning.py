"""Warm floor: placeholder pods that hold GPUs until Triton wants them.

Makes the namespace ``placeholders``, a PriorityClass below every other, and a Deployment a pool whose pods ask for one GPU (or slice) and
sleep. How it works together with the rest:

- A Triton pod that finds no room evicts a placeholder at once and takes its place on a node that runs already, with Triton's image on it
  where ``pre_pull`` is set. It waits for its models, not for a node.
- The evicted placeholder finds no room itself, and *that* is what asks the node autoscaler for the next node: the floor is filled up again
  behind the load. cluster-autoscaler overlooks pods below priority -10; at -10 it doesn't. Karpenter looks at all.
- The HorizontalPodAutoscaler knows nothing of it: placeholders are in no Deployment that it counts, and have no metrics.
- When Triton's replicas go, the placeholders fit again, and the node autoscaler takes away what is above floor and load together.
- A pool's largest size bounds both together: a floor in a full pool holds nothing warm.

Makes no node and no pool. Does nothing for a first ``up``: then the floor's own nodes have to come, and nothing waits for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.base.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.handles import ClusterHandle, GpuPool
    from components.gpu.settings import WarmFloorSettings

PRIORITY: Final = -10
"""Lowest priority for which cluster-autoscaler starts nodes (its --expendable-pods-priority-cutoff)."""
PRIORITY_CLASS: Final = "triton-fleet-placeholder"
_COMPONENT: Final = "placeholder"
_CPU: Final = "10m"
_MEMORY: Final = "16Mi"
_UID: Final = 65535


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Placeholders of one pool."""

    pool: str
    pods: int
    resource: str
    node_selector: dict[str, str]
    images: tuple[str | pulumi.Output[str], ...]
    """Images to pull before sleeping."""


def floors(
    settings: Sequence[WarmFloorSettings], pools: Sequence[GpuPool], images: Sequence[str | pulumi.Output[str]]
) -> tuple[Floor, ...]:
    """Decide the placeholders of each pool; ``images`` are those of the Triton deployments.

    Raises FleetError with every entry that names no pool of the stack.
    """
    known = {pool.name: pool for pool in pools}
    problems = [
        f"triton-fleet:warmFloor[{index}].pool ({entry.pool}) is no GPU pool of this stack: its placeholders would wait for ever. "
        f"There: {', '.join(sorted(known)) or 'none'}."
        for index, entry in enumerate(settings)
        if entry.pool not in known
    ]
    if problems:
        raise FleetError(*problems)
    return tuple(
        Floor(
            pool=entry.pool,
            pods=entry.pods,
            resource=known[entry.pool].resource,
            node_selector=dict(known[entry.pool].labels),
            images=tuple(dict.fromkeys(images)) if entry.pre_pull else (),
        )
        for entry in settings
    )


def _container(name: str, image: str | pulumi.Output[str], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        **more,
    }


def deployment_spec(floor: Floor) -> dict[str, Any]:
    """Decide ``spec`` of a floor's Deployment."""
    labels = naming.labels(_COMPONENT, floor.pool)
    small = {"requests": {"cpu": _CPU, "memory": _MEMORY}, "limits": {"memory": _MEMORY}}
    # Pulled and ended at once. The entrypoint is left out: it looks for a GPU and greets.
    pulls = [_container(f"pull-{index}", image, command=["/bin/true"], resources=small) for index, image in enumerate(floor.images)]
    held = {
        "requests": {"cpu": _CPU, "memory": _MEMORY, floor.resource: "1"},
        "limits": {"memory": _MEMORY, floor.resource: "1"},
    }
    return {
        "replicas": floor.pods,
        "selector": {"matchLabels": labels},
        # Two at once would take the GPUs of Triton pods that come just then.
        "strategy": {"type": "Recreate"},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "priorityClassName": PRIORITY_CLASS,
                # Nothing to end: Triton must not wait for it.
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "nodeSelector": floor.node_selector,
                "tolerations": [{"key": naming.GPU_TAINT, "operator": "Exists", "effect": "NoSchedule"}],
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": _UID,
                    "runAsGroup": _UID,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "initContainers": pulls,
                "containers": [_container("pause", versions.PAUSE_IMAGE, resources=held)],
            },
        },
    }


@dataclass(frozen=True, kw_only=True)
class PlaceholdersArgs:
    """What Placeholders needs."""

    cluster: ClusterHandle
    floors: Sequence[Floor]
    """As `floors` decides them."""
    autoscaler: pulumi.Output[str] | None = None
    """What starts nodes, when it is up; None where nothing does."""


class Placeholders(pulumi.ComponentResource):
    """The warm floor of all pools."""

    def __init__(self, name: str, args: PlaceholdersArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "Placeholders"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        namespace = k8s.core.v1.Namespace(
            naming.PLACEHOLDER_NAMESPACE,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=naming.PLACEHOLDER_NAMESPACE,
                labels={**naming.labels(_COMPONENT, _COMPONENT), "pod-security.kubernetes.io/enforce": "restricted"},
            ),
            opts=child,
        )
        priority = k8s.scheduling.v1.PriorityClass(
            PRIORITY_CLASS,
            metadata=k8s.meta.v1.ObjectMetaArgs(name=PRIORITY_CLASS, labels=naming.labels(_COMPONENT, _COMPONENT)),
            value=PRIORITY,
            global_default=False,
            preemption_policy="Never",
            description="Holds room on GPU nodes; gives way to everything.",
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(delete_before_replace=True)),
        )
        after: list[pulumi.Input[pulumi.Resource]] = [namespace, priority]
        for floor in args.floors:
            spec: Any = deployment_spec(floor)
            k8s.apps.v1.Deployment(
                f"placeholder-{floor.pool}",
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=floor.pool,
                    namespace=naming.PLACEHOLDER_NAMESPACE,
                    labels=naming.labels(_COMPONENT, floor.pool),
                    # Evicted they are no failure, and a first node may take longer than anybody should wait here.
                    annotations={"pulumi.com/skipAwait": "true"},
                ),
                spec=spec,
                opts=pulumi.ResourceOptions.merge(
                    child,
                    pulumi.ResourceOptions(
                        depends_on=after if args.autoscaler is None else args.autoscaler.apply(lambda _: list(after)),
                    ),
                ),
            )
        self.register_outputs({"pools": [floor.pool for floor in args.floors]})
