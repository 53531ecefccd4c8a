"""The real images, made by the toolchain of this machine and run in boxes: programs start, users and paths are as charts expect."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from local.images import RECIPES, ImageError, ImageFile, box, build_all
from local.images.packages import missing_libraries
from local.paths import cache_root
from local.progress import SilentReporter
from tests.servers import PATIENCE_S, Text, eventually, fetch, free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from local.toolchain import Toolchain

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="images are made and run on Linux only")
WITHOUT_TOOLS = ("pause:3.10", "tritonserver:2.51.0-cpu", "dcgm-exporter:stand-in")


@pytest.fixture(scope="module")
def images(toolchain: Toolchain) -> dict[str, ImageFile]:
    """All images, by name and tag; the toolchain makes what it lacks."""
    also = [recipe.name for recipe in RECIPES if recipe.on_request]
    return {image.name.rpartition("/")[2]: image for image in build_all(toolchain, cache_root(), SilentReporter(), also=also)}


def said(image: box.Box, arguments: list[str], tmp_path: Path, user: int = 1000) -> tuple[int, str]:
    output = tmp_path / "output"
    with output.open("wb") as stream, image.run(arguments, output=stream, user=user) as process:
        status = process.wait(timeout=PATIENCE_S)
    return status, output.read_text()


def test_all_images_are_there_under_their_references(images: dict[str, ImageFile]) -> None:
    assert [image.name for image in images.values()] == [recipe.reference for recipe in RECIPES]
    assert all(image.path.is_file() and image.digest.startswith("sha256:") for image in images.values())


def test_images_without_tools_are_the_same_in_another_cache(images: dict[str, ImageFile], toolchain: Toolchain, tmp_path: Path) -> None:
    again = build_all(toolchain, tmp_path, SilentReporter(), WITHOUT_TOOLS)
    assert {image.name.rpartition("/")[2]: image.digest for image in again} == {name: images[name].digest for name in WITHOUT_TOOLS}


@pytest.mark.parametrize(
    ("name", "arguments", "user", "expected"),
    [
        ("prometheus:v3", ["--version"], 1000, "prometheus, version"),
        ("prometheus-operator:v0.85.0", ["--version"], 65534, "prometheus-operator, version"),
        ("prometheus-config-reloader:v0.85.0", ["--version"], 65534, "prometheus-config-reloader, version"),
        ("prometheus-adapter:v0.12.0", ["/adapter", "--help"], 10001, "Usage of /adapter"),
        ("coredns:v1.15.0", ["-version"], 0, "CoreDNS-1.15.0"),
        ("dcgm-exporter:stand-in", ["--help"], 65534, "usage: dcgm-exporter"),
        ("rclone:1.75.2", ["version"], 1000, "rclone v1.75.2"),
        ("tritonserver:2.51.0-cpu", ["tritonserver", "--help"], 1000, "--model-repository"),
        ("tritonserver:2.51.0-cpu", ["python3", "-c", "import numpy, ssl, ctypes, sqlite3; print(numpy.ones(3).sum())"], 1000, "3.0"),
        ("tritonserver:2.51.0-cpu", ["sh", "-c", "sleep 0 && id -un && bash -c 'echo ok'"], 1000, "ok"),
    ],
)
def test_programs_start(  # noqa: PLR0917 (fixtures and parameters)
    name: str, arguments: list[str], user: int, expected: str, unpacked: Callable[[str], box.Box], tmp_path: Path
) -> None:
    status, text = said(unpacked(name), arguments, tmp_path, user)
    assert expected in text
    assert status == 0 or "--help" in arguments  # some call a plea for help an error


def test_promtool_is_beside_prometheus(unpacked: Callable[[str], box.Box], tmp_path: Path) -> None:
    rules = '{"groups":[{"name":"g","rules":[{"record":"a:b","expr":"sum(rate(x[1m]))"}]}]}'
    image = unpacked("prometheus:v3")
    (image.root / "rules.json").write_text(rules)
    promtool = box.Box(root=image.root, environment=image.environment, entrypoint=("/bin/promtool",), command=())
    assert said(promtool, ["check", "rules", "/rules.json"], tmp_path)[0] == 0


def test_numpy_is_imported_from_bytecode(unpacked: Callable[[str], box.Box], tmp_path: Path) -> None:
    script = "import numpy, pathlib; print(pathlib.Path(numpy.__cached__).is_file(), numpy.__version__)"
    if sys.version_info[:2] != (3, 11) and shutil.which("python3.11") is None:
        pytest.skip("the image's Python is not on this machine: without bytecode")
    assert said(unpacked("tritonserver:2.51.0-cpu"), ["python3", "-c", script], tmp_path) == (0, "True 1.26.4\n")


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "gone"


def waiting(process: subprocess.Popen[bytes]) -> bool:
    """Tell whether pause is in its loop: process 1 has its one child."""
    return (
        bool(children(process.pid))
        and Path(f"/proc/{box.first_pid(process)}/comm").read_text() == "pause\n"
        and bool(children(box.first_pid(process)))
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_pause_waits_and_leaves_when_asked(number: signal.Signals, unpacked: Callable[[str], box.Box]) -> None:
    with unpacked("pause:3.10").run([]) as process:
        eventually(lambda: waiting(process), "pause in its loop", process=process)
        os.kill(box.first_pid(process), number)
        assert process.wait(timeout=PATIENCE_S) == 0


def test_nothing_of_a_box_outlives_it(unpacked: Callable[[str], box.Box]) -> None:
    with unpacked("pause:3.10").run([]) as process:
        eventually(lambda: waiting(process), "pause in its loop", process=process)
        first = box.first_pid(process)
    eventually(lambda: state(first) in {"gone", "Z"}, "the end of its first process")


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nsenter") is None, reason="joining a box's processes needs root and nsenter")
def test_pause_reaps_orphans(unpacked: Callable[[str], box.Box]) -> None:
    with unpacked("pause:3.10").run([]) as process:
        eventually(lambda: waiting(process), "pause in its loop", process=process)
        first = box.first_pid(process)
        own = children(first)
        # A child of a process that joined the box and ended becomes process 1's.
        subprocess.run(["nsenter", "-t", str(first), "-p", "sh", "-c", "sleep 600 &"], check=True)
        (orphan,) = eventually(lambda: set(children(first)) - set(own), "an orphan")
        os.kill(orphan, signal.SIGKILL)
        eventually(lambda: state(orphan) == "gone", "the end of the orphan")
        assert process.poll() is None


def test_the_exporter_serves_in_its_image_and_leaves_when_asked(unpacked: Callable[[str], box.Box]) -> None:
    port = free_port()
    arguments = ["-f", "/etc/dcgm-exporter/default-counters.csv", "--collect-interval=1000"]
    environment = {"DCGM_EXPORTER_LISTEN": f"127.0.0.1:{port}", "DCGM_EXPORTER_KUBERNETES": "true", "NODE_NAME": "node-1"}

    with unpacked("dcgm-exporter:stand-in").run(arguments, environment=environment, user=65534, output=subprocess.DEVNULL) as process:
        eventually(lambda: fetch(f"http://127.0.0.1:{port}/health")[0] == 200, "an exporter that is healthy", process=process)
        Text(f"http://127.0.0.1:{port}/metrics").having('DCGM_FI_DEV_GPU_UTIL{gpu="0"')
        os.kill(box.first_pid(process), signal.SIGTERM)
        assert process.wait(timeout=PATIENCE_S) == 0


def test_no_library_lacks_in_any_image(toolchain: Toolchain) -> None:
    for recipe in RECIPES:
        if recipe.tools:
            toolchain.ensure(*recipe.tools)
        assert missing_libraries([plan.make() for plan in recipe.layers(toolchain)]) == {}, recipe.name


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(b"no tar")
    with pytest.raises(ImageError, match=r"x\.tar is not an image"):
        box.unpack(tmp_path / "x.tar", tmp_path / "root")
