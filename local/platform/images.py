"""Brings image files into the node's containerd. Run from the machine, inside the node's mount namespace."""

from __future__ import annotations

import json
import subprocess
import tarfile
from typing import TYPE_CHECKING

from local.platform.errors import PlatformError
from local.platform.kubernetes import CONTAINERD_SOCKET

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


def contents(path: Path) -> dict[str, str]:
    """Image name to digest in an OCI layout tar.

    Raises:
        PlatformError: it is no such file.
    """
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            index = json.load(member) if member is not None else {}
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        msg = f"{path} is not an OCI image layout ({error}): it can't be loaded. Remove it and run again, so that it is built anew."
        raise PlatformError(msg) from error
    found: dict[str, str] = {}
    for manifest in index.get("manifests", []):
        annotations = manifest.get("annotations", {})
        name = next((annotations[key] for key in _NAME_ANNOTATIONS if key in annotations), None)
        if name is not None:
            found[name] = manifest["digest"]
    return found


def parse_listing(text: str) -> dict[str, str]:
    """Name to digest from ``ctr images ls``."""
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        digest = next((field for field in fields[1:] if field.startswith("sha256:")), None)
        if digest is not None:
            found[fields[0]] = digest
    return found


class Importer:
    """``ctr`` against the containerd of the node whose PID 1 is ``pid``."""

    def __init__(self, pid: int, ctr: str) -> None:
        self._prefix = ["nsenter", f"--target={pid}", "--mount", "--net", "--", ctr, f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io"]

    def _run(self, arguments: Sequence[str], timeout_s: float) -> str:
        try:
            done = subprocess.run([*self._prefix, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            msg = f"containerd did not answer `ctr {' '.join(arguments)}` within {timeout_s:.0f} s: its log says why (make status)."
            raise PlatformError(msg) from error
        if done.returncode != 0:
            msg = f"containerd refused `ctr {' '.join(arguments)}`: {done.stderr.strip()[-600:]}"
            raise PlatformError(msg)
        return done.stdout

    def present(self) -> dict[str, str]:
        """Name to digest of the images that the node has.

        Raises:
            PlatformError: containerd does not answer.
        """
        return parse_listing(self._run(["images", "ls"], 30))

    def missing(self, paths: Iterable[Path]) -> list[Path]:
        """Those of ``paths`` of which an image is absent or different in the node.

        Raises:
            PlatformError: a file is no image, or containerd does not answer.
        """
        have = self.present()

        def there(path: Path) -> bool:
            wanted = contents(path)
            return bool(wanted) and all(have.get(name) == digest for name, digest in wanted.items())

        return [path for path in paths if not there(path)]

    def load(self, path: Path) -> None:
        """Import and unpack every image of ``path``. Doing it again changes nothing.

        Raises:
            PlatformError: containerd refused, for instance because the disk is full.
        """
        self._run(["images", "import", str(path)], 600)
