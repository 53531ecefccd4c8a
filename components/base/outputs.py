"""Order through Pulumi outputs: an output carries the resources that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

if TYPE_CHECKING:
    from collections.abc import Sequence


def after(value: pulumi.Output[str], *ready: pulumi.Output[str]) -> pulumi.Output[str]:
    """Return ``value`` as an output that resolves once all of ``ready`` are known."""
    return pulumi.Output.all(value, *ready).apply(lambda known: str(known[0]))


def behind(*values: pulumi.Output[Any], also: Sequence[pulumi.Resource] = ()) -> pulumi.Output[Sequence[pulumi.Input[pulumi.Resource]]]:
    """Return a ``depends_on`` of ``also`` and of those that ``values`` come from."""
    return pulumi.Output.all(*values).apply(lambda _: list(also))
