"""S3 servers on loopback, which let any client in that says testing/testing; and our images, unpacked once a process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from local.images import box, build_all
from local.paths import cache_root
from local.progress import SilentReporter
from tests.servers import free_port, running
from tests.unit.tritonserver import IMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.toolchain import Toolchain


@pytest.fixture(scope="session")
def unpacked(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], box.Box]:
    """An image's file system by the image's name, read-only when it runs: tritonserver's has 230 MB. Folders can be mounted at /models."""
    made: dict[str, box.Box] = {}

    def get(name: str) -> box.Box:
        if sys.platform != "linux":
            pytest.skip("images run on Linux only")
        if reason := box.unusable():
            pytest.skip(reason)
        if name not in made:
            (image,) = build_all(toolchain, cache_root(), SilentReporter(), [name])
            made[name] = box.unpack(image.path, tmp_path_factory.mktemp("image") / "root", mounts=["/models"])
        return made[name]

    return get


@pytest.fixture(scope="session")
def triton_box(unpacked: Callable[[str], box.Box]) -> box.Box:
    """Tritonserver's image. A fixture, so that the image is made in the user's cache and not in that of a test with another."""
    return unpacked(IMAGE)


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Address of moto: it knows regions, encryption and rules for old versions, and takes 5 ms of this process for each request."""
    from moto.server import ThreadedMotoServer  # noqa: PLC0415 (loads half of AWS)

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_server(toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of the embedded platform's own store, versitygw, a tenth of moto's work; moto where that can't be had."""
    if toolchain.located("versitygw") is not None:
        port = free_port()
        keys = {"ROOT_ACCESS_KEY": "testing", "ROOT_SECRET_KEY": "testing"}
        command = [str(toolchain.path("versitygw")), "--quiet", "--port", f"127.0.0.1:{port}", "posix", str(tmp_path_factory.mktemp("s3"))]
        with running(command, port, {**os.environ, **keys}) as process:
            if process is not None:
                yield f"http://127.0.0.1:{port}"
                return
    # Not there, or the folder's file system has no extended attributes.
    yield request.getfixturevalue("moto")
