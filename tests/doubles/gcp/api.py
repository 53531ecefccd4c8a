"""Google's own description of its APIs, and whether a request or an answer keeps to it.

The discovery documents come with google-api-python-client. Google itself is laxer here and stricter there: it ignores fields that only it
may set, and it knows of relations between fields (`memory.py` has those that matter). What the check refuses is what a real call would lose
or be refused for: a misspelt field, a number where a string belongs, a value outside an enumeration, a field that only Google sets.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Body = dict[str, Any]
Direction = Literal["request", "answer"]

VERSIONS: Final = {
    "artifactregistry": "v1",
    "cloudkms": "v1",
    "cloudresourcemanager": "v1",
    "compute": "v1",
    "container": "v1",
    "iam": "v1",
    "serviceusage": "v1",
    "storage": "v1",
}
"""Version of each API. The real plugin asks container's v1beta1: what only that one has is refused here, for it may be gone tomorrow."""

# Google marks what only it may set in three ways, by age of the API.
_OUTPUT_ONLY: Final = re.compile(r"^\s*\[?output[ -]only\b", re.IGNORECASE)
_RFC3339: Final = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$")
_FORMATS: Final = {
    "google-datetime": _RFC3339,
    "date-time": _RFC3339,
    "date": re.compile(r"^\d{4}-\d\d-\d\d$"),
    "google-duration": re.compile(r"^-?\d+(\.\d{1,9})?s$"),
    "google-fieldmask": re.compile(r"^[A-Za-z0-9_.*,]*$"),
    "int64": re.compile(r"^-?\d{1,19}$"),
    "uint64": re.compile(r"^\d{1,20}$"),
    "byte": re.compile(r"^[A-Za-z0-9+/_-]*={0,2}$"),
}
_RANGES: Final = {"int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1)}


@dataclass(frozen=True, kw_only=True)
class Method:
    """One method of an API."""

    id: str
    http: str
    path: str
    parameters: Mapping[str, Body]
    request: str | None
    """Name of the body's schema; None where there is no body."""
    answer: str | None


@dataclass(frozen=True, kw_only=True)
class Document:
    """One API."""

    name: str
    schemas: Mapping[str, Body]
    methods: Mapping[str, Method]
    revision: str = field(default="", compare=False)

    def schema(self, name: str) -> Body:
        """Description of an object.

        Raises:
            LookupError: The API has none of this name.
        """
        if name not in self.schemas:
            raise LookupError(f"{self.name} describes no {name}")
        return self.schemas[name]

    def resolve(self, schema: Body) -> Body:
        """Follow a reference."""
        return self.schema(str(schema["$ref"])) if "$ref" in schema else schema

    def fields(self, schema: Body) -> Mapping[str, Body]:
        """Fields of an object or of a list's items; none for values and for maps."""
        schema = self.resolve(schema)
        if schema.get("type") == "array":
            return self.fields(schema["items"])
        found: Mapping[str, Body] = schema.get("properties", {})
        return found

    def check(self, schema: str, value: Any, *, direction: Direction = "request", method: str = "") -> list[str]:
        """Hold a value against a schema.

        Args:
            schema: The schema's name.
            value: What was parsed from JSON.
            direction: A request must not set what only Google sets; an answer may.
            method: Identity of the method that takes the request: some fields are required by one method alone.

        Returns:
            What is wrong, each with its place; empty when nothing is.
        """
        return list(self._check(self.schema(schema), value, schema, direction, method))

    def _check(self, schema: Body, value: Any, place: str, direction: Direction, method: str) -> Iterator[str]:
        if "$ref" in schema:
            yield from self._check(self.schema(str(schema["$ref"])), value, place, direction, method)
            return
        kind = schema.get("type", "any")
        if kind == "object":
            yield from self._object(schema, value, place, direction, method)
        elif kind == "array":
            if not isinstance(value, list):
                yield f"{place} is {_shown(value)}; it must be a list"
                return
            for index, item in enumerate(value):
                yield from self._check(schema["items"], item, f"{place}[{index}]", direction, method)
        elif kind != "any":
            yield from _scalar(schema, kind, value, place)

    def _object(self, schema: Body, value: Any, place: str, direction: Direction, method: str) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{place} is {_shown(value)}; it must be an object"
            return
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties")
        for name, item in value.items():
            inner = f"{place}.{name}"
            if name in properties:
                if direction == "request" and output_only(properties[name]):
                    yield f"{inner} is set, which only Google does"
                    continue
                yield from self._check(properties[name], item, inner, direction, method)
            elif others is not None:
                yield from self._check(others, item, inner, direction, method)
            else:
                yield f"{inner} is unknown to Google{_close(name, properties)}"
        if direction == "request" and schema.get("id") not in _PARTIAL:
            for name, inner_schema in properties.items():
                if name not in value and _required(inner_schema, method):
                    yield f"{place}.{name} is missing"


def _required(schema: Body, method: str) -> bool:
    """Whether a field must be there. Older APIs say so by method, newer ones in the description alone."""
    if method in schema.get("annotations", {}).get("required", ()):
        return True
    return str(schema.get("description", "")).startswith("Required.") and not output_only(schema)


def _scalar(schema: Body, kind: str, value: Any, place: str) -> Iterator[str]:
    expected: Any = {"string": (str,), "boolean": (bool,), "integer": (int,), "number": (int, float)}[kind]
    # To Python a truth value is a number; to JSON it is none.
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != "boolean"):
        form = schema.get("format", "")
        yield f"{place} is {_shown(value)}; it must be a {kind}{f' ({form})' if form else ''}"
        return
    form = schema.get("format", "")
    if "enum" in schema and value not in schema["enum"]:
        yield f"{place} is {_shown(value)}; Google knows {', '.join(item for item in schema['enum'] if 'UNSPECIFIED' not in item)}"
    if form in _FORMATS and not _FORMATS[form].match(str(value)):
        yield f"{place} is {_shown(value)}; it must be of the format {form}"
    if form in _RANGES and not _RANGES[form][0] <= value <= _RANGES[form][1]:
        yield f"{place} is {_shown(value)}; it must fit {form}"
    if "pattern" in schema and kind == "string" and not re.fullmatch(schema["pattern"], value):
        yield f"{place} is {_shown(value)}; it must match {schema['pattern']}"
    for bound, low in (("minimum", True), ("maximum", False)):
        if bound in schema and (value < float(schema[bound]) if low else value > float(schema[bound])):
            yield f"{place} is {_shown(value)}; its {bound} is {schema[bound]}"


