"""A layer of an image, and the parts that several layers share: accounts, certificates, a shell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from local.images.errors import ImageError
from local.images.packages import add_deb, package_name
from local.images.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

APPLETS: Final = (
    "sh", "ls", "cat", "cp", "rm", "mkdir", "ln", "env", "id", "ps", "kill", "sleep", "date", "head", "tail", "grep", "sed", "tr",
    "wc", "find", "sort", "test", "true", "false", "echo", "printf", "touch", "chmod", "df", "du", "free", "top", "nproc",
    "hostname", "nslookup", "wget", "nc", "vi", "tar", "basename", "dirname", "readlink", "mktemp", "uname", "which", "xargs",
    "stat", "seq", "timeout", "md5sum", "sha256sum", "dd", "mount", "netstat",
)  # fmt: skip
"""Applets of busybox that are linked by name in images with a shell: enough to debug in a pod."""


class Tools(Protocol):
    """The part of the toolchain that recipes use."""

    def ensure(self, *names: str) -> None:
        """Make these tools available."""
        ...

    def path(self, name: str) -> Path:
        """Return the file of a tool."""
        ...

    def debs(self, *packages: str) -> list[Path]:
        """Return the files of Debian packages and all their dependencies."""
        ...

    def wheel(self, name: str, version: str, python: str = "3.11") -> Path:
        """Return the file of a wheel."""
        ...


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """A layer that can be built. Equal names and inputs give equal bytes; ``make`` runs only when the image must be built."""

    name: str
    inputs: tuple[Path, ...]
    make: Callable[[], Tree]


def accounts(tree: Tree, *, user: str, number: int) -> None:
    """Add root and one user, and their folders."""
    tree.file("etc/passwd", f"root:x:0:0:root:/root:/bin/sh\n{user}:x:{number}:{number}::/tmp:/bin/sh\n")
    tree.file("etc/group", f"root:x:0:\n{user}:x:{number}:\n")
    tree.file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n")
    tree.folder("root", 0o700)
    tree.folder("tmp", 0o1777)


def certificates(tree: Tree, debs: Sequence[Path]) -> None:
    """Add the certificate bundle that the ca-certificates package generates at installation."""
    unpacked = Tree()
    for deb in debs:
        if package_name(deb) == "ca-certificates":
            add_deb(unpacked, deb)
    found = [unpacked.read(path) for path, entry in unpacked.items() if path.endswith(".crt") and entry.data is not None]
    if not found:
        raise ImageError(
            "The package ca-certificates contains no certificates: programs in the images could not verify servers. "
            "Delete its .deb and run again."
        )
    bundle = b"".join(certificate.rstrip(b"\n") + b"\n" for certificate in found)
    tree.file("etc/ssl/certs/ca-certificates.crt", bundle)  # where Go programs and the curl inside tritonserver look


def busybox(tree: Tree, debs: Sequence[Path], applets: Sequence[str]) -> None:
    """Add busybox, with a link for each of ``applets``."""
    for deb in debs:
        if package_name(deb) == "busybox-static":
            add_deb(tree, deb, keep=lambda path: path in {"bin/busybox", "usr/bin/busybox"} or path.endswith("/copyright"))
    if "usr/bin/busybox" not in tree:
        raise ImageError("The package busybox-static contains no bin/busybox: images would have no shell. Delete its .deb and run again.")
    for applet in applets:
        tree.link(f"usr/bin/{applet}", "busybox")
