"""Loads the stack file: the only reader of pulumi.Config.

One run reports everything that is wrong. A value that can't be read is reported and replaced by its default or a stand-in, so that the rest
can be read. Then the rules between values run; what they say about a replaced value is left out.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi.runtime.config as pulumi_config
from pydantic import ValidationError

from components.base.errors import FleetError, Problem
from components.base.model import DEFER_RULES, Model, placed
from components.base.naming import PROJECT
from components.stack.checks import readable_problems
from components.stack.places import Place, close_tag, locate, message, show, stand_in, step_into
from components.stack.rules import stack_problems
from components.stack.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from components.base.errors import FieldPath


def load(project_dir: Path = Path()) -> Settings:
    """Read this stack's configuration.

    Args:
        project_dir: folder of Pulumi.yaml, where relative paths in the settings start.

    Raises:
        FleetError: With every problem of the stack file and of what it refers to. Nothing has been created.
    """
    config = pulumi.Config(PROJECT)
    raw: dict[str, object] = {}
    secrets: list[Problem] = []
    for name in _configured_names():
        if pulumi_config.is_config_secret(f"{PROJECT}:{name}"):
            text = (
                "is a secret: its values go into names and manifests, which show them as plain text. "
                "Set it without --secret; settings never hold credentials."
            )
            secrets.append(Problem(at=(name,), text=text))
        value = _decode(config.get(name) or "")
        if value is not None:
            raw[name] = value
    settings, problems, replaced = _check(raw)
    if not (secrets or problems) and settings is not None:
        for warning in warnings(settings):
            pulumi.log.warn(str(warning))
        return settings
    found = [*map(_from_top, [*secrets, *problems])]
    raise FleetError(*found, *(() if settings is None else readable_problems(settings, project_dir, replaced)))


def parse(raw: Mapping[str, object]) -> Settings:
    """Check ``raw`` (top-level key -> decoded value, spelled as in the stack file).

    Raises:
        FleetError: With every problem.
    """
    settings, problems, _ = _check(raw)
    if problems or settings is None:
        raise FleetError(*map(_from_top, problems))
    return settings


def warnings(settings: Settings) -> list[Problem]:
    """Return what is likely a mistake in a valid stack file."""
    between = (placed(problem, ()) for problem in stack_problems(settings) if not problem.fatal)
    return [_from_top(problem) for problem in (*settings.warnings(), *between)]


def _from_top(problem: Problem) -> Problem:
    return dataclasses.replace(problem, at=(f"{PROJECT}:{problem.at[0]}", *problem.at[1:]))


def _check(raw: Mapping[str, object]) -> tuple[Settings | None, list[Problem], set[FieldPath]]:
    """Return the settings (None if too little is readable), all problems, and the paths of the values that stand-ins replace."""
    found: dict[Problem, None] = {}
    values: dict[str, Any] = copy.deepcopy(dict(raw))
    replaced: set[FieldPath] = set()
    settings = _read(values, found, replaced)
    if settings is not None:
        for path, given, text in _misread(settings, values, ()):
            found[Problem(at=path, text=f"({show(given)}) {text}")] = None
            replaced.add(path)
        settings = _check_rules(settings, values, found, replaced)
    return settings, list(found), replaced


def _configured_names() -> list[str]:
    """Return the names of all configured keys of this project, unknown ones included."""
    keys = {*pulumi_config.get_config_env(), *pulumi_config.CONFIG.get()}
    return sorted(key.removeprefix(f"{PROJECT}:") for key in keys if key.startswith(f"{PROJECT}:"))


def _decode(text: str) -> object:
    """Decode the value of a configuration key: Pulumi passes objects and lists as JSON. An empty value is None."""
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


def _read(values: dict[str, Any], found: dict[Problem, None], replaced: set[FieldPath]) -> Settings | None:
    """Read ``values``, and replace what can't be read; return None if replacing does not help.

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
                    found[message(detail, place)] = None
                close = close_tag(detail)
                if close is not None and place.path not in before:  # the rest is read as what was probably meant
                    section: Any = functools.reduce(step_into, place.path, values)
                    section[close[0]] = close[1]
                    replaced.add((*place.path, close[0]))
                    continue
                replaced.add(place.path)
                _replace(values, place)
            if replaced == before:
                return None


def _check_rules(settings: Settings, values: dict[str, Any], found: dict[Problem, None], replaced: set[FieldPath]) -> Settings | None:
    """Run the rules, innermost models first. Replace what breaks one, so that the outer rules can run; return settings that pass."""

    def reads_valid_values(problem: Problem, gone: Collection[FieldPath]) -> bool:
        return not any(_overlap(path, other) for path in (problem.at, *problem.also) for other in gone)

    ignored: set[FieldPath] = set()
    while rules := settings.problems(ignored=ignored):
        gone = frozenset(replaced)
        for owner, problem in rules:
            target = problem.at
            if reads_valid_values(problem, gone):
                found[problem] = None
            elif target in gone:  # the rule is broken without the value too
                target = owner
                ignored.add(owner)
            replaced.add(target)
            _replace(values, locate(target, values))
        readable = _read(values, found, replaced)
        if readable is None:
            return None
        settings = readable
    for problem in stack_problems(settings):
        between = placed(problem, ())
        if between.fatal and reads_valid_values(between, replaced):
            found[between] = None
    return settings


def _replace(values: dict[str, Any], place: Place) -> None:
    """Replace a required value by a stand-in, and remove one that has a default."""
    *way, last = place.path
    parent: Any = functools.reduce(step_into, way, values)
    if isinstance(last, int):
        parent[last] = stand_in(place.annotation)
    elif place.field is not None and place.field.is_required():
        parent[last] = stand_in(place.annotation, place.field)
    elif isinstance(parent, dict):
        parent.pop(last, None)


def _misread(value: object, given: object, path: FieldPath) -> Iterator[tuple[FieldPath, object, str]]:
    """Yield values that pydantic reads differently from what their author can mean: true as 1, ``"1_0"`` as 10, a blank string."""
    if isinstance(value, Model) and isinstance(given, dict):
        for name, field in type(value).model_fields.items():
            key = field.alias or name
            yield from _misread(getattr(value, name), given.get(key), (*path, key))
    elif isinstance(value, tuple) and isinstance(given, list):
        for index, (entry, written) in enumerate(zip(value, given, strict=False)):
            yield from _misread(entry, written, (*path, index))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if isinstance(given, bool):
            yield path, given, "must be a number: true and false are not numbers. Write one."
        elif isinstance(given, str) and "_" in given:
            yield path, given, "must be a number: an underscore is not a digit. Write it without, such as 1000."
    elif isinstance(value, str) and isinstance(given, str) and given.isspace():
        yield path, given, "is blank: nothing can be read from it. Write a value, or remove the key."


def _overlap(path: FieldPath, other: FieldPath) -> bool:
    shorter = min(len(path), len(other))
    return path[:shorter] == other[:shorter]
