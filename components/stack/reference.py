"""Writes the tables of docs/settings.md from the settings models: `python -m components.stack.reference`. The rest of the page stays."""

from __future__ import annotations

import re
import sys
from collections.abc import Hashable
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from components.base.model import DnsLabel, Model
from components.base.quantities import Duration, Quantity
from components.stack.places import models_in, tag, tag_field
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
BEGIN: Final = "<!-- keys: written by `python -m components.stack.reference` -->"
END: Final = "<!-- end of keys -->"

_NAMED: Final = {get_args(Duration)[1]: "duration", get_args(Quantity)[1]: "quantity", get_args(DnsLabel)[1]: "DNS label"}
_PLAIN: Final[dict[object, str]] = {str: "string", int: "integer", float: "number", bool: "boolean"}
_PLURAL: Final = {"quantity": "quantities"}


def page(text: str) -> str:
    """Return the page ``text`` with new tables. Raises ValueError if a marker is missing."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{keys()}\n{END}{after}"


def keys() -> str:
    """Return a section for each top-level key, with one table for each provider or kind."""
    return "\n".join(line for name, field in Settings.model_fields.items() for line in _section(name, field))


def _section(name: str, field: FieldInfo) -> Iterator[str]:
    key = field.alias or name
    yield from (f"### `{key}`", "", _text(field), "")
    members = models_in(field.annotation)
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    for model in members:
        if len(members) > 1:
            yield from (f"#### `{key}` with `{tag_field(model)}: {tag(model)}`", "")
        yield from ("| key | type | default | |", "|---|---|---|---|")
        yield from _rows(model, "[]." if get_origin(field.annotation) is tuple else "", default if isinstance(default, model) else None)
        yield ""


def _rows(model: type[Model], path: str, values: Model | None, of: str = "", *, skip: str = "") -> Iterator[str]:
    """Yield a row for each key of a model. ``values``: its parent's default, which may differ from its own defaults."""
    for name, field in model.model_fields.items():
        if name == skip:
            continue
        key = f"{path}{field.alias or name}"
        origin = get_origin(field.annotation)
        below = f"{key}[]." if origin is tuple else f"{key}.<name>." if origin is dict else f"{key}."
        value = getattr(values, name, None if field.is_required() else field.get_default(call_default_factory=True))
        members = models_in(field.annotation)
        if len(members) > 1:
            key = f"{below}{tag_field(members[0])}"
        if len(members) != 1 or not isinstance(value, members[0]):
            yield f"| `{key}`{of} | {_type(field.annotation, field)} | {_default(field, value)} | {_text(field)} |"
        for member in members:
            inner = value if isinstance(value, member) else None
            if len(members) > 1:
                yield from _rows(member, below, inner, f" with `{tag(member)}`", skip=tag_field(member))
            else:
                yield from _rows(member, below, inner, of)


def _type(annotation: Any, field: FieldInfo | None = None) -> str:
    """Return the name of a type in the tables."""
    arguments = get_args(annotation)
    members = models_in(annotation)
    named = [_NAMED[part] for part in (*(field.metadata if field else ()), *arguments) if isinstance(part, Hashable) and part in _NAMED]
    if named:
        return named[0]
    if members:
        origin = get_origin(annotation)
        one = "list of mappings" if origin is tuple else "map of mappings" if origin is dict else "mapping"
        return " or ".join(f"`{tag(member)}`" for member in members) if len(members) > 1 else one
    match get_origin(annotation):
        case origin if origin is Literal:
            text = " or ".join(f"`{choice}`" for choice in arguments)
        case origin if origin is tuple:
            inner = _type(arguments[0])
            text = f"list of {inner}" if "`" in inner else f"list of {_PLURAL.get(inner, f'{inner}s')}"
        case origin if origin is dict:
            text = f"map of {_type(arguments[1])}s"
        case _:
            text = _PLAIN.get(annotation) or _type(next(part for part in arguments if part is not NoneType))
    return text


def _default(field: FieldInfo, value: object) -> str:
    if field.is_required():
        return "**required**"
    if value is None or value in ({}, ()):
        return ""
    if isinstance(value, Model):
        target = getattr(value, "target", None)
        return f"`{tag(type(value))}`" if target is None else f"`{tag(type(value))}` with target `{target:g}`"
    if isinstance(value, tuple):
        return ", ".join(_default(field, entry) for entry in value)
    if isinstance(value, float):
        return f"`{value:g}`{' s' if _type(field.annotation, field) == 'duration' else ''}"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _text(field: FieldInfo) -> str:
    """Return the field's documentation, with the YAML names of Python's values."""
    text = " ".join((field.description or "").replace("``", "`").replace("|", "\\|").split())
    for python, yaml in (("None", "`null`"), ("True", "`true`"), ("False", "`false`")):
        text = re.sub(rf"\b{python}\b", yaml, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
