"""What a whole GKE stack runs on."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.doubles.clock import Clock
from tests.doubles.eks import access
from tests.doubles.gcp import DOUBLE
from tests.doubles.gcp.in_cluster import LoadBalancers
from tests.doubles.gcp.memory import Google as Memory
from tests.doubles.install import environment, install_all
from tests.engine.clouds.fleet import Fleet, Site, path_with, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doubles.cluster import ClusterDouble

_TOKEN_COMMAND: Final = """#!/bin/sh
# Stands in for gke-gcloud-auth-plugin: a client certificate where Google gives a token.
exec cat "{file}"
"""
_WATCH: Final = '''"""Writes down which of the clouds' SDKs the fleet's program has imported, when it ends."""
import atexit, os, sys

def tell():
    if "components.fleet" in sys.modules:
        found = sorted({name.partition(".")[0] for name in sys.modules} & {"boto3", "botocore", "pulumi_aws", "pulumi_eks", "pulumi_gcp"})
        with open(os.environ["TRITON_FLEET_TEST_IMPORTS"], "a") as file:
            file.write(" ".join(found) + "\\n")

atexit.register(tell)
'''


@contextmanager
def gke_environment(
    *, cluster: ClusterDouble, cli: Path, helm: Path, home: Path, doubles: Path, scratch: Path, buckets: str, pace: float = 0.0
) -> Iterator[tuple[Memory, dict[str, str]]]:
    """Google, and the environment of Pulumi in which the plugin's double finds it, the cluster and the buckets (a server's address)."""
    install_all(home, [("gcp", DOUBLE)])
    access.publish(doubles, cluster.kubeconfig)
    programs = scratch / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    command = programs / "gke-gcloud-auth-plugin"
    command.write_text(_TOKEN_COMMAND.format(file=doubles / access._CREDENTIAL_FILE), encoding="utf-8")
    command.chmod(0o755)
    watch = scratch / "watch"
    watch.mkdir(exist_ok=True)
    (watch / "sitecustomize.py").write_text(_WATCH, encoding="utf-8")
    memory = Memory(doubles, Clock(pace))
    known = {
        "PATH": path_with([programs, cli.parent, helm.parent]),
        "PULUMI_HOME": str(home),
        "PULUMI_CONFIG_PASSPHRASE": "engine-tests",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "HELM_CACHE_HOME": str(scratch / "helm"),
        # A kubeconfig or an account of the user's must not be in reach of anything here.
        "KUBECONFIG": str(scratch / "no-kubeconfig"),
        "GOOGLE_APPLICATION_CREDENTIALS": str(scratch / "no-credentials"),
        "CLOUDSDK_CONFIG": str(scratch / "no-gcloud"),
        "STORAGE_EMULATOR_HOST": buckets,
        "PYTHONPATH": str(watch),
        "TRITON_FLEET_TEST_IMPORTS": str(scratch / "imports"),
        **environment(doubles, pace=pace),
    }
    balancers = LoadBalancers(cluster.api, memory)
    balancers.start()
    try:
        yield memory, known
    finally:
        balancers.stop()


@dataclass(frozen=True, kw_only=True)
class Google(Site):
    """Google."""

    memory: Memory
    imports: Path
    """Of a line for each end of a program."""

    def stack(self, stack: str, folder: Path) -> Fleet:
        """A stack of one of the project's GKE files."""
        return self.fleet(stack, folder, settings_of(stack))

    def imported(self) -> set[str]:
        """SDKs of clouds that any run of the program has imported so far."""
        return set(self.imports.read_text(encoding="utf-8").split())
