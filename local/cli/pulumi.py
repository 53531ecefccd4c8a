"""Pulumi as this project runs it: which CLI with which companions, its home and backend, healing after a kill, running it in sight."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.cli.backend import PROJECT, STACK, Pending, StackLock, has_nothing_pending, is_selected, locks, repair, without_pending
from local.cli.errors import CommandError, Terminated
from local.plugins import language_python

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.progress import TerminalReporter
    from local.toolchain import Toolchain

__all__ = [
    "COMPANIONS",
    "PASSPHRASE",
    "PROJECT",
    "STACK",
    "Pending",
    "Pulumi",
    "StackLock",
    "assemble",
    "end_orphans",
    "locks",
    "orphans",
    "repair",
    "without_pending",
]

COMPANIONS: Final = ("pulumi-language-python-exec", "pulumi-resource-pulumi-python")
"""Scripts that must lie beside the CLI: the runner of Python programs and the host of dynamic providers."""
PASSPHRASE: Final = "triton-fleet-dev"  # noqa: S105 (no secret: the stack file that it would decrypt holds none)

_NUMBER: Final = re.compile(r"\d+")
_REPEAT_S: Final = 30.0
_HELPER: Final = re.compile(rb"(^|/)pulumi-(resource|language|analyzer)-|^pulumi\.dynamic$")
_HELM: Final = re.compile(rb"(^|/)helm$")
_READER_S: Final = 5.0
"""For the last lines: a helper that outlives a killed engine may keep the pipe open."""
_ORPHAN_GRACE_S: Final = 20.0
"""A Helm that is asked to stop takes back what it has begun."""


def assemble(folder: Path, toolchain: Toolchain, python: Path) -> Path:
    """Put the CLI into ``folder`` with its companions and a language host beside it; returns the CLI's path.

    The engine takes these helpers from beside its own executable without a word, and from anywhere else with a warning on every command:
    hence a hard link (a copy on another file system) instead of a link, which it would follow. An installation by Pulumi's own release is
    used as it is: everything lies beside its CLI already.
    """
    cli = toolchain.path("pulumi")
    official = language_python.official(cli)
    if official is not None and official.parent == cli.resolve().parent:
        return cli
    folder.mkdir(parents=True, exist_ok=True)
    _place(cli.resolve(), folder / "pulumi")
    for name in COMPANIONS:
        _place(toolchain.path(name).resolve(), folder / name)
    if official is not None:
        _place(official.resolve(), folder / language_python.NAME)
    else:
        language_python.install(folder, python)
    return folder / "pulumi"


def _place(source: Path, target: Path) -> None:
    if target.exists() and not target.is_symlink():
        ours, theirs = target.stat(), source.stat()
        if (ours.st_size, ours.st_mtime_ns) == (theirs.st_size, theirs.st_mtime_ns):
            return
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    try:
        fresh.hardlink_to(source)
    except OSError:
        shutil.copy2(source, fresh)
    fresh.chmod(0o755)
    fresh.replace(target)


def orphans(home: Path) -> list[int]:
    """What an engine with PULUMI_HOME ``home`` left when it was killed: plugins, language hosts, dynamic providers, a plugin's Helm.

    A Helm that upgrades is asked to stop when its plugin dies, and goes on for a while: beside it, another one would put things there that
    the first takes away, and the other way round. A user's own Helm is none of them. Those that still have a living pulumi above them
    are not among them either. Empty where there is no /proc.
    """
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            variables = (folder / "environ").read_bytes().split(b"\0")
            if f"PULUMI_HOME={home}".encode() not in variables:
                continue
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(folder.name)
        if (any(_HELPER.search(word) for word in words) or _is_plugins_helm(pid, words)) and not _has_engine(pid):
            found.append(pid)
    return found


def _is_plugins_helm(pid: int, words: Sequence[bytes]) -> bool:
    """The plugin starts it in a session of its own; one from a shell is in the shell's."""
    with contextlib.suppress(ProcessLookupError):
        return any(_HELM.search(word) for word in words) and os.getsid(pid) == pid
    return False


