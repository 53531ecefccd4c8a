"""Processes that start warm are to whoever starts them what others are: arguments, streams, exit codes, signals, their end."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.doubles.warm import Warm
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with Warm(tmp_path_factory.mktemp("warm")) as started:
        yield started


def run(warm: Warm, *arguments: str, given: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [warm.python, *arguments], input=given, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_it_is_the_process_that_was_asked_for(warm: Warm, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import os, sys\nprint(sys.argv, os.environ['WISH'], sys.stdin.read(), __name__)\nprint('!', file=sys.stderr)\n")
    done = run(warm, "-u", "-P", str(script), "a b", given="words", WISH="")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"['{script}', 'a b']  words __main__\n", "!\n")
    assert run(warm, "-c", "import sys; print(sys.argv)", "x").stdout == "['-c', 'x']\n"
    assert run(warm, "-u", "-m", "json.tool", "--compact", given="[1, 2]").stdout == "[1,2]\n"


def test_what_it_writes_is_there_at_once(warm: Warm, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As Pulumi's dynamic provider tells its port: to the stream below the text, without a flush."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    (tmp_path / "other").mkdir()
    with Warm(tmp_path / "other") as other:
        code = "import sys; sys.stdout.buffer.write(b'1234\\n'); sys.stdin.read()"
        with subprocess.Popen([other.python, "-u", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "1234\n"
            process.communicate()


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import sys; sys.exit(32)", 32, ""),
        ("raise SystemExit('no')", 1, "no\n"),
        ("raise ValueError('wrong')", 1, "ValueError: wrong\n"),
        ("import os; os._exit(7)", 7, ""),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
    ],
)
def test_how_it_ends(warm: Warm, code: str, status: int, said: str) -> None:
    done = run(warm, "-c", code)
    assert done.returncode == status
    assert done.stderr.endswith(said)


def test_what_one_has_imported_the_next_one_finds(warm: Warm, tmp_path: Path) -> None:
    code = "import sys; print('colorsys' in sys.modules, 'mine' in globals()); import colorsys; mine = 1"
    assert run(warm, "-c", code).stdout == "False False\n"
    assert run(warm, "-c", code).stdout == "True False\n"


def begin(warm: Warm, code: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [warm.python, "-c", f"import os, time; print(os.getpid(), flush=True)\n{code}"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def test_signals_are_passed_on(warm: Warm) -> None:
    for _ in range(10):  # it may come before the one that waits for the process does so
        process, _ = begin(
            warm, "try:\n    print('ready', flush=True)\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('interrupted')"
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.communicate()[0] == "interrupted\n"
        assert process.returncode == 0


def test_it_is_killed_with_what_it_has_started(warm: Warm) -> None:
    process, pid = begin(warm, "import subprocess\nprint(subprocess.Popen(['sleep', '60']).pid, flush=True)\ntime.sleep(60)")
    assert process.stdout is not None
    other = int(process.stdout.readline())
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    eventually(lambda: not alive(pid) and not alive(other), "the end of both")


def alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has asked for its exit code does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return state != "" and not state.startswith("Z")


def test_it_ends_with_its_server(tmp_path: Path) -> None:
    with Warm(tmp_path / "own") as server:
        process, pid = begin(server, "time.sleep(60)")
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    eventually(lambda: not alive(pid), "the end of what it started")
