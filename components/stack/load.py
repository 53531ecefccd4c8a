"""Stack file -> `Settings`. The only reader of pulumi.Config.

One run reports everything that is wrong. A value that can't be read is reported and replaced by its default or a stand-in, so that the rest
can be read. Then the rules between values run; what they say about a replaced value is left out.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi.runtime.config as pulumi_config
from pydantic import ValidationError

from components.base.errors import FleetError, Problem
from components.base.model import DEFER_RULES, Model, placed
from components.base.naming import PROJECT
from components.stack import messages
from components.stack.places import Place, locate, stand_in, step_into
from components.stack.rules import stack_problems
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from components.base.errors import FieldPath


def load() -> Settings:
    """Read this stack's configuration.

    Raises:
        FleetError: With every problem of the stack file. Nothing has been created.
    """
    config = pulumi.Config(PROJECT)
    raw: dict[str, object] = {}
    problems: list[Problem] = []
    for name in _configured_names():
        if pulumi_config.is_config_secret(f"{PROJECT}:{name}"):
            text = (
                "is a secret: its values go into names and manifests, which show them as plain text. "
                "Set it without --secret; settings never hold credentials."
            )
            problems.append(Problem(at=(name,), text=text))
        value = _decode(config.get(name) or "")
        if value is not None:
            raw[name] = value
    return parse(raw, problems=problems)


def parse(raw: Mapping[str, object], *, problems: Iterable[Problem] = ()) -> Settings:
    """Check ``raw`` (top-level key -> decoded value, spelled as in the stack file).

    Args:
        raw: the stack file's settings.
        problems: what the caller has found already; it is reported with what is found here.

    Raises:
        FleetError: With every problem.
    """
    found = dict.fromkeys(problems)
    values: dict[str, Any] = copy.deepcopy(dict(raw))
    replaced: set[FieldPath] = set()
    settings = _read(values, found, replaced)
    if settings is not None:
        for path, value in _booleans(settings, values, ()):
            found[messages.not_a_number(path, value)] = None
            replaced.add(path)
        _check_rules(settings, values, found, replaced)
    if found or settings is None:
        raise FleetError(*(dataclasses.replace(problem, at=(f"{PROJECT}:{problem.at[0]}", *problem.at[1:])) for problem in found))
    return settings


def _configured_names() -> list[str]:
    """Names of all configured keys of this project, including those that Settings does not know."""
    keys = {*pulumi_config.get_config_env(), *pulumi_config.CONFIG.get()}
    return sorted(key.removeprefix(f"{PROJECT}:") for key in keys if key.startswith(f"{PROJECT}:"))


def _decode(text: str) -> object:
    """Value of a configuration key: Pulumi hands objects and lists over as JSON. An empty key is None."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _read(values: dict[str, Any], found: dict[Problem, None], replaced: set[FieldPath]) -> Settings | None:
    """Read ``values``, replacing what can't be read; None if that is not enough.

    A second pass is needed only where a key decides which others are known, such as ``kind``.
    """
    while True:
        try:
            return Settings.model_validate(values, by_alias=True, by_name=False, context=DEFER_RULES)
        except ValidationError as error:
            before = frozenset(replaced)
            for detail in error.errors(include_url=False):
                place = locate(detail["loc"])
                if place.path in before and len(place.path) > 1:  # its stand-in can't be read, so what holds it gets one
                    place = locate(place.path[:-1], values)
                elif detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]:
                    continue  # pydantic counts only readable entries; the others are reported one by one
                elif not any(_overlap(place.path, gone) and len(gone) < len(place.path) for gone in replaced):
                    found[messages.problem(detail, place)] = None
                replaced.add(place.path)
                _replace(values, place)
            if replaced == before:
                return None


def _check_rules(settings: Settings, values: dict[str, Any], found: dict[Problem, None], replaced: set[FieldPath]) -> None:
    """Run the rules from the inside out. What breaks one is replaced, so that those further out can run."""

    def judges_what_is_read(problem: Problem, gone: Collection[FieldPath]) -> bool:
        return not any(_overlap(path, other) for path in (problem.at, *problem.also) for other in gone)

    ignored: set[FieldPath] = set()
    while rules := settings.problems(ignored=ignored):
        gone = frozenset(replaced)
        for owner, problem in rules:
            target = problem.at
            if judges_what_is_read(problem, gone):
                found[problem] = None
            elif target in gone:  # the rule is broken without the value too
                target = owner
                ignored.add(owner)
            replaced.add(target)
            _replace(values, locate(target, values))
        readable = _read(values, found, replaced)
        if readable is None:
            return
        settings = readable
    for problem in stack_problems(settings):
        between = placed(problem, ())
        if judges_what_is_read(between, replaced):
            found[between] = None


def _replace(values: dict[str, Any], place: Place) -> None:
    """Put a stand-in where a value is required, and take it out where it has a default."""
    *way, last = place.path
    parent: Any = values
    for step in way:
        parent = step_into(parent, step)
    if isinstance(last, int):
        parent[last] = stand_in(place.annotation)
    elif place.field is not None and place.field.is_required():
        parent[last] = stand_in(place.annotation, place.field)
    elif isinstance(parent, dict):
        parent.pop(last, None)


def _booleans(model: Model, values: object, path: FieldPath) -> Iterator[tuple[FieldPath, bool]]:
    """Yield what the stack file has as true or false and Python reads as 1 or 0."""
    for name, field in type(model).model_fields.items():
        key = field.alias or name
        given = values.get(key) if isinstance(values, dict) else None
        yield from _boolean(getattr(model, name), given, (*path, key))


def _boolean(value: object, given: object, path: FieldPath) -> Iterator[tuple[FieldPath, bool]]:
    if isinstance(value, Model):
        yield from _booleans(value, given, path)
    elif isinstance(value, tuple) and isinstance(given, list):
        for index, (entry, written) in enumerate(zip(value, given, strict=False)):
            yield from _boolean(entry, written, (*path, index))
    elif isinstance(given, bool) and isinstance(value, int | float) and not isinstance(value, bool):
        yield path, given


def _overlap(path: FieldPath, other: FieldPath) -> bool:
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]
