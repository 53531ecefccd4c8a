"""A root file system in memory: paths, modes and the source of each file's bytes; written as a reproducible tar.

Nothing is unpacked to disk. Extracting packages into a folder first was rejected: it needs root (or fakeroot) to keep owners, writes
everything twice, and leaves folders behind when it is interrupted.
"""

from __future__ import annotations

import io
import posixpath
import tarfile
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MERGED: Final = frozenset({"bin", "sbin", "lib", "lib32", "lib64", "libx32"})
"""Folders of / that are links into /usr in current Debian and Ubuntu releases; packages still refer to files through them."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One path: a file if it has ``data``, a symbolic link if it has ``target``, otherwise a folder."""

    mode: int
    owner: int = 0
    """User ID and group ID."""
    data: bytes | Path | None = None
    target: str | None = None


class Tree:
    """Maps absolute paths, stored without the leading slash, to entries. Later additions replace earlier ones."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._merged: frozenset[str] = frozenset()

    def __contains__(self, path: str) -> bool:
        return self._real(path) in self._entries

    def __getitem__(self, path: str) -> Entry:
        return self._entries[self._real(path)]

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Yield paths and entries in the order in which they are written: sorted, so that folders come before their contents."""
        yield from sorted(self._entries.items())

    def folder(self, path: str, mode: int = 0o755, owner: int = 0) -> None:
        """Add a folder."""
        self._put(path, Entry(mode=mode, owner=owner))

    def file(self, path: str, data: bytes | Path | str, mode: int = 0o644, owner: int = 0) -> None:
        """Add a file with bytes, text (UTF-8), or the content that the file ``data`` has when the tar is written."""
        self._put(path, Entry(mode=mode, owner=owner, data=data.encode() if isinstance(data, str) else data))

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link to ``target``."""
        self._put(path, Entry(mode=0o777, target=target))

    def remove(self, path: str) -> None:
        """Remove a path and everything below it, if it exists."""
        real = self._real(path)
        for known in [known for known in self._entries if known == real or known.startswith(real + "/")]:
            del self._entries[known]

    def merge_links(self) -> None:
        """Add the links of / into /usr, through which programs find their interpreter and loader; later additions follow them."""
        self._merged = _MERGED
        for name in ("bin", "sbin", "lib", "lib64"):
            self._entries[name] = Entry(mode=0o777, target=f"usr/{name}")
            self.folder(f"usr/{name}")

    def read(self, path: str) -> bytes:
        """Return the bytes of a file in this tree."""
        data = self[path].data
        if data is None:
            raise IsADirectoryError(path)
        return data if isinstance(data, bytes) else data.read_bytes()

    def _real(self, path: str) -> str:
        clean = posixpath.normpath("/" + path).strip("/")
        first, slash, rest = clean.partition("/")
        return f"usr/{first}/{rest}" if slash and first in self._merged else clean

    def _put(self, path: str, entry: Entry) -> None:
        real = self._real(path)
        if not real:
            return
        parent = posixpath.dirname(real)
        if parent and parent not in self._entries:
            self._put(parent, Entry(mode=0o755))
        self._entries[real] = entry

    def write(self, stream: IO[bytes]) -> None:
        """Write the tree as an uncompressed tar: sorted, without times and user names, so that equal trees give equal bytes.

        ``stream`` needs only ``write``.
        """
        with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, bufsize=tarfile.BLOCKSIZE * 2048) as tar:
            for path, entry in self.items():
                info = tarfile.TarInfo(path)
                info.mode, info.uid, info.gid = entry.mode, entry.owner, entry.owner
                if entry.target is not None:
                    info.type, info.linkname = tarfile.SYMTYPE, entry.target
                    tar.addfile(info)
                elif entry.data is None:
                    info.type = tarfile.DIRTYPE
                    tar.addfile(info)
                elif isinstance(entry.data, bytes):
                    info.size = len(entry.data)
                    tar.addfile(info, io.BytesIO(entry.data))
                else:
                    with entry.data.open("rb") as source:
                        info.size = source.seek(0, io.SEEK_END)
                        source.seek(0)
                        tar.addfile(info, source)
