"""Settings of a GKE cluster of the stack's own: where it is, its network, control plane, identities and upgrades.

Keys are EKS' own wherever the thing is the same. Nodes are in `gke_pools.py`, the network in `gke_network.py`; what other sections have
against a GKE cluster is in `gke_stack.py`.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Model
from components.base.pools import pool_name_problems
from components.base.registry import ImageRepositorySettings
from components.gke.settings.maintenance import MaintenanceSettings
from components.gke.settings.network import CreatedGcpNetworkSettings, GcpNetworkSettings, GkeEndpointSettings, Project
from components.gke.settings.node_pools import GcpZone, GkeCpuPoolSettings, GkeGpuPoolSettings

_REGION: Final = re.compile(r"^[a-z]+-[a-z]+\d+\Z")
_ZONE: Final = re.compile(r"^[a-z]+-[a-z]+\d+-[a-z]\Z")
_AWS_REGION: Final = re.compile(r"^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d[a-z]?\Z")
_CLUSTER_NAME: Final = re.compile(r"^[a-z]([a-z0-9-]{0,38}[a-z0-9])?\Z")
_VERSION: Final = re.compile(r"^1\.\d{2}(\.\d+(-gke\.\d+)?)?\Z")
_KMS_KEY: Final = re.compile(r"^projects/[^/]+/locations/(?P<location>[^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+\Z")
_ADMIN: Final = re.compile(r"^(user|group|serviceAccount):[^@:\s]+@[^@:\s]+\.[^@:\s]+\Z")
_TAG_KEY: Final = re.compile(r"^[a-z][a-z0-9_-]{0,62}\Z")
_TAG_VALUE: Final = re.compile(r"^[a-z0-9_-]{0,63}\Z")
_ROLE: Final = re.compile(r"^(roles/[A-Za-z.]+|(projects|organizations)/[^/]+/roles/[A-Za-z0-9_.]+)\Z")
_LEAST_PODS, _MOST_PODS = 8, 256


def _check_region(value: str) -> str:
    if _REGION.match(value) is None:
        if _ZONE.match(value):
            raise ValueError(f"is a zone: subnets are in regions. Write {value[:-2]}, and zone: {value} for a cluster in that zone.")
        other = " That is a name of AWS'." if _AWS_REGION.match(value) else ""
        raise ValueError(f"is no region of Google Cloud: nothing could be made there.{other} Write one like us-central1.")
    return value


def _matching(pattern: re.Pattern[str], text: str) -> AfterValidator:
    def check(value: str) -> str:
        if pattern.match(value) is None:
            raise ValueError(text)
        return value

    return AfterValidator(check)


GcpRegion = Annotated[str, AfterValidator(_check_region)]
"""Name of a region of Google Cloud."""
Version = Annotated[
    str, _matching(_VERSION, "is no Kubernetes version of GKE: the cluster would be refused. Write one like 1.35, or leave it out.")
]
KmsKey = Annotated[
    str,
    _matching(_KMS_KEY, "is no key of Cloud KMS: Google would refuse it. Write projects/P/locations/L/keyRings/R/cryptoKeys/K."),
]


def _check_secrets_key(value: str) -> str:
    if value not in {"create", "none"} and _KMS_KEY.match(value) is None:
        raise ValueError(
            "is neither create nor none nor a key of Cloud KMS: Google would refuse it. "
            "Write projects/P/locations/L/keyRings/R/cryptoKeys/K."
        )
    return value


LogComponent = Literal["system", "workloads", "api", "scheduler", "controllerManager"]
MonitoringComponent = Literal[
    "system", "api", "scheduler", "controllerManager", "storage", "hpa", "pod", "daemonset", "deployment", "statefulset", "cadvisor",
    "kubelet", "dcgm",
]  # fmt: skip


class GkeClusterSettings(Model):
    """A GKE cluster of the stack's own, with its network, nodes and identities."""

    provider: Literal["gke"]
    """Kind of cluster; ``gke`` is one on Google Kubernetes Engine that the stack makes."""
    name: Annotated[
        str,
        _matching(
            _CLUSTER_NAME,
            "is no GKE cluster name: GKE would refuse it. Use 1 to 40 lower-case letters, digits and hyphens, a letter first and no hyphen "
            "last.",
        ),
    ] = "triton-fleet"
    """Name of the cluster."""
    project: Project
    """Id of the Google Cloud project of everything."""
    region: GcpRegion
    """Region of everything."""
    zone: GcpZone | None = None
    """Zone of the control plane: a zonal cluster, cheaper, whose API is away while it is upgraded. None: a regional one."""
    enable_apis: bool = True
    """Whether the stack switches on the APIs of Google's that it uses. They stay on after a destroy: others may use them."""
    version: Version | None = None
    """Least Kubernetes version of the control plane, in quotes, such as ``1.35`` or ``1.35.1-gke.1000``; None: the channel's default. The
    channel upgrades it."""
    release_channel: Literal["rapid", "regular", "stable", "extended"] = "regular"
    """Who chooses versions: ``rapid`` has new ones first, ``stable`` last, ``extended`` keeps a minor version for 24 months at a price."""
    network: GcpNetworkSettings = CreatedGcpNetworkSettings(kind="create")
    """The VPC."""
    pods_per_node: int = Field(default=64, ge=_LEAST_PODS, le=_MOST_PODS)
    """Most pods of a node: it gets twice as many addresses of the pods' range, rounded up to a power of two."""
    endpoint: GkeEndpointSettings
    """The Kubernetes API's addresses."""
    admins: tuple[
        Annotated[
            str,
            _matching(
                _ADMIN, "is no member: it could not administer anything. Write user:someone@example.com, group:.. or serviceAccount:.."
            ),
        ],
        ...,
    ] = ()
    """Who administers the cluster besides the one that makes it, as IAM writes members (``user:someone@example.com``): a ClusterRoleBinding
    to cluster-admin."""
    security_group: str | None = Field(default=None, pattern=r"^gke-security-groups@[^@\s]+\.[^@\s]+$")
    """Google group ``gke-security-groups@DOMAIN`` that holds the groups named in RBAC; needed for ``group:`` in ``admins``."""
    secrets_key: Annotated[str, AfterValidator(_check_secrets_key)] = "create"
    """Cloud KMS key that Kubernetes Secrets are encrypted with: ``create`` makes one, ``none`` leaves it to Google's own key. A key ring
    can't be deleted: an empty one stays after a destroy."""
    disk_key: KmsKey | None = None
    """Cloud KMS key of the nodes' disks; Compute Engine's service agent must be allowed to use it. None: Google's own key."""
    dataplane_v2: bool = True
    """Whether networking is Dataplane V2 (eBPF, enforces NetworkPolicy). Changing it replaces the cluster."""
    autoscaling_profile: Literal["balanced", "optimizeUtilization"] = "balanced"
    """How soon GKE takes empty nodes away; ``optimizeUtilization`` sooner, and pods are packed tighter."""
    logs: tuple[LogComponent, ...] = ("system", "workloads")
    """What goes to Cloud Logging."""
    monitoring: tuple[MonitoringComponent, ...] = ("system",)
    """What goes to Cloud Monitoring. ``system`` has the GPUs' duty cycle; ``dcgm`` runs an exporter of GKE's own."""
    managed_prometheus: bool = False
    """Whether Google's Managed Prometheus runs beside the stack's own."""
    maintenance: MaintenanceSettings | None = None
    """When GKE may upgrade; None: at any time."""
    deletion_protection: bool = False
    """True: neither cluster nor pools can be deleted until an `up` with False."""
    cpu_pool: GkeCpuPoolSettings = GkeCpuPoolSettings()
    """The nodes without GPUs."""
    gpu_pools: tuple[GkeGpuPoolSettings, ...] = ()
    """The GPU nodes; none for a stack on CPU."""
    gpu_quota: dict[str, int] = Field(default_factory=dict)
    """GPUs that the project's quota allows, where they are to be held against the pools: accelerator type or ``all`` -> number."""
    node_roles: tuple[
        Annotated[str, _matching(_ROLE, "is no role: IAM would refuse it. Write one like roles/artifactregistry.reader.")], ...
    ] = ()
    """Further roles of the nodes' service account in the project, besides GKE's least."""
    identity: Literal["serviceAccount", "principal"] = "serviceAccount"
    """How Triton's Kubernetes service account reads the bucket without a key: as a Google service account that it may act as, or as itself
    (``principal://..``), which nobody has borne out for Triton's client yet."""
    image_repository: ImageRepositorySettings | None = None
    """An Artifact Registry repository for Triton images of one's own; None: none is made."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Labels of everything in Google Cloud that takes some: lower-case letters, digits, hyphens and underscores."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*self._names(), *self._zones(), *self._keys(), *self._tags(), *self._admins(), *self._quota(), *self._addresses()]
        if problems:
            raise FleetError(*problems)
        return self

    @property
    def location(self) -> str:
        """Where the control plane is: the zone of a zonal cluster, else the region."""
        return self.zone or self.region

    @property
    def zone_names(self) -> tuple[str, ...] | None:
        """Zones of the nodes; None where they are the first of the region's, which Google alone knows."""
        if self.network.zones is not None:
            return self.network.zones
        return None if self.zone is None else (self.zone,)

    def zones_of(self, zones: tuple[str, ...] | None) -> int:
        """Count the zones that a pool spans whose own are ``zones``."""
        return len(zones or self.zone_names or range(self.network.zone_count))

    def node_count(self, pool: GkeGpuPoolSettings) -> int:
        """Most nodes that a pool can have, over all its zones."""
        return pool.max * (self.zones_of(pool.zones) if pool.per_zone else 1)

    def _names(self) -> list[Problem]:
        return pool_name_problems([pool.name for pool in self.gpu_pools])

    def _zones(self) -> list[Problem]:
        problems: list[Problem] = []
        if self.zone is not None and not _in(self.zone, self.region):
            text = f"({self.zone}) is not in {self.region}: the cluster would be refused. Name a zone of the region."
            problems.append(Problem(at=("zone",), text=text, also=(("region",),)))
        for zone in self.network.zones or ():
            if not _in(zone, self.region):
                text = f"names {zone}, which is not in {self.region}: its nodes could not be made. Name zones of the region."
                problems.append(Problem(at=("network", "zones"), text=text, also=(("region",),)))
        if self.network.zones is not None and len(set(self.network.zones)) != len(self.network.zones):
            text = "names a zone twice: GKE would refuse the cluster. Name each once."
            problems.append(Problem(at=("network", "zones"), text=text))
        if self.zone is not None and self.network.zones is not None and self.zone not in self.network.zones:
            text = f"is without the cluster's own zone ({self.zone}), where GKE starts nodes in any case. Add it."
            problems.append(Problem(at=("network", "zones"), text=text, also=(("zone",),)))
        for index, pool in enumerate(self.gpu_pools):
            for zone in pool.zones or ():
                if not _in(zone, self.region):
                    text = f"names {zone}, which is not in {self.region}: its nodes could not be made. Name zones of the region."
                    problems.append(Problem(at=("gpu_pools", index, "zones"), text=text, also=(("region",),)))
        return problems

    def _keys(self) -> list[Problem]:
        problems = []
        for field, key in (("secrets_key", self.secrets_key), ("disk_key", self.disk_key)):
            match = None if key is None else _KMS_KEY.match(key)
            if match is not None and match["location"] != self.region:
                text = f"is a key of {match['location']}: GKE takes one of {self.region}. Name one of the region."
                problems.append(Problem(at=(field,), text=text, also=(("region",),)))
        return problems

    def _tags(self) -> list[Problem]:
        return [
            Problem(
                at=("tags",),
                text=f"has {key}: {value}, which is no label of Google's: everything that carries it would be refused. Use lower-case "
                "letters, digits, hyphens and underscores, in the key a letter first.",
            )
            for key, value in self.tags.items()
            if _TAG_KEY.match(key) is None or _TAG_VALUE.match(value) is None
        ]

    def _admins(self) -> list[Problem]:
        problems = []
        twice = sorted({member for member in self.admins if self.admins.count(member) > 1})
        if twice:
            problems.append(Problem(at=("admins",), text=f"names {', '.join(twice)} twice: once is enough. Name it once."))
        groups = [member for member in self.admins if member.startswith("group:")]
        if groups and self.security_group is None:
            text = f"names {groups[0]}, and GKE knows groups only below gke-security-groups@DOMAIN: it could do nothing. Set securityGroup."
            problems.append(Problem(at=("admins",), text=text, also=(("security_group",),)))
        return problems

    def _quota(self) -> list[Problem]:
        asked: dict[str, int] = {}
        for pool in self.gpu_pools:
            most = self.node_count(pool) * pool.machine.gpus
            for key in (pool.machine.gpu.accelerator, "all"):
                asked[key] = asked.get(key, 0) + most
        return [
            Problem(
                at=("gpu_quota",),
                text=f"has {limit} of {key}, and the pools together may grow to {asked[key]}: the rest would wait for ever. Ask for more "
                "quota, or lower max of a pool.",
                also=(("gpu_pools",),),
            )
            for key, limit in self.gpu_quota.items()
            if asked.get(key, 0) > limit
        ]

    def _addresses(self) -> list[Problem]:
        """Nodes for which the pods' range has room: beyond it, new nodes fail for want of addresses."""
        if not isinstance(self.network, CreatedGcpNetworkSettings):
            return []
        room = IPv4Network(self.network.cidr).num_addresses // 2 // addresses_per_node(self.pods_per_node)
        most = self.cpu_pool.max + sum(self.node_count(pool) for pool in self.gpu_pools)
        if most <= room:
            return []
        text = (
            f"({self.network.cidr}) has pod addresses for {room} nodes with {self.pods_per_node} pods each, and the pools may grow to "
            f"{most}: the rest would never start. Take a larger network, lower podsPerNode, or lower max of a pool."
        )
        return [Problem(at=("network", "cidr"), text=text, also=(("pods_per_node",), ("cpu_pool",), ("gpu_pools",)))]


def addresses_per_node(pods: int) -> int:
    """Addresses of the pods' range that a node gets: at least twice its pods, a power of two ("Maximum Pods per node")."""
    return 1 << (2 * pods - 1).bit_length()


def _in(zone: str, region: str) -> bool:
    return zone.rpartition("-")[0] == region
