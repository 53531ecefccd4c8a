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
from typing import TYPE_CHECKING, Final, Literal

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.base.handles import ClusterHandle, GpuPool

System = Literal["cos", "ubuntu"]
ACCELERATOR_LABEL: Final = "cloud.google.com/gke-accelerator"
"""GKE's label on every node with a GPU; its value is the accelerator type."""
DRIVER_LABEL: Final = "cloud.google.com/gke-gpu-driver-version"
"""GKE's label on nodes where it installs the driver itself: a second installer would interfere."""
HOST_FOLDER: Final = "/home/kubernetes/bin/nvidia"
"""Path of the driver on GKE's nodes, regardless of who installs it."""
_SYSTEMS: Final[tuple[System, ...]] = ("cos", "ubuntu")
_WAIT_SECONDS: Final = 1800
"""How long `up` waits for the driver on existing nodes; some installs compile against the node's kernel."""

_COS_SCRIPT: Final = """\
if lsmod | grep nvidia; then
  echo "The driver is there already; which version it is, the node decides."
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
_COS_VOLUMES: Final = {
    "dev": "/dev",
    "vulkan-icd-mount": f"{HOST_FOLDER}/vulkan/icd.d",
    "nvidia-install-dir-host": HOST_FOLDER,
    "root-mount": "/",
    "cos-tools": "/var/lib/cos-tools",
    "nvidia-config": "/etc/nvidia",
}
_UBUNTU_VOLUMES: Final = {"dev": "/dev", "boot": "/boot", "root-mount": "/"}


@dataclass(frozen=True, kw_only=True)
class Installer:
    """One DaemonSet."""

    system: System
    name: str
    nodes: tuple[dict[str, str], ...]
    """Labels of each pool's nodes."""


def installers(pools: Sequence[GpuPool]) -> tuple[Installer, ...]:
    """Return the DaemonSets for the pools that ask for one: one for each operating system, in a fixed order.

    Raises:
        ValueError: For an operating system without an installer, which GKE's settings do not offer.
    """
    asking = [pool for pool in pools if pool.driver == "daemonSet"]
    unknown = sorted({pool.os for pool in asking} - set(_SYSTEMS))
    if unknown:
        raise ValueError(f"no installer of the GPU driver for nodes of {', '.join(unknown)}: there is one for {' and '.join(_SYSTEMS)}")
    return tuple(
        Installer(
            system=system,
            # The usual name for the usual system, so that tools of the walk-throughs find their DaemonSet.
            name=naming.GPU_DRIVER if system == "cos" else f"{naming.GPU_DRIVER}-{system}",
            nodes=tuple(dict(pool.labels) for pool in asking if pool.os == system),
        )
        for system in _SYSTEMS
        if any(pool.os == system for pool in asking)
    )


def _init_containers(system: System) -> list[k8s.core.v1.ContainerArgsDict]:
    """Return the node's installer and, on Container-Optimized OS, the program that divides GPUs into the pool's MIG slices, if any."""
    if system == "ubuntu":
        mounts = {"boot": "/boot", "dev": "/dev", "root-mount": "/root"}
        install = _container("nvidia-driver-installer", versions.UBUNTU_DRIVER_INSTALLER, mounts)
        install["image_pull_policy"] = "Never"
        return [install]
    mounts = {
        "nvidia-install-dir-host": "/usr/local/nvidia",
        "vulkan-icd-mount": "/etc/vulkan/icd.d",
        "dev": "/dev",
        "root-mount": "/root",
        "cos-tools": "/build/cos-tools",
    }
    install = _container("nvidia-driver-installer", versions.COS_DRIVER_INSTALLER, mounts)
    install["image_pull_policy"] = "Never"
    install["command"] = ["bash", "-c", _COS_SCRIPT]
    install["env"] = [{"name": name, "value": value} for name, value in _COS_ENVIRONMENT.items()]
    mounts = {"nvidia-install-dir-host": "/usr/local/nvidia", "dev": "/dev", "nvidia-config": "/etc/nvidia"}
    partition = _container("partition-gpus", versions.GPU_PARTITION_IMAGE, mounts)
    partition["env"] = [{"name": "LD_LIBRARY_PATH", "value": "/usr/local/nvidia/lib64"}]
    return [install, partition]


def _container(name: str, image: str, mounts: Mapping[str, str]) -> k8s.core.v1.ContainerArgsDict:
    return {
        "name": name,
        "image": image,
        "resources": {"requests": {"cpu": "150m"}},
        "security_context": {"privileged": True},
        "volume_mounts": [{"name": volume, "mount_path": path} for volume, path in mounts.items()],
    }


def _node_term(labels: Mapping[str, str]) -> k8s.core.v1.NodeSelectorTermArgsDict:
    """Return what selects a pool's nodes where GKE has not installed a driver."""
    wanted: list[k8s.core.v1.NodeSelectorRequirementArgsDict] = [
        {"key": ACCELERATOR_LABEL, "operator": "Exists"},
        {"key": DRIVER_LABEL, "operator": "DoesNotExist"},
    ]
    wanted += [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()]
    return {"match_expressions": wanted}


def pod_spec(installer: Installer) -> k8s.core.v1.PodSpecArgsDict:
    """Return the spec of an installer's pods."""
    volumes = _COS_VOLUMES if installer.system == "cos" else _UBUNTU_VOLUMES
    terms = [_node_term(labels) for labels in installer.nodes]
    spec: k8s.core.v1.PodSpecArgsDict = {
        # kube-system admits this class without a quota.
        "priority_class_name": "system-node-critical",
        "automount_service_account_token": False,
        "affinity": {"node_affinity": {"required_during_scheduling_ignored_during_execution": {"node_selector_terms": terms}}},
        # Whatever taints a pool has: without a driver it is useless.
        "tolerations": [{"operator": "Exists"}],
        "volumes": [{"name": name, "host_path": {"path": path}} for name, path in volumes.items()],
        "init_containers": _init_containers(installer.system),
        "containers": [{"name": "pause", "image": versions.GKE_PAUSE_IMAGE}],
    }
    if installer.system == "cos":
        spec["host_network"] = spec["host_pid"] = True
    return spec


@dataclass(frozen=True, kw_only=True)
class GpuDriverArgs:
    """Arguments of `GpuDriver`."""

    cluster: ClusterHandle
    installers: Sequence[Installer]
    """The result of `installers`."""


class GpuDriver(pulumi.ComponentResource):
    """The driver's installers."""

    ready: pulumi.Output[str]
    """Names of the DaemonSets; resolves once existing nodes have the driver, immediately if there are no nodes yet."""

    def __init__(self, name: str, args: GpuDriverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "GpuDriver"), name, None, opts)
        declared = []
        for installer in args.installers:
            selector = {"k8s-app": installer.name}
            labels = {**selector, **naming.labels("gpu-driver", installer.name)}
            declared.append(
                k8s.apps.v1.DaemonSet(
                    installer.name,
                    metadata={
                        "name": installer.name,
                        "namespace": naming.SYSTEM_NAMESPACE,
                        "labels": labels,
                        "annotations": {"pulumi.com/timeoutSeconds": str(_WAIT_SECONDS)},
                    },
                    spec={
                        "selector": {"match_labels": selector},
                        "update_strategy": {"type": "RollingUpdate"},
                        "template": {"metadata": {"labels": {**labels, "name": installer.name}}, "spec": pod_spec(installer)},
                    },
                    opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
                )
            )
        self.ready = pulumi.Output.all(*(one.metadata.name for one in declared)).apply(lambda names: ",".join(map(str, names)))
        self.register_outputs({"ready": self.ready})
