"""Server-side apply: ownership of fields, and messages about conflicts."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from local.plugins.kubernetes.client import Object
    from local.plugins.kubernetes.errors import ApiError

# Managers whose fields the first apply takes over, so that fields removed from the program are removed from the object: kubectl's, and
# those of the official provider's creates.
_CREATES = frozenset({"pulumi-kubernetes", "pulumi-kubernetes.exe", "pulumi-resource-kubernetes"})
_TAKEN_OVER = _CREATES | {"before-first-apply"}


def takes_over(entry: Object, manager: str) -> bool:
    """Whether the apply takes over a `managedFields` entry."""
    if entry.get("subresource"):
        return False
    name, operation = entry.get("manager", ""), entry.get("operation")
    if name.startswith("kubectl"):
        return True
    return operation == "Update" and (name in _TAKEN_OVER or name == manager)


def migrate(live: Object, manager: str) -> list[Object] | None:
    """A JSON patch that moves the fields of earlier managers to `manager`'s apply entry; None if there are none."""
    entries: list[Object] = (live.get("metadata") or {}).get("managedFields") or []
    taken = [entry for entry in entries if takes_over(entry, manager)]
    if not taken:
        return None
    kept = [entry for entry in entries if not takes_over(entry, manager)]
    ours = next((entry for entry in kept if _is_apply(entry, manager)), None)
    merged = copy.deepcopy(ours) if ours else {**copy.deepcopy(taken[0]), "manager": manager, "operation": "Apply", "fieldsV1": {}}
    for entry in taken:
        merged["fieldsV1"] = _union(merged.get("fieldsV1") or {}, entry.get("fieldsV1") or {})
    result = [entry for entry in kept if entry is not ours] + [merged]
    return [
        {"op": "replace", "path": "/metadata/managedFields", "value": result},
        # Fails if the object has changed since it was read.
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]


def forced_in_preview(live: Object, manager: str) -> bool:
    """Whether a preview overwrites other managers' fields, because the update takes over those of the resource's own create first.

    It does not for kubectl's, although the update takes these over too: the official plugin's preview fails there (patchForce and
    fixCSAFieldManagers in pulumi-kubernetes, provider/pkg/await/await.go).
    """
    entries: list[Object] = (live.get("metadata") or {}).get("managedFields") or []
    return any(entry.get("operation") == "Update" and entry.get("manager") in {*_CREATES, manager} for entry in entries)


def _is_apply(entry: Object, manager: str) -> bool:
    return entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")


def _union(left: Object, right: Object) -> Object:
    result = dict(left)
    for key, value in right.items():
        result[key] = _union(result[key], value) if key in result else value
    return result


def made_by(live: Object, manager: str) -> bool:
    """Whether `manager` owns fields of an object, because it created or applied it."""
    return any(entry.get("manager") == manager for entry in (live.get("metadata") or {}).get("managedFields") or [])


def owned_by_others(live: Object, manager: str, path: Iterable[str | int]) -> bool:
    """Whether a field (a path of keys, without list items) is managed by others and not by `manager`."""
    ours = theirs = False
    keys = [f"f:{part}" for part in path]
    for entry in (live.get("metadata") or {}).get("managedFields") or []:
        node: Any = entry.get("fieldsV1") or {}
        for key in keys:
            node = node.get(key) if isinstance(node, dict) else None
            if node is None:
                break
        else:
            if entry.get("manager") == manager:
                ours = True
            else:
                theirs = True
    return theirs and not ours


def relinquish(obj: Object) -> Object:
    """What to apply to give up all fields: the bare identity."""
    metadata = obj.get("metadata") or {}
    identity = {key: metadata[key] for key in ("name", "namespace") if metadata.get(key)}
    return {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": identity}


def conflict_message(error: ApiError, what: str, manager: str) -> str:
    """The message about a conflict: fields, owners and remedies."""
    fields = [f"  - {cause.field}: {cause.message}" for cause in error.causes if cause.reason == "FieldManagerConflict"]
    listed = "\n".join(fields) if fields else f"  - {error.message}"
    by_hand = "`pulumi up --refresh --skip-preview` takes over what kubectl changed. " if '"kubectl' in listed else ""
    return (
        f"server-side apply field conflict detected: {what} as field manager {manager!r}. "
        "Nothing was changed. Other managers own these fields:\n"
        f"{listed}\n"
        "Remedies: leave the fields out of the program (or list them in the ignore_changes option) if the other manager is right; "
        'set the annotation pulumi.com/patchForce: "true" on the resource (or enablePatchForce on the provider) to take them over. '
        f"{by_hand}"
    )
