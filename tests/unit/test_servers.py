"""The waits and the ports that all other tests rely on."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conftest import ROOT
from tests.servers import Text, eventually, free_ports, hold

if TYPE_CHECKING:
    from pathlib import Path


def test_an_answer_is_asked_for_until_it_holds() -> None:
    answers = iter(list[int | Exception]([OSError("refused"), 13, 16]))

    def ask() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert eventually(ask, "all requests", lambda count: count == 16) == 16


def test_what_never_comes_is_told_with_the_last_answer() -> None:
    with pytest.raises(AssertionError, match=r"all requests: not within 0 s; last: 13"):
        eventually(lambda: 13, "all requests", lambda count: count == 16, within_s=0)


def test_a_process_that_has_ended_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("no such model")
    with subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"]) as process:
        process.wait()
        with pytest.raises(AssertionError, match=r"'ready' in .*: the process ended with 3; last: 'no such model'"):
            Text(tmp_path / "log", process).having("ready")
        assert Text(tmp_path / "log", process).having("such", "model") == "no such model"


def test_a_port_is_one_process_own() -> None:
    ports = free_ports(3)
    assert len(set(ports)) == 3
    assert not hold(ports[:1])
    code = f"from tests.servers import hold; print([hold([port]) for port in {ports}])"
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert other.stdout == "[False, False, False]\n"
