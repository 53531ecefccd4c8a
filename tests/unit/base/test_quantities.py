"""Quantities and durations."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.base.quantities import parse_duration, prometheus_duration, quantity, quantity_value, whole_seconds


def value_of(text: str) -> float:
    """Read a quantity, by the definition of its suffixes."""
    number, suffix = re.fullmatch(r"(\d+)(m|k|M|G)?", text).groups()  # type: ignore[union-attr]
    return int(number) * {None: 1.0, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9}[suffix]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (50_000, "50k"),
        (16, "16"),
        (0.5, "500m"),
        (1.0, "1"),
        (1500, "1500"),
        (1_000_000, "1M"),
        (2e9, "2G"),
        (0.001, "1m"),
        (10.25, "10250m"),
    ],
)
def test_quantities_are_canonical(value: float, text: str) -> None:
    assert quantity(value) == text


@given(st.floats(min_value=0.001, max_value=1e9))
def test_quantities_read_back(value: float) -> None:
    assert value_of(quantity(value)) == pytest.approx(value, abs=0.0005 + 1e-12 * value)


@pytest.mark.parametrize("value", [0, -1, 0.0001, math.inf, math.nan])
def test_what_is_no_target_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"at least 0\.001"):
        quantity(value)


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (60, "60s"),
        (5.0, "5s"),
        (2.5, "2500ms"),
        (1.0, "1s"),
        (0.5, "500ms"),
        (90.0, "90s"),
        (1.5, "1500ms"),
        (0.0001, "1ms"),
        (3600.0, "3600s"),
    ],
)
def test_durations(seconds: float, written: str) -> None:
    assert prometheus_duration(seconds) == written


@given(st.integers(min_value=1, max_value=10**9))
def test_a_written_duration_reads_back(milliseconds: int) -> None:
    written = prometheus_duration(milliseconds / 1000)
    # The operator's own pattern for durations, in the part that is written here.
    assert re.fullmatch(r"(([0-9]+)s)?(([0-9]+)ms)?", written)
    assert parse_duration(written) == pytest.approx(milliseconds / 1000)


def test_budgets_are_rounded_up() -> None:
    assert whole_seconds(4.2) == 5
    assert whole_seconds(5.0) == 5


@pytest.mark.parametrize(("text", "value"), [("4", 4), ("500m", 0.5), ("1Ki", 1024), ("1.5G", 1.5e9), ("2Ti", 2 << 40)])
def test_a_quantity_stands_for_a_number(text: str, value: float) -> None:
    assert quantity_value(text) == value


@pytest.mark.parametrize("text", ["", "4gi", "Gi", "-1", "1e3", "4 Gi", "1.", "4Gi\n"])
def test_what_is_not_a_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        quantity_value(text)
