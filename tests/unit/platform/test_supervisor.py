"""The supervisor with real processes, in an ordinary process of this user: no namespaces, no root."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from local.platform import supervisor
from local.platform.layout import Layout
from local.platform.plan import Component, Plan, Probe
from local.platform.preflight import repository_root
from tests.servers import PATIENCE_S, Text, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DRIVER = """
import sys
from pathlib import Path
from local.platform.layout import Layout
from local.platform.plan import Plan
from local.platform.supervisor import Supervisor
layout = Layout(Path(sys.argv[1]))
Supervisor(Plan.from_json(layout.plan.read_text()), layout, place=lambda name, pid: None).run()
"""
PYTHON = sys.executable
SLEEP = (PYTHON, "-c", "import time; time.sleep(600)")


class Node:
    """A supervisor in a process of its own."""

    def __init__(self, root: Path) -> None:
        self.layout = Layout(root)
        self.layout.create()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *components: Component, pass_fds: tuple[int, ...] = ()) -> None:
        plan = Plan(instance="t", state=str(self.layout.root), keep=(), cgroup="/none", control_plane_only=True, components=components)
        self.layout.plan.write_text(plan.to_json(), encoding="utf-8")
        self.process = subprocess.Popen(
            [PYTHON, "-c", DRIVER, str(self.layout.root)],
            env={"PYTHONPATH": str(repository_root())},
            stderr=subprocess.DEVNULL,
            pass_fds=pass_fds,
        )

    def words(self) -> dict[str, dict[str, Any]]:
        return {item["name"]: item for item in json.loads(self.layout.status.read_text(encoding="utf-8"))["components"]}

    def until(self, condition: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, dict[str, Any]]:
        return eventually(self.words, "the expected status", lambda words: words and condition(words), process=self.process)

    def log(self, name: str) -> Text:
        return Text(self.layout.log(name))

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path / "state")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop()


def component(name: str, *argv: str, **more: Any) -> Component:
    return Component(name=name, argv=argv or SLEEP, environment={"PATH": os.defpath}, **more)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_what_is_killed_comes_back(node: Node) -> None:
    node.start(component("a"), component("b"))
    before = node.until(lambda w: w["a"]["ready"] and w["b"]["ready"])
    os.kill(before["a"]["pid"], signal.SIGKILL)
    after = node.until(lambda w: w["a"]["restarts"] == 1 and w["a"]["ready"])
    assert after["a"]["pid"] != before["a"]["pid"]
    assert after["b"]["pid"] == before["b"]["pid"]
    assert after["a"]["last_end"] == "was ended by SIGKILL"


def test_one_that_keeps_dying_waits_longer_each_time_and_sighup_retries_now(node: Node) -> None:
    node.start(component("bad", "/bin/sh", "-c", "exit 3"), component("good"))
    words = node.until(lambda w: w["bad"]["retry_in_s"] is not None and w["bad"]["retry_in_s"] > 3 and w["good"]["ready"])
    assert words["bad"]["last_end"] == "exited with 3"
    assert node.process is not None
    restarts = words["bad"]["restarts"]
    node.process.send_signal(signal.SIGHUP)
    node.until(lambda w: w["bad"]["restarts"] >= restarts + 2)


def test_a_program_that_is_not_there_is_reported(node: Node) -> None:
    node.start(component("ghost", "/does/not/exist"))
    words = node.until(lambda w: w["ghost"]["last_end"] is not None)
    assert "could not be started" in words["ghost"]["last_end"]
    assert words["ghost"]["pid"] is None


def test_a_successor_waits_until_its_predecessor_answers(node: Node, tmp_path: Path) -> None:
    path = tmp_path / "s.sock"
    serve = f"import socket,time; time.sleep(.3); s=socket.socket(socket.AF_UNIX); s.bind({str(path)!r}); s.listen(); time.sleep(600)"
    mark = f"import os,time; open({str(tmp_path / 'mark')!r},'w').write(str(os.path.exists({str(path)!r}))); time.sleep(600)"
    node.start(
        component("second", PYTHON, "-c", mark, after=("first",)), component("first", PYTHON, "-c", serve, probe=Probe(unix=str(path)))
    )
    node.until(lambda w: w["first"]["ready"] and w["second"]["ready"])
    assert eventually((tmp_path / "mark").read_text, "the second one's mark") == "True"


def test_the_end_is_graceful_first_then_sure_and_etcd_is_last(node: Node, tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    def polite(name: str) -> tuple[str, ...]:
        code = f"""
            import signal, sys, time
            def end(*_):
                open({str(trace)!r}, "a").write({name!r} + "\\n"); sys.exit(0)
            signal.signal(signal.SIGTERM, end)
            print("up", flush=True)
            time.sleep(600)
        """
        return (PYTHON, "-c", textwrap.dedent(code))

    deaf = (PYTHON, "-c", "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)")
    names = ("etcd", "kube-apiserver", "kubelet", "versitygw")
    node.start(*(component(name, *polite(name)) for name in names), component("forwarder", *deaf, stop_timeout_s=0.5))
    words = node.until(lambda w: all(item["ready"] for item in w.values()))
    for name in (*names, "forwarder"):
        node.log(name).having("up\n")
    assert node.stop() == 0
    assert trace.read_text().split() == ["kubelet", "versitygw", "kube-apiserver", "etcd"]
    assert not any(alive(item["pid"]) for item in words.values())
    assert json.loads(node.layout.status.read_text())["phase"] == "stopped"


def test_a_component_gets_its_environment_and_descriptors_and_nothing_else(node: Node) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    number = listener.fileno()
    code = f"import os,socket,time; print(sorted(os.environ), socket.socket(fileno={number}).getsockname()[1], flush=True)\ntime.sleep(600)"
    closed = (
        f"import os,time\ntry: os.fstat({number}); print('open', flush=True)\nexcept OSError: print('closed', flush=True)\ntime.sleep(600)"
    )
    os.set_inheritable(number, False)  # noqa: FBT003
    # The driver stands for the node, which closes what it inherited to its children.
    node.start(component("with", PYTHON, "-c", code, descriptors=(number,)), component("without", PYTHON, "-c", closed), pass_fds=(number,))
    node.until(lambda w: w["with"]["ready"] and w["without"]["ready"])
    line = node.log("with").having("\n")
    assert str(listener.getsockname()[1]) in line
    assert "PYTHONPATH" not in line
    listener.close()


def test_orphans_are_reaped(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    layout.create()
    plan = Plan(instance="t", state=str(tmp_path), keep=(), cgroup="/none", control_plane_only=True, components=())
    made = supervisor.Supervisor(plan, layout, place=lambda _name, _pid: None)
    pid = os.fork()
    if pid == 0:
        os._exit(0)

    def is_reaped() -> bool:
        made.reap()
        return not alive(pid)

    eventually(is_reaped, "the end of the orphan")


@pytest.mark.parametrize(("failures", "seconds"), [(0, 0), (1, 0.5), (2, 1), (3, 2), (6, 16), (7, 30), (1000, 30)])
def test_the_backoff_doubles_up_to_a_limit(failures: int, seconds: float) -> None:
    assert supervisor.backoff(failures) == seconds


def test_a_log_is_turned_over_at_its_limit_and_its_writer_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    with path.open("ab", buffering=0) as writer:
        for round_number in range(4):
            writer.write(f"{round_number}".encode() * 100)
            assert supervisor.rotate(path, limit=50, generations=2)
        writer.write(b"end")
    assert not supervisor.rotate(path, limit=50, generations=2)
    assert path.read_bytes() == b"end"
    assert (tmp_path / "x.log.1").read_bytes() == b"3" * 100
    assert (tmp_path / "x.log.2").read_bytes() == b"2" * 100
    assert not (tmp_path / "x.log.3").exists()
    assert not supervisor.rotate(tmp_path / "absent.log")
