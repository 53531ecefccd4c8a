"""Managed node groups: what each is made of, decided purely, and the three resources that it becomes.

`aws.eks.NodeGroup` with a launch template, and not pulumi-eks' ManagedNodeGroup: that one leaves a GPU type on an image without a driver
unless told twice, resolves image ids by itself where anything is set for kubelet (so that any `up` may roll all nodes), and knows neither
update settings nor node repair.

The group is never named: a changed machine type makes the new group beside the old one before that goes. ``desired`` counts at creation
only; afterwards the autoscaler owns it.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import pulumi
import pulumi_aws as aws

from components.base import naming
from components.base.naming import type_token
from components.base.outputs import after
from components.eks import ami
from components.eks import user_data as nodeconfig
from components.eks.settings.node_groups import architecture
from components.eks.user_data import user_data
from components.gpu import catalogue
from components.gpu.sharing import offer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from components.eks.settings.node_groups import CpuPoolSettings, DiskSettings, GpuPoolSettings

CPU_POOL: Final = "cpu"
"""Name of the pool without GPUs."""
_TEMPLATE: Final = "k8s.io/cluster-autoscaler/node-template"
_CAPACITY: Final = {"onDemand": "ON_DEMAND", "spot": "SPOT", "capacityBlock": "CAPACITY_BLOCK"}


@dataclass(frozen=True, kw_only=True)
class Volume:
    """One EBS volume of a node: gp3, encrypted, deleted with it."""

    device: str
    size: int
    """GiB."""
    iops: int
    throughput: int
    """MiB/s."""
    snapshot: str | None = None


@dataclass(frozen=True, kw_only=True)
class NodeGroupPlan:
    """One managed node group, decided."""

    name: str
    """Logical name in Pulumi, unique in the cluster; not the group's name in AWS, which AWS makes."""
    pool: str
    zones: tuple[str, ...]
    machine_types: tuple[str, ...]
    ami_type: str
    capacity: Literal["ON_DEMAND", "SPOT", "CAPACITY_BLOCK"]
    min: int
    desired: int
    max: int
    labels: Mapping[str, str]
    taints: tuple[tuple[str, str, str], ...]
    """Key, value, effect as EKS spells it (``NO_SCHEDULE``)."""
    volumes: tuple[Volume, ...]
    user_data: str | None
    """As written, before base64."""
    asg_tags: Mapping[str, str]
    """Tags of the scaling group that tell an autoscaler what a node will have, before there is one."""
    release: str | None = None
    """Release of the node image; None leaves it to EKS, which takes the newest whenever the version moves."""
    reservation: str | None = None
    efa: int = 0
    """EFA network cards; 0 leaves the network to EKS."""
    ssh_key: str | None = None
    ssh_cidrs: tuple[str, ...] = ()

    @property
    def placement(self) -> bool:
        """Whether all nodes are placed close together."""
        return self.efa > 0

    @property
    def instance_type_in_template(self) -> bool:
        """A capacity block's machine type stands in the template, everyone else's in the group: never in both."""
        return self.capacity == "CAPACITY_BLOCK"


def cpu_group(settings: CpuPoolSettings, zones: Sequence[str]) -> NodeGroupPlan:
    """Decide the group for everything that is not on a GPU. Its zones are all: its pods' volumes are spread by Kubernetes."""
    arch = "ARM_64" if architecture(settings.machine_types[0]) == "arm64" else "x86_64"
    return NodeGroupPlan(
        name=CPU_POOL,
        pool=CPU_POOL,
        zones=tuple(zones),
        machine_types=settings.machine_types,
        ami_type=f"AL2023_{arch}_STANDARD",
        capacity="SPOT" if settings.capacity == "spot" else "ON_DEMAND",
        min=settings.min,
        desired=settings.min if settings.desired is None else settings.desired,
        max=settings.max,
        labels={naming.POOL_LABEL: CPU_POOL, **settings.labels},
        taints=(),
        volumes=_volumes(settings.disk, "al2023", fast_pull=False),
        user_data=None,
        asg_tags={},
        release=settings.release,
    )


