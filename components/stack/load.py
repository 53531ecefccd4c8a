"""Stack file -> `Settings`. The only reader of pulumi.Config.

All that is wrong is reported at once, each with the key as the stack file spells it, the consequence and the remedy. To find problems
behind problems, values that can't be read are taken out and the rest is checked again.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

import pulumi
import pulumi.runtime.config as pulumi_config
from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from components.base.errors import FleetError
from components.base.model import Model
from components.base.naming import PROJECT
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic_core import ErrorDetails

    from components.base.errors import FieldPath

_ROUNDS: Final = 8
"""How often unreadable values are taken out to look behind them; each round reports at least one problem or is the last."""

_STAND_INS: Final[Mapping[str, object]] = {"bucket": "stand-in", "image": "stand-in", "target": 1}
"""Values that fill a missing key while the rest is checked; nothing that is reported depends on them."""

_SHOWN: Final = 60
"""Characters of a value that a message repeats."""


def load() -> Settings:
    """Read this stack's configuration.

    Raises:
        FleetError: With every problem found, when the stack file can't be used. Nothing has been created.
    """
    config = pulumi.Config(PROJECT)
    raw: dict[str, object] = {}
    problems: list[str] = []
    for name in _configured_names():
        if pulumi_config.is_config_secret(f"{PROJECT}:{name}"):
            problems.append(
                f"{PROJECT}:{name} is a secret: its values go into names and manifests, where they would be plain. "
                "Write it without --secret; credentials are never settings."
            )
        text = config.get(name)
        value = _decode(text) if text is not None else None
        if value is not None:
            raw[name] = value
    return parse(raw, problems=problems)


def parse(raw: Mapping[str, object], *, problems: Iterable[str] = ()) -> Settings:
    """Check ``raw`` (top-level key -> decoded value, spelled as in the stack file).

    ``problems`` are such as the caller has found already; they are reported with those found here.

    Raises:
        FleetError: With every problem.
    """
    found = dict.fromkeys(problems)
    rest: dict[str, Any] = copy.deepcopy(dict(raw))
    removed: set[FieldPath] = set()
    settings = None
    for _ in range(_ROUNDS):
        try:
            settings = Settings.model_validate(rest, by_alias=True, by_name=False)
            break
        except ValidationError as error:
            details = error.errors(include_url=False)
        before = (len(found), len(removed))
        removed |= {path for detail in details for path in _note(detail, rest, removed, found)}
        for path in sorted(removed, key=len, reverse=True):
            _take_out(rest, path)
        if (len(found), len(removed)) == before:
            break
    if found or settings is None:
        raise FleetError(*found)
    return settings


def _configured_names() -> list[str]:
    """Names of all configured keys in our namespace, with those that Settings does not know."""
    keys = {*pulumi_config.get_config_env(), *pulumi_config.CONFIG.get()}
    return sorted(key.removeprefix(f"{PROJECT}:") for key in keys if key.startswith(f"{PROJECT}:"))


def _decode(text: str) -> object:
    """Value of a configuration key: Pulumi hands objects and lists over as JSON. A key with nothing under it is None."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _note(detail: ErrorDetails, raw: dict[str, Any], removed: set[FieldPath], found: dict[str, None]) -> Iterator[FieldPath]:
    """Add what ``detail`` says to ``found``, and give the values to take out before the next round."""
    path, owner = _resolve(detail["loc"], raw)
    if detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
        return  # pydantic counts readable entries only, and the others are told one by one
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, FleetError):
        for problem in cause.problems:
            at = path + tuple(to_camel(step) if isinstance(step, str) else step for step in problem.at)
            read = [at, *(path + tuple(to_camel(step) if isinstance(step, str) else step for step in other) for other in problem.also)]
            if not any(_within(value, gone) or _within(gone, value) for value in read for gone in removed):
                found[f"{render(at)} {problem.text}"] = None
            yield _without_position(at)
        return
    if any(_within(path, gone) for gone in removed):
        return
    if detail["type"] == "value_error" and _is_model_level(detail, raw, path):
        if not any(_within(gone, path) for gone in removed):
            found[f"{render(path)}: {cause}"] = None
    else:
        found[_message(detail, path, owner)] = None
    yield _without_position(path)


