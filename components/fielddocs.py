"""What the string below a model's field says about it, for error messages and generated pages.

pydantic can do that too (`use_attribute_docstrings`), but does it while each model is defined: it reads and parses the sources of all
of them whenever the program starts, 0.2 s of CPU for texts that hardly any start shows.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@functools.cache
def field_docs(model: type) -> Mapping[str, str]:
    """Texts of the fields of ``model``, inherited ones too, by the fields' names; a field without one is absent.

    Raises:
        OSError: The source of the class is not to be had.
    """
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        # Only classes of ours: bases in packages have no fields that a stack file could set.
        if base.__module__.partition(".")[0] == model.__module__.partition(".")[0]:
            found = {name: text for name, text in found.items() if name not in inspect.get_annotations(base)} | _own(base)
    return MappingProxyType(found)


def _own(cls: type) -> dict[str, str]:
    """Texts that follow the annotations in the body of the class itself."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101  # the source of a class is a class
    found = {}
    for field, text in zip(definition.body, definition.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                found[field.target.id] = inspect.cleandoc(value.value)
    return found
