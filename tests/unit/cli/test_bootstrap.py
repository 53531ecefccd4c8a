"""How .venv is made: stamps, installers, and which Python."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from local.cli import bootstrap
from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# A Python of another minor version: what `make_environment` creates with 3.14 finds no wheel, as pip says it.
STAND_IN = """#!{python}
import pathlib, runpy, shutil, sys
if sys.argv[1:3] == ["-m", "venv"]:
    (pathlib.Path(sys.argv[3]) / "bin").mkdir()
    shutil.copy(__file__, pathlib.Path(sys.argv[3]) / "bin" / "python")
elif sys.argv[1:3] == ["-m", "pip"]:
    sys.exit("ERROR: Could not find a version that satisfies the requirement thing==1.0 (from versions: 2.0)")
else:
    sys.version_info = (3, {minor}, 0, "final", 0)
    sys.executable = __file__ if {minor} == 14 else sys.executable
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_stamps_follow_the_lock_files_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "VENV", tmp_path / ".venv")
    (tmp_path / ".venv").mkdir()
    lock, development = tmp_path / "requirements.lock", tmp_path / "requirements-dev.lock"
    lock.write_text("a==1\n")
    development.write_text("a==1\nb==1\n")
    assert not bootstrap.is_done(lock)
    bootstrap.stamp(development).touch()
    assert bootstrap.is_done(development)
    assert bootstrap.is_done(lock)  # the development lock holds it all
    lock.write_text("a==2\n")
    development.write_text("a==2\nb==1\n")
    assert not bootstrap.is_done(lock)
    bootstrap.stamp(lock).touch()
    assert bootstrap.is_done(lock)
    assert not bootstrap.is_done(development)


LOCK = """ujson==5 \\
    --hash=sha256:aa
uv==0.13.9 \\
    --hash=sha256:bb \\
    --hash=sha256:cc
uvloop==1 \\
    --hash=sha256:dd
"""


def test_uv_is_taken_from_the_lock_with_its_hashes(tmp_path: Path) -> None:
    lock = tmp_path / "requirements-dev.lock"
    assert bootstrap.uv_lines(lock) is None
    lock.write_text(LOCK)
    assert bootstrap.uv_lines(lock) == "uv==0.13.9 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    assert bootstrap.uv_lines(ROOT / "requirements-dev.lock")


def test_pips_settings_are_uvs_too() -> None:
    listed = """global.index-url='https://one.example/simple'
:env:.index-url='https://two.example/simple'
global.extra-index-url='https://a.example/simple\\nhttps://b.example/simple'
install.trusted-host='a.example'
global.no-index='false'
:env:.cert='/etc/ca.crt'
what is this
"""
    settings = bootstrap.pip_settings(listed)
    assert settings["cert"] == "/etc/ca.crt"
    assert bootstrap.uv_arguments(settings) == [
        "--default-index", "https://two.example/simple",
        "--index", "https://a.example/simple", "--index", "https://b.example/simple",
        "--allow-insecure-host", "a.example",
    ]  # fmt: skip
    assert bootstrap.uv_arguments({}) == []
    assert bootstrap.uv_arguments({"no-index": "true"}) == ["--no-index"]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with one locked package, stand-ins for Python 3.14 and 3.13 on PATH, and a folder of wheels as the index."""
    for file in ("local/__init__.py", "local/paths.py", "local/cli/bootstrap.py"):
        (tmp_path / "c" / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, tmp_path / "c" / file)
    (tmp_path / "bin").mkdir()
    for minor in (14, 13):
        program = tmp_path / "bin" / f"python3.{minor}"
        program.write_text(STAND_IN.format(python=sys.executable, minor=minor))
        program.chmod(0o755)
    wheel = tmp_path / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing.py", "")
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    (tmp_path / "c" / "requirements.lock").write_text(f"thing==1.0 --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n")
    return tmp_path / "c"


def bootstrapped(checkout: Path) -> subprocess.CompletedProcess[str]:
    folder = checkout.parent
    environment = {**os.environ, "PATH": f"{folder / 'bin'}", "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(folder)}
    command = [str(folder / "bin" / "python3.14"), "local/cli/bootstrap.py", "requirements.lock"]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


def test_a_python_without_a_wheel_gives_way_to_the_next(checkout: Path) -> None:
    first = bootstrapped(checkout)
    assert first.returncode == 0, first.stderr
    expected = f"Python 3.14 can't be used: thing==1.0 has no wheel for it. Using {checkout.parent / 'bin' / 'python3.13'} instead"
    assert expected in first.stderr
    assert list((checkout / ".venv").glob("lib/python*/site-packages/thing.py"))
    again = bootstrapped(checkout)
    assert (again.returncode, again.stderr) == (0, ""), "remembered, and said once"


def test_without_another_python_the_remedy_is_named(checkout: Path) -> None:
    (checkout.parent / "bin" / "python3.13").unlink()
    done = bootstrapped(checkout)
    assert done.returncode == 1
    assert "thing==1.0 has no wheel for it, and PATH has no older one" in done.stderr
    assert "make PYTHON=/path/to/python" in done.stderr


def test_an_unreachable_index_is_no_missing_wheel() -> None:
    said = "ERROR: Could not find a version that satisfies the requirement thing==1.0 (from versions: none)"
    assert not any(pattern.search(said) for pattern in bootstrap._NO_WHEEL)


@pytest.mark.parametrize(
    ("there", "taken"), [(["3", "3.11", "3.13"], "python3.13"), (["3", "3.14", "3.11"], "python3.14"), (["3"], "python3"), ([], "")]
)
def test_make_prefers_the_newest_python(tmp_path: Path, there: list[str], taken: str) -> None:
    for version in there:
        (tmp_path / f"python{version}").write_text("#!/bin/sh\n")
        (tmp_path / f"python{version}").chmod(0o755)
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make on this machine")
    command = [make, "-s", "--eval", "show:; $(info $(PYTHON))", "show"]
    done = subprocess.run(command, cwd=ROOT, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == taken
