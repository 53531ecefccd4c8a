from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from local.cli import backend, pulumi
from local.cli.errors import CommandError, Terminated
from local.cli.heal import heal
from local.plugins import language_python
from local.progress import TerminalReporter
from tests.servers import eventually


def put_lock(backend: Path, *, pid: int, host: str | None = None, name: str = "a") -> Path:
    folder = backend / ".pulumi" / "locks" / "organization" / "triton-fleet" / "dev"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"pid": pid, "username": "u", "hostname": host or socket.gethostname(), "timestamp": "x"}))
    return file


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_no_locks_where_there_is_no_backend(tmp_path: Path) -> None:
    assert backend.locks(tmp_path) == []


def test_a_dead_holder_is_stale(tmp_path: Path) -> None:
    put_lock(tmp_path, pid=dead_pid())
    assert [lock.is_stale() for lock in backend.locks(tmp_path)] == [True]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="zombies are told by /proc")
def test_a_holder_that_was_killed_and_is_still_listed_is_stale(tmp_path: Path) -> None:
    program = tmp_path / "pulumi"
    program.symlink_to(shutil.which("sleep") or "sleep")
    process = subprocess.Popen([program, "60"])
    put_lock(tmp_path, pid=process.pid)
    try:
        assert [lock.is_stale() for lock in backend.locks(tmp_path)] == [False]
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and nobody has asked for it yet
        assert [lock.is_stale() for lock in backend.locks(tmp_path)] == [True]
    finally:
        process.kill()
        process.wait()


def test_a_number_that_went_to_another_program_is_stale(tmp_path: Path) -> None:
    put_lock(tmp_path, pid=os.getpid())  # pytest, no pulumi
    assert [lock.is_stale() for lock in backend.locks(tmp_path)] == [True]


def test_a_lock_of_another_machine_is_left_alone(tmp_path: Path) -> None:
    put_lock(tmp_path, pid=dead_pid(), host="elsewhere")
    assert [lock.is_stale() for lock in backend.locks(tmp_path)] == [False]


def test_half_written_lock_counts_as_stale(tmp_path: Path) -> None:
    put_lock(tmp_path, pid=1).write_text('{"pid": 1')
    assert [lock.is_stale() for lock in backend.locks(tmp_path)] == [True]


def test_locks_of_other_stacks_are_not_ours(tmp_path: Path) -> None:
    put_lock(tmp_path, pid=1)
    assert backend.locks(tmp_path, stack="prod") == []


def test_backend_is_readable_again_after_a_kill(tmp_path: Path) -> None:
    stacks = tmp_path / ".pulumi" / "stacks" / "triton-fleet"
    stacks.mkdir(parents=True)
    assert backend.repair(tmp_path) == []
    (stacks / "dev.json").write_text('{"whole": true}')
    (stacks / "dev.json.bak").write_text('{"before": true}')
    (stacks / "dev.json.attrs").touch()
    (tmp_path / ".pulumi" / "meta.yaml.attrs").touch()
    assert backend.repair(tmp_path) == []
    assert (stacks / "dev.json").read_text() == '{"whole": true}'
    assert list(tmp_path.rglob("*.attrs")) == []
    (stacks / "dev.json").write_text('{"who')
    assert "truncated" in backend.repair(tmp_path)[0]
    assert (stacks / "dev.json").read_text() == '{"before": true}'
    (stacks / "dev.json").write_text("")
    (stacks / "dev.json.bak").write_text("")
    assert backend.repair(tmp_path) == []  # nothing to go on with: Pulumi's own message stands


def deployment(*pending: dict[str, Any]) -> dict[str, Any]:
    return {"version": 3, "deployment": {"resources": [{"urn": "urn:x"}], "pending_operations": list(pending)}}


def test_pending_operations_are_taken_out_and_named() -> None:
    release = {"urn": "urn:pulumi:dev::triton-fleet::t$kubernetes:helm.sh/v3:Release::kps", "inputs": {"name": "kps", "namespace": "m"}}
    cleared, operations = backend.without_pending(deployment({"type": "creating", "resource": release}))
    assert cleared == {"version": 3, "deployment": {"resources": [{"urn": "urn:x"}]}}
    assert [(one.kind, one.name, one.inputs["namespace"]) for one in operations] == [("creating", "kps", "m")]


