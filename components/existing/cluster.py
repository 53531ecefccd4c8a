"""A cluster that is there already, found as kubectl finds it.

It makes one thing, the Kubernetes provider that everything else goes through. It never creates, changes or deletes a cluster, installs no
driver and asks for no rights of its own.

No credential and no file path of one machine goes into the state: the provider gets the kubeconfig that a run finds (the stack's
``kubeconfig``, KUBECONFIG or ~/.kube/config) and the context by name. So two people, or a laptop and a pipeline, see no difference, each
acts with credentials of their own, and a renewed certificate changes nothing. The context is pinned even where the stack leaves it open:
after a `kubectl config use-context` a preview shows a move to another cluster instead of quietly doing one. Refused were the kubeconfig's
contents (one person's expiring credentials in everybody's state) and ``clusterIdentifier`` (a rebuilt cluster of the same name would
make Pulumi create each object and then delete "the old one" of that name: the one just made).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_kubernetes as k8s

from components.base.handles import ClusterHandle
from components.base.naming import type_token
from components.existing import kubeconfig

if TYPE_CHECKING:
    from components.existing.settings import ExistingClusterSettings


@dataclass(frozen=True, kw_only=True)
class ExistingClusterArgs:
    """Arguments of `ExistingCluster`."""

    settings: ExistingClusterSettings
    access: kubeconfig.Access
    """What `find` made of the settings: a cluster that answers."""


def find(settings: ExistingClusterSettings) -> kubeconfig.Access:
    """Find the cluster and make sure that it answers.

    Raises:
        FleetError: When it is not found or does not answer.
    """
    access = kubeconfig.read(settings.kubeconfig, settings.context)
    kubeconfig.check_answers(access)
    return access


class ExistingCluster(pulumi.ComponentResource):
    """A provider for a cluster that answers."""

    handle: ClusterHandle

    def __init__(self, name: str, args: ExistingClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        access = args.access
        super().__init__(type_token("cluster", "ExistingCluster"), name, None, opts)
        provider = k8s.Provider(
            name,
            # "" is "what kubectl would use". None would make the SDK write KUBECONFIG's value, a path of this machine, into the state.
            kubeconfig=args.settings.kubeconfig or "",
            context=access.context,
            enable_server_side_apply=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.handle = ClusterHandle(name=provider.id.apply(lambda _: access.context), provider=provider)
        self.register_outputs({"context": access.context})
