"""The environment of a whole EKS stack: AWS, and Pulumi with the doubles of its plugins."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from tests.doubles.aws import DOUBLE as AWS
from tests.doubles.aws.cloud import Cloud
from tests.doubles.eks import access
from tests.doubles.install import environment, install_all
from tests.engine.clouds.fleet import Fleet, Site, path_with, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.doubles.cluster import ClusterDouble

EKS: Final = "tests.doubles.eks.provider:Eks"
BUCKET_HOST: Final = "https://s3.amazonaws.com"
"""Where pods would find the bucket. Uploads go to the double on this machine's loopback, which no pod can reach."""


@contextmanager
def eks_environment(
    *, cluster: ClusterDouble, cli: Path, helm: Path, home: Path, doubles: Path, scratch: Path, pace: float = 0.0
) -> Iterator[tuple[Cloud, dict[str, str]]]:
    """Yield AWS, and the environment in which the doubles of Pulumi's plugins find it and the cluster."""
    install_all(home, [("aws", AWS), ("eks", EKS)])
    access.publish(doubles, cluster.kubeconfig)
    programs = scratch / "bin"
    access.write_aws_command(programs, doubles)
    with Cloud() as cloud:
        yield (
            cloud,
            {
                "PATH": path_with([programs, cli.parent, helm.parent]),
                "PULUMI_HOME": str(home),
                "PULUMI_CONFIG_PASSPHRASE": "engine-tests",
                "PULUMI_SKIP_UPDATE_CHECK": "true",
                "HELM_CACHE_HOME": str(scratch / "helm"),
                # Hides the user's kubeconfig.
                "KUBECONFIG": str(scratch / "no-kubeconfig"),
                **cloud.environment(),
                **environment(doubles, pace=pace),
            },
        )


def eks_settings(stack: str) -> dict[str, Any]:
    """Return the settings of one of the project's EKS stack files."""
    settings = settings_of(stack)
    settings["triton-fleet:repository"]["clusterEndpoint"] = BUCKET_HOST
    return settings


def eks_fleet(stack: str, folder: Path, environment: Mapping[str, str], doubles: Path) -> Fleet:
    """Return a stack of one of these files."""
    return Fleet(folder, stack, environment, doubles, eks_settings(stack))


@dataclass(frozen=True, kw_only=True)
class Amazon(Site):
    """AWS."""

    cloud: Cloud

    def stack(self, stack: str, folder: Path) -> Fleet:
        """Return a stack of one of the project's EKS files."""
        return self.fleet(stack, folder, eks_settings(stack))


def left_in_aws(cloud: Cloud, region: str) -> dict[str, list[str]]:
    """Return what a stack creates and what still exists. Leaves out moto's default VPCs with their parts, and AWS' own policies."""
    ec2, eks, iam = cloud.client("ec2", region), cloud.client("eks", region), cloud.client("iam", region)
    ours = [item["VpcId"] for item in ec2.describe_vpcs()["Vpcs"] if not item["IsDefault"]]
    inside = [{"Name": "vpc-id", "Values": ours}]
    found: dict[str, list[str]] = {
        "vpcs": ours,
        "subnets": [item["SubnetId"] for item in ec2.describe_subnets(Filters=inside)["Subnets"]] if ours else [],
        "nat": [item["NatGatewayId"] for item in ec2.describe_nat_gateways()["NatGateways"] if item["State"] != "deleted"],
        "addresses": [item["AllocationId"] for item in ec2.describe_addresses()["Addresses"]],
        "templates": [item["LaunchTemplateName"] for item in ec2.describe_launch_templates()["LaunchTemplates"]],
        "interfaces": [item["NetworkInterfaceId"] for item in ec2.describe_network_interfaces()["NetworkInterfaces"]],
        "clusters": eks.list_clusters()["clusters"],
        "roles": [item["RoleName"] for item in iam.list_roles()["Roles"] if not item["Path"].startswith("/aws-service-role/")],
        "policies": [item["PolicyName"] for item in iam.list_policies(Scope="Local")["Policies"]],
        "oidc": [item["Arn"] for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]],
        "scaling": [
            item["AutoScalingGroupName"] for item in cloud.client("autoscaling", region).describe_auto_scaling_groups()["AutoScalingGroups"]
        ],
        "images": [item["repositoryName"] for item in cloud.client("ecr", region).describe_repositories()["repositories"]],
        "logs": [item["logGroupName"] for item in cloud.client("logs", region).describe_log_groups()["logGroups"]],
        "buckets": [item["Name"] for item in cloud.client("s3", region).list_buckets()["Buckets"]],
    }
    return {kind: names for kind, names in found.items() if names}