def test_nothing_pending() -> None:
    assert backend.without_pending({"version": 3, "deployment": {"resources": []}}) == ({"version": 3, "deployment": {"resources": []}}, [])
    assert backend.without_pending({"version": 3, "deployment": None}) == ({"version": 3, "deployment": {}}, [])


def fake_cli(folder: Path, script: str) -> tuple[pulumi.Pulumi, TerminalReporter, io.StringIO]:
    cli = folder / "pulumi"
    cli.write_text(f"#!{sys.executable}\n{script}")
    cli.chmod(0o755)
    stream = io.StringIO()
    made = pulumi.Pulumi(
        cli=cli, project=folder, environment={"PATH": os.environ["PATH"], "PULUMI_HOME": str(folder)}, backend=folder / "backend"
    )
    return made, TerminalReporter(stream), stream


def test_a_log_has_each_line_once_in_a_while(tmp_path: Path) -> None:
    script = "for n in range(50): print(f'kps creating ({n}s) waits {n} s')\nprint()\nprint('kps created')\nraise SystemExit(3)\n"
    made, reporter, stream = fake_cli(tmp_path, script)
    assert made.show(reporter, "up") == 3
    assert stream.getvalue().splitlines() == ["    kps creating (0s) waits 0 s", "    kps created"]


