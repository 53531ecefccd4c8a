"""What nodes without internet egress can pull and read, on both clouds."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from components.base.errors import FleetError
from components.stack.load import parse

CHARTS = {"source": "oci", "location": "oci://mirror.example.com/charts"}
NONE = {"kind": "create", "nat": "none"}
IMAGE = {"eks": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/triton:1", "gke": "europe-west4-docker.pkg.dev/my-project/fleet/triton:1"}
CLUSTER: dict[str, dict[str, Any]] = {
    "eks": {"provider": "eks", "region": "eu-west-1"},
    "gke": {"provider": "gke", "project": "my-project", "region": "europe-west4"},
}
POOL = {"eks": "g6.xlarge", "gke": "g2-standard-8"}


def stack(cloud: str, **sections: Any) -> dict[str, Any]:
    pools = [{"name": "gpu", "machineType": POOL[cloud], "min": 1, "max": 8}]
    cluster = {**CLUSTER[cloud], "network": NONE, "gpuPools": pools, "endpoint": {"publicCidrs": ["203.0.113.0/24"]}}
    store = (
        {"bucket": "models-of-mine", "store": "s3", "region": "eu-west-1"} if cloud == "eks" else {"bucket": "m-of-mine", "store": "gcs"}
    )
    serving = [{"name": "triton", "image": IMAGE[cloud]}]
    return copy.deepcopy({"cluster": cluster, "charts": CHARTS, "repository": store, "serving": serving, **sections})


def entry(cloud: str, **fields: Any) -> dict[str, Any]:
    return {"serving": [{"name": "triton", "image": IMAGE[cloud], **fields}]}


@pytest.mark.parametrize("cloud", ["eks", "gke"])
@pytest.mark.parametrize(
    ("sections", "keys"),
    [
        ({}, []),
        ({"charts": {}}, ["charts.source"]),
        ({"serving": [{"name": "triton", "image": "nvcr.io/nvidia/tritonserver:26.07-py3"}]}, ["serving[0].image"]),
        ({"serving": [{"name": "triton", "image": "public.ecr.aws/x/triton:1"}]}, ["serving[0].image"]),
        ({"client": {"enabled": True}}, ["client.image"]),
        ({"warmFloor": [{"pool": "gpu", "pods": 1}]}, ["warmFloor"]),
        ({"repository": {"bucket": "models", "endpoint": "https://minio.internal:9000"}}, []),
        ({"client": {"enabled": True}, "charts": {}}, ["client.image", "charts.source"]),
    ],
)
def test_everything_that_nodes_pull_is_checked(cloud: str, sections: dict[str, Any], keys: list[str]) -> None:
    raw = stack(cloud, **sections)
    found = []
    try:
        parse(raw)
    except FleetError as error:
        found = [str(problem).removeprefix("triton-fleet:").split(" ")[0] for problem in error.problems]
    assert found == keys
    raw["cluster"]["network"] = {"kind": "create", "nat": "one"}
    parse(raw)


@pytest.mark.parametrize(
    ("cloud", "sections", "key"),
    [
        ("eks", entry("eks", prefetch={"enabled": True}), "serving[0].prefetch.image (docker.io/rclone"),
        ("gke", entry("gke", prefetch={"enabled": True}), "serving[0].prefetch.image (docker.io/rclone"),
        ("eks", {"serving": [{"name": "t", "image": IMAGE["eks"].replace("eu-west-1", "us-east-1")}]}, "is not in Amazon ECR of eu-west-1"),
        ("eks", {"serving": [{"name": "t", "image": IMAGE["gke"]}]}, "is not in Amazon ECR of eu-west-1"),
        ("gke", {"serving": [{"name": "t", "image": IMAGE["eks"]}]}, "is not in a Google Cloud registry"),
        ("eks", {"repository": {"bucket": "models", "region": "us-east-1"}}, "repository.store is s3"),
        ("gke", {"repository": {"bucket": "models", "store": "s3", "credentials": "environment"}}, "repository.store is s3"),
        (
            "gke",
            {"stackdriver": {"enabled": True, "image": "docker.io/me/adapter:1"}},
            "stackdriver.image (docker.io/me/adapter:1) is not in a Google Cloud registry",
        ),
    ],
)
def test_each_cloud_reaches_its_own_region_and_services(cloud: str, sections: dict[str, Any], key: str) -> None:
    with pytest.raises(FleetError) as caught:
        parse(stack(cloud, **sections))
    (problem,) = caught.value.problems
    assert key in str(problem)
