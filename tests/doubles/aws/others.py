"""Rows of KMS, CloudWatch, EventBridge, SQS and ECR. What must be new when it changes is what the Terraform provider marks `ForceNew`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from botocore.exceptions import ClientError

from tests.doubles.aws.rows import Row, Update, same, unsent
from tests.doubles.aws.session import Session, code_of
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from tests.doubles.provider import Call, Props


def _rotation(session: Session, call: Call, key: str) -> None:
    if call.inputs.get("enableKeyRotation"):
        session.call("kms", "enable_key_rotation", KeyId=key)


def _change_rotation(session: Session, call: Call, _: Props) -> None:
    session.call("kms", "enable_key_rotation" if call.inputs.get("enableKeyRotation") else "disable_key_rotation", KeyId=call.id)


def _key_look(session: Session, key: str, _: Props, __: Props) -> Props | None:
    found: Props = session.call("kms", "describe_key", KeyId=key)["KeyMetadata"]
    if found["KeyState"] == "PendingDeletion":
        return None
    return {**found, "Rotation": session.call("kms", "get_key_rotation_status", KeyId=key)["KeyRotationEnabled"]}


def _alias_look(session: Session, name: str, _: Props, __: Props) -> Props | None:
    found = [item for item in session.call("kms", "list_aliases")["Aliases"] if item["AliasName"] == name]
    return dict(found[0]) if found else None


def _retention(session: Session, call: Call, group: str) -> None:
    if call.inputs.get("retentionInDays"):
        session.call("logs", "put_retention_policy", logGroupName=group, retentionInDays=int(call.inputs["retentionInDays"]))


def _change_retention(session: Session, call: Call, _: Props) -> None:
    if call.inputs.get("retentionInDays"):
        _retention(session, call, call.id)
    else:
        session.call("logs", "delete_retention_policy", logGroupName=call.id)


def _log_look(session: Session, name: str, _: Props, __: Props) -> Props | None:
    found = [
        item for item in session.call("logs", "describe_log_groups", logGroupNamePrefix=name)["logGroups"] if item["logGroupName"] == name
    ]
    return dict(found[0]) if found else None


_QUEUE: Final = {
    "delaySeconds": "DelaySeconds",
    "maxMessageSize": "MaximumMessageSize",
    "messageRetentionSeconds": "MessageRetentionPeriod",
    "receiveWaitTimeSeconds": "ReceiveMessageWaitTimeSeconds",
    "visibilityTimeoutSeconds": "VisibilityTimeout",
    "sqsManagedSseEnabled": "SqsManagedSseEnabled",
    "kmsMasterKeyId": "KmsMasterKeyId",
    "kmsDataKeyReusePeriodSeconds": "KmsDataKeyReusePeriodSeconds",
    "policy": "Policy",
    "redrivePolicy": "RedrivePolicy",
}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _queue(session: Session, call: Call, url: str) -> None:
    attributes = {name: _text(call.inputs[key]) for key, name in _QUEUE.items() if call.inputs.get(key) is not None}
    if attributes:
        # moto takes a queue's policy away with any other attribute's change; AWS leaves what is not named.
        kept = session.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["Policy"]).get("Attributes") or {}
        session.call("sqs", "set_queue_attributes", QueueUrl=url, Attributes={**kept, **attributes})


def _queue_look(session: Session, url: str, _: Props, __: Props) -> Props:
    found: Props = session.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["All"])["Attributes"]
    return found


def _queue_policy_look(session: Session, url: str, _: Props, __: Props) -> Props | None:
    found = session.call("sqs", "get_queue_attributes", QueueUrl=url, AttributeNames=["Policy"]).get("Attributes") or {}
    return found if found.get("Policy") else None


def _set_queue_policy(session: Session, call: Call, _: Any) -> None:
    session.call("sqs", "set_queue_attributes", QueueUrl=call.inputs["queueUrl"], Attributes={"Policy": call.inputs["policy"]})


def _no_queue_policy(session: Session, call: Call) -> None:
    try:
        session.call("sqs", "set_queue_attributes", QueueUrl=call.id, Attributes={"Policy": ""})
    except ClientError as error:
        if code_of(error) not in _NO_QUEUE:
            raise


_NO_QUEUE: Final = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")


def _put_target(session: Session, call: Call, _: Any) -> None:
    known = {"rule", "arn", "targetId", "eventBusName", "roleArn", "input", "inputPath", "region"}
    if set(call.inputs) - known:
        raise DoubleError(f"{call.token}: no target has {', '.join(sorted(set(call.inputs) - known))} in this double")
    target = {"Id": call.inputs["targetId"], "Arn": call.inputs["arn"]}
    for key, name in (("roleArn", "RoleArn"), ("input", "Input"), ("inputPath", "InputPath")):
        if call.inputs.get(key):
            target[name] = call.inputs[key]
    failed = session.call("events", "put_targets", Rule=call.inputs["rule"], Targets=[target]).get("FailedEntries")
    if failed:
        raise DoubleError(f"creating EventBridge Target ({call.inputs['targetId']}): {failed}")


def _target_look(session: Session, number: str, properties: Props, state: Props) -> Props | None:
    known = {**state, **properties}
    found = session.call("events", "list_targets_by_rule", Rule=known["rule"])["Targets"]
    return next((dict(item) for item in found if item["Id"] == known["targetId"]), None)


def _end_target(session: Session, call: Call) -> None:
    session.call("events", "remove_targets", Rule=call.olds["rule"], Ids=[call.olds["targetId"]])


_RULE_GONE: Final = ("ResourceNotFoundException",)
_REPOSITORY_GONE: Final = ("RepositoryNotFoundException",)

ROWS: Final = {
    "aws:kms/key:Key": Row(
        service="kms",
        create="create_key",
        properties={
            **same("description policy keyUsage customerMasterKeySpec multiRegion customKeyStoreId bypassPolicyLockoutSafetyCheck"),
            **unsent("enableKeyRotation deletionWindowInDays isEnabled rotationPeriodInDays"),
        },
        id="KeyMetadata.KeyId",
        then=_rotation,
        look=_key_look,
        outputs={"arn": "Arn", "keyId": "KeyId"},
        live={"description": "Description", "enableKeyRotation": "Rotation"},
        delete="schedule_key_deletion",
        delete_by={"KeyId": "$id", "PendingWindowInDays": "$.deletionWindowInDays"},
        gone=("NotFoundException", "KMSInvalidStateException"),
        replaces=("keyUsage", "customerMasterKeySpec", "multiRegion", "customKeyStoreId"),
        tags="kms",
        retag=("tag_resource", "untag_resource", {"KeyId": "$id"}),
        updates=(
            Update(properties=("enableKeyRotation",), do=_change_rotation),
            Update(properties=("description",), call="update_key_description", parameters={"KeyId": "$id", "Description": "$.description"}),
            Update(
                properties=("policy",), call="put_key_policy", parameters={"KeyId": "$id", "PolicyName": "default", "Policy": "$.policy"}
            ),
            Update(properties=("deletionWindowInDays",), do=lambda *_: None),
        ),
    ),
    "aws:kms/alias:Alias": Row(
        service="kms",
        create="create_alias",
        properties={"name": "AliasName", "targetKeyId": "TargetKeyId", **unsent("namePrefix")},
        id="${name}",
        look=_alias_look,
        outputs={"arn": "AliasArn", "targetKeyArn": "TargetKeyId"},
        delete="delete_alias",
        delete_by={"AliasName": "$id"},
        gone=("NotFoundException",),
        replaces=("name", "namePrefix"),
        updates=(
            Update(properties=("targetKeyId",), call="update_alias", parameters={"AliasName": "$id", "TargetKeyId": "$.targetKeyId"}),
        ),
    ),
    "aws:cloudwatch/logGroup:LogGroup": Row(
        service="logs",
        create="create_log_group",
        properties={
            "name": "logGroupName",
            "kmsKeyId": "kmsKeyId",
            "logGroupClass": "logGroupClass",
            **unsent("retentionInDays skipDestroy namePrefix"),
        },
        id="${name}",
        name="name",
        name_length=512,
        then=_retention,
        look=_log_look,
        outputs={"arn": "arn"},
        live={"retentionInDays": "retentionInDays"},
        delete="delete_log_group",
        delete_by={"logGroupName": "$id"},
        gone=("ResourceNotFoundException",),
        replaces=("name", "namePrefix", "logGroupClass"),
        tags="tags",
        retag=("tag_log_group", "untag_log_group", {"logGroupName": "$id"}),
        updates=(Update(properties=("retentionInDays",), do=_change_retention), Update(properties=("skipDestroy",), do=lambda *_: None)),
    ),
    "aws:cloudwatch/eventRule:EventRule": Row(
        service="events",
        create="put_rule",
        properties={
            **same("name eventPattern description scheduleExpression state roleArn eventBusName"),
            **unsent("namePrefix forceDestroy isEnabled"),
        },
        id="${name}",
        name="name",
        name_length=64,
        read="describe_rule",
        read_by={"Name": "$id"},
        outputs={"arn": "Arn"},
        live={"description": "Description"},
        delete="delete_rule",
        delete_by={"Name": "$id"},
        gone=_RULE_GONE,
        replaces=("name", "namePrefix", "eventBusName"),
        tags="list",
        retag=("tag_resource", "untag_resource", {"ResourceARN": "$.arn"}),
        updates=(
            Update(
                properties=("eventPattern", "description", "scheduleExpression", "state", "roleArn"),
                call="put_rule",
                parameters={
                    "Name": "$id",
                    "EventPattern": "$.eventPattern",
                    "Description": "$.description",
                    "ScheduleExpression": "$.scheduleExpression",
                },
            ),
        ),
    ),
    "aws:cloudwatch/eventTarget:EventTarget": Row(
        service="events",
        create="",
        properties=unsent("rule arn targetId eventBusName roleArn input inputPath"),
        id="${rule}-{targetId}",
        name="targetId",
        name_length=64,
        then=_put_target,
        look=_target_look,
        first=_end_target,
        gone=_RULE_GONE,
        replaces=("rule", "targetId", "eventBusName"),
        updates=(Update(properties=("arn", "roleArn", "input", "inputPath"), do=_put_target),),
    ),
    "aws:sqs/queue:Queue": Row(
        service="sqs",
        create="create_queue",
        properties={"name": "QueueName", **unsent(" ".join(_QUEUE)), **unsent("fifoQueue namePrefix")},
        id="QueueUrl",
        name="name",
        name_length=80,
        then=_queue,
        look=_queue_look,
        outputs={"arn": "QueueArn"},
        constant={"url": "{id}"},
        delete="delete_queue",
        delete_by={"QueueUrl": "$id"},
        gone=_NO_QUEUE,
        replaces=("name", "namePrefix", "fifoQueue"),
        tags="tags",
        retag=("tag_queue", "untag_queue", {"QueueUrl": "$id"}),
        updates=(Update(properties=tuple(_QUEUE), do=lambda session, call, _: _queue(session, call, call.id)),),
    ),
    "aws:sqs/queuePolicy:QueuePolicy": Row(
        service="sqs",
        create="",
        properties=unsent("queueUrl policy"),
        id="${queueUrl}",
        then=_set_queue_policy,
        look=_queue_policy_look,
        first=_no_queue_policy,
        gone=_NO_QUEUE,
        replaces=("queueUrl",),
        updates=(Update(properties=("policy",), do=_set_queue_policy),),
    ),
    "aws:ecr/repository:Repository": Row(
        service="ecr",
        create="create_repository",
        properties={
            "name": "repositoryName",
            "imageTagMutability": "imageTagMutability",
            "imageTagMutabilityExclusionFilters": "imageTagMutabilityExclusionFilters",
            "imageScanningConfiguration": "imageScanningConfiguration",
            "encryptionConfigurations": "encryptionConfiguration",
            **unsent("forceDelete"),
        },
        renames={"encryptionConfigurations.kmsKey": "kmsKey"},
        id="${name}",
        name="name",
        name_length=256,
        read="describe_repositories",
        read_by={"repositoryNames": ["$id"]},
        description="repositories.0",
        outputs={"arn": "repositoryArn", "repositoryUrl": "repositoryUri", "registryId": "registryId"},
        live={"imageTagMutability": "imageTagMutability", "imageScanningConfiguration": "imageScanningConfiguration"},
        delete="delete_repository",
        delete_by={"repositoryName": "$id", "force": "$.forceDelete"},
        gone=_REPOSITORY_GONE,
        replaces=("name", "encryptionConfigurations"),
        tags="ecr",
        retag=("tag_resource", "untag_resource", {"resourceArn": "$.arn"}),
        updates=(
            Update(
                properties=("imageTagMutability", "imageTagMutabilityExclusionFilters"),
                call="put_image_tag_mutability",
                parameters={
                    "repositoryName": "$id",
                    "imageTagMutability": "$.imageTagMutability",
                    "imageTagMutabilityExclusionFilters": "$.imageTagMutabilityExclusionFilters",
                },
            ),
            Update(
                properties=("imageScanningConfiguration",),
                call="put_image_scanning_configuration",
                parameters={"repositoryName": "$id", "imageScanningConfiguration": "$.imageScanningConfiguration"},
            ),
            Update(properties=("forceDelete",), do=lambda *_: None),
        ),
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Row(
        service="ecr",
        create="put_lifecycle_policy",
        properties={"repository": "repositoryName", "policy": "lifecyclePolicyText"},
        id="${repository}",
        read="get_lifecycle_policy",
        read_by={"repositoryName": "$id"},
        outputs={"registryId": "registryId"},
        delete="delete_lifecycle_policy",
        delete_by={"repositoryName": "$id"},
        gone=("LifecyclePolicyNotFoundException", *_REPOSITORY_GONE),
        replaces=("repository",),
        updates=(
            Update(
                properties=("policy",), call="put_lifecycle_policy", parameters={"repositoryName": "$id", "lifecyclePolicyText": "$.policy"}
            ),
        ),
    ),
}
