"""Node pools: the arguments of each, decided purely from the settings.

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
from components.gke.plan import labels, network_tag
from components.gke.settings.node_pools import GkeGpuPoolSettings, disk_type
from components.gpu import catalogue
from components.gpu.sharing import replicas

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.node_pools import GkeCpuPoolSettings

CPU_POOL: Final = "cpu"
"""Name of the pool without GPUs."""
_DRIVERS: Final = {"default": "DEFAULT", "latest": "LATEST", "daemonSet": "INSTALLATION_DISABLED"}
_SHARING: Final = {"timeSlicing": "TIME_SHARING", "mps": "MPS"}
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
"""Roles limit the service account; scopes are the older mechanism, and narrow ones break image streaming."""


def initial_nodes(start: int, most: int, zones: int, *, per_zone: bool) -> int:
    """Return a pool's initial nodes in each zone, where GKE starts the same number everywhere.

    Rounded up, so that at least ``start`` nodes exist, but all zones together never exceed ``most``.
    """
    return start if per_zone else min(-(-start // zones), most // zones)


def pool_name(pool: GkeCpuPoolSettings | GkeGpuPoolSettings) -> str:
    """Return the pool's name in GKE. The hashed keys are an interface: another form would replace the pools of existing stacks."""
    gpu = pool if isinstance(pool, GkeGpuPoolSettings) else None
    fixed: dict[str, Any] = {
        "accelerator": gpu and _accelerator_facts(gpu),
        "spot": pool.capacity == "spot",
        "secure_boot": _secure_boot(pool),
        "reservation": gpu and gpu.capacity_reservation,
        "local_ssds": gpu and _local_ssds(gpu),
        "image_disk": gpu and gpu.disk.image,
        "compact": gpu is not None and gpu.compact_placement,
    }
    return f"{gpu.name if gpu else CPU_POOL}-{hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:6]}"


def _accelerator_facts(pool: GkeGpuPoolSettings) -> dict[str, Any]:
    return {
        "type": pool.machine.gpu.accelerator,
        "count": pool.machine.gpus,
        "driver": _DRIVERS[pool.driver],
        "partition": pool.sharing.profile if pool.sharing.kind == "mig" else None,
        "sharing": _SHARING.get(pool.sharing.kind),
        "clients": replicas(pool.sharing),
    }


def _secure_boot(pool: GkeCpuPoolSettings | GkeGpuPoolSettings) -> bool:
    """Ubuntu's GPU driver is built on the node, and not signed with a key of Google's."""
    return not isinstance(pool, GkeGpuPoolSettings) or pool.os == "cos"


def _local_ssds(pool: GkeGpuPoolSettings) -> int | None:
    return pool.local_ssds or pool.machine.local_ssds


def pool_args(
    cluster: GkeClusterSettings,
    pool: GkeCpuPoolSettings | GkeGpuPoolSettings,
    zones: Sequence[str],
    *,
    cluster_id: pulumi.Input[str],
    service_account: pulumi.Input[str],
) -> gcp.container.NodePoolArgs:
    """Return the arguments of a node pool.

    Args:
        cluster: Settings of its cluster.
        pool: Its own settings.
        zones: Zones of the cluster.
        cluster_id: Id of the cluster, which includes the location.
        service_account: E-mail address of the nodes' service account; resolves once its roles are bound.
    """
    gpu = pool if isinstance(pool, GkeGpuPoolSettings) else None
    zones = zones if gpu is None or gpu.zones is None else gpu.zones
    per_zone = gpu is not None and gpu.per_zone
    initial = initial_nodes(pool.min if pool.desired is None else pool.desired, pool.max, len(zones), per_zone=per_zone)
    return gcp.container.NodePoolArgs(
        name=pool_name(pool),
        project=cluster.project,
        cluster=cluster_id,
        node_locations=list(zones),
        # Never 0 without GPUs: the cluster's own pods have nowhere else to run.
        initial_node_count=initial if gpu else max(1, initial),
        max_pods_per_node=cluster.pods_per_node,
        autoscaling=gcp.container.NodePoolAutoscalingArgs(
            location_policy=gpu.location_policy.upper() if gpu else "BALANCED",
            min_node_count=pool.min if per_zone else None,
            max_node_count=pool.max if per_zone else None,
            total_min_node_count=None if per_zone else pool.min,
            total_max_node_count=None if per_zone else pool.max,
        ),
        # GKE requires both in a release channel, which every cluster here is in; `maintenance` holds upgrades back.
        management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
        upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(
            strategy="SURGE", max_surge=pool.upgrade.max_surge, max_unavailable=pool.upgrade.max_unavailable
        ),
        network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
        placement_policy=gcp.container.NodePoolPlacementPolicyArgs(type="COMPACT") if gpu and gpu.compact_placement else None,
        node_config=_node_config(cluster, pool, service_account),
    )


