"""What an EKS cluster consists of, derived from its settings. Pure: `cluster.py` creates it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from components.base import naming
from components.base.errors import FleetError
from components.base.handles import GpuPool
from components.eks.ami import MIG_STRATEGY, brings_device_plugin
from components.eks.node_groups import NodeGroupPlan, cpu_group, gpu_groups, gpu_labels
from components.gpu.sharing import replicas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.settings.cluster import EksClusterSettings
    from components.eks.settings.node_groups import GpuPoolSettings

_NODE_POLICIES: Final = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy")
POD_IDENTITY: Final = "eks-pod-identity-agent"
EBS_DRIVER: Final = "aws-ebs-csi-driver"
METRICS_SERVER: Final = "metrics-server"
NODE_MONITORING: Final = "eks-node-monitoring-agent"
ADDONS: Final[Mapping[str, bool]] = {POD_IDENTITY: False, "coredns": True, EBS_DRIVER: True, METRICS_SERVER: True, NODE_MONITORING: False}
"""EKS add-on -> whether it has a Deployment, which becomes active only once an untainted node exists.

Without vpc-cni and kube-proxy: the first node needs them when it boots, so they are created with the control plane."""
ADDON_VALUES: Final[Mapping[str, Mapping[str, object]]] = {NODE_MONITORING: {"dcgmAgent": {"tolerations": [{"operator": "Exists"}]}}}
"""EKS add-on -> its configuration. The agent's DCGM server tolerates no taint by default; on a GPU node without one, the agent reports the
node as broken (aws/containers-roadmap#2567)."""


def node_policies(settings: EksClusterSettings) -> tuple[str, ...]:
    """Return the names of AWS' managed policies of the node role. Pods can't assume that role, because of the hop limit of 1."""
    return (*_NODE_POLICIES, *(("AmazonSSMManagedInstanceCore",) if settings.session_manager else ()))


def node_groups(settings: EksClusterSettings, zones: Sequence[str]) -> tuple[NodeGroupPlan, ...]:
    """Return all node groups of a cluster, the one without GPUs first.

    Raises:
        FleetError: If a pool names a zone that the network does not have. Only AWS knows the zones of an existing network.
    """
    problems = [
        f"triton-fleet:cluster.gpuPools[{index}].zones names {zone}, where the network has no subnet: its nodes could not be created. "
        f"Choose from {', '.join(zones)}."
        for index, pool in enumerate(settings.gpu_pools)
        for zone in pool.zones or ()
        if zone not in zones
    ]
    if problems:
        raise FleetError(*problems)
    return (cpu_group(settings.cpu_pool, zones), *(group for pool in settings.gpu_pools for group in gpu_groups(pool, zones)))


def gpu_pool(pool: GpuPoolSettings) -> GpuPool:
    """Return what add-ons and deployments need to know about a pool."""
    offered = pool.offer
    return GpuPool(
        name=pool.name,
        labels={naming.POOL_LABEL: gpu_labels(pool)[naming.POOL_LABEL]},
        resource=offered.resource,
        units=offered.per_node,
        sharing="none" if pool.sharing.kind == "whole" else pool.sharing.kind,
        replicas=replicas(pool.sharing),
        mig_strategy=MIG_STRATEGY[pool.os] if pool.sharing.kind == "mig" else "none",
        device_plugin="bundled" if brings_device_plugin(pool.os) else "install",
    )


def principal(caller: str) -> str:
    """Return the IAM ARN of a caller. The ARN of a role session leaves out the role's path, so only the last part can be compared."""
    parts = caller.split(":")
    kind, _, name = parts[5].partition("/")
    if kind != "assumed-role":
        return caller
    return ":".join([*parts[:2], "iam", "", parts[4], f"role/{name.split('/')[0]}"])


def check_admins(admins: Sequence[str], caller: str) -> None:
    """Refuse the caller in ``admins``: EKS makes it an administrator itself, and a second entry fails. Raises FleetError."""
    own = principal(caller)
    for admin in admins:
        head, _, rest = admin.partition(":role/")
        if own in {admin, f"{head}:role/{rest.rsplit('/', maxsplit=1)[-1]}"}:
            raise FleetError(
                f"triton-fleet:cluster.admins names {admin}, the principal that runs Pulumi: EKS makes it an administrator itself and "
                "would refuse a second entry. Remove it."
            )


def with_profile(kubeconfig: str, profile: str | None) -> str:
    """Add ``--profile`` to the token command of a kubeconfig (JSON): pulumi-eks omits it in the one that it exports."""
    content = json.loads(kubeconfig)
    if profile is not None:
        for user in content["users"]:
            arguments = user["user"]["exec"]["args"]
            if "--profile" not in arguments:
                arguments += ["--profile", profile]
    return json.dumps(content, sort_keys=True)
