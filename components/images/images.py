"""The images of a stack: built or mirrored into the registry that the cluster's room provides.

Deployments get each image by its digest, so that they run what was built and not what a tag points at. Tags never move; the registry may
enforce that. Nothing is deleted: deleting a manifest goes by digest, and two tags may share one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.base.errors import FleetError
from components.base.naming import type_token
from components.images.build import build, build_hash, context_problem
from components.images.mirror import mirror, source_hash

if TYPE_CHECKING:
    from collections.abc import Sequence
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
            plans.append(ImagePlan(name=entry.name, tag=f"{entry.name}-{source_hash(entry)}", settings=entry))
        elif problem := context_problem(f"triton-fleet:images[{index}]", entry, project_dir):
            problems.append(problem)
        else:
            plans.append(ImagePlan(name=entry.name, tag=f"{entry.name}-{build_hash(entry, project_dir / entry.context)}", settings=entry))
    if problems:
        raise FleetError(*problems)
    return tuple(plans)


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
        # Retained on deletion, see above. A registry that is deleted deletes its images or refuses to.
        child = pulumi.ResourceOptions(parent=self, retain_on_delete=True)
        self.references = {}
        for plan in args.plans:
            tag = pulumi.Output.concat(args.registry.url, ":", plan.tag)
            if plan.settings.kind == "mirror":
                reference = mirror(plan.settings, tag=tag, registry=args.registry, opts=child)
            else:
                reference = build(plan.settings, tag=tag, registry=args.registry, opts=child)
            self.references[plan.name] = pulumi.Output.all(args.registry.url, reference).apply(lambda known: by_digest(*known))
        self.register_outputs({"references": self.references})
