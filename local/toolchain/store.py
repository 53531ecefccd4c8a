"""The cache on disk: locks, staging and publishing by rename.

A thing is in the cache when its folder (or file) is under its final name: everything is made in a staging folder of the same file system
and renamed when it is whole, so a process that is killed, or a disk that runs full, leaves nothing half done. A file lock a thing keeps two
processes from making it twice; the kernel drops such a lock when its holder dies, so there is no stale one to clean.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING, Final

from local.toolchain.errors import disk_full, is_disk_full

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

_POLL_S: Final = 0.2
_SAY_AFTER_S: Final = 1.0


class Store:
    """Folders below one cache root.

    Args:
        root: the cache; made when first written to.
        say: told one line when another process is waited for.
    """

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self.root = root
        self._say = say

    @property
    def tools(self) -> Path:
        """Where tools are, one folder a unit and key."""
        return self.root / "tools"

    @property
    def downloads(self) -> Path:
        """Where files that others unpack are kept: Debian packages, wheels."""
        return self.root / "downloads"

    @contextlib.contextmanager
    def lock(self, name: str) -> Generator[None]:
        """Hold the lock called ``name`` against other processes and threads; waiting for it is told."""
        folder = self.root / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._acquire(descriptor, name)
            yield
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, name: str) -> None:
        began = time.monotonic()
        told = False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told and time.monotonic() - began >= _SAY_AFTER_S:
                    told = True
                    self._say(f"Another process is getting {name} right now (pid {_reader(descriptor)}); waiting for it.")
                time.sleep(_POLL_S)
            else:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
                return

    @contextlib.contextmanager
    def staging(self, name: str) -> Generator[Path]:
        """Give an empty folder, on the cache's file system, that is removed at the end whatever happens.

        Call it with the lock ``name`` held: what dead processes left for that name is removed first.

        Raises:
            ToolchainError: the disk ran full inside.
        """
        base = self.root / "staging"
        base.mkdir(parents=True, exist_ok=True)
        for left in base.glob(f"{name}.~*"):
            remove(left)
        folder = base / f"{name}.~{os.getpid()}-{secrets.token_hex(4)}"
        try:
            folder.mkdir()
            yield folder
        except OSError as error:
            remove(folder)
            if is_disk_full(error):
                raise disk_full(f"making {name}", self.root) from error
            raise
        finally:
            remove(folder)

    def publish(self, staged: Path, final: Path) -> None:
        """Move a whole ``staged`` folder or file to its ``final`` name; what has that name already is as good and stays."""
        final.parent.mkdir(parents=True, exist_ok=True)
        for file in [path for path in staged.rglob("*") if path.is_file() and not path.is_symlink()] if staged.is_dir() else [staged]:
            # A rename may reach the disk before what is renamed: after a power cut, an empty program under its final name would be trusted.
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        if not staged.is_dir():
            staged.replace(final)
        elif not final.is_dir():
            staged.rename(final)


def _reader(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"


def remove(path: Path) -> None:
    """Remove a file or a tree, if there is one, also where Go's module cache has made folders read-only."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101 (os.walk yields strings)
    shutil.rmtree(path, ignore_errors=True)
