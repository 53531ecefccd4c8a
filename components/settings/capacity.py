"""Whether the pods that a stack asks for have a place on the nodes that it may have: deployments against pools."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from components import naming
from components.cluster import gpu
from components.settings.base import Problem
from components.settings.gke import GkeClusterSettings
from components.settings.gke_pools import GkeGpuPoolSettings

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from components.settings.addons import AutoscalerSettings, WarmFloorSettings
    from components.settings.cluster import EksClusterSettings, GpuPoolSettings
    from components.settings.serving import ServingSettings

    Cluster: TypeAlias = EksClusterSettings | GkeClusterSettings
    Pool: TypeAlias = GpuPoolSettings | GkeGpuPoolSettings

_UNITS: Final = {
    unit: Decimal(factor) for unit, factor in {"m": "0.001", "": "1", "k": "1e3", "M": "1e6", "G": "1e9", "T": "1e12"}.items()
} | {f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGT", start=1)}


def capacity_problems(
    cluster: Cluster,
    serving: Sequence[ServingSettings],
    autoscaler: AutoscalerSettings,
    warm_floor: Sequence[WarmFloorSettings],
) -> Iterator[Problem]:
    """Yield what could never be scheduled: one deployment at its maximum by itself, and the minima of all together.

    Not the maxima of all together: deployments that peak at different times share a pool on purpose. Where Karpenter starts nodes, its own
    limits bound it and nothing is said about GPUs here.
    """
    if autoscaler.kind == "none" and not isinstance(cluster, GkeClusterSettings):
        for index, pool in enumerate(cluster.gpu_pools):
            if (pool.desired or pool.min) == 0:
                yield Problem(
                    at=("cluster", "gpu_pools", index),
                    text="has min and desired 0 and autoscaler.kind is none: it would never have a node. Raise min or set an autoscaler.",
                    also=(("autoscaler",),),
                )
    if autoscaler.kind == "karpenter":
        text = "is karpenter, whose role and queue this version makes on no cluster: it could start nothing. Choose clusterAutoscaler."
        yield Problem(at=("autoscaler", "kind"), text=text)
    else:
        for index, entry in enumerate(serving):
            if entry.resources.gpus:
                yield from _one(index, entry, cluster)
        yield from _together(cluster, serving)
        for index, floor in enumerate(warm_floor):
            yield from _floor(index, floor, cluster)


def _floor(index: int, floor: WarmFloorSettings, cluster: Cluster) -> Iterator[Problem]:
    read = (("cluster", "gpu_pools"),)
    pool = next((pool for pool in cluster.gpu_pools if pool.name == floor.pool), None)
    if pool is None:
        there = ", ".join(pool.name for pool in cluster.gpu_pools) or "none"
        text = f"({floor.pool}) is no pool of cluster.gpuPools: nothing could be kept warm. There: {there}."
        yield Problem(at=("warm_floor", index, "pool"), text=text, also=read)
        return
    if pool.capacity == "spot":
        cloud = "Compute Engine" if isinstance(pool, GkeGpuPoolSettings) else "EC2"
        text = (
            f"({floor.pool}) is a spot pool: {cloud} takes spot nodes back when everybody wants them, which is when a floor is needed. "
            "Keep the floor in a pool with capacity onDemand."
        )
        yield Problem(at=("warm_floor", index, "pool"), text=text, also=read)
    room = node_count(pool, cluster) * offer_of(pool).per_node
    if floor.pods > room:
        text = (
            f"({floor.pods}) is above the {room} that pool {pool.name} can ever hold: the rest would wait for ever. Lower it or raise max."
        )
        yield Problem(at=("warm_floor", index, "pods"), text=text, also=read)


def node_count(pool: Pool, cluster: Cluster) -> int:
    """Most nodes that a pool can have, over all its zones."""
    return pool.max * (zones_of(pool, cluster) if pool.per_zone else 1)


def offer_of(pool: Pool) -> gpu.Offer:
    """What pods find on a node of the pool."""
    return pool.offer if isinstance(pool, GkeGpuPoolSettings) else gpu.offer(pool.machine, pool.shared)


def zones_of(pool: Pool, cluster: Cluster) -> int:
    """Number of zones that a pool spans. At least 2 where the network's subnets are not told apart by zone."""
    if isinstance(cluster, GkeClusterSettings):
        return cluster.zones_of(pool.zones)
    if pool.zones is not None:
        return len(pool.zones)
    network = cluster.network
    if network.kind == "existing":
        return len(network.private_subnet_ids)
    return network.zone_count if network.zones is None else len(network.zones)


def _labels(pool: Pool) -> dict[str, str]:
    if isinstance(pool, GkeGpuPoolSettings):
        return pool.node_labels
    return {
        naming.POOL_LABEL: pool.name,
        gpu.PRESENT_LABEL: "true",
        "k8s.amazonaws.com/accelerator": pool.machine.gpu.accelerator,
        **pool.labels,
    }


