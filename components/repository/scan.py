"""A folder of models -> a checked plan of what to upload. Pure: reads files, writes nothing, talks to nobody.

It checks what would make Triton refuse to start or serve something else than meant, and only by what the folder shows: what a
config.pbtxt says, and whether a model may do without one, is judged by `components.repository.validation`.
"""

from __future__ import annotations

import hashlib
import operator
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import google_crc32c

from components.base.errors import FleetError
from components.repository.store.objects import crc32c, crc32c_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Digests(NamedTuple):
    """What tells the content of a file."""

    sha256: str
    """Hex."""
    crc32c: str
    """Base64, as stores write it: what is sent is compared with what was scanned, on arrival and by the store itself."""


class KnownFiles(Protocol):
    """Digests of files that were read before. Names are paths below the folder of models."""

    def recall(self, name: str, seen: os.stat_result) -> Digests | None:
        """Digests of the file when it looks as it did when it was read; None when it has to be read."""

    def learn(self, name: str, seen: os.stat_result, digests: Digests) -> None:
        """Remember the digests of a file that looked like ``seen`` before it was read."""

    def save(self) -> None:
        """Keep what was learnt."""


_KEY: Final = "triton-fleet:repository"

_MODEL_NAME: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
"""Safe in object keys, URLs and Prometheus labels alike."""

_VERSION: Final = re.compile(r"^[1-9]\d*\Z")
"""Triton takes folders with a positive number as versions and skips those with a leading zero."""

_ODD: Final = re.compile(r"[\x00-\x1f\x7f\\]")
"""Control characters and backslashes: object stores and Triton read such keys differently."""

_LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"

_LITTER: Final = frozenset(
    {"__pycache__", ".git", ".ipynb_checkpoints", ".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep", ".gitignore", ".gitattributes"}
)
"""Left out: written by tools, different from machine to machine; uploading them would make a new release of an unchanged model."""

_LITTER_SUFFIXES: Final = (".pyc", ".swp", "~")

_KEY_BYTES: Final = 1024
"""Longest S3 object key, in bytes of UTF-8 (Amazon S3 user guide, "Naming Amazon S3 objects"), prefix and digest included."""

_RELEASE_PATH_BYTES: Final = _KEY_BYTES - 256
"""Longest path inside a release; the rest of the key is for prefix and digest."""

_LARGE: Final = 1 << 20
"""Bytes of a file from which on hashing it is worth a thread of its own: hashlib lets other threads run meanwhile."""

_BLOCK: Final = 1 << 18
"""Bytes read and hashed at a time: they stay in the processor's cache meanwhile."""

_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_by_name: Final = operator.attrgetter("name")
_by_path: Final = operator.attrgetter("path")

PLACEHOLDER: Final = ".triton-fleet-empty"
"""Object that stands for an empty version folder, as an ensemble has: object stores have no folders. Triton ignores the file."""


class PlannedFile(NamedTuple):
    """One object of a release. A tuple, as a scan makes ten thousands: a frozen dataclass takes thrice the time to make."""

    path: str
    """Path below the release's prefix, with forward slashes, such as ``add_sub/1/model.py``."""
    source: str | None
    """File that is uploaded; None for the placeholder of an empty folder. As text: a scan of many files is spent on making paths."""
    size: int
    """Bytes."""
    sha256: str
    """Hex digest of the content."""
    crc32c: str
    """See `Digests`; empty for a release that is in the store already."""
    modified_ns: int
    """The file's time of change when it was read, in nanoseconds since 1970: tells whether it changed afterwards. Not part of any
    digest."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A release: what lies where, under which digest."""

    digest: str
    """64 hex digits over all paths and contents of all models; independent of times, owners, order and machine."""
    models: dict[str, str]
    """Digest of each model, by name, sorted."""
    files: tuple[PlannedFile, ...]
    """Sorted by path."""

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each model, by name."""
        sizes = dict.fromkeys(self.models, 0)
        for file in self.files:
            sizes[file.path.split("/", 1)[0]] += file.size
        return sizes

    @property
    def sums(self) -> bytes:
        """What the digest is the SHA-256 of: a line "sha256 size path" a file."""
        return _sums(self.files)


def scan(folder: Path, models: Sequence[str] | None = None, known: KnownFiles | None = None) -> Plan:
    """Read ``folder`` and plan the release of ``models`` (None: of every sub-folder).

    ``known`` remembers digests of files from scan to scan (`scancache.py`); without it every file is read.

    Raises:
        FleetError: With everything found that would keep Triton from serving the models.
    """
    if not folder.is_dir():
        raise FleetError(f"{_KEY}.source ({folder}) is no folder: there are no models to upload. Create it or name another.")
    present = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not _is_litter(entry.name) and not entry.name.startswith(".")
    )
    wanted = sorted(present if models is None else models)
    problems = [
        f"{_KEY}.models names {_shown(name)}, and {folder} has no such folder: there is nothing to upload for it. "
        f"Add {_shown(str(folder / name))} or leave {_shown(name)} out. There: {', '.join(map(_shown, present)) or 'nothing'}."
        for name in wanted
        if name not in present
    ]
    if not wanted:
        problems.append(f"{_KEY}.source ({folder}) holds no model folder: there is nothing to serve. Add models or name another folder.")
    found = [_Model(folder, name, known) for name in wanted if name in present]
    files = _read_all([file for model in found for file in model.unread], known)
    problems.extend(problem for model in found for problem in model.problems)
    if problems:
        raise FleetError(*problems)
    if known is not None:
        known.save()
    return plan([*files, *(file for model in found for file in model.planned)])


def plan(files: Iterable[PlannedFile]) -> Plan:
    """Plan of these files, whose paths begin with their model's name."""
    ordered = tuple(sorted(files, key=_by_path))
    # What begins alike stands together: the sums of all are those of the models, one after another.
    sums = {name: _sums(members) for name, members in groupby(ordered, key=lambda file: file.path.partition("/")[0])}
    return Plan(
        digest=_digest(b"".join(sums.values())),
        models={name: _digest(lines) for name, lines in sorted(sums.items())},
        files=ordered,
    )


