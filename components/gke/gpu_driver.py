"""NVIDIA's driver on GKE nodes that come without one: the DaemonSet that references 001 and 002 apply by hand.

Declares ``nvidia-driver-installer`` in ``kube-system``, one for each operating system of the pools that ask for it
(``cluster.gpuPools[*].driver``). By default GKE installs the driver itself, and nothing is declared. GKE's own device plugin stays: it
announces the GPUs once the driver is installed, so a pod waits for a node that is not ready yet instead of failing on it.

Unlike Google's manifest, it runs only on the pools that ask for it, not on every node with a GPU. The installers' images are in no
registry: GKE puts the one for the node's kernel on the node (``imagePullPolicy: Never``).

The node image decides the driver's version. A pool that needs a certain one leaves the driver to GKE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.handles import ClusterHandle, GpuPool

ACCELERATOR_LABEL: Final = "cloud.google.com/gke-accelerator"
"""GKE's label on every node with a GPU; its value is the accelerator type."""
DRIVER_LABEL: Final = "cloud.google.com/gke-gpu-driver-version"
"""GKE's label on nodes where it installs the driver itself: a second installer would interfere."""
HOST_FOLDER: Final = "/home/kubernetes/bin/nvidia"
"""Path of the driver on GKE's nodes, regardless of who installs it."""
_NAMES: Final = {"cos": naming.GPU_DRIVER, "ubuntu": f"{naming.GPU_DRIVER}-ubuntu"}
"""Operating system -> DaemonSet. The usual system has the usual name, so that tools of the walk-throughs find theirs."""
_WAIT_SECONDS: Final = 1800
"""How long `up` waits for the driver on existing nodes; some installs compile against the node's kernel."""

_COS_SCRIPT: Final = """\
if lsmod | grep nvidia; then
  echo "The driver is installed already, in the version that the node image decides."
  exit 0
fi
/cos-gpu-installer install || exit 1
"""
_COS_ENVIRONMENT: Final = {
    "NVIDIA_INSTALL_DIR_HOST": HOST_FOLDER,
    "NVIDIA_INSTALL_DIR_CONTAINER": "/usr/local/nvidia",
    "VULKAN_ICD_DIR_HOST": f"{HOST_FOLDER}/vulkan/icd.d",
    "VULKAN_ICD_DIR_CONTAINER": "/etc/vulkan/icd.d",
    "ROOT_MOUNT_DIR": "/root",
    "COS_TOOLS_DIR_HOST": "/var/lib/cos-tools",
    "COS_TOOLS_DIR_CONTAINER": "/build/cos-tools",
}
_VOLUMES: Final = {
    "cos": {
        "nvidia-install-dir-host": (HOST_FOLDER, "/usr/local/nvidia"),
        "vulkan-icd-mount": (f"{HOST_FOLDER}/vulkan/icd.d", "/etc/vulkan/icd.d"),
        "dev": ("/dev", "/dev"),
        "root-mount": ("/", "/root"),
        "cos-tools": ("/var/lib/cos-tools", "/build/cos-tools"),
        "nvidia-config": ("/etc/nvidia", "/etc/nvidia"),
    },
    "ubuntu": {"boot": ("/boot", "/boot"), "dev": ("/dev", "/dev"), "root-mount": ("/", "/root")},
}
"""Volume -> path on the node, and in the containers that mount it."""


def _container(name: str, image: str, system: str, *, without: Sequence[str] = ()) -> k8s.core.v1.ContainerArgsDict:
    return {
        "name": name,
        "image": image,
        "resources": {"requests": {"cpu": "150m"}},
        "security_context": {"privileged": True},
        "volume_mounts": [{"name": volume, "mount_path": path} for volume, (_, path) in _VOLUMES[system].items() if volume not in without],
    }