def _eligible(entry: ServingSettings, cluster: Cluster) -> list[Pool]:
    """Pools whose labels a deployment's node selector allows. Labels that nodes get from elsewhere are not held against them."""
    ours = {key for pool in cluster.gpu_pools for key in _labels(pool)}
    wanted = {key: value for key, value in entry.node_selector.items() if key in ours}
    return [pool for pool in cluster.gpu_pools if wanted.items() <= _labels(pool).items()]


def _one(index: int, entry: ServingSettings, cluster: Cluster) -> Iterator[Problem]:
    resources, scaling = entry.resources, entry.scaling
    at = ("serving", index)
    read = (("cluster", "gpu_pools"),)
    if not cluster.gpu_pools:
        yield Problem(
            at=(*at, "resources", "gpus"),
            text=f"({resources.gpus}) needs a GPU node and cluster.gpuPools has none: the pods would wait for ever. "
            "Add a pool, or set it to 0 to serve on CPU.",
            also=read,
        )
        return
    eligible = _eligible(entry, cluster)
    if not eligible:
        yield Problem(at=(*at, "node_selector"), text="matches no GPU pool: the pods would wait for ever. Correct a label.", also=read)
        return
    offers = {pool.name: offer_of(pool) for pool in eligible}
    of_kind = [pool for pool in eligible if offers[pool.name].resource == resources.gpu_resource]
    if not of_kind:
        there = ", ".join(sorted({found.resource for found in offers.values()}))
        yield Problem(
            at=(*at, "resources", "gpu_resource"),
            text=f"({resources.gpu_resource}) is in no pool: the pods would wait for ever. There: {there}.",
            also=read,
        )
        return
    per_pod = max(offers[pool.name].per_pod for pool in of_kind)
    if resources.gpus > per_pod:
        shared = any(pool.sharing.kind in {"timeSlicing", "mps"} for pool in of_kind)
        why = "a second share of a GPU is no second GPU" if shared else "a pod can't span nodes"
        yield Problem(
            at=(*at, "resources", "gpus"),
            text=f"({resources.gpus}) is more than the {per_pod} that a pod can have: {why}. Lower it, or take a larger machine type.",
            also=read,
        )
        return
    fitting = [pool for pool in of_kind if _fits(entry, pool)]
    if not fitting:
        largest = max(of_kind, key=lambda pool: pool.machine.vcpus).machine
        yield Problem(
            at=(*at, "resources"),
            text=f"asks for {resources.cpu} CPU and {resources.memory} beside the GPU, and {largest.name} has {largest.vcpus} vCPU and "
            f"{largest.memory_gib}Gi: the pods would wait for ever. Lower them, or take a larger machine type.",
            also=read,
        )
        return
    most = sum(gpu.pods(pool.machine, pool.shared, nodes=node_count(pool, cluster), each=resources.gpus) for pool in fitting)
    if scaling.max_replicas > most:
        yield Problem(
            at=(*at, "scaling", "max_replicas"),
            text=f"({scaling.max_replicas}) with {resources.gpus} {resources.gpu_resource} each is above the {most} that the pools can "
            "ever hold: the rest would wait for ever. Lower it, or raise max of a pool.",
            also=(*read, (*at, "resources", "gpus")),
        )


def _fits(entry: ServingSettings, pool: Pool) -> bool:
    machine = pool.machine
    return _number(entry.resources.cpu) < machine.vcpus and _number(entry.resources.memory) < machine.memory_gib * _UNITS["Gi"]


def _number(quantity: str) -> Decimal:
    unit = quantity.lstrip("0123456789.")
    return Decimal(quantity.removesuffix(unit)) * _UNITS[unit]


def _together(cluster: Cluster, serving: Sequence[ServingSettings]) -> Iterator[Problem]:
    """All deployments at their minimum, against all that the pools have of each resource."""
    offers = [(pool, offer_of(pool)) for pool in cluster.gpu_pools]
    for resource in sorted({found.resource for _, found in offers}):
        entries = [entry for entry in serving if entry.resources.gpus and entry.resources.gpu_resource == resource]
        asked = sum(entry.scaling.min_replicas * entry.resources.gpus for entry in entries)
        there = sum(node_count(pool, cluster) * found.per_node for pool, found in offers if found.resource == resource)
        if len(entries) > 1 and asked > there:
            yield Problem(
                at=("serving",),
                text=f"asks for {asked} {resource} at its minReplicas together, and the pools can have {there} at most: some of them would "
                "wait for ever. Lower a minReplicas, or raise max of a pool.",
                also=(("cluster", "gpu_pools"),),
            )
