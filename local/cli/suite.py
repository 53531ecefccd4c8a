"""`make test`: every check and test that this machine can run, with a count and the skips at the end.

Stages run beside each other in a few lanes (local/cli/lanes.py), because half of them wait most of the time: for pods, for an autoscaler,
for a process that was killed to come back. The longest are taken first, the others quick ones first. Those that start the embedded platform
do so on instances of their own (own folders, own ports), so that a `dev` that runs is not touched; whatever a test left running is stopped
at the end. Stages go on after a failure: one run tells all that is wrong.
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
"""Keeps the test instance's ports (20443 to 23090) off a `dev` that runs."""
TEST_LIMIT_S: Final = 600.0
"""A test that takes longer hangs: the longest, a load that takes the autoscaler up and down, takes three minutes on two busy cores."""
STAGE_LIMIT_S: Final = 5400.0
"""Where even the limit of a test does not end a stage. Long, because `tools` builds everything from source when nothing is cached."""
_MYPY_CACHES: Final = 2
"""Kept: each has 300 MB, and who goes to and fro between two branches should not pay each time."""
_LANES_KIB: Final = 7 * 2**20
"""Memory for two platforms, the servers of the unit tests and the engines."""


def test_environment(base: Mapping[str, str], home: Path) -> dict[str, str]:
    """``base`` for tests: an instance of their own, the shared cache, no cluster, cloud or stack of the user's."""
    ours = ("AWS_", "PULUMI_", "KUBE", "GOOGLE_", "TRITON_FLEET_", "HELM_")
    kept = {name: value for name, value in base.items() if not name.startswith(ours) or name == "TRITON_FLEET_CACHE"}
    for name in ("BUCKET", "S3_ENDPOINT", "CHARTS", "IMAGE", "URL", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        kept.pop(name, None)
    kept.pop("PYTHONUNBUFFERED", None)  # would hide a line that is written and not flushed
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):
        # Usual in containers, and dear here: hundreds of processes would compile Pulumi, boto3 and our own modules each for itself, pytest
        # rewrite its assertions in each worker. Not beside the sources, where the user wants none; gone with the environment.
        kept["PYTHONPYCACHEPREFIX"] = str(Path(sys.prefix) / "bytecode")
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{base.get('PATH', os.defpath)}",
        "TRITON_FLEET_HOME": str(home),
        # Plugins of SDKs that are installed and not used: the engine would try five times to get each, before every command.
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "TRITON_FLEET_INSTANCE": INSTANCE,
        "TRITON_FLEET_PORT_OFFSET": str(PORT_OFFSET),
    }


def mypy_cache() -> Path:
    """Where mypy keeps what it learned, beside the tools: a fresh checkout is checked in seconds.

    mypy takes an entry only when the source's content, its own version and the options are the same; the lock file in the name keeps
    versions of the packages from pushing each other out.
    """
    key = hashlib.sha256((ROOT / "requirements-dev.lock").read_bytes() + repr(sys.version_info[:3]).encode()).hexdigest()[:12]
    return cache_root() / "mypy" / key


@contextlib.contextmanager
def only_one(folder: Path) -> Generator[None]:
    """Hold ``folder``, made when it lacks: two mypy at once would stand in each other's way in its databases. Older ones beside it go."""
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
    """One run: where things are and what was asked for."""

    environment: Mapping[str, str]
    folder: Path
    """For reports, logs and progress."""
    runner: Runner
    is_shown_at_once: bool
    """Output as it comes: nothing else runs. Else it is kept, and shown whole at the stage's end."""
    extra: Sequence[str] = ()
    """Arguments for pytest."""

    def log(self, stage: Stage) -> Path:
        """What the stage printed."""
        return self.folder / f"{stage.name}.log"

    def progress(self, stage: Stage) -> Path:
        """How far the stage is (local/cli/suite_watch.py)."""
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
                # Without a tool its tests are skipped, and say so; CI skips nothing.
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
            outcome.note = f"did not end in {duration(STAGE_LIMIT_S)} and was stopped"
        if report.exists():
            read_report(report, outcome)
        elif outcome.is_bad and code is not None:
            outcome.note = f"pytest ended with {code}"

    def _pytest(self, stage: Stage, paths: Sequence[str]) -> list[str]:
        command = [sys.executable, "-m", "pytest", *paths, *(f"--ignore={path}" for path in stage.without), "-q"]
        command += ["-p", "local.cli.suite_watch", f"--timeout={TEST_LIMIT_S:.0f}", "--durations=8", "--durations-min=5"]
        processes = min(stage.processes, os.cpu_count() or 1)
        if processes > 1:
            # In the order of ``paths``: xdist would begin with the files that have most tests, and those with few are whole stacks.
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
    """How far all stages are, in a line."""
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
    """Run the stages in so many lanes; what became of each, in their own order."""
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
    """How many stages this machine takes beside each other: two on two cores, three on four; one where memory is short."""
    memory = Path("/proc/meminfo")
    if memory.exists():
        found = re.search(r"MemAvailable:\s+(\d+) kB", memory.read_text(encoding="utf-8"))
        if found is not None and int(found[1]) < _LANES_KIB:
            return 1
    return max(1, min(3, (os.cpu_count() or 1) // 2 + 1 if (os.cpu_count() or 1) > 1 else 1, stages))


def stop_leftovers(environment: Mapping[str, str], home: Path) -> str | None:
    """Stop every instance below ``home`` that still runs; a text when one did, because then a test left it."""
    from local.platform import Platform, PlatformConfig  # noqa: PLC0415

    left = []
    for state in sorted(home.iterdir()) if home.exists() else []:
        platform = Platform(PlatformConfig(instance=state.name, port_offset=int(environment["TRITON_FLEET_PORT_OFFSET"]), root=state))
        if platform.status().phase != "stopped":
            platform.stop()
            left.append(state.name)
    return f"stopped what tests left running: {', '.join(left)}" if left else None


def choose(names: Sequence[str] | None, *, quick: bool) -> list[Stage]:
    """The stages that were asked for; `tools` only where there is something to make and a stage that waits for it."""
    chosen = [stage for stage in STAGES if (not names or stage.name in names) and (stage.quick or not quick)]
    named = TOOLS.name in (names or ())
    # Elsewhere most of them can't run: a test that needs one gets it.
    useful = sys.platform == "linux" and os.geteuid() == 0 and not quick and any(TOOLS.name in stage.after for stage in chosen)
    return [TOOLS, *(stage for stage in chosen if stage is not TOOLS)] if named or useful else [s for s in chosen if s is not TOOLS]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite. Exit code 1 when a stage failed, 130 when it was interrupted."""
    top = argparse.ArgumentParser(prog="make test", epilog="Everything else is passed on to pytest.")
    top.add_argument("--quick", action="store_true", help="only what needs no tools")
    top.add_argument("--only", action="append", choices=[stage.name for stage in STAGES], help="only this stage; may be repeated")
    top.add_argument("--lanes", type=int, help="stages beside each other (default: by cores and memory); 1 shows output as it comes")
    parsed, extra = top.parse_known_args(arguments)
    chosen = choose(parsed.only, quick=parsed.quick)
    waiting = sum(stage is not TOOLS for stage in chosen)
    lanes = lanes_here(waiting) if parsed.lanes is None else max(1, parsed.lanes)
    began = time.monotonic()
    # Not below the checkout, and short: socket paths inside must stay below 108 bytes.
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
        print("\nStopped; nothing of the tests runs any more.", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(report(outcomes, time.monotonic() - began), flush=True)
    return 1 if any(outcome.is_bad for outcome in outcomes) else 0


def _terminated(*_: object) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
