"""A cluster for tests of whole cloud stacks: a real control plane, nodes and pods that kwok plays, and what must answer in their place.

Real: etcd, kube-apiserver, kube-controller-manager, kube-scheduler, so that every object is validated, defaulted, scheduled, rolled out and
finalised as in any cluster. Stands in: kwok says that nodes and pods run, and nothing runs in them; `answers` answers for the webhooks and
aggregated APIs whose pods do not run; `loops` is the part of the cloud that shows inside a cluster: nodes of the groups that are active,
GPUs once the device plugin is on the node, load balancers for Services, and the finalizer that the load balancer controller puts on them.
"""

from __future__ import annotations

from tests.doubles.cluster.control_plane import TOOLS, ClusterDouble, start

__all__ = ["TOOLS", "ClusterDouble", "start"]
