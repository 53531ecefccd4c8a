"""Caches the digests of files, so that a scan reads only files whose size, modification time, inode or device has changed.

A small database for each folder of models, in the user's cache folder. Several scans may use it at once. When it is damaged, locked or
can't be written, the files are read; when it is deleted, they are read once.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from components.repository.scan.plan import Digests

if TYPE_CHECKING:
    from collections.abc import Mapping

VERIFY: Final = "TRITON_FLEET_VERIFY"
"""Environment variable: any value except an empty one and 0 makes scans read all files."""

RECENT_NS: Final = 2_000_000_000
"""A file that changed less than this before it was read may change again within the same tick of its file system's clock, and is not
cached. FAT has the coarsest clock: two seconds."""
_BUSY_S: Final = 5.0
_FORMAT: Final = 2
_CRC32C: Final = 8
_DIGESTS: Final = 64 + 1 + _CRC32C
"""Length of the digests of a file: hex SHA-256, a blank, base64 CRC32C."""


class ScanCache:
    """File digests of one folder of models. Names are paths relative to it."""

    def __init__(self, file: Path, *, verify: bool = False) -> None:
        self._file = file
        self._learnt: dict[str, str] = {}
        self._kept: dict[str, str] = {}
        self._seen: set[str] = set()
        self.reads = 0
        """Number of files that were not in the cache."""
        if not verify:
            self._kept = self._load()

    def recall(self, name: str, seen: os.stat_result) -> Digests | None:
        """Return the digests of a file that has not changed since it was read, or None."""
        self._seen.add(name)
        found = self._kept.get(name, "")
        looks = _looks(seen)
        if not found.startswith(looks) or len(found) != len(looks) + _DIGESTS:
            self.reads += 1
            return None
        return Digests(found[-_DIGESTS : -_CRC32C - 1], found[-_CRC32C:])

    def learn(self, name: str, seen: os.stat_result, digests: Digests) -> None:
        """Add the digests of a file that had these attributes before it was read."""
        if time.time_ns() - seen.st_mtime_ns > RECENT_NS:
            self._learnt[name] = f"{_looks(seen)}{digests.sha256} {digests.crc32c}"

    def save(self) -> None:
        """Save additions, and remove files that no scan has looked up."""
        gone = self._kept.keys() - self._seen
        if not self._learnt and not gone:
            return
        with contextlib.suppress(OSError, sqlite3.Error, UnicodeError):
            self._file.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._write(gone)
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
                self._file.unlink(missing_ok=True)
                self._write(set())
        self._kept.update(self._learnt)
        self._learnt = {}

    def _load(self) -> dict[str, str]:
        if not self._file.is_file():
            return {}
        try:
            with contextlib.closing(sqlite3.connect(f"{self._file.as_uri()}?mode=ro", timeout=_BUSY_S, uri=True)) as database:
                if database.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
                    return {}
                rows = database.execute("SELECT path, content FROM files WHERE typeof(path) = 'text' AND typeof(content) = 'text'")
                return dict(rows.fetchall())
        except (OSError, sqlite3.Error, ValueError, TypeError):
            return {}

    def _write(self, gone: set[str]) -> None:
        with contextlib.closing(sqlite3.connect(self._file, timeout=_BUSY_S)) as database, database:
            if database.execute("PRAGMA user_version").fetchone()[0] != _FORMAT:
                database.execute("DROP TABLE IF EXISTS files")
                database.execute(f"PRAGMA user_version = {_FORMAT}")
            # Attributes and digests in one string, so that loading parses nothing.
            database.execute("CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")
            database.executemany("DELETE FROM files WHERE path = ?", [(path,) for path in gone])
            database.executemany("INSERT OR REPLACE INTO files VALUES (?, ?)", list(self._learnt.items()))


def _looks(seen: os.stat_result) -> str:
    return f"{seen.st_size} {seen.st_mtime_ns} {seen.st_ino} {seen.st_dev} "


def open_cache(folder: Path, environ: Mapping[str, str], *, verify: bool = False) -> ScanCache:
    """The cache of one folder of models. With ``verify`` or TRITON_FLEET_VERIFY=1, all files are read again."""
    return ScanCache(cache_file(folder, environ, "scan", "sqlite"), verify=verify or is_asked(environ))


def is_asked(environ: Mapping[str, str]) -> bool:
    """Whether the environment asks to read all files."""
    return environ.get(VERIFY, "") not in {"", "0"}


def cache_file(folder: Path, environ: Mapping[str, str], kind: str, extension: str) -> Path:
    """The file that caches something about one folder of models, in the user's cache folder."""
    root = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME") or Path.home()) / ".cache")
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return root / "triton-fleet" / kind / f"{name}.{extension}"


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    return not isinstance(error, sqlite3.OperationalError) or "malformed" in str(error)
