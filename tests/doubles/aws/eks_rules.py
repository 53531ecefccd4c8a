"""What EKS refuses, and what it looks at in the rest of the account (moto's EC2, IAM, KMS, Auto Scaling)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from components.gpu import catalogue
from tests.doubles.aws import ACCOUNT

VERSIONS: Final = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
ADDONS: Final = {
    "vpc-cni": "1.20",
    "kube-proxy": "",
    "coredns": "1.12",
    "eks-pod-identity-agent": "1.3",
    "aws-ebs-csi-driver": "1.50",
    "aws-efs-csi-driver": "2.1",
    "aws-mountpoint-s3-csi-driver": "2.0",
    "snapshot-controller": "8.3",
    "metrics-server": "0.8",
    "eks-node-monitoring-agent": "1.4",
    "amazon-cloudwatch-observability": "4.4",
}
"""Add-ons by name, with the first part of their versions. The rest of a version is made up: it names the Kubernetes version."""
NEED_NODES: Final = frozenset({"coredns", "aws-ebs-csi-driver", "aws-efs-csi-driver", "snapshot-controller", "metrics-server"})
"""Those with a Deployment that tolerates no taint of ours."""
_RESERVED_LABELS: Final = ("eks.amazonaws.com/", "kubernetes.io/", "k8s.io/")


class EksError(Exception):
    """EKS refuses: the exception's name in the API, and why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


def addon_versions(name: str, kubernetes: str) -> tuple[str, str]:
    """Versions of an add-on for a Kubernetes version: the newest, the default."""
    minor = kubernetes.split(".")[1]
    base = kubernetes if name == "kube-proxy" else ADDONS[name]
    return (f"v{base}.{minor}-eksbuild.2", f"v{base}.{minor}-eksbuild.1")


def check_upgrade(now: str, wanted: str) -> None:
    if wanted not in VERSIONS:
        raise EksError("InvalidParameterException", f"unsupported Kubernetes version {wanted}")
    step = VERSIONS.index(wanted) - VERSIONS.index(now)
    if step == 0:
        raise EksError("InvalidParameterException", f"Cluster is already at the desired configuration with version {wanted}")
    if step != 1:
        raise EksError("InvalidParameterException", f"Unsupported Kubernetes minor version update from {now} to {wanted}")


@dataclass(frozen=True)
class Region:
    """The account's other services in one region."""

    name: str
    partition: str = "aws"
    caller: str = f"arn:aws:iam::{ACCOUNT}:user/moto"

    @property
    def ec2(self) -> Any:
        from moto.ec2.models import ec2_backends  # noqa: PLC0415  # the server alone has it; the plugin's process imports none of moto

        return ec2_backends[ACCOUNT][self.name]

    def role(self, arn: str) -> Any:
        from moto.core.exceptions import ServiceException  # noqa: PLC0415  # as above
        from moto.iam.models import iam_backends  # noqa: PLC0415

        try:
            return iam_backends[ACCOUNT][self.partition].get_role_by_arn(arn)
        except ServiceException as error:
            raise EksError("InvalidParameterException", f"The role {arn} does not exist") from error

    @staticmethod
    def policies(role: Any) -> set[str]:
        """Names of the managed policies of a role."""
        return {str(arn).rsplit("/", 1)[-1] for arn in role.managed_policies}

    def check_subnets(self, subnets: list[str], vpc: str | None = None) -> set[str]:
        """Zones of subnets that are all in one VPC."""
        found = []
        for number in subnets:
            subnet = next((zone[number] for zone in self.ec2.subnets.values() if number in zone), None)
            if subnet is None:
                raise EksError("InvalidParameterException", f"The subnet ID '{number}' does not exist")
            found.append(subnet)
        if len({subnet.vpc_id for subnet in found} | ({vpc} if vpc else set())) > 1:
            raise EksError("InvalidParameterException", "Subnets are not in the cluster's VPC")
        return {subnet.availability_zone for subnet in found}

    def check_network(self, subnets: list[str]) -> str:
        """VPC of a cluster's subnets."""
        if len(self.check_subnets(subnets)) < 2:
            raise EksError("InvalidParameterException", "Subnets specified must be in at least two different AZs")
        vpc = str(next(zone[subnets[0]] for zone in self.ec2.subnets.values() if subnets[0] in zone).vpc_id)
        found = self.ec2.vpcs[vpc]
        if found.enable_dns_support not in (True, "true") or found.enable_dns_hostnames not in (True, "true"):
            raise EksError("InvalidParameterException", f"{vpc} needs DNS support and DNS hostnames: nodes could not register")
        return vpc

    def check_key(self, arn: str) -> None:
        from moto.kms.models import kms_backends  # noqa: PLC0415  # as above

        if arn.rsplit("/", 1)[-1] not in kms_backends[ACCOUNT][self.name].keys:
            raise EksError("InvalidParameterException", f"The KMS key {arn} does not exist")

    def template(self, given: dict[str, Any] | None) -> Any:
        """The launch template that a node group names; None without."""
        if not given:
            return None
        templates = self.ec2.launch_templates
        found = templates.get(given.get("id")) or next((item for item in templates.values() if item.name == given.get("name")), None)
        if found is None:
            raise EksError("InvalidRequestException", f"Launch template {given.get('id') or given.get('name')} does not exist")
        version = str(given.get("version") or "1")
        if version.isdigit() and int(version) > len(found.versions):
            raise EksError("InvalidRequestException", f"Launch template version {version} does not exist")
        return found

    def make_group(self, name: str, vpc: str) -> str:
        return str(self.ec2.create_security_group(name, "EKS created security group", vpc).id)

    def end_group(self, number: str) -> None:
        for groups in self.ec2.groups.values():
            groups.pop(number, None)

    def make_interface(self, subnet: str, group: str, description: str) -> str:
        found = next(zone[subnet] for zone in self.ec2.subnets.values() if subnet in zone)
        address = found.get_available_subnet_ip(self.ec2)
        return str(self.ec2.create_network_interface(found, address, group_ids=[group], description=description).id)

    def end_interface(self, number: str) -> None:
        self.ec2.enis.pop(number, None)

    def make_scaling_group(self, name: str, scaling: dict[str, int], subnets: list[str], template: Any) -> None:
        """A scaling group of the size that was asked for, without instances: nobody here looks at them, and they take moto a while."""
        from moto.autoscaling.models import autoscaling_backends  # noqa: PLC0415  # as above

        if template is None:
            template = self.ec2.create_launch_template(name, "", {"ImageId": "ami-12c6146b", "InstanceType": "t3.medium"}, {})
        backend = autoscaling_backends[ACCOUNT][self.name]
        group = backend.create_auto_scaling_group(
            name=name,
            availability_zones=[],
            desired_capacity=0,
            max_size=scaling["maxSize"],
            min_size=0,
            launch_config_name="",
            launch_template={"LaunchTemplateId": template.id, "Version": "$Latest"},
            vpc_zone_identifier=",".join(subnets),
            default_cooldown=None,
            health_check_period=None,
            health_check_type=None,
            load_balancers=[],
            target_group_arns=[],
            placement_group=None,
            termination_policies=[],
            tags=[],
        )
        group.min_size, group.desired_capacity = scaling["minSize"], scaling["desiredSize"]

    def end_scaling_group(self, name: str) -> None:
        from moto.autoscaling.models import autoscaling_backends  # noqa: PLC0415  # as above

        autoscaling_backends[ACCOUNT][self.name].autoscaling_groups.pop(name, None)
        if name in self.ec2.launch_template_name_to_ids:
            self.ec2.delete_launch_template(name, None)


