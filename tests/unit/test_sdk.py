"""Each use that components/ make of an SDK, against that SDK: tokens, names, and all that its classes do by themselves.

What is used is read from the source, so that a new use is held here too.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import typing
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from pulumi._types import input_type_py_to_pulumi_names

from components import sdk

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
MODULES: Final = {"aws": sdk.aws, "eks": sdk.eks, "gcp": sdk.gcp, "k8s": sdk.k8s}


def _calls() -> Iterator[tuple[tuple[str, ...], ast.Call]]:
    """Calls of what the SDKs have, as ("aws", "ec2", "Vpc")."""
    for file in (ROOT / "components").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            parts: list[str] = []
            part: ast.expr = node.func
            while isinstance(part, ast.Attribute):
                parts.append(part.attr)
                part = part.value
            if isinstance(part, ast.Name) and part.id in MODULES and len(parts) > 0:
                yield (part.id, *reversed(parts)), node


CALLS: Final = list(_calls())
USES: Final = {
    path: [{keyword.arg for keyword in call.keywords if keyword.arg is not None} for of, call in CALLS if of == path]
    for path in dict.fromkeys(path for path, _ in CALLS)
}
"""With the names of the arguments of each call."""


def _light(path: tuple[str, ...]) -> Any:
    found = MODULES[path[0]]
    for part in path[1:]:
        found = getattr(found, part)
    return found


def _package(path: tuple[str, ...]) -> str:
    return f"pulumi_{'kubernetes' if path[0] == 'k8s' else path[0]}"


def _theirs(path: tuple[str, ...]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # old names in these modules warn when they are loaded
        return getattr(importlib.import_module(".".join((_package(path), *path[1:-1]))), path[-1])


def _is_ours(path: tuple[str, ...]) -> bool:
    return getattr(_light(path), "__module__", "") == sdk.__name__


OURS: Final = [path for path in USES if _is_ours(path)]
RESOURCES: Final = [path for path in OURS if isinstance(_light(path), type)]
ARGUMENTS: Final = [path for path in OURS if path[-1].endswith("Args")]
FUNCTIONS: Final = [path for path in OURS if path[-1].startswith("get_")]


def test_everything_is_looked_at() -> None:
    assert len(RESOURCES) > 40
    assert len(ARGUMENTS) > 25
    assert len(FUNCTIONS) > 8
    assert sorted([*RESOURCES, *ARGUMENTS, *FUNCTIONS]) == sorted(OURS)


@pytest.mark.parametrize("path", RESOURCES, ids=".".join)
def test_a_resource_is_registered_as_the_sdk_does(path: tuple[str, ...]) -> None:
    light, theirs = _light(path), _theirs(path)
    source = inspect.getsource(theirs._internal_init)
    (token,) = re.findall(r"super\(\w+, __self__\).__init__\(\s*'([^']+)'", source)
    assert light._token == (f"pulumi:providers:{token}" if path[-1] == "Provider" else token)
    assert ("remote=True" in source) == issubclass(light, sdk._Component)
    arguments = getattr(importlib.import_module(theirs.__module__), f"{path[-1]}Args", None)
    names = {} if arguments is None else input_type_py_to_pulumi_names(arguments)
    assert {name: sdk._camel(_package(path), name) for name in names} == names
    assigned = dict(re.findall(r'__props__\.__dict__\["(\w+)"\] = (.*)', source))
    own = {name: value for name, value in assigned.items() if value not in {name, "None"}}
    secret = {name for name, value in own.items() if "Output.secret" in value}
    fixed = {name: value.strip("'") for name, value in own.items() if re.fullmatch(r"'[^']*'", value)}
    if path[-1] == "Provider":  # the rest of what is its own is JSON, which is refused
        fixed = {name: text for name, text in _provider_defaults(source).items() if name in assigned}
    else:
        assert set(own) == secret | set(fixed), "the SDK does something with it that is not done here"
    assert dict(light._fixed) == {sdk._camel(_package(path), name): value for name, value in fixed.items()}
    hidden = re.findall(r"additional_secret_outputs=\[([^\]]*)\]", source)
    assert set(sdk._SECRET.get(token, sdk._SECRET.get(light._token, ()))) == set(re.findall(r'"(\w+)"', "".join(hidden)))
    assert {sdk._camel(_package(path), name) for name in secret} <= set(sdk._SECRET.get(light._token, ()))
    assert "replace_on_changes" not in source


def test_nothing_is_left_to_be_translated() -> None:
    """The SDKs' types also take dictionaries with Python's names, which nothing here would know for names."""
    keys = {
        key.value
        for path, call in CALLS
        if path in OURS
        for node in ast.walk(call)
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)+", key.value)
    }
    assert keys == set()


def _provider_defaults(source: str) -> dict[str, str]:
    return {name: value.lower() for name, value in re.findall(r"if \w+ is None:\s+(\w+) = (True|False)\n", source)}


@pytest.mark.parametrize("path", [path for path in RESOURCES if _light(path)._token in sdk._OUTPUTS], ids=".".join)
def test_what_is_read_of_a_resource_is_there(path: tuple[str, ...]) -> None:
    theirs = _theirs(path)
    known = {name for name, _ in inspect.getmembers(theirs, lambda member: isinstance(member, property))}
    assert set(sdk._OUTPUTS[_light(path)._token]) <= {sdk._camel(_package(path), name) for name in known}


@pytest.mark.parametrize("path", ARGUMENTS, ids=".".join)
def test_arguments_are_named_as_the_sdk_does(path: tuple[str, ...]) -> None:
    theirs = _theirs(path)
    names = input_type_py_to_pulumi_names(theirs)
    assert {name: sdk._camel(_package(path), name) for name in names} == names
    for arguments in USES[path]:
        given = dict.fromkeys(arguments, "x")
        set_by_theirs = {names[name]: value for name, value in vars(theirs(**_required(theirs, given))).items() if name in names}
        ours = _light(path)(**_required(theirs, given))
        assert ours == set_by_theirs


def _required(of: Any, given: dict[str, str]) -> dict[str, str]:
    """``given`` with what must be; a call that passes a mapping on has that in the mapping."""
    parameters = inspect.signature(of.__init__).parameters.values()
    must = {one.name: "x" for one in parameters if one.default is inspect.Parameter.empty and one.kind is inspect.Parameter.KEYWORD_ONLY}
    return {**must, **given}


@pytest.mark.parametrize("path", FUNCTIONS, ids=".".join)
def test_functions_are_asked_as_the_sdk_does(path: tuple[str, ...]) -> None:
    theirs = _theirs(path)
    source = inspect.getsource(theirs)
    (token,) = re.findall(r"invoke(?:_output)?\(\s*'([^']+)'", source)
    assert inspect.getclosurevars(_light(path)).nonlocals["token"] == token
    names = dict(re.findall(r"__args__\['(\w+)'\] = (\w+)", source))
    for arguments in USES[path]:
        for argument in arguments - {"opts"}:
            assert names[sdk._camel(_package(path), argument)] == argument


def test_an_output_that_nobody_asked_for_is_said_by_name() -> None:
    made = sdk.aws.ec2.Eip.__new__(sdk.aws.ec2.Eip)
    with pytest.raises(AttributeError, match="no output public_ip here: add publicIp to _OUTPUTS"):
        typing.cast("Any", made).public_ip  # noqa: B018  # it must be refused


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3.0, 3), (3.5, 3.5), ("3", "3"), (None, None), ([{"a": 1.0}], [{"a": 1}]), ({"maxSize": 2.0}, {"maxSize": 2.0})],
)
def test_answers_are_as_python_has_them(value: object, expected: object) -> None:
    assert sdk._answer(value) == expected


def test_answers_have_the_sdks_names() -> None:
    answer = sdk._answer([{"autoscalingGroups": [{"name": "a", "size": 2.0}]}])
    assert answer[0].autoscaling_groups[0].name == "a"
    assert answer[0].autoscaling_groups[0].size == 2
    assert answer[0]["autoscalingGroups"][0]["name"] == "a"
    with pytest.raises(AttributeError, match="max_size"):
        answer[0].max_size  # noqa: B018  # as above
