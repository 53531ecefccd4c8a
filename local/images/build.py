"""Makes images and keeps them: one tar an image and content of its inputs, made in a staging file and renamed, one maker at a time."""

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

    from local.images.recipes import LayerPlan, Recipe, Tools
    from local.progress import Reporter

_MEBIBYTES_PER_S: Final = 120.0
"""How fast an image is made on two cores of 2023 and a plain disk, hashing and writing; for estimates only."""
_KEEP_UNUSED_S: Final = 24 * 3600.0
"""Images of other inputs stay this long after their last use: a second checkout may be importing one."""
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


@dataclass(frozen=True, kw_only=True)
class ImageFile:
    """An image in the cache."""

    name: str
    """Reference by which pods ask for it, host/name:tag."""
    path: Path
    """The OCI layout as a tar."""
    digest: str
    """Digest of its manifest, "sha256:...": what the container runtime shows for the image."""


def build_all(
    tools: Tools, cache_root: Path, reporter: Reporter, names: Sequence[str] | None = None, also: Sequence[str] = ()
) -> list[ImageFile]:
    """Return every image that each stack needs, making those whose inputs have changed since they were made.

    Args:
        tools: the toolchain; the programs that go into images are made ready through it.
        cache_root: images go to its folder ``images``.
        reporter: told of each image that is made.
        names: only these, as pause:3.10; None means all but those that are made on request.
        also: of those that are made on request, these.

    Raises:
        ImageError: an unknown name, an input that can't be used, or a full disk.
    """
    remembering = _Remembering(tools)
    return [_build(recipe, remembering, cache_root / "images", reporter) for recipe in _chosen(names, also)]


def estimate_s(tools: Tools, cache_root: Path, names: Sequence[str] | None = None, also: Sequence[str] = ()) -> float:
    """Return about how many seconds `build_all` would take now, tools not counted; 0.0 when an image of each name was made before.

    Looks at names only: whether inputs changed is not checked, because that would need the inputs.
    """
    del tools  # the protocol of estimates: what is there already needs no toolchain
    folder = cache_root / "images"
    missing = [recipe for recipe in _chosen(names, also) if not any(folder.glob(f"{_file_stem(recipe)}-*.tar"))]
    return sum((1.0 + recipe.mebibytes / _MEBIBYTES_PER_S for recipe in missing), 0.0)


class _Remembering:
    """The toolchain, asked for each thing once: several images share packages."""

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
        raise ImageError(f"No recipe makes the image {', '.join(unknown)}. There are: {', '.join(known)}.")
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
                f"{recipe.mebibytes} MiB needed). What was half done has been removed. Free some space, or set TRITON_FLEET_CACHE to a "
                "folder on another disk, then run again."
            ) from error
        raise
    return ImageFile(name=recipe.reference, path=path, digest=digest)


def _made(path: Path, record: Path, key: str) -> str | None:
    """Return the digest of a whole image that is there; None when it must be made."""
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
        # The tar first: a record without its tar would be believed, a tar without its record is made again.
        staged.replace(path)
        staged.write_text(json.dumps({"key": key, "size": size, "digest": digest}))
        staged.replace(record)
    finally:
        staged.unlink(missing_ok=True)
    return digest


def _prune(recipe: Recipe, folder: Path, current: Path) -> None:
    """Remove, under the image's lock, what killed makers left and images that nobody has used for a day."""
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


# ---------------------------------------------------------------------------------------------------------------- what decides
def _key(recipe: Recipe, plans: Sequence[LayerPlan], folder: Path) -> str:
    """Return a digest of all that the image is made from: the inputs' content, the configuration, the code that puts them together."""
    digests = _Digests(folder / ".digests.json")
    parts = {
        "code": _code(),
        "architecture": recipes.architecture(),
        "python": platform.python_version(),  # it makes the bytecode that some images hold
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
    """Digests of files, remembered by size, inode and time of change, so that a run that changes nothing doesn't read a gigabyte."""

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
        """Write what is new; another process's entry may be lost to a race, which costs it one reading."""
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
    """Hold a lock that the kernel drops when its holder dies."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
