"""How long `pulumi up -s eks-fil` takes from nothing, against the references' order and against the longest chain of waits.

The whole stack file runs under the real engine with doubles for AWS and for nodes (tests/doubles), whose delays are the real clouds', all
slowed down by one factor: control plane 9 min, node group 3 min, add-ons 1 to 2.5 min, NAT gateway 100 s (tests/doubles/aws/delays.py);
pods 30 s until they are ready, Triton's 120 s (an image of 10 GB); models uploaded at 100 MB/s. Only the program, the engine, Helm and this
machine are as quick as they are: with a factor of 1/60 they would be half of the whole, so that it is 1/4 by default.

Three numbers, in seconds of the real clouds:
- measured: wall time of `pulumi up`, divided by the factor.
- chain: the longest way through the graph that Pulumi's state has, by the delays alone. Nothing that keeps this order can be quicker.
- in turn: all the same waits one after another, as the walk-throughs have them done by hand.

Writes bench/results/standup.json. The last line has the ratios; exits with 1 when a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, ClassVar, Final
from urllib.parse import urlsplit

import urllib3

from bench.graph import Chain, label, longest
from local.cli.pulumi import COMPANIONS, assemble
from local.paths import cache_root
from local.progress import SilentReporter
from local.toolchain import Toolchain
from tests.doubles.aws import delays
from tests.doubles.cluster import TOOLS, start
from tests.engine.clouds.eks import eks_environment, eks_fleet
from tests.engine.clouds.fleet import ROOT, pulumi_home

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STACK: Final = "eks-fil"
CHAIN_BAR: Final = 1.10
ORDER_BAR: Final = 1.8
POD_S: Final = 30.0
"""Image pulled, probes passed; a guess that serves both sides alike."""
TRITON_S: Final = 120.0
MODELS_GB: Final = 24.0
UPLOAD_MB_S: Final = 100.0
_MODEL_FILE_MB: Final = 24
"""What is really sent; each byte stands for a thousand."""
_TRITON: Final = "triton"
_WAITS: Final[Mapping[str, float]] = {
    "aws:ec2/vpc:Vpc": delays.VPC_CREATE,
    "aws:ec2/subnet:Subnet": delays.SUBNET_CREATE,
    "aws:ec2/natGateway:NatGateway": delays.NAT_CREATE,
    "aws:ec2/vpcEndpoint:VpcEndpoint": delays.GATEWAY_ENDPOINT,
    "aws:iam/role:Role": delays.ROLE_CREATE,
    "aws:eks/cluster:Cluster": delays.CLUSTER_CREATE,
    "aws:eks/nodeGroup:NodeGroup": delays.NODE_GROUP_CREATE,
    "kubernetes:helm.sh/v3:Release": POD_S,
    "pulumi-python:dynamic/repository:Release": MODELS_GB * 1000 / UPLOAD_MB_S,
}
_NO_PODS: Final = ("istio-base", "karpenter-crd")
"""Releases of CRDs alone."""


def wait_of(resource: Mapping[str, Any]) -> float:
    """Seconds that a resource of the stack takes in the real cloud."""
    kind = str(resource["type"])
    if kind == "aws:eks/addon:Addon":
        return delays.ADDON_CREATE.get(str(resource["inputs"]["addonName"]), delays.ADDON_OTHER)
    if kind == "kubernetes:apps/v1:Deployment":
        return TRITON_S if label(str(resource["urn"])).endswith("triton/triton") else POD_S
    if kind == "kubernetes:helm.sh/v3:Release" and str(resource["inputs"].get("name")) in _NO_PODS:
        return 0.0
    return _WAITS.get(kind, 0.0)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One run, in seconds of the real clouds."""

    factor: float
    measured: float
    chain: Chain
    in_turn: float

    @property
    def over_chain(self) -> float:
        """How much longer than the longest chain, as a ratio."""
        return self.measured / self.chain.seconds

    @property
    def order(self) -> float:
        """How many times faster than the same waits one after another."""
        return self.in_turn / self.measured


class _Uploads(BaseHTTPRequestHandler):
    """Hands requests on to the server that stands in for S3; what is uploaded passes at the pace of a line."""

    protocol_version = "HTTP/1.1"
    target: ClassVar[str]
    seconds_per_byte: ClassVar[float]
    line: ClassVar[Lock] = Lock()
    pool: ClassVar[urllib3.PoolManager] = urllib3.PoolManager(maxsize=32)

    def _pass(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.command == "PUT" and body:
            with self.line:
                time.sleep(len(body) * self.seconds_per_byte)
        headers = {key: value for key, value in self.headers.items() if key.lower() not in {"host", "connection"}}
        answer = self.pool.request(
            self.command, f"{self.target}{self.path}", body=body, headers={**headers, "Host": urlsplit(self.target).netloc}, retries=False
        )
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            if key.lower() not in {"connection", "transfer-encoding", "content-length", "server", "date"}:
                self.send_header(key, value)
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(answer.data))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.data)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass  # noqa: N815  # the base class' names

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class' name
        """Say nothing."""


