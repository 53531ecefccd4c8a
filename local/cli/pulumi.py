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
"""Scripts that must be in the CLI's folder: the runner of Python programs and the host of dynamic providers."""
PASSPHRASE: Final = "triton-fleet-dev"  # noqa: S105 (not a secret: the stack file that it encrypts contains none)

_NUMBER: Final = re.compile(r"\d+")
_REPEAT_S: Final = 30.0
_READER_S: Final = 5.0
"""Seconds to read the last lines: a process that outlives a killed engine may keep the pipe open."""


def assemble(folder: Path, toolchain: Toolchain, python: Path) -> Path:
    """Put the CLI into ``folder`` together with its companions and a language host; return the CLI's path.

    The engine expects these programs in its own folder and warns on every command if they are elsewhere. It follows symbolic links, hence a
    hard link (or a copy, on another file system). An installation of Pulumi's own release is used unchanged: it is complete.
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
    """The CLI with an environment. Every command runs in the project's folder."""

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
        """Run a short command and capture its output. Raises CommandError if it fails and ``check`` is true."""
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
        """Run a long command, show its output, and return its exit code.

        On a terminal Pulumi draws its tree of resources; in a log its lines are passed on. The terminal sends Ctrl-C to Pulumi directly: it
        gets the time to finish, because killing it would leave pending operations.
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
        # Read in a thread, so that Pulumi never blocks on a full pipe while an interrupt waits for it to end.
        reader = threading.Thread(target=_pass_on, args=(process, reporter), daemon=True)
        reader.start()
        try:
            return _wait(process)
        finally:
            reader.join(_READER_S)

    def select(self, reporter: TerminalReporter) -> None:
        """Select the stack in the file backend, after `repair`; create it if it is missing."""
        self.backend.mkdir(parents=True, exist_ok=True)
        for text in repair(self.backend, self.stack):
            reporter.note(text)
        if not is_selected(Path(self.environment["PULUMI_HOME"]), self.project, self.backend, self.stack):
            self.run("stack", "select", "--create", self.stack)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; empty before the first `up`."""
        done = self.run("stack", "output", "--json", "--stack", self.stack, check=False)
        if done.returncode:
            return {}
        result: dict[str, Any] = json.loads(done.stdout or "{}")
        return result


def _pass_on(process: subprocess.Popen[str], reporter: TerminalReporter) -> None:
    assert process.stdout is not None  # noqa: S101 (a pipe)
    said: dict[str, float] = {}
    with process.stdout as lines:
        for line in lines:
            # A waiting resource prints a line every second, with another number in it. In a log, repeat it only every `_REPEAT_S`.
            kind, now = _NUMBER.sub("#", line), time.monotonic()
            if line.strip() and now - said.get(kind, -_REPEAT_S) >= _REPEAT_S:
                said[kind] = now
                reporter.raw(f"    {line.rstrip()}")


def _wait(process: subprocess.Popen[Any], interrupt: KeyboardInterrupt | None = None) -> int:
    """Wait until ``process`` ends, even if interrupted; then re-raise the interrupt."""
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
