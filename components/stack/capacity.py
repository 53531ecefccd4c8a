"""Whether the pods that a stack asks for have a place on the nodes that it may have: deployments against pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from components.base import naming
from components.base.errors import Problem
from components.base.quantities import UNITS, quantity_value
from components.eks.settings.node_groups import architecture
from components.gke.settings.cluster import GkeClusterSettings
from components.gke.settings.node_pools import gce_architecture
from components.gpu import catalogue
from components.gpu.sharing import offer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import TypeAlias

    from components.base.errors import FieldPath
    from components.eks.karpenter.settings import KarpenterPoolSettings, KarpenterSettings
    from components.eks.settings.addons import AutoscalerSettings
    from components.eks.settings.cluster import EksClusterSettings
    from components.eks.settings.node_groups import GpuPoolSettings
    from components.gke.settings.node_pools import GkeGpuPoolSettings
    from components.gpu.settings import WarmFloorSettings
    from components.serving.settings import ServingSettings

    Cluster: TypeAlias = EksClusterSettings | GkeClusterSettings

_LONGEST_QUEUE_NAME: Final = 80
"""SQS: longest name of a queue. Karpenter's is the cluster's."""
_KARPENTER_REPLICAS: Final = 2
_SPOT_NOTICE_S: Final = 120
"""How long EC2 warns before it takes a spot node back."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """Nodes of one pool, of whatever cloud, as far as it matters to what may run there."""

    name: str
    labels: Mapping[str, str]
    """Of its nodes: what a node selector is held against."""
    resource: str
    """What a pod asks for there, such as ``nvidia.com/gpu``."""
    per_pod: int
    """Most that one pod may ask for."""
    units: int
    """Most of ``resource`` that all nodes together can ever have."""
    machines: tuple[catalogue.Machine, ...]
    nodes: int | None = None
    """Most nodes, each with as much of the resource; None where nodes differ and only ``units`` bounds them."""
    shared: bool = False
    """Whether pods share each GPU (time-slicing or MPS)."""
    sliced: bool = False
    """Whether each GPU is split into MIG slices."""
    spot: bool = False
    cloud: str = "EC2"
    """Who takes spot nodes back."""

    def holds(self, each: int) -> int:
        """Most pods asking for ``each``."""
        if each > self.per_pod:
            return 0
        return self.units // each if self.nodes is None else self.nodes * (self.units // self.nodes // each)

    def fits(self, entry: ServingSettings) -> bool:
        """Whether a pod's CPU and memory have a place beside its GPU on one of the machines."""
        cpu, memory = quantity_value(entry.resources.cpu), quantity_value(entry.resources.memory)
        return any(
            entry.resources.gpus <= _per_pod(machine, self) and cpu < machine.vcpus and memory < machine.memory_gib * UNITS["Gi"]
            for machine in self.machines
        )


def _per_pod(machine: catalogue.Machine, room: Room) -> int:
    return room.per_pod if room.nodes is not None else machine.gpus


def rooms(cluster: Cluster, autoscaler: AutoscalerSettings) -> tuple[Room, ...]:
    """All pools of a cluster with GPUs: node groups or pools, and what Karpenter may start."""
    if isinstance(cluster, GkeClusterSettings):
        return tuple(_gke_pool(pool, cluster) for pool in cluster.gpu_pools)
    groups = tuple(_group(pool, cluster) for pool in cluster.gpu_pools)
    return groups if autoscaler.kind != "karpenter" else (*groups, *(_karpenter(pool) for pool in autoscaler.pools))


def _group(pool: GpuPoolSettings, cluster: EksClusterSettings) -> Room:
    offered = offer(pool.machine, pool.sharing)
    nodes = node_count(pool, cluster)
    return Room(
        name=pool.name,
        labels={
            naming.POOL_LABEL: pool.name,
            catalogue.PRESENT_LABEL: "true",
            "k8s.amazonaws.com/accelerator": pool.machine.gpu.accelerator,
            **pool.labels,
        },
        resource=offered.resource,
        per_pod=offered.per_pod,
        units=nodes * offered.per_node,
        machines=(pool.machine,),
        nodes=nodes,
        shared=pool.sharing.kind in {"timeSlicing", "mps"},
        sliced=pool.sharing.kind == "mig",
        spot=pool.capacity == "spot",
    )


def _gke_pool(pool: GkeGpuPoolSettings, cluster: GkeClusterSettings) -> Room:
    nodes = cluster.node_count(pool)
    return Room(
        name=pool.name,
        labels=pool.node_labels,
        resource=pool.offer.resource,
        per_pod=pool.offer.per_pod,
        units=nodes * pool.offer.per_node,
        machines=(pool.machine,),
        nodes=nodes,
        shared=pool.sharing.kind in {"timeSlicing", "mps"},
        sliced=pool.sharing.kind == "mig",
        spot=pool.capacity == "spot",
        cloud="Compute Engine",
    )


def _karpenter(pool: KarpenterPoolSettings) -> Room:
    return Room(
        name=pool.name,
        labels={naming.POOL_LABEL: pool.name, catalogue.PRESENT_LABEL: "true", **pool.labels},
        resource=catalogue.RESOURCE,
        per_pod=max(machine.gpus for machine in pool.machines),
        units=pool.max_gpus,
        machines=pool.machines,
        spot="spot" in pool.capacity_types,
    )


