"""What is wrong, said once: `Problem`, and the one exception that carries problems to the user.

Validators of settings, rules across settings, the checks of a model repository and whatever looks at a cloud or a store all speak in
these two types.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FieldPath = tuple[str | int, ...]
"""The way to a value: keys and list positions."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, its consequence and its remedy."""

    text: str
    """Follows the place: ``(5) is above max (4): <consequence>. <remedy>``. Names the place itself where ``at`` and ``file`` are empty."""
    at: FieldPath = ()
    """The value. A validator gives it relative to its own model, by field names."""
    also: tuple[FieldPath, ...] = ()
    """Other values that the check has read. The problem is left out while one of them is itself unreadable."""
    file: str = ""
    """The file that holds the value, such as ``add_sub/config.pbtxt``; empty for the stack file."""
    line: int | None = None
    """Line of ``file``, from 1; None for the file as a whole."""
    fatal: bool = True
    """False for a warning."""

    def __str__(self) -> str:
        """One message: ``<file>:<line>: <key> <text>``, without the parts that are unknown."""
        file = self.file if self.line is None else f"{self.file}:{self.line}"
        key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.at).removeprefix(".")
        return f"{f'{file}: ' if file else ''}{f'{key} ' if key else ''}{self.text}"


class FleetError(pulumi.RunError, ValueError):
    """Ends the program with problems that the user can fix. Pulumi prints the text without a traceback.

    A ValueError, so that pydantic collects those that validators raise. A problem given as a string is a whole message.
    """

    def __init__(self, *problems: Problem | str) -> None:
        self.problems = tuple(problem if isinstance(problem, Problem) else Problem(text=problem) for problem in problems)
        lines = [str(problem) for problem in self.problems]
        super().__init__(lines[0] if len(lines) == 1 else "\n".join([f"{len(lines)} problems:", *(f"  - {line}" for line in lines)]))


@contextmanager
def collect(problems: list[Problem]) -> Iterator[None]:
    """Add the problems of a FleetError that the block raises to ``problems``, so that further checks can run before the first report."""
    try:
        yield
    except FleetError as error:
        problems.extend(error.problems)


def raise_problems(problems: Iterable[Problem]) -> None:
    """Raise one FleetError with all ``problems``; return if there are none."""
    if found := tuple(problems):
        raise FleetError(*found)
