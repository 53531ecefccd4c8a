"""A folder of models -> a checked plan of what to upload. Pure: reads files, writes nothing, talks to nobody.

It checks what would make Triton refuse to start or serve something else than meant, and only by what the folder shows: what a
config.pbtxt says, and whether a model may do without one, is judged by `components.repository.validation`.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from components.errors import FleetError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class KnownFiles(Protocol):
    """Digests of files that were read before."""

    def sha256(self, path: Path, seen: os.stat_result) -> str | None:
        """Digest of the file when it looks as it did when it was read; None when it has to be read."""

    def learn(self, path: Path, seen: os.stat_result, sha256: str) -> None:
        """Remember the digest of a file that looked like ``seen`` before it was read."""

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

_CHUNK: Final = 1 << 20

PLACEHOLDER: Final = ".triton-fleet-empty"
"""Object that stands for an empty version folder, as an ensemble has: object stores have no folders. Triton ignores the file."""


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One object of a release."""

    path: str
    """Path below the release's prefix, with forward slashes, such as ``add_sub/1/model.py``."""
    source: Path | None
    """File that is uploaded; None for the placeholder of an empty folder."""
    size: int
    """Bytes."""
    sha256: str
    """Hex digest of the content."""
    modified_ns: int
    """The file's time of change when it was read, in nanoseconds since 1970: tells whether it changed afterwards. Not part of any "
    "digest."""


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
        f"{_KEY}.models names {name}, and {folder} has no such folder: there is nothing to upload for it. "
        f"Add {folder / name} or leave {name} out. There: {', '.join(present) or 'nothing'}."
        for name in wanted
        if name not in present
    ]
    if not wanted:
        problems.append(f"{_KEY}.source ({folder}) holds no model folder: there is nothing to serve. Add models or name another folder.")
    files: list[PlannedFile] = []
    for name in wanted:
        if name in present:
            found = _Model(folder, name, known)
            files.extend(found.files)
            problems.extend(found.problems)
    if problems:
        raise FleetError(*problems)
    if known is not None:
        known.save()
    return plan(files)


