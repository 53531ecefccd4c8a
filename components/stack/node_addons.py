"""What serves nodes and Services before anything of Triton's is there: autoscaler, device plugin, driver, load balancers, placeholders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.eks.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.eks.karpenter.controller import Karpenter, KarpenterArgs
from components.eks.karpenter.controller import gpu_pools as karpenter_pools
from components.eks.load_balancer import LoadBalancerController, LoadBalancerControllerArgs
from components.gke.gpu_driver import GpuDriver, GpuDriverArgs, installers
from components.gke.load_balancer import google_load_balancer
from components.gpu.device_plugin import GpuPlugin, GpuPluginArgs, needing
from components.gpu.overprovisioning import Placeholders, PlaceholdersArgs, floors

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi

    from components.base.handles import ClusterHandle, LoadBalancerHandle
    from components.stack.settings import Settings


@dataclass(frozen=True, kw_only=True)
class NodeAddons:
    """What serves nodes and Services before anything of Triton's is there."""

    ready: tuple[pulumi.Output[str], ...]
    """What Triton comes after, and goes before."""
    load_balancer: LoadBalancerHandle | None


def node_addons(
    settings: Settings, cluster: ClusterHandle, child: pulumi.ResourceOptions, images: Mapping[str, pulumi.Output[str]] | None = None
) -> NodeAddons:
    """Declare what the settings ask for. The account that the controllers need is there wherever the settings let them be asked for.

    ``images`` are those of the stack's own, by the name that deployments take them by.
    """
    charts, aws = settings.charts, cluster.aws
    pools = cluster.gpu_pools
    autoscaler = None
    if settings.autoscaler.kind == "karpenter" and aws is not None:
        pools = (*pools, *karpenter_pools(settings.autoscaler))
        args = KarpenterArgs(cluster=cluster, aws=aws, settings=settings.autoscaler, charts=charts)
        autoscaler = Karpenter("karpenter", args, child).ready
    elif settings.autoscaler.kind == "clusterAutoscaler" and aws is not None:
        scaling = ClusterAutoscalerArgs(cluster=cluster, aws=aws, settings=settings.autoscaler, charts=charts)
        autoscaler = ClusterAutoscaler("autoscaler", scaling, child).ready
    ready = [] if autoscaler is None else [autoscaler]
    if settings.gpu_plugin.enabled and needing(pools):
        plugin = GpuPluginArgs(cluster=cluster, settings=settings.gpu_plugin, charts=charts, pools=pools)
        ready.append(GpuPlugin("gpu-plugin", plugin, child).ready)
    drivers = installers(pools)
    if drivers:
        ready.append(GpuDriver("gpu-driver", GpuDriverArgs(cluster=cluster, installers=drivers), child).ready)
    load_balancer = None if cluster.gcp is None else google_load_balancer(cluster)
    if settings.load_balancer.enabled and aws is not None:
        controller = LoadBalancerControllerArgs(cluster=cluster, aws=aws, charts=charts)
        load_balancer = LoadBalancerController("load-balancer", controller, child).handle
        ready.append(load_balancer.ready)
    if settings.warm_floor:
        own = images or {}
        pulled = [own.get(entry.image, entry.image) for entry in settings.serving if entry.resources.gpus]
        kept = floors(settings.warm_floor, pools, pulled)
        Placeholders("placeholders", PlaceholdersArgs(cluster=cluster, floors=kept, autoscaler=autoscaler), child)
    return NodeAddons(ready=tuple(ready), load_balancer=load_balancer)
