"""NVIDIA's device plugin: tells Kubernetes of the GPUs of a node, as whole ones, shared ones or slices.

Makes the namespace ``nvidia-device-plugin`` and a release of that name, with one configuration a pool; a node takes the one that its label
``nvidia.com/device-plugin.config`` names. It runs only on nodes of pools that need it: a node whose image has a plugin of its own
(Bottlerocket) or whose cloud runs one (GKE) must not get a second, and where no pool needs it there is nothing to make.

Cuts no GPU into MIG slices: on AL2023 nothing does that but the node's own start-up, and here it is only said how slices are offered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, assert_never

import pulumi
import yaml
from pydantic import Field

from components.base import naming, versions
from components.helm import release

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, GpuPool
    from components.gpu.settings import GpuPluginSettings
    from components.helm.settings import ChartSettings

_DEFAULT: Final = "default"
"""Name of the configuration of a node without the label: whole GPUs. No pool may take the name for something else."""
_WHOLE_GPU: Final = "nvidia.com/gpu"
MPS_LABEL: Final = "nvidia.com/mps.capable"
"""The chart's MPS control daemon runs only where feature discovery has set this label to true."""


class _Config(release.ChartValues):
    default: str = _DEFAULT
    map: dict[str, str]
    """Name -> the plugin's own configuration file, as text."""


class _Discovery(release.ChartValues):
    enabled: bool


class _Worker(release.ChartValues):
    tolerations: list[release.Toleration]


class _NodeDiscovery(release.ChartValues):
    worker: _Worker


class GpuPluginValues(release.ChartValues):
    """What is passed to the chart nvidia-device-plugin, key for key."""

    config: _Config
    affinity: dict[str, Any]
    tolerations: list[release.Toleration] = Field(default_factory=lambda: [release.Toleration(key=naming.GPU_TAINT)])
    gfd: _Discovery
    nfd: _NodeDiscovery | None
    """Its own toleration is of one value of the taint, ``present``; ours is of any."""


def needing(pools: Sequence[GpuPool]) -> tuple[GpuPool, ...]:
    """Choose the pools whose nodes have no device plugin of their own."""
    return tuple(pool for pool in pools if pool.device_plugin == "install")


def plugin_config(pool: GpuPool) -> dict[str, Any]:
    """Decide the plugin's configuration for one pool, in its file format v1.

    Sharing always refuses a pod that asks for two shares: it would not get twice the GPU, and may get both on one device.
    """
    config: dict[str, Any] = {"version": "v1"}
    match pool.sharing:
        case "none":
            config["flags"] = {"migStrategy": "none"}
        case "timeSlicing":
            # Under its own name, not nvidia.com/gpu.shared: charts and autoscalers know only the one.
            config["sharing"] = {
                "timeSlicing": {
                    "renameByDefault": False,
                    "failRequestsGreaterThanOne": True,
                    "resources": [{"name": _WHOLE_GPU, "replicas": pool.replicas}],
                }
            }
        case "mps":
            # MPS has no failRequestsGreaterThanOne of its own: it always refuses them.
            config["sharing"] = {"mps": {"resources": [{"name": _WHOLE_GPU, "replicas": pool.replicas}]}}
        case "mig":
            config["flags"] = {"migStrategy": pool.mig_strategy}
        case _:
            assert_never(pool.sharing)
    return config


def gpu_plugin_values(settings: GpuPluginSettings, pools: Sequence[GpuPool]) -> GpuPluginValues:
    """Decide the chart's values for ``pools``, of which only those that need the plugin count.

    Raises ValueError when none does: there would be nothing to run, and a release that runs on no node only looks installed.
    """
    pools = needing(pools)
    if not pools:
        message = "no pool needs the device plugin: leave it out"
        raise ValueError(message)
    configs: dict[str, Mapping[str, Any]] = {_DEFAULT: {"version": "v1", "flags": {"migStrategy": "none"}}}
    configs.update({pool.name: plugin_config(pool) for pool in pools})
    discovery = settings.feature_discovery or any(pool.sharing == "mps" for pool in pools)
    own = {"matchExpressions": [{"key": naming.GPU_PLUGIN_LABEL, "operator": "In", "values": sorted(pool.name for pool in pools)}]}
    return GpuPluginValues(
        config=_Config(map={name: yaml.safe_dump(config, sort_keys=False) for name, config in configs.items()}),
        affinity={"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [own]}}},
        gfd=_Discovery(enabled=discovery),
        nfd=_NodeDiscovery(worker=_Worker(tolerations=[release.Toleration(key=naming.GPU_TAINT)])) if discovery else None,
    )


@dataclass(frozen=True, kw_only=True)
class GpuPluginArgs:
    """What GpuPlugin needs."""

    cluster: ClusterHandle
    settings: GpuPluginSettings
    charts: ChartSettings
    pools: Sequence[GpuPool]
    """All GPU pools, those of node groups and those of Karpenter."""


class GpuPlugin(pulumi.ComponentResource):
    """The device plugin of all pools that need one."""

    ready: pulumi.Output[str]
    """Name of the release; resolves once it is up, which on pools without a node says nothing of GPUs."""

    def __init__(self, name: str, args: GpuPluginArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "GpuPlugin"), name, None, opts)
        child = pulumi.ResourceOptions(parent=self, provider=args.cluster.provider)
        namespace = release.namespace(naming.GPU_PLUGIN_NAMESPACE, component="gpu-plugin", opts=child)
        plugin = release.release(
            naming.GPU_PLUGIN_RELEASE,
            pin=versions.NVIDIA_DEVICE_PLUGIN,
            charts=args.charts,
            namespace=naming.GPU_PLUGIN_NAMESPACE,
            values=gpu_plugin_values(args.settings, args.pools).to_helm(),
            opts=pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace])),
        )
        self.ready = release.up(naming.GPU_PLUGIN_RELEASE, plugin)
        self.register_outputs({"ready": self.ready})
