"""The stand-in for dcgm-exporter: what it reads, what it reckons, and that its page and its flags are the real one's."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from local.images.dcgm_exporter import exporter
from local.images.dcgm_exporter.exporter import Collector, Counter, Owner, Sample, busy, parse_counters, parse_triton
from tests.servers import PATIENCE_S, Text, fetch, free_port

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

UTIL = Counter("DCGM_FI_DEV_GPU_UTIL", "gauge", "GPU utilization (in %).")
ENGINE = Counter("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "gauge", "Ratio of time the graphics engine is active.")
DRIVER = Counter("DCGM_FI_DRIVER_VERSION", "label", "Driver Version")
POD = Owner("triton", "triton-0", "triton")


def triton_page(duration_us: float, executions: float, requests: float, model: str = "busy") -> str:
    labels = f'{{model="{model}",version="1"}}'
    return (
        "# HELP nv_inference_request_success Number of successful inference requests, all batch sizes\n"
        f"nv_inference_request_success{labels} {requests}\n"
        f"nv_inference_exec_count{labels} {executions}\n"
        f"nv_inference_compute_infer_duration_us{labels} {duration_us}\n"
        f"nv_inference_queue_duration_us{labels} 12345\n"
        "nv_cpu_utilization 0.5\n"
    )


# ------------------------------------------------------------------------------------------------ reading
def test_counters_file_is_read_as_dcgm_exporter_reads_it() -> None:
    text = "# comment\n\n  # another\nDCGM_FI_DEV_GPU_UTIL, gauge, GPU utilization (in %).\nDCGM_FI_DRIVER_VERSION, label, Driver Version\n"
    assert parse_counters(text) == [UTIL, DRIVER]
    with pytest.raises(ValueError, match=r"line 2 \('WRONG'\) must be"):
        parse_counters("\nWRONG\n")


def test_files_in_the_image_name_only_what_the_stand_in_knows(project: Path) -> None:
    for name in ("default-counters.csv", "dcp-metrics-included.csv"):
        counters = parse_counters((project / "local/images/dcgm_exporter" / name).read_text())
        assert {counter.name for counter in counters if counter.kind != "label"} == set(exporter.FIELDS)


def test_tritons_page_is_read_by_model_and_version() -> None:
    sample = parse_triton(triton_page(100.0, 2, 4) + triton_page(7.0, 1, 1, model="add_sub"), 5.0)
    assert sample == Sample(5.0, {("busy", "1"): (100.0, 2.0, 4.0), ("add_sub", "1"): (7.0, 1.0, 1.0)})
    assert parse_triton('nv_inference_exec_count{model="x",version="1"} nonsense\n<html>{} 1', 1.0).models in (
        {},
        {("x", "1"): (0.0, 0.0, 0.0)},
    )


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ((0.0, 0, 0), (500_000.0, 10, 10), 0.5),  # ten executions of 50 ms in a second
        ((0.0, 0, 0), (2_000_000.0, 10, 40), 0.5),  # batches of four: Triton adds the duration once a request
        ((0.0, 0, 0), (0.0, 0, 0), 0.0),
        ((0.0, 0, 0), (5_000_000.0, 10, 10), 1.0),  # several instances: no more than all the time
        ((900_000.0, 90, 90), (100_000.0, 2, 2), 0.1),  # restarted in between
        ((0.0, 0, 0), (0.0, 0, 40), 0.0),  # an ensemble executes nothing itself
    ],
)
def test_busy_is_the_share_of_time_in_execution(
    before: tuple[float, float, float], after: tuple[float, float, float], share: float
) -> None:
    key = ("busy", "1")
    assert busy(Sample(10.0, {key: before}), Sample(11.0, {key: after})) == pytest.approx(share)


def test_busy_of_no_time_is_nothing() -> None:
    sample = Sample(10.0, {("busy", "1"): (1.0, 1.0, 1.0)})
    assert busy(sample, sample) == 0.0


# ------------------------------------------------------------------------------------------------ finding owners
def pod(
    name: str, *, phase: str = "Running", address: str | None = "10.1.2.3", containers: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "triton", "name": name},
        "spec": {"containers": containers or [{"name": "triton", "ports": [{"name": "http", "containerPort": 8000}]}]},
        "status": {"phase": phase, "podIP": address} if address else {"phase": phase},
    }


def test_running_pods_own_gpus_by_the_container_that_serves_metrics() -> None:
    two = [
        {"name": "sidecar", "ports": [{"name": "admin", "containerPort": 1}]},
        {"name": "server", "ports": [{"name": "http-metrics", "containerPort": 9002}]},
    ]
    pods = [
        pod("a"),
        pod("b", containers=two),
        pod("starting", address=None),
        pod("done", phase="Succeeded"),
        pod("six", address="fd00::1"),
    ]
    assert exporter.targets_from_pods(pods) == {
        Owner("triton", "a", "triton"): "http://10.1.2.3:8002/metrics",
        Owner("triton", "b", "server"): "http://10.1.2.3:9002/metrics",
        Owner("triton", "six", "triton"): "http://[fd00::1]:8002/metrics",
    }


def test_targets_by_hand() -> None:
    assert exporter.find_targets({"STAND_IN_TARGETS": "n/p/c=http://h:1/metrics, n/q/c=http://i:1/m"}) == {
        Owner("n", "p", "c"): "http://h:1/metrics",
        Owner("n", "q", "c"): "http://i:1/m",
    }
    assert exporter.find_targets({}) == {}
    with pytest.raises(ValueError, match=r"namespace/pod/container=http"):
        exporter.find_targets({"STAND_IN_TARGETS": "pod=http://h"})


def test_the_api_is_asked_for_this_nodes_pods_with_the_accounts_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("secret\n")
    (tmp_path / "ca.crt").write_text("")
    asked: list[tuple[str, Any]] = []

    def fetch(url: str, headers: Any = None, context: object = None) -> str:
        asked.append((url, headers))
        return json.dumps({"items": [pod("a")]})

    monkeypatch.setattr(exporter, "fetch", fetch)
    monkeypatch.setattr("ssl.create_default_context", lambda cafile: cafile)
    environment = {"KUBERNETES_SERVICE_HOST": "10.113.0.1", "NODE_NAME": "node-1"}
    assert list(exporter.targets_from_api(environment, tmp_path)) == [Owner("triton", "a", "triton")]
    url, headers = asked[0]
    assert url == "https://10.113.0.1:443/api/v1/pods?labelSelector=app.kubernetes.io%2Fname%3Dtriton&fieldSelector=spec.nodeName%3Dnode-1"
    assert headers["Authorization"] == "Bearer secret"


# ------------------------------------------------------------------------------------------------ the page
class Fleet:
    """Pods whose counters a test sets, and a clock."""

    def __init__(self, counters: list[Counter]) -> None:
        self.pages: dict[Owner, str | OSError] = {}
        self.now = 100.0
        self.broken: Exception | None = None
        self.collector = Collector(counters, "node-1", self.targets, read=self.read, clock=lambda: self.now)

    def targets(self) -> dict[Owner, str]:
        if self.broken:
            raise self.broken
        return {owner: owner.pod for owner in self.pages}

    def read(self, url: str) -> str:
        page = next(page for owner, page in self.pages.items() if owner.pod == url)
        if isinstance(page, OSError):
            raise page
        return page

    def collect(self, seconds: float = 10.0) -> list[str]:
        self.now += seconds
        self.collector.collect()
        return [line for line in self.collector.page.splitlines() if not line.startswith("#")]


def test_without_pods_one_idle_gpu_is_nobodys() -> None:
    fleet = Fleet([UTIL, DRIVER])
    (line,) = fleet.collect()
    uuid = re.search(r'UUID="(GPU-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})"', line)
    assert uuid is not None
    assert line == (
        f'DCGM_FI_DEV_GPU_UTIL{{gpu="0",UUID="{uuid[1]}",pci_bus_id="00000000:00:00.0",device="nvidia0",'
        'modelName="Stand-in GPU",Hostname="node-1",DCGM_FI_DRIVER_VERSION="stand-in"} 0'
    )
    page = fleet.collector.page
    assert page.startswith("# Stand-in for dcgm-exporter")
    assert "# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %). Stand-in: share of time in which" in page
    assert "# TYPE DCGM_FI_DEV_GPU_UTIL gauge\n" in page


def test_an_owner_is_named_and_its_share_is_of_the_time_since_the_last_collection() -> None:
    fleet = Fleet([UTIL, ENGINE])
    fleet.pages[POD] = triton_page(0, 0, 0)
    assert fleet.collect()[0].endswith(',Hostname="node-1",container="triton",namespace="triton",pod="triton-0"} 0')
    fleet.pages[POD] = triton_page(2_500_000, 50, 50)
    util, engine = fleet.collect(10.0)
    assert util.endswith("} 25")
    assert engine.endswith("} 0.250000")
    assert fleet.collect(10.0)[0].endswith("} 0")


def test_gpus_keep_their_owners_and_free_ones_are_used_again() -> None:
    fleet = Fleet([UTIL])
    first, second, third = (Owner("triton", f"triton-{letter}", "triton") for letter in "bca")

    def owners() -> dict[str, str]:
        return {line.split('pod="')[1].split('"')[0]: line.split('gpu="')[1].split('"')[0] for line in fleet.collect()}

    fleet.pages = dict.fromkeys([first, second], triton_page(0, 0, 0))
    assert owners() == {"triton-b": "0", "triton-c": "1"}
    fleet.pages = dict.fromkeys([second, third], triton_page(0, 0, 0))
    assert owners() == {"triton-c": "1", "triton-a": "0"}


def test_a_pod_that_does_not_answer_is_idle_and_its_next_share_spans_the_gap() -> None:
    fleet = Fleet([UTIL])
    fleet.pages[POD] = triton_page(0, 0, 0)
    fleet.collect()
    fleet.pages[POD] = OSError("refused")
    assert fleet.collect(10.0)[0].endswith("} 0")
    fleet.pages[POD] = triton_page(10_000_000, 10, 10)
    assert fleet.collect(10.0)[0].endswith("} 50")


def test_missing_rights_show_an_idle_gpu_and_are_said_once(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = Fleet([UTIL])
    fleet.broken = urllib.error.URLError("HTTP Error 403: Forbidden")
    assert len(fleet.collect()) == 1
    fleet.collect()
    told = capsys.readouterr().err
    assert told.count("needs list on pods") == 1


def test_fields_that_the_stand_in_lacks_are_left_out_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    fleet = Fleet([UTIL, Counter("DCGM_FI_DEV_XID_ERRORS", "gauge", "Value of the last XID error encountered.")])
    assert [line.split("{")[0] for line in fleet.collect()] == ["DCGM_FI_DEV_GPU_UTIL"]
    assert "DCGM_FI_DEV_XID_ERRORS is not supported" in capsys.readouterr().err


def test_label_values_are_escaped() -> None:
    assert exporter.escape('a"b\\c\nd') == 'a\\"b\\\\c\\nd'


# ------------------------------------------------------------------------------------------------ flags
@pytest.mark.parametrize("flag", [["-c", "1000"], ["--collect-interval=1000"], ["--collect-interval", "1000"]])
def test_flags_are_those_of_dcgm_exporter(flag: list[str]) -> None:
    options = exporter.arguments(["-f", "/x.csv", *flag, "-k", "-a", ":9401"], {"DCGM_EXPORTER_INTERVAL": "5"})
    assert (options.collectors, options.collect_interval, options.address, options.kubernetes) == ("/x.csv", 1000, ":9401", "true")


def test_environment_and_defaults_are_those_of_dcgm_exporter() -> None:
    options = exporter.arguments([], {})
    assert (options.collectors, options.collect_interval, options.address) == ("/etc/dcgm-exporter/default-counters.csv", 30000, ":9400")
    options = exporter.arguments(
        [], {"DCGM_EXPORTER_INTERVAL": "2000", "DCGM_EXPORTER_LISTEN": "127.0.0.1:1", "DCGM_EXPORTER_COLLECTORS": "/y"}
    )
    assert (options.collectors, options.collect_interval, options.address) == ("/y", 2000, "127.0.0.1:1")


def test_flags_that_mean_nothing_here_are_ignored_aloud(capsys: pytest.CaptureFixture[str]) -> None:
    assert exporter.arguments(["--kubernetes-gpu-id-type=uid", "-c", "1000"], {}).collect_interval == 1000
    assert "--kubernetes-gpu-id-type=uid" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["0", "-5", "soon"])
def test_an_interval_that_is_none_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        exporter.arguments([f"--collect-interval={value}"], {})
    assert value in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------ the program
@pytest.fixture
def triton() -> Generator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = triton_page(time.monotonic() * 250_000, time.monotonic() * 5, time.monotonic() * 5).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    thread.join()
    server.server_close()


def test_health_says_no_until_there_are_values() -> None:
    collector = Collector([UTIL], "node-1", dict)
    server = exporter.make_server("127.0.0.1:0", collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    assert fetch(f"{base}/health") == (503, "KO")
    collector.collect()
    assert fetch(f"{base}/health") == (200, "OK")
    Text(f"{base}/metrics").when(lambda page: page == collector.page, "the collected page")
    assert fetch(f"{base}/")[0] == 200
    assert fetch(f"{base}/nothing")[0] == 404
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_program_reads_a_triton_and_leaves_when_asked(project: Path, triton: str) -> None:
    folder = project / "local/images/dcgm_exporter"
    port = free_port()
    command = [
        sys.executable,
        "-I",
        "-S",
        str(folder / "exporter.py"),
        "-f",
        str(folder / "default-counters.csv"),
        "--collect-interval=100",
    ]
    environment = {
        **os.environ,
        "DCGM_EXPORTER_LISTEN": f"127.0.0.1:{port}",
        "NODE_NAME": "node-1",
        "STAND_IN_TARGETS": f"triton/triton-0/triton={triton}",
    }
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)

    # A quarter of the time; single collections are off where the machine is busy between the server's clock and the exporter's.
    utilization = re.compile(r'^DCGM_FI_DEV_GPU_UTIL\{.*pod="triton-0".*\} 2\d$', re.MULTILINE)
    try:
        Text(f"http://127.0.0.1:{port}/metrics", process).when(utilization.search, "a busy GPU")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()


def test_without_its_counters_file_the_program_says_what_to_do(project: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(project / "local/images/dcgm_exporter/exporter.py"), "-f", str(tmp_path / "none.csv")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "none.csv can't be used" in done.stderr
    assert "name another with -f" in done.stderr
