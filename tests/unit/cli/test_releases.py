from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from local.cli import kubernetes_plugin, releases
from local.cli.backend import without_pending
from local.progress import TerminalReporter

if TYPE_CHECKING:
    from pathlib import Path

    from local.cli.backend import Pending

LISTED = [
    {"name": "kps", "namespace": "monitoring", "status": "pending-install"},
    {"name": "kps", "namespace": "other", "status": "deployed"},
    {"name": "adapter", "namespace": "monitoring", "status": "deployed"},
]
UNINSTALL = "uninstall kps --namespace monitoring --wait --timeout 2m"


def pending(kind: str = "creating") -> list[Pending]:
    release = {
        "urn": "urn:pulumi:dev::triton-fleet::t$kubernetes:helm.sh/v3:Release::kps",
        "inputs": {"name": "kps", "namespace": "monitoring"},
    }
    state: dict[str, Any] = {"deployment": {"resources": [], "pending_operations": [{"type": kind, "resource": release}]}}
    return without_pending(state)[1]


def put_plugin(home: Path, head: bytes) -> None:
    file = kubernetes_plugin.installed(home).file
    file.parent.mkdir(parents=True)
    file.write_bytes(head)


def removed(folder: Path, operations: list[Pending], *, list_code: int = 0, uninstall_code: int = 0) -> tuple[list[str], str]:
    """What a Helm that lists `LISTED` was told, and what the user was."""
    calls = folder / "calls"
    (folder / "bin").mkdir()
    helm = folder / "bin" / "helm"
    helm.write_text(
        f"#!{sys.executable}\nimport sys\n"
        f"with open({str(calls)!r}, 'a') as file: file.write(' '.join(sys.argv[1:]) + '\\n')\n"
        f"if sys.argv[1] == 'list': print({json.dumps(LISTED)!r})\n"
        f"sys.stderr.write('no way')\n"
        f"sys.exit({list_code} if sys.argv[1] == 'list' else {uninstall_code})\n"
    )
    helm.chmod(0o755)
    stream = io.StringIO()
    releases.remove(operations, {"PATH": str(helm.parent), "PULUMI_HOME": str(folder)}, TerminalReporter(stream))
    return calls.read_text().splitlines() if calls.exists() else [], stream.getvalue()


def test_what_the_official_plugin_would_stumble_over_is_removed(tmp_path: Path) -> None:
    put_plugin(tmp_path, b"\x7fELF")
    called, said = removed(tmp_path, pending())
    assert called == [" ".join(releases.LIST), UNINSTALL]
    assert "Removing Helm release kps (pending-install)" in said


@pytest.mark.parametrize(
    ("head", "kind"), [(b"#!/bin/sh", "creating"), (b"\x7fELF", "updating")], ids=["our plugin takes it up", "known to the state"]
)
def test_what_is_taken_up_is_left(tmp_path: Path, head: bytes, kind: str) -> None:
    put_plugin(tmp_path, head)
    assert removed(tmp_path, pending(kind)) == ([], "")


def test_a_failure_is_told(tmp_path: Path) -> None:
    put_plugin(tmp_path, b"\x7fELF")
    assert "can't be listed: no way" in removed(tmp_path, pending(), list_code=1)[1]


def test_a_release_that_stays_is_told(tmp_path: Path) -> None:
    put_plugin(tmp_path, b"\x7fELF")
    assert "It could not be removed, and `pulumi up` will find its name in use: no way" in removed(tmp_path, pending(), uninstall_code=1)[1]


def test_no_helm_is_told(tmp_path: Path) -> None:
    put_plugin(tmp_path, b"\x7fELF")
    stream = io.StringIO()
    releases.remove(pending(), {"PATH": str(tmp_path), "PULUMI_HOME": str(tmp_path)}, TerminalReporter(stream))
    assert "Without `helm` on PATH" in stream.getvalue()


def test_helm_knows_the_flags(helm: Path) -> None:
    said = subprocess.run([helm, *releases.LIST, "--help"], env=dict(os.environ), capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
