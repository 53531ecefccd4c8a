"""How many pods a pool can hold."""

from __future__ import annotations

import pytest

from components.gpu import catalogue
from components.stack.capacity import PoolCapacity


@pytest.mark.parametrize(("each", "expected"), [(1, 8), (3, 2), (4, 2), (5, 0)])
def test_pods_do_not_span_nodes(each: int, expected: int) -> None:
    machine = catalogue.machine("g6.12xlarge")
    pool = PoolCapacity(name="l4", labels={}, resource=catalogue.RESOURCE, per_pod=4, units=8, machines=(machine,), nodes=2)
    assert pool.holds(each) == expected