def parse_sums(sums: bytes) -> list[PlannedFile]:
    """Files of a release by its sums; lines that are none are left out, and the digest of what is left tells."""
    lines = [line.split(" ", 2) for line in sums.decode(errors="replace").split("\n")]
    return [
        PlannedFile(path=line[2], source=None, size=int(line[1]), sha256=line[0], crc32c="", modified_ns=0)
        for line in lines
        if len(line) == 3 and line[1].isdecimal()  # noqa: PLR2004  # sha256, size, path
    ]


def _digest(sums: bytes) -> str:
    return hashlib.sha256(sums).hexdigest()


def _sums(files: Iterable[PlannedFile]) -> bytes:
    """Paths and contents. A path can't hold a line break (checked), so lines can't run into one another."""
    return "".join(f"{file.sha256} {file.size} {file.path}\n" for file in files).encode()


def _is_litter(name: str) -> bool:
    return name in _LITTER or name.endswith(_LITTER_SUFFIXES)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _shown(path: str) -> str:
    """A path for a message: as it is where it can be printed."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return ascii(path)
    return path if _ODD.search(path) is None else repr(path)


class _Found(NamedTuple):
    """A file of a model."""

    model: _Model
    path: str
    """Below the folder of models, with forward slashes."""
    source: str
    seen: os.stat_result
    """As it looked before it was read."""


class _Model:
    """One model's folder, looked through and checked, but for what its files hold."""

    def __init__(self, folder: Path, name: str, known: KnownFiles | None) -> None:
        self.name = name
        self.root = folder / name
        self.repository = folder.resolve()
        self.known = known
        self.problems: list[str] = []
        self.planned: list[PlannedFile] = []
        """Files whose digests are known, and placeholders."""
        self.unread: list[_Found] = []
        if _MODEL_NAME.match(name) is None:
            self.refuse(
                "has a name that object keys, URLs or metric labels can't carry",
                "Use letters, digits, dots, hyphens and underscores, 128 at most.",
            )
            return
        versions: dict[str, int] = {}
        if self.root.is_symlink() and not self._stays_inside(str(self.root)):
            return
        try:
            seen = self.root.stat()
        except OSError as error:
            self.refuse(f"can't be read ({error.strerror})", "Make it readable.")
            return
        if self._walk(str(self.root), name, frozenset({(seen.st_dev, seen.st_ino)}), versions):
            self._check_layout(versions)

    def refuse(self, what: str, remedy: str, path: str | None = None) -> None:
        """Note what is wrong with the model, or with one of its files."""
        where = _shown(str(self.root) if path is None else path)
        self.problems.append(f"{_KEY}: {where} {what}: Triton would not serve {_shown(self.name)} as meant. {remedy}")

    def _walk(self, folder: str, below: str, above: frozenset[tuple[int, int]], versions: dict[str, int] | None = None) -> bool:
        """Note all files of a folder; False when it can't be read.

        ``above``: device and inode of the folders around it. ``versions``: gets the number of files of each folder that is a version.
        """
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=_by_name)
        except OSError as error:
            self.refuse(f"can't be read ({error.strerror})", "Make it readable.", folder)
            return False
        for entry in entries:
            name = entry.name
            if versions is not None and _VERSION.match(name) is not None and _is_folder(entry):
                versions[name] = 0
            if _is_litter(name) or (entry.is_symlink() and not self._stays_inside(entry.path)):
                continue
            try:
                seen = entry.stat()
            except OSError as error:
                self.refuse(f"can't be read ({error.strerror})", "Make it readable.", entry.path)
                continue
            if not stat.S_ISDIR(seen.st_mode):
                self._add(entry.path, f"{below}/{name}", seen)
                continue
            identity = (seen.st_dev, seen.st_ino)
            before = len(self.planned) + len(self.unread)
            if identity in above:
                self.refuse("is a link to a folder around it", "Remove the link.", entry.path)
            else:
                self._walk(entry.path, f"{below}/{name}", above | {identity})
            if versions is not None and name in versions:
                versions[name] = len(self.planned) + len(self.unread) - before
        return True

    def _stays_inside(self, path: str) -> bool:
        try:
            target = Path(path).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a link that leads to itself
            self.refuse("is a link to nothing", "Remove the link or restore its target.", path)
            return False
        if not target.is_relative_to(self.repository):
            self.refuse(f"is a link out of the repository, to {_shown(str(target))}", "Copy the file into the model's folder.", path)
            return False
        return True

    def _add(self, source: str, path: str, seen: os.stat_result) -> None:
        if path.isascii() and path.isprintable() and "\\" not in path and len(path) <= _RELEASE_PATH_BYTES and stat.S_ISREG(seen.st_mode):
            self._take(path, source, seen)  # nearly all: told in a tenth of the time
            return
        try:
            length = len(path.encode())
        except UnicodeEncodeError:
            self.refuse("has a name that is not UTF-8", "Rename it.", source)
            return
        if _ODD.search(path) is not None:
            self.refuse("has a control character or backslash in its name", "Rename it.", source)
        elif length > _RELEASE_PATH_BYTES:
            self.refuse(f"has a path of {length} bytes, more than {_RELEASE_PATH_BYTES}", "Shorten it.", source)
        elif not stat.S_ISREG(seen.st_mode):
            self.refuse("is neither a file nor a folder", "Remove it.", source)
        else:
            self._take(path, source, seen)

    def _take(self, path: str, source: str, seen: os.stat_result) -> None:
        """Plan a file whose content is known at once: of ten thousands each object less that stays counts."""
        digests = None if self.known is None else self.known.recall(path, seen)
        if digests is None:
            self.unread.append(_Found(self, path, source, seen))
        else:
            self.planned.append(PlannedFile(path, source, seen.st_size, *digests, seen.st_mtime_ns))

    def _check_layout(self, versions: dict[str, int]) -> None:
        config = self.root / "config.pbtxt"
        ensemble = bool(not versions or 0 in versions.values()) and config.is_file() and _is_ensemble(config)
        if not versions:
            kind = " (an ensemble needs an empty one too)" if ensemble else ""
            self.refuse(f"has no version folder{kind}", f"Put the model into {self.root / '1'}.")
        for version, files in versions.items():
            if files:
                continue
            if ensemble:
                path = f"{self.name}/{version}/{PLACEHOLDER}"
                self.planned.append(PlannedFile(path=path, source=None, size=0, sha256=_NOTHING, crc32c=crc32c(b""), modified_ns=0))
            elif not self.problems:
                self.refuse("is an empty version", "Put the model's files there.", str(self.root / version))


