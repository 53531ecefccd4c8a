"""Parse a config.pbtxt with Triton's own protobuf schema, and keep the line of every field.

protobuf decides whether the text is valid. A parsed message has no line numbers, and protobuf stops at the first unknown field. So a small
reader records the lines and finds all unknown fields and values.
"""

from __future__ import annotations

import re
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

_TWICE: Final = re.compile(r'should not have multiple "(\w+)" fields')


def parse(text: str, report: Report) -> Any | None:
    """Return the ``ModelConfig`` of a config.pbtxt and record its lines in ``report``; None if the text is invalid, which is reported."""
    before = len(report.problems)
    config = schema().ModelConfig()
    escape = _bad_escape(text)
    error = _parse(text, config) if escape is None else None
    valid = escape is None and error is None
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
    if escape is not None:
        what = "is not a valid model configuration (invalid escape sequence in a string)"
        report.file("config.pbtxt", what, r"Write \\ for a backslash.", line=escape)
        return None
    if error is not None:
        reported = {problem.line for problem in report.problems[before:]}
        config = schema().ModelConfig()
        error = _parse(text, config, allow_unknown_field=bool(reported))
    if error is not None:
        _report(error, reported, report)
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


def _report(error: Exception, reported: set[int | None], report: Report) -> None:
    """Report protobuf's error, unless its line has been reported."""
    line = error.GetLine() if hasattr(error, "GetLine") else None
    if twice := _TWICE.search(str(error)):
        report.field(twice[1], "is set twice", "Keep one.", line=line)
    elif line is None or line not in reported:
        fields = [field for field, where in report.lines.items() if where == line]
        what = f"{fields[0]} is not valid" if len(fields) == 1 else "is not a valid model configuration"
        report.file("config.pbtxt", f"{what} ({_reason(error)})", "Correct the text.", line=line)


def _bad_escape(text: str) -> int | None:
    """Line of a string with an escape that protobuf for C++, which Triton uses, refuses; Python's accepts it with a warning."""
    if "\\" not in text:
        return None
    line = 1
    for match in TOKEN.finditer(text):
        if match.lastgroup == "newline":
            line += 1
        elif match.lastgroup == "string" and _BAD_ESCAPE.search(match.group()[1:-1]):
            return line
    return None


def _reason(error: Exception) -> str:
    """The parser's message without the position and the quoted line."""
    text = re.sub(r"^\d+:\d+ : ", "", str(error))
    text = re.sub(r"^'.*?': ", "", text, flags=re.DOTALL) if text.startswith("'") else text
    text = " ".join(text.replace("inference.", "").split()).rstrip(".")
    return text if len(text) <= 300 else f"{text[:300]}..."  # noqa: PLR2004 (a screen's worth)
