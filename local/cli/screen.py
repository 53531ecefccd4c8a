"""Output of `make test` while stages run: a progress line, and the stages' output above it."""

from __future__ import annotations

import contextlib
import shutil
import sys
import threading
import time
from typing import IO, TYPE_CHECKING, Final, TextIO

if TYPE_CHECKING:
    from pathlib import Path

_LINE_S: Final = 30.0
"""Seconds between two progress lines in a log."""


class Line:
    """The progress line: redrawn in place on a terminal, repeated from time to time in a log."""

    def __init__(self, out: IO[str] = sys.stdout) -> None:
        self._out = out
        self._tty = out.isatty()
        self._drawn = False
        self._said = time.monotonic()

    def draw(self, text: str) -> None:
        """Show ``text``."""
        if self._tty:
            width = shutil.get_terminal_size().columns - 1
            self._out.write(f"\r\x1b[K{text[:width]}")
            self._drawn = True
        elif time.monotonic() - self._said >= _LINE_S:
            self._said = time.monotonic()
            self._out.write(text + "\n")
        self._out.flush()

    def hide(self) -> None:
        """Make room for other output."""
        if self._drawn:
            self._out.write("\r\x1b[K")
            self._drawn = False
        self._out.flush()


class Screen:
    """Shows the output of stages once, above the progress line. Thread-safe."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._line = Line(out)
        self._read: dict[Path, int] = {}
        self._lock = threading.Lock()

    def draw(self, text: str) -> None:
        """Show ``text`` as the progress line."""
        with self._lock:
            self._line.draw(text)

    def hide(self) -> None:
        """Hide the progress line."""
        with self._lock:
            self._line.hide()

    def follow(self, log: Path) -> None:
        """Show the complete lines that were added to ``log`` since the last call."""
        with self._lock:
            self._write("", self._rest(log, to_line_end=True))

    def end(self, heading: str, log: Path) -> None:
        """Show ``heading`` and the rest of ``log``."""
        with self._lock:
            self._write(f"\n{heading}\n", self._rest(log, to_line_end=False))

    def _rest(self, log: Path, *, to_line_end: bool) -> str:
        with contextlib.suppress(FileNotFoundError), log.open("rb") as file:
            file.seek(self._read.get(log, 0))
            content = file.read()
            content = content[: content.rfind(b"\n") + 1] if to_line_end else content
            self._read[log] = self._read.get(log, 0) + len(content)
            return content.decode(errors="replace")
        return ""

    def _write(self, heading: str, text: str) -> None:
        if heading or text:
            self._line.hide()
            # A character that the terminal can't encode must not end the run.
            encoding = self._out.encoding or "utf-8"
            self._out.write((heading + text).encode(encoding, "backslashreplace").decode(encoding))
            self._out.flush()
