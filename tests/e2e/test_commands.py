"""The newcomer's commands on real pods: up, again, load with all that can be asked meanwhile, a rollout under clients that stay."""

from __future__ import annotations

import json
import re
import signal
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from local.cli import verify
from tests.e2e.clients import kept_connections
from tests.e2e.instances import CREATED, Instance
from tests.servers import eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Generator
    from pathlib import Path

pytestmark = pytest.mark.e2e


def test_up_ends_with_checked_inferences(instance: Instance, first_up: str) -> None:
    assert re.search(r"\d+ steps, (about|a moment)", first_up.splitlines()[0])
    assert "Triton serves" in first_up
    assert "HTTP inference" in first_up
    assert "gRPC inference" in first_up
    assert "avg_time_queue_us on custom.metrics.k8s.io" in first_up
    assert str(instance.state / "kubeconfig") in first_up
    endpoints = instance.config.endpoints
    assert verify.infer_http(endpoints["triton-http"]).text == verify.infer_grpc(endpoints["triton-grpc"]).text


@pytest.fixture(scope="module")
def second_up(instance: Instance, first_up: str) -> tuple[str, str]:
    """What a second `up` said, and what a `destroy` was told that came in the middle of it."""
    instance.ensure_served()
    process = instance.start("up")
    assert process.stdout is not None
    with process.stdout as output:
        said = output.readline()
        process.send_signal(signal.SIGSTOP)  # or it may end before the other command has begun
        refused = instance.result("destroy")
        process.send_signal(signal.SIGCONT)
        said += output.read()
    assert process.wait() == 0, said
    assert refused.returncode == 1, refused.stdout
    assert f"process {process.pid}" in refused.stderr
    return said, refused.stderr


def test_second_up_changes_nothing(second_up: tuple[str, str]) -> None:
    again, _ = second_up
    assert "unchanged" in again
    assert not CREATED.search(again), again


def test_a_second_command_waits_for_nobody(instance: Instance, second_up: tuple[str, str]) -> None:
    again, refused = second_up
    assert f"Instance {instance.config.instance} is in use by process" in refused
    assert "Triton serves" in again


# ------------------------------------------------------------------ load, and what is asked meanwhile
@dataclass(kw_only=True)
class Load:
    """A load under way."""

    process: subprocess.Popen[str]
    folder: Path
    lines: list[str] = field(default_factory=list)

    def read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)


@pytest.fixture(scope="module")
def load(instance: Instance, second_up: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Generator[Load]:
    """A load shorter than a user's: it ends when the autoscaler has taken back what it gave."""
    folder = tmp_path_factory.mktemp("load")
    instance.ensure_served()
    running = Load(process=instance.start("load", "--seconds", "36", "--out", str(folder)), folder=folder)
    reader = threading.Thread(target=running.read)
    reader.start()
    yield running
    running.process.terminate()
    running.process.wait()
    reader.join()


def test_plain_tools_work_after_env(instance: Instance, load: Load) -> None:
    assert "triton" in json.loads(instance.shell("pulumi stack output --json"))["serving"]
    assert "triton-" in instance.shell("kubectl get pods -n triton -o name")
    assert {"kps", "prometheus-adapter", "dcgm-exporter"} <= {one["name"] for one in json.loads(instance.shell("helm list -A -o json"))}


def test_env_prints_exports_and_nothing_else(instance: Instance, load: Load) -> None:
    assert all(line.startswith("export ") for line in instance.run("env").splitlines())


def test_status_and_doctor(instance: Instance, load: Load) -> None:
    assert "kubelet" in instance.run("status")
    assert "kubernetes plugin" in instance.run("doctor")


@pytest.fixture
def settling(load: Load) -> None:
    """The surge is over and the replicas go back: most of that is waiting, and whoever asks anything now may find any number of them."""
    eventually(lambda: load.process.poll() is not None or any(line.endswith("settling\n") for line in load.lines), "the end of the surge")


def test_preview_shows_no_change_and_none_after_refresh(instance: Instance, settling: None) -> None:
    """However many replicas there are: their number is the autoscaler's."""
    instance.shell("pulumi preview --expect-no-changes --non-interactive")
    instance.shell("pulumi preview --expect-no-changes --non-interactive")
    instance.shell("pulumi refresh --yes --skip-preview --non-interactive --expect-no-changes")
    instance.shell("pulumi preview --expect-no-changes --non-interactive")


def test_load_scales_out_and_back_without_losing_a_request(load: Load) -> None:
    code = load.process.wait()
    assert code == 0, "".join(load.lines)
    told = json.loads((load.folder / "load.json").read_text())
    assert told["summary"]["failed"] == 0, told["summary"]["errors"]
    assert told["summary"]["replicas_peak"] > told["summary"]["replicas_before"] == 1
    assert told["summary"]["replicas_after"] == 1
    assert told["summary"]["requests"] > 1000
    assert (load.folder / "load.png").read_bytes().startswith(b"\x89PNG")


def test_clients_that_keep_their_connection_lose_nothing_in_a_rollout(served: Instance) -> None:
    """docs/drain.md: connections are recycled while the pod that leaves still answers, and calls under way end on it."""
    pods = "kubectl get pods --namespace triton --selector app.kubernetes.io/name=triton --output name"
    before = set(served.shell(pods).split())
    assert before
    with kept_connections(served.config.endpoints["triton-grpc"], 5) as calls:
        served.shell("kubectl rollout restart --namespace triton deployment/triton")
        served.shell("kubectl rollout status --namespace triton deployment/triton --timeout=5m")
        eventually(lambda: not before & set(served.shell(pods).split()), "the end of the old pods")
        alone = calls.answered
        eventually(lambda: calls.answered >= alone + 10 or calls.failed, "the new pod's answers to all of them")
    assert calls.failed == []
    assert calls.answered >= alone + 10
