"""The double of the gcp plugin under the real engine: a small GKE with all that it needs, changed, broken, healed and destroyed."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pulumi
import pytest

from tests.doubles.clock import Clock
from tests.doubles.faults import Fault, Faults, Journal
from tests.doubles.gcp import DOUBLE, PLUGIN
from tests.doubles.gcp.memory import Google
from tests.doubles.nodes import current

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.conftest import Stack

pytestmark = [
    pytest.mark.engine,
    # The SDK warns of names of its own when it is imported.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:pulumi_gcp"),
]

DOUBLE_PLUGINS = [(PLUGIN, DOUBLE, None)]
PRELOAD = ["tests.doubles.gcp.api:load_documents"]

PROJECT = "triton-test"
POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"
STOCK = "Google Compute Engine: The zone does not have enough resources available to fulfill the request. (ZONE_RESOURCE_POOL_EXHAUSTED)"


@pytest.fixture
def google(folder: Path) -> Google:
    return Google(folder, Clock(0))


class Gke:
    """A program that makes a cluster with its network, identities and a GPU pool."""

    def __init__(self, **pool: Any) -> None:
        self.pool: dict[str, Any] = {"machine_type": "g2-standard-8", "accelerator": "nvidia-l4", "name": "l4", **pool}
        self.cluster: dict[str, Any] = {}
        self.more_node_config: dict[str, Any] = {}

    def __call__(self) -> None:
        import pulumi_gcp as gcp  # noqa: PLC0415  # takes a second that collecting tests has not

        provider = gcp.Provider("g", project=PROJECT, region="us-central1")
        opts = pulumi.ResourceOptions(provider=provider)
        zones = gcp.compute.get_zones(region="us-central1", opts=pulumi.InvokeOptions(provider=provider))
        network = gcp.compute.Network("net", auto_create_subnetworks=False, opts=opts)
        subnetwork = gcp.compute.Subnetwork(
            "nodes",
            network=network.id,
            ip_cidr_range="10.0.0.0/20",
            private_ip_google_access=True,
            secondary_ip_ranges=[
                {"range_name": "pods", "ip_cidr_range": "10.4.0.0/14"},
                {"range_name": "services", "ip_cidr_range": "10.8.0.0/20"},
            ],
            opts=opts,
        )
        router = gcp.compute.Router("router", network=network.id, opts=opts)
        nat = gcp.compute.RouterNat(
            "nat",
            router=router.name,
            nat_ip_allocate_option="AUTO_ONLY",
            source_subnetwork_ip_ranges_to_nat="LIST_OF_SUBNETWORKS",
            subnetworks=[{"name": subnetwork.id, "source_ip_ranges_to_nats": ["ALL_IP_RANGES"]}],
            log_config={"enable": True, "filter": "ERRORS_ONLY"},
            opts=opts,
        )
        gcp.compute.Firewall(
            "webhooks",
            network=network.id,
            source_ranges=["172.16.0.0/28"],
            target_tags=["triton-node"],
            allows=[{"protocol": "tcp", "ports": ["6443", "15017"]}],
            opts=opts,
        )
        account = gcp.serviceaccount.Account("nodes", account_id="triton-nodes", opts=opts)
        role = gcp.projects.IAMMember(
            "nodes", project=PROJECT, role="roles/container.defaultNodeServiceAccount", member=account.member, opts=opts
        )
        gcp.artifactregistry.Repository("images", repository_id="images", format="DOCKER", location="us-central1", opts=opts)
        cluster = gcp.container.Cluster(
            "gke",
            **{
                "name": "triton",
                "location": zones.names[0],
                "network": network.id,
                "subnetwork": subnetwork.id,
                "remove_default_node_pool": True,
                "initial_node_count": 1,
                "node_config": {"service_account": account.email, "machine_type": "e2-standard-2"},
                "deletion_protection": False,
                "release_channel": {"channel": "REGULAR"},
                "ip_allocation_policy": {"cluster_secondary_range_name": "pods", "services_secondary_range_name": "services"},
                "datapath_provider": "ADVANCED_DATAPATH",
                "workload_identity_config": {"workload_pool": f"{PROJECT}.svc.id.goog"},
                "private_cluster_config": {
                    "enable_private_nodes": True,
                    "enable_private_endpoint": False,
                    "master_ipv4_cidr_block": "172.16.0.0/28",
                },
                "master_authorized_networks_config": {"cidr_blocks": [{"cidr_block": "203.0.113.0/24", "display_name": "ops"}]},
                "monitoring_config": {"enable_components": ["SYSTEM_COMPONENTS"], "managed_prometheus": {"enabled": True}},
                "maintenance_policy": {
                    "recurring_window": {
                        "start_time": "2026-01-03T02:00:00Z",
                        "end_time": "2026-01-03T08:00:00Z",
                        "recurrence": "FREQ=WEEKLY;BYDAY=SA,SU",
                    }
                },
                **self.cluster,
            },
            opts=pulumi.ResourceOptions(provider=provider, depends_on=[nat, role], ignore_changes=["nodeConfig"]),
        )
        gcp.serviceaccount.IAMMember(
            "workload",
            service_account_id=account.name,
            role="roles/iam.workloadIdentityUser",
            member=pulumi.Output.concat("serviceAccount:", cluster.workload_identity_config.workload_pool, "[triton/triton]"),
            opts=opts,
        )
        node_config: Any = {
            "machine_type": self.pool["machine_type"],
            "service_account": account.email,
            "oauth_scopes": ["https://www.googleapis.com/auth/cloud-platform"],
            "guest_accelerators": [
                {"type": self.pool["accelerator"], "count": 1, "gpu_driver_installation_config": {"gpu_driver_version": "LATEST"}}
            ],
            "workload_metadata_config": {"mode": "GKE_METADATA"},
            "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}],
            "spot": False,
            "resource_labels": {"team": "triton"},
            **self.more_node_config,
        }
        gcp.container.NodePool(
            "gpu",
            name=self.pool["name"],
            cluster=cluster.id,
            initial_node_count=1,
            autoscaling={"total_min_node_count": 0, "total_max_node_count": 4, "location_policy": "ANY"},
            management={"auto_repair": True, "auto_upgrade": True},
            node_config=node_config,
            opts=pulumi.ResourceOptions(provider=provider, ignore_changes=["initialNodeCount", "nodeCount"]),
        )
        pulumi.export("endpoint", cluster.endpoint)
        pulumi.export("dns", cluster.control_plane_endpoints_config.dns_endpoint_config.endpoint)
        pulumi.export("authority", cluster.master_auth.cluster_ca_certificate)


def pools(folder: Path) -> dict[str, dict[str, Any]]:
    """Pools whose nodes are there."""
    return current(folder)


def bodies(google: Google, method: str) -> list[dict[str, Any]]:
    return [item["body"] for item in google.requests() if item["method"] == method and item["error"] is None]


def test_a_life(doubles: Callable[[Callable[[], None]], Stack], folder: Path, google: Google, journal: Journal) -> None:
    program = Gke()
    program.cluster["deletion_protection"] = True
    stack = doubles(program)
    assert stack.preview() == {"create": 13}
    assert not google.left(), "a preview makes nothing"
    outputs = stack.up().outputs
    assert outputs["endpoint"].value == "203.0.113.10"
    assert outputs["dns"].value.endswith(".triton.gke.goog")
    assert set(pools(folder)) == {"gke-triton-l4"}, "and the pool that comes with a cluster is gone"
    node = pools(folder)["gke-triton-l4"]
    assert node["labels"]["cloud.google.com/gke-accelerator"] == "nvidia-l4"
    assert (node["count"], node["capacity"]["nvidia.com/gpu"]) == (1, "1")
    cluster = bodies(google, "container.projects.locations.clusters.create")[0]["cluster"]
    assert cluster["controlPlaneEndpointsConfig"]["ipEndpointsConfig"]["authorizedNetworksConfig"]["enabled"] is True
    assert cluster["maintenancePolicy"]["window"]["recurringWindow"]["window"]["startTime"] == "2026-01-03T02:00:00Z"
    pool = bodies(google, "container.projects.locations.clusters.nodePools.create")[0]["nodePool"]
    assert pool["config"]["accelerators"][0]["acceleratorCount"] == "1", "as Google's JSON has long integers"
    assert stack.preview() == {}
    assert stack.refresh() == {}

    # What Google changes in place.
    program.pool["machine_type"] = "g2-standard-12"
    program.cluster["min_master_version"] = "1.35.4-gke.1031000"
    assert stack.preview() == {"update": 2}
    stack.up()
    assert pools(folder)["gke-triton-l4"]["machine"] == "g2-standard-12"
    assert stack.preview() == {}

    # What it can't, under a new name: the new pool is there before the old one goes.
    journal.clear()
    program.pool |= {"name": "t4", "machine_type": "n1-standard-8", "accelerator": "nvidia-tesla-t4"}
    assert stack.preview() == {"replace": 1}
    stack.up()
    assert [span.operation for span in journal.spans()] == ["create", "delete"]
    assert set(pools(folder)) == {"gke-triton-t4"}

    # The provider looks at its own flag when it comes to the cluster: what comes after it in the graph is gone by then.
    assert "deletion_protection is set to true" in stack.fails(stack.destroy)
    assert any(name.endswith("/clusters/triton") for name in google.left())
    assert not pools(folder)
    program.cluster["deletion_protection"] = False
    stack.up()

    journal.clear()
    stack.destroy()
    assert google.left() == []
    order = [span.name for span in journal.spans()]
    assert order.index("gpu") < order.index("gke") < order.index("nodes"), order
    assert not pools(folder)


def test_a_misspelt_property_is_refused_in_the_preview(doubles: Callable[[Callable[[], None]], Stack], google: Google) -> None:
    program = Gke()
    program.more_node_config = {"guest_accelerators": [{"type": "nvidia-l4", "count": 1, "gpu_partition": "1g.5gb"}]}
    stack = doubles(program)
    said = stack.fails(stack.preview)
    assert "Invalid or unknown key" in said
    assert "gpu.nodeConfig.guestAccelerators[0].gpu_partition" in said
    assert google.left() == []


def test_out_of_stock(
    doubles: Callable[[Callable[[], None]], Stack], folder: Path, google: Google, faults: Faults, journal: Journal
) -> None:
    stack = doubles(Gke())
    faults.set(Fault(kind="createFailed", type=POOL, message=STOCK))
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in stack.fails(stack.up)
    # Google has it, and goes on asking for machines; the state has it too, so that nothing is made twice.
    assert any(name.endswith("/nodePools/l4") for name in google.left())
    assert not pools(folder)
    google.restock()
    stack.up()
    assert set(pools(folder)) == {"gke-triton-l4"}
    assert len(bodies(google, "container.projects.locations.clusters.nodePools.create")) == 1
    assert stack.preview() == {}


def test_up_goes_on_after_a_failure_at_each_type_in_turn(
    doubles: Callable[[Callable[[], None]], Stack], folder: Path, google: Google, faults: Faults
) -> None:
    stack = doubles(Gke())
    chain = (
        "gcp:compute/network:Network",
        "gcp:compute/subnetwork:Subnetwork",
        "gcp:compute/routerNat:RouterNat",
        "gcp:projects/iAMMember:IAMMember",
        CLUSTER,
        POOL,
    )
    faults.set(*(Fault(kind="refused", type=token, message="googleapi: Error 503: try again, backendError") for token in chain))
    for _ in chain:
        if not faults.unused():
            break
        assert "Error 503: try again" in stack.fails(stack.up)
    stack.up()
    assert set(pools(folder)) == {"gke-triton-l4"}
    made = Counter(
        item["method"] for item in google.requests() if item["error"] is None and item["method"].endswith((".insert", ".create"))
    )
    assert set(made.values()) == {1}, f"nothing was made twice: {made}"
    assert stack.preview() == {}


def test_no_quota(doubles: Callable[[Callable[[], None]], Stack], folder: Path, google: Google) -> None:
    google.limit(GPUS_ALL_REGIONS=0)
    stack = doubles(Gke())
    assert "Quota 'GPUS_ALL_REGIONS' exceeded" in stack.fails(stack.up)
    assert not pools(folder)
    google.limit()
    google.restock()
    stack.up()
    assert set(pools(folder)) == {"gke-triton-l4"}
