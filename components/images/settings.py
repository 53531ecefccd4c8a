"""Settings of the container images that a stack builds or mirrors into its own registry."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, Field

from components.base.credentials import looks_secret
from components.base.errors import Problem
from components.base.model import DnsLabel, Model

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_REFERENCE: Final = re.compile(
    r"(?P<repository>[a-zA-Z0-9][a-zA-Z0-9.:-]*/[a-z0-9]+([._/-]+[a-z0-9]+)*)(:(?P<tag>[\w][\w.-]{0,127}))?(@(?P<digest>sha256:[0-9a-f]{64}))?"
)
PLATFORMS: Final = {"linux/amd64": "x86_64", "linux/arm64": "arm64"}
"""Platform of an image -> architecture of the nodes that run it."""


def _check_source(value: str) -> str:
    found = _REFERENCE.fullmatch(value)
    if found is None:
        raise ValueError(
            "must be an image reference with a registry: it could not be found. Write one like nvcr.io/nvidia/tritonserver:26.07-py3."
        )
    if found["digest"] is None and found["tag"] in {None, "latest"}:
        raise ValueError(
            "has no fixed version: the image would depend on the day of the first copy. Add a tag other than latest, or a digest."
        )
    return value


def _check_inside(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/"):
        raise ValueError("is outside the context: the builder could not read it. Name a file inside the context.")
    return value


class BuildImageSettings(Model):
    """An image that is built from a Dockerfile and pushed."""

    kind: Literal["build"]
    """Built from a Dockerfile."""
    name: DnsLabel
    """Name for use in ``serving[].image``."""
    context: str
    """Folder of the build context, relative to Pulumi.yaml."""
    dockerfile: Annotated[str, AfterValidator(_check_inside)] = "Dockerfile"
    """Dockerfile, relative to the context."""
    platform: Literal["linux/amd64", "linux/arm64"] = "linux/amd64"
    """Platform that it is built for; the nodes that run it must have this architecture."""
    target: str | None = None
    """Target stage of the Dockerfile; None is the last."""
    args: dict[str, str] = Field(default_factory=dict)
    """Build arguments. They stay readable in the image's history: do not put credentials here."""
    builder: str | None = None
    """Name of the buildx builder; None is docker's current one."""
    cache: bool = False
    """Whether layers are cached in the registry, as tag ``cache-<name>``, for builds on other machines. Docker's default builder does not
    support this; builders from ``docker buildx create`` do."""

    def _problems(self) -> Iterator[Problem]:
        for name in (name for name, value in self.args.items() if looks_secret(name, value)):
            text = f"({name}) looks like a credential: everyone who can pull the image can read it. Fetch what needs it before the build."
            yield Problem(at=("args",), text=text, fatal=False)


class MirrorImageSettings(Model):
    """An image of another registry, copied unchanged with all its platforms and without a Docker daemon."""

    kind: Literal["mirror"]
    """Copied unchanged."""
    name: DnsLabel
    """Name for use in ``serving[].image``."""
    source: Annotated[str, AfterValidator(_check_source)] = Field(examples=["nvcr.io/nvidia/tritonserver:26.07-py3"])
    """Image reference with a registry and a tag or digest, such as ``nvcr.io/nvidia/tritonserver:26.07-py3``."""


ImageSettings = Annotated[BuildImageSettings | MirrorImageSettings, Field(discriminator="kind")]
"""An image in the stack's own registry, distinguished by ``kind``."""


def original(image: str, images: Sequence[BuildImageSettings | MirrorImageSettings]) -> str:
    """Return the source of the mirrored image that is named ``image``, else ``image`` itself."""
    return next((entry.source for entry in images if entry.kind == "mirror" and entry.name == image), image)
