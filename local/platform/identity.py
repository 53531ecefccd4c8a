"""Identify the node's process safely: never signal another process that has reused its ID.

A process ID alone means nothing after a crash or a reboot. The record also has the boot ID, the start time and the namespaces, and signals
go through a pidfd that is opened before the check.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_START_TIME_FIELD = 19  # of /proc/PID/stat, counted after the closing parenthesis; clock ticks since boot (field 22 in proc(5))


@dataclass(frozen=True, kw_only=True)
class NodeRecord:
    """The node's PID 1 as seen from the machine, and its start options."""

    pid: int
    start_time: int
    boot_id: str
    namespaces: dict[str, int]
    """``pid``, ``mnt`` and ``net`` to inode number."""
    port_offset: int
    control_plane_only: bool

    def to_json(self) -> str:
        """Serialize."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, path: Path) -> NodeRecord | None:
        """The record in ``path``; None if it is missing or invalid."""
        try:
            data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            return cls(**data)
        except (OSError, ValueError, TypeError):
            return None


def boot_id() -> str:
    """The kernel's boot ID, which changes with every reboot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def start_time(pid: int) -> int | None:
    """Start time of ``pid`` in clock ticks since boot; None if the process does not exist."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return int(text.rpartition(")")[2].split()[_START_TIME_FIELD])


def started_at(node: NodeRecord) -> float:
    """Unix time at which the node started, to a tenth of a second."""
    uptime = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
    return time.time() - uptime + node.start_time / os.sysconf("SC_CLK_TCK")


def namespaces(pid: int) -> dict[str, int]:
    """Inode numbers of a process's namespaces.

    Raises:
        OSError: the process does not exist, or access is denied.
    """
    return {kind: Path(f"/proc/{pid}/ns/{kind}").stat().st_ino for kind in ("pid", "mnt", "net")}


def record(pid: int, *, port_offset: int, control_plane_only: bool) -> NodeRecord:
    """The record of the running process ``pid``.

    Raises:
        ProcessLookupError: it has ended.
    """
    started = start_time(pid)
    if started is None:
        raise ProcessLookupError(pid)
    return NodeRecord(
        pid=pid,
        start_time=started,
        boot_id=boot_id(),
        namespaces=namespaces(pid),
        port_offset=port_offset,
        control_plane_only=control_plane_only,
    )


def is_alive(node: NodeRecord) -> bool:
    """Whether the recorded process itself still runs; a zombie does not."""
    if node.boot_id != boot_id() or start_time(node.pid) != node.start_time:
        return False
    try:
        return namespaces(node.pid) == node.namespaces
    except OSError:
        return False


def send(node: NodeRecord, number: signal.Signals) -> bool:
    """Signal the node; False if it has ended. Never signals another process."""
    try:
        descriptor = os.pidfd_open(node.pid)
    except OSError:
        return False
    try:
        if not is_alive(node):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
            return True
        return False
    finally:
        os.close(descriptor)


def wait_gone(node: NodeRecord, timeout_s: float) -> bool:
    """Wait until the node ends; False after the timeout."""
    try:
        descriptor = os.pidfd_open(node.pid)
    except OSError:
        return True
    try:
        if not is_alive(node):
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(timeout_s * 1000))
    finally:
        os.close(descriptor)


def inhabitants(node: NodeRecord) -> dict[int, int]:
    """Processes in the node's PID namespace: ID inside to ID on the machine.

    The kernel gives the number of a namespace that is gone to the next one that is created, which may be another program's. Such a
    namespace has a PID 1 that started after the node did.
    """
    found: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, ValueError, IndexError):
            if (entry / "ns" / "pid").stat().st_ino != node.namespaces["pid"]:
                continue
            lines = (entry / "status").read_text(encoding="utf-8", errors="replace").splitlines()
            numbers = next(line for line in lines if line.startswith("NSpid:")).split()[1:]
            found[int(numbers[-1])] = int(entry.name)
    return {} if 1 in found and (start_time(found[1]) or 0) > node.start_time else found
