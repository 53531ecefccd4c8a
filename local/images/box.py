"""Runs a program in an image's file system without a container runtime: private mounts and processes, as a pod would have them.

For tests and for a look at an image by hand (`python -m local.images run`). The network is the machine's own, so servers in a box are told
to listen on loopback; limits, capabilities and seccomp are not what a pod has.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from local.images.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

_SCRIPT: Final = r"""
set -e
root=$1 user=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs shm "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
while [ "$1" != -- ]; do
    mount --bind "$1" "$root$2"
    shift 2
done
shift
mount -o remount,bind,ro "$root"
# No --userspec without root: only our own user has a number in there.
if [ "$user" = self ]; then exec chroot "$root" "$@"; fi
exec chroot --userspec="$user" "$root" "$@"
"""
_EMPTY: Final = ("proc", "dev", "tmp", "mnt")


@dataclass(frozen=True, kw_only=True)
class Box:
    """An image that was unpacked, and how its configuration wants it run."""

    root: Path
    environment: Mapping[str, str]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    mounts: tuple[str, ...] = ()

    @contextlib.contextmanager
    def run(
        self,
        arguments: Sequence[str],
        *,
        output: IO[bytes] | int | None = None,
        environment: Mapping[str, str] | None = None,
        mounts: Mapping[str, Path] | None = None,
        user: int = 1000,
    ) -> Generator[subprocess.Popen[bytes]]:
        """Run the entrypoint with ``arguments`` (nothing: the image's own) on a read-only root, until the context ends; then all is killed.

        Args:
            arguments: as the pod's ``args``.
            output: where standard output and error go; None is this process's own.
            environment: on top of the image's.
            mounts: host folder by its place in the image; the places must be named in `unpack`.
            user: user and group number, when this process is root; else it is this process's own user.

        Yields:
            The process that made the namespaces; `first_pid` of it is process 1 of the box.
        """
        own = "self" if os.geteuid() else f"{user}:{user}"
        binds = [text for place, folder in (mounts or {}).items() for text in (str(folder), place)]
        variables = {**self.environment, "HOME": "/tmp", **(environment or {})}  # noqa: S108 (the box's own)
        command = [
            *("unshare", "--mount", "--pid", "--fork", "--kill-child", *(("--map-root-user",) if os.geteuid() else ())),
            *("sh", "-c", _SCRIPT, "box", str(self.root), own, *binds, "--"),
            *self.entrypoint,
            *(arguments or self.command),
        ]
        path = f"{variables.get('PATH', '')}:{os.environ.get('PATH', '')}"  # the script needs the machine's mount and chroot
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**variables, "PATH": path})
        try:
            yield process
        finally:
            if process.poll() is None:
                # Process 1 itself, and all the others with it: --kill-child alone does not reach it, for a process that changes its user
                # (chroot --userspec) loses the signal that it asked for at its parent's death.
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    os.kill(first_pid(process), signal.SIGKILL)
                process.kill()
            process.wait()


def first_pid(process: subprocess.Popen[bytes]) -> int:
    """Return the number, outside, of process 1 of a box.

    Raises:
        ProcessLookupError: it is not there (yet, or any more).
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if not children:
        raise ProcessLookupError(process.pid)
    return int(children[0])


def unusable() -> str | None:
    """Return why boxes can't be run on this machine; None when they can."""
    if shutil.which("unshare") is None:
        return "no unshare (package util-linux) on this machine"
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(("--map-root-user",) if os.geteuid() else ()), "true"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return f"namespaces can't be made: {done.stderr.strip()}" if done.returncode else None


def unpack(image: Path, folder: Path, mounts: Sequence[str] = ()) -> Box:
    """Unpack an image of ours into ``folder``, which is made, with empty folders at the places in ``mounts``.

    Raises:
        ImageError: the file is no image of ours.
    """
    try:
        with tarfile.open(image, "r:") as archive:
            manifest = _document(archive, _document(archive, None)["manifests"][0]["digest"])
            config = _document(archive, manifest["config"]["digest"])["config"]
            folder.mkdir(parents=True)
            for layer in manifest["layers"]:
                with archive.extractfile(_blob(layer["digest"])) or contextlib.nullcontext() as stream, tarfile.open(fileobj=stream) as tar:
                    if hasattr(tarfile, "fully_trusted_filter"):  # since 3.11.4; before, nothing is filtered
                        tar.extraction_filter = tarfile.fully_trusted_filter  # we made it
                    tar.extractall(folder)  # noqa: S202
    except (OSError, KeyError, tarfile.TarError) as error:
        raise ImageError(f"{image} is no image of local/images ({error}). Remove it and run again to have it made.") from error
    for place in (*_EMPTY, *(mount.lstrip("/") for mount in mounts)):
        (folder / place).mkdir(parents=True, exist_ok=True)
    return Box(
        root=folder,
        environment=dict(variable.split("=", 1) for variable in config.get("Env", [])),
        entrypoint=tuple(config.get("Entrypoint", ())),
        command=tuple(config.get("Cmd", ())),
        mounts=tuple(mounts),
    )


def _document(archive: tarfile.TarFile, digest: str | None) -> dict[str, Any]:
    stream = archive.extractfile("index.json" if digest is None else _blob(digest))
    document: dict[str, Any] = json.loads(stream.read() if stream else b"{}")
    return document


def _blob(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")
