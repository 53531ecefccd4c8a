"""EKS, in moto's server: clusters, node groups, add-ons, access entries and pod identities, with states that change with time.

moto's own EKS makes everything ACTIVE at once, knows no add-on and no access entry, and checks little. Here each thing has the status that
its age gives it (delays at the pace that the request names), and is refused for what EKS refuses: a node group before its cluster is
ACTIVE, a cluster that has node groups, a version two steps ahead, a role without the policies that nodes need. Network interfaces and
scaling groups are made in moto's EC2 and Auto Scaling, so that they block what they block in AWS.
"""

from __future__ import annotations

import secrets
from typing import Any

from tests.doubles.aws import delays
from tests.doubles.aws.eks_addons import Addons
from tests.doubles.aws.eks_nodegroups import NodeGroups
from tests.doubles.aws.eks_rules import VERSIONS, EksError, check_upgrade
from tests.doubles.aws.eks_things import Cluster, now


class Eks(NodeGroups, Addons):
    """EKS in one region. Each method is the operation of its name; parameters are botocore's."""

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
            "createdAt": now(),
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
        self.start(cluster, delays.CLUSTER_CREATE)
        self.clusters[name] = cluster
        return self.describe_cluster(name=name)

    def describe_cluster(self, *, name: str) -> dict[str, Any]:
        found = self.cluster(name)
        said = {key: value for key, value in found.said.items() if key != "bootstrapSelfManagedAddons"}
        if found.status == "CREATING":
            said.pop("endpoint")
        return {"cluster": {**said, "status": found.status, "health": {"issues": found.issues}}}

    def list_clusters(self, **_: Any) -> dict[str, Any]:
        return {"clusters": sorted(name for name, found in self.clusters.items() if not found.gone)}

    def update_cluster_config(self, *, name: str, **more: Any) -> dict[str, Any]:
        found = self.active(name)
        self.region.check_subnets((more.get("resourcesVpcConfig") or {}).get("subnetIds") or [], found.said["resourcesVpcConfig"]["vpcId"])
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
        return self.updating(found, found, "EndpointAccessUpdate", delays.CLUSTER_UPDATE, name)

    def associate_encryption_config(self, *, clusterName: str, encryptionConfig: list[dict[str, Any]], **_: Any) -> dict[str, Any]:  # noqa: N803
        found = self.active(clusterName)
        if found.said["encryptionConfig"]:
            raise EksError("ResourceInUseException", "Encryption is already enabled")
        for entry in encryptionConfig:
            self.region.check_key(entry["provider"]["keyArn"])
        found.said["encryptionConfig"] = encryptionConfig
        return self.updating(found, found, "AssociateEncryptionConfig", delays.CLUSTER_UPDATE, clusterName)

    def update_cluster_version(self, *, name: str, version: str, **_: Any) -> dict[str, Any]:
        found = self.active(name)
        check_upgrade(found.said["version"], version)
        found.said["version"] = version
        return self.updating(found, found, "VersionUpdate", delays.CLUSTER_UPGRADE, name)

    def describe_update(self, *, name: str, updateId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        found = self.cluster(name).updates.get(updateId)
        if found is None:
            raise EksError("ResourceNotFoundException", f"No update found for ID: {updateId}")
        said = {key: value for key, value in found[0].items() if key != "of"}
        return {"update": {**said, "status": "InProgress" if found[1].status == "UPDATING" else "Successful"}}

    def delete_cluster(self, *, name: str) -> dict[str, Any]:
        found = self.cluster(name)
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
        found.change("DELETING", self.due(delays.CLUSTER_DELETE), "DELETED")
        return said

    def describe_cluster_versions(self, **options: Any) -> dict[str, Any]:
        entries = [
            {"clusterVersion": version, "clusterType": "eks", "defaultVersion": version == VERSIONS[-2], "status": "STANDARD_SUPPORT"}
            for version in VERSIONS
        ]
        return {"clusterVersions": [entry for entry in entries if entry["defaultVersion"] or not options.get("defaultOnly")]}


def _logging(given: dict[str, Any] | None) -> dict[str, Any]:
    enabled = [kind for entry in (given or {}).get("clusterLogging") or [] if entry.get("enabled") for kind in entry["types"]]
    every = ("api", "audit", "authenticator", "controllerManager", "scheduler")
    off = [kind for kind in every if kind not in enabled]
    entries = [{"types": enabled, "enabled": True}, {"types": off, "enabled": False}]
    return {"clusterLogging": [entry for entry in entries if entry["types"]]}