def test_an_interrupt_gives_pulumi_the_time_to_end_in_order(tmp_path: Path) -> None:
    script = (
        "import signal, sys, time\n"
        "def end(*_):\n"
        "    print('x' * 300000); print('ended in order', flush=True); sys.exit(1)\n"
        "signal.signal(signal.SIGINT, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    made, reporter, stream = fake_cli(tmp_path, script)

    def terminate() -> None:
        eventually(stream.getvalue, "a program that is ready", lambda text: "ready" in text)
        os.kill(os.getpid(), signal.SIGTERM)

    def terminated(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminated)
    sender = threading.Thread(target=terminate)
    sender.start()
    try:
        with pytest.raises(Terminated):
            made.show(reporter, "up")
    finally:
        signal.signal(signal.SIGTERM, before)
        sender.join()
    assert "ended in order" in stream.getvalue()


def test_a_failing_command_is_told_with_its_output(tmp_path: Path) -> None:
    made, _, _ = fake_cli(tmp_path, "import sys\nsys.stderr.write('no such stack')\nsys.exit(4)\n")
    with pytest.raises(CommandError, match=r"(?s)`pulumi stack ls` ended with exit code 4:.no such stack"):
        made.run("stack", "ls")
    assert made.run("stack", "ls", check=False).returncode == 4
    assert made.outputs() == {}


EXPORTED = json.dumps(
    {"deployment": {"resources": [], "pending_operations": [{"type": "creating", "resource": {"urn": "urn:a::b::t::ns", "inputs": {}}}]}}
)


def test_heal_removes_the_lock_and_the_pending_operations_of_a_killed_run(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\n"
        f"here = pathlib.Path({str(tmp_path)!r})\n"
        f"if sys.argv[1:] == ['stack', 'export']: print({EXPORTED!r})\n"
        "elif sys.argv[1:3] == ['stack', 'import']: (here / 'imported').write_text(pathlib.Path(sys.argv[-1]).read_text())\n"
    )
    made, reporter, stream = fake_cli(tmp_path, script)
    lock = put_lock(made.backend, pid=dead_pid())
    heal(made, reporter)
    assert not lock.exists()
    assert json.loads((tmp_path / "imported").read_text()) == {"deployment": {"resources": []}}
    assert "killed while creating ns" in stream.getvalue()
    assert list(made.backend.glob("healed-*")) == []


def put_state(made: pulumi.Pulumi, text: str) -> None:
    file = made.backend / ".pulumi" / "stacks" / "triton-fleet" / "dev.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def calls(folder: Path) -> str:
    return (folder / "calls").read_text() if (folder / "calls").exists() else ""


def noting(folder: Path) -> str:
    """A CLI that writes down what it is asked for."""
    return f"import sys\nwith open({str(folder / 'calls')!r}, 'a') as file: file.write(' '.join(sys.argv[1:]) + '\\n')\nprint('{{}}')\n"


def test_a_state_with_nothing_pending_is_read_without_the_cli(tmp_path: Path) -> None:
    made, reporter, _ = fake_cli(tmp_path, noting(tmp_path))
    put_state(made, '{"version": 3, "checkpoint": {"latest": {"resources": []}}}')
    heal(made, reporter)
    assert calls(tmp_path) == ""
    put_state(made, '{"version": 3, "checkpoint": {"latest": {"pending_operations": [{}]}}}')
    heal(made, reporter)
    assert calls(tmp_path) == "stack export\n"


def test_a_stack_that_is_selected_already_is_not_selected_again(tmp_path: Path) -> None:
    made, reporter, _ = fake_cli(tmp_path, noting(tmp_path))
    asked = "stack select --create dev\n"
    made.select(reporter)
    assert calls(tmp_path) == asked
    key = hashlib.sha1(str(tmp_path / "Pulumi.yaml").encode()).hexdigest()  # noqa: S324 (a file's name)
    workspace = tmp_path / "workspaces" / f"triton-fleet-{key}-workspace.json"
    workspace.parent.mkdir()
    workspace.write_text('{"stack": "organization/triton-fleet/dev"}')
    made.select(reporter)
    assert calls(tmp_path) == asked * 2, "selected, but made it has to be"
    put_state(made, "{}")
    made.select(reporter)
    assert calls(tmp_path) == asked * 2
    workspace.write_text('{"stack": "organization/triton-fleet/other"}')
    made.select(reporter)
    assert calls(tmp_path) == asked * 3


def test_heal_leaves_a_living_engine_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, reporter, _ = fake_cli(tmp_path, "")
    lock = put_lock(made.backend, pid=os.getpid())
    monkeypatch.setattr(backend.StackLock, "is_stale", lambda _: False)
    with pytest.raises(CommandError, match=f"locked by process {os.getpid()}"):
        heal(made, reporter)
    assert lock.exists()


class FakeToolchain:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        for name in ("pulumi", *pulumi.COMPANIONS):
            (folder / name).write_text(f"#!/bin/sh\necho {name}\n")
            (folder / name).chmod(0o755)

    def path(self, name: str) -> Path:
        return self.folder / name


def test_assembled_cli_has_its_companions_and_our_language_host_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    tools = FakeToolchain(tmp_path / "tools")
    cli = pulumi.assemble(tmp_path / "bin", tools, Path(sys.executable))  # type: ignore[arg-type]
    assert cli == tmp_path / "bin" / "pulumi"
    assert sorted(path.name for path in cli.parent.iterdir()) == sorted(["pulumi", *pulumi.COMPANIONS, language_python.NAME])
    assert not cli.is_symlink()
    assert cli.samefile(tools.path("pulumi"))
    assert language_python.is_ours(cli.parent / language_python.NAME)
    before = {path: path.stat().st_mtime_ns for path in cli.parent.iterdir()}
    pulumi.assemble(tmp_path / "bin", tools, Path(sys.executable))  # type: ignore[arg-type]
    assert {path: path.stat().st_mtime_ns for path in cli.parent.iterdir()} == before


def test_a_new_cli_replaces_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    old = FakeToolchain(tmp_path / "old")
    pulumi.assemble(tmp_path / "bin", old, Path(sys.executable))  # type: ignore[arg-type]
    new = FakeToolchain(tmp_path / "new")
    (new.folder / "pulumi").write_text("#!/bin/sh\necho newer than before\n")
    cli = pulumi.assemble(tmp_path / "bin", new, Path(sys.executable))  # type: ignore[arg-type]
    assert cli.samefile(new.path("pulumi"))


def test_an_official_installation_is_used_as_it_is(tmp_path: Path) -> None:
    tools = FakeToolchain(tmp_path / "tools")
    host = tools.folder / language_python.NAME
    host.write_bytes(b"\x7fELF")
    host.chmod(0o755)
    assert pulumi.assemble(tmp_path / "bin", tools, Path(sys.executable)) == tools.path("pulumi")  # type: ignore[arg-type]
    assert not (tmp_path / "bin").exists()
