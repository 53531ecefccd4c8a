"""`make test`: run all checks and tests that this machine supports; report counts and skips at the end.

Stages run in parallel in a few lanes (local/cli/lanes.py), because half of them mostly wait: for pods, for an autoscaler, for a restart.
The longest stages start first. Stages that start the embedded platform use their own instances (folders and ports), so that a running `dev`
is not affected; instances that a test left running are stopped at the end. A failed stage does not stop the others: one run reports every
failure.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from local.cli import suite_watch
from local.cli.errors import Terminated
from local.cli.lanes import Lanes, Runner
from local.cli.outcomes import Outcome, read_report, report
from local.cli.screen import Screen
from local.cli.stages import STAGES, TOOLS, Stage
from local.paths import cache_root
from local.progress import duration

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
INSTANCE: Final = "test"
PORT_OFFSET: Final = 4000
"""Keeps the test instance's ports (20443 to 23090) apart from a running `dev`."""
TEST_LIMIT_S: Final = 600.0
"""A longer test counts as hung: the longest, which scales up and down under load, takes three minutes on two busy cores."""
STAGE_LIMIT_S: Final = 5400.0
"""Time limit of a stage. Long, because `tools` builds everything from source when nothing is cached."""
_MYPY_CACHES: Final = 2
"""Caches to keep, of 300 MB each: two, for switching between two branches."""
_LANES_KIB: Final = 7 * 2**20
"""Available memory for more than one lane: two platforms, the servers of the unit tests, and the engines."""


def test_environment(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """``base`` for tests: their own instance and the shared cache, without the user's cluster, cloud or stack."""
    ours = ("AWS_", "PULUMI_", "KUBE", "GOOGLE_", "TRITON_FLEET_", "HELM_")
    kept = {name: value for name, value in base.items() if not name.startswith(ours) or name == "TRITON_FLEET_CACHE"}
    for name in ("BUCKET", "S3_ENDPOINT", "CHARTS", "IMAGE", "URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        kept.pop(name, None)
    kept.pop("PYTHONUNBUFFERED", None)  # would hide a missing flush
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):
        # Common in containers, but slow: hundreds of processes would each compile Pulumi, boto3 and this project, and pytest would rewrite
        # assertions in every worker. The bytecode goes into the environment instead of next to the sources.
        kept["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix) / "bytecode")
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}",
        "TRITON_FLEET_HOME": str(home),
        # Otherwise, before every command, the engine tries five times to download the plugin of each installed SDK that is not used.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "TRITON_FLEET_INSTANCE": INSTANCE,
        "TRITON_FLEET_PORT_OFFSET": str(PORT_OFFSET),
    }


def mypy_cache() -> Path:
    """Folder of mypy's cache, next to the tools: a fresh checkout is checked in seconds.

    mypy uses an entry only if the source's content, its own version and the options match. The name depends on the lock file, so that
    different package versions do not replace each other's entries.
    """
    key = hashlib.sha256((ROOT / "requirements-dev.lock").read_bytes() + repr(sys.version_info[:3]).encode()).hexdigest()[:12]
    return cache_root() / "mypy" / key


