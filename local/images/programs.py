"""Layers of images with static programs: one program, the pause program, rclone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from local.images import elf
from local.images.errors import ImageError
from local.images.layers import APPLETS, LayerPlan, accounts, busybox, certificates
from local.images.packages import package_name
from local.images.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from local.images.layers import Tools

_COPYING: Final = (*APPLETS, "awk", "cut", "du", "mkfifo", "mv", "tee")
"""What charts/triton/files/prefetch.sh uses; the publisher's image is based on Alpine, whose busybox has all applets."""


def program(name: str, target: str, *folders: str, also: Sequence[tuple[str, str]] = ()) -> Callable[[Tools], list[LayerPlan]]:
    """One static program of the toolchain at ``target``, others at the paths in ``also``, and ``folders`` owned by user nobody."""

    def layers(tools: Tools) -> list[LayerPlan]:
        debs = tools.debs("ca-certificates")
        bundle = [deb for deb in debs if package_name(deb) == "ca-certificates"]
        programs = [(tools.path(tool), place) for tool, place in ((name, target), *also)]

        def make() -> Tree:
            tree = Tree()
            accounts(tree, user="nonroot", number=65534)
            certificates(tree, bundle)
            for path, place in programs:
                require_static(path)
                tree.file(place, path, 0o755)
            for folder in folders:
                tree.folder(folder, 0o755, owner=65534)
            return tree

        return [LayerPlan(name=f"program {name} {target}", inputs=(*bundle, *(path.resolve() for path, _ in programs)), make=make)]

    return layers


def require_static(path: Path) -> None:
    """Check that a program starts in an image without a C library.

    Raises:
        ImageError: it is not an ELF program, or it needs a dynamic loader.
    """
    with path.open("rb") as stream:
        head = stream.read(1 << 16)  # the program headers are at the start
    try:
        parsed = elf.parse(head)
    except ValueError:
        parsed = None
    if parsed is None:
        raise ImageError(
            f"{path} is not an ELF program: an image can't run it. Delete it (or take it off PATH) and run again to have it built."
        )
    if parsed.interpreter:
        raise ImageError(
            f"{path} is dynamically linked: it would not start in its image, which has no C library. "
            "Take it off PATH and run again: the toolchain then gets a static one."
        )


_PAUSE: Final = """#!/bin/sh
# PID 1 of a pod's sandbox: waits, reaps orphans (pods may share their process namespace), ends at once on SIGTERM.
trap 'exit 0' TERM INT
while :; do
    sleep 2147483647 &
    wait $!
done
"""


def pause_layers(tools: Tools) -> list[LayerPlan]:
    """The sandbox of every pod."""
    debs = [deb for deb in tools.debs("busybox-static") if package_name(deb) == "busybox-static"]

    def make() -> Tree:
        tree = Tree()
        tree.merge_links()
        accounts(tree, user="nonroot", number=65534)
        busybox(tree, debs, ("sh", "sleep"))
        tree.file("pause", _PAUSE, 0o755)
        return tree

    return [LayerPlan(name="pause", inputs=tuple(debs), make=make)]


def rclone_layers(tools: Tools) -> list[LayerPlan]:
    """Program rclone with a shell, laid out like the publisher's image."""
    debs = tools.debs("busybox-static", "ca-certificates")
    program = tools.path("rclone")

    def make() -> Tree:
        tree = Tree()
        tree.merge_links()
        require_static(program)
        tree.file("usr/local/bin/rclone", program, 0o755)
        accounts(tree, user="rclone", number=1009)
        busybox(tree, debs, _COPYING)
        certificates(tree, debs)
        tree.folder("data", 0o755)
        return tree

    return [LayerPlan(name="rclone", inputs=(*debs, program.resolve()), make=make)]
