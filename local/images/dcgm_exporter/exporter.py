#!/usr/bin/python3
"""Stand-in for NVIDIA's dcgm-exporter on a machine without a GPU: same port, paths, metric names, labels and flags.

Utilization is real: each Triton pod of this node owns one simulated GPU, which is busy while the pod's models execute, according to
Triton's own counters. Without Triton pods there is one idle GPU without an owner. Temperature, power and memory are modeled from
utilization and the number of models, and their HELP lines say so. As with the real exporter, values change once per interval (30 s by
default; -c or DCGM_EXPORTER_INTERVAL, in ms), and /health returns 503 before the first one.

Its own environment variables: STAND_IN_SELECTOR (label selector of Triton's pods, default app.kubernetes.io/name=triton) and
STAND_IN_TARGETS (namespace/pod/container=URL, comma-separated; replaces the query to the Kubernetes API).

Uses only the standard library: its image has no other packages.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import ssl
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

TIMEOUT_S: Final = 2.0
"""For one response of a pod or of the API: a terminating pod must not delay the values of the others."""
LARGEST: Final = 8 << 20
"""Bytes read of one response."""
METRICS_PORT: Final = 8002
MEMORY_MIB: Final = 15360
"""Memory of the simulated GPU: a T4's."""
MODEL_MIB: Final = 256
BUSY: Final = "share of time in which the owner's Triton was executing models"
SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
BANNER: Final = "# Stand-in for dcgm-exporter (triton-fleet): this machine has no GPU, and these are not measurements of one."


@dataclass(frozen=True)
class Counter:
    """A line of the counters file."""

    name: str
    kind: str
    text: str


@dataclass(frozen=True, order=True)
class Owner:
    """A container that owns a GPU."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True)
class Sample:
    """Triton's counters at one time: for each model and version, microseconds of execution, executions and requests so far."""

    at: float
    models: Mapping[tuple[str, str], tuple[float, float, float]]


@dataclass(frozen=True)
class Gpu:
    """Values of one GPU."""

    index: int
    owner: Owner | None
    busy: float
    """Share of time, 0 to 1."""
    models: int

    @property
    def used_mib(self) -> int:
        """Memory in use."""
        return min(MEMORY_MIB, self.models * MODEL_MIB)


FIELDS: Final[dict[str, tuple[Callable[[Gpu], str], str]]] = {
    "DCGM_FI_DEV_GPU_UTIL": (lambda gpu: f"{gpu.busy * 100:.0f}", BUSY),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": (lambda gpu: f"{gpu.busy:.6f}", BUSY),
    "DCGM_FI_DEV_GPU_TEMP": (lambda gpu: f"{35 + 35 * gpu.busy:.0f}", "modeled from utilization"),
    "DCGM_FI_DEV_POWER_USAGE": (lambda gpu: f"{10 + 60 * gpu.busy:.6f}", "modeled from utilization"),
    "DCGM_FI_DEV_FB_USED": (lambda gpu: f"{gpu.used_mib}", f"modeled, {MODEL_MIB} MiB per loaded model"),
    "DCGM_FI_DEV_FB_FREE": (lambda gpu: f"{MEMORY_MIB - gpu.used_mib}", f"modeled, {MODEL_MIB} MiB per loaded model"),
}
"""Supported fields: value as dcgm-exporter formats it, and meaning for the HELP line."""


def parse_counters(text: str) -> list[Counter]:
    """Read the counters file: one "field, type, help" per line; # starts a comment. Raises ValueError with the number of a bad line."""
    counters = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = [part.strip() for part in line.split(",", 2)]
        if len(parts) != 3:  # noqa: PLR2004 - field, type, help
            raise ValueError(f"line {number} ({line.strip()!r}) must be: field, type, help")
        counters.append(Counter(*parts))
    return counters


