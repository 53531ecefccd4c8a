"""From the plugin's properties to the bodies that Google takes.

Most names are Google's own, but for an s where the SDK makes a list's name a plural, and both sides are described: the properties by the
SDK, the bodies by Google. What is named otherwise stands in a table of paths; what nothing maps is refused aloud, because a property that
the double dropped would pass every test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.doubles.gcp.api import Body, Document

NEVER: Final = ""
"""Where a property of the plugin's own is mapped to: it is never sent."""


class Unmapped(Exception):  # noqa: N818  # something is missing in the double; the program did nothing wrong
    """A property that the double can't send."""


def expand(api: Document, schema: Body, value: Any, names: Mapping[str, str], path: str = "") -> Any:
    """Turn properties into a body.

    Args:
        api: The API whose body it is.
        schema: Description of the body, or of the part of it.
        value: The properties, without what is not known.
        names: Where a property goes that is named otherwise: its path without indices (``nodeConfig.guestAccelerators.type``) to a path
            from the object in which it stands (``acceleratorType``, ``variantConfig.variant``); to NEVER where it is not sent.
        path: Where ``value`` stands.

    Raises:
        Unmapped: A property is neither named as Google has it nor in the table.
    """
    schema = api.resolve(schema)
    kind = schema.get("type", "any")
    if kind == "array":
        items = value if isinstance(value, list) else [value]
        return [expand(api, schema["items"], item, names, path) for item in items]
    if kind != "object" or not isinstance(value, dict):
        return scalar(schema, value)
    if "properties" not in schema:
        inner = schema.get("additionalProperties", {"type": "any"})
        return {key: expand(api, inner, item, names, path) for key, item in value.items()}
    body: Body = {}
    for key, item in value.items():
        here = f"{path}.{key}" if path else key
        target = names[here] if here in names else same(key, schema["properties"])
        if target is None:
            raise Unmapped(here)
        if item is None or target == NEVER:
            continue
        node, inside = body, schema
        *outer, last = target.split(".")
        for part in outer:
            node = node.setdefault(part, {})
            inside = api.resolve(api.resolve(inside)["properties"][part])
        made = expand(api, inside["properties"][last], item, names, here)
        node[last] = {**node[last], **made} if isinstance(made, dict) and isinstance(node.get(last), dict) else made
    return body


def same(key: str, properties: Mapping[str, Any]) -> str | None:
    """Find the field that a property is: of the same name, or one of them a plural of the other."""
    candidates = [key, f"{key}s", f"{key}es"]
    for plural, singular in (("ies", "y"), ("ses", "s"), ("xes", "x"), ("s", "")):
        if key.endswith(plural):
            candidates.append(key.removesuffix(plural) + singular)
    for candidate in candidates:
        if candidate in properties:
            return candidate
    return None


def scalar(schema: Body, value: Any) -> Any:
    """Write a value as Google's JSON has it: long integers as strings, others as integers; texts that stand for truth values as these."""
    kind, form = schema.get("type"), schema.get("format", "")
    if kind == "string" and form in ("int64", "uint64") and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(int(value))
    if kind == "integer" and isinstance(value, (float, str)) and not isinstance(value, bool):
        try:
            return int(value)
        except ValueError:
            return value
    if kind == "boolean" and isinstance(value, str):
        return {"TRUE": True, "FALSE": False}.get(value.upper(), value)
    return value


def pick(value: Any, path: str) -> Any:
    """What stands at a path of names; None where nothing does."""
    for part in path.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value
