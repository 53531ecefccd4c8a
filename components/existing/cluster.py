"""A cluster that already exists, found as kubectl finds it.

The component makes one resource, the Kubernetes provider. It never creates, changes or deletes a cluster.

The state holds no credentials and no path of the machine: each run finds its own kubeconfig (the stack's ``kubeconfig``, KUBECONFIG or
~/.kube/config), and the state names only the context. Colleagues and pipelines see no diff, and a renewed certificate changes nothing. The
context is pinned even where the stack names none: after `kubectl config use-context` a preview shows the move to another cluster. Refused:
the kubeconfig's contents (one person's expiring credentials in everyone's state), and ``clusterIdentifier`` (after a cluster is rebuilt
under the same name, Pulumi would create each object and then delete "the old one" of that name, the one just created).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s

from components.base.handles import ClusterHandle
from components.base.naming import type_token

if TYPE_CHECKING:
    from components.existing.kubeconfig import Access


class ExistingCluster(pulumi.ComponentResource):
    """A provider for a cluster that answers."""

    handle: ClusterHandle

    def __init__(self, name: str, access: Access, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "ExistingCluster"), name, None, opts)
        provider = k8s.Provider(
            name,
            # "" means what kubectl would use. With None the SDK would write KUBECONFIG, a path of this machine, into the state.
            kubeconfig=access.path or "",
            context=access.context,
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.handle = ClusterHandle(
            name=provider.id.apply(lambda _: access.context), provider=provider, recognized="gke" if access.gke else "existing"
        )
        self.register_outputs({"context": access.context})
