"""Rows of EC2's networks; machines are in `machines`. What must be new when it changes is what the Terraform provider marks `ForceNew`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tests.doubles.aws import delays
from tests.doubles.aws.rows import Row, Update, Wait, same, unsent
from tests.doubles.aws.session import Session, code_of
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.doubles.provider import Call, Props

TAGS: Final = ("create_tags", "delete_tags", {"Resources": ["$id"]})


def _vpc_dns(session: Session, call: Call, vpc: str) -> None:
    for prop, parameter in (("enableDnsSupport", "EnableDnsSupport"), ("enableDnsHostnames", "EnableDnsHostnames")):
        value = call.inputs.get(prop)
        if value is not None:
            session.call("ec2", "modify_vpc_attribute", VpcId=vpc, **{parameter: {"Value": value}})


def _vpc_look(session: Session, vpc: str, _: Props, __: Props) -> Props | None:
    found: Props = session.call("ec2", "describe_vpcs", VpcIds=[vpc])["Vpcs"][0]
    for name in ("enableDnsSupport", "enableDnsHostnames"):
        key = name[0].upper() + name[1:]
        found[key] = session.call("ec2", "describe_vpc_attribute", VpcId=vpc, Attribute=name)[key]["Value"]
    where = [{"Name": "vpc-id", "Values": [vpc]}]
    main = [*where, {"Name": "association.main", "Values": ["true"]}]
    for table in session.call("ec2", "describe_route_tables", Filters=main)["RouteTables"]:
        found["Main"] = table["RouteTableId"]
    default = [*where, {"Name": "group-name", "Values": ["default"]}]
    for group in session.call("ec2", "describe_security_groups", Filters=default)["SecurityGroups"]:
        found["DefaultGroup"] = group["GroupId"]
    return found


def _subnet_address(session: Session, call: Call, subnet: str) -> None:
    if call.inputs.get("mapPublicIpOnLaunch") is not None:
        value = {"Value": call.inputs["mapPublicIpOnLaunch"]}
        session.call("ec2", "modify_subnet_attribute", SubnetId=subnet, MapPublicIpOnLaunch=value)


def _attach_gateway(session: Session, call: Call, gateway: str) -> None:
    if call.inputs.get("vpcId"):
        session.call("ec2", "attach_internet_gateway", InternetGatewayId=gateway, VpcId=call.inputs["vpcId"])


def _move_gateway(session: Session, call: Call, old: Props) -> None:
    session.call("ec2", "detach_internet_gateway", InternetGatewayId=call.id, VpcId=old["vpcId"])
    _attach_gateway(session, call, call.id)


def _detach_gateway(session: Session, call: Call) -> None:
    if call.olds.get("vpcId"):
        try:
            session.call("ec2", "detach_internet_gateway", InternetGatewayId=call.id, VpcId=call.olds["vpcId"])
        except ClientError as error:
            if code_of(error) != "Gateway.NotAttached":
                raise


_ROUTE: Final = {
    "cidrBlock": "DestinationCidrBlock",
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
    "destinationPrefixListId": "DestinationPrefixListId",
}


def check_names(what: str, given: Any, known: Iterable[str]) -> None:
    """Refuse names within a block. Raises DoubleError."""
    for item in given if isinstance(given, list) else [given]:
        unknown = sorted(set(item) - set(known)) if isinstance(item, dict) else []
        if unknown:
            raise DoubleError(f"{what} has no {', '.join(unknown)} (known to this double: {', '.join(sorted(known))})")


def _route(route: Props) -> dict[str, Any]:
    return {_ROUTE[key]: value for key, value in route.items() if value}


def _routes(session: Session, call: Call, table: str) -> None:
    for route in call.inputs.get("routes") or []:
        session.call("ec2", "create_route", RouteTableId=table, **_route(route))


def _change_routes(session: Session, call: Call, _: Props) -> None:
    old, new = call.old_inputs.get("routes") or [], call.inputs.get("routes") or []
    for route in old:
        if route not in new:
            session.call("ec2", "delete_route", RouteTableId=call.id, DestinationCidrBlock=route["cidrBlock"])
    for route in new:
        if route not in old:
            session.call("ec2", "create_route", RouteTableId=call.id, **_route(route))


def _association_look(session: Session, association: str, properties: Props, state: Props) -> Props | None:
    table = properties.get("routeTableId") or state.get("routeTableId")
    for found in session.call("ec2", "describe_route_tables", RouteTableIds=[table])["RouteTables"]:
        for item in found["Associations"]:
            if item["RouteTableAssociationId"] == association:
                return dict(item)
    return None


def _nat_look(session: Session, nat: str, _: Props, __: Props) -> Props | None:
    found: Props = session.call("ec2", "describe_nat_gateways", NatGatewayIds=[nat])["NatGateways"][0]
    if found["State"] == "available" and "Checked" not in found:
        # moto makes one anywhere; AWS' fails where the VPC has no way to the internet.
        where = [{"Name": "attachment.vpc-id", "Values": [found["VpcId"]]}]
        if not session.call("ec2", "describe_internet_gateways", Filters=where)["InternetGateways"]:
            return {**found, "State": "failed", "Issues": [{"message": f"Network {found['VpcId']} has no Internet gateway attached"}]}
    return found


def _permissions(rules: list[Props]) -> list[dict[str, Any]]:
    """Rules of a group as the API has them."""
    result = []
    for rule in rules:
        note = {"Description": rule["description"]} if rule.get("description") else {}
        permission: dict[str, Any] = {"IpProtocol": str(rule["protocol"])}
        if str(rule["protocol"]) != "-1":
            permission |= {"FromPort": int(rule["fromPort"]), "ToPort": int(rule["toPort"])}
        if rule.get("cidrBlocks"):
            permission["IpRanges"] = [{"CidrIp": cidr, **note} for cidr in rule["cidrBlocks"]]
        if rule.get("ipv6CidrBlocks"):
            permission["Ipv6Ranges"] = [{"CidrIpv6": cidr, **note} for cidr in rule["ipv6CidrBlocks"]]
        groups = [*(rule.get("securityGroups") or []), *(["self"] if rule.get("self") else [])]
        if groups:
            permission["UserIdGroupPairs"] = [{"GroupId": group, **note} for group in groups]
        result.append(permission)
    return result


_RULE: Final = ("protocol", "fromPort", "toPort", "cidrBlocks", "ipv6CidrBlocks", "securityGroups", "self", "description")


def _verify_group(inputs: Props) -> None:
    for direction in ("ingress", "egress"):
        check_names(f"a rule of {direction}", inputs.get(direction), _RULE)


def _allow(session: Session, group: str, direction: str, rules: list[Props], *, take: bool = False) -> None:
    permissions = _permissions(rules)
    for permission in permissions:
        for pair in permission.get("UserIdGroupPairs", []):
            pair["GroupId"] = group if pair["GroupId"] == "self" else pair["GroupId"]
    if permissions:
        session.call("ec2", f"{'revoke' if take else 'authorize'}_security_group_{direction}", GroupId=group, IpPermissions=permissions)


def _group_rules(session: Session, call: Call, group: str) -> None:
    # The provider takes away the rule with which AWS lets everything out: what leaves is what the program names.
    everything = [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}]
    _allow(session, group, "egress", everything, take=True)
    for direction in ("ingress", "egress"):
        _allow(session, group, direction, call.inputs.get(direction) or [])


def _change_rules(session: Session, call: Call, _: Props) -> None:
    for direction in ("ingress", "egress"):
        old, new = call.old_inputs.get(direction) or [], call.inputs.get(direction) or []
        _allow(session, call.id, direction, [rule for rule in old if rule not in new], take=True)
        _allow(session, call.id, direction, [rule for rule in new if rule not in old])


def _change_endpoint(session: Session, call: Call, _: Props) -> None:
    parameters: dict[str, Any] = {}
    for prop, name in (("routeTableIds", "RouteTableIds"), ("subnetIds", "SubnetIds"), ("securityGroupIds", "SecurityGroupIds")):
        old, new = call.old_inputs.get(prop) or [], call.inputs.get(prop) or []
        added, lost = [item for item in new if item not in old], [item for item in old if item not in new]
        parameters |= {f"Add{name}": added} if added else {}
        parameters |= {f"Remove{name}": lost} if lost else {}
    if call.inputs.get("policy"):
        parameters["PolicyDocument"] = call.inputs["policy"]
    session.call("ec2", "modify_vpc_endpoint", VpcEndpointId=call.id, **parameters)


def _endpoint_delay(inputs: Props) -> float:
    return delays.ENDPOINT_CREATE if inputs.get("vpcEndpointType") == "Interface" else delays.GATEWAY_ENDPOINT


def _as_usual(kind: str) -> dict[str, Any]:
    """What EC2 calls alike for most of what it has: ``create_route_table``, ``RouteTableIds``, ``InvalidRouteTableID.NotFound``."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
    return {
        "service": "ec2",
        "create": f"create_{words}",
        "id": f"{kind}.{kind}Id",
        "read": f"describe_{words}s",
        "read_by": {f"{kind}Ids": ["$id"]},
        "description": f"{kind}s.0",
        "delete": f"delete_{words}",
        "delete_by": {f"{kind}Id": "$id"},
        "gone": (f"Invalid{kind}ID.NotFound",),
        "tags": f"ec2:{words.replace('_', '-')}",
        "retag": TAGS,
    }


