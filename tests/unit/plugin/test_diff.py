"""What changes, what of it needs a new object, and what a refresh makes of drift."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local.plugins.kubernetes import diff, paths, replacement
from local.plugins.kubernetes.diff import Change
from local.plugins.kubernetes.errors import Cause
from local.plugins.kubernetes.properties import UNKNOWN
from local.plugins.kubernetes.replacement import Mutability

JSON = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=2), inner, max_size=3),
    max_leaves=10,
)


def obj(api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "n", "namespace": "s"}, **fields}


def replaced(old: dict[str, Any], new: dict[str, Any], mutability: Mutability | None = None) -> dict[str, bool]:
    old, new = diff.normalize(old), diff.normalize(new)
    found = diff.detailed(old, new, replacement.force_new(new, mutability or Mutability()))
    return {paths.path_text(path): item.replace for path, item in found.items()}


# --- paths


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("spec", "containers", 0, "image"), "spec.containers[0].image"),
        (("metadata", "annotations", "a.b/c"), 'metadata.annotations["a.b/c"]'),
        (("data", 'with "quotes"'), 'data["with \\"quotes\\""]'),
        (("data", "8080"), 'data["8080"]'),
    ],
)
def test_paths_as_the_engine_writes_them(path: paths.Path, text: str) -> None:
    assert paths.path_text(path) == text
    assert paths.parse_path(text) == path


def test_stars_stand_for_any_part() -> None:
    assert paths.contains(paths.parse_path("spec.containers[*].image"), ("spec", "containers", 3, "image"))
    assert not paths.contains(paths.parse_path("spec.containers[*].image"), ("spec", "containers", 3, "name"))


# --- differences


@settings(deadline=None)
@given(JSON)
def test_nothing_differs_from_itself(value: Any) -> None:
    assert diff.differences(value, value) == {}


@settings(deadline=None)
@given(JSON, JSON)
def test_something_differs_where_values_do(left: Any, right: Any) -> None:
    assert bool(diff.differences(left, right)) == (not diff.same(left, right))


def test_differences_are_as_deep_as_both_sides() -> None:
    old = {"a": {"b": 1, "gone": 1}, "list": [1, 2, 3], "kind": "x"}
    new = {"a": {"b": 2, "new": 1}, "list": [1, 5], "kind": {"now": "a map"}}
    assert {paths.path_text(path): change for path, change in diff.differences(old, new).items()} == {
        "a.b": Change.UPDATE,
        "a.gone": Change.DELETE,
        "a.new": Change.ADD,
        "list[1]": Change.UPDATE,
        "list[2]": Change.DELETE,
        "kind": Change.UPDATE,
    }


def test_unknown_is_a_change() -> None:
    assert diff.differences({"a": 1}, {"a": UNKNOWN}) == {("a",): Change.UPDATE}


def test_empty_map_says_something() -> None:
    assert diff.differences({"volumes": [{"name": "v", "emptyDir": {}}]}, {"volumes": [{"name": "v"}]})


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [("1000m", "1", True), ("1Gi", "1024Mi", True), (2, "2", True), ("1e3", "1k", True), ("1Gi", "1G", False), ("500m", "1", False)],
)
def test_quantities(left: Any, right: Any, equal: bool) -> None:
    for place in (("spec", "resources", "requests", "cpu"), ("spec", "volumes", 0, "emptyDir", "sizeLimit")):
        assert diff.same(left, right, place) is equal


def test_only_quantities_are_read_as_quantities() -> None:
    assert not diff.same("1000m", "1", ("data", "requests", "x"))
    assert not diff.same("1000m", "1", ("metadata", "labels", "value"))
    assert not diff.same("1000m", "1", ("spec", "containers", 0, "env", 0, "name"))


def test_quantity_numbers() -> None:
    assert diff.quantity("1.5Ki") == Decimal(1536)
    assert diff.quantity("nonsense") is None
    assert diff.quantity(value=True) is None


# --- the normal form


def test_secret_has_one_form() -> None:
    text = diff.normalize(obj("v1", "Secret", stringData={"a": "b"}, data={"c": "ZA=="}))
    assert text["data"] == {"a": "Yg==", "c": "ZA=="}
    assert "stringData" not in text
    assert diff.normalize(obj("v1", "Secret", data={"a": "Yg==\n"}))["data"] == {"a": "Yg=="}
    assert diff.normalize(obj("v1", "Secret", stringData={"a": UNKNOWN}))["data"] == {"a": UNKNOWN}


def test_read_only_metadata_and_nulls_are_dropped() -> None:
    text = diff.normalize({"metadata": {"uid": "x", "resourceVersion": "1", "labels": {}, "name": "n", "annotations": None}})
    assert text == {"metadata": {"name": "n"}}


# --- replacement


def test_identity_replaces() -> None:
    old, new = obj("apps/v1", "Deployment"), obj("apps/v1", "Deployment")
    new["metadata"] = {"name": "other", "namespace": "s"}
    assert replaced(old, new) == {"metadata.name": True}


@pytest.mark.parametrize(
    ("api_version", "kind", "old", "new", "expected"),
    [
        ("apps/v1", "Deployment", {"selector": {"matchLabels": {"a": "1"}}}, {"selector": {"matchLabels": {"a": "2"}}}, True),
        ("apps/v1", "Deployment", {"replicas": 1}, {"replicas": 2}, False),
        ("apps/v1", "StatefulSet", {"volumeClaimTemplates": [{"a": 1}]}, {"volumeClaimTemplates": [{"a": 2}]}, True),
        ("v1", "Service", {"clusterIP": "None"}, {}, True),
        ("v1", "Service", {"ports": [1]}, {"ports": [2]}, False),
        ("batch/v1", "Job", {"template": {"spec": {"x": 1}}}, {"template": {"spec": {"x": 2}}}, True),
        ("batch/v1", "Job", {"ttlSecondsAfterFinished": 1}, {"ttlSecondsAfterFinished": 2}, False),
        ("v1", "PersistentVolumeClaim", {"storageClassName": "a"}, {"storageClassName": "b"}, True),
        (
            "v1",
            "PersistentVolumeClaim",
            {"resources": {"requests": {"storage": "1Gi"}}},
            {"resources": {"requests": {"storage": "2Gi"}}},
            False,
        ),
        ("v1", "Pod", {"containers": [{"image": "a"}]}, {"containers": [{"image": "b"}]}, True),
    ],
)
def test_listed_fields(api_version: str, kind: str, old: Any, new: Any, expected: bool) -> None:
    found = replaced(obj(api_version, kind, spec=old), obj(api_version, kind, spec=new))
    assert found
    assert any(found.values()) is expected


def test_parent_that_comes_or_goes_counts_by_what_it_brings() -> None:
    with_selector = {"template": {}, "selector": {"matchLabels": {"a": "1"}}}
    assert any(replaced(obj("apps/v1", "Deployment"), obj("apps/v1", "Deployment", spec=with_selector)).values())
    assert not any(replaced(obj("apps/v1", "Deployment"), obj("apps/v1", "Deployment", spec={"replicas": 1})).values())


def test_data_of_maps_and_secrets() -> None:
    for kind, switch in (("ConfigMap", Mutability(config_map=True)), ("Secret", Mutability(secret=True))):
        old, new = obj("v1", kind, data={"a": "YQ=="}), obj("v1", kind, data={"a": "Yg=="})
        assert replaced(old, new) == {"data.a": True}
        assert replaced(old, new, switch) == {"data.a": False}
        assert replaced(old | {"immutable": True}, new | {"immutable": True}, switch) == {"data.a": True}
        old["metadata"], new["metadata"] = {"name": "n", "labels": {"a": "1"}}, {"name": "n", "labels": {"a": "2"}}
        assert replaced(old, obj("v1", kind, data={"a": "YQ=="}, metadata=new["metadata"])) == {"metadata.labels.a": False}


def test_server_calls_it_immutable() -> None:
    found = [("spec", "selector", "x"), ("spec", "replicas"), ("metadata", "labels", "a")]
    causes = [Cause("spec.selector", "FieldValueInvalid", 'Invalid value: {"x":"y"}: field is immutable')]
    assert replacement.immutable_paths(causes, found) == {("spec", "selector", "x")}
    whole = [Cause("spec", "FieldValueForbidden", "Forbidden: updates to statefulset spec for fields other than 'replicas' are forbidden")]
    assert replacement.immutable_paths(whole, found) == {("spec", "selector", "x"), ("spec", "replicas")}
    elsewhere = [Cause("value", "FieldValueForbidden", "Forbidden: may not be changed in an update.")]
    assert replacement.immutable_paths(elsewhere, [("spec", "y")]) == {("spec", "y")}


@pytest.mark.parametrize("message", ["field can not be less than previous value", "must be greater than 0", "Required value"])
def test_errors_that_a_new_object_would_not_cure(message: str) -> None:
    cause = Cause("spec.resources.requests.storage", "FieldValueForbidden", message)
    assert replacement.immutable_paths([cause], [("spec", "resources")]) == set()


# --- refresh


def test_what_the_server_writes_otherwise_is_no_drift() -> None:
    inputs = {"spec": {"cpu": {"requests": {"cpu": "1000m"}}, "hostNetwork": False, "list": ["a"]}, "stringData": {"p": "x"}}
    recorded = {"spec": {"cpu": {"requests": {"cpu": "1"}}, "list": ["a", "injected"], "added": 1}, "data": {"p": "eA=="}}
    assert diff.refreshed_inputs(inputs, recorded, recorded) == inputs


def test_drift_comes_into_the_inputs() -> None:
    inputs = {"spec": {"replicas": 1, "image": "a", "gone": "x", "list": ["a", "b"]}}
    recorded = {"spec": {"replicas": 1, "image": "a", "gone": "x", "list": ["a", "b"], "status": 1}}
    live = {"spec": {"replicas": 3, "image": "a", "list": ["a", "c"], "status": 2}}
    assert diff.refreshed_inputs(inputs, recorded, live) == {"spec": {"replicas": 3, "image": "a", "list": ["a", "c"]}}


def test_drift_back_to_the_inputs_is_none() -> None:
    assert diff.refreshed_inputs({"a": 1}, {"a": 2}, {"a": 1}) == {"a": 1}


def test_list_that_grew_is_pruned_to_its_shape() -> None:
    inputs = {"list": [{"name": "a", "v": 1}]}
    recorded = {"list": [{"name": "a", "v": 1, "default": True}]}
    live = {"list": [{"name": "a", "v": 2, "default": True}, {"name": "b", "v": 3}]}
    assert diff.refreshed_inputs(inputs, recorded, live) == {"list": [{"name": "a", "v": 2}, {"name": "b", "v": 3}]}


@settings(deadline=None)
@given(JSON)
def test_refresh_without_drift_changes_nothing(value: Any) -> None:
    assert diff.refreshed_inputs(value, value, value) == value
