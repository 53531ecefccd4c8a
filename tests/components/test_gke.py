"""A GKE cluster under the SDK's mocks: what it consists of, what waits for what, and what is sent to Google."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import pulumi
import pytest
import yaml
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.stack import wait_for_rpcs

from components.base.errors import FleetError
from components.fleet import TritonFleet, TritonFleetArgs
from components.gke.cluster import PLUGIN, GkeCluster, GkeClusterArgs
from components.gke.settings.cluster import GkeClusterSettings
from components.stack.load import parse
from tests.components.recording import Monitor, of_type, start, waits_for

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PROJECT = "my-project"
NUMBER = "111122223333"
DOMAIN = "iam.gserviceaccount.com"


class Mocks(pulumi.runtime.Mocks):
    """Google's side: what comes back of a resource besides its inputs."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[Any, Any]]:
        outputs = dict(args.inputs)
        outputs.setdefault("name", args.name)
        outputs.setdefault("selfLink", f"https://www.googleapis.com/compute/v1/{args.name}")
        if args.typ == "gcp:container/cluster:Cluster":
            dns = {"dnsEndpointConfig": {**outputs["controlPlaneEndpointsConfig"]["dnsEndpointConfig"], "endpoint": "gke-x.us.gke.goog"}}
            outputs |= {"endpoint": "203.0.113.9", "masterAuth": {"clusterCaCertificate": "Q0E="}}
            outputs["controlPlaneEndpointsConfig"] = {**outputs["controlPlaneEndpointsConfig"], **dns}
        if args.typ == "gcp:serviceaccount/account:Account":
            email = f"{args.inputs['accountId']}@{PROJECT}.{DOMAIN}"
            outputs |= {"email": email, "member": f"serviceAccount:{email}", "name": f"projects/{PROJECT}/serviceAccounts/{email}"}
        if args.typ == "docker-build:index:Index":
            outputs["ref"] = f"{args.inputs['tag']}@sha256:{'0' * 64}"
        if args.typ.startswith("kubernetes:core"):
            outputs["metadata"] = {"name": f"{args.name}-1a2b3c4d", **(outputs.get("metadata") or {})}
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        region = str(args.args.get("region"))
        answers: Mapping[str, dict[str, Any]] = {
            "gcp:compute/getZones:getZones": {"names": [f"{region}-{zone}" for zone in "bacf"], "id": "z"},
            "gcp:organizations/getClientConfig:getClientConfig": {"accessToken": "ya29.t", "id": "c"},
            "gcp:organizations/getProject:getProject": {"number": NUMBER, "projectId": PROJECT, "id": PROJECT},
            "gcp:compute/getSubnetwork:getSubnetwork": {
                "id": "subnet",
                "network": "https://www.googleapis.com/compute/v1/projects/host-project/global/networks/shared",
                "privateIpGoogleAccess": True,
                "secondaryIpRanges": [{"rangeName": "gke-pods"}, {"rangeName": "gke-services"}],
                "selfLink": "https://www.googleapis.com/compute/v1/projects/host-project/regions/us-central1/subnetworks/nodes",
            },
        }
        return answers[args.token], []


@pytest.fixture
async def monitor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Monitor:
    plugin = tmp_path / PLUGIN
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return start(Mocks())


def cluster_settings(**more: Any) -> GkeClusterSettings:
    raw = {"provider": "gke", "project": PROJECT, "region": "us-central1", "endpoint": {"publicCidrs": ["203.0.113.0/24"]}, **more}
    return GkeClusterSettings.model_validate(raw)


POOL = {"name": "gpu", "machineType": "g2-standard-8"}


async def build(settings: GkeClusterSettings, **more: Any) -> GkeCluster:
    arguments: dict[str, Any] = {"images": ["nvcr.io/nvidia/tritonserver:26.07-py3"], "webhook_ports": [15017, 6443], **more}
    try:
        cluster = GkeCluster("cluster", GkeClusterArgs(settings=settings, **arguments))
        await cluster.handle.name.future()
        return cluster
    finally:
        await wait_for_rpcs()