def _without_position(path: FieldPath) -> FieldPath:
    """The list of an element: one element can't be taken out without moving its neighbours, so the list goes."""
    return path[:-1] if path and isinstance(path[-1], int) else path


def _is_model_level(detail: ErrorDetails, raw: dict[str, Any], path: FieldPath) -> bool:
    """True for an error that a whole object raised, as against one of its values."""
    return isinstance(detail["input"], dict) and isinstance(_look_up(raw, path), dict)


def _take_out(raw: dict[str, Any], path: FieldPath) -> None:
    """Remove the value at ``path``, or put a stand-in where the key is needed."""
    parent = _look_up(raw, path[:-1])
    if not path or not isinstance(parent, dict):
        return
    parent.pop(path[-1], None)
    if path[-1] in _STAND_INS:
        parent[path[-1]] = _STAND_INS[str(path[-1])]


def _look_up(raw: object, path: FieldPath) -> object:
    for step in path:
        if isinstance(raw, dict):
            raw = raw.get(step)
        elif isinstance(raw, list) and isinstance(step, int) and step < len(raw):
            raw = raw[step]
        else:
            return None
    return raw


def _within(path: FieldPath, parent: FieldPath) -> bool:
    return path[: len(parent)] == parent


def _resolve(loc: FieldPath, raw: object) -> tuple[FieldPath, type[Model] | None]:
    """Way to a value in the stack file, and the model that its key belongs to.

    pydantic's own way has one step more wherever a union was told apart by a key: that step is a value of the key, not a key.
    """
    path: list[str | int] = []
    models: tuple[type[Model], ...] = (Settings,)
    here = raw
    owner: type[Model] | None = None
    for step in loc:
        if isinstance(step, int):
            here = here[step] if isinstance(here, list) and step < len(here) else None
            path.append(step)
            continue
        tagged = tuple(model for model in models if _has_tag(model, step))
        if tagged and isinstance(here, dict) and step not in here and (step in here.values() or _is_default_tag(tagged, step)):
            models = tagged
            continue
        owner = models[0] if models else None
        fields = [field for model in models for name, field in model.model_fields.items() if (field.alias or name) == step]
        models = tuple(found for field in fields for found in _models_in(field.annotation))
        here = here.get(step) if isinstance(here, dict) else None
        path.append(step)
    return tuple(path), owner


def _has_tag(model: type[Model], value: str) -> bool:
    return any(get_origin(field.annotation) is Literal and value in get_args(field.annotation) for field in model.model_fields.values())


def _is_default_tag(models: Iterable[type[Model]], value: str) -> bool:
    """True for the tag that is meant where the stack file leaves its key out."""
    return any(
        get_origin(field.annotation) is Literal and field.default == value for model in models for field in model.model_fields.values()
    )


