"""An instance of the dev stack that tests drive as a user does: by the commands, and by plain tools after `eval "$(make -s env)"`."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from local.cli.orphans import end_orphans
from local.platform import Platform, PlatformConfig
from tests.conftest import ROOT, lacks, with_own_ports

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

NAMESPACES = {"triton", "monitoring", "dcgm"}
CREATED = re.compile(r"[+~-] \d+ (created|updated|replaced|deleted)")
UP_LIMIT_S = 4200.0  # nothing is waited for: only so that a hang ends; a cold cache takes long


@dataclass(kw_only=True)
class Known:
    """What the last command left, where it ended well."""

    served: Path | None = None
    """The checkout whose stack is up."""
    is_empty: bool = False
    """Whether nothing of a stack is up."""
    exports: dict[Path, str] = field(default_factory=dict, repr=False)
    """What `env` said in a checkout."""


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One instance, and the checkout from which it is driven."""

    environment: dict[str, str] = field(repr=False)
    config: PlatformConfig
    state: Path
    project: Path = ROOT
    known: Known = field(default_factory=Known)
    """Shared with `at`."""

    def at(self, project: Path) -> Instance:
        """The same instance, driven from another checkout."""
        return replace(self, project=project)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "local.cli", *arguments]

    def start(self, *arguments: str, group: bool = False) -> subprocess.Popen[str]:
        """Start a command; what it says is in its ``stdout``. ``group``: in a process group of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.project,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=group,
        )

    def run(self, *arguments: str, code: int = 0) -> str:
        done = self.result(*arguments)
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def result(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            cwd=self.project,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=UP_LIMIT_S,
        )

    def forget(self) -> None:
        """Say that a command is under way, or ended in the middle."""
        self.known.served, self.known.is_empty = None, False

    def up(self) -> str:
        self.forget()
        output = self.run("up")
        self.known.served = self.project
        return output

    def destroy(self) -> str:
        self.forget()
        output = self.run("destroy")
        self.known.is_empty = True
        return output

    def down(self) -> str:
        self.forget()
        return self.run("down")

    def ensure_served(self) -> None:
        """`up`, unless this checkout's stack is up: so every test finds what it needs in any order, at no cost in the usual one."""
        if self.known.served != self.project:
            self.up()

    def ensure_empty(self) -> None:
        """`destroy`, unless nothing is up."""
        if not self.known.is_empty:
            self.destroy()

    def shell(self, line: str) -> str:
        """What a user types after eval "$(make -s env)", once, in this checkout."""
        if self.project not in self.known.exports:
            self.known.exports[self.project] = self.run("env")
        script = f"set -eu\n{self.known.exports[self.project]}\n{line}"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.project, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, f"{line}: {done.returncode}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    def namespaces(self) -> set[str]:
        return set(self.shell("kubectl get namespaces -o name | sed s,namespace/,,").split())

    def pods(self) -> list[Any]:
        """Triton's pods, but for those that are being deleted."""
        found = json.loads(self.shell("kubectl get pods -n triton -l app.kubernetes.io/name=triton -o json"))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]


def own_name(kind: str) -> str:
    """A name of an instance that no other process of tests has: control groups are the machine's, whatever folder an instance is in."""
    return f"{kind}{os.getpid():07}"


@contextlib.contextmanager
def own_instance() -> Generator[Instance]:
    """An instance of this process' own, stopped and deleted at the end."""
    name = own_name("up")
    given = os.environ.get("TRITON_FLEET_HOME")
    # Short: socket paths inside must stay below 108 bytes.
    home = Path(given or tempfile.mkdtemp(prefix="tft-"))
    ours = ("AWS_", "PULUMI_", "KUBE", "TRITON_FLEET_HOME")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    try:
        config = with_own_ports(PlatformConfig(instance=name, root=home / name))
        failed = [check for check in Platform(config).preflight() if check.required and not check.ok]
        if failed:
            lacks(f"this machine can't run the embedded platform: {failed[0]}")
        environment |= {
            "TRITON_FLEET_HOME": str(home),
            "TRITON_FLEET_INSTANCE": name,
            "TRITON_FLEET_PORT_OFFSET": str(config.port_offset),
        }
        try:
            yield Instance(environment=environment, config=config, state=home / name)
        finally:
            end_orphans(home / name / "pulumi")  # as `make down` does: a suite that was interrupted may have killed an engine
            Platform(config).stop()
    finally:
        shutil.rmtree(home / name if given else home, ignore_errors=True)


def copy_project(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """A checkout of a user's own in ``folder``, with ``change`` made to its dev stack file."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".git", ".venv", "tests", "bench", "out", ".*_cache", "__pycache__"))
    (folder / ".venv").symlink_to(sys.prefix)
    stack = folder / "Pulumi.dev.yaml"
    content = yaml.safe_load(stack.read_text())
    change(content)
    stack.write_text(yaml.safe_dump(content))


def git_status() -> str:
    """What git says of the checkout; nothing where it is none."""
    if not (ROOT / ".git").exists():
        return ""
    return subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def run_until(instance: Instance, command: str, moment: str, act: Callable[[int], None]) -> tuple[int, str]:
    """Start ``command`` in a process group of its own and ``act`` on it once, at the first line with ``moment``; exit code and output."""
    instance.forget()
    process = instance.start(command, group=True)
    assert process.stdout is not None
    reached, text = False, ""
    for line in process.stdout:
        text += line
        if not reached and re.search(moment, line):
            reached = True
            act(process.pid)
    process.stdout.close()
    code = process.wait()
    assert reached, f"no line with {moment}:\n{text}"
    return code, text


def kill_group(pid: int) -> None:
    os.killpg(pid, signal.SIGKILL)


def kill_children(pid: int) -> None:
    for child in children(pid):
        os.kill(child, signal.SIGKILL)


def interrupt(pid: int) -> None:
    """What Ctrl-C does."""
    os.killpg(pid, signal.SIGINT)


def kill_at(instance: Instance, command: str, moment: str, *, everything: bool) -> None:
    """Kill ``command`` at the first line with ``moment``: Pulumi alone, or the command with all it started."""
    code, text = run_until(instance, command, moment, kill_group if everything else kill_children)
    assert code != 0, text
