"""The embedded platform for real, twice: an API without a node (seconds), and the whole node with pods. Root and the tools are needed.

Each test leaves the instance running and healthy for the next, so that one start serves them all.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local.paths import cache_root
from local.platform import NODE_TOOLS, Platform, PlatformConfig, PlatformError, bootstrap, cgroups, identity
from local.platform.api import Api
from local.platform.kubernetes import KERNEL_SETTINGS
from local.progress import SilentReporter
from tests.conftest import lacks, with_own_ports
from tests.e2e.instances import own_name
from tests.servers import eventually
from tests.servers import fetch as answer_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.toolchain import Toolchain

pytestmark = pytest.mark.e2e

WEB_PORT = 30800
PROGRAM = """
import http.server, os, signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = socket.gethostname().encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers(); self.wfile.write(body)
print("serving", flush=True)
http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Handler).serve_forever()
"""


def machine() -> dict[str, Any]:
    """What of this machine must not change: settings, network devices, routes, mounts."""
    return {
        "settings": {name: Path("/proc/sys", name).read_text() for name in KERNEL_SETTINGS},
        "forwarding": Path("/proc/sys/net/ipv4/ip_forward").read_text(),
        "devices": sorted(item.name for item in Path("/sys/class/net").iterdir()),
        "routes": Path("/proc/net/route").read_text(),
        "mounts": sorted(line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()),
        "run": sorted(item.name for item in Path("/run").iterdir()),
    }


@pytest.fixture(scope="module")
def untouched() -> Iterator[None]:
    """Compares the machine before everything and after everything here."""
    if os.geteuid() != 0:
        lacks("namespaces need root")
    before = machine()
    yield
    eventually(machine, "the machine as it was", lambda found: found == before)


@pytest.fixture(scope="module")
def tools(tool: Callable[[str], Path], toolchain: Toolchain) -> Toolchain:
    for name in NODE_TOOLS:
        tool(name)
    return toolchain


@dataclass(frozen=True, kw_only=True)
class Race:
    """Two starts at once of an instance that never ran."""

    platform: Platform
    errors: list[BaseException]


@pytest.fixture(scope="module")
def race(untouched: None, tools: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Race]:
    # A folder name with a space and far beyond a unix socket's 108 characters: nothing inside may depend on it.
    root = tmp_path_factory.mktemp("a state folder " + "x" * 100) / "state"
    config = with_own_ports(PlatformConfig(instance=own_name("api"), control_plane_only=True, root=root))
    race = Race(platform=Platform(config, tools), errors=[])

    def start() -> None:
        try:
            Platform(config, tools).start()
        except BaseException as error:  # noqa: BLE001 - shown by the test
            race.errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(2)]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        yield race
    finally:
        race.platform.stop()


@pytest.fixture
def control_plane(race: Race) -> Platform:
    """The API alone, running."""
    race.platform.start()
    return race.platform


@pytest.fixture(scope="module")
def node(untouched: None, tools: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    from local.images import build_all  # noqa: PLC0415 - only this test needs images

    images = build_all(tools, cache_root(), SilentReporter(), names=["pause:3.10", "coredns:v1.15.0", "dcgm-exporter:stand-in"])
    config = with_own_ports(PlatformConfig(instance=own_name("node"), root=tmp_path_factory.mktemp("node " + "y" * 100)))
    platform = Platform(config, tools, images)
    try:
        platform.start()
        yield platform
    finally:
        platform.stop()


def api_of(platform: Platform) -> Api:
    return Api(platform.layout.pki, platform.config.ports.apiserver, certificate="admin")


def pids(platform: Platform) -> dict[str, int]:
    return {item.name: item.pid for item in platform.status().components if item.pid is not None}


def kubectl_run(kubectl: Path, platform: Platform, *arguments: str) -> str:
    done = subprocess.run(
        [kubectl, *arguments], env={**os.environ, **platform.environment()}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- the API alone


def test_two_starts_at_once_make_one_node(race: Race) -> None:
    assert not race.errors
    assert race.platform.status().running
    assert all(item.restarts == 0 for item in race.platform.status().components)


def test_the_administrator_is_one_and_nobody_is_nobody(control_plane: Platform) -> None:
    with api_of(control_plane) as api:
        assert api.get("/api/v1/namespaces/kube-system") is not None
        assert (
            api.request(
                "POST",
                "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                {
                    "apiVersion": "authorization.k8s.io/v1",
                    "kind": "SelfSubjectAccessReview",
                    "spec": {"resourceAttributes": {"verb": "*", "resource": "*", "group": "*"}},
                },
            )[1].find(b'"allowed":true')
            > 0
        )
    import http.client  # noqa: PLC0415
    import ssl  # noqa: PLC0415

    context = ssl.create_default_context(cafile=str(control_plane.layout.pki / "ca.crt"))
    stranger = http.client.HTTPSConnection("127.0.0.1", control_plane.config.ports.apiserver, context=context, timeout=10)
    for path in ("/api/v1/namespaces", "/readyz", "/version"):
        stranger.request("GET", path)
        answer = stranger.getresponse()
        answer.read()
        assert answer.status == 401, path
    stranger.close()


def test_starting_again_changes_nothing(control_plane: Platform) -> None:
    before = pids(control_plane)
    control_plane.start()
    assert pids(control_plane) == before


def test_objects_outlive_a_kill_of_the_whole_node(control_plane: Platform) -> None:
    with api_of(control_plane) as api:
        api.apply(
            "/api/v1/namespaces/default/configmaps/kept",
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}, "data": {"a": "b"}},
        )
    record = identity.NodeRecord.read(control_plane.layout.node_record)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    assert identity.wait_gone(record, 30)
    eventually(lambda: not identity.inhabitants(record), "the end of the namespace")
    assert control_plane.status().phase == "stopped"
    control_plane.start()
    with api_of(control_plane) as api:
        found = api.get("/api/v1/namespaces/default/configmaps/kept")
    assert found is not None
    assert found["data"] == {"a": "b"}


def test_a_killed_supervised_process_heals_by_itself(control_plane: Platform) -> None:
    before = pids(control_plane)
    for name in ("etcd", "kube-apiserver", "forwarder"):
        os.kill(before[name], signal.SIGKILL)
    eventually(
        lambda: set(pids(control_plane).items()).isdisjoint({(n, before[n]) for n in ("etcd", "kube-apiserver", "forwarder")}),
        "new processes",
    )
    control_plane.start()
    assert control_plane.status().running
    assert pids(control_plane)["kube-scheduler"] == before["kube-scheduler"]


def test_a_stopped_supervisor_counts_as_hung_and_is_replaced(control_plane: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    record = identity.NodeRecord.read(control_plane.layout.node_record)
    assert record is not None
    os.kill(record.pid, signal.SIGSTOP)
    with monkeypatch.context() as sooner:
        sooner.setattr("local.platform.status._STALE_S", 4.0)
        eventually(lambda: control_plane.status().phase, "a supervisor that counts as hung", lambda phase: phase == "hung")
        control_plane.start()
    assert control_plane.status().running
    assert not identity.is_alive(record)


def test_another_shape_of_a_running_instance_is_refused(control_plane: Platform, tools: Toolchain) -> None:
    other = PlatformConfig(
        instance=own_name("api"), port_offset=control_plane.config.port_offset + 1, control_plane_only=True, root=control_plane.config.root
    )
    with pytest.raises(PlatformError, match="already runs with port offset"):
        Platform(other, tools).start()


def test_a_namesake_with_another_folder_is_refused_and_does_no_harm(control_plane: Platform, tools: Toolchain, tmp_path: Path) -> None:
    before = pids(control_plane)
    other = with_own_ports(PlatformConfig(instance=own_name("api"), control_plane_only=True, root=tmp_path / "other"))
    with pytest.raises(PlatformError, match=r"processes of another instance(.|\n)*TRITON_FLEET_INSTANCE"):
        Platform(other, tools).start()
    assert pids(control_plane) == before
    assert control_plane.status().running


def test_a_taken_port_is_named_with_its_owner(tools: Toolchain, untouched: None, tmp_path: Path) -> None:
    config = with_own_ports(PlatformConfig(instance=own_name("port"), control_plane_only=True, root=tmp_path / "s"))
    with (
        socket.create_server(("127.0.0.1", config.ports.apiserver)),
        pytest.raises(PlatformError, match=rf"{config.ports.apiserver}.*{os.getpid()}"),
    ):
        Platform(config, tools).start()


def test_a_stop_leaves_nothing_and_state_survives(control_plane: Platform) -> None:
    record = identity.NodeRecord.read(control_plane.layout.node_record)
    assert record is not None
    control_plane.stop()
    assert_nothing_left(control_plane, record)
    control_plane.stop()
    assert (control_plane.config.state / "etcd").is_dir()


def assert_nothing_left(platform: Platform, record: identity.NodeRecord) -> None:
    assert platform.status().phase == "stopped"
    assert identity.inhabitants(record) == {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # a single number may have gone to another program's new namespace
            assert identity.namespaces(int(entry.name)) != record.namespaces, entry
    hierarchies = cgroups.detect()
    assert not [top for top in hierarchies.everywhere if (top / platform.config.cgroup.lstrip("/")).exists()]
    for forward in platform.config.forwards:
        with socket.create_server(("127.0.0.1", forward.port)):
            pass


# ---- the whole node


def web(name: str, image: str, replicas: int) -> list[tuple[str, dict[str, Any]]]:
    labels = {"app": name}
    container = {
        "name": "web",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", PROGRAM],
        "readinessProbe": {"httpGet": {"path": "/", "port": 8000}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}},
        "securityContext": {
            "runAsUser": 1000,
            "readOnlyRootFilesystem": True,
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    return [
        (
            f"/apis/apps/v1/namespaces/default/deployments/{name}",
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": name},
                "spec": {
                    "replicas": replicas,
                    "selector": {"matchLabels": labels},
                    "template": {"metadata": {"labels": labels}, "spec": {"terminationGracePeriodSeconds": 2, "containers": [container]}},
                },
            },
        ),
        (
            f"/api/v1/namespaces/default/services/{name}",
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name},
                "spec": {"type": "NodePort", "selector": labels, "ports": [{"port": 80, "targetPort": 8000, "nodePort": WEB_PORT}]},
            },
        ),
    ]


def fetch(platform: Platform) -> str:
    return answer_of(f"http://127.0.0.1:{platform.config.ports.http}/", timeout_s=3)[1]


def ready_replicas(platform: Platform, name: str) -> int:
    with api_of(platform) as api:
        found = api.get(f"/apis/apps/v1/namespaces/default/deployments/{name}")
    return 0 if found is None else int(found.get("status", {}).get("readyReplicas", 0))


@pytest.fixture(scope="module")
def web_pods(node: Platform) -> str:
    """A Deployment of two behind the NodePort to which Triton's HTTP port leads."""
    with api_of(node) as api:
        for path, item in web("web", "triton-fleet.local/dcgm-exporter:stand-in", 2):
            api.apply(path, item)
    eventually(lambda: ready_replicas(node, "web") == 2, "two ready pods")
    return "web"


