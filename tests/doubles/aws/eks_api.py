"""EKS, in moto's server: clusters, node groups, add-ons, access entries and pod identities, with states that change with time.

moto's own EKS makes everything ACTIVE at once, knows no add-on and no access entry, and checks little. Here each thing has the status that
its age gives it (delays at the pace that the request names), and is refused for what EKS refuses: a node group before its cluster is
ACTIVE, a cluster that has node groups, a version two steps ahead, a role without the policies that nodes need. Network interfaces and
scaling groups are made in moto's EC2 and Auto Scaling, so that they block what they block in AWS.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.doubles.aws import ACCOUNT, delays
from tests.doubles.aws.eks_rules import (
    ADDONS,
    NEED_NODES,
    VERSIONS,
    EksError,
    Region,
    addon_versions,
    check_node_group,
    check_upgrade,
    node_problem,
)

ALWAYS: Final = "NO_SCHEDULE", "NO_EXECUTE"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Thing:
    """Something with a status: ``during`` until ``due``, ``then`` afterwards."""

    said: dict[str, Any]
    """As Describe gives it, without its status."""
    during: str = "CREATING"
    due: float = 0.0
    then: str = "ACTIVE"
    issues: list[dict[str, Any]] = field(default_factory=list)
    interfaces: list[str] = field(default_factory=list)
    """Network interfaces in the VPC."""

    @property
    def status(self) -> str:
        return self.during if time.time() < self.due else self.then

    @property
    def gone(self) -> bool:
        return self.status == "DELETED"

    def change(self, during: str, due: float, then: str = "ACTIVE") -> None:
        self.during, self.due, self.then = during, due, then


@dataclass
class Cluster(Thing):
    """A cluster and what is in it."""

    groups: dict[str, Thing] = field(default_factory=dict)
    addons: dict[str, Thing] = field(default_factory=dict)
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    policies: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """Principal -> policy -> association."""
    identities: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: dict[str, tuple[dict[str, Any], Thing]] = field(default_factory=dict)


class Eks:
    """EKS in one region. Each method is the operation of its name; parameters are botocore's."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.clusters: dict[str, Cluster] = {}
        self.lock = threading.RLock()
        self.pace = 0.0
        self.fault: dict[str, Any] = {}

    def arn(self, rest: str) -> str:
        return f"arn:{self.region.partition}:eks:{self.region.name}:{ACCOUNT}:{rest}"

    def _due(self, seconds: float) -> float:
        return time.time() + seconds * self.pace

    def _start(self, thing: Thing, seconds: float) -> None:
        """Begin to make a thing, or to find out that it is broken where a fault wants that."""
        if self.fault:
            thing.issues.append({"code": self.fault.get("code", "InternalFailure"), "message": self.fault["message"]})
            thing.change("CREATING", self._due(self.fault["delay"] or seconds), "CREATE_FAILED")
        else:
            thing.change("CREATING", self._due(seconds))

    def _cluster(self, name: str) -> Cluster:
        found = self.clusters.get(name)
        if found is None or found.gone:
            self.clusters.pop(name, None)
            raise EksError("ResourceNotFoundException", f"No cluster found for name: {name}.")
        return found

    def _member(self, things: dict[str, Thing], key: str, what: str) -> Thing:
        found = things.get(key)
        if found is None or found.gone:
            things.pop(key, None)
            raise EksError("ResourceNotFoundException", f"No {what} found for name: {key}.")
        return found

    def _active(self, name: str) -> Cluster:
        found = self._cluster(name)
        if found.status != "ACTIVE":
            raise EksError("InvalidRequestException", f"Cluster '{name}' is not in ACTIVE status")
        return found

    def _update(self, cluster: Cluster, thing: Thing, kind: str, seconds: float, key: str) -> dict[str, Any]:
        thing.change("UPDATING", self._due(seconds))
        update: dict[str, Any] = {"id": secrets.token_hex(8), "type": kind, "params": [], "errors": [], "createdAt": _now(), "of": key}
        cluster.updates[update["id"]] = (update, thing)
        return {"update": {**{name: value for name, value in update.items() if name != "of"}, "status": "InProgress"}}

    # --- clusters

    def create_cluster(self, *, name: str, roleArn: str, resourcesVpcConfig: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: N803
        if name in self.clusters and not self.clusters[name].gone:
            raise EksError("ResourceInUseException", f"Cluster already exists with name: {name}")
        version = more.get("version") or VERSIONS[-2]
        if version not in VERSIONS:
            raise EksError("InvalidParameterException", f"unsupported Kubernetes version {version}")
        role = self.region.role(roleArn)
        if "AmazonEKSClusterPolicy" not in self.region.policies(role):
            raise EksError("InvalidParameterException", "The role needs the policy AmazonEKSClusterPolicy")
        network = self.region.check_network(resourcesVpcConfig["subnetIds"])
        if not resourcesVpcConfig.get("endpointPublicAccess", True) and not resourcesVpcConfig.get("endpointPrivateAccess", False):
            raise EksError("InvalidParameterException", "Private and public endpoint access cannot be false")
        for entry in more.get("encryptionConfig") or []:
            self.region.check_key(entry["provider"]["keyArn"])
        group = self.region.make_group(f"eks-cluster-sg-{name}-{secrets.randbelow(10**9)}", network)
        access = {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True, **(more.get("accessConfig") or {})}
        token = secrets.token_hex(16).upper()
        said = {
            "name": name,
            "arn": self.arn(f"cluster/{name}"),
            "createdAt": _now(),
            "version": version,
            "endpoint": f"https://{token}.gr7.{self.region.name}.eks.amazonaws.com",
            "roleArn": roleArn,
            "resourcesVpcConfig": {
                "securityGroupIds": [],
                "endpointPublicAccess": True,
                "endpointPrivateAccess": False,
                "publicAccessCidrs": ["0.0.0.0/0"],
                **{key: value for key, value in resourcesVpcConfig.items() if value is not None},
                "clusterSecurityGroupId": group,
                "vpcId": network,
            },
            "kubernetesNetworkConfig": {
                "serviceIpv4Cidr": "172.20.0.0/16",
                "ipFamily": "ipv4",
                "elasticLoadBalancing": {"enabled": False},
                **(more.get("kubernetesNetworkConfig") or {}),
            },
            "logging": _logging(more.get("logging")),
            "identity": {"oidc": {"issuer": f"https://oidc.eks.{self.region.name}.amazonaws.com/id/{token}"}},
            "certificateAuthority": {"data": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="},
            "platformVersion": "eks.1",
            "tags": more.get("tags") or {},
            "encryptionConfig": more.get("encryptionConfig") or [],
            "accessConfig": access,
            "upgradePolicy": more.get("upgradePolicy") or {"supportType": "EXTENDED"},
            "deletionProtection": bool(more.get("deletionProtection")),
            "bootstrapSelfManagedAddons": more.get("bootstrapSelfManagedAddons", True),
        }
        cluster = Cluster(said)
        cluster.interfaces = [
            self.region.make_interface(subnet, group, f"Amazon EKS {name}") for subnet in resourcesVpcConfig["subnetIds"][:4]
        ]
        if access["bootstrapClusterCreatorAdminPermissions"]:
            cluster.entries[self.region.caller] = {"type": "STANDARD", "kubernetesGroups": [], "tags": {}}
        self._start(cluster, delays.CLUSTER_CREATE)
        self.clusters[name] = cluster
        return self.describe_cluster(name=name)

    def describe_cluster(self, *, name: str) -> dict[str, Any]:
        found = self._cluster(name)
        said = {key: value for key, value in found.said.items() if key != "bootstrapSelfManagedAddons"}
        if found.status == "CREATING":
            said.pop("endpoint")
        return {"cluster": {**said, "status": found.status, "health": {"issues": found.issues}}}

    def list_clusters(self, **_: Any) -> dict[str, Any]:
        return {"clusters": sorted(name for name, found in self.clusters.items() if not found.gone)}

    def update_cluster_config(self, *, name: str, **more: Any) -> dict[str, Any]:
        found = self._active(name)
        for key in ("resourcesVpcConfig", "accessConfig", "upgradePolicy"):
            if more.get(key):
                found.said[key] = {**found.said[key], **{part: value for part, value in more[key].items() if value is not None}}
        if more.get("logging"):
            found.said["logging"] = _logging(more["logging"])
        if more.get("deletionProtection") is not None:
            found.said["deletionProtection"] = more["deletionProtection"]
        network = found.said["resourcesVpcConfig"]
        if not network["endpointPublicAccess"] and not network["endpointPrivateAccess"]:
            raise EksError("InvalidParameterException", "Private and public endpoint access cannot be false")
        return self._update(found, found, "EndpointAccessUpdate", delays.CLUSTER_UPDATE, name)

    def update_cluster_version(self, *, name: str, version: str, **_: Any) -> dict[str, Any]:
        found = self._active(name)
        check_upgrade(found.said["version"], version)
        found.said["version"] = version
        return self._update(found, found, "VersionUpdate", delays.CLUSTER_UPGRADE, name)

    def describe_update(self, *, name: str, updateId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        found = self._cluster(name).updates.get(updateId)
        if found is None:
            raise EksError("ResourceNotFoundException", f"No update found for ID: {updateId}")
        said = {key: value for key, value in found[0].items() if key != "of"}
        return {"update": {**said, "status": "InProgress" if found[1].status == "UPDATING" else "Successful"}}

    def delete_cluster(self, *, name: str) -> dict[str, Any]:
        found = self._cluster(name)
        if found.said["deletionProtection"]:
            raise EksError("InvalidRequestException", f"Cluster {name} cannot be deleted because deletion protection is enabled")
        if any(not group.gone for group in found.groups.values()):
            raise EksError("ResourceInUseException", "Cluster has nodegroups attached")
        if found.status == "CREATING":
            raise EksError("ResourceInUseException", f"Cluster {name} is being created")
        for interface in found.interfaces:
            self.region.end_interface(interface)
        self.region.end_group(found.said["resourcesVpcConfig"]["clusterSecurityGroupId"])
        said = self.describe_cluster(name=name)
        found.change("DELETING", self._due(delays.CLUSTER_DELETE), "DELETED")
        return said

    def describe_cluster_versions(self, **options: Any) -> dict[str, Any]:
        entries = [
            {"clusterVersion": version, "clusterType": "eks", "defaultVersion": version == VERSIONS[-2], "status": "STANDARD_SUPPORT"}
            for version in VERSIONS
        ]
        return {"clusterVersions": [entry for entry in entries if entry["defaultVersion"] or not options.get("defaultOnly")]}

    # --- node groups

    def create_nodegroup(
        self,
        *,
        clusterName: str,  # noqa: N803
        nodegroupName: str,  # noqa: N803
        subnets: list[str],
        nodeRole: str,  # noqa: N803
        **more: Any,
    ) -> dict[str, Any]:
        cluster = self._active(clusterName)
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
            "createdAt": _now(),
            "modifiedAt": _now(),
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
            group.change("CREATING", self._due(delays.NODE_GROUP_FAILS), "CREATE_FAILED")
        else:
            self._start(group, delays.NODE_GROUP_CREATE)
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
        group = self._member(self._cluster(clusterName).groups, nodegroupName, "node group")
        issues = group.issues if group.status in ("CREATE_FAILED", "DEGRADED") else []
        return {"nodegroup": {**group.said, "status": group.status, "health": {"issues": issues}}}

    def list_nodegroups(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"nodegroups": sorted(name for name, group in self._cluster(clusterName).groups.items() if not group.gone)}

    def update_nodegroup_config(self, *, clusterName: str, nodegroupName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._active(clusterName)
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
        return self._update(cluster, group, "ConfigUpdate", delays.NODE_GROUP_CONFIGURE, nodegroupName)

    def update_nodegroup_version(self, *, clusterName: str, nodegroupName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._active(clusterName)
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
        return self._update(cluster, group, "VersionUpdate", delays.NODE_GROUP_UPDATE, nodegroupName)

    def _usable(self, cluster: Cluster, name: str) -> Thing:
        group = self._member(cluster.groups, name, "node group")
        if group.status not in ("ACTIVE", "DEGRADED"):
            raise EksError("ResourceInUseException", f"Nodegroup {name} is in status {group.status} and can't be updated")
        return group

    def delete_nodegroup(self, *, clusterName: str, nodegroupName: str) -> dict[str, Any]:  # noqa: N803
        cluster = self._cluster(clusterName)
        group = self._member(cluster.groups, nodegroupName, "node group")
        for interface in group.interfaces:
            self.region.end_interface(interface)
        group.interfaces = []
        self.region.end_scaling_group(group.said["resources"]["autoScalingGroups"][0]["name"])
        said = self.describe_nodegroup(clusterName=clusterName, nodegroupName=nodegroupName)
        if group.during != "DELETING":
            group.change("DELETING", self._due(delays.NODE_GROUP_DELETE), "DELETED")
        return said

    # --- add-ons

    def describe_addon_versions(self, **options: Any) -> dict[str, Any]:
        names = [options["addonName"]] if options.get("addonName") else list(ADDONS)
        versions = [options["kubernetesVersion"]] if options.get("kubernetesVersion") else list(VERSIONS)
        return {
            "addons": [
                {
                    "addonName": name,
                    "type": "networking",
                    "addonVersions": [
                        {
                            "addonVersion": addon,
                            "compatibilities": [{"clusterVersion": version, "platformVersions": ["*"], "defaultVersion": index == 1}],
                        }
                        for version in versions
                        for index, addon in enumerate(addon_versions(name, version))
                    ],
                }
                for name in names
                if name in ADDONS
            ]
        }

    def create_addon(self, *, clusterName: str, addonName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._active(clusterName)
        if addonName in cluster.addons and not cluster.addons[addonName].gone:
            raise EksError("ResourceInUseException", "Addon already exists.")
        version = self._addon_version(cluster, addonName, more)
        said = {
            "addonName": addonName,
            "clusterName": clusterName,
            "addonVersion": version,
            "addonArn": self.arn(f"addon/{clusterName}/{addonName}/{secrets.token_hex(8)}"),
            "createdAt": _now(),
            "modifiedAt": _now(),
            "tags": more.get("tags") or {},
        }
        addon = Thing(said)
        self._set_addon(cluster, addon, more)
        self._start(addon, delays.ADDON_CREATE.get(addonName, delays.ADDON_OTHER))
        cluster.addons[addonName] = addon
        return self.describe_addon(clusterName=clusterName, addonName=addonName)

    def _addon_version(self, cluster: Cluster, name: str, more: dict[str, Any]) -> str:
        if name not in ADDONS:
            raise EksError("InvalidParameterException", f"Addon {name} specified is not supported")
        offered = addon_versions(name, cluster.said["version"])
        version = str(more.get("addonVersion") or offered[1])
        # Add-ons of the version before go on after the cluster's upgrade, until they are updated themselves.
        older = addon_versions(name, VERSIONS[max(VERSIONS.index(cluster.said["version"]) - 1, 0)])
        if version not in (*offered, *older):
            raise EksError("InvalidParameterException", f"Addon version specified is not supported: {name} {version}")
        return version

    def _set_addon(self, cluster: Cluster, addon: Thing, more: dict[str, Any]) -> None:
        values = more.get("configurationValues")
        if values:
            try:
                json.loads(values)
            except ValueError:
                raise EksError("InvalidParameterException", "ConfigurationValue provided in request is not supported") from None
            addon.said["configurationValues"] = values
        if more.get("serviceAccountRoleArn"):
            self.region.role(more["serviceAccountRoleArn"])
            addon.said["serviceAccountRoleArn"] = more["serviceAccountRoleArn"]
        if more.get("podIdentityAssociations") is not None:
            for identity in list(cluster.identities.values()):
                if identity.get("ownerArn") == addon.said["addonArn"]:
                    del cluster.identities[identity["associationId"]]
            for entry in more["podIdentityAssociations"]:
                self.create_pod_identity_association(
                    clusterName=cluster.said["name"], namespace="kube-system", ownerArn=addon.said["addonArn"], **entry
                )
            addon.said["podIdentityAssociations"] = [
                identity["associationArn"] for identity in cluster.identities.values() if identity.get("ownerArn") == addon.said["addonArn"]
            ]

    def describe_addon(self, *, clusterName: str, addonName: str) -> dict[str, Any]:  # noqa: N803
        cluster = self._cluster(clusterName)
        addon = self._member(cluster.addons, addonName, "addon")
        status, issues = addon.status, addon.issues
        if addonName in NEED_NODES and status == "ACTIVE" and not self._schedulable(cluster):
            # A Deployment without a node to run on: EKS waits for it, then says so.
            waited = time.time() >= addon.due + (delays.ADDON_FAILS - delays.ADDON_OTHER) * self.pace
            status = "DEGRADED" if waited else "CREATING"
            issues = [{"code": "InsufficientNumberOfReplicas", "message": "The add-on is unhealthy because it doesn't have enough pods"}]
        return {"addon": {**addon.said, "status": status, "health": {"issues": issues}}}

    @staticmethod
    def _schedulable(cluster: Cluster) -> bool:
        return any(
            group.status in ("ACTIVE", "UPDATING")
            and group.said["scalingConfig"]["desiredSize"] > 0
            and not any(taint["effect"] in ALWAYS for taint in group.said["taints"])
            for group in cluster.groups.values()
        )

    def list_addons(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"addons": sorted(name for name, addon in self._cluster(clusterName).addons.items() if not addon.gone)}

    def update_addon(self, *, clusterName: str, addonName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._active(clusterName)
        addon = self._member(cluster.addons, addonName, "addon")
        if more.get("addonVersion"):
            addon.said["addonVersion"] = self._addon_version(cluster, addonName, more)
        self._set_addon(cluster, addon, more)
        return self._update(cluster, addon, "AddonUpdate", delays.ADDON_CREATE.get(addonName, delays.ADDON_OTHER), addonName)

    def delete_addon(self, *, clusterName: str, addonName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._cluster(clusterName)
        addon = self._member(cluster.addons, addonName, "addon")
        said = self.describe_addon(clusterName=clusterName, addonName=addonName)
        for identity in list(cluster.identities.values()):
            if identity.get("ownerArn") == addon.said["addonArn"]:
                del cluster.identities[identity["associationId"]]
        addon.change("DELETING", self._due(delays.ADDON_DELETE), "DELETED")
        return said

    # --- who may do what

    def create_access_entry(self, *, clusterName: str, principalArn: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._active(clusterName)
        if cluster.said["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            raise EksError("InvalidRequestException", "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP]")
        if principalArn in cluster.entries:
            raise EksError("ResourceInUseException", "The specified access entry resource is already in use on this cluster.")
        if f":{ACCOUNT}:role/" in principalArn:
            self.region.role(principalArn)
        kind = more.get("type") or "STANDARD"
        if kind != "STANDARD" and more.get("kubernetesGroups"):
            raise EksError("InvalidParameterException", f"kubernetesGroups can't be set for an entry of type {kind}")
        cluster.entries[principalArn] = {
            "type": kind,
            "kubernetesGroups": more.get("kubernetesGroups") or [],
            "username": more.get("username") or principalArn,
            "tags": more.get("tags") or {},
        }
        return self.describe_access_entry(clusterName=clusterName, principalArn=principalArn)

    def _entry(self, cluster: Cluster, principal: str) -> dict[str, Any]:
        if principal not in cluster.entries:
            raise EksError("ResourceNotFoundException", "The specified principalArn could not be found")
        return cluster.entries[principal]

    def describe_access_entry(self, *, clusterName: str, principalArn: str) -> dict[str, Any]:  # noqa: N803
        entry = self._entry(self._cluster(clusterName), principalArn)
        arn = self.arn(f"access-entry/{clusterName}/{principalArn.rsplit(':', 1)[-1]}")
        said = {"clusterName": clusterName, "principalArn": principalArn, "accessEntryArn": arn, "createdAt": _now(), "modifiedAt": _now()}
        return {"accessEntry": {**said, **entry}}

    def list_access_entries(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"accessEntries": sorted(self._cluster(clusterName).entries)}

    def update_access_entry(self, *, clusterName: str, principalArn: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        entry = self._entry(self._active(clusterName), principalArn)
        entry.update({key: more[key] for key in ("kubernetesGroups", "username") if more.get(key) is not None})
        return self.describe_access_entry(clusterName=clusterName, principalArn=principalArn)

    def delete_access_entry(self, *, clusterName: str, principalArn: str) -> dict[str, Any]:  # noqa: N803
        cluster = self._cluster(clusterName)
        self._entry(cluster, principalArn)
        del cluster.entries[principalArn]
        cluster.policies.pop(principalArn, None)
        return {}

    def associate_access_policy(
        self,
        *,
        clusterName: str,  # noqa: N803
        principalArn: str,  # noqa: N803
        policyArn: str,  # noqa: N803
        accessScope: dict[str, Any],  # noqa: N803
    ) -> dict[str, Any]:
        cluster = self._active(clusterName)
        self._entry(cluster, principalArn)
        if not policyArn.startswith(f"arn:{self.region.partition}:eks::aws:cluster-access-policy/AmazonEKS"):
            raise EksError("InvalidParameterException", f"The policyArn parameter format is not valid: {policyArn}")
        said = {"policyArn": policyArn, "accessScope": accessScope, "associatedAt": _now(), "modifiedAt": _now()}
        cluster.policies.setdefault(principalArn, {})[policyArn] = said
        return {"clusterName": clusterName, "principalArn": principalArn, "associatedAccessPolicy": said}

    def list_associated_access_policies(self, *, clusterName: str, principalArn: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._cluster(clusterName)
        self._entry(cluster, principalArn)
        found = list(cluster.policies.get(principalArn, {}).values())
        return {"clusterName": clusterName, "principalArn": principalArn, "associatedAccessPolicies": found}

    def disassociate_access_policy(self, *, clusterName: str, principalArn: str, policyArn: str) -> dict[str, Any]:  # noqa: N803
        cluster = self._cluster(clusterName)
        self._entry(cluster, principalArn)
        if cluster.policies.get(principalArn, {}).pop(policyArn, None) is None:
            raise EksError("ResourceNotFoundException", "The specified policyArn could not be found")
        return {}

    def create_pod_identity_association(self, *, clusterName: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        cluster = self._active(clusterName)
        key = more.get("namespace"), more["serviceAccount"]
        if any((item["namespace"], item["serviceAccount"]) == key for item in cluster.identities.values()):
            raise EksError("ResourceInUseException", f"Association already exists: {key[0]}/{key[1]}")
        self.region.role(more["roleArn"])
        number = f"a-{secrets.token_hex(9)}"
        said = {
            "clusterName": clusterName,
            "associationId": number,
            "associationArn": self.arn(f"podidentityassociation/{clusterName}/{number}"),
            "createdAt": _now(),
            "modifiedAt": _now(),
            **{name: value for name, value in more.items() if value is not None and name != "clientRequestToken"},
        }
        cluster.identities[number] = said
        return {"association": said}

    def _identity(self, name: str, number: str) -> dict[str, Any]:
        found = self._cluster(name).identities.get(number)
        if found is None:
            raise EksError("ResourceNotFoundException", f"No association found for ID: {number}")
        return found

    def describe_pod_identity_association(self, *, clusterName: str, associationId: str) -> dict[str, Any]:  # noqa: N803
        return {"association": self._identity(clusterName, associationId)}

    def list_pod_identity_associations(self, *, clusterName: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        return {"associations": list(self._cluster(clusterName).identities.values())}

    def update_pod_identity_association(self, *, clusterName: str, associationId: str, **more: Any) -> dict[str, Any]:  # noqa: N803
        found = self._identity(clusterName, associationId)
        if more.get("roleArn"):
            self.region.role(more["roleArn"])
        found.update({key: value for key, value in more.items() if value is not None and key != "clientRequestToken"})
        return {"association": found}

    def delete_pod_identity_association(self, *, clusterName: str, associationId: str) -> dict[str, Any]:  # noqa: N803
        found = self._identity(clusterName, associationId)
        del self._cluster(clusterName).identities[associationId]
        return {"association": found}

    # --- tags

    def _tagged(self, arn: str) -> dict[str, Any]:
        parts = arn.split(":", 5)[5].split("/")
        cluster = self._cluster(parts[1])
        match parts[0]:
            case "cluster":
                return cluster.said
            case "nodegroup":
                return self._member(cluster.groups, parts[2], "node group").said
            case "addon":
                return self._member(cluster.addons, parts[2], "addon").said
            case "podidentityassociation":
                return self._identity(parts[1], parts[2])
            case _:
                principal = next(name for name in cluster.entries if name.endswith("/".join(parts[2:])))
                return cluster.entries[principal]

    def tag_resource(self, *, resourceArn: str, tags: dict[str, str]) -> dict[str, Any]:  # noqa: N803
        said = self._tagged(resourceArn)
        said["tags"] = {**(said.get("tags") or {}), **tags}
        return {}

    def untag_resource(self, *, resourceArn: str, tagKeys: list[str]) -> dict[str, Any]:  # noqa: N803
        said = self._tagged(resourceArn)
        said["tags"] = {key: value for key, value in (said.get("tags") or {}).items() if key not in tagKeys}
        return {}

    def list_tags_for_resource(self, *, resourceArn: str) -> dict[str, Any]:  # noqa: N803
        return {"tags": self._tagged(resourceArn).get("tags") or {}}


def _logging(given: dict[str, Any] | None) -> dict[str, Any]:
    enabled = [kind for entry in (given or {}).get("clusterLogging") or [] if entry.get("enabled") for kind in entry["types"]]
    every = ("api", "audit", "authenticator", "controllerManager", "scheduler")
    off = [kind for kind in every if kind not in enabled]
    entries = [{"types": enabled, "enabled": True}, {"types": off, "enabled": False}]
    return {"clusterLogging": [entry for entry in entries if entry["types"]]}
