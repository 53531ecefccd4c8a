"""Settings of a cluster on Amazon EKS.

They refuse here what AWS would refuse after twenty minutes, or would take and never run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from components.base.errors import FleetError, Problem
from components.base.model import Model
from components.base.pools import pool_name_problems
from components.base.registry import ImageRepositorySettings
from components.eks.settings.network import ZONE, CreatedNetworkSettings, EndpointSettings, NetworkSettings
from components.eks.settings.node_groups import CpuPoolSettings, GpuPoolSettings

if TYPE_CHECKING:
    from components.base.errors import FieldPath

_REGION: Final = re.compile(r"^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-\d\Z")
_CLUSTER_NAME: Final = re.compile(r"^[0-9A-Za-z][0-9A-Za-z_-]{0,99}\Z")
_ARN: Final = re.compile(r"^arn:aws(-cn|-us-gov)?:(?P<service>[a-z0-9-]+):[a-z0-9-]*:\d{12}:(?P<what>.+)\Z")
_VERSIONS: Final = ("1.30", "1.31", "1.32", "1.33", "1.34", "1.35", "1.36")
"""Minor versions that the AL2023 NVIDIA AMIs exist for (amazon-eks-ami v20260714)."""


def _check_region(value: str) -> str:
    if _REGION.match(value) is None:
        close = value[:-1] if ZONE.match(value) else None
        hint = f"Write the region of that zone, {close}." if close else "Write one like eu-west-1."
        raise ValueError(f"is no AWS region: nothing could be made there. {hint}")
    return value


def _check_cluster_name(value: str) -> str:
    if _CLUSTER_NAME.match(value) is None:
        raise ValueError(
            "is no EKS cluster name: EKS would refuse it. Use 1 to 100 letters, digits, hyphens and underscores, a letter or digit first."
        )
    return value


def _key_arn(value: str) -> str:
    return _arn(value, "kms", ("key/",), "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab")


def _check_secrets_key(value: str) -> str:
    return value if value in {"create", "none"} else _key_arn(value)


def _check_key(value: str) -> str:
    return value if value == "create" else _key_arn(value)


def _principal_arn(value: str) -> str:
    return _arn(value, "iam", ("role/", "user/"), "arn:aws:iam::111122223333:role/admins")


def _arn(value: str, service: str, what: tuple[str, ...], example: str) -> str:
    match = _ARN.match(value)
    if match is None or match["service"] != service or not match["what"].startswith(what):
        raise ValueError(f"is no ARN of that kind: AWS would refuse it. Write one like {example}.")
    return value


def _check_version(value: str) -> str:
    if value not in _VERSIONS:
        raise ValueError(f"is no Kubernetes version that EKS has GPU images for: its nodes could not be made. Choose one of {', '.join(_VERSIONS)}.")  # fmt: skip  # noqa: E501
    return value


Region = Annotated[str, AfterValidator(_check_region)]
"""Name of an AWS region."""
KeyArn = Annotated[str, AfterValidator(_key_arn)]
"""ARN of a KMS key (no alias: policies don't know those)."""
Key = Annotated[str, AfterValidator(_check_key)]
"""ARN of a KMS key, or ``create`` for one that the stack makes with the policy that its use needs."""
PrincipalArn = Annotated[str, AfterValidator(_principal_arn)]
"""ARN of an IAM role or user."""


LogType = Literal["api", "audit", "authenticator", "controllerManager", "scheduler"]


class EksClusterSettings(Model):
    """An EKS cluster of the stack's own, with its network, nodes and identities."""

    provider: Literal["eks"]
    """Kind of cluster; ``eks`` is one on Amazon EKS that the stack makes."""
    name: Annotated[str, AfterValidator(_check_cluster_name)] = "triton-fleet"
    """Name of the cluster."""
    region: Region
    """AWS region of everything."""
    profile: str | None = None
    """AWS profile; None means what the default chain finds. It goes into the kubeconfig too."""
    version: Annotated[str, AfterValidator(_check_version)] = "1.35"
    """Kubernetes version, in quotes. One minor version up at a time; docs/upgrading.md."""
    support: Literal["standard", "extended"] = "standard"
    """``standard``: EKS upgrades the cluster itself when its version's 14 months are over. ``extended``: it stays, at a higher price."""
    network: NetworkSettings = CreatedNetworkSettings(kind="create")
    """The VPC."""
    endpoint: EndpointSettings
    """The Kubernetes API's addresses."""
    admins: tuple[PrincipalArn, ...] = ()
    """IAM roles and users that administer the cluster, besides the one that makes it, which must not be named."""
    secrets_key: Annotated[str, AfterValidator(_check_secrets_key)] = "create"
    """KMS key that Kubernetes Secrets are encrypted with: ``create`` makes one, ``none`` leaves it to AWS' own key. Taking it away later
    replaces the cluster."""
    disk_key: Key | None = None
    """KMS key of the disks of nodes and volumes: ``create`` makes one. The policy of a key that is there must let
    AWSServiceRoleForAutoScaling use it and make grants (docs/components/eks.md has the statements). None: AWS' own key."""
    logs_key: Key | None = None
    """KMS key of the control plane's logs: ``create`` makes one. The policy of a key that is there must let CloudWatch Logs use
    it (docs/components/eks.md). None: AWS' own key."""
    models_key: KeyArn | None = None
    """KMS key that the models' bucket is encrypted with: Triton's role may decrypt with it, through S3 alone. None: S3's own."""
    addon_versions: dict[Literal["vpc-cni", "kube-proxy", "coredns", "aws-ebs-csi-driver", "eks-pod-identity-agent"], str] = Field(
        default_factory=dict
    )
    """Versions of EKS' add-ons, such as ``v1.20.4-eksbuild.2``; what is not named gets EKS' default for the Kubernetes version, which AWS
    moves now and then: a preview then shows the update."""
    logs: tuple[LogType, ...] = ("api", "audit", "authenticator", "controllerManager", "scheduler")
    """Control plane logs that go to CloudWatch."""
    log_retention_days: Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731] = 30
    """Days that they are kept."""
    deletion_protection: bool = False
    """True: EKS refuses to delete the cluster until an `up` with False."""
    session_manager: bool = False
    """Whether nodes can be entered through Session Manager (AmazonSSMManagedInstanceCore in the node role)."""
    cpu_pool: CpuPoolSettings = CpuPoolSettings()
    """The nodes without GPUs."""
    gpu_pools: tuple[GpuPoolSettings, ...] = ()
    """The GPU nodes; none for a stack on CPU."""
    image_repository: ImageRepositorySettings | None = None
    """An ECR repository for Triton images of one's own; None: none is made."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of everything in AWS."""

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        problems = [*self._names(), *self._zones(), *self._keys(), *self._releases()]
        if problems:
            raise FleetError(*problems)
        return self

    def _names(self) -> list[Problem]:
        problems = pool_name_problems([pool.name for pool in self.gpu_pools])
        twice = sorted({arn for arn in self.admins if self.admins.count(arn) > 1})
        if twice:
            text = f"names {', '.join(twice)} twice: EKS takes one access entry each, and the second would fail. Name it once."
            problems.append(Problem(at=("admins",), text=text))
        return problems

    def _zones(self) -> list[Problem]:
        known = self.network.zones if isinstance(self.network, CreatedNetworkSettings) else None
        problems: list[Problem] = []
        if isinstance(known, tuple):
            problems.extend(
                Problem(
                    at=("network", "zones"),
                    text=f"names {zone}, which is not in {self.region}: its subnets would be refused. Name zones of the region.",
                    also=(("region",),),
                )
                for zone in known
                if not zone.startswith(self.region)
            )
        for index, pool in enumerate(self.gpu_pools):
            for zone in pool.zones or ():
                if not zone.startswith(self.region) or (isinstance(known, tuple) and zone not in known):
                    where = ", ".join(known) if isinstance(known, tuple) else self.region
                    problems.append(
                        Problem(
                            at=("gpu_pools", index, "zones"),
                            text=f"names {zone}, where the network has no subnet: its nodes could not be made. Choose from {where}.",
                            also=(("network",), ("region",)),
                        )
                    )
        return problems

    def _releases(self) -> list[Problem]:
        """An AL2023 image is one of a Kubernetes version, and its release begins with it."""
        pools: list[tuple[FieldPath, str | None]] = [(("cpu_pool",), self.cpu_pool.release)]
        pools += [(("gpu_pools", index), pool.release) for index, pool in enumerate(self.gpu_pools) if pool.os == "al2023"]
        return [
            Problem(
                at=(*at, "release"),
                text=f"({release}) is an image of another Kubernetes version than {self.version}: EKS would refuse it. Name one of "
                f"{self.version}, or leave it out.",
                also=(("version",),),
            )
            for at, release in pools
            if release is not None and not release.startswith(f"{self.version}.")
        ]

    def _keys(self) -> list[Problem]:
        problems = []
        for field, key in (("secrets_key", self.secrets_key), ("disk_key", self.disk_key), ("logs_key", self.logs_key)):
            if key is not None and key.startswith("arn:") and f":kms:{self.region}:" not in key:
                text = f"is a key of another region than {self.region}: AWS would refuse it. Name one of the region."
                problems.append(Problem(at=(field,), text=text, also=(("region",),)))
        return problems
