"""The same repositories on the real tritonserver: what we refuse it refuses, what we let pass it loads.

Cases "not asked" need a backend that the dev image has not, or a flag.
"""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.servers import PATIENCE_S
from tests.unit.repository.validation.cases import CASES, FINE, Case

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.unit.repository.validation.conftest import Server


def asked(verdict: str) -> list[Case]:
    return [case for case in (*CASES, *FINE) if case.triton == verdict]


def at_once(load: Callable[[Case], str | None], cases: list[Case]) -> list[str | None]:
    """What Triton answers to each: most of a load is waiting for the model's own process."""
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(load, cases))


def test_refused(triton: Server) -> None:
    cases = asked("refuses")
    answers = at_once(lambda case: triton.load(case.name), cases)
    assert [case.name for case, answer in zip(cases, answers, strict=True) if answer is None] == []
    for case, answer in zip(cases, answers, strict=True):
        if case.says not in str(answer):
            triton.says(case.name, case.says)
    assert len(cases) > 90


def test_loaded(triton: Server) -> None:
    cases = asked("loads")
    answers = at_once(lambda case: triton.load(case.name), cases)
    assert {case.name: answer for case, answer in zip(cases, answers, strict=True) if answer is not None} == {}
    served = {case.name: triton.versions(case.name) for case in cases}
    assert served == {case.name: ["1", "2"] if case.name == "fine_versions" else ["1"] for case in cases}


@pytest.mark.parametrize("case", asked("dies"), ids=lambda case: case.name)
def test_it_ends_the_server(case: Case, start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    with start_triton() as server:
        with pytest.raises(OSError):
            server.load(case.name)
        assert server.process.wait(timeout=PATIENCE_S) != 0


def test_a_missing_model_py_is_waited_for(start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    """Triton 2.51 does not give up for minutes; its log says at once that it looks for the file."""

    def answered(case: Case) -> str | None:
        with contextlib.suppress(OSError):
            return f"{case.name}: {server.load(case.name, timeout_s=3)}"
        return None

    cases = asked("hangs")
    with start_triton() as server, ThreadPoolExecutor(len(cases)) as threads:
        answers = []
        for case in cases:
            answers.append(threads.submit(answered, case))
            server.log.having(f"Python model file not found in '/models/{case.name}/")
        assert [answer.result() for answer in answers] == [None] * len(cases)
