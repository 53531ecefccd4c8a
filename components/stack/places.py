"""Where pydantic found an error, as the stack file has it, and what can stand there so that the rest can be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from components.base.model import Model
from components.stack.settings import Settings

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from components.base.errors import FieldPath


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
    """What is below ``value`` of a stack file at ``step``; None if nothing is."""
    if isinstance(step, int):
        return value[step] if isinstance(value, list) else None
    return value.get(step) if isinstance(value, dict) else None


def stand_in(annotation: Any, field: FieldInfo | None = None) -> Any:
    """Return a valid value of this type. What rules say about it is left out."""
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
