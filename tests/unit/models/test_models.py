"""The sample models on the real tritonserver: known inputs give known outputs, by HTTP and gRPC, from a folder and from S3."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from local.images.box import first_pid
from tests.servers import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.unit.tritonserver import Server

LEFT = np.arange(16, dtype=np.float32).reshape(1, 16)
RIGHT = np.full((1, 16), 2.5, dtype=np.float32)
CPU_MODELS = ("add_sub", "busy", "pipeline", "upper")
METRICS = (
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_pending_request_count",
)
"""What the scaling rules, the dashboard and the stand-in exporter read."""


@pytest.fixture(params=["http", "grpc"])
def infer(request: pytest.FixtureRequest, triton: Server) -> Generator[Callable[..., dict[str, np.ndarray[Any, Any]]]]:
    """Ask a model: ``infer(model, {input: array}, [outputs])``."""
    client_module = importlib.import_module(f"tritonclient.{request.param}")
    client = client_module.InferenceServerClient(triton.http if request.param == "http" else triton.grpc)

    def ask(model: str, inputs: dict[str, np.ndarray[Any, Any]], outputs: list[str]) -> dict[str, np.ndarray[Any, Any]]:
        tensors = []
        for name, value in inputs.items():
            tensor = client_module.InferInput(name, list(value.shape), "BYTES" if value.dtype == np.object_ else "FP32")
            tensor.set_data_from_numpy(value)
            tensors.append(tensor)
        answer = client.infer(model, tensors)
        return {name: answer.as_numpy(name) for name in outputs}

    yield ask
    client.close()


def texts(*values: str | bytes) -> np.ndarray[Any, Any]:
    return np.array([[value.encode() if isinstance(value, str) else value] for value in values], dtype=np.object_)


# ------------------------------------------------------------------------------------------------ answers
def test_add_sub(infer: Callable[..., dict[str, np.ndarray[Any, Any]]]) -> None:
    answer = infer("add_sub", {"INPUT0": LEFT, "INPUT1": RIGHT}, ["OUTPUT0", "OUTPUT1"])
    np.testing.assert_array_equal(answer["OUTPUT0"], LEFT + RIGHT)
    np.testing.assert_array_equal(answer["OUTPUT1"], LEFT - RIGHT)


def test_add_sub_of_a_batch(infer: Callable[..., dict[str, np.ndarray[Any, Any]]]) -> None:
    left = np.arange(128, dtype=np.float32).reshape(8, 16)
    answer = infer("add_sub", {"INPUT0": left, "INPUT1": left}, ["OUTPUT0", "OUTPUT1"])
    np.testing.assert_array_equal(answer["OUTPUT0"], 2 * left)
    np.testing.assert_array_equal(answer["OUTPUT1"], 0 * left)


def test_busy_echoes(infer: Callable[..., dict[str, np.ndarray[Any, Any]]]) -> None:
    value = np.array([[1.5], [-2.0]], dtype=np.float32)
    np.testing.assert_array_equal(infer("busy", {"INPUT": value}, ["OUTPUT"])["OUTPUT"], value)


def test_upper(infer: Callable[..., dict[str, np.ndarray[Any, Any]]]) -> None:
    answer = infer("upper", {"INPUT": texts("triton", "grüße", "", "ß")}, ["OUTPUT"])
    assert [value.decode() for value in answer["OUTPUT"].ravel()] == ["TRITON", "GRÜSSE", "", "SS"]


def test_upper_refuses_what_is_no_text(infer: Callable[..., dict[str, np.ndarray[Any, Any]]]) -> None:
    with pytest.raises(Exception, match="INPUT is not UTF-8"):
        infer("upper", {"INPUT": texts(b"\xff")}, ["OUTPUT"])


def test_pipeline_is_add_sub_then_busy(infer: Callable[..., dict[str, np.ndarray[Any, Any]]]) -> None:
    answer = infer("pipeline", {"INPUT0": LEFT, "INPUT1": RIGHT}, ["SUM", "DIFFERENCE"])
    np.testing.assert_array_equal(answer["SUM"], LEFT + RIGHT)
    np.testing.assert_array_equal(answer["DIFFERENCE"], LEFT - RIGHT)


# ------------------------------------------------------------------------------------------------ behaviour
def test_metrics_have_the_names_that_scaling_reads(triton: Server) -> None:
    triton.counters_when("busy", lambda counters: counters.keys() >= set(METRICS))


def test_busy_batches_what_waits_and_counts_its_time(
    start_triton: Callable[..., AbstractContextManager[Server]], cpu_models: Path, tmp_path: Path
) -> None:
    """On a server that nothing else asks, so that the counts are exact."""
    client_module = importlib.import_module("tritonclient.grpc")
    shutil.copytree(cpu_models / "busy", tmp_path / "models" / "busy")
    done = threading.Semaphore(0)
    errors: list[Exception] = []

    def finished(result: object, error: Exception | None) -> None:
        if error is not None:
            errors.append(error)
        done.release()

    with start_triton("/models", models=tmp_path / "models") as server:
        client = client_module.InferenceServerClient(server.grpc)
        for number in range(16):
            tensor = client_module.InferInput("INPUT", [1, 1], "FP32")
            tensor.set_data_from_numpy(np.array([[number]], dtype=np.float32))
            client.async_infer("busy", [tensor], finished)
        for _ in range(16):
            assert done.acquire(timeout=PATIENCE_S)
        client.close()
        assert not errors
        # Executions are counted last: four of them, or more, come with batches of at most four.
        counters = server.counters_when(
            "busy", lambda found: found["nv_inference_request_success"] >= 16 and found["nv_inference_exec_count"] >= 4
        )
    assert counters["nv_inference_request_success"] == 16
    assert counters["nv_inference_exec_count"] < 16
    # Whoever came fifth or later waited for an execution of 50 ms or more.
    assert counters["nv_inference_queue_duration_us"] >= 3 * 50_000


def test_cpu_configurations_run_without_a_gpu_and_fil_is_for_one(project: Path) -> None:
    for name in CPU_MODELS:
        text = (project / "models" / name / "config.pbtxt").read_text()
        assert f'name: "{name}"' in text
        assert "KIND_GPU" not in text
        assert name == "pipeline" or "KIND_CPU" in text
        assert any((project / "models" / name / "1").iterdir())


def test_every_model_is_described(project: Path) -> None:
    page = (project / "docs/models.md").read_text()
    for folder in (project / "models").iterdir():
        assert f"`{folder.name}`" in page


def test_sigterm_ends_it_cleanly(start_triton: Callable[..., AbstractContextManager[Server]], cpu_models: Path) -> None:
    with start_triton("/models", models=cpu_models) as server:
        os.kill(first_pid(server.process), signal.SIGTERM)
        assert server.process.wait(timeout=PATIENCE_S) == 0
        server.log.having("successfully unloaded 'busy'")


def test_busy_with_a_time_that_is_none_does_not_load_and_says_why(
    start_triton: Callable[..., AbstractContextManager[Server]], cpu_models: Path, tmp_path: Path
) -> None:
    values = {"word": "soon", "negative": "-1", "none": "nan", "endless": "inf"}
    for name, value in values.items():
        shutil.copytree(cpu_models / "busy", tmp_path / "models" / name)
        config = tmp_path / "models" / name / "config.pbtxt"
        text = config.read_text().replace('string_value: "50"', f'string_value: "{value}"').replace('name: "busy"', f'name: "{name}"')
        config.write_text(text)
    with start_triton("/models", models=tmp_path / "models", until=None) as server:
        assert server.process.wait(timeout=PATIENCE_S) != 0
    for name, value in values.items():
        told = re.compile(rf'\| {name} +\| 1 +\| UNAVAILABLE: .*parameter compute_ms is "{re.escape(value)}"')
        server.log.when(told.search, name)


# ------------------------------------------------------------------------------------------------ from object storage
def test_models_come_from_s3_with_a_path_style_endpoint(
    start_triton: Callable[..., AbstractContextManager[Server]], cpu_models: Path, s3_server: str
) -> None:
    boto3 = pytest.importorskip("boto3")
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "us-east-1"}
    client = boto3.client("s3", endpoint_url=s3_server, **keys)
    client.create_bucket(Bucket="samples")
    for path in sorted(cpu_models.rglob("*")):
        if path.is_file():
            client.upload_file(str(path), "samples", f"releases/one/{path.relative_to(cpu_models)}")
    environment = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing", "AWS_DEFAULT_REGION": "us-east-1"}
    try:
        with start_triton(f"s3://{s3_server}/samples/releases/one", environment=environment) as server:
            assert server.counters_when("add_sub", bool)
    finally:
        for path in cpu_models.rglob("*"):
            client.delete_object(Bucket="samples", Key=f"releases/one/{path.relative_to(cpu_models)}")
        client.delete_bucket(Bucket="samples")
        client.close()
