"""What GKE refuses of a node pool when it is asked for: what contradicts itself, and what names something that is not there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.doubles.gcp import machines
from tests.doubles.gcp.accounts import known_account
from tests.doubles.gcp.compute import is_zone, region_of
from tests.doubles.gcp.session import invalid
from tests.doubles.gcp.versions import VERSIONS, minor, resolve_version

if TYPE_CHECKING:
    from tests.doubles.gcp.api import Body
    from tests.doubles.gcp.session import Session

_MAX_CLIENTS: Final = 48
"""Containers that may share a GPU."""
_LOCAL_SSDS: Final = {"g2-standard-24": (2,), "g2-standard-48": (4,), "g2-standard-96": (8,)}
_DRIVERS: Final = ("GPU_DRIVER_VERSION_UNSPECIFIED", "INSTALLATION_DISABLED", "DEFAULT", "LATEST", "SPECIFIC")
DEFAULT_MACHINE: Final = "e2-medium"
GPU_TAINT: Final = {"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}


def check_pool(session: Session, cluster: Body, pool: Body) -> None:
    """Refuse a pool that could never be. Raises GoogleError."""
    config = pool.get("config", {})
    kind = machines.machine(config.get("machineType", DEFAULT_MACHINE))
    if kind is None:
        raise invalid(f"Invalid machine type: {config['machineType']!r} does not exist in {cluster['location']}.")
    _check_gpus(pool, kind)
    _check_disks(config, kind)
    check_scaling(pool)
    _check_taints(config)
    for zone in pool.get("locations", []):
        if not is_zone(zone) or region_of(zone) != region_of(cluster["location"]):
            raise invalid(f"Zone {zone!r} of node pool {pool['name']!r} is no zone of {region_of(cluster['location'])}.")
    account = config.get("serviceAccount", "default")
    if account != "default":
        known_account(session, account)
    metadata = config.get("workloadMetadataConfig", {}).get("mode")
    if metadata == "GKE_METADATA" and not cluster.get("workloadIdentityConfig", {}).get("workloadPool"):
        raise invalid("GKE_METADATA can only be used where the cluster has Workload Identity enabled.")
    _check_network(session, cluster, pool)
    version = pool.get("version")
    if version:
        check_version(cluster, version)
    channel = cluster.get("releaseChannel", {}).get("channel", "REGULAR")
    if pool.get("management") and channel != "UNSPECIFIED":
        check_management(pool["management"], channel)


def _check_gpus(pool: Body, kind: machines.Machine) -> None:
    config = pool.get("config", {})
    found = config.get("accelerators", [])
    asked = [(item.get("acceleratorType", ""), int(item.get("acceleratorCount", "0")), item.get("gpuPartitionSize", "")) for item in found]
    for problem in machines.gpu_problems(kind, asked):
        raise invalid(problem)
    for item in found:
        sharing = item.get("gpuSharingConfig")
        if sharing:
            clients = int(sharing.get("maxSharedClientsPerGpu", "0"))
            if sharing.get("gpuSharingStrategy") not in ("TIME_SHARING", "MPS"):
                raise invalid(f"GPU sharing strategy {sharing.get('gpuSharingStrategy')!r} is invalid.")
            if not 1 < clients <= _MAX_CLIENTS:
                raise invalid(f"max_shared_clients_per_gpu is {clients}; it must be between 2 and {_MAX_CLIENTS}.")
            if sharing["gpuSharingStrategy"] == "MPS" and item.get("gpuPartitionSize"):
                raise invalid("GPU partitions can't be shared with MPS.")
        driver = item.get("gpuDriverInstallationConfig", {}).get("gpuDriverVersion", "DEFAULT")
        if driver not in _DRIVERS:
            raise invalid(f"GPU driver version {driver!r} is invalid.")
        if driver == "LATEST" and not config.get("imageType", "COS_CONTAINERD").upper().startswith("COS"):
            raise invalid("GPU driver version LATEST is available on Container-Optimized OS alone.")
    placement = pool.get("placementPolicy", {})
    if placement.get("type") == "COMPACT" and not kind.name.startswith(
        ("a2-", "a3-", "a4-", "a4x-", "c2-", "c2d-", "c3-", "g2-", "g4-", "n2-", "n2d-")
    ):
        raise invalid(f"Compact placement is not supported for machine type {kind.name}.")


def _check_disks(config: Body, kind: machines.Machine) -> None:
    boot = config.get("bootDisk", {})
    for here, there in (("diskType", "diskType"), ("sizeGb", "diskSizeGb")):
        if boot.get(here) and config.get(there) and str(boot[here]) != str(config[there]):
            raise invalid(f"bootDisk.{here} and {there} contradict each other.")
    disk = boot.get("diskType") or config.get("diskType")
    problem = machines.disk_problem(kind.name, disk) if disk else None
    if problem:
        raise invalid(problem)
    if config.get("secondaryBootDisks") and not config.get("gcfsConfig", {}).get("enabled"):
        raise invalid("Secondary boot disks need image streaming (gcfsConfig.enabled).")
    ssds = config.get("ephemeralStorageLocalSsdConfig", {}).get("localSsdCount")
    if ssds and kind.name in _LOCAL_SSDS and ssds not in _LOCAL_SSDS[kind.name]:
        raise invalid(f"Machine type {kind.name} takes {' or '.join(map(str, _LOCAL_SSDS[kind.name]))} local SSDs, not {ssds}.")
    if config.get("spot") and config.get("preemptible"):
        raise invalid("A node pool is spot or preemptible, not both.")
    reservation = config.get("reservationAffinity", {}).get("consumeReservationType")
    if config.get("spot") and reservation in ("SPECIFIC_RESERVATION", "ANY_RESERVATION_THEN_FAIL"):
        raise invalid("Spot machines can't consume reservations.")
    if reservation == "SPECIFIC_RESERVATION" and not config["reservationAffinity"].get("values"):
        raise invalid("SPECIFIC_RESERVATION needs the key and values of a reservation.")


def check_scaling(pool: Body) -> None:
    scaling = pool.get("autoscaling", {})
    total = [scaling.get("totalMinNodeCount", 0), scaling.get("totalMaxNodeCount", 0)]
    each = [scaling.get("minNodeCount", 0), scaling.get("maxNodeCount", 0)]
    if scaling.get("enabled"):
        if any(total) and any(each):
            raise invalid("Only one of {min,max}NodeCount and total{Min,Max}NodeCount can be set.")
        low, high = total if any(total) else each
        if high < 1:
            raise invalid("maxNodeCount must be greater than zero where autoscaling is enabled.")
        if low > high:
            raise invalid(f"minNodeCount ({low}) must be at most maxNodeCount ({high}).")
    settings = pool.get("upgradeSettings", {})
    if settings.get("strategy", "SURGE") == "SURGE" and settings and not settings.get("maxSurge") and not settings.get("maxUnavailable"):
        raise invalid("maxSurge and maxUnavailable can't both be zero.")


def _check_taints(config: Body) -> None:
    seen = set()
    for taint in config.get("taints", []):
        mark = (taint.get("key"), taint.get("effect"))
        if mark in seen:
            raise invalid(f"Taints must be unique by key and effect: {mark[0]}:{mark[1]} is there twice.")
        seen.add(mark)
        if taint.get("key") == GPU_TAINT["key"] and config.get("accelerators") and taint.get("value") != GPU_TAINT["value"]:
            raise invalid(f"Taint {taint['key']}={taint.get('value')} contradicts the one that GKE sets on GPU nodes (present).")


def _check_network(session: Session, cluster: Body, pool: Body) -> None:
    wanted = pool.get("networkConfig", {}).get("podRange")
    subnetwork = session.things.get(cluster.get("networkConfig", {}).get("subnetwork", ""), {})
    if wanted and wanted not in {item["rangeName"] for item in subnetwork.get("secondaryIpRanges", [])}:
        raise invalid(f'Subnetwork of the cluster does not have a secondary range "{wanted}".')


def check_version(cluster: Body, version: str) -> str:
    found = resolve_version(version, "")
    master = cluster.get("currentMasterVersion", VERSIONS[0])
    if VERSIONS.index(found) < VERSIONS.index(master):
        raise invalid(f"Node version {found} must not be greater than the control plane's {master}.")
    if minor(found) < minor(master) - 2:
        raise invalid(f"Node version {found} is too far behind the control plane's {master}.")
    return found


def check_management(management: Body, channel: str) -> None:
    """Refuse what a release channel does not leave to the user. Raises GoogleError."""
    off = [name for name, key in (("Auto_upgrade", "autoUpgrade"), ("auto_repair", "autoRepair")) if not management.get(key)]
    if off:
        text = " and ".join(off)
        raise invalid(f"{text[0].upper()}{text[1:]} cannot be false when release_channel {channel} is set.")
