"""Both GKE stack files, whole, under the real engine: Google in memory behind a double of the plugin, a control plane with kwok as cluster.

Each test is one stack's life, because a life is what takes time: its steps build on one another, and each says what it checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.plugins.kubernetes.naming import Kind
from tests.doubles.cluster.nodes import GROUP_LABEL
from tests.doubles.faults import Fault
from tests.engine.clouds.fleet import change
from tests.engine.clouds.gke import gke_environment, gke_fleet, imported
from tests.engine.conftest import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doubles.cluster import ClusterDouble
    from tests.doubles.faults import Span
    from tests.engine.clouds.fleet import Fleet
    from tests.engine.clouds.gke import GoogleCloud

pytestmark = pytest.mark.engine

NODE = Kind("", "v1", "Node")
NAMESPACE = Kind("", "v1", "Namespace")
SERVICE = Kind("", "v1", "Service")
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount")
DEPLOYMENT = Kind("apps", "v1", "Deployment")
DAEMON_SET = Kind("apps", "v1", "DaemonSet")
SECRET = Kind("", "v1", "Secret")
HPA = Kind("autoscaling", "v2", "HorizontalPodAutoscaler")
OWN_NAMESPACES = {"default", "kube-node-lease", "kube-public", "kube-system"}
POOL = "gcp:container/nodePool:NodePool"
CLUSTER = "gcp:container/cluster:Cluster"
STOCK = "Google Compute Engine: The zone does not have enough resources available to fulfill the request. (ZONE_RESOURCE_POOL_EXHAUSTED)"


@pytest.fixture(scope="session")
def google(  # noqa: PLR0917  # fixtures
    cluster_double: ClusterDouble,
    pulumi_cli: Path,
    helm: Path,
    clouds_home: Path,
    doubles_folder: Path,
    gcs_server: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[GoogleCloud]:
    with gke_environment(
        cluster=cluster_double,
        cli=pulumi_cli,
        helm=helm,
        home=clouds_home,
        doubles=doubles_folder,
        scratch=tmp_path_factory.mktemp("gke"),
        buckets=gcs_server,
    ) as found:
        yield found


def spans(fleet: Fleet, kind: str, operation: str, name: str = "") -> list[Span]:
    """What the double did to a kind of resource, as the journal has it."""
    return [span for span in fleet.journal.spans() if span.type == kind and span.operation == operation and name in span.name]


def ended(span: Span) -> float:
    assert span.end is not None, f"{span.operation} of {span.name} never ended"
    assert span.error is None, span.error
    return span.end


def bodies(google: GoogleCloud, method: str) -> list[dict[str, Any]]:
    """Bodies of all calls of a method that Google took."""
    return [item["body"] for item in google.memory.requests() if item["method"] == method and item["error"] is None]


def left_in_kubernetes(cluster: ClusterDouble) -> dict[str, list[str]]:
    """Namespaces, workloads and releases that a stack made. CRDs stay on purpose (docs/components/istio.md, prometheus.md)."""
    api = cluster.api
    found = {
        "namespaces": [item["metadata"]["name"] for item in api.list(NAMESPACE) if item["metadata"]["name"] not in OWN_NAMESPACES],
        "deployments": [item["metadata"]["name"] for item in api.list(DEPLOYMENT)],
        "daemonSets": [item["metadata"]["name"] for item in api.list(DAEMON_SET)],
        "services": [item["metadata"]["name"] for item in api.list(SERVICE) if item["metadata"]["name"] != "kubernetes"],
        "releases": [item["metadata"]["name"] for item in api.list(SECRET, labels="owner=helm")],
    }
    return {kind: names for kind, names in found.items() if names}


def nodes(cluster: ClusterDouble, pool: str) -> list[dict[str, Any]]:
    return cluster.api.list(NODE, labels=f"{GROUP_LABEL},triton-fleet/pool={pool}")


def gpus(cluster: ClusterDouble, pool: str) -> set[str]:
    """Types of GPUs of a pool's nodes."""
    return {node["metadata"]["labels"]["cloud.google.com/gke-accelerator"] for node in nodes(cluster, pool)}


def ready(cluster: ClusterDouble, namespace: str, name: str) -> int:
    return int((cluster.api.get(DEPLOYMENT, namespace, name).get("status") or {}).get("readyReplicas") or 0)


