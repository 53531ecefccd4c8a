"""Settings of a GKE cluster that the stack creates: location, control plane, identities and upgrades.

Keys are the same as EKS' wherever the thing is the same. `stack/rules.py` finds conflicts with other sections.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.base.clusters import ImageRepositorySettings, pool_name_problems
from components.base.errors import Problem
from components.base.model import Model, Project, matching
from components.gke.maintenance import MaintenanceSettings
from components.gke.settings.network import CreatedGcpNetworkSettings, GcpNetworkSettings, GkeEndpointSettings
from components.gke.settings.node_pools import ZONE, GcpZone, GkeCpuPoolSettings, GkeGpuPoolSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGION: Final = re.compile(r"[a-z]+-[a-z]+\d+")
_AWS_REGION: Final = re.compile(r"[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d[a-z]?")
_KMS_KEY: Final = re.compile(r"projects/[^/]+/locations/(?P<location>[^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+")
_KEY_FORM: Final = "Write projects/P/locations/L/keyRings/R/cryptoKeys/K."
_TAG_KEY: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_TAG_VALUE: Final = re.compile(r"[a-z0-9_-]{0,63}")


def _check_region(value: str) -> str:
    if _REGION.fullmatch(value):
        return value
    if re.fullmatch(ZONE, value):
        raise ValueError(f"is a zone: subnets are regional. Write {value[:-2]}, and zone: {value} for a cluster in that zone.")
    aws = " This is an AWS region." if _AWS_REGION.fullmatch(value) else ""
    raise ValueError(f"is not a Google Cloud region: nothing could be created in it.{aws} Write one such as us-central1.")


GcpRegion = Annotated[str, AfterValidator(_check_region)]
"""Name of a Google Cloud region."""
Name = Annotated[
    str,
    matching(
        r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?",
        "is not a GKE cluster name: GKE would reject it. Use 1 to 40 lower-case letters, digits and hyphens; the first must be "
        "a letter, the last not a hyphen.",
    ),
]
Version = Annotated[
    str,
    matching(
        r"1\.\d{2}(\.\d+(-gke\.\d+)?)?",
        "is not a Kubernetes version of GKE: the cluster would be rejected. Write one such as 1.35, or leave it out.",
    ),
]
KmsKey = Annotated[str, matching(_KMS_KEY.pattern, f"is not a Cloud KMS key: Google would reject it. {_KEY_FORM}")]
SecretsKey = Annotated[
    str,
    matching(f"create|none|{_KMS_KEY.pattern}", f"must be create, none or a Cloud KMS key: Google would reject it. {_KEY_FORM}"),
]
Admin = Annotated[
    str,
    matching(
        r"(user|group|serviceAccount):[^@:\s]+@[^@:\s]+\.[^@:\s]+",
        "is not an IAM member: it could not administer anything. Write user:someone@example.com, group:.. or serviceAccount:..",
    ),
]
Role = Annotated[
    str,
    matching(
        r"roles/[A-Za-z.]+|(projects|organizations)/[^/]+/roles/[A-Za-z0-9_.]+",
        "is not a role: IAM would reject it. Write one such as roles/artifactregistry.reader.",
    ),
]
LogComponent = Literal["system", "workloads", "api", "scheduler", "controllerManager"]
MonitoringComponent = Literal[
    "system", "api", "scheduler", "controllerManager", "storage", "hpa", "pod", "daemonset", "deployment", "statefulset", "cadvisor",
    "kubelet", "dcgm",
]  # fmt: skip


class GkeClusterSettings(Model):
    """A GKE cluster that the stack creates, with its network, nodes and identities."""

    provider: Literal["gke"]
    """Kind of cluster: ``gke`` creates one on Google Kubernetes Engine."""
    name: Name = "triton-fleet"
    """Name of the cluster."""
    project: Project
    """Id of the Google Cloud project of everything."""
    region: GcpRegion = Field(examples=["europe-west4"])
    """Region of everything."""
    zone: GcpZone | None = None
    """Zone of the control plane. This makes a zonal cluster: cheaper, but its API is unavailable during upgrades. None: a regional one."""
    enable_apis: bool = True
    """Whether the stack enables the Google APIs that it uses. They stay enabled after a destroy: others may use them."""
    version: Version | None = None
    """Oldest Kubernetes version for the control plane, in quotes, such as ``1.35`` or ``1.35.1-gke.1000``; None: the channel's default. The
    channel upgrades it."""
    release_channel: Literal["rapid", "regular", "stable", "extended"] = "regular"
    """What chooses versions: ``rapid`` gets new ones first, ``stable`` last, ``extended`` keeps a minor version for 24 months at a
    price."""
    network: GcpNetworkSettings = CreatedGcpNetworkSettings(kind="create")
    """The VPC."""
    pods_per_node: int = Field(default=64, ge=8, le=256)
    """Most pods on a node, which gets twice as many addresses of the pods' range, rounded up to a power of two. A change replaces pools."""
    endpoint: GkeEndpointSettings = Field(examples=[{"publicCidrs": ["203.0.113.0/24"]}])
    """Endpoints of the Kubernetes API."""
    admins: tuple[Admin, ...] = ()
    """Administrators besides the creator of the cluster, as IAM members (``user:someone@example.com``): a ClusterRoleBinding to
    cluster-admin."""
    security_group: (
        Annotated[
            str,
            matching(
                r"gke-security-groups@[^@\s]+\.[^@\s]+",
                "is not the group that GKE reads: it would be rejected. Write gke-security-groups@ and your domain.",
            ),
        ]
        | None
    ) = None
    """Google group ``gke-security-groups@DOMAIN`` that contains the groups named in RBAC; required for ``group:`` in ``admins``."""
    secrets_key: SecretsKey = "create"
    """Cloud KMS key that encrypts Kubernetes Secrets: ``create`` creates one, ``none`` leaves it to Google's own key. A key ring can't be
    deleted: an empty one stays after a destroy."""
    disk_key: KmsKey | None = None
    """Cloud KMS key of the nodes' disks; Compute Engine's service agent must be allowed to use it. None: Google's own key. A
    change replaces pools."""
    dataplane_v2: bool = True
    """Whether networking is Dataplane V2 (eBPF, enforces NetworkPolicy). Changing it replaces the cluster."""
    autoscaling_profile: Literal["balanced", "optimizeUtilization"] = "balanced"
    """How soon GKE removes empty nodes; ``optimizeUtilization`` does so sooner, and packs pods tighter."""
    logs: tuple[LogComponent, ...] = ("system", "workloads")
    """Components whose logs go to Cloud Logging."""
    monitoring: tuple[MonitoringComponent, ...] = ("system",)
    """Components whose metrics go to Cloud Monitoring. ``system`` includes the GPUs' duty cycle; ``dcgm`` runs GKE's own exporter."""
    managed_prometheus: bool = False
    """Whether Google's Managed Prometheus runs in addition to the stack's own."""
    maintenance: MaintenanceSettings | None = None
    """When GKE may upgrade; None: at any time."""
    deletion_protection: bool = False
    """True: neither cluster nor pools can be deleted until an `up` with False."""
    cpu_pool: GkeCpuPoolSettings = GkeCpuPoolSettings()
    """The nodes without GPUs."""
    gpu_pools: tuple[GkeGpuPoolSettings, ...] = ()
    """The GPU nodes; none for a stack on CPU."""
    gpu_quota: dict[str, int] = Field(default_factory=dict)
    """The project's GPU quota, to check the pools against: accelerator type or ``all`` -> number."""
    node_roles: tuple[Role, ...] = ()
    """Further roles of the nodes' service account in the project, besides the least that GKE asks for."""
    identity: Literal["serviceAccount", "principal"] = "serviceAccount"
    """How Triton's Kubernetes service account reads the bucket without a key: as a Google service account that it acts as, or as itself
    (``principal://..``), which has not been confirmed to work with Triton's client."""
    image_repository: ImageRepositorySettings | None = None
    """An Artifact Registry repository for the stack's own Triton images; None: none is created."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Labels of everything in Google Cloud that can have labels: lower-case letters, digits, hyphens and underscores."""

    @property
    def location(self) -> str:
        """Location of the control plane: the zone of a zonal cluster, else the region."""
        return self.zone or self.region

    @property
    def labels(self) -> dict[str, str]:
        """Labels of everything in Google Cloud that can have labels."""
        return {**self.tags, "triton-fleet-cluster": self.name}

    @property
    def network_tag(self) -> str:
        """Network tag of the nodes, by which firewall rules select them."""
        return f"{self.name}-node"

    @property
    def zone_names(self) -> tuple[str, ...] | None:
        """Zones of the nodes; None means the first of the region, which only Google knows."""
        if self.network.zones is not None:
            return self.network.zones
        return None if self.zone is None else (self.zone,)

    def zones_of(self, zones: tuple[str, ...] | None) -> int:
        """Return the number of zones of a pool whose own are ``zones``."""
        return len(zones or self.zone_names or range(self.network.zone_count))

    def node_count(self, pool: GkeGpuPoolSettings) -> int:
        """Return the most nodes that a pool can have in all its zones."""
        return pool.max * (self.zones_of(pool.zones) if pool.per_zone else 1)

    def _problems(self) -> Iterator[Problem]:
        yield from pool_name_problems([pool.name for pool in self.gpu_pools])
        yield from self._zone_problems()
        for field, key in (("secrets_key", self.secrets_key), ("disk_key", self.disk_key)):
            match = _KMS_KEY.fullmatch(key or "")
            if match is not None and match["location"] != self.region:
                text = f"is a key in {match['location']}: GKE requires one in {self.region}. Name a key of the cluster's region."
                yield Problem(at=(field,), text=text, also=(("region",),))
        for key, value in self.tags.items():
            if _TAG_KEY.fullmatch(key) is None or _TAG_VALUE.fullmatch(value) is None:
                text = (
                    f"has {key}: {value}, which is not a valid label: Google would reject everything that carries it. Use lower-case "
                    "letters, digits, hyphens and underscores, and start the key with a letter."
                )
                yield Problem(at=("tags",), text=text)
        yield from self._admin_problems()
        yield from self._quota_problems()
        yield from self._address_problems()

    def _zone_problems(self) -> Iterator[Problem]:
        region, network_zones = (("region",),), self.network.zones or ()
        if self.zone is not None and not _in(self.zone, self.region):
            text = f"({self.zone}) is not in {self.region}: the cluster would be rejected. Name a zone of the region."
            yield Problem(at=("zone",), text=text, also=region)
        if self.zone is not None and network_zones and self.zone not in network_zones:
            text = f"does not include the cluster's zone ({self.zone}): GKE starts nodes in it in any case. Add it."
            yield Problem(at=("network", "zones"), text=text, also=(("zone",),))
        of_pools = [(("gpu_pools", index, "zones"), pool.zones or ()) for index, pool in enumerate(self.gpu_pools)]
        for at, zones in [(("network", "zones"), network_zones), *of_pools]:
            for zone in zones:
                if not _in(zone, self.region):
                    text = f"names {zone}, which is not in {self.region}: its nodes could not be created. Name zones of the region."
                    yield Problem(at=at, text=text, also=region)
            if len(set(zones)) != len(zones):
                yield Problem(at=at, text="names a zone twice: GKE would reject it. Name each zone once.")

    def _admin_problems(self) -> Iterator[Problem]:
        twice = sorted({member for member in self.admins if self.admins.count(member) > 1})
        if twice:
            yield Problem(at=("admins",), text=f"names {', '.join(twice)} twice: once is enough. Remove the duplicate.")
        groups = [member for member in self.admins if member.startswith("group:")]
        if groups and self.security_group is None:
            text = (
                f"names {groups[0]}, but GKE recognizes only groups in gke-security-groups@DOMAIN: the group could not do anything. "
                "Set securityGroup."
            )
            yield Problem(at=("admins",), text=text, also=(("security_group",),))

    def _quota_problems(self) -> Iterator[Problem]:
        for key, limit in self.gpu_quota.items():
            most = sum(self.node_count(pool) * pool.machine.gpus for pool in self.gpu_pools if key in {pool.machine.gpu.accelerator, "all"})
            if most > limit:
                text = (
                    f"has {limit} of {key}, but the pools together may grow to {most}: the nodes above that would never start. "
                    "Request more quota, or lower max of a pool."
                )
                yield Problem(at=("gpu_quota",), text=text, also=(("gpu_pools",),))

    def _address_problems(self) -> Iterator[Problem]:
        """Yield a pods' range with too few addresses for the pools: beyond it, new nodes fail."""
        if not isinstance(self.network, CreatedGcpNetworkSettings):
            return
        room = IPv4Network(self.network.cidr).num_addresses // 2 // addresses_per_node(self.pods_per_node)
        most = self.cpu_pool.max + sum(self.node_count(pool) for pool in self.gpu_pools)
        if most > room:
            text = (
                f"({self.network.cidr}) has pod addresses for {room} nodes with {self.pods_per_node} pods each, but the pools may grow to "
                f"{most}: the nodes above that would never start. Choose a larger network, or lower podsPerNode or max of a pool."
            )
            yield Problem(at=("network", "cidr"), text=text, also=(("pods_per_node",), ("cpu_pool",), ("gpu_pools",)))


def addresses_per_node(pods: int) -> int:
    """Return a node's addresses of the pods' range: at least twice its pods, a power of two ("Maximum Pods per node")."""
    return 1 << (2 * pods - 1).bit_length()


def _in(zone: str, region: str) -> bool:
    return zone.rpartition("-")[0] == region
