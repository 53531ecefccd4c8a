"""An object's state.

It has the official provider's format: the live object with `__inputs`, `__initialApiVersion` and `__fieldManager`, so that either plugin
can continue with the other's state.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes import naming
from local.plugins.kubernetes.properties import Props, Secret, from_object, keep_secret, reveal, to_object

if TYPE_CHECKING:
    from local.plugins.kubernetes.client import Object

INPUTS, INITIAL_API_VERSION, FIELD_MANAGER = "__inputs", "__initialApiVersion", "__fieldManager"
_INTERNAL = (INPUTS, INITIAL_API_VERSION, FIELD_MANAGER)


def state_of(inputs: Object, live: Object, secrets: Props, manager: str, initial: Any = None) -> Props:
    """An object's state."""
    shown = copy.deepcopy(live)
    # As long as the object itself, and of no use to a program.
    shown.get("metadata", {}).pop("managedFields", None)
    state: Props = secret_data(keep_secret(from_object(shown), _as_data(secrets)))
    state[INPUTS] = secret_data(keep_secret(from_object(inputs), secrets))
    state[INITIAL_API_VERSION] = initial if isinstance(initial, str) else str(inputs.get("apiVersion") or live.get("apiVersion"))
    state[FIELD_MANAGER] = manager
    return state


def parse_state(state: Props) -> tuple[Object, Object]:
    """A state -> (inputs, live object), as plain objects."""
    inputs = to_object(reveal(state.get(INPUTS)) or {})
    live = to_object({key: value for key, value in state.items() if key not in _INTERNAL})
    return inputs, live


def _is_secret(obj: Props) -> bool:
    return bool(reveal(obj.get("kind")) == "Secret" and reveal(obj.get("apiVersion")) == "v1")


def secret_data(obj: Props) -> Props:
    """Mark a Secret's values as secret, including those in the annotation of `kubectl apply`."""
    if not _is_secret(obj):
        return obj
    result = {key: Secret(reveal(value)) if key in ("data", "stringData") and value is not None else value for key, value in obj.items()}
    metadata = result.get("metadata")  # if it is wrapped, it is secret already
    if isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict) and naming.LAST_APPLIED in metadata["annotations"]:
        annotations = metadata["annotations"]
        result["metadata"] = {**metadata, "annotations": {**annotations, naming.LAST_APPLIED: Secret(annotations[naming.LAST_APPLIED])}}
    return result


def _as_data(inputs: Props) -> Props:
    """Inputs with a Secret's stringData where the live object has it, in data."""
    return {**inputs, "data": Secret(None)} if _is_secret(inputs) and ("stringData" in inputs or "data" in inputs) else inputs
