"""What the benchmark of the clouds' stacks makes of a state and of its results."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bench.graph import Chain
from bench.standup import Result, report
from bench.standup_clouds import POD_S, TRITON_S, wait_of
from tests.doubles.aws import delays as aws
from tests.doubles.gcp import delays as gcp

if TYPE_CHECKING:
    from pathlib import Path

POOL = "gcp:container/nodePool:NodePool"
ADDON = "aws:eks/addon:Addon"
RELEASE = "kubernetes:helm.sh/v3:Release"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"


@pytest.mark.parametrize(
    ("kind", "name", "inputs", "seconds"),
    [
        (POOL, "cluster-cpu", {"initialNodeCount": 1}, gcp.POOL_CREATE + gcp.POOL_NODES),
        (POOL, "cluster-gpu", {"initialNodeCount": 0}, gcp.POOL_CREATE),
        ("gcp:container/cluster:Cluster", "cluster", {}, gcp.CLUSTER),
        (ADDON, "cluster-coredns", {"addonName": "coredns"}, aws.ADDON_CREATE["coredns"]),
        (ADDON, "cluster-another", {"addonName": "another"}, aws.ADDON_OTHER),
        (RELEASE, "istiod", {"name": "istiod"}, POD_S),
        (RELEASE, "istio-base", {"name": "istio-base"}, 0.0),
        (DEPLOYMENT, "triton:triton/triton", {}, TRITON_S),
        (DEPLOYMENT, "custom-metrics-stackdriver-adapter", {}, POD_S),
        ("kubernetes:core/v1:Namespace", "triton", {}, 0.0),
    ],
)
def test_what_each_resource_waits(kind: str, name: str, inputs: dict[str, Any], seconds: float) -> None:
    assert wait_of({"type": kind, "urn": f"urn:pulumi:s::p::{kind}::{name}", "inputs": inputs}) == seconds


def test_a_cluster_of_googles_and_the_end_of_its_first_pool_are_one_wait() -> None:
    """The published time is of both; the double plays them one after the other."""
    assert gcp.CLUSTER_CREATE + gcp.POOL_DELETE == gcp.CLUSTER


def result(measured: float, in_turn: float = 1900.0) -> Result:
    return Result(factor=0.5, measured=measured, chain=Chain(seconds=1000.0, steps=(("t a", 1000.0),)), in_turn=in_turn)


def test_a_stack_that_is_left_out_keeps_its_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "standup.json"
    assert report({"eks-fil": result(1050.0), "gke-fil": result(1055.0)}, out) == 0
    before = json.loads(out.read_text())["stacks"]
    assert report({"gke-fil": result(1200.0)}, out) == 1
    after = json.loads(out.read_text())["stacks"]
    assert list(after) == ["eks-fil", "gke-fil"]
    assert after["eks-fil"] == before["eks-fil"]
    assert after["gke-fil"]["missed"] == [
        "1.20 times the longest chain, the bar is 1.10",
        "1.58 times faster than one after another, the bar is 1.8",
    ]
    assert capsys.readouterr().out.splitlines()[-1] == "gke-fil-over-chain=1.20 gke-fil-one-after-another=1.58"


def test_both_bars_are_held() -> None:
    assert result(1050.0).missed() == []
    assert len(result(1101.0, in_turn=5000.0).missed()) == 1
    assert len(result(1050.0, in_turn=1800.0).missed()) == 1
