"""Settings of an Amazon EKS cluster.

They refuse early what AWS would refuse after twenty minutes, or would accept and never run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.base.aws import ARN
from components.base.clusters import ImageRepositorySettings, pool_name_problems
from components.base.errors import Problem
from components.base.model import Model, matching
from components.eks.settings.network import ZONE, CreatedNetworkSettings, EndpointSettings, NetworkSettings
from components.eks.settings.node_groups import CpuPoolSettings, GpuPoolSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.base.errors import FieldPath

_REGION: Final = r"([a-z]{2}(-gov|-iso[a-z]?)?|eusc-[a-z]{2})-[a-z]+-\d"
_KEY: Final = rf"{ARN}:kms:[a-z0-9-]*:\d{{12}}:key/.+"
_LONGEST_GROUP: Final = 63
"""Characters of a node group's name (EKS API, CreateNodegroup)."""
_TAG_KEY: Final = re.compile(r"(?!(?i:aws:))[\w .:/=+@-]{1,128}")
_TAG_VALUE: Final = re.compile(r"[\w .:/=+@-]{0,256}")
_MOST_TAGS: Final = 40
_KEY_TEXT: Final = (
    "is not an ARN of a KMS key: AWS would refuse it. "
    "Write one like arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab."
)
_VERSIONS: Final = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
"""Minor versions that the AL2023 NVIDIA AMIs exist for (amazon-eks-ami v20260714)."""


def _check_region(value: str) -> str:
    if re.fullmatch(_REGION, value) is None:
        hint = f"Write the region of that zone, {value[:-1]}" if re.fullmatch(ZONE, value) else "Write one like eu-west-1"
        raise ValueError(f"is not an AWS region: nothing could be created in it. {hint}.")
    return value


Region = Annotated[str, AfterValidator(_check_region)]
"""Name of an AWS region."""
KeyArn = Annotated[str, matching(_KEY, _KEY_TEXT)]
"""ARN of a KMS key. Not an alias: policies don't resolve aliases."""
Key = Annotated[str, matching(f"create|{_KEY}", _KEY_TEXT)]
"""ARN of a KMS key, or ``create`` for one that the stack creates with the policy that its use needs."""
PrincipalArn = Annotated[
    str,
    matching(
        rf"{ARN}:iam::\d{{12}}:(role|user)/.+",
        "is not an ARN of an IAM role or user: AWS would refuse it. Write one like arn:aws:iam::111122223333:role/admins.",
    ),
]
"""ARN of an IAM role or user."""
LogType = Literal["api", "audit", "authenticator", "controllerManager", "scheduler"]


