"""What a GKE stack file may contain, and the message about what it may not."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.base.errors import FleetError
from components.gke.settings.cluster import GkeClusterSettings, addresses_per_node
from components.stack.load import parse

ROOT = Path(__file__).resolve().parents[3]

GOOD: dict[str, Any] = {
    "cluster": {
        "provider": "gke",
        "project": "my-project",
        "region": "us-central1",
        "endpoint": {"publicCidrs": ["203.0.113.0/24"]},
        "gpuPools": [{"name": "gpu", "machineType": "g2-standard-8", "max": 4}],
    },
    "repository": {"bucket": "models", "store": "gcs"},
    "serving": [
        {
            "name": "triton",
            "image": "nvcr.io/nvidia/tritonserver:26.07-py3",
            "resources": {"cpu": "2", "memory": "8Gi"},
            "scaling": {"maxReplicas": 4},
        }
    ],
}
POOL = ("cluster", "gpuPools", 0)
Changes = tuple[tuple[tuple[str | int, ...], object], ...]


def changed(*changes: tuple[tuple[str | int, ...], object]) -> dict[str, Any]:
    """GOOD with values set; a list grows by one where ``+`` is its position."""
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


def pool(**values: object) -> Changes:
    return tuple(((*POOL, key), value) for key, value in values.items())


def cluster(**values: object) -> Changes:
    return tuple((("cluster", key), value) for key, value in values.items())


def serving(**values: object) -> Changes:
    return tuple((("serving", 0, key), value) for key, value in values.items())


def stack_file(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return {key.removeprefix("triton-fleet:"): value for key, value in content["config"].items()}


def test_the_example_is_good() -> None:
    settings = parse(GOOD).cluster
    assert isinstance(settings, GkeClusterSettings)
    assert settings.gpu_pools[0].machine.gpu.name == "L4"
    assert settings.location == "us-central1"


def test_reference_001_is_all_there() -> None:
    settings = parse(stack_file("Pulumi.gke.yaml"))
    assert isinstance(settings.cluster, GkeClusterSettings)
    assert (settings.cluster.location, settings.cluster.release_channel) == ("us-central1-a", "rapid")
    assert settings.cluster.cpu_pool.machine_type == "n1-standard-8"
    (gpu,) = settings.cluster.gpu_pools
    assert (gpu.machine_type, gpu.machine.gpu.name, gpu.machine.gpus) == ("n1-standard-4", "T4", 1)
    assert (gpu.min, gpu.desired, gpu.max, gpu.disk.size) == (1, 2, 4, 100), "3 and one for a rollout"
    assert settings.stackdriver.enabled
    assert settings.ingress.kind == "istio"
    (entry,) = settings.serving
    scaling = entry.scaling
    assert (scaling.initial_replicas, scaling.min_replicas, scaling.max_replicas) == (1, 1, 3)
    assert [(metric.kind, metric.target) for metric in scaling.metrics] == [("gpuDutyCycle", 85)]


def test_reference_002_is_all_there() -> None:
    settings = parse(stack_file("Pulumi.gke-fil.yaml"))
    assert isinstance(settings.cluster, GkeClusterSettings)
    (gpu,) = settings.cluster.gpu_pools
    assert (gpu.name, gpu.min, gpu.max, gpu.disk.size, gpu.driver) == ("gpu-pool", 2, 4, 100, "daemonSet")
    assert settings.cluster.image_repository is not None
    assert settings.repository.models == ("fil_xgboost",)


def test_the_key_file_of_reference_002() -> None:
    raw = stack_file("Pulumi.gke-fil.yaml")
    raw["repository"] |= {"credentials": "keyFile", "keyFile": "./keyfile.json"}
    assert parse(raw).repository.key_file == "./keyfile.json"


BAD: list[tuple[str, Changes, str]] = [
    # Where
    (
        "zone for region",
        cluster(region="us-central1-a"),
        "triton-fleet:cluster.region (us-central1-a) is a zone: subnets are regional. Write us-central1, and zone: us-central1-a",
    ),
    (
        "AWS region",
        cluster(region="us-east-1"),
        "cluster.region (us-east-1) is not a Google Cloud region: nothing could be created in it. This",
    ),
    ("zone of another region", cluster(zone="europe-west4-a"), "triton-fleet:cluster.zone (europe-west4-a) is not in us-central1"),
    ("name for an id", cluster(project="My Project"), "triton-fleet:cluster.project (My Project) is not a project id"),
    ("cluster name", cluster(name="triton_gke"), "triton-fleet:cluster.name (triton_gke) is not a GKE cluster name"),
    ("name too long", cluster(name="t" * 41), "is not a GKE cluster name: GKE would reject it. Use 1 to 40"),
    ("version as a number", cluster(version=1.35), "triton-fleet:cluster.version (1.35) must be a string"),
    ("no version", cluster(version="1.35-gke"), "triton-fleet:cluster.version (1.35-gke) is not a Kubernetes version of GKE"),
    # Access
    (
        "public to all by omission",
        cluster(endpoint={}),
        "triton-fleet:cluster.endpoint.publicCidrs is missing: the public endpoint would be open to the whole internet.",
    ),
    (
        "networks of none",
        cluster(endpoint={"public": False, "publicCidrs": ["203.0.113.0/24"]}),
        "triton-fleet:cluster.endpoint.publicCidrs would be ignored: public is false",
    ),
    (
        "not private",
        cluster(endpoint={"private": False, "publicCidrs": ["203.0.113.0/24"]}),
        "triton-fleet:cluster.endpoint.private is false, but a GKE control plane always has an address inside the VPC",
    ),
    ("host bits", cluster(endpoint={"publicCidrs": ["203.0.113.7/24"]}), "publicCidrs[0] (203.0.113.7/24) is not an IPv4 network"),
    ("admin as an address", cluster(admins=["someone@example.com"]), "cluster.admins[0] (someone@example.com) is not an IAM member"),
    (
        "group without groups",
        cluster(admins=["group:ops@example.com"]),
        "triton-fleet:cluster.admins names group:ops@example.com, but GKE recognizes only groups in gke-security-groups@DOMAIN",
    ),
    # Network
    (
        "public addresses",
        cluster(network={"kind": "create", "cidr": "8.0.0.0/16"}),
        "network.cidr (8.0.0.0/16) has public addresses",
    ),
    ("Docker's addresses", cluster(network={"kind": "create", "cidr": "172.17.0.0/16"}), "which containers on the nodes use"),
    ("too small", cluster(network={"kind": "create", "cidr": "10.0.0.0/24"}), "network.cidr (10.0.0.0/24) is smaller than a /21"),
    (
        "no addresses for pods",
        cluster(network={"kind": "create", "cidr": "10.0.0.0/21"}),
        "triton-fleet:cluster.network.cidr (10.0.0.0/21) has pod addresses for 8 nodes with 64 pods each, but the pools may grow to 10",
    ),
    (
        "control plane among pods",
        cluster(network={"kind": "create", "cidr": "10.0.0.0/16", "controlPlaneCidr": "10.0.5.0/28"}),
        "network.controlPlaneCidr (10.0.5.0/28) overlaps cidr (10.0.0.0/16)",
    ),
    (
        "control plane too large",
        cluster(network={"kind": "create", "controlPlaneCidr": "172.16.0.0/24"}),
        "network.controlPlaneCidr (172.16.0.0/24) must be a /28",
    ),
    (
        "one range for both",
        cluster(network={"kind": "existing", "network": "n", "subnetwork": "s", "podRange": "r", "serviceRange": "r"}),
        "network.serviceRange (r) is also podRange",
    ),
    (
        "own zone left out",
        cluster(zone="us-central1-a", network={"kind": "create", "zones": ["us-central1-b"]}),
        "triton-fleet:cluster.network.zones does not include the cluster's zone (us-central1-a)",
    ),
    ("pool in another region", pool(zones=["us-east1-b"]), "gpuPools[0].zones names us-east1-b, which is not in us-central1"),
    # Machines
    ("EC2's machine", pool(machineType="g6.xlarge"), "gpuPools[0].machineType (g6.xlarge) is not a machine type with GPUs"),
    ("misspelt", pool(machineType="g2-standard-6"), "gpuPools[0].machineType (g2-standard-6) is not a machine type with GPUs"),
    ("N1 without a GPU", pool(machineType="n1-standard-4"), "gpuPools[0].accelerator is missing: n1-standard-4 has no built-in GPU"),
    (
        "T4 on G2",
        pool(accelerator={"type": "nvidia-tesla-t4"}),
        "gpuPools[0].accelerator is 1 nvidia-tesla-t4, but g2-standard-8 comes with 1 nvidia-l4",
    ),
    (
        "misspelt accelerator",
        pool(machineType="n1-standard-4", accelerator={"type": "nvidia-t4"}),
        (
            "gpuPools[0].machineType (n1-standard-4) cannot have nvidia-t4 attached: Compute Engine would refuse it. "
            "Did you mean nvidia-tesla-t4?"
        ),
    ),
    (
        "three T4",
        pool(machineType="n1-standard-4", accelerator={"type": "nvidia-tesla-t4", "count": 3}),
        "takes 1, 2, 4 GPUs of nvidia-tesla-t4, not 3",
    ),
    (
        "N1 too large",
        pool(machineType="n1-standard-96", accelerator={"type": "nvidia-tesla-t4", "count": 1}),
        "has 96 vCPUs and 360 GB, above the 48 vCPUs and 312 GB allowed with 1 nvidia-tesla-t4",
    ),
    ("GPU in the CPU pool", cluster(cpuPool={"machineTypes": ["g2-standard-8"]}), "cpuPool.machineTypes[0] (g2-standard-8) has a GPU"),
    ("EC2 in the CPU pool", cluster(cpuPool={"machineTypes": ["m7i.large"]}), "(m7i.large) is not a machine type of Compute Engine"),
    (
        "two machine types",
        cluster(cpuPool={"machineTypes": ["c3-standard-4", "n2-standard-4"]}),
        "cpuPool.machineTypes names 2: a node pool",
    ),
    ("too small for GKE", cluster(cpuPool={"machineTypes": ["e2-micro"]}), "cpuPool.machineTypes[0] (e2-micro) is too small"),
    # Sharing
    (
        "MIG on L4",
        pool(sharing={"kind": "mig", "profile": "1g.5gb"}),
        "gpuPools[0].sharing is mig, but the L4 of g2-standard-8 has no MIG",
    ),
    (
        "no such slice",
        pool(machineType="a2-highgpu-1g", sharing={"kind": "mig", "profile": "1g.10gb"}),
        "gpuPools[0].sharing.profile (1g.10gb) is not a MIG profile of A100 40 GB",
    ),
    (
        "slices under EKS' name",
        (
            *pool(machineType="a2-highgpu-1g", sharing={"kind": "mig", "profile": "1g.5gb"}),
            *serving(resources={"gpuResource": "nvidia.com/mig-1g.5gb", "cpu": "1", "memory": "4Gi"}),
        ),
        "serving[0].resources.gpuResource (nvidia.com/mig-1g.5gb) is in no pool: the pods would stay pending. Choose one of nvidia.com/gpu",
    ),
    (
        "utilization of slices",
        (
            *pool(machineType="a2-highgpu-1g", sharing={"kind": "mig", "profile": "1g.5gb"}),
            *serving(scaling={"metrics": [{"kind": "gpuUtilization", "target": 80}]}),
        ),
        "serving[0].scaling.metrics[0] is gpuUtilization, and pool gpu splits its GPUs into MIG slices",
    ),
    (
        "two shares for a pod",
        (*pool(sharing={"kind": "timeSlicing", "replicas": 4}), *serving(resources={"gpus": 2, "cpu": "1", "memory": "4Gi"})),
        "a second share is not a second GPU",
    ),
    ("no taint", pool(taint=False), "gpuPools[0].taint is false, but GKE taints GPU nodes in any case"),
    (
        "label with a space",
        pool(labels={"team": "a b"}),
        "gpuPools[0].labels has team: a b, which is not a label: its nodes could not be created.",
    ),
    (
        "GKE's own label prefix",
        pool(labels={"cloud.google.com/gke-accelerator": "x"}),
        "gpuPools[0].labels has cloud.google.com/gke-accelerator",
    ),
    # Capacity
    ("reservation without name", pool(capacity="reservation", zones=["us-central1-a"]), "gpuPools[0].capacityReservation is missing"),
    (
        "name without reservation",
        pool(capacityReservation="mine"),
        "gpuPools[0].capacityReservation would be ignored: capacity is onDemand",
    ),
    (
        "reservation everywhere",
        pool(capacity="reservation", capacityReservation="mine"),
        "gpuPools[0].capacity is reservation, but a reservation is in one zone",
    ),
    (
        "compact everywhere",
        pool(compactPlacement=True),
        "gpuPools[0].compactPlacement is true, but compact placement works in one zone only",
    ),
    (
        "compact N1",
        pool(machineType="n1-standard-4", accelerator={"type": "nvidia-tesla-t4"}, compactPlacement=True, zones=["us-central1-a"]),
        "gpuPools[0].compactPlacement is true, but n1-standard-4 has no compact placement",
    ),
    (
        "more than the quota",
        cluster(gpuQuota={"nvidia-l4": 2}),
        "triton-fleet:cluster.gpuQuota has 2 of nvidia-l4, but the pools together may grow to 4",
    ),
    (
        "more than all the quota",
        (*cluster(gpuQuota={"all": 11}), *pool(perZone=True)),
        "gpuQuota has 11 of all, but the pools together may grow to 12",
    ),
    (
        "spot with a floor",
        (*pool(capacity="spot"), (("warmFloor",), [{"pool": "gpu", "pods": 1}])),
        "warmFloor[0].pool (gpu) is a spot pool: Compute Engine reclaims spot nodes",
    ),
    (
        "no upgrade possible",
        pool(upgrade={"maxSurge": 0, "maxUnavailable": 0}),
        "gpuPools[0].upgrade.maxSurge and maxUnavailable are both 0",
    ),
    # Images and disks
    (
        "latest on Ubuntu",
        pool(os="ubuntu", driver="latest", fastPull=False),
        "gpuPools[0].driver is latest, but only Container-Optimized OS has it",
    ),
    (
        "slices by the DaemonSet on Ubuntu",
        pool(machineType="a2-highgpu-1g", os="ubuntu", driver="daemonSet", fastPull=False, sharing={"kind": "mig", "profile": "1g.5gb"}),
        "gpuPools[0].sharing is mig, but the driver's DaemonSet divides GPUs only on Container-Optimized OS",
    ),
    ("streaming on Ubuntu", pool(os="ubuntu", fastPull=True), "gpuPools[0].fastPull is true, but Ubuntu nodes can't stream images"),
    (
        "second disk without streaming",
        pool(fastPull=False, disk={"image": "projects/p-1/global/images/triton"}),
        "gpuPools[0].disk.image requires image streaming, on Container-Optimized OS",
    ),
    (
        "disk that G2 lacks",
        pool(disk={"type": "hyperdisk-balanced"}),
        "gpuPools[0].disk.type (hyperdisk-balanced) is not supported by g2-standard-8",
    ),
    ("IOPS of a persistent disk", pool(disk={"iops": 6000}), "gpuPools[0].disk.iops (6000) applies only to hyperdisk-balanced"),
    (
        "local SSDs",
        pool(machineType="a3-highgpu-8g", localSsds=2),
        "gpuPools[0].localSsds (2) is not the 16 of a3-highgpu-8g",
    ),
    (
        "volumes that the machine does not support",
        cluster(cpuPool={"machineTypes": ["n4-standard-4"]}),
        "triton-fleet:prometheus.storageClass is missing, and GKE's default class creates pd-balanced volumes",
    ),
    (
        "no egress to the image",
        cluster(network={"kind": "create", "nat": "none"}),
        "serving[0].image (nvcr.io/nvidia/tritonserver:26.07-py3) is not in a Google Cloud registry, and cluster.network.nat is none",
    ),
    # Identity
    (
        "S3 without keys",
        ((("repository", "store"), "s3"),),
        "triton-fleet:repository.credentials is serviceAccount with store: s3 on GKE: AWS does not know this cluster's service accounts",
    ),
    (
        "Triton that knows no metadata server",
        serving(image="nvcr.io/nvidia/tritonserver:22.12-py3"),
        "serving[0].image (nvcr.io/nvidia/tritonserver:22.12-py3) is older than 23.11",
    ),
    (
        "mirror of one that knows no metadata server",
        (
            *cluster(imageRepository={"name": "triton"}),
            (("images",), [{"kind": "mirror", "name": "old", "source": "nvcr.io/nvidia/tritonserver:22.12-py3"}]),
            *serving(image="old"),
        ),
        "serving[0].image (nvcr.io/nvidia/tritonserver:22.12-py3) is older than 23.11",
    ),
    ("alias for a key", cluster(secretsKey="my-key"), "cluster.secretsKey (my-key) must be create, none or a Cloud KMS key"),
    (
        "key of another region",
        cluster(diskKey="projects/p/locations/europe-west4/keyRings/r/cryptoKeys/k"),
        "triton-fleet:cluster.diskKey is a key in europe-west4: GKE requires one in us-central1",
    ),
    ("no role", cluster(nodeRoles=["storage.admin"]), "cluster.nodeRoles[0] (storage.admin) is not a role"),
    ("label with capitals", cluster(tags={"Team": "ml"}), "triton-fleet:cluster.tags has Team: ml, which is not a valid label"),
    # What EKS has and GKE lacks
    (
        "an autoscaler",
        ((("autoscaler",), {"kind": "clusterAutoscaler"}),),
        "autoscaler.kind is clusterAutoscaler but cluster.provider is gke: GKE scales its pools itself",
    ),
    ("AWS' load balancers", ((("loadBalancer",), {"enabled": True}),), "loadBalancer.enabled is true but cluster.provider is gke"),
    ("EFA", pool(efa=True), "gpuPools[0].efa is an unknown key"),
    ("two exporters", cluster(monitoring=["system", "dcgm"]), "triton-fleet:cluster.monitoring has dcgm, GKE's own exporter"),
    # Maintenance
    (
        "window too rare",
        cluster(maintenance={"days": ["SU"], "hours": 4}),
        "cluster.maintenance.hours (4) on 1 days a week makes 18 in 32 days",
    ),
    (
        "local time",
        cluster(maintenance={"exclusions": [{"name": "freeze", "start": "2026-12-20T00:00:00+01:00", "end": "2027-01-03T00:00:00Z"}]}),
        "maintenance.exclusions[0].start (2026-12-20T00:00:00+01:00) is not a UTC time",
    ),
    (
        "too long without upgrades",
        cluster(
            maintenance={
                "exclusions": [{"name": "f", "start": "2026-01-01T00:00:00Z", "end": "2026-12-01T00:00:00Z", "scope": "noUpgrades"}]
            }
        ),
        "exclusions[0].scope is noUpgrades for 334 days, above the 90 that GKE allows",
    ),
    # Pools
    ("min above max", pool(min=5), "gpuPools[0].min (5) is above max (4): the pool could never be created"),
    ("desired above max", pool(desired=5), "gpuPools[0].desired (5) is not between min (0) and max (4)"),
    ("no nodes for DNS", cluster(cpuPool={"min": 0}), "cluster.cpuPool.min (0) must be at least 1"),
    (
        "two of a name",
        ((("cluster", "gpuPools", "+"), {"name": "gpu", "machineType": "g2-standard-4"}),),
        "gpuPools[1].name (gpu) is gpuPools[0]'s",
    ),
    ("name of the CPU pool", pool(name="cpu"), "gpuPools[0].name (cpu) is the name of the pool without GPUs"),
    ("more replicas than nodes", serving(scaling={"maxReplicas": 5}), "maxReplicas (5) with 1 nvidia.com/gpu each is above the 4"),
]


@pytest.mark.parametrize(("changes", "says"), [entry[1:] for entry in BAD], ids=[entry[0] for entry in BAD])
def test_bad_input_is_reported(changes: Changes, says: str) -> None:
    with pytest.raises(FleetError) as caught:
        parse(changed(*changes))
    problems = list(map(str, caught.value.problems))
    assert [problem for problem in problems if says in problem], problems
    for problem in problems:
        assert problem.startswith("triton-fleet:"), problem


GOOD_CHANGES: list[tuple[str, Changes]] = [
    ("open on purpose", cluster(endpoint={"publicCidrs": ["0.0.0.0/0"]})),
    ("private only", cluster(endpoint={"public": False})),
    ("by name", cluster(endpoint={"public": False, "dns": True})),
    ("CPU only", (*cluster(gpuPools=[]), *serving(resources={"gpus": 0}))),
    ("no node at first", pool(min=0, desired=0)),
    ("shares hold more pods", (*pool(sharing={"kind": "mps", "replicas": 4}), *serving(scaling={"maxReplicas": 16}))),
    ("zones count each", (*pool(perZone=True), *serving(scaling={"maxReplicas": 12}))),
    ("T4", pool(machineType="n1-standard-8", accelerator={"type": "nvidia-tesla-t4", "count": 2})),
    (
        "slices are nvidia.com/gpu",
        (
            *pool(machineType="a2-highgpu-1g", sharing={"kind": "mig", "profile": "1g.5gb"}),
            *serving(scaling={"maxReplicas": 28}, nodeSelector={"cloud.google.com/gke-gpu-partition-size": "1g.5gb"}),
        ),
    ),
    ("GKE's own label", serving(nodeSelector={"cloud.google.com/gke-accelerator": "nvidia-l4"})),
    ("label from elsewhere", serving(nodeSelector={"topology.kubernetes.io/zone": "us-central1-a"})),
    ("a floor", ((("warmFloor",), [{"pool": "gpu", "pods": 4}]),)),
    ("a custom machine", cluster(cpuPool={"machineTypes": ["n2-custom-8-32768"]})),
    ("hyperdisks", (*cluster(cpuPool={"machineTypes": ["n4-standard-4"]}), (("prometheus",), {"storage": None}))),
    ("S3 with keys", ((("repository", "store"), "s3"), (("repository", "credentials"), "environment"))),
    ("an image of one's own", serving(image="us-central1-docker.pkg.dev/my-project/triton-fleet/triton:1")),
    (
        "mirrored, without egress",
        (
            *cluster(network={"kind": "create", "nat": "none"}, imageRepository={"name": "triton"}),
            (("images",), [{"kind": "mirror", "name": "triton", "source": "nvcr.io/nvidia/tritonserver:26.07-py3"}]),
            *serving(image="triton"),
            (("charts",), {"source": "oci", "location": "oci://us-central1-docker.pkg.dev/my-project/charts"}),
        ),
    ),
    ("enough quota", cluster(gpuQuota={"nvidia-l4": 4, "all": 4})),
    (
        "a freeze",
        cluster(maintenance={"exclusions": [{"name": "freeze", "start": "2026-12-20T00:00:00Z", "end": "2027-01-03T00:00:00Z"}]}),
    ),
]


@pytest.mark.parametrize("changes", [entry[1] for entry in GOOD_CHANGES], ids=[entry[0] for entry in GOOD_CHANGES])
def test_good_input_is_taken(changes: Changes) -> None:
    parse(changed(*changes))


def test_what_is_the_same_on_eks_has_the_same_names() -> None:
    """One section of a stack file, of which only provider, place and sizes differ."""
    common = {
        "name": "fleet",
        "version": "1.35",
        "network": {"kind": "create", "cidr": "10.20.0.0/16", "zoneCount": 3, "nat": "one"},
        "endpoint": {"private": True, "public": True, "publicCidrs": ["203.0.113.0/24"]},
        "secretsKey": "create",
        "deletionProtection": False,
        "imageRepository": {"name": "triton", "keepUntaggedDays": 7, "retain": False},
        "tags": {"project": "triton"},
    }
    pools = {
        "name": "gpu",
        "min": 1,
        "desired": 1,
        "max": 4,
        "capacity": "onDemand",
        "perZone": True,
        "taint": True,
        "fastPull": True,
        "disk": {"size": 300},
        "labels": {"team": "ml"},
        "sharing": {"kind": "timeSlicing", "replicas": 2},
    }
    cpu = {"min": 2, "desired": 2, "max": 6, "capacity": "onDemand", "disk": {"size": 80}, "labels": {"kind": "cpu"}}
    places: dict[str, tuple[dict[str, Any], str, str]] = {
        "eks": ({"region": "eu-west-1"}, "m7i.large", "g6.xlarge"),
        "gke": ({"project": "my-project", "region": "europe-west4"}, "c3-standard-4", "g2-standard-8"),
    }
    for provider, (place, machine, gpu_machine) in places.items():
        raw = copy.deepcopy(GOOD)
        raw["repository"]["store"] = "s3" if provider == "eks" else "gcs"
        raw["cluster"] = {
            "provider": provider,
            **place,
            **common,
            "cpuPool": {**cpu, "machineTypes": [machine]},
            "gpuPools": [{**pools, "machineType": gpu_machine}],
        }
        assert parse(raw).cluster.provider == provider


def test_a_bucket_of_the_other_cloud_s_needs_keys_on_eks_too() -> None:
    raw = changed(*cluster(provider="eks", region="eu-west-1", gpuPools=[{"name": "gpu", "machineType": "g6.2xlarge", "min": 1}]))
    del raw["cluster"]["project"]
    with pytest.raises(FleetError, match="is serviceAccount with store: gcs on EKS: Google does not know this cluster's service accounts"):
        parse(raw)
    raw["repository"] |= {"credentials": "keyFile", "keyFile": "./keyfile.json"}
    parse(raw)


@pytest.mark.parametrize(("pods", "addresses"), [(8, 16), (9, 32), (16, 32), (32, 64), (64, 128), (65, 256), (110, 256), (256, 512)])
def test_addresses_of_a_node(pods: int, addresses: int) -> None:
    assert addresses_per_node(pods) == addresses
