"""Images built from a Dockerfile. Needs a builder: docker with buildx on this machine, or the one that ``builder`` names.

The tag is a hash of all that the image is made of and never moves.
"""

from __future__ import annotations

import hashlib
import stat
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pulumi

    from components.base.handles import ImageRegistry
    from components.images.settings import BuildImageSettings


def context_problem(key: str, entry: BuildImageSettings, project_dir: Path) -> str | None:
    """Return a message about a missing context or Dockerfile of the setting ``key``; None when both exist."""
    context = project_dir / entry.context
    if not context.is_dir():
        what = "is a file" if context.exists() else "does not exist"
        return f"{key}.context ({entry.context}) {what}: the image could not be built. Name a folder, relative to Pulumi.yaml."
    if not (context / entry.dockerfile).is_file():
        return (
            f"{key}.dockerfile ({entry.dockerfile}) is not in {entry.context}: the image could not be built. Add it, or correct dockerfile."
        )
    return None


def build_hash(entry: BuildImageSettings, context: Path) -> str:
    """Return 64 bits (hex) of a hash over the settings and the names, modes and contents of the files in the context.

    Files that .dockerignore excludes count too: a change of one gives the same image another tag, and the push uploads nothing. The image
    that a FROM line names does not count: pin it by digest where it must not change.
    """
    whole = hashlib.sha256()
    for part in (entry.dockerfile, entry.platform, entry.target or "", *(f"{key}={value}" for key, value in sorted(entry.args.items()))):
        whole.update(part.encode() + b"\0")
    for path in _files(context):
        mode = path.lstat().st_mode
        whole.update(f"{path.relative_to(context).as_posix()}\0{stat.S_IMODE(mode):o}\0".encode())
        whole.update((str(path.readlink()) if stat.S_ISLNK(mode) else _digest(path)).encode() + b"\0")
    return whole.hexdigest()[:16]


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files and links below ``folder`` by name, without .git."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name != ".git":
                yield from _files(path)
        elif path.is_file() or path.is_symlink():
            yield path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def build(
    settings: BuildImageSettings, *, tag: pulumi.Input[str], registry: ImageRegistry, opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Declare the image and return its reference (``tag@digest``). Nothing is built in a preview."""
    import pulumi_docker_build as docker_build  # noqa: PLC0415  # loaded only by stacks that build or copy images

    # Tags that begin with cache may move.
    cache = registry.url.apply(lambda url: f"{url}:cache-{settings.name}")
    stored = docker_build.CacheToRegistryArgs(ref=cache, mode=docker_build.CacheMode.MAX, image_manifest=True, oci_media_types=True)
    caching: dict[str, Any] = {
        "cache_from": [docker_build.CacheFromArgs(registry=docker_build.CacheFromRegistryArgs(ref=cache))],
        "cache_to": [docker_build.CacheToArgs(registry=stored)],
    }
    return docker_build.Image(
        settings.name,
        # Relative, as written: an absolute path would make the state depend on the machine.
        context=docker_build.BuildContextArgs(location=settings.context),
        dockerfile=docker_build.DockerfileArgs(location=f"{settings.context.rstrip('/')}/{settings.dockerfile}"),
        platforms=[docker_build.Platform(settings.platform)],
        target=settings.target,
        build_args=settings.args or None,
        builder=None if settings.builder is None else docker_build.BuilderConfigArgs(name=settings.builder),
        tags=[tag],
        push=True,
        build_on_preview=False,
        registries=[docker_build.RegistryArgs(address=registry.address, username=registry.username, password=registry.password)],
        opts=opts,
        **(caching if settings.cache else {}),
    ).ref
