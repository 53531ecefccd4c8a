"""Manifests: as Kubernetes reads YAML, expanded, with namespaces, in order."""

from __future__ import annotations

from typing import Any

import pytest

from local.plugins.kubernetes import manifests, naming
from local.plugins.kubernetes.manifests import ManifestError


def one(kind: str, name: str, namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": more.pop("api_version", "v1"), "kind": kind, "metadata": metadata | more.pop("metadata", {}), **more}


def names(objects: list[tuple[dict[str, Any], list[dict[str, Any]]]]) -> list[str]:
    return [obj["metadata"]["name"] for obj, _ in objects]


def scope(kind: naming.Kind, _: object) -> bool | None:
    return naming.builtin_namespaced(kind)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-02", "2026-01-02"),
        ("yes", True),
        ("n", False),
        ("=", "="),
        ("1e3", 1000.0),
        ("0o17", "0o17"),
        ("'yes'", "yes"),
        ("~", None),
        ("1_000", 1000),
    ],
)
def test_scalars_as_kubernetes_reads_them(text: str, value: Any) -> None:
    assert manifests.load(f"a: {text}\nb: 1") == [{"a": value, "b": 1}]


def test_streams_and_keys() -> None:
    assert manifests.load("---\n# nothing\n---\na: 1\n---\n{}\n---\n8080: x\n") == [{"a": 1}, {"8080": "x"}]


@pytest.mark.parametrize("text", ["a: [", "- a\n- b", "just text"])
def test_what_is_no_manifest_is_refused(text: str) -> None:
    with pytest.raises(ManifestError, match="decoding YAML"):
        manifests.load(text)


def test_lists_are_opened() -> None:
    inner = one("ConfigMap", "a")
    nested = {
        "apiVersion": "v1",
        "kind": "List",
        "items": [inner, {"apiVersion": "v1", "kind": "ConfigMapList", "items": [one("ConfigMap", "b")]}],
    }
    assert [obj["metadata"]["name"] for obj in manifests.expand([nested])] == ["a", "b"]


def test_default_namespace_goes_where_it_belongs() -> None:
    objects = manifests.normalize(
        [one("ConfigMap", "a"), one("ConfigMap", "b", "own"), one("Namespace", "c"), one("Widget", "d", api_version="example.com/v1")],
        "default",
        scope,
    )
    assert [obj["metadata"].get("namespace") for obj in objects] == ["default", "own", None, None]


@pytest.mark.parametrize("bad", [{"kind": "X"}, {"apiVersion": "v1", "kind": "ConfigMap"}, {"apiVersion": "v1", "metadata": {"name": "x"}}])
def test_objects_that_are_none_are_shown(bad: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match="require"):
        manifests.normalize([bad], "default", scope)


def test_order() -> None:
    definition = one(
        "CustomResourceDefinition",
        "widgets",
        api_version="apiextensions.k8s.io/v1",
        spec={"group": "example.com", "names": {"kind": "Widget"}},
    )
    widget = one("Widget", "widget", "space", api_version="example.com/v1")
    late = one(
        "ConfigMap",
        "late",
        "space",
        metadata={"annotations": {"config.kubernetes.io/depends-on": "example.com/namespaces/space/Widget/widget"}},
    )
    space = one("Namespace", "space")
    placed = manifests.ordered([late, widget, definition, space])
    assert names(placed).index("widget") > names(placed).index("widgets")
    assert names(placed)[-1] == "late"
    needs = {obj["metadata"]["name"]: {need["metadata"]["name"] for need in needed} for obj, needed in placed}
    assert needs == {"widgets": set(), "space": set(), "widget": {"widgets", "space"}, "late": {"space", "widget"}}


def test_circles_and_strangers_are_named() -> None:
    def depending(name: str, on: str) -> dict[str, Any]:
        return one("ConfigMap", name, "s", metadata={"annotations": {"config.kubernetes.io/depends-on": f"/namespaces/s/ConfigMap/{on}"}})

    with pytest.raises(ManifestError, match="have a cycle"):
        manifests.ordered([depending("a", "b"), depending("b", "a")])
    with pytest.raises(ManifestError, match="not in this group"):
        manifests.ordered([depending("a", "nobody")])
    with pytest.raises(ManifestError, match="is not"):
        manifests.ordered([one("ConfigMap", "a", metadata={"annotations": {"config.kubernetes.io/depends-on": "some/thing"}})])


def test_names_of_resources() -> None:
    text = "\n---\n".join(manifests.dump(obj) for obj in (one("Deployment", "b", api_version="apps/v1"), one("ConfigMap", "a", "s")))
    assert manifests.resource_names(text) == {"ConfigMap/v1": ["s/a"], "Deployment.apps/apps/v1": ["b"]}
