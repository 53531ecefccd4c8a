"""System calls that Python 3.11 doesn't expose."""

from __future__ import annotations

import ctypes
import os
from typing import Final

CLONE_NEWNS: Final = 0x00020000
CLONE_NEWUTS: Final = 0x04000000
CLONE_NEWIPC: Final = 0x08000000
CLONE_NEWPID: Final = 0x20000000
CLONE_NEWNET: Final = 0x40000000
NODE_NAMESPACES: Final = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWPID | CLONE_NEWNET

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 0x40000
MS_SHARED: Final = 0x100000

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Move to new namespaces (man 2 unshare).

    Raises:
        OSError: not permitted, or not supported by the kernel.
    """
    _check(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount ``source`` on ``target`` (man 2 mount).

    Raises:
        OSError: the mount failed; the message names source and target.
    """
    result = _libc.mount(source.encode(), target.encode(), kind.encode() or None, ctypes.c_ulong(flags), options.encode() or None)
    _check(result, f"mount {kind or 'bind'} {source} on {target}")


def unmount(target: str) -> None:
    """Unmount lazily (man 2 umount2).

    Raises:
        OSError: nothing is mounted there.
    """
    detach = 2
    _check(_libc.umount2(target.encode(), ctypes.c_int(detach)), f"umount {target}")


def sethostname(name: str) -> None:
    """Set the host name of the UTS namespace (man 2 sethostname).

    Raises:
        OSError: not permitted.
    """
    encoded = name.encode()
    _check(_libc.sethostname(encoded, ctypes.c_size_t(len(encoded))), "sethostname")
