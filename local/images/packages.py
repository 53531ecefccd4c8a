"""Read Debian packages and wheels into a `Tree`."""

from __future__ import annotations

import marshal
import shutil
import subprocess
import sys
import tarfile
import zipfile
from typing import IO, TYPE_CHECKING, Final, cast

from local.images import bytecode, elf
from local.images.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from local.images.tree import Tree

_NO_USE: Final = (
    "usr/share/man/", "usr/share/info/", "usr/share/locale/", "usr/share/lintian/", "usr/share/bug/", "usr/share/menu/",
    "usr/share/bash-completion/", "usr/share/applications/", "usr/share/pixmaps/", "usr/share/doc-base/", "usr/share/debconf/",
    "usr/share/apport/", "etc/skel/",
)  # fmt: skip
"""Folders of Debian packages that are left out of images."""


def package_name(path: Path) -> str:
    """Return the package's name from its file name: libssl3 for libssl3_3.0.22-1_amd64.deb."""
    return path.name.partition("_")[0]


def add_deb(tree: Tree, path: Path, keep: Callable[[str], bool] = lambda _: True) -> None:
    """Add the files of a Debian package for which ``keep`` (called with paths without leading slash) is true. Manuals are left out.

    Raises:
        ImageError: the package can't be read.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(path)]
    try:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            with tarfile.open(fileobj=cast("IO[bytes]", process.stdout), mode="r|") as tar:
                for member in tar:
                    _add_member(tree, tar, member, keep)
            said = process.stderr.read().decode(errors="replace").strip() if process.stderr else ""
    except (OSError, tarfile.TarError) as error:
        raise ImageError(
            f"{path} can't be read as a Debian package ({error}): it can't go into an image. Delete the file and run again."
        ) from error
    if process.returncode:
        raise ImageError(f"{path} can't be read as a Debian package ({said}): it can't go into an image. Delete the file and run again.")


def _add_member(tree: Tree, tar: tarfile.TarFile, member: tarfile.TarInfo, keep: Callable[[str], bool]) -> None:
    name = member.name.removeprefix("./").rstrip("/")
    wanted = not name.startswith(_NO_USE) and (not name.startswith("usr/share/doc/") or name.endswith("/copyright")) and keep(name)
    if name in {"", "."} or not wanted:
        return
    if member.isdir():
        return  # files create their folders; packages' empty folders are mostly for dpkg
    if member.issym():
        tree.link(name, member.linkname)
    elif member.islnk():
        tree.file(name, tree.read(member.linkname.removeprefix("./")), member.mode & 0o777)
    elif member.isfile():
        content = tar.extractfile(member)
        tree.file(name, content.read() if content else b"", member.mode & 0o777)


def add_wheel(tree: Tree, path: Path, place: Callable[[str], str | None], executable: Callable[[str], bool] = lambda _: False) -> None:
    """Add the files of a wheel for which ``place`` returns a path, with mode 0755 if ``executable`` is true for that path, else 0644.

    Raises:
        ImageError: the wheel can't be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                target = None if member.is_dir() else place(member.filename)
                if target is not None:
                    tree.file(target, archive.read(member), 0o755 if executable(target) else 0o644)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImageError(f"{path} can't be read as a wheel ({error}): it can't go into an image. Delete the file and run again.") from error


def compile_python(tree: Tree, version: str, folders: Sequence[str]) -> None:
    """Add bytecode for the Python files below ``folders``: a container can't keep it, so every start would compile again.

    numpy and its imports take 0.65 s of CPU without bytecode and 0.12 s with it, for every model of every pod. The image's Python
    (``version``, such as 3.11) compiles: the running interpreter, or ``python3.11`` on PATH. Without either, nothing is added.
    """
    sources = {
        path: entry.data
        for path, entry in tree.items()
        if path.endswith(".py") and path.startswith(tuple(folders)) and isinstance(entry.data, bytes)
    }
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        files = bytecode.compiled(sources)
    elif (python := shutil.which(f"python{version}")) is not None:
        command = [python, "-I", bytecode.__file__]
        done = subprocess.run(command, input=marshal.dumps(sources, bytecode.FORMAT), capture_output=True, check=False)
        files = marshal.loads(done.stdout) if done.returncode == 0 else {}  # noqa: S302 (from our own script)
    else:
        return
    for path, content in files.items():
        tree.file(path, content)


def missing_libraries(trees: Sequence[Tree]) -> dict[str, list[str]]:
    """Return the shared libraries that some file needs and no tree contains, each with the files that need it."""
    names = {path.rpartition("/")[2] for tree in trees for path, _ in tree.items()}
    missing: dict[str, list[str]] = {}
    for path, data in _programs(trees):
        parsed = elf.parse(data)
        for library in parsed.needed if parsed else ():
            if library not in names:
                missing.setdefault(library, []).append(path)
    return missing


def _programs(trees: Iterable[Tree]) -> Iterable[tuple[str, bytes]]:
    for tree in trees:
        for path, entry in tree.items():
            if isinstance(entry.data, bytes) and entry.data[:4] == b"\x7fELF":
                yield path, entry.data