async def test_the_control_plane(monitor: Monitor) -> None:
    await build(cluster_settings(version="1.35", tags={"team": "ml"}))
    (plane,) = of_type(monitor, "gcp:container/cluster:Cluster").values()
    assert (plane["name"], plane["location"], plane["project"]) == ("triton-fleet", "us-central1", PROJECT)
    assert plane["nodeLocations"] == ["us-central1-a", "us-central1-b", "us-central1-c"]
    assert plane["minMasterVersion"] == "1.35"
    assert plane["releaseChannel"] == {"channel": "REGULAR"}
    assert plane["networkingMode"] == "VPC_NATIVE"
    assert plane["ipAllocationPolicy"] == {"clusterSecondaryRangeName": "pods", "servicesSecondaryRangeName": "services"}
    assert plane["workloadIdentityConfig"] == {"workloadPool": f"{PROJECT}.svc.id.goog"}
    assert plane["removeDefaultNodePool"] is True
    assert (plane["nodeConfig"]["diskType"], plane["nodeConfig"]["diskSizeGb"]) == ("pd-standard", 32), "no SSD quota for what goes at once"
    assert plane["nodeConfig"]["serviceAccount"] == f"triton-fleet-nodes@{PROJECT}.{DOMAIN}", "not Compute Engine's default one"
    assert plane["privateClusterConfig"] == {
        "enablePrivateNodes": True,
        "enablePrivateEndpoint": False,
        "masterIpv4CidrBlock": "10.0.127.240/28",
        "masterGlobalAccessConfig": {"enabled": True},
    }
    assert plane["masterAuthorizedNetworksConfig"] == {
        "gcpPublicCidrsAccessEnabled": False,
        "cidrBlocks": [{"cidrBlock": "203.0.113.0/24"}],
    }
    assert plane["addonsConfig"]["horizontalPodAutoscaling"] == {"disabled": False}
    assert plane["addonsConfig"]["httpLoadBalancing"] == {"disabled": False}
    assert plane["databaseEncryption"] == {"state": "ENCRYPTED", "keyName": "cluster-secrets-id"}
    assert plane["datapathProvider"] == "ADVANCED_DATAPATH"
    assert plane["deletionProtection"] is False, "said in so many words: the provider's default is true"
    assert "resourceLimits" not in plane["clusterAutoscaling"], "they would bound the pools too"
    assert "maintenancePolicy" not in plane
    assert plane["resourceLabels"] == {"team": "ml", "triton-fleet-cluster": "triton-fleet"}
    request = monitor.request("gcp:container/cluster:Cluster", "cluster")
    assert list(request.ignoreChanges) == ["nodeConfig", "defaultMaxPodsPerNode"], "in the provider's spelling, or it is ignored itself"


EVERY_SETTING: Final[dict[str, Any]] = {
    "zone": "us-central1-a",
    "releaseChannel": "extended",
    "endpoint": {"public": False, "dns": True},
    "secretsKey": "none",
    "dataplaneV2": False,
    "securityGroup": "gke-security-groups@example.com",
    "autoscalingProfile": "optimizeUtilization",
    "logs": ["system", "workloads", "api", "scheduler", "controllerManager"],
    "monitoring": ["system", "api", "hpa", "cadvisor"],
    "managedPrometheus": True,
    "maintenance": {
        "days": ["SA", "SU"],
        "start": "22:30",
        "hours": 6,
        "exclusions": [{"name": "freeze", "start": "2026-12-20T00:00:00Z", "end": "2027-01-03T00:00:00Z"}],
    },
}
"""Every setting of a control plane."""


async def test_every_setting_of_a_control_plane(monitor: Monitor) -> None:
    settings = cluster_settings(**EVERY_SETTING)
    await build(settings)
    (plane,) = of_type(monitor, "gcp:container/cluster:Cluster").values()
    assert plane["location"] == "us-central1-a"
    assert "nodeLocations" not in plane, "a zonal cluster's own zone must not be among the further ones"
    assert plane["releaseChannel"] == {"channel": "EXTENDED"}
    assert plane["privateClusterConfig"]["enablePrivateEndpoint"] is True
    assert plane["masterAuthorizedNetworksConfig"] == {"gcpPublicCidrsAccessEnabled": False, "cidrBlocks": []}
    assert plane["controlPlaneEndpointsConfig"]["dnsEndpointConfig"] == {"allowExternalTraffic": True}
    assert "databaseEncryption" not in plane
    assert plane["datapathProvider"] == "LEGACY_DATAPATH"
    assert plane["authenticatorGroupsConfig"] == {"securityGroup": "gke-security-groups@example.com"}
    assert plane["clusterAutoscaling"]["autoscalingProfile"] == "OPTIMIZE_UTILIZATION"
    assert plane["loggingConfig"]["enableComponents"] == [
        "SYSTEM_COMPONENTS", "WORKLOADS", "APISERVER", "SCHEDULER", "CONTROLLER_MANAGER",
    ]  # fmt: skip
    assert plane["monitoringConfig"]["enableComponents"] == ["SYSTEM_COMPONENTS", "APISERVER", "HPA", "CADVISOR"]
    assert plane["monitoringConfig"]["managedPrometheus"] == {"enabled": True}
    assert plane["maintenancePolicy"] == {
        "recurringWindow": {
            "startTime": "2026-01-05T22:30:00Z",
            "endTime": "2026-01-06T04:30:00Z",
            "recurrence": "FREQ=WEEKLY;BYDAY=SA,SU",
        },
        "maintenanceExclusions": [
            {
                "exclusionName": "freeze",
                "startTime": "2026-12-20T00:00:00Z",
                "endTime": "2027-01-03T00:00:00Z",
                "exclusionOptions": {"scope": "NO_MINOR_OR_NODE_UPGRADES"},
            }
        ],
    }
    assert of_type(monitor, "gcp:kms/keyRing:KeyRing") == {}
    (provider,) = of_type(monitor, "pulumi:providers:kubernetes").values()
    (entry,) = json.loads(provider["kubeconfig"])["clusters"]
    assert entry["cluster"] == {"server": "https://gke-x.us.gke.goog"}, "a publicly trusted certificate"


