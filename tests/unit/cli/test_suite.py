"""`make test` itself: stages in lanes, their limits, their progress."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

import pytest

from local.cli import outcomes, suite, suite_watch
from local.cli.lanes import Lanes, Runner
from local.cli.screen import Line, Screen
from local.cli.stages import STAGES, Stage
from tests.conftest import ROOT
from tests.servers import Text

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Job:
    name: str
    after: tuple[str, ...] = ()


def run(jobs: list[Job], lanes: int) -> tuple[list[str], list[str]]:
    """Names in the order of their starts, and of their ends."""
    started: list[str] = []
    ended: list[str] = []

    def work(job: Job) -> str:
        started.append(job.name)
        return job.name.upper()

    it = Lanes[Job, str](count=lanes, work=work, show=lambda job, result: ended.append(f"{job.name}={result}"))
    it.run(jobs, lambda: None, Runner())
    return started, ended


def test_one_lane_keeps_the_order() -> None:
    assert run([Job("a"), Job("b"), Job("c")], 1) == (["a", "b", "c"], ["a=A", "b=B", "c=C"])


def test_a_job_waits_for_those_it_comes_after() -> None:
    started, ended = run([Job("late", after=("early", "absent")), Job("other"), Job("early")], 3)
    assert started.index("late") > started.index("early")
    assert sorted(ended) == ["early=EARLY", "late=LATE", "other=OTHER"]


def test_two_lanes_run_two_at_a_time() -> None:
    both = threading.Barrier(2, timeout=60)

    def work(_: Job) -> None:
        both.wait()

    it = Lanes[Job, None](count=2, work=work, show=lambda *_: None)
    it.run([Job(name) for name in "abcd"], lambda: None, Runner())
    assert sorted(it.results) == list("abcd")
    assert it.running == {}


def test_what_a_job_raises_ends_the_run_and_is_told() -> None:
    def work(job: Job) -> None:
        raise ValueError(job.name)

    with pytest.raises(ValueError, match="a"):
        Lanes[Job, None](count=1, work=work, show=lambda *_: None).run([Job("a"), Job("b")], lambda: None, Runner())


def call(runner: Runner, code: str, output: IO[bytes], limit_s: float = 60.0) -> int | None:
    return runner.run([sys.executable, "-c", code], cwd=ROOT, environment=os.environ, output=output, limit_s=limit_s, nice=1)


SLEEPER = "import os, sys, time; print(os.getpid(), flush=True); time.sleep(600)"


def test_a_program_gives_its_code_and_its_output(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as output:
        assert call(Runner(), "import sys; print('said'); print('too', file=sys.stderr); sys.exit(3)", output) == 3
    assert sorted((tmp_path / "out").read_text().split()) == ["said", "too"]


def test_a_program_that_takes_too_long_is_interrupted(tmp_path: Path) -> None:
    code = "import time\ntry:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    print('in order', flush=True)"
    with (tmp_path / "out").open("wb") as output:
        assert call(Runner(), code, output, limit_s=2.0) is None


def test_a_stop_ends_what_runs_and_starts_nothing_more(tmp_path: Path) -> None:
    runner, codes = Runner(), list[int | None]()
    with (tmp_path / "out").open("wb") as output:
        thread = threading.Thread(target=lambda: codes.append(call(runner, SLEEPER, output)))
        thread.start()
        pid = int(Text(tmp_path / "out").having("\n"))
        runner.stop()
        thread.join(60)
        assert codes
        assert codes[0] != 0
        assert call(runner, SLEEPER, output) is None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_line_is_redrawn_on_a_terminal_and_rare_in_a_log() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, log = Terminal(), io.StringIO()
    for out in (terminal, log):
        line = Line(out)
        line.draw("first")
        line.draw("second")
        line.hide()
    assert terminal.getvalue().count("\r") == 3
    assert log.getvalue() == ""


def test_what_a_stage_prints_is_shown_once(tmp_path: Path) -> None:
    out, log = io.StringIO(), tmp_path / "tools.log"
    screen = Screen(out)
    screen.follow(log)
    log.write_text("build of kubernetes ... (about 6 min)\nbuild of kub")
    screen.follow(log)
    screen.follow(log)
    assert out.getvalue() == "build of kubernetes ... (about 6 min)\n"
    with log.open("a") as file:
        file.write("ernetes: done\nlast")
    screen.end("=== tools: ok", log)
    assert out.getvalue().split("\n", 1)[1] == "\n=== tools: ok\nbuild of kubernetes: done\nlast"


def test_a_letter_that_the_terminal_lacks_ends_nothing(tmp_path: Path) -> None:
    out, log = io.TextIOWrapper(io.BytesIO(), encoding="ascii"), tmp_path / "unit.log"
    log.write_bytes("1 → 2 \xff".encode() + b"\xff\n")
    Screen(out).end("=== unit: ok", log)
    assert out.buffer.getvalue().decode() == "\n=== unit: ok\n1 \\u2192 2 \\xff\\ufffd\n"


TESTS = """
import pytest

