"""Managed node groups: a pure plan of each, and the resources that it becomes.

Uses `aws.eks.NodeGroup` with a launch template instead of pulumi-eks' ManagedNodeGroup. The latter leaves a GPU type on an image without a
driver unless the type is set twice, resolves image ids itself once kubelet is configured (so that any `up` may replace all nodes), and
supports neither update settings nor node repair.

AWS chooses the group's name, so that a changed machine type creates the new group before the old one is deleted. ``desired`` counts at
creation only; afterwards the autoscaler owns the number.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import pulumi
import pulumi_aws as aws

from components.base import naming
from components.base.outputs import after
from components.eks import ami
from components.eks.settings.node_groups import architecture
from components.eks.user_data import user_data
from components.gpu import catalogue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.settings.node_groups import CpuPoolSettings, DiskSettings, GpuPoolSettings

CPU_POOL: Final = "cpu"
"""Name of the pool without GPUs."""
_TEMPLATE: Final = "k8s.io/cluster-autoscaler/node-template"
_CAPACITY: Final[Mapping[str, Literal["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"]]] = {
    "onDemand": "ON_DEMAND",
    "spot": "SPOT",
    "capacityBlock": "CAPACITY_BLOCK",
}


@dataclass(frozen=True, kw_only=True)
class Volume:
    """An EBS volume of a node: gp3, encrypted, deleted with the node."""

    device: str
    size: int
    """GiB."""
    iops: int = 3000
    throughput: int = 125
    """MiB/s."""
    snapshot: str | None = None


@dataclass(frozen=True, kw_only=True)
class NodeGroupPlan:
    """One managed node group."""

    name: str
    """Logical name in Pulumi, unique in the cluster; AWS chooses the group's own name."""
    pool: str
    zones: tuple[str, ...]
    machine_types: tuple[str, ...]
    ami_type: str
    capacity: Literal["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"]
    min: int
    desired: int
    max: int
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...] = ()
    """Key, value, and effect as EKS spells it (``NO_SCHEDULE``)."""
    volumes: tuple[Volume, ...]
    user_data: str | None = None
    """Plain, not base64."""
    asg_tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of the scaling group that describe a node to an autoscaler before the group has one."""
    release: str | None = None
    """Release of the node image; None: EKS takes the newest whenever the version changes."""
    reservation: str | None = None
    efa: int = 0
    """EFA network cards; 0 leaves the network to EKS. With EFA, a placement group places all nodes close together."""
    ssh_key: str | None = None
    ssh_cidrs: tuple[str, ...] = ()

    @property
    def instance_type_in_template(self) -> bool:
        """Whether the launch template names the machine type, as a capacity block needs; otherwise the group does. Never both."""
        return self.capacity == "CAPACITY_BLOCK"


def cpu_group(settings: CpuPoolSettings, zones: Sequence[str]) -> NodeGroupPlan:
    """Plan the group for everything that needs no GPU. It spans all zones: Kubernetes spreads the volumes of its pods."""
    arch = "ARM_64" if architecture(settings.machine_types[0]) == "arm64" else "x86_64"
    return NodeGroupPlan(
        name=CPU_POOL,
        pool=CPU_POOL,
        zones=tuple(zones),
        machine_types=settings.machine_types,
        ami_type=f"AL2023_{arch}_STANDARD",
        capacity=_CAPACITY[settings.capacity],
        min=settings.min,
        desired=settings.min if settings.desired is None else settings.desired,
        max=settings.max,
        labels={naming.POOL_LABEL: CPU_POOL, **settings.labels},
        volumes=_volumes(settings.disk, "al2023", fast_pull=False),
        release=settings.release,
    )


def gpu_groups(pool: GpuPoolSettings, zones: Sequence[str]) -> tuple[NodeGroupPlan, ...]:
    """Plan a GPU pool's groups: one, or one per zone."""
    of_pool = [zone for zone in zones if pool.zones is None or zone in pool.zones]
    if not pool.per_zone:
        return (_gpu_group(pool, pool.name, tuple(of_pool)),)
    return tuple(_gpu_group(pool, f"{pool.name}-{zone}", (zone,)) for zone in of_pool)


def gpu_labels(pool: GpuPoolSettings) -> dict[str, str]:
    """Return the labels of a GPU pool's nodes."""
    return pool.node_labels if ami.brings_device_plugin(pool.os) else {**pool.node_labels, naming.GPU_PLUGIN_LABEL: pool.name}


