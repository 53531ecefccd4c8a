"""The node's PID 1: starts components in order, restarts them, reaps orphans, rotates logs, writes the status.

It is independent of Kubernetes, except for the shutdown order in `Supervisor.shut_down`: the plan says what to run. A component is alive
while its process runs. Killing components that answer late was rejected: on two busy cores it would turn slowness into an outage.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import select
import shutil
import signal
import socket
import ssl
import sys
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from local.platform import cgroups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from local.platform.layout import Layout
    from local.platform.plan import Component, Plan, Probe

FIRST_BACKOFF_S: Final = 0.5
LONGEST_BACKOFF_S: Final = 30.0
STEADY_S: Final = 30.0
"""A process that ran for so many seconds restarts at once, and its backoff is reset."""
LOG_LIMIT: Final = 10 * 1024 * 1024
LOG_GENERATIONS: Final = 2
_TICK_S: Final = 0.5
_STATUS_EVERY_S: Final = 2.0
_LOGS_EVERY_S: Final = 10.0
_PROBE_TIMEOUT_S: Final = 3.0
_PODS_GRACE_S: Final = 5.0


def backoff(failures: int) -> float:
    """Seconds to wait before the next start after ``failures`` consecutive quick exits."""
    return 0.0 if failures <= 0 else min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** (failures - 1))


@dataclass
class Child:
    """A component and its process, if it runs."""

    component: Component
    pid: int | None = None
    started: float = 0.0
    """Last start, as time.monotonic."""
    started_at: float = 0.0
    """Last start, as time.time."""
    starts: int = 0
    failures: int = 0
    """Consecutive quick exits."""
    not_before: float = 0.0
    ready: bool = False
    last_end: str | None = None


def rotate(path: Path, limit: int = LOG_LIMIT, generations: int = LOG_GENERATIONS) -> bool:
    """Copy a log of more than ``limit`` bytes to PATH.1 and truncate it, keeping ``generations`` copies; True if it did.

    Copied, not renamed, because the process keeps its descriptor (opened for appending); a pipe through PID 1 could stall it. A line
    written between the two steps is lost.
    """
    try:
        if path.stat().st_size <= limit:
            return False
        for number in range(generations, 1, -1):
            older = path.with_name(f"{path.name}.{number - 1}")
            if older.exists():
                older.replace(path.with_name(f"{path.name}.{number}"))
        shutil.copyfile(path, path.with_name(f"{path.name}.1"))
        os.truncate(path, 0)
    except OSError:
        return False  # a full disk: retried in the next round
    return True


class Prober(threading.Thread):
    """Probes components in its own thread, so that a hung one can't block the main loop."""

    def __init__(self, children: Iterable[Child], layout: Layout) -> None:
        super().__init__(name="prober", daemon=True)
        self._children = list(children)
        self._layout = layout
        self._context: ssl.SSLContext | None = None

    def run(self) -> None:
        """Probe forever: often while a component is not ready, otherwise every few seconds."""
        while True:
            for child in self._children:
                pid, probe = child.pid, child.component.probe
                answer = pid is not None and (probe is None or self.answers(probe))
                if child.pid == pid:  # otherwise it was restarted meanwhile
                    child.ready = answer
            time.sleep(3.0 if all(child.ready for child in self._children) else 0.2)

    def answers(self, probe: Probe) -> bool:
        """Whether ``probe`` succeeds now."""
        try:
            if probe.tcp is not None:
                socket.create_connection(probe.tcp, timeout=_PROBE_TIMEOUT_S).close()
            if probe.unix is not None:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                    connection.settimeout(_PROBE_TIMEOUT_S)
                    connection.connect(probe.unix)
            if probe.https is not None:
                return self._get(*probe.https)
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _get(self, address: str, port: int, path: str) -> bool:
        if self._context is None:
            context = ssl.create_default_context(cafile=str(self._layout.pki / "ca.crt"))
            context.load_cert_chain(self._layout.pki / "bootstrap.crt", self._layout.pki / "bootstrap.key")
            self._context = context
        connection = http.client.HTTPSConnection(address, port, timeout=_PROBE_TIMEOUT_S, context=self._context)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        finally:
            connection.close()


