"""The Pulumi CLI as this project runs it: its companions, its home, its backend, its output."""

from __future__ import annotations

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

from local.cli.backend import STACK, is_selected, repair
from local.cli.errors import CommandError, Terminated
from local.plugins import language_python

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from local.progress import TerminalReporter
    from local.toolchain import Toolchain

COMPANIONS: Final = ("pulumi-language-python-exec", "pulumi-resource-pulumi-python")
"""Scripts that must lie beside the CLI: the runner of Python programs and the host of dynamic providers."""
PASSPHRASE: Final = "triton-fleet-dev"  # noqa: S105 (no secret: the stack file that it would decrypt holds none)

_NUMBER: Final = re.compile(r"\d+")
_REPEAT_S: Final = 30.0
_READER_S: Final = 5.0
"""For the last lines: a helper that outlives a killed engine may keep the pipe open."""


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