def _models_in(annotation: object) -> tuple[type[Model], ...]:
    """Settings models that a value of this annotation may hold."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return (annotation,)
    return tuple(found for part in get_args(annotation) for found in _models_in(part))


def render(path: FieldPath) -> str:
    """Key as the stack file and the command line spell it, such as ``triton-fleet:serving[0].scaling.minReplicas``."""
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return f"{PROJECT}:{steps.removeprefix('.')}"


def _message(detail: ErrorDetails, path: FieldPath, owner: type[Model] | None) -> str:  # noqa: PLR0911  # one return a kind of error
    """One sentence group: key, value, what is wrong, consequence, remedy."""
    key = render(path)
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "missing":
        return f"{key} is missing: {_purpose(path, owner)}nothing can be made without it. Add it to the stack file."
    if kind == "extra_forbidden":
        return f"{key} is no setting: it would be ignored. {_suggest(path, owner)}"
    shown = f"{key} ({_show(detail['input'])})"
    if kind == "value_error":
        return f"{shown} {context['error']}"
    if kind in {"literal_error", "union_tag_invalid"}:
        choices = str(context.get("expected") or context.get("expected_tags", "")).replace("'", "").replace(" or ", ", ")
        close = difflib.get_close_matches(str(_tag_of(detail)), choices.split(", "), n=1)
        hint = f"Did you mean {close[0]}?" if close else f"Choose one of {choices}."
        where = f"{key}.{context['discriminator'].strip(chr(39))}" if kind == "union_tag_invalid" else key
        return f"{where} ({_show(_tag_of(detail))}) is none of {choices}: there is nothing of that kind to make. {hint}"
    if kind == "union_tag_not_found":
        return f"{key} names no {context['discriminator'].strip(chr(39))}: what it describes is unknown. Add the key."
    wanted = _WANTED.get(kind)
    if wanted is not None:
        return f"{shown} is {wanted[0]}: it can't be read. Write {wanted[1]}."
    limit = _LIMITS.get(kind)
    if limit is not None:
        bound = next((context[name] for name in ("gt", "ge", "lt", "le", "min_length", "max_length") if name in context), "")
        return f"{shown} {limit.format(bound=bound)}"
    return f"{shown} can't be used: {detail['msg']}. Write a value that can."


_WANTED: Final[Mapping[str, tuple[str, str]]] = {
    "model_type": ("no set of keys", "keys and values below it"),
    "model_attributes_type": ("no set of keys", "keys and values below it"),
    "dict_type": ("no set of keys", "keys and values below it"),
    "tuple_type": ("no list", "a list, such as [a, b]"),
    "list_type": ("no list", "a list, such as [a, b]"),
    "string_type": ("no text", "a text, in quotes where it looks like a number"),
    "int_type": ("no whole number", "a whole number"),
    "int_parsing": ("no whole number", "a whole number"),
    "int_from_float": ("no whole number", "a whole number"),
    "float_type": ("no number", "a number"),
    "float_parsing": ("no number", "a number"),
    "finite_number": ("no finite number", "a finite number"),
    "bool_type": ("neither true nor false", "true or false"),
    "bool_parsing": ("neither true nor false", "true or false"),
}

_LIMITS: Final[Mapping[str, str]] = {
    "greater_than": "is not above {bound}: it has no meaning there. Raise it above {bound}.",
    "greater_than_equal": "is below {bound}: it would be refused. Raise it to {bound} or more.",
    "less_than": "is not below {bound}: it would be refused. Lower it below {bound}.",
    "less_than_equal": "is above {bound}: it would be refused. Lower it to {bound} or less.",
    "too_short": "has fewer than {bound} entries: there would be nothing to make. Add one.",
    "too_long": "has more than {bound} entries: it would be refused. Take some out.",
    "string_too_short": "is shorter than {bound} characters: it would be refused. Write a longer one.",
    "string_too_long": "is longer than {bound} characters: it would be refused. Write a shorter one.",
}


def _tag_of(detail: ErrorDetails) -> object:
    return detail.get("ctx", {}).get("tag", detail["input"])


def _show(value: object) -> str:
    text = json.dumps(value, default=str) if isinstance(value, (dict, list, bool)) or value is None else str(value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _purpose(path: FieldPath, owner: type[Model] | None) -> str:
    """What the key's own documentation begins with, or nothing."""
    model = owner or Model
    text = next((field.description for name, field in model.model_fields.items() if path and (field.alias or name) == path[-1]), None)
    if not text:
        return ""
    sentence = re.split(r"[.,;:](?:\s|$)", " ".join(text.split()), maxsplit=1)[0]
    return f"it is the {sentence[0].lower()}{sentence[1:]}, and " if sentence else ""


def _suggest(path: FieldPath, owner: type[Model] | None) -> str:
    names = sorted(field.alias or name for name, field in (owner or Settings).model_fields.items())
    wrong = str(path[-1])
    close = difflib.get_close_matches(wrong, names, n=1) or difflib.get_close_matches(to_camel(wrong), names, n=1)
    close = close or [name for name in names if len(wrong) > 1 and wrong.lower() in name.lower()]
    return f"Did you mean {close[0]}?" if close else f"Known there: {', '.join(names)}."
