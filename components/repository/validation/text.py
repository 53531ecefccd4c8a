"""Parse a config.pbtxt with Triton's own protobuf schema, and keep the line of every field.

protobuf decides whether the text is valid. A parsed message has no line numbers, and protobuf stops at the first unknown field. So a small
reader records the lines and finds all unknown fields and values.

The schema comes from tritonclient. Importing that package loads gRPC (2 s, 300 modules), so only the module of the schema is loaded, by its
path, on first use (0.15 s).
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.validation.placeholders import FILLED, Placeholder, in_code, in_strings, is_placeholder, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from components.repository.validation.report import Report

MAX_BYTES: Final = 4 << 20
"""Longest config.pbtxt that is read, in bytes. Real ones have a few hundred; a model saved under this name could fill memory."""

_BAD_ESCAPE: Final = re.compile(
    r"""(?<!\\)(?:\\\\)*\\(?:[^abfnrtv\\?'"0-7xXuU]|[xX](?![0-9a-fA-F])|u(?![0-9a-fA-F]{4})|U(?!000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4}))"""
)
"""Escape sequences that protobuf's text format does not have."""

_TWICE: Final = re.compile(r'should not have multiple "(\w+)" fields')

_TYPE_HINTS: Final = {
    "FLOAT": "TYPE_FP32",
    "FLOAT16": "TYPE_FP16",
    "HALF": "TYPE_FP16",
    "FLOAT32": "TYPE_FP32",
    "FLOAT64": "TYPE_FP64",
    "DOUBLE": "TYPE_FP64",
    "BFLOAT16": "TYPE_BF16",
    "INT": "TYPE_INT32",
    "LONG": "TYPE_INT64",
    "BYTES": "TYPE_STRING",
    "STR": "TYPE_STRING",
    "BOOLEAN": "TYPE_BOOL",
}
"""Names of types in numpy, PyTorch and Triton's inference protocol, with their names in config.pbtxt."""

_MAX_DEPTH: Final = 32
"""Deepest nesting that is read; Triton's schema has 8 levels."""

_TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[-+]?\.?[0-9](?:[eE][-+]|[A-Za-z0-9_.])*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@functools.cache
def schema() -> Any:
    """Triton's ``model_config_pb2``.

    Raises:
        FleetError: tritonclient is not installed.
    """
    package = importlib.util.find_spec("tritonclient")
    for place in (package.submodule_search_locations or ()) if package else ():
        path = Path(place) / "grpc" / "model_config_pb2.py"
        spec = importlib.util.spec_from_file_location("_triton_model_config_pb2", path) if path.is_file() else None
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise FleetError(
        "tritonclient has no model_config_pb2: no config.pbtxt can be checked. Install the packages of requirements.lock (make venv)."
    )


def data_type(number: int) -> str:
    """Name of a data type, or its number if Triton has no such type."""
    value = schema().ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number.get(number)
    return str(number) if value is None else value.name


def parse(text: str, report: Report) -> Any | None:
    """Return the ``ModelConfig`` of a config.pbtxt and record its lines in ``report``; None if the text is invalid, which is reported."""
    from google.protobuf import text_format  # noqa: PLC0415 (only programs that check models load it)

    before = len(report.problems)
    config = schema().ModelConfig()
    placeholders, filled = in_code(text)
    if placeholders and _is_valid(text):
        placeholders, filled = [], text
    try:
        placeholders += _record(_Reader(filled).read(), config.DESCRIPTOR, "", report)
    except _UnreadableError:
        report.lines.clear()
    if placeholders:
        names = listed([*placeholders, *in_strings(text)])
        line = min(placeholder.line for placeholder in placeholders)
        report.file("config.pbtxt", f"is a template with unfilled placeholders: {names}", "Fill them in.", line=line)
        return None
    reported = {problem.line for problem in report.problems[before:]}
    if (line := _bad_escape(text)) is not None:
        what = "is not a valid model configuration (invalid escape sequence in a string)"
        report.file("config.pbtxt", what, r"Write \\ for a backslash.", line=line)
        return None
    try:
        text_format.Parse(text, config, allow_unknown_field=bool(reported))
    except (text_format.ParseError, RecursionError, ValueError) as error:
        line = error.GetLine() if isinstance(error, text_format.ParseError) else None
        if twice := _TWICE.search(str(error)):
            report.field(twice[1], "is set twice", "Keep one.", line=line)
        elif line is None or line not in reported:
            report.file("config.pbtxt", f"is not a valid model configuration ({_reason(error)})", "Correct the text.", line=line)
        return None
    if config.backend != "tensorrtllm" and (unfilled := in_strings(text)):  # that backend takes them for the parameters' defaults
        what = f"has unfilled placeholders in strings: {listed(unfilled)}"
        report.file("config.pbtxt", what, "Fill them in.", line=unfilled[0].line, warning=f"{report.model} would get this text")
    return config


def _is_valid(text: str) -> bool:
    """Whether protobuf accepts the text as a ``ModelConfig``."""
    from google.protobuf import text_format  # noqa: PLC0415 (only programs that check models load it)

    try:
        text_format.Parse(text, schema().ModelConfig())
    except (text_format.ParseError, RecursionError, ValueError):
        return False
    return True


def _bad_escape(text: str) -> int | None:
    """Line of a string with an escape that protobuf for C++, which Triton uses, refuses; Python's accepts it with a warning."""
    line = 1
    for match in _TOKEN.finditer(text):
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


def _record(node: _Node, message: Any, path: str, report: Report) -> list[Placeholder]:
    """Record the lines of all fields, report those that are not in Triton's schema, and return words that are placeholders."""
    counts: dict[str, int] = {}
    placeholders: list[Placeholder] = []
    for child in node.children:
        if child.name == FILLED:
            continue
        position = counts.get(child.name, 0)
        counts[child.name] = position + 1
        known = message.fields_by_name.get(child.name)
        here = f"{path}.{child.name}" if path else child.name
        if known is None:
            _unknown(child, message, here, report)
            continue
        if child.name == "value" and message.GetOptions().map_entry:
            here = path
        report.lines.setdefault(here, child.line)
        if known.is_repeated:
            here += f"[{_key(child, known.message_type, position)}]"
            report.lines.setdefault(here, child.line)
        elif position:  # protobuf accepts a second value if the first one is the default
            continue
        if known.message_type is not None and child.message:
            placeholders += _record(child, known.message_type, here, report)
        elif child.value is not None and child.word and is_placeholder(child.value, for_type=known.enum_type is not None):
            placeholders.append(Placeholder(child.value, child.line))
        elif child.value is not None and child.word and known.enum_type is not None:
            _check_name(child, known.enum_type, here, report)
    return placeholders


def _check_name(node: _Node, enum: Any, path: str, report: Report) -> None:
    """Report an unknown name of an enum's value."""
    names = [value.name for value in enum.values]
    if node.value is None or node.value in {*names, FILLED}:
        return
    hint = _TYPE_HINTS.get(node.value.upper().removeprefix("TYPE_"))
    close = [hint] if hint in names else difflib.get_close_matches(node.value.upper(), names, 1, 0.5)
    remedy = f"{f'Did you mean {close[0]}? ' if close else ''}It must be one of: {', '.join(names)}."
    report.field(path, f"({node.value}) is an unknown value", remedy, line=node.line)


def _key(node: _Node, message: Any, position: int) -> str:
    """Key of a map's entry as messages show it; the position in a repeated field that is not a map."""
    if message is None or not message.GetOptions().map_entry:
        return str(position)
    key = next((child.value for child in node.children if child.name == "key"), None) or ""
    return f'"{key}"' if message.fields_by_name["key"].cpp_type == message.fields_by_name["key"].CPPTYPE_STRING else key


def _unknown(node: _Node, message: Any, path: str, report: Report) -> None:
    names = sorted(message.fields_by_name)
    close = difflib.get_close_matches(node.name.lower(), names, 1, 0.6)
    owners = sorted(
        owner.name
        for owner in schema().ModelConfig.DESCRIPTOR.fields
        if owner.message_type is not None and node.name in owner.message_type.fields_by_name
    )
    if close:
        remedy = f"Did you mean {close[0]}?"
    elif owners:
        remedy = f"Move it into {' or '.join(owners)}."
    else:
        remedy = f"Remove it, or use one of: {', '.join(names)}."
    report.field(path, "is an unknown field", remedy, line=node.line)


@dataclass
class _Node:
    """A field as written: its line, and its value or its own fields."""

    name: str
    line: int
    value: str | None = None
    word: bool = False
    """Whether the value is neither quoted nor a number."""
    children: list[_Node] = field(default_factory=list)
    message: bool = False


class _UnreadableError(Exception):
    """The text does not follow the grammar; protobuf says why."""


class _Reader:
    """Recursive descent over protobuf's text format, only as far as lines need it."""

    def __init__(self, text: str) -> None:
        self._tokens = self._split(text)
        self._line = 1
        self._next: tuple[str, str, int] | None = next(self._tokens, None)

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "other"
            if kind == "newline":
                line += 1
            elif kind != "space":
                yield kind, match.group(), line

    def _take(self) -> tuple[str, str, int]:
        if self._next is None:
            raise _UnreadableError
        token, self._next = self._next, next(self._tokens, None)
        return token

    def _sees(self, *texts: str) -> bool:
        return self._next is not None and self._next[0] == "other" and self._next[1] in texts

    def read(self) -> _Node:
        root = _Node("", 1, message=True)
        self._fields(root, None, 0)
        return root

    def _fields(self, into: _Node, end: str | None, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise _UnreadableError
        while self._next is not None and not (end and self._sees(end)):
            kind, name, line = self._take()
            if kind != "word":
                raise _UnreadableError
            if self._sees(":"):
                self._take()
            if self._sees("["):
                self._take()
                while not self._sees("]"):
                    into.children.append(self._value(name, self._next[2] if self._next else line, depth))
                    if self._sees(","):
                        self._take()
                self._take()
            else:
                into.children.append(self._value(name, line, depth))
            if self._sees(",", ";"):
                self._take()
        if end:
            self._take()

    def _value(self, name: str, line: int, depth: int) -> _Node:
        if self._sees("{", "<"):
            node = _Node(name, line, message=True)
            self._fields(node, "}" if self._take()[1] == "{" else ">", depth + 1)
            return node
        kind, text, _ = self._take()
        if kind == "other" and text == "-":
            kind, rest, _ = self._take()
            text += rest
        if kind == "other":
            raise _UnreadableError
        if kind == "string":
            text = text[1:-1]
            while self._next is not None and self._next[0] == "string":
                text += self._take()[1][1:-1]
        return _Node(name, line, text, word=kind == "word")
