"""A GKE cluster under the SDK's mocks: what it consists of, what waits for what, and what is sent to Google."""

from __future__ import annotations

import importlib
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pytest
from pulumi.runtime.rpc import deserialize_properties
from pulumi.runtime.settings import ROOT as STACK
from pulumi.runtime.stack import wait_for_rpcs

from components.cluster.gke import PLUGIN, GkeCluster, GkeClusterArgs
from components.settings.gke import GkeClusterSettings
from tests.components.conftest import event_loop
from tests.components.test_fleet import Monitor as Requests

if TYPE_CHECKING:
    from collections.abc import Mapping

with warnings.catch_warnings():
    # Old names in these modules warn when they are loaded, and a warning that is an error here leaves a module half loaded.
    warnings.simplefilter("ignore")
    for module in ("artifactregistry", "compute", "container", "kms", "organizations", "projects", "serviceaccount", "storage"):
        hasattr(importlib.import_module(f"pulumi_gcp.{module}"), "load")  # which happens when an attribute is asked for

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
        if args.typ.startswith("kubernetes:core"):
            outputs["metadata"] = {"name": f"{args.name}-1a2b3c4d", **(outputs.get("metadata") or {})}
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[Any, Any], list[tuple[str, str]] | None]:
        region = str(args.args.get("region"))
        answers: Mapping[str, dict[str, Any]] = {
            "gcp:compute/getZones:getZones": {"names": [f"{region}-{zone}" for zone in "bacf"], "id": "z"},
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


class Monitor(Requests):
    def Invoke(self, request: Any) -> Any:  # noqa: N802 (gRPC method name)
        with event_loop():
            return super().Invoke(request)  # type: ignore[no-untyped-call]


@pytest.fixture
async def monitor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Monitor:
    plugin = tmp_path / PLUGIN
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    STACK.set(None)
    mocks = Mocks()
    monitor = Monitor(mocks)
    pulumi.runtime.set_mocks(mocks, project="triton-fleet", stack="test", preview=False, monitor=monitor)
    return monitor


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


def of_type(monitor: Monitor, kind: str) -> dict[str, dict[str, Any]]:
    return {
        key.split(" ", 1)[1]: dict(deserialize_properties(request.object))
        for key, request in monitor.requests.items()
        if key.split(" ", 1)[0].endswith(kind)
    }


def request_of(monitor: Monitor, kind: str, name: str) -> Any:
    return next(request for key, request in monitor.requests.items() if key.split(" ", 1)[0].endswith(kind) and request.name == name)


def waits_for(monitor: Monitor, kind: str, name: str) -> set[str]:
    """Type and logical name of what a resource waits for."""
    urns = request_of(monitor, kind, name).dependencies
    return {f"{urn.split('::')[2].split('$')[-1]} {urn.rsplit('::', 1)[-1]}" for urn in urns}


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
    request = request_of(monitor, "gcp:container/cluster:Cluster", "cluster")
    assert list(request.ignoreChanges) == ["nodeConfig"], "in the provider's spelling, or it is ignored itself"
