"""The catalogue of GPU machines: its figures, and what it says of them."""

from __future__ import annotations

import pytest

from components.gpu import catalogue

EC2 = [machine for machine in catalogue.MACHINES.values() if machine.cloud == "ec2"]
GCE = [machine for machine in catalogue.MACHINES.values() if machine.cloud == "gce"]


def test_it_is_complete() -> None:
    assert len(EC2) == 63
    assert len(GCE) == 30
    assert {machine.name.split(".", maxsplit=1)[0] for machine in EC2} == catalogue.EC2_FAMILIES - set(catalogue.REFUSED)


@pytest.mark.parametrize(
    ("name", "model", "figures"),
    [
        ("g4dn.12xlarge", "T4", (4, 48, 192, 1)),
        ("g4dn.metal", "T4", (8, 96, 384, 1)),
        ("g5.48xlarge", "A10G", (8, 192, 768, 1)),
        ("g6.16xlarge", "L4", (1, 64, 256, 1)),
        ("g6e.48xlarge", "L40S", (8, 192, 1536, 4)),
        ("g7e.12xlarge", "RTX PRO 6000", (2, 48, 512, 1)),
        ("p4d.24xlarge", "A100 40 GB", (8, 96, 1152, 4)),
        ("p4de.24xlarge", "A100 80 GB", (8, 96, 1152, 4)),
        ("p5.4xlarge", "H100 80 GB", (1, 16, 256, 1)),
        ("p5en.48xlarge", "H200", (8, 192, 2048, 16)),
        ("p6-b300.48xlarge", "B300", (8, 192, 4096, 16)),
    ],
)
def test_ec2(name: str, model: str, figures: tuple[int, int, int, int]) -> None:
    found = catalogue.machine(name, cloud="ec2")
    assert found.gpu.name == model
    assert (found.gpus, found.vcpus, found.memory_gib, found.efa) == figures


@pytest.mark.parametrize(
    ("name", "accelerator", "gpus", "ssds"),
    [
        ("g2-standard-24", "nvidia-l4", 2, None),
        ("a2-megagpu-16g", "nvidia-tesla-a100", 16, None),
        ("a2-ultragpu-4g", "nvidia-a100-80gb", 4, 4),
        ("a3-highgpu-1g", "nvidia-h100-80gb", 1, 2),
        ("a3-megagpu-8g", "nvidia-h100-mega-80gb", 8, 16),
        ("a3-ultragpu-8g", "nvidia-h200-141gb", 8, 32),
        ("g4-standard-384", "nvidia-rtx-pro-6000", 8, None),
    ],
)
def test_gce(name: str, accelerator: str, gpus: int, ssds: int | None) -> None:
    found = catalogue.machine(name, cloud="gce")
    assert (found.gpu.accelerator, found.gpus, found.local_ssds) == (accelerator, gpus, ssds)


def test_arm_machines() -> None:
    assert {machine.name for machine in GCE if machine.arch == "arm64"} == {"a4x-highgpu-4g", "a4x-maxgpu-4g-metal"}
    assert {machine.name.split(".")[0] for machine in EC2 if machine.arch == "arm64"} == {"g5g"}


def test_slices_fit_into_the_gpu() -> None:
    """A profile's memory times its number is at most what the GPU has, to NVIDIA's own rounding."""
    for machine in catalogue.MACHINES.values():
        for profile, count in machine.gpu.mig.items():
            compute, memory = profile.split("+")[0].removesuffix("-me").split(".")
            assert machine.gpu.memory_mib is not None
            assert int(memory.removesuffix("gb")) * count * 0.9 <= machine.gpu.memory_mib / 1000, (machine.name, profile)
            assert int(compute.removesuffix("g")) * count <= 7, (machine.name, profile)


@pytest.mark.parametrize("family", ["g4dn", "g5", "g5g", "g6", "g6e", "p3", "p3dn", "gr6"])
def test_without_mig(family: str) -> None:
    assert not any(machine.gpu.mig for machine in EC2 if machine.name.startswith(f"{family}."))


def test_every_accelerator_has_a_name() -> None:
    assert all(machine.gpu.accelerator.startswith("nvidia-") for machine in catalogue.MACHINES.values())


@pytest.mark.parametrize(
    ("name", "cloud", "says"),
    [
        ("g5.xlrge", "ec2", "The sizes of g5 are xlarge, 2xlarge, 4xlarge, 8xlarge, 12xlarge"),
        ("g4d.xlarge", "ec2", "Did you mean g4dn.xlarge?"),
        ("g6f.large", "ec2", "not supported"),
        ("p6e-gb200.36xlarge", "ec2", "not supported"),
        ("a2-highgpu-3g", "gce", "Did you mean a2-highgpu-"),
        ("g6.xlarge", "gce", "not a machine type"),
        ("banana", "ec2", "Known families: g4dn, g5, g5g"),
        ("banana", "gce", "Known families: a2, a3, a4, a4x, g2, g4."),
    ],
)
def test_unknown_machines(name: str, cloud: catalogue.Cloud, says: str) -> None:
    with pytest.raises(ValueError, match="is ") as caught:
        catalogue.machine(name, cloud=cloud)
    assert says in str(caught.value)


def test_n1_takes_gpus() -> None:
    found = catalogue.attached("n1-standard-8", "nvidia-tesla-t4", 1)
    assert (found.gpus, found.vcpus, found.memory_gib, found.gpu.name) == (1, 8, 30, "T4")


@pytest.mark.parametrize(
    ("name", "accelerator", "count", "says"),
    [
        ("n2-standard-8", "nvidia-tesla-t4", 1, "is not an N1 machine"),
        ("n1-standard-8", "nvidia-tesla-t5", 1, "Did you mean nvidia-tesla-t4"),
        ("n1-standard-8", "nvidia-tesla-t4", 3, "takes 1, 2, 4 GPUs"),
        ("n1-standard-16", "nvidia-tesla-v100", 1, "has 16 vCPUs and 60 GB, above the 12 vCPUs and 78 GB"),
        ("n1-standard-96", "nvidia-tesla-p100", 4, "above the 64 vCPUs"),
    ],
)
def test_n1_that_can_t_be(name: str, accelerator: str, count: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        catalogue.attached(name, accelerator, count)
