"""The base of every settings model, and the types that settings of several rooms share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

from components.base.errors import raise_problems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from components.base.errors import FieldPath, Problem


DEFER_RULES: Final = object()
"""Validation context: `Model.problems` is called for the whole tree once it is read, instead of model by model."""


def matching(pattern: str, text: str) -> AfterValidator:
    """Return a validator of strings that must match all of ``pattern``; ``text`` is the error, ``is not …: <consequence>. <remedy>``."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(text)
        return value

    return AfterValidator(check)


DnsLabel = Annotated[
    str,
    matching(
        r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
        "is not a DNS label: Kubernetes would reject a Service of that name. "
        "Use 1 to 63 lower-case letters, digits and hyphens; start with a letter and don't end with a hyphen.",
    ),
]
"""An RFC 1123 label that starts with a letter: the form that Service names and Helm releases both accept."""

Project = Annotated[
    str,
    matching(
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "is not a project id: nothing could be created in it. Write the id (not the name or number): 6 to 30 lower-case letters, digits "
        "and hyphens.",
    ),
]
"""Id of a Google Cloud project."""


class Model(BaseModel):
    """Base of every settings model: immutable, no unknown keys, camelCase in the stack file."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        validate_default=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
    )

    def _problems(self) -> Iterable[Problem]:
        """Return what is wrong with values that are valid one by one. All of it is reported at once."""
        return ()

    @model_validator(mode="after")
    def _check_problems(self, info: ValidationInfo) -> Self:
        if info.context is not DEFER_RULES:
            raise_problems(self._problems())
        return self

    def problems(self, path: FieldPath = (), ignored: Collection[FieldPath] = ()) -> list[tuple[FieldPath, Problem]]:
        """Return what `_problems` finds in this model, which is at ``path`` of the stack file, or else in the models within it.

        As rules may rely on those of the models within, they run only if all of those hold, or are ``ignored``. With each problem, in the
        stack file's keys, comes the path of the model that has the rule.
        """
        inner = []
        for name, value in self:
            key = (*path, to_camel(name))
            entries = {(*key, index): entry for index, entry in enumerate(value)} if isinstance(value, tuple) else {key: value}
            inner += [found for way, entry in entries.items() if isinstance(entry, Model) for found in entry.problems(way, ignored)]

        if inner or path in ignored:
            return inner
        return [(path, placed(problem, path)) for problem in self._problems()]


def placed(problem: Problem, path: FieldPath) -> Problem:
    """Return ``problem`` of a model at ``path``, with its ways from the top of the stack file and in its spelling."""

    def absolute(way: FieldPath) -> FieldPath:
        return (*path, *(to_camel(step) if isinstance(step, str) else step for step in way))

    return replace(problem, at=absolute(problem.at), also=tuple(map(absolute, problem.also)))
