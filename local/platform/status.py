"""How an instance is: read from the supervisor's status file and from /proc. Asking changes nothing and takes milliseconds."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from local.platform import cgroups, identity
from local.platform.layout import Layout

if TYPE_CHECKING:
    from pathlib import Path

    from local.platform.config import PlatformConfig

_STALE_S: Final = 30.0
_MIB: Final = 1024 * 1024
_MINUTE: Final = 60
_HOUR: Final = 3600


@dataclass(frozen=True, kw_only=True)
class ComponentStatus:
    """One supervised process."""

    name: str
    pid: int | None
    """As the machine numbers it: the number for kill, gdb and /proc. None when it does not run."""
    ready: bool
    uptime_s: float | None
    restarts: int
    memory_bytes: int | None
    """What its control group uses, without page cache."""
    log: Path
    last_end: str | None
    """How its process last ended, if one did."""


@dataclass(frozen=True, kw_only=True)
class PlatformStatus:
    """The whole instance."""

    instance: str
    state: Path
    phase: str
    """stopped, starting, running (all answer), degraded (some do not), stopping, or hung (the supervisor itself says nothing)."""
    node_pid: int | None = None
    components: tuple[ComponentStatus, ...] = ()
    pods_memory_bytes: int | None = None
    endpoints: dict[str, str] = field(default_factory=dict)
    kubeconfig: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether every component answers."""
        return self.phase == "running"

    @property
    def memory_bytes(self) -> int:
        """Platform and pods together, without page cache."""
        return (self.pods_memory_bytes or 0) + sum(item.memory_bytes or 0 for item in self.components)

    def __str__(self) -> str:
        lines = [f"platform {self.instance}: {self.phase}" + (f", PID 1 of the node is process {self.node_pid}" if self.node_pid else "")]
        if self.components:
            rows = [("component", "state", "pid", "up", "restarts", "memory", "log")]
            rows += [
                (
                    item.name,
                    "ready" if item.ready else ("starting" if item.pid else f"down ({item.last_end or 'not started'})"),
                    str(item.pid or "-"),
                    _duration(item.uptime_s),
                    str(item.restarts),
                    _size(item.memory_bytes),
                    str(item.log),
                )
                for item in self.components
            ]
            widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
            lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
            lines.append(f"  pods use {_size(self.pods_memory_bytes)}, all together {_size(self.memory_bytes)}")
            lines += [f"  {name}: {url}" for name, url in self.endpoints.items()]
            lines.append(f"  kubeconfig: {self.kubeconfig}")
        lines += [f"  note: {note}" for note in self.notes]
        return "\n".join(lines)


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    return f"{whole // _MINUTE} min" if whole < _HOUR else f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def _size(count: int | None) -> str:
    return "-" if count is None else f"{count / _MIB:.0f} MiB"


def read(config: PlatformConfig) -> PlatformStatus:
    """The instance's status now."""
    layout = Layout(config.state)
    record = identity.NodeRecord.read(layout.node_record)
    if record is None or not identity.is_alive(record):
        return PlatformStatus(instance=config.instance, state=config.state, phase="stopped")
    hierarchies = cgroups.detect()
    memory = cgroups.component_memory(hierarchies, config.cgroup)
    numbers = identity.inhabitants(record)
    data = supervisor_status(layout)
    now = time.time()
    components = tuple(
        ComponentStatus(
            name=item["name"],
            pid=numbers.get(item["pid"]) if item["pid"] is not None else None,
            ready=bool(item["ready"]) and item["pid"] in numbers,
            uptime_s=now - item["started_at"] if item["pid"] in numbers else None,
            restarts=item["restarts"],
            memory_bytes=memory.get(item["name"]),
            log=layout.log(item["name"]),
            last_end=item["last_end"],
        )
        for item in data.get("components", [])
    )
    return PlatformStatus(
        instance=config.instance,
        state=config.state,
        phase=_phase(data, components, now),
        node_pid=record.pid,
        components=components,
        pods_memory_bytes=memory.get("kubepods"),
        endpoints=config.endpoints,
        kubeconfig=layout.kubeconfig,
        notes=tuple(data.get("notes", [])),
    )


def supervisor_status(layout: Layout) -> dict[str, Any]:
    """What the supervisor last wrote; empty before its first word."""
    try:
        data: dict[str, Any] = json.loads(layout.status.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data


def _phase(data: dict[str, Any], components: tuple[ComponentStatus, ...], now: float) -> str:
    if not data:
        return "starting"
    if now - data["time"] > _STALE_S:
        return "hung"
    if data["phase"] != "running":
        return str(data["phase"])
    if all(item.ready for item in components):
        return "running"
    fresh = all(item.ready or item.restarts == 0 for item in components)
    return "starting" if fresh else "degraded"
