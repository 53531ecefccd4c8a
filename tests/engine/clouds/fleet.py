"""The project's own program on one of its stack files, under the real engine, with doubles for what the cloud is.

Used by the tests of the clouds and by bench/standup. Nothing of the program is replaced: Pulumi runs __main__.py of this checkout in a
process of its own. The stack file is a copy, changed in what a test has to change and no more: where charts come from, and how pods
would reach the bucket.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from local.plugins.kubernetes import install as install_kubernetes
from local.plugins.kubernetes import official_installed, write_launcher
from tests.doubles.faults import Faults, Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tests.doubles.cluster import ClusterDouble

ROOT: Final = Path(__file__).resolve().parents[3]
CHARTS: Final = (ROOT / "local" / "charts", ROOT / "tests" / "doubles" / "charts")
_STEP_S: Final = 600.0
"""Longest that one command may take before it is ended, in seconds."""
_PREFIX: Final = "triton-fleet:"


def merge_charts(folder: Path) -> Path:
    """One folder with links to the charts that stand in for the publishers'."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in CHARTS:
        for chart in source.iterdir():
            link = folder / chart.name
            if not link.exists():
                link.symlink_to(chart)
    return folder


def settings_of(stack: str) -> dict[str, Any]:
    """The configuration in a stack file of the project."""
    config: dict[str, Any] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text(encoding="utf-8"))["config"]
    return config


def pulumi_home(cli: Path, folder: Path, *, python: Path | None = None) -> Path:
    """A PULUMI_HOME with the plugin for Kubernetes, as `make up` makes one; ``python`` runs it (the running one by default)."""
    home = folder / "home"
    installed = install_kubernetes(cli, home, folder / "launcher")
    if python is not None and not official_installed(home):
        write_launcher(installed.parent, python=python)
    return home


class CommandFailedError(AssertionError):
    """A command of Pulumi's failed."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        super().__init__(f"pulumi {' '.join(done.args[1:])} ended with {done.returncode}:\n{done.stdout[-6000:]}\n{done.stderr[-2000:]}")
        self.done = done


@dataclass
class Fleet:
    """One stack."""

    folder: Path
    """Of this stack alone: project file, stack file and state."""
    stack: str
    """Name of the stack file that it starts from."""
    environment: Mapping[str, str]
    """Of Pulumi: PATH with the CLI and Helm, PULUMI_HOME, what leads doubles and clients to the clouds that stand in."""
    doubles: Path
    """What the doubles of this stack share."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The configuration as it is now; `write` puts it where Pulumi reads it."""
    virtualenv: Path = Path(sys.prefix)
    """Whose Python runs the program."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.settings = self.settings or settings_of(self.stack)
        self.faults = Faults(self.doubles)
        self.journal = Journal(self.doubles)
        project = yaml.safe_load((ROOT / "Pulumi.yaml").read_text(encoding="utf-8"))
        project["main"] = str(ROOT)
        project["runtime"]["options"]["virtualenv"] = str(self.virtualenv)
        (self.folder / "Pulumi.yaml").write_text(yaml.safe_dump(project), encoding="utf-8")
        (self.folder / "backend").mkdir(exist_ok=True)
        self._set({f"{_PREFIX}charts": {"source": "folder", "location": str(merge_charts(self.folder / "charts"))}})
        self.write()
        self.run("stack", "init", self.stack)

    def _set(self, more: Mapping[str, Any]) -> None:
        self.settings = {**self.settings, **more}

    def of(self, key: str) -> Any:
        """The value of a key, without the project's name; change it in place and then `write`."""
        return self.settings[f"{_PREFIX}{key}"]

    def write(self) -> None:
        """Write the stack file. What Pulumi itself keeps in it stays."""
        file = self.folder / f"Pulumi.{self.stack}.yaml"
        kept = yaml.safe_load(file.read_text(encoding="utf-8")) if file.exists() else {}
        file.write_text(yaml.safe_dump({**kept, "config": self.settings}, sort_keys=False), encoding="utf-8")

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the CLI."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color=never"],
            cwd=self.folder,
            env={**os.environ, **self.environment, "PULUMI_BACKEND_URL": (self.folder / "backend").as_uri()},
            capture_output=True,
            text=True,
            check=False,
            timeout=_STEP_S,
        )
        if check and done.returncode:
            raise CommandFailedError(done)
        return done

    def _on_stack(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        return self.run(*arguments, "--stack", self.stack, check=check)

    def up(self, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`pulumi up`."""
        return self._on_stack("up", "--yes", "--skip-preview", *more, check=check)

    def preview(self) -> dict[str, int]:
        """`pulumi preview`: how many of which change, by logical type and operation; empty where nothing would change."""
        done = self._on_stack("preview", "--json")
        steps = json.loads(done.stdout)["steps"]
        found: dict[str, int] = {}
        for step in steps:
            if step["op"] != "same":
                key = f"{step['op']} {step['urn'].split('::', 2)[2]}"
                found[key] = found.get(key, 0) + 1
        return found

    def destroy(self, *more: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """`pulumi destroy`."""
        return self._on_stack("destroy", "--yes", "--skip-preview", *more, check=check)

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs."""
        found: dict[str, Any] = json.loads(self._on_stack("stack", "output", "--json").stdout)
        return found

    def state(self) -> list[dict[str, Any]]:
        """Resources in the state."""
        exported = json.loads(self._on_stack("stack", "export").stdout)
        found: list[dict[str, Any]] = exported["deployment"].get("resources") or []
        return found

    def urn(self, kind: str, name: str = "") -> str:
        """URN of the one resource of a kind in the state whose logical name has this part."""
        (found,) = [item["urn"] for item in self.state() if item["type"] == kind and name in item["urn"].split("::", 3)[3]]
        return str(found)

    def remove(self) -> None:
        """Delete all files."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where stacks of a cloud are made: the cluster, the environment that leads to the cloud, the Python that runs programs."""

    cluster: ClusterDouble
    environment: Mapping[str, str]
    doubles: Path
    virtualenv: Path

    def fleet(self, stack: str, folder: Path, settings: dict[str, Any]) -> Fleet:
        """A stack that is yet to be made, with a clean journal."""
        fleet = Fleet(folder, stack, self.environment, self.doubles, settings, virtualenv=self.virtualenv)
        fleet.faults.clear()
        fleet.journal.clear()
        return fleet


def path_with(programs: Iterable[Path]) -> str:
    """PATH with the folders of ``programs`` in front."""
    return os.pathsep.join([*(str(program) for program in programs), os.environ.get("PATH", os.defpath)])


def change(fleet: Fleet, edit: Callable[[Fleet], None]) -> None:
    """Edit the settings of a stack and write them."""
    edit(fleet)
    fleet.write()
