"""The base of every settings model, and the types that settings of several rooms share."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator
from pydantic.alias_generators import to_camel

from components.base.errors import raise_problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from components.base.errors import Problem


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
    def _check_problems(self) -> Self:
        raise_problems(self._problems())
        return self
