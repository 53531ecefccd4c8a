"""Errors of the toolchain: each message names the remedy."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_GIB: Final = 1024**3
COLD_BUILD_GIB: Final = 17
"""GiB, measured: 8 of build cache, 6.5 of modules, 1.5 of tools, and the linker's temporary files."""


class ToolchainError(Exception):
    """A tool is unavailable. The message names the tool, the consequence and the remedy."""


class SourceUnavailableError(ToolchainError):
    """One source of a tool failed; the next one is tried. Never shown by itself."""


class ChecksumError(SourceUnavailableError):
    """A download is not what its publisher released."""


def is_disk_full(error: BaseException) -> bool:
    """Whether ``error`` means a full disk or an exhausted quota."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def free_space(folder: Path) -> int:
    """Return the free bytes on the file system of ``folder``, which need not exist."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk_full(what: str, *folders: Path) -> ToolchainError:
    """Return the error for a disk that filled up, with the free space of each folder.

    Args:
        what: the operation, as in ``building kubernetes``.
        folders: the folders written to; they need not exist.
    """
    places = [f"{folder} has {free_space(folder) / _GIB:.1f} GiB free" for folder in folders]
    return ToolchainError(
        f"The disk is full: {what} failed, and its partial result has been removed ({'; '.join(places)}). "
        f"Free some space (building everything takes about {COLD_BUILD_GIB} GiB, most of it in Go's own caches, which "
        "`go clean -cache -modcache` empties), or move the caches with TRITON_FLEET_CACHE, GOCACHE and GOMODCACHE, "
        "then run the same command again: it continues where it stopped."
    )


def tail(text: str, lines: int = 15) -> str:
    """Return the last ``lines`` lines of a program's output, indented for an error message."""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return os.linesep.join(f"    {line}" for line in kept)
