"""Load image files into the node's containerd, from the machine, in the node's mount namespace."""

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
    """Image names and digests in an OCI layout tar.

    Raises:
        PlatformError: the file is not an OCI layout.
    """
    try:
        with tarfile.open(path) as archive:
            member = archive.extractfile("index.json")
            index = json.load(member) if member is not None else {}
    except (OSError, KeyError, ValueError, tarfile.TarError) as error:
        msg = f"{path} is not an OCI image layout ({error}): it can't be loaded. Delete it and run again to rebuild it."
        raise PlatformError(msg) from error
    found: dict[str, str] = {}
    for manifest in index.get("manifests", []):
        annotations = manifest.get("annotations", {})
        name = next((annotations[key] for key in _NAME_ANNOTATIONS if key in annotations), None)
        if name is not None:
            found[name] = manifest["digest"]
    return found


def parse_listing(text: str) -> dict[str, str]:
    """Image names and digests in the output of ``ctr images ls``."""
    found = {}
    for line in text.splitlines()[1:]:
        fields = line.split()
        digest = next((field for field in fields[1:] if field.startswith("sha256:")), None)
        if digest is not None:
            found[fields[0]] = digest
    return found


class Importer:
    """Runs ``ctr`` for the containerd of the node whose PID 1 is ``pid``."""

    def __init__(self, pid: int, ctr: str) -> None:
        self._prefix = ["nsenter", f"--target={pid}", "--mount", "--net", "--", ctr, f"--address={CONTAINERD_SOCKET}", "--namespace=k8s.io"]

    def _run(self, arguments: Sequence[str], timeout_s: float) -> str:
        try:
            done = subprocess.run([*self._prefix, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)
        except subprocess.TimeoutExpired as error:
            msg = f"containerd did not answer `ctr {' '.join(arguments)}` within {timeout_s:.0f} s. See its log (make status)."
            raise PlatformError(msg) from error
        if done.returncode != 0:
            msg = f"containerd refused `ctr {' '.join(arguments)}`: {done.stderr.strip()[-600:]}"
            raise PlatformError(msg)
        return done.stdout

    def present(self) -> dict[str, str]:
        """Names and digests of the node's images.

        Raises:
            PlatformError: containerd does not answer.
        """
        return parse_listing(self._run(["images", "ls"], 30))

    def missing(self, paths: Iterable[Path]) -> list[Path]:
        """Return the ``paths`` with an image that is missing on the node or has a different digest there.

        Raises:
            PlatformError: a file is not an image, or containerd does not answer.
        """
        have = self.present()

        def there(path: Path) -> bool:
            wanted = contents(path)
            return bool(wanted) and all(have.get(name) == digest for name, digest in wanted.items())

        return [path for path in paths if not there(path)]

    def load(self, path: Path) -> None:
        """Import and unpack every image in ``path``; idempotent.

        Raises:
            PlatformError: containerd refuses, for example because the disk is full.
        """
        self._run(["images", "import", str(path)], 600)
