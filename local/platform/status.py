"""An instance's status, read from the supervisor's status file and from /proc in milliseconds, without side effects."""

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
    """Process ID on the machine; None if it does not run."""
    ready: bool
    uptime_s: float | None
    restarts: int
    memory_bytes: int | None
    """Memory of its control group, without page cache."""
    log: Path
    last_end: str | None
    """How its process last ended, if it ever did."""


@dataclass(frozen=True, kw_only=True)
class PlatformStatus:
    """An instance."""

    instance: str
    state: Path
    phase: str
    """One of stopped, starting, running (all are ready), degraded (some are not), stopping, hung (the supervisor does not respond)."""
    node_pid: int | None = None
    components: tuple[ComponentStatus, ...] = ()
    pods_memory_bytes: int | None = None
    endpoints: dict[str, str] = field(default_factory=dict)
    kubeconfig: Path | None = None
    notes: tuple[str, ...] = ()

    @property
    def running(self) -> bool:
        """Whether every component is ready."""
        return self.phase == "running"

    @property
    def memory_bytes(self) -> int:
        """Memory of platform and pods, without page cache."""
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
            lines.append(f"  memory of pods: {_size(self.pods_memory_bytes)}, in total: {_size(self.memory_bytes)}")
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
    """The instance's current status."""
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
    """The supervisor's status file; empty if it does not exist yet."""
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
