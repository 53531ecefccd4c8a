"""Names that differ between AWS' partitions.

Partitions and domains: botocore/data/partitions.json. VPC endpoints: aws-cdk-lib, aws-ec2/lib/vpc-endpoint.ts.
"""

from __future__ import annotations

from typing import Final, NamedTuple

ARN: Final = r"arn:aws(-[a-z]+)*"
"""Regular expression of an ARN's first two parts, in any partition."""


class _Partition(NamedTuple):
    name: str = "aws"
    domain: str = "amazonaws.com"
    reversed: tuple[str, ...] = ()
    """Services whose VPC endpoints begin with the reversed domain; the others begin with com.amazonaws."""


_REGISTRY: Final = ("ecr.api", "ecr.dkr")
_ISOLATED: Final = ("autoscaling", "ec2", *_REGISTRY, "sqs")
_PARTITIONS: Final = {
    "cn-": _Partition("aws-cn", "amazonaws.com.cn", (*_ISOLATED, "eks", "sts")),
    "us-gov-": _Partition("aws-us-gov"),
    "eusc-": _Partition("aws-eusc", "amazonaws.eu", _REGISTRY),
    "us-iso-": _Partition("aws-iso", "c2s.ic.gov", _ISOLATED),
    "us-isob-west-": _Partition("aws-iso-b", "sc2s.sgov.gov", _REGISTRY),
    "us-isob-": _Partition("aws-iso-b", "sc2s.sgov.gov", _ISOLATED),
    "us-isof-": _Partition("aws-iso-f", "csp.hci.ic.gov", _REGISTRY),
    "eu-isoe-": _Partition("aws-iso-e", "cloud.adc-e.uk", _REGISTRY),
}
"""By the beginning of a region's name, the longest first; other regions are in the commercial partition."""
_PRINCIPALS: Final = {"aws-cn": ("ec2", "logs"), "aws-iso": ("logs",), "aws-iso-b": ("logs",)}
"""Service principals in the partition's own domain; the others are in amazonaws.com. The European sovereign cloud rejects
ec2.amazonaws.eu. Source: ServicePrincipalNameForPartition of hashicorp/aws-sdk-go-base and aws-cdk-lib/region-info; China's EC2: the EKS
user guide."""


def _of(region: str) -> _Partition:
    return next((found for prefix, found in _PARTITIONS.items() if region.startswith(prefix)), _Partition())


def partition(region: str) -> str:
    """Return the AWS partition of a region: the second part of every ARN in it."""
    return _of(region).name


def domain(region: str) -> str:
    """Return the domain of the services of a region."""
    return _of(region).domain


def principal_domain(region: str, service: str) -> str:
    """Return the domain of a service's principal in a region."""
    found = _of(region)
    return found.domain if service in _PRINCIPALS.get(found.name, ()) else "amazonaws.com"


def endpoint_service(region: str, service: str) -> str:
    """Return the name of a service for a VPC endpoint."""
    found = _of(region)
    prefix = ".".join(reversed(found.domain.split("."))) if service in found.reversed else "com.amazonaws"
    return f"{prefix}.{region}.{service}"
