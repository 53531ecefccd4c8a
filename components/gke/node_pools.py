"""Node pools, each derived from its settings.

A pool's name in GKE ends in a hash of everything that GKE can't change in a pool. A new GPU, driver or disk therefore creates another pool
next to the old one, which is deleted afterwards; under a fixed name GKE would reject it. Pods choose nodes by the label
``triton-fleet/pool``, which stays.

``desired`` counts only at creation; afterwards GKE's autoscaler owns the number.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_gcp as gcp

from components.base import naming
from components.base.handles import GpuPool
from components.gke.settings.node_pools import GkeGpuPoolSettings, disk_type
from components.gpu import catalogue
from components.gpu.sharing import replicas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.node_pools import GkeCpuPoolSettings

    Pool = GkeCpuPoolSettings | GkeGpuPoolSettings

_DRIVERS: Final = {"default": "DEFAULT", "latest": "LATEST", "daemonSet": "INSTALLATION_DISABLED"}
_SHARING: Final = {"timeSlicing": "TIME_SHARING", "mps": "MPS"}
_PODS_PER_NODE: Final = 64
"""The default of `podsPerNode` when it became part of a pool's name."""
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
"""Roles limit the service account; scopes are the older mechanism, and narrow ones break image streaming."""


def initial_nodes(pool: Pool, zones: int) -> int:
    """Return a pool's initial nodes in each zone, where GKE starts the same number everywhere.

    Rounded up, so that at least ``desired`` nodes exist, but all zones together never exceed ``max``.
    """
    start = pool.min if pool.desired is None else pool.desired
    if pool.per_zone:
        return start
    each = min(-(-start // zones), pool.max // zones)
    # Without a GPU: the cluster's own pods have nowhere else to run.
    return each if isinstance(pool, GkeGpuPoolSettings) else max(1, each)


def pool_name(cluster: GkeClusterSettings, pool: Pool) -> str:
    """Return the pool's name in GKE. The hashed keys are an interface: another form would replace the pools of existing stacks."""
    fixed: dict[str, Any] = {
        "accelerator": _accelerator_facts(pool) if isinstance(pool, GkeGpuPoolSettings) else None,
        "spot": pool.capacity == "spot",
        "secure_boot": pool.os == "cos",
        "reservation": pool.capacity_reservation,
        "local_ssds": pool.ssds,
        "image_disk": pool.disk.image,
        "compact": pool.compact_placement,
    }
    # Added later, and so hashed only where a stack sets them.
    if cluster.disk_key is not None:
        fixed["disk_key"] = cluster.disk_key
    if cluster.pods_per_node != _PODS_PER_NODE:
        fixed["pods_per_node"] = cluster.pods_per_node
    return f"{pool.name}-{hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:6]}"


def _accelerator_facts(pool: GkeGpuPoolSettings) -> dict[str, Any]:
    return {
        "type": pool.machine.gpu.accelerator,
        "count": pool.machine.gpus,
        "driver": _DRIVERS[pool.driver],
        "partition": pool.sharing.profile if pool.sharing.kind == "mig" else None,
        "sharing": _SHARING.get(pool.sharing.kind),
        "clients": replicas(pool.sharing),
    }


def node_config(cluster: GkeClusterSettings, pool: Pool, service_account: pulumi.Input[str]) -> gcp.container.NodePoolNodeConfigArgsDict:
    """Return the configuration of a pool's nodes. ``service_account`` is an e-mail address, and resolves once its roles are bound."""
    boot_disk: gcp.container.NodePoolNodeConfigBootDiskArgsDict = {
        "disk_type": disk_type(pool.disk, pool.disk_types),
        "size_gb": pool.disk.size,
    }
    if pool.disk.iops is not None:
        boot_disk["provisioned_iops"] = pool.disk.iops
    if pool.disk.throughput is not None:
        boot_disk["provisioned_throughput"] = pool.disk.throughput
    config: gcp.container.NodePoolNodeConfigArgsDict = {
        "machine_type": pool.machine_type,
        "image_type": "UBUNTU_CONTAINERD" if pool.os == "ubuntu" else "COS_CONTAINERD",
        "boot_disk": boot_disk,
        "service_account": service_account,
        "oauth_scopes": [SCOPE],
        "labels": {naming.POOL_LABEL: pool.name, **pool.labels},
        "taints": [],
        "tags": [cluster.network_tag],
        "resource_labels": cluster.labels,
        "spot": pool.capacity == "spot",
        "gvnic": {"enabled": pool.gvnic},
        # Pods ask GKE's metadata server, which gives them their own identity and never the node's.
        "workload_metadata_config": {"mode": "GKE_METADATA"},
        # Ubuntu's GPU driver is built on the node, and not signed with a key of Google's.
        "shielded_instance_config": {"enable_secure_boot": pool.os == "cos", "enable_integrity_monitoring": True},
    }
    if cluster.disk_key is not None:
        config["boot_disk_kms_key"] = cluster.disk_key
    if isinstance(pool, GkeGpuPoolSettings):
        _add_gpus(config, pool)
    return config


def _add_gpus(config: gcp.container.NodePoolNodeConfigArgsDict, pool: GkeGpuPoolSettings) -> None:
    # GKE sets its own labels (cloud.google.com/..) itself.
    config["labels"] = {naming.POOL_LABEL: pool.name, catalogue.PRESENT_LABEL: "true", **pool.labels}
    # Exactly GKE's own taint: another value is rejected, and GKE adds it itself only if a pool without GPUs exists before.
    config["taints"] = [{"key": catalogue.TAINT_KEY, "value": catalogue.TAINT_VALUE, "effect": "NO_SCHEDULE"}]
    facts = _accelerator_facts(pool)
    accelerator: gcp.container.NodePoolNodeConfigGuestAcceleratorArgsDict = {
        "type": facts["type"],
        "count": facts["count"],
        "gpu_driver_installation_config": {"gpu_driver_version": facts["driver"]},
    }
    if facts["partition"] is not None:
        accelerator["gpu_partition_size"] = facts["partition"]
    if facts["sharing"] is not None:
        accelerator["gpu_sharing_config"] = {"gpu_sharing_strategy": facts["sharing"], "max_shared_clients_per_gpu": facts["clients"]}
    config["guest_accelerators"] = [accelerator]
    if pool.streams:
        config["gcfs_config"] = {"enabled": True}
    if pool.ssds is not None:
        config["ephemeral_storage_local_ssd_config"] = {"local_ssd_count": pool.ssds}
    if pool.capacity_reservation is not None:
        config["reservation_affinity"] = {
            "consume_reservation_type": "SPECIFIC_RESERVATION",
            "key": "compute.googleapis.com/reservation-name",
            "values": [pool.capacity_reservation],
        }
    if pool.disk.image is not None:
        config["secondary_boot_disks"] = [{"disk_image": pool.disk.image, "mode": "CONTAINER_IMAGE_CACHE"}]


def _autoscaling(pool: Pool) -> gcp.container.NodePoolAutoscalingArgsDict:
    policy = pool.location_policy.upper()
    if pool.per_zone:
        return {"location_policy": policy, "min_node_count": pool.min, "max_node_count": pool.max}
    return {"location_policy": policy, "total_min_node_count": pool.min, "total_max_node_count": pool.max}


def node_pools(
    name: str,
    cluster: GkeClusterSettings,
    zones: Sequence[str],
    *,
    cluster_id: pulumi.Input[str],
    service_account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> list[gcp.container.NodePool]:
    """Declare all pools of the cluster with the logical name ``name``. Other arguments are those of the resources.

    ``cluster_id`` includes the location; ``service_account`` is an e-mail address that resolves once its roles are bound.
    """
    own = pulumi.ResourceOptions(
        # camelCase: the SDK translates only whole names at the top.
        ignore_changes=["initialNodeCount", "nodeCount"],
        protect=cluster.deletion_protection or None,
        # With no stock, GKE has been seen to take more than 35 minutes before it creates a pool or gives up.
        custom_timeouts=pulumi.CustomTimeouts(create="90m", update="2h", delete="60m"),
    )
    pools: tuple[Pool, ...] = (cluster.cpu_pool, *cluster.gpu_pools)
    return [
        gcp.container.NodePool(
            f"{name}-{pool.name}",
            name=pool_name(cluster, pool),
            project=cluster.project,
            cluster=cluster_id,
            node_locations=list(pool.zones or zones),
            initial_node_count=initial_nodes(pool, len(pool.zones or zones)),
            max_pods_per_node=cluster.pods_per_node,
            autoscaling=_autoscaling(pool),
            # GKE requires both in a release channel, which every cluster has; `maintenance` holds upgrades back.
            management={"auto_repair": True, "auto_upgrade": True},
            upgrade_settings={
                "strategy": "SURGE",
                "max_surge": pool.upgrade.max_surge,
                "max_unavailable": pool.upgrade.max_unavailable,
            },
            network_config={"enable_private_nodes": True},
            placement_policy={"type": "COMPACT"} if pool.compact_placement else None,
            node_config=node_config(cluster, pool, service_account),
            opts=pulumi.ResourceOptions.merge(opts, own),
        )
        for pool in pools
    ]


def gpu_pool(pool: GkeGpuPoolSettings) -> GpuPool:
    """Return what add-ons and deployments need to know. GKE runs the device plugin, and always offers slices as whole GPUs."""
    kind = pool.sharing.kind
    return GpuPool(
        name=pool.name,
        labels={naming.POOL_LABEL: pool.name},
        resource=pool.offer.resource,
        units=pool.offer.per_node,
        sharing="none" if kind == "whole" else kind,
        replicas=replicas(pool.sharing),
        mig_strategy="single" if kind == "mig" else "none",
        device_plugin="bundled",
        driver="daemonSet" if pool.driver == "daemonSet" else "bundled",
        os=pool.os,
    )
