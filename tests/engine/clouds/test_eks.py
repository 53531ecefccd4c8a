"""Both EKS stack files under the real engine. AWS is moto behind a double of the plugin; the cluster is a control plane with kwok.

Each test runs one stack from `up` to `destroy`, because these take the time. Its steps build on one another.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.doubles.faults import Fault
from tests.doubles.nodes import forget
from tests.engine.clouds.eks import left_in_aws
from tests.engine.clouds.fleet import CommandFailedError, change
from tests.engine.clouds.karpenter import FINALIZER, NODE_CLASS, NODE_POOL, REGION, check_access, exists, karpenter_left
from tests.engine.clouds.life import (
    DEPLOYMENT,
    HPA,
    SERVICE,
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
from tests.servers import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.clouds.eks import Amazon
    from tests.engine.clouds.fleet import Fleet

pytestmark = pytest.mark.engine

GROUP = "aws:eks/nodeGroup:NodeGroup"
CLUSTER = "aws:eks/cluster:Cluster"
ADDON = "aws:eks/addon:Addon"


def delete_orphan(fleet: Fleet, aws: Amazon, region: str) -> None:
    """Delete the node group that the state does not have, as `aws eks delete-nodegroup` does."""
    client, cluster = aws.cloud.client("eks", region), fleet.outputs()["cluster"]
    known = {item["outputs"]["nodeGroupName"] for item in fleet.state() if item["type"] == GROUP}
    (orphan,) = set(client.list_nodegroups(clusterName=cluster)["nodegroups"]) - known
    client.delete_nodegroup(clusterName=cluster, nodegroupName=orphan)
    forget(fleet.doubles, f"{cluster}:{orphan}")  # its nodes, which the plugin's double registered


def gone(fleet: Fleet, aws: Amazon, region: str) -> None:
    """Check a destroy: an empty state, nothing in AWS, nothing in Kubernetes, and the right order."""
    cluster_is_empty(fleet, aws.cluster)
    assert left_in_aws(aws.cloud, region) == {}
    deleted = {span.name: span for span in fleet.journal.spans(operations=["delete"]) if span.type == CLUSTER}
    (cluster_span,) = deleted.values()
    for group in spans(fleet, GROUP, "delete"):
        assert ended(group) <= cluster_span.begin, "a group is deleted before its cluster"
    for span in [*spans(fleet, "aws:ec2/vpc:Vpc", "delete"), *spans(fleet, "aws:ec2/subnet:Subnet", "delete")]:
        assert ended(cluster_span) <= span.begin, "the network outlives what is in it"
    (nat,) = spans(fleet, "aws:ec2/natGateway:NatGateway", "delete")
    for group in spans(fleet, GROUP, "delete"):
        assert ended(group) <= nat.begin, "nodes keep their egress to the end"


def test_reference_000(aws: Amazon, tmp_path: Path) -> None:
    """Pulumi.eks-fil.yaml: up through a failure at each resource, no change, another machine type, destroy."""
    region = "us-west-2"
    fleet = aws.stack("eks-fil", tmp_path / "stack")

    # AWS refuses every resource once, a level of the graph in each `up`; the next one continues. Then the creation of the cluster
    # fails, and that of the GPU node group: the state keeps both, and docs/components/eks.md says what to do.
    fleet.faults.set(
        Fault(kind="refused", type="aws:*", each=True),
        Fault(kind="createFailed", type=CLUSTER, message="AWS could not make it"),
        Fault(kind="createFailed", type=GROUP, name="cluster-gpu-dev", message="AsgInstanceLaunchFailures: no capacity"),
    )
    mended: list[str] = []

    def mend(said: str) -> None:
        if "AWS could not make it" in said:
            assert is_kept(fleet, CLUSTER)
            fleet.destroy("--target", fleet.urn(CLUSTER), "--target-dependents")
            mended.append(CLUSTER)
        if "AsgInstanceLaunchFailures" in said:
            assert is_kept(fleet, GROUP)
            fleet.run("state", "taint", fleet.urn(GROUP, "cluster-gpu-dev"), "--yes", "--stack", fleet.stack)
            mended.append(GROUP)

    each_was_refused_once(fleet, "aws", up_again_and_again(fleet, mend))
    assert mended == [CLUSTER, GROUP]
    assert len({span.type for span in fleet.journal.spans(operations=["create"])}) > 20
    fleet.faults.clear()
    assert fleet.preview() == {}

    # The state of reference 000.
    eventually(
        lambda: [node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes(aws.cluster, "gpu-dev")],
        "two nodes with GPUs",
        lambda found: found == ["4", "4"],
    )
    # The HPA owns the number, and evaluates it every 15 s.
    eventually(lambda: ready(aws.cluster, "triton", "triton"), "two replicas", lambda count: count == 2)
    scaler = aws.cluster.api.get(HPA, "triton", "triton")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    gateway = aws.cluster.api.get(SERVICE, "istio-ingress", "triton-gateway")
    assert gateway["status"]["loadBalancer"]["ingress"]
    assert gateway["metadata"]["finalizers"] == ["service.k8s.aws/resources"]

    # Another machine type: the new group exists before the old one is deleted, so Triton always has a node.
    fleet.journal.clear()
    fleet.of("cluster")["gpuPools"][0]["machineType"] = "g5.12xlarge"
    fleet.write()
    # The plugin dies after AWS created the group, so the state lacks it: the next `up` creates another, and the first is an orphan.
    fleet.faults.set(Fault(kind="lost", type=GROUP))
    assert fleet.up(check=False).returncode
    fleet.faults.clear()
    fleet.journal.clear()
    fleet.up()
    (made,), (taken,) = spans(fleet, GROUP, "create"), spans(fleet, GROUP, "delete")
    delete_orphan(fleet, aws, region)
    assert ended(made) <= taken.begin
    assert made.name == taken.name == "cluster-gpu-dev"
    types = "node.kubernetes.io/instance-type"
    eventually(lambda: labels(aws.cluster, "gpu-dev", types), "only new nodes", lambda found: found == {"g5.12xlarge"})
    eventually(lambda: ready(aws.cluster, "triton", "triton"), "two replicas", lambda count: count == 2)
    assert fleet.preview() == {}

    fleet.journal.clear()
    fleet.destroy()
    gone(fleet, aws, region)


def test_reference_004(aws: Amazon, tmp_path: Path) -> None:
    """Pulumi.eks.yaml: up while AWS throttles, no change, one Kubernetes version up, a destroy that leftovers block for a while."""
    region = "us-east-1"
    fleet = aws.stack("eks", tmp_path / "stack")
    fleet.faults.set(
        Fault(kind="throttling", type="aws:ec2/subnet:Subnet", times=4),
        Fault(kind="throttling", type=ADDON, times=3),
        Fault(kind="throttling", type="aws:iam/role:Role", times=3),
    )
    fleet.up()
    assert fleet.faults.unused() == []
    fleet.faults.clear()
    assert fleet.preview() == {}
    eventually(lambda: ready(aws.cluster, "triton", "triton"), "the stack file's two replicas", lambda count: count == 2)
    service = aws.cluster.api.get(SERVICE, "triton", "triton")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["status"]["loadBalancer"]["ingress"]

    # One minor version up: the control plane first, then nodes and add-ons; nothing is replaced.
    fleet.journal.clear()
    version = str(fleet.of("cluster")["version"])
    above = f"{version.split('.', maxsplit=1)[0]}.{int(version.split('.')[1]) + 1}"
    fleet.of("cluster")["version"] = above
    fleet.write()
    assert not [key for key in fleet.preview() if not key.startswith("update ")]
    fleet.up()
    (plane,) = spans(fleet, CLUSTER, "update")
    for span in fleet.journal.spans(operations=["update"]):
        assert span is plane or span.type == CLUSTER or ended(plane) <= span.begin, f"{span.type} {span.name} came before the control plane"
    assert not fleet.journal.spans(operations=["create", "delete"])
    assert {span.name for span in spans(fleet, GROUP, "update")} == {"cluster-cpu"}
    client = aws.cloud.client("eks", region)
    assert client.describe_cluster(name="triton-fleet")["cluster"]["version"] == above
    (group,) = client.list_nodegroups(clusterName="triton-fleet")["nodegroups"]
    assert client.describe_nodegroup(clusterName="triton-fleet", nodegroupName=group)["nodegroup"]["version"] == above
    assert fleet.preview() == {}

    fleet.journal.clear()
    fleet.faults.set(Fault(kind="dependency", type="aws:ec2/subnet:Subnet", operation="delete", times=3))
    fleet.destroy()
    assert fleet.faults.unused() == []
    gone(fleet, aws, region)


def test_a_replaced_cluster_has_everything_that_the_old_one_had(aws: Amazon, tmp_path: Path) -> None:
    """Each property that EKS can't change: after the old cluster, or refused; never unchanged in the state and missing."""
    fleet, region = aws.stack("eks", tmp_path / "stack"), "us-east-1"
    keys = aws.cloud.client("kms", region)
    given = str(keys.create_key(KeyUsage="ENCRYPT_DECRYPT")["KeyMetadata"]["Arn"])
    eks = aws.cloud.client("eks", region)

    def key() -> str:
        """The key that EKS itself says it uses."""
        return str(eks.describe_cluster(name="triton-fleet")["cluster"]["encryptionConfig"][0]["provider"]["keyArn"])

    change(fleet, lambda fleet: fleet.of("cluster").update(deletionProtection=True, secretsKey="none"))
    fleet.up()
    before = objects(aws.cluster)
    assert len(before) > 10

    # EKS takes a key for a cluster that has none.
    change(fleet, lambda fleet: fleet.of("cluster").update(secretsKey="create"))
    fleet.journal.clear()
    fleet.up()
    assert not fleet.journal.spans(operations=["delete"])
    assert objects(aws.cluster) == before
    assert key() != given
    assert fleet.preview() == {}

    # Another key is another cluster. Protected: refused before anything is deleted.
    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster").update(secretsKey=given))
    refused = fleet.up(check=False)
    assert refused.returncode
    assert "marked for protection" in refused.stdout
    assert not fleet.journal.spans(operations=["create", "delete"])
    assert objects(aws.cluster) == before

    change(fleet, lambda fleet: fleet.of("cluster").update(secretsKey="create", deletionProtection=False))
    fleet.up()

    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster").update(secretsKey=given))
    replace_cluster(fleet, aws.cluster, CLUSTER)
    assert key() == given
    (deleted,), (made,) = spans(fleet, CLUSTER, "delete"), spans(fleet, CLUSTER, "create")
    for kind in (GROUP, ADDON):
        assert max(map(ended, spans(fleet, kind, "delete"))) <= deleted.begin, f"{kind} hangs on the cluster"
        assert made.begin <= min(span.begin for span in spans(fleet, kind, "create"))

    # Other addresses: another VPC, beside the old one until the cluster has moved.
    fleet.journal.clear()
    change(fleet, lambda fleet: fleet.of("cluster")["network"].update(cidr="10.64.0.0/16"))
    replace_cluster(fleet, aws.cluster, CLUSTER)

    # Taken down and made again.
    fleet.journal.clear()
    fleet.destroy()
    gone(fleet, aws, region)
    fleet.up()
    assert objects(aws.cluster).keys() == before.keys()
    fleet.journal.clear()
    fleet.destroy()
    gone(fleet, aws, region)
    keys.schedule_key_deletion(KeyId=given.rpartition("/")[2], PendingWindowInDays=7)  # the test's own: the tests share the account