async def test_a_gpu_pool_as_google_gets_it(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[{**POOL, "desired": 2, "zones": ["us-central1-a", "us-central1-b"]}]))
    pool = of_type(monitor, "gcp:container/nodePool:NodePool")["cluster-gpu"]
    assert pool["cluster"] == "cluster-id"
    assert pool["name"].startswith("gpu-")
    assert pool["nodeLocations"] == ["us-central1-a", "us-central1-b"]
    assert pool["initialNodeCount"] == 1, "in each zone"
    assert pool["autoscaling"] == {"locationPolicy": "ANY", "totalMinNodeCount": 0, "totalMaxNodeCount": 5}
    assert pool["management"] == {"autoRepair": True, "autoUpgrade": True}
    assert pool["upgradeSettings"] == {"strategy": "SURGE", "maxSurge": 0, "maxUnavailable": 1}, "no spare GPU needed"
    assert pool["networkConfig"] == {"enablePrivateNodes": True}
    node = pool["nodeConfig"]
    assert node["guestAccelerators"] == [{"type": "nvidia-l4", "count": 1, "gpuDriverInstallationConfig": {"gpuDriverVersion": "DEFAULT"}}]
    assert node["machineType"] == "g2-standard-8"
    assert node["imageType"] == "COS_CONTAINERD"
    assert node["bootDisk"] == {"diskType": "pd-balanced", "sizeGb": 200}
    assert node["taints"] == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]
    assert node["labels"] == {"triton-fleet/pool": "gpu", "nvidia.com/gpu.present": "true"}
    assert node["gcfsConfig"] == {"enabled": True}
    assert node["gvnic"] == {"enabled": True}
    assert node["workloadMetadataConfig"] == {"mode": "GKE_METADATA"}
    assert node["shieldedInstanceConfig"] == {"enableSecureBoot": True, "enableIntegrityMonitoring": True}
    assert node["serviceAccount"] == f"triton-fleet-nodes@{PROJECT}.{DOMAIN}"
    assert node["tags"] == ["triton-fleet-node"]
    for absent in ("reservationAffinity", "ephemeralStorageLocalSsdConfig", "secondaryBootDisks", "bootDiskKmsKey"):
        assert absent not in node
    assert "placementPolicy" not in pool
    request = monitor.request("gcp:container/nodePool:NodePool", "cluster-gpu")
    assert list(request.ignoreChanges) == ["initialNodeCount", "nodeCount"], "in the provider's spelling, or it is ignored itself"
    assert (request.customTimeouts.create, request.protect) == ("90m", False)


EVERY_KIND: Final[list[dict[str, Any]]] = [
    {
        "name": "t4",
        "machineType": "n1-standard-8",
        "accelerator": {"type": "nvidia-tesla-t4", "count": 2},
        "driver": "daemonSet",
        "capacity": "spot",
        "perZone": True,
        "locationPolicy": "balanced",
        "min": 1,
        "max": 2,
    },
    {"name": "slices", "machineType": "a2-highgpu-1g", "sharing": {"kind": "mig", "profile": "1g.5gb"}, "driver": "latest"},
    {**POOL, "name": "shared", "sharing": {"kind": "timeSlicing", "replicas": 4}, "disk": {"image": "projects/p-1/global/images/t"}},
    {**POOL, "name": "mps", "sharing": {"kind": "mps", "replicas": 8}, "os": "ubuntu", "fastPull": False, "gvnic": False},
    {
        "name": "big",
        "machineType": "a3-ultragpu-8g",
        "capacity": "reservation",
        "capacityReservation": "mine",
        "zones": ["us-central1-c"],
        "compactPlacement": True,
        "disk": {"size": 500, "iops": 8000, "throughput": 600},
        "upgrade": {"maxSurge": 1, "maxUnavailable": 0},
    },
]
"""Every kind of GPU pool."""


async def test_every_kind_of_gpu_pool(monitor: Monitor) -> None:
    key = "projects/p-1/locations/us-central1/keyRings/r/cryptoKeys/k"
    await build(cluster_settings(gpuPools=EVERY_KIND, diskKey=key))
    made = of_type(monitor, "gcp:container/nodePool:NodePool")
    nodes = {name.removeprefix("cluster-"): pool["nodeConfig"] for name, pool in made.items()}
    assert all(node["bootDiskKmsKey"] == key for node in nodes.values())

    (t4,) = nodes["t4"]["guestAccelerators"]
    assert t4 == {"type": "nvidia-tesla-t4", "count": 2, "gpuDriverInstallationConfig": {"gpuDriverVersion": "INSTALLATION_DISABLED"}}
    assert nodes["t4"]["spot"] is True
    assert made["cluster-t4"]["autoscaling"] == {"locationPolicy": "BALANCED", "minNodeCount": 1, "maxNodeCount": 2}
    assert made["cluster-t4"]["nodeLocations"] == ["us-central1-a", "us-central1-b", "us-central1-c"]
    (slices,) = nodes["slices"]["guestAccelerators"]
    assert (slices["gpuPartitionSize"], slices["gpuDriverInstallationConfig"]) == ("1g.5gb", {"gpuDriverVersion": "LATEST"})
    (shared,) = nodes["shared"]["guestAccelerators"]
    assert shared["gpuSharingConfig"] == {"gpuSharingStrategy": "TIME_SHARING", "maxSharedClientsPerGpu": 4}
    assert nodes["shared"]["secondaryBootDisks"] == [{"diskImage": "projects/p-1/global/images/t", "mode": "CONTAINER_IMAGE_CACHE"}]
    (mps,) = nodes["mps"]["guestAccelerators"]
    assert mps["gpuSharingConfig"] == {"gpuSharingStrategy": "MPS", "maxSharedClientsPerGpu": 8}
    assert (nodes["mps"]["imageType"], nodes["mps"]["gvnic"]) == ("UBUNTU_CONTAINERD", {"enabled": False})
    assert "gcfsConfig" not in nodes["mps"]
    big = made["cluster-big"]
    assert big["placementPolicy"] == {"type": "COMPACT"}
    assert big["nodeConfig"]["reservationAffinity"] == {
        "consumeReservationType": "SPECIFIC_RESERVATION",
        "key": "compute.googleapis.com/reservation-name",
        "values": ["mine"],
    }
    assert big["nodeConfig"]["ephemeralStorageLocalSsdConfig"] == {"localSsdCount": 32}, "those that the machine comes with"
    assert big["nodeConfig"]["bootDisk"] == {
        "diskType": "hyperdisk-balanced", "sizeGb": 500, "provisionedIops": 8000, "provisionedThroughput": 600,
    }  # fmt: skip
    assert big["management"] == {"autoRepair": True, "autoUpgrade": True}


