"""The modes poll and explicit on the real tritonserver, which reads the stable place from a real S3 server as pods do."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from components.repository.scan.folder import scan
from components.repository.sync import ReleaseProvider
from tests.servers import eventually, free_port, running
from tests.unit.tritonserver import Server, tritonserver

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager

    from local.images import box


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
    with running(command, port, {**os.environ, **keys}) as process:
        assert process is not None, "versitygw does not start"
        yield f"http://127.0.0.1:{port}"


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


@pytest.fixture
def triton(triton_box: box.Box, tmp_path: Path) -> Callable[..., AbstractContextManager[Server]]:
    """Start a server that reads a stack's stable place."""
    options: dict[str, Any] = {"environment": KEYS, "until": "live"}
    return lambda stack, *flags: tritonserver(triton_box, tmp_path / "log", stack.url, "--exit-on-error=false", *flags, **options)


def comes_to(server: Server, *versions: str) -> None:
    """Wait until just these versions of add_sub are served."""
    eventually(lambda: server.versions("add_sub"), f"versions {versions}", lambda found: found == [*versions], log=server.log)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "models" / "add_sub", tmp_path / "models" / "add_sub")
    with (tmp_path / "models" / "add_sub" / "config.pbtxt").open("a") as config:
        config.write("\nversion_policy { all { } }\n")
    return tmp_path / "models"


def add_version(folder: Path) -> None:
    shutil.copytree(folder / "add_sub" / "1", folder / "add_sub" / "2")


def test_poll_picks_a_new_version_up_and_lets_an_old_one_go(
    endpoint: str, folder: Path, triton: Callable[..., AbstractContextManager[Server]]
) -> None:
    stack = Stack(folder, endpoint, "poll")
    stack.up()
    with triton(stack, "--model-control-mode=poll", "--repository-poll-secs=1") as server:
        comes_to(server, "1")
        add_version(folder)
        stack.up()
        comes_to(server, "1", "2")
        shutil.rmtree(folder / "add_sub" / "1")
        stack.up()
        comes_to(server, "2")


def test_explicit_loads_when_it_is_told_to(endpoint: str, folder: Path, triton: Callable[..., AbstractContextManager[Server]]) -> None:
    stack = Stack(folder, endpoint, "explicit")
    stack.up()
    with triton(stack, "--model-control-mode=explicit", "--load-model=add_sub") as server:
        comes_to(server, "1")
        add_version(folder)
        stack.up()
        assert server.versions("add_sub") == ["1"]
        assert server.ask("repository/models/add_sub/load", b"{}") == (True, {})
        assert server.versions("add_sub") == ["1", "2"]
        assert server.ask("repository/models/add_sub/unload", b"{}") == (True, {})
        eventually(lambda: not server.ask("models/add_sub/ready")[0], "a model that is gone", log=server.log)
        (found,) = server.ask("repository/index", b"{}")[1][:1]
        assert found["name"] == "add_sub"
