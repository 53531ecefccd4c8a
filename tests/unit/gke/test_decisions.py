"""What GKE's components decide before they declare anything: addresses, zones, pools, identities."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.errors import FleetError
from components.base.naming import shortened
from components.gke.cluster import apis
from components.gke.identity import node_roles, reader_condition
from components.gke.maintenance import MaintenanceSettings
from components.gke.network import firewall_rules, pick_zones, plan_ranges
from components.gke.node_pools import gpu_pool, initial_nodes, node_config, pool_name
from components.gke.settings.cluster import GkeClusterSettings, addresses_per_node
from components.gke.settings.network import CreatedGcpNetworkSettings
from components.gke.settings.node_pools import GkeCpuPoolSettings, GkeGpuPoolSettings

ZONES = ("us-central1-a", "us-central1-b", "us-central1-c")
REGION = ("us-central1-f", "us-central1-b", "us-central1-a", "us-central1-c")


def cluster(**values: Any) -> GkeClusterSettings:
    raw = {"provider": "gke", "project": "my-project", "region": "us-central1", "endpoint": {"publicCidrs": ["203.0.113.0/24"]}}
    return GkeClusterSettings.model_validate({**raw, **values})


def network(**values: Any) -> CreatedGcpNetworkSettings:
    return CreatedGcpNetworkSettings.model_validate({"kind": "create", **values})


def pool(**values: Any) -> GkeGpuPoolSettings:
    return GkeGpuPoolSettings.model_validate({"name": "gpu", "machineType": "g2-standard-8", **values})


def nodes(settings: GkeCpuPoolSettings | GkeGpuPoolSettings) -> Any:
    return node_config(cluster(), settings, "nodes@example.com")


# Addresses and zones


@given(length=st.integers(9, 21), third=st.integers(0, 255))
def test_ranges_lie_in_the_vpc_and_none_overlap(length: int, third: int) -> None:
    whole = IPv4Network(f"10.{third}.0.0/{length}", strict=False)
    plan = plan_ranges(network(cidr=str(whole)))
    found = [IPv4Network(cidr) for cidr in (plan.nodes, plan.pods, plan.services, plan.control_plane)]
    assert all(part.subnet_of(whole) for part in found)
    assert not [pair for pair in combinations(found, 2) if pair[0].overlaps(pair[1])]
    assert found[3].prefixlen == 28


@given(length=st.integers(16, 21), pods=st.integers(8, 256))
def test_the_subnet_has_an_address_for_each_node_that_pods_have_room_for(length: int, pods: int) -> None:
    plan = plan_ranges(network(cidr=f"10.16.0.0/{length}"))
    nodes = IPv4Network(plan.pods).num_addresses // addresses_per_node(pods)
    assert nodes <= IPv4Network(plan.nodes).num_addresses - 4, "Google keeps four"


def test_addresses_of_the_default() -> None:
    plan = plan_ranges(network())
    assert (plan.nodes, plan.pods, plan.services, plan.control_plane) == (
        "10.0.0.0/18",
        "10.0.128.0/17",
        "10.0.64.0/19",
        "10.0.127.240/28",
    )


def test_a_control_plane_of_ones_own_addresses() -> None:
    assert plan_ranges(network(controlPlaneCidr="172.16.0.16/28")).control_plane == "172.16.0.16/28"


def test_zones_are_the_first_of_the_region_s() -> None:
    assert pick_zones(cluster(), REGION) == ZONES
    assert pick_zones(cluster(network={"kind": "create", "zoneCount": 1}), REGION) == ("us-central1-a",)


def test_a_zonal_cluster_has_its_own_zone() -> None:
    assert pick_zones(cluster(zone="us-central1-f"), REGION) == ("us-central1-f",)


def test_zones_that_are_named() -> None:
    named = {"kind": "create", "zones": ["us-central1-f", "us-central1-a"]}
    assert pick_zones(cluster(network=named), REGION) == ("us-central1-f", "us-central1-a")


def test_more_zones_than_there_are() -> None:
    with pytest.raises(FleetError, match=r"network\.zoneCount \(5\) is above the 4 zones of us-central1"):
        pick_zones(cluster(network={"kind": "create", "zoneCount": 5}), REGION)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"zone": "us-central1-x"}, r"cluster\.zone names us-central1-x, which us-central1 does not have"),
        ({"network": {"kind": "create", "zones": ["us-central1-x"]}}, r"network\.zones names us-central1-x"),
    ],
)
def test_zones_that_there_are_not(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(FleetError, match=says):
        pick_zones(cluster(**settings), REGION)


def test_openings_are_from_the_control_plane_and_google_s_health_checks_alone() -> None:
    rules = firewall_rules("172.16.0.0/28", [15017, 6443, 6443])
    assert set(rules) == {"webhooks", "health-checks"}
    assert rules["webhooks"][1:] == (["172.16.0.0/28"], ["6443", "15017"])
    assert all(IPv4Network(source).prefixlen >= 16 for source in rules["health-checks"][1])


# Pools


@given(zones=st.integers(1, 4), most=st.integers(1, 12), data=st.data())
def test_first_nodes_are_enough_and_never_more_than_the_most(zones: int, most: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, most))
    each = initial_nodes(pool(desired=start, max=most), zones)
    assert each * zones <= most
    assert each * zones >= start or (each + 1) * zones > most
    assert initial_nodes(pool(desired=start, max=most, perZone=True), zones) == start


def test_the_pool_without_gpus_is_untainted_and_never_empty() -> None:
    few = GkeCpuPoolSettings.model_validate({"min": 1, "max": 1})
    assert initial_nodes(few, len(ZONES)) == 1
    assert nodes(few)["taints"] == []


REPLACING: list[dict[str, Any]] = [
    {"driver": "latest"},
    {"capacity": "spot"},
    {"machineType": "g2-standard-24"},
    {"sharing": {"kind": "mps", "replicas": 2}},
    {"localSsds": 1},
    {"disk": {"image": "projects/p-1/global/images/i"}},
    {"compactPlacement": True, "zones": ["us-central1-a"]},
    {"capacity": "reservation", "capacityReservation": "mine", "zones": ["us-central1-a"]},
    {"os": "ubuntu"},
]


@pytest.mark.parametrize("change", REPLACING, ids=[next(iter(change)) for change in REPLACING])
def test_what_gke_can_t_change_in_a_pool_makes_another(change: dict[str, Any]) -> None:
    """Of the same name it would be refused while the old one is there."""
    assert pool_name(cluster(), pool(**change)) != pool_name(cluster(), pool())


@pytest.mark.parametrize(
    "change",
    [
        {"min": 1},
        {"max": 9},
        {"machineType": "g2-standard-4"},
        {"disk": {"size": 300}},
        {"labels": {"a": "b"}},
        {"upgrade": {"maxSurge": 1, "maxUnavailable": 0}},
        {"locationPolicy": "balanced"},
        {"perZone": True},
    ],
    ids=str,
)
def test_what_gke_can_change_keeps_the_pool(change: dict[str, Any]) -> None:
    assert pool_name(cluster(), pool(**change)) == pool_name(cluster(), pool())


def test_a_pool_s_name_fits() -> None:
    assert len(pool_name(cluster(), pool(name="g" * 32))) <= 40


def test_the_form_of_the_hash_is_an_interface() -> None:
    """Another form would replace the pools of every existing stack."""
    assert (pool_name(cluster(), pool()), pool_name(cluster(), GkeCpuPoolSettings())) == ("gpu-e64519", "cpu-d20dcb")


def test_two_gpus_of_a_machine_are_in_the_hash() -> None:
    one, two = (pool(machineType="n1-standard-8", accelerator={"type": "nvidia-tesla-t4", "count": count}) for count in (1, 2))
    assert pool_name(cluster(), one) != pool_name(cluster(), two)


def test_labels_of_gke_s_own_are_not_set() -> None:
    config = nodes(pool(sharing={"kind": "mps", "replicas": 2}, labels={"team": "ml"}))
    assert config["labels"] == {"triton-fleet/pool": "gpu", "nvidia.com/gpu.present": "true", "team": "ml"}
    assert pool(sharing={"kind": "mps", "replicas": 2}).node_labels["cloud.google.com/gke-gpu-sharing-strategy"] == "mps"


def test_disks_follow_the_machine() -> None:
    kinds = {
        machine: nodes(pool(machineType=machine))["boot_disk"]["disk_type"]
        for machine in ("g2-standard-8", "a2-highgpu-1g", "a3-highgpu-1g", "a3-ultragpu-8g", "a4-highgpu-8g", "g4-standard-48")
    }
    assert kinds == {
        "g2-standard-8": "pd-balanced",
        "a2-highgpu-1g": "pd-balanced",
        "a3-highgpu-1g": "pd-balanced",
        "a3-ultragpu-8g": "hyperdisk-balanced",
        "a4-highgpu-8g": "hyperdisk-balanced",
        "g4-standard-48": "hyperdisk-balanced",
    }
    n4 = GkeCpuPoolSettings.model_validate({"machineTypes": ["n4-standard-4"]})
    assert nodes(n4)["boot_disk"]["disk_type"] == "hyperdisk-balanced"


def test_ubuntu_has_no_secure_boot_and_no_streaming() -> None:
    config = nodes(pool(os="ubuntu", fastPull=False))
    assert (config["shielded_instance_config"]["enable_secure_boot"], config["image_type"]) == (False, "UBUNTU_CONTAINERD")
    assert "gcfs_config" not in config


def test_slices_are_whole_gpus_to_gke() -> None:
    told = gpu_pool(pool(machineType="a2-highgpu-1g", sharing={"kind": "mig", "profile": "2g.10gb"}))
    assert (told.resource, told.units, told.mig_strategy) == ("nvidia.com/gpu", 3, "single")


# Identities


@pytest.mark.parametrize(
    ("parts", "name"),
    [(("triton", "nodes"), "triton-nodes"), (("a" * 24, "nodes"), "a" * 24 + "-nodes")],
)
def test_a_short_id_is_kept(parts: tuple[str, ...], name: str) -> None:
    assert shortened("-".join(parts), 30) == name


@given(st.text("ab-", min_size=1, max_size=40).map(lambda text: f"c{text}"), st.text("ab", min_size=1, max_size=63))
def test_an_id_of_an_account_is_one(cluster_name: str, service_account: str) -> None:
    name = shortened(f"{cluster_name}-{service_account}-reader", 30)
    assert 6 <= len(name) <= 30
    assert name[0].isalpha()
    assert name[-1].isalnum()


def test_ids_that_are_cut_differ() -> None:
    names = {shortened(f"a-rather-long-cluster-{service_account}-reader", 30) for service_account in ("triton-large", "triton-larger")}
    assert len(names) == 2


def test_roles_of_nodes() -> None:
    streaming = [{"name": "gpu", "machineType": "g2-standard-8"}]
    assert node_roles(cluster(), ["nvcr.io/nvidia/tritonserver:1"]) == ("roles/container.defaultNodeServiceAccount",)
    assert "roles/serviceusage.serviceUsageConsumer" in node_roles(cluster(gpuPools=streaming), [])
    for image in ("us-central1-docker.pkg.dev/my-project/r/i:1", "gcr.io/my-project/i"):
        assert "roles/artifactregistry.reader" in node_roles(cluster(), [image])
    assert "roles/artifactregistry.reader" not in node_roles(cluster(), ["gcr.io/other-project/i"])


def test_a_reader_sees_its_prefix_and_lists_of_it() -> None:
    assert reader_condition("bucket", "a/b") == (
        'resource.name.startsWith("projects/_/buckets/bucket/objects/a/b/") || '
        'api.getAttribute("storage.googleapis.com/objectListPrefix", "").startsWith("a/b/")'
    )


# The rest


@given(st.integers(0, 23), st.integers(0, 59), st.integers(8, 24))
def test_a_window_is_as_long_as_it_says(hour: int, minute: int, hours: int) -> None:
    settings = MaintenanceSettings(days=("SA", "SU"), start=f"{hour:02d}:{minute:02d}", hours=hours)
    window: Any = settings.policy["recurring_window"]
    length = datetime.fromisoformat(window["end_time"]) - datetime.fromisoformat(window["start_time"])
    assert length.total_seconds() == hours * 3600
    assert window["recurrence"] == "FREQ=WEEKLY;BYDAY=SA,SU"


def test_apis_follow_what_is_used() -> None:
    assert "cloudkms" not in apis(cluster(secretsKey="none"))
    assert "containerfilesystem" not in apis(cluster())
    assert {"containerfilesystem", "artifactregistry"} <= set(apis(cluster(gpuPools=[{"name": "g", "machineType": "g2-standard-8"}])))
