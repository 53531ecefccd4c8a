"""Both GKE stack files, whole, under the real engine: Google in memory behind a double of the plugin, a control plane with kwok as cluster.

Each test is one stack's life, because a life is what takes time: its steps build on one another, and each says what it checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.doubles.faults import Fault
from tests.engine.clouds.fleet import change
from tests.engine.clouds.life import (
    HPA,
    SERVICE_ACCOUNT,
    cluster_is_empty,
    each_was_refused_once,
    ended,
    is_kept,
    labels,
    nodes,
    objects,
    ready,
    replace_cluster,
    spans,
    up_again_and_again,
)
from tests.engine.clouds.refusals import Refusals, releases_with_pods
from tests.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.clouds.fleet import Fleet
    from tests.engine.clouds.gke import Google

pytestmark = pytest.mark.engine

POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"
STOCK = "Google Compute Engine: The zone does not have enough resources available to fulfill the request. (ZONE_RESOURCE_POOL_EXHAUSTED)"


def bodies(google: Google, method: str) -> list[dict[str, Any]]:
    """Bodies of all calls of a method that Google took."""
    return [item["body"] for item in google.memory.requests() if item["method"] == method and item["error"] is None]


def gpus(google: Google, pool: str) -> set[str]:
    """Types of GPUs of a pool's nodes."""
    return labels(google.cluster, pool, "cloud.google.com/gke-accelerator")


def delete_orphan(fleet: Fleet, google: Google) -> None:
    """`gcloud container node-pools delete` of the one that the state does not know."""
    known = {item.get("id") for item in fleet.state()}
    (orphan,) = [name for name in google.memory.left() if "/nodePools/" in name and name not in known]
    operation = google.memory.call("container.projects.locations.clusters.nodePools.delete", {"name": orphan})
    google.memory.wait(operation["name"].rsplit("/", 1)[-1])


def gone(fleet: Fleet, google: Google, *, kept: tuple[str, ...] = ()) -> None:
    """After a destroy: an empty state, nothing in Kubernetes, and nothing at Google but what is ``kept`` and what can't be deleted."""
    cluster_is_empty(fleet, google.cluster)
    assert [name for name in google.memory.left() if "/keyRings/" not in name] == list(kept)
    with google.memory.session() as session:
        keys = [body["primary"]["state"] for name, body in session.things.items() if "/cryptoKeys/" in name]
    assert set(keys) <= {"DESTROY_SCHEDULED"}, "a key keeps its name, and nothing can be read by it"


def test_marketplace_walk_through(google: Google, tmp_path: Path) -> None:
    """Pulumi.gke.yaml: up, unchanged, another GPU, a newer Kubernetes, destroy."""
    fleet = google.stack("gke", tmp_path / "stack")

    fleet.up()
    assert fleet.outputs()["cluster"] == "triton-gke"
    eventually(lambda: nodes(google.cluster, "accel"), "two nodes", lambda found: len(found) == 2)
    assert gpus(google, "accel") == {"nvidia-tesla-t4"}
    eventually(lambda: ready(google.cluster, "triton", "triton"), "one replica", lambda count: count == 1)
    eventually(lambda: ready(google.cluster, "custom-metrics", "custom-metrics-stackdriver-adapter") == 1, "the adapter")
    metric = google.cluster.api.get(HPA, "triton", "triton")["spec"]["metrics"][0]
    assert (metric["type"], metric["external"]["metric"]["name"]) == ("External", "kubernetes.io|container|accelerator|duty_cycle")
    account = google.cluster.api.get(SERVICE_ACCOUNT, "triton", "triton")
    assert "@my-project.iam.gserviceaccount.com" in str(account["metadata"].get("annotations")) or any(
        "subject/ns/triton/sa/triton" in line for line in google.memory.left()
    ), "its bucket is read by Workload Identity"
    # GKE taints GPU nodes by itself only where a pool without GPUs is there already: it must not matter which pool is first.
    taints = [node["spec"]["taints"] for node in nodes(google.cluster, "accel")]
    assert taints == [[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]] * 2
    (made,) = bodies(google, "container.projects.locations.clusters.create")
    assert made["cluster"]["controlPlaneEndpointsConfig"]["ipEndpointsConfig"]["authorizedNetworksConfig"]["enabled"] is True
    assert google.imported() == {"pulumi_gcp"}, "a stack's own cloud's SDK, and no other"

    assert fleet.preview() == {}

    # Another GPU is another pool: it is there before the old one goes.
    fleet.journal.clear()

    def l4(fleet: Fleet) -> None:
        cluster = fleet.of("cluster")
        cluster["gpuPools"][0].update(machineType="g2-standard-8")
        cluster["gpuPools"][0].pop("accelerator")
        cluster["gpuQuota"] = {"nvidia-l4": 4}

    change(fleet, l4)
    # The plugin dies when Google has made the pool, and nobody is told. The next `up` finds the name taken: docs/components/gke.md says
    # what to do.
    fleet.faults.set(Fault(kind="lost", type=POOL))
    assert fleet.up(check=False).returncode
    again = fleet.up(check=False)
    assert again.returncode
    assert "Already exists" in again.stdout
    fleet.faults.clear()
    delete_orphan(fleet, google)
    fleet.journal.clear()
    fleet.up()
    (new,), (old,) = spans(fleet, POOL, "create"), spans(fleet, POOL, "delete")
    assert ended(new) <= old.begin
    eventually(lambda: gpus(google, "accel"), "new nodes alone", lambda found: found == {"nvidia-l4"})
    eventually(lambda: ready(google.cluster, "triton", "triton"), "one replica", lambda count: count == 1)
    assert fleet.preview() == {}

    fleet.journal.clear()
    fleet.destroy()
    gone(fleet, google)
    (deleted,) = spans(fleet, CLUSTER, "delete")
    assert all(ended(pool) <= deleted.begin for pool in spans(fleet, POOL, "delete"))


