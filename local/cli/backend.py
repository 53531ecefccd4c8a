"""The file backend's files, read without the CLI: locks, the state of a stack, what a kill left in them."""

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
    """A lock of the file backend: who holds the stack."""

    file: Path
    pid: int
    host: str

    def is_stale(self) -> bool:
        """Whether the process that took the lock is gone. A lock of another machine is never called stale."""
        if self.host != socket.gethostname():
            return False
        if self.pid <= 0:
            return True
        try:
            # "pid (name) state ...": the name may hold spaces and brackets.
            name, _, rest = (Path("/proc") / str(self.pid) / "stat").read_text(encoding="utf-8").rpartition(")")
        except OSError:
            return _is_gone(self.pid)
        # A number is given to another process sooner or later: the holder of a lock is a pulumi or nobody. One that was killed and that its
        # new parent has not asked for yet is still listed, as a zombie.
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
    """Locks on ``stack`` in the file backend at ``backend``. One that can't be read counts as held by nobody."""
    found = []
    for file in sorted((backend / ".pulumi" / "locks" / "organization" / PROJECT / stack).glob("*.json")):
        try:
            said = json.loads(file.read_text(encoding="utf-8"))
            found.append(StackLock(file=file, pid=int(said["pid"]), host=str(said["hostname"])))
        except (OSError, ValueError, KeyError, TypeError):
            found.append(StackLock(file=file, pid=0, host=socket.gethostname()))
    return found


def state_file(backend: Path, stack: str) -> Path:
    """The state of ``stack``."""
    return backend / ".pulumi" / "stacks" / PROJECT / f"{stack}.json"


def is_selected(home: Path, project: Path, backend: Path, stack: str) -> bool:
    """Whether ``stack`` is there and selected in ``project``, by the files that say so.

    Each start of the CLI takes a quarter of a second of CPU. Pulumi names a workspace's file in PULUMI_HOME ``home`` by the SHA-1 of its
    project file's path (sdk/go/common/workspace). Should that change, this is never true and the CLI is asked.
    """
    key = hashlib.sha1(str(project / "Pulumi.yaml").encode(), usedforsecurity=False).hexdigest()
    try:
        said = json.loads((home / "workspaces" / f"{PROJECT}-{key}-workspace.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return state_file(backend, stack).exists() and isinstance(said, dict) and said.get("stack") == f"organization/{PROJECT}/{stack}"


def has_nothing_pending(backend: Path, stack: str) -> bool:
    """Whether the state can be read and has no operation that was cut off: the field is left out when it is empty."""
    try:
        return '"pending_operations"' not in state_file(backend, stack).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def repair(backend: Path, stack: str = STACK) -> list[str]:
    """Make the backend's files readable again after a kill or a loss of power; says what it did, a line each.

    Sidecar files (``.attrs``) of an earlier way to run are dropped: they hold nothing that is needed, and an empty one makes Pulumi fail
    with "failed to load checkpoint: EOF". A state that is cut off is replaced by the copy that Pulumi keeps of the one before.
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
    return [f"The state of stack {stack} was cut off: going on with the one before it ({before.name})"]


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


@dataclass(frozen=True, kw_only=True)
class Pending:
    """An operation that was under way when Pulumi was killed."""

    kind: str
    """creating, updating, deleting, reading or importing."""
    urn: str
    inputs: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Logical name of the resource."""
        return self.urn.rsplit("::", 1)[-1]


def without_pending(deployment: dict[str, Any]) -> tuple[dict[str, Any], list[Pending]]:
    """``deployment`` (as ``pulumi stack export`` prints it) without its pending operations, and those."""
    inner = deployment.get("deployment") or {}
    pending = inner.get("pending_operations") or []
    operations = [
        Pending(kind=str(one.get("type")), urn=str(resource.get("urn")), inputs=resource.get("inputs") or {})
        for one in pending
        if (resource := one.get("resource") or {})
    ]
    cleared = {**deployment, "deployment": {key: value for key, value in inner.items() if key != "pending_operations"}}
    return cleared, operations
