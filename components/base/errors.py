"""`Problem`, and the exception that reports problems to the user. Every check uses them: of settings, models, clouds and stores."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FieldPath = tuple[str | int, ...]
"""Path to a value: keys and list positions."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One error or warning, with its consequence and its remedy."""

    text: str
    """Follows the key: ``(5) is above max (4): <consequence>. <remedy>``. With neither ``at`` nor ``file``, it names the key itself."""
    at: FieldPath = ()
    """Path to the value. In a validator: field names, relative to its model."""
    also: tuple[FieldPath, ...] = ()
    """Other values that the check reads. While one of them is invalid, the problem is not reported."""
    file: str = ""
    """The file that holds the value, such as ``add_sub/config.pbtxt``; empty for the stack file."""
    line: int | None = None
    """Line of ``file``, from 1; None for the file as a whole."""
    fatal: bool = True
    """False for a warning."""
    note: bool = False
    """Whether it is only information: nothing is known to be wrong."""

    def __str__(self) -> str:
        """Format as ``<file>:<line>: <key> <text>``, without unset parts."""
        file = self.file if self.line is None else f"{self.file}:{self.line}"
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.at).removeprefix(".")
        return f"{f'{file}: ' if file else ''}{f'{key} ' if key else ''}{self.text}"


class FleetError(pulumi.RunError, ValueError):
    """Ends the program with problems that the user can fix. Pulumi prints them without a traceback.

    A ValueError, so that pydantic collects it from validators. A string is a complete message.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(problem if isinstance(problem, Problem) else Problem(text=problem) for problem in problems)
        lines = [str(problem) for problem in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems:", *(f"  - {line}" for line in lines)]))


@contextmanager
def collect(problems: list[Problem]) -> Iterator[None]:
    """Add the problems of a FleetError that the block raises to ``problems``, so that all checks can run before the report."""
    try:
        yield
    except FleetError as error:
        problems.extend(error.problems)


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise one FleetError with all ``problems``; return if there are none."""
    if found := tuple(problems):
        raise FleetError(*found)
