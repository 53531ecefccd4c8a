"""EKS node images: which image a GPU node group takes, what it contains, and its disks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.gpu.catalogue import Machine
    from components.gpu.sharing import MigStrategy

OperatingSystem = Literal["al2023", "bottlerocket"]
AMI_DRIVER: Final = 580
"""Driver branch of the EKS AMIs (amazon-eks-ami v20260714: 580.159.03)."""
BOTTLEROCKET_MIG: Final[Mapping[str, str]] = {
    "A100 40 GB": "a100.40gb",
    "A100 80 GB": "a100.80gb",
    "H100 80 GB": "h100.80gb",
    "H200": "h200.141gb",
}
"""GPUs on which Bottlerocket sets MIG up (nvidia-migmanager), with the key of each in Bottlerocket's setting ``mig.profile``."""
MIG_STRATEGY: Final[Mapping[OperatingSystem, MigStrategy]] = {"al2023": "mixed", "bottlerocket": "single"}
"""AL2023: the release of the device plugin. Bottlerocket: fixed (bottlerocket-core-kit, packages/nvidia-k8s-device-plugin)."""
DATA_DEVICE: Final[Mapping[OperatingSystem, str]] = {"al2023": "/dev/xvda", "bottlerocket": "/dev/xvdb"}
"""Device that container images are unpacked to. Bottlerocket keeps its system on a separate, small one."""
ROOT_DEVICE: Final = "/dev/xvda"
BOTTLEROCKET_ROOT_GIB: Final = 4
"""Size of Bottlerocket's system volume."""


def ami_type(machine: Machine, system: OperatingSystem) -> str:
    """Return the ``amiType`` of a managed node group: the image with NVIDIA's driver for the architecture of ``machine``."""
    prefix = "AL2023" if system == "al2023" else "BOTTLEROCKET"
    return f"{prefix}_{'ARM_64' if machine.arch == 'arm64' else 'x86_64'}_NVIDIA"


def ami_problem(machine: Machine) -> str | None:
    """Return why the driver of the EKS AMIs cannot drive the GPUs of ``machine``; None where it can."""
    if machine.gpu.driver is not None and machine.gpu.driver > AMI_DRIVER:
        return (
            f"({machine.name}) needs driver {machine.gpu.driver}, but the EKS AMIs have {AMI_DRIVER}: its nodes would start without "
            "a GPU. Choose g6e or g7e."
        )
    return None


def brings_device_plugin(system: OperatingSystem) -> bool:
    """Return whether the image runs NVIDIA's device plugin itself, as Bottlerocket does. A second plugin on a node conflicts with it."""
    return system == "bottlerocket"
