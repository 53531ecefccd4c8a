"""The kinds of objects that the fleet declares without the SDK's modules of them: the engine is told what the SDK tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest
from pulumi.runtime.stack import wait_for_rpcs

from components import objects
from tests.components.conftest import Mocks
from tests.components.recording import Registered, start

if TYPE_CHECKING:
    from collections.abc import Callable

WAYS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, Any]]] = {
    "Namespace": (objects.Namespace, k8s.core.v1.Namespace, {}),
    "ConfigMap": (objects.ConfigMap, k8s.core.v1.ConfigMap, {"data": {"file.json": "{}"}}),
    "Secret": (objects.Secret, k8s.core.v1.Secret, {"data": {"key": "dmFsdWU="}, "immutable": True}),
}


def metadata() -> k8s.meta.v1.ObjectMetaArgs:
    """With an output in it, which belongs to the event loop of the test."""
    return k8s.meta.v1.ObjectMetaArgs(name="x", namespace="y", labels={"a/b": "c"}, annotations={"owner": pulumi.Output.from_input("me")})


async def told(make: Callable[..., Any], kind: str, **inputs: Any) -> tuple[Any, Any]:
    """What the engine is told, and the object's name as the program sees it afterwards."""
    monitor: Registered = start(Mocks())
    opts = pulumi.ResourceOptions(provider=k8s.Provider("cluster", kubeconfig="{}"), replace_on_changes=["data"])
    made = make("x", metadata=metadata(), opts=opts, **inputs)
    name = await made.metadata.name.future()
    await wait_for_rpcs()
    request = next(found for (typ, name), found in monitor.requests.items() if typ.endswith(f":{kind}"))
    for field in ("version", "pluginDownloadURL", "sourcePosition", "stackTrace"):
        # The first two choose among plugins where the program names no provider.
        request.ClearField(field)
    return request, name


@pytest.mark.parametrize("kind", list(WAYS))
async def test_the_engine_is_told_the_same(kind: str) -> None:
    ours, sdks, inputs = WAYS[kind]
    request, name = await told(ours, kind, **inputs)
    expected, _ = await told(sdks, kind, **inputs)
    assert request == expected
    assert name == "x"


async def test_without_a_provider_nothing_says_which_plugin_is_meant() -> None:
    start(Mocks())
    with pytest.raises(ValueError, match="Namespace x has no provider"):
        objects.Namespace("x", metadata=metadata(), opts=pulumi.ResourceOptions())
    await wait_for_rpcs()  # the stack's own would be left to the next test