@pytest.mark.parametrize("n", range(5))
def test_numbers(n): assert n != 3

@pytest.mark.skip(reason="because")
def test_left(): pass
"""


@pytest.mark.parametrize("processes", [0, 2])
def test_progress_counts_with_and_without_processes(tmp_path: Path, processes: int) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    file = tmp_path / "progress"
    assert suite_watch.read(file) is None
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "local.cli.suite_watch"),
            *("-n", str(processes), "-c", os.devnull, str(tmp_path)),
        ],
        cwd=ROOT,
        # All other plugins take a second to load in each of the processes.
        env={**os.environ, suite_watch.VARIABLE: str(file), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    seen = suite_watch.read(file)
    assert seen is not None
    assert (seen.done, seen.failed, seen.total) == (6, 1, 6)
    assert seen.test in {"test_numbers", "test_left"}


def test_a_line_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "progress"
    file.write_text("1 0 5 test_a\n2 0 ")
    assert suite_watch.read(file) == suite_watch.Progress(done=1, failed=0, total=5, test="test_a")
    file.write_text("what is this\n")
    assert suite_watch.read(file) is None


def test_every_test_file_belongs_to_one_stage() -> None:
    def has(stage: Stage, path: Path) -> bool:
        def below(places: tuple[str, ...]) -> bool:
            return any(path == ROOT / place or (ROOT / place) in path.parents for place in places)

        return below(stage.paths) and not below(stage.without)

    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        stages = [stage.name for stage in STAGES if has(stage, path)]
        assert len(stages) == 1, f"{path.relative_to(ROOT)} belongs to stages {stages}"


def test_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert [stage.name for stage in suite.choose(None, quick=False)] == [stage.name for stage in STAGES]
    assert [stage.name for stage in suite.choose(None, quick=True)] == ["lint", "unit", "components"]
    assert [stage.name for stage in suite.choose(["engine"], quick=False)] == ["tools", "engine"]
    assert [stage.name for stage in suite.choose(["lint"], quick=False)] == ["lint"]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "tools" not in [stage.name for stage in suite.choose(None, quick=False)]


def test_the_state_of_all_is_one_line(tmp_path: Path) -> None:
    chosen = [stage for stage in STAGES if stage.name in {"lint", "unit", "e2e"}]
    it = suite.Suite(environment={}, folder=tmp_path, runner=Runner(), is_shown_at_once=False)
    lanes = Lanes[Stage, outcomes.Outcome](count=2, work=it.run, show=lambda *_: None)
    lanes.results["lint"] = outcomes.Outcome(name="lint", is_bad=True)
    lanes.running |= {"unit": 0.0, "e2e": 0.0}
    it.progress(chosen[1]).write_text("3 1 9 test_x\n")
    assert suite.status(lanes, it, chosen, 0.0).split("] ")[1] == "lint FAILED | unit 3/9, 1 failed (test_x) | e2e"


def test_tests_download_no_plugins(tmp_path: Path) -> None:
    found = suite.test_environment({"PATH": "/bin", "PULUMI_HOME": "/mine", "LANG": "C"}, tmp_path)
    assert found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert "PULUMI_HOME" not in found
    assert found["LANG"] == "C"