def _read_all(unread: Sequence[_Found], known: KnownFiles | None) -> list[PlannedFile]:
    """The files with their digests, large ones hashed side by side. What can't be read or is no model's file is told to its model."""
    planned: list[PlannedFile] = []
    large = [number for number, file in enumerate(unread) if file.seen.st_size >= _LARGE]
    # The largest first: otherwise the last one keeps everybody waiting.
    large.sort(key=lambda number: -unread[number].seen.st_size)
    with ThreadPoolExecutor(max(min(os.cpu_count() or 1, len(large)), 1), thread_name_prefix="triton-fleet-scan") as pool:
        running = {number: pool.submit(_read, unread[number].source) for number in large}
        for number, file in enumerate(unread):
            content = running[number].result() if number in running else _read(file.source)
            if isinstance(content, _Refusal):
                file.model.refuse(content.what, content.remedy, file.source)
                continue
            planned.append(PlannedFile(file.path, file.source, content.size, *content.digests, file.seen.st_mtime_ns))
            if known is not None and content.size == file.seen.st_size:
                known.learn(file.path, file.seen, content.digests)
    return planned


class _Content(NamedTuple):
    """What a file holds."""

    size: int
    """Bytes that were read."""
    digests: Digests


class _Refusal(NamedTuple):
    """What is wrong with a file, and what to do."""

    what: str
    remedy: str


def _read(path: str) -> _Content | _Refusal:
    sha256, checksum, size = hashlib.sha256(), 0, 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe that has taken the file's place would block
        try:
            while chunk := os.read(descriptor, _BLOCK):
                if not size and chunk.startswith(_LFS_POINTER):
                    return _Refusal("is a Git LFS pointer, not the model", "Run `git lfs pull`.")
                sha256.update(chunk)
                checksum = google_crc32c.extend(checksum, chunk)
                size += len(chunk)
        finally:
            os.close(descriptor)
    except OSError as error:
        return _Refusal(f"can't be read ({error.strerror})", "Make it readable.")
    return _Content(size, Digests(sha256.hexdigest(), crc32c_text(checksum)))


_ENSEMBLE: Final = re.compile(r'^\s*(platform\s*:\s*"ensemble"|ensemble_scheduling\b)', re.MULTILINE)


def _is_ensemble(config: Path) -> bool:
    return _ENSEMBLE.search(config.read_text(encoding="utf-8", errors="replace")) is not None
