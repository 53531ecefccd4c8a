"""Looks into a repository without leaving it: links that lead out, pipes and the like are never opened, reads are bounded."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

Kind = Literal["file", "folder", "closed", "absent"]
"""``closed``: something is there that must not or can't be opened; `components.repository.scan` says why."""

LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
UNFINISHED: Final = (".part", ".partial", ".tmp", ".temp", ".incomplete", ".crdownload", ".download", ".aria2", ".filepart")
"""Endings that browsers, download tools and model hubs give a file until it is whole."""

_HEAD: Final = 512
_ZIP_END: Final = b"PK\x05\x06"
_ZIP_TAIL: Final = 22 + 65535
"""Bytes at the end of a zip archive in which its directory's end record must lie (PKWARE's APPNOTE 4.3.16)."""
_ONNX_FIELDS: Final = 4096
"""Most top-level fields of an ONNX file that are visited; real ones have about ten and one for each function or property."""


class Repository:
    """A folder of models, for reading."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._inside = folder.resolve()

    def kind(self, path: Path) -> Kind:
        """What lies at ``path``, a path below the folder."""
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
        """Sorted names in a folder; none where it is no folder or can't be read."""
        if self.kind(path) != "folder":
            return []
        try:
            return sorted(entry.name for entry in path.iterdir())
        except OSError:
            return []

    def read(self, path: Path, limit: int, *, start: int = 0) -> bytes | None:
        """At most ``limit`` bytes of a file from ``start`` on (negative: from its end); None where it is no readable file."""
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
        """Bytes of a file; 0 where there is none."""
        try:
            return path.stat().st_size if self.kind(path) == "file" else 0
        except OSError:
            return 0

    def broken(self, path: Path) -> str | None:  # noqa: PLR0911 (one answer a format)
        """What is wrong with a model's file as far as its ends tell, as a predicate; None where nothing is, or it can't be told cheaply."""
        head = self.read(path, _HEAD)
        if head is None or head.startswith(LFS_POINTER):  # the scan names those
            return None
        if not head:
            return "is empty"
        if head.lstrip()[:15].lower().startswith((b"<!doctype html", b"<html")):
            return "is a web page (a failed download?)"
        if head.startswith(b"PK\x03\x04") and path.suffix in {".pt", ".pt2", ".zip", ".npz"}:
            tail = self.read(path, _ZIP_TAIL, start=-_ZIP_TAIL)
            return "is cut off: the archive has no end" if tail is not None and _ZIP_END not in tail else None
        if path.suffix == ".onnx" and head[4:8] != b"ORTM":  # ONNX Runtime's own format lies under the same name
            return self._broken_onnx(path)
        if path.suffix == ".json":
            tail = (self.read(path, _HEAD, start=-_HEAD) or b"").rstrip()
            if head.lstrip()[:1] not in {b"{", b"["}:
                return "is not JSON"
            if tail[-1:] not in {b"}", b"]"}:
                return "is truncated: the JSON does not end"
        if path.suffix == ".xml" and head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] != b"<":
            return "is not XML"
        return None

    def _broken_onnx(self, path: Path) -> str | None:
        """Step over the top-level fields of the protobuf message: lengths must end exactly at the file's end."""
        try:
            with path.open("rb") as stream:
                size = stream.seek(0, os.SEEK_END)
                stream.seek(0)
                for _ in range(_ONNX_FIELDS):
                    if stream.tell() == size:
                        return None
                    if not _skip_field(stream):
                        return "is no ONNX model, or cut off"
                    if stream.tell() > size:
                        return "is cut off: fields reach beyond the file's end"
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
    """Step over one protobuf field; False where there is none."""
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