def _gpu_group(pool: GpuPoolSettings, name: str, zones: tuple[str, ...]) -> NodeGroupPlan:
    machine = pool.machine
    labels = gpu_labels(pool)
    return NodeGroupPlan(
        name=name,
        pool=pool.name,
        zones=zones,
        machine_types=(pool.machine_type,),
        ami_type=ami.ami_type(machine, pool.os),
        capacity=_CAPACITY[pool.capacity],
        min=pool.min,
        desired=pool.min if pool.desired is None else pool.desired,
        max=pool.max,
        labels=labels,
        taints=((catalogue.TAINT_KEY, catalogue.TAINT_VALUE, "NO_SCHEDULE"),) if pool.taint else (),
        volumes=_volumes(pool.disk, pool.os, fast_pull=pool.fast_pull),
        user_data=user_data(pool),
        asg_tags=asg_tags(pool, labels),
        release=pool.release,
        reservation=pool.capacity_reservation,
        efa=machine.efa if pool.efa else 0,
        ssh_key=None if pool.ssh is None else pool.ssh.key,
        ssh_cidrs=() if pool.ssh is None else pool.ssh.source_cidrs,
    )


def asg_tags(pool: GpuPoolSettings, labels: Mapping[str, str]) -> dict[str, str]:
    """Return tags for scaling from zero: tags of a managed group don't reach its scaling group (aws/containers-roadmap#608).

    Cluster Autoscaler gets the number of whole GPUs from the machine type, not of slices and shares, and reads labels and taints from the
    group only until its first node.
    """
    offered = pool.offer
    tags = {f"{_TEMPLATE}/label/{key}": value for key, value in sorted(labels.items())}
    if pool.taint:
        tags[f"{_TEMPLATE}/taint/{catalogue.TAINT_KEY}"] = f"{catalogue.TAINT_VALUE}:NoSchedule"
    tags[f"{_TEMPLATE}/resources/{offered.resource}"] = str(offered.per_node)
    # Without it, the template has no disk: a pod that requests some, as with prefetch, would never get the first node.
    tags[f"{_TEMPLATE}/resources/ephemeral-storage"] = f"{pool.disk.requestable_gib}Gi"
    if offered.resource != catalogue.RESOURCE:
        tags[f"{_TEMPLATE}/resources/{catalogue.RESOURCE}"] = "0"  # sliced GPUs leave no whole one
    return tags


def _volumes(disk: DiskSettings, system: ami.OperatingSystem, *, fast_pull: bool) -> tuple[Volume, ...]:
    images = Volume(
        device=ami.DATA_DEVICE[system], size=disk.size, iops=disk.iops, throughput=disk.rate(fast_pull=fast_pull), snapshot=disk.snapshot
    )
    if system == "al2023":
        return (images,)
    return (Volume(device=ami.ROOT_DEVICE, size=ami.BOTTLEROCKET_ROOT_GIB), images)


# Resources.


@dataclass(frozen=True, kw_only=True)
class NodeGroupArgs:
    """Arguments of `NodeGroup`."""

    plan: NodeGroupPlan
    cluster: str
    """Name of the cluster, for tags."""
    cluster_name: pulumi.Input[str]
    """The same as an output of the cluster: a group is replaced with its cluster."""
    version: str
    """Kubernetes minor of the nodes. Without it, nodes would keep the minor that the group was created with."""
    vpc_id: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    """Role of the nodes; resolves once its policies are attached."""
    security_group_id: pulumi.Input[str]
    """The cluster's own group, which EKS adds only where the template names no other."""
    subnet_ids: Sequence[pulumi.Input[str]]
    disk_key: pulumi.Input[str] | None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of instances and volumes too, which the tags of a group don't reach."""
    provider: aws.Provider
    depends_on: Sequence[pulumi.Resource] = ()