async def test_pools_are_created_in_parallel_once_pods_have_egress(monitor: Monitor) -> None:
    """Without a pool before them GKE would not taint GPU nodes: the taint is declared."""
    await build(cluster_settings(gpuPools=[POOL]))
    for name in ("cluster-cpu", "cluster-gpu"):
        waiting = waits_for(monitor, "gcp:container/nodePool:NodePool", name)
        assert {"gcp:compute/routerNat:RouterNat cluster-vpc", "gcp:container/cluster:Cluster cluster"} <= waiting
        assert not [other for other in waiting if other.startswith("gcp:container/nodePool:")]
    taints = of_type(monitor, "gcp:container/nodePool:NodePool")["cluster-gpu"]["nodeConfig"]["taints"]
    assert taints == [{"key": "nvidia.com/gpu", "value": "present", "effect": "NO_SCHEDULE"}]


async def test_the_control_plane_waits_for_roles_and_key_and_not_for_egress(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[POOL]))
    waiting = waits_for(monitor, "gcp:container/cluster:Cluster", "cluster")
    assert {
        "gcp:projects/iAMMember:IAMMember cluster-nodes-container.defaultNodeServiceAccount",
        "gcp:projects/iAMMember:IAMMember cluster-nodes-serviceusage.serviceUsageConsumer",
        "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember cluster-secrets",
    } <= waiting
    assert "gcp:compute/routerNat:RouterNat cluster-vpc" not in waiting
    for kind, name in (("gcp:compute/network:Network", "cluster-vpc"), ("gcp:serviceaccount/account:Account", "cluster-nodes")):
        assert "gcp:projects/service:Service cluster-compute" in waits_for(monitor, kind, name)


async def test_the_provider_waits_for_pools_and_firewall(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[POOL]))
    waiting = waits_for(monitor, "pulumi:providers:kubernetes", "cluster")
    assert {
        "gcp:container/nodePool:NodePool cluster-cpu",
        "gcp:container/nodePool:NodePool cluster-gpu",
        "gcp:compute/firewall:Firewall cluster-webhooks",
        "gcp:compute/firewall:Firewall cluster-health-checks",
    } <= waiting


async def test_the_kubeconfig_asks_the_plugin_and_the_provider_is_pinned(monitor: Monitor) -> None:
    await build(cluster_settings())
    (provider,) = of_type(monitor, "pulumi:providers:kubernetes").values()
    config = json.loads(provider["kubeconfig"])
    assert config["clusters"][0]["cluster"] == {"server": "https://203.0.113.9", "certificate-authority-data": "Q0E="}
    assert config["users"][0]["user"]["exec"]["command"] == "gke-gcloud-auth-plugin"
    assert "token" not in config["users"][0]["user"]
    assert provider["clusterIdentifier"] == f"{PROJECT}/us-central1/triton-fleet"


async def test_without_the_plugin_nothing_is_made(monitor: Monitor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "none"))
    with pytest.raises(FleetError, match="gke-gcloud-auth-plugin is not on PATH"):
        await build(cluster_settings())
    assert monitor.requests == {}


async def test_the_network(monitor: Monitor) -> None:
    await build(cluster_settings())
    (vpc,) = of_type(monitor, "gcp:compute/network:Network").values()
    assert vpc["autoCreateSubnetworks"] is False
    (subnet,) = of_type(monitor, "gcp:compute/subnetwork:Subnetwork").values()
    assert (subnet["ipCidrRange"], subnet["privateIpGoogleAccess"]) == ("10.0.0.0/18", True)
    assert subnet["secondaryIpRanges"] == [
        {"rangeName": "pods", "ipCidrRange": "10.0.128.0/17"},
        {"rangeName": "services", "ipCidrRange": "10.0.64.0/19"},
    ]
    (nat,) = of_type(monitor, "gcp:compute/routerNat:RouterNat").values()
    assert nat["subnetworks"] == [{"name": "cluster-vpc-id", "sourceIpRangesToNats": ["ALL_IP_RANGES"]}], "pods' addresses too"
    rules = of_type(monitor, "gcp:compute/firewall:Firewall")
    webhooks = rules["cluster-webhooks"]
    assert (webhooks["sourceRanges"], webhooks["targetTags"]) == (["10.0.127.240/28"], ["triton-fleet-node"])
    assert webhooks["allows"] == [{"protocol": "tcp", "ports": ["6443", "15017"]}]
    assert "35.191.0.0/16" in rules["cluster-health-checks"]["sourceRanges"]
    assert "0.0.0.0/0" not in [source for rule in rules.values() for source in rule["sourceRanges"]]


