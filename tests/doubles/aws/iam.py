"""Rows of IAM. What must be new when it changes is what the Terraform provider marks `ForceNew`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tests.doubles.aws import delays
from tests.doubles.aws.rows import Row, Update, Wait, same, unsent
from tests.doubles.aws.session import Session, code_of

if TYPE_CHECKING:
    from tests.doubles.provider import Call, Props

_GONE: Final = ("NoSuchEntity",)
_VERSIONS: Final = 5
"""Versions that IAM keeps of a policy."""


def _new_policy(session: Session, call: Call, _: Props) -> None:
    versions = session.call("iam", "list_policy_versions", PolicyArn=call.id)["Versions"]
    if len(versions) >= _VERSIONS:
        oldest = min((item for item in versions if not item["IsDefaultVersion"]), key=lambda item: str(item["CreateDate"]))
        session.call("iam", "delete_policy_version", PolicyArn=call.id, VersionId=oldest["VersionId"])
    session.call("iam", "create_policy_version", PolicyArn=call.id, PolicyDocument=call.inputs["policy"], SetAsDefault=True)


def _end_policy(session: Session, call: Call) -> None:
    try:
        versions = session.call("iam", "list_policy_versions", PolicyArn=call.id)["Versions"]
    except ClientError as error:
        if code_of(error) in _GONE:
            return
        raise
    for item in versions:
        if not item["IsDefaultVersion"]:
            session.call("iam", "delete_policy_version", PolicyArn=call.id, VersionId=item["VersionId"])


def _policy_look(session: Session, arn: str, _: Props, __: Props) -> Props:
    found: Props = session.call("iam", "get_policy", PolicyArn=arn)["Policy"]
    version = session.call("iam", "get_policy_version", PolicyArn=arn, VersionId=found["DefaultVersionId"])["PolicyVersion"]
    return {**found, "Document": version["Document"]}


def _attachment_look(session: Session, number: str, properties: Props, state: Props) -> Props | None:
    known = {**state, **properties}
    try:
        attached = session.call("iam", "list_attached_role_policies", RoleName=known["role"])["AttachedPolicies"]
    except ClientError as error:
        if code_of(error) in _GONE:
            return None
        raise
    return {"found": True} if any(item["PolicyArn"] == known["policyArn"] for item in attached) else None


def _change_clients(session: Session, call: Call, _: Props) -> None:
    old, new = call.old_inputs.get("clientIdLists") or [], call.inputs.get("clientIdLists") or []
    for client in new:
        if client not in old:
            session.call("iam", "add_client_id_to_open_id_connect_provider", OpenIDConnectProviderArn=call.id, ClientID=client)
    for client in old:
        if client not in new:
            session.call("iam", "remove_client_id_from_open_id_connect_provider", OpenIDConnectProviderArn=call.id, ClientID=client)


def _profile_role(session: Session, call: Call, profile: str) -> None:
    if call.inputs.get("role"):
        session.call("iam", "add_role_to_instance_profile", InstanceProfileName=profile, RoleName=call.inputs["role"])


def _profile_without_role(session: Session, call: Call) -> None:
    if call.olds.get("role"):
        try:
            session.call("iam", "remove_role_from_instance_profile", InstanceProfileName=call.id, RoleName=call.olds["role"])
        except ClientError as error:
            if code_of(error) not in _GONE:
                raise


def _change_profile(session: Session, call: Call, olds: Props) -> None:
    if olds.get("role"):
        session.call("iam", "remove_role_from_instance_profile", InstanceProfileName=call.id, RoleName=olds["role"])
    _profile_role(session, call, call.id)


def _oidc(_: Session, arn: str, __: Props) -> dict[str, Any]:
    return {"arn": arn}


ROWS: Final = {
    "aws:iam/role:Role": Row(
        service="iam",
        create="create_role",
        properties={
            "assumeRolePolicy": "AssumeRolePolicyDocument",
            "name": "RoleName",
            **same("path description maxSessionDuration permissionsBoundary"),
            **unsent("forceDetachPolicies namePrefix"),
        },
        id="Role.RoleName",
        name="name",
        name_length=64,
        defaults={"path": "/", "maxSessionDuration": 3600},
        read="get_role",
        read_by={"RoleName": "$id"},
        description="Role",
        outputs={"arn": "Arn", "uniqueId": "RoleId", "createDate": "CreateDate", "name": "RoleName"},
        live={"description": "Description", "maxSessionDuration": "MaxSessionDuration", "tags": "Tags"},
        delete="delete_role",
        delete_by={"RoleName": "$id"},
        gone=_GONE,
        replaces=("name", "namePrefix", "path"),
        tags="list",
        retag=("tag_role", "untag_role", {"RoleName": "$id"}),
        updates=(
            Update(
                properties=("assumeRolePolicy",),
                call="update_assume_role_policy",
                parameters={"RoleName": "$id", "PolicyDocument": "$.assumeRolePolicy"},
            ),
            Update(
                properties=("description", "maxSessionDuration"),
                call="update_role",
                parameters={"RoleName": "$id", "Description": "$.description", "MaxSessionDuration": "$.maxSessionDuration"},
            ),
            Update(properties=("forceDetachPolicies",), do=lambda *_: None),
        ),
        wait=Wait(path="RoleName", good=(), delay=delays.ROLE_CREATE),
    ),
    "aws:iam/policy:Policy": Row(
        service="iam",
        create="create_policy",
        properties={"policy": "PolicyDocument", "name": "PolicyName", **same("path description"), **unsent("namePrefix")},
        id="Policy.Arn",
        name="name",
        name_length=128,
        defaults={"path": "/"},
        look=_policy_look,
        outputs={"arn": "Arn", "policyId": "PolicyId", "attachmentCount": "AttachmentCount"},
        live={"description": "Description", "tags": "Tags"},
        first=_end_policy,
        delete="delete_policy",
        delete_by={"PolicyArn": "$id"},
        gone=_GONE,
        replaces=("name", "namePrefix", "path", "description"),
        tags="list",
        retag=("tag_policy", "untag_policy", {"PolicyArn": "$id"}),
        updates=(Update(properties=("policy",), do=_new_policy),),
    ),
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": Row(
        service="iam",
        create="attach_role_policy",
        properties={"role": "RoleName", "policyArn": "PolicyArn"},
        id="${role}/{policyArn}",
        look=_attachment_look,
        delete="detach_role_policy",
        delete_by={"RoleName": "$.role", "PolicyArn": "$.policyArn"},
        gone=_GONE,
        replaces=("role", "policyArn"),
    ),
    "aws:iam/rolePolicy:RolePolicy": Row(
        service="iam",
        create="put_role_policy",
        properties={"role": "RoleName", "name": "PolicyName", "policy": "PolicyDocument", **unsent("namePrefix")},
        id="${role}:{name}",
        name="name",
        read="get_role_policy",
        read_by={"RoleName": "$id0", "PolicyName": "$id1"},
        delete="delete_role_policy",
        delete_by={"RoleName": "$id0", "PolicyName": "$id1"},
        gone=_GONE,
        replaces=("role", "name", "namePrefix"),
        updates=(
            Update(
                properties=("policy",),
                call="put_role_policy",
                parameters={"RoleName": "$id0", "PolicyName": "$id1", "PolicyDocument": "$.policy"},
            ),
        ),
    ),
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": Row(
        service="iam",
        create="create_open_id_connect_provider",
        properties={"url": "Url", "clientIdLists": "ClientIDList", "thumbprintLists": "ThumbprintList"},
        id="OpenIDConnectProviderArn",
        read="get_open_id_connect_provider",
        read_by={"OpenIDConnectProviderArn": "$id"},
        outputs={"thumbprintLists": "ThumbprintList"},
        computed=("arn",),
        more_outputs=_oidc,
        live={"clientIdLists": "ClientIDList", "tags": "Tags"},
        delete="delete_open_id_connect_provider",
        delete_by={"OpenIDConnectProviderArn": "$id"},
        gone=_GONE,
        replaces=("url",),
        tags="list",
        retag=("tag_open_id_connect_provider", "untag_open_id_connect_provider", {"OpenIDConnectProviderArn": "$id"}),
        updates=(Update(properties=("clientIdLists",), do=_change_clients),),
    ),
    "aws:iam/instanceProfile:InstanceProfile": Row(
        service="iam",
        create="create_instance_profile",
        properties={"name": "InstanceProfileName", **same("path"), **unsent("role namePrefix")},
        id="InstanceProfile.InstanceProfileName",
        name="name",
        name_length=128,
        defaults={"path": "/"},
        then=_profile_role,
        read="get_instance_profile",
        read_by={"InstanceProfileName": "$id"},
        description="InstanceProfile",
        outputs={"arn": "Arn", "uniqueId": "InstanceProfileId", "createDate": "CreateDate"},
        live={"role": "Roles.0.RoleName"},
        first=_profile_without_role,
        delete="delete_instance_profile",
        delete_by={"InstanceProfileName": "$id"},
        gone=_GONE,
        replaces=("name", "namePrefix", "path"),
        tags="list",
        retag=("tag_instance_profile", "untag_instance_profile", {"InstanceProfileName": "$id"}),
        updates=(Update(properties=("role",), do=_change_profile),),
    ),
    "aws:iam/serviceLinkedRole:ServiceLinkedRole": Row(
        service="iam",
        create="create_service_linked_role",
        properties={"awsServiceName": "AWSServiceName", "customSuffix": "CustomSuffix", "description": "Description"},
        id="Role.RoleName",
        read="get_role",
        read_by={"RoleName": "$id"},
        description="Role",
        outputs={"arn": "Arn", "name": "RoleName", "path": "Path", "uniqueId": "RoleId", "createDate": "CreateDate"},
        delete="delete_role",
        delete_by={"RoleName": "$id"},
        gone=_GONE,
        replaces=("awsServiceName", "customSuffix"),
    ),
}
