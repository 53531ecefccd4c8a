"""Compute Engine in memory: networks, subnetworks, routers with NAT, firewalls, addresses; who uses whom, and which ranges overlap."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp import delays
from tests.doubles.gcp.session import GoogleError, Session, fingerprint, finishes, handles, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.doubles.gcp.api import Body

URL: Final = "https://www.googleapis.com/compute/v1/"
_NETWORK_S: Final = delays.NETWORK
_SUBNETWORK_S: Final = delays.SUBNETWORK
SMALL_S: Final = delays.SMALL
"""Seconds that Compute Engine takes for a network, a subnetwork, anything else here."""

ZONES: Final = {
    "asia-southeast1": ("a", "b", "c"),
    "europe-west1": ("b", "c", "d"),
    "europe-west4": ("a", "b", "c"),
    "us-central1": ("a", "b", "c", "f"),
    "us-east1": ("b", "c", "d"),
    "us-west1": ("a", "b", "c"),
}
"""Some of Google's regions and their zones. Real ones: not every region begins at a."""

_PLURAL: Final = {"networks": "network", "subnetworks": "subnetwork", "routers": "router", "firewalls": "firewall", "addresses": "address"}


def relative(link: str) -> str:
    """Name of a resource from any of the forms in which one refers to it (``https://…/compute/v1/projects/…``, ``projects/…``)."""
    _, found, rest = link.partition("/projects/")
    return f"projects/{rest}" if found else link


def network_name(project: str, link: str) -> str:
    """A network's name; a bare one is the project's."""
    return relative(link) if "/" in link else f"projects/{project}/global/networks/{link}"


def subnetwork_name(project: str, region: str, link: str) -> str:
    """A subnetwork's name; a bare one is the project's in that region."""
    return relative(link) if "/" in link else f"projects/{project}/regions/{region}/subnetworks/{link}"


def is_region(location: str) -> bool:
    """Whether there is a region of this name."""
    return location in ZONES


def is_zone(location: str) -> bool:
    """Whether there is a zone of this name."""
    region, _, letter = location.rpartition("-")
    return letter in ZONES.get(region, ())


def region_of(location: str) -> str:
    """The region of a zone or a region. Raises GoogleError."""
    if is_region(location):
        return location
    if is_zone(location):
        return location.rpartition("-")[0]
    raise GoogleError(400, f"Location {location!r} does not exist", "badRequest")


def references(session: Session, name: str) -> Iterator[str]:
    """Names of what keeps a resource from being deleted."""
    for other, body in session.things.items():
        if other == name:
            continue
        links = [body.get("network"), body.get("subnetwork")]
        config = body.get("networkConfig")
        links += [config.get("network"), config.get("subnetwork")] if isinstance(config, dict) else []
        links += [item["name"] for nat in body.get("nats", []) for item in nat.get("subnetworks", [])]
        if name in [relative(link) for link in links if link]:
            yield other


def _refuse_used(session: Session, name: str) -> None:
    kind = _PLURAL[name.split("/")[-2]]
    for user in references(session, name):
        raise GoogleError(400, f"The {kind} resource '{name}' is already being used by '{user}'", "resourceInUseByAnotherResource")


def keep(session: Session, name: str, body: Body, kind: str, seconds: float) -> Body:
    session.add(
        name,
        {
            **body,
            "kind": f"compute#{kind}",
            "id": str(session.number()),
            "creationTimestamp": session.stamp(),
            "selfLink": URL + name,
        },
    )
    return operation_of(session, session.begin("insert", name, seconds))


def operation_of(session: Session, name: str) -> Body:
    item = session.operations[name]
    return {
        "kind": "compute#operation",
        "name": name,
        "operationType": item["what"],
        "targetLink": URL + item["target"],
        "status": "DONE" if item["done"] else "RUNNING",
        "progress": 100 if item["done"] else 0,
    }


@finishes
def gone(session: Session, operation: Body) -> None:
    """A resource that was being deleted."""
    session.things.pop(operation["target"], None)


def delete(session: Session, name: str, seconds: float) -> Body:
    session.get(name)
    if session.running(name):
        raise GoogleError(400, f"The resource '{name}' is not ready", "resourceNotReady")
    _refuse_used(session, name)
    return operation_of(session, session.begin("delete", name, seconds, then="gone"))


def _patch(session: Session, name: str, body: Body, seconds: float) -> Body:
    known = session.get(name)
    if "fingerprint" in known and body.get("fingerprint") != known["fingerprint"]:
        raise GoogleError(412, "Supplied fingerprint does not match current metadata fingerprint.", "conditionNotMet")
    known.update({key: value for key, value in body.items() if key != "fingerprint"})
    if "fingerprint" in known:
        known["fingerprint"] = fingerprint(known)
    return operation_of(session, session.begin("patch", name, seconds))


