"""Pulumi's file backend, read without the CLI: locks, state, and pending operations of a killed run."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

PROJECT: Final = "triton-fleet"
STACK: Final = "dev"


@dataclass(frozen=True, kw_only=True)
class StackLock:
    """A stack's lock in the file backend."""

    file: Path
    pid: int
    host: str

    def is_stale(self) -> bool:
        """Whether the process that took the lock is gone. A lock of another machine never counts as stale."""
        if self.host != socket.gethostname():
            return False
        if self.pid <= 0:
            return True
        try:
            # "pid (name) state ...": the name may contain spaces and parentheses.
            name, _, rest = (Path("/proc") / str(self.pid) / "stat").read_text(encoding="utf-8").rpartition(")")
        except OSError:
            return _is_gone(self.pid)
        # Process IDs are reused: if the process is not a pulumi, the holder is gone. A killed holder may still be listed as a zombie.
        return "pulumi" not in name or rest.split()[0] in {"Z", "X"}


def _is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def locks(backend: Path, stack: str = STACK) -> list[StackLock]:
    """Locks on ``stack`` in the file backend at ``backend``. An unreadable lock counts as stale."""
    found = []
    for file in sorted((backend / ".pulumi" / "locks" / "organization" / PROJECT / stack).glob("*.json")):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            found.append(StackLock(file=file, pid=int(said["pid"]), host=str(said["hostname"])))
        except (OSError, ValueError, KeyError, TypeError):
            found.append(StackLock(file=file, pid=0, host=socket.gethostname()))
    return found


def state_file(backend: Path, stack: str) -> Path:
    """The state file of ``stack``."""
    return backend / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def is_selected(home: Path, project: Path, backend: Path, stack: str) -> bool:
    """Whether ``stack`` exists and is selected in ``project``, according to Pulumi's files.

    Saves starting the CLI, which takes a quarter of a second of CPU. Pulumi names a workspace's file in PULUMI_HOME ``home`` after the
    SHA-1 of its project file's path (sdk/go/common/workspace). If that changes, this returns False and the caller uses the CLI.
    """
    key = hashlib.sha1(str(project / "Pulumi.yaml").encode(), usedforsecurity=False).hexdigest()
    try:
        said = json.loads((home / "workspaces" / f"{PROJECT}-{key}-workspace.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return state_file(backend, stack).exists() and isinstance(said, dict) and said.get("stack") == f"organization/{PROJECT}/{stack}"


def has_nothing_pending(backend: Path, stack: str) -> bool:
    """Whether the state is readable and has no pending operations; Pulumi omits the field when it is empty."""
    try:
        return '"pending_operations"' not in state_file(backend, stack).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def repair(backend: Path, stack: str = STACK) -> list[str]:
    """Make the backend's files readable again after a kill or a power failure; return a line for each repair.

    Deletes sidecar files (``.attrs``) of earlier versions: nothing needs them, and an empty one makes Pulumi fail with "failed to load
    checkpoint: EOF". Replaces a truncated state with Pulumi's copy of the previous one.
    """
    stacks = backend / ".pulumi" / "stacks" / PROJECT
    for sidecar in (*stacks.glob("*.attrs"), backend / ".pulumi" / "meta.yaml.attrs"):
        sidecar.unlink(missing_ok=True)
    state, before = stacks / f"{stack}.json", stacks / f"{stack}.json.bak"
    if not state.exists() or _is_json(state) or not _is_json(before):
        return []
    fresh = state.with_suffix(".json.new")
    shutil.copyfile(before, fresh)
    fresh.replace(state)
    return [f"The state of stack {stack} was truncated: continuing with the previous one ({before.name})"]


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An operation that was in progress when Pulumi was killed."""

    kind: str
    """creating, updating, deleting, reading or importing."""
    urn: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Logical name of the resource."""
        return self.urn.rsplit("::", 1)[-1]


def without_pending(deployment: dict[str, Any]) -> tuple[dict[str, Any], list[Pending]]:
    """Split ``deployment`` (the output of ``pulumi stack export``) into itself without pending operations, and these operations."""
    inner = deployment.get("deployment") or {}
    pending = inner.get("pending_operations") or []
    operations = [
        Pending(kind=str(one.get("type")), urn=str(resource.get("urn")), inputs=resource.get("inputs") or {})
        for one in pending
        if (resource := one.get("resource") or {})
    ]
    cleared = {**deployment, "deployment": {key: value for key, value in inner.items() if key != "pending_operations"}}
    return cleared, operations
