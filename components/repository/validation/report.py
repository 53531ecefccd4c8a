"""Collects the problems of one model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.base.errors import Problem
from components.repository.validation.source import field_name

if TYPE_CHECKING:
    from components.repository.validation.source import Source, Steps


class Report:
    """The problems of one model, whose ``source`` knows the lines of its config.pbtxt."""

    def __init__(self, model: str, source: Source | None = None) -> None:
        self.model = model
        self.source = source
        self.problems: list[Problem] = []

    def field(
        self, where: Steps, what: str, remedy: str, *, consequence: str | None = None, fatal: bool = True, line: int | None = None
    ) -> None:
        """Add a problem of a field of config.pbtxt. ``line``: of this very field, if `Source.line` would find the first of its name."""
        if line is None and self.source is not None:
            line = self.source.line(*where)
        self.file("config.pbtxt", f"{field_name(*where)} {what}", remedy, line=line, consequence=consequence, fatal=fatal)

    def file(
        self, path: str, what: str, remedy: str, *, line: int | None = None, consequence: str | None = None, fatal: bool = True
    ) -> None:
        """Add a problem of a file or folder. ``path`` is relative to the model's folder, and empty for the folder itself."""
        if consequence is None:
            consequence = f"Triton would not load {self.model}" if fatal else f"Triton would load {self.model}, but not as meant"
        file = printable(f"{self.model}/{path}" if path else self.model)
        self.problems.append(Problem(file=file, line=line, text=printable(f"{what}: {consequence}. {remedy}"), fatal=fatal))


def printable(text: str) -> str:
    """Return ``text`` with unprintable characters escaped: names of files can contain any."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
