"""The newcomer's commands on real pods, in order on one instance: up, again, preview, load, kills in the middle, destroy, down."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.cli import verify
from local.platform import Platform, PlatformConfig
from tests.conftest import ROOT, lacks
from tests.e2e.clients import kept_connections

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

pytestmark = pytest.mark.e2e

NAMESPACES = {"triton", "monitoring", "dcgm"}
CREATED = re.compile(r"[+~-] \d+ (created|updated|replaced|deleted)")
UP_LIMIT_S = 4200.0  # nothing is waited for: only so that a hang ends; a cold cache takes long


@dataclass(frozen=True, kw_only=True)
class Instance:
    environment: dict[str, str]
    config: PlatformConfig
    state: Path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "local.cli", *arguments]

    def run(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command(*arguments), cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=UP_LIMIT_S
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def shell(self, line: str) -> str:
        """What a user types after eval "$(make -s env)"."""
        script = f'set -eu\neval "$("{sys.executable}" -m local.cli env)"\n{line}'
        done = subprocess.run(
            ["bash", "-c", script], cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def namespaces(self) -> set[str]:
        return set(self.shell("kubectl get namespaces -o name | sed s,namespace/,,").split())


@pytest.fixture(scope="module")
def instance() -> Generator[Instance]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PULUMI_", "KUBE"))}
    made = None
    if "TRITON_FLEET_HOME" not in environment:
        made = tempfile.mkdtemp(prefix="tft-")
        environment |= {"TRITON_FLEET_HOME": made, "TRITON_FLEET_INSTANCE": "test", "TRITON_FLEET_PORT_OFFSET": "4000"}
    name = "up"
    environment["TRITON_FLEET_INSTANCE"] = name
    state = Path(environment["TRITON_FLEET_HOME"]) / name
    config = PlatformConfig(instance=name, port_offset=int(environment["TRITON_FLEET_PORT_OFFSET"]), root=state)
    failed = [check for check in Platform(config).preflight() if check.required and not check.ok]
    if failed:
        lacks(f"this machine can't run the embedded platform: {failed[0]}")
    yield Instance(environment=environment, config=config, state=state)
    Platform(config).stop()
    if made is not None:
        shutil.rmtree(made)


@pytest.fixture(scope="module")
def status_before() -> str:
    return git_status()


def git_status() -> str:
    if not (ROOT / ".git").exists():
        return ""
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def up_output(instance: Instance, status_before: str) -> str:
    return instance.run("up")


def test_up_ends_with_checked_inferences(instance: Instance, up_output: str) -> None:
    assert re.search(r"\d+ steps, (about|a moment)", up_output.splitlines()[0])
    assert "Triton serves" in up_output
    assert "HTTP inference" in up_output
    assert "gRPC inference" in up_output
    assert "avg_time_queue_us on custom.metrics.k8s.io" in up_output
    assert str(instance.state / "kubeconfig") in up_output
    endpoints = instance.config.endpoints
    assert verify.infer_http(endpoints["triton-http"]).text == verify.infer_grpc(endpoints["triton-grpc"]).text


def test_second_up_changes_nothing(instance: Instance, up_output: str) -> None:
    again = instance.run("up")
    assert "unchanged" in again
    assert not CREATED.search(again), again


def test_preview_shows_no_change_twice_and_after_refresh(instance: Instance, up_output: str) -> None:
    for _ in range(2):
        instance.shell("pulumi preview --expect-no-changes --non-interactive")
    instance.shell("pulumi refresh --yes --skip-preview --non-interactive --expect-no-changes")
    instance.shell("pulumi preview --expect-no-changes --non-interactive")


def test_plain_tools_work_after_env(instance: Instance, up_output: str) -> None:
    assert "triton" in json.loads(instance.shell("pulumi stack output --json"))["serving"]
    assert "triton-" in instance.shell("kubectl get pods -n triton -o name")
    assert {"kps", "prometheus-adapter", "dcgm-exporter"} <= {one["name"] for one in json.loads(instance.shell("helm list -A -o json"))}


def test_env_prints_exports_and_nothing_else(instance: Instance, up_output: str) -> None:
    assert all(line.startswith("export ") for line in instance.run("env").splitlines())


def test_status_and_doctor(instance: Instance, up_output: str) -> None:
    assert "kubelet" in instance.run("status")
    assert "kubernetes plugin" in instance.run("doctor")


def test_load_scales_out_and_back_without_losing_a_request(instance: Instance, up_output: str, tmp_path: Path) -> None:
    instance.run("load", "--seconds", "48", "--out", str(tmp_path))
    told = json.loads((tmp_path / "load.json").read_text())
    assert told["summary"]["failed"] == 0, told["summary"]["errors"]
    assert told["summary"]["replicas_peak"] > told["summary"]["replicas_before"] == 1
    assert told["summary"]["replicas_after"] == 1
    assert told["summary"]["requests"] > 1000
    assert (tmp_path / "load.png").read_bytes().startswith(b"\x89PNG")


def test_clients_that_keep_their_connection_lose_nothing_in_a_rollout(instance: Instance, up_output: str) -> None:
    """docs/drain.md: connections are recycled while the pod that leaves still answers, and calls under way end on it."""
    pods = "kubectl get pods --namespace triton --selector app.kubernetes.io/name=triton --output name"
    before = set(instance.shell(pods).split())
    assert before
    with kept_connections(instance.config.endpoints["triton-grpc"], 5) as calls:
        instance.shell("kubectl rollout restart --namespace triton deployment/triton")
        instance.shell("kubectl rollout status --namespace triton deployment/triton --timeout=5m")
        deadline = time.monotonic() + 120
        while before & set(instance.shell(pods).split()) and time.monotonic() < deadline:
            time.sleep(0.5)
        alone = calls.answered
        while calls.answered < alone + 10 and not calls.failed and time.monotonic() < deadline:
            time.sleep(0.1)
    assert calls.failed == []
    assert calls.answered >= alone + 10, "the new pod answers all of them"
    assert not before & set(instance.shell(pods).split())


def test_a_second_command_waits_for_nobody(instance: Instance, up_output: str) -> None:
    first = subprocess.Popen(
        instance.command("up"), cwd=ROOT, env=instance.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert first.stdout is not None
    first.stdout.readline()
    second = subprocess.run(instance.command("destroy"), cwd=ROOT, env=instance.environment, capture_output=True, text=True, check=False)
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr
    assert first.stdout.read()
    assert first.wait() == 0
    first.stdout.close()


# ------------------------------------------------------------------ kills
def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def run_until(instance: Instance, command: str, moment: str, act: Callable[[int], None]) -> tuple[int, str]:
    """Start ``command`` in a process group of its own and ``act`` on it once, at the first line with ``moment``; exit code and output."""
    process = subprocess.Popen(
        instance.command(command),
        cwd=ROOT,
        env=instance.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    reached, text = False, ""
    for line in process.stdout:
        text += line
        if not reached and re.search(moment, line):
            reached = True
            act(process.pid)
    process.stdout.close()
    code = process.wait()
    assert reached, f"no line with {moment}:\n{text}"
    return code, text


def kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def kill_children(pid: int) -> None:
    for child in children(pid):
        os.kill(child, signal.SIGKILL)


def kill_at(instance: Instance, command: str, moment: str, *, everything: bool) -> None:
    """Kill ``command`` at the first line with ``moment``: Pulumi alone, or the command with all it started."""
    code, text = run_until(instance, command, moment, kill_group if everything else kill_children)
    assert code != 0, text


def test_up_ends_well_after_kills_at_five_moments(instance: Instance, up_output: str) -> None:
    instance.run("destroy")
    assert not NAMESPACES & instance.namespaces()
    moments: Sequence[tuple[str, bool]] = (
        (r"Namespace \S+ creating", False),
        (r"Release kps creating", True),
        (r"Release prometheus-adapter creating", False),
        (r"Release dcgm-exporter creating|Chart triton creating", True),
        (r"Deployment triton\S* creating", False),
    )
    for moment, everything in moments:
        kill_at(instance, "up", moment, everything=everything)
    output = instance.run("up")
    assert "Triton serves" in output
    instance.shell("pulumi preview --expect-no-changes --non-interactive")
    assert {one["status"] for one in json.loads(instance.shell("helm list -A --all -o json || helm list -A -o json"))} == {"deployed"}


def test_up_ends_well_after_a_killed_destroy(instance: Instance, up_output: str) -> None:
    kill_at(instance, "destroy", r"Namespace \S+ deleting|Release kps deleting", everything=False)
    assert "Triton serves" in instance.run("up")
    instance.shell("pulumi preview --expect-no-changes --non-interactive")


def test_interrupt_ends_in_order(instance: Instance, up_output: str) -> None:
    instance.run("destroy")
    code, text = run_until(instance, "up", "Release kps creating", lambda pid: os.killpg(pid, signal.SIGINT))  # what Ctrl-C does
    assert code == 130, text
    assert "goes on where it stopped" in text
    assert "Triton serves" in instance.run("up")


# ------------------------------------------------------------------ the way out
def test_destroy_leaves_nothing_in_the_cluster(instance: Instance, up_output: str) -> None:
    instance.run("destroy")
    assert not NAMESPACES & instance.namespaces()
    assert "custom.metrics.k8s.io" not in instance.shell("kubectl get apiservices -o name")
    assert json.loads(instance.shell("helm list -A -o json")) == []
    assert "is empty" in instance.run("destroy")


def test_a_cluster_of_ones_own(instance: Instance, up_output: str) -> None:
    """The platform's node plays the user's cluster, its charts and images a mirror's."""
    inherited = ("TRITON_FLEET_INSTANCE", "TRITON_FLEET_PORT_OFFSET")
    given = {
        "KUBECONFIG": str(instance.state / "kubeconfig"),
        "KUBE_CONTEXT": "triton-fleet",
        "BUCKET": "models",
        "S3_ENDPOINT": "http://10.111.0.1:7070",
        "CHARTS": "local/charts",
        "IMAGE": "triton-fleet.local/tritonserver:2.51.0-cpu",
        **{name: value for name, value in Platform(instance.config).environment().items() if name.startswith("AWS_")},
    }
    own = Instance(
        environment={name: value for name, value in instance.environment.items() if name not in inherited} | given,
        config=instance.config,
        state=instance.state,
    )
    output = own.run("up")
    assert "on your cluster triton-fleet" in output.splitlines()[0]
    assert "Triton serves" in output
    assert str(instance.state / "backend") not in output
    assert "kps" in own.shell("helm list -A")
    own.run("destroy")
    assert not NAMESPACES & instance.namespaces()