def gpu_groups(pool: GpuPoolSettings, zones: Sequence[str]) -> tuple[NodeGroupPlan, ...]:
    """Decide a GPU pool's groups: one, or one a zone."""
    of_pool = [zone for zone in zones if pool.zones is None or zone in pool.zones]
    if not pool.per_zone:
        return (_gpu_group(pool, pool.name, tuple(of_pool)),)
    return tuple(_gpu_group(pool, f"{pool.name}-{zone}", (zone,)) for zone in of_pool)


def gpu_labels(pool: GpuPoolSettings) -> dict[str, str]:
    """Labels of a GPU pool's nodes. The accelerator keeps Cluster Autoscaler from adding nodes until the plugin has registered the GPUs."""
    labels = {
        naming.POOL_LABEL: pool.name,
        catalogue.PRESENT_LABEL: "true",
        "k8s.amazonaws.com/accelerator": pool.machine.gpu.accelerator,
        **pool.labels,
    }
    if not ami.brings_device_plugin(pool.os):
        labels[naming.GPU_PLUGIN_LABEL] = pool.name
    return labels


def _gpu_group(pool: GpuPoolSettings, name: str, zones: tuple[str, ...]) -> NodeGroupPlan:
    machine = pool.machine
    labels = gpu_labels(pool)
    return NodeGroupPlan(
        name=name,
        pool=pool.name,
        zones=zones,
        machine_types=(pool.machine_type,),
        ami_type=ami.ami_type(machine, pool.os),
        capacity=_CAPACITY[pool.capacity],  # type: ignore[arg-type]  # the settings know these three
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
    """Tags for scaling from zero: tags of a managed group don't reach its scaling group (aws/containers-roadmap#608).

    Whole GPUs need none for their number (Cluster Autoscaler has a table of machine types), but slices and shares do, and labels and taints
    are read off the group only until it had its first node.
    """
    offered = offer(pool.machine, pool.sharing)
    tags = {f"{_TEMPLATE}/label/{key}": value for key, value in sorted(labels.items())}
    if pool.taint:
        tags[f"{_TEMPLATE}/taint/{catalogue.TAINT_KEY}"] = f"{catalogue.TAINT_VALUE}:NoSchedule"
    tags[f"{_TEMPLATE}/resources/{offered.resource}"] = str(offered.per_node)
    if offered.resource != catalogue.RESOURCE:
        tags[f"{_TEMPLATE}/resources/{catalogue.RESOURCE}"] = "0"  # cut into slices, no whole GPU is left
    return tags


def _volumes(disk: DiskSettings, system: ami.OperatingSystem, *, fast_pull: bool) -> tuple[Volume, ...]:
    images = Volume(
        device=nodeconfig.DATA_DEVICE[system],
        size=disk.size,
        iops=disk.iops,
        throughput=disk.rate(fast_pull=fast_pull),
        snapshot=disk.snapshot,
    )
    if system == "al2023":
        return (images,)
    return (Volume(device=nodeconfig.ROOT_DEVICE, size=nodeconfig.BOTTLEROCKET_ROOT_GIB, iops=3000, throughput=125), images)


# Resources.


@dataclass(frozen=True, kw_only=True)
class NodeGroupArgs:
    """Arguments of `NodeGroup`."""

    plan: NodeGroupPlan
    cluster: str
    version: str
    """Kubernetes minor of the nodes. Said, and not left to EKS: nodes would else stay at the minor that the group was made with forever."""
    vpc_id: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    """Role of the nodes; resolves once its policies are attached."""
    security_group_id: pulumi.Input[str]
    """The cluster's own group: whatever else stands in a template takes its place."""
    subnet_ids: Sequence[pulumi.Input[str]]
    disk_key: pulumi.Input[str] | None
    tags: Mapping[str, str] = field(default_factory=dict)
    """Tags of instances and volumes; those of a group don't reach them."""
    provider: aws.Provider
    depends_on: Sequence[pulumi.Resource] = ()


class NodeGroup(pulumi.ComponentResource):
    """One managed node group."""

    ready: pulumi.Output[str]
    """Name of the group; resolves once its nodes are up and an autoscaler knows what they have."""

    def __init__(self, name: str, args: NodeGroupArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("cluster", "NodeGroup"), name, None, opts)
        plan = args.plan
        child = pulumi.ResourceOptions(parent=self, provider=args.provider)
        template = self._template(name, args, child)
        group = aws.eks.NodeGroup(
            name,
            cluster_name=args.cluster,
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
                # camelCase: the SDK translates only whole names at the top, and the Python spelling would be ignored without a word.
                pulumi.ResourceOptions(depends_on=list(args.depends_on), ignore_changes=["scalingConfig.desiredSize"]),
            ),
        )
        scaling_group = group.resources.apply(_scaling_group)
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

    def _template(self, name: str, args: NodeGroupArgs, child: pulumi.ResourceOptions) -> aws.ec2.LaunchTemplate:
        plan = args.plan
        groups: list[pulumi.Input[str]] = [args.security_group_id]
        if plan.ssh_key is not None:
            groups.append(self._ssh(name, args, child))
        if plan.efa:
            groups.append(self._efa(name, args, child))
        options: dict[str, Any] = {}
        if plan.efa:
            options["network_interfaces"] = [
                aws.ec2.LaunchTemplateNetworkInterfaceArgs(
                    network_card_index=card,
                    device_index=0 if card == 0 else 1,
                    interface_type="efa" if card == 0 else "efa-only",
                    security_groups=groups,
                    delete_on_termination="true",
                )
                for card in range(plan.efa)
            ]
            placement = aws.ec2.PlacementGroup(name, strategy="cluster", opts=child)
            options["placement"] = aws.ec2.LaunchTemplatePlacementArgs(group_name=placement.name)
        elif len(groups) > 1:
            options["vpc_security_group_ids"] = groups
        if plan.instance_type_in_template:
            options["instance_type"] = plan.machine_types[0]
            options["instance_market_options"] = aws.ec2.LaunchTemplateInstanceMarketOptionsArgs(market_type="capacity-block")
            options["capacity_reservation_specification"] = aws.ec2.LaunchTemplateCapacityReservationSpecificationArgs(
                capacity_reservation_target=aws.ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs(
                    capacity_reservation_id=plan.reservation
                )
            )
        if plan.user_data is not None:
            options["user_data"] = base64.b64encode(plan.user_data.encode()).decode()
        return aws.ec2.LaunchTemplate(
            name,
            update_default_version=True,
            key_name=plan.ssh_key,
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
            # Hop limit 1: a pod's request comes over a hop more, so that no pod gets the node's role. Pods have identities of their own.
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
            **options,
        )

    def _ssh(self, name: str, args: NodeGroupArgs, child: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """Open port 22 to the networks that were named. Not by the group's remote_access: a template excludes it."""
        return aws.ec2.SecurityGroup(
            f"{name}-ssh",
            vpc_id=args.vpc_id,
            description="SSH to nodes from the networks that the stack names",
            ingress=[
                aws.ec2.SecurityGroupIngressArgs(protocol="tcp", from_port=22, to_port=22, cidr_blocks=list(args.plan.ssh_cidrs)),
            ],
            opts=child,
        ).id

    def _efa(self, name: str, args: NodeGroupArgs, child: pulumi.ResourceOptions) -> pulumi.Output[str]:
        """All traffic among the nodes themselves, out included: EFA traffic is let through by security group, not by address."""
        return aws.ec2.SecurityGroup(
            f"{name}-efa",
            vpc_id=args.vpc_id,
            description="Elastic Fabric Adapters of the nodes to each other",
            ingress=[aws.ec2.SecurityGroupIngressArgs(protocol="-1", from_port=0, to_port=0, self=True)],
            egress=[aws.ec2.SecurityGroupEgressArgs(protocol="-1", from_port=0, to_port=0, self=True)],
            opts=child,
        ).id


def _scaling_group(resources: Sequence[Any]) -> str:
    """Name of the scaling group behind a managed group."""
    return str(resources[0].autoscaling_groups[0].name)