def network_of(session: Session, project: str, body: Body) -> str:
    name = network_name(project, str(body.get("network", f"projects/{project}/global/networks/default")))
    if name not in session.things:
        raise GoogleError(404, f"The resource '{name}' was not found", "notFound")
    return name


# --- networks


@handles("compute.networks.insert")
def insert_network(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a network without subnetworks: one in each region, as `autoCreateSubnetworks` has it, is nothing for clusters."""
    if body.get("autoCreateSubnetworks", True):
        raise invalid("the double of Google makes no network with automatic subnetworks; set autoCreateSubnetworks to false")
    routing = {"routingMode": "REGIONAL", **body.get("routingConfig", {})}
    name = f"projects/{parameters['project']}/global/networks/{body['name']}"
    made = {"mtu": 1460, "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL", **body, "routingConfig": routing}
    return keep(session, name, made, "network", _NETWORK_S)


@handles("compute.networks.get")
def get_network(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A network with the addresses of its subnetworks."""
    name = f"projects/{parameters['project']}/global/networks/{parameters['network']}"
    body = session.get(name)
    inside = [other["selfLink"] for key, other in session.things.items() if "/subnetworks/" in key and relative(other["network"]) == name]
    return {**body, "subnetworks": inside}


@handles("compute.networks.patch")
def patch_network(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change a network's routing."""
    return _patch(session, f"projects/{parameters['project']}/global/networks/{parameters['network']}", body, SMALL_S)


@handles("compute.networks.delete")
def delete_network(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a network that nothing uses."""
    return delete(session, f"projects/{parameters['project']}/global/networks/{parameters['network']}", _NETWORK_S)


# --- subnetworks


def _range(text: str, where: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise invalid(f"Invalid value for field 'resource.{where}': '{text}'. {error}") from None


def _ranges(body: Body) -> dict[str, ipaddress.IPv4Network]:
    found = {"": _range(body["ipCidrRange"], "ipCidrRange")}
    for index, item in enumerate(body.get("secondaryIpRanges", [])):
        if item["rangeName"] in found:
            raise invalid(
                f"Invalid value for field 'resource.secondaryIpRanges[{index}].rangeName': '{item['rangeName']}'. Duplicate range name."
            )
        found[item["rangeName"]] = _range(item["ipCidrRange"], f"secondaryIpRanges[{index}].ipCidrRange")
    return found


def _refuse_overlap(session: Session, name: str, network: str, body: Body) -> None:
    own = list(_ranges(body).values())
    others: list[tuple[str, ipaddress.IPv4Network]] = [
        (other, used)
        for other, known in session.things.items()
        if "/subnetworks/" in other and other != name and relative(known["network"]) == network
        for used in _ranges(known).values()
    ]
    seen: list[tuple[str, ipaddress.IPv4Network]] = [*others]
    for item in own:
        for other, used in seen:
            if item.overlaps(used):
                raise invalid(
                    f"Invalid IPCidrRange: {item} conflicts with existing subnetwork '{other.split('/')[-1]}' in the network ({used})."
                )
        seen.append((name, item))


@handles("compute.subnetworks.insert")
def insert_subnetwork(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a subnetwork whose ranges are free in its network."""
    project, region = parameters["project"], region_of(parameters["region"])
    network = network_of(session, project, body)
    name = f"projects/{project}/regions/{region}/subnetworks/{body['name']}"
    _refuse_overlap(session, name, network, body)
    first = next(_ranges(body)[""].hosts())
    made = {
        "purpose": "PRIVATE",
        "stackType": "IPV4_ONLY",
        **body,
        "network": URL + network,
        "region": f"{URL}projects/{project}/regions/{region}",
    }
    made |= {"gatewayAddress": str(first), "fingerprint": fingerprint(made)}
    return keep(session, name, made, "subnetwork", _SUBNETWORK_S)


def _subnetwork(parameters: Mapping[str, str]) -> str:
    return f"projects/{parameters['project']}/regions/{parameters['region']}/subnetworks/{parameters['subnetwork']}"


@handles("compute.subnetworks.get")
def get_subnetwork(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A subnetwork."""
    return session.get(_subnetwork(parameters))


@handles("compute.subnetworks.patch")
def patch_subnetwork(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change secondary ranges, logs, Google access. A range that a cluster uses can't go."""
    name = _subnetwork(parameters)
    known = session.get(name)
    new = {**known, **body}
    _refuse_overlap(session, name, relative(known["network"]), new)
    lost = set(_ranges(known)) - set(_ranges(new))
    for user in references(session, name):
        policy = session.things[user].get("ipAllocationPolicy", {})
        used = {policy.get("clusterSecondaryRangeName"), policy.get("servicesSecondaryRangeName")} & lost
        if used:
            raise GoogleError(
                400, f"The secondary range {used.pop()} of '{name}' is already being used by '{user}'", "resourceInUseByAnotherResource"
            )
    return _patch(session, name, body, _SUBNETWORK_S)


@handles("compute.subnetworks.setPrivateIpGoogleAccess")
def set_google_access(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Whether machines without an address of their own reach Google's APIs."""
    session.get(_subnetwork(parameters)).update(privateIpGoogleAccess=body["privateIpGoogleAccess"])
    return operation_of(session, session.begin("update", _subnetwork(parameters), SMALL_S))


@handles("compute.subnetworks.expandIpCidrRange")
def expand_range(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Widen the primary range."""
    name = _subnetwork(parameters)
    known = session.get(name)
    new = _range(body["ipCidrRange"], "ipCidrRange")
    if not new.supernet_of(_ranges(known)[""]):
        raise invalid(f"Invalid value for field 'ipCidrRange': '{new}'. It must contain the range {known['ipCidrRange']}.")
    _refuse_overlap(session, name, relative(known["network"]), {**known, "ipCidrRange": str(new)})
    known["ipCidrRange"] = str(new)
    return operation_of(session, session.begin("update", name, _SUBNETWORK_S))


@handles("compute.subnetworks.delete")
def delete_subnetwork(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a subnetwork that nothing uses."""
    return delete(session, _subnetwork(parameters), _SUBNETWORK_S)


# --- firewalls


@handles("compute.firewalls.insert")
def insert_firewall(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a rule."""
    project = parameters["project"]
    _check_firewall(body)
    made = {"priority": 1000, "direction": "INGRESS", "disabled": False, **body, "network": URL + network_of(session, project, body)}
    return keep(session, f"projects/{project}/global/firewalls/{body['name']}", made, "firewall", SMALL_S)


def _check_firewall(body: Body) -> None:
    if bool(body.get("allowed")) == bool(body.get("denied")):
        raise invalid("Invalid value for field 'resource.allowed': ''. Must have exactly one of allowed and denied.")
    if body.get("direction", "INGRESS") == "INGRESS":
        if body.get("destinationRanges"):
            raise invalid("Invalid value for field 'resource.destinationRanges'. Only egress rules take them.")
        if not any(body.get(key) for key in ("sourceRanges", "sourceTags", "sourceServiceAccounts")):
            raise invalid(
                "Invalid value for field 'resource.sourceRanges': ''. Must specify one of sourceRanges, sourceTags, sourceServiceAccounts."
            )
    for index, rule in enumerate([*body.get("allowed", []), *body.get("denied", [])]):
        protocol = rule.get("IPProtocol", "")
        if rule.get("ports") and protocol not in ("tcp", "udp", "sctp"):
            raise invalid(f"Invalid value for field 'resource.allowed[{index}].ports'. {protocol} has no ports.")
        for port in rule.get("ports", []):
            if any(not part.isdigit() or int(part) > _MAX_PORT for part in str(port).split("-")):
                raise invalid(f"Invalid value for field 'resource.allowed[{index}].ports': '{port}'.")
    for text in body.get("sourceRanges", []):
        _range(text, "sourceRanges")


_MAX_PORT: Final = 65535


def _firewall(parameters: Mapping[str, str]) -> str:
    return f"projects/{parameters['project']}/global/firewalls/{parameters['firewall']}"


@handles("compute.firewalls.get")
def get_firewall(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A rule."""
    return session.get(_firewall(parameters))


@handles("compute.firewalls.patch")
def patch_firewall(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change a rule."""
    _check_firewall({**session.get(_firewall(parameters)), **body})
    return _patch(session, _firewall(parameters), {**body, "network": session.get(_firewall(parameters))["network"]}, SMALL_S)


@handles("compute.firewalls.delete")
def delete_firewall(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a rule."""
    return delete(session, _firewall(parameters), SMALL_S)


# --- places


@handles("compute.zones.list")
def list_zones(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """All zones."""
    del session
    return {"kind": "compute#zoneList", "items": [_zone(parameters["project"], zone) for zone in zones()]}


def zones(regions: Iterable[str] = ZONES) -> list[str]:
    """Names of the zones of some regions."""
    return sorted(f"{region}-{letter}" for region in regions for letter in ZONES[region])


def _zone(project: str, zone: str) -> dict[str, Any]:
    place = f"{URL}projects/{project}"
    return {
        "kind": "compute#zone",
        "name": zone,
        "region": f"{place}/regions/{zone.rpartition('-')[0]}",
        "status": "UP",
        "selfLink": f"{place}/zones/{zone}",
    }
