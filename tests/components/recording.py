"""What a program registers under the SDK's mocks, by type and logical name: resources of several types may share a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.settings import ROOT, SETTINGS

from tests.components.conftest import event_loop

if TYPE_CHECKING:
    from collections.abc import Callable


class Registered(MockMonitor):
    """Keeps the requests, as the engine would get them."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.resources.update(getattr(mocks, "referred", {}))
        self.requests: dict[tuple[str, str], Any] = {}
        """(type, logical name) -> request."""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        with event_loop():
            answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self.requests[request.type, request.name] = request
        return answer

    def Invoke(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        with event_loop():
            return super().Invoke(request)  # type: ignore[no-untyped-call]

    def inputs(self, kind: str, name: str) -> dict[str, Any]:
        """What the program gave, as plain values."""
        request = self.requests[kind, name]
        values: dict[str, Any] = deserialize_properties(request.object)
        return values

    def of(self, prefix: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Inputs of all resources whose type begins with ``prefix``."""
        return {key: self.inputs(*key) for key in self.requests if key[0].startswith(prefix)}

    def waits(self, kind: str, name: str) -> set[tuple[str, str]]:
        """(last part of the type, logical name) of what a resource waits for, be it by depends_on or by an output among its inputs."""
        urns = [urn.split("::") for urn in self.requests[kind, name].dependencies]
        return {(parts[2].rsplit("$", 1)[-1].rsplit(":", 1)[-1], parts[3]) for parts in urns}


def start(mocks: pulumi.runtime.Mocks, monitor: Callable[[pulumi.runtime.Mocks], Registered] = Registered) -> Registered:
    """Begin a fresh stack under ``mocks``. Call it inside the test's event loop."""
    ROOT.set(None)
    SETTINGS.outputs.clear()  # of a test before that did not wait for all it had begun, in a loop that is closed
    made = monitor(mocks)
    pulumi.runtime.set_mocks(mocks, project="triton-fleet", stack="test", preview=False, monitor=made)
    return made
