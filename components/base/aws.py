"""Names that differ between AWS' partitions: the commercial one, China and GovCloud (US)."""

from __future__ import annotations

from typing import Final

_CHINA_ENDPOINTS: Final = frozenset(["autoscaling", "ec2", "ecr.api", "ecr.dkr", "eks", "sqs", "sts"])
"""Services whose VPC endpoints have names of their own in China (aws-cdk-lib, aws-ec2/lib/vpc-endpoint.ts)."""


def partition(region: str) -> str:
    """Return the AWS partition of a region: the second part of every ARN in it."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def domain(region: str) -> str:
    """Return the domain of the services of a region."""
    return f"amazonaws.com{'.cn' if region.startswith('cn-') else ''}"


def endpoint_service(region: str, service: str) -> str:
    """Return the name of a service for a VPC endpoint."""
    return f"{'cn.' if region.startswith('cn-') and service in _CHINA_ENDPOINTS else ''}com.amazonaws.{region}.{service}"
