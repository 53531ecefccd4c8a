"""Flags and configuration files, read back as what they are for."""

from __future__ import annotations

import base64
import ipaddress
import json
import tomllib
from typing import TYPE_CHECKING

import pytest

from local.platform import bootstrap, config, containerd, kubernetes, objectstore
from local.platform.layout import INSIDE, Layout
from local.platform.pki import ADMIN_GROUP
from local.platform.plan import Component, Plan, Probe

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = Layout(INSIDE)
ENVIRONMENT = {"PATH": "/bin"}


def flags(component: Component) -> dict[str, str]:
    return dict(item.removeprefix("--").partition("=")[::2] for item in component.argv[1:])


def test_ranges_do_not_overlap() -> None:
    ranges = [
        ipaddress.ip_network(f"{config.NODE_IP}/24", strict=False),
        *map(ipaddress.ip_network, (config.POD_CIDR, config.SERVICE_CIDR)),
    ]
    assert not any(a.overlaps(b) for i, a in enumerate(ranges) for b in ranges[i + 1 :])
    assert ipaddress.ip_address(config.DNS_IP) in ranges[2]
    assert all(r.is_private for r in ranges)


def test_the_api_server_lets_nobody_in_without_a_name() -> None:
    api = flags(kubernetes.apiserver("/b", LAYOUT, ENVIRONMENT))
    assert api["anonymous-auth"] == "false"
    assert api["authorization-mode"] == "Node,RBAC"
    assert api["bind-address"] == config.NODE_IP
    assert "token-auth-file" not in api


def test_the_aggregation_layer_has_an_authority_of_its_own() -> None:
    api = flags(kubernetes.apiserver("/b", LAYOUT, ENVIRONMENT))
    assert api["requestheader-client-ca-file"] != api["client-ca-file"]
    assert {"requestheader-allowed-names", "proxy-client-cert-file", "proxy-client-key-file", "requestheader-username-headers"} <= set(api)


def test_logs_and_exec_reach_the_kubelet_by_a_checked_certificate() -> None:
    api = flags(kubernetes.apiserver("/b", LAYOUT, ENVIRONMENT))
    kubelet = kubernetes.kubelet_configuration(LAYOUT, cgroup="/x")
    assert api["kubelet-certificate-authority"] == kubelet["authentication"]["x509"]["clientCAFile"]
    assert api["kubelet-preferred-address-types"] == "InternalIP"
    assert kubelet["authentication"]["anonymous"] == {"enabled": False}
    assert kubelet["tlsCertFile"].endswith("kubelet-serving.crt")


def test_etcd_listens_on_loopback_with_certificates_both_ways() -> None:
    etcd = flags(kubernetes.etcd("/b", LAYOUT, ENVIRONMENT))
    assert {etcd["listen-client-urls"], etcd["listen-peer-urls"]} == {"https://127.0.0.1:2379", "https://127.0.0.1:2380"}
    assert etcd["client-cert-auth"] == etcd["peer-client-cert-auth"] == "true"


def test_the_kubelet_stays_in_the_control_group_of_the_instance_and_collects_no_image() -> None:
    kubelet = kubernetes.kubelet_configuration(LAYOUT, cgroup="/triton-fleet-x")
    assert kubelet["cgroupRoot"] == "/triton-fleet-x"
    assert kubelet["imageGCHighThresholdPercent"] == 100
    assert kubelet["failCgroupV1"] is False
    assert not [value for value in kubelet["evictionHard"].values() if value.endswith("%") and value != "1%"]


def test_kube_proxy_leaves_the_machines_conntrack_alone() -> None:
    proxy = kubernetes.kube_proxy_configuration(LAYOUT)
    assert (proxy["conntrack"]["maxPerCore"], proxy["conntrack"]["min"]) == (0, 0)


def test_containerds_file_is_toml_and_quotes_what_it_is_given() -> None:
    text = containerd.configuration(LAYOUT, runc='/a "b"/runc', shim="/s/shim", cni_plugins="/cni", snapshotter="native")
    cri = tomllib.loads(text)["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri["restrict_oom_score_adj"] is True
    assert cri["disable_apparmor"] is True
    assert cri["sandbox_image"] == config.PAUSE_IMAGE
    assert cri["containerd"]["snapshotter"] == "native"
    runtime = cri["containerd"]["runtimes"]["runc"]
    assert runtime["runtime_path"] == "/s/shim"
    assert runtime["options"] == {"BinaryName": '/a "b"/runc', "SystemdCgroup": False}


def test_pods_get_addresses_of_their_range_on_a_bridge_with_hairpin() -> None:
    bridge = containerd.network_configuration()["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": config.POD_CIDR}]]
    assert (bridge["hairpinMode"], bridge["ipMasq"]) == (True, False)
    assert len(bridge["bridge"]) < 16


