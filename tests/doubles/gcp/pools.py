"""GKE in memory: node pools, and the nodes that they bring.

A pool whose machines can't be had is there all the same: ERROR, with the reason, until there are machines again. Which is what a stock-out
and an exhausted quota look like at Google, and what an `up` after them has to go on from.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp import delays, machines, nodes
from tests.doubles.gcp.compute import region_of
from tests.doubles.gcp.operations import URL, begin
from tests.doubles.gcp.pool_rules import DEFAULT_MACHINE, GPU_TAINT, check_management, check_pool, check_scaling, check_version
from tests.doubles.gcp.session import GoogleError, Session, finishes, handles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body

CREATE_S: Final = delays.POOL_CREATE
NODES_S: Final = delays.POOL_NODES
DELETE_S: Final = delays.POOL_DELETE
UPDATE_S: Final = delays.POOL_UPDATE
HEAL_S: Final = delays.POOL_HEAL

_PODS: Final = 110


# --- a pool's life


def new_pool(session: Session, cluster_name: str, pool: Body) -> str:
    """Keep a new pool, PROVISIONING."""
    cluster = session.things[cluster_name]
    name = f"{cluster_name}/nodePools/{pool['name']}"
    if name in session.things:
        raise GoogleError(409, f"Already exists: {name}.", "alreadyExists")
    config = {
        "machineType": DEFAULT_MACHINE,
        "imageType": "COS_CONTAINERD",
        "diskSizeGb": 100,
        "diskType": "pd-balanced",
        "serviceAccount": "default",
        **pool.get("config", {}),
    }
    gpus = config.get("accelerators")
    others = [other for other in session.below(cluster_name) if not session.things[other]["config"].get("accelerators")]
    if gpus and others and not any(taint.get("key") == GPU_TAINT["key"] for taint in config.get("taints", [])):
        # Only where a node without GPUs is left for the rest: with none, GKE leaves the taint out.
        config["taints"] = [*config.get("taints", []), GPU_TAINT]
    locations = pool.get("locations") or cluster["locations"]
    project = name.split("/")[1]
    groups = [
        f"https://www.googleapis.com/compute/v1/projects/{project}/zones/{zone}/instanceGroupManagers/gke-{cluster['name']}-{pool['name']}-grp"
        for zone in locations
    ]
    made = {
        **pool,
        "config": config,
        "initialNodeCount": pool.get("initialNodeCount", 0),
        "locations": sorted(locations),
        "version": check_version(cluster, pool["version"]) if pool.get("version") else cluster["currentMasterVersion"],
        "selfLink": URL + name,
        "status": "PROVISIONING",
        "instanceGroupUrls": groups,
        "podIpv4CidrSize": 24,
        "etag": f"{session.number():08x}",
    }
    session.add(name, made)
    return name


def size(pool: Body) -> int:
    """How many nodes a pool has to begin with: in each of its zones, but for a total."""
    scaling = pool.get("autoscaling", {})
    count = int(pool.get("initialNodeCount", 0)) * len(pool["locations"])
    if scaling.get("enabled"):
        total = scaling.get("totalMaxNodeCount", 0)
        low = scaling.get("totalMinNodeCount", 0) if total else scaling.get("minNodeCount", 0) * len(pool["locations"])
        return max(count, int(low))
    return count


def _lacking(session: Session, name: str) -> str:
    """Why a pool's first nodes can't come; empty where they can."""
    pool = session.things[name]
    count = size(pool)
    config = pool["config"]
    limits = session.state["quotas"]
    for item in config.get("accelerators", []) if count else ():
        for quota in machines.quotas(item["acceleratorType"], spot=bool(config.get("spot"))):
            if quota in limits:
                used = _gpus_in_use(session, quota, but=name)
                wanted = count * int(item["acceleratorCount"])
                if used + wanted > limits[quota]:
                    where = "globally" if quota == "GPUS_ALL_REGIONS" else f"in region {region_of(pool['locations'][0])}"
                    return (
                        f"[GCE_QUOTA_EXCEEDED]: Instance 'gke-{pool['name']}-0' creation failed: Quota '{quota}' exceeded. "
                        f"Limit: {limits[quota]:.1f} {where}."
                    )
    return _no_addresses(session, name, count)


def _gpus_in_use(session: Session, quota: str, *, but: str) -> int:
    return sum(
        size(pool) * int(item["acceleratorCount"])
        for other, pool in session.things.items()
        if "/nodePools/" in other and other != but and pool["status"] in ("RUNNING", "RECONCILING")
        for item in pool["config"].get("accelerators", [])
        if quota in machines.quotas(item["acceleratorType"], spot=bool(pool["config"].get("spot")))
    )


def _no_addresses(session: Session, name: str, count: int) -> str:
    cluster_name = name.split("/nodePools/", maxsplit=1)[0]
    cluster = session.things[cluster_name]
    block = cluster["ipAllocationPolicy"]["clusterIpv4CidrBlock"]
    each = 24
    if "/" not in block:
        return ""
    room = 2 ** max(0, each - ipaddress.IPv4Network(block).prefixlen)
    used = sum(size(session.things[other]) for other in session.below(cluster_name) if session.things[other]["status"] == "RUNNING")
    if used + count > room:
        return (
            f"[IP_SPACE_EXHAUSTED]: Instance 'gke-{cluster['name']}-{name.rsplit('/', 1)[-1]}-0' creation failed: IP space of "
            f"'{cluster['networkConfig']['subnetwork']}' is exhausted: pods' range {block} has room for {room} nodes of /{each}."
        )
    return ""


def pool_is_up(session: Session, name: str) -> str:
    """Let a pool's nodes come, where they can; why not, where they can't."""
    pool = session.things[name]
    reason = _lacking(session, name)
    if reason:
        pool |= {"status": "ERROR", "statusMessage": reason}
        return reason
    pool["status"] = "RUNNING"
    pool.pop("statusMessage", None)
    nodes.write(session, name, pool, size(pool))
    return ""


def forget_nodes(session: Session, name: str) -> None:
    """A pool's nodes go."""
    nodes.remove(session, name)


