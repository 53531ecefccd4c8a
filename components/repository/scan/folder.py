"""Scans a folder of models into a plan of what to upload. Reads files, and writes only the cache of digests.

It checks the folder's layout: what would keep Triton from starting, or make it serve another model than intended. What a config.pbtxt says
is checked by `components.repository.validation`.
"""

from __future__ import annotations

import hashlib
import operator
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import google_crc32c

from components.base.errors import FleetError
from components.repository.scan.plan import Digests, Plan, PlannedFile, plan
from components.repository.store.objects import crc32c, crc32c_text
from components.repository.validation.files import is_litter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.repository.scan.cache import ScanCache


_KEY: Final = "triton-fleet:repository"

_MODEL_NAME: Final = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
"""Safe in object keys, URLs and Prometheus labels."""

_VERSION: Final = re.compile(r"^[1-9]\d*\Z")
"""Triton takes folders with a positive number as versions and skips those with a leading zero."""

_ODD: Final = re.compile(r"[\x00-\x1f\x7f\\]")
"""Control characters and backslashes: object stores and Triton read such keys differently."""

_LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"

_KEY_BYTES: Final = 1024
"""Longest S3 object key in bytes of UTF-8 (Amazon S3 user guide, "Naming Amazon S3 objects"), with prefix and digest."""

_RELEASE_PATH_BYTES: Final = _KEY_BYTES - 256
"""Longest path inside a release; the rest of the key is for prefix and digest."""

_LARGE: Final = 1 << 20
"""File size in bytes from which hashing in a thread pays off: hashlib releases the interpreter's lock."""

_BLOCK: Final = 1 << 18
"""Bytes read and hashed at a time: they fit into the processor's cache."""

_NOTHING: Final = hashlib.sha256(b"").hexdigest()
_by_name: Final = operator.attrgetter("name")

PLACEHOLDER: Final = ".triton-fleet-empty"
"""Placeholder object for an empty version folder: object stores have no folders. Backends that open no file need one, as ensembles do;
`components.repository.validation` refuses it for the others."""


def scan(folder: Path, models: Sequence[str] | None = None, known: ScanCache | None = None) -> Plan:
    """Read ``folder`` and plan the release of ``models`` (None: of every sub-folder). Files that ``known`` recalls are not read.

    Raises:
        FleetError: With all that would keep Triton from serving the models.
    """
    if not folder.is_dir():
        raise FleetError(f"{_KEY}.source ({folder}) is not a folder: there are no models to upload. Create it, or name another folder.")
    present = sorted(
        entry.name for entry in folder.iterdir() if entry.is_dir() and not is_litter(entry.name) and not entry.name.startswith(".")
    )
    wanted = sorted(present if models is None else models)
    problems = [
        f"{_KEY}.models names {_shown(name)}, which is not in {folder}: there is nothing to upload for it. "
        f"Add {_shown(str(folder / name))} or remove {_shown(name)}. Found: {', '.join(map(_shown, present)) or 'nothing'}."
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


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _shown(path: str) -> str:
    """Return a path for a message, quoted if it contains unprintable characters."""
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
    """Its attributes before it was read."""


class _Model:
    """One model's folder. Its layout is checked; its files are read later."""

    def __init__(self, folder: Path, name: str, known: ScanCache | None) -> None:
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
                "has a name that is not valid in object keys, URLs or metric labels",
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
        """Add a problem of the model, or of one of its files."""
        where = _shown(str(self.root) if path is None else path)
        self.problems.append(f"{_KEY}: {where} {what}: Triton would not serve {_shown(self.name)} as intended. {remedy}")

    def _walk(self, folder: str, below: str, above: frozenset[tuple[int, int]], versions: dict[str, int] | None = None) -> bool:
        """Add all files below a folder; False when it can't be read.

        Args:
            folder: The folder.
            below: Its path below the folder of models.
            above: Device and inode of it and its parents.
            versions: Gets the number of files of each version folder.
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
            if is_litter(name) or (entry.is_symlink() and not self._stays_inside(entry.path)):
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
                self.refuse("is a link to one of its parent folders", "Remove the link.", entry.path)
            else:
                self._walk(entry.path, f"{below}/{name}", above | {identity})
            if versions is not None and name in versions:
                versions[name] = len(self.planned) + len(self.unread) - before
        return True

    def _stays_inside(self, path: str) -> bool:
        try:
            target = Path(path).resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: a link that leads to itself
            self.refuse("is a broken link", "Remove it or restore its target.", path)
            return False
        if not target.is_relative_to(self.repository):
            self.refuse(f"is a link to {_shown(str(target))}, outside the repository", "Copy the file into the model's folder.", path)
            return False
        return True

    def _add(self, source: str, path: str, seen: os.stat_result) -> None:
        if path.isascii() and path.isprintable() and "\\" not in path and len(path) <= _RELEASE_PATH_BYTES and stat.S_ISREG(seen.st_mode):
            self._take(path, source, seen)  # nearly all files, in a tenth of the time
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
        digests = None if self.known is None else self.known.recall(path, seen)
        if digests is None:
            self.unread.append(_Found(self, path, source, seen))
        else:
            self.planned.append(PlannedFile(path, source, seen.st_size, *digests, seen.st_mtime_ns))

    def _check_layout(self, versions: dict[str, int]) -> None:
        if not versions:
            self.refuse("has no version folder", f"Put the model into {self.root / '1'}; an ensemble needs an empty folder.")
        for version, files in versions.items():
            if not files:
                path = f"{self.name}/{version}/{PLACEHOLDER}"
                self.planned.append(PlannedFile(path=path, source=None, size=0, sha256=_NOTHING, crc32c=crc32c(b""), modified_ns=0))


def _read_all(unread: Sequence[_Found], known: ScanCache | None) -> list[PlannedFile]:
    """The files with their digests, large ones hashed in parallel. Adds the problems of files to their models."""
    planned: list[PlannedFile] = []
    large = [number for number, file in enumerate(unread) if file.seen.st_size >= _LARGE]
    # The largest first, so that the last one is short.
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
    """The contents of a file."""

    size: int
    """Bytes that were read."""
    digests: Digests


class _Refusal(NamedTuple):
    """A problem with a file, and its remedy."""

    what: str
    remedy: str


def _read(path: str) -> _Content | _Refusal:
    sha256, checksum, size = hashlib.sha256(), 0, 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe in the file's place would block
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
