"""`make test`: every check and test that this machine can run, the quick ones first, with a count and the skips at the end.

Stages that start the embedded platform do so on an instance of their own (``test``: own folder, own ports), so that a `dev` that runs is
not touched; whatever a test left running is stopped at the end. Stages go on after a failure: one run tells all that is wrong.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.progress import duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
INSTANCE: Final = "test"
PORT_OFFSET: Final = 4000
"""Keeps the test instance's ports (20443 to 23090) off a `dev` that runs."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of the suite."""

    name: str
    about: str
    commands: tuple[tuple[str, ...], ...] = ()
    paths: tuple[str, ...] = ()
    """For pytest; a path that does not exist is left out."""
    parallel: bool = False
    """Whether tests may run beside each other (pytest-xdist)."""
    quick: bool = False


STAGES: Final = (
    Stage(
        name="lint",
        about="ruff check, ruff format, mypy --strict",
        commands=(("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)),
        quick=True,
    ),
    Stage(name="unit", about="pure functions", paths=("tests/unit",), parallel=True, quick=True),
    Stage(name="components", about="components over the SDK's mocks", paths=("tests/components",), quick=True),
    Stage(name="charts", about="charts rendered by real Helm", paths=("tests/charts",), parallel=True),
    Stage(name="engine", about="the real engine, plugins and API server", paths=("tests/engine",)),
    Stage(name="e2e", about="real pods on the embedded platform", paths=("tests/e2e",)),
)


@dataclass(kw_only=True)
class Outcome:
    """What became of a stage."""

    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skips: list[tuple[str, str]] = field(default_factory=list)
    """Test and reason."""
    is_bad: bool = False
    note: str = ""


def read_report(file: Path, outcome: Outcome) -> None:
    """Add what pytest's JUnit report says to ``outcome``."""
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


def test_environment(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """``base`` for tests: an instance of their own, the shared cache, no cluster, cloud or stack of the user's."""
    ours = ("AWS_", "PULUMI_", "KUBE", "GOOGLE_", "TRITON_FLEET_", "HELM_")
    kept = {name: value for name, value in base.items() if not name.startswith(ours) or name == "TRITON_FLEET_CACHE"}
    for name in ("BUCKET", "S3_ENDPOINT", "CHARTS", "IMAGE", "URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        kept.pop(name, None)
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}",
        "TRITON_FLEET_HOME": str(home),
        "TRITON_FLEET_INSTANCE": INSTANCE,
        "TRITON_FLEET_PORT_OFFSET": str(PORT_OFFSET),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run_stage(stage: Stage, environment: Mapping[str, str], reports: Path, extra: Sequence[str]) -> Outcome:
    """Run one stage, its output as it comes."""
    outcome = Outcome(name=stage.name)
    began = time.monotonic()
    print(f"\n=== {stage.name}: {stage.about}", flush=True)
    for command in stage.commands:
        tool = str(Path(sys.executable).parent / command[0])
        if subprocess.run([tool, *command[1:]], cwd=ROOT, env=dict(environment), check=False).returncode:
            outcome.is_bad = True
            outcome.note = f"{outcome.note} {' '.join(command)} failed".strip()
    paths = [path for path in stage.paths if (ROOT / path).exists()]
    if paths:
        report = reports / f"{stage.name}.xml"
        pytest = [sys.executable, "-m", "pytest", *paths, f"--junit-xml={report}", "-q", *extra]
        if stage.parallel and (os.cpu_count() or 1) > 1:
            pytest += ["-n", str(min(os.cpu_count() or 1, 8))]
        code = subprocess.run(pytest, cwd=ROOT, env=dict(environment), check=False).returncode
        nothing_collected = 5
        outcome.is_bad = outcome.is_bad or code not in {0, nothing_collected}
        if code == nothing_collected:
            outcome.note = "no tests"
        if report.exists():
            read_report(report, outcome)
        elif outcome.is_bad:
            outcome.note = f"pytest ended with {code}"
    outcome.seconds = time.monotonic() - began
    return outcome


def stop_leftovers(environment: Mapping[str, str], home: Path) -> str | None:
    """Stop every instance below ``home`` that still runs; a text when one did, because then a test left it."""
    from local.platform import Platform, PlatformConfig  # noqa: PLC0415

    left = []
    for state in sorted(home.iterdir()) if home.exists() else []:
        platform = Platform(PlatformConfig(instance=state.name, port_offset=int(environment["TRITON_FLEET_PORT_OFFSET"]), root=state))
        if platform.status().running:
            platform.stop()
            left.append(state.name)
    return f"stopped what tests left running: {', '.join(left)}" if left else None


def report(outcomes: Sequence[Outcome], seconds: float) -> str:
    """The end of the run: skips with their reasons, a line a stage, the counts last."""
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite. Exit code 1 when a stage failed."""
    top = argparse.ArgumentParser(prog="make test")
    top.add_argument("--quick", action="store_true", help="only what needs no tools")
    top.add_argument("--only", action="append", choices=[stage.name for stage in STAGES], help="only this stage; may be repeated")
    parsed, extra = top.parse_known_args(arguments)
    chosen = [stage for stage in STAGES if (not parsed.only or stage.name in parsed.only) and (stage.quick or not parsed.quick)]
    began = time.monotonic()
    outcomes: list[Outcome] = []
    # Not below the checkout, and short: socket paths inside must stay below 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="tft-"))
    try:
        home, reports = folder / "home", folder / "reports"
        home.mkdir()
        reports.mkdir()
        environment = test_environment(os.environ, home)
        outcomes += [run_stage(stage, environment, reports, extra) for stage in chosen]
        left = stop_leftovers(environment, home)
        if left is not None:
            outcomes.append(Outcome(name="clean-up", is_bad=True, note=left))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report(outcomes, time.monotonic() - began), flush=True)
    return 1 if any(outcome.is_bad for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