class NodeGroup(pulumi.ComponentResource):
    """One managed node group."""

    ready: pulumi.Output[str]
    """Name of the group; resolves once its nodes are up and its scaling group describes them."""

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(naming.type_token("cluster", "NodeGroup"), name, None, opts)
        plan = args.plan
        self._name, self._args = name, args
        self._child = child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        template = self._template()
        group = aws.eks.NodeGroup(
            name,
            cluster_name=args.cluster_name,
            version=args.version,
            release_version=plan.release,
            node_role_arn=args.role_arn,
            subnet_ids=list(args.subnet_ids),
            ami_type=plan.ami_type,
            capacity_type=plan.capacity,
            instance_types=None if plan.instance_type_in_template else list(plan.machine_types),
            scaling_config=aws.eks.NodeGroupScalingConfigArgs(min_size=plan.min, desired_size=plan.desired, max_size=plan.max),
            labels=dict(plan.labels),
            taints=[aws.eks.NodeGroupTaintArgs(key=key, value=value, effect=effect) for key, value, effect in plan.taints],
            launch_template=aws.eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str)),
            update_config=aws.eks.NodeGroupUpdateConfigArgs(max_unavailable=1),
            node_repair_config=aws.eks.NodeGroupNodeRepairConfigArgs(enabled=True),
            tags=dict(args.tags),
            opts=pulumi.ResourceOptions.merge(
                child,
                # camelCase: the SDK translates only top-level names, and would silently ignore the Python spelling.
                pulumi.ResourceOptions(depends_on=list(args.depends_on), ignore_changes=["scalingConfig.desiredSize"]),
            ),
        )
        scaling_group = group.resources[0].autoscaling_groups[0].name
        tags = [
            aws.autoscaling.Tag(
                f"{name}-{key.removeprefix(f'{_TEMPLATE}/')}",
                autoscaling_group_name=scaling_group,
                tag=aws.autoscaling.TagTagArgs(key=key, value=value, propagate_at_launch=False),
                opts=child,
            ).id
            for key, value in plan.asg_tags.items()
        ]
        self.ready = after(group.node_group_name, group.arn, *tags)
        self.register_outputs({"name": self.ready})

    def _template(self) -> aws.ec2.LaunchTemplate:
        name, args, child = self._name, self._args, self._child
        plan = args.plan
        groups: list[pulumi.Input[str]] = [args.security_group_id]
        if plan.ssh_key is not None:  # not by the group's remote_access, which excludes a launch template
            ssh = aws.ec2.SecurityGroupIngressArgs(protocol="tcp", from_port=22, to_port=22, cidr_blocks=list(plan.ssh_cidrs))
            groups.append(self._security_group("ssh", "SSH to nodes from the networks that the stack names", ssh))
        if plan.efa:  # egress too: EFA traffic is allowed by security group, not by address
            ingress = aws.ec2.SecurityGroupIngressArgs(protocol="-1", from_port=0, to_port=0, self=True)
            egress = aws.ec2.SecurityGroupEgressArgs(protocol="-1", from_port=0, to_port=0, self=True)
            groups.append(self._security_group("efa", "Elastic Fabric Adapters of the nodes to each other", ingress, egress))
        cards = [
            aws.ec2.LaunchTemplateNetworkInterfaceArgs(
                network_card_index=card,
                device_index=0 if card == 0 else 1,
                interface_type="efa" if card == 0 else "efa-only",
                security_groups=groups,
                delete_on_termination="true",
            )
            for card in range(plan.efa)
        ]
        placement = aws.ec2.PlacementGroup(name, strategy="cluster", opts=child) if plan.efa else None
        block = plan.instance_type_in_template
        return aws.ec2.LaunchTemplate(
            name,
            update_default_version=True,
            key_name=plan.ssh_key,
            network_interfaces=cards or None,
            placement=None if placement is None else aws.ec2.LaunchTemplatePlacementArgs(group_name=placement.name),
            vpc_security_group_ids=groups if len(groups) > 1 and not cards else None,
            instance_type=plan.machine_types[0] if block else None,
            instance_market_options=aws.ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type="capacity-block") if block else None,
            capacity_reservation_specification=aws.ec2.LaunchTemplateCapacityReservationSpecificationArgs(
                capacity_reservation_target=aws.ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
                    capacity_reservation_id=plan.reservation
                )
            )
            if block
            else None,
            user_data=None if plan.user_data is None else base64.b64encode(plan.user_data.encode()).decode(),
            block_device_mappings=[
                aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                    device_name=volume.device,
                    ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                        volume_size=volume.size,
                        volume_type="gp3",
                        iops=volume.iops,
                        throughput=volume.throughput,
                        encrypted="true",
                        kms_key_id=args.disk_key,
                        snapshot_id=volume.snapshot,
                        delete_on_termination="true",
                    ),
                )
                for volume in plan.volumes
            ],
            # Hop limit 1: a request from a pod takes one hop more, so no pod gets the node's role. Pods have their own identities.
            metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
                http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
            ),
            tag_specifications=[
                aws.ec2.LaunchTemplateTagSpecificationArgs(
                    resource_type=kind, tags={**args.tags, "Name": f"{args.cluster}-{plan.name}", naming.POOL_LABEL: plan.pool}
                )
                for kind in ("instance", "volume", "network-interface")
            ],
            opts=child,
        )

    def _security_group(
        self,
        suffix: str,
        description: str,
        ingress: aws.ec2.SecurityGroupIngressArgs,
        egress: aws.ec2.SecurityGroupEgressArgs | None = None,
    ) -> pulumi.Output[str]:
        return aws.ec2.SecurityGroup(
            f"{self._name}-{suffix}",
            vpc_id=self._args.vpc_id,
            description=description,
            ingress=[ingress],
            egress=None if egress is None else [egress],
            opts=self._child,
        ).id
