"""Overprovisioning: placeholder pods that hold GPUs until Triton needs them.

Each pool with a floor gets a Deployment whose pods request one GPU (or slice) and sleep, below all other priorities:

- A Triton pod that finds no free GPU preempts a placeholder at once and starts on a running node, which already has Triton's image where
  ``pre_pull`` is set. It waits for its models, not for a node.
- The preempted placeholder is pending, so the node autoscaler adds a node. Cluster Autoscaler ignores pending pods below priority -10,
  so placeholders have exactly -10; Karpenter considers all.
- When Triton scales in, the placeholders fit again, and the node autoscaler removes the nodes that neither they nor Triton need.
- The pool's maximum size includes the placeholders: a full pool has no headroom.

Placeholders don't speed up the first ``up``, which has to wait for the first nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from components.base.handles import ClusterHandle, GpuPool
    from components.gpu.settings import WarmFloorSettings

PRIORITY: Final = -10
"""Lowest priority for which Cluster Autoscaler adds nodes (default of --expendable-pods-priority-cutoff)."""
PRIORITY_CLASS: Final = "triton-fleet-placeholder"
_COMPONENT: Final = "placeholder"
_REQUESTS: Final = {"cpu": "10m", "memory": "16Mi"}
_LIMITS: Final = {"memory": "16Mi"}
_UID: Final = 65535
"""The unprivileged user of the pause image."""


def _container(name: str, image: pulumi.Input[str], **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
        **more,
    }


def deployment_spec(floor: WarmFloorSettings, pool: GpuPool, images: Iterable[pulumi.Input[str]]) -> dict[str, Any]:
    """Return the ``spec`` of a floor's Deployment. ``images``: those to pull first where the floor has ``pre_pull``."""
    labels = naming.labels(_COMPONENT, floor.pool)
    pulls = [
        # Not the image's entrypoint, which looks for a GPU.
        _container(f"pull-{index}", image, command=["/bin/true"], resources={"requests": _REQUESTS, "limits": _LIMITS})
        for index, image in enumerate(dict.fromkeys(images))
        if floor.pre_pull
    ]
    held = {"requests": {**_REQUESTS, pool.resource: "1"}, "limits": {**_LIMITS, pool.resource: "1"}}
    user = {"runAsNonRoot": True, "runAsUser": _UID, "runAsGroup": _UID, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "replicas": floor.pods,
        "selector": {"matchLabels": labels},
        # A rolling update would hold twice the GPUs for a while.
        "strategy": {"type": "Recreate"},
        "template": {
            "metadata": {"labels": labels},
            "spec": {
                "priorityClassName": PRIORITY_CLASS,
                # Triton must not wait for a placeholder to stop.
                "terminationGracePeriodSeconds": 0,
                "automountServiceAccountToken": False,
                "enableServiceLinks": False,
                "nodeSelector": dict(pool.labels),
                "tolerations": [dict(catalogue.TOLERATION)],
                "securityContext": user,
                "initContainers": pulls,
                "containers": [_container("pause", versions.PAUSE_IMAGE, resources=held)],
            },
        },
    }


@dataclass(frozen=True, kw_only=True)
class PlaceholdersArgs:
    """Arguments of `Placeholders`."""

    cluster: ClusterHandle
    floors: Sequence[WarmFloorSettings]
    pools: Sequence[GpuPool]
    """All GPU pools, those of Karpenter included. Settings whose floors name another pool are rejected."""
    images: Sequence[pulumi.Input[str]] = ()
    """Images of the Triton deployments."""
    autoscaler: pulumi.Output[str] | None = None
    """Resolves once the node autoscaler runs; None without a node autoscaler."""


class Placeholders(pulumi.ComponentResource):
    """The placeholders of all pools."""

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
        behind = after if args.autoscaler is None else args.autoscaler.apply(lambda _: list(after))
        pools = {pool.name: pool for pool in args.pools}
        for floor in args.floors:
            spec: Any = deployment_spec(floor, pools[floor.pool], args.images)
            k8s.apps.v1.Deployment(
                f"placeholder-{floor.pool}",
                metadata=k8s.meta.v1.ObjectMetaArgs(
                    name=floor.pool,
                    namespace=naming.PLACEHOLDER_NAMESPACE,
                    labels=naming.labels(_COMPONENT, floor.pool),
                    # A preempted placeholder is not a failure, and the first node may take longer than `up` should wait.
                    annotations={"pulumi.com/skipAwait": "true"},
                ),
                spec=spec,
                opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=behind)),
            )
        self.register_outputs({"pools": [floor.pool for floor in args.floors]})
