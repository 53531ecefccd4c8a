"""What bench/preview compares before it measures."""

from __future__ import annotations

import json

import pytest

from bench.preview import check_same


def steps(*urns: str) -> str:
    return json.dumps({"steps": [{"urn": f"urn:pulumi:dev::p::{urn}"} for urn in urns]})


def test_components_are_no_difference() -> None:
    fleet = "triton-fleet:fleet:TritonFleet"
    check_same("eks", steps(f"{fleet}::fleet", f"{fleet}$aws:ec2/vpc:Vpc::vpc"), steps("aws:ec2/vpc:Vpc::vpc"))


def test_a_resource_of_one_side_only_is_named() -> None:
    with pytest.raises(ValueError, match=r"only ours plans \['aws:ec2/vpc:Vpc vpc'\], only the flat file \[\]"):
        check_same("eks", steps("aws:ec2/vpc:Vpc::vpc"), steps())
