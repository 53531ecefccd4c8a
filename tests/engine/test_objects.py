"""The life of an object: made, changed, replaced, found changed by others, taken in, deleted."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as k8s
import pytest

from local.plugins.kubernetes.client import ApiError, Client
from local.plugins.kubernetes.naming import Kind
from tests.engine.conftest import CONFIG_MAP, DEPLOYMENT, JOB, NAMESPACE, SECRET, SERVICE, Stack, deployment

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.engine


def test_life_of_objects_and_nothing_to_do_afterwards(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        inner = k8s.core.v1.Namespace("inner", metadata={"name": f"{space}-inner"})
        k8s.core.v1.ConfigMap("settings", metadata={"namespace": inner.metadata.name}, data={"a": "b"})
        k8s.core.v1.Service("web", metadata={"name": "web", "namespace": space}, spec={"ports": [{"port": 80}], "cluster_ip": "None"})
        made = deployment(space, container={"resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": "2.0"}}})
        made["spec"]["template"]["spec"]["volumes"] = [{"name": "scratch", "empty_dir": {}}]
        made["spec"]["template"]["spec"]["host_network"] = False
        k8s.apps.v1.Deployment("web", **made)
        k8s.rbac.v1.ClusterRole(
            "role", metadata={"name": f"{space}-role"}, rules=[{"verbs": ["get"], "resources": ["pods"], "api_groups": [""]}]
        )

    it = stack(program)
    assert it.preview() == {"create": 6}
    it.up()
    assert it.preview() == {}
    assert it.refresh() == {}
    assert it.preview() == {}
    live = kube.get(DEPLOYMENT, space, "web")
    assert live["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1", "memory": "1Gi"}
    it.destroy()
    for kind, where, name in ((DEPLOYMENT, space, "web"), (SERVICE, space, "web"), (NAMESPACE, "", f"{space}-inner")):
        with pytest.raises(ApiError) as gone:
            kube.get(kind, where, name)
        assert gone.value.not_found


def test_auto_name_is_kept_and_a_named_config_map_is_replaced(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str
) -> None:
    data = {"a": "1"}

    def program() -> None:
        auto = k8s.core.v1.ConfigMap("settings", metadata={"namespace": space}, data=data)
        fixed = k8s.core.v1.ConfigMap("fixed", metadata={"namespace": space, "name": "fixed"}, data=data)
        pulumi.export("auto", auto.metadata["name"])
        pulumi.export("uid", fixed.metadata.uid)

    it = stack(program)
    first = it.up().outputs
    name = first["auto"].value
    assert re.fullmatch(r"settings-[0-9a-f]{8}", name)
    assert kube.get(CONFIG_MAP, space, name)["metadata"]["annotations"]["pulumi.com/autonamed"] == "true"
    assert it.up().outputs["auto"].value == name
    data["a"] = "2"
    assert it.preview() == {"replace": 2}
    second = it.up().outputs
    # A new name, so that the old one goes last; the fixed one had to go first.
    assert second["auto"].value != name
    assert second["uid"].value != first["uid"].value
    assert kube.get(CONFIG_MAP, space, "fixed")["data"] == {"a": "2"}
    with pytest.raises(ApiError):
        kube.get(CONFIG_MAP, space, name)


def test_update_in_place_removes_what_left_the_program(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    labels = {"a": "1", "b": "2"}

    def program() -> None:
        k8s.core.v1.Service(
            "web", metadata={"name": "web", "namespace": space, "labels": labels}, spec={"ports": [{"port": 80}], "cluster_ip": "None"}
        )

    it = stack(program)
    it.up()
    del labels["a"]
    labels["b"] = "3"
    assert it.preview() == {"update": 1}
    assert "labels" in it.said
    it.up()
    assert kube.get(SERVICE, space, "web")["metadata"]["labels"] == {"b": "3"}
    assert it.preview() == {}


@pytest.mark.parametrize("how", ["listed", "found by dry-run"])
def test_immutable_fields_replace(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str, how: str) -> None:
    app = "one"

    def program() -> None:
        if how == "listed":
            made = deployment(space)
            made["spec"]["selector"]["match_labels"]["app"] = made["spec"]["template"]["metadata"]["labels"]["app"] = app
            k8s.apps.v1.Deployment("web", **made)
        else:  # not in the official list of such fields: the API server says so
            k8s.scheduling.v1.PriorityClass("prio", metadata={"name": f"{space}-prio"}, value=1 if app == "one" else 2)

    it = stack(program)
    it.up()
    app = "two"
    assert it.preview() == {"replace": 1}
    it.up()
    assert it.preview() == {}


def test_job_template_replaces(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    image = "example.invalid/job:1"

    def program() -> None:
        k8s.batch.v1.Job(
            "job",
            metadata={"name": "job", "namespace": space, "annotations": {"pulumi.com/skipAwait": "true"}},
            spec={"template": {"spec": {"restart_policy": "Never", "containers": [{"name": "main", "image": image}]}}},
        )

    it = stack(program)
    it.up()
    uid = kube.get(JOB, space, "job")["metadata"]["uid"]
    image = "example.invalid/job:2"
    assert it.preview() == {"replace": 1}
    it.up()
    assert kube.get(JOB, space, "job")["metadata"]["uid"] != uid
    assert it.preview() == {}


def test_refresh_finds_drift_and_up_heals_it(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        k8s.apps.v1.Deployment("web", **deployment(space))
        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings", "namespace": space}, data={"a": "b"})

    it = stack(program)
    it.up()
    image = {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "example.invalid/other:9"}
    kube.patch(
        DEPLOYMENT, space, "web", [image, {"op": "add", "path": "/metadata/labels", "value": {"somebody": "else"}}], manager="somebody"
    )
    kube.delete(CONFIG_MAP, space, "settings", propagation="Background")
    assert it.preview() == {}, "the state is compared, not the cluster: as with the official provider"
    assert it.refresh() == {"update": 1, "delete": 1}
    assert it.preview() == {"update": 1, "create": 1}
    # The image that somebody set is theirs now: taking it back is a decision.
    text = it.fails(it.up)
    assert "conflict" in text


def test_drift_is_taken_back_by_force(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        k8s.core.v1.Service(
            "web",
            metadata={"name": "web", "namespace": space, "labels": {"a": "1"}, "annotations": {"pulumi.com/patchForce": "true"}},
            spec={"ports": [{"port": 80, "name": "http"}], "cluster_ip": "None"},
        )

    it = stack(program)
    it.up()
    kube.patch(SERVICE, space, "web", [{"op": "replace", "path": "/metadata/labels/a", "value": "2"}], manager="somebody")
    assert it.refresh() == {"update": 1}
    assert it.preview() == {"update": 1}
    it.up()
    assert kube.get(SERVICE, space, "web")["metadata"]["labels"] == {"a": "1"}
    assert it.preview() == {}


def test_conflict_names_field_manager_and_remedy(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    replicas = 0
    annotations: dict[str, str] = {}
    ignore: list[str] = []

    def program() -> None:
        args = deployment(space, replicas=replicas, annotations=annotations)
        k8s.apps.v1.Deployment("web", **args, opts=pulumi.ResourceOptions(ignore_changes=ignore))

    it = stack(program)
    it.up()
    theirs = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": space}, "spec": {"paused": True}}
    kube.apply(DEPLOYMENT, theirs, manager="autoscaler", force=True)
    theirs["spec"] = {"paused": True, "replicas": 1}
    kube.apply(DEPLOYMENT, theirs, manager="autoscaler", force=True)
    replicas = 2
    text = it.fails(it.up)
    assert '"autoscaler"' in text
    assert ".spec.replicas" in text
    assert "pulumi.com/patchForce" in text
    assert "ignore_changes" in text
    assert kube.get(DEPLOYMENT, space, "web")["spec"]["replicas"] == 1
    # The remedies, in turn.
    ignore = ["spec.replicas"]
    annotations = {"somebody": "cares"}
    it.up()
    assert kube.get(DEPLOYMENT, space, "web")["spec"]["replicas"] == 1
    ignore = []
    annotations = {"pulumi.com/patchForce": "true", "pulumi.com/skipAwait": "true"}
    it.up()
    assert kube.get(DEPLOYMENT, space, "web")["spec"]["replicas"] == 2


def test_what_exists_is_refused_unless_upsert(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    theirs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": space}, "data": {"theirs": "1"}}
    kube.create(CONFIG_MAP, theirs, manager="somebody")
    upsert = False

    def program() -> None:
        provider = k8s.Provider("kube", kubeconfig="", context="triton-fleet", upsert_existing_objects=upsert)
        k8s.core.v1.ConfigMap(
            "settings",
            metadata={"name": "settings", "namespace": space},
            data={"ours": "2"},
            opts=pulumi.ResourceOptions(provider=provider),
        )

    it = stack(program)
    text = it.fails(it.up)
    assert "already exists" in text
    assert "pulumi import" in text
    upsert = True
    it.up()
    assert kube.get(CONFIG_MAP, space, "settings")["data"] == {"theirs": "1", "ours": "2"}


def test_interrupted_create_is_taken_up(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    """An `up` that was killed after the API server's answer and before its state was written."""

    def program() -> None:
        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings", "namespace": space}, data={"a": "b"})
        ports: list[Any] = [{"port": 80, "node_port": 31234}]
        k8s.core.v1.Service("web", metadata={"name": "web", "namespace": space}, spec={"type": "NodePort", "ports": ports})

    it = stack(program)
    it.up()
    uid = kube.get(CONFIG_MAP, space, "settings")["metadata"]["uid"]
    for name, item in it.resources().items():
        if name in ("settings", "web"):
            it.cli("state", "delete", item["urn"], "--yes")
    assert it.preview() == {"create": 2}
    it.up()
    assert "taking up" in it.said
    assert kube.get(CONFIG_MAP, space, "settings")["metadata"]["uid"] == uid
    assert it.preview() == {}


