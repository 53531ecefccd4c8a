"""Triton's admin endpoints and its readiness on real pods, in every mode: the dev stack, and the chart alone as plain Helm installs it."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import tritonclient.grpc as grpc_client
import yaml
from tritonclient.utils import InferenceServerException

from local.cli import verify
from tests.conftest import ROOT
from tests.servers import eventually, fetch, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from mypy_boto3_s3.client import S3Client

    from tests.e2e.instances import Instance

pytestmark = pytest.mark.e2e

SPACE = "modes"
MODES = ("release", "poll", "explicit")
REFUSED: dict[str, bytes | None] = {
    "models/add_sub/stats": None,
    "models/stats": None,
    "repository/index": b"{}",
    "repository/models/add_sub/load": b"{}",
    "repository/models/add_sub/unload": b"{}",
    "systemsharedmemory/status": None,
    "systemsharedmemory/region/x/register": b'{"key": "/x", "offset": 0, "byte_size": 64}',
    "cudasharedmemory/status": None,
    "trace/setting": None,
    "logging": None,
}
CALLS: dict[str, Callable[[grpc_client.InferenceServerClient, dict[str, str]], object]] = {
    "index": lambda server, key: server.get_model_repository_index(headers=key),
    "unload": lambda server, key: server.unload_model("absent", headers=key),
    "load": lambda server, key: server.load_model("add_sub", headers=key),
    "statistics": lambda server, key: server.get_inference_statistics(headers=key),
    "shared memory": lambda server, key: server.get_system_shared_memory_status(headers=key),
    "CUDA memory": lambda server, key: server.get_cuda_shared_memory_status(headers=key),
    "trace": lambda server, key: server.get_trace_settings(headers=key),
    "logging": lambda server, key: server.get_log_settings(headers=key),
}
ANSWERED = ("health/live", "health/ready", "models/add_sub", "models/add_sub/ready", "models/add_sub/config")
CODE = 'import os\nos.makedirs("/tmp/owned", exist_ok=True)\n'
MODEL = """
import time
import triton_python_backend_utils as utils
class TritonPythonModel:
    def initialize(self, args):
        {start}
    def execute(self, requests):
        names = [(request, utils.get_input_tensor_by_name(request, "INPUT0")) for request in requests]
        return [utils.InferenceResponse([utils.Tensor("OUTPUT0", tensor.as_numpy())]) for _, tensor in names]
"""
CONFIG = """
backend: "python"
input [{ name: "INPUT0" data_type: TYPE_FP32 dims: [1] }]
output [{ name: "OUTPUT0" data_type: TYPE_FP32 dims: [1] }]
"""
LOAD = """
import json, sys, threading, time, urllib.request
body, url, stop, counts, errors = sys.argv[2].encode(), sys.argv[1], threading.Event(), [0] * 4, []
def call(number):
    while not stop.wait(0.02):
        try:
            answer = urllib.request.urlopen(urllib.request.Request(url, body), timeout=30).read()
            assert b"OUTPUT0" in answer, answer
            counts[number] += 1
        except Exception as error:
            errors.append(repr(error))
