"""Kubernetes manifests as text and as objects: parsing, lists, default namespaces, dependencies."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from local.plugins.kubernetes.naming import Kind, annotation, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from local.plugins.kubernetes.client import Object

_DEPENDS_ON = "config.kubernetes.io/depends-on"
_CRD = ("apiextensions.k8s.io", "CustomResourceDefinition")
_SHOWN = 100  # characters of an object in an error


class ManifestError(Exception):
    """A manifest is invalid; the message shows its beginning."""


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]  # the C loader is ten times faster
    """Parses YAML like Kubernetes (sigs.k8s.io/yaml): no dates, and `=` is a string."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# `y` and `n` are booleans in Kubernetes and Helm (as in YAML 1.1), but strings in PyYAML.
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^[yYnN]$"), list("yYnN"))
_Loader.bool_values = {**yaml.SafeLoader.bool_values, "y": True, "n": False}
# YAML 1.2's exponents without a dot or sign (`1e3`) are numbers in Kubernetes, but strings in PyYAML.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def load(text: str) -> list[Object]:
    """All objects of a YAML stream, without empty documents.

    Raises:
        ManifestError: It is not YAML, or a document is not a mapping.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_Loader))  # a SafeLoader
    except yaml.YAMLError as error:
        raise ManifestError(f"decoding YAML: {error}") from error
    for document in documents:
        if document is not None and not isinstance(document, dict):
            raise ManifestError(f"decoding YAML: a document is not a mapping: {_shown(document)}")
    return [_text_keys(document) for document in documents if document]


def _text_keys(value: Any) -> Any:
    """Convert keys to strings as in JSON: `on: 1` has the key `true`, `8080: x` the key `8080`."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else json.dumps(key): _text_keys(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_text_keys(item) for item in value]
    return value


def dump(value: Mapping[str, Any]) -> str:
    """Serialize a value as JSON, which is valid YAML."""
    return json.dumps(value)


def expand(objects: Iterable[Object]) -> list[Object]:
    """Objects with every list kind replaced by its items."""
    result: list[Object] = []
    for obj in objects:
        if str(obj.get("kind", "")).endswith("List") and isinstance(obj.get("items"), list):
            result += expand(obj["items"])
        else:
            result.append(obj)
    return result


def normalize(
    objects: Iterable[Object], default_namespace: str, namespaced: Callable[[Kind, Sequence[Object]], bool | None]
) -> list[Object]:
    """Single objects, each with a kind, a name and, if its kind is namespaced, a namespace.

    Args:
        objects: The parsed objects.
        default_namespace: For objects without a namespace.
        namespaced: Whether a kind is namespaced, given the definitions among the objects; None if unknown.

    Raises:
        ManifestError: An object has no kind, apiVersion or name.
    """
    result = expand(objects)
    definitions = [obj for obj in result if (kind_of(obj).group, kind_of(obj).kind) == _CRD]
    for obj in result:
        kind = kind_of(obj)
        if not kind.kind or not kind.version:
            raise ManifestError(f"Kubernetes resources require a kind and apiVersion: `{_shown(obj)}`")
        metadata = obj.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            raise ManifestError(f"Kubernetes resources require a .metadata.name: `{_shown(obj)}`")
        obj["apiVersion"] = kind.api_version
        # If the kind is still unknown, the object gets the default namespace when it is created, if the kind is namespaced.
        if not metadata.get("namespace") and namespaced(kind, definitions):
            metadata["namespace"] = default_namespace
    return result


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


Reference = tuple[str, str, str, str]  # group, namespace, kind, name


def reference(obj: Object) -> Reference:
    """Identifies an object among others."""
    metadata = obj["metadata"]
    kind = kind_of(obj)
    return kind.group, str(metadata.get("namespace") or ""), kind.kind, str(metadata["name"])


def _explicit(obj: Object) -> list[Reference]:
    found: list[Reference] = []
    for text in filter(None, (part.strip() for part in annotation(obj, _DEPENDS_ON).split(","))):
        parts = text.split("/")
        if len(parts) == 5 and parts[1] == "namespaces":  # noqa: PLR2004  # group/namespaces/ns/kind/name
            found.append((parts[0], parts[2], parts[3], parts[4]))
        elif len(parts) == 3:  # noqa: PLR2004  # group/kind/name
            found.append((parts[0], "", parts[1], parts[2]))
        else:
            raise ManifestError(
                f"{_DEPENDS_ON} of {kind_of(obj).kind} {obj['metadata']['name']}: {text!r} is not "
                "`<group>/namespaces/<namespace>/<kind>/<name>` or `<group>/<kind>/<name>`"
            )
    return found


def ordered(objects: Sequence[Object]) -> list[tuple[Object, list[Object]]]:
    """Objects with their dependencies, which come before them.

    A custom object depends on its definition, a namespaced object on its namespace, and every object on those in its annotation
    `config.kubernetes.io/depends-on`.

    Raises:
        ManifestError: The dependencies have a cycle, or one does not exist.
    """
    by_reference = {reference(obj): obj for obj in objects}
    definitions = {
        (obj["spec"].get("group"), (obj["spec"].get("names") or {}).get("kind")): obj
        for obj in objects
        if (kind_of(obj).group, kind_of(obj).kind) == _CRD and isinstance(obj.get("spec"), dict)
    }
    needs: dict[Reference, list[Object]] = {}
    for obj in objects:
        kind = kind_of(obj)
        found = [definitions[(kind.group, kind.kind)]] if (kind.group, kind.kind) in definitions else []
        space = by_reference.get(("", "", "Namespace", str(obj["metadata"].get("namespace") or "")))
        if space is not None:
            found.append(space)
        for wanted in _explicit(obj):
            if wanted not in by_reference:
                raise ManifestError(
                    f"{_DEPENDS_ON} of {kind.kind} {obj['metadata']['name']} refers to {'/'.join(wanted)}, which is not in this group"
                )
            found.append(by_reference[wanted])
        needs[reference(obj)] = found
    result: list[tuple[Object, list[Object]]] = []
    placed: set[Reference] = set()
    left = list(objects)
    while left:
        ready = [obj for obj in left if all(reference(need) in placed for need in needs[reference(obj)])]
        if not ready:
            names = ", ".join("/".join(filter(None, reference(obj))) for obj in left)
            raise ManifestError(f"the dependencies of these objects have a cycle: {names}")
        for obj in ready:
            placed.add(reference(obj))
            result.append((obj, needs[reference(obj)]))
        left = [obj for obj in left if reference(obj) not in placed]
    return result


def resource_names(manifest: str) -> dict[str, list[str]]:
    """A release's objects: `Kind.group/apiVersion` -> `namespace/name`, both sorted, with the official provider's keys."""
    names: dict[str, list[str]] = {}
    for obj in expand(load(manifest)):
        metadata = obj.get("metadata") or {}
        if obj.get("kind") and metadata.get("name"):
            space, group = metadata.get("namespace"), kind_of(obj).group
            key = f"{obj['kind']}.{group}/{obj['apiVersion']}" if group else f"{obj['kind']}/{obj.get('apiVersion', '')}"
            names.setdefault(key, []).append(f"{space}/{metadata['name']}" if space else str(metadata["name"]))
    return {key: sorted(value) for key, value in sorted(names.items())}