def test_karpenter_and_keys(aws: Amazon, tmp_path: Path) -> None:
    """Karpenter and keys that the stack creates: refused in a new account, then up, no change, and a destroy in order.

    The test acts as Karpenter's finalizer.
    """
    cloud, cluster = aws.cloud, aws.cluster
    fleet = aws.stack("eks", tmp_path / "stack")
    fleet.of("cluster")["diskKey"] = "create"
    fleet.of("cluster")["logsKey"] = "create"
    pools = [{"name": name, "instanceFamilies": families, "maxGpus": 8} for name, families in (("gpu", ["g5", "g6"]), ("big", ["p4d"]))]
    fleet.settings["triton-fleet:autoscaler"] = {"kind": "karpenter", "pools": pools}
    fleet.write()

    # A new account lacks the role of scaling groups, which the disk key's policy names.
    iam = cloud.client("iam", REGION)
    if not [role for role in iam.list_roles()["Roles"] if role["RoleName"] == "AWSServiceRoleForAutoScaling"]:
        with pytest.raises(CommandFailedError, match="aws iam create-service-linked-role --aws-service-name autoscaling"):
            fleet.preview()
        iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")

    fleet.up()
    assert fleet.preview() == {}

    check_access(cloud, cluster)

    # The last node of a class terminates slowly; Karpenter stays until then.
    cluster.api.patch(NODE_CLASS, "", "gpu", [{"op": "add", "path": "/metadata/finalizers", "value": [FINALIZER]}])
    fleet.journal.clear()
    outcome: list[int] = []
    destroy = threading.Thread(target=lambda: outcome.append(fleet.destroy(check=False).returncode))
    destroy.start()
    try:
        eventually(lambda: "deletionTimestamp" in cluster.api.get(NODE_CLASS, "", "gpu")["metadata"], "a class that is being deleted")
        assert not exists(cluster, NODE_POOL, "", "gpu"), "pools are deleted before their class"
        assert not exists(cluster, DEPLOYMENT, "triton", "triton"), "Triton is deleted before its nodes"
        assert exists(cluster, DEPLOYMENT, "kube-system", "karpenter"), "Karpenter outlives its nodes"
    finally:
        cluster.api.patch(NODE_CLASS, "", "gpu", [{"op": "remove", "path": "/metadata/finalizers"}])
        destroy.join()
    assert outcome == [0]
    gone(fleet, aws, REGION)
    assert karpenter_left(cloud) == {}
    for kind in ("aws:sqs/queue:Queue", "aws:eks/accessEntry:AccessEntry", "aws:iam/instanceProfile:InstanceProfile"):
        assert spans(fleet, kind, "delete")
