"""How each way of sharing a GPU reaches pods on each node image and cloud: the table of docs/components/gpu.md, cell by cell."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from components.eks.node_groups import asg_tags, gpu_labels
from components.eks.plan import gpu_pool
from components.eks.settings.node_groups import GpuPoolSettings
from components.eks.user_data import user_data
from components.gke.node_pools import gpu_pool as gke_pool
from components.gke.settings.node_pools import GkeGpuPoolSettings
from components.gpu.device_plugin import plugin_config

SHARING: dict[str, dict[str, Any]] = {
    "whole": {"kind": "whole"},
    "timeSlicing": {"kind": "timeSlicing", "replicas": 4},
    "mps": {"kind": "mps", "replicas": 4},
    "mig": {"kind": "mig", "profile": "1g.5gb"},
}
ACCELERATOR = "k8s.amazonaws.com/accelerator"
TAG = "k8s.io/cluster-autoscaler/node-template/resources/"
GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"


def eks(os: str, sharing: str) -> GpuPoolSettings:
    return GpuPoolSettings.model_validate({"name": "p", "machineType": "p4d.24xlarge", "os": os, "sharing": SHARING[sharing]})


@pytest.mark.parametrize(
    ("os", "sharing", "resource", "units"),
    [
        ("al2023", "whole", GPU, 8),
        ("al2023", "timeSlicing", GPU, 32),
        ("al2023", "mps", GPU, 32),
        ("al2023", "mig", SLICE, 56),
        ("bottlerocket", "whole", GPU, 8),
        ("bottlerocket", "timeSlicing", GPU, 32),
        ("bottlerocket", "mps", GPU, 32),
        ("bottlerocket", "mig", GPU, 56),
    ],
)
def test_eks(os: str, sharing: str, resource: str, units: int) -> None:
    """Pods, the autoscaler's template and its readiness label agree on what a node has."""
    pool = eks(os, sharing)
    handle, labels, tags = gpu_pool(pool), gpu_labels(pool), asg_tags(pool, gpu_labels(pool))
    assert (handle.resource, handle.units) == (resource, units) == (pool.offer.resource, pool.offer.per_node)
    assert tags[f"{TAG}{resource}"] == str(units)
    # Cluster Autoscaler takes a labelled node without nvidia.com/gpu for never ready, and for empty while it serves.
    assert (ACCELERATOR in labels) == (ACCELERATOR in pool.node_labels) == (resource == GPU)
    assert (f"k8s.io/cluster-autoscaler/node-template/label/{ACCELERATOR}" in tags) == (resource == GPU)
    assert tags.get(f"{TAG}{GPU}") == (str(units) if resource == GPU else "0")
    assert f"{TAG}ephemeral-storage" in tags, "a pod that requests room for models would never get the first node"


@pytest.mark.parametrize(("sharing", "section"), [("timeSlicing", "time-slicing"), ("mps", "mps")])
def test_bottlerocket_keeps_the_name_that_pods_request(sharing: str, section: str) -> None:
    plugin = tomllib.loads(user_data(eks("bottlerocket", sharing)) or "")["settings"]["kubelet-device-plugins"]["nvidia"]
    assert plugin["device-sharing-strategy"] == section
    assert (plugin[section]["replicas"], plugin[section]["rename-by-default"]) == (4, False)


@pytest.mark.parametrize(
    ("sharing", "config"),
    [
        ("whole", {"flags": {"migStrategy": "none"}}),
        ("timeSlicing", {"sharing": {"timeSlicing": {"renameByDefault": False, "resources": [{"name": GPU, "replicas": 4}]}}}),
        ("mps", {"sharing": {"mps": {"resources": [{"name": GPU, "replicas": 4}]}}}),
        ("mig", {"flags": {"migStrategy": "mixed"}}),
    ],
)
def test_al2023_has_a_plugin_with_the_same_sharing(sharing: str, config: dict[str, Any]) -> None:
    found = plugin_config(gpu_pool(eks("al2023", sharing)))
    for section, values in config.items():
        for key, value in values.items():
            assert found[section][key] == value or value.items() <= found[section][key].items()


@pytest.mark.parametrize("os", ["cos", "ubuntu"])
@pytest.mark.parametrize(("sharing", "units"), [("whole", 1), ("timeSlicing", 4), ("mps", 4), ("mig", 7)])
def test_gke_runs_the_plugin_and_names_everything_a_gpu(os: str, sharing: str, units: int) -> None:
    raw = {"name": "p", "machineType": "a2-highgpu-1g", "os": os, "fastPull": os == "cos", "sharing": SHARING[sharing]}
    handle = gke_pool(GkeGpuPoolSettings.model_validate(raw))
    assert (handle.resource, handle.units, handle.device_plugin) == (GPU, units, "bundled")
