"""What is left at the end: nothing on the machine, nothing in the checkout."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.instances import git_status
from tests.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.e2e.instances import Instance

pytestmark = pytest.mark.e2e


def test_down_leaves_nothing_on_the_machine(instance: Instance, first_up: str) -> None:
    """With the stack still on it: pods, their mounts and networks go with the platform."""
    instance.down()
    instance.down()
    marks = (str(instance.state), f"triton-fleet-{instance.config.instance}")
    eventually(lambda: leftovers(marks), "nothing left", lambda left: left == [])
    for forward in instance.config.forwards:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind(("127.0.0.1", forward.port))
    assert "stopped" in instance.run("status", code=3)


def test_a_port_in_use_is_told_before_anything_starts(instance: Instance, first_up: str) -> None:
    instance.down()
    port = next(forward.port for forward in instance.config.forwards if forward.name == "triton-http")
    with socket.create_server(("127.0.0.1", port)):
        done = instance.result("up")
    assert done.returncode == 1
    assert str(port) in done.stderr
    assert "KUBE_CONTEXT=" in done.stderr
    assert "stopped" in instance.run("status", code=3)


def leftovers(marks: Sequence[str]) -> list[str]:
    """Processes, mounts and control groups with one of ``marks`` in them; interfaces of a node on the machine itself."""
    left = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            text = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace") + (folder / "cgroup").read_text()
        except OSError:
            continue
        if any(mark in text for mark in marks):
            left.append(f"process {folder.name}: {text[:200]}")
    mounts = Path("/proc/self/mountinfo").read_text()
    left += [f"mount: {line}" for line in mounts.splitlines() if any(mark in line for mark in marks)]
    left += [f"control group: {folder}" for folder in Path("/sys/fs/cgroup").glob(f"**/{marks[1]}") if folder.is_dir()]
    left += [f"interface: {name}" for name in ("node0", "pods0") if Path("/sys/class/net", name).exists()]
    return left


def test_the_checkout_is_as_it_was(instance: Instance, first_up: str, status_before: str) -> None:
    assert git_status() == status_before
