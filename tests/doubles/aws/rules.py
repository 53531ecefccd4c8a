"""What EC2 and ECR refuse, put into moto, which lets most of it go.

AWS keeps whatever something else still stands on (`DependencyViolation`): a subnet with network interfaces, a security group that an
interface or a rule names, a gateway behind which addresses are in use, a VPC with anything in it. That is what makes the order of a destroy
wrong or right.
"""

from __future__ import annotations

import fnmatch
import functools
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def install() -> None:
    """Put the rules into moto's EC2, in this process."""
    from moto.ec2.exceptions import DependencyViolationError, EC2ClientError  # noqa: PLC0415  # the server alone has moto
    from moto.ec2.models import EC2Backend  # noqa: PLC0415

    def guarded(name: str, rule: Callable[..., str | None], *, code: str = "") -> None:
        before = getattr(EC2Backend, name)

        @functools.wraps(before)
        def checked(self: Any, *args: Any, **kwargs: Any) -> Any:
            problem = rule(self, *args, **kwargs)
            if problem is not None:
                raise EC2ClientError(code, problem) if code else DependencyViolationError(problem)
            return before(self, *args, **kwargs)

        setattr(EC2Backend, name, checked)

    guarded("delete_subnet", _subnet)
    guarded("delete_security_group", _security_group)
    guarded("detach_internet_gateway", _internet_gateway)
    guarded("delete_vpc", _vpc)
    guarded("release_address", _address, code="InvalidIPAddress.InUse")

    before = EC2Backend.delete_nat_gateway

    @functools.wraps(before)
    def delete_nat_gateway(self: Any, nat_gateway_id: str) -> Any:
        found = before(self, nat_gateway_id)
        # moto keeps its interface, and the address on it, for ever.
        for address in self.addresses:
            if address.eni is not None and address.eni.id == found._eni.id:
                self.disassociate_address(association_id=address.association_id)
        self.enis.pop(found._eni.id, None)
        return found

    setattr(EC2Backend, before.__name__, delete_nat_gateway)


def _subnet(ec2: Any, subnet_id: str) -> str | None:
    interfaces = [eni.id for eni in ec2.enis.values() if eni.subnet.id == subnet_id]
    nats = [nat.id for nat in ec2.nat_gateways.values() if nat.subnet_id == subnet_id and nat.state != "deleted"]
    if interfaces or nats:
        return f"The subnet '{subnet_id}' has dependencies and cannot be deleted. ({', '.join([*interfaces, *nats])})"
    for table in ec2.route_tables.values():
        for association in [key for key, subnet in table._associations.items() if subnet == subnet_id]:
            table._associations.pop(association)
    return None


def _security_group(ec2: Any, name: str | None = None, group_id: str | None = None) -> str | None:
    if group_id is None:
        return None
    interfaces = [eni.id for eni in ec2.enis.values() if group_id in [group.id for group in eni.group_set]]
    endpoints = [item.id for item in ec2.vpc_end_points.values() if item.state != "deleted" and group_id in (item.security_group_ids or [])]
    rules = [
        group.id
        for groups in ec2.groups.values()
        for group in groups.values()
        if group.id != group_id
        for rule in [*group.ingress_rules, *group.egress_rules]
        if group_id == (rule.source_group or {}).get("GroupId")
    ]
    used = [*interfaces, *endpoints, *rules]
    return f"resource {group_id} has a dependent object ({', '.join(used)})" if used else None


def _internet_gateway(ec2: Any, internet_gateway_id: str, vpc_id: str) -> str | None:
    mapped = [
        address.public_ip for address in ec2.addresses if address.eni is not None and address.eni.subnet.vpc_id == vpc_id and address.eni
    ]
    if mapped:
        return f"Network {vpc_id} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
    return None


def _vpc(ec2: Any, vpc_id: str) -> str | None:
    gateways = [item.id for item in ec2.internet_gateways.values() if item.vpc is not None and item.vpc.id == vpc_id]
    endpoints = [item.id for item in ec2.vpc_end_points.values() if item.vpc_id == vpc_id and item.state != "deleted"]
    groups = [group.id for group in ec2.groups.get(vpc_id, {}).values() if group.name != "default"]
    used = [*gateways, *endpoints, *groups]
    return f"The vpc '{vpc_id}' has dependencies and cannot be deleted. ({', '.join(used)})" if used else None


