"""The problems of one model."""

from __future__ import annotations

from components.base.errors import Problem


class Report:
    """Collects the problems of one model.

    Fields are named as in messages: ``input[0].dims``, ``parameters["model_type"]``.
    """

    def __init__(self, model: str) -> None:
        self.model = model
        self.lines: dict[str, int] = {}
        """Line of each field that config.pbtxt sets, from 1."""
        self.problems: list[Problem] = []

    def line(self, field: str) -> int | None:
        """Line of a field, or of the nearest message around it that config.pbtxt sets."""
        while field and field not in self.lines:
            field = field.rpartition(".")[0]
        return self.lines.get(field)

    def field(self, field: str, what: str, remedy: str, *, line: int | None = None, consequence: str = "", warning: str = "") -> None:
        """Report a field of config.pbtxt. ``warning``: the consequence, if Triton loads the model all the same."""
        self.file("config.pbtxt", f"{field} {what}", remedy, line=line or self.line(field), consequence=consequence, warning=warning)

    def file(self, path: str, what: str, remedy: str, *, line: int | None = None, consequence: str = "", warning: str = "") -> None:
        """Report a file or folder; ``path`` is relative to the model's folder, empty for the folder itself."""
        consequence = warning or consequence or f"Triton would not load {self.model}"
        file = printable(f"{self.model}/{path}" if path else self.model)
        self.problems.append(Problem(file=file, line=line, text=printable(f"{what}: {consequence}. {remedy}"), fatal=not warning))


def printable(text: str) -> str:
    """Escape what a terminal must not print: names of files can contain any character."""
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)
