"""The one error type that ends a program on purpose, and how several of them become one report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

import pulumi

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T_co = TypeVar("T_co", covariant=True)


class FleetError(pulumi.RunError):
    """Something that the user can put right. Pulumi prints its text without a traceback.

    ``problems`` holds one sentence group each, of the form ``<key or thing> (<value>) <what is wrong>: <consequence>. <remedy>``.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        count = f"{len(problems)} problems" if len(problems) > 1 else "1 problem"
        super().__init__(problems[0] if len(problems) == 1 else "\n".join([f"{count}:", *(f"  - {problem}" for problem in problems)]))


class Checked(Generic[T_co]):
    """The outcome of a check that may fail: its value, or its problems.

    Lets several independent checks run before the first failure is reported, so that one run shows all there is to mend.
    """

    def __init__(self, check: Callable[[], T_co]) -> None:
        self.problems: tuple[str, ...] = ()
        self._value: T_co | None = None
        try:
            self._value = check()
        except FleetError as error:
            self.problems = error.problems

    @property
    def value(self) -> T_co:
        """The checked value. Raises FleetError with this check's own problems when it failed."""
        if self.problems:
            raise FleetError(*self.problems)
        return self._value  # type: ignore[return-value]  # without problems the check returned one


def raise_all(checks: Iterable[Checked[object]]) -> None:
    """Raise one FleetError that holds every problem of ``checks``; return when there is none."""
    problems = [problem for check in checks for problem in check.problems]
    if problems:
        raise FleetError(*problems)
