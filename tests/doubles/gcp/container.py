"""GKE in memory: clusters. Node pools are in `pools`; both answer as `projects.locations.clusters…` of the v1 API.

A cluster is PROVISIONING until its operation is done; RECONCILING while it is changed. What contradicts itself or names what is not there
is refused as GKE does it, when it is asked for.
"""

from __future__ import annotations

import base64
import ipaddress
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.doubles.gcp import delays
from tests.doubles.gcp.accounts import identity_pool
from tests.doubles.gcp.compute import is_region, is_zone, network_name, region_of, relative, subnetwork_name, zones
from tests.doubles.gcp.operations import URL, begin
from tests.doubles.gcp.pools import change_autoscaling, forget_nodes, new_pool, pool_is_up
from tests.doubles.gcp.session import PROJECT_NUMBER, GoogleError, Session, finishes, handles, invalid
from tests.doubles.gcp.stores import may_use_key
from tests.doubles.gcp.versions import VERSIONS, minor, resolve_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body

CREATE_S: Final = delays.CLUSTER_CREATE
UPDATE_S: Final = delays.CLUSTER_UPDATE
UPGRADE_S: Final = delays.CLUSTER_UPGRADE
DELETE_S: Final = delays.CLUSTER_DELETE

_NAME: Final = re.compile(r"^[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?$")

CONTROL_PLANE: Final = "cluster.json"
"""File in the run's folder that says where the control plane is that stands in for every cluster's (``server``, ``authority``). Without it
a cluster has an address where nobody is."""


# --- making one


def _locations(location: str, body: Body) -> list[str]:
    if is_zone(location):
        found = body.get("locations") or [location]
        if location not in found:
            raise invalid(f"Locations {found} must include the cluster's own zone {location}.")
    elif is_region(location):
        found = body.get("locations") or zones([location])[:3]
    else:
        raise invalid(f"Location {location!r} does not exist.")
    for zone in found:
        if not is_zone(zone) or region_of(zone) != region_of(location):
            raise invalid(f"Zone {zone!r} is no zone of {region_of(location)}.")
    return sorted(found)


def _check_network(session: Session, project: str, location: str, body: Body) -> tuple[str, str]:
    network = network_name(project, body.get("network", "default"))
    if network not in session.things:
        raise invalid(f'Network "{network}" does not exist.')
    subnetwork = subnetwork_name(project, region_of(location), body.get("subnetwork", "default"))
    if subnetwork not in session.things:
        raise invalid(f'Subnetwork "{subnetwork}" does not exist.')
    known = session.things[subnetwork]
    if relative(known["network"]) != network:
        raise invalid(f'Subnetwork "{subnetwork}" is not in network "{network}".')
    policy = body.get("ipAllocationPolicy", {})
    ranges = {item["rangeName"]: item["ipCidrRange"] for item in known.get("secondaryIpRanges", [])}
    for key in ("clusterSecondaryRangeName", "servicesSecondaryRangeName"):
        named = policy.get(key)
        if named and key.replace("SecondaryRangeName", "Ipv4CidrBlock") in policy:
            raise invalid(f"Only one of {key} and a CIDR block can be set.")
        if named and named not in ranges:
            raise invalid(f'Subnetwork "{subnetwork}" does not have a secondary range "{named}".')
        user = _user_of_range(session, subnetwork, str(named))
        if named and user:
            raise invalid(f'Secondary range "{named}" of subnetwork "{subnetwork}" is already in use by cluster "{user}".')
    if policy and policy.get("clusterSecondaryRangeName") == policy.get("servicesSecondaryRangeName") is not None:
        raise invalid("Pods and services can't share a secondary range.")
    return network, subnetwork


def _user_of_range(session: Session, subnetwork: str, named: str) -> str:
    """A cluster whose Services have this range: pods of several may share one, Services may not."""
    for other, body in session.things.items():
        policy = body.get("ipAllocationPolicy")
        if policy and relative(body.get("subnetwork", "")) == subnetwork and policy.get("servicesSecondaryRangeName") == named:
            return other
    return ""


