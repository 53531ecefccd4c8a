"""Functions (data sources) of the `aws` plugin."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.aws import shapes
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.aws.session import Session
    from tests.doubles.provider import Props


def _only(args: Props, *names: str) -> None:
    unknown = sorted(set(args) - set(names) - {"region"})
    if unknown:
        raise DoubleError(f"this function of the aws double has no argument {', '.join(unknown)}")


def _caller(session: Session, args: Props) -> Props:
    _only(args)
    found = session.call("sts", "get_caller_identity")
    return {"accountId": found["Account"], "arn": found["Arn"], "userId": found["UserId"], "id": found["Account"]}


def _partition_of(session: Session) -> str:
    return "aws-cn" if session.region.startswith("cn-") else "aws-us-gov" if session.region.startswith("us-gov-") else "aws"


def _partition(session: Session, args: Props) -> Props:
    _only(args)
    partition = _partition_of(session)
    suffix = "amazonaws.com.cn" if partition == "aws-cn" else "amazonaws.com"
    return {"partition": partition, "dnsSuffix": suffix, "reverseDnsPrefix": ".".join(reversed(suffix.split("."))), "id": partition}


def _region(session: Session, args: Props) -> Props:
    _only(args)
    name = session.region
    return {"name": name, "region": name, "id": name, "endpoint": f"ec2.{name}.amazonaws.com", "description": name}


def _zones(session: Session, args: Props) -> Props:
    _only(args, "state", "filters", "excludeZoneIds", "excludeNames", "allAvailabilityZones")
    filters = [{"Name": item["name"], "Values": item["values"]} for item in args.get("filters") or []]
    # moto knows no opt-in zones: all that it has need none.
    filters = [item for item in filters if item["Name"] != "opt-in-status"]
    found = session.call("ec2", "describe_availability_zones", **({"Filters": filters} if filters else {}))["AvailabilityZones"]
    kept = [
        item
        for item in found
        if item["ZoneId"] not in (args.get("excludeZoneIds") or [])
        and item["ZoneName"] not in (args.get("excludeNames") or [])
        and (not args.get("state") or item["State"] == args["state"])
    ]
    return {
        "names": [item["ZoneName"] for item in kept],
        "zoneIds": [item["ZoneId"] for item in kept],
        "groupNames": [session.region],
        "id": session.region,
        "region": session.region,
    }


def _subnet(session: Session, args: Props) -> Props:
    _only(args, "id", "vpcId", "filters", "tags")
    filters = [{"Name": item["name"], "Values": item["values"]} for item in args.get("filters") or []]
    filters += [{"Name": "vpc-id", "Values": [args["vpcId"]]}] if args.get("vpcId") else []
    parameters: dict[str, Any] = {"SubnetIds": [args["id"]]} if args.get("id") else {}
    found = session.call("ec2", "describe_subnets", **parameters, **({"Filters": filters} if filters else {}))["Subnets"]
    if len(found) != 1:
        raise DoubleError("no matching EC2 Subnet found" if not found else "multiple EC2 Subnets matched; use additional constraints")
    subnet = found[0]
    return {
        **shapes.back(subnet),
        "id": subnet["SubnetId"],
        "arn": subnet.get("SubnetArn", ""),
        "tags": {item["Key"]: item["Value"] for item in subnet.get("Tags", [])},
    }


def _vpc(session: Session, args: Props) -> Props:
    _only(args, "id")
    found = session.call("ec2", "describe_vpcs", VpcIds=[args["id"]])["Vpcs"][0]
    tags = {item["Key"]: item["Value"] for item in found.get("Tags", [])}
    return {**shapes.back(found), "id": found["VpcId"], "tags": tags}


def _addon_version(session: Session, args: Props) -> Props:
    _only(args, "addonName", "kubernetesVersion", "mostRecent")
    parameters = {"addonName": args["addonName"], "kubernetesVersion": args["kubernetesVersion"]}
    found = session.call("eks", "describe_addon_versions", **parameters)["addons"]
    versions = found[0]["addonVersions"] if found else []
    for item in versions:
        if args.get("mostRecent") or item["compatibilities"][0]["defaultVersion"]:
            return {**parameters, "mostRecent": bool(args.get("mostRecent")), "version": item["addonVersion"], "id": args["addonName"]}
    raise DoubleError(f"reading EKS Add-On version info ({args['addonName']}, {args['kubernetesVersion']}): empty result")


def _cluster_versions(session: Session, args: Props) -> Props:
    _only(args, "defaultOnly", "clusterType", "includeAll")
    found = session.call("eks", "describe_cluster_versions", **args)["clusterVersions"]
    return {"clusterVersions": shapes.back(found), "id": session.region}


def _cluster(session: Session, args: Props) -> Props:
    _only(args, "name")
    found = session.call("eks", "describe_cluster", name=args["name"])["cluster"]
    network = {"vpcConfig": shapes.back(found["resourcesVpcConfig"])}
    kept = network | {key: shapes.back(found[key]) for key in ("arn", "name", "roleArn", "status", "version", "tags") if key in found}
    return {**kept, "endpoint": found.get("endpoint", ""), "certificateAuthorities": [found["certificateAuthority"]], "id": found["name"]}


def _clusters(session: Session, args: Props) -> Props:
    _only(args)
    return {"names": session.call("eks", "list_clusters")["clusters"], "id": session.region}


def _cluster_auth(_: Session, args: Props) -> Props:
    _only(args, "name")
    return {"name": args["name"], "token": "k8s-aws-v1.double", "id": args["name"]}


def _registry(session: Session, args: Props) -> Props:
    _only(args, "registryId")
    found = session.call("ecr", "get_authorization_token")["authorizationData"][0]
    return {
        "authorizationToken": found["authorizationToken"],
        "userName": "AWS",
        "password": "double",
        "proxyEndpoint": found["proxyEndpoint"],
        "expiresAt": "2100-01-01T00:00:00Z",
        "registryId": args.get("registryId"),
        "id": session.region,
    }


def _role(session: Session, args: Props) -> Props:
    _only(args, "name")
    found = session.call("iam", "get_role", RoleName=args["name"])["Role"]
    return {"arn": found["Arn"], "name": found["RoleName"], "path": found["Path"], "uniqueId": found["RoleId"], "id": found["RoleName"]}


def _roles(session: Session, args: Props) -> Props:
    _only(args, "nameRegex", "pathPrefix")
    prefix = {"PathPrefix": args["pathPrefix"]} if args.get("pathPrefix") else {}
    found = [
        item for item in session.call("iam", "list_roles", **prefix)["Roles"] if re.search(args.get("nameRegex") or "", item["RoleName"])
    ]
    return {"names": [item["RoleName"] for item in found], "arns": [item["Arn"] for item in found], "id": session.region}


def _key(session: Session, args: Props) -> Props:
    _only(args, "keyId", "grantTokens")
    found = session.call("kms", "describe_key", KeyId=args["keyId"])["KeyMetadata"]
    spec = found.get("KeySpec") or found.get("CustomerMasterKeySpec")
    known = {key[0].lower() + key[1:]: value for key, value in shapes.back(found).items()}
    return {**known, "keySpec": spec, "customerMasterKeySpec": spec, "id": found["KeyId"], "keyId": args["keyId"], "arn": found["Arn"]}


def _parameter(session: Session, args: Props) -> Props:
    _only(args, "name", "withDecryption")
    found = session.call("ssm", "get_parameter", Name=args["name"])["Parameter"]
    return {"arn": found["ARN"], "name": found["Name"], "type": found["Type"], "value": found["Value"], "version": 1, "id": found["Name"]}


def _log_groups(session: Session, args: Props) -> Props:
    _only(args, "logGroupNamePrefix")
    found = session.call("logs", "describe_log_groups", logGroupNamePrefix=args["logGroupNamePrefix"])["logGroups"]
    return {"logGroupNames": [item["logGroupName"] for item in found], "arns": [item["arn"] for item in found], "id": session.region}


def _log_group(session: Session, args: Props) -> Props:
    _only(args, "name")
    return {
        "name": args["name"],
        "tags": session.call("logs", "list_tags_log_group", logGroupName=args["name"])["tags"],
        "id": args["name"],
    }


def _offerings(session: Session, args: Props) -> Props:
    """Everything is offered everywhere: moto's lists are older than the machine types."""
    _only(args, "locationType", "filters")
    zones = [item["ZoneName"] for item in session.call("ec2", "describe_availability_zones")["AvailabilityZones"]]
    pairs = [(machine, zone) for machine in args["filters"][0]["values"] for zone in zones]
    machines, locations = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return {"instanceTypes": machines, "locations": locations, "locationTypes": ["availability-zone"] * len(pairs), "id": session.region}


