"""Image references that can't be pulled, or hold no server."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Final

from components.base.errors import Problem
from components.base.tritonserver import server_image

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH: Final = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_REFERENCE: Final = re.compile(
    rf"(?P<repository>(?:[a-zA-Z0-9.-]+(?::\d+)?/)?{_PATH}(?:/{_PATH})*)(?::(?P<tag>\w[\w.-]{{0,127}}))?(?P<digest>@sha256:[0-9a-f]{{64}})?"
)
_NVIDIA: Final = "nvcr.io/nvidia/tritonserver"
_NAMES: Final = re.compile(
    r"(nvcr\.io/(nvidia/)?|((index\.)?docker\.io/)?(nvidia/|library/)?)(triton-?(inference-?)?(server)?|inference-?server)"
)
"""Wrong names of `_NVIDIA`: on its own registry, or on Docker Hub."""
_TAG: Final = re.compile(r"(?P<release>\d{2}\.(0[1-9]|1[0-2])(\.\d+)?)(-(?P<variant>.+))?")
_SERVERS: Final = ("py3", "vllm-python-py3", "trtllm-python-py3", "pyt-python-py3", "tf2-python-py3", "tf-python-py3")
_FIRST_RELEASE: Final = (23, 11)
"""Triton 2.40, the first with --http-restricted-api (github.com/triton-inference-server/server, v2.40.0, src/command_line_parser.cc)."""
_EXAMPLE: Final = f"{_NVIDIA}:26.07-py3"


def image_problems(image: str, *, client: bool = False) -> Iterator[Problem]:
    """Yield what is wrong with a reference, which may be a name without registry. ``client``: for perf_analyzer, not for the server.

    Tags: catalog.ngc.nvidia.com/orgs/nvidia/containers/tritonserver/tags.
    """
    found = _REFERENCE.fullmatch(image)
    if found is None:
        hint = "Leave out the scheme." if "://" in image else f"Write one such as {_EXAMPLE}."
        yield Problem(text=f"({image}) is not an image reference: no node could pull it. {hint}")
        return
    if not client and (server_image(image).release or _FIRST_RELEASE) < _FIRST_RELEASE:
        yield Problem(text=f"({image}) is older than 23.11: Triton would not know --http-restricted-api, and not start. Use a newer tag.")
        return
    repository, tag, digest = found["repository"], found["tag"], found["digest"]
    if repository != _NVIDIA and _NAMES.fullmatch(repository) and (repository.startswith("nvcr.io/") or "/" in repository):
        text = f"({image}) is not where NVIDIA publishes its server: no node could pull it. Did you mean {_NVIDIA}:{tag or '26.07-py3'}?"
        yield Problem(text=text, fatal=repository.startswith("nvcr.io/"))
        return
    if digest is not None and (tag is None or _TAG.fullmatch(tag) is None):
        return
    if repository == _NVIDIA:
        yield from _nvidia_tag(image, tag, client=client)
    elif tag == "latest" or (tag is None and "/" in repository):
        text = f"({image}) has no fixed version: nodes may run different ones, and no rollback restores the old. Add a tag, or a digest."
        yield Problem(text=text, fatal=False)
    elif repository.endswith("/tritonserver") and tag is not None and (named := _TAG.fullmatch(tag)):
        yield from _variant(image, named["variant"] or "py3", client=client)


def _nvidia_tag(image: str, tag: str | None, *, client: bool) -> Iterator[Problem]:
    wanted = "py3-sdk" if client else "py3"
    named = _TAG.fullmatch(tag or "")
    if tag is None or tag == "latest":
        yield Problem(text=f"({image}) has no tag that exists: NVIDIA publishes no latest. Write one such as {_NVIDIA}:26.07-{wanted}.")
    elif named is None:
        text = (
            f"({image}) has no tag of NVIDIA's form, <year>.<month>-{wanted}: no node could pull it. Did you mean {_NVIDIA}:26.07-{wanted}?"
        )
        yield Problem(text=text, fatal=re.match(r"\d", tag) is not None)
    elif named["variant"] is None:
        yield Problem(text=f"({image}) is a release and not a tag: no node could pull it. Write {tag}-{wanted}.")
    else:
        yield from _variant(image, named["variant"], client=client)


def _variant(image: str, variant: str, *, client: bool) -> Iterator[Problem]:
    release, holds_clients = image.partition("@")[0].removesuffix(f"-{variant}"), "sdk" in variant.split("-")
    if client and not holds_clients:
        if variant in _SERVERS:
            yield Problem(text=f"({image}) has no perf_analyzer: the client could not send a request. Write {release}-py3-sdk.")
    elif holds_clients and not client:
        yield Problem(text=f"({image}) has the clients and no server: pods would fail at once. Write {release}-py3.")
    elif variant.rsplit("-", maxsplit=1)[-1] == "min":
        yield Problem(text=f"({image}) is a base image without a server: pods would fail at once. Write {release}-py3.")
    elif not client and "igpu" in variant.split("-"):
        yield Problem(text=f"({image}) is for Jetson's integrated GPUs: no other GPU would be found. Write {release}-py3.", fatal=False)
    elif not client and variant not in _SERVERS:
        close = difflib.get_close_matches(variant, _SERVERS, n=1, cutoff=0.4) or ["py3"]
        text = f"({image}) is not one of NVIDIA's variants ({', '.join(_SERVERS)}): it may not exist. Did you mean {release}-{close[0]}?"
        yield Problem(text=text, fatal=False)