def test_pods_answer_through_the_port_on_loopback(node: Platform, web_pods: str) -> None:
    # Two answers are enough to see the translation spread connections; which one answers is chance.
    answers: set[str] = set()
    eventually(lambda: len(answers.add(fetch(node)) or answers) == 2, "both pods")  # type: ignore[func-returns-value]
    assert all(name.startswith(f"{web_pods}-") for name in answers)


def test_names_services_and_the_store_are_reached_from_a_pod_and_nothing_else_is(node: Platform, web_pods: str, kubectl: Path) -> None:
    program = (
        "import socket,urllib.request as u,json,errno\n"
        "r={'web':u.urlopen('http://web/',timeout=20).read().decode(),'api':socket.gethostbyname('kubernetes.default'),"
        "'store':u.urlopen('http://10.111.0.1:7070/health',timeout=20).status}\n"
        "try: socket.create_connection(('192.0.2.1',80),timeout=20); r['out']='connected'\n"
        "except OSError as e: r['out']=errno.errorcode.get(e.errno)\n"
        "try: socket.gethostbyname('example.com'); r['dns']='found'\n"
        "except OSError as e: r['dns']='not found'\n"
        "print(json.dumps(r))"
    )
    command = ("exec", f"deploy/{web_pods}", "--", "python3", "-c", program)
    # Pods are ready some time before kube-proxy and CoreDNS know it.
    answer = eventually(lambda: json.loads(kubectl_run(kubectl, node, *command)), "an answer from the Service, the API and the store")
    assert answer == {"web": answer["web"], "api": "10.113.0.1", "store": 200, "out": "ENETUNREACH", "dns": "not found"}
    assert answer["web"].startswith(web_pods)


