"""The modes poll and explicit on the real tritonserver, which reads the stable place from a real S3 server as pods do."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.repository.scan import scan
from components.repository.sync import ReleaseProvider
from local.images import box
from tests.servers import Text, eventually, fetch, free_port, listens

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager


ROOT: Final = Path(__file__).resolve().parents[3]
KEYS: Final = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing-testing", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture
def endpoint(tool: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[str]:
    """versitygw with a bucket."""
    (tmp_path / "objects" / "models").mkdir(parents=True)
    port = free_port()
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"], "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
    command = [str(tool("versitygw")), "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(tmp_path / "objects")]
    with subprocess.Popen(command, env={**os.environ, **keys}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            assert listens(process, port), "versitygw does not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


@dataclass
class Stack:
    """What Pulumi does with the repository."""

    folder: Path
    endpoint: str
    mode: str
    outputs: dict[str, Any] | None = None

    @property
    def url(self) -> str:
        return f"s3://{self.endpoint}/models/releases/live/stack"

    def up(self) -> None:
        plan = scan(self.folder)
        news = {
            "bucket": "models",
            "region": "us-east-1",
            "endpoint": self.endpoint,
            "prefix": "releases",
            "owner": "stack",
            "keep": 1,
            "digest": plan.digest,
            "models": plan.models,
            "source": str(self.folder),
            "mode": self.mode,
            "url": self.url,
        }
        provider = ReleaseProvider()
        if self.outputs is None:
            self.outputs = provider.create(news).outs
        else:
            assert provider.diff("id", self.outputs, news).replaces == []
            self.outputs = provider.update("id", self.outputs, news).outs


@dataclass(frozen=True)
class Triton:
    """A server that reads a stack's stable place."""

    address: str
    log: Text

    def ask(self, path: str, body: bytes | None = None) -> Any:
        """The answer; None where it is an error."""
        status, text = fetch(f"http://{self.address}/v2/{path}", body)
        return None if status >= 400 else json.loads(text or "{}")

    def versions(self, model: str) -> list[str]:
        return list((self.ask(f"models/{model}") or {}).get("versions", []))

    def comes_to(self, *versions: str) -> None:
        """Wait until just these versions of add_sub are served."""
        eventually(lambda: self.versions("add_sub"), f"versions {versions}", lambda found: found == [*versions], log=self.log)


@pytest.fixture
def triton(unpacked: Callable[[str], box.Box], tmp_path: Path) -> Callable[..., AbstractContextManager[Triton]]:
    image = unpacked("tritonserver:2.51.0-cpu")

    @contextlib.contextmanager
    def start(stack: Stack, *flags: str) -> Generator[Triton]:
        http = free_port()
        arguments = ["tritonserver", f"--model-repository={stack.url}", "--allow-metrics=false", "--allow-grpc=false"]
        arguments += ["--http-address=127.0.0.1", f"--http-port={http}", "--exit-on-error=false", *flags]
        log = tmp_path / "triton.log"
        with log.open("wb") as stream, image.run(arguments, output=stream, environment=KEYS) as process:
            server = Triton(f"127.0.0.1:{http}", Text(log))
            try:
                eventually(lambda: server.ask("health/live") is not None, "a server that answers", process=process, log=server.log)
                yield server
            finally:
                with contextlib.suppress(OSError):
                    os.kill(box.first_pid(process), signal.SIGKILL)

    return start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "models" / "add_sub", tmp_path / "models" / "add_sub")
    with (tmp_path / "models" / "add_sub" / "config.pbtxt").open("a") as config:
        config.write("\nversion_policy { all { } }\n")
    return tmp_path / "models"


def add_version(folder: Path) -> None:
    shutil.copytree(folder / "add_sub" / "1", folder / "add_sub" / "2")


def test_poll_picks_a_new_version_up_and_lets_an_old_one_go(
    endpoint: str, folder: Path, triton: Callable[..., AbstractContextManager[Triton]]
) -> None:
    stack = Stack(folder, endpoint, "poll")
    stack.up()
    with triton(stack, "--model-control-mode=poll", "--repository-poll-secs=1") as server:
        server.comes_to("1")
        add_version(folder)
        stack.up()
        server.comes_to("1", "2")
        shutil.rmtree(folder / "add_sub" / "1")
        stack.up()
        server.comes_to("2")


def test_explicit_loads_when_it_is_told_to(endpoint: str, folder: Path, triton: Callable[..., AbstractContextManager[Triton]]) -> None:
    stack = Stack(folder, endpoint, "explicit")
    stack.up()
    with triton(stack, "--model-control-mode=explicit", "--load-model=add_sub") as server:
        server.comes_to("1")
        add_version(folder)
        stack.up()
        assert server.versions("add_sub") == ["1"]
        assert server.ask("repository/models/add_sub/load", b"{}") == {}
        assert server.versions("add_sub") == ["1", "2"]
        assert server.ask("repository/models/add_sub/unload", b"{}") == {}
        eventually(lambda: server.ask("models/add_sub/ready") is None, "a model that is gone", log=server.log)
        (found,) = server.ask("repository/index", b"{}")[:1]
        assert found["name"] == "add_sub"
