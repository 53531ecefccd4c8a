"""Google in memory: what it refuses, and what takes its time."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles import nodes
from tests.doubles.clock import Clock
from tests.doubles.gcp import machines
from tests.doubles.gcp.memory import Google
from tests.doubles.gcp.session import GoogleError

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "triton-test"
NETWORK = f"projects/{PROJECT}/global/networks/net"
SUBNETWORK = f"projects/{PROJECT}/regions/us-central1/subnetworks/nodes"
PLACE = f"projects/{PROJECT}/locations/us-central1-a"
CLUSTER = f"{PLACE}/clusters/c"
POOLS = "container.projects.locations.clusters.nodePools"


@pytest.fixture
def google(tmp_path: Path) -> Google:
    return Google(tmp_path / "doubles", Clock(0))


def subnetwork(google: Google, name: str = "nodes", **more: Any) -> None:
    ranges = [{"rangeName": "pods", "ipCidrRange": "10.4.0.0/14"}, {"rangeName": "services", "ipCidrRange": "10.8.0.0/20"}]
    body = {"name": name, "network": NETWORK, "ipCidrRange": "10.0.0.0/20", "secondaryIpRanges": ranges, **more}
    google.call("compute.subnetworks.insert", {"project": PROJECT, "region": "us-central1"}, body)


def network(google: Google, **more: Any) -> None:
    google.call("compute.networks.insert", {"project": PROJECT}, {"name": "net", "autoCreateSubnetworks": False})
    subnetwork(google, **more)


def cluster(google: Google, **more: Any) -> dict[str, Any]:
    body = {
        "name": "c",
        "initialNodeCount": 1,
        "network": NETWORK,
        "subnetwork": SUBNETWORK,
        "ipAllocationPolicy": {"clusterSecondaryRangeName": "pods", "servicesSecondaryRangeName": "services", "useIpAliases": True},
        "workloadIdentityConfig": {"workloadPool": f"{PROJECT}.svc.id.goog"},
        **more,
    }
    made = google.call("container.projects.locations.clusters.create", {"parent": PLACE}, {"cluster": body})
    google.wait(made["name"])
    return made


def pool(google: Google, *, machine: str = "g2-standard-8", gpu: str = "nvidia-l4", count: int = 1, **more: Any) -> dict[str, Any] | None:
    config = {"machineType": machine, "accelerators": [{"acceleratorType": gpu, "acceleratorCount": str(count)}], **more.pop("config", {})}
    if not gpu:
        config.pop("accelerators")
    body = {"name": "p", "initialNodeCount": 1, "config": config, **more}
    return google.wait(google.call(f"{POOLS}.create", {"parent": CLUSTER}, {"nodePool": body})["name"])


def refused(google: Google, method: str, parameters: dict[str, str], body: dict[str, Any] | None = None) -> str:
    with pytest.raises(GoogleError) as caught:
        google.call(method, parameters, body)
    return str(caught.value)


def test_a_cluster_with_its_pools(google: Google, tmp_path: Path) -> None:
    network(google)
    cluster(google)
    assert pool(google) is None
    found = google.call("container.projects.locations.clusters.get", {"name": CLUSTER})
    assert (found["status"], [item["status"] for item in found["nodePools"]]) == ("RUNNING", ["RUNNING", "RUNNING"])
    (gpu,) = [item for item in nodes.current(tmp_path / "doubles").values() if item["machine"] == "g2-standard-8"]
    assert gpu["capacity"]["nvidia.com/gpu"] == "1"
    assert gpu["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}], "GKE's own"
    google.call("container.projects.locations.clusters.delete", {"name": CLUSTER})
    assert not any("/clusters/" in name for name in google.left())
    assert nodes.current(tmp_path / "doubles") == {}


def test_states_on_the_way(tmp_path: Path) -> None:
    google = Google(tmp_path, Clock(0.001))
    google.call("compute.networks.insert", {"project": PROJECT}, {"name": "net", "autoCreateSubnetworks": False})
    subnetwork(google)
    body = {"name": "c", "initialNodeCount": 1, "network": NETWORK, "subnetwork": SUBNETWORK, "ipAllocationPolicy": {"useIpAliases": True}}
    operation = google.call("container.projects.locations.clusters.create", {"parent": PLACE}, {"cluster": body})

    def get() -> str:
        return str(google.call("container.projects.locations.clusters.get", {"name": CLUSTER})["status"])

    assert (operation["status"], get()) == ("RUNNING", "PROVISIONING")
    assert "failedPrecondition" in refused(google, "container.projects.locations.clusters.delete", {"name": CLUSTER})
    google.wait(operation["name"])
    assert get() == "RUNNING"


def test_what_is_used_can_not_be_deleted(google: Google) -> None:
    network(google)
    cluster(google)
    at = {"project": PROJECT}
    assert "resourceInUseByAnotherResource" in refused(google, "compute.networks.delete", {**at, "network": "net"})
    place = {**at, "region": "us-central1", "subnetwork": "nodes"}
    assert f"already being used by '{CLUSTER}'" in refused(google, "compute.subnetworks.delete", place)
    google.call("container.projects.locations.clusters.delete", {"name": CLUSTER})
    google.call("compute.subnetworks.delete", place)
    google.call("compute.networks.delete", {**at, "network": "net"})
    assert google.left() == []


def test_ranges_that_overlap(google: Google) -> None:
    network(google)
    with pytest.raises(GoogleError, match="conflicts with existing subnetwork"):
        subnetwork(google, "other", ipCidrRange="10.5.0.0/24", secondaryIpRanges=[])
    with pytest.raises(GoogleError, match="Duplicate range name"):
        subnetwork(google, "other", ipCidrRange="10.20.0.0/24", secondaryIpRanges=[{"rangeName": "a", "ipCidrRange": "10.21.0.0/24"}] * 2)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"name": "C"}, "Invalid cluster name"),
        ({"subnetwork": "elsewhere"}, 'elsewhere" does not exist'),
        ({"locations": ["us-central1-b"]}, "must include the cluster's own zone"),
        ({"initialClusterVersion": "1.20"}, "is not available in channel REGULAR"),
        ({"workloadIdentityConfig": {"workloadPool": "mine"}}, "Workload Identity pool 'mine' is invalid"),
        ({"databaseEncryption": {"state": "ENCRYPTED", "keyName": "projects/p/k"}}, "Cloud KMS key 'projects/p/k' does not exist"),
        ({"nodeConfig": {"serviceAccount": "me@triton-test.iam.gserviceaccount.com"}}, "Service account me@"),
        ({"ipAllocationPolicy": {"clusterSecondaryRangeName": "pod"}}, 'does not have a secondary range "pod"'),
        ({"privateClusterConfig": {"masterIpv4CidrBlock": "10.0.0.0/28"}}, "for master conflicts with 10.0.0.0/20"),
        ({"networkPolicy": {"enabled": True}, "networkConfig": {"datapathProvider": "ADVANCED_DATAPATH"}}, "is not allowed"),
    ],
)
def test_clusters_that_can_not_be(google: Google, change: dict[str, Any], problem: str) -> None:
    network(google)
    with pytest.raises(GoogleError, match="badRequest") as caught:
        cluster(google, **change)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"machine": "g2-standard-9"}, "Invalid machine type"),
        ({"gpu": "nvidia-tesla-t4"}, "comes with 1 nvidia-l4"),
        ({"machine": "n1-standard-96", "gpu": "nvidia-tesla-t4"}, "cannot be attached to machine type n1-standard-96"),
        ({"machine": "e2-standard-4", "gpu": "nvidia-tesla-t4"}, "cannot be attached to machine type e2-standard-4"),
        ({"config": {"diskType": "pd-standard"}}, "not compatible for creating instance on machine type g2-standard-8"),
        (
            {"config": {"taints": [{"key": "nvidia.com/gpu", "value": "true", "effect": "NO_SCHEDULE"}]}},
            "contradicts the one that GKE sets",
        ),
        ({"config": {"taints": [{"key": "a", "value": "b", "effect": "NO_SCHEDULE"}] * 2}}, "Taints must be unique"),
        ({"config": {"secondaryBootDisks": [{"diskImage": "i"}]}}, "need image streaming"),
        (
            {"config": {"spot": True, "reservationAffinity": {"consumeReservationType": "SPECIFIC_RESERVATION"}}},
            "can't consume reservations",
        ),
        ({"autoscaling": {"enabled": True, "maxNodeCount": 1, "totalMaxNodeCount": 1}}, "Only one of"),
        ({"autoscaling": {"enabled": True}}, "must be greater than zero"),
        ({"upgradeSettings": {"maxSurge": 0, "maxUnavailable": 0}}, "can't both be zero"),
        ({"management": {"autoRepair": True, "autoUpgrade": False}}, "Auto_upgrade cannot be false when release_channel REGULAR is set"),
        ({"locations": ["us-east1-b"]}, "is no zone of us-central1"),
        ({"version": "1.36.1-gke.1127000"}, "must not be greater than the control plane's"),
        ({"machine": "n1-standard-4", "gpu": "nvidia-tesla-t4", "placementPolicy": {"type": "COMPACT"}}, "Compact placement"),
    ],
)
def test_pools_that_can_not_be(google: Google, change: dict[str, Any], problem: str) -> None:
    network(google)
    cluster(google)
    with pytest.raises(GoogleError) as caught:
        pool(google, **change)
    assert problem in str(caught.value)
    assert not any("/nodePools/p" in name for name in google.left())


def test_gpus_partitioned_and_shared(google: Google, tmp_path: Path) -> None:
    network(google)
    cluster(google)
    slices = {"acceleratorType": "nvidia-tesla-a100", "acceleratorCount": "1", "gpuPartitionSize": "1g.5gb"}
    shared = {**slices, "gpuSharingConfig": {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": "2"}}
    assert pool(google, machine="a2-highgpu-1g", config={"accelerators": [shared]}) is None
    found = nodes.current(tmp_path / "doubles")["gke-c-p"]
    assert found["capacity"]["nvidia.com/gpu"] == "14"
    assert found["labels"]["cloud.google.com/gke-gpu-partition-size"] == "1g.5gb"
    assert found["labels"]["cloud.google.com/gke-gpu-sharing-strategy"] == "time-sharing"
    with pytest.raises(GoogleError, match="is not supported for nvidia-tesla-a100"):
        pool(google, machine="a2-highgpu-1g", config={"accelerators": [{**slices, "gpuPartitionSize": "1g.10gb"}]}, name="q")
    mps = {**slices, "gpuSharingConfig": {"gpuSharingStrategy": "MPS", "maxSharedClientsPerGpu": "2"}}
    with pytest.raises(GoogleError, match="can't be shared with MPS"):
        pool(google, machine="a2-highgpu-1g", config={"accelerators": [mps]}, name="q")


def test_no_quota_no_addresses_no_stock(google: Google, tmp_path: Path) -> None:
    network(google)
    cluster(google)
    google.limit(GPUS_ALL_REGIONS=1)
    failed = pool(google, initialNodeCount=2)
    assert failed is not None
    assert "Quota 'GPUS_ALL_REGIONS' exceeded. Limit: 1.0 globally." in failed["message"]
    assert google.call(f"{POOLS}.get", {"name": f"{CLUSTER}/nodePools/p"})["status"] == "ERROR"
    google.limit()

    # Out of stock: the pool is there, and its machines come when there are some.
    body = {"name": "q", "initialNodeCount": 1, "config": {"machineType": "n1-standard-4"}}
    google.doom(f"{CLUSTER}/nodePools/q", "ZONE_RESOURCE_POOL_EXHAUSTED")
    operation = google.call(f"{POOLS}.create", {"parent": CLUSTER}, {"nodePool": body})
    failed = google.wait(operation["name"])
    assert failed is not None
    assert "EXHAUSTED" in failed["message"]
    assert "gke-c-q" not in nodes.current(tmp_path / "doubles")
    google.restock()
    assert google.call(f"{POOLS}.get", {"name": f"{CLUSTER}/nodePools/q"})["status"] == "RUNNING"
    assert "gke-c-q" in nodes.current(tmp_path / "doubles")


def test_addresses_end(google: Google) -> None:
    small = [{"rangeName": "pods", "ipCidrRange": "10.4.0.0/23"}, {"rangeName": "services", "ipCidrRange": "10.8.0.0/20"}]
    network(google, secondaryIpRanges=small)
    cluster(google)
    failed = pool(google, initialNodeCount=2)
    assert failed is not None
    assert "IP_SPACE_EXHAUSTED" in failed["message"]


def test_upgrades(google: Google) -> None:
    network(google)
    cluster(google, initialClusterVersion="1.33", releaseChannel={"channel": "REGULAR"})
    update = "container.projects.locations.clusters.update"
    wish = {"update": {"desiredMasterVersion": "1.35"}}
    assert "cannot upgrade more than a minor version" in refused(google, update, {"name": CLUSTER}, wish)
    google.wait(google.call(update, {"name": CLUSTER}, {"update": {"desiredMasterVersion": "1.34"}})["name"])
    assert "cannot be downgraded" in refused(google, update, {"name": CLUSTER}, {"update": {"desiredMasterVersion": "1.33"}})
    two = {"update": {"desiredMasterVersion": "1.35", "desiredLocations": ["us-central1-a"]}}
    assert "Exactly one update" in refused(google, update, {"name": CLUSTER}, two)


def test_policies(google: Google) -> None:
    get, put = "cloudresourcemanager.projects.getIamPolicy", "cloudresourcemanager.projects.setIamPolicy"
    at = {"resource": PROJECT}
    policy = google.call(get, at, {})
    member = f"serviceAccount:nodes@{PROJECT}.iam.gserviceaccount.com"
    new = {"policy": {**policy, "bindings": [{"role": "roles/viewer", "members": [member]}]}}
    assert "does not exist" in refused(google, put, at, new)
    google.call("iam.projects.serviceAccounts.create", {"name": f"projects/{PROJECT}"}, {"accountId": "nodes-of-c"})
    member = f"serviceAccount:nodes-of-c@{PROJECT}.iam.gserviceaccount.com"
    new["policy"]["bindings"][0]["members"] = [member]
    google.call(put, at, new)
    assert "There were concurrent policy changes" in refused(google, put, at, {"policy": {"etag": policy["etag"], "bindings": []}})
    assert f"{member} has roles/viewer on projects/{PROJECT}" in google.left()


def test_identities_of_pods_come_with_the_first_cluster(google: Google) -> None:
    """Mistake 4 of the twelve: a binding that is made before there is a cluster with Workload Identity."""
    network(google)
    account = f"projects/{PROJECT}/serviceAccounts/triton@{PROJECT}.iam.gserviceaccount.com"
    google.call("iam.projects.serviceAccounts.create", {"name": f"projects/{PROJECT}"}, {"accountId": "triton"})
    binding = {"role": "roles/iam.workloadIdentityUser", "members": [f"serviceAccount:{PROJECT}.svc.id.goog[triton/triton]"]}
    put = "iam.projects.serviceAccounts.setIamPolicy"
    assert "Identity Pool does not exist" in refused(google, put, {"resource": account}, {"policy": {"bindings": [binding]}})
    cluster(google)
    google.call(put, {"resource": account}, {"policy": {"bindings": [binding]}})


def test_an_api_that_is_off(google: Google) -> None:
    google.only_services(PROJECT, "serviceusage")
    insert = "compute.networks.insert"
    body = {"name": "net", "autoCreateSubnetworks": False}
    assert "accessNotConfigured" in refused(google, insert, {"project": PROJECT}, body)
    name = f"projects/{PROJECT}/services/compute.googleapis.com"
    google.call("serviceusage.services.enable", {"name": name}, {})
    google.call(insert, {"project": PROJECT}, body)


def test_a_key_must_be_usable_by_gke(google: Google) -> None:
    network(google)
    ring = f"projects/{PROJECT}/locations/us-central1"
    google.call("cloudkms.projects.locations.keyRings.create", {"parent": ring, "keyRingId": "r"}, {})
    keys = {"parent": f"{ring}/keyRings/r", "cryptoKeyId": "k"}
    google.call("cloudkms.projects.locations.keyRings.cryptoKeys.create", keys, {"purpose": "ENCRYPT_DECRYPT"})
    key = f"{ring}/keyRings/r/cryptoKeys/k"
    with pytest.raises(GoogleError, match="is not usable by service-123456789012@container-engine-robot"):
        cluster(google, databaseEncryption={"state": "ENCRYPTED", "keyName": key})
    assert "already exists" in refused(google, "cloudkms.projects.locations.keyRings.create", {"parent": ring, "keyRingId": "r"}, {})


def test_a_nat_covers_a_subnetwork_once(google: Google) -> None:
    network(google)
    place = {"project": PROJECT, "region": "us-central1"}
    google.call("compute.routers.insert", place, {"name": "r", "network": NETWORK})
    nat = {
        "name": "n",
        "natIpAllocateOption": "AUTO_ONLY",
        "sourceSubnetworkIpRangesToNat": "LIST_OF_SUBNETWORKS",
        "subnetworks": [{"name": SUBNETWORK, "sourceIpRangesToNat": ["ALL_IP_RANGES"]}],
    }
    patch = "compute.routers.patch"
    assert "covered by more than one NAT" in refused(google, patch, {**place, "router": "r"}, {"nats": [nat, {**nat, "name": "m"}]})
    google.call(patch, {**place, "router": "r"}, {"nats": [nat]})
    assert "routers/r" in refused(google, "compute.subnetworks.delete", {**place, "subnetwork": "nodes"})


def test_every_machine_type_goes_with_its_own_gpus() -> None:
    kinds = [f"a2-highgpu-{count}g" for count in (1, 2, 4, 8)] + ["a3-highgpu-8g", "g2-standard-4", "g2-standard-24", "g4-standard-48"]
    for name in kinds:
        kind = machines.machine(name)
        assert kind is not None
        assert kind.gpu is not None
        assert list(machines.gpu_problems(kind, [(kind.gpu, kind.gpus, "")])) == []
        assert list(machines.gpu_problems(kind, []))
    for name, gpu in itertools.product(("n1-standard-4", "n1-highmem-8"), ("nvidia-tesla-t4", "nvidia-tesla-v100")):
        kind = machines.machine(name)
        assert kind is not None
        assert list(machines.gpu_problems(kind, [(gpu, 1, "")])) == []
    assert machines.machine("m7i.xlarge") is None
