"""The differences between two versions of an object, as pure functions.

The new inputs are compared with the inputs of the last update. Changes in the cluster come in through `refresh`: `refreshed_inputs` maps
them to the inputs. A field that the server normalizes (a quantity `1000m` to `1`, an omitted false, `stringData`) is therefore never a
change, but another manager's edit is, after a refresh. The official provider compares with the pruned live object and a typed normal form;
for what a program can write, the changes are the same.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes.naming import kind_of
from local.plugins.kubernetes.paths import contains
from local.plugins.kubernetes.properties import UNKNOWN, without_none
from local.plugins.kubernetes.replacement import needs_replacement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plugins.kubernetes.client import Object
    from local.plugins.kubernetes.paths import Path


class Change(Enum):
    """Kind of change of a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    """One changed property."""

    change: Change
    replace: bool = False


# --- the normal form

_READ_ONLY_METADATA = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)


def normalize(obj: Object) -> Object:
    """A copy in normal form: without nulls and read-only metadata, and with a Secret's stringData in its data."""
    result: Object = without_none(obj)
    metadata = result.get("metadata")
    if isinstance(metadata, dict):
        for key in _READ_ONLY_METADATA:
            metadata.pop(key, None)
        for key in ("annotations", "labels"):
            if metadata.get(key) == {}:
                del metadata[key]
    kind = kind_of(result)
    if kind.group == "" and kind.kind == "Secret":
        _normalize_secret(result)
    if kind.group == "apiextensions.k8s.io" and kind.kind == "CustomResourceDefinition":
        result.pop("status", None)
        spec = result.get("spec")
        if isinstance(spec, dict) and spec.get("preserveUnknownFields") is False:
            del spec["preserveUnknownFields"]
    return result


def _normalize_secret(secret: Object) -> None:
    text, data = secret.get("stringData"), secret.get("data")
    if text is UNKNOWN or data is UNKNOWN or not isinstance(text or {}, dict) or not isinstance(data or {}, dict):
        return
    merged = {key: _canonical_base64(value) for key, value in (data or {}).items()}
    for key, value in (text or {}).items():
        merged[key] = value if value is UNKNOWN else base64.b64encode(str(value).encode()).decode()
    if merged:
        secret["data"] = merged
    secret.pop("stringData", None)


def _canonical_base64(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64encode(base64.b64decode(value, validate=False)).decode()
    except (ValueError, binascii.Error):
        return value


# --- equality

_QUANTITY = re.compile(r"^([+-]?\d+(?:\.\d*)?|[+-]?\.\d+)(?:(m|u|n|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)|[eE]([+-]?\d+))?$")
_SUFFIX = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10) ** 3, "M": Decimal(10) ** 6, "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12, "P": Decimal(10) ** 15, "E": Decimal(10) ** 18, "Ki": Decimal(2) ** 10, "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30, "Ti": Decimal(2) ** 40, "Pi": Decimal(2) ** 50, "Ei": Decimal(2) ** 60,
}  # fmt: skip
# Kubernetes has quantities in maps at these keys, or directly at these keys.
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity", "hard", "overhead", "allocatable", "default", "defaultRequest", "max", "min"})
_QUANTITY_KEYS = frozenset({"sizeLimit", "averageValue", "value", "storage", "divisor"})


