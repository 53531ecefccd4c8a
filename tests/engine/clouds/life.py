"""What the lives of all clouds' stacks are looked at with: the journal of the cloud, and the cluster."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from local.plugins.kubernetes.naming import Kind
from tests.doubles.cluster.nodes import GROUP_LABEL
from tests.doubles.provider import InitFailed
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.doubles.cluster import ClusterDouble
    from tests.doubles.faults import Span
    from tests.engine.clouds.fleet import Fleet

NODE: Final = Kind("", "v1", "Node")
NAMESPACE: Final = Kind("", "v1", "Namespace")
SERVICE: Final = Kind("", "v1", "Service")
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount")
SECRET: Final = Kind("", "v1", "Secret")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment")
DAEMON_SET: Final = Kind("apps", "v1", "DaemonSet")
HPA: Final = Kind("autoscaling", "v2", "HorizontalPodAutoscaler")
STORAGE_CLASS: Final = Kind("storage.k8s.io", "v1", "StorageClass")
_CLUSTERS_OWN: Final = {"default", "kube-node-lease", "kube-public", "kube-system", "kubernetes"}


def spans(fleet: Fleet, kind: str, operation: str, name: str = "") -> list[Span]:
    """What the double did to a kind of resource, as the journal has it; ``name`` is a part of the logical name."""
    return [span for span in fleet.journal.spans() if span.type == kind and span.operation == operation and name in span.name]


def ended(span: Span) -> float:
    """When it was done; seconds since the epoch."""
    assert span.end is not None, f"{span.operation} of {span.name} never ended"
    assert span.error is None, span.error
    return span.end


def left_in_kubernetes(cluster: ClusterDouble) -> dict[str, list[str]]:
    """Namespaces, workloads and releases that a stack made. CRDs stay on purpose (docs/components/istio.md, prometheus.md)."""
    api = cluster.api
    found = {
        "namespaces": api.list(NAMESPACE),
        "deployments": api.list(DEPLOYMENT),
        "daemonSets": api.list(DAEMON_SET),
        "services": api.list(SERVICE),
        "releases": api.list(SECRET, labels="owner=helm"),
        "classes": api.list(STORAGE_CLASS),
    }
    named = {key: [item["metadata"]["name"] for item in items] for key, items in found.items()}
    ours = {key: [name for name in names if name not in _CLUSTERS_OWN] for key, names in named.items()}
    return {key: names for key, names in ours.items() if names}


def objects(cluster: ClusterDouble) -> dict[str, str]:
    """UIDs of what a stack made in a cluster: an object that was made anew has another."""
    kinds = (NAMESPACE, SERVICE_ACCOUNT, DEPLOYMENT, DAEMON_SET, SERVICE, HPA, STORAGE_CLASS)
    found = [(kind, item["metadata"]) for kind in kinds for item in cluster.api.list(kind)]
    own = {"default", "kube-node-lease", "kube-public", "kube-system", "kubernetes"}
    return {
        f"{kind.kind} {metadata.get('namespace', '')}/{metadata['name']}": metadata["uid"]
        for kind, metadata in found
        if metadata["name"] not in own and metadata.get("namespace") not in own
    }


def replace_cluster(fleet: Fleet, cluster: ClusterDouble, kind: str) -> None:
    """Replace the cluster, a resource of ``kind``, by the two commands of docs/components/eks.md and gke.md; check what is in the new one.

    `up` alone stops before anything is deleted (pulumi/pulumi#14650).
    """
    assert any("kubernetes:core/v1:Namespace" in key for key in fleet.preview()), "a preview shows it"
    there = objects(cluster)
    stopped = fleet.up(check=False)
    assert "client connection is closing" in stopped.stdout
    assert "updating failed" not in stopped.stdout, stopped.stdout
    assert objects(cluster) == there
    fleet.destroy("--target", fleet.urn("pulumi:providers:kubernetes"), "--target-dependents")
    fleet.up()
    eventually(lambda: ready(cluster, "triton", "triton"), "a replica", lambda count: count >= 1)
    after = objects(cluster)
    assert after.keys() == there.keys()
    assert not {key for key in after if after[key] == there[key]}, "of the old cluster, which is gone"
    (deleted,), (made,) = spans(fleet, kind, "delete"), spans(fleet, kind, "create")
    assert ended(deleted) <= made.begin
    assert fleet.preview() == {}


def nodes(cluster: ClusterDouble, pool: str) -> list[dict[str, Any]]:
    """Nodes of a pool."""
    return cluster.api.list(NODE, labels=f"{GROUP_LABEL},triton-fleet/pool={pool}")


def labels(cluster: ClusterDouble, pool: str, label: str) -> set[str]:
    """Values that a label has on a pool's nodes."""
    return {node["metadata"]["labels"][label] for node in nodes(cluster, pool)}


def ready(cluster: ClusterDouble, namespace: str, name: str) -> int:
    """Replicas of a Deployment that are ready."""
    return int((cluster.api.get(DEPLOYMENT, namespace, name).get("status") or {}).get("readyReplicas") or 0)


def cluster_is_empty(fleet: Fleet, cluster: ClusterDouble) -> None:
    """After a destroy: an empty state, and nothing of the stack in Kubernetes."""
    assert fleet.state() == []
    eventually(lambda: left_in_kubernetes(cluster), "nothing of the stack in Kubernetes", lambda left: left == {})
    eventually(lambda: cluster.api.list(NODE, labels=GROUP_LABEL), "the end of all nodes", lambda left: left == [])


def up_again_and_again(fleet: Fleet, mend: Callable[[str], None] = lambda _: None, *, at_most: int = 20) -> list[str]:
    """`up` until it succeeds, each going on from what the last one left.

    Args:
        fleet: The stack.
        mend: Gets what each failed one said, before the next.
        at_most: How many may fail.

    Returns:
        What those said that failed.
    """
    said: list[str] = []
    while (done := fleet.up("--continue-on-error", check=False)).returncode:
        said.append(done.stdout)
        assert len(said) <= at_most, f"it does not come to an end:\n{done.stdout[-3000:]}"
        mend(done.stdout)
    return said


def is_kept(fleet: Fleet, kind: str) -> bool:
    """Whether the next `up` would keep all resources of a kind, the broken ones too."""
    return not [key for key in fleet.preview() if key.split(" ", 1)[0] not in {"create", "update"} and f"{kind}::" in key]


def each_was_refused_once(fleet: Fleet, package: str, said: list[str]) -> None:
    """Every resource of a plugin was refused once, was named when it was, and was made once, or once more than it was deleted."""
    state = [item for item in fleet.state() if item["type"].startswith(f"{package}:") and item["custom"] and not item.get("external")]
    there = Counter((item["type"], item["urn"].split("::", 3)[3]) for item in state)
    tries = [span for span in fleet.journal.spans(operations=["create", "delete"]) if span.type.startswith(f"{package}:")]
    refused = Counter((span.type, span.name) for span in tries if span.error and "was refused" in span.error)
    assert refused == there
    text = "".join(said)
    assert [name for kind, name in refused if f"create of {kind} {name} was refused" not in text] == []
    # What turned out broken is there, too.
    done = [span for span in tries if span.error is None or span.error.startswith(InitFailed.__name__)]
    made, deleted = (Counter((span.type, span.name) for span in done if span.operation == what) for what in ("create", "delete"))
    assert made - deleted == there
