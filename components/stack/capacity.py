"""Whether the pods of a stack fit on the nodes that its pools can have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.base import naming
from components.base.errors import Problem
from components.base.quantities import quantity_value
from components.eks.settings.cluster import EksClusterSettings
from components.eks.settings.node_groups import architecture
from components.existing.settings import ExistingClusterSettings
from components.gke.settings.cluster import GkeClusterSettings
from components.gke.settings.node_pools import gce_architecture
from components.gpu import catalogue
from components.stack.allocatable import DCGM, SIDECAR, ec2_size, eks_daemons, eks_room, gce_size, gke_daemons, gke_disk_gib, gke_room

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from components.base.errors import FieldPath
    from components.eks.settings.addons import AutoscalerSettings
    from components.eks.settings.node_groups import GpuPoolSettings
    from components.gpu.settings import WarmFloorSettings
    from components.serving.settings import ClientSettings, ResourceSettings, ServingSettings
    from components.stack.allocatable import Room
    from components.stack.settings import Settings

_MAX_QUEUE_NAME: Final = 80
"""Characters of an SQS queue's name. Karpenter's queue has the cluster's name."""
_KARPENTER_REPLICAS: Final = 2
_SPOT_NOTICE_S: Final = 120
"""How long EC2 warns before it reclaims a spot node."""
_LEAST_MEMORY: Final = 1 << 30
"""Bytes that a node without GPUs must have for pods: what Karpenter requests, and the least that Prometheus uses."""
_PENDING: Final = "the pods would stay pending"


