"""NVIDIA's device plugin: advertises the GPUs of a node to Kubernetes, whole, shared or as MIG slices.

Creates the namespace ``nvidia-device-plugin`` and a release of that name, with one configuration per pool; the node label
``nvidia.com/device-plugin.config`` selects it. The plugin runs only on nodes of pools that need it: a node whose image has a plugin
(Bottlerocket) or whose cloud runs one (GKE) must not get a second.

The plugin does not create MIG slices. On AL2023 the node's user data does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import yaml

from components.base import naming, versions
from components.gpu import catalogue
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.handles import ClusterHandle, GpuPool
    from components.gpu.settings import GpuPluginSettings
    from components.helm.settings import ChartSettings

_DEFAULT: Final = "default"
"""Name of the configuration for nodes without the label: whole GPUs."""


def needing(pools: Sequence[GpuPool]) -> list[GpuPool]:
    """Return the pools whose nodes need the plugin: no node image or cloud brings one."""
    return [pool for pool in pools if pool.device_plugin == "install"]


def plugin_config(pool: GpuPool) -> dict[str, Any]:
    """Return the plugin's configuration file (format v1) for one pool.

    A pod that requests two shares is always refused: both may be on one GPU, which does not give the pod twice the time.
    """
    shares = [{"name": catalogue.RESOURCE, "replicas": pool.replicas}]
    configs: dict[str, dict[str, Any]] = {
        "none": {"flags": {"migStrategy": "none"}},
        # Not renamed to nvidia.com/gpu.shared, which charts and autoscalers do not know.
        "timeSlicing": {"sharing": {"timeSlicing": {"renameByDefault": False, "failRequestsGreaterThanOne": True, "resources": shares}}},
        # MPS always refuses requests for more than one share.
        "mps": {"sharing": {"mps": {"resources": shares}}},
        "mig": {"flags": {"migStrategy": pool.mig_strategy}},
    }
    return {"version": "v1", **configs[pool.sharing]}


def gpu_plugin_values(settings: GpuPluginSettings, pools: Sequence[GpuPool]) -> dict[str, Any]:
    """Return the chart's values. ``pools``: those that need the plugin, at least one."""
    configs = {_DEFAULT: {"version": "v1", "flags": {"migStrategy": "none"}}, **{pool.name: plugin_config(pool) for pool in pools}}
    nodes = {"matchExpressions": [{"key": naming.GPU_PLUGIN_LABEL, "operator": "In", "values": sorted(pool.name for pool in pools)}]}
    # The chart's MPS daemon runs only on nodes that feature discovery has labelled nvidia.com/mps.capable=true.
    discovery = settings.feature_discovery or any(pool.sharing == "mps" for pool in pools)
    values: dict[str, Any] = {
        "config": {"default": _DEFAULT, "map": {name: yaml.safe_dump(config, sort_keys=False) for name, config in configs.items()}},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [nodes]}}},
        "tolerations": [dict(catalogue.TOLERATION)],
        "gfd": {"enabled": discovery},
    }
    if discovery:
        # By default the worker tolerates only the taint's value `present`.
        values["nfd"] = {"worker": {"tolerations": [dict(catalogue.TOLERATION)]}}
    return values


@dataclass(frozen=True, kw_only=True)
class GpuPluginArgs:
    """Arguments of `GpuPlugin`."""

    cluster: ClusterHandle
    settings: GpuPluginSettings
    charts: ChartSettings
    pools: Sequence[GpuPool]
    """The GPU pools that need the plugin, those of Karpenter included."""


class GpuPlugin(pulumi.ComponentResource):
    """The device plugin on every pool that needs it."""

    ready: pulumi.Output[str]
    """Name of the release; resolves once it is installed, whether or not a pool has nodes yet."""

    def __init__(self, name: str, args: GpuPluginArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "GpuPlugin"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        namespace = release.namespace(naming.GPU_PLUGIN_NAMESPACE, component="gpu-plugin", opts=child)
        plugin = release.release(
            naming.GPU_PLUGIN_RELEASE,
            pin=versions.NVIDIA_DEVICE_PLUGIN,
            charts=args.charts,
            namespace=naming.GPU_PLUGIN_NAMESPACE,
            values=gpu_plugin_values(args.settings, args.pools),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace])),
        )
        self.ready = release.up(naming.GPU_PLUGIN_RELEASE, plugin)
        self.register_outputs({"ready": self.ready})