ROWS: Final = {
    "aws:ec2/vpc:Vpc": Row(
        **_as_usual("Vpc"),
        properties={**same("cidrBlock instanceTenancy"), **unsent("enableDnsSupport enableDnsHostnames")},
        then=_vpc_dns,
        look=_vpc_look,
        outputs={
            "ownerId": "OwnerId",
            "mainRouteTableId": "Main",
            "defaultRouteTableId": "Main",
            "defaultSecurityGroupId": "DefaultGroup",
            "dhcpOptionsId": "DhcpOptionsId",
        },
        constant={"arn": "arn:aws:ec2:{region}:123456789012:vpc/{id}"},
        defaults={"enableDnsSupport": True},
        live={
            "cidrBlock": "CidrBlock",
            "enableDnsSupport": "EnableDnsSupport",
            "enableDnsHostnames": "EnableDnsHostnames",
            "tags": "Tags",
        },
        replaces=("cidrBlock", "instanceTenancy"),
        updates=(
            Update(properties=("enableDnsSupport", "enableDnsHostnames"), do=lambda session, call, _: _vpc_dns(session, call, call.id)),
        ),
        wait=Wait(path="State", good=("available",), delay=delays.VPC_CREATE),
    ),
    "aws:ec2/subnet:Subnet": Row(
        **_as_usual("Subnet"),
        properties={**same("vpcId cidrBlock availabilityZone availabilityZoneId ipv6CidrBlock"), **unsent("mapPublicIpOnLaunch")},
        then=_subnet_address,
        outputs={
            "arn": "SubnetArn",
            "ownerId": "OwnerId",
            "availabilityZone": "AvailabilityZone",
            "availabilityZoneId": "AvailabilityZoneId",
        },
        live={"cidrBlock": "CidrBlock", "mapPublicIpOnLaunch": "MapPublicIpOnLaunch", "tags": "Tags"},
        replaces=("vpcId", "cidrBlock", "availabilityZone", "availabilityZoneId"),
        updates=(Update(properties=("mapPublicIpOnLaunch",), do=lambda session, call, _: _subnet_address(session, call, call.id)),),
        wait=Wait(path="State", good=("available",), delay=delays.SUBNET_CREATE),
    ),
    "aws:ec2/internetGateway:InternetGateway": Row(
        **_as_usual("InternetGateway"),
        properties=unsent("vpcId"),
        then=_attach_gateway,
        outputs={"ownerId": "OwnerId"},
        constant={"arn": "arn:aws:ec2:{region}:123456789012:internet-gateway/{id}"},
        live={"vpcId": "Attachments.0.VpcId", "tags": "Tags"},
        first=_detach_gateway,
        updates=(Update(properties=("vpcId",), do=_move_gateway),),
    ),
    "aws:ec2/routeTable:RouteTable": Row(
        **_as_usual("RouteTable"),
        properties={**same("vpcId"), **unsent("routes")},
        then=_routes,
        verify=lambda inputs: check_names("a route", inputs.get("routes"), _ROUTE),
        outputs={"ownerId": "OwnerId"},
        constant={"arn": "arn:aws:ec2:{region}:123456789012:route-table/{id}"},
        live={"tags": "Tags"},
        replaces=("vpcId",),
        updates=(Update(properties=("routes",), do=_change_routes),),
    ),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": Row(
        service="ec2",
        create="associate_route_table",
        properties=same("routeTableId subnetId gatewayId"),
        id="AssociationId",
        look=_association_look,
        delete="disassociate_route_table",
        delete_by={"AssociationId": "$id"},
        gone=("InvalidAssociationID.NotFound", "InvalidRouteTableID.NotFound"),
        replaces=("routeTableId", "subnetId", "gatewayId"),  # a new table is set in place by the provider; nobody here does
    ),
    "aws:ec2/eip:Eip": Row(
        service="ec2",
        create="allocate_address",
        properties={**same("domain publicIpv4Pool networkBorderGroup"), **unsent("instance networkInterface")},
        id="AllocationId",
        read="describe_addresses",
        read_by={"AllocationIds": ["$id"]},
        description="Addresses.0",
        outputs={"publicIp": "PublicIp", "allocationId": "AllocationId", "associationId": "AssociationId", "domain": "Domain"},
        constant={"arn": "arn:aws:ec2:{region}:123456789012:elastic-ip/{id}"},
        live={"tags": "Tags"},
        delete="release_address",
        delete_by={"AllocationId": "$id"},
        gone=("InvalidAllocationID.NotFound", "InvalidAddress.NotFound"),
        replaces=("domain", "publicIpv4Pool", "networkBorderGroup"),
        tags="ec2:elastic-ip",
        retag=TAGS,
    ),
    "aws:ec2/natGateway:NatGateway": Row(
        service="ec2",
        create="create_nat_gateway",
        properties=same("allocationId subnetId connectivityType privateIp availabilityMode vpcId"),
        id="NatGateway.NatGatewayId",
        read="describe_nat_gateways",
        read_by={"NatGatewayIds": ["$id"]},
        description="NatGateways.0",
        look=_nat_look,
        outputs={
            "publicIp": "NatGatewayAddresses.0.PublicIp",
            "privateIp": "NatGatewayAddresses.0.PrivateIp",
            "networkInterfaceId": "NatGatewayAddresses.0.NetworkInterfaceId",
            "associationId": "NatGatewayAddresses.0.AssociationId",
        },
        live={"tags": "Tags"},
        delete="delete_nat_gateway",
        delete_by={"NatGatewayId": "$id"},
        gone=("NatGatewayNotFound",),
        replaces=("allocationId", "subnetId", "connectivityType", "privateIp", "availabilityMode", "vpcId"),
        tags="ec2:natgateway",
        retag=TAGS,
        wait=Wait(
            path="State",
            good=("available",),
            bad=("failed",),
            issues="Issues",
            delay=delays.NAT_CREATE,
            delete_delay=delays.NAT_DELETE,
            timeout=600.0,
        ),
    ),
    "aws:ec2/vpcEndpoint:VpcEndpoint": Row(
        service="ec2",
        create="create_vpc_endpoint",
        properties={
            **same("vpcId serviceName vpcEndpointType routeTableIds subnetIds securityGroupIds privateDnsEnabled ipAddressType"),
            "policy": "PolicyDocument",
        },
        id="VpcEndpoint.VpcEndpointId",
        read="describe_vpc_endpoints",
        read_by={"VpcEndpointIds": ["$id"]},
        description="VpcEndpoints.0",
        outputs={"state": "State", "networkInterfaceIds": "NetworkInterfaceIds", "dnsEntries": "DnsEntries", "ownerId": "OwnerId"},
        constant={"arn": "arn:aws:ec2:{region}:123456789012:vpc-endpoint/{id}"},
        live={"tags": "Tags"},
        defaults={"vpcEndpointType": "Gateway"},
        delete="delete_vpc_endpoints",
        delete_by={"VpcEndpointIds": ["$id"]},
        gone=("InvalidVpcEndpointId.NotFound", "InvalidVpcEndpoint.NotFound"),
        replaces=("vpcId", "serviceName", "vpcEndpointType"),
        tags="ec2:vpc-endpoint",
        retag=TAGS,
        updates=(Update(properties=("routeTableIds", "subnetIds", "securityGroupIds", "policy"), do=_change_endpoint),),
        wait=Wait(path="State", good=("available",), delay=_endpoint_delay, delete_delay=delays.ENDPOINT_DELETE),
    ),
    "aws:ec2/securityGroup:SecurityGroup": Row(
        service="ec2",
        create="create_security_group",
        properties={"name": "GroupName", **same("description vpcId"), **unsent("ingress egress revokeRulesOnDelete namePrefix")},
        id="GroupId",
        name="name",
        name_length=255,
        defaults={"description": "Managed by Pulumi"},
        then=_group_rules,
        verify=_verify_group,
        read="describe_security_groups",
        read_by={"GroupIds": ["$id"]},
        description="SecurityGroups.0",
        outputs={"ownerId": "OwnerId", "vpcId": "VpcId"},
        constant={"arn": "arn:aws:ec2:{region}:123456789012:security-group/{id}"},
        live={"description": "Description", "tags": "Tags"},
        delete="delete_security_group",
        delete_by={"GroupId": "$id"},
        gone=("InvalidGroup.NotFound", "InvalidGroupId.NotFound"),
        replaces=("name", "namePrefix", "description", "vpcId"),
        tags="ec2:security-group",
        retag=TAGS,
        updates=(
            Update(properties=("ingress", "egress"), do=_change_rules),
            Update(properties=("revokeRulesOnDelete",), do=lambda *_: None),
        ),
    ),
}
