"""NVIDIA's driver on GKE nodes that come without one: the DaemonSet that references 001 and 002 apply by hand.

Makes ``nvidia-driver-installer`` in ``kube-system``, once for each operating system of the pools that ask for it
(``cluster.gpuPools[*].driver``). By default GKE installs the driver itself and nothing is made here. GKE's own device plugin stays: it
tells Kubernetes of the GPUs as soon as the driver is there, so that a pod waits for a node that is not ready yet instead of failing on it.

Differs from Google's manifest in where it runs: on the pools that ask for it, and on no other node with a GPU. The installers' images are
in no registry; GKE puts the one that fits a node's kernel on the node (``imagePullPolicy: Never``).

Makes no choice of the driver's version: the node image decides. A pool that needs a certain one leaves the driver to GKE.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_kubernetes as k8s

from components.base import naming, versions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.base.handles import ClusterHandle, GpuPool

System = Literal["cos", "ubuntu"]
ACCELERATOR_LABEL: Final = "cloud.google.com/gke-accelerator"
"""GKE's label of every node with a GPU; its value is the type."""
DRIVER_LABEL: Final = "cloud.google.com/gke-gpu-driver-version"
"""GKE's label of nodes that it installs the driver on itself: a second installer would fight with the first."""
HOST_FOLDER: Final = "/home/kubernetes/bin/nvidia"
"""Where the driver lies on GKE's nodes, whoever installed it."""
_SYSTEMS: Final[tuple[System, ...]] = ("cos", "ubuntu")
_WAIT_SECONDS: Final = 1800
"""How long a first ``up`` waits for the driver on nodes that are there: pulling nothing, building against a kernel now and then."""
_COMPONENT: Final = "gpu-driver"

_COS_SCRIPT: Final = """\
if lsmod | grep nvidia; then
  echo "The driver is there already; which version it is, the node decides."
  exit 0
fi
/cos-gpu-installer install || exit 1
"""


@dataclass(frozen=True, kw_only=True)
class Installer:
    """One DaemonSet."""

    system: System
    name: str
    nodes: tuple[dict[str, str], ...]
    """Labels of each pool's nodes."""


def installers(pools: Sequence[GpuPool]) -> tuple[Installer, ...]:
    """Decide the DaemonSets of the pools that ask for one: one an operating system, in a fixed order.

    Raises ValueError for an operating system that Google has no installer for: GKE's settings offer no other.
    """
    asking = [pool for pool in pools if pool.driver == "daemonSet"]
    unknown = sorted({pool.os for pool in asking} - set(_SYSTEMS))
    if unknown:
        raise ValueError(f"no installer of the GPU driver for nodes of {', '.join(unknown)}: there is one for {' and '.join(_SYSTEMS)}")
    return tuple(
        Installer(
            system=system,
            # The usual name for the usual system: what looks for the walk-throughs' DaemonSet finds it.
            name=naming.GPU_DRIVER if system == "cos" else f"{naming.GPU_DRIVER}-{system}",
            nodes=tuple(dict(pool.labels) for pool in asking if pool.os == system),
        )
        for system in _SYSTEMS
        if any(pool.os == system for pool in asking)
    )


def _terms(nodes: Sequence[dict[str, str]]) -> list[dict[str, Any]]:
    ours: list[list[dict[str, Any]]] = [
        [{"key": key, "operator": "In", "values": [value]} for key, value in labels.items()] for labels in nodes
    ]
    whole = [{"key": ACCELERATOR_LABEL, "operator": "Exists"}, {"key": DRIVER_LABEL, "operator": "DoesNotExist"}]
    return [{"matchExpressions": [*whole, *own]} for own in ours]


def _container(name: str, image: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": image, "resources": {"requests": {"cpu": "150m"}}, "securityContext": {"privileged": True}, **more}


def _mounts(**paths: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "mountPath": path} for name, path in paths.items()]


def _volumes(**paths: str) -> list[dict[str, Any]]:
    return [{"name": name.replace("_", "-"), "hostPath": {"path": path}} for name, path in paths.items()]


