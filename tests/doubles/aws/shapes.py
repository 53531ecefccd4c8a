"""Pulumi's properties as parameters of an API, and back, by botocore's model of the API.

Names differ in case only (``cidrBlock`` is ``CidrBlock``), and where not, a row says so. A property that the API has no member for is
refused: so a misspelt nested name fails here, as it would in the real provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.doubles.provider import UNKNOWN, DoubleError

if TYPE_CHECKING:
    from collections.abc import Mapping


def member(shape: Any, name: str, path: str) -> str:
    """The name that a structure has for a property. Raises DoubleError where it has none."""
    for known in shape.members:
        if known.lower() == name.lower():
            return str(known)
    raise DoubleError(f"{path}: {shape.name} knows no {name}; it has {', '.join(sorted(shape.members))}")


def convert(shape: Any, value: Any, path: str, renames: Mapping[str, str]) -> Any:  # noqa: C901, PLR0911, PLR0912  # one branch a type
    """A property as the API's shape wants it.

    Args:
        shape: botocore's.
        value: The property.
        path: Where it is, for messages and ``renames``: names with dots, without indexes.
        renames: Path of a property -> the name that the API has for its last part.

    Raises:
        DoubleError: The value does not fit.
    """
    if value is UNKNOWN:
        return UNKNOWN  # in a preview: what is around it is checked all the same
    kind = shape.type_name
    if kind == "structure":
        if isinstance(value, list) and len(value) == 1:
            value = value[0]  # a block of Terraform's that occurs once
        if not isinstance(value, dict):
            raise DoubleError(f"{path}: {value!r} is no object")
        return {
            (known := member(shape, renames.get(f"{path}.{key}", key), f"{path}.{key}")): convert(
                shape.members[known], item, f"{path}.{key}", renames
            )
            for key, item in value.items()
            if item is not None
        }
    if kind == "list":
        if isinstance(value, dict) and set(getattr(shape.member, "members", ())) == {"Key", "Value"}:
            return [{"Key": key, "Value": str(item)} for key, item in value.items()]
        items = value if isinstance(value, list) else [value]
        return [convert(shape.member, item, path, renames) for item in items]
    if kind == "map":
        if not isinstance(value, dict):
            raise DoubleError(f"{path}: {value!r} is no map")
        return {key: convert(shape.value, item, path, renames) for key, item in value.items()}
    if kind == "boolean":
        if value in ("true", "false"):
            return value == "true"
        if not isinstance(value, bool):
            raise DoubleError(f"{path}: {value!r} is neither true nor false")
        return value
    if kind in ("integer", "long"):
        return _number(value, path)
    if isinstance(value, dict | list):
        raise DoubleError(f"{path}: {value!r} is no {kind}")
    if kind == "string":
        if isinstance(value, bool):
            return str(value).lower()
        if shape.enum and str(value) not in shape.enum:
            raise DoubleError(f"{path}: expected one of {', '.join(shape.enum)}, got {value}")
        return str(value)
    return value


def _number(value: Any, path: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise DoubleError(f"{path}: {value!r} is no number") from None


def place(parameters: dict[str, Any], shape: Any, path: str, value: Any, *, prop: str, renames: Mapping[str, str]) -> None:
    """Put a property where an operation's input has it: ``path`` is names with dots."""
    *parents, last = path.split(".")
    for parent in parents:
        known = member(shape, parent, prop)
        parameters = parameters.setdefault(known, {})
        shape = shape.members[known]
    known = member(shape, last, prop)
    parameters[known] = convert(shape.members[known], value, prop, renames)


def look(value: Any, path: str) -> Any:
    """What is at a path such as ``Subnets.0.SubnetId``; None where there is nothing."""
    for part in path.split("."):
        if isinstance(value, list):
            value = value[int(part)] if part.isdigit() and int(part) < len(value) else None
        elif isinstance(value, dict):
            value = value.get(part)
        else:
            return None
    return value


def back(value: Any) -> Any:
    """Of an answer what Pulumi can hold: names begin in lower case, times are texts."""
    if isinstance(value, dict):
        return {key[:1].lower() + key[1:]: back(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        if value and all(isinstance(item, dict) and set(item) == {"Key", "Value"} for item in value):
            return {item["Key"]: item["Value"] for item in value}
        return [back(item) for item in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value
