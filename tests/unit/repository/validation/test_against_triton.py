"""The same repositories on the real tritonserver: what we refuse it refuses, what we let pass it loads.

Cases "not asked" need a backend that the dev image has not, or a flag.
"""

from __future__ import annotations

import contextlib
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from tests.servers import PATIENCE_S
from tests.unit.repository.validation.cases import CASES, FINE, Case

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.unit.tritonserver import Server


def asked(verdict: str) -> list[Case]:
    return [case for case in (*CASES, *FINE) if case.triton == verdict]


def load(server: Server, case: Case, timeout_s: float = PATIENCE_S) -> str | None:
    """Load a model; None where it loads, else what Triton answers. Raises OSError without an answer."""
    is_loaded, answer = server.ask(f"repository/models/{case.name}/load", b"{}", timeout_s=timeout_s)
    return None if is_loaded else str(answer["error"])


def at_once(server: Server, cases: list[Case]) -> list[str | None]:
    """What Triton answers to each: most of a load is waiting for the model's own process."""
    with ThreadPoolExecutor(8) as threads:
        return list(threads.map(lambda case: load(server, case), cases))


def test_refused(triton: Server) -> None:
    cases = asked("refuses")
    answers = at_once(triton, cases)
    assert [case.name for case, answer in zip(cases, answers, strict=True) if answer is None] == []
    for case, answer in zip(cases, answers, strict=True):
        if case.says not in str(answer):  # the reason for which it found no model of this name is in its log
            triton.log.when(re.compile(rf"Poll failed.*'{case.name}'.*{re.escape(case.says)}").search, f"{case.name}: {case.says}")
    assert len(cases) > 90


def test_loaded(triton: Server) -> None:
    cases = asked("loads")
    answers = at_once(triton, cases)
    assert {case.name: answer for case, answer in zip(cases, answers, strict=True) if answer is not None} == {}
    served = {case.name: triton.versions(case.name) for case in cases}
    assert served == {case.name: ["1", "2"] if case.name == "fine_versions" else ["1"] for case in cases}


@pytest.mark.parametrize("case", asked("dies"), ids=lambda case: case.name)
def test_it_ends_the_server(case: Case, start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    with start_triton() as server:
        with pytest.raises(OSError):
            load(server, case)
        assert server.process.wait(timeout=PATIENCE_S) != 0


def test_a_missing_model_py_is_waited_for(start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    """Triton 2.51 does not give up for minutes; its log says at once that it looks for the file."""

    def answered(case: Case) -> str | None:
        with contextlib.suppress(OSError):
            return f"{case.name}: {load(server, case, timeout_s=3)}"
        return None

    cases = asked("hangs")
    with start_triton() as server, ThreadPoolExecutor(len(cases)) as threads:
        answers = []
        for case in cases:
            answers.append(threads.submit(answered, case))
            server.log.having(f"Python model file not found in '/models/{case.name}/")
        assert [answer.result() for answer in answers] == [None] * len(cases)
