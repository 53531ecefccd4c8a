"""Both EKS stack files, whole, under the real engine: AWS is moto behind a double of the plugin, the cluster a control plane with kwok.

Each test is one stack's life, because a life is what takes time: its steps build on one another, and each says what it checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local.plugins.kubernetes.naming import Kind
from tests.doubles.cluster.nodes import GROUP_LABEL
from tests.doubles.faults import Fault
from tests.engine.clouds.eks import eks_environment, eks_fleet
from tests.engine.conftest import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.doubles.aws.cloud import Cloud
    from tests.doubles.cluster import ClusterDouble
    from tests.doubles.faults import Span
    from tests.engine.clouds.fleet import Fleet

pytestmark = pytest.mark.engine

NODE = Kind("", "v1", "Node")
POD = Kind("", "v1", "Pod")
NAMESPACE = Kind("", "v1", "Namespace")
SERVICE = Kind("", "v1", "Service")
DEPLOYMENT = Kind("apps", "v1", "Deployment")
HPA = Kind("autoscaling", "v2", "HorizontalPodAutoscaler")
STORAGE_CLASS = Kind("storage.k8s.io", "v1", "StorageClass")
RELEASE = "owner=helm"
SECRET = Kind("", "v1", "Secret")
OWN_NAMESPACES = {"default", "kube-node-lease", "kube-public", "kube-system"}
GROUP = "aws:eks/nodeGroup:NodeGroup"
CLUSTER = "aws:eks/cluster:Cluster"
ADDON = "aws:eks/addon:Addon"


@pytest.fixture(scope="session")
def aws(  # noqa: PLR0917  # fixtures
    cluster_double: ClusterDouble,
    pulumi_cli: Path,
    helm: Path,
    clouds_home: Path,
    doubles_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Cloud, dict[str, str]]]:
    with eks_environment(
        cluster=cluster_double,
        cli=pulumi_cli,
        helm=helm,
        home=clouds_home,
        doubles=doubles_folder,
        scratch=tmp_path_factory.mktemp("eks"),
    ) as found:
        yield found


def spans(fleet: Fleet, kind: str, operation: str, name: str = "") -> list[Span]:
    """What the double did to a kind of resource, as the journal has it."""
    return [span for span in fleet.journal.spans() if span.type == kind and span.operation == operation and (not name or span.name == name)]


def ended(span: Span) -> float:
    assert span.end is not None, f"{span.operation} of {span.name} never ended"
    assert span.error is None, span.error
    return span.end


def left_in_aws(cloud: Cloud, region: str) -> dict[str, list[str]]:
    """All that a stack makes, and that is still there. Each VPC of moto's own, its parts, and AWS' own policies don't count."""
    ec2, eks, iam = cloud.client("ec2", region), cloud.client("eks", region), cloud.client("iam", region)
    ours = [item["VpcId"] for item in ec2.describe_vpcs()["Vpcs"] if not item["IsDefault"]]
    inside = [{"Name": "vpc-id", "Values": ours}]
    found: dict[str, list[str]] = {
        "vpcs": ours,
        "subnets": [item["SubnetId"] for item in ec2.describe_subnets(Filters=inside)["Subnets"]] if ours else [],
        "nat": [item["NatGatewayId"] for item in ec2.describe_nat_gateways()["NatGateways"] if item["State"] != "deleted"],
        "addresses": [item["AllocationId"] for item in ec2.describe_addresses()["Addresses"]],
        "templates": [item["LaunchTemplateName"] for item in ec2.describe_launch_templates()["LaunchTemplates"]],
        "interfaces": [item["NetworkInterfaceId"] for item in ec2.describe_network_interfaces()["NetworkInterfaces"]],
        "clusters": eks.list_clusters()["clusters"],
        "roles": [item["RoleName"] for item in iam.list_roles()["Roles"] if not item["Path"].startswith("/aws-service-role/")],
        "policies": [item["PolicyName"] for item in iam.list_policies(Scope="Local")["Policies"]],
        "oidc": [item["Arn"] for item in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]],
        "scaling": [
            item["AutoScalingGroupName"] for item in cloud.client("autoscaling", region).describe_auto_scaling_groups()["AutoScalingGroups"]
        ],
        "images": [item["repositoryName"] for item in cloud.client("ecr", region).describe_repositories()["repositories"]],
        "logs": [item["logGroupName"] for item in cloud.client("logs", region).describe_log_groups()["logGroups"]],
        "buckets": [item["Name"] for item in cloud.client("s3", region).list_buckets()["Buckets"]],
    }
    return {kind: names for kind, names in found.items() if names}


