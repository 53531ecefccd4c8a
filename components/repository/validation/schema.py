"""Triton's own protobuf schema, and what a config.pbtxt says against it.

The schema comes from tritonclient. Importing that package loads gRPC (2 s, 300 modules), so only the module of the schema is loaded, by its
path, on first use (0.15 s).
"""

from __future__ import annotations

import difflib
import functools
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from components.base.errors import FleetError
from components.repository.validation.placeholders import FILLED, Placeholder, is_placeholder

if TYPE_CHECKING:
    from components.repository.validation.report import Report
    from components.repository.validation.syntax import Node

_TYPE_HINTS: Final = {
    "FLOAT": "TYPE_FP32",
    "FLOAT16": "TYPE_FP16",
    "HALF": "TYPE_FP16",
    "FLOAT32": "TYPE_FP32",
    "FLOAT64": "TYPE_FP64",
    "DOUBLE": "TYPE_FP64",
    "BFLOAT16": "TYPE_BF16",
    "INT": "TYPE_INT32",
    "LONG": "TYPE_INT64",
    "BYTES": "TYPE_STRING",
    "STR": "TYPE_STRING",
    "BOOLEAN": "TYPE_BOOL",
}
"""Names of types in numpy, PyTorch and Triton's inference protocol, with their names in config.pbtxt."""

_FIELD_HINTS: Final = {"shape": "dims", "dtype": "data_type", "type": "data_type"}
"""Names of fields in other libraries, with their names in config.pbtxt."""

_INTEGER: Final = re.compile(r"-?(?:0[xX][0-9a-fA-F]+|\d+)\Z")

_BOOLEANS: Final = frozenset({"true", "false", "True", "False", "t", "f", "0", "1"})


@functools.cache
def schema() -> Any:
    """Triton's ``model_config_pb2``.

    Raises:
        FleetError: tritonclient is not installed.
    """
    package = importlib.util.find_spec("tritonclient")
    for place in (package.submodule_search_locations or ()) if package else ():
        path = Path(place) / "grpc" / "model_config_pb2.py"
        spec = importlib.util.spec_from_file_location("_triton_model_config_pb2", path) if path.is_file() else None
        if spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise FleetError(
        "tritonclient has no model_config_pb2: no config.pbtxt can be checked. Install the packages of requirements.lock (make venv)."
    )


def data_type(number: int) -> str:
    """Name of a data type, or its number if Triton has no such type."""
    value = schema().ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number.get(number)
    return str(number) if value is None else value.name


class Walk:
    """Walks over the fields of a config.pbtxt: records their lines and, in a text that is not valid, reports why."""

    def __init__(self, report: Report, *, valid: bool) -> None:
        self.report = report
        self.valid = valid
        """Whether protobuf accepts the text."""
        self.placeholders: list[Placeholder] = []
        """Unquoted words that are placeholders."""

    def message(self, node: Node, message: Any, path: str = "") -> None:
        """Walk over the fields of a message; ``message`` is its descriptor, ``path`` its name in messages."""
        counts: dict[str, int] = {}
        choices: dict[str, str] = {}
        for child in node.children:
            position = counts.get(child.name, 0)
            counts[child.name] = position + 1
            known = message.fields_by_name.get(child.name)
            here = f"{path}.{child.name}" if path else child.name
            if known is None:
                self._unknown(child, message, here)
                continue
            if child.name == "value" and message.GetOptions().map_entry:
                here = path
            self.report.lines.setdefault(here, child.line)
            if known.is_repeated:
                here += f"[{_key(child, known.message_type, position)}]"
                self.report.lines.setdefault(here, child.line)
            elif child.listed and not self.valid:
                self.report.field(here, "must be one value, not a list", "Remove the brackets.", line=child.line)
                continue
            elif position:  # protobuf accepts a second value if the first one is the default
                continue
            choice = known.containing_oneof
            if choice is not None and choices.setdefault(choice.name, child.name) != child.name and not self.valid:
                remedy = f"Keep one of: {', '.join(field.name for field in choice.fields if counts.get(field.name))}."
                self.report.field(here, f"is set beside {choices[choice.name]}", remedy, line=child.line)
            if known.message_type is not None and child.kind == "message":
                self.message(child, known.message_type, here)
            elif not self.valid and child.value != FILLED:
                self._value(child, known, here)

    def _value(self, node: Node, known: Any, path: str) -> None:
        """Report a value of another type than the field's."""
        enum = known.enum_type
        if node.kind == "word" and is_placeholder(node.value, for_type=enum is not None) and known.message_type is None:
            self.placeholders.append(Placeholder(node.value, node.line))
        elif enum is not None and node.kind == "word":
            self._name(node, enum, path)
        elif (wanted := _wanted(node, known)) is not None:
            shown = f' ("{node.value}")' if node.kind == "string" else f" ({node.value})" if node.value else ""
            self.report.field(path, f"{shown.lstrip()} must be {wanted}".lstrip(), _remedy(node, known), line=node.line)

    def _name(self, node: Node, enum: Any, path: str) -> None:
        """Report an unknown name of an enum's value."""
        names = _names(enum)
        if node.value in enum.values_by_name:
            return
        hint = _TYPE_HINTS.get(node.value.upper().removeprefix("TYPE_"))
        close = [hint] if hint in names else difflib.get_close_matches(node.value.upper(), names, 1, 0.5)
        remedy = f"{f'Did you mean {close[0]}? ' if close else ''}It must be one of: {', '.join(names)}."
        self.report.field(path, f"({node.value}) is an unknown value", remedy, line=node.line)

    def _unknown(self, node: Node, message: Any, path: str) -> None:
        """Report an unknown field."""
        if node.name == FILLED:
            return
        names = sorted(message.fields_by_name)
        hint = _FIELD_HINTS.get(node.name.lower())
        close = [hint] if hint in names else difflib.get_close_matches(node.name.lower(), names, 1, 0.6)
        owners = sorted(
            owner.name
            for owner in schema().ModelConfig.DESCRIPTOR.fields
            if owner.message_type is not None and node.name in owner.message_type.fields_by_name
        )
        if close:
            remedy = f"Did you mean {close[0]}?"
        elif owners:
            remedy = f"Move it into {' or '.join(owners)}."
        else:
            remedy = f"Remove it, or use one of: {', '.join(names)}."
        self.report.field(path, "is an unknown field", remedy, line=node.line)


