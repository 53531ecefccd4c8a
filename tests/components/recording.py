"""What a program registers under the SDK's mocks, by type and logical name: resources of several types may share a name."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.settings import ROOT, SETTINGS

from tests.components.conftest import event_loop


class Monitor(MockMonitor):
    """Keeps the requests, as the engine would get them."""

    def __init__(self, mocks: pulumi.runtime.Mocks) -> None:
        super().__init__(mocks)
        self.resources.update(getattr(mocks, "referred", {}))
        self.requests: dict[str, Any] = {}
        """``type name`` -> request."""

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        with event_loop():
            answer = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != "pulumi:pulumi:Stack":
            self.requests[f"{request.type} {request.name}"] = request
        return answer

    def Invoke(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        with event_loop():
            return super().Invoke(request)  # type: ignore[no-untyped-call]

    def inputs(self, kind: str, name: str) -> dict[str, Any]:
        """What the program gave, as plain values."""
        values: dict[str, Any] = deserialize_properties(self.requests[f"{kind} {name}"].object)
        return values

    def of(self, prefix: str) -> dict[tuple[str, str], dict[str, Any]]:
        """Inputs of all resources whose type begins with ``prefix``, by type and logical name."""
        found = [(request.type, request.name) for request in self.requests.values() if request.type.startswith(prefix)]
        return {key: self.inputs(*key) for key in found}

    def waits(self, kind: str, name: str) -> set[tuple[str, str]]:
        """(last part of the type, logical name) of what a resource waits for, be it by depends_on or by an output among its inputs."""
        return {(key.split(" ")[0].rsplit(":", 1)[-1], key.split(" ")[1]) for key in waits_for(self, kind, name)}

    def request(self, kind: str, name: str) -> Any:
        """The request of a resource whose type ends with ``kind``."""
        return next(found for found in self.requests.values() if found.type.endswith(kind) and found.name == name)


def start(mocks: pulumi.runtime.Mocks, *, preview: bool = False) -> Monitor:
    """Begin a fresh stack under ``mocks``. Call it inside the test's event loop."""
    ROOT.set(None)
    SETTINGS.outputs.clear()  # of a test before that did not wait for all it had begun, in a loop that is closed
    monitor = Monitor(mocks)
    pulumi.runtime.set_mocks(mocks, project="triton-fleet", stack="test", preview=preview, monitor=monitor)
    return monitor


def of_type(monitor: Monitor, kind: str) -> dict[str, dict[str, Any]]:
    """Inputs of all resources whose type ends with ``kind``, by logical name."""
    return {
        request.name: monitor.inputs(request.type, request.name) for request in monitor.requests.values() if request.type.endswith(kind)
    }


def waits_for(monitor: Monitor, kind: str, name: str) -> set[str]:
    """Type and logical name of what a resource waits for, be it by depends_on or by an output among its inputs."""
    urns = monitor.request(kind, name).dependencies
    return {f"{urn.split('::')[2].split('$')[-1]} {urn.rsplit('::', 1)[-1]}" for urn in urns}
