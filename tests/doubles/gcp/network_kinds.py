"""Compute Engine's types: networks, subnetworks, routers, NAT, firewalls, addresses."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.gcp.api import document
from tests.doubles.gcp.compute import relative
from tests.doubles.gcp.expand import NEVER, expand
from tests.doubles.gcp.kinds import ComputeKind, Context, Kind, refused, saying, saying_but_gone
from tests.doubles.gcp.session import GoogleError
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.doubles.gcp.api import Body
    from tests.doubles.provider import Props

_PLACE: Final = {"project": NEVER, "region": NEVER, "deletionPolicy": NEVER}
_ROUTER_LOCKS: Final[dict[tuple[str, ...], threading.Lock]] = {}
_GUARD: Final = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class NetworkKind(ComputeKind):
    """A network. The provider knows more ways to make one than this double."""

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        if inputs.get("autoCreateSubnetworks", True) is True:
            yield "autoCreateSubnetworks", "the double makes no network with automatic subnetworks; set it to False"


@dataclass(frozen=True, kw_only=True)
class SubnetworkKind(ComputeKind):
    """A subnetwork: some of its fields have methods of their own."""

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        parameters = self._of(identity, inputs)
        with saying(f"Error updating Subnetwork {identity!r}"):
            if "privateIpGoogleAccess" in changed:
                body = {"privateIpGoogleAccess": bool(inputs.get("privateIpGoogleAccess"))}
                context.finish(context.ask("compute.subnetworks.setPrivateIpGoogleAccess", parameters, body)["name"])
            if "ipCidrRange" in changed:
                body = {"ipCidrRange": inputs["ipCidrRange"]}
                context.finish(context.ask("compute.subnetworks.expandIpCidrRange", parameters, body)["name"])
        rest = changed - {"privateIpGoogleAccess", "ipCidrRange"}
        if rest:
            super().update(context, identity, inputs, rest)


@dataclass(frozen=True, kw_only=True)
class NatKind(Kind):
    """A NAT: an entry in its router, whose list is read, changed and written back."""

    def parameters(self, place: Mapping[str, str], inputs: Props) -> dict[str, str]:
        if "region" not in place:
            raise DoubleError("region: required field is not set")
        return {"project": place["project"], "region": place["region"], "router": str(inputs["router"]).rsplit("/", 1)[-1]}

    def identity(self, context: Context, inputs: Props) -> str:
        found = self.parameters(context.place(inputs), inputs)
        return f"{found['project']}/{found['region']}/{found['router']}/{inputs['name']}"

    def _of(self, identity: str) -> tuple[dict[str, str], str]:
        project, region, router, name = identity.split("/")
        return {"project": project, "region": region, "router": router}, name

    def _write(self, context: Context, parameters: dict[str, str], name: str, nat: Body | None, *, new: bool = False) -> None:
        # Two NATs of one router are two resources, and each writes the whole list.
        with _one_at_a_time(parameters):
            router = context.ask("compute.routers.get", parameters)
            there = router.get("nats", [])
            if new and any(item["name"] == name for item in there):
                raise DoubleError(f"Error creating RouterNat: {name} already exists in {parameters['router']}")
            nats = [item for item in there if item["name"] != name] + ([nat] if nat else [])
            refused(context.finish(context.ask("compute.routers.patch", parameters, {"nats": nats})["name"]), f"RouterNat {name}")

    def create(self, context: Context, inputs: Props) -> tuple[str, Body]:
        identity = self.identity(context, inputs)
        parameters, name = self._of(identity)
        with saying("Error creating RouterNat"):
            self._write(context, parameters, name, self.body(inputs), new=True)
        return identity, self.get(context, identity, inputs)

    def get(self, context: Context, identity: str, inputs: Props) -> Body:
        parameters, name = self._of(identity)
        for item in context.ask("compute.routers.get", parameters).get("nats", []):
            if item["name"] == name:
                found: Body = item
                return found
        raise GoogleError(404, f"NAT {name} not found in {parameters['router']}", "notFound")

    def update(self, context: Context, identity: str, inputs: Props, changed: set[str]) -> None:
        parameters, name = self._of(identity)
        with saying(f"Error updating RouterNat {identity!r}"):
            self._write(context, parameters, name, self.body(inputs))

    def delete(self, context: Context, identity: str, state: Props) -> None:
        parameters, name = self._of(identity)
        with saying_but_gone("Error deleting RouterNat"):
            self._write(context, parameters, name, None)


def _one_at_a_time(parameters: Mapping[str, str]) -> threading.Lock:
    """The provider's own lock of what two resources would write at once."""
    with _GUARD:
        return _ROUTER_LOCKS.setdefault(tuple(parameters.values()), threading.Lock())


@dataclass(frozen=True, kw_only=True)
class FirewallKind(ComputeKind):
    """A firewall rule."""

    def problems(self, inputs: Props) -> Iterator[tuple[str, str]]:
        if not inputs.get("allows") and not inputs.get("denies"):
            yield "allows", "one of `allows,denies` must be specified"

    def body(self, inputs: Props) -> Body:
        api = document("compute")
        made: Body = expand(api, api.schema("Firewall"), self.filled(inputs), self.names)
        for item in [*made.get("allowed", []), *made.get("denied", [])]:
            item["ports"] = [str(port) for port in item.get("ports", [])]
        return made


