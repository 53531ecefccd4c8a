"""What `make test` shows while its stages run: a line of progress, and above it what they print."""

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
"""Between two lines of progress in a log."""


class Line:
    """The line of progress: redrawn in its place on a terminal, written again from time to time in a log."""

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
    """Output of stages above the line of progress; each piece once. Its methods may be called from any thread."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._line = Line(out)
        self._read: dict[Path, int] = {}
        self._lock = threading.Lock()

    def draw(self, text: str) -> None:
        """Show ``text`` as the line."""
        with self._lock:
            self._line.draw(text)

    def hide(self) -> None:
        """Take the line away."""
        with self._lock:
            self._line.hide()

    def follow(self, log: Path) -> None:
        """Show the whole lines that have come to ``log`` since it was last shown."""
        with self._lock:
            self._write("", self._rest(log, to_line_end=True))

    def end(self, heading: str, log: Path) -> None:
        """Show ``heading``, and under it what of ``log`` was not shown yet."""
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
            # A terminal of another encoding must not end the run for a letter that a test has printed.
            encoding = self._out.encoding or "utf-8"
            self._out.write((heading + text).encode(encoding, "backslashreplace").decode(encoding))
            self._out.flush()