async def test_without_nat_there_is_no_router(monitor: Monitor) -> None:
    await build(cluster_settings(network={"kind": "create", "nat": "none"}))
    assert of_type(monitor, "gcp:compute/router:Router") == {}
    assert of_type(monitor, "gcp:compute/routerNat:RouterNat") == {}


SHARED_VPC = {
    "kind": "existing",
    "network": "shared",
    "subnetwork": "nodes",
    "podRange": "gke-pods",
    "serviceRange": "gke-services",
    "hostProject": "host-project",
}


async def test_an_existing_network_is_checked_and_used(monitor: Monitor) -> None:
    await build(cluster_settings(network=SHARED_VPC))
    (plane,) = of_type(monitor, "gcp:container/cluster:Cluster").values()
    assert plane["subnetwork"].endswith("projects/host-project/regions/us-central1/subnetworks/nodes")
    assert plane["ipAllocationPolicy"] == {"clusterSecondaryRangeName": "gke-pods", "servicesSecondaryRangeName": "gke-services"}
    assert plane["privateClusterConfig"]["masterIpv4CidrBlock"] == "172.16.0.0/28"
    assert of_type(monitor, "gcp:compute/network:Network") == {}
    assert {rule["project"] for rule in of_type(monitor, "gcp:compute/firewall:Firewall").values()} == {"host-project"}


async def test_firewall_false_creates_no_rules(monitor: Monitor) -> None:
    await build(cluster_settings(network={**SHARED_VPC, "firewall": False}))
    assert of_type(monitor, "gcp:compute/firewall:Firewall") == {}


async def test_a_wrong_existing_network_stops_it(monitor: Monitor) -> None:
    with pytest.raises(FleetError) as caught:
        await build(cluster_settings(network={**SHARED_VPC, "network": "other", "podRange": "pods"}))
    first, second = map(str, caught.value.problems)
    assert "is in shared and not in network (other)" in first
    assert "podRange (pods) is not a secondary range of nodes: GKE would reject it. It must be one of: gke-pods, gke-services." in second
    assert of_type(monitor, "gcp:container/cluster:Cluster") == {}


