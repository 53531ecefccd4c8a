"""Read protobuf's text format, only as far as the lines of its fields need it: protobuf itself decides whether a text is valid."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

_MAX_DEPTH: Final = 32
"""Deepest nesting that is read; Triton's schema has 8 levels."""

TOKEN: Final = re.compile(
    r"""(?P<space>[ \t\r\f\v]+|\#[^\n]*)
      | (?P<newline>\n)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<number>[-+]?\.?[0-9](?:[eE][-+]|[A-Za-z0-9_.])*)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@dataclass
class Node:
    """A field as written: its line, and its value or its own fields."""

    name: str
    line: int
    kind: Literal["message", "string", "word", "number"]
    value: str = ""
    """Without quotes; empty for a message."""
    children: list[Node] = field(default_factory=list)
    listed: bool = False
    """Whether it is in brackets."""


class UnreadableError(Exception):
    """The text does not follow the grammar; protobuf says why."""


class Reader:
    """Recursive descent over protobuf's text format, only as far as lines need it."""

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
            raise UnreadableError
        token, self._next = self._next, next(self._tokens, None)
        return token

    def _sees(self, *texts: str) -> bool:
        return self._next is not None and self._next[0] == "other" and self._next[1] in texts

    def read(self) -> Node:
        """Return the message. Raises UnreadableError."""
        root = Node("", 1, "message")
        self._fields(root, None, 0)
        return root

    def _fields(self, into: Node, end: str | None, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise UnreadableError
        while self._next is not None and not (end and self._sees(end)):
            kind, name, line = self._take()
            if kind != "word":
                raise UnreadableError
            if self._sees(":"):
                self._take()
            if self._sees("["):
                self._take()
                while not self._sees("]"):
                    into.children.append(self._value(name, self._next[2] if self._next else line, depth))
                    into.children[-1].listed = True
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
            node = Node(name, line, "message")
            self._fields(node, "}" if self._take()[1] == "{" else ">", depth + 1)
            return node
        kind, text, _ = self._take()
        if kind == "other" and text == "-":
            kind, rest, _ = self._take()
            text += rest
        if kind == "other":
            raise UnreadableError
        if kind == "string":
            text = text[1:-1]
            while self._next is not None and self._next[0] == "string":
                text += self._take()[1][1:-1]
        return Node(name, line, "word" if kind == "word" else "string" if kind == "string" else "number", text)
