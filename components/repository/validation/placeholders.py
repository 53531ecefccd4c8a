"""Find the placeholders of a template that was saved as config.pbtxt without being filled in.

Such files come from the templates of TensorRT-LLM (``${max_batch_size}``), Helm, Jinja and mustache (``{{ size }}``, ``{% if %}``), Ruby
(``<%= size %>``), Python (``{size}``, ``%(size)s``), shells (``$SIZE``), autoconf (``@SIZE@``), and documentation (``<size>``).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_PARTS: Final = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<block>\{%.*?%\}|\{\#.*?\#\}|<%(?!=).*?%>)
      | (?P<value>
          [A-Za-z]\w*_\#\w+ | (?<=:)[ \t]*\#(?:[A-Z][A-Z0-9_]*|\{[^{}\n]*\})(?=[ \t\r]*$)
        | \w*(?:\$?\{\{.*?\}\}|\$\{[^{}\n]*\}|\$\([^()\n]*\)|<%=.*?%>)\w* | \$[A-Za-z_]\w*\$?
        | <[ \t]*[A-Za-z_][\w.-]*(?:[ \t]+[A-Za-z_][\w.-]*)*[ \t]*> | \{[ \t]*[A-Za-z_][\w.]*[ \t]*\} | \[\[[ \t]*[A-Za-z_][\w.]*[ \t]*\]\]
        | %\(\w+\)[a-z]? | %[A-Za-z_]\w*%? | @[A-Za-z_]\w*@? | \b__[A-Za-z]\w*__\b
        )
      | (?P<comment>\#[^\n]*)""",
    re.VERBOSE | re.MULTILINE,
)
"""None of these values and blocks is valid in protobuf's text format."""

_IN_STRING: Final = re.compile(r"\$\{[^{}\n]*\}|\{\{[ \t]*[\w.]+[ \t]*\}\}")
"""Placeholders in a string, where any text is valid: only those that nothing else looks like."""

FILLED: Final = "_"
"""Takes the place of a placeholder, so that the rest of the text can be read."""

_TYPE: Final = re.compile(r"(?:\w*_)?(?:DTYPE|DATA_?TYPE)(?:_\w+)?\Z", re.IGNORECASE)
_CAPITALS: Final = re.compile(r"(?!(?:TYPE_|KIND_)|(?:TRUE|FALSE|YES|NO|ON|OFF|NONE|NULL|NAN|INF|INFINITY)\Z)[A-Z][A-Z0-9_]*\Z")


class Placeholder(NamedTuple):
    """A placeholder, and its line from 1."""

    text: str
    line: int


def is_placeholder(word: str, *, for_type: bool) -> bool:
    """Whether an unquoted word is a placeholder: ``TYPE_DTYPE`` in place of a type, ``MAX_BATCH`` in place of any other value."""
    return word != FILLED and (_TYPE if for_type else _CAPITALS).match(word) is not None


def in_code(text: str) -> tuple[list[Placeholder], str]:
    """Return the placeholders outside of strings, and the text with the word ``_`` in the place of each; lines stay the same."""
    found: list[Placeholder] = []

    def replace(match: re.Match[str]) -> str:
        if match.lastgroup not in {"block", "value"}:
            return match.group()
        found.append(Placeholder(" ".join(match.group().split()), text.count("\n", 0, match.start()) + 1))
        return "\n" * match.group().count("\n") if match.lastgroup == "block" else f" {FILLED} "

    return found, _PARTS.sub(replace, text)


def in_strings(text: str) -> list[Placeholder]:
    """Return the placeholders inside of strings."""
    return [
        Placeholder(hole.group(), text.count("\n", 0, match.start()) + 1)
        for match in _PARTS.finditer(text)
        if match.lastgroup == "string" and "{%" not in match.group()
        for hole in _IN_STRING.finditer(match.group())
    ]


def listed(placeholders: Iterable[Placeholder]) -> str:
    """Format as ``${size} (line 3), ${type} (lines 5, 9)``, in the order of the lines."""
    lines: dict[str, list[int]] = {}
    for hole in sorted(placeholders, key=lambda hole: hole.line):
        if hole.line not in (seen := lines.setdefault(hole.text, [])):
            seen.append(hole.line)
    return ", ".join(f"{text} (line{'s' * (len(seen) > 1)} {', '.join(map(str, seen))})" for text, seen in lines.items())
