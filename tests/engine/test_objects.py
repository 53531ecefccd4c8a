"""The life of an object: made, changed, replaced, found changed by others, taken in, deleted."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from local.plugins.kubernetes.errors import ApiError
from local.plugins.kubernetes.naming import Kind
from tests.engine.conftest import CONFIG_MAP, DEPLOYMENT, JOB, NAMESPACE, SECRET, SERVICE, Stack, deployment
from tests.engine.stacks import PROJECT, TEMPLATE_STACK

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.plugins.kubernetes.client import Client

pytestmark = pytest.mark.engine


PASSWORD = "hunter2-in-the-clear"
PLAIN = "not-marked-but-in-a-secret"


def plain_objects(space: str) -> None:
    inner = k8s.core.v1.Namespace("inner", metadata={"name": f"{space}-inner"})
    first = k8s.core.v1.ConfigMap("first", metadata={"namespace": inner.metadata.name}, data={"a": "b"})
    k8s.core.v1.Service("web", metadata={"name": "web", "namespace": space}, spec={"ports": [{"port": 80}], "cluster_ip": "None"})
    made = deployment(space, container={"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2.0"}}})
    made["spec"]["template"]["spec"]["volumes"] = [{"name": "scratch", "empty_dir": {}}]
    made["spec"]["template"]["spec"]["host_network"] = False
    k8s.apps.v1.Deployment("deployment", **made)
    k8s.rbac.v1.ClusterRole(
        "role", metadata={"name": f"{space}-role"}, rules=[{"verbs": ["get"], "resources": ["pods"], "api_groups": [""]}]
    )
    colourful = deployment(space, "colourful")
    colourful["spec"]["template"]["spec"]["colour"] = "green"
    k8s.apps.v1.Deployment("colourful", **colourful)
    pulumi.export("read", k8s.core.v1.ConfigMap.get("x", f"{space}/x").data)
    # Of a value that is not known before the other object is made.
    k8s.core.v1.Secret("late", metadata={"name": "late", "namespace": space}, string_data={"uid": first.metadata.uid.apply(str)})


def updated_objects(space: str, *, changed: bool) -> None:
    group = f"{space}.example.com"
    labels = {"b": "3"} if changed else {"a": "1", "b": "2"}
    k8s.core.v1.Service(
        "labelled",
        metadata={"name": "labelled", "namespace": space, "labels": labels},
        spec={"ports": [{"port": 80}], "cluster_ip": "None"},
    )
    ports: list[Any] = [{"port": 80, "name": "a"}, *([{"port": 81, "name": "b"}] if changed else [])]
    k8s.core.v1.Service(
        "old-way",
        metadata={"name": "old-way", "namespace": space},
        spec={"ports": ports, "cluster_ip": "None"},
        opts=pulumi.ResourceOptions(
            provider=k8s.Provider("without-apply", kubeconfig="", context="triton-fleet", enable_server_side_apply=False)
        ),
    )
    schema: Any = {
        "type": "object",
        "description": "second" if changed else "first",
        "properties": {"spec": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}},
    }
    definition = k8s.apiextensions.v1.CustomResourceDefinition(
        "widgets",
        metadata={"name": f"widgets.{group}"},
        spec={
            "group": group,
            "names": {"kind": "Widget", "plural": "widgets"},
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"open_apiv3_schema": schema}}],
        },
    )
    k8s.apiextensions.CustomResource(
        "widget",
        api_version=f"{group}/v1",
        kind="Widget",
        metadata={"name": "widget", "namespace": space},
        spec={"size": 2 if changed else 1, "off": False, "list": [1, 2]},
        opts=pulumi.ResourceOptions(depends_on=[definition]),
    )


def replaced_objects(space: str, *, changed: bool) -> None:
    data = {"a": "2" if changed else "1"}
    auto = k8s.core.v1.ConfigMap("settings", metadata={"namespace": space}, data=data)
    fixed = k8s.core.v1.ConfigMap("fixed", metadata={"namespace": space, "name": "fixed"}, data=data)
    immutable = k8s.core.v1.Secret(
        "immutable", metadata={"namespace": space}, string_data={"key": "two" if changed else "one"}, immutable=True
    )
    selected = deployment(space, "selected")
    app = "two" if changed else "one"
    selected["spec"]["selector"]["match_labels"]["app"] = selected["spec"]["template"]["metadata"]["labels"]["app"] = app
    k8s.apps.v1.Deployment("selected", **selected)
    # Not in the official list of fields that replace: the API server says so.
    k8s.scheduling.v1.PriorityClass("prio", metadata={"name": f"{space}-prio"}, value=2 if changed else 1)
    image = f"example.invalid/job:{2 if changed else 1}"
    job = k8s.batch.v1.Job(
        "job",
        metadata={"name": "job", "namespace": space, "annotations": {"pulumi.com/skipAwait": "true"}},
        spec={"template": {"spec": {"restart_policy": "Never", "containers": [{"name": "main", "image": image}]}}},
    )
    pulumi.export("auto", auto.metadata["name"])
    pulumi.export("immutable", immutable.metadata["name"])
    pulumi.export("fixed", fixed.metadata.uid)
    pulumi.export("job", job.metadata.uid)


def secret_objects(space: str) -> None:
    secret = k8s.core.v1.Secret(
        "login",
        metadata={"namespace": space},
        string_data={"password": pulumi.Output.secret(PASSWORD), "plain": PLAIN},
        data={"raw": "YQ=="},
    )
    k8s.core.v1.ConfigMap("noted", metadata={"namespace": space, "annotations": {"note": pulumi.Output.secret(PASSWORD)}})
    pulumi.export("data", secret.data)
    pulumi.export("login", secret.metadata["name"])


def as_made(kube: Client, space: str, outputs: Any) -> None:
    """What is there after the first update is what the program says."""
    assert outputs["read"].value == {"a": "b"}
    live = kube.get(DEPLOYMENT, space, "web")
    assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    assert base64.b64decode(kube.get(SECRET, space, "late")["data"]["uid"])
    assert kube.get(SERVICE, space, "old-way")["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "pulumi"}
    name = outputs["auto"].value
    assert re.fullmatch(r"settings-[0-9a-f]{8}", name)
    assert kube.get(CONFIG_MAP, space, name)["metadata"]["annotations"]["pulumi.com/autonamed"] == "true"
    assert outputs["data"].secret
    assert base64.b64decode(kube.get(SECRET, space, outputs["login"].value)["data"]["password"]).decode() == PASSWORD


def as_changed(kube: Client, space: str, before: Any, outputs: Any) -> None:
    """What is there after the second update has the other values; what could not change is another object."""
    assert kube.get(SERVICE, space, "labelled")["metadata"]["labels"] == {"b": "3"}, "what left the program is removed"
    assert len(kube.get(SERVICE, space, "old-way")["spec"]["ports"]) == 2
    widget = kube.get(Kind(f"{space}.example.com", "v1", "Widget"), space, "widget")
    assert widget["spec"] == {"size": 2, "off": False, "list": [1, 2]}
    # A new name, so that the old one goes last; the fixed one had to go first.
    assert outputs["auto"].value != before["auto"].value
    with pytest.raises(ApiError):
        kube.get(CONFIG_MAP, space, before["auto"].value)
    assert outputs["fixed"].value != before["fixed"].value
    assert kube.get(CONFIG_MAP, space, "fixed")["data"] == {"a": "2"}
    assert outputs["immutable"].value != before["immutable"].value
    assert outputs["job"].value != before["job"].value
    assert kube.get(JOB, space, "job")["metadata"]["uid"] == outputs["job"].value


def test_life_of_objects(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    """All that happens to objects of one's own, in one stack's life: made, left alone, changed, replaced, deleted."""
    there = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": space}, "data": {"a": "b"}}
    kube.create(CONFIG_MAP, there, manager="t")
    changed = False

    def program() -> None:
        plain_objects(space)
        updated_objects(space, changed=changed)
        replaced_objects(space, changed=changed)
        secret_objects(space)

    updated, replaced = ("labelled", "old-way", "widgets", "widget"), ("settings", "fixed", "immutable", "selected", "prio", "job")
    others = ("inner", "first", "web", "deployment", "role", "colourful", "late", "login", "noted", "without-apply")
    it = stack(program)
    assert it.steps() == dict.fromkeys((*updated, *replaced, *others, f"{PROJECT}-{TEMPLATE_STACK}"), "create")
    first = it.up().outputs
    assert 'unknown field "spec.template.spec.colour"' in it.said
    as_made(kube, space, first)
    # Nothing is to do afterwards.
    assert it.steps() == {}
    assert it.refresh() == {}
    assert it.steps() == {}
    assert it.up().outputs["auto"].value == first["auto"].value
    state = it.raw_state()
    for text in (PASSWORD, PLAIN):
        assert text not in state
        assert base64.b64encode(text.encode()).decode() not in state
    # Other values.
    changed = True
    assert it.steps() == {**dict.fromkeys(updated, "update"), **dict.fromkeys(replaced, "replace")}
    assert "labels" in it.said
    as_changed(kube, space, first, it.up().outputs)
    assert it.steps() == {}
    it.destroy()
    for kind, where, name in ((DEPLOYMENT, space, "web"), (SERVICE, space, "web"), (NAMESPACE, "", f"{space}-inner")):
        with pytest.raises(ApiError) as gone:
            kube.get(kind, where, name)
        assert gone.value.not_found


def autoscale(kube: Client, space: str, name: str, replicas: int) -> None:
    """Somebody else becomes the owner of a Deployment's number of replicas."""
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": space}, "spec": {"paused": True}}
    kube.apply(DEPLOYMENT, theirs, manager="autoscaler", force=True)
    theirs["spec"] = {"paused": True, "replicas": replicas}
    kube.apply(DEPLOYMENT, theirs, manager="autoscaler", force=True)


