"""Rows of EKS. What must be new when it changes is what the Terraform provider marks `ForceNew`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.doubles import nodes
from tests.doubles.aws import delays, shapes
from tests.doubles.aws.rows import Row, Update, Wait, same, unsent
from tests.doubles.provider import DoubleError, has_unknown

if TYPE_CHECKING:
    from tests.doubles.aws.session import Session
    from tests.doubles.provider import Call, Props

_GONE: Final = ("ResourceNotFoundException",)
_MINUTE: Final = 60.0


def _logging(kinds: list[str]) -> dict[str, Any]:
    every = ("api", "audit", "authenticator", "controllerManager", "scheduler")
    unknown = [kind for kind in kinds if kind not in every]
    if unknown:
        raise DoubleError(f"enabledClusterLogTypes: expected {', '.join(every)}, got {', '.join(unknown)}")
    entries = [{"types": kinds, "enabled": True}, {"types": [kind for kind in every if kind not in kinds], "enabled": False}]
    return {"clusterLogging": [entry for entry in entries if entry["types"]]}


def _cluster_outputs(_: Session, __: str, found: Props) -> Props:
    if not found:
        return {}
    network = found["resourcesVpcConfig"]
    return {
        "certificateAuthority": {"data": found["certificateAuthority"]["data"]},
        "certificateAuthorities": [{"data": found["certificateAuthority"]["data"]}],
        "identities": [{"oidcs": [{"issuer": found["identity"]["oidc"]["issuer"]}]}],
        "vpcConfig": {
            "clusterSecurityGroupId": network["clusterSecurityGroupId"],
            "vpcId": network["vpcId"],
            "publicAccessCidrs": network["publicAccessCidrs"],
        },
    }


def _cluster_more(inputs: Props) -> dict[str, Any]:
    kinds = inputs.get("enabledClusterLogTypes")
    return {"logging": _logging(kinds)} if kinds and not has_unknown(kinds) else {}


def _follow(session: Session, call: Call, operation: str, **parameters: Any) -> None:
    """An update of a cluster, a group or an add-on, and the wait for it."""
    of = "cluster" if "name" in parameters else "other"
    found = session.call("eks", operation, **parameters)["update"]
    name = parameters["name"] if of == "cluster" else parameters["clusterName"]
    clock = call.world.clock
    while session.call("eks", "describe_update", name=name, updateId=found["id"])["update"]["status"] == "InProgress":
        clock.wait(5.0)


def _cluster_version(session: Session, call: Call, _: Props) -> None:
    _follow(session, call, "update_cluster_version", name=call.id, version=call.inputs["version"])


def _cluster_network(session: Session, call: Call, _: Props) -> None:
    shape = session.shape("eks", "update_cluster_config").members["resourcesVpcConfig"]
    config = shapes.convert(shape, call.inputs["vpcConfig"], "vpcConfig", {})
    _follow(session, call, "update_cluster_config", name=call.id, resourcesVpcConfig=config)


def _cluster_logging(session: Session, call: Call, _: Props) -> None:
    _follow(session, call, "update_cluster_config", name=call.id, logging=_logging(call.inputs.get("enabledClusterLogTypes") or []))


def _cluster_key(session: Session, call: Call, _: Props) -> None:
    """Associate a key with a cluster that has none. For another key the real provider makes no call, and its state then names that one."""
    if not call.old_inputs.get("encryptionConfig"):
        given = call.inputs["encryptionConfig"]
        _follow(session, call, "associate_encryption_config", clusterName=call.id, encryptionConfig=[given])


def _cluster_setting(prop: str) -> Any:
    def change(session: Session, call: Call, _: Props) -> None:
        value = call.inputs.get(prop)
        if prop == "accessConfig":
            value = {"authenticationMode": shapes.look(value, "authenticationMode")}
        _follow(session, call, "update_cluster_config", name=call.id, **{prop: value})

    return change


# --- node groups


def _group(resource_id: str) -> dict[str, str]:
    cluster, group = resource_id.split(":", 1)
    return {"clusterName": cluster, "nodegroupName": group}


def _group_outputs(_: Session, __: str, found: Props) -> Props:
    groups = shapes.look(found, "resources.autoScalingGroups") or []
    security = shapes.look(found, "resources.remoteAccessSecurityGroup")
    resources = [{"autoscalingGroups": [{"name": item["name"]} for item in groups], "remoteAccessSecurityGroupId": security or ""}]
    outputs: Props = {"resources": resources}
    if found.get("launchTemplate"):
        outputs["launchTemplate"] = {key: found["launchTemplate"][key] for key in ("id", "name", "version")}
    return outputs


def _group_config(session: Session, call: Call, _: Props) -> None:
    parameters: dict[str, Any] = {}
    old, new = call.old_inputs, call.inputs
    if old.get("labels") != new.get("labels"):
        lost = [key for key in old.get("labels") or {} if key not in (new.get("labels") or {})]
        changed = {key: value for key, value in (new.get("labels") or {}).items() if (old.get("labels") or {}).get(key) != value}
        parameters["labels"] = {"addOrUpdateLabels": changed, "removeLabels": lost}
    if old.get("taints") != new.get("taints"):
        before, after = old.get("taints") or [], new.get("taints") or []
        parameters["taints"] = {
            "addOrUpdateTaints": [taint for taint in after if taint not in before],
            "removeTaints": [taint for taint in before if taint not in after],
        }
    for prop in ("scalingConfig", "updateConfig", "nodeRepairConfig"):
        if old.get(prop) != new.get(prop) and new.get(prop) is not None:
            shape = session.shape("eks", "update_nodegroup_config").members[prop]
            parameters[prop] = shapes.convert(shape, new[prop], prop, {})
    _follow(session, call, "update_nodegroup_config", **_group(call.id), **parameters)


def _group_version(session: Session, call: Call, _: Props) -> None:
    parameters: dict[str, Any] = {key: call.inputs[key] for key in ("version", "releaseVersion") if call.inputs.get(key)}
    template = call.inputs.get("launchTemplate")
    if template:
        # One of id and name: the state has both.
        parameters["launchTemplate"] = {
            key: str(value)
            for key, value in template.items()
            if value and key in ("id", "version" if template.get("id") else "name", "version")
        }
    _follow(session, call, "update_nodegroup_version", **_group(call.id), force=bool(call.inputs.get("forceUpdateVersion")), **parameters)


def _tell_nodes(session: Session, resource_id: str, call: Call) -> None:
    """Let who plays the nodes know which there are now."""
    if call.operation == "delete":
        nodes.forget(call.world.folder, resource_id)
        return
    found = session.call("eks", "describe_nodegroup", **_group(resource_id))["nodegroup"]
    machine = (found.get("instanceTypes") or [""])[0]
    if not machine and found.get("launchTemplate"):
        template = session.call(
            "ec2",
            "describe_launch_template_versions",
            LaunchTemplateId=found["launchTemplate"]["id"],
            Versions=[found["launchTemplate"]["version"]],
        )
        machine = template["LaunchTemplateVersions"][0]["LaunchTemplateData"].get("InstanceType", "")
    zones = [item["AvailabilityZone"] for item in session.call("ec2", "describe_subnets", SubnetIds=found["subnets"])["Subnets"]]
    if found["status"] in ("ACTIVE", "UPDATING", "DEGRADED"):
        nodes.tell(call.world.folder, resource_id, found, machine=machine, zones=zones, region=session.region)


def _addon_delay(inputs: Props) -> float:
    return delays.ADDON_CREATE.get(str(inputs.get("addonName")), delays.ADDON_OTHER)


def _addon(session: Session, call: Call, _: Props) -> None:
    cluster, addon = call.id.split(":", 1)
    parameters: dict[str, Any] = {
        name: call.inputs[prop]
        for prop, name in (
            ("addonVersion", "addonVersion"),
            ("configurationValues", "configurationValues"),
            ("serviceAccountRoleArn", "serviceAccountRoleArn"),
            ("resolveConflictsOnUpdate", "resolveConflicts"),
            ("podIdentityAssociations", "podIdentityAssociations"),
        )
        if call.inputs.get(prop) is not None
    }
    _follow(session, call, "update_addon", clusterName=cluster, addonName=addon, **parameters)


def _policy_look(session: Session, number: str, _: Props, __: Props) -> Props | None:
    cluster, principal, policy = number.split("#")
    found = session.call("eks", "list_associated_access_policies", clusterName=cluster, principalArn=principal)
    return next((dict(item) for item in found["associatedAccessPolicies"] if item["policyArn"] == policy), None)


def _identity_look(session: Session, number: str, properties: Props, state: Props) -> Props:
    cluster = {**state, **properties}["clusterName"]
    found: Props = session.call("eks", "describe_pod_identity_association", clusterName=cluster, associationId=number)["association"]
    return found


ROWS: Final = {
    "aws:eks/cluster:Cluster": Row(
        service="eks",
        create="create_cluster",
        properties={
            **same("name version roleArn kubernetesNetworkConfig accessConfig upgradePolicy deletionProtection bootstrapSelfManagedAddons"),
            "vpcConfig": "resourcesVpcConfig",
            "encryptionConfig": "encryptionConfig",
            "enabledClusterLogTypes": None,
            **unsent("defaultAddonsToRemoves"),
        },
        more=_cluster_more,
        id="cluster.name",
        name="name",
        name_length=100,
        read="describe_cluster",
        read_by={"name": "$id"},
        description="cluster",
        outputs={
            "arn": "arn",
            "endpoint": "endpoint",
            "platformVersion": "platformVersion",
            "status": "status",
            "createdAt": "createdAt",
            "version": "version",
            "kubernetesNetworkConfig": "kubernetesNetworkConfig",
        },
        computed=("certificateAuthority", "certificateAuthorities", "identities", "vpcConfig.clusterSecurityGroupId", "vpcConfig.vpcId"),
        more_outputs=_cluster_outputs,
        live={"version": "version", "deletionProtection": "deletionProtection", "tags": "tags"},
        delete="delete_cluster",
        delete_by={"name": "$id"},
        gone=_GONE,
        replaces=(
            "name",
            "roleArn",
            "kubernetesNetworkConfig",
            "bootstrapSelfManagedAddons",
            "accessConfig.bootstrapClusterCreatorAdminPermissions",
        ),
        replaced_without=("encryptionConfig",),
        tags="tags",
        retag=("tag_resource", "untag_resource", {"resourceArn": "$.arn"}),
        updates=(
            Update(properties=("version",), do=_cluster_version),
            Update(properties=("encryptionConfig",), do=_cluster_key),
            Update(properties=("vpcConfig",), do=_cluster_network),
            Update(properties=("enabledClusterLogTypes",), do=_cluster_logging),
            Update(properties=("accessConfig",), do=_cluster_setting("accessConfig")),
            Update(properties=("upgradePolicy",), do=_cluster_setting("upgradePolicy")),
            Update(properties=("deletionProtection",), do=_cluster_setting("deletionProtection")),
        ),
        wait=Wait(
            path="status", issues="health.issues", delay=delays.CLUSTER_CREATE, delete_delay=delays.CLUSTER_DELETE, timeout=30 * _MINUTE
        ),
    ),
    "aws:eks/nodeGroup:NodeGroup": Row(
        service="eks",
        create="create_nodegroup",
        properties={
            **same(
                "clusterName amiType capacityType diskSize instanceTypes labels taints launchTemplate remoteAccess releaseVersion version "
                "scalingConfig updateConfig nodeRepairConfig"
            ),
            "nodeGroupName": "nodegroupName",
            "nodeRoleArn": "nodeRole",
            "subnetIds": "subnets",
            **unsent("forceUpdateVersion nodeGroupNamePrefix"),
        },
        renames={"remoteAccess.sourceSecurityGroupIds": "sourceSecurityGroups"},
        id="${clusterName}:{nodeGroupName}",
        name="nodeGroupName",
        read="describe_nodegroup",
        read_by={"clusterName": "$id0", "nodegroupName": "$id1"},
        description="nodegroup",
        outputs={
            "arn": "nodegroupArn",
            "status": "status",
            "version": "version",
            "releaseVersion": "releaseVersion",
            "amiType": "amiType",
            "capacityType": "capacityType",
            "instanceTypes": "instanceTypes",
        },
        computed=("resources", "launchTemplate.name"),
        more_outputs=_group_outputs,
        live={"labels": "labels", "scalingConfig": "scalingConfig", "taints": "taints", "version": "version", "tags": "tags"},
        delete="delete_nodegroup",
        delete_by={"clusterName": "$id0", "nodegroupName": "$id1"},
        gone=_GONE,
        replaces=(
            "clusterName",
            "nodeGroupName",
            "nodeGroupNamePrefix",
            "nodeRoleArn",
            "subnetIds",
            "amiType",
            "capacityType",
            "diskSize",
            "instanceTypes",
            "remoteAccess",
            "launchTemplate.id",
            "launchTemplate.name",
        ),
        tags="tags",
        retag=("tag_resource", "untag_resource", {"resourceArn": "$.arn"}),
        updates=(
            Update(properties=("version", "releaseVersion", "launchTemplate"), do=_group_version),
            Update(properties=("labels", "taints", "scalingConfig", "updateConfig", "nodeRepairConfig"), do=_group_config),
            Update(properties=("forceUpdateVersion",), do=lambda *_: None),
        ),
        wait=Wait(
            path="status",
            issues="health.issues",
            delay=delays.NODE_GROUP_CREATE,
            delete_delay=delays.NODE_GROUP_DELETE,
            timeout=60 * _MINUTE,
        ),
        after=_tell_nodes,
    ),
    "aws:eks/addon:Addon": Row(
        service="eks",
        create="create_addon",
        properties={
            **same("clusterName addonName addonVersion configurationValues podIdentityAssociations serviceAccountRoleArn"),
            "resolveConflictsOnCreate": "resolveConflicts",
            **unsent("resolveConflictsOnUpdate preserve"),
        },
        id="${clusterName}:{addonName}",
        read="describe_addon",
        read_by={"clusterName": "$id0", "addonName": "$id1"},
        description="addon",
        outputs={"arn": "addonArn", "addonVersion": "addonVersion", "createdAt": "createdAt", "modifiedAt": "modifiedAt"},
        live={"addonVersion": "addonVersion", "configurationValues": "configurationValues", "tags": "tags"},
        delete="delete_addon",
        delete_by={"clusterName": "$id0", "addonName": "$id1", "preserve": "$.preserve"},
        gone=_GONE,
        replaces=("clusterName", "addonName"),
        tags="tags",
        retag=("tag_resource", "untag_resource", {"resourceArn": "$.arn"}),
        updates=(
            Update(
                properties=(
                    "addonVersion",
                    "configurationValues",
                    "serviceAccountRoleArn",
                    "resolveConflictsOnUpdate",
                    "podIdentityAssociations",
                ),
                do=_addon,
            ),
            Update(properties=("preserve", "resolveConflictsOnCreate"), do=lambda *_: None),
        ),
        wait=Wait(
            path="status",
            bad=("CREATE_FAILED", "UPDATE_FAILED"),
            issues="health.issues",
            delay=_addon_delay,
            delete_delay=delays.ADDON_DELETE,
            timeout=20 * _MINUTE,
        ),
    ),
    "aws:eks/accessEntry:AccessEntry": Row(
        service="eks",
        create="create_access_entry",
        properties={**same("clusterName principalArn kubernetesGroups type"), "userName": "username"},
        id="${clusterName}:{principalArn}",
        read="describe_access_entry",
        read_by={"clusterName": "$id0", "principalArn": "$id1"},
        description="accessEntry",
        outputs={"accessEntryArn": "accessEntryArn", "createdAt": "createdAt", "modifiedAt": "modifiedAt", "userName": "username"},
        live={"kubernetesGroups": "kubernetesGroups", "tags": "tags"},
        delete="delete_access_entry",
        delete_by={"clusterName": "$id0", "principalArn": "$id1"},
        gone=_GONE,
        replaces=("clusterName", "principalArn", "type"),
        tags="tags",
        retag=("tag_resource", "untag_resource", {"resourceArn": "$.accessEntryArn"}),
        updates=(
            Update(
                properties=("kubernetesGroups", "userName"),
                call="update_access_entry",
                parameters={
                    "clusterName": "$id0",
                    "principalArn": "$id1",
                    "kubernetesGroups": "$.kubernetesGroups",
                    "username": "$.userName",
                },
            ),
        ),
    ),
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": Row(
        service="eks",
        create="associate_access_policy",
        properties=same("clusterName principalArn policyArn accessScope"),
        id="${clusterName}#{principalArn}#{policyArn}",
        look=_policy_look,
        outputs={"associatedAt": "associatedAt", "modifiedAt": "modifiedAt"},
        delete="disassociate_access_policy",
        delete_by={"clusterName": "$id0", "principalArn": "$id1", "policyArn": "$id2"},
        gone=_GONE,
        replaces=("clusterName", "principalArn", "policyArn", "accessScope"),
    ),
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": Row(
        service="eks",
        create="create_pod_identity_association",
        properties=same("clusterName namespace serviceAccount roleArn disableSessionTags targetRoleArn policy"),
        id="association.associationId",
        look=_identity_look,
        outputs={"associationArn": "associationArn", "associationId": "associationId", "externalId": "externalId"},
        live={"roleArn": "roleArn", "tags": "tags"},
        delete="delete_pod_identity_association",
        delete_by={"clusterName": "$.clusterName", "associationId": "$id"},
        gone=_GONE,
        replaces=("clusterName", "namespace", "serviceAccount"),
        tags="tags",
        retag=("tag_resource", "untag_resource", {"resourceArn": "$.associationArn"}),
        updates=(
            Update(
                properties=("roleArn", "disableSessionTags", "targetRoleArn", "policy"),
                call="update_pod_identity_association",
                parameters={
                    "clusterName": "$.clusterName",
                    "associationId": "$id",
                    "roleArn": "$.roleArn",
                    "disableSessionTags": "$.disableSessionTags",
                },
            ),
        ),
    ),
}
