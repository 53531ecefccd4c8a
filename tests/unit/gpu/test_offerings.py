"""Where machine types with GPUs are offered."""

from __future__ import annotations

import pytest

from components.gpu.catalogue import MACHINES
from components.gpu.offerings import _EC2, _GCE, offering_problem


@pytest.mark.parametrize(
    ("machine", "region", "zones", "says"),
    [
        ("p4d.24xlarge", "us-east-1", (), None),
        ("p4d.24xlarge", "eu-west-3", (), "was not offered in eu-west-3 as of"),
        ("p4de.24xlarge", "eu-west-1", (), "Choose one of ap-northeast-1, ap-southeast-1, eu-central-1, us-east-1, us-west-2"),
        ("p5.48xlarge", "eu-central-1", (), "was not offered in eu-central-1"),
        ("g6.xlarge", "af-south-1", (), None),
        ("g2-standard-8", "us-central1", (), None),
        ("g2-standard-8", "us-east4", (), "all of 3 zones of us-east4"),
        ("g2-standard-8", "us-east4", ("us-east4-a", "us-east4-c"), None),
        ("g2-standard-8", "us-east4", ("us-east4-a", "us-east4-b"), "was not offered in us-east4-b as of"),
        ("g2-standard-8", "europe-north1", (), "was not offered in europe-north1 as of"),
        ("a2-highgpu-1g", "us-central1", ("us-central1-f",), None),
        ("a2-ultragpu-1g", "us-central1", ("us-central1-b",), "Name zones: us-central1-a, us-central1-c"),
        ("a4-highgpu-8g", "asia-south1", (), "was not offered in asia-south1"),
        ("g4-standard-48", "asia-south1", (), None),
    ],
)
def test_what_a_place_lacks(machine: str, region: str, zones: tuple[str, ...], says: str | None) -> None:
    found = offering_problem(MACHINES[machine], region, zones, 3)
    assert found is None if says is None else says in str(found), found


def test_every_row_is_of_the_catalogue() -> None:
    families = {name.partition(".")[0] for name in MACHINES}
    accelerators = {machine.gpu.accelerator for machine in MACHINES.values() if machine.cloud == "gce"}
    for table, known in ((_EC2, families), (_GCE, accelerators)):
        assert {line.partition(": ")[0] for line in table.strip().splitlines()} <= known
