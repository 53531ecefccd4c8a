"""The instance's control groups: a folder `/triton-fleet-INSTANCE` in every hierarchy (version 1) or in the single one (version 2).

It contains `system/COMPONENT` for the platform's processes and `kubepods`, which the kubelet fills. Version 2 follows its documentation
but is untested: the development machines have version 1 next to an empty version 2.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

NEEDED: Final = frozenset({"cpu", "memory", "pids", "cpuset"})
_LEGACY: Final = frozenset({"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "hugetlb"})
_SYSTEM: Final = "system"


@dataclass(frozen=True)
class Hierarchies:
    """Where control groups are mounted."""

    unified: Path | None
    """The version 2 mount if it is in use, else None."""
    legacy: tuple[tuple[Path, frozenset[str]], ...]
    """Version 1: folders and their controllers (``name=systemd`` has none)."""
    idle_unified: Path | None = None
    """A version 2 mount next to version 1 (hybrid)."""

    @property
    def folders(self) -> tuple[Path, ...]:
        """Every mount in which the instance has a folder."""
        if self.unified is not None:
            return (self.unified,)
        return tuple(folder for folder, _ in self.legacy)

    @property
    def everywhere(self) -> tuple[Path, ...]:
        """Including the idle mount, where a container runtime may have left groups."""
        return self.folders if self.idle_unified is None else (*self.folders, self.idle_unified)

    @property
    def controllers(self) -> frozenset[str]:
        """Available controllers."""
        if self.unified is not None:
            return frozenset(_read(self.unified / "cgroup.controllers").split())
        return frozenset().union(*(names for _, names in self.legacy))


def parse_mounts(mountinfo: str) -> Hierarchies:
    """Parse the hierarchies from the text of /proc/self/mountinfo."""
    unified: list[Path] = []
    legacy: list[tuple[Path, frozenset[str]]] = []
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3:  # noqa: PLR2004 - not a mountinfo line
            continue
        folder = Path(fields[4].encode().decode("unicode_escape"))
        if kind[0] == "cgroup2":
            unified.append(folder)
        elif kind[0] == "cgroup":
            options = set(kind[2].split(","))
            legacy.append((folder, frozenset(options & _LEGACY)))
    if any(names for _, names in legacy):
        return Hierarchies(unified=None, legacy=tuple(legacy), idle_unified=unified[0] if unified else None)
    return Hierarchies(unified=unified[0] if unified else None, legacy=())


def detect() -> Hierarchies:
    """The hierarchies of this machine."""
    return parse_mounts(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))


def _read(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()


def create(hierarchies: Hierarchies, name: str) -> None:
    """Create the instance's folders, with the controllers that pods need.

    Raises:
        OSError: the hierarchy is read-only, or (version 2) a controller can't be enabled.
    """
    if hierarchies.unified is not None:
        top = hierarchies.unified
        _enable(top)
        folder = _below(top, name)
        folder.mkdir(exist_ok=True)
        _enable(folder)
        (folder / _SYSTEM).mkdir(exist_ok=True)
        _enable(folder / _SYSTEM)
        return
    for top, controllers in hierarchies.legacy:
        for folder in (_below(top, name), _below(top, name) / _SYSTEM):
            folder.mkdir(exist_ok=True)
            if "cpuset" in controllers:
                _inherit_cpuset(folder)


def _below(top: Path, name: str) -> Path:
    return top / name.lstrip("/")


def _enable(folder: Path) -> None:
    available = set(_read(folder / "cgroup.controllers").split())
    missing = (available & {*NEEDED, "io", "hugetlb"}) - set(_read(folder / "cgroup.subtree_control").split())
    if missing:
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{item}" for item in sorted(missing)), encoding="ascii")


def _inherit_cpuset(folder: Path) -> None:
    """Fill a version 1 cpuset: it starts empty, and an empty one accepts no processes."""
    for item in ("cpuset.cpus", "cpuset.mems"):
        if not _read(folder / item):
            (folder / item).write_text(_read(folder.parent / item), encoding="ascii")


def place(hierarchies: Hierarchies, name: str, component: str, pid: int) -> None:
    """Move process ``pid`` (in this PID namespace) to ``system/component``; ignores a process that has just ended.

    Raises:
        OSError: the group can't be created.
    """
    unified: list[tuple[Path, frozenset[str]]] = [] if hierarchies.unified is None else [(hierarchies.unified, frozenset())]
    for top, controllers in unified or hierarchies.legacy:
        folder = _below(top, name) / _SYSTEM / component
        folder.mkdir(exist_ok=True)
        if "cpuset" in controllers:
            _inherit_cpuset(folder)
        with contextlib.suppress(ProcessLookupError):
            (folder / "cgroup.procs").write_text(str(pid), encoding="ascii")


def component_memory(hierarchies: Hierarchies, name: str) -> dict[str, int]:
    """Bytes used by each of the platform's groups and by ``kubepods``, without reclaimable page cache."""
    if hierarchies.unified is not None:
        top: Path | None = hierarchies.unified
    else:
        top = next((folder for folder, names in hierarchies.legacy if "memory" in names), None)
    if top is None:
        return {}
    base = _below(top, name)
    groups = {folder.name: folder for folder in _folders(base / _SYSTEM)}
    groups["kubepods"] = base / "kubepods"
    return {key: used for key, folder in groups.items() if (used := _used(folder)) is not None}


def _used(folder: Path) -> int | None:
    try:
        current = next(_read(folder / item) for item in ("memory.current", "memory.usage_in_bytes") if (folder / item).exists())
        stat = dict(line.split() for line in _read(folder / "memory.stat").splitlines())
    except (OSError, StopIteration, ValueError):
        return None
    droppable = int(stat.get("total_inactive_file", stat.get("inactive_file", "0"))) + int(
        stat.get("total_active_file", stat.get("active_file", "0"))
    )
    return max(0, int(current) - droppable)


def _folders(folder: Path) -> list[Path]:
    try:
        return [item for item in folder.iterdir() if item.is_dir() and not item.is_symlink()]
    except OSError:
        return []


def _deepest_first(folder: Path) -> Iterator[Path]:
    for item in _folders(folder):
        yield from _deepest_first(item)
    yield folder


def processes(hierarchies: Hierarchies, name: str, below: str = "") -> set[int]:
    """Process IDs, in this PID namespace, of the instance's groups or a subgroup such as ``kubepods``; 0 for processes outside it."""
    found: set[int] = set()
    for top in hierarchies.everywhere:
        base = _below(top, name) / below
        if not base.is_dir():
            continue
        for folder in _deepest_first(base):
            with contextlib.suppress(OSError):
                found |= {int(line) for line in (folder / "cgroup.procs").read_text(encoding="ascii").split()}
    return found


def signal_all(hierarchies: Hierarchies, name: str, below: str, number: signal.Signals) -> int:
    """Send a signal to every process in the subgroup ``below``; return how many there were. Only the node's PID 1 calls this."""
    pids = processes(hierarchies, name, below) - {0, 1, os.getpid()}
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
    return len(pids)


def remove(hierarchies: Hierarchies, name: str, timeout_s: float = 10.0) -> list[str]:
    """Remove the instance's folders; return those that remain. Retries, because the kernel may need time after the last process ends."""
    deadline = time.monotonic() + timeout_s
    while True:
        for top in hierarchies.everywhere:
            base = _below(top, name)
            if base.is_dir():
                for folder in _deepest_first(base):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
        left = [str(_below(top, name)) for top in hierarchies.everywhere if _below(top, name).exists()]
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)