def parse_triton(text: str, at: float) -> Sample:
    """Read from Triton's metrics how long models were executing."""
    wanted = {"nv_inference_compute_infer_duration_us": 0, "nv_inference_exec_count": 1, "nv_inference_request_success": 2}
    models: dict[tuple[str, str], list[float]] = {}
    for line in text.splitlines():
        name, brace, rest = line.partition("{")
        if not brace or name not in wanted:
            continue
        labels, _, value = rest.rpartition("} ")
        pairs = dict(part.split("=", 1) for part in labels.split(",") if "=" in part)
        key = (pairs.get("model", "").strip('"'), pairs.get("version", "").strip('"'))
        try:
            models.setdefault(key, [0.0, 0.0, 0.0])[wanted[name]] += float(value)
        except ValueError:
            continue
    return Sample(at, {key: (row[0], row[1], row[2]) for key, row in models.items()})


def busy(before: Sample, after: Sample) -> float:
    """Return the share of time, 0 to 1, in which some model was executing between two samples.

    Triton adds an execution's duration once for each request of its batch, so the sum is divided by the requests per execution. Ensembles
    execute nothing themselves. A counter that decreased (the container restarted) counts from zero.
    """
    elapsed = (after.at - before.at) * 1e6
    if elapsed <= 0:
        return 0.0
    total = 0.0
    for key, now in after.models.items():
        then = before.models.get(key, (0.0, 0.0, 0.0))
        if any(new < old for new, old in zip(now, then, strict=True)):
            then = (0.0, 0.0, 0.0)
        duration, executions, requests = (new - old for new, old in zip(now, then, strict=True))
        if requests > 0 and executions > 0:
            total += duration * min(executions / requests, 1.0)
    return max(0.0, min(1.0, total / elapsed))


def fetch(url: str, headers: Mapping[str, str] | None = None, context: ssl.SSLContext | None = None) -> str:
    """Return the body of ``url``: at most LARGEST bytes, with TIMEOUT_S for each read."""
    request = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310 - http and https addresses of this cluster
    with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as response:  # noqa: S310
        body: bytes = response.read(LARGEST)
    return body.decode("utf-8", "replace")


def targets_from_text(text: str) -> dict[Owner, str]:
    """Read STAND_IN_TARGETS. Raises ValueError for an entry that is not namespace/pod/container=URL."""
    targets = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, _, url = entry.partition("=")
        parts = name.split("/")
        if len(parts) != 3 or not url.startswith(("http://", "https://")):  # noqa: PLR2004 - namespace, pod, container
            raise ValueError(f"STAND_IN_TARGETS ({entry!r}) must be namespace/pod/container=http://host:port/metrics")
        targets[Owner(*parts)] = url
    return targets


def targets_from_pods(pods: Iterable[Mapping[str, Any]]) -> dict[Owner, str]:
    """Return the metrics URL of each running pod, of the container whose port is named metrics or http-metrics, or is 8002."""
    targets = {}
    for pod in pods:
        address = pod.get("status", {}).get("podIP")
        if not address or pod.get("status", {}).get("phase") != "Running":
            continue
        host = f"[{address}]" if ":" in address else address
        containers = pod["spec"]["containers"]
        name, port = containers[0]["name"], METRICS_PORT
        for container in containers:
            for entry in container.get("ports") or []:
                if entry.get("name") in {"metrics", "http-metrics"} or entry.get("containerPort") == METRICS_PORT:
                    name, port = container["name"], entry["containerPort"]
        targets[Owner(pod["metadata"]["namespace"], pod["metadata"]["name"], name)] = f"http://{host}:{port}/metrics"
    return targets


def targets_from_api(environment: Mapping[str, str], account: Path = SERVICE_ACCOUNT) -> dict[Owner, str]:
    """List this node's Triton pods with the Kubernetes API. Raises OSError if it is unreachable or refuses."""
    host, port = environment["KUBERNETES_SERVICE_HOST"], environment.get("KUBERNETES_SERVICE_PORT", "443")
    query = {"labelSelector": environment.get("STAND_IN_SELECTOR", "app.kubernetes.io/name=triton")}
    if node := environment.get("NODE_NAME"):
        query["fieldSelector"] = f"spec.nodeName={node}"
    url = f"https://{f'[{host}]' if ':' in host else host}:{port}/api/v1/pods?{urllib.parse.urlencode(query)}"
    token = (account / "token").read_text().strip()  # read each time: the kubelet rotates it
    context = ssl.create_default_context(cafile=str(account / "ca.crt"))
    found = json.loads(fetch(url, {"Authorization": f"Bearer {token}", "Accept": "application/json"}, context))
    return targets_from_pods(found.get("items") or [])


