"""docs/settings.md's list of keys, written from the settings models themselves: `python -m components.stack.reference`.

What stands outside of the two markers in that file is left alone.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, get_args, get_origin

from pydantic_core import PydanticUndefined

from components.base.model import DnsLabel, Model
from components.base.quantities import Duration, Quantity
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "settings.md"
BEGIN: Final = "<!-- keys: written by `python -m components.stack.reference` -->"
END: Final = "<!-- end of keys -->"

_NAMES: Final = {
    get_args(Duration)[1]: "duration",
    get_args(Quantity)[1]: "quantity",
    get_args(DnsLabel)[1]: "DNS label",
}


def keys() -> str:
    """Markdown list of all keys, one section a top-level key."""
    return "\n".join(line for name, field in Settings.model_fields.items() for line in _section(name, field))


def page(text: str) -> str:
    """``text`` of the page with the list between the markers renewed. Raises ValueError when a marker is missing."""
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    return f"{before}{BEGIN}\n\n{keys()}\n{END}{after}"


def _section(name: str, field: FieldInfo) -> Iterator[str]:
    yield f"### `{field.alias or name}`"
    yield ""
    yield _text(Settings, name)
    yield ""
    yield "| key | kind | default | |"
    yield "|---|---|---|---|"
    members = list(_models(field.annotation, "[]." if get_origin(field.annotation) is tuple else ""))
    for model, path in members:
        yield from _rows(model, path, f" of `{_tag(model)}`" if len(members) > 1 else "")
    yield ""


def _tag(model: type[Model]) -> str:
    """Value that tells a model of a union from the others."""
    field = model.model_fields.get("provider") or model.model_fields["kind"]
    return str(get_args(field.annotation)[0])


def _rows(model: type[Model], path: str, of: str = "") -> Iterator[str]:
    for name, field in model.model_fields.items():
        key = f"{path}{field.alias or name}"
        inner = list(_models(field.annotation, f"{key}[]." if get_origin(field.annotation) is tuple else f"{key}."))
        if len(inner) == 1:
            yield from _rows(*inner[0], of)
            continue
        yield f"| `{key}`{of} | {_kind(field)} | {_default(field)} | {_text(model, name)} |"
        for member, below in inner:
            for inner_name, inner_field in member.model_fields.items():
                if inner_name != "kind":
                    inner_key = f"{below}{inner_field.alias or inner_name}"
                    said = f"{_kind(inner_field)} | {_default(inner_field)} | {_text(member, inner_name)}"
                    yield f"| `{inner_key}` of `{_tag(member)}` | {said} |"


def _models(annotation: object, path: str) -> Iterator[tuple[type[Model], str]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation, path
        return
    for part in get_args(annotation):
        yield from _models(part, path)


def _kind(field: FieldInfo) -> str:
    named = next((_NAMES[part] for part in field.metadata if part in _NAMES), None)
    return named or _spell(field.annotation)


def _spell(annotation: object) -> str:  # noqa: PLR0911  # one return a kind of annotation
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " or ".join(f"`{choice}`" for choice in arguments)
    if origin is Annotated:
        return _NAMES.get(arguments[1]) or _spell(arguments[0])
    if origin is tuple:
        return f"list of {_spell(arguments[0])}s" if not list(_models(annotation, "")) else "list, each of a `kind`"
    if origin is dict:
        return f"keys and {_spell(arguments[1])}s"
    if arguments and all(isinstance(part, type) and issubclass(part, Model) for part in arguments):
        return " or ".join(f"`{_tag(part)}`" for part in arguments)
    if origin is not None and type(None) in arguments:
        return _spell(next(part for part in arguments if part is not type(None)))
    return {str: "text", int: "whole number", float: "number", bool: "`true` or `false`"}.get(annotation, str(annotation))  # type: ignore[call-overload, no-any-return]  # any annotation may be asked for


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True)
    if value is None or value is PydanticUndefined or value in ({}, ()):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(_value(entry) for entry in value)
    unit = " s" if _kind(field) == "duration" else ""
    return f"`{value:g}`{unit}" if isinstance(value, float) else _value(value)


def _value(value: object) -> str:
    """A value or one entry of a list; a model of a union by its tag and, where it has one, its target."""
    if not isinstance(value, Model):
        return f"`{value}`"
    target = getattr(value, "target", None)
    return f"`{_tag(type(value))}`" if target is None else f"`{_tag(type(value))}` {target:g}"


def _text(model: type[Model], field: str) -> str:
    """The field's documentation, with Python's words for values as YAML has them."""
    text = " ".join((model.model_fields[field].description or "").replace("``", "`").replace("|", "\\|").split())
    for python, yaml in (("None", "`null`"), ("True", "`true`"), ("False", "`false`")):
        text = re.sub(rf"\b{python}\b", yaml, text)
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE} written\n")
