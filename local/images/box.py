"""Run a program in an image's file system without a container runtime, with private mounts and processes as in a pod.

For tests, and for trying out an image by hand (`python -m local.images run`). A box uses the machine's network, so its servers must listen
on loopback; it does not have a pod's limits, capabilities or seccomp profile.
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
# No --userspec without root: only the current user is mapped.
if [ "$user" = self ]; then exec chroot "$root" "$@"; fi
exec chroot --userspec="$user" "$root" "$@"
"""
_EMPTY: Final = ("proc", "dev", "tmp", "mnt")


@dataclass(frozen=True, kw_only=True)
class Box:
    """An unpacked image, and how its configuration runs it."""

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
        """Run the entrypoint with ``arguments`` (the image's own if empty) on a read-only root; kill everything when the context ends.

        Args:
            arguments: like a pod's ``args``.
            output: for standard output and error; None inherits this process's.
            environment: added to the image's.
            mounts: path in the image -> folder of the machine; `unpack` must have created the paths.
            user: user and group ID if this process is root; otherwise the box runs as the current user.

        Yields:
            The process that made the namespaces; its `first_pid` is process 1 of the box.
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
                # Kill process 1, which ends all others. --kill-child is not enough: a process that changes its user (chroot --userspec)
                # no longer gets a signal when its parent dies.
                with contextlib.suppress(ProcessLookupError, FileNotFoundError):
                    os.kill(first_pid(process), signal.SIGKILL)
                process.kill()
            process.wait()


def first_pid(process: subprocess.Popen[bytes]) -> int:
    """Return the process ID, outside, of process 1 of a box.

    Raises:
        ProcessLookupError: it has not started, or it has ended.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    if not children:
        raise ProcessLookupError(process.pid)
    return int(children[0])


def unusable() -> str | None:
    """Return why this machine can't run boxes; None if it can."""
    if shutil.which("unshare") is None:
        return "unshare (package util-linux) is not installed"
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", *(("--map-root-user",) if os.geteuid() else ()), "true"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return f"namespaces can't be created: {done.stderr.strip()}" if done.returncode else None


def unpack(image: Path, folder: Path, mounts: Sequence[str] = ()) -> Box:
    """Unpack an image built by this package into ``folder``, which is created, with empty folders at the paths in ``mounts``.

    Raises:
        ImageError: the file is not such an image.
    """
    try:
        with tarfile.open(image, "r:") as archive:
            manifest = _document(archive, _document(archive, None)["manifests"][0]["digest"])
            config = _document(archive, manifest["config"]["digest"])["config"]
            folder.mkdir(parents=True)
            for layer in manifest["layers"]:
                with archive.extractfile(_blob(layer["digest"])) or contextlib.nullcontext() as stream, tarfile.open(fileobj=stream) as tar:
                    if hasattr(tarfile, "fully_trusted_filter"):  # since 3.11.4; earlier versions filter nothing
                        tar.extraction_filter = tarfile.fully_trusted_filter  # built by this package
                    tar.extractall(folder)  # noqa: S202
    except (OSError, KeyError, tarfile.TarError) as error:
        raise ImageError(f"{image} is not an image built by local/images ({error}). Delete it and run again to rebuild it.") from error
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
