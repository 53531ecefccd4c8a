"""Images of a stack's own: built from a Dockerfile, or mirrored, into a registry that is handed over.

Of no cloud: ECR and Artifact Registry are each made by their cluster.

What comes out names an image by its digest, so that a deployment runs what was built and not what a tag points at. Tags are made of content
(of a build) or of the source's name (of a mirror) and never move; the registry may forbid that they do. Nothing is deleted: a manifest is
deleted by its digest, and two tags may well have one.

A build needs a builder (docker with buildx, or one elsewhere that ``builder`` names). A mirror needs none: `Index` is
``docker buildx imagetools create``, which copies from registry to registry through this machine and writes nothing to its disk; an `Image`
with nothing but a FROM line would unpack and pack 10 GB first, and lose the other platforms. Neither is done in a preview.
"""

from __future__ import annotations

import hashlib
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pulumi

from components.base.errors import FleetError
from components.base.naming import type_token

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from components.base.handles import ImageRegistry
    from components.images.settings import BuildImageSettings, MirrorImageSettings

_DIGITS: Final = 16
"""Characters of a hash in a tag: 64 bits."""
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ImagePlan:
    """One image, decided."""

    name: str
    tag: str
    settings: BuildImageSettings | MirrorImageSettings


def plan_images(images: Sequence[BuildImageSettings | MirrorImageSettings], project_dir: Path) -> tuple[ImagePlan, ...]:
    """Read the contexts and decide the tags; ``project_dir`` is the folder of Pulumi.yaml.

    Raises:
        FleetError: With every context and Dockerfile that is not there.
    """
    problems: list[str] = []
    plans: list[ImagePlan] = []
    for index, entry in enumerate(images):
        if entry.kind == "mirror":
            plans.append(ImagePlan(name=entry.name, tag=f"{entry.name}-{_short(entry.source)}", settings=entry))
            continue
        problem = context_problem(f"triton-fleet:images[{index}]", entry, project_dir)
        if problem is None:
            plans.append(ImagePlan(name=entry.name, tag=f"{entry.name}-{build_hash(entry, project_dir / entry.context)}", settings=entry))
        else:
            problems.append(problem)
    if problems:
        raise FleetError(*problems)
    return tuple(plans)


def context_problem(key: str, entry: BuildImageSettings, project_dir: Path) -> str | None:
    """Say what is missing of a build, as a whole message; None when all is there."""
    context = project_dir / entry.context
    if not context.is_dir():
        what = "is a file" if context.exists() else "is not there"
        return f"{key}.context ({entry.context}) {what}: there is nothing to build from. Name a folder, relative to Pulumi.yaml."
    if not (context / entry.dockerfile).is_file():
        return (
            f"{key}.dockerfile ({entry.dockerfile}) is not in {entry.context}: there is nothing to build by. Add it, or correct dockerfile."
        )
    return None


def build_hash(entry: BuildImageSettings, context: Path) -> str:
    """Hash all that a build is made of: names, modes and contents of the context, and the settings.

    Files that .dockerignore leaves out count too: a change in one makes another tag of the same image, which costs a push of nothing.
    What a FROM line names is not looked at: pin it by digest where it must not move.
    """
    whole = hashlib.sha256()
    for part in (entry.dockerfile, entry.platform, entry.target or "", *(f"{key}={value}" for key, value in sorted(entry.args.items()))):
        whole.update(part.encode() + b"\0")
    for path in _files(context):
        mode = path.lstat().st_mode
        whole.update(f"{path.relative_to(context).as_posix()}\0{stat.S_IMODE(mode):o}\0".encode())
        whole.update((str(path.readlink()) if stat.S_ISLNK(mode) else _digest(path)).encode() + b"\0")
    return whole.hexdigest()[:_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    """Files and links below ``folder`` by name; version control is no part of a build."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            if path.name != ".git":
                yield from _files(path)
        elif path.is_file() or path.is_symlink():
            yield path


def _digest(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def by_digest(url: str, reference: str) -> str:
    """Name an image of the repository ``url`` by the digest in ``reference`` (``tag@digest``).

    A preview of an image that is not there yet has no digest; it shows the tag, which never moves either.
    """
    _, _, digest = reference.partition("@")
    return f"{url}@{digest}" if digest else reference


@dataclass(frozen=True, kw_only=True)
class ImagesArgs:
    """Arguments of `Images`."""

    plans: Sequence[ImagePlan]
    registry: ImageRegistry


class Images(pulumi.ComponentResource):
    """The images of a stack's own."""

    references: dict[str, pulumi.Output[str]]
    """Name -> what to pull, by digest; resolves once it is in the registry."""

    def __init__(self, name: str, args: ImagesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__(type_token("images", "Images"), name, None, opts)
        self._registry = args.registry
        # Kept on deletion: see the module's own words. A registry that is deleted takes its images along, or refuses.
        self._child = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        url = args.registry.url
        self.references = {}
        for plan in args.plans:
            tag = url.apply(lambda known, tag=plan.tag: f"{known}:{tag}")  # type: ignore[misc]  # a default binds the loop's variable
            made = self._mirror(plan.settings, tag) if plan.settings.kind == "mirror" else self._build(plan.settings, tag)
            self.references[plan.name] = pulumi.Output.all(url, made).apply(lambda known: by_digest(*known))
        self.register_outputs({"references": self.references})

    def _mirror(self, settings: MirrorImageSettings, tag: pulumi.Output[str]) -> pulumi.Output[str]:
        import pulumi_docker_build as docker_build  # noqa: PLC0415  # only a stack with images pays for it

        registry = docker_build.RegistryArgs(
            address=self._registry.address, username=self._registry.username, password=self._registry.password
        )
        return docker_build.Index(settings.name, sources=[settings.source], tag=tag, push=True, registry=registry, opts=self._child).ref

    def _build(self, settings: BuildImageSettings, tag: pulumi.Output[str]) -> pulumi.Output[str]:
        import pulumi_docker_build as docker_build  # noqa: PLC0415  # as above

        registry = docker_build.RegistryArgs(
            address=self._registry.address, username=self._registry.username, password=self._registry.password
        )
        # Tags that begin with cache may move.
        cache = self._registry.url.apply(lambda url: f"{url}:cache-{settings.name}")
        stored = docker_build.CacheToRegistryArgs(ref=cache, mode=docker_build.CacheMode.MAX, image_manifest=True, oci_media_types=True)
        caching: dict[str, Any] = {
            "cache_from": [docker_build.CacheFromArgs(registry=docker_build.CacheFromRegistryArgs(ref=cache))],
            "cache_to": [docker_build.CacheToArgs(registry=stored)],
        }
        return docker_build.Image(
            settings.name,
            # As written: an absolute path would make the state of two machines differ.
            context=docker_build.BuildContextArgs(location=settings.context),
            dockerfile=docker_build.DockerfileArgs(location=f"{settings.context.rstrip('/')}/{settings.dockerfile}"),
            platforms=[docker_build.Platform(settings.platform)],
            target=settings.target,
            build_args=settings.args or None,
            builder=None if settings.builder is None else docker_build.BuilderConfigArgs(name=settings.builder),
            tags=[tag],
            push=True,
            build_on_preview=False,
            registries=[registry],
            opts=self._child,
            **(caching if settings.cache else {}),
        ).ref