@finishes
def pool_is_made(session: Session, operation: Body) -> None:
    """A new pool: RUNNING, or ERROR where an order says so or its nodes can't come."""
    name = operation["target"]
    failing = operation.get("failing")
    if failing:
        session.things[name] |= {"status": "ERROR", "statusMessage": failing}
        if session.clock.pace and ("EXHAUSTED" in failing or "STOCKOUT" in failing):
            session.begin("REPAIR_CLUSTER", f"{name}/repair", HEAL_S, then="pool_is_healed", pool=name)
    reason = failing or pool_is_up(session, name)
    if reason:
        operation["error"] = {"code": 8, "message": reason}


@finishes
def pool_is_healed(session: Session, operation: Body) -> None:
    """Machines are in stock again: GKE has gone on asking for them. Without a pace a test says when (`restock`)."""
    if operation["pool"] in session.things:
        pool_is_up(session, operation["pool"])


@finishes
def pool_is_changed(session: Session, operation: Body) -> None:
    """A pool whose change is done."""
    pool = session.things[operation["target"]]
    changes = operation.get("changes", {})
    pool["config"] |= changes.pop("config", {})
    pool |= changes
    pool_is_up(session, operation["target"])


@finishes
def pool_is_gone(session: Session, operation: Body) -> None:
    """A pool and its nodes."""
    forget_nodes(session, operation["target"])
    session.things.pop(operation["target"], None)


# --- the API's methods


def _pool(session: Session, name: str) -> Body:
    if name not in session.things:
        raise GoogleError(404, f"Not found: {name}.", "notFound")
    return session.things[name]


