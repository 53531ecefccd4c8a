"""Wheels, with a pip that is played by a script."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from local.toolchain import wheels
from local.toolchain.errors import ChecksumError, SourceUnavailableError, ToolchainError
from local.toolchain.store import Store
from local.toolchain.wheels import Wheels

if TYPE_CHECKING:
    from pathlib import Path

DOWNLOAD = (
    'for a; do case "$a" in --dest=*) d="${a#--dest=}";; esac; done; printf wheel > "$d/thing-1.0-py3-none-any.whl"; echo "$@" >> "$LOG"'
)


@pytest.fixture
def pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    script = tmp_path / "pip"
    script.write_text(f"#!/bin/sh\n{DOWNLOAD}\n")
    script.chmod(0o755)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(wheels, "_pip", lambda _: [str(script)])
    return script


def made(tmp_path: Path, digest: str | None = None) -> Wheels:
    pins = {("thing", "1.0", os.uname().machine): digest} if digest else {}
    return Wheels(Store(tmp_path / "cache", lambda _: None), pins)


def test_a_wheel_is_downloaded_once_for_the_python_that_was_asked(tmp_path: Path, pip: Path) -> None:
    first = made(tmp_path, hashlib.sha256(b"wheel").hexdigest()).get("Thing", "1.0", "3.11")
    assert first.read_bytes() == b"wheel"
    assert made(tmp_path).get("thing", "1.0") == first
    (call,) = (tmp_path / "log").read_text().splitlines()
    for argument in ("--python-version=3.11", "--abi=cp311", "--only-binary=:all:", "--no-deps", "thing==1.0", "manylinux2014"):
        assert argument in call


def test_another_file_than_the_pinned_one_is_refused(tmp_path: Path, pip: Path) -> None:
    with pytest.raises(ChecksumError, match=r"thing-1.0.*is pinned.*was discarded"):
        made(tmp_path, "0" * 64).get("thing", "1.0")
    assert not list((tmp_path / "cache").rglob("*.whl"))


def test_no_index_is_told_with_what_pip_said(tmp_path: Path, pip: Path) -> None:
    pip.write_text("#!/bin/sh\necho 'ERROR: No matching distribution found' >&2\nexit 1\n")
    with pytest.raises(SourceUnavailableError, match=r"(?s)thing 1.0 for Python 3.11.*No matching distribution"):
        made(tmp_path).get("thing", "1.0")


def test_a_full_disk_is_told(tmp_path: Path, pip: Path) -> None:
    pip.write_text("#!/bin/sh\necho 'ERROR: [Errno 28] No space left on device' >&2\nexit 1\n")
    with pytest.raises(ToolchainError, match="The disk is full"):
        made(tmp_path).get("thing", "1.0")


def test_an_environment_without_pip_gets_one_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "fake"
    folder.mkdir()
    python = folder / "python"
    # `-m pip` fails; `-m venv --clear DIR` makes a folder with a python in it, for which it does not.
    python.write_text(
        """#!/bin/sh
[ "$2" = pip ] && exit 1
mkdir -p "$4/bin" && printf '#!/bin/sh\\nexit 0\\n' > "$4/bin/python" && chmod +x "$4/bin/python"
"""
    )
    python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    store = Store(tmp_path / "cache", lambda _: None)
    command = wheels._pip(store)
    assert command[0].startswith(str(tmp_path / "cache"))
    python.unlink()
    monkeypatch.setattr("sys.executable", "/bin/false")
    assert wheels._pip(store) == command