def _quota(session: Session, args: Props) -> Props:
    _only(args, "serviceCode", "quotaCode")
    return {**args, "value": 2000.0, "id": session.region}


def _instance_type(session: Session, args: Props) -> Props:
    _only(args, "instanceType")
    found = session.call("ec2", "describe_instance_types", InstanceTypes=[args["instanceType"]])["InstanceTypes"][0]
    return {**args, "defaultVcpus": found["VCpuInfo"]["DefaultVCpus"], "id": args["instanceType"]}


FUNCTIONS: Final[dict[str, Callable[[Session, Props], Props]]] = {
    "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
    "aws:cloudwatch/getLogGroup:getLogGroup": _log_group,
    "aws:cloudwatch/getLogGroups:getLogGroups": _log_groups,
    "aws:ec2/getInstanceType:getInstanceType": _instance_type,
    "aws:ec2/getInstanceTypeOfferings:getInstanceTypeOfferings": _offerings,
    "aws:ec2/getSubnet:getSubnet": _subnet,
    "aws:ec2/getVpc:getVpc": _vpc,
    "aws:eks/getAddonVersion:getAddonVersion": _addon_version,
    "aws:eks/getClusterVersions:getClusterVersions": _cluster_versions,
    "aws:eks/getCluster:getCluster": _cluster,
    "aws:eks/getClusters:getClusters": _clusters,
    "aws:eks/getClusterAuth:getClusterAuth": _cluster_auth,
    "aws:servicequotas/getServiceQuota:getServiceQuota": _quota,
    "aws:ecr/getAuthorizationToken:getAuthorizationToken": _registry,
    "aws:iam/getRole:getRole": _role,
    "aws:iam/getRoles:getRoles": _roles,
    "aws:kms/getKey:getKey": _key,
    "aws:ssm/getParameter:getParameter": _parameter,
}