def quantity(value: Any) -> Decimal | None:
    """A quantity as a number; None if it is not a quantity."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.match(str(value))
    if not match:
        return None
    number, suffix, exponent = match.groups()
    try:
        return Decimal(number) * (_SUFFIX[suffix] if suffix else Decimal(1)) * (Decimal(10) ** int(exponent) if exponent else Decimal(1))
    except InvalidOperation:
        return None


def _is_quantity_place(path: Path) -> bool:
    keys = [part for part in path if isinstance(part, str)]
    if not keys or keys[0] in ("metadata", "data"):
        return False
    if len(keys) >= 2 and keys[-1] == "value" and keys[-2] in ("env", "args", "tolerations", "headers", "httpHeaders"):  # noqa: PLR2004
        return False
    return keys[-1] in _QUANTITY_KEYS or (len(keys) >= 2 and keys[-2] in _QUANTITY_MAPS)  # noqa: PLR2004


def same(left: Any, right: Any, path: Path = ()) -> bool:  # noqa: PLR0911  # one return a type
    """Whether two values are equivalent at this path."""
    if left is UNKNOWN or right is UNKNOWN:
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key], (*path, key)) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(same(a, b, (*path, i)) for i, (a, b) in enumerate(zip(left, right, strict=True)))
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if left == right:
        return True
    if _is_quantity_place(path):
        mine, theirs = quantity(left), quantity(right)
        return mine is not None and mine == theirs
    return False


# --- the difference


def differences(old: Any, new: Any, path: Path = ()) -> dict[Path, Change]:  # noqa: C901  # one branch a type
    """The paths at which two values differ, as deep as their structures match.

    An empty mapping differs from a missing one: `emptyDir: {}` and `podSelector: {}` have a meaning.
    """
    if new is UNKNOWN or old is UNKNOWN:
        return {path: Change.UPDATE}
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[Path, Change] = {}
        for key in [*old, *(key for key in new if key not in old)]:
            here = (*path, key)
            if key not in new:
                found[here] = Change.DELETE
            elif key not in old:
                found[here] = Change.ADD
            else:
                found |= differences(old[key], new[key], here)
        return found
    if isinstance(old, list) and isinstance(new, list):
        found = {}
        for index in range(max(len(old), len(new))):
            here = (*path, index)
            if index >= len(new):
                found[here] = Change.DELETE
            elif index >= len(old):
                found[here] = Change.ADD
            else:
                found |= differences(old[index], new[index], here)
        return found
    if same(old, new, path):
        return {}
    return {path: Change.UPDATE}


def detailed(old: Object, new: Object, rules: Sequence[Path], ignored: Sequence[Path] = ()) -> dict[Path, Difference]:
    """The differences of two objects in normal form, with whether each needs a new object."""
    found = differences(old, new)
    return {
        path: Difference(change, needs_replacement(path, old, new, rules))
        for path, change in found.items()
        if not any(contains(ignore, path) for ignore in ignored)
    }


# --- refresh


def refreshed_inputs(inputs: Any, recorded: Any, live: Any, path: Path = ()) -> Any:
    """The inputs with drift applied.

    Args:
        inputs: The program's inputs.
        recorded: The object when the state was written.
        live: The object now.
        path: Path of the values in the object.

    Returns:
        The inputs, changed only where `recorded` and `live` differ. Values that the server does not return (write-only and omitted fields)
        stay unchanged.
    """
    if inputs is UNKNOWN:
        return live
    if isinstance(inputs, dict) and isinstance(live, dict):
        before = recorded if isinstance(recorded, dict) else {}
        result = {}
        for key, value in inputs.items():
            if key in live:
                result[key] = refreshed_inputs(value, before.get(key), live[key], (*path, key))
            elif key not in before:
                result[key] = value
        return result
    if same(live, recorded, path) or same(live, inputs, path):
        return inputs
    if isinstance(inputs, list) and isinstance(live, list):
        before_items = recorded if isinstance(recorded, list) else []
        if len(inputs) == len(live):
            return [
                refreshed_inputs(item, before_items[i] if i < len(before_items) else None, live[i], (*path, i))
                for i, item in enumerate(inputs)
            ]
        return [prune(item, inputs[i]) if i < len(inputs) else item for i, item in enumerate(live)]
    return live


def prune(live: Any, shape: Any) -> Any:
    """`live` without the keys that `shape` does not have."""
    if isinstance(live, dict) and isinstance(shape, dict):
        return {key: prune(live[key], value) for key, value in shape.items() if key in live}
    if isinstance(live, list) and isinstance(shape, list):
        return [prune(item, shape[i]) if i < len(shape) else item for i, item in enumerate(live)]
    return live
