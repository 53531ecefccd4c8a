"""Which settings an EKS stack accepts, and the messages about those that it refuses."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.base.errors import FleetError
from components.eks.settings.cluster import EksClusterSettings
from components.eks.settings.node_groups import architecture
from components.stack.load import parse, warnings

ROOT = Path(__file__).resolve().parents[3]

GOOD: dict[str, Any] = {
    "cluster": {
        "provider": "eks",
        "region": "eu-west-1",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "gpu", "machineType": "g6.xlarge", "max": 4}],
    },
    "autoscaler": {"kind": "clusterAutoscaler"},
    "repository": {"bucket": "models"},
    "serving": [{"name": "triton", "image": "tritonserver:1", "resources": {"cpu": "2", "memory": "8Gi"}, "scaling": {"maxReplicas": 4}}],
}
POOL = ("cluster", "gpuPools", 0)


def changed(*changes: tuple[tuple[str | int, ...], object]) -> dict[str, Any]:
    """Return GOOD with values set; the position ``+`` appends to a list."""
    raw = copy.deepcopy(GOOD)
    for path, value in changes:
        here: Any = raw
        for step in path[:-1]:
            here = here.setdefault(step, {}) if isinstance(here, dict) else here[step]
        if path[-1] == "+":
            here.append(value)
        else:
            here[path[-1]] = value
    return raw


def pool(**values: object) -> tuple[tuple[tuple[str | int, ...], object], ...]:
    return tuple(((*POOL, key), value) for key, value in values.items())


def cluster(**values: object) -> tuple[tuple[tuple[str | int, ...], object], ...]:
    return tuple((("cluster", key), value) for key, value in values.items())


def karpenter(**values: object) -> tuple[tuple[tuple[str | int, ...], object], ...]:
    """Return a pool of Karpenter's instead of the node group."""
    started = {"name": "k", "maxGpus": 4, **values}
    return (*cluster(gpuPools=[]), (("autoscaler",), {"kind": "karpenter", "pools": [started]}))


NGC = "nvcr.io/nvidia/tritonserver:26.07-py3"
REGISTRY = cluster(imageRepository={"name": "triton"})


def images(**values: object) -> tuple[tuple[tuple[str | int, ...], object], ...]:
    """Return an image that the stack builds or mirrors."""
    return ((("images",), [{"name": "own", **values}]),)


def test_images_of_ones_own_are_good() -> None:
    settings = parse(changed(*images(kind="mirror", source=NGC), *REGISTRY, (("serving", 0, "image"), "own")))
    assert [image.name for image in settings.images] == ["own"]


def test_karpenter_alone_is_good() -> None:
    settings = parse(changed(*karpenter()))
    assert settings.autoscaler.kind == "karpenter"
    (started,) = settings.autoscaler.pools
    assert max(machine.gpus for machine in started.machines) == 4, "no machine with more GPUs than the pool may have"


def test_the_example_is_good() -> None:
    settings = parse(GOOD).cluster
    assert isinstance(settings, EksClusterSettings)
    assert settings.gpu_pools[0].machine.gpu.name == "L4"


@pytest.mark.parametrize("name", ["Pulumi.eks.yaml", "Pulumi.eks-fil.yaml"])
def test_the_stack_files_are_good(name: str) -> None:
    content = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    settings = parse({key.removeprefix("triton-fleet:"): value for key, value in content["config"].items()})
    assert isinstance(settings.cluster, EksClusterSettings)


def test_reference_000_is_all_there() -> None:
    content = yaml.safe_load((ROOT / "Pulumi.eks-fil.yaml").read_text(encoding="utf-8"))
    settings = parse({key.removeprefix("triton-fleet:"): value for key, value in content["config"].items()})
    assert isinstance(settings.cluster, EksClusterSettings)
    (gpu,) = settings.cluster.gpu_pools
    assert (gpu.machine_type, gpu.min, gpu.desired, gpu.max) == ("g4dn.12xlarge", 0, 2, 4)
    assert gpu.ssh is not None
    assert settings.prometheus.node_port == 30090
    assert (settings.dcgm.scrape, settings.dcgm.interval) == ("job", 1)
    (entry,) = settings.serving
    assert (entry.scaling.min_replicas, entry.scaling.max_replicas) == (2, 6)
    assert [(metric.kind, metric.target) for metric in entry.scaling.metrics] == [("gpuUtilization", 80)]
    assert settings.ingress.kind == "istio"
    assert settings.ingress.injection


