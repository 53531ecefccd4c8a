"""`destroy`: killed in the middle, whole, and on a cluster of one's own."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from local.platform import Platform
from tests.e2e.instances import NAMESPACES, Instance, Known, kill_at

pytestmark = pytest.mark.e2e


def test_up_ends_well_after_a_killed_destroy(served: Instance) -> None:
    kill_at(served, "destroy", r"Namespace \S+ deleting|Release kps deleting", everything=False)
    assert "Triton serves" in served.up()
    served.shell("pulumi preview --expect-no-changes --non-interactive")


def test_destroy_leaves_nothing_in_the_cluster(served: Instance) -> None:
    served.destroy()
    assert not NAMESPACES & served.namespaces()
    assert "custom.metrics.k8s.io" not in served.shell("kubectl get apiservices -o name")
    assert json.loads(served.shell("helm list -A -o json")) == []
    assert "is empty" in served.destroy()


def test_a_cluster_of_ones_own(empty: Instance) -> None:
    """The platform's node plays the user's cluster, its charts and images a mirror's."""
    inherited = ("TRITON_FLEET_INSTANCE", "TRITON_FLEET_PORT_OFFSET")
    given = {
        "KUBECONFIG": str(empty.state / "kubeconfig"),
        "KUBE_CONTEXT": "triton-fleet",
        "BUCKET": "models",
        "S3_ENDPOINT": "http://10.111.0.1:7070",
        "CHARTS": "local/charts",
        "IMAGE": "triton-fleet.local/tritonserver:2.51.0-cpu",
        **{name: value for name, value in Platform(empty.config).environment().items() if name.startswith("AWS_")},
    }
    kept = {name: value for name, value in empty.environment.items() if name not in inherited}
    own = replace(empty, environment=kept | given, known=Known())
    output = own.up()
    assert "on your cluster triton-fleet" in output.splitlines()[0]
    assert "Triton serves" in output
    assert str(empty.state / "backend") not in output
    assert "kps" in own.shell("helm list -A")
    own.destroy()
    assert not NAMESPACES & empty.namespaces()