threads = [threading.Thread(target=call, args=(number,)) for number in range(4)]
for thread in threads: thread.start()
sys.stdin.read()
stop.set()
for thread in threads: thread.join()
print(json.dumps({"answered": sum(counts), "errors": errors}))
"""
"""Inferences over new connections, as kube-proxy spreads them over ready pods, until standard input ends."""


@dataclass(frozen=True, kw_only=True)
class Modes:
    """One release of the chart a mode, each with two pods and models of its own in the store."""

    instance: Instance
    s3: S3Client

    def put(self, mode: str, model: str, code: str) -> None:
        """Upload a model, the configuration last: a poll in between sees nothing of it."""
        self.s3.put_object(Bucket="models", Key=f"modes/{mode}/{model}/1/model.py", Body=code.encode())
        self.s3.put_object(Bucket="models", Key=f"modes/{mode}/{model}/config.pbtxt", Body=f'name: "{model}"{CONFIG}'.encode())

    def install(self, mode: str, **more: Any) -> None:
        """Install the release, or upgrade it."""
        values = {
            "image": "triton-fleet.local/tritonserver:2.51.0-cpu",
            "resources": {"gpus": 0, "cpu": "50m", "memory": "1Gi", "shm": "512Mi"},
            "modelRepository": {
                "url": f"s3://http://10.111.0.1:7070/models/modes/{mode}",
                "mode": mode,
                "region": "us-east-1",
                "credentialsSecret": "store",
            },
            "autoscaling": {"enabled": False, "minReplicas": 2},
            "drain": {"preStop": 2, "exitTimeout": 5},
            **more,
        }
        self.instance.shell(
            f"helm upgrade --install {mode} {ROOT}/charts/triton -n {SPACE} --wait --timeout 5m -f - <<'END'\n{yaml.safe_dump(values)}\nEND"
        )

    def pods(self, mode: str) -> list[dict[str, Any]]:
        found = self.instance.shell(f"kubectl get pods -n {SPACE} -l app.kubernetes.io/instance={mode} -o json")
        return list(json.loads(found)["items"])

    def key(self, namespace: str, secret: str) -> str:
        found = self.instance.shell(f"kubectl get secret -n {namespace} {secret} -o jsonpath={{.data.key}}")
        return base64.b64decode(found).decode()

    def ready(self, mode: str) -> int:
        """Pods that the Service sends requests to."""
        slices = json.loads(self.instance.shell(f"kubectl get endpointslices -n {SPACE} -l kubernetes.io/service-name={mode} -o json"))
        return sum(bool(one["conditions"].get("ready")) for part in slices["items"] for one in part.get("endpoints") or ())


@pytest.fixture(scope="module")
def modes(instance: Instance, s3: S3Client) -> Generator[Modes]:
    instance.ensure_served()
    made = Modes(instance=instance, s3=s3)
    keys = " ".join(f'--from-literal={name}="${name}"' for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"))
    try:
        instance.shell(f"kubectl create namespace {SPACE}; kubectl create secret generic store -n {SPACE} {keys}")
        for mode in MODES:
            for file in ("config.pbtxt", "1/model.py"):
                s3.upload_file(str(ROOT / "models" / "add_sub" / file), "models", f"modes/{mode}/add_sub/{file}")
        with ThreadPoolExecutor() as pool:
            list(pool.map(made.install, MODES))
        yield made
    finally:
        # The last `destroy` finds out whether a release is left (test_destroy.py).
        instance.shell(f"kubectl delete namespace {SPACE} --ignore-not-found --wait=false")
        # The bucket is the stack's: the tests of other files look through it.
        for page in s3.get_paginator("list_objects_v2").paginate(Bucket="models", Prefix="modes/"):
            for entry in page.get("Contents", ()):
                s3.delete_object(Bucket="models", Key=entry["Key"])


@contextlib.contextmanager
def forwarded(instance: Instance, namespace: str, pod: str, port: int) -> Iterator[str]:
    """A pod's port on loopback."""
    own = free_port()
    script = f"{instance.run('env')}\nexec kubectl port-forward -n {namespace} {pod} {own}:{port}"
    with subprocess.Popen(["bash", "-c", script], cwd=instance.project, env=instance.environment, stdout=subprocess.DEVNULL) as process:
        try:
            with eventually(lambda: socket.create_connection(("127.0.0.1", own)), "a forwarded port", process=process):
                yield f"127.0.0.1:{own}"
        finally:
            process.terminate()


