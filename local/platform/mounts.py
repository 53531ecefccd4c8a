"""The node's mount namespace: private, with its own /run and /var, so that components' fixed paths do not refer to the machine's files.

containerd's shims, CNI and the kubelet use some paths that can't be configured (/run/containerd/s, /var/lib/cni, /var/log/containers).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from local.platform import libc
from local.platform.kubernetes import KERNEL_SETTINGS
from local.platform.layout import INSIDE

if TYPE_CHECKING:
    from collections.abc import Iterable

_COVERED = ("/run", "/var")


def needed_again(keep: Iterable[str]) -> list[str]:
    """Those of ``keep`` that covering /run and /var would hide, outermost first, without duplicates."""
    chosen: list[str] = []
    for path in sorted({os.path.realpath(item) for item in keep}):
        hidden = any(path == root or path.startswith(f"{root}/") for root in _COVERED)
        if hidden and not any(path == other or path.startswith(f"{other}/") for other in chosen):
            chosen.append(path)
    return chosen


def set_up(state: str, keep: Iterable[str]) -> list[str]:
    """Set up the node's file system; the process must be PID 1 of new mount and PID namespaces.

    Returns:
        Notes about what had to be left out.

    Raises:
        OSError: a required mount failed.
    """
    notes: list[str] = []
    # Keep all mounts below private to the namespace.
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_PRIVATE)
    # Hold them open: their paths are about to be covered.
    handles = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in [os.path.realpath(state), *needed_again(keep)]}

    libc.mount("tmpfs", "/run", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
    overlay = Path("/run/triton-fleet/var")
    (overlay / "upper").mkdir(parents=True)
    (overlay / "work").mkdir()
    try:
        libc.mount("overlay", "/var", "overlay", options=f"lowerdir=/var,upperdir={overlay}/upper,workdir={overlay}/work")
    except OSError as error:
        notes.append(f"/var is an empty tmpfs in the node, because an overlay can't be mounted ({error})")
        libc.mount("tmpfs", "/var", "tmpfs", libc.MS_NOSUID | libc.MS_NODEV, "mode=755")
        Path("/var/run").symlink_to("/run")
    for folder in ("/var/lib", "/var/log", "/var/tmp", "/run/lock"):  # noqa: S108 - in the node's own file system
        Path(folder).mkdir(parents=True, exist_ok=True)

    INSIDE.mkdir(parents=True, exist_ok=True)
    again = [(path, handle) for path, handle in handles.items() if needed_again([path])]
    for target, handle in [(str(INSIDE), handles[os.path.realpath(state)]), *again]:
        Path(target).mkdir(parents=True, exist_ok=True)
        libc.mount(f"/proc/self/fd/{handle}", target, flags=libc.MS_BIND | libc.MS_REC)
    for handle in handles.values():
        os.close(handle)

    libc.mount("proc", "/proc", "proc", libc.MS_NOSUID | libc.MS_NODEV | libc.MS_NOEXEC)
    notes += _shadow_kernel_settings()
    # Shared only among the node's own namespaces: volumes with mountPropagation HostToContainer need it.
    libc.mount("none", "/", flags=libc.MS_REC | libc.MS_SHARED)
    return notes


def _shadow_kernel_settings() -> list[str]:
    """Cover the machine-wide settings that the kubelet checks; see `KERNEL_SETTINGS`."""
    notes = []
    folder = Path("/run/triton-fleet/sysctl")
    folder.mkdir(parents=True)
    for name, value in KERNEL_SETTINGS.items():
        copy = folder / name.replace("/", ".")
        copy.write_text(f"{value}\n", encoding="ascii")
        try:
            libc.mount(str(copy), f"/proc/sys/{name}", flags=libc.MS_BIND)
        except OSError as error:
            notes.append(f"/proc/sys/{name} can't be covered ({error}): the kubelet may change it for the whole machine")
    return notes