def node_count(pool: GpuPoolSettings, cluster: EksClusterSettings) -> int:
    """Most nodes that a pool can have, over all its zones."""
    return pool.max * (zones_of(pool, cluster) if pool.per_zone else 1)


def zones_of(pool: GpuPoolSettings, cluster: EksClusterSettings) -> int:
    """Number of zones that a pool spans. At least 2 where the network's subnets are not told apart by zone."""
    if pool.zones is not None:
        return len(pool.zones)
    network = cluster.network
    if network.kind == "existing":
        return len(network.private_subnet_ids)
    return network.zone_count if network.zones is None else len(network.zones)


def capacity_problems(
    cluster: Cluster,
    serving: Sequence[ServingSettings],
    autoscaler: AutoscalerSettings,
    warm_floor: Sequence[WarmFloorSettings],
) -> Iterator[Problem]:
    """Yield what could never be scheduled: one deployment at its maximum by itself, and the minima of all together.

    Not the maxima of all together: deployments that peak at different times share a pool on purpose.
    """
    if not isinstance(cluster, GkeClusterSettings):  # GKE grows its own pools
        if autoscaler.kind in {"none", "karpenter"}:
            yield from _never_a_node(cluster, autoscaler.kind)
        if autoscaler.kind == "karpenter":
            yield from _karpenter_problems(cluster, autoscaler)
    there = rooms(cluster, autoscaler)
    read: tuple[FieldPath, ...] = (("cluster", "gpu_pools"), *((("autoscaler",),) if autoscaler.kind == "karpenter" else ()))
    for index, entry in enumerate(serving):
        if entry.resources.gpus:
            yield from room_problems(index, entry, there, read)
    yield from minima_problems(serving, there, read)
    for index, floor in enumerate(warm_floor):
        yield from floor_problems(index, floor, there, read)


def _never_a_node(cluster: EksClusterSettings, kind: str) -> Iterator[Problem]:
    for index, pool in enumerate(cluster.gpu_pools):
        if (pool.desired or pool.min) == 0:
            hint = "set an autoscaler" if kind == "none" else "make it one of autoscaler.pools: Karpenter grows no node group"
            yield Problem(
                at=("cluster", "gpu_pools", index),
                text=f"has min and desired 0 and autoscaler.kind is {kind}: it would never have a node. Raise min, or {hint}.",
                also=(("autoscaler",),),
            )


def _karpenter_problems(cluster: EksClusterSettings, autoscaler: KarpenterSettings) -> Iterator[Problem]:
    pool = cluster.cpu_pool
    also: tuple[FieldPath, ...] = (("autoscaler",),)
    if (pool.desired or pool.min) < _KARPENTER_REPLICAS:
        yield Problem(
            at=("cluster", "cpu_pool", "min"),
            text=f"({pool.min}) leaves Karpenter one node, and its two replicas never share one: its release would time out. Set it to 2.",
            also=(*also, ("cluster", "cpu_pool")),
        )
    if len(cluster.name) > _LONGEST_QUEUE_NAME:
        yield Problem(
            at=("cluster", "name"),
            text=f"has {len(cluster.name)} characters: Karpenter's queue is named so, and SQS takes {_LONGEST_QUEUE_NAME}. Shorten it.",
            also=also,
        )
    taken = {"cpu", *(group.name for group in cluster.gpu_pools)}
    for index, started in enumerate(autoscaler.pools):
        if started.name in taken:
            yield Problem(
                at=("autoscaler", "pools", index, "name"),
                text=f"({started.name}) is the name of a node group's pool too: pods for one would land on the other. Choose another.",
                also=(("cluster", "gpu_pools"),),
            )


def floor_problems(index: int, floor: WarmFloorSettings, there: Sequence[Room], read: tuple[FieldPath, ...]) -> Iterator[Problem]:
    """Yield what is wrong with one warm floor; ``read`` are the settings that ``there`` was made of."""
    room = next((room for room in there if room.name == floor.pool), None)
    if room is None:
        known = ", ".join(room.name for room in there) or "none"
        text = f"({floor.pool}) is no pool of cluster.gpuPools: nothing could be kept warm. There: {known}."
        yield Problem(at=("warm_floor", index, "pool"), text=text, also=read)
        return
    if room.spot:
        text = (
            f"({floor.pool}) is a spot pool: {room.cloud} takes spot nodes back when everybody wants them, which is when a floor is needed."
            " Keep the floor in a pool with capacity onDemand."
        )
        yield Problem(at=("warm_floor", index, "pool"), text=text, also=read)
    if floor.pods > room.units:
        text = (
            f"({floor.pods}) is above the {room.units} that pool {room.name} can ever hold: the rest would wait for ever. "
            f"Lower it or raise {_bound([room])}."
        )
        yield Problem(at=("warm_floor", index, "pods"), text=text, also=read)


