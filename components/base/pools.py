"""Rules for node pools on every cloud."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.base.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence


def scaling_problems(least: int, desired: int | None, most: int) -> list[Problem]:
    """Return what a cloud would reject in a pool's numbers of nodes."""
    problems = []
    if least > most:
        text = f"({least}) is above max ({most}): the pool could never be created. Lower min or raise max."
        problems.append(Problem(at=("min",), text=text, also=(("max",),)))
    elif desired is not None and not least <= desired <= most:
        text = f"({desired}) is not between min ({least}) and max ({most}): the pool could never be created. Change it, or remove it."
        problems.append(Problem(at=("desired",), text=text, also=(("min",), ("max",))))
    return problems


def pool_name_problems(names: Sequence[str]) -> list[Problem]:
    """Return what is wrong with the names of ``gpuPools``: duplicates, and the name of the pool without GPUs."""
    problems = [
        Problem(
            at=("gpu_pools", index, "name"),
            text=f"({name}) is gpuPools[{names.index(name)}]'s name too: one would overwrite the other. Choose another name.",
            also=(("gpu_pools", names.index(name), "name"),),
        )
        for index, name in enumerate(names)
        if names.index(name) != index
    ]
    if "cpu" in names:
        text = "(cpu) is the name of the pool without GPUs: one would overwrite the other. Choose another name."
        problems.append(Problem(at=("gpu_pools", names.index("cpu"), "name"), text=text))
    return problems
