"""Overprovisioning: placeholder pods that hold GPUs until Triton needs them.

Creates the namespace ``placeholders``, a PriorityClass below all others, and one Deployment per pool whose pods request one GPU (or slice)
and sleep. It works as follows:

- A Triton pod that finds no free GPU preempts a placeholder at once and starts on a running node, which already has Triton's image where
  ``pre_pull`` is set. It waits for its models, not for a node.
- The preempted placeholder is pending, which makes the node autoscaler add a node. The headroom is restored after the load arrived.
  Cluster Autoscaler ignores pending pods below priority -10, so placeholders have exactly -10. Karpenter considers all.
- The HorizontalPodAutoscaler does not count placeholders: they belong to no Deployment that it scales and have no metrics.
- When Triton scales in, the placeholders fit again and the node autoscaler removes the nodes that neither they nor Triton need.
- The pool's maximum size includes the placeholders: a full pool has no headroom.

Creates no nodes and no pools, and does not speed up the first ``up``, which has to wait for the first nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions
from components.base.errors import FleetError
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Sequence

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


@dataclass(frozen=True, kw_only=True)
class Floor:
    """Placeholders of one pool."""

    pool: str
    pods: int
    resource: str
    node_selector: dict[str, str]
    images: tuple[str | pulumi.Output[str], ...]
    """Images to pull first."""


def floors(
    settings: Sequence[WarmFloorSettings], pools: Sequence[GpuPool], images: Sequence[str | pulumi.Output[str]]
) -> tuple[Floor, ...]:
    """Return the placeholders of each pool; ``images`` are those of the Triton deployments.

    Raises:
        FleetError: With every entry whose pool does not exist.
    """
    known = {pool.name: pool for pool in pools}
    remedy = f"It must be one of {', '.join(sorted(known))}." if known else "Add the pool, or remove warmFloor."
    problems = [
        f"triton-fleet:warmFloor[{index}].pool ({entry.pool}) is not a GPU pool of this stack: its placeholders would stay pending. "
        f"{remedy}"
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
    """Return the ``spec`` of a floor's Deployment."""
    labels = naming.labels(_COMPONENT, floor.pool)
    pulls = [
        # Not the image's entrypoint, which looks for a GPU.
        _container(f"pull-{index}", image, command=["/bin/true"], resources={"requests": _REQUESTS, "limits": _LIMITS})
        for index, image in enumerate(floor.images)
    ]
    held = {"requests": {**_REQUESTS, floor.resource: "1"}, "limits": {**_LIMITS, floor.resource: "1"}}
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
                "nodeSelector": floor.node_selector,
                "tolerations": [dict(catalogue.TOLERATION)],
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
    """Arguments of `Placeholders`."""

    cluster: ClusterHandle
    floors: Sequence[Floor]
    """What `floors` returns."""
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
        for floor in args.floors:
            spec: Any = deployment_spec(floor)
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
                opts=pulumi.ResourceOptions.merge(
                    child,
                    pulumi.ResourceOptions(
                        depends_on=after if args.autoscaler is None else args.autoscaler.apply(lambda _: list(after)),
                    ),
                ),
            )
        self.register_outputs({"pools": [floor.pool for floor in args.floors]})
