"""Helpers for Pulumi outputs."""

from __future__ import annotations

import pulumi


def after(value: pulumi.Output[str], *ready: pulumi.Output[str]) -> pulumi.Output[str]:
    """Hand ``value`` out once all of ``ready`` are known."""
    return pulumi.Output.all(value, *ready).apply(lambda known: str(known[0]))
