"""What a whole EKS stack runs on."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.doubles.aws import DOUBLE as AWS
from tests.doubles.aws.cloud import Cloud
from tests.doubles.eks import access
from tests.doubles.install import environment, install_all
from tests.engine.clouds.fleet import Fleet, path_with, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doubles.cluster import ClusterDouble

EKS: Final = "tests.doubles.eks.provider:Eks"
BUCKET_HOST: Final = "https://s3.amazonaws.com"
"""Where pods would look for the bucket. Uploads go to the server that stands in, on this machine's loopback, where no pod could look."""


@contextmanager
def eks_environment(
    *, cluster: ClusterDouble, cli: Path, helm: Path, home: Path, doubles: Path, scratch: Path, pace: float = 0.0
) -> Iterator[tuple[Cloud, dict[str, str]]]:
    """AWS, and the environment of Pulumi in which the plugins' doubles find it and the cluster."""
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
                # A kubeconfig of the user's must not be in reach of anything here.
                "KUBECONFIG": str(scratch / "no-kubeconfig"),
                **cloud.environment(),
                **environment(doubles, pace=pace),
            },
        )


def eks_fleet(stack: str, folder: Path, environment: dict[str, str], doubles: Path) -> Fleet:
    """One of the project's EKS stack files."""
    settings = settings_of(stack)
    settings["triton-fleet:repository"]["clusterEndpoint"] = BUCKET_HOST
    return Fleet(folder, stack, environment, doubles, settings)
