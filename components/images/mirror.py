"""Copies images unchanged from another registry. Needs no builder.

`Index` is ``docker buildx imagetools create``, which copies from registry to registry through this machine without writing to its disk. An
`Image` with only a FROM line was refused: it would unpack and pack 10 GB, and lose the other platforms.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pulumi

    from components.base.handles import ImageRegistry
    from components.images.settings import MirrorImageSettings


def source_hash(entry: MirrorImageSettings) -> str:
    """Return 64 bits (hex) of a hash over the source's reference."""
    return hashlib.sha256(entry.source.encode()).hexdigest()[:16]


def mirror(
    settings: MirrorImageSettings, *, tag: pulumi.Input[str], registry: ImageRegistry, opts: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """Declare the copy and return its reference (``tag@digest``). Nothing is copied in a preview."""
    import pulumi_docker_build as docker_build  # noqa: PLC0415  # loaded only by stacks that build or copy images

    credentials = docker_build.RegistryArgs(address=registry.address, username=registry.username, password=registry.password)
    return docker_build.Index(settings.name, sources=[settings.source], tag=tag, push=True, registry=credentials, opts=opts).ref
