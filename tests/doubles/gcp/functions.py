"""Functions of the plugin: what a program asks before it declares anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tests.doubles.gcp.compute import ZONES
from tests.doubles.gcp.session import PROJECT_NUMBER
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.doubles.gcp.kinds import Context
    from tests.doubles.provider import Props


def _only(context: Context, *known: str) -> Props:
    """The arguments; others than these are refused. Raises DoubleError."""
    unknown = [key for key in context.call.inputs if key not in known]
    if unknown:
        raise DoubleError(f"{context.call.token}: Invalid or unknown key {unknown[0]}")
    return {key: value for key, value in context.call.inputs.items() if value is not None}


def client_config(context: Context) -> Props:
    """Who the provider is."""
    _only(context)
    found = {key: context.config.get(key, "") for key in ("project", "region", "zone")}
    return {**found, "id": "client-config", "accessToken": "token-of-the-double", "defaultLabels": {}}


def project(context: Context) -> Props:
    """A project."""
    asked = _only(context, "projectId")
    name = asked.get("projectId") or context.place({})["project"]
    body = context.ask("cloudresourcemanager.projects.get", {"projectId": name})
    return {
        "id": f"projects/{name}",
        "projectId": name,
        "number": body["projectNumber"],
        "name": body["name"],
        "autoCreateNetwork": False,
        "billingAccount": "",
        "deletionPolicy": "",
        "effectiveLabels": {},
        "folderId": "",
        "labels": {},
        "orgId": "",
        "pulumiLabels": {},
        "tags": {},
    }


def zones(context: Context) -> Props:
    """Zones of a region."""
    asked = _only(context, "project", "region", "status")
    region = asked.get("region") or context.config.get("region")
    place = context.place(asked)
    found = context.ask("compute.zones.list", {"project": place["project"]})["items"]
    if region and region not in ZONES:
        raise DoubleError(f"Unknown region: {region}")
    names = sorted(item["name"] for item in found if item["status"] == asked.get("status", item["status"]))
    return {
        "id": f"projects/{place['project']}/regions/{region}",
        "project": place["project"],
        "region": region or "",
        "names": [name for name in names if not region or name.startswith(f"{region}-")],
    }


def engine_versions(context: Context) -> Props:
    """Versions that GKE offers in a place."""
    asked = _only(context, "location", "project", "versionPrefix")
    place = context.place(asked)
    body = context.ask(
        "container.projects.locations.getServerConfig", {"name": f"projects/{place['project']}/locations/{place['location']}"}
    )
    prefix = asked.get("versionPrefix", "")
    valid = [item for item in body["validMasterVersions"] if item.startswith(prefix)]
    return {
        "id": place["location"],
        "project": place["project"],
        "location": place["location"],
        "versionPrefix": prefix,
        "defaultClusterVersion": body["defaultClusterVersion"],
        "latestMasterVersion": valid[0] if valid else "",
        "latestNodeVersion": valid[0] if valid else "",
        "validMasterVersions": valid,
        "validNodeVersions": valid,
        "releaseChannelDefaultVersion": {item["channel"]: item["defaultVersion"] for item in body["channels"]},
        "releaseChannelLatestVersion": {item["channel"]: item["validVersions"][0] for item in body["channels"]},
        "releaseChannelUpgradeTargetVersion": {item["channel"]: item["defaultVersion"] for item in body["channels"]},
    }


def network(context: Context) -> Props:
    """A network that is there."""
    asked = _only(context, "name", "project", "networkProfile")
    place = context.place(asked)
    body = context.ask("compute.networks.get", {"project": place["project"], "network": asked["name"]})
    return {
        "id": f"projects/{place['project']}/global/networks/{asked['name']}",
        "project": place["project"],
        "name": body["name"],
        "description": body.get("description", ""),
        "gatewayIpv4": "",
        "internalIpv6Range": "",
        "networkId": int(body["id"]),
        "numericId": body["id"],
        "networkProfile": "",
        "selfLink": body["selfLink"],
        "subnetworksSelfLinks": body["subnetworks"],
    }


def subnetwork(context: Context) -> Props:
    """A subnetwork that is there."""
    asked = _only(context, "name", "project", "region", "selfLink")
    if asked.get("selfLink"):
        parts = asked["selfLink"].partition("/projects/")[2].split("/")
        asked = {"project": parts[0], "region": parts[2], "name": parts[4]}
    place = context.place(asked)
    parameters = {"project": place["project"], "region": place["region"], "subnetwork": asked["name"]}
    body = context.ask("compute.subnetworks.get", parameters)
    ranges = [{"ipCidrRange": item["ipCidrRange"], "rangeName": item["rangeName"]} for item in body.get("secondaryIpRanges", [])]
    return {
        "id": f"projects/{place['project']}/regions/{place['region']}/subnetworks/{asked['name']}",
        "project": place["project"],
        "region": place["region"],
        "name": body["name"],
        "description": body.get("description", ""),
        "gatewayAddress": body["gatewayAddress"],
        "internalIpv6Prefix": "",
        "ipCidrRange": body["ipCidrRange"],
        "network": body["network"],
        "privateIpGoogleAccess": bool(body.get("privateIpGoogleAccess")),
        "secondaryIpRanges": ranges,
        "selfLink": body["selfLink"],
        "subnetworkId": int(body["id"]),
    }


def storage_account(context: Context) -> Props:
    """The account by which Cloud Storage uses keys."""
    asked = _only(context, "project", "userProject")
    place = context.place(asked)
    email = context.ask("storage.projects.serviceAccount.get", {"projectId": place["project"]})["email_address"]
    return {"id": email, "project": place["project"], "emailAddress": email, "member": f"serviceAccount:{email}"}


FUNCTIONS: Final[Mapping[str, Callable[[Context], Props]]] = {
    "gcp:compute/getNetwork:getNetwork": network,
    "gcp:compute/getSubnetwork:getSubnetwork": subnetwork,
    "gcp:compute/getZones:getZones": zones,
    "gcp:container/getEngineVersions:getEngineVersions": engine_versions,
    "gcp:organizations/getClientConfig:getClientConfig": client_config,
    "gcp:organizations/getProject:getProject": project,
    "gcp:storage/getProjectServiceAccount:getProjectServiceAccount": storage_account,
}

__all__ = ["FUNCTIONS", "PROJECT_NUMBER"]