async def test_a_subnet_without_ranges_and_google_access_stops_it(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        answer = Mocks().call(args)[0]
        return ({**answer, "privateIpGoogleAccess": False, "secondaryIpRanges": []} if "Subnetwork" in args.token else answer), []

    monkeypatch.setattr(monitor.mocks, "call", bare)
    with pytest.raises(FleetError) as caught:
        await build(cluster_settings(network=SHARED_VPC))
    pods, services, access = map(str, caught.value.problems)
    assert "podRange (gke-pods) is not a secondary range of nodes" in pods
    assert "serviceRange (gke-services) is not a secondary range of nodes: GKE would reject it. It must be one of: none." in services
    assert "subnetwork (nodes) has Private Google Access off" in access


async def test_a_zone_that_does_not_exist_stops_it(monitor: Monitor) -> None:
    with pytest.raises(FleetError, match=r"gpuPools\[0\].zones names us-central1-x, which us-central1 does not have"):
        await build(cluster_settings(gpuPools=[{**POOL, "zones": ["us-central1-x"]}]))


class ApiOffError(grpc.RpcError):
    """As the engine hands on what the plugin was told by Google."""

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN

    def details(self) -> str:
        return f"googleapi: Error 403: Compute Engine API has not been used in project {PROJECT} before or it is disabled."


def without_compute(args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
    if args.token == "gcp:compute/getZones:getZones":
        raise ApiOffError
    return Mocks().call(args)


async def test_zones_of_a_new_project_can_t_be_looked_up(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.mocks, "call", without_compute)
    with pytest.raises(FleetError, match="has the Compute Engine API disabled: its zones can't be looked up"):
        await build(cluster_settings())


async def test_named_zones_are_trusted_in_a_new_project(monitor: Monitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor.mocks, "call", without_compute)
    await build(cluster_settings(zone="us-central1-a"))
    assert of_type(monitor, "gcp:container/nodePool:NodePool")["cluster-cpu"]["nodeLocations"] == ["us-central1-a"]


async def test_apis_are_enabled_and_stay_enabled(monitor: Monitor) -> None:
    await build(cluster_settings(gpuPools=[POOL], imageRepository={"name": "triton"}))
    services = of_type(monitor, "gcp:projects/service:Service")
    assert {service["service"].removesuffix(".googleapis.com") for service in services.values()} == {
        "compute", "container", "iam", "iamcredentials", "cloudresourcemanager", "storage", "logging", "monitoring", "artifactregistry",
        "containerfilesystem", "cloudkms",
    }  # fmt: skip
    assert not any(service["disableOnDestroy"] for service in services.values())


async def test_apis_are_not_touched_if_disabled(monitor: Monitor) -> None:
    await build(cluster_settings(enableApis=False))
    assert of_type(monitor, "gcp:projects/service:Service") == {}


async def test_nodes_may_do_what_gke_asks_and_no_more(monitor: Monitor) -> None:
    own = f"us-central1-docker.pkg.dev/{PROJECT}/elsewhere/triton:1"
    await build(cluster_settings(nodeRoles=["roles/x.y"]), images=[own])
    roles = {grant["role"] for grant in of_type(monitor, "gcp:projects/iAMMember:IAMMember").values()}
    assert roles == {"roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader", "roles/x.y"}
    members = {grant["member"] for grant in of_type(monitor, "gcp:projects/iAMMember:IAMMember").values()}
    assert members == {f"serviceAccount:triton-fleet-nodes@{PROJECT}.{DOMAIN}"}


async def test_the_key_for_secrets_has_no_fixed_name(monitor: Monitor) -> None:
    await build(cluster_settings())
    (ring,) = of_type(monitor, "gcp:kms/keyRing:KeyRing").values()
    inputs = monitor.request("gcp:kms/keyRing:KeyRing", "cluster-secrets").object
    assert "name" not in dict(deserialize_properties(inputs)), "rings can't be deleted: the next stack would find it taken"
    assert ring["location"] == "us-central1"
    (grant,) = of_type(monitor, "gcp:kms/cryptoKeyIAMMember:CryptoKeyIAMMember").values()
    assert grant["member"] == f"serviceAccount:service-{NUMBER}@container-engine-robot.iam.gserviceaccount.com"


async def test_an_existing_key(monitor: Monitor) -> None:
    key = "projects/p-1/locations/us-central1/keyRings/r/cryptoKeys/k"
    await build(cluster_settings(secretsKey=key))
    (plane,) = of_type(monitor, "gcp:container/cluster:Cluster").values()
    assert plane["databaseEncryption"] == {"state": "ENCRYPTED", "keyName": key}
    assert of_type(monitor, "gcp:kms/cryptoKey:CryptoKey") == {}


async def test_administrators(monitor: Monitor) -> None:
    settings = cluster_settings(
        admins=["user:a@example.com", "group:ops@example.com", f"serviceAccount:ci@{PROJECT}.{DOMAIN}"],
        securityGroup="gke-security-groups@example.com",
    )
    await build(settings)
    (binding,) = of_type(monitor, "ClusterRoleBinding").values()
    assert binding["roleRef"]["name"] == "cluster-admin"
    assert [(subject["kind"], subject["name"]) for subject in binding["subjects"]] == [
        ("User", "a@example.com"),
        ("Group", "ops@example.com"),
        ("User", f"ci@{PROJECT}.{DOMAIN}"),
    ]


async def test_protection_covers_the_pools(monitor: Monitor) -> None:
    """With only the cluster protected, a destroy deletes the pools and then fails."""
    await build(cluster_settings(gpuPools=[POOL], deletionProtection=True))
    for kind, name in (
        ("gcp:container/cluster:Cluster", "cluster"),
        ("gcp:container/nodePool:NodePool", "cluster-cpu"),
        ("gcp:container/nodePool:NodePool", "cluster-gpu"),
    ):
        assert monitor.request(kind, name).protect is True


async def test_the_image_repository(monitor: Monitor) -> None:
    cluster = await build(cluster_settings(imageRepository={"name": "triton_fil", "keepUntaggedDays": 7}))
    assert cluster.registry is not None
    assert await cluster.registry.url.future() == f"us-central1-docker.pkg.dev/{PROJECT}/triton-fleet/triton_fil"
    assert await cluster.registry.address.future() == "us-central1-docker.pkg.dev"
    assert await cluster.registry.username.future() == "oauth2accesstoken"
    assert await cluster.registry.password.is_secret()
    (repository,) = of_type(monitor, "gcp:artifactregistry/repository:Repository").values()
    assert (repository["format"], repository["repositoryId"]) == ("DOCKER", "triton-fleet")
    assert repository["dockerConfig"] == {"immutableTags": True}
    assert repository["cleanupPolicies"][0]["condition"] == {"tagState": "UNTAGGED", "olderThan": "604800s"}
    (grant,) = of_type(monitor, "gcp:artifactregistry/repositoryIamMember:RepositoryIamMember").values()
    assert (grant["role"], grant["member"]) == ("roles/artifactregistry.reader", f"serviceAccount:triton-fleet-nodes@{PROJECT}.{DOMAIN}")
    assert monitor.request("gcp:artifactregistry/repository:Repository", "cluster-images").retainOnDelete is True


async def test_a_cache_of_builds_needs_tags_that_move(monitor: Monitor) -> None:
    await build(cluster_settings(imageRepository={"name": "triton"}), build_cache=True)
    (repository,) = of_type(monitor, "gcp:artifactregistry/repository:Repository").values()
    assert repository["dockerConfig"] == {"immutableTags": False}


async def test_an_image_of_the_stack_s_own_is_pulled_by_its_digest(monitor: Monitor) -> None:
    raw = stack_file("Pulumi.gke-fil.yaml")
    raw["images"] = [{"kind": "mirror", "name": "triton-fil", "source": "nvcr.io/nvidia/tritonserver:26.07-py3"}]
    raw["serving"][0]["image"] = "triton-fil"
    await run(raw)
    (mirror,) = of_type(monitor, "docker-build:index:Index").values()
    repository = f"us-central1-docker.pkg.dev/{PROJECT}/triton-fil/triton_fil"
    assert mirror["tag"].startswith(f"{repository}:triton-fil-")
    (chart,) = of_type(monitor, "kubernetes:helm.sh/v4:Chart").values()
    assert chart["values"]["image"] == f"{repository}@sha256:{'0' * 64}"
    roles = {grant["role"] for grant in of_type(monitor, "gcp:projects/iAMMember:IAMMember").values()}
    assert "roles/artifactregistry.reader" not in roles, "nodes may read the stack's own repository and no other"


async def test_add_ons_know_the_pools(monitor: Monitor) -> None:
    pools = [
        {**POOL, "name": "whole"},
        {**POOL, "name": "shared", "sharing": {"kind": "timeSlicing", "replicas": 4}},
        {"name": "cut", "machineType": "a2-highgpu-2g", "sharing": {"kind": "mig", "profile": "1g.5gb"}},
        {**POOL, "name": "own", "driver": "daemonSet", "os": "ubuntu", "fastPull": False},
    ]
    cluster = await build(cluster_settings(gpuPools=pools))
    told = {
        pool.name: (pool.resource, pool.units, pool.sharing, pool.mig_strategy, pool.device_plugin, pool.driver, pool.os)
        for pool in cluster.handle.gpu_pools
    }
    assert told == {
        "whole": ("nvidia.com/gpu", 1, "none", "none", "bundled", "bundled", "cos"),
        "shared": ("nvidia.com/gpu", 4, "timeSlicing", "none", "bundled", "bundled", "cos"),
        "cut": ("nvidia.com/gpu", 14, "mig", "single", "bundled", "bundled", "cos"),
        "own": ("nvidia.com/gpu", 1, "none", "none", "bundled", "daemonSet", "ubuntu"),
    }
    access = cluster.handle.gcp
    assert access is not None
    assert (access.project, access.location, access.cluster) == (PROJECT, "us-central1", "triton-fleet")
    assert await access.workload_pool.future() == f"{PROJECT}.svc.id.goog"


def stack_file(name: str) -> dict[str, Any]:
    content = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return {key.removeprefix("triton-fleet:"): value for key, value in content["config"].items()}


async def run(raw: dict[str, Any]) -> Any:
    for entry in raw["serving"]:
        entry["scaling"].pop("initialReplicas", None)  # by a transform, which is the engine's and no mock's
    try:
        fleet = TritonFleet("fleet", TritonFleetArgs(settings=parse(raw), project_dir=ROOT))
        return await pulumi.Output.from_input(fleet.exports).future()
    finally:
        await wait_for_rpcs()


@pytest.mark.parametrize("name", ["Pulumi.gke.yaml", "Pulumi.gke-fil.yaml"])
async def test_the_stack_files_build(monitor: Monitor, name: str) -> None:
    exports = await run(stack_file(name))
    assert exports["serving"]["triton"]["service"] == "triton.triton.svc.cluster.local"
    cluster = stack_file(name)["cluster"]["name"]
    reader = f"{cluster}-triton-reader@{PROJECT}.{DOMAIN}"
    (chart,) = of_type(monitor, "kubernetes:helm.sh/v4:Chart").values()
    assert chart["values"]["serviceAccount"]["annotations"] == {"iam.gke.io/gcp-service-account": reader}
    (acting,) = of_type(monitor, "gcp:serviceaccount/iAMMember:IAMMember").values()
    assert acting["role"] == "roles/iam.workloadIdentityUser"
    assert acting["member"] == f"serviceAccount:{PROJECT}.svc.id.goog[triton/triton]"
    repository = stack_file(name)["repository"]
    grants = of_type(monitor, "gcp:storage/bucketIAMMember:BucketIAMMember")
    assert {grant["role"] for grant in grants.values()} == {"roles/storage.objectViewer", "roles/storage.legacyBucketReader"}
    assert {grant["member"] for grant in grants.values()} == {f"serviceAccount:{reader}"}
    assert f"/objects/{repository['prefix']}/" in grants["triton-reader-objects"]["condition"]["expression"]
    waiting = waits_for(monitor, "kubernetes:helm.sh/v4:Chart", "triton")
    assert "gcp:serviceaccount/iAMMember:IAMMember triton-reader" in waiting
    assert "gcp:storage/bucketIAMMember:BucketIAMMember triton-reader-objects" in waiting
    bound = waits_for(monitor, "gcp:serviceaccount/iAMMember:IAMMember", "triton-reader")
    assert "gcp:container/cluster:Cluster cluster" in bound, "before the project's first cluster the pool of identities does not exist"
    assert "pulumi-python:dynamic/repository:Release repository" in waits_for(
        monitor, "gcp:storage/bucketIAMMember:BucketIAMMember", "triton-reader-objects"
    )
    (bucket,) = of_type(monitor, "gcp:storage/bucket:Bucket").values()
    assert (bucket["name"], bucket["publicAccessPrevention"], bucket["uniformBucketLevelAccess"]) == (
        repository["bucket"],
        "enforced",
        True,
    )
    assert "gcp:storage/bucket:Bucket repository" in waits_for(monitor, "pulumi-python:dynamic/repository:Release", "repository")
    assert "pulumi-python:dynamic/repository:Bucket repository" not in monitor.requests
    ports = of_type(monitor, "gcp:compute/firewall:Firewall")["cluster-webhooks"]["allows"][0]["ports"]
    assert ports == ["6443", "10250", "15017"]
    assert not [key for key in monitor.requests if key.startswith(("aws:", "pulumi:providers:aws", "eks:"))]


NAMES: Final[dict[str, dict[str, int]]] = {
    "artifactregistry/repository:Repository": {"repositoryId": 63},
    "artifactregistry/repositoryIamMember:RepositoryIamMember": {},
    "compute/firewall:Firewall": {"name": 63},
    "compute/network:Network": {"name": 63},
    "compute/router:Router": {"name": 63},
    "compute/routerNat:RouterNat": {"name": 63},
    "compute/subnetwork:Subnetwork": {"name": 63},
    "container/cluster:Cluster": {"name": 40},
    "container/nodePool:NodePool": {"name": 40},
    "kms/cryptoKey:CryptoKey": {"name": 63},
    "kms/cryptoKeyIAMMember:CryptoKeyIAMMember": {},
    "kms/keyRing:KeyRing": {"name": 63},
    "projects/iAMMember:IAMMember": {},
    "projects/service:Service": {},
    "serviceaccount/account:Account": {"accountId": 30, "displayName": 100},
    "serviceaccount/iAMMember:IAMMember": {},
    "storage/bucket:Bucket": {"name": 63},
    "storage/bucketIAMMember:BucketIAMMember": {},
}
"""Every type of a GKE stack: the properties that name it, and Google's most characters. A name that is left out gets eight more."""


async def test_every_name_fits_with_the_longest_that_a_stack_file_may_have(monitor: Monitor) -> None:
    raw = stack_file("Pulumi.gke.yaml")
    raw["cluster"] |= {"name": "c" * 40, "imageRepository": {"name": "triton"}, "tags": {"k" * 63: "v" * 63}}
    raw["cluster"] |= {"region": "northamerica-northeast1", "zone": "northamerica-northeast1-a"}
    raw["cluster"]["gpuPools"][0] |= {"name": "g" * 32, "zones": ["northamerica-northeast1-a"], "perZone": True}
    raw["warmFloor"][0]["pool"] = "g" * 32
    raw["serving"][0] |= {"name": "s" * 53, "namespace": "n" * 63, "nodeSelector": {"triton-fleet/pool": "g" * 32}}
    raw["repository"]["bucket"] = "b" * 63
    await run(raw)
    found = {key.split(" ", 1)[0].removeprefix("gcp:") for key in monitor.requests if key.startswith("gcp:")}
    assert found == NAMES.keys(), "a type without a row"
    for kind, limits in NAMES.items():
        for request in (one for key, one in monitor.requests.items() if key.startswith(f"gcp:{kind} ")):
            inputs = dict(deserialize_properties(request.object))
            for key, limit in limits.items():
                assert len(inputs.get(key) or f"{request.name}-1234567") <= limit, f"{kind} {request.name}: {key}"
            assert all(len(tag) <= 63 for tag in inputs.get("targetTags") or [])


async def test_a_service_account_may_read_directly(monitor: Monitor) -> None:
    raw = stack_file("Pulumi.gke.yaml")
    raw["cluster"]["identity"] = "principal"
    await run(raw)
    (chart,) = of_type(monitor, "kubernetes:helm.sh/v4:Chart").values()
    assert not chart["values"]["serviceAccount"].get("annotations")
    assert of_type(monitor, "gcp:serviceaccount/iAMMember:IAMMember") == {}
    members = {grant["member"] for grant in of_type(monitor, "gcp:storage/bucketIAMMember:BucketIAMMember").values()}
    pool = f"projects/{NUMBER}/locations/global/workloadIdentityPools/{PROJECT}.svc.id.goog"
    assert members == {f"principal://iam.googleapis.com/{pool}/subject/ns/triton/sa/triton"}


async def test_with_a_key_file_no_identity_is_created(monitor: Monitor, tmp_path: Path) -> None:
    raw = stack_file("Pulumi.gke-fil.yaml")
    (tmp_path / "keyfile.json").write_text(
        json.dumps({"type": "service_account", "client_email": "x@y", "private_key": "k", "token_uri": "https://z"})
    )
    raw["repository"] |= {"credentials": "keyFile", "keyFile": str(tmp_path / "keyfile.json")}
    await run(raw)
    assert of_type(monitor, "gcp:storage/bucketIAMMember:BucketIAMMember") == {}
    assert "triton-gcsfs-creds" in of_type(monitor, "kubernetes:core/v1:Secret")