class EksClusterSettings(Model):
    """An EKS cluster that the stack creates, with its network, nodes and identities."""

    provider: Literal["eks"]
    """Kind of cluster; the stack creates an ``eks`` cluster on Amazon EKS."""
    name: Annotated[
        str,
        matching(
            r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}",
            "is not an EKS cluster name: EKS would refuse it. Use 1 to 100 letters, digits, hyphens and underscores, a letter or digit "
            "first.",
        ),
    ] = "triton-fleet"
    """Name of the cluster."""
    region: Region = Field(examples=["eu-west-1"])
    """AWS region of everything."""
    profile: str | None = None
    """AWS profile, also for the kubeconfig; None: what the default credential chain finds."""
    version: Annotated[
        str,
        matching(
            "|".join(map(re.escape, _VERSIONS)),
            "is not a Kubernetes version that EKS has GPU images for: its nodes could not be created. "
            f"Choose one of {', '.join(_VERSIONS)}.",
        ),
    ] = "1.35"
    """Kubernetes version, in quotes. Upgrade one minor version at a time; docs/upgrading.md."""
    support: Literal["standard", "extended"] = "standard"
    """``standard``: EKS upgrades the cluster itself when its version's 14 months are over. ``extended``: it stays, at a higher price."""
    network: NetworkSettings = CreatedNetworkSettings(kind="create")
    """The VPC."""
    endpoint: EndpointSettings = Field(examples=[{"publicCidrs": ["203.0.113.0/24"]}])
    """Endpoints of the Kubernetes API."""
    admins: tuple[PrincipalArn, ...] = ()
    """IAM roles and users that administer the cluster. Leave out the principal that runs Pulumi: EKS makes it an administrator itself."""
    secrets_key: Annotated[str, matching(f"create|none|{_KEY}", _KEY_TEXT)] = "create"
    """KMS key that encrypts Kubernetes Secrets: an ARN, ``create`` for a new one, or ``none`` for AWS' own key. Changing a key to ``none``
    replaces the cluster."""
    disk_key: Key | None = None
    """KMS key of the disks of nodes and volumes: an ARN, or ``create`` for a new one. The policy of an existing key must let
    AWSServiceRoleForAutoScaling use it and create grants (docs/components/eks.md has the statements). None: AWS' own key."""
    logs_key: Key | None = None
    """KMS key of the control plane's logs: an ARN, or ``create`` for a new one. The policy of an existing key must let CloudWatch Logs use
    it (docs/components/eks.md). None: AWS' own key."""
    models_key: KeyArn | None = None
    """KMS key that encrypts the models' bucket: Triton's role may decrypt with it, only through S3. None: S3's own key."""
    addon_versions: dict[
        Literal[
            "vpc-cni",
            "kube-proxy",
            "coredns",
            "aws-ebs-csi-driver",
            "eks-pod-identity-agent",
            "metrics-server",
            "eks-node-monitoring-agent",
        ],
        str,
    ] = Field(default_factory=dict)
    """Versions of EKS add-ons, such as ``v1.20.4-eksbuild.2``. Others get EKS' default for the Kubernetes version; when AWS changes it, a
    preview shows the update."""
    logs: tuple[LogType, ...] = ("api", "audit", "authenticator", "controllerManager", "scheduler")
    """Control plane logs that go to CloudWatch."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] = 30
    """Days to keep them."""
    deletion_protection: bool = False
    """True: EKS refuses to delete the cluster until an `up` with False."""
    node_monitoring: bool = False
    """Whether EKS' node monitoring agent runs on each node. Without it, EKS' node repair replaces nodes that are not ready, but does not
    see faults of a GPU (docs/components/eks.md)."""
    session_manager: bool = False
    """Whether Session Manager can open a shell on nodes (AmazonSSMManagedInstanceCore in the node role)."""
    cpu_pool: CpuPoolSettings = CpuPoolSettings()
    """The nodes without GPUs."""
    gpu_pools: tuple[GpuPoolSettings, ...] = ()
    """The GPU nodes; none for a stack on CPU."""
    image_repository: ImageRepositorySettings | None = None
    """An ECR repository for the stack's own Triton images; None creates none."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of everything in AWS."""

    def _problems(self) -> Iterator[Problem]:
        yield from pool_name_problems([pool.name for pool in self.gpu_pools])
        yield from self._name_problems()
        twice = sorted({arn for arn in self.admins if self.admins.count(arn) > 1})
        if twice:
            text = f"names {', '.join(twice)} twice: EKS would refuse a second access entry. Name it once."
            yield Problem(at=("admins",), text=text)
        for field, key in (("secrets_key", self.secrets_key), ("disk_key", self.disk_key), ("logs_key", self.logs_key)):
            if key is not None and key.startswith("arn:") and f":kms:{self.region}:" not in key:
                text = f"is a key of another region than {self.region}: AWS would refuse it. Name a key of the region."
                yield Problem(at=(field,), text=text, also=(("region",),))
        yield from self._zone_problems()
        yield from self._release_problems()

    def _name_problems(self) -> Iterator[Problem]:
        for index, pool in enumerate(self.gpu_pools):
            zone = len(f"-{self.region}a") if pool.per_zone else 0
            longest = _LONGEST_GROUP - len("cluster-") - zone - len("-1234567")
            if len(pool.name) > longest:
                text = f"({pool.name}) has more than {longest} characters, which EKS' limit of {_LONGEST_GROUP} leaves beside "
                text += f"{'the zone and ' if zone else ''}what Pulumi adds: its node group could not be created. Shorten it."
                yield Problem(at=("gpu_pools", index, "name"), text=text, also=(("region",),) if zone else ())
        for key, value in self.tags.items():
            if _TAG_KEY.fullmatch(key) is None or _TAG_VALUE.fullmatch(value) is None:
                text = f"has {key}: {value}, which is not a tag: AWS would reject everything that carries it. Use a key of at most 128 "
                text += "and a value of at most 256 letters, digits, spaces and . : / = + - @ _, and no key that starts with aws:."
                yield Problem(at=("tags",), text=text)
        twice = sorted(key for key in self.tags if sum(key.lower() == other.lower() for other in self.tags) > 1)
        if twice:
            text = f"has {' and '.join(twice)}, which IAM takes for one key: roles could not be created. Keep one of them."
            yield Problem(at=("tags",), text=text)
        if len(self.tags) > _MOST_TAGS:
            text = f"has {len(self.tags)} tags: AWS allows 50, and the stack, EKS and controllers add up to 10. Keep {_MOST_TAGS}."
            yield Problem(at=("tags",), text=text)

    def _zone_problems(self) -> Iterator[Problem]:
        zones = self.network.zones if isinstance(self.network, CreatedNetworkSettings) else None
        for zone in zones or ():
            if not zone.startswith(self.region):
                text = f"names {zone}, which is not in {self.region}: its subnets would be refused. Name zones of the region."
                yield Problem(at=("network", "zones"), text=text, also=(("region",),))
        for index, pool in enumerate(self.gpu_pools):
            for zone in pool.zones or ():
                if not zone.startswith(self.region) or (zones is not None and zone not in zones):
                    text = f"names {zone}, where the network has no subnet: its nodes could not be created. Choose from "
                    text += f"{self.region if zones is None else ', '.join(zones)}."
                    yield Problem(at=("gpu_pools", index, "zones"), text=text, also=(("network",), ("region",)))

    def _release_problems(self) -> Iterator[Problem]:
        """Check releases of AL2023 images: each starts with its Kubernetes version."""
        releases: list[tuple[FieldPath, str | None]] = [(("cpu_pool", "release"), self.cpu_pool.release)]
        releases += [(("gpu_pools", index, "release"), pool.release) for index, pool in enumerate(self.gpu_pools) if pool.os == "al2023"]
        for at, release in releases:
            if release is not None and not release.startswith(f"{self.version}."):
                text = f"({release}) is an image of another Kubernetes version than {self.version}: EKS would refuse it. Name one of "
                yield Problem(at=at, text=f"{text}{self.version}, or leave it out.", also=(("version",),))