def gone(fleet: Fleet, google: GoogleCloud, cluster: ClusterDouble, *, kept: tuple[str, ...] = ()) -> None:
    """After a destroy: an empty state, nothing in Kubernetes, and nothing at Google but what is ``kept`` and what can't be deleted."""
    assert fleet.state() == []
    assert [name for name in google.memory.left() if "/keyRings/" not in name] == list(kept)
    with google.memory.session() as session:
        keys = [body["primary"]["state"] for name, body in session.things.items() if "/cryptoKeys/" in name]
    assert set(keys) <= {"DESTROY_SCHEDULED"}, "a key keeps its name, and nothing can be read by it"
    assert left_in_kubernetes(cluster) == {}
    eventually(lambda: not cluster.api.list(NODE, labels=GROUP_LABEL))


def test_marketplace_walk_through(google: GoogleCloud, cluster_double: ClusterDouble, doubles_folder: Path, tmp_path: Path) -> None:
    """Pulumi.gke.yaml: up, unchanged, another GPU, a newer Kubernetes, destroy."""
    fleet = gke_fleet("gke", tmp_path / "gke", google.environment, doubles_folder)

    fleet.up()
    assert fleet.outputs()["cluster"] == "triton-gke"
    assert len(nodes(cluster_double, "accel")) == 2
    assert gpus(cluster_double, "accel") == {"nvidia-tesla-t4"}
    assert ready(cluster_double, "triton", "triton") == 1
    assert ready(cluster_double, "custom-metrics", "custom-metrics-stackdriver-adapter") == 1
    metric = cluster_double.api.get(HPA, "triton", "triton")["spec"]["metrics"][0]
    assert (metric["type"], metric["external"]["metric"]["name"]) == ("External", "kubernetes.io|container|accelerator|duty_cycle")
    account = cluster_double.api.get(SERVICE_ACCOUNT, "triton", "triton")
    assert "@my-project.iam.gserviceaccount.com" in str(account["metadata"].get("annotations")) or any(
        "subject/ns/triton/sa/triton" in line for line in google.memory.left()
    ), "its bucket is read by Workload Identity"
    # GKE taints GPU nodes by itself only where a pool without GPUs is there already: it must not matter which pool is first.
    taints = [node["spec"]["taints"] for node in nodes(cluster_double, "accel")]
    assert taints == [[{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]] * 2
    (made,) = bodies(google, "container.projects.locations.clusters.create")
    assert made["cluster"]["controlPlaneEndpointsConfig"]["ipEndpointsConfig"]["authorizedNetworksConfig"]["enabled"] is True
    assert imported(google.scratch) == {"pulumi_gcp"}, "a GKE stack has no use for the SDKs of AWS"

    assert fleet.preview() == {}

    # Another GPU is another pool: it is there before the old one goes.
    fleet.journal.clear()

    def l4(fleet: Fleet) -> None:
        cluster = fleet.of("cluster")
        cluster["gpuPools"][0].update(machineType="g2-standard-8")
        cluster["gpuPools"][0].pop("accelerator")
        cluster["gpuQuota"] = {"nvidia-l4": 4}

    change(fleet, l4)
    fleet.up()
    (new,), (old,) = spans(fleet, POOL, "create"), spans(fleet, POOL, "delete")
    assert ended(new) <= old.begin
    eventually(lambda: gpus(cluster_double, "accel") == {"nvidia-l4"})
    eventually(lambda: ready(cluster_double, "triton", "triton") == 1)
    assert fleet.preview() == {}

    fleet.journal.clear()
    fleet.destroy()
    gone(fleet, google, cluster_double)
    (deleted,) = spans(fleet, CLUSTER, "delete")
    assert all(ended(pool) <= deleted.begin for pool in spans(fleet, POOL, "delete"))


def test_fil_walk_through_on_a_bad_day(google: GoogleCloud, cluster_double: ClusterDouble, doubles_folder: Path, tmp_path: Path) -> None:
    """Pulumi.gke-fil.yaml: no stock at first, up again heals it; an upgrade; destroy."""
    fleet = gke_fleet("gke-fil", tmp_path / "gke-fil", google.environment, doubles_folder)
    change(fleet, lambda fleet: fleet.of("cluster").update(version="1.34"))

    fleet.faults.set(Fault(kind="createFailed", type=POOL, name="*gpu-pool*", message=STOCK))
    failed = fleet.up(check=False)
    assert failed.returncode != 0
    assert "ZONE_RESOURCE_POOL_EXHAUSTED" in failed.stdout
    assert not nodes(cluster_double, "gpu-pool")

    google.memory.restock()
    fleet.up()
    assert len(spans(fleet, POOL, "create")) == 2, "what was there already is not made again"
    eventually(lambda: len(nodes(cluster_double, "gpu-pool")) == 2)
    assert ready(cluster_double, "triton", "triton") == 1
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
    gone(fleet, google, cluster_double, kept=("projects/my-project/locations/us-central1/repositories/triton-fil",))
