"""Base class of all settings models, and types that several rooms' settings share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

from components.base.errors import raise_problems

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from components.base.errors import FieldPath, Problem


DEFER_RULES: Final = object()
"""Validation context: the caller runs `Model.problems` on the whole tree, instead of each model on itself."""


def matching(pattern: str, text: str) -> AfterValidator:
    """Return a validator of strings that must match all of ``pattern``; ``text`` is the error, ``is not …: <consequence>. <remedy>``."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if compiled.fullmatch(value) is None:
            raise ValueError(text)
        return value

    return AfterValidator(check)


_LABEL: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
DnsLabel = Annotated[
    str,
    matching(
        r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?",
        "is not a DNS label: Kubernetes would reject a Service of that name. "
        "Use 1 to 63 lower-case letters, digits and hyphens; start with a letter and don't end with a hyphen.",
    ),
]
"""An RFC 1123 label that starts with a letter, which Service names and Helm releases both accept."""

ObjectName = Annotated[
    str,
    matching(
        rf"(?=.{{1,253}}$){_LABEL}(\.{_LABEL})*",
        "is not the name of a Kubernetes object: none could have it. Use lower-case letters, digits, hyphens and dots, such as gp3.",
    ),
]
"""A DNS subdomain, the form of most objects' names."""

ImageReference = Annotated[
    str,
    matching(
        r"[a-zA-Z0-9][a-zA-Z0-9.-]*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?",
        "is not an image reference: no node could pull it. Write one such as registry.k8s.io/pause:3.10, without a scheme.",
    ),
]
"""A container image with its registry."""

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
    """Base class of all settings models: immutable, no unknown keys, camelCase in the stack file."""

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
        """Return the problems of values that are valid one by one, and warnings."""
        return ()

    @model_validator(mode="after")
    def _check_problems(self, info: ValidationInfo) -> Self:
        if info.context is not DEFER_RULES:
            raise_problems(problem for problem in self._problems() if problem.fatal)
        return self

    def _within(self, path: FieldPath) -> Iterator[tuple[FieldPath, Model]]:
        """Yield the nested models of this one, which is at ``path``, with their paths."""
        for name, value in self:
            key = (*path, to_camel(name))
            entries = {(*key, index): entry for index, entry in enumerate(value)} if isinstance(value, tuple) else {key: value}
            yield from ((way, entry) for way, entry in entries.items() if isinstance(entry, Model))

    def problems(self, path: FieldPath = (), ignored: Collection[FieldPath] = ()) -> list[tuple[FieldPath, Problem]]:
        """Return the problems of the nested models or, if they have none, of this model, which is at ``path`` of the stack file.

        A rule may rely on the rules of nested models. Models at ``ignored`` paths are skipped. Each problem comes with its model's path.
        """
        inner = [found for way, entry in self._within(path) for found in entry.problems(way, ignored)]
        if inner or path in ignored:
            return inner
        return [(path, placed(problem, path)) for problem in self._problems() if problem.fatal]

    def warnings(self, path: FieldPath = ()) -> Iterator[Problem]:
        """Yield the warnings about this model, which is at ``path`` of the stack file, and about nested models."""
        for way, entry in self._within(path):
            yield from entry.warnings(way)
        yield from (placed(problem, path) for problem in self._problems() if not problem.fatal)


def placed(problem: Problem, path: FieldPath) -> Problem:
    """Return ``problem`` of a model at ``path`` with its paths from the top of the stack file, in camelCase."""

    def absolute(fields: FieldPath) -> FieldPath:
        return (*path, *(to_camel(step) if isinstance(step, str) else step for step in fields))

    return replace(problem, at=absolute(problem.at), also=tuple(map(absolute, problem.also)))