class Supervisor:
    """Runs a plan, in the node's PID 1 or, in tests, in an ordinary process."""

    def __init__(self, plan: Plan, layout: Layout, *, place: Callable[[str, int], None], notes: Iterable[str] = ()) -> None:
        """``place`` moves a process to its component's control group."""
        self._layout = layout
        self._place = place
        self._notes = list(notes)
        self._plan = plan
        self._stopping = False
        self._reload = False
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.children = {component.name: Child(component) for component in plan.components}

    def log(self, text: str) -> None:
        """Write a line to the supervisor's log."""
        sys.stderr.write(f"{time.strftime('%Y-%m-%dT%H:%M:%S')} {text}\n")
        sys.stderr.flush()

    def install_signals(self) -> None:
        """SIGTERM and SIGINT stop the node, SIGHUP resets all backoffs, SIGCHLD wakes the loop."""
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGHUP, self._on_reload)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._stopping = True

    def _on_reload(self, _number: int, _frame: object) -> None:
        self._reload = True

    def run(self) -> None:
        """Run until a signal stops it."""
        self.install_signals()
        Prober(self.children.values(), self._layout).start()
        status_due = logs_due = 0.0
        shown = ""
        while not self._stopping:
            self.reap()
            if self._reload:
                self._reload = False
                for child in self.children.values():
                    child.failures, child.not_before = 0, 0.0
            self.start_due()
            now = time.monotonic()
            seen = self._fingerprint()
            if now >= status_due or seen != shown:
                self.write_status("running")
                status_due, shown = now + _STATUS_EVERY_S, seen
            if now >= logs_due:
                for child in self.children.values():
                    rotate(self._layout.log(child.component.name))
                rotate(self._layout.log("node"))
                logs_due = now + _LOGS_EVERY_S
            self._sleep(_TICK_S if all(child.ready for child in self.children.values()) else 0.1)
        self.shut_down()

    def _fingerprint(self) -> str:
        return repr([(child.pid, child.ready) for child in self.children.values()])

    def _sleep(self, seconds: float) -> None:
        readable, _, _ = select.select([self._wake_read], [], [], seconds)
        if readable:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._wake_read, 4096):
                    pass

    def start_due(self) -> None:
        """Start every component that does not run, whose backoff has passed and whose predecessors are ready."""
        now = time.monotonic()
        for child in self.children.values():
            if child.pid is not None or now < child.not_before:
                continue
            # Only for the first start: later every component tolerates an absent neighbor.
            if child.starts == 0 and not all(self.children[name].ready for name in child.component.after):
                continue
            self._start(child)

    def _start(self, child: Child) -> None:
        component = child.component
        log = str(self._layout.log(component.name))
        child.started, child.started_at, child.ready = time.monotonic(), time.time(), False
        child.starts += 1
        try:
            pid = os.posix_spawn(
                component.argv[0],
                list(component.argv),
                component.environment,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    # Onto itself: clears close-on-exec only for this child.
                    *((os.POSIX_SPAWN_DUP2, number, number) for number in component.descriptors),
                ],
                setsid=True,
                setsigdef=[signal.SIGPIPE, signal.SIGCHLD, signal.SIGHUP, signal.SIGTERM, signal.SIGINT],
            )
        except OSError as error:
            self._ended(child, f"could not be started: {error}")
            return
        child.pid = pid
        try:
            self._place(component.name, pid)
        except OSError as error:
            self.log(f"{component.name} runs outside its control group: {error}")
        self.log(f"{component.name} started, process {pid}" + (f", start {child.starts}" if child.starts > 1 else ""))

    def _ended(self, child: Child, how: str) -> None:
        lived = time.monotonic() - child.started
        child.pid, child.ready, child.last_end = None, False, how
        child.failures = 0 if lived >= STEADY_S else child.failures + 1
        wait = backoff(child.failures)
        child.not_before = time.monotonic() + wait
        self.log(f"{child.component.name} {how} after {lived:.1f} s; next start in {wait:.1f} s")

    def reap(self) -> None:
        """Reap every child that has ended, including orphans."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            child = next((item for item in self.children.values() if item.pid == pid), None)
            if child is not None:
                code = os.waitstatus_to_exitcode(status)
                self._ended(child, f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}")

    def write_status(self, phase: str) -> None:
        """Replace the status file."""
        now = time.monotonic()
        data = {
            "phase": phase,
            "time": time.time(),
            "notes": self._notes,
            "components": [
                {
                    "name": child.component.name,
                    "pid": child.pid,
                    "started_at": child.started_at,
                    "restarts": max(0, child.starts - 1),
                    "ready": child.ready,
                    "last_end": child.last_end,
                    "retry_in_s": max(0.0, child.not_before - now) if child.pid is None else None,
                }
                for child in self.children.values()
            ],
        }
        temporary = self._layout.status.with_suffix(".new")
        try:
            temporary.write_text(json.dumps(data), encoding="utf-8")
            temporary.replace(self._layout.status)
        except OSError as error:
            self.log(f"the status can't be written: {error}")

    def shut_down(self) -> None:
        """Stop everything: kubelet, pods, network and runtime, controllers, API; etcd last, so that no write is lost."""
        self.log("stopping")
        self.write_status("stopping")
        self.stop(["kubelet"])
        self._end_pods()
        self.stop(["kube-proxy", "containerd", "kube-controller-manager", "kube-scheduler"])
        known = {"kube-apiserver", "etcd"}
        self.stop([name for name in self.children if name not in known])
        self.stop(["kube-apiserver"])
        self.stop(["etcd"])
        self.write_status("stopped")
        self.log("stopped")

    def stop(self, names: Iterable[str]) -> None:
        """Send SIGTERM to all of ``names`` at once, and SIGKILL to those that exceed their timeout."""
        chosen = [self.children[name] for name in names if name in self.children and self.children[name].pid is not None]
        for child in chosen:
            _signal(child.pid, signal.SIGTERM)
        begun = time.monotonic()
        while any(child.pid is not None for child in chosen):
            self.reap()
            for child in chosen:
                if child.pid is not None and time.monotonic() - begun > child.component.stop_timeout_s:
                    self.log(f"{child.component.name} did not stop within {child.component.stop_timeout_s:g} s: killed")
                    _signal(child.pid, signal.SIGKILL)
            self._sleep(0.05)

    def _end_pods(self) -> None:
        if self._plan.control_plane_only:
            return
        hierarchies = cgroups.detect()
        deadline = time.monotonic() + _PODS_GRACE_S
        number = signal.SIGTERM
        while cgroups.signal_all(hierarchies, self._plan.cgroup, "kubepods", number):
            if time.monotonic() > deadline:
                number = signal.SIGKILL
            if time.monotonic() > deadline + _PODS_GRACE_S:
                self.log("some pod processes can't be killed")
                return
            self.reap()
            self._sleep(0.2)


def _signal(pid: int | None, number: signal.Signals) -> None:
    if pid is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
