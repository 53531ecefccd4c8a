"""The check of calls against Google's own description of its APIs."""

from __future__ import annotations

from typing import Any

import pytest

from tests.doubles.gcp import api

CREATE = "container.projects.locations.clusters.create"
PARENT = {"parent": "projects/p/locations/us-central1"}


def said(cluster: Any) -> list[str]:
    document, method = api.find(CREATE)
    return api.check_call(document, method, PARENT, {"cluster": cluster})


def pool(**config: Any) -> dict[str, Any]:
    return {"name": "c", "nodePools": [{"name": "p", "config": config}]}


@pytest.mark.parametrize(
    ("cluster", "problem"),
    [
        ({"nodeconfig": {}}, "cluster.nodeconfig is unknown to Google (it has nodeConfig)"),
        ({"status": "RUNNING"}, "cluster.status is set, which only Google does"),
        ({"initialNodeCount": "1"}, 'cluster.initialNodeCount is "1"; it must be a integer (int32)'),
        ({"initialNodeCount": True}, "cluster.initialNodeCount is true; it must be a integer (int32)"),
        ({"initialNodeCount": 2**31}, "it must fit int32"),
        ({"releaseChannel": {"channel": "FAST"}}, "Google knows RAPID, REGULAR, STABLE, EXTENDED"),
        ({"resourceLabels": {"a": 1}}, "cluster.resourceLabels.a is 1; it must be a string"),
        ({"nodePools": {}}, "cluster.nodePools is {}; it must be a list"),
        (
            pool(accelerators=[{"acceleratorCount": 1}]),
            "nodePools[0].config.accelerators[0].acceleratorCount is 1; it must be a string (int64)",
        ),
        (pool(accelerators=[{"acceleratorCount": "one"}]), "it must be of the format int64"),
        (pool(taints=[{"effect": "NoSchedule"}]), 'nodePools[0].config.taints[0].effect is "NoSchedule"'),
        (pool(maxRunDuration="an hour"), "it must be of the format google-duration"),
        (pool(guestAccelerators=[]), "nodePools[0].config.guestAccelerators is unknown to Google"),
        (
            {"maintenancePolicy": {"window": {"maintenanceExclusions": {"x": {"startTime": "today"}}}}},
            'maintenanceExclusions.x.startTime is "today"; it must be of the format google-datetime',
        ),
    ],
)
def test_what_google_would_lose_or_refuse(cluster: Any, problem: str) -> None:
    (found,) = said({"name": "c", **cluster})
    assert problem in found


def test_all_of_it_at_once_and_nothing_of_what_is_right() -> None:
    assert said({"name": "c", "initialNodeCount": 1, "releaseChannel": {"channel": "RAPID"}, "resourceLabels": {"team": "triton"}}) == []
    assert len(said({"nme": "c", "initialNodeCount": "1", "status": "RUNNING"})) == 3


def test_an_answer_may_have_what_only_google_sets() -> None:
    document = api.document("container")
    assert document.check("Cluster", {"name": "c", "status": "RUNNING"}, direction="answer") == []
    assert document.check("Cluster", {"name": "c", "state": "RUNNING"}, direction="answer")


def test_parameters() -> None:
    document, method = api.find(CREATE)
    assert any("parameter parent is missing" in text for text in api.check_call(document, method, {}, {"cluster": {}}))
    assert any("must match" in text for text in api.check_call(document, method, {"parent": "us-central1"}, {"cluster": {}}))
    assert any("zone is no parameter" in text for text in api.check_call(document, method, {**PARENT, "zone": "a"}, {"cluster": {}}))
    assert any("needs a body" in text for text in api.check_call(document, method, PARENT, None))


def test_what_one_method_alone_requires() -> None:
    document, method = api.find("compute.networks.insert")
    assert any("Network.name is missing" in text for text in api.check_call(document, method, {"project": "p"}, {}))
    document, method = api.find("compute.networks.patch")
    assert api.check_call(document, method, {"project": "p", "network": "n"}, {}) == []


def test_methods_that_google_has_not() -> None:
    with pytest.raises(LookupError):
        api.find("container.projects.locations.clusters.enlarge")