@contextlib.contextmanager
def only_one(folder: Path) -> Generator[None]:
    """Lock ``folder``, because two mypy processes can't share its databases; create it if missing, and delete older caches."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.utime(folder)
        others = sorted((path for path in folder.parent.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime)
        for old in others[:-_MYPY_CACHES]:
            shutil.rmtree(old, ignore_errors=True)
        yield


@dataclass(frozen=True, kw_only=True)
class Suite:
    """One run of the suite."""

    environment: Mapping[str, str]
    folder: Path
    """For reports, logs and progress files."""
    runner: Runner
    is_shown_at_once: bool
    """Whether output is shown as it comes, because only one stage runs at a time; otherwise it is shown when the stage ends."""
    extra: Sequence[str] = ()
    """Arguments for pytest."""

    def log(self, stage: Stage) -> Path:
        """The stage's output."""
        return self.folder / f"{stage.name}.log"

    def progress(self, stage: Stage) -> Path:
        """The stage's progress file (local/cli/suite_watch.py)."""
        return self.folder / f"{stage.name}.progress"

    def run(self, stage: Stage) -> Outcome:
        """Run one stage."""
        outcome = Outcome(name=stage.name)
        began = time.monotonic()
        if self.is_shown_at_once:
            print(f"\n=== {stage.name}: {stage.about}", flush=True)
            self._run(stage, outcome, None)
        else:
            with self.log(stage).open("wb") as output:
                self._run(stage, outcome, output)
        outcome.seconds = time.monotonic() - began
        return outcome

    def _run(self, stage: Stage, outcome: Outcome, output: IO[bytes] | None) -> None:
        for command in stage.commands:
            with only_one(mypy_cache()) if command[0] == "mypy" else contextlib.nullcontext():
                code = self._call(_program(command), stage, output)
            if code != 0:
                # Tests without their tool are skipped, with a reason. In CI nothing may be skipped.
                outcome.is_bad = stage is not TOOLS or bool(self.environment.get("CI"))
                outcome.note = f"{outcome.note} {' '.join(command)} failed".strip()
        paths = [path for path in stage.paths if (ROOT / path).exists()]
        if stage.paths and not paths:
            outcome.note = "no tests"
        if not paths:
            return
        report = self.folder / f"{stage.name}.xml"
        code = self._call([*self._pytest(stage, paths), f"--junit-xml={report}"], stage, output)
        nothing_collected = 5
        outcome.is_bad = code not in {0, nothing_collected}
        if code == nothing_collected:
            outcome.note = "no tests"
        if code is None:
            outcome.note = f"stopped after {duration(STAGE_LIMIT_S)}"
        if report.exists():
            read_report(report, outcome)
        elif outcome.is_bad and code is not None:
            outcome.note = f"pytest ended with {code}"

    def _pytest(self, stage: Stage, paths: Sequence[str]) -> list[str]:
        command = [sys.executable, "-m", "pytest", *paths, *(f"--ignore={path}" for path in stage.without), "-q"]
        command += ["-p", "local.cli.suite_watch", f"--timeout={TEST_LIMIT_S:.0f}", "--durations=8", "--durations-min=5"]
        processes = min(stage.processes, os.cpu_count() or 1)
        if processes > 1:
            # Keep the order of ``paths``: xdist would start with the files that have the most tests, but those with few run whole stacks.
            command += ["-n", str(processes), "--dist", stage.distribution, "--no-loadscope-reorder"]
        return [*command, *self.extra]

    def _call(self, command: Sequence[str], stage: Stage, output: IO[bytes] | None) -> int | None:
        environment = {**self.environment, suite_watch.VARIABLE: str(self.progress(stage))}
        nice = 0 if self.is_shown_at_once else stage.nice
        return self.runner.run(command, cwd=ROOT, environment=environment, output=output, limit_s=STAGE_LIMIT_S, nice=nice)


def _program(command: Sequence[str]) -> list[str]:
    if command[0].startswith("local."):
        return [sys.executable, "-m", *command]
    more = ["--cache-dir", str(mypy_cache())] if command[0] == "mypy" else []
    return [str(Path(sys.executable).parent / command[0]), *command[1:], *more]


def status(lanes: Lanes[Stage, Outcome], suite: Suite, chosen: Sequence[Stage], began: float) -> str:
    """One line with the progress of all stages."""
    parts = []
    for stage in chosen:
        if stage.name in lanes.results:
            parts.append(f"{stage.name} {'FAILED' if lanes.results[stage.name].is_bad else 'ok'}")
        elif stage.name in lanes.running:
            seen = suite_watch.read(suite.progress(stage))
            bad = f", {seen.failed} failed" if seen is not None and seen.failed else ""
            parts.append(stage.name if seen is None else f"{stage.name} {seen.done}/{seen.total}{bad} ({seen.test})")
    return f"[{int(time.monotonic() - began) // 60:3}:{int(time.monotonic() - began) % 60:02}] " + " | ".join(parts)