def find_targets(environment: Mapping[str, str]) -> dict[Owner, str]:
    """Return owners and their metrics URLs from STAND_IN_TARGETS, else from the Kubernetes API, else nothing."""
    if text := environment.get("STAND_IN_TARGETS"):
        return targets_from_text(text)
    return targets_from_api(environment) if "KUBERNETES_SERVICE_HOST" in environment else {}


@dataclass
class Collector:
    """Keeps the last samples and renders the metrics page.

    Args:
        counters: the metrics to show.
        hostname: the node's.
        targets: called at each collection.
        read: returns a metrics page.
        clock: monotonic seconds.
    """

    counters: Sequence[Counter]
    hostname: str
    targets: Callable[[], Mapping[Owner, str]]
    read: Callable[[str], str] = fetch
    clock: Callable[[], float] = time.monotonic
    page: str = ""
    _samples: dict[Owner, Sample] = field(default_factory=dict)
    _slots: dict[Owner, int] = field(default_factory=dict)
    _said: set[str] = field(default_factory=set)

    def collect(self) -> None:
        """Read every owner once and render the page."""
        try:
            targets = self.targets()
        except (OSError, ValueError, KeyError) as error:
            self._say_once(f"Triton's pods can't be listed ({error}): showing one idle GPU. The service account needs list on pods.")
            targets = {}
        with ThreadPoolExecutor(max_workers=16) as pool:
            samples = dict(zip(targets, pool.map(self._sample, targets.values()), strict=True))
        before = self._samples
        shares = {owner: busy(before[owner], sample) if sample and owner in before else 0.0 for owner, sample in samples.items()}
        # An owner that does not answer keeps its last sample: its next share is the mean over the gap.
        self._samples = {owner: sample or self._samples[owner] for owner, sample in samples.items() if sample or owner in self._samples}
        self._assign(list(targets))
        gpus = [
            Gpu(index, owner, shares[owner], len(self._samples[owner].models) if owner in self._samples else 0)
            for owner, index in self._slots.items()
        ]
        self.page = self.render(gpus or [Gpu(0, None, 0.0, 0)])

    def _sample(self, url: str) -> Sample | None:
        try:
            return parse_triton(self.read(url), self.clock())
        except (OSError, ValueError):
            return None  # starting or terminating

    def _assign(self, owners: Sequence[Owner]) -> None:
        """Assign the lowest free GPUs to new owners; the others keep theirs."""
        self._slots = {owner: index for owner, index in self._slots.items() if owner in owners}
        for owner in sorted(set(owners) - set(self._slots)):
            taken = set(self._slots.values())
            self._slots[owner] = next(index for index in range(len(taken) + 1) if index not in taken)

    def render(self, gpus: Sequence[Gpu]) -> str:
        """Return the page in Prometheus's text format, with labels in dcgm-exporter's order."""
        shown = [counter for counter in self.counters if counter.kind != "label"]
        driver = any(counter.kind == "label" and counter.name == "DCGM_FI_DRIVER_VERSION" for counter in self.counters)
        lines = [BANNER]
        for counter in shown:
            if counter.name not in FIELDS:
                self._say_once(f"{counter.name} is not supported by the stand-in: it is left out.")
                continue
            value, meaning = FIELDS[counter.name]
            lines += [f"# HELP {counter.name} {counter.text} Stand-in: {meaning}.", f"# TYPE {counter.name} {counter.kind}"]
            for gpu in sorted(gpus, key=lambda gpu: gpu.index):
                labels = self._labels(gpu, driver=driver)
                written = ",".join(f'{name}="{escape(value)}"' for name, value in labels.items())
                lines.append(f"{counter.name}{{{written}}} {value(gpu)}")
        return "\n".join(lines) + "\n"

    def _labels(self, gpu: Gpu, *, driver: bool) -> dict[str, str]:
        labels = {
            "gpu": str(gpu.index),
            "UUID": f"GPU-{uuid.uuid5(uuid.NAMESPACE_DNS, f'{gpu.index}.{self.hostname}')}",
            "pci_bus_id": f"00000000:{gpu.index:02X}:00.0",
            "device": f"nvidia{gpu.index}",
            "modelName": "Stand-in GPU",
            "Hostname": self.hostname,
        }
        if driver:
            labels["DCGM_FI_DRIVER_VERSION"] = "stand-in"
        if gpu.owner:
            labels |= {"container": gpu.owner.container, "namespace": gpu.owner.namespace, "pod": gpu.owner.pod}
        return labels

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            print(text, file=sys.stderr, flush=True)