def _check_private(session: Session, network: str, body: Body) -> None:
    private = body.get("privateClusterConfig", {})
    block = private.get("masterIpv4CidrBlock")
    if block:
        wanted = ipaddress.IPv4Network(block)
        if wanted.prefixlen != _CONTROL_PLANE_PREFIX:
            raise invalid(f"Invalid master CIDR {block}: must be a /28.")
        for other, known in session.things.items():
            if "/subnetworks/" in other and relative(known["network"]) == network:
                used = [known["ipCidrRange"], *(item["ipCidrRange"] for item in known.get("secondaryIpRanges", []))]
                for text in used:
                    if wanted.overlaps(ipaddress.IPv4Network(text)):
                        raise invalid(f"Requested CIDR {block} for master conflicts with {text} of {other}.")
    authorized = body.get("controlPlaneEndpointsConfig", {}).get("ipEndpointsConfig", {}).get("authorizedNetworksConfig", {})
    for item in authorized.get("cidrBlocks", []):
        try:
            ipaddress.ip_network(item["cidrBlock"])
        except ValueError:
            raise invalid(f"Invalid CIDR block {item['cidrBlock']!r} in authorized networks.") from None


_CONTROL_PLANE_PREFIX: Final = 28


def _check_features(session: Session, project: str, body: Body) -> None:
    pool = body.get("workloadIdentityConfig", {}).get("workloadPool")
    if pool and pool != identity_pool(project):
        raise invalid(f"Workload Identity pool {pool!r} is invalid: must be {identity_pool(project)!r}.")
    encryption = body.get("databaseEncryption", {})
    if encryption.get("state", "DECRYPTED") != "DECRYPTED":
        may_use_key(session, encryption.get("keyName", ""), f"service-{PROJECT_NUMBER}@container-engine-robot.iam.gserviceaccount.com")
    dataplane = body.get("networkConfig", {}).get("datapathProvider")
    if dataplane == "ADVANCED_DATAPATH" and body.get("networkPolicy", {}).get("enabled"):
        raise invalid("Enabling NetworkPolicy for clusters with DatapathProvider=ADVANCED_DATAPATH is not allowed.")
    limits = body.get("autoscaling", {})
    if limits.get("enableNodeAutoprovisioning") and not limits.get("resourceLimits"):
        raise invalid("Node auto-provisioning needs resource limits for cpu and memory.")
    window = body.get("maintenancePolicy", {}).get("window", {})
    if sum(key in window for key in ("dailyMaintenanceWindow", "recurringWindow", "recurringMaintenanceWindow")) > 1:
        raise invalid("Only one kind of maintenance window can be set.")


