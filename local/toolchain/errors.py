"""What goes wrong while tools are fetched, said so that the reader knows what to do next."""

from __future__ import annotations

import errno
import os
import shutil
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

_GIB: Final = 1024**3
COLD_BUILD_GIB: Final = 17
"""Measured: 8 of build cache, 6.5 of modules, 1.5 of tools, and what a linker needs for a moment."""


class ToolchainError(Exception):
    """A tool can't be had. The message names the tool, the consequence and the remedy."""


class SourceUnavailableError(ToolchainError):
    """One way to get a tool did not work; the next one is tried. Never shown alone."""


class ChecksumError(SourceUnavailableError):
    """What was downloaded is not what its publisher released."""


def is_disk_full(error: BaseException) -> bool:
    """Tell whether ``error`` is the operating system's word for a full disk or quota."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def free_space(folder: Path) -> int:
    """Return the free bytes where ``folder`` is, or would be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def disk_full(what: str, *folders: Path) -> ToolchainError:
    """Make the error for a disk that ran full while ``what`` was made, with what is left where.

    Args:
        what: what was being done, as in ``building kubernetes``.
        folders: the places that were written to; they need not exist.
    """
    places = [f"{folder} has {free_space(folder) / _GIB:.1f} GiB free" for folder in folders]
    return ToolchainError(
        f"The disk is full: {what} could not be finished, and what was half done has been removed ({'; '.join(places)}). "
        f"Free some space (building everything takes about {COLD_BUILD_GIB} GiB, most of it in Go's own caches, which "
        "`go clean -cache -modcache` empties), or put the cache elsewhere with TRITON_FLEET_CACHE, GOCACHE and GOMODCACHE, "
        "then run the same command again: it goes on where it stopped."
    )


def tail(text: str, lines: int = 15) -> str:
    """Return the last ``lines`` lines of a program's output, indented, to be shown below an error."""
    kept = [line for line in text.splitlines() if line.strip()][-lines:]
    return os.linesep.join(f"    {line}" for line in kept)