def architectures(entry: ServingSettings, cluster: Cluster, autoscaler: AutoscalerSettings) -> frozenset[str]:
    """Architectures of the nodes that a deployment may run on; none where there is no such node, which is told elsewhere."""
    if not entry.resources.gpus:
        of = gce_architecture if isinstance(cluster, GkeClusterSettings) else architecture
        return frozenset({of(cluster.cpu_pool.machine_types[0])})
    eligible = [room for room in eligible_rooms(entry, rooms(cluster, autoscaler)) if room.resource == entry.resources.gpu_resource]
    return frozenset(machine.arch for room in eligible for machine in room.machines)


def _bound(of: Sequence[Room]) -> str:
    """Name of the setting that bounds the rooms."""
    names = dict.fromkeys("maxGpus" if room.nodes is None else "max" for room in of)
    return " or ".join(names)


def eligible_rooms(entry: ServingSettings, there: Sequence[Room]) -> list[Room]:
    """Rooms whose labels a deployment's node selector allows. Labels that nodes get from elsewhere are not held against them."""
    ours = {key for room in there for key in room.labels}
    wanted = {key: value for key, value in entry.node_selector.items() if key in ours}
    return [room for room in there if wanted.items() <= room.labels.items()]


def room_problems(index: int, entry: ServingSettings, there: Sequence[Room], read: tuple[FieldPath, ...]) -> Iterator[Problem]:
    """Yield why one deployment on GPUs has no place; ``read`` are the settings that ``there`` was made of."""
    resources, scaling = entry.resources, entry.scaling
    at = ("serving", index)
    if not there:
        yield Problem(
            at=(*at, "resources", "gpus"),
            text=f"({resources.gpus}) needs a GPU node and cluster.gpuPools has none: the pods would wait for ever. "
            "Add a pool, or set it to 0 to serve on CPU.",
            also=read,
        )
        return
    eligible = eligible_rooms(entry, there)
    if not eligible:
        yield Problem(at=(*at, "node_selector"), text="matches no GPU pool: the pods would wait for ever. Correct a label.", also=read)
        return
    of_kind = [room for room in eligible if room.resource == resources.gpu_resource]
    if not of_kind:
        known = ", ".join(sorted({room.resource for room in eligible}))
        yield Problem(
            at=(*at, "resources", "gpu_resource"),
            text=f"({resources.gpu_resource}) is in no pool: the pods would wait for ever. There: {known}.",
            also=read,
        )
        return
    per_pod = max(room.per_pod for room in of_kind)
    if resources.gpus > per_pod:
        why = "a second share of a GPU is no second GPU" if any(room.shared for room in of_kind) else "a pod can't span nodes"
        yield Problem(
            at=(*at, "resources", "gpus"),
            text=f"({resources.gpus}) is more than the {per_pod} that a pod can have: {why}. Lower it, or take a larger machine type.",
            also=read,
        )
        return
    fitting = [room for room in of_kind if room.fits(entry)]
    if not fitting:
        largest = max((machine for room in of_kind for machine in room.machines), key=lambda machine: machine.vcpus)
        yield Problem(
            at=(*at, "resources"),
            text=f"asks for {resources.cpu} CPU and {resources.memory} beside the GPU, and {largest.name} has {largest.vcpus} vCPU and "
            f"{largest.memory_gib}Gi: the pods would wait for ever. Lower them, or take a larger machine type.",
            also=read,
        )
        return
    drain = entry.drain.pre_stop + entry.drain.exit_timeout
    if drain > _SPOT_NOTICE_S and any(room.spot for room in fitting):
        yield Problem(
            at=(*at, "drain"),
            text=f"takes {drain:g} s (preStop and exitTimeout), and spot nodes go {_SPOT_NOTICE_S} s after their warning: requests would "
            "be cut off. Shorten one of them, or keep the deployment off spot pools by nodeSelector.",
            also=read,
        )
    most = sum(room.holds(resources.gpus) for room in fitting)
    if scaling.max_replicas > most:
        yield Problem(
            at=(*at, "scaling", "max_replicas"),
            text=f"({scaling.max_replicas}) with {resources.gpus} {resources.gpu_resource} each is above the {most} that the pools can "
            f"ever hold: the rest would wait for ever. Lower it, or raise {_bound(fitting)} of a pool.",
            also=(*read, (*at, "resources", "gpus")),
        )


def minima_problems(serving: Sequence[ServingSettings], there: Sequence[Room], read: tuple[FieldPath, ...]) -> Iterator[Problem]:
    """Yield where all deployments at their minimum ask for more of a resource than all pools have of it."""
    for resource in sorted({room.resource for room in there}):
        entries = [entry for entry in serving if entry.resources.gpus and entry.resources.gpu_resource == resource]
        asked = sum(entry.scaling.min_replicas * entry.resources.gpus for entry in entries)
        found = [room for room in there if room.resource == resource]
        most = sum(room.units for room in found)
        if len(entries) > 1 and asked > most:
            yield Problem(
                at=("serving",),
                text=f"asks for {asked} {resource} at its minReplicas together, and the pools can have {most} at most: some of them would "
                f"wait for ever. Lower a minReplicas, or raise {_bound(found)} of a pool.",
                also=read,
            )
