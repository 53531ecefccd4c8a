"""`up` goes on where it was killed or interrupted, wherever that was.

From the checkout whose stack file asks for prefetching: what is served in the end is what test_prefetch.py looks at.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.instances import NAMESPACES, Instance, interrupt, kill_at, run_until

if TYPE_CHECKING:
    from collections.abc import Sequence

pytestmark = pytest.mark.e2e


def test_up_ends_well_after_kills_at_five_moments_and_an_interrupt(empty: Instance, edited: Instance) -> None:
    assert not NAMESPACES & empty.namespaces()
    first: Sequence[tuple[str, bool]] = (
        (r"Namespace \S+ creating", False),
        (r"Release kps creating", True),
    )
    then: Sequence[tuple[str, bool]] = (
        (r"Release prometheus-adapter creating", False),
        (r"Release dcgm-exporter creating|Chart triton creating", True),
        (r"Deployment triton\S* creating", False),
    )
    for moment, everything in first:
        kill_at(edited, "up", moment, everything=everything)
    code, text = run_until(edited, "up", "Release kps creating", interrupt)
    assert code == 130, text
    assert "to continue where it stopped" in text
    for moment, everything in then:
        kill_at(edited, "up", moment, everything=everything)
    output = edited.up()
    assert "Triton serves" in output
    edited.shell("pulumi preview --expect-no-changes --non-interactive")
    assert {one["status"] for one in json.loads(edited.shell("helm list -A --all -o json || helm list -A -o json"))} == {"deployed"}