def plan(files: Iterable[PlannedFile]) -> Plan:
    """Plan of these files, whose paths begin with their model's name."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    models: dict[str, list[PlannedFile]] = {}
    for file in ordered:
        models.setdefault(file.path.split("/", 1)[0], []).append(file)
    return Plan(
        digest=_digest(ordered),
        models={name: _digest(members) for name, members in sorted(models.items())},
        files=ordered,
    )


def parse_sums(sums: bytes) -> list[PlannedFile]:
    """Files of a release by its sums; lines that are none are left out, and the digest of what is left tells."""
    lines = [line.split(" ", 2) for line in sums.decode(errors="replace").split("\n")]
    return [
        PlannedFile(path=line[2], source=None, size=int(line[1]), sha256=line[0], modified_ns=0)
        for line in lines
        if len(line) == 3 and line[1].isdecimal()  # noqa: PLR2004  # sha256, size, path
    ]


def _digest(files: Iterable[PlannedFile]) -> str:
    return hashlib.sha256(_sums(files)).hexdigest()


def _sums(files: Iterable[PlannedFile]) -> bytes:
    """Paths and contents. A path can't hold a line break (checked), so lines can't run into one another."""
    return "".join(f"{file.sha256} {file.size} {file.path}\n" for file in files).encode()


def _is_litter(name: str) -> bool:
    return name in _LITTER or name.endswith(_LITTER_SUFFIXES)


class _Model:
    """One model's folder, read and checked."""

    def __init__(self, folder: Path, name: str, known: KnownFiles | None) -> None:
        self.name = name
        self.known = known
        self.root = folder / name
        self.repository = folder.resolve()
        self.problems: list[str] = []
        self.files: list[PlannedFile] = []
        if _MODEL_NAME.match(name) is None:
            self._refuse(
                "has a name that object keys, URLs or metric labels can't carry",
                "Use letters, digits, dots, hyphens and underscores, 128 at most.",
            )
            return
        for path in self._walk(self.root, frozenset({self.root.resolve()})):
            self._add(path)
        self._check_layout()

    def _refuse(self, what: str, remedy: str, path: Path | None = None) -> None:
        where = self.root if path is None else path
        self.problems.append(f"{_KEY}: {where} {what}: Triton would not serve {self.name} as meant. {remedy}")

    def _walk(self, folder: Path, above: frozenset[Path]) -> Iterator[Path]:
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self._refuse(f"can't be read ({error.strerror})", "Make it readable.", folder)
            return
        for entry in entries:
            if _is_litter(entry.name):
                continue
            path = folder / entry.name
            if entry.is_symlink() and not self._stays_inside(path):
                continue
            if entry.is_dir():
                target = path.resolve()
                if target in above:
                    self._refuse("is a link to a folder around it", "Remove the link.", path)
                    continue
                yield from self._walk(path, above | {target})
            else:
                yield path

    def _stays_inside(self, entry: Path) -> bool:
        target = entry.resolve()
        if not target.exists():
            self._refuse("is a link to nothing", "Remove the link or restore its target.", entry)
            return False
        if not target.is_relative_to(self.repository):
            self._refuse(f"is a link out of the repository, to {target}", "Copy the file into the model's folder.", entry)
            return False
        return True

    def _add(self, path: Path) -> None:
        # By its text: the path was made from the root's, and taking paths apart is what a scan of many files spends its time on.
        relative = f"{self.name}/{str(path)[len(str(self.root)) + 1 :].replace(os.sep, '/')}"
        try:
            encoded = relative.encode()
        except UnicodeEncodeError:
            self._refuse("has a name that is not UTF-8", "Rename it.", Path(repr(path)))
            return
        if _ODD.search(relative) is not None:
            self._refuse("has a control character or backslash in its name", "Rename it.", Path(repr(str(path))))
            return
        if len(encoded) > _RELEASE_PATH_BYTES:
            self._refuse(f"has a path of {len(encoded)} bytes, more than {_RELEASE_PATH_BYTES}", "Shorten it.", path)
            return
        try:
            before = path.stat()
            if not stat.S_ISREG(before.st_mode):
                self._refuse("is neither a file nor a folder", "Remove it.", path)
                return
            remembered = None if self.known is None else self.known.sha256(path, before)
            digest, size, head = _hash(path) if remembered is None else (remembered, before.st_size, b"")
        except OSError as error:
            self._refuse(f"can't be read ({error.strerror})", "Make it readable.", path)
            return
        if head.startswith(_LFS_POINTER):
            self._refuse("is a Git LFS pointer, not the model", "Run `git lfs pull`.", path)
            return
        if self.known is not None and remembered is None and size == before.st_size:
            self.known.learn(path, before, digest)
        self.files.append(PlannedFile(path=relative, source=path, size=size, sha256=digest, modified_ns=before.st_mtime_ns))

    def _check_layout(self) -> None:
        versions = (
            [entry.name for entry in self.root.iterdir() if entry.is_dir() and _VERSION.match(entry.name) is not None]
            if os.access(self.root, os.R_OK | os.X_OK)
            else []
        )
        config = self.root / "config.pbtxt"
        described = config.is_file()
        if not versions:
            kind = " (an ensemble needs an empty one too)" if described and _is_ensemble(config) else ""
            self._refuse(f"has no version folder{kind}", f"Put the model into {self.root / '1'}.")
        for version in versions:
            content = [file for file in self.files if file.path.startswith(f"{self.name}/{version}/")]
            if content:
                continue
            if described and _is_ensemble(config):
                self.files.append(
                    PlannedFile(
                        path=f"{self.name}/{version}/{PLACEHOLDER}",
                        source=None,
                        size=0,
                        sha256=hashlib.sha256(b"").hexdigest(),
                        modified_ns=0,
                    )
                )
            elif not self.problems:
                self._refuse("is an empty version", "Put the model's files there.", self.root / version)


def _hash(path: Path) -> tuple[str, int, bytes]:
    """Hex digest, size in bytes and first bytes of a file."""
    digest = hashlib.sha256()
    size = 0
    head = b""
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            head = head or chunk[:64]
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size, head


_ENSEMBLE: Final = re.compile(r'^\s*(platform\s*:\s*"ensemble"|ensemble_scheduling\b)', re.MULTILINE)


def _is_ensemble(config: Path) -> bool:
    return _ENSEMBLE.search(config.read_text(encoding="utf-8", errors="replace")) is not None