def left_in_kubernetes(cluster: ClusterDouble) -> dict[str, list[str]]:
    """Namespaces, workloads and releases that a stack made. CRDs stay on purpose (docs/components/istio.md, prometheus.md)."""
    api = cluster.api
    found = {
        "namespaces": [item["metadata"]["name"] for item in api.list(NAMESPACE) if item["metadata"]["name"] not in OWN_NAMESPACES],
        "deployments": [item["metadata"]["name"] for item in api.list(DEPLOYMENT)],
        "services": [item["metadata"]["name"] for item in api.list(SERVICE) if item["metadata"]["name"] != "kubernetes"],
        "releases": [item["metadata"]["name"] for item in api.list(SECRET, labels=RELEASE)],
        "classes": [item["metadata"]["name"] for item in api.list(STORAGE_CLASS)],
    }
    return {kind: names for kind, names in found.items() if names}


def nodes(cluster: ClusterDouble, pool: str) -> list[dict[str, Any]]:
    return cluster.api.list(NODE, labels=f"{GROUP_LABEL},triton-fleet/pool={pool}")


def machines(cluster: ClusterDouble, pool: str) -> set[str]:
    return {node["metadata"]["labels"]["node.kubernetes.io/instance-type"] for node in nodes(cluster, pool)}


def ready(cluster: ClusterDouble, namespace: str, name: str) -> int:
    return int((cluster.api.get(DEPLOYMENT, namespace, name).get("status") or {}).get("readyReplicas") or 0)


def gone(fleet: Fleet, cloud: Cloud, cluster: ClusterDouble, region: str) -> None:
    """After a destroy: an empty state, nothing in AWS, nothing in Kubernetes, and it went in the right order."""
    assert fleet.state() == []
    assert left_in_aws(cloud, region) == {}
    assert left_in_kubernetes(cluster) == {}
    eventually(lambda: not cluster.api.list(NODE, labels=GROUP_LABEL))
    deleted = {span.name: span for span in fleet.journal.spans(operations=["delete"]) if span.type == CLUSTER}
    (cluster_span,) = deleted.values()
    for group in spans(fleet, GROUP, "delete"):
        assert ended(group) <= cluster_span.begin, "a group goes before its cluster"
    for span in [*spans(fleet, "aws:ec2/vpc:Vpc", "delete"), *spans(fleet, "aws:ec2/subnet:Subnet", "delete")]:
        assert ended(cluster_span) <= span.begin, "the network outlives what is in it"
    (nat,) = spans(fleet, "aws:ec2/natGateway:NatGateway", "delete")
    for group in spans(fleet, GROUP, "delete"):
        assert ended(group) <= nat.begin, "nodes keep their way out to the end"


