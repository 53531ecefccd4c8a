"""What pydantic found, in the words of this project: ``<key> (<value>) <what is wrong>: <consequence>. <remedy>``."""

from __future__ import annotations

import difflib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from pydantic.alias_generators import to_camel

from components.base.errors import Problem
from components.stack.places import models_in, tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic_core import ErrorDetails

    from components.stack.places import Place

_SHOWN: Final = 60
"""Characters of a value that a message repeats."""

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


def problem(detail: ErrorDetails, place: Place) -> Problem:
    """Put one error of pydantic's in words."""
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
    """Return a value as a message repeats it, shortened."""
    text = json.dumps(value, default=str) if isinstance(value, dict | list | bool) or value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _purpose(place: Place) -> str:
    """First clause of the key's documentation."""
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