def test_a_replaced_cluster_has_everything_that_the_old_one_had(google: Google, tmp_path: Path) -> None:
    """Each property that Google can't change: beside the old one, or after it, or refused; never unchanged in the state and missing."""
    fleet = google.stack("gke", tmp_path / "stack")
    change(fleet, lambda fleet: fleet.of("cluster").update(deletionProtection=True))
    fleet.up()
    before = objects(google.cluster)
    assert len(before) > 10

    # Protected: refused before anything is deleted.
    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster").update(dataplaneV2=False))
    refused = fleet.up(check=False)
    assert refused.returncode
    assert "marked for protection" in refused.stdout
    assert not fleet.journal.spans(operations=["create", "delete"])
    assert objects(google.cluster) == before

    change(fleet, lambda fleet: fleet.of("cluster").update(dataplaneV2=True, deletionProtection=False))
    fleet.up()

    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster").update(dataplaneV2=False))
    replace_cluster(fleet, google.cluster, CLUSTER)

    # Other addresses: the subnet and what hangs on it go first, the NAT among them.
    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster")["network"].update(cidr="10.64.0.0/16"))
    replace_cluster(fleet, google.cluster, CLUSTER)

    # Taken down and made again.
    fleet.destroy()
    gone(fleet, google)
    fleet.up()
    assert objects(google.cluster).keys() == before.keys()
    fleet.destroy()
    gone(fleet, google)


def test_pools_that_google_can_t_change_are_made_beside_the_old_ones(google: Google, tmp_path: Path) -> None:
    """Pods per node, the disks' key, another name: the cluster stays, and all that is in it."""
    fleet = google.stack("gke", tmp_path / "stack")
    fleet.up()
    before = objects(google.cluster)
    key = "projects/my-project/locations/us-central1/keyRings/r/cryptoKeys/k"

    def renamed(fleet: Fleet) -> None:
        fleet.of("cluster")["gpuPools"][0].update(name="other")
        fleet.of("warmFloor")[0].update(pool="other")
        fleet.of("serving")[0]["nodeSelector"] = {"triton-fleet/pool": "other"}

    for edit, pools in (
        (lambda fleet: fleet.of("cluster").update(podsPerNode=32), 2),
        (lambda fleet: fleet.of("cluster").update(diskKey=key), 2),
        (renamed, 1),
    ):
        fleet.journal.clear()
        change(fleet, edit)
        fleet.up()
        assert not spans(fleet, CLUSTER, "delete")
        made, deleted = spans(fleet, POOL, "create"), spans(fleet, POOL, "delete")
        assert (len(made), len(deleted)) == (pools, pools)
        assert max(map(ended, made)) <= min(span.begin for span in deleted)
        after = objects(google.cluster)
        assert {name for name in after if "placeholder" not in name.lower() and before.get(name) != after[name]} == set()
        assert fleet.preview() == {}
    fleet.destroy()
    gone(fleet, google)


def test_fil_walk_through_on_a_bad_day(google: Google, tmp_path: Path) -> None:
    """Pulumi.gke-fil.yaml: everything fails once and there is no stock, up again heals it; an upgrade; destroy."""
    fleet = google.stack("gke-fil", tmp_path / "stack")
    change(fleet, lambda fleet: fleet.of("cluster").update(version="1.34"))

    # Every resource of Google's is refused once, a whole level of the graph in each `up`. After that the cluster turns out broken, and the
    # pool. Then every Helm release fails in the middle.
    fleet.faults.set(
        Fault(kind="refused", type="gcp:*", each=True),
        Fault(kind="createFailed", type=CLUSTER, message="Internal error."),
        Fault(kind="createFailed", type=POOL, name="*gpu-pool*", message=STOCK),
    )
    mended: list[str] = []

    def mend(said: str) -> None:
        if "Error waiting for creating GKE cluster: Internal error." in said:
            # The next `up` would keep it, and could make no pool in it. docs/components/gke.md says what to do.
            assert is_kept(fleet, CLUSTER)
            fleet.destroy("--target", fleet.urn(CLUSTER), "--target-dependents")
            mended.append(CLUSTER)
        if "ZONE_RESOURCE_POOL_EXHAUSTED" in said:
            assert not nodes(google.cluster, "gpu-pool")
            google.memory.restock()  # GKE goes on asking for machines
            mended.append(POOL)
        refusals.mend(said)

    with Refusals(google.cluster.api) as refusals:
        each_was_refused_once(fleet, "gcp", up_again_and_again(fleet, mend))
    assert mended == [CLUSTER, POOL]
    assert sorted(refusals.refused) == releases_with_pods(fleet)
    fleet.faults.clear()
    eventually(lambda: nodes(google.cluster, "gpu-pool"), "two nodes", lambda found: len(found) == 2)
    eventually(lambda: ready(google.cluster, "triton", "triton"), "one replica", lambda count: count == 1)
    assert fleet.preview() == {}

    # One minor version up: the control plane in place, and no pool is made anew.
    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster").update(version="1.35"))
    fleet.up()
    assert len(spans(fleet, CLUSTER, "update")) == 1
    assert not spans(fleet, POOL, "create")
    assert bodies(google, "container.projects.locations.clusters.update")[-1]["update"]["desiredMasterVersion"].startswith("1.35")

    fleet.destroy()
    # Images outlive the stack that was made for them: `retain` is the default.
    gone(fleet, google, kept=("projects/my-project/locations/us-central1/repositories/triton-fil",))