def test_what_others_do_is_found_and_taken_back_where_it_was_decided(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str
) -> None:
    replicas = 0
    forced: dict[str, str] = {}
    annotations: dict[str, str] = {}
    labels = {"a": "1"}
    ignore: list[str] = []

    def program() -> None:
        k8s.apps.v1.Deployment("web", **deployment(space, annotations=forced))
        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings", "namespace": space}, data={"a": "b"})
        k8s.core.v1.Service(
            "forced",
            metadata={"name": "forced", "namespace": space, "labels": {"a": "1"}, "annotations": {"pulumi.com/patchForce": "true"}},
            spec={"ports": [{"port": 80, "name": "http"}], "cluster_ip": "None"},
        )
        scaled = deployment(space, "scaled", replicas=replicas, annotations=annotations)
        k8s.apps.v1.Deployment("scaled", **scaled, opts=pulumi.ResourceOptions(ignore_changes=ignore))
        k8s.core.v1.ConfigMap("lost", metadata={"name": "lost", "namespace": space, "labels": labels}, data={"a": "b"})

    it = stack(program)
    it.up()
    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.invalid/other:9"}
    kube.patch(
        DEPLOYMENT, space, "web", [image, {"op": "add", "path": "/metadata/labels", "value": {"somebody": "else"}}], manager="somebody"
    )
    kube.delete(CONFIG_MAP, space, "settings", propagation="Background")
    kube.patch(SERVICE, space, "forced", [{"op": "replace", "path": "/metadata/labels/a", "value": "2"}], manager="somebody")
    assert it.steps() == {}, "the state is compared, not the cluster: as with the official provider"
    assert it.refresh() == {"update": 2, "delete": 1}
    assert it.steps() == {"web": "update", "settings": "create", "forced": "update"}
    # The image that somebody set is theirs now: taking it back is a decision.
    text = it.fails(it.up)
    assert "conflict" in text
    forced = {"pulumi.com/patchForce": "true"}
    it.up()
    assert kube.get(DEPLOYMENT, space, "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "example.invalid/web:1"
    assert kube.get(SERVICE, space, "forced")["metadata"]["labels"] == {"a": "1"}
    assert kube.get(CONFIG_MAP, space, "settings")["data"] == {"a": "b"}
    assert it.steps() == {}
    # A conflict names the field, the manager and the remedies.
    autoscale(kube, space, "scaled", 1)
    replicas = 2
    text = it.fails(it.up)
    for word in ('"autoscaler"', ".spec.replicas", "pulumi.com/patchForce", "ignore_changes"):
        assert word in text
    assert kube.get(DEPLOYMENT, space, "scaled")["spec"]["replicas"] == 1
    # The remedies, in turn.
    ignore = ["spec.replicas"]
    annotations = {"somebody": "cares"}
    it.up()
    assert kube.get(DEPLOYMENT, space, "scaled")["spec"]["replicas"] == 1
    ignore = []
    annotations = {"pulumi.com/patchForce": "true", "pulumi.com/skipAwait": "true"}
    # And one that is gone when it changes is made again.
    kube.delete(CONFIG_MAP, space, "lost", propagation="Background")
    labels = {"a": "2"}
    it.up()
    assert kube.get(DEPLOYMENT, space, "scaled")["spec"]["replicas"] == 2
    assert "creating it again" in it.said
    assert kube.get(CONFIG_MAP, space, "lost")["metadata"]["labels"] == {"a": "2"}


def test_a_preview_fails_where_kubectl_changed_a_field_and_the_update_takes_it_back(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str
) -> None:
    """As with the official plugin, whose preview takes nothing over from kubectl."""
    label = "1"

    def program() -> None:
        k8s.core.v1.ConfigMap("edited", metadata={"name": "edited", "namespace": space, "labels": {"a": label}}, data={"a": "b"})

    it = stack(program)
    it.up()
    label = "2"
    it.up()  # from now on the fields are applied ones
    kube.patch(CONFIG_MAP, space, "edited", [{"op": "replace", "path": "/metadata/labels/a", "value": "9"}], manager="kubectl-edit")
    it.refresh()
    text = it.fails(it.preview)
    for word in ('"kubectl-edit"', ".metadata.labels.a", "pulumi up --refresh --skip-preview"):
        assert word in text
    it.up()
    assert kube.get(CONFIG_MAP, space, "edited")["metadata"]["labels"] == {"a": "2"}
    assert it.steps() == {}


def test_what_is_there_is_taken_over_on_request(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    """By upsert, by import, and what an `up` had made that was killed after the API server's answer and before its state was written."""
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "upserted", "namespace": space}, "data": {"theirs": "1"}}
    kube.create(CONFIG_MAP, theirs, manager="somebody")
    old: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "old", "namespace": space, "labels": {"a": "b"}},
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "clusterIP": "None", "selector": {"a": "b"}},
    }
    kube.create(SERVICE, old, manager="somebody")
    upsert = False
    importing: str | None = f"{space}/old"
    labels = {"a": "b"}

    def program() -> None:
        provider = k8s.Provider("kube", kubeconfig="", context="triton-fleet", upsert_existing_objects=upsert)
        k8s.core.v1.ConfigMap(
            "upserted",
            metadata={"name": "upserted", "namespace": space},
            data={"ours": "2"},
            opts=pulumi.ResourceOptions(provider=provider),
        )
        k8s.core.v1.Service(
            "old",
            metadata={"name": "old", "namespace": space, "labels": labels, "annotations": {"pulumi.com/patchForce": "true"}}
            if not importing
            else {"name": "old", "namespace": space, "labels": labels},
            spec={
                "ports": [{"port": 80, "protocol": "TCP", "target_port": 80}],
                "cluster_ip": "None",
                "cluster_ips": ["None"],
                "selector": {"a": "b"},
                "type": "ClusterIP",
                "session_affinity": "None",
                "internal_traffic_policy": "Cluster",
                "ip_families": ["IPv4"],
                "ip_family_policy": "SingleStack",
            },
            opts=pulumi.ResourceOptions(import_=importing),
        )
        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings", "namespace": space}, data={"a": "b"})
        ports: list[Any] = [{"port": 80, "node_port": 31234}]
        k8s.core.v1.Service("web", metadata={"name": "web", "namespace": space}, spec={"type": "NodePort", "ports": ports})

    it = stack(program)
    text = it.fails(it.up)
    assert "already exists" in text
    assert "pulumi import" in text
    upsert = True
    it.up()
    assert kube.get(CONFIG_MAP, space, "upserted")["data"] == {"theirs": "1", "ours": "2"}
    importing = None
    labels = {"a": "c"}
    it.up()
    assert kube.get(SERVICE, space, "old")["metadata"]["labels"] == {"a": "c"}
    assert it.steps() == {}
    uid = kube.get(CONFIG_MAP, space, "settings")["metadata"]["uid"]
    it.cli("state", "delete", it.resources()["settings"]["urn"], "--yes")
    it.cli("state", "delete", it.resources()["web"]["urn"], "--yes")
    assert it.steps() == {"settings": "create", "web": "create"}
    it.up()
    assert "adopting" in it.said
    assert kube.get(CONFIG_MAP, space, "settings")["metadata"]["uid"] == uid
    assert it.steps() == {}


def test_preview_tells_of_what_the_server_would_refuse(stack: Callable[[Callable[[], None]], Stack], space: str) -> None:
    def program() -> None:
        made = deployment(space)
        made["spec"]["template"]["spec"]["containers"][0]["name"] = "Not A Name"
        k8s.apps.v1.Deployment("web", **made)

    it = stack(program)
    text = it.fails(it.preview)
    assert "spec.template.spec.containers[0].name" in text


def test_patch_resource_gives_its_fields_back(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        k8s.core.v1.NamespacePatch("labels", metadata={"name": space, "labels": {"ours": "yes"}})

    it = stack(program)
    it.up()
    assert kube.get(NAMESPACE, "", space)["metadata"]["labels"]["ours"] == "yes"
    it.destroy()
    assert "ours" not in kube.get(NAMESPACE, "", space)["metadata"]["labels"]
