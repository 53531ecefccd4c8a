"""The existing cluster under the SDK's mocks: one provider, and nothing of this machine or its user in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.stack import wait_for_rpcs

from components.existing.cluster import ExistingCluster
from components.existing.kubeconfig import Access

if TYPE_CHECKING:
    from tests.components.conftest import Recorder


@pytest.mark.parametrize(("path", "kubeconfig"), [(None, ""), ("/etc/fleet/kubeconfig", "/etc/fleet/kubeconfig")])
async def test_provider(recorder: Recorder, monkeypatch: pytest.MonkeyPatch, path: str | None, kubeconfig: str) -> None:
    monkeypatch.setenv("KUBECONFIG", "/home/me/.kube/config")  # the SDK would write it into the state
    access = Access(path=path, context="kind-x", server="https://127.0.0.1:1", files="/home/me/.kube/config", checkable=True)
    cluster = ExistingCluster("cluster", access)
    name = await cluster.handle.name.future()
    await wait_for_rpcs()
    assert name == "kind-x"
    assert recorder.of_type("triton-fleet:cluster:ExistingCluster") | recorder.of_type("pulumi:providers:kubernetes") == {"cluster"}
    sent = deserialize_properties(recorder.requests["cluster"].object)
    assert sent == {"kubeconfig": kubeconfig, "context": "kind-x", "enableServerSideApply": "true"}
    assert "ExistingCluster" in recorder.requests["cluster"].parent
