"""What a check has found: one problem, and the notebook that checks of one model write into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.repository.validation.text import Source


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong with a model repository."""

    model: str
    file: str
    """Path below the repository, with forward slashes, such as ``add_sub/config.pbtxt``."""
    line: int | None = None
    """Line in that file, from 1; None where the file as a whole is meant."""
    field: str | None = None
    """Way to the field, such as ``input[0].dims``; None where no field is at fault."""
    what: str
    consequence: str
    remedy: str
    fatal: bool = True
    """True: Triton would refuse the model. False: it would load, and serve something else than was meant."""

    def __str__(self) -> str:
        """One sentence group: ``<file>:<line>: <field> <what>: <consequence>. <remedy>``, printable whatever the names hold."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        text = f"{place}: {f'{self.field} ' if self.field else ''}{self.what}: {self.consequence}. {self.remedy}"
        return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


@dataclass(frozen=True)
class Key:
    """An entry of a map field, in a way to a field."""

    name: str | int


Step = str | int | Key
"""A field's name, the position in a repeated field, or the entry of a map."""


def field_name(*steps: Step) -> str:
    """Write a way to a field as people do: ``input[0].dims``, ``parameters["x"]``."""
    text = ""
    for step in steps:
        if isinstance(step, Key):
            text += f"[{step.name}]" if isinstance(step.name, int) else f'["{step.name}"]'
        elif isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


class Report:
    """Collects the problems of one model; knows its name, its config.pbtxt and where fields lie in it."""

    def __init__(self, model: str, source: Source | None = None) -> None:
        self.model = model
        self.source = source
        self.problems: list[Problem] = []

    def field(self, *where: Step, what: str, remedy: str, consequence: str | None = None, fatal: bool = True) -> None:
        """Note a problem of a field of config.pbtxt."""
        self._add(
            file=f"{self.model}/config.pbtxt",
            line=self.source.line(*where) if self.source else None,
            field=field_name(*where),
            what=what,
            remedy=remedy,
            consequence=consequence,
            fatal=fatal,
        )

    def file(
        self, path: str, what: str, remedy: str, *, line: int | None = None, consequence: str | None = None, fatal: bool = True
    ) -> None:
        """Note a problem of a file or folder; ``path`` is below the model's folder, empty for that folder itself."""
        file = f"{self.model}/{path}" if path else self.model
        self._add(file=file, line=line, field=None, what=what, remedy=remedy, consequence=consequence, fatal=fatal)

    def _add(self, *, file: str, line: int | None, field: str | None, what: str, remedy: str, consequence: str | None, fatal: bool) -> None:
        if consequence is None:
            consequence = f"Triton would not load {self.model}" if fatal else f"Triton would load {self.model}, but not as meant"
        self.problems.append(
            Problem(model=self.model, file=file, line=line, field=field, what=what, consequence=consequence, remedy=remedy, fatal=fatal)
        )
