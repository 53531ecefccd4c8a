"""Build images and cache them: one tar for each image and state of its inputs, written to a staging file and renamed under a lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from local.images import oci, recipes
from local.images.errors import ImageError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from local.images.layers import LayerPlan, Tools
    from local.images.recipes import Recipe
    from local.progress import Reporter

_MEBIBYTES_PER_S: Final = 120.0
"""Build speed, hashing and writing, measured on two cores from 2023 and an ordinary disk; for estimates only."""
_KEEP_UNUSED_S: Final = 24 * 3600.0
"""Images of other inputs are kept this long after their last use: a second checkout may be importing one."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image in the cache."""

    name: str
    """Full name, host/name:tag."""
    path: Path
    """The OCI layout as a tar."""
    digest: str
    """Digest of its manifest, "sha256:...", which the container runtime shows."""


def build_all(
    tools: Tools, cache_root: Path, reporter: Reporter, names: Sequence[str] | None = None, also: Sequence[str] = ()
) -> list[ImageFile]:
    """Return the images that every stack needs; build those whose inputs have changed.

    Args:
        tools: the toolchain; provides the programs in the images.
        cache_root: images are stored in its folder ``images``.
        reporter: receives one step for each image that is built.
        names: only these, such as pause:3.10; by default all except those built on request.
        also: images built on request to include.

    Raises:
        ImageError: an unknown name, an unusable input, or a full disk.
    """
    remembering = _Remembering(tools)
    return [_build(recipe, remembering, cache_root / "images", reporter) for recipe in _chosen(names, also)]


def estimate_s(tools: Tools, cache_root: Path, names: Sequence[str] | None = None, also: Sequence[str] = ()) -> float:
    """Return the estimated seconds of `build_all` without tools; 0.0 if an image of each name exists.

    Checks names only: to find out whether inputs changed, it would need the inputs.
    """
    del tools  # same parameters as `build_all`
    folder = cache_root / "images"
    missing = [recipe for recipe in _chosen(names, also) if not any(folder.glob(f"{_file_stem(recipe)}-*.tar"))]
    return sum((1.0 + recipe.mebibytes / _MEBIBYTES_PER_S for recipe in missing), 0.0)


class _Remembering:
    """The toolchain with its answers cached: several images share packages."""

    def __init__(self, tools: Tools) -> None:
        self.ensure = tools.ensure
        self.path = tools.path
        self._tools = tools
        self._debs: dict[tuple[str, ...], list[Path]] = {}

    def debs(self, *packages: str) -> list[Path]:
        if packages not in self._debs:
            self._debs[packages] = self._tools.debs(*packages)
        return self._debs[packages]

    def wheel(self, name: str, version: str, python: str = "3.11") -> Path:
        return self._tools.wheel(name, version, python)


