"""What an EKS cluster consists of, decided from its settings alone. Pure: `eks.py` makes it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.base import naming
from components.base.errors import FleetError
from components.base.handles import GpuPool
from components.eks.ami import brings_device_plugin
from components.eks.node_groups import NodeGroupPlan, cpu_group, gpu_groups, gpu_labels
from components.gpu.sharing import offer, replicas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.settings.cluster import EksClusterSettings
    from components.eks.settings.node_groups import GpuPoolSettings

_NODE_POLICIES: Final = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy")
_SESSION_MANAGER_POLICY: Final = "AmazonSSMManagedInstanceCore"
POD_IDENTITY: Final = "eks-pod-identity-agent"
EBS_DRIVER: Final = "aws-ebs-csi-driver"


@dataclass(frozen=True, kw_only=True)
class AddonPlan:
    """One add-on of EKS."""

    name: str
    needs_nodes: bool
    """Whether it has a Deployment: without an untainted node it would never be active."""
    configuration: Mapping[str, Any] | None = None


def addon_plans() -> tuple[AddonPlan, ...]:
    """Add-ons besides vpc-cni and kube-proxy, which must be there before the first node boots and are made with the control plane."""
    return (
        AddonPlan(name=POD_IDENTITY, needs_nodes=False),
        AddonPlan(name="coredns", needs_nodes=True),
        AddonPlan(name=EBS_DRIVER, needs_nodes=True),
    )


def node_policies(settings: EksClusterSettings) -> tuple[str, ...]:
    """Names of AWS' managed policies in the node role. Nodes' role is no pod's: hop limit 1 keeps pods from it."""
    return (*_NODE_POLICIES, *((_SESSION_MANAGER_POLICY,) if settings.session_manager else ()))


def node_groups(settings: EksClusterSettings, zones: Sequence[str]) -> tuple[NodeGroupPlan, ...]:
    """All node groups of a cluster, the one without GPUs first.

    Raises:
        FleetError: When a pool names a zone that the network has not (an existing network's zones are known from AWS alone).
    """
    problems = [
        f"triton-fleet:cluster.gpuPools[{index}].zones names {zone}, where the network has no subnet: its nodes could not be made. "
        f"Choose from {', '.join(zones)}."
        for index, pool in enumerate(settings.gpu_pools)
        for zone in pool.zones or ()
        if zone not in zones
    ]
    if problems:
        raise FleetError(*problems)
    return (cpu_group(settings.cpu_pool, zones), *(group for pool in settings.gpu_pools for group in gpu_groups(pool, zones)))


def gpu_pool(pool: GpuPoolSettings) -> GpuPool:
    """What add-ons and deployments need to know of a pool."""
    sharing = pool.sharing
    offered = offer(pool.machine, sharing)
    return GpuPool(
        name=pool.name,
        labels={key: value for key, value in gpu_labels(pool).items() if key == naming.POOL_LABEL},
        resource=offered.resource,
        units=offered.per_node,
        sharing="none" if sharing.kind == "whole" else sharing.kind,
        replicas=replicas(sharing),
        mig_strategy="mixed" if sharing.kind == "mig" else "none",
        device_plugin="bundled" if brings_device_plugin(pool.os) else "install",
    )


def principal(caller: str) -> str:
    """IAM's ARN of who calls: a session's own ARN names its role without path, so only the last part of it can be compared."""
    parts = caller.split(":")
    kind, _, name = parts[5].partition("/")
    if kind != "assumed-role":
        return caller
    return ":".join([*parts[:2], "iam", "", parts[4], f"role/{name.split('/')[0]}"])


def check_admins(admins: Sequence[str], caller: str) -> None:
    """Refuse the caller among ``admins``: EKS makes it an administrator itself, and a second entry for it fails. Raises FleetError."""
    own = principal(caller)
    for admin in admins:
        head, _, rest = admin.partition(":role/")
        if own in {admin, f"{head}:role/{rest.rsplit('/', maxsplit=1)[-1]}"}:
            raise FleetError(
                f"triton-fleet:cluster.admins names {admin}, who runs this: EKS makes it an administrator itself and would refuse a second "
                "entry. Take it out."
            )


def with_profile(kubeconfig: str, profile: str | None) -> str:
    """Add ``--profile`` to the token command of a kubeconfig (JSON): pulumi-eks leaves it out of the one that it gives away."""
    content = json.loads(kubeconfig)
    if profile is not None:
        for user in content["users"]:
            arguments = user["user"]["exec"]["args"]
            if "--profile" not in arguments:
                arguments += ["--profile", profile]
    return json.dumps(content, sort_keys=True)