def run_stages(suite: Suite, chosen: Sequence[Stage], lanes: int) -> list[Outcome]:
    """Run the stages in ``lanes`` lanes; return their outcomes in order."""
    began, screen = time.monotonic(), Screen()

    def show(stage: Stage, outcome: Outcome) -> None:
        if suite.is_shown_at_once:
            return
        verdict = "FAILED" if outcome.is_bad else "ok"
        screen.end(f"=== {stage.name}: {stage.about}: {verdict}, {duration(outcome.seconds)}", suite.log(stage))

    work: Lanes[Stage, Outcome] = Lanes(count=lanes, work=suite.run, show=show)
    order = chosen if lanes == 1 else sorted(chosen, key=lambda stage: not stage.first)

    def tick() -> None:
        if suite.is_shown_at_once:
            return
        for stage in chosen:
            if stage.is_told and stage.name in work.running:
                screen.follow(suite.log(stage))
        screen.draw(status(work, suite, chosen, began))

    try:
        work.run(order, tick, suite.runner)
    finally:
        screen.hide()
    return [work.results[stage.name] for stage in chosen if stage.name in work.results]


def lanes_here(stages: int) -> int:
    """How many stages this machine runs in parallel: two on two cores, three on four; one if memory is short."""
    memory = Path("/proc/meminfo")
    if memory.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", memory.read_text(encoding="utf-8"))
        if found is not None and int(found[1]) < _LANES_KIB:
            return 1
    return max(1, min(3, (os.cpu_count() or 1) // 2 + 1 if (os.cpu_count() or 1) > 1 else 1, stages))


def stop_leftovers(environment: Mapping[str, str], home: Path) -> str | None:
    """Stop every instance in ``home`` that still runs; return a message if there was one, because a test must stop its own."""
    from local.platform import Platform, PlatformConfig  # noqa: PLC0415

    left = []
    for state in sorted(home.iterdir()) if home.exists() else []:
        platform = Platform(PlatformConfig(instance=state.name, port_offset=int(environment["TRITON_FLEET_PORT_OFFSET"]), root=state))
        if platform.status().phase != "stopped":
            platform.stop()
            left.append(state.name)
    return f"stopped instances that tests left running: {', '.join(left)}" if left else None


def choose(names: Sequence[str] | None, *, quick: bool) -> list[Stage]:
    """The requested stages; `tools` only if it can build them and another stage needs it."""
    chosen = [stage for stage in STAGES if (not names or stage.name in names) and (stage.quick or not quick)]
    named = TOOLS.name in (names or ())
    # On other systems most tools can't run: tests get the few that they need.
    useful = sys.platform == "linux" and os.geteuid() == 0 and not quick and any(TOOLS.name in stage.after for stage in chosen)
    return [TOOLS, *(stage for stage in chosen if stage is not TOOLS)] if named or useful else [s for s in chosen if s is not TOOLS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite. Exit code 1 if a stage failed, 130 if interrupted."""
    top = argparse.ArgumentParser(prog="make test", epilog="All other arguments are passed to pytest.")
    top.add_argument("--quick", action="store_true", help="only stages that need no tools")
    top.add_argument("--only", action="append", choices=[stage.name for stage in STAGES], help="only this stage; may be repeated")
    top.add_argument("--lanes", type=int, help="parallel stages (default: by cores and memory); 1 shows output as it comes")
    parsed, extra = top.parse_known_args(arguments)
    chosen = choose(parsed.only, quick=parsed.quick)
    waiting = sum(stage is not TOOLS for stage in chosen)
    lanes = lanes_here(waiting) if parsed.lanes is None else max(1, parsed.lanes)
    began = time.monotonic()
    # Outside the checkout, because paths of sockets in it must stay below 108 bytes.
    folder = Path(tempfile.mkdtemp(prefix="tft-"))
    signal.signal(signal.SIGTERM, _terminated)
    try:
        home = folder / "home"
        home.mkdir()
        environment = test_environment(os.environ, home)
        suite = Suite(environment=environment, folder=folder, runner=Runner(), is_shown_at_once=lanes == 1, extra=extra)
        try:
            outcomes = run_stages(suite, chosen, lanes)
        finally:
            left = stop_leftovers(environment, home)
        if left is not None:
            outcomes.append(Outcome(name="clean-up", is_bad=True, note=left))
    except KeyboardInterrupt:
        print("\nInterrupted; all tests have been stopped.", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report(outcomes, time.monotonic() - began), flush=True)
    return 1 if any(outcome.is_bad for outcome in outcomes) else 0


def _terminated(*_: object) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
