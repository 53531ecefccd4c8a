"""The engine's side of a program, played by the SDK's mocks, with what mocks alone don't show: who depends on whom."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import AsyncMock

import pulumi
import pytest
from pulumi.runtime import resource
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.proto import callback_pb2
from pulumi.runtime.proto.source_pb2 import StackTrace
from pulumi.runtime.settings import ROOT, SETTINGS

from components.gke.cluster import PLUGIN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Mocks(pulumi.runtime.Mocks):
    """Gives names to objects that have none, as the engine does."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        outputs = dict(args.inputs)
        if args.typ.startswith("kubernetes:core"):
            outputs["metadata"] = {"name": f"{args.name}-1a2b3c4d", **(outputs.get("metadata") or {})}
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        raise AssertionError(args.token)


@contextmanager
def event_loop() -> Iterator[None]:
    """Give this thread an event loop and close it: the SDK makes one where it finds none, and leaves it open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        yield
    finally:
        asyncio.set_event_loop(None)
        loop.close()


class Recorder(MockMonitor):
    """Keeps what a program registers, by logical name."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.requests: dict[str, Any] = {}
        """The requests as the engine would get them."""
        self.inputs: dict[str, dict[str, Any]] = {}
        """What the mocks answered: the inputs, as a rule."""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        with event_loop():
            answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        self.requests[request.name] = request
        if request.type != "pulumi:pulumi:Stack":
            self.inputs[request.name] = self.resources[answer.urn].state
        return answer

    def of_type(self, typ: str) -> set[str]:
        return {name for name, request in self.requests.items() if request.type == typ}

    def dependencies(self, name: str) -> set[str]:
        """Logical names of what ``name`` waits for, be it by depends_on or by an output among its inputs."""
        return {urn.rsplit("::", 1)[-1] for urn in self.requests[name].dependencies}


class Callbacks:
    """Takes transforms; nobody asks them, for mocks take no chart apart."""

    def register_transform(self, transform: object) -> callback_pb2.Callback:
        return callback_pb2.Callback(token=f"{id(transform)}", target="nobody")


def accepting() -> dict[str, object]:
    """What lets resources have transforms, in `pulumi.runtime.resource`: the SDK takes a monitor of mocks for an engine that has none."""
    return {"_sync_monitor_supports_transforms": lambda: True, "_get_callbacks": AsyncMock(return_value=Callbacks())}


@pytest.fixture(autouse=True)
def transforms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let resources have transforms."""
    for name, value in accepting().items():
        monkeypatch.setattr(f"pulumi.runtime.resource.{name}", value)


@pytest.fixture(autouse=True)
def _without_source_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK sends where in the program each resource is made, for the engine's messages: a fifth of the time here, and no engine."""
    monkeypatch.setattr(resource, "_get_stack_trace", StackTrace)


def write_kubeconfig(folder: Path, *, context: str) -> Path:
    """A cluster that nobody has to answer for: its credentials would come of a command, which is not asked."""
    content = {
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"exec": {"command": "false"}}}],
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_gke_plugin(folder: Path) -> None:
    """What kubectl gets its tokens from on GKE."""
    plugin = folder / PLUGIN
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(0o755)


@pytest.fixture
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What a whole stack finds on its machine, whichever its cluster is: keys of an object store, a kubeconfig, GKE's plugin."""
    write_gke_plugin(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, context="kind-x")))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def recorder() -> Recorder:
    """A fresh stack under mocks, in the event loop of the test."""
    ROOT.set(None)
    SETTINGS.outputs.clear()  # of a test before that did not wait for all it had begun, in a loop that is closed
    mocks = Mocks()
    monitor = Recorder(mocks)
    pulumi.runtime.set_mocks(mocks, project="triton-fleet", stack="test", preview=False, monitor=monitor)
    return monitor
