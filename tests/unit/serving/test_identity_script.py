"""charts/triton/files/identity.sh as the pod runs it: bash, against a metadata server on loopback."""

from __future__ import annotations

import socket
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = Path(__file__).resolve().parents[3] / "charts" / "triton" / "files" / "identity.sh"
TOKEN = "/computeMetadata/v1/instance/service-accounts/default/token"


class Metadata(ThreadingHTTPServer):
    """Refuses a number of times, then gives a token."""

    refusals = 0
    asked: list[str]

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked = []


class Handler(BaseHTTPRequestHandler):
    server: Metadata

    def do_GET(self) -> None:
        self.server.asked.append(f"{self.path} {self.headers['Metadata-Flavor']}")
        given = self.path == TOKEN and self.headers["Metadata-Flavor"] == "Google" and len(self.server.asked) > self.server.refusals
        self.send_response(200 if given else 403)
        self.end_headers()
        self.wfile.write(b'{"access_token": "t"}' if given else b"")

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def metadata() -> Iterator[Metadata]:
    with Metadata() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def run(address: str, tmp_path: Path, *, wait: int = 20) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "METADATA": address, "WAIT": str(wait), "MESSAGE": str(tmp_path / "message")}
    command = ["/bin/bash", "-c", SCRIPT.read_text(encoding="utf-8")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def address_of(server: Metadata) -> str:
    return f"127.0.0.1:{server.server_address[1]}"


def test_a_token_lets_triton_start(metadata: Metadata, tmp_path: Path) -> None:
    assert run(address_of(metadata), tmp_path).returncode == 0
    assert metadata.asked == [f"{TOKEN} Google"]


def test_it_waits_for_rights_that_are_on_their_way(metadata: Metadata, tmp_path: Path) -> None:
    metadata.refusals = 2
    assert run(address_of(metadata), tmp_path).returncode == 0
    assert len(metadata.asked) == 3


def test_it_says_what_it_was_told_when_it_gives_up(metadata: Metadata, tmp_path: Path) -> None:
    metadata.refusals = 1000
    result = run(address_of(metadata), tmp_path, wait=1)
    assert result.returncode == 1
    message = (tmp_path / "message").read_text(encoding="utf-8")
    assert "no token for this service account after 1 s (HTTP/1.0 403 Forbidden): Triton would read its models anonymously." in message
    assert "roles/iam.workloadIdentityUser" in message


def test_nobody_there_is_told_too(tmp_path: Path) -> None:
    with socket.socket() as bound:  # and not listening: it refuses, and no other process gets the port
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        result = run(address, tmp_path, wait=0)
    assert result.returncode == 1
    assert f"(no answer from {address})" in (tmp_path / "message").read_text(encoding="utf-8")
