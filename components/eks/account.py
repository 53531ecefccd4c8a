"""What a preview asks AWS about the account: leftovers of an earlier cluster, offered machine types, and vCPU quotas.

Whoever previews may lack the rights to ask (docs/components/eks.md lists them): a failed call is a note and never an error. Karpenter
chooses machines itself, so its pools are not asked about.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Final, TypeVar

import pulumi
import pulumi_aws as aws

from components.base.errors import FleetError
from components.base.naming import PROJECT
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from components.eks.node_groups import NodeGroupPlan
    from components.eks.settings.cluster import EksClusterSettings

_Answer = TypeVar("_Answer")

CLUSTER_TAG: Final = "triton-fleet/cluster"
"""Tag of everything of a stack in AWS, with the cluster's name."""
_QUOTAS: Final = {
    ("G and VT", "ON_DEMAND"): "L-DB2E81BA",
    ("G and VT", "SPOT"): "L-3819A6DF",
    ("P", "ON_DEMAND"): "L-417A185B",
    ("Standard", "ON_DEMAND"): "L-1216C47A",
    ("Standard", "SPOT"): "L-34B43A08",
}
"""Kind and capacity of instances -> code of their vCPU quota (EC2 user guide, "EC2 instance type quotas", "Spot Instance quotas").

Spot P instances are left out, because versions of that page assign their families to different quotas. Capacity blocks have no quota."""
_STANDARD: Final = re.compile(r"([acdhimrtz]|im|is)\d")


def check_leftovers(settings: EksClusterSettings, log_group: str, provider: aws.Provider) -> None:
    """Check that no earlier cluster of this name left its log group, which EKS writes again after a destroy has deleted it.

    No policy prevents that: the service's own role writes it (terraform-aws-modules/terraform-aws-eks, issues 2446 and 2763).

    Raises:
        FleetError: If the group exists without the stack's tag, and the cluster does not exist.
    """
    opts = pulumi.InvokeOptions(provider=provider)
    groups = _ask("logs:DescribeLogGroups", lambda: aws.cloudwatch.get_log_groups(log_group_name_prefix=log_group, opts=opts))
    if groups is None or log_group not in groups.log_group_names:
        return
    group = _ask("logs:ListTagsForResource", lambda: aws.cloudwatch.get_log_group(name=log_group, opts=opts))
    clusters = _ask("eks:ListClusters", lambda: aws.eks.get_clusters(opts=opts))
    if group is not None and clusters is not None and CLUSTER_TAG not in group.tags and settings.name not in clusters.names:
        raise FleetError(
            f"{PROJECT}:cluster.name ({settings.name}) is the name of an earlier cluster, whose log group EKS has written again after it "
            f"was deleted: the stack could not create it. Choose another name, or delete the group: "
            f"aws logs delete-log-group --region {settings.region} --log-group-name {log_group}"
        )


def check_capacity(groups: Sequence[NodeGroupPlan], settings: EksClusterSettings, provider: aws.Provider) -> None:
    """Warn of zones that don't offer a group's machine types, and of vCPU quotas that are too low for the groups.

    Raises:
        FleetError: With the machine types that no zone of their group offers.
    """
    opts = pulumi.InvokeOptions(provider=provider)
    types = sorted({machine for group in groups for machine in group.machine_types})
    of_types = [aws.ec2.GetInstanceTypeOfferingsFilterArgs(name="instance-type", values=types)]
    answer = _ask(
        "ec2:DescribeInstanceTypeOfferings",
        lambda: aws.ec2.get_instance_type_offerings(location_type="availability-zone", filters=of_types, opts=opts),
    )
    if answer is not None:
        _check_offerings(groups, settings, set(zip(answer.instance_types, answer.locations, strict=True)))
    wanted: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for group in groups:
        kind = quota_kind(group.machine_types[0])
        if kind is not None and (kind, group.capacity) in _QUOTAS:
            vcpus = _vcpus(group.machine_types[0], opts)
            wanted[kind, group.capacity].append((vcpus * max(group.min, group.desired), vcpus * group.max))
    for (kind, capacity), sizes in wanted.items():
        code, first, most = _QUOTAS[kind, capacity], sum(size[0] for size in sizes), sum(size[1] for size in sizes)
        quota = _ask(
            "servicequotas:GetServiceQuota and GetAWSDefaultServiceQuota",
            lambda code=code: aws.servicequotas.get_service_quota(service_code="ec2", quota_code=code, opts=opts),  # type: ignore[misc]
        )
        if quota is not None and quota.value < most:
            what = f"{kind} instances{' on spot' if capacity == 'SPOT' else ''}"
            effect = "the first nodes could not start" if quota.value < first else "the pools could not grow to their max"
            pulumi.log.warn(
                f"{PROJECT}:cluster needs {first} vCPUs of {what} at creation and {most} at most, and the account's quota in "
                f"{settings.region} is {quota.value:g}: {effect}. Request more: aws service-quotas request-service-quota-increase "
                f"--region {settings.region} --service-code ec2 --quota-code {code} --desired-value {most}"
            )


def quota_kind(machine_type: str) -> str | None:
    """Return the kind of instances whose vCPU quota a machine type counts against; None for kinds that no pool of a stack uses."""
    if machine_type in catalogue.MACHINES:
        return "P" if machine_type.startswith("p") else "G and VT"
    return "Standard" if _STANDARD.match(machine_type) else None


def _check_offerings(groups: Sequence[NodeGroupPlan], settings: EksClusterSettings, offered: set[tuple[str, str]]) -> None:
    keys = {pool.name: f"gpuPools[{index}].machineType" for index, pool in enumerate(settings.gpu_pools)}
    problems = []
    for group in groups:
        lacking = [zone for zone in group.zones if not any((machine, zone) in offered for machine in group.machine_types)]
        if not lacking:
            continue
        having = sorted({zone for machine, zone in offered if machine in group.machine_types})
        text = f"{PROJECT}:cluster.{keys.get(group.pool, 'cpuPool.machineTypes')} ({', '.join(group.machine_types)}) is not offered in "
        text += f"{', '.join(lacking)}: no node could start there. "
        text += f"Use zones that offer it ({', '.join(having)})" if having else f"No zone of {settings.region} offers it: change the region"
        text += ", or choose another machine type."
        if len(lacking) == len(group.zones):
            problems.append(text)
        else:
            pulumi.log.warn(text)
    if problems:
        raise FleetError(*problems)


def _vcpus(machine_type: str, opts: pulumi.InvokeOptions) -> int:
    if machine_type in catalogue.MACHINES:
        return catalogue.MACHINES[machine_type].vcpus
    found = _ask("ec2:DescribeInstanceTypes", lambda: aws.ec2.get_instance_type(instance_type=machine_type, opts=opts))
    return 0 if found is None else found.default_vcpus


def _ask(rights: str, call: Callable[[], _Answer]) -> _Answer | None:
    """Return an answer of AWS, or None after a note if the call fails."""
    try:
        return call()
    except Exception as error:  # noqa: BLE001  # the SDK raises a bare Exception for a failed call
        pulumi.log.info(f"AWS did not answer a check of the preview, which needs {rights} ({error}): that check is left out.")
        return None
