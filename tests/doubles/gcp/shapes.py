"""What a resource of the gcp SDK takes and gives: read from the installed SDK, so that the double knows no property that is not there.

Reading it means to import the SDK, which takes seconds; so it is done once for each version of it and of the double, and kept in the cache
of the project's tools.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import inspect
import json
import os
import typing
import warnings
from collections.abc import Mapping as AbstractMapping
from collections.abc import Sequence as AbstractSequence
from typing import TYPE_CHECKING, Any, Final

from local.paths import cache_root
from local.plugins.light import whole_packages
from tests.doubles.install import sdk_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Shape = Any
"""``string``, ``integer``, ``number``, ``boolean``, ``any``, {list: shape}, {map: shape} or {object: {name: shape}, required: [names]}."""

_SCALARS: Final = {str: "string", int: "integer", float: "number", bool: "boolean"}


def load(tokens: Iterable[str]) -> Mapping[str, Mapping[str, Shape]]:
    """Inputs (``inputs``: a shape) and outputs (``outputs``: a list of names) of each type, by its token."""
    wanted = sorted(tokens)
    key = hashlib.sha256(json.dumps([sdk_version("gcp"), wanted, _FORMAT]).encode()).hexdigest()[:12]
    path = cache_root() / "doubles" / f"gcp-shapes-{key}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    whole_packages()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the SDK warns of names of its own when it is imported
        found = {token: read(token) for token in wanted}
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(f".{os.getpid()}")
    new.write_text(json.dumps(found), encoding="utf-8")
    new.replace(path)
    return found


_FORMAT: Final = 2


def read(token: str) -> dict[str, Shape]:
    """Ask the SDK for one type, ``gcp:compute/subnetwork:Subnetwork``."""
    _, place, name = token.split(":")
    module = importlib.import_module(f"pulumi_gcp.{place.split('/')[0]}")
    types = importlib.import_module("pulumi._types")
    return {"inputs": _object(getattr(module, f"{name}Args")), "outputs": sorted(types.resource_types(getattr(module, name)))}


@functools.cache
def _object(cls: type) -> Shape:
    types = importlib.import_module("pulumi._types")
    names = types.input_type_py_to_pulumi_names(cls)
    signature = inspect.signature(cls.__init__)  # type: ignore[misc]
    required = [names[key] for key, item in signature.parameters.items() if key in names and item.default is inspect.Parameter.empty]
    return {"object": {key: _shape(item) for key, item in sorted(types.input_type_types(cls).items())}, "required": sorted(required)}


def _shape(kind: Any) -> Shape:
    if kind in _SCALARS:
        return _SCALARS[kind]
    origin = typing.get_origin(kind)
    if origin is typing.Union:
        # An input is the value itself, a promise of it, or an output; which is why the value comes first.
        return _shape(typing.get_args(kind)[0])
    if origin is not None and issubclass(origin, AbstractMapping):
        return {"map": _shape(typing.get_args(kind)[1])}
    if origin is not None and issubclass(origin, AbstractSequence):
        return {"list": _shape(typing.get_args(kind)[0])}
    if isinstance(kind, type) and kind.__name__.endswith("Args"):
        return _object(kind)
    return "any"


def problems(shape: Shape, value: Any, path: str = "", *, unknown: Any = None) -> list[tuple[str, str]]:
    """What is wrong with inputs, in the words of a bridged provider: (property, reason). ``unknown``: what a preview can't know."""
    if value is None or value is unknown:
        return []
    if isinstance(shape, dict) and "object" in shape:
        return _object_problems(shape, value, path, unknown)
    if isinstance(shape, dict):
        inner, kind = (shape["list"], list) if "list" in shape else (shape["map"], dict)
        if not isinstance(value, kind):
            return [(path, f"expected a {'list' if kind is list else 'map'}, got {_kind(value)}")]
        items = value.items() if isinstance(value, dict) else ((f"[{index}]", item) for index, item in enumerate(value))
        found = []
        for key, item in items:
            found += problems(inner, item, f"{path}{key}" if kind is list else f"{path}.{key}", unknown=unknown)
        return found
    fits = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "integer": isinstance(value, (int, float)) and not isinstance(value, bool) and float(value).is_integer(),
        "number": isinstance(value, (int, float)) and not isinstance(value, bool),
        "any": True,
    }[str(shape)]
    return [] if fits else [(path, f"expected {shape}, got {_kind(value)}")]


def _object_problems(shape: Mapping[str, Any], value: Any, path: str, unknown: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict):
        return [(path, f"expected an object, got {_kind(value)}")]
    found = []
    for key, item in value.items():
        inner = f"{path}.{key}" if path else key
        if key not in shape["object"]:
            close = [known for known in shape["object"] if known.lower().rstrip("s") == key.lower().replace("_", "").rstrip("s")]
            hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(shape['object'])}"
            found.append((inner, f"Invalid or unknown key{hint}"))
        else:
            found += problems(shape["object"][key], item, inner, unknown=unknown)
    found += [(f"{path}.{key}" if path else key, "Missing required argument") for key in shape["required"] if value.get(key) is None]
    return found


def _kind(value: Any) -> str:
    return {str: "string", bool: "boolean", int: "number", float: "number", list: "list", dict: "object"}.get(
        type(value), type(value).__name__
    )
