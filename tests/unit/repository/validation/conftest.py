"""A real tritonserver that loads models one by one on request, from the image that the embedded platform runs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from local.images import box
from tests.servers import free_ports
from tests.unit.repository.validation.cases import CASES, FINE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager
    from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Server:
    """A tritonserver on loopback in explicit mode, with all cases in its repository."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def load(self, model: str, timeout: float = 120) -> str | None:
        """Load a model; None where it loads, else what Triton says, in its answer and in its log.

        Raises:
            OSError: the server did not answer.
        """
        logged = self.log.stat().st_size
        request = urllib.request.Request(f"http://{self.address}/v2/repository/models/{model}/load", data=b"{}", method="POST")
        try:
            with urllib.request.urlopen(request, timeout=timeout):  # noqa: S310 - loopback
                return None
        except urllib.error.HTTPError as error:
            with error, self.log.open(encoding="utf-8", errors="replace") as stream:
                stream.seek(logged)
                poll = [line for line in stream if "Poll failed" in line and f"'{model}'" in line]
                return "\n".join([str(json.loads(error.read())["error"]), *poll])

    def live(self) -> bool:
        """Whether the server answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/v2/health/live", timeout=10) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def versions(self, model: str) -> list[str]:
        """Versions of a model that are served."""
        with urllib.request.urlopen(f"http://{self.address}/v2/models/{model}", timeout=10) as response:
            return list(json.loads(response.read())["versions"])


@pytest.fixture(scope="session")
def start_triton(
    unpacked: Callable[[str], box.Box], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], AbstractContextManager[Server]]:
    """Start a server that has all cases in its repository and none loaded."""
    image = unpacked("tritonserver:2.51.0-cpu")
    here = tmp_path_factory.mktemp("triton")
    models = here / "models"
    for case in (*CASES, *FINE):
        if case.triton != "not asked":
            case.write(models)
    here.chmod(0o755)
    for path in (models, *models.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server runs as another user

    @contextlib.contextmanager
    def start() -> Generator[Server]:
        http, grpc = free_ports(2)
        log = tmp_path_factory.mktemp("log") / "triton.log"
        arguments = [
            "tritonserver",
            "--model-repository=/models",
            "--model-control-mode=explicit",
            "--allow-metrics=false",
            "--model-load-thread-count=8",
        ]
        for name, port in (("http", http), ("grpc", grpc)):
            arguments += [f"--{name}-address=127.0.0.1", f"--{name}-port={port}"]
        with log.open("wb") as stream, image.run(arguments, output=stream, mounts={"/models": models}) as process:
            server = Server(process=process, address=f"127.0.0.1:{http}", log=log)
            deadline = time.monotonic() + 120
            while not server.live():
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, f"not live in two minutes\n{log.read_text()}"
                time.sleep(0.1)
            try:
                yield server
            finally:
                with contextlib.suppress(OSError):  # a change of user takes the signal of the parent's death from the box's first process
                    os.kill(box.first_pid(process), signal.SIGKILL)

    return start


@pytest.fixture(scope="session")
def triton(start_triton: Callable[[], AbstractContextManager[Server]]) -> Generator[Server]:
    """One server for all cases but those that would end it."""
    with start_triton() as server:
        yield server
