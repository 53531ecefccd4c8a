"""Rows of machines: launch templates, placement groups, tags, Auto Scaling. `ec2` has the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from tests.doubles.aws import shapes
from tests.doubles.aws.ec2 import TAGS, check_names
from tests.doubles.aws.rows import Row, Update, same, unsent
from tests.doubles.provider import DoubleError

if TYPE_CHECKING:
    from tests.doubles.aws.session import Session
    from tests.doubles.provider import Call, Props


def _ec2_tag(session: Session, call: Call, _: Any) -> None:
    session.call(
        "ec2", "create_tags", Resources=[call.inputs["resourceId"]], Tags=[{"Key": call.inputs["key"], "Value": call.inputs["value"]}]
    )


def _ec2_tag_look(session: Session, number: str, _: Props, __: Props) -> Props | None:
    resource, key = number.split(",", 1)
    where = [{"Name": "resource-id", "Values": [resource]}, {"Name": "key", "Values": [key]}]
    found = [item for item in session.call("ec2", "describe_tags", Filters=where)["Tags"] if item["Key"] == key]
    return dict(found[0]) if found else None


def _take_ec2_tag(session: Session, call: Call) -> None:
    # Without its value: a value that somebody changed would keep the tag.
    session.call("ec2", "delete_tags", Resources=[call.olds["resourceId"]], Tags=[{"Key": call.olds["key"]}])


def _new_version(session: Session, call: Call, _: Props) -> None:
    shape = session.shape("ec2", "create_launch_template_version")
    parameters: dict[str, Any] = {}
    for key, where in TEMPLATE.properties.items():
        if where is not None and where.startswith("LaunchTemplateData.") and call.inputs.get(key) is not None:
            shapes.place(parameters, shape, where, call.inputs[key], prop=key, renames=TEMPLATE.renames)
    made = session.call("ec2", "create_launch_template_version", LaunchTemplateId=call.id, **parameters)
    if call.inputs.get("updateDefaultVersion"):
        number = str(made["LaunchTemplateVersion"]["VersionNumber"])
        session.call("ec2", "modify_launch_template", LaunchTemplateId=call.id, DefaultVersion=number)


_DATA: Final = (
    "blockDeviceMappings capacityReservationSpecification creditSpecification cpuOptions disableApiStop disableApiTermination ebsOptimized "
    "enclaveOptions hibernationOptions imageId instanceInitiatedShutdownBehavior instanceMarketOptions instanceType kernelId keyName "
    "licenseSpecifications maintenanceOptions metadataOptions monitoring networkInterfaces placement privateDnsNameOptions ramDiskId "
    "securityGroupNames tagSpecifications userData iamInstanceProfile"
)
TEMPLATE: Final = Row(
    service="ec2",
    create="create_launch_template",
    properties={
        **same(_DATA, style="LaunchTemplateData"),
        "vpcSecurityGroupIds": "LaunchTemplateData.SecurityGroupIds",
        "name": "LaunchTemplateName",
        "description": "VersionDescription",
        **unsent("updateDefaultVersion defaultVersion namePrefix"),
    },
    # The provider's names where they are not the API's.
    renames={
        "networkInterfaces.securityGroups": "Groups",
    },
    id="LaunchTemplate.LaunchTemplateId",
    name="name",
    name_length=128,
    read="describe_launch_templates",
    read_by={"LaunchTemplateIds": ["$id"]},
    description="LaunchTemplates.0",
    outputs={"latestVersion": "LatestVersionNumber", "defaultVersion": "DefaultVersionNumber", "name": "LaunchTemplateName"},
    constant={"arn": "arn:aws:ec2:{region}:123456789012:launch-template/{id}"},
    live={"latestVersion": "LatestVersionNumber", "tags": "Tags"},
    delete="delete_launch_template",
    delete_by={"LaunchTemplateId": "$id"},
    gone=("InvalidLaunchTemplateId.NotFound",),
    replaces=("name", "namePrefix"),
    tags="ec2:launch-template",
    retag=TAGS,
    updates=(Update(properties=(*_DATA.split(), "vpcSecurityGroupIds", "description", "updateDefaultVersion"), do=_new_version),),
    unknown_on_update=("latestVersion", "defaultVersion"),
)


def _tag(properties: Props) -> list[dict[str, Any]]:
    tag = properties["tag"]
    return [
        {
            "ResourceId": properties["autoscalingGroupName"],
            "ResourceType": "auto-scaling-group",
            "Key": tag["key"],
            "Value": str(tag["value"]),
            "PropagateAtLaunch": bool(tag["propagateAtLaunch"]),
        }
    ]


def _set_tag(session: Session, call: Call, _: Any) -> None:
    group = call.inputs["autoscalingGroupName"]
    # moto tags groups that are not there without a word.
    if not session.call("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[group])["AutoScalingGroups"]:
        raise DoubleError(f"ValidationError: AutoScalingGroup name not found - AutoScalingGroup {group} not found")
    session.call("autoscaling", "create_or_update_tags", Tags=_tag(call.inputs))


def _tag_look(session: Session, number: str, _: Props, __: Props) -> Props | None:
    group, key = number.split(",", 1)
    where = [{"Name": "auto-scaling-group", "Values": [group]}, {"Name": "key", "Values": [key]}]
    found = session.call("autoscaling", "describe_tags", Filters=where)["Tags"]
    exact = [item for item in found if item["Key"] == key and item["ResourceId"] == group]
    return {"tag": {name[0].lower() + name[1:]: exact[0][name] for name in ("Key", "Value", "PropagateAtLaunch")}} if exact else None


def _take_tag(session: Session, call: Call) -> None:
    group = call.olds["autoscalingGroupName"]
    if session.call("autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[group])["AutoScalingGroups"]:
        session.call("autoscaling", "delete_tags", Tags=_tag(call.olds))


ROWS: Final = {
    "aws:ec2/placementGroup:PlacementGroup": Row(
        service="ec2",
        create="create_placement_group",
        properties={"name": "GroupName", **same("strategy partitionCount spreadLevel")},
        id="${name}",
        name="name",
        name_length=255,
        read="describe_placement_groups",
        read_by={"GroupNames": ["$id"]},
        description="PlacementGroups.0",
        outputs={"placementGroupId": "GroupId"},
        constant={"arn": "arn:aws:ec2:{region}:123456789012:placement-group/{id}"},
        delete="delete_placement_group",
        delete_by={"GroupName": "$id"},
        gone=("InvalidPlacementGroup.Unknown",),
        replaces=("name", "strategy", "partitionCount", "spreadLevel"),
        tags="ec2:placement-group",
    ),
    "aws:ec2/launchTemplate:LaunchTemplate": TEMPLATE,
    "aws:ec2/tag:Tag": Row(
        service="ec2",
        create="",
        properties=unsent("resourceId key value"),
        id="${resourceId},{key}",
        then=_ec2_tag,
        look=_ec2_tag_look,
        live={"value": "Value"},
        first=_take_ec2_tag,
        gone=("InvalidGroup.NotFound", "InvalidID", "InvalidParameterValue"),
        replaces=("resourceId", "key"),
        updates=(Update(properties=("value",), do=_ec2_tag),),
    ),
    "aws:autoscaling/tag:Tag": Row(
        service="autoscaling",
        create="",
        properties=unsent("autoscalingGroupName tag"),
        id="${autoscalingGroupName},{tag[key]}",
        then=_set_tag,
        verify=lambda inputs: check_names("tag", inputs.get("tag"), ("key", "value", "propagateAtLaunch")),
        look=_tag_look,
        live={"tag": "tag"},
        first=_take_tag,
        delete=None,
        replaces=("autoscalingGroupName", "tag.key"),
        updates=(Update(properties=("tag",), do=_set_tag),),
    ),
}