def test_reference_000(aws: tuple[Cloud, dict[str, str]], cluster_double: ClusterDouble, doubles_folder: Path, tmp_path: Path) -> None:
    """Pulumi.eks-fil.yaml: up through a failure at each type of resource, no change, another machine type, destroy."""
    cloud, environment = aws
    region = "us-west-2"
    fleet = eks_fleet("eks-fil", tmp_path / "stack", environment, doubles_folder)
    fleet.journal.clear()

    # Every type of resource of AWS' is refused once, wherever the engine comes to first; each `up` goes on from what the last one left.
    types = sorted({key.split(" ", 1)[1].split("::")[0].rsplit("$", 1)[-1] for key in fleet.preview() if key.startswith("create ")})
    types = [kind for kind in types if kind.startswith("aws:")]
    assert len(types) > 20
    fleet.faults.set(*(Fault(kind="refused", type=kind) for kind in types))
    attempts = 0
    while fleet.up("--continue-on-error", check=False).returncode:
        attempts += 1
        assert attempts <= len(types) + 1, "each failure happens once"
    assert fleet.faults.unused() == []
    assert attempts > 2
    fleet.faults.clear()
    assert fleet.preview() == {}

    # What reference 000 has.
    assert len(nodes(cluster_double, "gpu-dev")) == 2
    assert all(node["status"]["allocatable"]["nvidia.com/gpu"] == "4" for node in nodes(cluster_double, "gpu-dev"))
    eventually(lambda: ready(cluster_double, "triton", "triton") == 2, timeout_s=60)  # the autoscaler owns the number, and looks every 15 s
    scaler = cluster_double.api.get(HPA, "triton", "triton")["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (2, 6)
    gateway = cluster_double.api.get(SERVICE, "istio-ingress", "triton-gateway")
    assert gateway["status"]["loadBalancer"]["ingress"]
    assert gateway["metadata"]["finalizers"] == ["service.k8s.aws/resources"]

    # Another machine type: the new group is there before the old one goes, and Triton is never without a node.
    fleet.journal.clear()
    fleet.of("cluster")["gpuPools"][0]["machineType"] = "g5.12xlarge"
    fleet.write()
    fleet.up()
    (made,), (taken,) = spans(fleet, GROUP, "create"), spans(fleet, GROUP, "delete")
    assert ended(made) <= taken.begin
    assert made.name == taken.name == "cluster-gpu-dev"
    eventually(
        lambda: (
            {node["metadata"]["labels"]["node.kubernetes.io/instance-type"] for node in nodes(cluster_double, "gpu-dev")} == {"g5.12xlarge"}
        )
    )
    eventually(lambda: ready(cluster_double, "triton", "triton") == 2, timeout_s=60)
    assert fleet.preview() == {}

    fleet.journal.clear()
    fleet.destroy()
    gone(fleet, cloud, cluster_double, region)


def test_reference_004(aws: tuple[Cloud, dict[str, str]], cluster_double: ClusterDouble, doubles_folder: Path, tmp_path: Path) -> None:
    """Pulumi.eks.yaml: up while AWS throttles, no change, one Kubernetes version up, a destroy that leftovers block for a while."""
    cloud, environment = aws
    region = "us-east-1"
    fleet = eks_fleet("eks", tmp_path / "stack", environment, doubles_folder)
    fleet.journal.clear()
    fleet.faults.set(
        Fault(kind="throttling", type="aws:ec2/subnet:Subnet", times=4),
        Fault(kind="throttling", type=ADDON, times=3),
        Fault(kind="throttling", type="aws:iam/role:Role", times=3),
    )
    fleet.up()
    assert fleet.faults.unused() == []
    fleet.faults.clear()
    assert fleet.preview() == {}
    assert ready(cluster_double, "triton", "triton") == 1
    service = cluster_double.api.get(SERVICE, "triton", "triton")
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["status"]["loadBalancer"]["ingress"]

    # One minor up: the control plane first, nodes and add-ons after it, and nothing is replaced.
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
    client = cloud.client("eks", region)
    assert client.describe_cluster(name="triton-fleet")["cluster"]["version"] == above
    (group,) = client.list_nodegroups(clusterName="triton-fleet")["nodegroups"]
    assert client.describe_nodegroup(clusterName="triton-fleet", nodegroupName=group)["nodegroup"]["version"] == above
    assert fleet.preview() == {}

    fleet.journal.clear()
    fleet.faults.set(Fault(kind="dependency", type="aws:ec2/subnet:Subnet", operation="delete", times=3))
    fleet.destroy()
    assert fleet.faults.unused() == []
    gone(fleet, cloud, cluster_double, region)
