"""Container images that the stack builds from a Dockerfile, or mirrors from another registry, into the registry of the cluster's cloud.

A build needs docker with buildx on this machine, or the builder that ``builder`` names. A mirror needs neither: `Index` is ``docker buildx
imagetools create``, which copies from registry to registry through this machine without writing to its disk. An `Image` with only a FROM
line was refused: it would unpack and pack 10 GB, and lose the other platforms.

Tags are hashes of what the image is made of and never move; the registry may enforce that. Deployments get each image by its digest, so
that they run what was built. Nothing is deleted, because a manifest is deleted by digest, and two tags may share one.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pulumi

from components.base.errors import FleetError
from components.base.naming import type_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from components.base.handles import ImageRegistry
    from components.images.settings import BuildImageSettings, MirrorImageSettings


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """One image and its tag."""

    name: str
    tag: str
    settings: BuildImageSettings | MirrorImageSettings


def plan_images(images: Sequence[BuildImageSettings | MirrorImageSettings], project_dir: Path) -> tuple[ImagePlan, ...]:
    """Read the build contexts and return each image's tag; ``project_dir`` is the folder of Pulumi.yaml.

    Raises:
        FleetError: With every context and Dockerfile that does not exist.
    """
    problems: list[str] = []
    plans: list[ImagePlan] = []
    for index, entry in enumerate(images):
        if entry.kind == "mirror":
            digest = hashlib.sha256(entry.source.encode()).hexdigest()[:16]
        elif problem := _context_problem(f"triton-fleet:images[{index}]", entry, project_dir):
            problems.append(problem)
            continue
        else:
            digest = build_hash(entry, project_dir / entry.context)
        plans.append(ImagePlan(name=entry.name, tag=f"{entry.name}-{digest}", settings=entry))
    if problems:
        raise FleetError(*problems)
    return tuple(plans)


def _context_problem(key: str, entry: BuildImageSettings, project_dir: Path) -> str | None:
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


def by_digest(url: str, reference: str) -> str:
    """Return the image of the repository ``url`` by the digest in ``reference`` (``tag@digest``).

    In the preview of a new image the digest is unknown, and the tag is returned.
    """
    _, _, digest = reference.partition("@")
    return f"{url}@{digest}" if digest else reference


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """Arguments of `Images`."""

    plans: Sequence[ImagePlan]
    registry: ImageRegistry


class Images(pulumi.ComponentResource):
    """The images of a stack."""

    references: dict[str, pulumi.Output[str]]
    """Name -> image reference by digest; resolves once the image is in the registry."""

    def __init__(self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("images", "Images"), name, None, opts)
        # Kept on deletion, see the module's docstring. A registry that is deleted deletes its images or refuses to.
        child = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        self.references = {}
        for plan in args.plans:
            tag = pulumi.Output.concat(args.registry.url, ":", plan.tag)
            reference = _declare(plan.settings, tag, args.registry, child)
            self.references[plan.name] = pulumi.Output.all(args.registry.url, reference).apply(lambda known: by_digest(*known))
        self.register_outputs({"references": self.references})


def _declare(
    settings: BuildImageSettings | MirrorImageSettings, tag: pulumi.Output[str], registry: ImageRegistry, opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Declare the image and return its reference (``tag@digest``). Nothing is built or copied in a preview."""
    import pulumi_docker_build as docker_build  # noqa: PLC0415  # loaded only by stacks that build or copy images

    credentials = docker_build.RegistryArgs(address=registry.address, username=registry.username, password=registry.password)
    if settings.kind == "mirror":
        return docker_build.Index(settings.name, sources=[settings.source], tag=tag, push=True, registry=credentials, opts=opts).ref
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
        registries=[credentials],
        opts=opts,
        **(caching if settings.cache else {}),
    ).ref