def _names(enum: Any) -> list[str]:
    """Names of an enum's values, without TYPE_INVALID, which no tensor may have."""
    return [value.name for value in enum.values if not value.name.endswith("_INVALID")]


def _wanted(node: Node, known: Any) -> str | None:
    """What a field's value must be, where it is of another type; None if it fits."""
    if known.message_type is not None:
        return "a message"
    number = node.kind == "number"
    decimal = number and "x" not in node.value.lower()
    floating = "a number", decimal or node.value.lstrip("-").lower() in {"inf", "infinity", "nan"}
    wanted, fits = {
        known.CPPTYPE_STRING: ("a string in quotes", node.kind == "string"),
        known.CPPTYPE_BOOL: ("true or false", node.kind != "string" and node.value in _BOOLEANS),
        known.CPPTYPE_ENUM: ("a name", number and _INTEGER.match(node.value) is not None),
        known.CPPTYPE_FLOAT: floating,
        known.CPPTYPE_DOUBLE: floating,
    }.get(known.cpp_type) or _integer(node, known)
    return None if fits else wanted


def _integer(node: Node, known: Any) -> tuple[str, bool]:
    """What an integer field's value must be, and whether it is."""
    if node.kind != "number" or not _INTEGER.match(node.value):
        return "an integer", False
    bits = 32 if known.cpp_type in {known.CPPTYPE_INT32, known.CPPTYPE_UINT32} else 64
    signed = known.cpp_type in {known.CPPTYPE_INT32, known.CPPTYPE_INT64}
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return f"an integer from {least} to {most}", least <= int(node.value, 16 if "x" in node.value.lower() else 10) <= most


def _remedy(node: Node, known: Any) -> str:  # noqa: PLR0911 (one remedy a type)
    """How to correct a value of another type than the field's."""
    name = known.name
    if known.message_type is not None:
        parameter = known.message_type.name == "ModelParameter"
        return f'Write {name} {{ string_value: "{node.value}" }}.' if parameter else f"Write its fields in braces: {name} {{ ... }}."
    if node.kind == "message":
        return f"Write {name}: and the value, without braces."
    if known.cpp_type == known.CPPTYPE_STRING:
        return f'Write {name}: "{node.value}".'
    if known.cpp_type == known.CPPTYPE_BOOL:
        return "Set true or false, without quotes."
    if known.enum_type is not None:
        return f"{'Remove the quotes. ' if node.kind == 'string' else ''}It must be one of: {', '.join(_names(known.enum_type))}."
    if node.kind == "string" and _INTEGER.match(node.value):
        return "Remove the quotes."
    return "Set a number, or -1 for a variable dimension." if name == "dims" else "Set a number."


def _key(node: Node, message: Any, position: int) -> str:
    """Key of a map's entry as messages show it; the position in a repeated field that is not a map."""
    if message is None or not message.GetOptions().map_entry:
        return str(position)
    key = next((child.value for child in node.children if child.name == "key"), None) or ""
    return f'"{key}"' if message.fields_by_name["key"].cpp_type == message.fields_by_name["key"].CPPTYPE_STRING else key
