"""Line numbers of the fields of a config.pbtxt, which a parsed message does not have.

Reads the text format only as far as that needs; protobuf decides whether the text is valid (`text.parse`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_DEPTH: Final = 32
"""Deeper than any message of Triton's schema nests (8)."""

TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[-+]?\.?[0-9](?:[eE][-+]|[A-Za-z0-9_.])*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Key:
    """The key of an entry of a map field, in the path of a field."""

    name: str | int


Step = str | int | Key
"""A field's name, the position in a repeated field, or the entry of a map."""
Steps = tuple[Step, ...]
"""The path of a field."""


def field_name(*steps: Step) -> str:
    """Return the path of a field as text: ``input[0].dims``, ``parameters["x"]``."""
    text = ""
    for step in steps:
        if isinstance(step, Key):
            text += f"[{step.name}]" if isinstance(step.name, int) else f'["{step.name}"]'
        elif isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


@dataclass
class Node:
    """A field as it was written: its line, and its value or its own fields."""

    name: str
    line: int
    value: str | None = None
    children: list[Node] = field(default_factory=list)
    message: bool = False


class Source:
    """Lines of the fields of one config.pbtxt."""

    def __init__(self, root: Node) -> None:
        self.root = root

    def line(self, *where: Step) -> int | None:
        """Return the line of a field, or of the closest field around it; None if the file has neither."""
        node, line = self.root, None
        position = 0
        while position < len(where):
            name = where[position]
            found = [child for child in node.children if child.name == name]
            position += 1
            if position < len(where) and isinstance(index := where[position], int):
                found = found[index : index + 1]
                position += 1
            elif position < len(where) and isinstance(key := where[position], Key):
                found = [child for child in found if str(key.name) in {entry.value for entry in child.children if entry.name == "key"}]
                position += 1
                if found and position < len(where):
                    found = [entry for entry in found[0].children if entry.name == "value"] or found
            if not found:
                return line
            node, line = found[0], found[0].line
        return line


class _UnreadableError(Exception):
    """This reader does not understand the text; protobuf reports why."""


class _Reader:
    """A recursive descent parser, linear in the text."""

    def __init__(self, text: str) -> None:
        self._tokens = self._split(text)
        self._line = 1
        self._next: tuple[str, str, int] | None = next(self._tokens, None)

    @staticmethod
    def _split(text: str) -> Iterator[tuple[str, str, int]]:
        line = 1
        for match in TOKEN.finditer(text):
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

    def read(self) -> Node:
        root = Node("", 1, message=True)
        self._fields(root, None, 0)
        return root

    def _fields(self, into: Node, end: str | None, depth: int) -> None:
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

    def _value(self, name: str, line: int, depth: int) -> Node:
        if self._sees("{", "<"):
            node = Node(name, line, message=True)
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
        return Node(name, line, text)


def read(text: str) -> Source | None:
    """Return the lines of all fields; None for a text that this reader does not understand."""
    try:
        return Source(_Reader(text).read())
    except _UnreadableError:
        return None
