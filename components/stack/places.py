"""What pydantic found in a stack file: the place, a stand-in for the value so that the rest can be read, and the message.

A message has the form ``<key> (<value>) <what is wrong>: <consequence>. <remedy>``.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from pydantic.alias_generators import to_camel

from components.base.errors import Problem
from components.base.model import Model
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

    from components.base.errors import FieldPath


_SHOWN: Final = 60
"""Most characters of a value that a message quotes."""

_CLOSE: Final = 0.7
"""Similarity of a known key (difflib) that makes it worth suggesting: at 0.6, podLabels would suggest models."""

_MAPPING: Final = "must be a mapping: it can't be read. Put keys and values below it."
_LIST: Final = "must be a list: it can't be read. Write it as [a, b]."
_WHOLE: Final = "must be a whole number: it can't be read. Write one, such as 4."
_NUMBER: Final = "must be a number: it can't be read. Write one, such as 0.5."
_BOOLEAN: Final = "must be true or false: it can't be read. Write one of them."

_TEXTS: Final[Mapping[str, str]] = {
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dict_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "string_type": "must be a string: it can't be read. Write a string, in quotes if it looks like a number.",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "must be a finite number: it can't be read. Write one.",
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "greater_than": "must be above {gt}: it would be rejected. Raise it.",
    "greater_than_equal": "must be at least {ge}: it would be rejected. Raise it.",
    "less_than": "must be below {lt}: it would be rejected. Lower it.",
    "less_than_equal": "must be at most {le}: it would be rejected. Lower it.",
    "too_short": "must have {min_length} or more entries: fewer can't work. Add what is missing.",
    "too_long": "must have at most {max_length}: more would be rejected. Remove some.",
    "string_too_short": "must have {min_length} or more characters: it would be rejected. Write a longer one.",
    "string_too_long": "must have at most {max_length} characters: it would be rejected. Write a shorter one.",
    "string_pattern_mismatch": "must match {pattern}: it would be rejected. Correct it.",
}


@dataclass(frozen=True, kw_only=True)
class Place:
    """A value of the stack file."""

    path: FieldPath
    owner: type[Model]
    """The innermost model around the value."""
    field: FieldInfo | None
    """The owner's field that is the value or holds it; None for an unknown key."""
    annotation: Any
    """Type of the value; None for an unknown key."""


def locate(way: FieldPath, values: Any = None) -> Place:
    """Find the place of a value.

    Args:
        way: pydantic's way to it, which has one more step wherever a key selects a member of a union: that key's value. With ``values``,
            a path of the stack file.
        values: the stack file's settings; they tell unions apart.
    """
    path: list[str | int] = []
    annotation: Any = Settings
    owner: type[Model] = Settings
    field: FieldInfo | None = None
    here, from_file = values, values is not None
    for step in way:
        models = models_in(annotation)
        if isinstance(step, int):
            path.append(step)
            annotation = next((get_args(part)[0] for part in parts(annotation) if get_origin(part) is tuple), None)
        elif len(models) > 1 and not from_file:
            annotation = next((model for model in models if tag(model) == step), None)
            continue
        elif models and get_origin(annotation) is not dict:
            owner = models[0]
            if len(models) > 1 and isinstance(here, dict):
                owner = next((model for model in models if tag(model) == here.get(tag_field(model))), owner)
            field = next((field for name, field in owner.model_fields.items() if (field.alias or name) == step), None)
            annotation = None if field is None else field.annotation
            path.append(step)
        elif step != "[key]":
            field = annotation = None
            path.append(step)
        here = step_into(here, step)
    return Place(path=tuple(path), owner=owner, field=field, annotation=annotation)


def step_into(value: Any, step: str | int) -> Any:
    """Return the value at ``step`` below ``value`` of a stack file, or None."""
    if isinstance(step, int):
        return value[step] if isinstance(value, list) else None
    return value.get(step) if isinstance(value, dict) else None


def stand_in(annotation: Any, field: FieldInfo | None = None) -> Any:
    """Return a valid value of this type. Problems that rules find in it are not reported."""
    if field is not None and field.examples:
        return field.examples[0]
    if models := models_in(annotation):
        model = models[0]
        keys = {
            inner.alias or name: stand_in(inner.annotation, inner)
            for name, inner in model.model_fields.items()
            if inner.is_required() or (len(models) > 1 and name == tag_field(model))
        }
        return [keys] if get_origin(annotation) is tuple else keys
    for part in parts(annotation):
        if get_origin(part) is Literal:
            return get_args(part)[0]
        if part in {int, float}:
            return next((bound for limit in (field.metadata if field else ()) if (bound := getattr(limit, "ge", None)) is not None), 1)
    return "stand-in"