BAD: list[tuple[str, tuple[tuple[tuple[str | int, ...], object], ...], str]] = [
    # Machines
    (
        "unknown machine",
        pool(machineType="g6.3xlarge"),
        "triton-fleet:cluster.gpuPools[0].machineType (g6.3xlarge) is not a machine type with GPUs: its nodes could not be created.",
    ),
    ("misspelt family", pool(machineType="g4d.xlarge"), "Did you mean g4dn.xlarge?"),
    (
        "fraction of a GPU",
        pool(machineType="g6f.xlarge"),
        "gpuPools[0].machineType (g6f.xlarge) is not supported: it has a fraction of an L4",
    ),
    ("driver too old", pool(machineType="g7.2xlarge"), "machineType (g7.2xlarge) needs driver 595, but the EKS AMIs have 580"),
    ("other cloud's", pool(machineType="g2-standard-4"), "(g2-standard-4) is not a machine type with GPUs"),
    (
        "GPU in the CPU pool",
        cluster(cpuPool={"machineTypes": ["g6.xlarge"]}),
        "cpuPool.machineTypes[0] (g6.xlarge) has a GPU: it would cost money",
    ),
    ("no instance type", cluster(cpuPool={"machineTypes": ["large"]}), "cpuPool.machineTypes[0] (large) is not an EC2 instance type"),
    (
        "two architectures",
        cluster(cpuPool={"machineTypes": ["m7i.large", "m7g.large"]}),
        "triton-fleet:cluster.cpuPool.machineTypes mixes x86-64 and Arm",
    ),
    # Sharing
    (
        "MIG without MIG",
        pool(sharing={"kind": "mig", "profile": "1g.5gb"}),
        "triton-fleet:cluster.gpuPools[0].sharing is mig, but the L4 of g6.xlarge has no MIG",
    ),
    (
        "unknown profile",
        pool(machineType="p4d.24xlarge", sharing={"kind": "mig", "profile": "1g.6gb"}),
        "gpuPools[0].sharing.profile (1g.6gb) is not a MIG profile of A100 40 GB: no slice would ever appear. Did you mean 1g.5gb?",
    ),
    (
        "MIG that Bottlerocket has not",
        pool(machineType="p6-b200.48xlarge", os="bottlerocket", sharing={"kind": "mig", "profile": "1g.23gb"}),
        "gpuPools[0].sharing is mig, which Bottlerocket does not support on B200",
    ),
    ("shared by one", pool(sharing={"kind": "timeSlicing", "replicas": 1}), "gpuPools[0].sharing.replicas (1) must be at least 2"),
    ("no kind", pool(sharing={"replicas": 2}), "triton-fleet:cluster.gpuPools[0].sharing has no kind"),
    ("unknown kind", pool(sharing={"kind": "timeslicing", "replicas": 2}), "Did you mean timeSlicing?"),
    # Numbers
    (
        "desired above max",
        pool(desired=5),
        "triton-fleet:cluster.gpuPools[0].desired (5) is not between min (0) and max (4): the pool could never be created.",
    ),
    ("desired below min", pool(min=2, desired=1), "gpuPools[0].desired (1) is not between min (2) and max (4)"),
    (
        "min above max",
        pool(min=5),
        "triton-fleet:cluster.gpuPools[0].min (5) is above max (4): the pool could never be created. Lower min or raise max.",
    ),
    ("no nodes for DNS", cluster(cpuPool={"min": 0}), "triton-fleet:cluster.cpuPool.min (0) must be at least 1"),
    (
        "pool that never has a node",
        ((("autoscaler",), {"kind": "none"}),),
        "triton-fleet:cluster.gpuPools[0] has min and desired 0 and autoscaler.kind is none",
    ),
    # Capacity
    (
        "block without id",
        pool(capacity="capacityBlock", zones=["eu-west-1a"]),
        "gpuPools[0].capacityReservation is missing: capacity is capacityBlock",
    ),
    ("id without block", pool(capacityReservation="cr-0a1b2c3d"), "gpuPools[0].capacityReservation would be ignored: capacity is onDemand"),
    (
        "block in all zones",
        pool(capacity="capacityBlock", capacityReservation="cr-0a1b2c3d"),
        "gpuPools[0].capacity is capacityBlock, and a block is in one zone",
    ),
    (
        "spot with a floor",
        (*pool(capacity="spot"), (("warmFloor",), [{"pool": "gpu", "pods": 1}])),
        "triton-fleet:warmFloor[0].pool (gpu) is a spot pool: EC2 reclaims spot nodes",
    ),
    (
        "drain longer than spot's notice",
        (*pool(capacity="spot"), (("serving", 0, "drain"), {"exitTimeout": "5m"})),
        "triton-fleet:serving[0].drain takes 315 s (preStop and exitTimeout), and spot nodes are reclaimed 120 s after their warning",
    ),
    (
        "floor above the pool",
        ((("warmFloor",), [{"pool": "gpu", "pods": 9}]),),
        "triton-fleet:warmFloor[0].pods (9) is above the 4 that pool gpu can hold",
    ),
    (
        "floor of no pool",
        ((("warmFloor",), [{"pool": "gpus", "pods": 1}]),),
        "triton-fleet:warmFloor[0].pool (gpus) is not a pool of cluster.gpuPools",
    ),
    # Karpenter
    (
        "group that Karpenter never grows",
        ((("autoscaler",), {"kind": "karpenter", "pools": [{"name": "k", "maxGpus": 4}]}),),
        "triton-fleet:cluster.gpuPools[0] has min and desired 0 and autoscaler.kind is karpenter: it would never have a node. Raise",
    ),
    ("unknown family", karpenter(instanceFamilies=["g9"]), "pools[0].instanceFamilies[0] (g9) is not an EC2 family with NVIDIA GPUs"),
    ("machine for family", karpenter(instanceFamilies=["g6.xlarge"]), "instanceFamilies[0] (g6.xlarge) is a machine type"),
    (
        "fraction for Karpenter",
        karpenter(instanceFamilies=["g6f"]),
        "instanceFamilies[0] (g6f) is not supported: it has a fraction of an L4",
    ),
    ("driver too old for Karpenter", karpenter(instanceFamilies=["g7"]), "instanceFamilies[0] (g7) needs driver 595"),
    ("other architecture", karpenter(instanceFamilies=["g5g"]), "instanceFamilies[0] (g5g) is not amd64: no node of it would ever start."),
    (
        "fewer GPUs than a machine has",
        karpenter(instanceFamilies=["p4d"], maxGpus=4),
        "triton-fleet:autoscaler.pools[0].maxGpus (4) is below the 8 GPUs of the smallest machine of p4d",
    ),
    ("no limit", karpenter(maxGpus=0), "triton-fleet:autoscaler.pools[0].maxGpus (0) must be at least 1"),
    (
        "more replicas than the limit",
        karpenter(maxGpus=3),
        "is above the 3 that the pools can hold: the rest would stay pending. Low",
    ),
    (
        "more GPUs than a machine of Karpenter's",
        (*karpenter(instanceFamilies=["gr6"]), (("serving", 0, "resources", "gpus"), 2)),
        "triton-fleet:serving[0].resources.gpus (2) is more than the 1 that a pod can have: a pod can't span nodes.",
    ),
    (
        "slices of Karpenter",
        (*karpenter(), (("serving", 0, "resources", "gpuResource"), "nvidia.com/mig-1g.5gb")),
        "resources.gpuResource (nvidia.com/mig-1g.5gb) is in no pool",
    ),
    ("reserved without id", karpenter(capacityTypes=["reserved"]), "triton-fleet:autoscaler.pools[0].capacityReservations is missing"),
    ("id without reserved", karpenter(capacityReservations=["cr-0a1b2c3d"]), "pools[0].capacityReservations would be ignored"),
    (
        "snapshot without a volume of its own",
        karpenter(disk={"snapshot": "snap-0a1b2c3d"}),
        "triton-fleet:autoscaler.pools[0].disk.snapshot would be ignored: only Bottlerocket",
    ),
    ("image that moves", (*karpenter(), (("autoscaler", "amiAlias"), "al2023@latest")), "autoscaler.amiAlias (al2023@latest) changes by"),
    (
        "one node for Karpenter",
        (*karpenter(), *cluster(cpuPool={"min": 1})),
        "triton-fleet:cluster.cpuPool.min (1) leaves one node for Karpenter's two replicas, which never share one",
    ),
    ("name that no queue can have", (*karpenter(), *cluster(name="n" * 81)), "triton-fleet:cluster.name has 81 characters: Karpenter's"),
    (
        "name of a node group",
        (*karpenter(name="gpu"), *cluster(gpuPools=[{"name": "gpu", "machineType": "g6.xlarge", "min": 1}])),
        "triton-fleet:autoscaler.pools[0].name (gpu) is also the name of a node group's pool",
    ),
    (
        "floor on Karpenter's spot",
        (*karpenter(capacityTypes=["spot"]), (("warmFloor",), [{"pool": "k", "pods": 1}])),
        "triton-fleet:warmFloor[0].pool (k) is a spot pool",
    ),
    (
        "floor above Karpenter's limit",
        (*karpenter(), (("warmFloor",), [{"pool": "k", "pods": 9}])),
        "triton-fleet:warmFloor[0].pods (9) is above the 4 that pool k can hold: the rest would stay pending. Lower it or raise",
    ),
    # Images
    ("images without a registry", images(kind="mirror", source=NGC), "triton-fleet:images need a registry, and this stack creates"),
    (
        "image of the other architecture",
        (*images(kind="build", context="image", platform="linux/arm64"), *REGISTRY, (("serving", 0, "image"), "own")),
        "triton-fleet:serving[0].image (own) is built for linux/arm64, but its nodes are x86_64: its pods would end with an exec format er",
    ),
    (
        "misspelt image",
        (*images(kind="mirror", source=NGC), *REGISTRY, (("serving", 0, "image"), "onw")),
        "triton-fleet:serving[0].image (onw) is neither a name in images nor a reference with a tag: it can't be pulled. Did you mean own?",
    ),
    ("mirror of a moving tag", images(kind="mirror", source="nvcr.io/nvidia/tritonserver:latest"), "images[0].source (nvcr.io/nvidia/tri"),
    ("mirror without registry", images(kind="mirror", source="tritonserver:1"), "(tritonserver:1) must be an image reference with a reg"),
    ("Dockerfile outside", images(kind="build", context="image", dockerfile="../Dockerfile"), "dockerfile (../Dockerfile) is outside"),
    (
        "two images of a name",
        (*images(kind="mirror", source=NGC), (("images", "+"), {"name": "own", "kind": "mirror", "source": NGC}), *REGISTRY),
        "triton-fleet:images[1].name (own) is images[0]'s name too",
    ),
    # Pods against pools
    ("1.2 GPUs", ((("serving", 0, "resources", "gpus"), 1.2),), "triton-fleet:serving[0].resources.gpus (1.2) must be a whole number"),
    (
        "more replicas than nodes",
        ((("serving", 0, "scaling"), {"maxReplicas": 5}),),
        "triton-fleet:serving[0].scaling.maxReplicas (5) with 1 nvidia.com/gpu each is above the 4 that the pools can hold",
    ),
    (
        "more GPUs than a node",
        ((("serving", 0, "resources", "gpus"), 2),),
        "triton-fleet:serving[0].resources.gpus (2) is more than the 1 that a pod can have: a pod can't span nodes.",
    ),
    (
        "two shares of a GPU",
        (*pool(sharing={"kind": "mps", "replicas": 4}), (("serving", 0, "resources", "gpus"), 2)),
        "a second share is not a second GPU",
    ),
    (
        "slices that no pool has",
        ((("serving", 0, "resources", "gpuResource"), "nvidia.com/mig-1g.5gb"),),
        "triton-fleet:serving[0].resources.gpuResource (nvidia.com/mig-1g.5gb) is in no pool: the pods would stay pending. Choo",
    ),
    (
        "GPU without pools",
        cluster(gpuPools=[]),
        "triton-fleet:serving[0].resources.gpus (1) needs a GPU node and cluster.gpuPools has none",
    ),
    (
        "more CPU than a node",
        ((("serving", 0, "resources", "cpu"), "4"),),
        "triton-fleet:serving[0].resources requests 4 CPU and 8Gi, but g6.xlarge has 3640m CPU and 14998Mi for pods",
    ),
    (
        "selector of no pool",
        ((("serving", 0, "nodeSelector"), {"triton-fleet/pool": "gpus"}),),
        "triton-fleet:serving[0].nodeSelector matches no GPU pool",
    ),
    # Network and access
    (
        "public to all by omission",
        cluster(endpoint={}),
        "triton-fleet:cluster.endpoint.publicCidrs is missing: the public endpoint would be open to the whole internet.",
    ),
    (
        "limited without a private one",
        cluster(endpoint={"private": False, "publicCidrs": ["203.0.113.0/24"]}),
        "triton-fleet:cluster.endpoint.private is false while publicCidrs limits the public endpoint: nodes could not reach the API",
    ),
    (
        "no endpoint",
        cluster(endpoint={"private": False, "public": False}),
        "triton-fleet:cluster.endpoint.private and public are both false",
    ),
    (
        "networks of none",
        cluster(endpoint={"public": False, "publicCidrs": ["203.0.113.0/24"]}),
        "triton-fleet:cluster.endpoint.publicCidrs would be ignored: public is false",
    ),
    (
        "host bits",
        cluster(endpoint={"publicCidrs": ["203.0.113.7/24"]}),
        "triton-fleet:cluster.endpoint.publicCidrs[0] (203.0.113.7/24) is not an IPv4 network: it would be rejected. Clear the host",
    ),
    (
        "VPC too small",
        cluster(network={"kind": "create", "cidr": "10.0.0.0/24"}),
        "triton-fleet:cluster.network.cidr (10.0.0.0/24) is not a /16 to a /21",
    ),
    (
        "one zone",
        cluster(network={"kind": "create", "zones": ["eu-west-1a"]}),
        "triton-fleet:cluster.network.zones names 1: EKS needs subnets in at least 2 zones",
    ),
    (
        "zone of another region",
        cluster(network={"kind": "create", "zones": ["eu-west-1a", "eu-west-2a"]}),
        "triton-fleet:cluster.network.zones names eu-west-2a, which is not in eu-west-1",
    ),
    (
        "pool in a zone without subnet",
        (*cluster(network={"kind": "create", "zones": ["eu-west-1a", "eu-west-1b"]}), *pool(zones=["eu-west-1c"])),
        "triton-fleet:cluster.gpuPools[0].zones names eu-west-1c, where the network has no subnet",
    ),
    (
        "one existing subnet",
        cluster(network={"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0a1b2c3d"]}),
        "network.privateSubnetIds",
    ),
    (
        "no subnet id",
        cluster(network={"kind": "existing", "vpcId": "vpc-0a1b2c3d", "privateSubnetIds": ["subnet-0a1b2c3d", "sn-2"]}),
        "triton-fleet:cluster.network.privateSubnetIds[1] (sn-2) is not a subnet id",
    ),
    (
        "private and public",
        cluster(
            network={
                "kind": "existing",
                "vpcId": "vpc-0a1b2c3d",
                "privateSubnetIds": ["subnet-0a1b2c3d", "subnet-0a1b2c3e"],
                "publicSubnetIds": ["subnet-0a1b2c3d"],
            }
        ),
        "names subnet-0a1b2c3d, which privateSubnetIds names too",
    ),
    (
        "SSH for the world",
        pool(ssh={"key": "k", "sourceCidrs": ["0.0.0.0/0"]}),
        "triton-fleet:cluster.gpuPools[0].ssh.sourceCidrs has 0.0.0.0/0",
    ),
    ("EFA in all zones", pool(machineType="p4d.24xlarge", efa=True), "gpuPools[0].efa is true, and its placement group is in one zone"),
    ("EFA where there is none", pool(efa=True, zones=["eu-west-1a"]), "gpuPools[0].efa is true, and g6.xlarge has no EFA"),
    # The rest
    (
        "zone for region",
        cluster(region="eu-west-1a"),
        "triton-fleet:cluster.region (eu-west-1a) is not an AWS region: nothing could be created in it. Write the region of that zone,",
    ),
    ("old version", cluster(version="1.20"), "triton-fleet:cluster.version (1.20) is not a Kubernetes version that EKS has GPU images for"),
    (
        "version as a number",
        cluster(version=1.35),
        "triton-fleet:cluster.version (1.35) must be a string: it can't be read. Write a string, in quotes",
    ),
    ("no release", pool(release="v1.35"), "triton-fleet:cluster.gpuPools[0].release (v1.35) is not a release of al2023's image"),
    (
        "release of the other image",
        pool(os="bottlerocket", release="1.35.0-2026071"),
        "triton-fleet:cluster.gpuPools[0].release (1.35.0-2026071) is not a release of bottlerocket's image",
    ),
    (
        "release of another version",
        cluster(cpuPool={"release": "1.34.2-20260715"}),
        "triton-fleet:cluster.cpuPool.release (1.34.2-20260715) is an image of another Kubernetes version than 1.35",
    ),
    (
        "key of another region",
        cluster(secretsKey="arn:aws:kms:us-east-1:111122223333:key/1"),
        "triton-fleet:cluster.secretsKey is a key of another region",
    ),
    ("alias for a key", cluster(diskKey="alias/disks"), "triton-fleet:cluster.diskKey (alias/disks) is not an ARN of a KMS key"),
    (
        "admin twice",
        cluster(admins=["arn:aws:iam::111122223333:role/a"] * 2),
        "triton-fleet:cluster.admins names arn:aws:iam::111122223333:role/a twice",
    ),
    (
        "two pools of a name",
        ((("cluster", "gpuPools", "+"), {"name": "gpu", "machineType": "g5.xlarge"}),),
        "triton-fleet:cluster.gpuPools[1].name (gpu) is gpuPools[0]'s name too",
    ),
    ("name of the CPU pool", pool(name="cpu"), "triton-fleet:cluster.gpuPools[0].name (cpu) is the name of the pool without GPUs"),
    # Names
    ("pool too long", pool(name="p" * 48), f"gpuPools[0].name ({'p' * 48}) has more than 47 characters, which EKS' limit of 63"),
    (
        "pool too long with zones",
        pool(name="p" * 37, perZone=True),
        "has more than 36 characters, which EKS' limit of 63 leaves beside the",
    ),
    (
        "serving too long",
        ((("serving", 0, "name"), "s" * 54),),
        "must have at most 53 characters: it would be rejected.",
    ),
    ("label with a space", pool(labels={"team": "a b"}), "gpuPools[0].labels has team: a b, which is not a label"),
    ("label of 64", cluster(cpuPool={"labels": {"k" * 64: "v"}}), "cpuPool.labels has kkkk"),
    ("key of 64", pool(labels={f"example.com/{'k' * 60}": "v"}), "and EKS wants keys of at most 63 characters"),
    ("label without value", pool(labels={"team": ""}), "values that are not empty"),
    ("Karpenter's label", karpenter(labels={"team": "a b"}), "autoscaler.pools[0].labels has team: a b, which is not a label"),
    ("tag of AWS", cluster(tags={"AWS:x": "y"}), "triton-fleet:cluster.tags has AWS:x: y, which is not a tag"),
    ("long tag", cluster(tags={"x": "y" * 257}), "which is not a tag: AWS would reject everything that carries it"),
    ("tags that IAM takes for one", cluster(tags={"Team": "a", "team": "b"}), "tags has Team and team, which IAM takes for one key"),
    ("too many tags", cluster(tags={f"k{number}": "" for number in range(41)}), "tags has 41 tags: AWS allows 50"),
    ("label that EKS keeps", pool(labels={"eks.amazonaws.com/x": "y"}), "triton-fleet:cluster.gpuPools[0].labels has eks.amazonaws.com/x"),
    (
        "disk faster than its IOPS",
        pool(disk={"throughput": 1000}),
        "triton-fleet:cluster.gpuPools[0].disk.throughput (1000) is more than 3000 iops allow: EC2 would refuse the volume. Rai",
    ),
    ("disk too small for an image", pool(disk={"size": 20}), "triton-fleet:cluster.gpuPools[0].disk.size (20) must be at least 30"),
    (
        "snapshot on AL2023",
        pool(disk={"snapshot": "snap-0a1b2c3d"}),
        "triton-fleet:cluster.gpuPools[0].disk.snapshot would be ignored: only Bottlerocket",
    ),
    (
        "misspelt key",
        pool(machinetype="g6.xlarge"),
        "triton-fleet:cluster.gpuPools[0].machinetype is an unknown key: nothing would read it. Did you mean machineType?",
    ),
    ("cluster name", cluster(name="my cluster"), "triton-fleet:cluster.name (my cluster) is not an EKS cluster name"),
]