def escape(value: str) -> str:
    """Escape a label's value for Prometheus's text format."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def make_server(address: str, collector: Collector) -> ThreadingHTTPServer:
    """Return a server of /metrics and /health on ``address`` (":9400" means every IPv4 address) that is not serving yet."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            page = collector.page
            pages = {
                "/metrics": (200, page, "text/plain; version=0.0.4; charset=utf-8"),
                "/health": (200 if page else 503, "OK" if page else "KO", "text/plain"),
                "/": (200, '<html><body><h1>GPU Exporter (stand-in)</h1><a href="./metrics">Metrics</a></body></html>', "text/html"),
            }
            self._answer(*pages.get(urllib.parse.urlsplit(self.path).path, (404, "404 page not found\n", "text/plain")))

        def _answer(self, status: int, text: str, kind: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Log nothing: probes and scrapes would fill the log."""

    host, _, port = address.rpartition(":")
    server = ThreadingHTTPServer((host, int(port)), Handler)
    server.daemon_threads = True
    return server


def arguments(command_line: Sequence[str], environment: Mapping[str, str]) -> argparse.Namespace:
    """Read dcgm-exporter's flags; those without meaning here are listed once and ignored."""
    title, given = "Stand-in for NVIDIA's dcgm-exporter on a machine without a GPU.", environment.get
    parser = argparse.ArgumentParser(prog="dcgm-exporter", description=title, allow_abbrev=False)
    parser.add_argument("-f", "--collectors", default=given("DCGM_EXPORTER_COLLECTORS", "/etc/dcgm-exporter/default-counters.csv"))
    parser.add_argument("-a", "--address", default=given("DCGM_EXPORTER_LISTEN", ":9400"))
    parser.add_argument("-c", "--collect-interval", type=int, default=given("DCGM_EXPORTER_INTERVAL", "30000"), help="ms (default 30000)")
    parser.add_argument("-k", "--kubernetes", nargs="?", const="true", default=given("DCGM_EXPORTER_KUBERNETES", "false"))
    known, ignored = parser.parse_known_args(command_line)
    if known.collect_interval <= 0:
        parser.error(f"the collect interval (-c, DCGM_EXPORTER_INTERVAL) ({known.collect_interval}) must be milliseconds above 0")
    if ignored:
        print(f"Ignored, because there is no GPU: {' '.join(ignored)}", file=sys.stderr, flush=True)
    return known


def main() -> int:
    """Collect and serve until SIGTERM or SIGINT."""
    options = arguments(sys.argv[1:], os.environ)
    try:
        counters = parse_counters(Path(options.collectors).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        print(f"The counters file {options.collectors} can't be used: {error}. Mount one there or name another with -f.", file=sys.stderr)
        return 1
    hostname = os.environ.get("NODE_NAME") or socket.gethostname()
    collector = Collector(counters, hostname, lambda: find_targets(os.environ))
    server = make_server(options.address, collector)
    # Signals wake the loop through a pipe: a handler that sets a threading.Event may run inside this thread's own wait for the event and
    # deadlock on the lock that the wait holds.
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    # Process 1 of a container ignores both without a handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    print(f"{BANNER[2:]} Listening on {options.address}, collecting every {options.collect_interval} ms.", file=sys.stderr, flush=True)
    due = time.monotonic()
    leaving = False
    while not leaving:
        collector.collect()
        due = max(due + options.collect_interval / 1000.0, time.monotonic())
        leaving = woken in select.select([woken], [], [], max(due - time.monotonic(), 0))[0]
    server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
