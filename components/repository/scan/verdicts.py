"""Remembers what the validation of a folder of models found, so that a preview of unchanged models parses none of them again.

A small file for each folder of models, in the user's cache folder. Its entries are valid for the attributes of all files and folders below
the folder, the deployments, and this program's own code. When it is damaged or can't be written, the models are validated.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
import stat
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import TypeAdapter

from components.base.errors import Problem
from components.repository.scan.cache import RECENT_NS, cache_file, is_asked
from components.repository.validation import Deployment, validate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_ENTRIES: Final = 8
"""Number of entries that are kept for a folder: as many stacks may serve it in turn."""

_FILE: Final = TypeAdapter(dict[str, list[Problem]])
"""Entries by their key, the newest last."""

_CODE: Final = (Path(__file__).parents[1] / "validation", Path(__file__).parents[2] / "base")
_LIBRARIES: Final = ("protobuf", "tritonclient")


def checked(
    folder: Path, models: Sequence[str] | None, deployments: Sequence[Deployment], *, environ: Mapping[str, str], verify: bool = False
) -> list[Problem]:
    """Return what `validate` finds, from the cache if nothing has changed; never with ``verify`` or TRITON_FLEET_VERIFY=1."""
    before = None if verify or is_asked(environ) else _attributes(folder)
    if before is None:
        return validate(folder, models, deployments)
    file, key = cache_file(folder, environ, "validation", "json"), _key(before, models, deployments)
    entries = _load(file)
    if key not in entries:
        entries[key] = validate(folder, models, deployments)
        if _attributes(folder) == before:
            _save(file, dict(list(entries.items())[-_ENTRIES:]))
    return entries[key]


def _attributes(folder: Path) -> str | None:
    """Digest of names and attributes below the folder; None where they may not show a change (recent, behind a linked folder)."""
    digest, newest = hashlib.sha256(), 0
    try:
        for path, seen in _walk(str(folder)):
            if stat.S_ISLNK(seen.st_mode) and stat.S_ISDIR(os.stat(path).st_mode):  # noqa: PTH116 (tens of thousands of paths)
                return None
            for one in (seen, os.stat(path)) if stat.S_ISLNK(seen.st_mode) else (seen,):  # noqa: PTH116
                newest = max(newest, one.st_mtime_ns, one.st_ctime_ns)
                looks = f"{one.st_mode} {one.st_size} {one.st_mtime_ns} {one.st_ctime_ns} {one.st_ino} {one.st_dev}"
                digest.update(f"{path}\0{looks}\n".encode(errors="surrogateescape"))
    except OSError:  # a broken link, a folder that can't be read, a file that is gone
        return None
    return digest.hexdigest() if time.time_ns() - newest > RECENT_NS else None


def _walk(folder: str) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        seen = entry.stat(follow_symlinks=False)
        yield entry.path, seen
        if stat.S_ISDIR(seen.st_mode):
            yield from _walk(entry.path)


def _key(attributes: str, models: Sequence[str] | None, deployments: Sequence[Deployment]) -> str:
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted(folder.glob("*.py")):
            digest.update(path.read_bytes())
    asked = [[asdict(deployment) for deployment in deployments], None if models is None else sorted(models), attributes]
    libraries = [importlib.metadata.version(name) for name in _LIBRARIES]
    digest.update(json.dumps([asked, libraries], default=sorted, sort_keys=True).encode())
    return digest.hexdigest()


def _load(file: Path) -> dict[str, list[Problem]]:
    try:
        return _FILE.validate_json(file.read_bytes(), strict=True)
    except (OSError, ValueError):
        return {}


def _save(file: Path, entries: dict[str, list[Problem]]) -> None:
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(_FILE.dump_json(entries))
        Path(name).replace(file)
