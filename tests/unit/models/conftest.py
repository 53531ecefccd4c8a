"""A real tritonserver with the sample models, from the image that the embedded platform runs."""

from __future__ import annotations

import contextlib
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.servers import Text, eventually, fetch, free_ports

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Generator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path

    from local.images import box


CPU_MODELS = ("add_sub", "busy", "pipeline", "upper")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A tritonserver on loopback."""

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    log: Text
    _metrics: str

    def counters_when(self, model: str, holds: Callable[[dict[str, float]], object]) -> dict[str, float]:
        """The metrics of a model by their names, as soon as ``holds`` is true of them: Triton answers first, and counts then."""
        line = re.compile(rf'^(nv_inference_\w+)\{{model="{model}",version="1"\}} ([0-9.e+]+)$', re.MULTILINE)
        return eventually(
            lambda: {name: float(value) for name, value in line.findall(fetch(self._metrics)[1])}, f"the counters of {model}", holds
        )


@pytest.fixture(scope="session")
def triton_box(unpacked: Callable[[str], box.Box]) -> box.Box:
    """The image's file system."""
    return unpacked("tritonserver:2.51.0-cpu")


@pytest.fixture(scope="session")
def start_triton(triton_box: box.Box, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Server]]:
    """Start a tritonserver and wait until it is ready; as the chart runs it: user 1000, read-only root."""

    @contextlib.contextmanager
    def start(
        repository: str, *, models: Path | None = None, environment: Mapping[str, str] | None = None, wait: bool = True
    ) -> Generator[Server]:
        http, grpc, metrics = free_ports(3)
        log = tmp_path_factory.mktemp("log") / "triton.log"
        arguments = ["tritonserver", f"--model-repository={repository}"]
        for name, port in (("http", http), ("grpc", grpc), ("metrics", metrics)):
            arguments += [f"--{name}-address=127.0.0.1", f"--{name}-port={port}"]
        mounts = {"/models": models} if models else {}
        with log.open("wb") as stream, triton_box.run(arguments, output=stream, environment=environment, mounts=mounts) as process:
            server = Server(
                process=process,
                http=f"127.0.0.1:{http}",
                grpc=f"127.0.0.1:{grpc}",
                log=Text(log),
                _metrics=f"http://127.0.0.1:{metrics}/metrics",
            )
            if wait:
                ready = f"http://{server.http}/v2/health/ready"
                eventually(lambda: fetch(ready)[0] == 200, "a server that is ready", process=process, log=server.log)
            yield server

    return start


@pytest.fixture(scope="session")
def cpu_models(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the models that run without a GPU."""
    folder = tmp_path_factory.mktemp("models")
    for name in CPU_MODELS:
        shutil.copytree(project / "models" / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server runs as another user
    folder.parent.chmod(0o755)
    return folder


@pytest.fixture(scope="session")
def triton(start_triton: Callable[..., AbstractContextManager[Server]], cpu_models: Path) -> Generator[Server]:
    """One server for all tests that only ask."""
    with start_triton("/models", models=cpu_models) as server:
        yield server
