"""Compute Engine in memory: routers with their NATs, and addresses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.doubles.gcp.compute import SMALL_S, URL, delete, keep, network_of, operation_of, region_of, relative, subnetwork_name
from tests.doubles.gcp.session import GoogleError, Session, handles, invalid, not_found

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body


# --- routers and NAT


def _router(parameters: Mapping[str, str]) -> str:
    return f"projects/{parameters['project']}/regions/{parameters['region']}/routers/{parameters['router']}"


@handles("compute.routers.insert")
def insert_router(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Make a router."""
    project, region = parameters["project"], region_of(parameters["region"])
    network = network_of(session, project, body)
    made = {**body, "network": URL + network, "region": f"{URL}projects/{project}/regions/{region}"}
    return keep(session, f"projects/{project}/regions/{region}/routers/{body['name']}", made, "router", SMALL_S)


@handles("compute.routers.get")
def get_router(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """A router with its NATs."""
    return session.get(_router(parameters))


@handles("compute.routers.patch")
def patch_router(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Change a router, its NATs above all: two that cover the same subnetwork can't be."""
    name = _router(parameters)
    known = session.get(name)
    if session.running(name):
        raise GoogleError(400, f"The resource '{name}' is not ready", "resourceNotReady")
    covered: set[str] = set()
    for nat in body.get("nats", []):
        _check_nat(session, parameters, known, nat, covered)
    known.update(body)
    return operation_of(session, session.begin("patch", name, SMALL_S))


def _check_nat(session: Session, parameters: Mapping[str, str], router: Body, nat: Body, covered: set[str]) -> None:
    source = nat.get("sourceSubnetworkIpRangesToNat")
    listed = [subnetwork_name(parameters["project"], parameters["region"], item["name"]) for item in nat.get("subnetworks", [])]
    if (source == "LIST_OF_SUBNETWORKS") != bool(listed):
        raise invalid(
            f"Invalid value for field 'resource.nats[0].subnetworks': {listed}. "
            f"With {source}, it must be {'set' if not listed else 'empty'}."
        )
    if nat.get("natIpAllocateOption") == "MANUAL_ONLY" and not nat.get("natIps"):
        raise invalid("Invalid value for field 'resource.nats[0].natIps': ''. MANUAL_ONLY needs addresses.")
    for subnetwork in listed or ["*"]:
        if subnetwork != "*" and subnetwork not in session.things:
            raise not_found(subnetwork)
        if subnetwork != "*" and session.things[subnetwork]["network"] != router["network"]:
            raise invalid(f"Subnetwork {subnetwork} is not in the router's network {relative(router['network'])}.")
        if subnetwork in covered or "*" in covered:
            raise invalid(f"Subnetwork {subnetwork} is covered by more than one NAT of the router.")
        covered.add(subnetwork)
    for item in nat.get("subnetworks", []):
        known = {entry["rangeName"] for entry in session.things[relative(item["name"])].get("secondaryIpRanges", [])}
        absent = set(item.get("secondaryIpRangeNames", [])) - known
        if absent:
            raise invalid(f"Secondary range {absent.pop()} does not exist in {item['name']}.")


@handles("compute.routers.delete")
def delete_router(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    """End a router with all its NATs."""
    session.get(_router(parameters))
    return operation_of(session, session.begin("delete", _router(parameters), SMALL_S, then="gone"))


# --- addresses


def _address(parameters: Mapping[str, str]) -> str:
    place = f"regions/{parameters['region']}" if "region" in parameters else "global"
    return f"projects/{parameters['project']}/{place}/addresses/{parameters['address']}"


def _insert_address(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    name = _address({**parameters, "address": body["name"]})
    if body.get("addressType") == "INTERNAL" and "networkTier" in body:
        raise invalid("Invalid value for field 'resource.networkTier'. Internal addresses have none.")
    number = session.number()
    free = f"10.255.{number // 250 % 250}.{number % 250}" if body.get("addressType") == "INTERNAL" else f"198.51.100.{number % 250}"
    return keep(session, name, {"address": free, "status": "RESERVED", "addressType": "EXTERNAL", **body}, "address", SMALL_S)


@handles("compute.addresses.insert")
def insert_address(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Reserve an address in a region."""
    region_of(parameters["region"])
    return _insert_address(session, parameters, body)


@handles("compute.globalAddresses.insert")
def insert_global_address(session: Session, parameters: Mapping[str, str], body: Body) -> Body:
    """Reserve an address for the whole world."""
    return _insert_address(session, parameters, body)


def _get_address(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    return session.get(_address(parameters))


def _delete_address(session: Session, parameters: Mapping[str, str], _: Body) -> Body:
    return delete(session, _address(parameters), SMALL_S)


handles("compute.addresses.get")(_get_address)
handles("compute.globalAddresses.get")(_get_address)
handles("compute.addresses.delete")(_delete_address)
handles("compute.globalAddresses.delete")(_delete_address)
