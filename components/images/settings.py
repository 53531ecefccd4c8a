"""Settings of container images that a stack builds or mirrors into its own registry, and what deployments say of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.base.model import DnsLabel, Model

if TYPE_CHECKING:
    from collections.abc import Sequence


_REFERENCE: Final = re.compile(
    r"(?P<repository>[a-zA-Z0-9][a-zA-Z0-9.:-]*/[a-z0-9]+([._/-]+[a-z0-9]+)*)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
PLATFORMS: Final = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}
"""Platform of an image -> architecture of the nodes that run it."""


def _check_source(value: str) -> str:
    found = _REFERENCE.fullmatch(value)
    if found is None:
        raise ValueError(
            "is no image reference with a registry: it could not be found. Write one like nvcr.io/nvidia/tritonserver:26.07-py3."
        )
    if found["digest"] is None and found["tag"] in {None, "latest"}:
        raise ValueError(
            "names no release: what is mirrored would be whatever lies there on the day. Add a tag other than latest, or a digest."
        )
    return value


def _check_inside(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("leads out of the context: a builder sees nothing outside of it. Name a file inside.")
    return value


class BuildImageSettings(Model):
    """An image that is built from a Dockerfile and pushed."""

    kind: Literal["build"]
    """Built from a Dockerfile."""
    name: DnsLabel
    """Name that ``serving[].image`` takes it by."""
    context: str
    """Folder that the builder sees, relative to Pulumi.yaml."""
    dockerfile: Annotated[str, AfterValidator(_check_inside)] = "Dockerfile"
    """Dockerfile, relative to the context."""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    """What it is built for; the nodes that run it must be of that architecture."""
    target: str | None = None
    """Stage of the Dockerfile; None is the last."""
    args: dict[str, str] = Field(default_factory=dict)
    """Build arguments. They stay readable in the image's history: no place for credentials."""
    builder: str | None = None
    """Name of the buildx builder, for one that is not on this machine; None is the one that docker uses."""
    cache: bool = False
    """Keep layers in the registry, as tag ``cache-<name>``, so that another machine does not begin from nothing. Docker's own default
    builder can't; those of ``docker buildx create`` can."""


class MirrorImageSettings(Model):
    """An image of another registry that is copied as it is, layer by layer and for all its platforms, without a Docker daemon."""

    kind: Literal["mirror"]
    """Copied as it is."""
    name: DnsLabel
    """Name that ``serving[].image`` takes it by."""
    source: Annotated[str, AfterValidator(_check_source)]
    """The image, with its registry and a tag or digest, such as ``nvcr.io/nvidia/tritonserver:26.07-py3``."""


ImageSettings = Annotated[BuildImageSettings | MirrorImageSettings, Field(discriminator="kind")]
"""An image of the stack's own registry, told apart by ``kind``."""


def original(image: str, images: Sequence[BuildImageSettings | MirrorImageSettings]) -> str:
    """Give what an image is made of as far as it has a name: the mirrored one's, else ``image`` itself."""
    return next((entry.source for entry in images if entry.kind == "mirror" and entry.name == image), image)
