from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import language_pb2, language_pb2_grpc

from local.plugins import language_python
from local.plugins.language_python.host import signals, wait_for_end
from local.plugins.language_python.options import OptionError, Options
from local.plugins.language_python.program import exec_arguments, required_plugins
from tests.servers import PATIENCE_S

if TYPE_CHECKING:
    from collections.abc import Iterator


def plugin_file(folder: Path, package: str, content: object) -> None:
    (folder / package).mkdir(parents=True)
    (folder / package / "pulumi-plugin.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_required_plugins_come_from_the_packages_own_files(tmp_path: Path) -> None:
    plugin_file(tmp_path / "a", "pulumi_kubernetes", {"resource": True, "name": "kubernetes", "version": "4.34.2"})
    plugin_file(tmp_path / "a", "pulumi_aws", {"resource": True, "name": "aws", "version": "v7.1.0", "server": "https://get.example.com"})
    plugin_file(tmp_path / "a", "pulumi_random", {"resource": True})
    plugin_file(tmp_path / "a", "pulumi_policy", {"resource": False, "name": "policy"})
    plugin_file(tmp_path / "a", "broken", "{")
    plugin_file(tmp_path / "b", "pulumi_kubernetes", {"resource": True, "name": "kubernetes", "version": "1.0.0"})
    found = required_plugins(["", str(tmp_path / "a"), str(tmp_path / "b"), str(tmp_path / "none")], {"pulumi-random": "4.1.0"})
    assert sorted((one["name"], one["version"], one["server"]) for one in found) == [
        ("aws", "v7.1.0", "https://get.example.com"),
        ("kubernetes", "v4.34.2", ""),
        ("random", "v4.1.0", ""),
    ]


@pytest.mark.parametrize(("options", "named"), [({"toolchain": "poetry"}, "poetry"), ({"typechecker": "pytype"}, "pytype")])
def test_options_that_it_does_not_know_are_refused_by_name(options: dict[str, str], named: str) -> None:
    with pytest.raises(OptionError, match=named):
        Options.parse(options)


def test_virtualenv_is_relative_to_the_project(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    interpreter = Options.parse({"virtualenv": ".venv"}).interpreter(tmp_path)
    assert interpreter.executable == str(tmp_path / ".venv" / "bin" / "python")
    environment = interpreter.environment({"PATH": "/bin", "PYTHONHOME": "/x"})
    assert environment == {"PATH": f"{tmp_path / '.venv' / 'bin'}:/bin", "VIRTUAL_ENV": str(tmp_path / ".venv")}


def test_a_virtualenv_that_lacks_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="pulumi install"):
        Options.parse({"virtualenv": ".venv"}).interpreter(tmp_path)


def test_uv_finds_the_workspace_above(tmp_path: Path) -> None:
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch()
    assert Options.parse({"toolchain": "uv"}).virtualenv_path(tmp_path / "sub" / "project") == tmp_path / ".venv"


def test_exec_arguments_leave_out_what_is_empty() -> None:
    info = SimpleNamespace(root_directory="/p", program_directory="/p", entry_point=".")
    request = SimpleNamespace(
        info=info,
        project="t",
        stack="dev",
        pwd="/p",
        dryRun=False,
        parallel=8,
        monitor_address="m:1",
        organization="",
        program=".",
        args=["x"],
    )
    assert exec_arguments(request, "EXEC") == [
        *("-u", "EXEC", "--project", "t", "--root_directory", "/p", "--stack", "dev", "--pwd", "/p"),
        *("--parallel", "8", "--monitor", "m:1", ".", "x"),
    ]
    request.dryRun, info.program_directory = True, "/p/sub"
    assert exec_arguments(request, "EXEC")[-6:] == ["8", "--monitor", "m:1", "/p/sub", "x"][-6:] or "--dry_run" in exec_arguments(
        request, "EXEC"
    )


def test_launcher_is_found_and_not_taken_for_the_official_one(tmp_path: Path) -> None:
    ours, official = tmp_path / "ours", tmp_path / "official"
    launcher = language_python.install(ours, Path("/usr/bin/python3"))
    assert os.access(launcher, os.X_OK)
    assert language_python.is_ours(launcher)
    cli = tmp_path / "cli" / "pulumi"
    assert language_python.official(cli, str(ours)) is None
    official.mkdir()
    (official / language_python.NAME).write_bytes(b"\x7fELF")
    (official / language_python.NAME).chmod(0o755)
    assert language_python.official(cli, f"{ours}{os.pathsep}{official}") == official / language_python.NAME


class Running:
    """The host as the engine starts it."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [language_python.install(folder, Path(sys.executable)), "127.0.0.1:1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}", options=[("grpc.enable_http_proxy", 0)])
        self.stub = language_pb2_grpc.LanguageRuntimeStub(self.channel)

    def close(self) -> int:
        self.channel.close()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        code = self.process.wait(PATIENCE_S)
        self.process.stdin.close()
        self.process.stdout.close()
        return code


def program_info(folder: Path, **options: str) -> language_pb2.ProgramInfo:
    struct = struct_pb2.Struct()
    struct.update(options)
    return language_pb2.ProgramInfo(root_directory=str(folder), program_directory=str(folder), entry_point=".", options=struct)


def this_environment() -> str:
    return str(Path(sys.prefix))


def test_host_serves_and_ends_quietly_when_asked(tmp_path: Path) -> None:
    host = Running(tmp_path / "bin")
    info = program_info(tmp_path, virtualenv=this_environment())
    packages = host.stub.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=info)).packages
    assert ("kubernetes", "resource") in {(one.name, one.kind) for one in packages}
    about = host.stub.About(language_pb2.AboutRequest(info=info))
    assert about.version == ".".join(str(part) for part in sys.version_info[:3])
    everything = host.stub.GetProgramDependencies(language_pb2.GetProgramDependenciesRequest(info=info, transitiveDependencies=True))
    direct = host.stub.GetProgramDependencies(language_pb2.GetProgramDependenciesRequest(info=info))
    names = {one.name for one in everything.dependencies}
    assert {"pulumi", "grpcio"} <= names
    assert "grpcio" not in {one.name for one in direct.dependencies}
    host.process.send_signal(signal.SIGINT)
    assert host.close() == 0


def test_a_package_whose_file_says_no_version_is_asked_for_in_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin_file(tmp_path / "more", "pulumi_random", {"resource": True})
    metadata = tmp_path / "more" / "pulumi_random-4.1.0.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: pulumi-random\nVersion: 4.1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "more"))
    host = Running(tmp_path / "bin")
    info = program_info(tmp_path, virtualenv=this_environment())
    packages = host.stub.GetRequiredPackages(language_pb2.GetRequiredPackagesRequest(info=info)).packages
    assert {("random", "v4.1.0"), ("kubernetes", "v4.34.2")} <= {(one.name, one.version) for one in packages}
    host.process.terminate()
    assert host.close() == 0


def test_host_ends_with_its_engine_however_that_ended(tmp_path: Path) -> None:
    host = Running(tmp_path / "bin")
    assert host.process.stdin is not None
    host.process.stdin.close()  # what the system does to the engine's end of the pipe after SIGKILL
    assert host.process.wait(PATIENCE_S) == 0
    host.close()


def test_host_reports_a_missing_virtualenv_as_the_program_error(tmp_path: Path) -> None:
    host = Running(tmp_path / "bin")
    answer = host.stub.Run(language_pb2.RunRequest(info=program_info(tmp_path, virtualenv="gone"), pwd=str(tmp_path), program="."))
    assert "'gone'" in answer.error
    host.process.terminate()
    host.close()


def test_plugin_folder_is_run_with_its_output_and_exit_code(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text(
        "import os, sys\nprint('out', sys.argv[1:], os.environ['X'], os.getcwd())\nsys.stderr.write('err')\nsys.exit(7)\n"
    )
    host = Running(tmp_path / "bin")
    request = language_pb2.RunPluginRequest(
        info=program_info(tmp_path), pwd="/", args=["1", "2"], env=["X=y", f"PATH={os.environ['PATH']}"], kind="resource"
    )
    answers = list(host.stub.RunPlugin(request))
    assert b"".join(one.stdout for one in answers) == b"out ['1', '2'] y /\n"
    assert b"".join(one.stderr for one in answers) == b"err"
    assert answers[-1].exitcode == 7
    host.process.terminate()
    host.close()


@pytest.fixture
def woken() -> Iterator[int]:
    """What the host waits on for signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    end = signals()
    yield end
    os.close(signal.set_wakeup_fd(-1))
    os.close(end)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_came_before_the_wait_ends_it(woken: int, number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    wait_for_end(woken, None)


def test_the_engine_s_end_ends_the_wait(woken: int) -> None:
    ours, engines = os.pipe()
    os.write(engines, b"an engine that talks is there")
    os.close(engines)
    wait_for_end(woken, ours)
    os.close(ours)


def test_plugin_is_ended_when_the_engine_hangs_up(tmp_path: Path) -> None:
    (tmp_path / "__main__.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n")
    host = Running(tmp_path / "bin")
    call: Any = host.stub.RunPlugin(language_pb2.RunPluginRequest(info=program_info(tmp_path), pwd="/", env=[f"PATH={os.environ['PATH']}"]))
    pid = int(next(call).stdout)
    call.cancel()
    host.process.send_signal(signal.SIGTERM)
    assert host.close() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