def architectures(machine: str) -> tuple[str, ...]:
    """What an instance type can run; empty where there is no such type."""
    from moto.ec2.models.instance_types import INSTANCE_TYPES  # noqa: PLC0415  # as above

    # moto's list is older than some of the machines with GPUs.
    known = catalogue.MACHINES.get(machine)
    if known is not None and known.cloud == "ec2":
        return (known.arch,)
    return tuple(INSTANCE_TYPES.get(machine, {}).get("ProcessorInfo", {}).get("SupportedArchitectures", ()))


def check_node_group(given: dict[str, Any], template: Any) -> str | None:  # noqa: C901, PLR0912  # one rule after the other
    """Refuse what EKS refuses at once; the machine type that the template names, if it does."""
    scaling = given.get("scalingConfig")
    if scaling and not scaling["minSize"] <= scaling["desiredSize"] <= scaling["maxSize"]:
        if scaling["minSize"] > scaling["maxSize"]:
            raise EksError("InvalidParameterException", "min capacity can't be greater than max size")
        where = "less than min size" if scaling["desiredSize"] < scaling["minSize"] else "greater than max size"
        raise EksError("InvalidParameterException", f"desired capacity {scaling['desiredSize']} can't be {where}")
    data = {} if template is None else template.get_version(given["launchTemplate"].get("version") or "1").data
    if template is not None and given.get("diskSize"):
        raise EksError("InvalidParameterException", "Disk size must be specified within the launch template.")
    if template is not None and given.get("remoteAccess"):
        raise EksError("InvalidParameterException", "Remote access configuration cannot be specified with a launch template.")
    machine = data.get("InstanceType")
    if machine and given.get("instanceTypes"):
        raise EksError("InvalidParameterException", "Instance type must be specified within either the launch template or the node group")
    if given.get("capacityType") == "CAPACITY_BLOCK":
        if not machine:
            raise EksError("InvalidParameterException", "Capacity Blocks need the instance type in the launch template")
        if (data.get("InstanceMarketOptions") or {}).get("MarketType") != "capacity-block":
            raise EksError("InvalidParameterException", "Capacity Blocks need the market type capacity-block in the launch template")
    kinds = given.get("instanceTypes") or ([machine] if machine else [])
    unknown = [kind for kind in kinds if not architectures(kind)]
    if unknown:
        raise EksError("InvalidParameterException", f"The following supplied instance types do not exist: [{', '.join(unknown)}]")
    ami = str(given.get("amiType") or "")
    wanted = "arm64" if "ARM" in ami else "x86_64"
    if ami and ami != "CUSTOM":
        wrong = [kind for kind in kinds if wanted not in architectures(kind)]
        if wrong:
            raise EksError("InvalidParameterException", f"[{', '.join(wrong)}] instance types are not valid for requested amiType {ami}")
    for key in given.get("labels") or {}:
        if any(key.split("/", maxsplit=1)[0] + "/" == prefix for prefix in _RESERVED_LABELS):
            raise EksError("InvalidParameterException", f"Label cannot contain reserved prefixes {list(_RESERVED_LABELS)}: {key}")
    return machine
