"""The existing cluster under the SDK's mocks: one provider, and nothing of this machine or its user in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.stack import wait_for_rpcs

from components.existing.cluster import ExistingCluster, ExistingClusterArgs
from components.existing.kubeconfig import Access
from components.existing.settings import ExistingClusterSettings

if TYPE_CHECKING:
    from tests.components.conftest import Recorder

ACCESS = Access(context="kind-x", server="https://127.0.0.1:1", files="/home/me/.kube/config", checkable=True)


@pytest.mark.parametrize(
    ("fields", "kubeconfig"),
    [({}, ""), ({"context": "kind-x"}, ""), ({"kubeconfig": "/etc/fleet/kubeconfig"}, "/etc/fleet/kubeconfig")],
)
async def test_provider(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], kubeconfig: str) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/me/.kube/config")  # the SDK would write it into the state
    cluster = ExistingCluster("cluster", ExistingClusterArgs(settings=ExistingClusterSettings(**fields), access=ACCESS))
    name = await cluster.handle.name.future()
    await wait_for_rpcs()
    assert name == "kind-x"
    assert recorder.of_type("triton-fleet:cluster:ExistingCluster") | recorder.of_type("pulumi:providers:kubernetes") == {"cluster"}
    sent = deserialize_properties(recorder.requests["cluster"].object)
    assert sent == {"kubeconfig": kubeconfig, "context": "kind-x", "enableServerSideApply": "true"}
    assert "ExistingCluster" in recorder.requests["cluster"].parent
