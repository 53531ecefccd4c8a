"""Node pools: what each is made of, decided purely, and the one resource that it becomes.

A pool's name in GKE ends in a hash of all that GKE can't change in a pool. A changed GPU, driver or disk makes another pool beside the old
one, and that goes when the new one is there; with a fixed name the new one would be refused. Pods choose nodes by the label
``triton-fleet/pool``, which stays.

``desired`` counts at creation only; afterwards GKE's autoscaler owns the number.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi
import pulumi_gcp as gcp

from components.base import naming
from components.base.handles import GpuPool
from components.gke.settings.node_pools import disk_type
from components.gpu import catalogue
from components.gpu.sharing import replicas

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.gke.settings.cluster import GkeClusterSettings
    from components.gke.settings.node_pools import GkeCpuPoolSettings, GkeGpuPoolSettings, UpgradeSettings

CPU_POOL: Final = "cpu"
"""Name of the pool without GPUs."""
_IMAGES: Final = {"cos": "COS_CONTAINERD", "ubuntu": "UBUNTU_CONTAINERD"}
_DRIVERS: Final = {"default": "DEFAULT", "latest": "LATEST", "daemonSet": "INSTALLATION_DISABLED"}
_SHARING: Final = {"timeSlicing": "TIME_SHARING", "mps": "MPS"}
_RESERVATION_KEY: Final = "compute.googleapis.com/reservation-name"
SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
"""The service account's roles are what bounds a node; scopes are the older fence, and a narrow one keeps images from being streamed."""


@dataclass(frozen=True, kw_only=True)
class Accelerator:
    """GPUs of a node, as GKE takes them."""

    type: str
    count: int
    driver: str
    partition: str | None = None
    """MIG profile."""
    sharing: str | None = None
    clients: int = 1
    """Pods that share a GPU; read only where ``sharing`` is set."""


@dataclass(frozen=True, kw_only=True)
class NodePoolPlan:
    """One node pool, decided."""

    pool: str
    zones: tuple[str, ...]
    machine_type: str
    image_type: str
    disk_type: str
    disk_size: int
    disk_iops: int | None
    disk_throughput: int | None
    initial: int
    """Nodes at creation in each zone."""
    min: int
    max: int
    per_zone: bool
    """Whether ``min`` and ``max`` count in each zone, or over all."""
    location_policy: str
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    """Key, value, effect as GKE spells it (``NO_SCHEDULE``)."""
    spot: bool
    secure_boot: bool
    gvnic: bool
    streams: bool
    max_surge: int
    max_unavailable: int
    accelerator: Accelerator | None = None
    reservation: str | None = None
    local_ssds: int | None = None
    image_disk: str | None = None
    """Disk image that each node gets as a second disk with container images."""
    compact: bool = False

    @property
    def name(self) -> str:
        """The pool's name in GKE."""
        fixed: dict[str, Any] = {
            "accelerator": None if self.accelerator is None else vars(self.accelerator),
            "spot": self.spot,
            "secure_boot": self.secure_boot,
            "reservation": self.reservation,
            "local_ssds": self.local_ssds,
            "image_disk": self.image_disk,
            "compact": self.compact,
        }
        return f"{self.pool}-{hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()[:6]}"