def test_logs_come_through(node: Platform, web_pods: str, kubectl: Path) -> None:
    eventually(lambda: kubectl_run(kubectl, node, "logs", f"deploy/{web_pods}"), "the program's line", lambda text: "serving" in text)


def test_the_node_carries_the_gpu_label_and_its_numbers(node: Platform) -> None:
    with api_of(node) as api:
        found = api.get("/api/v1/nodes/triton-fleet")
        stats = "/api/v1/nodes/triton-fleet/proxy/stats/summary"
        eventually(lambda: (api.get(stats) or {})["node"]["fs"]["availableBytes"] > 0, "the kubelet's numbers")
    assert found is not None
    assert found["metadata"]["labels"]["nvidia.com/gpu.present"] == "true"


def test_the_bucket_is_there_for_programs_on_the_machine(node: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in node.environment().items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.put_object(Bucket="models", Key="a/b", Body=b"x" * 100_000)
    assert client.get_object(Bucket="models", Key="a/b")["Body"].read() == b"x" * 100_000
    client.delete_object(Bucket="models", Key="a/b")
    client.close()


def test_images_are_not_loaded_twice(node: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    from local.platform.images import Importer  # noqa: PLC0415

    monkeypatch.setattr(Importer, "load", lambda _self, path: pytest.fail(f"{path} was loaded again"))
    node.start()


@pytest.mark.parametrize("victims", [("kubelet",), ("containerd",), ("kubelet", "containerd", "kube-proxy", "versitygw", "forwarder")])
def test_pods_outlive_the_death_of_what_runs_them(node: Platform, web_pods: str, victims: tuple[str, ...]) -> None:
    eventually(lambda: ready_replicas(node, web_pods) == 2, "two ready pods")
    before = pids(node)
    for name in victims:
        os.kill(before[name], signal.SIGKILL)
    eventually(lambda: all(pids(node).get(name) not in {None, before[name]} for name in victims), "new processes")
    node.start()
    assert node.status().running
    eventually(lambda: fetch(node), "an answer")
    with api_of(node) as api:
        pods = api.get("/api/v1/namespaces/default/pods")
    assert pods is not None
    assert [item["status"]["containerStatuses"][0]["restartCount"] for item in pods["items"]] == [0, 0]


def test_after_a_crash_of_the_node_pods_run_again_and_ready_means_now(node: Platform, web_pods: str) -> None:
    record = identity.NodeRecord.read(node.layout.node_record)
    assert record is not None
    os.kill(record.pid, signal.SIGKILL)
    assert identity.wait_gone(record, 30)
    node.start()
    with api_of(node) as api:
        fresh = identity.NodeRecord.read(node.layout.node_record)
        assert fresh is not None
        assert bootstrap.pods_are_current(api, identity.started_at(fresh))
    eventually(lambda: ready_replicas(node, web_pods) == 2 and fetch(node), "the pods")


def test_the_platform_alone_rests_well_below_its_share(node: Platform) -> None:
    status = node.status()
    assert status.memory_bytes < 1 * 1024**3, str(status)


def test_a_stop_with_running_pods_leaves_nothing_and_a_start_brings_them_back(node: Platform, web_pods: str) -> None:
    record = identity.NodeRecord.read(node.layout.node_record)
    assert record is not None
    node.stop()
    assert_nothing_left(node, record)
    node.start()
    eventually(lambda: ready_replicas(node, web_pods) == 2 and fetch(node), "the pods")
