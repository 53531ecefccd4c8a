"""Outcomes of the stages of `make test`, and the final report."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from local.progress import duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(kw_only=True)
class Outcome:
    """Outcome of a stage."""

    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skips: list[tuple[str, str]] = field(default_factory=list)
    """Test and reason."""
    is_bad: bool = False
    note: str = ""


def read_report(file: Path, outcome: Outcome) -> None:
    """Add the results in pytest's JUnit report to ``outcome``."""
    for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314 (pytest wrote it a moment ago)
        name = f"{case.get('classname', '')}::{case.get('name', '')}"
        skipped = case.find("skipped")
        if skipped is not None:
            if skipped.get("type") != "pytest.xfail":
                outcome.skips.append((name, skipped.get("message") or "no reason given"))
            else:
                outcome.passed += 1
        elif case.find("failure") is not None or case.find("error") is not None:
            outcome.failed += 1
        else:
            outcome.passed += 1


def report(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The final report: skips with reasons, a line for each stage, and the totals."""
    lines = [""]
    skips = [(reason, test) for outcome in outcomes for test, reason in outcome.skips]
    if skips:
        reasons: dict[str, list[str]] = {}
        for reason, test in skips:
            reasons.setdefault(reason, []).append(test)
        lines.append("Skipped:")
        for reason, tests in sorted(reasons.items()):
            more = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
            lines.append(f"  {tests[0]}{more}: {reason}")
    else:
        lines.append("Nothing was skipped.")
    for outcome in outcomes:
        verdict = "FAILED" if outcome.is_bad else "ok"
        counts = f"{outcome.passed} passed, {outcome.failed} failed, {len(outcome.skips)} skipped"
        note = f"  ({outcome.note})" if outcome.note else ""
        lines.append(f"  {outcome.name:<11} {verdict:<7} {counts:<36} {duration(outcome.seconds):>12}{note}")
    passed, failed, skipped = (
        sum(outcome.passed for outcome in outcomes),
        sum(outcome.failed for outcome in outcomes),
        sum(len(outcome.skips) for outcome in outcomes),
    )
    bad = [outcome.name for outcome in outcomes if outcome.is_bad]
    end = f"; FAILED: {', '.join(bad)}" if bad else ""
    lines.append(f"{passed} passed, {failed} failed, {skipped} skipped in {duration(seconds)}{end}")
    return "\n".join(lines)
