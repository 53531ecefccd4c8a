"""Remove what a dead node left on the machine."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from local.platform import cgroups, identity
from local.platform.layout import Layout

if TYPE_CHECKING:
    from local.platform.config import PlatformConfig


def clear(config: PlatformConfig) -> list[str]:
    """Remove the leftovers of a dead node; return what could not be removed. Must not be called while the node is alive."""
    layout = Layout(config.state)
    node = identity.NodeRecord.read(layout.node_record)
    left: list[str] = []
    if node is not None and node.boot_id == identity.boot_id():
        left += _wait_empty(node)
    hierarchies = cgroups.detect()
    strangers = cgroups.processes(hierarchies, config.cgroup)
    if strangers:
        # A live instance with the same name and another state folder. Its groups may be empty for a moment: touch none of them.
        return [*left, f"control group {config.cgroup}, which holds processes of another instance: {sorted(strangers)}"]
    left += [f"control group {folder}" for folder in cgroups.remove(hierarchies, config.cgroup)]
    mounted = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()]
    left += [f"mount {path}" for path in mounted if Path(path).is_relative_to(layout.root)]
    if not left:
        for file in (layout.node_record, layout.status, layout.plan):
            file.unlink(missing_ok=True)
    return left


def _wait_empty(node: identity.NodeRecord, timeout_s: float = 10.0) -> list[str]:
    deadline = time.monotonic() + timeout_s
    while inhabitants := identity.inhabitants(node):
        if time.monotonic() > deadline:
            return [f"process {pid} in the node's namespace" for pid in inhabitants.values()]
        time.sleep(0.1)
    return []
