"""Read a model repository safely: bounded reads of regular files only, and no links that lead outside."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

Kind = Literal["file", "folder", "closed", "absent"]
"""``closed``: it must not or cannot be opened; `components.repository.scan` reports why."""

LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
UNFINISHED: Final = (".part", ".partial", ".incomplete", ".crdownload", ".download", ".aria2", ".filepart")
"""Extensions of unfinished downloads of browsers, download tools and model hubs."""

_LITTER: Final = frozenset(
    {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep", ".gitignore", ".gitattributes"}
)
"""Not uploaded: tools write them, they differ between machines, and they would create a new release of an unchanged model."""
_LITTER_SUFFIXES: Final = (".pyc", ".swp", "~")

_HEAD: Final = 512
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_TAIL: Final = 22 + 65535
"""Bytes at the end of a zip archive that contain the end of central directory record (PKWARE's APPNOTE 4.3.16)."""
_ONNX_FIELDS: Final = 4096
"""Maximum number of top-level fields read from an ONNX file. Real files have about ten, plus one per function or property."""


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is not uploaded."""
    return name in _LITTER or name.endswith(_LITTER_SUFFIXES)


class Repository:
    """A model repository, for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inside = folder.resolve()

    def kind(self, path: Path) -> Kind:
        """Kind of ``path``, which is below the folder."""
        try:
            target = path.resolve()
            if not target.is_relative_to(self._inside):
                return "closed" if os.path.lexists(path) else "absent"
            mode = target.stat().st_mode
        except FileNotFoundError:
            return "closed" if path.is_symlink() else "absent"
        except NotADirectoryError:
            return "absent"
        except (OSError, ValueError, RuntimeError):  # a loop of links, a null byte, a name that is too long
            return "absent" if "\0" in str(path) else "closed"
        if stat.S_ISREG(mode):
            return "file"
        return "folder" if stat.S_ISDIR(mode) else "closed"

    def names(self, path: Path) -> list[str]:
        """Sorted names in a folder, of what is uploaded; empty if it cannot be read."""
        if self.kind(path) != "folder":
            return []
        try:
            return sorted(entry.name for entry in path.iterdir() if not is_litter(entry.name))
        except OSError:
            return []

    def read(self, path: Path, limit: int, *, start: int = 0) -> bytes | None:
        """At most ``limit`` bytes of a file from ``start`` (negative: from the end); None if it cannot be read."""
        if self.kind(path) != "file":
            return None
        try:
            with path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(max(0, size + start) if start < 0 else start)
                return stream.read(limit)
        except (OSError, ValueError):
            return None

    def size(self, path: Path) -> int:
        """Size of a file in bytes; 0 if it does not exist."""
        try:
            return path.stat().st_size if self.kind(path) == "file" else 0
        except OSError:
            return 0

    def broken(self, path: Path) -> str | None:  # noqa: PLR0911 (one answer a format)
        """How a model's file is damaged, judged by its first and last bytes; None if no damage is found."""
        head = self.read(path, _HEAD)
        if head is None or head.startswith(LFS_POINTER):  # reported by components.repository.scan
            return None
        if not head:
            return "is empty"
        if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            return "is an HTML page, probably of a failed download"
        if head.startswith(b"PK\x03\x04") and path.suffix in {".pt", ".pt2", ".zip", ".npz"}:
            tail = self.read(path, _ZIP_TAIL, start=-_ZIP_TAIL)
            return "is truncated: the end of the archive is missing" if tail is not None and _ZIP_END not in tail else None
        if path.suffix == ".onnx" and head[4:8] != b"ORTM":  # ONNX Runtime's own format has the same extension
            return self._broken_onnx(path)
        if path.suffix == ".json":
            tail = (self.read(path, _HEAD, start=-_HEAD) or b"").rstrip()
            if head.lstrip()[:1] not in {b"{", b"["}:
                return "is not JSON"
            if tail[-1:] not in {b"}", b"]"}:
                return "is truncated: the end of the JSON is missing"
        if path.suffix == ".xml" and head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"<":
            return "is not XML"
        return None

    def _broken_onnx(self, path: Path) -> str | None:
        """Skip the top-level fields of the protobuf message, which must end exactly at the end of the file."""
        try:
            with path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(0)
                for _ in range(_ONNX_FIELDS):
                    if stream.tell() == size:
                        return None
                    if not _skip_field(stream):
                        return "is not an ONNX model, or is truncated"
                    if stream.tell() > size:
                        return "is truncated: its fields are longer than the file"
        except OSError:
            return None
        return None


def _varint(stream: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = stream.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:  # noqa: PLR2004 (the continuation bit)
            return value
    return None


def _skip_field(stream: BinaryIO) -> bool:
    """Skip one protobuf field; False if there is none."""
    tag = _varint(stream)
    if tag is None or tag >> 3 == 0:
        return False
    match tag & 7:
        case 0:
            return _varint(stream) is not None
        case 1:
            stream.seek(8, os.SEEK_CUR)
        case 2:
            length = _varint(stream)
            if length is None or length >= 1 << 62:
                return False
            stream.seek(length, os.SEEK_CUR)
        case 5:
            stream.seek(4, os.SEEK_CUR)
        case _:
            return False
    return True