def models(folder: Path) -> Path:
    """A model repository whose upload takes as long as a large one's: the stack file's model with a large file beside it."""
    shutil.copytree(ROOT / "models" / "fil_xgboost", folder / "fil_xgboost")
    large = folder / "fil_xgboost" / "1" / "embeddings.bin"
    large.write_bytes(os.urandom(_MODEL_FILE_MB * 1_000_000))
    return folder


def stand_up(factor: float, scratch: Path) -> Result:
    """Bring the stack up once, take it down, and give what was seen."""
    toolchain = Toolchain(cache_root(), SilentReporter())
    toolchain.ensure(*TOOLS, "helm", "pulumi", *COMPANIONS)
    cli = assemble(scratch / "cli", toolchain, Path(sys.executable))
    doubles = scratch / "doubles"
    doubles.mkdir()
    pods = {"": POD_S * factor, _TRITON: TRITON_S * factor}
    with (
        start(toolchain, scratch / "cluster", doubles, instance=f"standup-{os.getpid()}", starts=pods) as cluster,
        eks_environment(
            cluster=cluster,
            cli=cli,
            helm=toolchain.path("helm"),
            home=pulumi_home(cli, scratch / "pulumi"),
            doubles=doubles,
            scratch=scratch,
            pace=factor,
        ) as (cloud, environment),
    ):
        _Uploads.target = cloud.endpoint
        _Uploads.seconds_per_byte = MODELS_GB * 1000 / UPLOAD_MB_S * factor / (_MODEL_FILE_MB * 1_000_000)
        server = ThreadingHTTPServer(("127.0.0.1", 0), _Uploads)
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            fleet = eks_fleet(
                STACK, scratch / "stack", {**environment, "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}"}, doubles
            )
            fleet.of("repository")["source"] = str(models(scratch / "models"))
            fleet.write()
            began = time.monotonic()
            fleet.up()
            took = time.monotonic() - began
            state = fleet.state()
            # Only to leave nothing behind, so at once.
            fleet.environment = {**fleet.environment, "TRITON_FLEET_DOUBLES_PACE": "0"}
            fleet.destroy()
        finally:
            server.shutdown()
            server.server_close()
    waits = {str(item["urn"]): wait_of(item) for item in state}
    return Result(factor=factor, measured=took / factor, chain=longest(state, waits), in_turn=sum(waits.values()))


def report(result: Result, out: Path) -> int:
    """Write the result, print it, and say whether the bars are met."""
    missed = []
    if result.over_chain > CHAIN_BAR:
        missed.append(f"{result.over_chain:.2f} times the longest chain, the bar is {CHAIN_BAR:.2f}")
    if result.order < ORDER_BAR:
        missed.append(f"{result.order:.2f} times faster than one after another, the bar is {ORDER_BAR:.1f}")
    for name, seconds in result.chain.steps:
        print(f"  {seconds:6.0f} s  {name}")
    print(f"longest chain {result.chain.seconds:.0f} s, measured {result.measured:.0f} s, one after another {result.in_turn:.0f} s")
    content = {
        "factor": result.factor,
        "processors": os.cpu_count(),
        "assumed": {"pod_s": POD_S, "triton_s": TRITON_S, "models_gb": MODELS_GB, "upload_mb_s": UPLOAD_MB_S},
        "measured_s": round(result.measured, 1),
        "chain_s": round(result.chain.seconds, 1),
        "in_turn_s": round(result.in_turn, 1),
        "chain": [{"resource": name, "seconds": seconds} for name, seconds in result.chain.steps],
        "missed": missed,
    }
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for miss in missed:
        print(f"missed: {miss}")
    print(f"over-chain={result.over_chain:.2f} one-after-another={result.order:.2f}")
    return 1 if missed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="python -m bench.standup", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--factor", type=float, default=1 / 4, help="seconds here for a second of the real clouds")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "standup.json")
    options = parser.parse_args(arguments)
    # Short, and not below the checkout: socket paths inside must stay below 108 bytes.
    scratch = Path(tempfile.mkdtemp(prefix="tfb-"))
    try:
        return report(stand_up(options.factor, scratch), options.out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