@handles("container.projects.locations.clusters.create")
def create_cluster(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a cluster with its first pool."""
    from tests.doubles.gcp.pool_rules import check_pool  # noqa: PLC0415  # they need what is above

    cluster = body["cluster"]
    _, project, _, location = parameters["parent"].split("/")
    if not _NAME.match(cluster["name"]):
        raise invalid(
            f"Invalid cluster name {cluster['name']!r}: at most 40 lower-case letters, digits and dashes, the first one a letter."
        )
    name = f"{parameters['parent']}/clusters/{cluster['name']}"
    if name in session.things:
        raise GoogleError(409, f"Already exists: {name}.", "alreadyExists")
    locations = _locations(location, cluster)
    network, subnetwork = _check_network(session, project, location, cluster)
    _check_private(session, network, cluster)
    _check_features(session, project, cluster)
    first = cluster.pop("nodePools", None) or [
        {"name": "default-pool", "initialNodeCount": cluster.get("initialNodeCount", 0), "config": cluster.get("nodeConfig", {})}
    ]
    for pool in first:
        if not pool.get("initialNodeCount"):
            raise invalid("Cluster.initial_node_count must be greater than zero.")
        check_pool(session, {**cluster, "name": cluster["name"], "network": network, "location": location}, pool)
    channel = cluster.get("releaseChannel", {}).get("channel", "REGULAR")
    version = resolve_version(cluster.get("initialClusterVersion", ""), "" if channel == "UNSPECIFIED" else channel)
    made = {
        **cluster,
        "network": network.rsplit("/", 1)[-1],
        "subnetwork": subnetwork.rsplit("/", 1)[-1],
        "networkConfig": {**cluster.get("networkConfig", {}), "network": network, "subnetwork": subnetwork},
        "ipAllocationPolicy": _allocated(session, subnetwork, cluster),
        "location": location,
        "locations": locations,
        "id": f"{session.number():064x}",
        "selfLink": URL + name,
        "status": "PROVISIONING",
        "createTime": session.stamp(),
        "initialClusterVersion": version,
        "currentMasterVersion": version,
        "releaseChannel": {"channel": channel},
        "labelFingerprint": f"{session.number():08x}",
        **_reached(session, cluster),
    }
    session.add(name, made)
    if cluster.get("workloadIdentityConfig", {}).get("workloadPool"):
        # The project's identity pool comes with its first such cluster, and stays.
        session.state.setdefault("pools", []).append(identity_pool(project))
    for pool in first:
        new_pool(session, name, pool)
    return begin(session, "CREATE_CLUSTER", name, name, CREATE_S, "cluster_is_made")


def _allocated(session: Session, subnetwork: str, cluster: Body) -> Body:
    """Ranges by name are told by address too; GKE names the ones that it makes itself."""
    policy = {"stackType": "IPV4", **cluster.get("ipAllocationPolicy", {}), "useIpAliases": True}
    ranges = {item["rangeName"]: item["ipCidrRange"] for item in session.things[subnetwork].get("secondaryIpRanges", [])}
    for kind, default in (("cluster", "10.4.0.0/14"), ("services", "34.118.224.0/20")):
        named = policy.get(f"{kind}SecondaryRangeName")
        block = ranges[named] if named else policy.get(f"{kind}Ipv4CidrBlock") or default
        policy |= {f"{kind}Ipv4CidrBlock": block, f"{kind}Ipv4Cidr": block}
    return policy


def control_plane(session: Session) -> tuple[str, str]:
    """Where a cluster's API is (host, with a port where it is another than 443) and its authority's certificate (base64)."""
    path = Path(session.state["folder"]) / CONTROL_PLANE
    if not path.exists():
        return "203.0.113.10", base64.b64encode(b"no control plane stands behind this cluster").decode()
    found = json.loads(path.read_text(encoding="utf-8"))
    return str(found["server"]).removeprefix("https://"), str(found["authority"])


def _reached(session: Session, cluster: Body) -> Body:
    host, authority = control_plane(session)
    endpoints = json.loads(json.dumps(cluster.get("controlPlaneEndpointsConfig", {})))
    endpoints.setdefault("dnsEndpointConfig", {})["endpoint"] = f"gke-{session.number():x}.{cluster['name']}.gke.goog"
    address = endpoints.setdefault("ipEndpointsConfig", {})
    private = not address.get("enablePublicEndpoint", True)
    address |= {"publicEndpoint": "" if private else host, "privateEndpoint": "172.16.0.2"}
    return {
        "endpoint": host,
        "masterAuth": {"clusterCaCertificate": authority},
        "controlPlaneEndpointsConfig": endpoints,
        "privateClusterConfig": {
            **cluster.get("privateClusterConfig", {}),
            "publicEndpoint": address["publicEndpoint"],
            "privateEndpoint": address["privateEndpoint"],
        },
    }


@finishes
def cluster_is_made(session: Session, operation: Body) -> None:
    """A new cluster, with its pools."""
    name = operation["target"]
    cluster = session.things[name]
    if operation.get("failing"):
        cluster |= {"status": "ERROR", "statusMessage": operation["failing"]}
        operation["error"] = {"code": 13, "message": operation["failing"]}
        return
    cluster["status"] = "RUNNING"
    for pool in session.below(name):
        pool_is_up(session, pool)


@finishes
def cluster_is_changed(session: Session, operation: Body) -> None:
    """A cluster whose change is done."""
    cluster = session.things[operation["target"]]
    cluster["status"] = "RUNNING"
    cluster.update(operation.get("changes", {}))


@finishes
def cluster_is_gone(session: Session, operation: Body) -> None:
    """A cluster, its pools and their nodes."""
    for pool in session.below(operation["target"]):
        forget_nodes(session, pool)
        session.things.pop(pool)
    session.things.pop(operation["target"])


# --- looking at it and changing it


@handles("container.projects.locations.clusters.get")
def get_cluster(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A cluster with its pools."""
    name = parameters["name"]
    if name not in session.things:
        raise GoogleError(404, f"Not found: {name}.", "notFound")
    return {**session.things[name], "nodePools": [session.things[pool] for pool in session.below(name)]}


_DESIRED: Final = {
    "desiredAddonsConfig": "addonsConfig",
    "desiredClusterAutoscaling": "autoscaling",
    "desiredControlPlaneEndpointsConfig": "controlPlaneEndpointsConfig",
    "desiredCostManagementConfig": "costManagementConfig",
    "desiredDatabaseEncryption": "databaseEncryption",
    "desiredLocations": "locations",
    "desiredLoggingConfig": "loggingConfig",
    "desiredMonitoringConfig": "monitoringConfig",
    "desiredReleaseChannel": "releaseChannel",
    "desiredShieldedNodes": "shieldedNodes",
    "desiredVerticalPodAutoscaling": "verticalPodAutoscaling",
    "desiredWorkloadIdentityConfig": "workloadIdentityConfig",
    "desiredSecurityPostureConfig": "securityPostureConfig",
    "desiredAuthenticatorGroupsConfig": "authenticatorGroupsConfig",
}
_DESIRED_NETWORK: Final = {
    "desiredDnsConfig": "dnsConfig",
    "desiredGatewayApiConfig": "gatewayApiConfig",
    "desiredDefaultEnablePrivateNodes": "defaultEnablePrivateNodes",
    "desiredDefaultSnatStatus": "defaultSnatStatus",
    "desiredEnableFqdnNetworkPolicy": "enableFqdnNetworkPolicy",
}


@handles("container.projects.locations.clusters.update")
def update_cluster(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change one thing of a cluster; two at once GKE refuses."""
    name, update = parameters["name"], body["update"]
    if name not in session.things:
        raise GoogleError(404, f"Not found: {name}.", "notFound")
    cluster = session.things[name]
    desired = [key for key in update if key not in ("desiredNodePoolId", "etag")]
    if len(desired) != 1:
        raise invalid(f"Exactly one update can be requested at a time, not {desired}.")
    key, value = desired[0], update[desired[0]]
    if key == "desiredNodePoolAutoscaling":
        return change_autoscaling(session, name, update["desiredNodePoolId"], value)
    if key == "desiredMasterVersion":
        return _upgrade(session, name, value)
    if key == "desiredDatabaseEncryption":
        _check_features(session, name.split("/")[1], {"databaseEncryption": value})
    if key == "desiredReleaseChannel":
        resolve_version(cluster["currentMasterVersion"], value["channel"])
    if key in _DESIRED:
        known = cluster.get(_DESIRED[key])
        changes = {_DESIRED[key]: {**known, **value} if isinstance(known, dict) and key != "desiredMonitoringConfig" else value}
    elif key in _DESIRED_NETWORK:
        changes = {"networkConfig": {**cluster["networkConfig"], _DESIRED_NETWORK[key]: value}}
    else:
        raise LookupError(f"the double of Google has not learnt to update {key} of a cluster")
    answer = begin(session, "UPDATE_CLUSTER", name, name, UPDATE_S, "cluster_is_changed", changes=changes)
    cluster["status"] = "RECONCILING"
    return answer


def _upgrade(session: Session, name: str, asked: str) -> Body:
    cluster = session.things[name]
    channel = cluster["releaseChannel"]["channel"]
    version = resolve_version(asked, "" if channel == "UNSPECIFIED" else channel)
    now = cluster["currentMasterVersion"]
    if VERSIONS.index(version) > VERSIONS.index(now):
        raise invalid(f"Master cannot be downgraded from {now} to {version}.")
    if minor(version) > minor(now) + 1:
        raise invalid(f"Master cannot be upgraded to {version}: cannot upgrade more than a minor version at a time (now {now}).")
    answer = begin(session, "UPGRADE_MASTER", name, name, UPGRADE_S, "cluster_is_changed", changes={"currentMasterVersion": version})
    cluster["status"] = "RECONCILING"
    return answer


@handles("container.projects.locations.clusters.setMaintenancePolicy")
def set_maintenance(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """When GKE may upgrade."""
    _check_features(session, parameters["name"].split("/")[1], body)
    changes = {"maintenancePolicy": body["maintenancePolicy"]}
    return begin(session, "SET_MAINTENANCE_POLICY", parameters["name"], parameters["name"], UPDATE_S, "cluster_is_changed", changes=changes)


@handles("container.projects.locations.clusters.setResourceLabels")
def set_labels(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Labels of a cluster; who has seen older ones than there are is refused."""
    cluster = session.get(parameters["name"])
    if body.get("labelFingerprint") != cluster["labelFingerprint"]:
        raise GoogleError(412, "Labels fingerprint is invalid or out of date.", "conditionNotMet")
    changes = {"resourceLabels": body["resourceLabels"], "labelFingerprint": f"{session.number():08x}"}
    return begin(session, "SET_LABELS", parameters["name"], parameters["name"], UPDATE_S, "cluster_is_changed", changes=changes)


@handles("container.projects.locations.clusters.delete")
def delete_cluster(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a cluster with its pools."""
    name = parameters["name"]
    if name not in session.things:
        raise GoogleError(404, f"Not found: {name}.", "notFound")
    answer = begin(session, "DELETE_CLUSTER", name, name, DELETE_S, "cluster_is_gone")
    session.things[name]["status"] = "STOPPING"
    return answer
