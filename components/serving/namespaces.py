"""Namespaces of the Triton deployments: one a distinct name, however many deployments share it.

Made beside the deployments and not by one of them: taken from one to another later, a namespace would be replaced with all that is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base.naming import labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle
    from components.serving.settings import ServingSettings

_COMPONENT: Final = "triton"


def namespace_names(serving: Sequence[ServingSettings]) -> tuple[str, ...]:
    """Return the distinct namespaces of ``serving``, sorted: the order of a stack file's list must not matter."""
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

    ``after`` are outputs of what serves the pods in them, such as a controller of load balancers and one of nodes: it comes before and goes
    after them. Where a deployment claims volumes, what makes those does too. ``injection`` are labels that give pods sidecars.

    What serves the autoscalers' metrics is not among it: an autoscaler without a metric keeps its least number of pods, and scales once
    there is one. Nor does a destroy need that order, though Kubernetes finishes no namespace while an APIService is registered that nobody
    answers for: both adapters take theirs away before what serves it. Behind a namespace that waits, a broken adapter would never go.
    """
    claims = {entry.namespace for entry in serving if entry.prefetch.enabled and entry.prefetch.volume.storage_class is not None}
    return {
        name: k8s.core.v1.Namespace(
            name,
            metadata=k8s.meta.v1.ObjectMetaArgs(
                name=name, labels={**labels(_COMPONENT, name), "pod-security.kubernetes.io/warn": "restricted", **(injection or {})}
            ),
            opts=pulumi.ResourceOptions(
                parent=parent,
                provider=cluster.provider,
                depends_on=pulumi.Output.all(*after, *([cluster.volumes] if name in claims and cluster.volumes is not None else [])).apply(
                    lambda _: list[pulumi.Input[pulumi.Resource]]()
                ),
            ),
        )
        for name in namespace_names(serving)
    }
