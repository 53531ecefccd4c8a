"""Image stores that containerd has filled once, kept beside the tools: a new instance starts with links to one instead of unpacking again.

A store is what containerd has below its root after importing images and before it ran any pod: blobs, unpacked snapshots, two databases.
Files below blobs and snapshots are never written again (an overlay copies what a container changes), so they are hard links, made in a
tenth of a second; the databases are copies. Unpacking the dev stack's eight images anew takes two cores ten seconds or more.

Nothing depends on a store: where it can't be used (another file system, a full disk) images are imported as if there were none.
(One store shared by all nodes was refused: two containerds must not have one database. So was stopping containerd for the copy: whoever is
killed in between would leave it stopped.)
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
"""As for image files: a second checkout may be using it."""
_QUIET_S: Final = 0.3
_QUIET_TRIES: Final = 20


def is_filled(root: Path) -> bool:
    """Whether a containerd has worked in ``root`` before."""
    return (root / _METADATA).exists()


@dataclass(frozen=True, kw_only=True)
class Stores:
    """The stores in ``folder`` that were made by the same ``runtime`` (any text that names containerd's build and its snapshotter)."""

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
        """The store with most of ``images`` (name to digest) and none of their names with another digest; None without one."""
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
        """Begin a containerd that has not run yet, in the empty folder ``root``, with the best store. False when there is none to use."""
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
        """Keep what a running containerd has in ``root``: ``images``, all unpacked, and no pod yet. False when that can't be done."""
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
            # Whoever begins with a store trusts it: after a loss of power there must be none, or a whole one.
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
    """The tree ``source`` as ``target``: folders anew, databases at its top copied, everything else linked."""
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
    # Of folders the owner, the mode and overlayfs' attributes are what the snapshot says they are.
    status = source.stat()
    os.chown(target, status.st_uid, status.st_gid)
    shutil.copystat(source, target)


def _at_rest(files: list[Path]) -> dict[Path, bytes]:
    """Content of databases to which nothing is written: what two readings in a row agree on is of one moment. Raises OSError."""
    before: dict[Path, bytes] = {}
    for _ in range(_QUIET_TRIES):
        now = {file: file.read_bytes() for file in files}
        if now == before:
            return now
        before = now
        time.sleep(_QUIET_S)
    message = "containerd does not come to rest"
    raise OSError(message)