def _chosen(names: Sequence[str] | None, also: Sequence[str]) -> list[Recipe]:
    if names is None:
        names = [recipe.name for recipe in recipes.RECIPES if not recipe.on_request or recipe.name in also]
    known = {recipe.name: recipe for recipe in recipes.RECIPES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ImageError(f"Unknown image {', '.join(unknown)}. Must be one of: {', '.join(known)}.")
    return [known[name] for name in names]


def _build(recipe: Recipe, tools: Tools, folder: Path, reporter: Reporter) -> ImageFile:
    if recipe.tools:
        tools.ensure(*recipe.tools)
    plans = recipe.layers(tools)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _lock(folder / f".{_file_stem(recipe)}.lock"):
            key = _key(recipe, plans, folder)
            path = folder / f"{_file_stem(recipe)}-{key[:16]}.tar"
            record = path.with_suffix(".json")
            digest = _made(path, record, key)
            if digest is None:
                with reporter.step(f"image {recipe.name}", 1.0 + recipe.mebibytes / _MEBIBYTES_PER_S):
                    digest = _make(recipe, plans, path, record, key)
            _prune(recipe, folder, path)
    except OSError as error:
        if error.errno in _FULL:
            free = shutil.disk_usage(folder).free / 1024**2 if folder.exists() else 0.0
            raise ImageError(
                f"Image {recipe.name} could not be written to {folder}: the disk is full ({free:.0f} MiB free, about "
                f"{recipe.mebibytes} MiB needed). The partial image has been removed. Free some space, or set TRITON_FLEET_CACHE to a "
                "folder on another disk, then run again."
            ) from error
        raise
    return ImageFile(name=recipe.reference, path=path, digest=digest)


def _made(path: Path, record: Path, key: str) -> str | None:
    """Return the digest of an existing complete image; None if it must be built."""
    try:
        known: dict[str, Any] = json.loads(record.read_text())
        whole = known["key"] == key and path.stat().st_size == known["size"]
        now = time.time()
        os.utime(path, (now, now))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return str(known["digest"]) if whole else None


def _make(recipe: Recipe, plans: Sequence[LayerPlan], path: Path, record: Path, key: str) -> str:
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staged.open("wb") as stream:
            digest = oci.write_image(
                stream,
                reference=recipe.reference,
                layers=[plan.make() for plan in plans],
                config=recipe.config,
                architecture=recipes.architecture(),
            )
            stream.flush()
            os.fsync(stream.fileno())
        size = staged.stat().st_size
        # The tar first: a tar without its record is rebuilt, but a record without its tar would be trusted.
        staged.replace(path)
        staged.write_text(json.dumps({"key": key, "size": size, "digest": digest}))
        staged.replace(record)
    finally:
        staged.unlink(missing_ok=True)
    return digest


def _prune(recipe: Recipe, folder: Path, current: Path) -> None:
    """Remove, under the image's lock, files of killed builds and images that have not been used for a day."""
    stem = _file_stem(recipe)
    for left in folder.glob(f".{stem}-*.tar.*"):
        left.unlink(missing_ok=True)
    for old in folder.glob(f"{stem}-????????????????.tar"):
        with contextlib.suppress(OSError):
            if old != current and time.time() - old.stat().st_mtime > _KEEP_UNUSED_S:
                old.with_suffix(".json").unlink(missing_ok=True)
                old.unlink()


def _file_stem(recipe: Recipe) -> str:
    return recipe.name.replace(":", "-")


def _key(recipe: Recipe, plans: Sequence[LayerPlan], folder: Path) -> str:
    """Return a digest of everything that decides the image: the inputs' content, the configuration, and this package's code."""
    digests = _Digests(folder / ".digests.json")
    parts = {
        "code": _code(),
        "architecture": recipes.architecture(),
        "python": platform.python_version(),  # it compiles the bytecode in some images
        "reference": recipe.reference,
        "config": repr(recipe.config),
        "layers": [{"name": plan.name, "inputs": [[path.name, digests.of(path)] for path in plan.inputs]} for plan in plans],
    }
    digests.save()
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _code() -> str:
    whole = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        whole.update(source.name.encode() + b"\0" + source.read_bytes())
    return whole.hexdigest()


class _Digests:
    """Digests of files, cached by size, inode and modification time: an unchanged run need not read a gigabyte."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = {}
        self._new: dict[str, list[Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            loaded = json.loads(path.read_text())
            self._known = loaded if isinstance(loaded, dict) else {}

    def of(self, path: Path) -> str:
        """Return the SHA-256 of a file's content."""
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        known = self._known.get(str(path))
        if isinstance(known, list) and known[:-1] == state:
            return str(known[-1])
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        self._new[str(path)] = [*state, digest]
        return digest

    def save(self) -> None:
        """Write new entries. A race with another process may lose one, which costs reading that file once more."""
        if not self._new:
            return
        merged = {path: entry for path, entry in {**self._known, **self._new}.items() if Path(path).exists()}
        staged = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            staged.write_text(json.dumps(merged))
            staged.replace(self._path)
        finally:
            staged.unlink(missing_ok=True)


@contextlib.contextmanager
def _lock(path: Path) -> Generator[None]:
    """Hold a lock that the kernel releases when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
