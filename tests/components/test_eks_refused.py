"""Mistakes in an EKS stack file, each in the file of reference 000: a preview refuses it, names the key, and creates nothing.

`tests/unit/eks/test_settings.py` tests these and three times as many with the settings alone. These tests run the whole program, to
find a check that is never called.
"""

from __future__ import annotations

import copy
import importlib
from typing import TYPE_CHECKING, Any, Final

import pytest
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.fleet import TritonFleet, TritonFleetArgs
from components.stack.load import parse
from tests.components.recording import start
from tests.components.test_eks import ACCOUNT, ROOT, Mocks, stack_file

if TYPE_CHECKING:
    from collections.abc import Mapping

Change = tuple[str, object]
POOL: Final = "cluster.gpuPools.0"
KARPENTER: Final[tuple[Change, ...]] = (
    ("cluster.gpuPools", []),
    ("autoscaler", {"kind": "karpenter", "pools": [{"name": "gpu-dev", "instanceFamilies": ["g4dn"], "maxGpus": 16}]}),
)
EXISTING: Final = {"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0000000a", "subnet-0000000b"]}

REFUSED: Final[Mapping[str, tuple[tuple[Change, ...], str]]] = {
    # Numbers and machines.
    "unknown machine type": (
        ((f"{POOL}.machineType", "g4dn.13xlarge"),),
        "cluster.gpuPools[0].machineType (g4dn.13xlarge) is not a machine",
    ),
    "MIG on a GPU without MIG": (
        ((f"{POOL}.sharing", {"kind": "mig", "profile": "1g.5gb"}),),
        "cluster.gpuPools[0].sharing is mig, but the T4 of g4dn.12xlarge has no MIG",
    ),
    "desired outside min and max": (((f"{POOL}.desired", 5),), "cluster.gpuPools[0].desired (5) is not between min (0) and max (4)"),
    "min above max": (((f"{POOL}.min", 5),), "cluster.gpuPools[0].min (5) is above max (4)"),
    "public endpoint without networks": ((("cluster.endpoint", {}),), "cluster.endpoint.publicCidrs is missing"),
    "1.2 GPUs": ((("serving.0.resources.gpus", 1.2),), "serving[0].resources.gpus (1.2) must be a whole number"),
    "more replicas than the pools can ever hold": (
        (("serving.0.scaling.maxReplicas", 17),),
        "serving[0].scaling.maxReplicas (17) with 1 nvidia.com/gpu each is above the 16",
    ),
    "more GPUs a pod than a machine has": ((("serving.0.resources.gpus", 8),), "serving[0].resources.gpus (8) is more than the 4"),
    "spot with a warm floor": (
        ((f"{POOL}.capacity", "spot"), ("warmFloor", [{"pool": "gpu-dev", "pods": 1}])),
        "warmFloor[0].pool (gpu-dev) is a spot pool",
    ),
    # Reported by users (the twelve; TWELVE below has those that are not mistakes in a stack file).
    "no node for DNS": ((("cluster.cpuPool.min", 0),), "cluster.cpuPool.min (0) must be at least 1"),
    "GPU nodes in the CPU pool": (
        (("cluster.cpuPool.machineTypes", ["g6.xlarge"]),),
        "machineTypes[0] (g6.xlarge) has a GPU",
    ),
    "GPU that no image drives": (((f"{POOL}.machineType", "g7.12xlarge"),), "machineType (g7.12xlarge) needs driver 595"),
    "limited endpoint without a private one": (
        (("cluster.endpoint", {"private": False, "publicCidrs": ["203.0.113.0/24"]}),),
        "cluster.endpoint.private is false while publicCidrs limits the public endpoint",
    ),
    "nodes in public subnets": (
        (("cluster.network", {**EXISTING, "privateSubnetIds": ["subnet-0000001a", "subnet-0000000b"]}),),
        "cluster.network.privateSubnetIds names subnet-0000001a, which gives public addresses",
    ),
    "subnets of one zone": (
        (("cluster.network", {**EXISTING, "privateSubnetIds": ["subnet-0000000a", "subnet-0000002a"]}),),
        "cluster.network.privateSubnetIds are all in eu-west-1a",
    ),
    "disk key that goes away": (
        (("cluster.diskKey", f"arn:aws:kms:us-west-2:{ACCOUNT}:key/gone"),),
        "is in state PendingDeletion: it can't encrypt anything",
    ),
    "key of another region": (
        (("cluster.secretsKey", f"arn:aws:kms:eu-west-1:{ACCOUNT}:key/1"),),
        "secretsKey is a key of another",
    ),
    "who runs this as an administrator": (
        (("cluster.admins", [f"arn:aws:iam::{ACCOUNT}:role/deployer"]),),
        "cluster.admins names arn:aws:iam::111122223333:role/deployer, the principal that runs Pulumi",
    ),
    "an administrator twice": (
        (("cluster.admins", [f"arn:aws:iam::{ACCOUNT}:role/a"] * 2),),
        "role/a twice: EKS would refuse a second access entry",
    ),
    # And more.
    "unknown MIG profile": (
        ((f"{POOL}.machineType", "p4d.24xlarge"), (f"{POOL}.sharing", {"kind": "mig", "profile": "1g.6gb"})),
        "sharing.profile (1g.6gb) is not a MIG profile of A100 40 GB",
    ),
    "two shares of a GPU": (
        ((f"{POOL}.sharing", {"kind": "mps", "replicas": 4}), ("serving.0.resources.gpus", 2)),
        "serving[0].resources.gpus (2) is more than the 1 that a pod can have: a second share",
    ),
    "selector of no pool": ((("serving.0.nodeSelector", {"triton-fleet/pool": "gpu"}),), "serving[0].nodeSelector matches no GPU pool"),
    "memory that no node has": ((("serving.0.resources.memory", "192Gi"),), "serving[0].resources requests 4 CPU and 192Gi, but"),
    "capacity block without its zone": (
        ((f"{POOL}.capacity", "capacityBlock"), (f"{POOL}.capacityReservation", "cr-0a1b2c3d")),
        "cluster.gpuPools[0].capacity is capacityBlock, and a block is in one zone",
    ),
    "SSH for the world": (((f"{POOL}.ssh.sourceCidrs", ["0.0.0.0/0"]),), "cluster.gpuPools[0].ssh.sourceCidrs has 0.0.0.0/0"),
    "disk faster than its IOPS": (
        ((f"{POOL}.disk.throughput", 2000),),
        "disk.throughput (2000) is more than 6000 iops",
    ),
    "pool that never has a node": (
        ((f"{POOL}.desired", 0), ("autoscaler", {"kind": "none"})),
        "cluster.gpuPools[0] has min and desired 0 and autoscaler.kind is none",
    ),
    "version that is gone": (
        (("cluster.version", "1.20"),),
        "cluster.version (1.20) is not a Kubernetes version that EKS has GPU images for",
    ),
    "family that Karpenter does not know": (
        (*KARPENTER, ("autoscaler.pools.0.instanceFamilies", ["g4d"])),
        "autoscaler.pools[0].instanceFamilies[0] (g4d) is not an EC2 family with NVIDIA GPUs",
    ),
    "limit below one machine": (
        (*KARPENTER, ("autoscaler.pools.0.instanceFamilies", ["p4d"]), ("autoscaler.pools.0.maxGpus", 4)),
        "autoscaler.pools[0].maxGpus (4) is below the 8 GPUs of the smallest machine of p4d",
    ),
    "image of another architecture": (
        (
            ("images", [{"kind": "build", "name": "own", "context": "models", "platform": "linux/arm64"}]),
            ("serving.0.image", "own"),
        ),
        "serving[0].image (own) is built for linux/arm64, but its nodes are x86_64",
    ),
    "build without a Dockerfile": (
        (("images", [{"kind": "build", "name": "own", "context": "models"}]), ("serving.0.image", "own")),
        "images[0].dockerfile (Dockerfile) is not in models",
    ),
}