def _node_config(
    cluster: GkeClusterSettings, pool: GkeCpuPoolSettings | GkeGpuPoolSettings, service_account: pulumi.Input[str]
) -> gcp.container.NodePoolNodeConfigArgs:
    gpu = pool if isinstance(pool, GkeGpuPoolSettings) else None
    local_ssds = _local_ssds(gpu) if gpu else None
    # GKE sets its own labels (cloud.google.com/..) itself.
    own = {naming.POOL_LABEL: gpu.name, catalogue.PRESENT_LABEL: "true"} if gpu else {naming.POOL_LABEL: CPU_POOL}
    # Exactly GKE's own taint: another value is rejected, and GKE adds it itself only if a pool without GPUs exists before.
    taint = gcp.container.NodePoolNodeConfigTaintArgs(key=catalogue.TAINT_KEY, value=catalogue.TAINT_VALUE, effect="NO_SCHEDULE")
    return gcp.container.NodePoolNodeConfigArgs(
        machine_type=pool.machine_type,
        image_type="UBUNTU_CONTAINERD" if gpu and gpu.os == "ubuntu" else "COS_CONTAINERD",
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(
            disk_type=disk_type(pool.disk, pool.disk_types),
            size_gb=pool.disk.size,
            provisioned_iops=pool.disk.iops,
            provisioned_throughput=pool.disk.throughput,
        ),
        boot_disk_kms_key=cluster.disk_key,
        service_account=service_account,
        oauth_scopes=[SCOPE],
        labels={**own, **pool.labels},
        taints=[taint] if gpu else [],
        tags=[network_tag(cluster)],
        resource_labels=labels(cluster),
        spot=pool.capacity == "spot",
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=gpu is None or gpu.gvnic),
        # Pods ask GKE's metadata server, which gives them their own identity and never the node's.
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=_secure_boot(pool), enable_integrity_monitoring=True
        ),
        guest_accelerators=[_accelerator(gpu)] if gpu else None,
        gcfs_config=gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True) if gpu and gpu.streams else None,
        ephemeral_storage_local_ssd_config=None
        if local_ssds is None
        else gcp.container.NodePoolNodeConfigEphemeralStorageLocalSsdConfigArgs(local_ssd_count=local_ssds),
        reservation_affinity=None
        if gpu is None or gpu.capacity_reservation is None
        else gcp.container.NodePoolNodeConfigReservationAffinityArgs(
            consume_reservation_type="SPECIFIC_RESERVATION",
            key="compute.googleapis.com/reservation-name",
            values=[gpu.capacity_reservation],
        ),
        secondary_boot_disks=None
        if gpu is None or gpu.disk.image is None
        else [gcp.container.NodePoolNodeConfigSecondaryBootDiskArgs(disk_image=gpu.disk.image, mode="CONTAINER_IMAGE_CACHE")],
    )


def _accelerator(pool: GkeGpuPoolSettings) -> gcp.container.NodePoolNodeConfigGuestAcceleratorArgs:
    facts = _accelerator_facts(pool)
    sharing = gcp.container.NodePoolNodeConfigGuestAcceleratorGpuSharingConfigArgs(
        gpu_sharing_strategy=facts["sharing"], max_shared_clients_per_gpu=facts["clients"]
    )
    return gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
        type=facts["type"],
        count=facts["count"],
        gpu_partition_size=facts["partition"],
        gpu_sharing_config=sharing if facts["sharing"] else None,
        gpu_driver_installation_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
            gpu_driver_version=facts["driver"]
        ),
    )


def node_pools(
    name: str,
    cluster: GkeClusterSettings,
    zones: Sequence[str],
    *,
    cluster_id: pulumi.Input[str],
    service_account: pulumi.Input[str],
    opts: pulumi.ResourceOptions,
) -> list[gcp.container.NodePool]:
    """Declare all pools of a cluster, the one without GPUs first. Arguments are those of `pool_args`."""
    pools: dict[str, GkeCpuPoolSettings | GkeGpuPoolSettings] = {
        CPU_POOL: cluster.cpu_pool,
        **{pool.name: pool for pool in cluster.gpu_pools},
    }
    opts = pulumi.ResourceOptions.merge(
        opts,
        pulumi.ResourceOptions(
            # camelCase: the SDK translates only whole names at the top.
            ignore_changes=["initialNodeCount", "nodeCount"],
            protect=cluster.deletion_protection or None,
            # With no stock, GKE has been seen to take more than 35 minutes before it creates a pool or gives up.
            custom_timeouts=pulumi.CustomTimeouts(create="90m", update="2h", delete="60m"),
        ),
    )
    return [
        gcp.container.NodePool(
            f"{name}-{own}", pool_args(cluster, pool, zones, cluster_id=cluster_id, service_account=service_account), opts
        )
        for own, pool in pools.items()
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