def _has_engine(pid: int) -> bool:
    while pid > 1:
        try:
            text = (Path("/proc") / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return False
        name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
        if name == "pulumi":
            return True
        pid = int(rest[1])
    return False


def end_orphans(home: Path) -> int:
    """End what `orphans` finds, politely and then for sure; returns how many there were.

    A Helm that installs is killed before all others (local/plugins/kubernetes/helm_cli.py says why): its plugin would ask it to stop.
    """
    left = orphans(home)
    for pid in left:
        with contextlib.suppress(OSError):
            words = (Path("/proc") / str(pid) / "cmdline").read_bytes().split(b"\0")
            if b"install" in words and _is_plugins_helm(pid, words):
                os.kill(pid, signal.SIGKILL)
    count, deadline = len(left), time.monotonic() + _ORPHAN_GRACE_S
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        while number == signal.SIGTERM and (left := orphans(home)) and time.monotonic() < deadline:
            time.sleep(0.05)
    return count


@dataclass(frozen=True, kw_only=True)
class Pulumi:
    """A CLI with an environment: every call runs in the project's folder."""

    cli: Path
    project: Path
    environment: Mapping[str, str]
    backend: Path
    stack: str = STACK
    config_file: Path | None = None

    def _command(self, arguments: Sequence[str]) -> list[str]:
        command = [str(self.cli), *arguments]
        if self.config_file is not None and arguments[0] in {"up", "preview", "refresh", "destroy"}:
            command += ["--config-file", str(self.config_file)]
        return command

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a quick command and keep its output. Raises CommandError when ``check`` and it fails."""
        done = subprocess.run(
            self._command(arguments),
            cwd=self.project,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode:
            output = (done.stderr + done.stdout).strip()
            message = f"`pulumi {' '.join(arguments)}` ended with exit code {done.returncode}:\n{output}"
            raise CommandError(message)
        return done

    def show(self, reporter: TerminalReporter, *arguments: str) -> int:
        """Run a long command in sight and return its exit code.

        On a terminal it gets the terminal, with the tree of resources that grows; in a log its lines are passed on. Ctrl-C reaches Pulumi
        from the terminal by itself: it is given the time to end in order, because what it is killed in leaves operations pending.
        """
        if reporter.is_terminal:
            with reporter.hidden():
                return _wait(subprocess.Popen(self._command(arguments), cwd=self.project, env=dict(self.environment)))
        process = subprocess.Popen(
            [*self._command(arguments), "--non-interactive", "--suppress-progress", "--color", "never"],
            cwd=self.project,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        # Read beside, so that Pulumi never stands before a full pipe while an interrupt waits for its end.
        reader = threading.Thread(target=_pass_on, args=(process, reporter), daemon=True)
        reader.start()
        try:
            return _wait(process)
        finally:
            reader.join(_READER_S)

    def select(self, reporter: TerminalReporter) -> None:
        """Select the stack in the file backend, made when it lacks, after `repair`."""
        self.backend.mkdir(parents=True, exist_ok=True)
        for text in repair(self.backend, self.stack):
            reporter.note(text)
        if not is_selected(Path(self.environment["PULUMI_HOME"]), self.project, self.backend, self.stack):
            self.run("stack", "select", "--create", self.stack)

    def heal(self, reporter: TerminalReporter) -> None:
        """Undo what a killed run left: its lock, and operations that nobody knows the end of.

        Raises:
            CommandError: another Pulumi works on the stack right now.
        """
        self._free(reporter)
        if has_nothing_pending(self.backend, self.stack):
            return
        cleared, operations = without_pending(json.loads(self.run("stack", "export").stdout))
        if not operations:
            return
        for one in operations:
            reporter.note(f"An earlier run was killed while {one.kind} {one.name}: `pulumi up` settles it")
        self._settle(operations, reporter)
        file = self.backend / f"healed-{os.getpid()}.json"
        file.write_text(json.dumps(cleared), encoding="utf-8")
        try:
            self.run("stack", "import", "--force", "--file", str(file))
        finally:
            file.unlink(missing_ok=True)
        if any(one.kind == "deleting" for one in operations):
            # What is gone may still be in the state: an update would be told that its namespace is not found.
            reporter.note("Looking what a killed destroy had deleted already")
            if self.show(reporter, "refresh", "--yes", "--skip-preview", "--stack", self.stack):
                message = "`pulumi refresh` failed after a run that was killed; its messages are above. Run the same command again."
                raise CommandError(message)

    def _free(self, reporter: TerminalReporter) -> None:
        """Remove the lock of a run that was killed, and what still goes on of it. Raises CommandError when it was not killed."""
        held = locks(self.backend, self.stack)
        for lock in held:
            if not lock.is_stale():
                message = (
                    f"Stack {self.stack} is held by process {lock.pid} on {lock.host}: another pulumi works on it and two at once would "
                    f"spoil its state. Wait for it, or end it; if it is no Pulumi, delete {lock.file}."
                )
                raise CommandError(message)
        # They would go on with what they were told, beside this run.
        ended = end_orphans(Path(self.environment["PULUMI_HOME"]))
        if ended:
            reporter.note(f"An earlier run was killed: ended {ended} of its helper processes")
        for lock in held:
            reporter.note(f"An earlier run was killed: removing its lock on stack {self.stack}")
            lock.file.unlink(missing_ok=True)

    def _settle(self, operations: list[Pending], reporter: TerminalReporter) -> None:
        """Remove Helm releases that a kill left half installed or unknown to the state: their names would be "still in use"."""
        releases = {
            (one.inputs.get("name"), one.inputs.get("namespace"))
            for one in operations
            if one.kind == "creating" and "kubernetes:helm.sh/v3:Release::" in one.urn
        }
        helm = shutil.which("helm", path=self.environment.get("PATH"))
        if not releases or helm is None:
            return
        listed = subprocess.run(
            [helm, "list", "--all-namespaces", "--all", "--output", "json"],
            env=dict(self.environment),
            capture_output=True,
            text=True,
            check=False,
        )
        if listed.returncode:
            return
        for release in json.loads(listed.stdout or "[]"):
            if (release["name"], release["namespace"]) in releases:
                reporter.note(f"Removing Helm release {release['name']} ({release['status']}), which the killed run left")
                command = [helm, "uninstall", release["name"], "--namespace", release["namespace"], "--wait", "--timeout", "2m"]
                subprocess.run(command, env=dict(self.environment), capture_output=True, check=False)

    def outputs(self) -> dict[str, Any]:
        """Outputs of the stack; empty before the first `up`."""
        done = self.run("stack", "output", "--json", "--stack", self.stack, check=False)
        if done.returncode:
            return {}
        result: dict[str, Any] = json.loads(done.stdout or "{}")
        return result


def _pass_on(process: subprocess.Popen[str], reporter: TerminalReporter) -> None:
    assert process.stdout is not None  # noqa: S101 (it was asked for)
    said: dict[str, float] = {}
    with process.stdout as lines:
        for line in lines:
            # A resource that waits says so every second, with another number in it: in a log once in a while is enough.
            kind, now = _NUMBER.sub("#", line), time.monotonic()
            if line.strip() and now - said.get(kind, -_REPEAT_S) >= _REPEAT_S:
                said[kind] = now
                reporter.raw(f"    {line.rstrip()}")


def _wait(process: subprocess.Popen[Any], interrupt: KeyboardInterrupt | None = None) -> int:
    """Wait for the end of ``process``, through any interrupt, which is raised again after it."""
    if isinstance(interrupt, Terminated):
        process.send_signal(signal.SIGINT)
    while True:
        try:
            code = process.wait()
        except KeyboardInterrupt as another:
            if isinstance(another, Terminated):
                process.send_signal(signal.SIGINT)
            interrupt = another
            continue
        if interrupt is not None:
            raise interrupt
        return code