def output_only(schema: Body) -> bool:
    """Whether only Google sets this field."""
    return bool(schema.get("readOnly")) or bool(_OUTPUT_ONLY.match(str(schema.get("description", ""))))


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN: Final = 80
_PARTIAL: Final = ("UpdateNodePoolRequest",)
"""Objects whose description calls fields required which Google does not ask for: the real provider sends one change at a time in them."""


def _close(name: str, known: Mapping[str, Any]) -> str:
    """Where a known field differs in case or in a last s alone, say so: that is the usual mistake."""
    key = name.lower().replace("_", "").rstrip("s")
    for other in known:
        if other.lower().rstrip("s") == key:
            return f" (it has {other})"
    return ""


def check_call(api: Document, method: Method, parameters: Mapping[str, Any], body: Body | None) -> list[str]:
    """Hold a whole call against its description: the parameters of path and query, and the body. What is wrong, each with its place."""
    problems = [f"{method.id}: {name} is no parameter" for name in parameters if name not in method.parameters]
    for name, schema in method.parameters.items():
        if name not in parameters:
            if schema.get("required"):
                problems.append(f"{method.id}: parameter {name} is missing")
            continue
        values = parameters[name] if schema.get("repeated") else [parameters[name]]
        for value in values:
            problems.extend(f"{method.id}: {problem}" for problem in _scalar(schema, str(schema.get("type")), value, name))
    if method.request is None:
        if body:
            problems.append(f"{method.id}: it takes no body")
    elif body is None:
        problems.append(f"{method.id}: it needs a body, {method.request}")
    else:
        problems.extend(f"{method.id}: {problem}" for problem in api.check(method.request, body, method=method.id))
    return problems


def _methods(node: Body) -> Iterator[Method]:
    for item in node.get("methods", {}).values():
        yield Method(
            id=item["id"],
            http=item["httpMethod"],
            path=item["path"],
            parameters=item.get("parameters", {}),
            request=item.get("request", {}).get("$ref"),
            answer=item.get("response", {}).get("$ref"),
        )
    for inner in node.get("resources", {}).values():
        yield from _methods(inner)


@functools.cache
def document(name: str) -> Document:
    """Read the description of one API by its name in `VERSIONS`."""
    path = resources.files("googleapiclient") / "discovery_cache" / "documents" / f"{name}.{VERSIONS[name]}.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    return Document(
        name=f"{name}.{VERSIONS[name]}",
        schemas=raw["schemas"],
        methods={method.id: method for method in _methods(raw)},
        revision=raw.get("revision", ""),
    )


def load_documents() -> None:
    """Read them all, for processes that are forked from this one."""
    for name in VERSIONS:
        document(name)


def find(method: str) -> tuple[Document, Method]:
    """Look up an API and its method by the method's identity, such as ``container.projects.locations.clusters.create``.

    Raises:
        LookupError: Google has no such method.
    """
    api = document(method.split(".", 1)[0])
    if method not in api.methods:
        raise LookupError(f"{api.name} has no method {method}")
    return api, api.methods[method]


__all__ = ["VERSIONS", "Body", "Document", "Method", "check_call", "document", "find", "load_documents", "output_only"]
