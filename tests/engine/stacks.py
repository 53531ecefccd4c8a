"""Stacks of the real engine with inline programs, without the commands that a test does not need.

After each `up` the automation API asks the CLI for the outputs (twice) and for the history, and before the first one it makes the stack.
Each of these is a program that starts and stretches the passphrase to a key: more time than most updates here take. The answers lie in the
file backend, so they are read there; commands that change something are the engine's, as anywhere.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from pulumi import automation as auto
from pulumi.automation._stack import StackInitMode

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT: Final = "engine"
TEMPLATE_STACK: Final = "test"
_SECRET: Final = "4dabf18193072939515e22adb298388d"


@functools.cache
def _command(path: str) -> auto.PulumiCommand:
    """The CLI, asked once for its version."""
    return auto.PulumiCommand()


class _Workspace(auto.LocalWorkspace):
    """A workspace that reads the outputs in the state."""

    state: Path | None = None
    is_copy: bool = False

    def create_stack(self, stack_name: str) -> None:
        if not self.is_copy:
            super().create_stack(stack_name)

    def stack_outputs(self, stack_name: str) -> auto.OutputMap:
        assert self.state is not None
        text = self.state.read_text()
        if _SECRET in text:
            return super().stack_outputs(stack_name)
        resources = json.loads(text)["checkpoint"]["latest"].get("resources", [])
        own: dict[str, Any] = next((item.get("outputs", {}) for item in resources if item["type"] == "pulumi:pulumi:Stack"), {})
        return {key: auto.OutputValue(value=value, secret=False) for key, value in own.items()}


class _Stack(auto.Stack):
    """A stack that reads its history in the backend."""

    def history(self, page_size: int | None = None, page: int | None = None, show_secrets: bool = True) -> list[auto.UpdateSummary]:
        assert isinstance(self.workspace, _Workspace)
        assert self.workspace.state is not None
        folder = self.workspace.state.parents[2] / "history" / PROJECT / self.name
        newest = max(folder.glob("*.history.json"), key=lambda path: path.name)
        told = json.loads(newest.read_text())
        summary = auto.UpdateSummary(
            kind=told["kind"],
            start_time=datetime.fromtimestamp(told["startTime"], UTC),
            message=told["message"],
            environment=told["environment"],
            config={},
            result=told["result"],
            end_time=datetime.fromtimestamp(told["endTime"], UTC),
            resource_changes=told.get("resourceChanges"),
        )
        return [summary]


@dataclass
class Stack:
    """One stack and what its commands said."""

    environment: dict[str, str]
    program: Callable[[], None]
    folder: Path
    name: str = field(default_factory=lambda: f"t{uuid.uuid4().hex[:8]}")
    said: str = ""
    template: Path | None = None
    """A folder with a fresh stack named TEMPLATE_STACK (`make_template`): copied instead of made. ``name`` must be that name then."""
    _stack: auto.Stack | None = None

    @property
    def backend(self) -> Path:
        """Folder of the file backend."""
        return self.folder / "backend"

    @property
    def state(self) -> Path:
        """The state file."""
        return self.backend / ".pulumi" / "stacks" / PROJECT / f"{self.name}.json"

    def _get(self) -> auto.Stack:
        if self._stack is None:
            if self.template is not None:
                shutil.copytree(self.template, self.folder, dirs_exist_ok=True)
            self.backend.mkdir(exist_ok=True)
            workspace = _Workspace(
                work_dir=str(self.folder),
                program=self._run,
                env_vars={**self.environment, "PULUMI_BACKEND_URL": self.backend.as_uri()},
                # Where relative paths in the program start.
                project_settings=auto.ProjectSettings(name=PROJECT, runtime="python", main=str(Path.cwd())),
                pulumi_command=_command(os.environ["PATH"]),
            )
            workspace.state, workspace.is_copy = self.state, self.template is not None
            # Not `_Stack.create`: that makes an auto.Stack, whichever class it is asked of.
            self._stack = _Stack(self.name, workspace, StackInitMode.CREATE)
        return self._stack

    def _run(self) -> None:
        self.program()

    def _on(self, text: str) -> None:
        self.said += text + "\n"

    def up(self, **options: Any) -> auto.UpResult:
        """`pulumi up`."""
        self.said = ""
        return self._get().up(on_output=self._on, color="never", **options)

    def preview(self, **options: Any) -> dict[str, int]:
        """`pulumi preview`: how many of what, without what stays."""
        self.said = ""
        summary = self._get().preview(on_output=self._on, color="never", diff=True, **options).change_summary
        return {str(getattr(key, "value", key)): count for key, count in summary.items() if str(getattr(key, "value", key)) != "same"}

    def steps(self) -> dict[str, str]:
        """`pulumi preview`: what would be done with each resource, by its logical name.

        Without what stays, what is only read, and default providers. A replacement is one step.
        """
        steps: dict[str, str] = {}

        def note(event: auto.EngineEvent) -> None:
            if event.resource_pre_event is None:
                return
            step = event.resource_pre_event.metadata
            operation, name = str(getattr(step.op, "value", step.op)), step.urn.split("::", 3)[3]
            if operation not in {"same", "read"} and not (step.type.startswith("pulumi:providers:") and name.startswith("default")):
                steps[name] = "replace" if "replace" in operation else operation

        self.preview(on_event=note)
        return steps

    def refresh(self) -> dict[str, int]:
        """`pulumi refresh`: what drifted."""
        self.said = ""
        result = self._get().refresh(on_output=self._on, color="never")
        return {key: count for key, count in (result.summary.resource_changes or {}).items() if key != "same"}

    def destroy(self) -> None:
        """`pulumi destroy`."""
        self.said = ""
        self._get().destroy(on_output=self._on, color="never")

    def fails(self, command: Callable[[], object]) -> str:
        """Run a command that must fail; what it said, in one line each."""
        with pytest.raises(auto.CommandError) as caught:
            command()
        return f"{self.said}\n{caught.value}"

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Any command of the CLI on this stack."""
        return subprocess.run(
            ["pulumi", *arguments, "--stack", self.name],
            cwd=self._get().workspace.work_dir,
            env={**os.environ, **self.environment, "PULUMI_BACKEND_URL": self.backend.as_uri()},
            capture_output=True,
            text=True,
            check=check,
        )

    def raw_state(self) -> str:
        """The state file as it lies on disk, with all that the backend keeps beside it."""
        return "".join(path.read_text() for path in self.backend.rglob("*.json") if self.name in path.name)

    def resources(self) -> dict[str, dict[str, Any]]:
        """The state's resources by their logical names, secrets as they are on disk."""
        latest = json.loads(self.state.read_text())["checkpoint"]["latest"] if self.state.exists() else None
        return {item["urn"].split("::", 3)[3]: item for item in (latest or {}).get("resources", [])}


def make_template(environment: dict[str, str], folder: Path) -> Path:
    """Make a folder with an empty stack, once, for `Stack.template`."""
    folder.mkdir()
    workspace = _Workspace(
        work_dir=str(folder),
        program=lambda: None,
        env_vars={**environment, "PULUMI_BACKEND_URL": (folder / "backend").as_uri()},
        project_settings=auto.ProjectSettings(name=PROJECT, runtime="python"),
    )
    (folder / "backend").mkdir()
    workspace.create_stack(TEMPLATE_STACK)
    return folder
