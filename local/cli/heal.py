"""Clean up after a killed Pulumi: its lock, its helper processes, its pending operations."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from local.cli import releases
from local.cli.backend import has_nothing_pending, locks, without_pending
from local.cli.errors import CommandError
from local.cli.orphans import end_orphans

if TYPE_CHECKING:
    from local.cli.pulumi import Pulumi
    from local.progress import TerminalReporter


def heal(pulumi: Pulumi, reporter: TerminalReporter) -> None:
    """Undo what a killed run left: its lock, and operations whose outcome is unknown.

    Raises:
        CommandError: another Pulumi is working on the stack.
    """
    _unlock(pulumi, reporter)
    if has_nothing_pending(pulumi.backend, pulumi.stack):
        return
    cleared, operations = without_pending(json.loads(pulumi.run("stack", "export").stdout))
    if not operations:
        return
    for one in operations:
        reporter.note(f"An earlier run was killed while {one.kind} {one.name}: `pulumi up` will repair it")
    releases.remove(operations, pulumi.environment, reporter)
    file = pulumi.backend / f"healed-{os.getpid()}.json"
    file.write_text(json.dumps(cleared), encoding="utf-8")
    try:
        pulumi.run("stack", "import", "--force", "--file", str(file))
    finally:
        file.unlink(missing_ok=True)
    if any(one.kind == "deleting" for one in operations):
        # The state may still list what is already deleted: an update would fail because its namespace is not found.
        reporter.note("Checking what the killed destroy had already deleted")
        if pulumi.show(reporter, "refresh", "--yes", "--skip-preview", "--stack", pulumi.stack):
            message = "`pulumi refresh` failed after a killed run; see its messages above. Run the same command again."
            raise CommandError(message)


def _unlock(pulumi: Pulumi, reporter: TerminalReporter) -> None:
    """Remove the lock of a killed run, and end its processes. Raises CommandError if the run is alive."""
    held = locks(pulumi.backend, pulumi.stack)
    for lock in held:
        if not lock.is_stale():
            message = (
                f"Stack {pulumi.stack} is locked by process {lock.pid} on {lock.host}: another pulumi is working on it, and two at once "
                f"would corrupt its state. Wait for it, or end it; if that process is not Pulumi, delete {lock.file}."
            )
            raise CommandError(message)
    # Otherwise, they would keep making changes during this run.
    ended = end_orphans(Path(pulumi.environment["PULUMI_HOME"]))
    if ended:
        reporter.note(f"An earlier run was killed: ended {ended} of its helper processes")
    for lock in held:
        reporter.note(f"An earlier run was killed: removing its lock on stack {pulumi.stack}")
        lock.file.unlink(missing_ok=True)
