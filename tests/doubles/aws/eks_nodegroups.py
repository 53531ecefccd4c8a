"""EKS' operations on managed node groups."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.aws import delays
from tests.doubles.aws.eks_rules import VERSIONS, EksError, check_node_group
from tests.doubles.aws.eks_things import Base, Cluster, Thing, now

if TYPE_CHECKING:
    from tests.doubles.aws.eks_rules import Region

_NODE_POLICIES: Final = (
    ("AmazonEKSWorkerNodePolicy",),
    ("AmazonEC2ContainerRegistryPullOnly", "AmazonEC2ContainerRegistryReadOnly"),
)
_LAYERS: Final = ("com.amazonaws.{region}.ecr.api", "com.amazonaws.{region}.ecr.dkr", "com.amazonaws.{region}.s3")


class NodeGroups(Base):
    """Mixed into `eks_api.Eks`."""

    def create_nodegroup(
        self,
        *,
        clusterName: str,  # noqa: N803
        nodegroupName: str,  # noqa: N803
        subnets: list[str],
        nodeRole: str,  # noqa: N803
        **more: Any,
    ) -> dict[str, Any]:
        cluster = self.active(clusterName)
        if nodegroupName in cluster.groups and not cluster.groups[nodegroupName].gone:
            raise EksError("ResourceInUseException", f"NodeGroup already exists with name {nodegroupName} and cluster name {clusterName}")
        self.region.role(nodeRole)
        self.region.check_subnets(subnets, cluster.said["resourcesVpcConfig"]["vpcId"])
        template = self.region.template(more.get("launchTemplate"))
        machine = check_node_group(more, template)
        token = secrets.token_hex(8)
        scaling = more.get("scalingConfig") or {"minSize": 1, "maxSize": 2, "desiredSize": 2}
        said = {
            "nodegroupName": nodegroupName,
            "nodegroupArn": self.arn(f"nodegroup/{clusterName}/{nodegroupName}/{token}"),
            "clusterName": clusterName,
            "version": more.get("version") or cluster.said["version"],
            "releaseVersion": more.get("releaseVersion") or f"{cluster.said['version']}.0-20260714",
            "createdAt": now(),
            "modifiedAt": now(),
            "capacityType": more.get("capacityType") or "ON_DEMAND",
            "scalingConfig": scaling,
            "instanceTypes": more.get("instanceTypes") or ([] if machine else ["t3.medium"]),
            "subnets": subnets,
            "amiType": more.get("amiType") or "AL2023_x86_64_STANDARD",
            "nodeRole": nodeRole,
            "labels": more.get("labels") or {},
            "taints": more.get("taints") or [],
            "tags": more.get("tags") or {},
            "resources": {"autoScalingGroups": [{"name": f"eks-{nodegroupName}-{token}"}]},
        }
        for key in ("launchTemplate", "updateConfig", "nodeRepairConfig", "diskSize", "remoteAccess"):
            if more.get(key):
                said[key] = dict(more[key]) if isinstance(more[key], dict) else more[key]
        if template is not None:
            said["launchTemplate"] = {
                "id": template.id,
                "name": template.name,
                "version": str(more["launchTemplate"].get("version") or "1"),
            }
        group = Thing(said)
        problem = node_problem(self.region, cluster, said, template) if scaling["desiredSize"] else None
        if problem is not None and not self.fault:
            group.issues.append({"code": "NodeCreationFailure", "message": problem})
            group.change("CREATING", self.due(delays.NODE_GROUP_FAILS), "CREATE_FAILED")
        else:
            self.start(group, delays.NODE_GROUP_CREATE)
        security = cluster.said["resourcesVpcConfig"]["clusterSecurityGroupId"]
        group.interfaces = [
            self.region.make_interface(subnets[index % len(subnets)], security, f"node of {nodegroupName}")
            for index in range(min(scaling["desiredSize"], 3))
        ]
        self.region.make_scaling_group(said["resources"]["autoScalingGroups"][0]["name"], scaling, subnets, template)
        # EKS lets the nodes of its own groups in.
        cluster.entries.setdefault(nodeRole, {"type": "EC2_LINUX", "kubernetesGroups": ["system:nodes"], "tags": {}})
        cluster.groups[nodegroupName] = group
        return self.describe_nodegroup(clusterName=clusterName, nodegroupName=nodegroupName)

    def describe_nodegroup(self, *, clusterName: str, nodegroupName: str) -> dict[str, Any]:  # noqa: N803
        group = self.member(self.cluster(clusterName).groups, nodegroupName, "node group")
        issues = group.issues if group.status in ("CREATE_FAILED", "DEGRADED") else []
        return {"nodegroup": {**group.said, "status": group.status, "health": {"issues": issues}}}

    def list_nodegroups(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"nodegroups": sorted(name for name, group in self.cluster(clusterName).groups.items() if not group.gone)}

    def update_nodegroup_config(self, *, clusterName: str, nodegroupName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.active(clusterName)
        group = self._usable(cluster, nodegroupName)
        labels = more.get("labels") or {}
        group.said["labels"] = {
            key: value
            for key, value in {**group.said["labels"], **(labels.get("addOrUpdateLabels") or {})}.items()
            if key not in (labels.get("removeLabels") or [])
        }
        taints = more.get("taints") or {}
        for taint in [*(taints.get("removeTaints") or []), *(taints.get("addOrUpdateTaints") or [])]:
            group.said["taints"] = [
                item for item in group.said["taints"] if (item["key"], item["effect"]) != (taint["key"], taint["effect"])
            ]
        group.said["taints"] = [*group.said["taints"], *(taints.get("addOrUpdateTaints") or [])]
        if more.get("scalingConfig"):
            check_node_group({"scalingConfig": {**group.said["scalingConfig"], **more["scalingConfig"]}}, None)
            group.said["scalingConfig"] = {**group.said["scalingConfig"], **more["scalingConfig"]}
        for key in ("updateConfig", "nodeRepairConfig"):
            if more.get(key):
                group.said[key] = more[key]
        return self.updating(cluster, group, "ConfigUpdate", delays.NODE_GROUP_CONFIGURE, nodegroupName)

    def update_nodegroup_version(self, *, clusterName: str, nodegroupName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self.active(clusterName)
        group = self._usable(cluster, nodegroupName)
        version = more.get("version") or group.said["version"]
        if VERSIONS.index(version) > VERSIONS.index(cluster.said["version"]):
            raise EksError("InvalidParameterException", f"Nodegroup version {version} is above the cluster's {cluster.said['version']}")
        if more.get("launchTemplate"):
            template = self.region.template(more["launchTemplate"])
            if template is None or template.id != group.said.get("launchTemplate", {}).get("id"):
                raise EksError("InvalidParameterException", "You cannot change the launch template of a node group, only its version")
            group.said["launchTemplate"]["version"] = str(more["launchTemplate"].get("version"))
        group.said["version"] = version
        group.said["releaseVersion"] = more.get("releaseVersion") or f"{version}.0-20260714"
        return self.updating(cluster, group, "VersionUpdate", delays.NODE_GROUP_UPDATE, nodegroupName)

    def _usable(self, cluster: Cluster, name: str) -> Thing:
        group = self.member(cluster.groups, name, "node group")
        if group.status not in ("ACTIVE", "DEGRADED"):
            raise EksError("ResourceInUseException", f"Nodegroup {name} is in status {group.status} and can't be updated")
        return group

    def delete_nodegroup(self, *, clusterName: str, nodegroupName: str) -> dict[str, Any]:  # noqa: N803
        cluster = self.cluster(clusterName)
        group = self.member(cluster.groups, nodegroupName, "node group")
        for interface in group.interfaces:
            self.region.end_interface(interface)
        group.interfaces = []
        self.region.end_scaling_group(group.said["resources"]["autoScalingGroups"][0]["name"])
        said = self.describe_nodegroup(clusterName=clusterName, nodegroupName=nodegroupName)
        if group.during != "DELETING":
            group.change("DELETING", self.due(delays.NODE_GROUP_DELETE), "DELETED")
        return said


def node_problem(region: Region, cluster: Cluster, said: dict[str, Any], template: Any) -> str | None:
    """Why nodes of a group would never join; None where they do."""
    policies = region.policies(region.role(said["nodeRole"]))
    for names in _NODE_POLICIES:
        if not policies & set(names):
            return f"Instances failed to join the kubernetes cluster: the node role lacks {names[0]}"
    cni = "AmazonEKS_CNI_Policy" in policies or any(addon.said.get("serviceAccountRoleArn") for addon in cluster.addons.values())
    addon = cluster.addons.get("vpc-cni")
    if not cluster.said["bootstrapSelfManagedAddons"] and (addon is None or addon.status not in ("ACTIVE", "CREATING", "UPDATING")):
        return "Instances failed to join the kubernetes cluster: there is no network plugin"
    if not cni:
        return "Instances failed to join the kubernetes cluster: the network plugin has no role"
    if template is not None:
        data = template.get_version(said["launchTemplate"]["version"]).data
        groups = data.get("SecurityGroupIds") or [
            group for item in data.get("NetworkInterfaces") or [] for group in item.get("Groups") or []
        ]
        if groups and cluster.said["resourcesVpcConfig"]["clusterSecurityGroupId"] not in groups:
            return "Instances failed to join the kubernetes cluster: the launch template's security groups leave the cluster's out"
    for subnet in said["subnets"]:
        if not _way_out(region, subnet):
            return f"Instances failed to join the kubernetes cluster: {subnet} has no way out, and no endpoints in its place"
    return None


def _way_out(region: Region, subnet: str) -> bool:
    """Whether a node in ``subnet`` reaches image registries: by a default route to something that is there, or by endpoints."""
    ec2 = region.ec2
    vpc = next(zone[subnet] for zone in ec2.subnets.values() if subnet in zone).vpc_id
    tables = [table for table in ec2.route_tables.values() if table.vpc_id == vpc]
    table = next((item for item in tables if subnet in item._associations.values()), None)
    table = table or next((item for item in tables if item.main_association_id), None)
    for route in [] if table is None else table.routes:
        if route.destination_cidr_block == "0.0.0.0/0":
            nat = route.nat_gateway
            if nat is not None and nat.state == "available":
                return True
            if route.gateway is not None and nat is None:
                return True
    services = {item.service_name for item in ec2.vpc_end_points.values() if item.vpc_id == vpc and item.state != "deleted"}
    return all(layer.replace("{region}", region.name) in services for layer in _LAYERS)
