"""Downloads, against a publisher on loopback."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from local.toolchain.errors import ChecksumError, SourceUnavailableError
from local.toolchain.fetch import Fetcher, extract

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

CONTENT = b"a program" * 1000


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(connect_timeout_s=30, read_timeout_s=30)


@pytest.fixture
def closed_port() -> Generator[str]:
    with socket.socket() as listener:  # bound, not listening: nobody else gets the port, and a connection is refused
        listener.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_a_good_file_is_kept(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.publish("/v1/tool", CONTENT)
    assert fetcher.verified(f"{server.url}/v1/tool", f"{server.url}/v1/tool.sha256", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    "sums",
    [
        "{sha256}",
        "{sha256}\n",
        "{sha256}  tool",
        "{sha256} *tool\n",
        "{sha256}  ./dist/tool",
        "{other}  tool.asc\n{sha256}  tool\n",
        "{sha512}  tool",
        "{SHA256}  tool",
    ],
)
def test_checksum_files_as_publishers_write_them(server: Any, fetcher: Fetcher, tmp_path: Path, sums: str) -> None:
    server.files["/tool"] = CONTENT
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    server.files["/sums"] = sums.format(
        sha256=sha256, SHA256=sha256.upper(), sha512=hashlib.sha512(CONTENT).hexdigest(), other=hashlib.sha256(b"").hexdigest()
    ).encode()
    assert fetcher.verified(f"{server.url}/tool", f"{server.url}/sums", tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("sums", ["", "<html>not found</html>", "0" * 64 + "  another\n" + "0" * 64 + "  third", "0" * 40 + "  tool"])
def test_a_checksum_file_without_this_file_is_refused(server: Any, fetcher: Fetcher, tmp_path: Path, sums: str) -> None:
    server.files |= {"/tool": CONTENT, "/sums": sums.encode()}
    with pytest.raises(SourceUnavailableError, match="lists no SHA-256"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/sums", tmp_path)
    assert "/tool" not in server.requests


def test_a_wrong_checksum_is_refused_and_nothing_kept(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.publish("/tool", CONTENT)
    server.files["/tool"] = CONTENT + b"!"
    with pytest.raises(ChecksumError, match="was discarded"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert server.requests.count("/tool") == 2


def test_a_truncated_file_is_fetched_once_more(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.publish("/tool", CONTENT)
    cut = [True]

    def cut_short(request: BaseHTTPRequestHandler) -> bool:
        if not cut:
            return False
        cut.pop()
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:100])
        return True

    server.answers["/tool"] = cut_short
    assert fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path).read_bytes() == CONTENT


def test_a_file_truncated_twice_is_refused(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.publish("/tool", CONTENT)
    server.announce["/tool"] = len(CONTENT) + 10
    with pytest.raises(SourceUnavailableError, match=r"ended after|cut off"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_again(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.publish("/tool", CONTENT)
    del server.files["/tool"]
    with pytest.raises(SourceUnavailableError, match="returned 404"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path)
    assert server.requests.count("/tool") == 1
    assert fetcher.in_reach([server.url]) == {server.url}


def test_an_unreachable_host_is_remembered(fetcher: Fetcher, closed_port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SourceUnavailableError, match="is unreachable"):
        fetcher.verified(f"{closed_port}/a", f"{closed_port}/a.sha256", tmp_path)

    def never(*_: object, **__: object) -> None:
        pytest.fail("the host was asked again")

    monkeypatch.setattr("urllib.request.urlopen", never)
    with pytest.raises(SourceUnavailableError, match="is unreachable"):
        fetcher.verified(f"{closed_port}/b", f"{closed_port}/b.sha256", tmp_path)
    assert fetcher.in_reach([closed_port]) == set()


def test_in_reach_tells_hosts_apart(server: Any, fetcher: Fetcher, closed_port: str) -> None:
    assert fetcher.in_reach([f"{server.url}/anything", closed_port]) == {f"{server.url}/anything"}


def test_a_name_server_that_swallows_questions_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    over = threading.Event()

    def swallow(*_: object, **__: object) -> list[object]:
        over.wait(30)
        raise OSError("gave up")

    monkeypatch.setattr(socket, "getaddrinfo", swallow)
    fetcher = Fetcher(connect_timeout_s=0.05)
    addresses = {f"https://host-{number}.invalid/x" for number in range(5)}
    assert fetcher.in_reach(addresses) == set()
    with pytest.raises(SourceUnavailableError, match=r"is unreachable \(no answer within 0\.05 s\)"):
        fetcher.verified("https://host-1.invalid/x", "https://host-1.invalid/x.sha256", tmp_path)
    over.set()


def test_a_server_that_falls_silent_is_given_up(server: Any, tmp_path: Path) -> None:
    server.publish("/tool", CONTENT)
    told: list[int] = []

    def stall(request: BaseHTTPRequestHandler) -> bool:
        request.send_response(200)
        request.send_header("Content-Length", str(len(CONTENT)))
        request.end_headers()
        request.wfile.write(CONTENT[:10])
        request.wfile.flush()
        told.append(1)
        request.connection.settimeout(30)
        request.rfile.read(1)  # until the other side gives up
        return True

    server.answers["/tool"] = stall
    fetcher = Fetcher(connect_timeout_s=30, read_timeout_s=0.5)
    with pytest.raises(SourceUnavailableError, match="cut off"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path)
    assert len(told) == 2


def test_plain_http_elsewhere_is_refused(fetcher: Fetcher, tmp_path: Path) -> None:
    with pytest.raises(SourceUnavailableError, match="does not use https"):
        fetcher.verified("http://example.invalid/tool", "http://example.invalid/tool.sha256", tmp_path)


def test_an_endless_checksum_file_is_refused(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.files["/sums"] = b"x" * (5 << 20)
    with pytest.raises(SourceUnavailableError, match="is larger than 4 MiB"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/sums", tmp_path)


def test_stopping_ends_downloads(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    server.publish("/tool", CONTENT)
    fetcher.stop()
    with pytest.raises(SourceUnavailableError, match="was cancelled"):
        fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path)
    fetcher.stop(stopping=False)
    assert fetcher.verified(f"{server.url}/tool", f"{server.url}/tool.sha256", tmp_path).is_file()


# ---------------------------------------------------------------------- images


class Registry:
    def __init__(self, server: Any, layers: list[bytes], architectures: tuple[str, ...] = ("arm64", "amd64")) -> None:
        self.server = server
        self.base = "/v2/team/tool"
        digests = [self._blob(layer) for layer in layers]
        manifest = json.dumps({"schemaVersion": 2, "layers": [{"digest": digest} for digest in digests]}).encode()
        self.manifest_digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        server.files[f"{self.base}/manifests/{self.manifest_digest}"] = manifest
        entries = [{"digest": self.manifest_digest, "platform": {"os": "linux", "architecture": name}} for name in architectures]
        server.files[f"{self.base}/manifests/v1"] = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        self.image = f"{server.url}/team/tool:v1"

    def _blob(self, layer: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(layer).hexdigest()}"
        self.server.files[f"{self.base}/blobs/{digest}"] = layer
        return digest


def test_layers_come_topmost_first(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    registry = Registry(server, [b"bottom", b"top"])
    assert [layer.read_bytes() for layer in fetcher.image_layers(registry.image, "amd64", tmp_path)] == [b"top", b"bottom"]


def test_an_image_for_another_machine_is_refused(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    registry = Registry(server, [b"layer"], architectures=("s390x",))
    with pytest.raises(SourceUnavailableError, match="not published for Linux on amd64"):
        list(fetcher.image_layers(registry.image, "amd64", tmp_path))


def test_a_layer_that_differs_from_its_digest_is_refused(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    registry = Registry(server, [b"layer"])
    server.files[next(path for path in server.files if "/blobs/" in path)] = b"other"
    with pytest.raises(ChecksumError):
        list(fetcher.image_layers(registry.image, "amd64", tmp_path))


def test_a_manifest_that_differs_from_its_digest_is_refused(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    registry = Registry(server, [b"layer"])
    server.files[f"{registry.base}/manifests/{registry.manifest_digest}"] = b'{"layers": []}'
    with pytest.raises(ChecksumError, match="its index lists"):
        list(fetcher.image_layers(registry.image, "amd64", tmp_path))


def test_a_registry_that_wants_a_token_gets_one(server: Any, fetcher: Fetcher, tmp_path: Path) -> None:
    registry = Registry(server, [b"layer"])
    realm = f"{server.url}/token"
    server.files["/token?service=registry&scope=repository%3Ateam%2Ftool%3Apull"] = b'{"token": "let-me-in"}'

    def guard(request: BaseHTTPRequestHandler) -> bool:
        if request.headers.get("Authorization") == "Bearer let-me-in":
            return False
        request.send_response(401)
        request.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="registry",scope="repository:team/tool:pull"')
        request.send_header("Content-Length", "0")
        request.end_headers()
        return True

    for path in list(server.files):
        if path.startswith("/v2/"):
            server.answers[path] = guard
    assert [layer.read_bytes() for layer in fetcher.image_layers(registry.image, "amd64", tmp_path)] == [b"layer"]
    assert sum(path.startswith("/token") for path in server.requests) == 1


# ---------------------------------------------------------------------- archives


def test_extract_takes_named_files_only(make_tar: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    archive.write_bytes(make_tar({"tool-1.0/tool": b"x", "tool-1.0/README": b"y"}))
    assert extract(archive, {"tool": "bin/tool", "helper": "bin/helper"}, tmp_path / "out") == {"helper"}
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == ["tool"]
    assert (tmp_path / "out/bin/tool").stat().st_mode & 0o777 == 0o755


def test_extract_never_leaves_its_folder(make_tar: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    archive.write_bytes(make_tar({"../../escape": b"x", "/etc/evil": b"y"}))
    assert extract(archive, {"*": "cni/"}, tmp_path / "out") == set()
    assert {path.name for path in (tmp_path / "out/cni").iterdir()} == {"escape", "evil"}
    assert not (tmp_path.parent / "escape").exists()


@pytest.mark.parametrize("content", [b"", b"not an archive", b"\x1f\x8b\x08\x00garbage"])
def test_extract_of_a_broken_archive_is_told(content: bytes, tmp_path: Path) -> None:
    archive = tmp_path / "a.tgz"
    archive.write_bytes(content)
    with pytest.raises(SourceUnavailableError, match="can't be unpacked"):
        extract(archive, {"tool": "bin/tool"}, tmp_path / "out")
