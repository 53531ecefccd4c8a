"""Resources and functions of the gcp plugin without the modules of its SDK that take longest to load.

``pulumi_gcp.compute`` alone costs four seconds of every preview and ``pulumi_gcp.storage`` half a second, for five kinds of resource and
one. Here they are by their tokens and with the plugin's own names, typed as far as the fleet uses them; a test holds every name against the
SDK. A provider of one's own must be given: without the SDK nothing says which version of the plugin is meant.
"""

# the plugin's own spelling

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

import pulumi
from pulumi.runtime import invoke

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pulumi_gcp as gcp

NETWORK: Final = "gcp:compute/network:Network"
SUBNETWORK: Final = "gcp:compute/subnetwork:Subnetwork"
ROUTER: Final = "gcp:compute/router:Router"
ROUTER_NAT: Final = "gcp:compute/routerNat:RouterNat"
FIREWALL: Final = "gcp:compute/firewall:Firewall"
BUCKET_IAM_MEMBER: Final = "gcp:storage/bucketIAMMember:BucketIAMMember"
GET_ZONES: Final = "gcp:compute/getZones:getZones"
GET_SUBNETWORK: Final = "gcp:compute/getSubnetwork:getSubnetwork"


class NetworkInputs(TypedDict):
    """See ``pulumi_gcp.compute.Network``."""

    name: str
    project: str
    autoCreateSubnetworks: bool
    routingMode: str
    description: str


class SecondaryRange(TypedDict):
    """See ``pulumi_gcp.compute.SubnetworkSecondaryIpRangeArgs``."""

    rangeName: str
    ipCidrRange: str


class SubnetworkInputs(TypedDict):
    """See ``pulumi_gcp.compute.Subnetwork``."""

    name: str
    project: str
    region: str
    network: pulumi.Input[str]
    ipCidrRange: str
    privateIpGoogleAccess: bool
    secondaryIpRanges: list[SecondaryRange]


class RouterInputs(TypedDict):
    """See ``pulumi_gcp.compute.Router``."""

    name: str
    project: str
    region: str
    network: pulumi.Input[str]


class NatSubnetwork(TypedDict):
    """See ``pulumi_gcp.compute.RouterNatSubnetworkArgs``."""

    name: pulumi.Input[str]
    sourceIpRangesToNats: list[str]


class NatLog(TypedDict):
    """See ``pulumi_gcp.compute.RouterNatLogConfigArgs``."""

    enable: bool
    filter: str


class RouterNatInputs(TypedDict):
    """See ``pulumi_gcp.compute.RouterNat``."""

    name: str
    project: str
    region: str
    router: pulumi.Input[str]
    natIpAllocateOption: str
    sourceSubnetworkIpRangesToNat: str
    subnetworks: list[NatSubnetwork]
    logConfig: NatLog


class FirewallAllow(TypedDict):
    """See ``pulumi_gcp.compute.FirewallAllowArgs``."""

    protocol: str
    ports: list[str]


class FirewallInputs(TypedDict):
    """See ``pulumi_gcp.compute.Firewall``."""

    name: str
    project: str
    network: pulumi.Input[str]
    description: str
    direction: str
    sourceRanges: list[str]
    targetTags: list[str]
    allows: list[FirewallAllow]


class Condition(TypedDict):
    """See ``pulumi_gcp.storage.BucketIAMMemberConditionArgs``."""

    title: str
    description: str
    expression: str


class _BucketIamMember(TypedDict):
    bucket: pulumi.Input[str]
    role: str
    member: pulumi.Input[str]


class BucketIamMemberInputs(_BucketIamMember, total=False):
    """See ``pulumi_gcp.storage.BucketIAMMember``."""

    condition: Condition


class Plain(pulumi.CustomResource):
    """A resource by its token. Raises ValueError without a provider of one's own."""

    def __init__(self, token: str, name: str, inputs: Mapping[str, Any], outputs: tuple[str, ...], opts: pulumi.ResourceOptions) -> None:
        if opts.provider is None:
            message = f"{token} {name} has no provider: any version of the plugin could be taken."
            raise ValueError(message)
        super().__init__(token, name, {**dict.fromkeys(outputs), **inputs}, opts)

    def output(self, name: str) -> pulumi.Output[str]:
        """Give an output that was asked for, or an input as it came back, by the plugin's name for it."""
        found: pulumi.Output[str] = self.__dict__[name]
        return found


def network(name: str, inputs: NetworkInputs, opts: pulumi.ResourceOptions) -> Plain:
    """Declare a VPC; outputs ``selfLink``."""
    return Plain(NETWORK, name, inputs, ("selfLink",), opts)


def subnetwork(name: str, inputs: SubnetworkInputs, opts: pulumi.ResourceOptions) -> Plain:
    """Declare a subnet; outputs ``selfLink``."""
    return Plain(SUBNETWORK, name, inputs, ("selfLink",), opts)


def router(name: str, inputs: RouterInputs, opts: pulumi.ResourceOptions) -> Plain:
    """Declare a Cloud Router."""
    return Plain(ROUTER, name, inputs, (), opts)


def router_nat(name: str, inputs: RouterNatInputs, opts: pulumi.ResourceOptions) -> Plain:
    """Declare a Cloud NAT."""
    return Plain(ROUTER_NAT, name, inputs, (), opts)


def firewall(name: str, inputs: FirewallInputs, opts: pulumi.ResourceOptions) -> Plain:
    """Declare a firewall rule."""
    return Plain(FIREWALL, name, inputs, (), opts)


def bucket_iam_member(name: str, inputs: BucketIamMemberInputs, opts: pulumi.ResourceOptions) -> Plain:
    """Declare a member's role on a bucket."""
    return Plain(BUCKET_IAM_MEMBER, name, inputs, (), opts)


def get_zones(*, project: str, region: str, provider: gcp.Provider) -> list[str]:
    """Ask Google for the names of a region's zones that are up."""
    found = _call(GET_ZONES, {"project": project, "region": region, "status": "UP"}, provider)
    return list(found["names"])


def get_subnetwork(*, name: str, project: str, region: str, provider: gcp.Provider) -> dict[str, Any]:
    """Ask Google for a subnet that is there; keys are the plugin's own (``network``, ``selfLink``, ``secondaryIpRanges``...)."""
    return _call(GET_SUBNETWORK, {"name": name, "project": project, "region": region}, provider)


def _call(token: str, arguments: dict[str, Any], provider: gcp.Provider) -> dict[str, Any]:
    value: dict[str, Any] = invoke(token, arguments, pulumi.InvokeOptions(provider=provider)).value
    return value