def _cos() -> dict[str, Any]:
    """Container-Optimized OS: the installer of the node, then the one that cuts GPUs into the pool's MIG slices, if it has any."""
    vulkan = f"{HOST_FOLDER}/vulkan/icd.d"
    environment = {
        "NVIDIA_INSTALL_DIR_HOST": HOST_FOLDER,
        "NVIDIA_INSTALL_DIR_CONTAINER": "/usr/local/nvidia",
        "VULKAN_ICD_DIR_HOST": vulkan,
        "VULKAN_ICD_DIR_CONTAINER": "/etc/vulkan/icd.d",
        "ROOT_MOUNT_DIR": "/root",
        "COS_TOOLS_DIR_HOST": "/var/lib/cos-tools",
        "COS_TOOLS_DIR_CONTAINER": "/build/cos-tools",
    }
    return {
        "hostNetwork": True,
        "hostPID": True,
        "volumes": _volumes(
            dev="/dev",
            vulkan_icd_mount=vulkan,
            nvidia_install_dir_host=HOST_FOLDER,
            root_mount="/",
            cos_tools="/var/lib/cos-tools",
            nvidia_config="/etc/nvidia",
        ),
        "initContainers": [
            _container(
                "nvidia-driver-installer",
                versions.COS_DRIVER_INSTALLER,
                imagePullPolicy="Never",
                command=["bash", "-c", _COS_SCRIPT],
                env=[{"name": name, "value": value} for name, value in environment.items()],
                volumeMounts=_mounts(
                    nvidia_install_dir_host="/usr/local/nvidia",
                    vulkan_icd_mount="/etc/vulkan/icd.d",
                    dev="/dev",
                    root_mount="/root",
                    cos_tools="/build/cos-tools",
                ),
            ),
            _container(
                "partition-gpus",
                versions.GPU_PARTITION_IMAGE,
                env=[{"name": "LD_LIBRARY_PATH", "value": "/usr/local/nvidia/lib64"}],
                volumeMounts=_mounts(nvidia_install_dir_host="/usr/local/nvidia", dev="/dev", nvidia_config="/etc/nvidia"),
            ),
        ],
    }


def _ubuntu() -> dict[str, Any]:
    return {
        "volumes": _volumes(dev="/dev", boot="/boot", root_mount="/"),
        "initContainers": [
            _container(
                "nvidia-driver-installer",
                versions.UBUNTU_DRIVER_INSTALLER,
                imagePullPolicy="Never",
                volumeMounts=_mounts(boot="/boot", dev="/dev", root_mount="/root"),
            )
        ],
    }


def daemon_set_spec(installer: Installer) -> dict[str, Any]:
    """Decide ``spec`` of an installer's DaemonSet."""
    selector = {"k8s-app": installer.name}
    return {
        "selector": {"matchLabels": selector},
        "updateStrategy": {"type": "RollingUpdate"},
        "template": {
            "metadata": {"labels": {**selector, "name": installer.name, **naming.labels(_COMPONENT, installer.name)}},
            "spec": {
                # Let in here, in kube-system, without a quota.
                "priorityClassName": "system-node-critical",
                "automountServiceAccountToken": False,
                "affinity": {
                    "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": _terms(installer.nodes)}}
                },
                # Whatever else a pool is tainted with: without a driver it is of no use.
                "tolerations": [{"operator": "Exists"}],
                **(_cos() if installer.system == "cos" else _ubuntu()),
                "containers": [{"name": "pause", "image": versions.GKE_PAUSE_IMAGE}],
            },
        },
    }


@dataclass(frozen=True, kw_only=True)
class GpuDriverArgs:
    """What GpuDriver needs."""

    cluster: ClusterHandle
    installers: Sequence[Installer]
    """As `installers` decides them."""


class GpuDriver(pulumi.ComponentResource):
    """The driver's installers."""

    ready: pulumi.Output[str]
    """Names of the DaemonSets; resolves once the nodes that are there have the driver, at once where there is none yet."""

    def __init__(self, name: str, args: GpuDriverArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("addons", "GpuDriver"), name, None, opts)
        made = []
        for installer in args.installers:
            spec: Any = daemon_set_spec(installer)
            made.append(
                k8s.apps.v1.DaemonSet(
                    installer.name,
                    metadata=k8s.meta.v1.ObjectMetaArgs(
                        name=installer.name,
                        namespace=naming.SYSTEM_NAMESPACE,
                        labels={"k8s-app": installer.name, **naming.labels(_COMPONENT, installer.name)},
                        annotations={"pulumi.com/timeoutSeconds": str(_WAIT_SECONDS)},
                    ),
                    spec=spec,
                    opts=pulumi.ResourceOptions(parent=self, provider=args.cluster.provider),
                )
            )
        self.ready = pulumi.Output.all(*(one.metadata.name for one in made)).apply(lambda names: ",".join(map(str, names)))
        self.register_outputs({"ready": self.ready})
