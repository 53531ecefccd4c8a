"""Programs under the real engine and this project's Python language host."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from local.plugins import language_python
from tests.servers import ended

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.engine

PROGRAM = """
import pulumi
from pulumi import dynamic


class Adder(dynamic.ResourceProvider):
    def create(self, props):
        return dynamic.CreateResult("one", {"value": props["value"] + 1})


class Sum(dynamic.Resource):
    value: pulumi.Output[int]

    def __init__(self, name, value):
        super().__init__(Adder(), name, {"value": value})


config = pulumi.Config()
print("said by the program")
pulumi.export("sum", Sum("sum", config.require_int("number")).value)
pulumi.export("secret", config.require_secret("hidden"))
pulumi.export("where", [pulumi.get_project(), pulumi.get_stack(), pulumi.get_organization()])
"""


@dataclass(frozen=True, kw_only=True)
class Project:
    folder: Path
    cli: Path
    environment: dict[str, str]

    def pulumi(self, *arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [self.cli, *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def write(self, program: str) -> None:
        (self.folder / "__main__.py").write_text(program)

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.cli, *arguments, "--non-interactive"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="session")
def empty(pulumi_cli: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a project, its empty stack and the backend of that, to be copied: making a stack takes as long as an update of it."""
    root = tmp_path_factory.mktemp("empty")
    for name in ("program", "pulumi-backend", "pulumi-home"):
        (root / name).mkdir()
    (root / "program" / "Pulumi.yaml").write_text(f"name: host\nruntime:\n  name: python\n  options:\n    virtualenv: {sys.prefix}\n")
    environment = {**os.environ, "PULUMI_HOME": str(root / "pulumi-home"), "PULUMI_BACKEND_URL": (root / "pulumi-backend").as_uri()}
    environment |= {"PATH": f"{pulumi_cli.parent}{os.pathsep}{os.environ['PATH']}", "PULUMI_CONFIG_PASSPHRASE": "test"}
    Project(folder=root / "program", cli=pulumi_cli, environment=environment).pulumi("stack", "init", "dev")
    return root


@pytest.fixture
def project(tmp_path: Path, pulumi_cli: Path, empty: Path, pulumi_environment: dict[str, str]) -> Project:
    if not language_python.is_ours(pulumi_cli.parent / language_python.NAME):
        pytest.skip("Pulumi's own language host is here and is used: nothing of ours to test")
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    return Project(folder=tmp_path / "program", cli=pulumi_cli, environment={**pulumi_environment, "PULUMI_STACK": "dev"})


def test_program_with_configuration_secret_and_dynamic_resource(project: Project) -> None:
    project.write(PROGRAM)
    project.pulumi("config", "set", "number", "4")
    project.pulumi("config", "set", "--secret", "hidden", "treasure")
    output = project.pulumi("up", "--yes", "--skip-preview")
    assert "said by the program" in output
    assert "warning" not in output
    assert "treasure" not in output
    told = json.loads(project.pulumi("stack", "output", "--json", "--show-secrets"))
    assert told == {"sum": 5, "secret": "treasure", "where": ["host", "dev", "organization"]}
    project.pulumi("preview", "--expect-no-changes")
    assert "treasure" not in project.pulumi("stack", "export")
    project.pulumi("destroy", "--yes", "--skip-preview")


def test_about_names_the_plugins_that_the_packages_need(project: Project) -> None:
    project.write("")
    told = json.loads(project.pulumi("about", "--json"))
    plugins = {(one["name"], one["version"]) for one in told["plugins"]}
    assert any(name == "kubernetes" and version for name, version in plugins)


def test_an_exception_is_reported_once_with_the_users_lines(project: Project) -> None:
    project.write("def broken():\n    raise RuntimeError('told once')\n\n\nbroken()\n")
    output = project.pulumi("up", "--yes", "--skip-preview", code=1)
    details = output[output.index("Diagnostics:") :]
    assert details.count("told once") == 2  # the line of the source and the exception's own
    assert "exited with non-zero" not in output


def test_a_program_that_ends_itself_says_its_exit_code(project: Project) -> None:
    project.write("import os\nos._exit(9)\n")
    assert "exit code: 9" in project.pulumi("up", "--yes", "--skip-preview", code=1)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_no_process_is_left_when_the_engine_ends(project: Project, how: signal.Signals) -> None:
    project.write("import time\nprint('at work', flush=True)\ntime.sleep(3600)\n")
    process = project.start("up", "--yes", "--skip-preview")
    assert process.stdout is not None
    for line in process.stdout:
        if "at work" in line:
            break
    if how == signal.SIGKILL:
        process.kill()
    else:
        os.killpg(process.pid, how)
        os.killpg(process.pid, how)
    process.stdout.close()
    process.wait()
    ended(project.environment["PULUMI_HOME"])


def test_virtualenv_that_lacks_is_told(project: Project) -> None:
    project.write("")
    text = (project.folder / "Pulumi.yaml").read_text()
    (project.folder / "Pulumi.yaml").write_text(re.sub("virtualenv: .*", "virtualenv: gone", text))
    output = project.pulumi("up", "--yes", "--skip-preview", code=1)
    assert "'gone'" in output
