"""Making and keeping images: what is made again, what is not, and what happens when something goes wrong. No toolchain: small fakes."""

from __future__ import annotations

import dataclasses
import errno
import multiprocessing
import os
import shutil
import stat
import subprocess
import time
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from components.base.versions import RCLONE_IMAGE
from local.images import RECIPES, ImageError, ImageFile, build_all, estimate_s, oci, recipes
from local.images.layers import LayerPlan, Tools
from local.images.oci import ImageConfig
from local.images.packages import add_deb, add_wheel, missing_libraries
from local.images.programs import require_static
from local.images.recipes import Recipe, architecture
from local.images.tree import Tree
from local.images.triton import triton_place
from local.progress import SilentReporter

if TYPE_CHECKING:
    from collections.abc import Sequence


class FakeTools:
    """One program, no packages."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.ensured: list[str] = []

    def ensure(self, *names: str) -> None:
        self.ensured += names

    def path(self, name: str) -> Path:
        assert name == "tool"
        return self.program

    def debs(self, *packages: str) -> list[Path]:
        raise AssertionError(packages)

    def wheel(self, name: str, version: str, python: str = "3.11") -> Path:
        raise AssertionError(name, version, python)


def layers(tools: Tools) -> list[LayerPlan]:
    program = tools.path("tool")

    def make() -> Tree:
        tree = Tree()
        tree.file("tool", program, 0o755)
        return tree

    return [LayerPlan(name="tool", inputs=(program,), make=make)]


RECIPE = Recipe(name="tool:1", tools=("tool",), layers=layers, config=ImageConfig(entrypoint=("/tool",)), mebibytes=1)


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeTools:
    monkeypatch.setattr(recipes, "RECIPES", (RECIPE,))
    program = tmp_path / "program"
    program.write_bytes(b"one")
    return FakeTools(program)


def make(tools: FakeTools, cache: Path) -> ImageFile:
    (image,) = build_all(tools, cache, SilentReporter())
    return image


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []
    real = oci.write_image

    def write(stream: IO[bytes], **arguments: Any) -> str:
        made.append(arguments["reference"])
        return real(stream, **arguments)

    monkeypatch.setattr(oci, "write_image", write)
    return made


# ------------------------------------------------------------------------------------------------ the cache
def test_an_image_is_made_once_and_again_when_an_input_changes(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted(monkeypatch)
    first = make(tools, tmp_path / "cache")
    assert first.name == "triton-fleet.local/tool:1"
    assert first.path.is_file()
    assert tools.ensured == ["tool"]
    assert make(tools, tmp_path / "cache") == first
    assert len(made) == 1
    tools.program.write_bytes(b"two")
    second = make(tools, tmp_path / "cache")
    assert len(made) == 2
    assert (second.digest, second.path) != (first.digest, first.path)
    assert first.path.is_file()  # another process may be importing it
    tools.program.write_bytes(b"one")
    assert make(tools, tmp_path / "cache") == first
    assert len(made) == 2


def test_another_cache_gives_the_same_digest(tools: FakeTools, tmp_path: Path) -> None:
    one, two = make(tools, tmp_path / "one"), make(tools, tmp_path / "two")
    assert one.digest == two.digest
    assert one.path.read_bytes() == two.path.read_bytes()


def test_input_of_equal_size_and_time_but_other_content_is_noticed(tools: FakeTools, tmp_path: Path) -> None:
    first = make(tools, tmp_path / "cache")
    before = tools.program.stat()
    tools.program.write_bytes(b"two")
    os.utime(tools.program, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert make(tools, tmp_path / "cache").digest != first.digest


@pytest.mark.parametrize("damage", ["truncate", "no record", "broken record", "broken digests"])
def test_a_damaged_cache_is_made_again(damage: str, tools: FakeTools, tmp_path: Path) -> None:
    first = make(tools, tmp_path / "cache")
    whole = first.path.read_bytes()
    record = first.path.with_suffix(".json")
    match damage:
        case "truncate":
            first.path.write_bytes(whole[:100])
        case "no record":
            record.unlink()
        case "broken record":
            record.write_text("[]")
        case _:
            (first.path.parent / ".digests.json").write_text('{"a')
    assert make(tools, tmp_path / "cache") == first
    assert first.path.read_bytes() == whole


def test_what_killed_makers_left_and_old_images_go(tools: FakeTools, tmp_path: Path) -> None:
    first = make(tools, tmp_path / "cache")
    folder = first.path.parent
    left = folder / f".{first.path.name}.12345"
    left.write_bytes(b"half")
    old = folder / "tool-1-0123456789abcdef.tar"
    young = folder / "tool-1-fedcba9876543210.tar"
    other = folder / "tool-12-0123456789abcdef.tar"
    for path in (old, young, other):
        path.write_bytes(b"")
    for path in (old, other):
        os.utime(path, (time.time() - 30 * 86400,) * 2)
    make(tools, tmp_path / "cache")
    assert not left.exists()
    assert not old.exists()
    assert young.exists()
    assert other.exists()


def test_a_full_disk_is_told_and_leaves_nothing(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(stream: IO[bytes], **_: Any) -> str:
        stream.write(b"some")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(oci, "write_image", full)
        with pytest.raises(ImageError, match=r"(?s)tool:1.*disk is full.*TRITON_FLEET_CACHE"):
            make(tools, tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache" / "images").iterdir() if ".tar" in path.name]
    assert make(tools, tmp_path / "cache").path.is_file()


def test_other_errors_of_the_system_are_not_called_a_full_disk(tools: FakeTools, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(NotADirectoryError):
        make(tools, tmp_path / "cache")


def test_unknown_names_are_refused_with_those_there_are(tools: FakeTools, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"nope:1.*tool:1"):
        build_all(tools, tmp_path, SilentReporter(), ["nope:1"])
    assert [image.name for image in build_all(tools, tmp_path, SilentReporter(), ["tool:1"])] == ["triton-fleet.local/tool:1"]


def test_the_estimate_is_nothing_once_made(tools: FakeTools, tmp_path: Path) -> None:
    assert estimate_s(tools, tmp_path) > 0.0
    make(tools, tmp_path)
    assert estimate_s(tools, tmp_path) == 0.0


def _make_in_process(program: str, cache: str, results: Any) -> None:  # forked, with RECIPES patched
    image = make(FakeTools(Path(program)), Path(cache))
    results.put((image.digest, image.path.stat().st_size))


def test_several_at_once_make_one_image(tools: FakeTools, tmp_path: Path) -> None:
    tools.program.write_bytes(b"x" * (8 << 20))
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [context.Process(target=_make_in_process, args=(str(tools.program), str(tmp_path / "cache"), results)) for _ in range(4)]
    for process in processes:
        process.start()
    answers = {results.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()
    assert len(answers) == 1
    names = [path.name for path in (tmp_path / "cache" / "images").iterdir()]
    assert sum(name.endswith(".tar") for name in names) == 1
    assert not [name for name in names if ".tar." in name]


# ------------------------------------------------------------------------------------------------ recipes
def test_names_entrypoints_and_users_are_those_that_charts_expect() -> None:
    told = {recipe.reference: (recipe.config.entrypoint, recipe.config.user) for recipe in RECIPES}
    assert told == {
        "triton-fleet.local/pause:3.10": (("/pause",), "65534:65534"),
        "triton-fleet.local/coredns:v1.15.0": (("/coredns",), ""),
        "triton-fleet.local/tritonserver:2.51.0-cpu": (("/opt/nvidia/nvidia_entrypoint.sh",), ""),
        "triton-fleet.local/prometheus:v3": (("/bin/prometheus",), "65534"),
        "triton-fleet.local/prometheus-operator:v0.85.0": (("/bin/operator",), "65534"),
        "triton-fleet.local/prometheus-config-reloader:v0.85.0": (("/bin/prometheus-config-reloader",), "65534"),
        "triton-fleet.local/prometheus-adapter:v0.12.0": ((), "65534"),
        "triton-fleet.local/dcgm-exporter:stand-in": (("/usr/local/dcgm/dcgm-exporter-entrypoint.sh",), ""),
        RCLONE_IMAGE: (("rclone",), ""),
    }


def test_an_image_that_only_some_stacks_run_is_made_on_request(tools: FakeTools, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extra = dataclasses.replace(RECIPE, name="extra:1", registry="docker.io/somebody", on_request=True)
    monkeypatch.setattr(recipes, "RECIPES", (RECIPE, extra))
    told = [[image.name for image in build_all(tools, tmp_path, SilentReporter(), also=also)] for also in ((), ("extra:1",))]
    assert told == [["triton-fleet.local/tool:1"], ["triton-fleet.local/tool:1", "docker.io/somebody/extra:1"]]
    assert estimate_s(tools, tmp_path / "empty", also=["extra:1"]) > estimate_s(tools, tmp_path / "empty") > 0


def test_the_sandbox_image_and_dns_come_first() -> None:
    assert [recipe.name.partition(":")[0] for recipe in RECIPES][:2] == ["pause", "coredns"]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("pytriton/tritonserver/bin/tritonserver", "opt/tritonserver/bin/tritonserver"),
        ("pytriton/tritonserver/backends/python/libtriton_python.so", "opt/tritonserver/backends/python/libtriton_python.so"),
        ("pytriton/tritonserver/python_backend_stubs/3.11/stub", "opt/tritonserver/backends/python/stub"),
        ("pytriton/tritonserver/python_backend_stubs/3.12/stub", None),
        ("pytriton/tritonserver/caches/local/libtritoncache_local.so", "opt/tritonserver/caches/local/libtritoncache_local.so"),
        ("nvidia_pytriton.libs/libcurl-1.so", "opt/tritonserver/lib/libcurl-1.so"),
        ("nvidia_pytriton.libs/libpython3-1.13.so.1.0", None),
        ("pytriton/triton.py", None),
        ("nvidia_pytriton-0.7.0.dist-info/licenses/LICENSE", "opt/tritonserver/licenses/licenses/LICENSE"),
        ("nvidia_pytriton-0.7.0.dist-info/RECORD", None),
    ],
)
def test_the_wheel_is_laid_out_as_in_nvidias_image(name: str, place: str | None) -> None:
    assert triton_place(name, "3.11") == place


@pytest.mark.parametrize(("machine", "name"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_architectures_have_their_oci_names(machine: str, name: str) -> None:
    assert architecture(machine) == name


def test_other_architectures_are_refused() -> None:
    with pytest.raises(ImageError, match=r"riscv64.*KUBE_CONTEXT"):
        architecture("riscv64")


def test_programs_that_need_a_loader_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="dynamically linked"):
        require_static(Path("/proc/self/exe").resolve())
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    with pytest.raises(ImageError, match="not an ELF program"):
        require_static(script)


# ------------------------------------------------------------------------------------------------ packages
@pytest.fixture
def deb(tmp_path: Path) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("no dpkg-deb on this machine")
    root = tmp_path / "root"
    files = {
        "bin/tool": 0o755,
        "usr/share/doc/tool/copyright": 0o644,
        "usr/share/doc/tool/README": 0o644,
        "usr/share/man/man1/tool.1": 0o644,
    }
    for name, mode in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(mode)
    (root / "usr/lib").mkdir()
    (root / "usr/lib/link.so").symlink_to("real.so")
    os.link(root / "bin/tool", root / "bin/twin")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text("Package: tool\nVersion: 1\nArchitecture: all\nMaintainer: t <t@example.com>\nDescription: t\n")
    path = tmp_path / "tool_1_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", str(root), str(path)], check=True, capture_output=True)
    return path


def test_packages_keep_programs_links_and_licences_but_no_manuals(deb: Path) -> None:
    tree = Tree()
    tree.merge_links()
    add_deb(tree, deb)
    files = {path: stat.filemode(entry.mode) for path, entry in tree.items() if entry.data is not None}
    assert files == {"usr/bin/tool": "?rwxr-xr-x", "usr/bin/twin": "?rwxr-xr-x", "usr/share/doc/tool/copyright": "?rw-r--r--"}
    assert tree["usr/lib/link.so"].target == "real.so"
    assert tree.read("bin/twin") == b"bin/tool"


def test_files_that_are_not_wanted_stay_out(deb: Path) -> None:
    tree = Tree()
    add_deb(tree, deb, keep=lambda path: path.startswith("usr/share/doc"))
    assert [path for path, entry in tree.items() if entry.data is not None] == ["usr/share/doc/tool/copyright"]


def test_a_broken_package_is_named(tmp_path: Path) -> None:
    broken = tmp_path / "broken_1_all.deb"
    broken.write_bytes(b"!<arch>\nno")
    with pytest.raises(ImageError, match=r"broken_1_all\.deb.*Delete the file"):
        add_deb(Tree(), broken)
    with pytest.raises(ImageError, match=r"broken_1_all\.deb.*Delete the file"):
        add_wheel(Tree(), broken, lambda name: name)


def test_wheels_go_where_they_are_placed(tmp_path: Path) -> None:
    path = tmp_path / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("thing/run", b"1")
        archive.writestr("thing/data.py", b"2")
        archive.writestr("thing/tests/t.py", b"3")
    tree = Tree()
    add_wheel(tree, path, lambda name: None if "/tests/" in name else f"opt/{name}", executable=lambda place: place.endswith("/run"))
    assert [(name, entry.mode) for name, entry in tree.items() if entry.data is not None] == [
        ("opt/thing/data.py", 0o644),
        ("opt/thing/run", 0o755),
    ]


def _trees_with(names: Sequence[str]) -> list[Tree]:
    tree = Tree()
    tree.file("usr/bin/python", Path("/proc/self/exe").resolve().read_bytes(), 0o755)
    for name in names:
        tree.file(f"usr/lib/{name}", b"")
    return [tree]


def test_libraries_that_nobody_brings_are_found() -> None:
    missing = missing_libraries(_trees_with([]))
    assert any(name.startswith("libc.so") for name in missing)
    assert all(users == ["usr/bin/python"] for users in missing.values())
    assert missing_libraries(_trees_with(list(missing))) == {}
