"""Read properties of an object, and the interface for querying its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from local.plugins.kubernetes.client import Object
    from local.plugins.kubernetes.naming import Kind


class Cluster(Protocol):
    """The queries that rules in `judge` use."""

    def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Get an object."""

    def list(self, kind: Kind, namespace: str = "", *, labels: str = "", fields: str = "") -> list[Object]:
        """List objects by selector."""

    def log_tail(self, namespace: str, pod: str, container: str, *, lines: int, previous: bool) -> str:
        """The last lines of a log."""


def namespace_of(obj: Object) -> str:
    """The object's namespace; empty if it has none."""
    return str(obj["metadata"].get("namespace") or "")


def name_of(obj: Object) -> str:
    """The object's name."""
    return str(obj["metadata"]["name"])


def condition(obj: Object, name: str) -> Object:
    """A status condition by its type; empty if it is missing."""
    for item in (obj.get("status") or {}).get("conditions") or []:
        if item.get("type") == name:
            return dict(item)
    return {}


def said(item: Object) -> str:
    """Reason and message of a condition, an event or a container's state."""
    return ": ".join(part for part in (item.get("reason"), item.get("message")) if part)


def observed(obj: Object) -> bool:
    """Whether the controller has observed the object's latest generation."""
    return int((obj.get("status") or {}).get("observedGeneration") or 0) >= int(obj["metadata"].get("generation") or 0)


def selector_text(labels: Any) -> str:
    """A label selector object as text."""
    parts = [f"{key}={value}" for key, value in ((labels or {}).get("matchLabels") or {}).items()]
    for item in (labels or {}).get("matchExpressions") or []:
        key, values = item["key"], ",".join(item.get("values") or [])
        match item["operator"]:
            case "In":
                parts.append(f"{key} in ({values})")
            case "NotIn":
                parts.append(f"{key} notin ({values})")
            case "Exists":
                parts.append(key)
            case "DoesNotExist":
                parts.append(f"!{key}")
    return ",".join(parts)