def test_import_then_no_change(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    theirs: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "old", "namespace": space, "labels": {"a": "b"}},
        "spec": {"ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}], "clusterIP": "None", "selector": {"a": "b"}},
    }
    kube.create(SERVICE, theirs, manager="somebody")
    importing: str | None = f"{space}/old"
    labels = {"a": "b"}

    def program() -> None:
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

    it = stack(program)
    it.up()
    importing = None
    labels = {"a": "c"}
    it.up()
    assert kube.get(SERVICE, space, "old")["metadata"]["labels"] == {"a": "c"}
    assert it.preview() == {}


def test_secrets_stay_secret(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    password, plain = "hunter2-in-the-clear", "not-marked-but-in-a-secret"

    def program() -> None:
        secret = k8s.core.v1.Secret(
            "login",
            metadata={"namespace": space},
            string_data={"password": pulumi.Output.secret(password), "plain": plain},
            data={"raw": "YQ=="},
        )
        k8s.core.v1.ConfigMap("settings", metadata={"namespace": space, "annotations": {"note": pulumi.Output.secret(password)}})
        pulumi.export("data", secret.data)
        pulumi.export("name", secret.metadata["name"])

    it = stack(program)
    outputs = it.up().outputs
    assert outputs["data"].secret
    live = kube.get(SECRET, space, outputs["name"].value)
    assert base64.b64decode(live["data"]["password"]).decode() == password
    assert it.preview() == {}
    assert it.refresh() == {}
    assert it.preview() == {}
    state = it.raw_state()
    for text in (password, plain):
        assert text not in state
        assert base64.b64encode(text.encode()).decode() not in state


def test_immutable_secret_is_replaced(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    value = "one"

    def program() -> None:
        secret = k8s.core.v1.Secret("login", metadata={"namespace": space}, string_data={"key": value}, immutable=True)
        pulumi.export("name", secret.metadata["name"])

    it = stack(program)
    first = it.up().outputs["name"].value
    value = "two"
    assert it.preview() == {"replace": 1}
    assert it.up().outputs["name"].value != first


def test_definition_and_its_objects_in_one_update(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    group = f"{space}.example.com"
    size, text = 1, "first"

    def program() -> None:
        definition = k8s.apiextensions.v1.CustomResourceDefinition(
            "widgets",
            metadata={"name": f"widgets.{group}"},
            spec={
                "group": group,
                "names": {"kind": "Widget", "plural": "widgets"},
                "scope": "Namespaced",
                "versions": [
                    {
                        "name": "v1",
                        "served": True,
                        "storage": True,
                        "schema": {
                            "open_apiv3_schema": {
                                "type": "object",
                                "description": text,
                                "properties": {"spec": {"type": "object", "x_kubernetes_preserve_unknown_fields": True}},
                            }
                        },
                    }
                ],
            },
        )
        k8s.apiextensions.CustomResource(
            "widget",
            api_version=f"{group}/v1",
            kind="Widget",
            metadata={"name": "widget", "namespace": space},
            spec={"size": size, "off": False, "list": [1, 2]},
            opts=pulumi.ResourceOptions(depends_on=[definition]),
        )

    it = stack(program)
    assert it.preview() == {"create": 3}
    it.up()
    assert it.preview() == {}
    assert it.refresh() == {}
    assert it.preview() == {}
    size, text = 2, "second"
    assert it.preview() == {"update": 2}
    it.up()
    assert kube.get(Kind(group, "v1", "Widget"), space, "widget")["spec"] == {"size": 2, "off": False, "list": [1, 2]}


def test_preview_tells_of_what_the_server_would_refuse(stack: Callable[[Callable[[], None]], Stack], space: str) -> None:
    def program() -> None:
        made = deployment(space)
        made["spec"]["template"]["spec"]["containers"][0]["name"] = "Not A Name"
        k8s.apps.v1.Deployment("web", **made)

    it = stack(program)
    text = it.fails(it.preview)
    assert "spec.template.spec.containers[0].name" in text


def test_field_that_does_not_exist_is_warned_of(stack: Callable[[Callable[[], None]], Stack], space: str) -> None:
    def program() -> None:
        made = deployment(space)
        made["spec"]["template"]["spec"]["colour"] = "green"
        k8s.apps.v1.Deployment("web", **made)

    it = stack(program)
    it.up()
    assert 'unknown field "spec.template.spec.colour"' in it.said


def test_patch_resource_gives_its_fields_back(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        k8s.core.v1.NamespacePatch("labels", metadata={"name": space, "labels": {"ours": "yes"}})

    it = stack(program)
    it.up()
    assert kube.get(NAMESPACE, "", space)["metadata"]["labels"]["ours"] == "yes"
    it.destroy()
    assert "ours" not in kube.get(NAMESPACE, "", space)["metadata"]["labels"]


def test_get_reads_what_is_there(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    kube.create(
        CONFIG_MAP,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": space}, "data": {"a": "b"}},
        manager="t",
    )

    def program() -> None:
        pulumi.export("data", k8s.core.v1.ConfigMap.get("x", f"{space}/x").data)

    assert stack(program).up().outputs["data"].value == {"a": "b"}


def test_secret_of_a_value_that_is_not_known_yet(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    def program() -> None:
        first = k8s.core.v1.ConfigMap("first", metadata={"namespace": space}, data={"a": "b"})
        k8s.core.v1.Secret("login", metadata={"name": "login", "namespace": space}, string_data={"uid": first.metadata.uid.apply(str)})

    it = stack(program)
    assert it.preview() == {"create": 3}
    it.up()
    assert base64.b64decode(kube.get(SECRET, space, "login")["data"]["uid"])
    assert it.preview() == {}


def test_without_server_side_apply(stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str) -> None:
    ports: list[Any] = [{"port": 80, "name": "a"}]

    def program() -> None:
        provider = k8s.Provider("kube", kubeconfig="", context="triton-fleet", enable_server_side_apply=False)
        k8s.core.v1.Service(
            "web",
            metadata={"name": "web", "namespace": space},
            spec={"ports": ports, "cluster_ip": "None"},
            opts=pulumi.ResourceOptions(provider=provider),
        )

    it = stack(program)
    it.up()
    assert kube.get(SERVICE, space, "web")["metadata"]["labels"] == {"app.kubernetes.io/managed-by": "pulumi"}
    ports.append({"port": 81, "name": "b"})
    assert it.preview() == {"update": 1}
    it.up()
    assert len(kube.get(SERVICE, space, "web")["spec"]["ports"]) == 2
    assert it.preview() == {}


def test_object_that_was_deleted_is_made_again_when_it_changes(
    stack: Callable[[Callable[[], None]], Stack], kube: Client, space: str
) -> None:
    labels = {"a": "1"}

    def program() -> None:
        k8s.core.v1.ConfigMap("settings", metadata={"name": "settings", "namespace": space, "labels": labels}, data={"a": "b"})

    it = stack(program)
    it.up()
    kube.delete(CONFIG_MAP, space, "settings", propagation="Background")
    labels["a"] = "2"
    it.up()
    assert "making it again" in it.said
    assert kube.get(CONFIG_MAP, space, "settings")["metadata"]["labels"] == {"a": "2"}