def initial_nodes(start: int, most: int, zones: int, *, per_zone: bool) -> int:
    """Count a pool's first nodes in each zone: GKE starts the same number everywhere.

    Rounded up, so that ``start`` nodes are there, but never so that all zones together have more than ``most``.
    """
    return start if per_zone else min(-(-start // zones), most // zones)


def cpu_plan(settings: GkeCpuPoolSettings, zones: Sequence[str]) -> NodePoolPlan:
    """Decide the pool for everything that is not on a GPU, in all zones."""
    start = settings.min if settings.desired is None else settings.desired
    return NodePoolPlan(
        pool=CPU_POOL,
        zones=tuple(zones),
        machine_type=settings.machine_type,
        image_type=_IMAGES["cos"],
        disk_type=disk_type(settings.disk, settings.disk_types),
        disk_size=settings.disk.size,
        disk_iops=settings.disk.iops,
        disk_throughput=settings.disk.throughput,
        # Never 0: what the cluster itself runs has nowhere else to go, and GKE would not taint GPU nodes.
        initial=max(1, initial_nodes(start, settings.max, len(zones), per_zone=False)),
        min=settings.min,
        max=settings.max,
        per_zone=False,
        location_policy="BALANCED",
        labels={naming.POOL_LABEL: CPU_POOL, **settings.labels},
        taints=(),
        spot=settings.capacity == "spot",
        secure_boot=True,
        gvnic=True,
        streams=False,
        **_upgrade(settings.upgrade),
    )


def gpu_plan(pool: GkeGpuPoolSettings, zones: Sequence[str]) -> NodePoolPlan:
    """Decide a GPU pool."""
    machine, sharing = pool.machine, pool.sharing
    of_pool = tuple(zones) if pool.zones is None else pool.zones
    start = pool.min if pool.desired is None else pool.desired
    return NodePoolPlan(
        pool=pool.name,
        zones=of_pool,
        machine_type=pool.machine_type,
        image_type=_IMAGES[pool.os],
        disk_type=disk_type(pool.disk, machine.boot_disks),
        disk_size=pool.disk.size,
        disk_iops=pool.disk.iops,
        disk_throughput=pool.disk.throughput,
        initial=initial_nodes(start, pool.max, len(of_pool), per_zone=pool.per_zone),
        min=pool.min,
        max=pool.max,
        per_zone=pool.per_zone,
        location_policy=pool.location_policy.upper(),
        # GKE's own labels (cloud.google.com/..) are GKE's to set.
        labels={naming.POOL_LABEL: pool.name, catalogue.PRESENT_LABEL: "true", **pool.labels},
        # Exactly the taint that GKE sets itself: another value is refused, and without it a cluster of GPU pools alone has none.
        taints=((catalogue.TAINT_KEY, catalogue.TAINT_VALUE, "NO_SCHEDULE"),),
        spot=pool.capacity == "spot",
        # Ubuntu's drivers are built on the node, and no key of Google's signs them.
        secure_boot=pool.os == "cos",
        gvnic=pool.gvnic,
        streams=pool.streams,
        accelerator=Accelerator(
            type=machine.gpu.accelerator,
            count=machine.gpus,
            driver=_DRIVERS[pool.driver],
            partition=sharing.profile if sharing.kind == "mig" else None,
            sharing=_SHARING.get(sharing.kind),
            clients=replicas(sharing),
        ),
        reservation=pool.capacity_reservation,
        local_ssds=pool.local_ssds or machine.local_ssds,
        image_disk=pool.disk.image,
        compact=pool.compact_placement,
        **_upgrade(pool.upgrade),
    )


def _upgrade(settings: UpgradeSettings) -> dict[str, Any]:
    return {"max_surge": settings.max_surge, "max_unavailable": settings.max_unavailable}


def node_pools(settings: GkeClusterSettings, zones: Sequence[str]) -> tuple[NodePoolPlan, ...]:
    """All pools of a cluster, the one without GPUs first."""
    return (cpu_plan(settings.cpu_pool, zones), *(gpu_plan(pool, zones) for pool in settings.gpu_pools))


def gpu_pool(pool: GkeGpuPoolSettings) -> GpuPool:
    """What add-ons and deployments need to know of a pool. GKE runs the device plugin, and always offers slices as whole GPUs."""
    sharing = pool.sharing
    offer = pool.offer
    return GpuPool(
        name=pool.name,
        labels={naming.POOL_LABEL: pool.name},
        resource=offer.resource,
        units=offer.per_node,
        sharing="none" if sharing.kind == "whole" else sharing.kind,
        replicas=replicas(sharing),
        mig_strategy="single" if sharing.kind == "mig" else "none",
        device_plugin="bundled",
        driver="daemonSet" if pool.driver == "daemonSet" else "bundled",
        os=pool.os,
    )


@dataclass(frozen=True, kw_only=True)
class NodePoolArgs:
    """What `declare` needs besides the plan."""

    cluster: pulumi.Input[str]
    """Id of the cluster, which has its location."""
    project: str
    service_account: pulumi.Input[str]
    """E-mail address of the nodes' service account; resolves once its roles are bound."""
    network_tag: str
    disk_key: str | None
    labels: Mapping[str, str]
    """Labels of machines and disks in Google Cloud."""
    pods_per_node: int
    protect: bool


def declare(name: str, plan: NodePoolPlan, args: NodePoolArgs, opts: pulumi.ResourceOptions) -> gcp.container.NodePool:
    """Declare a node pool."""
    if plan.per_zone:
        numbers: dict[str, int] = {"min_node_count": plan.min, "max_node_count": plan.max}
    else:
        numbers = {"total_min_node_count": plan.min, "total_max_node_count": plan.max}
    return gcp.container.NodePool(
        name,
        name=plan.name,
        project=args.project,
        cluster=args.cluster,
        node_locations=list(plan.zones),
        initial_node_count=plan.initial,
        max_pods_per_node=args.pods_per_node,
        autoscaling=gcp.container.NodePoolAutoscalingArgs(location_policy=plan.location_policy, **numbers),
        # Upgrades are the release channel's; exclusions in `maintenance` hold them back.
        # Both are GKE's condition for a cluster in a release channel, and ours always are.
        management=gcp.container.NodePoolManagementArgs(auto_repair=True, auto_upgrade=True),
        upgrade_settings=gcp.container.NodePoolUpgradeSettingsArgs(
            strategy="SURGE", max_surge=plan.max_surge, max_unavailable=plan.max_unavailable
        ),
        network_config=gcp.container.NodePoolNetworkConfigArgs(enable_private_nodes=True),
        placement_policy=gcp.container.NodePoolPlacementPolicyArgs(type="COMPACT") if plan.compact else None,
        node_config=_node_config(plan, args),
        opts=pulumi.ResourceOptions.merge(
            opts,
            pulumi.ResourceOptions(
                # camelCase: the SDK translates only whole names at the top.
                ignore_changes=["initialNodeCount", "nodeCount"],
                protect=args.protect or None,
                # A day without stock: 35 minutes and more have been seen before a pool was there or given up.
                custom_timeouts=pulumi.CustomTimeouts(create="90m", update="2h", delete="60m"),
            ),
        ),
    )


def _node_config(plan: NodePoolPlan, args: NodePoolArgs) -> gcp.container.NodePoolNodeConfigArgs:
    more: dict[str, Any] = {}
    if plan.accelerator is not None:
        more["guest_accelerators"] = [_accelerator(plan.accelerator)]
    if plan.streams:
        more["gcfs_config"] = gcp.container.NodePoolNodeConfigGcfsConfigArgs(enabled=True)
    if plan.local_ssds is not None:
        more["ephemeral_storage_local_ssd_config"] = gcp.container.NodePoolNodeConfigEphemeralStorageLocalSsdConfigArgs(
            local_ssd_count=plan.local_ssds
        )
    if plan.reservation is not None:
        more["reservation_affinity"] = gcp.container.NodePoolNodeConfigReservationAffinityArgs(
            consume_reservation_type="SPECIFIC_RESERVATION", key=_RESERVATION_KEY, values=[plan.reservation]
        )
    if plan.image_disk is not None:
        more["secondary_boot_disks"] = [
            gcp.container.NodePoolNodeConfigSecondaryBootDiskArgs(disk_image=plan.image_disk, mode="CONTAINER_IMAGE_CACHE")
        ]
    if args.disk_key is not None:
        more["boot_disk_kms_key"] = args.disk_key
    return gcp.container.NodePoolNodeConfigArgs(
        machine_type=plan.machine_type,
        image_type=plan.image_type,
        boot_disk=gcp.container.NodePoolNodeConfigBootDiskArgs(
            disk_type=plan.disk_type,
            size_gb=plan.disk_size,
            provisioned_iops=plan.disk_iops,
            provisioned_throughput=plan.disk_throughput,
        ),
        service_account=args.service_account,
        oauth_scopes=[SCOPE],
        labels=dict(plan.labels),
        taints=[gcp.container.NodePoolNodeConfigTaintArgs(key=key, value=value, effect=effect) for key, value, effect in plan.taints],
        tags=[args.network_tag],
        resource_labels=dict(args.labels),
        spot=plan.spot,
        gvnic=gcp.container.NodePoolNodeConfigGvnicArgs(enabled=plan.gvnic),
        # Pods ask GKE's metadata server, which gives them their own identity and never the node's.
        workload_metadata_config=gcp.container.NodePoolNodeConfigWorkloadMetadataConfigArgs(mode="GKE_METADATA"),
        shielded_instance_config=gcp.container.NodePoolNodeConfigShieldedInstanceConfigArgs(
            enable_secure_boot=plan.secure_boot, enable_integrity_monitoring=True
        ),
        **more,
    )


def _accelerator(found: Accelerator) -> gcp.container.NodePoolNodeConfigGuestAcceleratorArgs:
    sharing = None
    if found.sharing is not None:
        sharing = gcp.container.NodePoolNodeConfigGuestAcceleratorGpuSharingConfigArgs(
            gpu_sharing_strategy=found.sharing, max_shared_clients_per_gpu=found.clients
        )
    return gcp.container.NodePoolNodeConfigGuestAcceleratorArgs(
        type=found.type,
        count=found.count,
        gpu_partition_size=found.partition,
        gpu_sharing_config=sharing,
        gpu_driver_installation_config=gcp.container.NodePoolNodeConfigGuestAcceleratorGpuDriverInstallationConfigArgs(
            gpu_driver_version=found.driver
        ),
    )
