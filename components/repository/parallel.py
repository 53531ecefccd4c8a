"""Many requests at once."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from components.repository.objectstore import PARALLEL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results of ``work`` in the order of ``items``. The first failure is raised once what has begun is done; the rest is not begun."""
    todo = list(items)
    if len(todo) <= 1:
        return [work(item) for item in todo]
    results: dict[int, R] = {}
    failures: list[BaseException] = []
    numbers = itertools.count()

    # A few threads that take one item after another: a future for each of ten thousand small files costs as much as sending some of them.
    def run() -> None:
        while not failures and (number := next(numbers)) < len(todo):
            try:
                results[number] = work(todo[number])
            except BaseException as error:  # noqa: BLE001 (raised below)
                failures.append(error)

    with ThreadPoolExecutor(max_workers=min(PARALLEL, len(todo)), thread_name_prefix="triton-fleet-store") as pool:
        running = [pool.submit(run) for _ in range(min(PARALLEL, len(todo)))]
        try:
            for one in running:
                one.result()
        except BaseException as error:  # an interrupt: what has not begun shall not
            failures.append(error)
            raise
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(todo))]


def few(names: Sequence[Any], shown: int = 3) -> str:
    """The first of these names, and how many more there are."""
    return ", ".join(str(name) for name in names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