def _address(ec2: Any, address: str | None = None, allocation_id: str | None = None) -> str | None:
    found = [item for item in ec2.addresses if allocation_id is not None and item.allocation_id == allocation_id]
    return f"Address {found[0].public_ip} is in use." if found and found[0].eni is not None else None


def install_placement_groups() -> None:
    """Placement groups, which moto has not."""
    from moto.core.responses import ActionResult  # noqa: PLC0415  # the server alone has moto
    from moto.ec2.exceptions import EC2ClientError  # noqa: PLC0415
    from moto.ec2.responses import EC2Response  # noqa: PLC0415

    def groups(self: Any) -> dict[str, dict[str, Any]]:
        # Kept on the backend, so that a reset forgets them too.
        found: dict[str, dict[str, Any]] = self.ec2_backend.__dict__.setdefault("placement_groups", {})
        return found

    def create(self: Any) -> Any:
        name = self.params["GroupName"]
        if name in groups(self):
            raise EC2ClientError("InvalidPlacementGroup.Duplicate", f"The placement group '{name}' already exists.")
        tags = [tag for spec in self.params.get("TagSpecifications") or [] for tag in spec["Tags"]]
        number = f"pg-{secrets.token_hex(8)}"
        said = {"GroupName": name, "GroupId": number, "State": "available", "Strategy": self.params["Strategy"], "Tags": tags}
        groups(self)[name] = said
        return ActionResult({"PlacementGroup": said})

    def describe(self: Any) -> Any:
        names = self.params.get("GroupNames")
        unknown = [name for name in names or [] if name not in groups(self)]
        if unknown:
            raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{unknown[0]}' is unknown.")
        return ActionResult({"PlacementGroups": [said for name, said in groups(self).items() if not names or name in names]})

    def delete(self: Any) -> Any:
        if groups(self).pop(self.params["GroupName"], None) is None:
            raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{self.params['GroupName']}' is unknown.")
        return ActionResult({})

    for name, method in (("create_placement_group", create), ("describe_placement_groups", describe), ("delete_placement_group", delete)):
        setattr(EC2Response, name, method)


def install_immutable_tags() -> None:
    """A tag that may not move stays where it is: moto's registry moves every one."""
    from moto.core.exceptions import ServiceException  # noqa: PLC0415  # the server alone has moto
    from moto.ecr.models import ECRBackend  # noqa: PLC0415

    # moto reads off the module of an exception whose it is.
    taken_tag: Any = type("ImageTagAlreadyExistsException", (ServiceException,), {"__module__": "moto.ecr.exceptions"})
    before = ECRBackend.put_image

    @functools.wraps(before)
    def put_image(self: Any, repository_name: str, image_manifest: str, image_tag: str, *more: Any, **named: Any) -> Any:
        repository = self.repositories.get(repository_name)
        if repository is not None and "IMMUTABLE" in str(repository.image_tag_mutability):
            filters = repository.image_tag_mutability_exclusion_filters or []
            movable = any(fnmatch.fnmatchcase(image_tag, item["filter"]) for item in filters)
            digest = f"sha256:{hashlib.sha256(image_manifest.encode()).hexdigest()}"
            taken = [image for image in repository.images if image_tag in image.image_tags and image.get_image_digest() != digest]
            if taken and not movable:
                raise taken_tag(
                    "ImageTagAlreadyExistsException",
                    f"The image tag '{image_tag}' already exists in the '{repository_name}' repository and cannot be overwritten because "
                    "the tag is immutable.",
                )
        return before(self, repository_name, image_manifest, image_tag, *more, **named)

    setattr(ECRBackend, before.__name__, put_image)


def install_tls() -> None:
    """moto reads no condition of a bucket's policy: a request stands for one over TLS, and is not denied for lack of it."""
    from moto.iam.access_control import IAMPolicy, PermissionResult  # noqa: PLC0415  # the server alone has moto
    from moto.s3.models import FakeBucket  # noqa: PLC0415

    before = FakeBucket.get_permission

    @functools.wraps(before)
    def get_permission(self: Any, action: str, resource: str) -> Any:
        if self.policy is None:
            return PermissionResult.NEUTRAL
        policy = json.loads(self.policy)
        left = [each for each in policy["Statement"] if each.get("Condition") != {"Bool": {"aws:SecureTransport": "false"}}]
        return (
            IAMPolicy(json.dumps({**policy, "Statement": left})).is_action_permitted(action, resource) if left else PermissionResult.NEUTRAL
        )

    setattr(FakeBucket, before.__name__, get_permission)
