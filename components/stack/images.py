"""What deployments say of the images of the stack."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from components.base.errors import Problem
from components.images.settings import PLATFORMS, BuildImageSettings, MirrorImageSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from components.serving.settings import ServingSettings


def image_problems(
    images: Sequence[BuildImageSettings | MirrorImageSettings],
    serving: Sequence[ServingSettings],
    *,
    registry: bool,
    architectures: Callable[[ServingSettings], frozenset[str]],
) -> Iterator[Problem]:
    """Yield what is wrong with images and the deployments that name them.

    ``registry`` is whether the stack has one; ``architectures`` are those of the nodes that a deployment may run on, none where that is not
    known.
    """
    names = [entry.name for entry in images]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem(
                at=("images", index, "name"),
                text=f"({name}) is images[{names.index(name)}]'s name too: deployments could mean either. Give each a name of its own.",
                also=(("images", names.index(name), "name"),),
            )
    if images and not registry:
        text = "need a registry to go to, and this stack makes none. Set cluster.imageRepository, or name a reference in serving[].image."
        yield Problem(at=("images",), text=text, also=(("cluster",),))
    for index, entry in enumerate(serving):
        at = ("serving", index, "image")
        found = next((image for image in images if image.name == entry.image), None)
        close = difflib.get_close_matches(entry.image, names, n=1) if found is None and re.search(r"[/:]", entry.image) is None else []
        if close:
            text = f"({entry.image}) is none of images, and no reference with a tag either: it can't be pulled. Did you mean {close[0]}?"
            yield Problem(at=at, text=text, also=(("images",),))
        there = architectures(entry)
        if found is not None and found.kind == "build" and there and PLATFORMS[found.platform] not in there:
            yield Problem(
                at=at,
                text=f"({entry.image}) is built for {found.platform}, but its nodes are {', '.join(sorted(there))}: its pods "
                "would end with an exec format error. Change platform, or the nodes.",
                also=(("images",), ("cluster",), ("autoscaler",)),
            )
