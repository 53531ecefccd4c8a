"""The same repositories on the real tritonserver: what we refuse it refuses, what we let pass it loads.

Cases "not asked" need a backend that the dev image has not, or a flag.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.unit.repository.validation.cases import CASES, FINE, Case

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.unit.repository.validation.conftest import Server


def asked(verdict: str) -> list[Case]:
    return [case for case in (*CASES, *FINE) if case.triton == verdict]


@pytest.mark.parametrize("case", asked("refuses"), ids=lambda case: case.name)
def test_refused(case: Case, triton: Server) -> None:
    answer = triton.load(case.name)
    assert answer is not None
    assert case.says in answer


@pytest.mark.parametrize("case", asked("loads"), ids=lambda case: case.name)
def test_loaded(case: Case, triton: Server) -> None:
    assert triton.load(case.name) is None
    assert triton.versions(case.name) == (["1", "2"] if case.name == "fine_versions" else ["1"])


@pytest.mark.parametrize("case", asked("dies"), ids=lambda case: case.name)
def test_it_ends_the_server(case: Case, start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    with start_triton() as server:
        with pytest.raises(OSError):
            server.load(case.name)
        assert server.process.wait(timeout=60) != 0


def test_a_missing_model_py_is_waited_for(start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    """Triton 2.51 does not give up for minutes; its log says at once that it looks for the file."""
    with start_triton() as server:
        for case in asked("hangs"):
            with contextlib.suppress(OSError):
                server.load(case.name, timeout=3)
                pytest.fail(f"{case.name} got an answer")
        log = server.log.read_text(encoding="utf-8", errors="replace")
    for case in asked("hangs"):
        assert f"Python model file not found in '/models/{case.name}/" in log