ACCESS: Final = "tests.components.test_eks_access"
TWELVE: Final = {
    "coredns before nodes": "tests.components.test_eks.test_deployments_wait_for_the_untainted_nodes_and_gpu_nodes_don_t",
    "GPU type on an image without driver": "tests.components.test_eks.test_a_gpu_group_as_aws_gets_it",
    "fixed name of a group": "tests.components.test_eks.test_a_gpu_group_as_aws_gets_it",
    "networks without a private endpoint": "tests.components.test_eks.test_the_control_plane",
    "no way out": "tests.components.test_eks.test_node_groups_wait_for_the_role_s_policies_and_the_way_out",
    "disk key without the scaling role": f"{ACCESS}.test_a_disk_key_in_a_new_account_is_refused_with_the_command_that_mends_it",
    "second access entry": "tests.components.test_eks.test_the_deployer_is_no_second_administrator",
    "provider replaced": "tests.components.test_eks.test_the_kubeconfig_has_the_profile_and_the_provider_is_pinned",
    "profile missing": "tests.components.test_eks.test_the_kubeconfig_has_the_profile_and_the_provider_is_pinned",
    "tags of the group instead of the scaling group": "tests.components.test_eks.test_a_gpu_group_as_aws_gets_it",
    "leftover load balancer": "tests.components.test_node_addons.test_what_asks_for_a_load_balancer_comes_after_the_controller",
    "ListBucket with the prefix alone": "tests.unit.eks.test_iam.test_triton_may_look_at_its_bucket_without_a_prefix",
}
"""Twelve mistakes of EKS stacks that users reported -> the test that prevents each."""


def changed(changes: tuple[Change, ...]) -> dict[str, Any]:
    raw = stack_file("Pulumi.eks-fil.yaml")
    for path, value in changes:
        here: Any = raw
        *way, last = path.split(".")
        for step in way:
            here = here[int(step)] if step.isdigit() else here[step]
        here[last] = copy.deepcopy(value)
    return raw


async def preview(raw: dict[str, Any]) -> list[str]:
    """Run the program as a preview does; return what was registered."""
    monitor = start(Mocks(), preview=True)
    try:
        TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
    except FleetError as error:
        await wait_for_rpcs()
        made = [key for key in monitor.requests if key.startswith(("aws:", "eks:", "kubernetes:", "docker-build:"))]
        raise FleetError(*error.problems, *(f"made: {key}" for key in made)) from None
    await wait_for_rpcs()
    return list(monitor.requests)


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)


@pytest.mark.parametrize("mistake", REFUSED)
async def test_it_is_refused_and_nothing_is_made(mistake: str) -> None:
    changes, says = REFUSED[mistake]
    with pytest.raises(FleetError) as caught:
        await preview(changed(changes))
    problems = tuple(map(str, caught.value.problems))
    assert not [problem for problem in problems if problem.startswith("made:")]
    (told,) = [problem for problem in problems if says in problem]
    assert told.startswith("triton-fleet:")
    assert told.endswith((".", "?")), "the remedy comes last"


def test_there_are_enough_of_them() -> None:
    assert len(REFUSED) >= 25


@pytest.mark.parametrize("mistake", TWELVE)
def test_each_of_the_twelve_has_its_test(mistake: str) -> None:
    module, _, test = TWELVE[mistake].rpartition(".")
    assert callable(getattr(importlib.import_module(module), test))


async def test_what_these_are_made_from_is_not_refused() -> None:
    assert await preview(changed(()))
    assert await preview(changed(KARPENTER))