def test_no_component_path_leads_to_the_machines_own() -> None:
    components = [
        kubernetes.etcd("/b", LAYOUT, ENVIRONMENT),
        kubernetes.apiserver("/b", LAYOUT, ENVIRONMENT),
        kubernetes.controller_manager("/b", LAYOUT, ENVIRONMENT),
        kubernetes.scheduler("/b", LAYOUT, ENVIRONMENT),
        kubernetes.kubelet("/b", LAYOUT, ENVIRONMENT),
        kubernetes.kube_proxy("/b", LAYOUT, ENVIRONMENT),
        containerd.component("/b", LAYOUT, ENVIRONMENT),
    ]
    text = json.dumps([c.argv for c in components]) + containerd.configuration(LAYOUT, runc="r", shim="s", cni_plugins="c", snapshotter="o")
    for path in ("/etc/kubernetes", "/etc/cni", "/etc/containerd", "/var/lib/kubelet", "/var/lib/containerd", "/opt/cni"):
        assert path not in text.replace(f"{INSIDE}/", "<state> ")


def test_unix_sockets_stay_short_enough_whatever_the_state_folder() -> None:
    longest = f"{LAYOUT.kubelet}/device-plugins/kubelet_internal_checkpoint.sock"
    assert len(longest) < 108


def test_the_stores_keys_are_made_once_kept_private_and_not_shown_to_ps(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys = objectstore.ensure_keys(path)
    assert objectstore.ensure_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    store = objectstore.component("/b", LAYOUT, ENVIRONMENT, keys=keys, sidecar=False)
    assert keys.secret not in " ".join(store.argv)
    assert store.environment["ROOT_SECRET_KEY"] == keys.secret
    path.write_text("{", encoding="utf-8")
    assert objectstore.ensure_keys(path) != keys


def test_the_sidecar_is_asked_for_only_without_attributes() -> None:
    keys = objectstore.Keys(access="a", secret="s")
    assert "--sidecar" not in objectstore.component("/b", LAYOUT, {}, keys=keys, sidecar=False).argv
    assert "--sidecar" in objectstore.component("/b", LAYOUT, {}, keys=keys, sidecar=True).argv


def test_a_kubeconfig_carries_its_certificates() -> None:
    data = kubernetes.kubeconfig(server="https://127.0.0.1:1", authority=b"ca", certificate=b"c", key=b"k", user="admin")
    assert data["current-context"] == "triton-fleet"
    assert base64.b64decode(data["users"][0]["user"]["client-key-data"]) == b"k"
    assert data["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"


def test_a_plan_survives_its_json() -> None:
    components = (
        Component(name="a", argv=("/a", "--x"), environment={"K": "v"}, probe=Probe(tcp=("127.0.0.1", 1)), descriptors=(3, 4)),
        Component(name="b", argv=("/b",), after=("a",), probe=Probe(https=("10.0.0.1", 2, "/readyz")), delegate=True, stop_timeout_s=1.5),
        Component(name="c", argv=("/c",), probe=Probe(unix="/s")),
        Component(name="d", argv=("/d",)),
    )
    plan = Plan(instance="x", state="/s", keep=("/k",), cgroup="/g", control_plane_only=False, components=components)
    assert Plan.from_json(plan.to_json()) == plan


def test_the_administrators_are_bound_by_rbac() -> None:
    binding = bootstrap.administrators()
    assert binding["subjects"][0]["name"] == ADMIN_GROUP
    assert binding["roleRef"]["name"] == "cluster-admin"


def test_dns_objects_are_complete_and_consistent() -> None:
    objects = {item["kind"]: item for _, item in bootstrap.dns("image:1")}
    assert set(objects) == {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Service", "Deployment"}
    assert objects["Service"]["spec"]["clusterIP"] == config.DNS_IP
    template = objects["Deployment"]["spec"]["template"]
    assert objects["Service"]["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    assert template["spec"]["containers"][0]["image"] == "image:1"
    for path, item in bootstrap.dns():
        assert path.endswith(f"/{item['metadata']['name']}")
        assert ("namespaces/kube-system" in path) == ("namespace" in item["metadata"])


@pytest.mark.parametrize(
    ("started", "stale"), [("2026-11-21T10:00:00Z", ["c"]), ("2026-11-21T10:00:10Z", []), ("2026-11-21T10:00:11Z", [])]
)
def test_a_container_of_before_the_node_is_stale(started: str, stale: list[str]) -> None:
    since = bootstrap.moment("2026-11-21T10:00:10Z") + 0.7
    pod = {
        "status": {
            "containerStatuses": [{"name": "c", "state": {"running": {"startedAt": started}}}, {"name": "w", "state": {"waiting": {}}}]
        }
    }
    assert bootstrap.stale_containers(pod, since) == stale
    assert bootstrap.stale_containers({}, since) == []
