"""The same repositories on the real tritonserver: what we refuse it refuses, what we let pass it loads.

Cases "not asked" need a backend that the dev image has not, or a flag.
"""

from __future__ import annotations

import contextlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import pytest

from tests.servers import PATIENCE_S
from tests.unit.repository.validation.cases import CASES, FINE, Case

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.unit.tritonserver import Server


T = TypeVar("T")


def asked(verdict: str) -> list[Case]:
    return [case for case in (*CASES, *FINE) if case.triton == verdict]


def load(server: Server, case: Case, timeout_s: float = PATIENCE_S) -> str | None:
    """Load a model; None where it loads, else what Triton answers. Raises OSError without an answer."""
    is_loaded, answer = server.ask(f"repository/models/{case.name}/load", b"{}", timeout_s=timeout_s)
    return None if is_loaded else str(answer["error"])


def of_each(start: Callable[[], AbstractContextManager[Server]], cases: list[Case], look: Callable[[Server, Case], T]) -> dict[str, T]:
    """What ``look`` finds for each case, several at once: most of a load is waiting for the model's own process.

    Triton 2.51 itself may abort when models fail to load at once on a busy machine: its Python backend waits at most 10 s for a lock, and
    a thread of an instance is stopped after its model is gone. Cases without an answer are then asked of a new server. One that ends
    every server is not in the result.
    """
    found: dict[str, T] = {}

    def ask(server: Server, case: Case) -> None:
        with contextlib.suppress(OSError):
            found[case.name] = look(server, case)

    for _ in range(3):
        if left := [case for case in cases if case.name not in found]:
            with start() as server, ThreadPoolExecutor(os.cpu_count()) as threads:
                list(threads.map(ask, [server] * len(left), left))
    return found


def test_refused(start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    def refusal(server: Server, case: Case) -> str | None:
        answer = load(server, case)
        if answer is not None and case.says not in answer:  # the reason for which it found no model of this name is in its log
            server.log.when(re.compile(rf"Poll failed.*'{case.name}'.*{re.escape(case.says)}").search, f"{case.name}: {case.says}")
        return answer

    cases = asked("refuses")
    answers = of_each(start_triton, cases, refusal)
    assert [case.name for case in cases if answers.get(case.name) is None] == []
    assert len(cases) > 90


def test_loaded(start_triton: Callable[[], AbstractContextManager[Server]]) -> None:
    cases = asked("loads")
    found = of_each(start_triton, cases, lambda server, case: (load(server, case), server.versions(case.name)))
    assert found == {case.name: (None, ["1", "2"] if case.name == "fine_versions" else ["1"]) for case in cases}


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