def _init_containers(system: str) -> list[k8s.core.v1.ContainerArgsDict]:
    """Return the node's installer and, on Container-Optimized OS, the program that divides GPUs into the pool's MIG slices, if any."""
    image = versions.COS_DRIVER_INSTALLER if system == "cos" else versions.UBUNTU_DRIVER_INSTALLER
    install = _container(naming.GPU_DRIVER, image, system, without=["nvidia-config"])
    install["image_pull_policy"] = "Never"
    if system != "cos":
        return [install]
    install["command"] = ["bash", "-c", _COS_SCRIPT]
    install["env"] = [{"name": name, "value": value} for name, value in _COS_ENVIRONMENT.items()]
    of_installer = ["vulkan-icd-mount", "root-mount", "cos-tools"]
    partition = _container("partition-gpus", versions.GPU_PARTITION_IMAGE, system, without=of_installer)
    partition["env"] = [{"name": "LD_LIBRARY_PATH", "value": "/usr/local/nvidia/lib64"}]
    return [install, partition]


def pod_spec(system: str, pools: Sequence[GpuPool]) -> k8s.core.v1.PodSpecArgsDict:
    """Return the spec of an installer's pods: on nodes of ``pools`` where GKE has not installed a driver."""
    terms: list[k8s.core.v1.NodeSelectorTermArgsDict] = []
    for pool in pools:
        wanted: list[k8s.core.v1.NodeSelectorRequirementArgsDict] = [
            {"key": ACCELERATOR_LABEL, "operator": "Exists"},
            {"key": DRIVER_LABEL, "operator": "DoesNotExist"},
        ]
        wanted += [{"key": key, "operator": "In", "values": [value]} for key, value in pool.labels.items()]
        terms.append({"match_expressions": wanted})
    spec: k8s.core.v1.PodSpecArgsDict = {
        # kube-system admits this class without a quota.
        "priority_class_name": "system-node-critical",
        "automount_service_account_token": False,
        "affinity": {"node_affinity": {"required_during_scheduling_ignored_during_execution": {"node_selector_terms": terms}}},
        # Whatever taints a pool has: without a driver it is useless.
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": name, "host_path": {"path": path}} for name, (path, _) in _VOLUMES[system].items()],
        "init_containers": _init_containers(system),
        "containers": [{"name": "pause", "image": versions.GKE_PAUSE_IMAGE}],
    }
    if system == "cos":
        spec["host_network"] = spec["host_pid"] = True
    return spec


@dataclass(frozen=True, kw_only=True)
class GpuDriverArgs:
    """Arguments of `GpuDriver`."""

    cluster: ClusterHandle
    pools: Sequence[GpuPool]
    """The pools that need the driver (``driver`` is ``daemonSet``)."""


class GpuDriver(pulumi.ComponentResource):
    """The driver's installers: a DaemonSet for each operating system."""

    ready: pulumi.Output[str]
    """Names of the DaemonSets; resolves once existing nodes have the driver, immediately if no node exists yet."""

    def __init__(self, name: str, args: GpuDriverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "GpuDriver"), name, None, opts)
        systems = {pool.os for pool in args.pools}
        if unknown := sorted(systems - _NAMES.keys()):
            raise ValueError(f"no installer of the GPU driver for nodes of {', '.join(unknown)}: only for {' and '.join(_NAMES)}")
        declared = []
        for system, own in _NAMES.items():
            if system not in systems:
                continue
            selector = {"k8s-app": own}
            labels = {**selector, **naming.labels("gpu-driver", own)}
            spec = pod_spec(system, [pool for pool in args.pools if pool.os == system])
            declared.append(
                k8s.apps.v1.DaemonSet(
                    own,
                    metadata={
                        "name": own,
                        "namespace": naming.SYSTEM_NAMESPACE,
                        "labels": labels,
                        "annotations": {"pulumi.com/timeoutSeconds": str(_WAIT_SECONDS)},
                    },
                    spec={
                        "selector": {"match_labels": selector},
                        "update_strategy": {"type": "RollingUpdate"},
                        "template": {"metadata": {"labels": {**labels, "name": own}}, "spec": spec},
                    },
                    opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
                )
            )
        self.ready = pulumi.Output.all(*(one.metadata.name for one in declared)).apply(lambda names: ",".join(map(str, names)))
        self.register_outputs({"ready": self.ready})
