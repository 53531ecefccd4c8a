"""Whether the pods that a stack asks for fit on the nodes that it can have: deployments against GPU pools."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.base import naming
from components.base.errors import Problem
from components.base.quantities import UNITS, quantity_value
from components.eks.settings.node_groups import architecture
from components.gke.settings.cluster import GkeClusterSettings
from components.gke.settings.node_pools import gce_architecture
from components.gpu import catalogue
from components.gpu.sharing import offer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from components.base.errors import FieldPath
    from components.eks.settings.addons import AutoscalerSettings
    from components.eks.settings.cluster import EksClusterSettings
    from components.eks.settings.node_groups import GpuPoolSettings
    from components.gpu.settings import WarmFloorSettings
    from components.serving.settings import ServingSettings

    Cluster: TypeAlias = EksClusterSettings | GkeClusterSettings

_MAX_QUEUE_NAME: Final = 80
"""Characters of an SQS queue's name. Karpenter's queue has the cluster's name."""
_KARPENTER_REPLICAS: Final = 2
_SPOT_NOTICE_S: Final = 120
"""How long EC2 warns before it reclaims a spot node."""
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
    nodes: int | None = None
    """Most nodes, each with an equal share of ``units``; None if nodes differ and only ``units`` limits them."""
    shared: bool = False
    """Whether pods share each GPU (time-slicing or MPS)."""
    sliced: bool = False
    """Whether each GPU is split into MIG slices."""
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

    def fits(self, entry: ServingSettings) -> bool:
        """Whether one of the machine types has the CPU and memory that a pod needs."""
        cpu, memory = quantity_value(entry.resources.cpu), quantity_value(entry.resources.memory)
        return any(
            entry.resources.gpus <= (machine.gpus if self.nodes is None else self.per_pod)
            and cpu < machine.vcpus
            and memory < machine.memory_gib * UNITS["Gi"]
            for machine in self.machines
        )


def pool_capacities(cluster: Cluster, autoscaler: AutoscalerSettings) -> tuple[PoolCapacity, ...]:
    """Return all GPU pools of a cluster: node groups or node pools, and what Karpenter may start."""
    if isinstance(cluster, GkeClusterSettings):
        return tuple(
            PoolCapacity(labels=pool.node_labels, cloud="Compute Engine", **_of(pool, pool.offer, cluster.node_count(pool)))
            for pool in cluster.gpu_pools
        )
    groups = (
        PoolCapacity(
            labels={
                naming.POOL_LABEL: pool.name,
                catalogue.PRESENT_LABEL: "true",
                "k8s.amazonaws.com/accelerator": pool.machine.gpu.accelerator,
                **pool.labels,
            },
            **_of(pool, offer(pool.machine, pool.sharing), pool.max * (_zone_count(pool, cluster) if pool.per_zone else 1)),
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
            spot="spot" in pool.capacity_types,
        )
        for pool in (autoscaler.pools if autoscaler.kind == "karpenter" else ())
    )
    return (*groups, *started)


def _of(pool: Any, offered: Any, nodes: int) -> dict[str, Any]:
    """What a node group of EKS and a node pool of GKE have in common. ``nodes``: its most nodes, over all zones."""
    return {
        "name": pool.name,
        "resource": offered.resource,
        "per_pod": offered.per_pod,
        "units": nodes * offered.per_node,
        "machines": (pool.machine,),
        "nodes": nodes,
        "shared": pool.sharing.kind in {"timeSlicing", "mps"},
        "sliced": pool.sharing.kind == "mig",
        "spot": pool.capacity == "spot",
    }


def _zone_count(pool: GpuPoolSettings, cluster: EksClusterSettings) -> int:
    """Zones that a pool spans; in an existing network, whose subnets' zones are unknown, one for each subnet."""
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


def architectures(entry: ServingSettings, cluster: Cluster, autoscaler: AutoscalerSettings) -> frozenset[str]:
    """Return the architectures of the nodes that a deployment may run on; none without such a node, which `capacity_problems` reports."""
    if not entry.resources.gpus:
        of = gce_architecture if isinstance(cluster, GkeClusterSettings) else architecture
        return frozenset({of(cluster.cpu_pool.machine_types[0])})
    pools = [pool for pool in eligible_pools(entry, pool_capacities(cluster, autoscaler)) if pool.resource == entry.resources.gpu_resource]
    return frozenset(machine.arch for pool in pools for machine in pool.machines)


def capacity_problems(
    cluster: Cluster,
    serving: Sequence[ServingSettings],
    autoscaler: AutoscalerSettings,
    warm_floor: Sequence[WarmFloorSettings],
) -> Iterator[Problem]:
    """Yield what could never be scheduled: each single deployment at its maximum, and all deployments together at their minimums.

    Not all together at their maximums: deployments that peak at different times may share a pool.
    """
    if not isinstance(cluster, GkeClusterSettings):
        yield from _eks_problems(cluster, autoscaler)
    pools = pool_capacities(cluster, autoscaler)
    read: tuple[FieldPath, ...] = (("cluster", "gpu_pools"), *((("autoscaler",),) if autoscaler.kind == "karpenter" else ()))
    for index, entry in enumerate(serving):
        if entry.resources.gpus:
            yield from _placement_problems(index, entry, pools, read)
    yield from _minima_problems(serving, pools, read)
    for index, floor in enumerate(warm_floor):
        yield from _floor_problems(index, floor, pools, read)


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
    elif resources.gpus > per_pod:
        why = "a second share is not a second GPU" if any(pool.shared for pool in matching) else "a pod can't span nodes"
        key = ("resources", "gpus")
        text = f"({resources.gpus}) is more than the {per_pod} that a pod can have: {why}. Lower it, or choose a larger machine type."
    elif not fitting:
        largest = max((machine for pool in matching for machine in pool.machines), key=lambda machine: machine.vcpus)
        key = ("resources",)
        text = (
            f"requests {resources.cpu} CPU and {resources.memory}, but {largest.name} has {largest.vcpus} vCPU and "
            f"{largest.memory_gib}Gi: {_PENDING}. Lower them, or choose a larger machine type."
        )
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
    most = sum(pool.holds(resources.gpus) for pool in pools)
    if replicas > most:
        text = (
            f"({replicas}) with {resources.gpus} {resources.gpu_resource} each is above the {most} that the pools can hold: the rest would "
            f"stay pending. Lower it, or raise {_limits(pools)} of a pool."
        )
        yield Problem(at=(*at, "scaling", "max_replicas"), text=text, also=(*read, (*at, "resources", "gpus")))


def _limits(pools: Iterable[PoolCapacity]) -> str:
    """Keys of the settings that limit the pools."""
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
