"""A real tritonserver on loopback, from the image that the embedded platform runs; as the chart runs it: user 1000, read-only root."""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.servers import PATIENCE_S, Text, eventually, fetch, free_ports

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Generator, Mapping
    from pathlib import Path

    from local.images import box

IMAGE = "tritonserver:2.51.0-cpu"


@dataclass(frozen=True, kw_only=True)
class Server:
    """The server. Its counters and its log can only be waited for."""

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    log: Text
    _metrics: str

    def ask(self, path: str, body: bytes | None = None, *, timeout_s: float = PATIENCE_S) -> tuple[bool, Any]:
        """Whether the answer to ``/v2/<path>`` is a good one, and its JSON. Raises OSError without an answer."""
        status, text = fetch(f"http://{self.http}/v2/{path}", body, timeout_s=timeout_s)
        return status == 200, json.loads(text or "{}")

    def versions(self, model: str) -> list[str]:
        """Versions of a model that are served now."""
        return list(self.ask(f"models/{model}")[1].get("versions", []))

    def counters_when(self, model: str, holds: Callable[[Mapping[str, float]], object]) -> Mapping[str, float]:
        """The metrics of a model by their names, as soon as ``holds`` is true of them: Triton answers first and counts afterwards."""
        line = re.compile(rf'^(nv_inference_\w+)\{{[^}}]*model="{model}"[^}}]*\}} ([0-9.e+]+)$', re.MULTILINE)

        def read() -> Counter[str]:
            counters = Counter[str]()
            for name, value in line.findall(fetch(self._metrics)[1]):
                counters[name] += float(value)  # type: ignore[assignment]  # a Counter adds up floats as well
            return counters

        return eventually(read, f"the counters of {model}", holds, log=self.log)


@contextlib.contextmanager
def tritonserver(
    image: box.Box,
    log: Path,
    repository: str,
    *flags: str,
    models: Path | None = None,
    environment: Mapping[str, str] | None = None,
    until: str | None = "ready",
) -> Generator[Server]:
    """Start a server and wait for it.

    Args:
        image: Its file system.
        log: File for what it says.
        repository: Folder in the box, or URL.
        flags: More of its command line.
        models: Folder on this machine that is mounted at /models.
        environment: Variables beside the image's.
        until: What is waited for: the server is ``ready`` (has its models) or only ``live``; None: nothing.
    """
    ports = dict(zip(("http", "grpc", "metrics"), free_ports(3), strict=True))
    arguments = ["tritonserver", f"--model-repository={repository}", *flags]
    for name, port in ports.items():
        arguments += [f"--{name}-address=127.0.0.1", f"--{name}-port={port}"]
    mounts = {"/models": models} if models else {}
    with log.open("wb") as stream, image.run(arguments, output=stream, environment=environment, mounts=mounts) as process:
        address = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        metrics = f"http://{address['metrics']}/metrics"
        server = Server(process=process, http=address["http"], grpc=address["grpc"], log=Text(log, process), _metrics=metrics)
        if until:
            eventually(lambda: server.ask(f"health/{until}")[0], f"a server that is {until}", process=process, log=server.log)
        yield server
