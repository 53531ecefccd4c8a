"""A real tritonserver that loads models one by one on request, from the image that the embedded platform runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from local.images import box
from tests.servers import PATIENCE_S, Text, eventually, fetch, free_ports
from tests.unit.repository.validation.cases import CASES, FINE

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager


@dataclass(frozen=True, kw_only=True)
class Server:
    """A tritonserver on loopback in explicit mode, with all cases in its repository."""

    process: subprocess.Popen[bytes]
    address: str
    log: Text

    def load(self, model: str, timeout_s: float = PATIENCE_S) -> str | None:
        """Load a model; None where it loads, else what Triton answers.

        Raises:
            OSError: the server did not answer.
        """
        status, answer = fetch(f"http://{self.address}/v2/repository/models/{model}/load", b"{}", timeout_s=timeout_s)
        return None if status == 200 else str(json.loads(answer)["error"])

    def says(self, model: str, text: str) -> str:
        """Wait for a line of the log in which the server says why it found no model of this name."""
        line = re.compile(rf"Poll failed.*'{re.escape(model)}'.*{re.escape(text)}")
        return self.log.when(line.search, f"{line.pattern}")

    def versions(self, model: str) -> list[str]:
        """Versions of a model that are served."""
        return list(json.loads(fetch(f"http://{self.address}/v2/models/{model}")[1])["versions"])


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
            server = Server(process=process, address=f"127.0.0.1:{http}", log=Text(log))
            live = f"http://{server.address}/v2/health/live"
            eventually(lambda: fetch(live)[0] == 200, "a server that answers", process=process, log=server.log)
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