def grpc_server(where: str) -> grpc_client.InferenceServerClient:
    """A client with a channel of its own: tritonclient would share one between clients of the same address."""
    return grpc_client.InferenceServerClient(where, channel_args=[("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)])


def refused_without_key(http: str, grpc: str, key: str, *, mode: str) -> None:
    """Every admin endpoint over both protocols: refused without the key and with another, answered with it. The others need none."""
    for path, body in REFUSED.items():
        for headers in ({}, {"triton-admin-key": "another"}, {"triton-grpc-protocol-admin-key": key}):
            status, text = fetch(f"http://{http}/v2/{path}", body, headers=headers)
            assert status == 403, (path, status, text)
            assert "restricted" in text
        if "unload" not in path:
            assert fetch(f"http://{http}/v2/{path}", body, headers={"triton-admin-key": key})[0] != 403, path
    attack = {"parameters": {"config": json.dumps({"backend": "python"}), "file:1/model.py": base64.b64encode(CODE.encode()).decode()}}
    assert fetch(f"http://{http}/v2/repository/models/evil/load", json.dumps(attack).encode())[0] == 403
    for path in ANSWERED:
        assert fetch(f"http://{http}/v2/{path}")[0] == 200, path

    assert verify.infer_grpc(grpc)
    with grpc_server(grpc) as server:
        assert server.is_server_live()
        assert server.is_server_ready()
        assert server.get_server_metadata().version
        assert server.get_model_metadata("add_sub").name == "add_sub"
        assert server.get_model_config("add_sub").config.name == "add_sub"
        for name, call in CALLS.items():
            for headers in ({}, {"triton-grpc-protocol-admin-key": "another"}, {"triton-admin-key": key}):
                with pytest.raises(InferenceServerException, match="restricted"):
                    call(server, headers)
            # Without explicit model control there is nothing to load, with or without the key.
            expected = contextlib.nullcontext() if mode == "explicit" or "load" not in name else pytest.raises(InferenceServerException)
            with expected as raised:
                call(server, {"triton-grpc-protocol-admin-key": key})
            assert "restricted" not in str(raised), name


def test_the_dev_stack_asks_for_its_key_and_the_autoscaler_still_sees_it(modes: Modes) -> None:
    instance = modes.instance
    http, grpc = (instance.config.endpoints[f"triton-{name}"].removeprefix("http://") for name in ("http", "grpc"))
    refused_without_key(http, grpc, modes.key("triton", "triton-admin"), mode="release")
    assert verify.infer_http(f"http://{http}")

    def scaling() -> dict[str, Any]:
        return dict(json.loads(instance.shell("kubectl get hpa -n triton triton -o json"))["status"])

    found = eventually(scaling, "an autoscaler with both of its metrics", lambda status: len(status.get("currentMetrics") or ()) == 2)
    assert {one["type"]: one["status"] for one in found["conditions"]}["ScalingActive"] == "True"
    (policy,) = json.loads(instance.shell("kubectl get networkpolicies -n triton -o json"))["items"]
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


@pytest.mark.parametrize("mode", MODES)
def test_the_chart_alone_asks_for_its_key_in_every_mode(modes: Modes, mode: str) -> None:
    key = modes.key(SPACE, f"{mode}-admin")
    pods = modes.pods(mode)
    assert key not in json.dumps(pods)
    name = pods[0]["metadata"]["name"]
    with forwarded(modes.instance, SPACE, name, 8000) as http, forwarded(modes.instance, SPACE, name, 8001) as grpc:
        refused_without_key(http, grpc, key, mode=mode)
    modes.install(mode, service={"annotations": {"touched": "true"}})
    assert modes.key(SPACE, f"{mode}-admin") == key, "an upgrade keeps the key"
    assert {pod["metadata"]["name"] for pod in modes.pods(mode)} == {pod["metadata"]["name"] for pod in pods}, "and restarts nothing"
    assert [status["restartCount"] for pod in modes.pods(mode) for status in pod["status"]["containerStatuses"]] == [0, 0]


@contextlib.contextmanager
def inferring(modes: Modes, mode: str) -> Iterator[dict[str, Any]]:
    """Infer add_sub of a mode's Service from a pod of another, until the end of this; what came of it is in what it yields."""
    body = json.dumps(verify.http_request())
    client = modes.pods("release")[0]["metadata"]["name"]
    script = f'{modes.instance.run("env")}\nexec kubectl exec -i -n {SPACE} {client} -- python3 -c "$1" "$2" "$3"'
    url = f"http://{mode}.{SPACE}:8000/v2/models/add_sub/infer"
    command = ["bash", "-c", script, "bash", LOAD, url, body]
    told: dict[str, Any] = {}
    with subprocess.Popen(
        command, cwd=modes.instance.project, env=modes.instance.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield told
        told |= json.loads(process.communicate()[0])


def index(http: str, key: str, model: str) -> str:
    """State of a model in the repository index; empty if it is not there."""
    entries = json.loads(fetch(f"http://{http}/v2/repository/index", b"{}", headers={"triton-admin-key": key})[1])
    return next((entry.get("state", "") for entry in entries if entry["name"] == model), "")


NEW = {"slow": ("time.sleep(25)", "LOADING", "READY"), "broken": ("raise RuntimeError('broken')", "UNAVAILABLE", "UNAVAILABLE")}
"""What a new model's start does, the state in which the others must be served, and its last state."""
WATCHED_S = 20.0
"""Longer than the three failed probes, 5 s apart, after which a pod gets no requests."""


def load(where: str, key: str, model: str) -> None:
    """Load over gRPC. Over HTTP a load holds one of Triton's eight threads, and with it the connections that are on it."""
    with grpc_server(where) as server, contextlib.suppress(InferenceServerException):
        server.load_model(model, headers={"triton-grpc-protocol-admin-key": key})


def nothing_is_lost(modes: Modes, mode: str) -> None:
    key, pods = modes.key(SPACE, f"{mode}-admin"), [pod["metadata"]["name"] for pod in modes.pods(mode)]
    ready: list[int] = []
    with contextlib.ExitStack() as stack:
        http = [stack.enter_context(forwarded(modes.instance, SPACE, pod, 8000)) for pod in pods]
        grpc = [stack.enter_context(forwarded(modes.instance, SPACE, pod, 8001)) for pod in pods]
        told = stack.enter_context(inferring(modes, mode))
        for model, (start, during, at_last) in NEW.items():
            modes.put(mode, model, MODEL.format(start=start))
            loads = [threading.Thread(target=load, args=(where, key, model)) for where in grpc if mode == "explicit"]
            for thread in loads:
                thread.start()
            for where in http:
                eventually(lambda: index(where, key, model), f"{model} that is {during}", lambda state: state == during)  # noqa: B023
                assert fetch(f"http://{where}/v2/health/ready")[0] == 400, "what the readiness probe must not ask"
            until = time.monotonic() + WATCHED_S
            eventually(lambda: ready.append(modes.ready(mode)), "the time of a few probes", lambda _: time.monotonic() > until)  # noqa: B023
            for where in http:
                eventually(lambda: index(where, key, model), f"{model} that is {at_last}", lambda state: state == at_last)  # noqa: B023
            for thread in loads:
                thread.join()
    assert set(ready) == {2}
    assert told["errors"] == []
    assert told["answered"] > 500


def test_no_request_of_the_other_models_is_lost_while_a_new_one_loads_or_fails(modes: Modes) -> None:
    with ThreadPoolExecutor() as pool:  # the test mostly waits
        list(pool.map(lambda mode: nothing_is_lost(modes, mode), ("poll", "explicit")))
