"""Builds from Go modules: what is found, what is refused and how that is said. Where nothing is built, Go is played by a script."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from local.toolchain.errors import SourceUnavailableError, ToolchainError
from local.toolchain.gobuild import MODULES, GoBuilder
from local.toolchain.manifest import UNITS
from local.toolchain.units import GoBuild

if TYPE_CHECKING:
    from pathlib import Path

BUILDS = [unit.otherwise for unit in UNITS if isinstance(unit.otherwise, GoBuild)]


def no_official() -> Path:
    raise SourceUnavailableError("dl.example is out of reach (no route)")


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "fake"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder / "go"


def script(go: Path, version: str, build: str = "exit 0", toolchain: str = "local") -> None:
    go.write_text(
        f"""#!/bin/sh
if [ "$1" = env ] && [ "$2" = GOVERSION ]; then
  case "$GOTOOLCHAIN" in go*) echo "$GOTOOLCHAIN";; *) echo {version};; esac
  echo "${{GOTOOLCHAIN:-{toolchain}}}"
  exit 0
fi
if [ "$1" = env ]; then echo /tmp; exit 0; fi
{build}
"""
    )
    go.chmod(0o755)


def build_with(bench: Any, tmp_path: Path) -> None:
    builder = GoBuilder(no_official, bench.modules)
    recipe = bench.go_unit()
    for name in ("tree", "scratch"):
        (tmp_path / name).mkdir()
    builder.build(recipe, tmp_path / "tree", tmp_path / "scratch")


def test_no_go_at_all_is_told_with_its_remedy(bench: Any, tmp_path: Path, fake_go: Path) -> None:
    with pytest.raises(ToolchainError, match=r"needs Go 1.21.0 or newer, but no `go` is on PATH.*out of reach.*go.dev/doc/install"):
        build_with(bench, tmp_path)
    assert not fake_go.exists()


def test_an_old_go_is_told_with_its_version(bench: Any, tmp_path: Path, fake_go: Path) -> None:
    script(fake_go, "go1.19.8")
    with pytest.raises(ToolchainError, match=r"is Go 1\.19\.8"):
        build_with(bench, tmp_path)


def test_a_go_that_can_switch_is_told_to(bench: Any, fake_go: Path) -> None:
    bench.go_unit("newer")
    (bench.modules / "newer" / "go.mod").write_text("module m\n\ngo 1.99.1\n")
    script(fake_go, "go1.22.0", toolchain="auto")
    command, env = GoBuilder(no_official, bench.modules).command()
    assert command == str(fake_go)
    assert env["GOTOOLCHAIN"] == "go1.99.1"
    assert env["CGO_ENABLED"] == "0"


def test_a_go_that_may_not_switch_is_replaced_by_the_official_one(bench: Any, fake_go: Path, tmp_path: Path) -> None:
    bench.go_unit("newer")
    (bench.modules / "newer" / "go.mod").write_text("module m\n\ngo 1.99.1\n")
    script(fake_go, "go1.22.0", toolchain="local")
    assert GoBuilder(lambda: tmp_path / "official", bench.modules).command()[0] == str(tmp_path / "official")


@pytest.mark.parametrize(
    "case",
    [
        ("write /tmp/x: no space left on device", ToolchainError, "The disk is full: building widget"),
        ("go: go.mod requires go >= 1.99 (running go 1.22; GOTOOLCHAIN=local)", ToolchainError, "too old to build widget"),
        ("dial tcp: lookup proxy.example: no such host", SourceUnavailableError, "GOPROXY"),
        ("main.go:3:1: syntax error", ToolchainError, "main.go:3:1: syntax error"),
    ],
)
def test_what_go_says_is_understood(bench: Any, tmp_path: Path, fake_go: Path, case: tuple[str, type[Exception], str]) -> None:
    said, kind, told = case
    script(fake_go, "go1.30.0", f"echo '{said}' >&2; exit 1")
    with pytest.raises(kind, match=told):
        build_with(bench, tmp_path)


def test_a_missing_pin_file_is_told(bench: Any) -> None:
    recipe = bench.go_unit()
    (bench.modules / "widget" / "go.sum").unlink()
    with pytest.raises(ToolchainError, match=r"go.sum is missing.*Restore it with git"):
        GoBuilder(no_official, bench.modules).digest(recipe)


@pytest.mark.skipif(shutil.which("go") is None, reason="no Go on this machine")
def test_modules_are_fetched_beside_a_build_and_stopping_is_clean(bench: Any) -> None:
    prefetch = GoBuilder(no_official, bench.modules).prefetch([bench.go_unit()])
    prefetch.stop()
    prefetch.stop()


@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.folder)
def test_each_recipe_has_its_pins(build: GoBuild) -> None:
    module = (MODULES / build.folder / "go.mod").read_text()
    sums = (MODULES / build.folder / "go.sum").read_text()
    assert "\ngo 1." in module
    for package in build.packages:
        assert any(package.startswith(line.split()[0]) for line in sums.splitlines()), package
    for file in build.files:
        assert file.module in module