@pytest.mark.parametrize(("changes", "says"), [entry[1:] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_bad_input_is_told(changes: tuple[tuple[tuple[str | int, ...], object], ...], says: str) -> None:
    with pytest.raises(FleetError) as caught:
        parse(changed(*changes))
    problems = list(map(str, caught.value.problems))
    assert [problem for problem in problems if says in problem], problems
    for problem in problems:
        assert problem.startswith("triton-fleet:"), problem


GOOD_CHANGES: list[tuple[str, tuple[tuple[tuple[str | int, ...], object], ...]]] = [
    ("open on purpose", cluster(endpoint={"publicCidrs": ["0.0.0.0/0"]})),
    ("private only", cluster(endpoint={"public": False})),
    ("CPU only", (*cluster(gpuPools=[]), (("serving", 0, "resources"), {"gpus": 0, "cpu": 1, "memory": "4Gi"}))),
    ("shares hold more pods", (*pool(sharing={"kind": "timeSlicing", "replicas": 4}), (("serving", 0, "scaling"), {"maxReplicas": 16}))),
    ("a group a zone counts each", (*pool(perZone=True), (("serving", 0, "scaling"), {"maxReplicas": 12}))),
    ("label from elsewhere", ((("serving", 0, "nodeSelector"), {"topology.kubernetes.io/zone": "eu-west-1a"}),)),
    ("no key of ours", cluster(secretsKey="none")),
    ("as many as fit", ((("warmFloor",), [{"pool": "gpu", "pods": 4}]),)),
]


@pytest.mark.parametrize("changes", [entry[1] for entry in GOOD_CHANGES], ids=[entry[0] for entry in GOOD_CHANGES])
def test_good_input_is_taken(changes: tuple[tuple[tuple[str | int, ...], object], ...]) -> None:
    parse(changed(*changes))


def test_maxima_together_may_exceed_the_pools_and_minima_may_not() -> None:
    second = {"name": "second", "image": "x:1", "resources": {"cpu": 2, "memory": "8Gi"}, "scaling": {"minReplicas": 1, "maxReplicas": 4}}
    raw = changed((("serving", "+"), second))
    parse(raw)
    raw["serving"][0]["scaling"] = {"minReplicas": 4, "maxReplicas": 4}
    with pytest.raises(FleetError, match=r"triton-fleet:serving asks for 5 nvidia\.com/gpu at its minReplicas together, and the pools can"):
        parse(raw)


def test_whole_pods_are_counted_and_not_gpus() -> None:
    raw = changed(*pool(machineType="g6.12xlarge", max=2))
    raw["serving"][0]["resources"]["gpus"] = 3
    raw["serving"][0]["scaling"]["maxReplicas"] = 2
    parse(raw)
    raw["serving"][0]["scaling"]["maxReplicas"] = 3
    with pytest.raises(FleetError, match="above the 2 that the pools can hold"):
        parse(raw)


@pytest.mark.parametrize(
    ("machine", "arch"),
    [("m7i.large", "x86_64"), ("m7g.large", "arm64"), ("c6gn.xlarge", "arm64"), ("t4g.micro", "arm64"), ("m6id.metal", "x86_64")],
)
def test_architecture(machine: str, arch: str) -> None:
    assert architecture(machine) == arch


@pytest.mark.parametrize(("expander", "warned"), [("priority", True), ("least-waste", False)])
def test_an_expander_without_its_configmap_is_warned_of(expander: str, warned: bool) -> None:
    found = warnings(parse(changed((("autoscaler",), {"kind": "clusterAutoscaler", "expander": expander}))))
    assert any("autoscaler-priority-expander" in problem.text for problem in found) == warned
