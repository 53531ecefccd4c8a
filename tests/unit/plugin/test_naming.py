"""Names, ids, tokens."""

from __future__ import annotations

import re
from typing import Any

import pytest

from local.plugins.kubernetes import naming
from local.plugins.kubernetes.naming import Kind
from local.plugins.kubernetes.properties import UNKNOWN

URN = "urn:pulumi:dev::fleet::triton-fleet:x:Parent$kubernetes:apps/v1:Deployment::ns/name::with::colons"


def test_parts_of_a_urn() -> None:
    assert naming.urn_type(URN) == "kubernetes:apps/v1:Deployment"
    assert naming.urn_name(URN) == "ns/name::with::colons"


@pytest.mark.parametrize(
    ("token", "kind"),
    [
        ("kubernetes:core/v1:ConfigMap", Kind("", "v1", "ConfigMap")),
        ("kubernetes:apps/v1:DeploymentPatch", Kind("apps", "v1", "Deployment")),
        ("kubernetes:rbac.authorization.k8s.io/v1:Role", Kind("rbac.authorization.k8s.io", "v1", "Role")),
    ],
)
def test_kind_of_a_token(token: str, kind: Kind) -> None:
    assert naming.kind_from_token(token) == kind


def test_patch_is_told_from_a_kind_that_ends_so() -> None:
    urn = "urn:pulumi:dev::p::kubernetes:core/v1:NamespacePatch::n"
    assert naming.is_patch(urn, {"kind": "Namespace"})
    custom = "urn:pulumi:dev::p::kubernetes:example.com/v1:SecurityPatch::n"
    assert not naming.is_patch(custom, {"kind": "SecurityPatch"})


def test_ids() -> None:
    assert naming.object_id({"metadata": {"name": "n", "namespace": "s"}}) == "s/n"
    assert naming.object_id({"metadata": {"name": "n"}}) == "n"
    assert naming.parse_id("s/n") == ("s", "n")
    assert naming.parse_id("n") == ("", "n")


def test_auto_name() -> None:
    obj: dict[str, Any] = {"metadata": None, "kind": "ConfigMap"}
    naming.assign_name(obj, "settings", b"seed")
    assert re.fullmatch(r"settings-[0-9a-f]{8}", obj["metadata"]["name"])
    assert obj["metadata"]["annotations"] == {"pulumi.com/autonamed": "true"}
    again: dict[str, Any] = {}
    naming.assign_name(again, "settings", b"seed")
    assert again["metadata"]["name"] == obj["metadata"]["name"], "a preview and its update agree"


@pytest.mark.parametrize("metadata", [{"name": "mine"}, {"name": UNKNOWN}, {"generateName": "x-"}])
def test_named_objects_keep_their_names(metadata: dict[str, Any]) -> None:
    obj = {"metadata": dict(metadata)}
    naming.assign_name(obj, "settings", b"")
    assert obj["metadata"] == metadata


def test_names_not_known_yet_are_not_touched() -> None:
    obj: dict[str, Any] = {"metadata": UNKNOWN}
    naming.assign_name(obj, "settings", b"")
    assert obj["metadata"] is UNKNOWN


def test_engine_may_propose_or_forbid() -> None:
    obj: dict[str, Any] = {}
    naming.assign_name(obj, "settings", b"", proposed="engine-says")
    assert obj["metadata"]["name"] == "engine-says"
    with pytest.raises(naming.NamingError, match=r"metadata\.name"):
        naming.assign_name({}, "settings", b"", disabled=True)


def test_generated_name_is_adopted_and_a_given_one_is_not() -> None:
    old = {"metadata": {"name": "settings-12345678", "annotations": {"pulumi.com/autonamed": "true"}}}
    new: dict[str, Any] = {"metadata": {"labels": {}}}
    naming.adopt_name(new, old)
    assert new["metadata"]["name"] == "settings-12345678"
    other: dict[str, Any] = {"metadata": {}}
    naming.adopt_name(other, {"metadata": {"name": "fixed"}})
    assert "name" not in other["metadata"]


def test_field_manager_belongs_to_the_resource() -> None:
    assert re.fullmatch(r"pulumi-kubernetes-[0-9a-f]{8}", naming.field_manager(URN))
    assert naming.field_manager(URN) == naming.field_manager(URN)
    assert naming.field_manager(URN) != naming.field_manager(URN + "x")


@pytest.mark.parametrize(
    ("kind", "namespaced"),
    [
        (Kind("", "v1", "Namespace"), False),
        (Kind("", "v1", "Secret"), True),
        (Kind("apps", "v1", "Deployment"), True),
        (Kind("rbac.authorization.k8s.io", "v1", "ClusterRole"), False),
        (Kind("rbac.authorization.k8s.io", "v1", "Role"), True),
        (Kind("apiregistration.k8s.io", "v1", "APIService"), False),
        (Kind("monitoring.coreos.com", "v1", "PodMonitor"), None),
    ],
)
def test_scope_of_kinds_without_a_server(kind: Kind, namespaced: bool | None) -> None:
    assert naming.builtin_namespaced(kind) is namespaced