def _name(key: str) -> Any:
    return lambda body, _: relative(body[key]) if key in body else None


NETWORK: Final = NetworkKind(
    token="gcp:compute/network:Network",
    schema="Network",
    methods="compute.networks",
    singular="network",
    name="projects/{project}/global/networks/{name}",
    names={**_PLACE, "routingMode": "routingConfig.routingMode", "deleteDefaultRoutesOnCreate": NEVER},
    replaces=("name", "autoCreateSubnetworks", "description", "internalIpv6Range", "networkProfile", "params", "project"),
    defaults={"autoCreateSubnetworks": True, "networkFirewallPolicyEnforcementOrder": "AFTER_CLASSIC_FIREWALL"},
    computed=("mtu", "routingMode", "project", "internalIpv6Range"),
    choices={"routingMode": ("REGIONAL", "GLOBAL")},
    outputs={"routingMode": "routingConfig.routingMode", "numericId": "id", "networkId": "id", "gatewayIpv4": "gatewayIPv4"},
)
SUBNETWORK: Final = SubnetworkKind(
    token="gcp:compute/subnetwork:Subnetwork",
    schema="Subnetwork",
    methods="compute.subnetworks",
    singular="subnetwork",
    regional=True,
    name="projects/{project}/regions/{region}/subnetworks/{name}",
    names={**_PLACE, "sendSecondaryIpRangeIfEmpty": NEVER},
    replaces=("name", "network", "description", "region", "project", "externalIpv6Prefix", "internalIpv6Prefix", "params"),
    computed=(
        "ipCidrRange",
        "privateIpGoogleAccess",
        "privateIpv6GoogleAccess",
        "purpose",
        "region",
        "secondaryIpRanges",
        "stackType",
        "project",
    ),
    outputs={"secondaryIpRanges": "secondaryIpRanges", "network": "network", "subnetworkId": "id"},
)
ROUTER: Final = ComputeKind(
    token="gcp:compute/router:Router",
    schema="Router",
    methods="compute.routers",
    singular="router",
    regional=True,
    name="projects/{project}/regions/{region}/routers/{name}",
    names=_PLACE,
    replaces=("name", "encryptedInterconnectRouter", "nccGateway", "network", "params", "region", "project"),
    computed=("region", "project"),
)
NAT: Final = NatKind(
    token="gcp:compute/routerNat:RouterNat",
    api="compute",
    schema="RouterNat",
    methods="compute.routers",
    name="",
    names={**_PLACE, "router": NEVER, "initialNatIps": NEVER},
    replaces=("name", "router", "endpointTypes", "initialNatIps", "region", "type", "project"),
    computed=("region", "project", "natIps", "autoNetworkTier", "endpointTypes", "minPortsPerVm", "enableDynamicPortAllocation"),
    choices={
        "natIpAllocateOption": ("MANUAL_ONLY", "AUTO_ONLY"),
        "sourceSubnetworkIpRangesToNat": ("ALL_SUBNETWORKS_ALL_IP_RANGES", "ALL_SUBNETWORKS_ALL_PRIMARY_IP_RANGES", "LIST_OF_SUBNETWORKS"),
        "logConfig.filter": ("ERRORS_ONLY", "TRANSLATIONS_ONLY", "ALL"),
    },
)
FIREWALL: Final = FirewallKind(
    token="gcp:compute/firewall:Firewall",
    schema="Firewall",
    methods="compute.firewalls",
    singular="firewall",
    name="projects/{project}/global/firewalls/{name}",
    names={
        **_PLACE,
        "allows": "allowed",
        "denies": "denied",
        "allows.protocol": "IPProtocol",
        "denies.protocol": "IPProtocol",
        "enableLogging": "logConfig.enable",
        "logConfig.metadata": "metadata",
    },
    replaces=("name", "direction", "params", "project"),
    defaults={"priority": 1000},
    computed=("direction", "destinationRanges", "project", "enableLogging"),
    choices={"direction": ("INGRESS", "EGRESS")},
    patch_needs=("name", "network", "allowed", "denied"),
)
_ADDRESS_REPLACES: Final = ("name", "address", "addressType", "description", "ipVersion", "network", "prefixLength", "purpose", "project")
ADDRESS: Final = ComputeKind(
    token="gcp:compute/address:Address",
    schema="Address",
    methods="compute.addresses",
    singular="address",
    regional=True,
    name="projects/{project}/regions/{region}/addresses/{name}",
    names=_PLACE,
    replaces=(*_ADDRESS_REPLACES, "networkTier", "subnetwork", "region"),
    computed=("address", "networkTier", "prefixLength", "purpose", "region", "subnetwork", "project"),
    labels="labels",
)
GLOBAL_ADDRESS: Final = ComputeKind(
    token="gcp:compute/globalAddress:GlobalAddress",
    schema="Address",
    methods="compute.globalAddresses",
    singular="address",
    name="projects/{project}/global/addresses/{name}",
    names=_PLACE,
    replaces=_ADDRESS_REPLACES,
    computed=("address", "prefixLength", "project"),
    labels="labels",
)
KINDS: Final = (NETWORK, SUBNETWORK, ROUTER, NAT, FIREWALL, ADDRESS, GLOBAL_ADDRESS)
