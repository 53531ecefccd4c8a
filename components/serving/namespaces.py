"""Namespaces of the Triton deployments: one per distinct name, however many deployments share it.

They are siblings of the deployments and not children: if a namespace changed its parent, Pulumi would replace it with all that is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.naming import labels
from components.base.outputs import behind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle
    from components.serving.settings import ServingSettings

_COMPONENT: Final = "triton"


def namespace_names(serving: Sequence[ServingSettings]) -> tuple[str, ...]:
    """Return the distinct namespaces of ``serving``, sorted: the order in the stack file must not matter."""
    return tuple(sorted({entry.namespace for entry in serving}))


def serving_namespaces(
    serving: Sequence[ServingSettings],
    *,
    cluster: ClusterHandle,
    parent: pulumi.Resource,
    after: Sequence[pulumi.Output[str]] = (),
    injection: Mapping[str, pulumi.Output[str]] | None = None,
) -> dict[str, k8s.core.v1.Namespace]:
    """Declare the namespaces of ``serving`` as children of ``parent`` and return them by name.

    ``after`` are outputs of what the pods need, such as the controllers of load balancers and nodes: created before the namespaces and
    deleted after them. Where a deployment claims volumes, so is their driver. ``injection`` are labels that give pods sidecars.

    The adapters are not among them. An autoscaler without a metric keeps its smallest number of pods and scales once it has one. On destroy
    each adapter removes its APIService first, without which Kubernetes can delete a namespace. If an adapter waited for the namespace
    instead, a broken adapter would block the namespace, and the namespace the removal of the adapter.
    """
    claims = {entry.namespace for entry in serving if entry.prefetch.enabled and entry.prefetch.volume.storage_class is not None}
    volumes = () if cluster.volumes is None else (cluster.volumes,)
    return {
        name: k8s.core.v1.Namespace(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=name, labels={**labels(_COMPONENT, name), "pod-security.kubernetes.io/warn": "restricted", **(injection or {})}
            ),
            opts=pulumi.ResourceOptions(
                parent=parent,
                provider=cluster.provider,
                depends_on=behind(*after, *(volumes if name in claims else ())),
            ),
        )
        for name in namespace_names(serving)
    }
