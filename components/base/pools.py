"""What the node pools of every cloud share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.base.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Sequence


def scaling_problems(least: int, desired: int | None, most: int) -> list[Problem]:
    """What a cloud would refuse of a group's three numbers."""
    problems = []
    if least > most:
        text = f"({least}) is above max ({most}): the pool could never be made. Lower min or raise max."
        problems.append(Problem(at=("min",), text=text, also=(("max",),)))
    elif desired is not None and not least <= desired <= most:
        text = f"({desired}) is not between min ({least}) and max ({most}): the pool could never be made. Change it, or leave it out."
        problems.append(Problem(at=("desired",), text=text, also=(("min",), ("max",))))
    return problems


def pool_name_problems(names: Sequence[str]) -> list[Problem]:
    """What is wrong with the names of ``gpuPools``, in their order: two alike, or the one that the pool without GPUs has."""
    problems = [
        Problem(
            at=("gpu_pools", index, "name"),
            text=f"({name}) is gpuPools[{names.index(name)}]'s name too: one would overwrite the other. Give each a name of its own.",
            also=(("gpu_pools", names.index(name), "name"),),
        )
        for index, name in enumerate(names)
        if names.index(name) != index
    ]
    if "cpu" in names:
        text = "(cpu) is the name of the pool without GPUs: one would overwrite the other. Choose another."
        problems.append(Problem(at=("gpu_pools", names.index("cpu"), "name"), text=text))
    return problems