def test_down_leaves_nothing_on_the_machine(instance: Instance, up_output: str) -> None:
    instance.run("down")
    instance.run("down")
    marks = (str(instance.state), f"triton-fleet-{instance.config.instance}")
    deadline = time.monotonic() + 10
    while (left := leftovers(marks)) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert left == []
    for forward in instance.config.forwards:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", forward.port))
    assert "stopped" in instance.run("status", code=3)


def test_a_port_in_use_is_told_before_anything_starts(instance: Instance, up_output: str) -> None:
    port = next(forward.port for forward in instance.config.forwards if forward.name == "triton-http")
    with socket.create_server(("127.0.0.1", port)):
        done = subprocess.run(instance.command("up"), cwd=ROOT, env=instance.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "KUBE_CONTEXT=" in done.stderr
    assert "stopped" in instance.run("status", code=3)


def leftovers(marks: Sequence[str]) -> list[str]:
    """Processes, mounts and control groups with one of ``marks`` in them; interfaces of a node on the machine itself."""
    left = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            text = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") + (folder / "cgroup").read_text()
        except OSError:
            continue
        if any(mark in text for mark in marks):
            left.append(f"process {folder.name}: {text[:200]}")
    mounts = Path("/proc/self/mountinfo").read_text()
    left += [f"mount: {line}" for line in mounts.splitlines() if any(mark in line for mark in marks)]
    left += [f"control group: {folder}" for folder in Path("/sys/fs/cgroup").glob(f"**/{marks[1]}") if folder.is_dir()]
    left += [f"interface: {name}" for name in ("node0", "pods0") if Path("/sys/class/net", name).exists()]
    return left


def test_the_checkout_is_as_it_was(instance: Instance, up_output: str, status_before: str) -> None:
    assert git_status() == status_before
