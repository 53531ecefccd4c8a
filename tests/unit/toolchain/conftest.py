from __future__ import annotations

import contextlib
import hashlib
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from local.toolchain.fetch import Fetcher
from local.toolchain.toolchain import Toolchain
from local.toolchain.units import GoBuild, Release, Tool, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path


class ReleaseServer:
    """A publisher on loopback: files by path, and every request that was made."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.announce: dict[str, int] = {}
        """A Content-Length that is not the file's."""
        self.answers: dict[str, Callable[[BaseHTTPRequestHandler], bool]] = {}
        """Answers a path itself; false to serve the file after all."""
        self.requests: list[str] = []
        publisher = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                publisher.requests.append(self.path)
                answer = publisher.answers.get(self.path)
                if answer is not None and answer(self):
                    return
                content = publisher.files.get(self.path)
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(publisher.announce.get(self.path, len(content))))
                self.end_headers()
                self.wfile.write(content)

            def do_HEAD(self) -> None:
                self.send_response(200 if self.path in publisher.files else 404)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it)
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def publish(self, path: str, content: bytes) -> str:
        """Serve ``content`` and a checksum file for it, and return the address without the path."""
        self.files[path] = content
        self.files[f"{path}.sha256"] = f"{hashlib.sha256(content).hexdigest()}  {path.rpartition('/')[2]}\n".encode()
        return self.url

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Recorder:
    """A reporter that keeps what it was told."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float | None]] = []
        self.notes: list[str] = []

    @contextlib.contextmanager
    def step(self, name: str, estimate_s: float | None = None) -> Generator[None]:
        self.steps.append((name, estimate_s))
        yield

    def note(self, text: str) -> None:
        self.notes.append(text)


class Bench:
    """A toolchain over a manifest made by a test, its publisher and what it reported."""

    def __init__(self, folder: Path) -> None:
        self.server = ReleaseServer()
        self.recorder = Recorder()
        self.folder = folder
        self.cache = folder / "cache"
        self.path = folder / "path"
        self.path.mkdir()
        self.modules = folder / "modules"

    def program_unit(self, name: str = "widget", content: bytes = b"#!/bin/sh\necho widget\n", otherwise: GoBuild | None = None) -> Unit:
        """Describe (and publish) a program released as a bare file."""
        url = self.server.publish(f"/v1.2.3/{name}", content)
        return Unit(
            name=name,
            version="v1.2.3",
            tools=(Tool(name=name, path=f"bin/{name}"),),
            releases=(Release(url=f"{url}/{{version}}/{name}", checksums=f"{url}/{{version}}/{name}.sha256", to=f"bin/{name}"),),
            otherwise=otherwise,
        )

    def go_unit(self, name: str = "widget") -> GoBuild:
        """Describe a Go module in the test's own folder that needs no other module."""
        folder = self.modules / name
        folder.mkdir(parents=True)
        (folder / "go.mod").write_text(f"module triton-fleet.test/{name}\n\ngo 1.21.0\n")
        (folder / "go.sum").write_text("")
        (folder / name).mkdir()
        (folder / name / "main.go").write_text('package main\n\nfunc main() { println("built") }\n')
        return GoBuild(folder=name, packages={f"triton-fleet.test/{name}/{name}": f"bin/{name}"}, build_s=1, fetch_s=1)

    def toolchain(self, *units: Unit) -> Toolchain:
        return Toolchain(
            self.cache,
            self.recorder,
            units=units,
            path=str(self.path),
            fetcher=Fetcher(connect_timeout_s=30, read_timeout_s=30),
            modules=self.modules,
        )

    def program_on_path(self, name: str, script: str) -> Path:
        program = self.path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program


def make_tar(members: dict[str, bytes], mode: int = 0o755) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.mode = mode
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture(name="make_tar")
def make_tar_fixture() -> Callable[[dict[str, bytes]], bytes]:
    return make_tar


@pytest.fixture
def bench(tmp_path: Path) -> Generator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.server.close()


@pytest.fixture
def server() -> Generator[ReleaseServer]:
    made = ReleaseServer()
    yield made
    made.close()
