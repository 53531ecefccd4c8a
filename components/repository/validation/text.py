"""config.pbtxt: read with bounds, parsed with Triton's own protobuf, and every field's line kept.

The verdict on the grammar is protobuf's. Beside it a small reader of our own remembers lines, because a parsed message has none, and names
all unknown fields and values at once, because protobuf stops at the first.

Triton's schema comes from tritonclient, whose package imports gRPC (2 s, 300 modules); the schema's module alone takes 0.15 s and is
loaded by its path, on first use.
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.validation.source import TOKEN, Node, Step, read

if TYPE_CHECKING:
    from components.repository.validation.report import Report

MAX_BYTES: Final = 4 << 20
"""Longest config.pbtxt that is read, in bytes. Real ones have some hundred; without a bound a model under that name would fill memory."""

_BAD_ESCAPE: Final = re.compile(
    r"""(?<!\\)(?:\\\\)*\\(?:[^abfnrtv\\?'"0-7xXuU]|[xX](?![0-9a-fA-F])|u(?![0-9a-fA-F]{4})|U(?!000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4}))"""
)
"""Escapes of strings that are none of protobuf's text format."""

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
"""Names of types elsewhere (numpy, PyTorch, Triton's own wire protocol) and what config.pbtxt calls them."""


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
        "tritonclient has no model_config_pb2 here: no config.pbtxt could be checked. Install what requirements.lock names (make venv)."
    )


def parse(text: str, report: Report) -> Any | None:
    """``ModelConfig`` of a config.pbtxt, with what is wrong with its text noted in ``report``; None where nothing more can be said."""
    from google.protobuf import text_format  # noqa: PLC0415 (loaded by programs that check models only)

    source = read(text)
    report.source = source
    before = len(report.problems)
    if source is not None:
        _check_names(source.root, schema().ModelConfig.DESCRIPTOR, (), report)
    seen = {problem.line for problem in report.problems[before:]}
    config = schema().ModelConfig()
    if (line := _bad_escape(text)) is not None:
        report.file("config.pbtxt", "can't be parsed (Invalid escape sequence in a string)", r"Write \\ for a backslash.", line=line)
        return None
    try:
        text_format.Parse(text, config, allow_unknown_field=bool(seen))
    except (text_format.ParseError, RecursionError, ValueError) as error:
        line = error.GetLine() if isinstance(error, text_format.ParseError) else None
        twice = _TWICE.search(str(error))
        if twice is not None:
            report.field((twice[1],), "is set twice", "Keep one.", line=line)
        elif line is None or line not in seen:
            report.file("config.pbtxt", f"can't be parsed ({_reason(error)})", "Correct the text.", line=line)
        return None
    return config


def _bad_escape(text: str) -> int | None:
    """Line of a string with an escape that C++'s parser refuses; Python's lets it pass, with a warning from its own depths."""
    line = 1
    for match in TOKEN.finditer(text):
        if match.lastgroup == "newline":
            line += 1
        elif match.lastgroup == "string" and _BAD_ESCAPE.search(match.group()[1:-1]):
            return line
    return None


def _reason(error: Exception) -> str:
    """Protobuf's sentence without the position and the repetition of the line."""
    text = re.sub(r"^\d+:\d+ : ", "", str(error))
    text = re.sub(r"^'.*?': ", "", text, flags=re.DOTALL) if text.startswith("'") else text
    text = " ".join(text.replace("inference.", "").split()).rstrip(".")
    return text if len(text) <= 300 else f"{text[:300]}..."  # noqa: PLR2004 (a screen's worth)


def _check_names(node: Node, message: Any, where: tuple[Step, ...], report: Report) -> None:
    """Report fields and enumerators that Triton's schema does not know."""
    counts: dict[str, int] = {}
    for child in node.children:
        position = counts.get(child.name, 0)
        counts[child.name] = position + 1
        known = message.fields_by_name.get(child.name)
        here = (*where, child.name)
        if known is None:
            _unknown(child, message, here, report)
            continue
        if known.is_repeated:
            here = (*here, position)
        elif position:  # protobuf decides: a field given twice may pass where the first value is its default
            continue
        if known.message_type is not None and child.message:
            _check_names(child, known.message_type, here, report)
        elif known.enum_type is not None and child.value is not None and child.value[:1].isalpha():
            names = [value.name for value in known.enum_type.values]
            if child.value not in names:
                hint = _TYPE_HINTS.get(child.value.upper().removeprefix("TYPE_"))
                close = [hint] if hint in names else difflib.get_close_matches(child.value.upper(), names, 1, 0.5)
                remedy = f"Did you mean {close[0]}? Known values: " if close else "Use one of: "
                report.field(here, f"is {child.value}, which Triton does not know", f"{remedy}{', '.join(names)}.", line=child.line)


def _unknown(node: Node, message: Any, where: tuple[Step, ...], report: Report) -> None:
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
        remedy = f"It belongs in {' or '.join(owners)}."
    else:
        remedy = f"Remove it. Known fields: {', '.join(names)}."
    report.field(where, "is an unknown field", remedy, line=node.line)
