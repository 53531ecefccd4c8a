"""Cached image stores of containerd: a new instance starts with links to one instead of unpacking images again.

A store is the content of containerd's root after it imported images and before it ran a pod: blobs, unpacked snapshots, two databases.
Blobs and snapshots are never modified (an overlay copies what a container changes), so they are hard-linked in a tenth of a second; the
databases are copied. Unpacking the dev stack's eight images takes ten seconds or more on two cores.

A store is optional: where it can't be used (another file system, a full disk), images are imported as usual. (One store shared by all nodes
was rejected, because two containerds must not share a database. Stopping containerd for the copy was rejected, because a kill in between
would leave it stopped.)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CONTENT: Final = "io.containerd.content.v1.content"
_METADATA: Final = "io.containerd.metadata.v1.bolt"
_LISTING: Final = "images.json"
_KEEP_UNUSED_S: Final = 24 * 3600.0
"""Like image files: a second checkout may be using a store."""
_QUIET_S: Final = 0.3
_QUIET_TRIES: Final = 20


def is_filled(root: Path) -> bool:
    """Whether a containerd has already used ``root``."""
    return (root / _METADATA).exists()


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The stores in ``folder`` of one ``runtime`` (any text that identifies containerd's build) and snapshotter."""

    folder: Path
    runtime: str
    snapshotter: str

    @property
    def _parts(self) -> tuple[str, ...]:
        return (_CONTENT, _METADATA, f"io.containerd.snapshotter.v1.{self.snapshotter}")

    def _path(self, images: Mapping[str, str]) -> Path:
        text = json.dumps([self.runtime, self.snapshotter, sorted(images.items())])
        return self.folder / hashlib.sha256(text.encode()).hexdigest()[:16]

    def best(self, images: Mapping[str, str]) -> Path | None:
        """The store with the most of ``images`` (name to digest) and no other digest for any of these names, or None."""
        best, most = None, 0
        for path in self.folder.glob("*/"):
            try:
                said = json.loads((path / _LISTING).read_text(encoding="utf-8"))
                kept: dict[str, str] = said["images"]
            except (OSError, ValueError, KeyError, TypeError):
                continue
            if (said.get("runtime"), said.get("snapshotter")) != (self.runtime, self.snapshotter):
                continue
            shared = images.keys() & kept.keys()
            if len(shared) > most and all(images[name] == kept[name] for name in shared):
                best, most = path, len(shared)
        return best

    def adopt(self, images: Mapping[str, str], root: Path) -> bool:
        """Fill ``root``, the empty folder of a containerd that has not run yet, with the best store. False if none is usable."""
        store = self.best(images)
        if store is None:
            return False
        fresh = root.with_name(f"{root.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            for part in self._parts:
                _link(store / part, fresh / part)
            fresh.chmod(0o700)
            os.utime(store)
            fresh.replace(root)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            return False
        return True

    def keep(self, images: Mapping[str, str], root: Path) -> bool:
        """Cache the content of ``root`` of a running containerd that has unpacked ``images`` and run no pods. False if that fails."""
        path = self._path(images)
        if path.exists():
            return False
        staged = self.folder / f".{path.name}.{os.getpid()}"
        try:
            databases = _at_rest([file for part in self._parts for file in (root / part).glob("*.db")])
            for part in self._parts:
                _link(root / part, staged / part)
            for file, content in databases.items():
                (staged / file.relative_to(root)).write_bytes(content)
            listing = {"runtime": self.runtime, "snapshotter": self.snapshotter, "images": dict(images)}
            (staged / _LISTING).write_text(json.dumps(listing, indent=1), encoding="utf-8")
            # Stores are trusted: after a power failure there must be either none or a complete one.
            os.sync()
            staged.replace(path)
        except OSError:
            return False
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        self._prune(path)
        return True

    def _prune(self, current: Path) -> None:
        for path in self.folder.glob("*/"):
            with contextlib.suppress(OSError):
                if path != current and time.time() - path.stat().st_mtime > _KEEP_UNUSED_S:
                    shutil.rmtree(path)


def _link(source: Path, target: Path) -> None:
    """Recreate the tree ``source`` as ``target``: new folders, copies of the databases at its top, links to everything else."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    _link_folder(source, target)
    for database in source.glob("*.db"):
        copy = target / database.name
        copy.unlink()
        shutil.copy2(database, copy)


def _link_folder(source: Path, target: Path) -> None:
    target.mkdir()
    with os.scandir(source) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                _link_folder(source / entry.name, target / entry.name)
            else:
                os.link(entry.path, target / entry.name, follow_symlinks=False)
    # Owner, mode and overlayfs attributes of folders are part of the snapshot.
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target)


def _at_rest(files: list[Path]) -> dict[Path, bytes]:
    """Content of databases that are not being written: two successive reads must match. Raises OSError if they never do."""
    before: dict[Path, bytes] = {}
    for _ in range(_QUIET_TRIES):
        now = {file: file.read_bytes() for file in files}
        if now == before:
            return now
        before = now
        time.sleep(_QUIET_S)
    message = "containerd does not stop writing to its databases"
    raise OSError(message)
