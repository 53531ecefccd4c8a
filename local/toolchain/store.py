"""The cache on disk: locks, staging folders, and publishing by rename.

An entry exists once its folder (or file) has its final name: it is made in a staging folder on the same file system and renamed when it is
complete, so a killed process or a full disk leaves nothing partial. A file lock per entry keeps two processes from making it twice; the
kernel releases the lock when its holder dies, so no lock is ever stale.
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
        root: the cache; created on the first write.
        say: receives one line when another process holds a lock.
    """

    def __init__(self, root: Path, say: Callable[[str], None]) -> None:
        self.root = root
        self._say = say

    @property
    def tools(self) -> Path:
        """Folder of the tools: one subfolder for each unit and key."""
        return self.root / "tools"

    @property
    def downloads(self) -> Path:
        """Folder of the downloads that are unpacked later: Debian packages and wheels."""
        return self.root / "downloads"

    @contextlib.contextmanager
    def lock(self, name: str) -> Generator[None]:
        """Hold the lock ``name`` against other processes and threads; says so when it has to wait."""
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
        """Yield an empty folder on the cache's file system; it is removed afterwards in every case.

        The caller holds the lock ``name``: folders that dead processes left under that name are removed first.

        Raises:
            ToolchainError: the disk filled up in the block.
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
        """Move the complete ``staged`` folder or file to its ``final`` name. A folder that has that name already is kept."""
        final.parent.mkdir(parents=True, exist_ok=True)
        for file in [path for path in staged.rglob("*") if path.is_file() and not path.is_symlink()] if staged.is_dir() else [staged]:
            # A rename may reach the disk before the contents: after a power failure, an empty program would have its final name.
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        if not staged.is_dir():
            staged.replace(final)
        elif not final.is_dir():
            staged.rename(final)


def _reader(descriptor: int) -> str:
    return os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"


def remove(path: Path) -> None:
    """Remove a file or a tree, if it exists, even if folders in it are read-only, as in Go's module cache."""
    if path.is_symlink() or path.is_file():
        path.unlink(missing_ok=True)
        return
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            os.chmod(folder, 0o700)  # noqa: PTH101 (os.walk yields strings)
    shutil.rmtree(path, ignore_errors=True)
