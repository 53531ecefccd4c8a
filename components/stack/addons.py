"""What is installed before Triton: autoscalers, device plugin, driver, load balancers, placeholders, and the autoscalers' metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.base import versions
from components.eks.cluster_autoscaler import ClusterAutoscaler, ClusterAutoscalerArgs
from components.eks.karpenter.controller import Karpenter, KarpenterArgs
from components.eks.karpenter.controller import gpu_pools as karpenter_pools
from components.eks.load_balancer import LoadBalancerController, LoadBalancerControllerArgs
from components.gke.gpu_driver import GpuDriver, GpuDriverArgs
from components.gke.load_balancer import google_load_balancer
from components.gpu.device_plugin import GpuPlugin, GpuPluginArgs, needing
from components.gpu.overprovisioning import Placeholders, PlaceholdersArgs
from components.monitoring.adapter import PrometheusAdapter, PrometheusAdapterArgs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pulumi

    from components.base.handles import ClusterHandle, LoadBalancerHandle, MetricsHandle
    from components.stack.settings import Settings


@dataclass(frozen=True, kw_only=True)
class NodeAddons:
    """The add-ons of nodes and Services, installed."""

    ready: tuple[pulumi.Output[str], ...]
    """Triton is created after them and deleted before them."""
    load_balancer: LoadBalancerHandle | None


def chart_pins(settings: Settings) -> list[versions.ChartPin]:
    """Return the third-party charts of the stack. The device plugin's is not among them: only the nodes' image decides on it."""
    pins = [versions.KUBE_PROMETHEUS_STACK]
    if settings.adapter.enabled:
        pins.append(versions.PROMETHEUS_ADAPTER)
    if settings.dcgm.enabled:
        pins.append(versions.DCGM_EXPORTER)
    if settings.ingress.kind == "istio":
        pins += [versions.ISTIO_BASE, versions.ISTIOD, versions.ISTIO_GATEWAY]
    if settings.load_balancer.enabled:
        pins.append(versions.LOAD_BALANCER_CONTROLLER)
    if settings.autoscaler.kind == "clusterAutoscaler":
        pins.append(versions.CLUSTER_AUTOSCALER)
    if settings.autoscaler.kind == "karpenter":
        pins += [versions.KARPENTER_CRD, versions.KARPENTER]
    return pins


def metrics_apis(
    settings: Settings, *, cluster: ClusterHandle, metrics: MetricsHandle, rules: Sequence[Mapping[str, Any]], child: pulumi.ResourceOptions
) -> None:
    """Create what serves metrics to autoscalers. ``rules`` are prometheus-adapter's.

    Nothing waits for it: an autoscaler keeps its minimum number of pods until there is a metric.

    Raises:
        ValueError: No adapter is enabled. `components.stack.rules` rejects such settings.
    """
    if not settings.adapter.enabled and (not settings.stackdriver.enabled or cluster.gcp is None):
        raise ValueError("no metrics adapter is enabled: no autoscaler could read a metric")
    if settings.adapter.enabled:
        args = PrometheusAdapterArgs(cluster=cluster, metrics=metrics, settings=settings.adapter, charts=settings.charts, rules=rules)
        PrometheusAdapter("adapter", args, child)
    if settings.stackdriver.enabled and cluster.gcp is not None:
        from components.gke.stackdriver import StackdriverAdapter, StackdriverAdapterArgs  # noqa: PLC0415  # imports Google Cloud's SDK

        reader = StackdriverAdapterArgs(cluster=cluster, access=cluster.gcp, settings=settings.stackdriver)
        StackdriverAdapter("stackdriver", reader, child)


def node_addons(
    settings: Settings, cluster: ClusterHandle, child: pulumi.ResourceOptions, images: Mapping[str, pulumi.Output[str]] | None = None
) -> NodeAddons:
    """Create what the settings enable. ``images``: those of the stack, by the name that deployments use."""
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
    without_plugin = needing(pools)
    if settings.gpu_plugin.enabled and without_plugin:
        plugin = GpuPluginArgs(cluster=cluster, settings=settings.gpu_plugin, charts=charts, pools=without_plugin)
        ready.append(GpuPlugin("gpu-plugin", plugin, child).ready)
    drivers = [pool for pool in pools if pool.driver == "daemonSet"]
    if drivers:
        ready.append(GpuDriver("gpu-driver", GpuDriverArgs(cluster=cluster, pools=drivers), child).ready)
    load_balancer = None if cluster.gcp is None else google_load_balancer(cluster)
    if settings.load_balancer.enabled and aws is not None:
        controller = LoadBalancerControllerArgs(cluster=cluster, aws=aws, charts=charts)
        load_balancer = LoadBalancerController("load-balancer", controller, child).handle
        ready.append(load_balancer.ready)
    if settings.warm_floor:
        own = images or {}
        pulled = [own.get(entry.image, entry.image) for entry in settings.serving if entry.resources.gpus]
        floors = PlaceholdersArgs(cluster=cluster, floors=settings.warm_floor, pools=pools, images=pulled, autoscaler=autoscaler)
        Placeholders("placeholders", floors, child)
    return NodeAddons(ready=tuple(ready), load_balancer=load_balancer)
