"""Parse a config.pbtxt with Triton's own protobuf schema, and keep the line of every field.

protobuf decides whether the text is valid. A parsed message has no line numbers, and protobuf stops at the first unknown field. So a small
reader records the lines and finds all unknown fields and values.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.placeholders import in_code, in_strings, listed
from components.repository.validation.schema import Walk, schema
from components.repository.validation.syntax import TOKEN, Reader, UnreadableError

if TYPE_CHECKING:
    from components.repository.validation.report import Report

MAX_BYTES: Final = 4 << 20
"""Longest config.pbtxt that is read, in bytes. Real ones have a few hundred; a model saved under this name could fill memory."""

_BAD_ESCAPE: Final = re.compile(
    r"""(?<!\\)(?:\\\\)*\\(?:[^abfnrtv\\?'"0-7xXuU]|[xX](?![0-9a-fA-F])|u(?![0-9a-fA-F]{4})|U(?!000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4}))"""
)
"""Escape sequences that protobuf's text format does not have."""

_ODD_NUMBER: Final = re.compile(r"(?<![\w.])(?:0[bBoO]|[0-9.]*_)[0-9_]*|\+")
"""Numbers that only Python has."""

_YAML: Final = re.compile(r"^[ \t]*-[ \t]+\w+:", re.MULTILINE)

_SLIPS: Final = (
    (re.compile(r"^[ \t]*(?://|/\*)", re.MULTILINE), "Comments begin with #."),
    (re.compile(r",\s*[\]}]"), "Remove the comma before the bracket."),
    (re.compile(r"}\s*{"), "Separate the messages of a list by a comma."),
    (re.compile(r":\s*\("), "Write lists in brackets: [ ]."),
)
"""Slips that protobuf's errors don't name, with their remedies."""

_TWICE: Final = re.compile(r'should not have multiple "(\w+)" fields')


def parse(text: str, report: Report) -> Any | None:
    """Return the ``ModelConfig`` of a config.pbtxt and record its lines in ``report``; None if the text is invalid, which is reported."""
    before = len(report.problems)
    config = schema().ModelConfig()
    refused = _refused_by_triton(text)
    error = _parse(text, config) if refused is None else None
    valid = refused is None and error is None
    placeholders, readable = ([], text) if valid else in_code(text)
    walk = Walk(report, valid=valid)
    try:
        walk.message(Reader(readable).read(), config.DESCRIPTOR)
    except UnreadableError:
        report.lines.clear()
    if placeholders := [*placeholders, *walk.placeholders]:
        names = listed([*placeholders, *in_strings(text)])
        first = min(placeholder.line for placeholder in placeholders)
        report.file("config.pbtxt", f"is a template with unfilled placeholders: {names}", "Fill them in.", line=first)
        return None
    reported = {problem.line for problem in report.problems[before:]}
    if refused is not None:
        what, remedy, line = refused
        if line in reported:
            return None
        report.file("config.pbtxt", f"is not a valid model configuration ({what})", remedy, line=line)
        return None
    if error is not None:
        config = schema().ModelConfig()
        error = _parse(text, config, allow_unknown_field=bool(reported))
    if error is not None:
        _report(error, text, reported, report)
        return None
    if config.backend != "tensorrtllm" and (unfilled := in_strings(text)):  # that backend takes them for the parameters' defaults
        what = f"has unfilled placeholders in strings: {listed(unfilled)}"
        report.file("config.pbtxt", what, "Fill them in.", line=unfilled[0].line, warning=f"{report.model} would get this text")
    return config


def _parse(text: str, into: Any, *, allow_unknown_field: bool = False) -> Exception | None:
    """Fill in a ``ModelConfig``; returns why protobuf refuses the text."""
    from google.protobuf import text_format  # noqa: PLC0415 (only programs that check models load it)

    try:
        text_format.Parse(text, into, allow_unknown_field=allow_unknown_field)
    except (text_format.ParseError, RecursionError, ValueError) as error:
        return error
    return None


def _report(error: Exception, text: str, reported: set[int | None], report: Report) -> None:
    """Report protobuf's error, unless its line has been reported."""
    line = error.GetLine() if hasattr(error, "GetLine") else None
    if twice := _TWICE.search(str(error)):
        report.field(twice[1], "is set twice", "Keep one.", line=line)
    elif line is None or line not in reported:
        fields = [field for field, where in report.lines.items() if where == line]
        what = f"{fields[0]} is not valid" if len(fields) == 1 else "is not a valid model configuration"
        report.file("config.pbtxt", f"{what} ({_reason(error)})", _remedy(text, line), line=line)


def _remedy(text: str, line: int | None) -> str:
    """How to correct a text that does not follow the grammar, judged by its beginning and by the lines up to the error."""
    if text.lstrip()[:1] == "{":
        return "It looks like JSON: write protobuf's text format, without the outer braces and without quotes around names."
    if _YAML.search(text):
        return "It looks like YAML: write protobuf's text format."
    near = "\n".join(text.splitlines()[max(0, (line or 1) - 2) : line])
    return next((remedy for pattern, remedy in _SLIPS if pattern.search(near)), "Correct the text.")


def _refused_by_triton(text: str) -> tuple[str, str, int] | None:
    """What protobuf for C++, which Triton uses, refuses although Python's accepts it: problem, remedy and line."""
    if "\\" not in text and "\0" not in text and text.isascii() and not _ODD_NUMBER.search(text):
        return None
    line = 1
    for match in TOKEN.finditer(text):
        kind, token = match.lastgroup, match.group()
        if kind == "newline":
            line += 1
        elif "\0" in token:
            return "a null character", "Remove it.", line
        elif kind == "string" and _BAD_ESCAPE.search(token[1:-1]):
            return "invalid escape sequence in a string", r"Write \\ for a backslash.", line
        elif kind == "number" and _ODD_NUMBER.match(token):
            return f"invalid number {token}", "Write it in decimal digits.", line
        elif kind == "other" and not token.isascii():
            name = unicodedata.name(token, f"character U+{ord(token):04X}").lower()
            return f"{name} outside of a string", "Replace it by its plain counterpart.", line
    return None


def _reason(error: Exception) -> str:
    """The parser's message without the position and the quoted line."""
    text = re.sub(r"^\d+:\d+ : ", "", str(error))
    text = re.sub(r"^'.*?': ", "", text, flags=re.DOTALL) if text.startswith("'") else text
    text = " ".join(text.replace("inference.", "").split()).rstrip(".")
    return text if len(text) <= 300 else f"{text[:300]}..."  # noqa: PLR2004 (a screen's worth)
