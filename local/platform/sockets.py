"""Listening sockets on 127.0.0.1, created before the node has its own network, and owners of taken ports."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.platform.errors import PlatformError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.platform.config import Forward

_LISTEN: Final = "0A"
_INODE_FIELD: Final = 9
_BACKLOG: Final = 512


def bind_all(forwards: Iterable[Forward]) -> list[tuple[Forward, socket.socket]]:
    """Open a listening socket for each of ``forwards``; if one fails, close all.

    Raises:
        PlatformError: ports are taken; the message names each with its owner and the remedy.
    """
    bound: list[tuple[Forward, socket.socket]] = []
    problems: list[str] = []
    for forward in forwards:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", forward.port))
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            problems.append(describe(forward, error))
        else:
            bound.append((forward, listener))
    if problems:
        for _, listener in bound:
            listener.close()
        raise PlatformError("\n".join(problems))
    return bound


def describe(forward: Forward, error: OSError) -> str:
    """Why ``forward`` can't use its port, and the remedy."""
    if error.errno == errno.EADDRINUSE:
        holder = owner(forward.port) or "a process that is not visible"
        return (
            f"Port {forward.port} on 127.0.0.1, needed for {forward.name}, is in use by {holder}: "
            "the platform can't start. End that process, or move all ports: TRITON_FLEET_PORT_OFFSET=100."
        )
    return (
        f"Port {forward.port} on 127.0.0.1, needed for {forward.name}, can't be bound ({os.strerror(error.errno or 0)}): "
        "move all ports with TRITON_FLEET_PORT_OFFSET=100."
    )


def listening_inodes(table: str, port: int) -> set[str]:
    """Inodes of sockets that listen on ``port``, from the text of /proc/net/tcp or tcp6."""
    found = set()
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) > _INODE_FIELD and fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
            found.add(fields[_INODE_FIELD])
    return found


def owner(port: int) -> str | None:
    """The process that listens on ``port``, as ``process 123 (name)``; None if it is not visible (another user's, without root)."""
    inodes: set[str] = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            inodes |= listening_inodes(Path("/proc/net", table).read_text(encoding="ascii"), port)
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return None
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in wanted:
                    command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                    return f"process {process.name} ({command[:120] or (process / 'comm').read_text(encoding='utf-8').strip()})"
    return None