def models_in(annotation: Any) -> tuple[type[Model], ...]:
    """Return the settings models that a value of this type may contain."""
    return tuple(part for part in parts(annotation) if isinstance(part, type) and issubclass(part, Model))


def parts(annotation: Any) -> list[Any]:
    """Return the annotation and everything it consists of."""
    return [annotation, *(inner for part in get_args(annotation) for inner in parts(part))]


def tag_field(model: type[Model]) -> str:
    """Return the name of the field that identifies a member of a union."""
    return "provider" if "provider" in model.model_fields else "kind"


def tag(model: type[Model]) -> str:
    """Return the value that identifies a member of a union."""
    return str(get_args(model.model_fields[tag_field(model)].annotation)[0])


def message(detail: ErrorDetails, place: Place) -> Problem:
    """Turn a pydantic error into a problem."""
    context = detail.get("ctx", {})
    kind, path = detail["type"], place.path
    cause = context.get("error")
    if kind == "missing":
        return Problem(at=path, text=f"is missing: nothing can be created without it. Add it: {_purpose(place)}.")
    if kind == "extra_forbidden":
        return Problem(at=path, text=f"is an unknown key: nothing would read it. {_suggest(place)}")
    if kind == "union_tag_not_found":
        key = context["discriminator"].strip("'")
        tags = ", ".join(tag(model) for model in models_in(place.annotation))
        return Problem(at=path, text=f"has no {key}: its other keys depend on it. Add {key}: one of {tags}.")
    if kind in {"literal_error", "union_tag_invalid"}:
        written = context.get("tag", detail["input"])
        if kind == "union_tag_invalid":
            path = (*path, context["discriminator"].strip("'"))
        choices = _choices(context)
        close = difflib.get_close_matches(str(written), choices, n=1)
        hint = f"Did you mean {close[0]}?" if close else "Choose one of them."
        return Problem(at=path, text=f"({show(written)}) must be one of {', '.join(choices)}: nothing else is supported. {hint}")
    text = str(cause) if cause else _TEXTS.get(kind, f"can't be used: {detail['msg']}. Correct it.").format(**_plain(context))
    return Problem(at=path, text=f"({show(detail['input'])}) {text}")


def close_tag(detail: ErrorDetails) -> tuple[str, str] | None:
    """Return the key that tells the members of a union apart and the member that a misspelt value probably means; None for other errors."""
    if detail["type"] != "union_tag_invalid":
        return None
    close = difflib.get_close_matches(str(detail["ctx"]["tag"]), _choices(detail["ctx"]), n=1)
    return (detail["ctx"]["discriminator"].strip("'"), close[0]) if close else None


def _plain(context: Mapping[str, Any]) -> dict[str, object]:
    return {name: f"{value:g}" if isinstance(value, float) else value for name, value in context.items()}


def _choices(context: Mapping[str, object]) -> list[str]:
    return re.split(r", | or ", str(context.get("expected") or context.get("expected_tags", "")).replace("'", ""))


def show(value: object) -> str:
    """Return a value as a message quotes it, shortened."""
    text = json.dumps(value, default=str) if isinstance(value, dict | list | bool) or value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _purpose(place: Place) -> str:
    """Return the first clause of the key's documentation."""
    description = " ".join((place.field.description if place.field and place.field.description else "see docs/settings.md").split())
    return re.split(r"[.;:](?:\s|$)", description, maxsplit=1)[0].replace("``", "")


def _suggest(place: Place) -> str:
    names = sorted(field.alias or name for name, field in place.owner.model_fields.items())
    wrong = str(place.path[-1])
    close = difflib.get_close_matches(wrong, names, n=1, cutoff=_CLOSE) or difflib.get_close_matches(
        to_camel(wrong), names, n=1, cutoff=_CLOSE
    )
    close = close or [name for name in names if len(wrong) > 1 and wrong.lower() in name.lower()]
    return f"Did you mean {close[0]}?" if close else f"Known keys: {', '.join(names)}."