@dataclass(frozen=True, kw_only=True)
class PoolCapacity:
    """What the nodes of one GPU pool can run, on any cloud."""

    name: str
    labels: Mapping[str, str]
    """Labels of its nodes, for node selectors."""
    resource: str
    """What a pod requests, such as ``nvidia.com/gpu``."""
    per_pod: int
    """Most of ``resource`` that one pod may request."""
    units: int
    """Most of ``resource`` on all nodes together."""
    machines: tuple[catalogue.Machine, ...]
    rooms: tuple[Room, ...]
    """What pods can request of a node of each machine type."""
    disk: float | None = None
    """GiB of a node's disk that pods can request; None if it is not known."""
    nodes: int | None = None
    """Most nodes, each with an equal share of ``units``; None if nodes differ and only ``units`` limits them."""
    shared: bool = False
    """Whether pods share each GPU (time-slicing or MPS)."""
    sliced: bool = False
    """Whether each GPU is split into MIG slices."""
    mps: bool = False
    spot: bool = False
    cloud: str = "EC2"
    """The service that reclaims spot nodes."""

    @property
    def limit(self) -> str:
        """Key of the setting that limits the pool."""
        return "maxGpus" if self.nodes is None else "max"

    def holds(self, each: int) -> int:
        """Return how many pods that request ``each`` can run."""
        if each > self.per_pod:
            return 0
        return self.units // each if self.nodes is None else self.nodes * (self.units // self.nodes // each)

    def runs(self, resources: ResourceSettings) -> int:
        """Return how many of the pods that `holds` counts have their CPU and memory too. Rounded up where machine types differ."""
        cpu, memory = float(quantity_value(resources.cpu)), float(quantity_value(resources.memory))
        fit = [int(min(room.cpu / cpu, room.memory / memory)) for room in self.rooms]
        if self.nodes is None:
            most = max(self.units * min(fit, machine.gpus) // machine.gpus for fit, machine in zip(fit, self.machines, strict=True))
        else:
            most = self.nodes * max(fit)
        return min(self.holds(resources.gpus), most)

    def fits(self, entry: ServingSettings) -> bool:
        """Whether one of the machine types has the CPU and memory that a pod requests."""
        return any(
            entry.resources.gpus <= (machine.gpus if self.nodes is None else self.per_pod) and _holds(room, entry.resources)
            for machine, room in zip(self.machines, self.rooms, strict=True)
        )


def _holds(room: Room, pod: ResourceSettings | ClientSettings) -> bool:
    return quantity_value(pod.cpu) <= room.cpu and quantity_value(pod.memory) <= room.memory


def _sidecar(settings: Settings) -> tuple[Room, ...]:
    return (SIDECAR,) if settings.ingress.kind == "istio" and settings.ingress.injection else ()


def pool_capacities(settings: Settings) -> tuple[PoolCapacity, ...]:
    """Return all GPU pools of a cluster that the stack creates: node groups or node pools, and what Karpenter may start."""
    cluster, autoscaler = settings.cluster, settings.autoscaler
    sidecar = _sidecar(settings)
    others = (DCGM, *sidecar) if settings.dcgm.enabled else sidecar
    if isinstance(cluster, GkeClusterSettings):
        return tuple(
            PoolCapacity(
                labels=pool.node_labels,
                cloud="Compute Engine",
                rooms=(gke_room(pool.machine.vcpus, pool.machine.memory_gib, (*gke_daemons(cluster, gpus=True), *others)),),
                disk=None if pool.ssds else gke_disk_gib(pool.disk.size, pool.os),
                **_of(pool, cluster.node_count(pool)),
            )
            for pool in cluster.gpu_pools
        )
    if not isinstance(cluster, EksClusterSettings):
        return ()

    def rooms(*machines: catalogue.Machine) -> tuple[Room, ...]:
        return tuple(eks_room(entry.vcpus, entry.memory_gib, entry.name, (*eks_daemons(cluster), *others)) for entry in machines)

    groups = (
        PoolCapacity(
            labels=pool.node_labels,
            rooms=rooms(pool.machine),
            disk=pool.disk.requestable_gib,
            **_of(pool, pool.max * (_zone_count(pool, cluster) if pool.per_zone else 1)),
        )
        for pool in cluster.gpu_pools
    )
    started = (
        PoolCapacity(
            name=pool.name,
            labels={naming.POOL_LABEL: pool.name, catalogue.PRESENT_LABEL: "true", **pool.labels},
            resource=catalogue.RESOURCE,
            per_pod=max(machine.gpus for machine in pool.machines),
            units=pool.max_gpus,
            machines=pool.machines,
            rooms=rooms(*pool.machines),
            disk=pool.disk.requestable_gib,
            spot="spot" in pool.capacity_types,
        )
        for pool in (autoscaler.pools if autoscaler.kind == "karpenter" else ())
    )
    return (*groups, *started)


def _of(pool: Any, nodes: int) -> dict[str, Any]:
    """Return what a node group of EKS and a node pool of GKE have in common. ``nodes``: its most nodes, over all zones."""
    return {
        "name": pool.name,
        "resource": pool.offer.resource,
        "per_pod": pool.offer.per_pod,
        "units": nodes * pool.offer.per_node,
        "machines": (pool.machine,),
        "nodes": nodes,
        "shared": pool.sharing.kind in {"timeSlicing", "mps"},
        "sliced": pool.sharing.kind == "mig",
        "mps": pool.sharing.kind == "mps",
        "spot": pool.capacity == "spot",
    }


def _zone_count(pool: GpuPoolSettings, cluster: EksClusterSettings) -> int:
    """Return the number of zones that a pool spans; in an existing network, the number of subnets, whose zones are unknown."""
    network = cluster.network
    if pool.zones is not None:
        return len(pool.zones)
    if network.kind == "existing":
        return len(network.private_subnet_ids)
    return network.zone_count if network.zones is None else len(network.zones)


def eligible_pools(entry: ServingSettings, pools: Sequence[PoolCapacity]) -> list[PoolCapacity]:
    """Return the pools that a deployment's node selector allows. Labels that no pool sets are ignored: nodes may have others."""
    known = {key for pool in pools for key in pool.labels}
    wanted = {key: value for key, value in entry.node_selector.items() if key in known}
    return [pool for pool in pools if wanted.items() <= pool.labels.items()]


def architectures(entry: ServingSettings, settings: Settings) -> frozenset[str]:
    """Return the architectures of the nodes that a deployment may run on; none without such a node, which `capacity_problems` reports."""
    cluster = settings.cluster
    if isinstance(cluster, ExistingClusterSettings):
        return frozenset()
    if not entry.resources.gpus:
        of = gce_architecture if isinstance(cluster, GkeClusterSettings) else architecture
        return frozenset({of(cluster.cpu_pool.machine_types[0])})
    pools = [pool for pool in eligible_pools(entry, pool_capacities(settings)) if pool.resource == entry.resources.gpu_resource]
    return frozenset(machine.arch for pool in pools for machine in pool.machines)


def capacity_problems(settings: Settings) -> Iterator[Problem]:
    """Yield what could never be scheduled: each single deployment at its maximum, and all deployments together at their minimums.

    Not all together at their maximums: deployments that peak at different times may share a pool.
    """
    cluster, autoscaler = settings.cluster, settings.autoscaler
    if isinstance(cluster, ExistingClusterSettings):
        return
    if isinstance(cluster, EksClusterSettings):
        yield from _eks_problems(cluster, autoscaler)
    pools = pool_capacities(settings)
    read: tuple[FieldPath, ...] = (("cluster", "gpu_pools"), *((("autoscaler",),) if autoscaler.kind == "karpenter" else ()))
    yield from _cpu_problems(settings, cluster)
    for index, entry in enumerate(settings.serving):
        if entry.resources.gpus:
            yield from _placement_problems(index, entry, pools, read)
    yield from _minima_problems(settings.serving, pools, read)
    for index, floor in enumerate(settings.warm_floor):
        yield from _floor_problems(index, floor, pools, read)


def _cpu_problems(settings: Settings, cluster: EksClusterSettings | GkeClusterSettings) -> Iterator[Problem]:
    """Yield pools without GPUs whose nodes are too small for the add-ons, and deployments without GPUs that fit on no node."""
    rooms: list[tuple[str, Room]] = []
    for index, name in enumerate(cluster.cpu_pool.machine_types):
        sidecar, gke = _sidecar(settings), isinstance(cluster, GkeClusterSettings)
        size = gce_size(name) if gke else ec2_size(name)
        if size is None:
            return  # a family whose sizes are not known
        if isinstance(cluster, GkeClusterSettings):
            room = gke_room(*size, (*gke_daemons(cluster, gpus=False), *sidecar))
        else:
            room = eks_room(*size, name, (*eks_daemons(cluster), *sidecar))
        rooms.append((name, room))
        if room.memory < _LEAST_MEMORY:
            text = (
                f"({name}) has {room} for pods, and Prometheus and the autoscaler need 1 GiB each: they would be killed or stay pending. "
            )
            yield Problem(at=("cluster", "cpu_pool", "machine_types", index), text=f"{text}Choose one with 4 GiB or more.")
    if any(not pool.taint for pool in cluster.gpu_pools):
        return  # pods without a GPU may run there too
    pods: list[tuple[FieldPath, ResourceSettings | ClientSettings]] = [
        (("serving", index, "resources"), entry.resources) for index, entry in enumerate(settings.serving) if not entry.resources.gpus
    ]
    if settings.client.enabled:
        pods.append((("client",), settings.client))
    for at, pod in pods:
        if not any(_holds(room, pod) for _, room in rooms):
            name, room = max(rooms, key=lambda found: found[1])
            text = (
                f"requests {pod.cpu} CPU and {pod.memory}, but {name} has {room} for pods: {_PENDING}. "
                "Lower them, or choose a larger machine type in cluster.cpuPool."
            )
            yield Problem(at=at, text=text, also=(("cluster", "cpu_pool"),))


def _eks_problems(cluster: EksClusterSettings, autoscaler: AutoscalerSettings) -> Iterator[Problem]:
    for index, pool in enumerate(cluster.gpu_pools):
        if autoscaler.kind in {"none", "karpenter"} and (pool.desired or pool.min) == 0:
            hint = "set an autoscaler" if autoscaler.kind == "none" else "move it to autoscaler.pools: Karpenter does not scale node groups"
            text = f"has min and desired 0 and autoscaler.kind is {autoscaler.kind}: it would never have a node. Raise min, or {hint}."
            yield Problem(at=("cluster", "gpu_pools", index), text=text, also=(("autoscaler",),))
    if autoscaler.kind != "karpenter":
        return
    kind: FieldPath = ("autoscaler", "kind")
    if (cluster.cpu_pool.desired or cluster.cpu_pool.min) < _KARPENTER_REPLICAS:
        text = (
            f"({cluster.cpu_pool.min}) leaves one node for Karpenter's two replicas, which never share one: its release would time out. "
            "Set it to 2."
        )
        yield Problem(at=("cluster", "cpu_pool", "min"), text=text, also=(kind, ("cluster", "cpu_pool")))
    if len(cluster.name) > _MAX_QUEUE_NAME:
        text = f"has {len(cluster.name)} characters: Karpenter's queue has this name, and SQS allows {_MAX_QUEUE_NAME}. Shorten it."
        yield Problem(at=("cluster", "name"), text=text, also=(kind,))
    taken = {"cpu", *(group.name for group in cluster.gpu_pools)}
    for index, started in enumerate(autoscaler.pools):
        if started.name in taken:
            text = f"({started.name}) is also the name of a node group's pool: pods for one would run on the other. Choose another name."
            yield Problem(at=("autoscaler", "pools", index, "name"), text=text, also=(("cluster", "gpu_pools"),))


def _placement_problems(
    index: int, entry: ServingSettings, pools: Sequence[PoolCapacity], read: tuple[FieldPath, ...]
) -> Iterator[Problem]:
    """Yield why one deployment on GPUs can't be placed. ``read``: the settings that ``pools`` come from."""
    resources, at = entry.resources, ("serving", index)
    eligible = eligible_pools(entry, pools)
    matching = [pool for pool in eligible if pool.resource == resources.gpu_resource]
    fitting = [pool for pool in matching if pool.fits(entry)]
    per_pod = max((pool.per_pod for pool in matching), default=0)
    key: tuple[str, ...]
    if not pools:
        key = ("resources", "gpus")
        text = f"({resources.gpus}) needs a GPU node and cluster.gpuPools has none: {_PENDING}. Add a pool, or set it to 0 to serve on CPU."
    elif not eligible:
        key, text = ("node_selector",), f"matches no GPU pool: {_PENDING}. Correct a label."
    elif not matching:
        available = ", ".join(sorted({pool.resource for pool in eligible}))
        key = ("resources", "gpu_resource")
        text = f"({resources.gpu_resource}) is in no pool: {_PENDING}. Choose one of {available}."
    elif entry.mps is None and len({pool.mps for pool in matching}) > 1:
        key, text = ("node_selector",), "allows pools with and without MPS, whose pods differ: those on one would not start. Choose a pool."
    elif resources.gpus > per_pod:
        why = "a second share is not a second GPU" if any(pool.shared for pool in matching) else "a pod can't span nodes"
        key = ("resources", "gpus")
        text = f"({resources.gpus}) is more than the {per_pod} that a pod can have: {why}. Lower it, or choose a larger machine type."
    elif not fitting:
        room, name = max((room, machine.name) for pool in matching for machine, room in zip(pool.machines, pool.rooms, strict=True))
        key = ("resources",)
        text = (
            f"requests {resources.cpu} CPU and {resources.memory}, but {name} has {room} for pods: {_PENDING}. "
            "Lower them, or choose a larger machine type."
        )
    elif text_of_disk := disk_problem(entry, entry.prefetch.volume.size, fitting):
        key, text = ("prefetch", "volume", "size"), text_of_disk
    else:
        yield from _limit_problems(at, entry, fitting, read)
        return
    yield Problem(at=(*at, *key), text=text, also=read)


def _limit_problems(
    at: tuple[str, int], entry: ServingSettings, pools: Sequence[PoolCapacity], read: tuple[FieldPath, ...]
) -> Iterator[Problem]:
    resources, replicas = entry.resources, entry.scaling.max_replicas
    drain = entry.drain.pre_stop + entry.drain.exit_timeout  # not the margin: by then no request is in flight
    if drain > _SPOT_NOTICE_S and any(pool.spot for pool in pools):
        text = (
            f"takes {drain:g} s (preStop and exitTimeout), and spot nodes are reclaimed {_SPOT_NOTICE_S} s after their "
            "warning: requests would be cut off. Shorten one of them, or avoid spot pools with nodeSelector."
        )
        yield Problem(at=(*at, "drain"), text=text, also=read)
    most, run = sum(pool.holds(resources.gpus) for pool in pools), sum(pool.runs(resources) for pool in pools)
    if run < replicas <= most:
        text = (
            f"({replicas}) is above the {run} pods of {resources.cpu} CPU and {resources.memory} that the pools have room for: the rest "
            "would stay pending although GPUs are free. Lower resources.cpu or memory, choose a larger machine type, or raise "
            f"{_limits(pools)} of a pool."
        )
        yield Problem(at=(*at, "scaling", "max_replicas"), text=text, also=(*read, (*at, "resources")), fatal=False)
    elif replicas <= run < replicas + entry.rollout.max_surge and not entry.rollout.max_unavailable:
        text = (
            f"({replicas}) is all that the pools can hold: a rollout starts another pod before it stops an old one, so at full scale it "
            f"waits until its deadline and fails. Lower it, raise {_limits(pools)} of a pool, or set rollout.maxSurge to 0 and "
            "rollout.maxUnavailable to 1."
        )
        yield Problem(at=(*at, "scaling", "max_replicas"), text=text, also=read, fatal=False)
    if replicas > most:
        text = (
            f"({replicas}) with {resources.gpus} {resources.gpu_resource} each is above the {most} that the pools can hold: the rest would "
            f"stay pending. Lower it, or raise {_limits(pools)} of a pool."
        )
        yield Problem(at=(*at, "scaling", "max_replicas"), text=text, also=(*read, (*at, "resources", "gpus")))


def disk_problem(entry: ServingSettings, size: str | None, pools: Sequence[PoolCapacity]) -> str | None:
    """Return why a copy of the models of ``size`` fits on no node's disk; None if it does, or needs none."""
    if not entry.prefetch.enabled or size is None or entry.prefetch.volume.storage_class is not None:
        return None
    if not pools or any(pool.disk is None or float(quantity_value(size)) <= pool.disk * (1 << 30) for pool in pools):
        return None
    most = max(pool.disk or 0 for pool in pools)
    return f"({size}) is more than the {most:.0f}Gi of a node's disk that pods can request: {_PENDING}. Raise disk.size of a pool."


def _limits(pools: Iterable[PoolCapacity]) -> str:
    """Return the keys of the settings that limit the pools."""
    return " or ".join(dict.fromkeys(pool.limit for pool in pools))


def _minima_problems(serving: Sequence[ServingSettings], pools: Sequence[PoolCapacity], read: tuple[FieldPath, ...]) -> Iterator[Problem]:
    for resource in sorted({pool.resource for pool in pools}):
        entries = [entry for entry in serving if entry.resources.gpus and entry.resources.gpu_resource == resource]
        asked = sum(entry.scaling.min_replicas * entry.resources.gpus for entry in entries)
        found = [pool for pool in pools if pool.resource == resource]
        most = sum(pool.units for pool in found)
        if len(entries) > 1 and asked > most:
            yield Problem(
                at=("serving",),
                text=f"asks for {asked} {resource} at its minReplicas together, and the pools can have {most} at most: some pods would "
                f"stay pending. Lower a minReplicas, or raise {_limits(found)} of a pool.",
                also=read,
            )


def _floor_problems(index: int, floor: WarmFloorSettings, pools: Sequence[PoolCapacity], read: tuple[FieldPath, ...]) -> Iterator[Problem]:
    at, pool = ("warm_floor", index), next((pool for pool in pools if pool.name == floor.pool), None)
    if pool is None:
        available = ", ".join(pool.name for pool in pools) or "none"
        text = f"({floor.pool}) is not a pool of cluster.gpuPools: nothing could be kept warm. Pools: {available}."
        yield Problem(at=(*at, "pool"), text=text, also=read)
        return
    if pool.spot:
        text = (
            f"({floor.pool}) is a spot pool: {pool.cloud} reclaims spot nodes when demand is high, which is when a floor is needed. "
            "Keep the floor in a pool with capacity onDemand."
        )
        yield Problem(at=(*at, "pool"), text=text, also=read)
    if floor.pods > pool.units:
        text = f"({floor.pods}) is above the {pool.units} that pool {pool.name} can hold: the rest would stay pending. Lower it or raise "
        yield Problem(at=(*at, "pods"), text=f"{text}{pool.limit}.", also=read)
