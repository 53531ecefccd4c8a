"""Start the node: a process in its own namespaces, where it is PID 1 and supervises the plan.

Run as ``python -m local.platform.node STATE PORT_OFFSET LOCK``; environment and descriptors come from `local.platform.platform`. The first
process forks the node, writes its record, lets it continue, and exits. The node waits for this signal, so it never runs without a record.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path

from local.platform import cgroups, identity, libc, mounts, network
from local.platform.config import NODE_NAME
from local.platform.layout import INSIDE, Layout
from local.platform.plan import Plan
from local.platform.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    """Start the node from outside. Exit status 0: it runs and is recorded."""
    layout = Layout(Path(arguments[0]))
    offset, lock = int(arguments[1]), int(arguments[2])
    plan = Plan.from_json(layout.plan.read_text(encoding="utf-8"))
    for component in plan.components:
        for descriptor in component.descriptors:
            # Each start passes them only to their component.
            os.set_inheritable(descriptor, False)  # noqa: FBT003 - positional only
    go_read, go_write = os.pipe()
    try:
        libc.unshare(libc.NODE_NAMESPACES)
    except OSError as error:
        sys.stderr.write(f"Namespaces can't be created: {error}\n")
        return 1
    pid = os.fork()
    if pid == 0:
        os.close(go_write)
        os.close(lock)  # the node outlives the process that started it
        _become_node(plan, layout, go_read)
    os.close(go_read)
    record = identity.record(pid, port_offset=offset, control_plane_only=plan.control_plane_only)
    temporary = layout.node_record.with_suffix(".new")
    temporary.write_text(record.to_json(), encoding="utf-8")
    temporary.replace(layout.node_record)
    os.write(go_write, b"go")
    return 0


def _become_node(plan: Plan, outside: Layout, go_read: int) -> None:
    """Run as PID 1 until the end; never returns."""
    code = 1
    try:
        log = os.open(outside.log("node"), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        if os.read(go_read, 2) != b"go":
            os._exit(1)  # the recording process died
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        _run(plan)
        code = 0
    except BaseException as error:  # noqa: BLE001 - last chance to log
        sys.stderr.write(f"The node failed: {type(error).__name__}: {error}\n")
        import traceback  # noqa: PLC0415

        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _run(plan: Plan) -> None:
    os.chdir("/")
    os.umask(0o022)
    # PID 1 ignores SIGTERM without a handler; a stop during the setup must work.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(0))
    hierarchies = cgroups.detect()
    notes = mounts.set_up(plan.state, plan.keep)
    # After the mounts: only the new /proc shows this process as 1.
    cgroups.place(hierarchies, plan.cgroup, "node", 1)
    libc.sethostname(NODE_NAME)
    notes += [f"/proc/sys/{name} can't be set" for name in network.set_up()]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    supervisor = Supervisor(
        plan,
        Layout(INSIDE),
        place=lambda component, pid: cgroups.place(hierarchies, plan.cgroup, component, pid),
        notes=notes,
    )
    for note in notes:
        supervisor.log(note)
    supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
