"""The longest chain of waits in a stack, from what each resource depends on and how long each one's wait is. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_REMOTE: Final = ("eks:index:Cluster",)
"""Components that a plugin makes: whoever depends on one waits for all that is in it. Others are taken apart by the SDK itself."""


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Waits that come one after another."""

    seconds: float
    steps: tuple[tuple[str, float], ...] = field(default=())
    """Type and name of each resource with a wait, and its seconds, in order."""


def longest(resources: Iterable[Mapping[str, Any]], waits: Mapping[str, float]) -> Chain:
    """The longest chain.

    Args:
        resources: The state's, as `pulumi stack export` gives them.
        waits: URN -> seconds; what is not in it answers at once.
    """
    known = {str(item["urn"]): item for item in resources}
    children: dict[str, list[str]] = {}
    for urn, item in known.items():
        children.setdefault(str(item.get("parent", "")), []).append(urn)

    @cache
    def done(urn: str) -> Chain:
        item = known[urn]
        before = needs(urn)
        provider = str(item.get("provider", "")).rsplit("::", 1)[0]
        if provider in known:
            before.append(provider)
        if item["type"] in _REMOTE:
            before += descendants(urn)
        best = max((done(name) for name in before), key=lambda chain: chain.seconds, default=Chain(seconds=0.0))
        own = waits.get(urn, 0.0)
        if not own:
            return best
        return Chain(seconds=best.seconds + own, steps=(*best.steps, (label(urn), own)))

    def needs(urn: str) -> list[str]:
        """What is named as needed: by the resource, and by the components that it is a part of, which are begun only then."""
        item = known[urn]
        named = [str(name) for name in item.get("dependencies") or [] if str(name) in known]
        parent = str(item.get("parent", ""))
        return named if parent not in known or known[parent].get("custom") else [*named, *needs(parent)]

    def descendants(urn: str) -> list[str]:
        direct = children.get(urn, [])
        return [*direct, *(name for child in direct for name in descendants(child))]

    return max((done(urn) for urn in known), key=lambda chain: chain.seconds, default=Chain(seconds=0.0))


def label(urn: str) -> str:
    """Type and logical name of a URN, to read."""
    parts = urn.split("::")
    return f"{parts[2].rsplit('$', 1)[-1]} {parts[3]}"
