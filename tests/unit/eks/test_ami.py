"""Node images of EKS."""

from __future__ import annotations

import pytest

from components.eks.ami import OperatingSystem, ami_problem, ami_type
from components.gpu import catalogue


@pytest.mark.parametrize(
    ("name", "system", "expected"),
    [
        ("g6.xlarge", "al2023", "AL2023_x86_64_NVIDIA"),
        ("g5g.xlarge", "al2023", "AL2023_ARM_64_NVIDIA"),
        ("g6.xlarge", "bottlerocket", "BOTTLEROCKET_x86_64_NVIDIA"),
        ("g5g.xlarge", "bottlerocket", "BOTTLEROCKET_ARM_64_NVIDIA"),
    ],
)
def test_image(name: str, system: OperatingSystem, expected: str) -> None:
    assert ami_type(catalogue.machine(name), system) == expected


def test_every_machine_has_an_image_but_g7() -> None:
    offered = [machine for machine in catalogue.MACHINES.values() if machine.cloud == "ec2"]
    assert {machine.name.split(".")[0] for machine in offered if ami_problem(machine)} == {"g7"}