@handles("container.projects.locations.clusters.nodePools.create")
def create_pool(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a pool."""
    cluster_name, pool = parameters["parent"], body["nodePool"]
    cluster = _pool(session, cluster_name)
    if cluster["status"] not in ("RUNNING", "RECONCILING"):
        raise GoogleError(
            400, f"Cluster {cluster_name} is {cluster['status']}; node pools can be made in a RUNNING one.", "failedPrecondition"
        )
    name = f"{cluster_name}/nodePools/{pool['name']}"
    check_pool(session, cluster, pool)
    new_pool(session, cluster_name, pool)
    seconds = CREATE_S + (NODES_S if size(session.things[name]) else 0.0)
    try:
        return begin(session, "CREATE_NODE_POOL", cluster_name, name, seconds, "pool_is_made")
    except GoogleError:
        del session.things[name]
        raise


@handles("container.projects.locations.clusters.nodePools.get")
def get_pool(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A pool."""
    return _pool(session, parameters["name"])


@handles("container.projects.locations.clusters.nodePools.delete")
def delete_pool(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a pool; its nodes are drained."""
    name = parameters["name"]
    _pool(session, name)["status"] = "STOPPING"
    return _change(session, name, "DELETE_NODE_POOL", DELETE_S, "pool_is_gone")


def _change(session: Session, name: str, what: str, seconds: float, then: str = "pool_is_changed", **more: Any) -> Body:
    for running in session.running(name):
        raise GoogleError(400, f"Node pool is running incompatible operation {running}.", "failedPrecondition")
    return begin(session, what, name.split("/nodePools/", maxsplit=1)[0], name, seconds, then, **more)


def change_autoscaling(session: Session, cluster: str, pool: str, value: Body) -> Body:
    """Change how far a pool may grow."""
    name = f"{cluster}/nodePools/{pool}"
    new = {**_pool(session, name), "autoscaling": value}
    check_scaling(new)
    return _change(session, name, "UPDATE_CLUSTER", UPDATE_S, changes={"autoscaling": value})


_OF_CONFIG: Final = {
    "accelerators": "accelerators",
    "bootDisk": "bootDisk",
    "diskSizeGb": "diskSizeGb",
    "diskType": "diskType",
    "gcfsConfig": "gcfsConfig",
    "gvnic": "gvnic",
    "imageType": "imageType",
    "kubeletConfig": "kubeletConfig",
    "linuxNodeConfig": "linuxNodeConfig",
    "loggingConfig": "loggingConfig",
    "machineType": "machineType",
    "resourceLabels": "resourceLabels",
    "workloadMetadataConfig": "workloadMetadataConfig",
}
_OF_POOL: Final = {
    "upgradeSettings": "upgradeSettings",
    "nodeDrainConfig": "nodeDrainConfig",
    "nodeNetworkConfig": "networkConfig",
    "locations": "locations",
    "queuedProvisioning": "queuedProvisioning",
}
_WRAPPED: Final = {
    "taints": ("taints", "taints"),
    "labels": ("labels", "labels"),
    "tags": ("tags", "tags"),
    "resourceLabels": ("resourceLabels", "labels"),
}


@handles("container.projects.locations.clusters.nodePools.update")
def update_pool(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change machines, disks, labels, taints, version; GKE replaces the nodes one after another."""
    name = parameters["name"]
    pool = _pool(session, name)
    cluster = session.things[name.split("/nodePools/")[0]]
    config: Body = {}
    changes: Body = {}
    for key, value in body.items():
        if key in _WRAPPED:
            config[_WRAPPED[key][0]] = value.get(_WRAPPED[key][1], {})
        elif key in _OF_CONFIG:
            config[_OF_CONFIG[key]] = int(value) if key == "diskSizeGb" else value
        elif key in _OF_POOL:
            changes[_OF_POOL[key]] = {**pool.get(_OF_POOL[key], {}), **value} if isinstance(value, dict) else value
        elif key == "nodeVersion":
            changes["version"] = check_version(cluster, cluster["currentMasterVersion"] if value == "-" else value)
        elif key not in ("name", "etag"):
            raise LookupError(f"the double of Google has not learnt to update {key} of a node pool")
    check_pool(session, cluster, {**pool, **changes, "config": {**pool["config"], **config}})
    answer = _change(session, name, "UPGRADE_NODES", UPDATE_S, changes={**changes, "config": config})
    pool["status"] = "RECONCILING"
    return answer


@handles("container.projects.locations.clusters.nodePools.setManagement")
def set_management(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Whether GKE repairs and upgrades by itself; a cluster in a release channel is upgraded always."""
    name = parameters["name"]
    cluster = session.things[name.split("/nodePools/")[0]]
    channel = cluster["releaseChannel"]["channel"]
    if channel != "UNSPECIFIED":
        check_management(body["management"], channel)
    _pool(session, name)
    return _change(session, name, "SET_NODE_POOL_MANAGEMENT", UPDATE_S, changes={"management": body["management"]})


@handles("container.projects.locations.clusters.nodePools.setSize")
def set_size(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Give a pool so many nodes in each zone."""
    name = parameters["name"]
    _pool(session, name)
    return _change(session, name, "SET_NODE_POOL_SIZE", UPDATE_S, changes={"initialNodeCount": body["nodeCount"]})
