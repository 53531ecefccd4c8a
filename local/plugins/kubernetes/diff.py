"""What changes, and what of it needs a new object. Pure.

The inputs of the last update are compared with the new ones; what the cluster did to the object in between comes in through `refresh`,
which `refreshed_inputs` maps back onto the inputs. So a field that the server writes otherwise than we do (a quantity of `1000m` read
back as `1`, a false that it leaves out, `stringData`) never shows as a change, and somebody else's edit does after a refresh. The
official provider compares with the pruned live object and a typed normal form; both see the same changes for what a program can write.
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
from local.plugins.kubernetes.properties import UNKNOWN, without_none

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from local.plugins.kubernetes.client import Cause, Object

Path = tuple[str | int, ...]


class Change(Enum):
    """What happens to a property."""

    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    """One changed property."""

    change: Change
    replace: bool = False


@dataclass(frozen=True)
class Mutability:
    """The provider's switches for kinds that are replaced when their data changes."""

    config_map: bool = False
    secret: bool = False


# --- paths

_PLAIN_KEY = re.compile(r"^[A-Za-z_$][A-Za-z0-9_$]*$")
_PATH_PART = re.compile(r'\.?([^.\[\]"]+)|\[(\d+|\*)\]|\["((?:[^"\\]|\\.)*)"\]')


def path_text(path: Path) -> str:
    """A path as the engine writes it: `spec.containers[0].image`, `metadata.annotations["a.b/c"]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN_KEY.match(part):
            text += f".{part}" if text else part
        else:
            escaped = part.replace("\\", "\\\\").replace('"', '\\"')
            text += f'["{escaped}"]'
    return text


def parse_path(text: str) -> Path:
    """A path as a program writes it (`ignore_changes`); `[*]` becomes the part `*`."""
    parts: list[str | int] = []
    for match in _PATH_PART.finditer(text):
        plain, index, quoted = match.groups()
        if plain is not None:
            parts.append(plain)
        elif index is not None:
            parts.append("*" if index == "*" else int(index))
        else:
            parts.append(re.sub(r"\\(.)", r"\1", quoted))
    return tuple(parts)


def contains(outer: Path, inner: Path) -> bool:
    """Whether `inner` is `outer` or inside it; `*` in `outer` stands for any part."""
    return len(outer) <= len(inner) and all(mine in ("*", theirs) for mine, theirs in zip(outer, inner, strict=False))


def look(value: Any, path: Path) -> Any:
    """What is at a path, or None."""
    for part in path:
        if isinstance(value, list):
            if not isinstance(part, int) or part >= len(value):
                return None
        elif not isinstance(value, dict) or part not in value:
            return None
        value = value[part]
    return value


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
    """A copy in which things that mean the same are written the same.

    No nulls, no read-only metadata, a Secret's stringData in its data.
    """
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
# Where Kubernetes keeps quantities: under these keys (a map of them), or at these keys.
_QUANTITY_MAPS = frozenset({"limits", "requests", "capacity", "hard", "overhead", "allocatable", "default", "defaultRequest", "max", "min"})
_QUANTITY_KEYS = frozenset({"sizeLimit", "averageValue", "value", "storage", "divisor"})


def quantity(value: Any) -> Decimal | None:
    """A quantity's number; None if it is none."""
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
    """Whether two values mean the same at this place."""
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
    """The places at which two values differ, as deep as both have a structure.

    An empty mapping is not the same as none: `emptyDir: {}` and `podSelector: {}` say something.
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


# --- what needs a new object

_SELECTOR = ("spec.selector",)
_POD = tuple(
    f"spec.{name}"
    for name in (
        "affinity", "automountServiceAccountToken", "dnsConfig", "dnsPolicy", "enableServiceLinks", "hostAliases", "hostIPC",
        "hostNetwork", "hostPID", "hostname", "imagePullSecrets", "nodeName", "nodeSelector", "overhead", "preemptionPolicy", "priority",
        "priorityClassName", "readinessGates", "restartPolicy", "runtimeClassName", "schedulerName", "securityContext",
        "serviceAccount", "serviceAccountName", "shareProcessNamespace", "subdomain", "terminationGracePeriodSeconds", "volumes",
    )
) + tuple(
    f"spec.{containers}[*].{name}"
    for containers in ("containers", "initContainers")
    for name in (
        "args", "command", "env", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "ports", "readinessProbe", "resources",
        "securityContext", "stdin", "stdinOnce", "terminationMessagePath", "terminationMessagePolicy", "tty", "volumeDevices",
        "volumeMounts", "workingDir",
    )
)  # fmt: skip
_VOLUME_SOURCES = tuple(
    f"spec.{name}"
    for name in (
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
        "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume", "quobyte", "rbd",
        "scaleIO", "storageos", "vsphereVolume",
    )
)  # fmt: skip
# The official provider's list. What is missing from it and yet immutable is found by the dry-run (`immutable_paths`).
_FORCE_NEW: dict[tuple[str, str], tuple[str, ...]] = {
    ("apps", "DaemonSet"): _SELECTOR,
    ("apps", "Deployment"): _SELECTOR,
    ("apps", "StatefulSet"): (
        *_SELECTOR,
        "spec.podManagementPolicy",
        "spec.revisionHistoryLimit",
        "spec.serviceName",
        "spec.volumeClaimTemplates",
    ),
    ("", "PersistentVolume"): _VOLUME_SOURCES,
    ("", "PersistentVolumeClaim"): (*_SELECTOR, "spec.accessModes", "spec.storageClassName", "spec.volumeName"),
    ("", "Pod"): _POD,
    ("", "ResourceQuota"): ("spec.scopes",),
    ("", "Service"): ("spec.clusterIP",),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io", "StorageClass"): ("parameters", "provisioner"),
    ("batch", "Job"): (*_SELECTOR, "spec.completions", "spec.parallelism", "spec.template"),
}
_IDENTITY = ("metadata.name", "metadata.namespace")


def force_new(obj: Object, mutability: Mutability, *, patch: bool = False) -> list[Path]:
    """The properties of an object whose change needs a new one."""
    names: tuple[str, ...] = _IDENTITY
    kind = kind_of(obj)
    key = (kind.group, kind.kind)
    frozen = obj.get("immutable") is True
    if patch:
        pass
    elif key == ("", "Secret"):
        names += ("type",) if mutability.secret and not frozen else ("type", "stringData", "data")
    elif key == ("", "ConfigMap"):
        names += () if mutability.config_map and not frozen else ("binaryData", "data")
    else:
        names += _FORCE_NEW.get(key, ())
    return [parse_path(name) for name in names]


def needs_replacement(path: Path, old: Any, new: Any, rules: Iterable[Path]) -> bool:
    """Whether a change at `path` touches a property that `rules` name."""
    for rule in rules:
        if contains(rule, path):
            return True
        # A whole parent came or went: does it bring the property?
        inner = rule[len(path) :]
        if (
            contains(path, rule)
            and "*" not in inner
            and (look(look(old, path), inner) is not None or look(look(new, path), inner) is not None)
        ):
            return True
    return False


def detailed(old: Object, new: Object, rules: Sequence[Path], ignored: Sequence[Path] = ()) -> dict[Path, Difference]:
    """The differences of two objects in normal form, each with whether it needs a new object."""
    found = differences(old, new)
    return {
        path: Difference(change, needs_replacement(path, old, new, rules))
        for path, change in found.items()
        if not any(contains(ignore, path) for ignore in ignored)
    }


_IMMUTABLE = re.compile(r"immutable|may not be changed|cannot be changed|updates to .* for fields other than|may not change", re.IGNORECASE)


def immutable_paths(causes: Sequence[Cause], found: Iterable[Path]) -> set[Path]:
    """Which changes the API server refused because the field can't be changed (HTTP 422 of a dry-run).

    Only what it calls immutable counts: any other complaint is an error in the program, and a new object would not cure it. A claim that
    may not
    shrink is such an error too: replacing it would throw its data away.
    """
    refused = [parse_path(cause.field) for cause in causes if _IMMUTABLE.search(cause.message)]
    changed = [path for path in found if path[:1] != ("metadata",)]
    result = {path for path in changed for field in refused if contains(field, path) or contains(path, field)}
    if refused and not result:
        # The server names the field in another way (a Secret's `data` for its `stringData`): all that changed must be it.
        result = set(changed)
    return result


# --- refresh


def refreshed_inputs(inputs: Any, recorded: Any, live: Any, path: Path = ()) -> Any:
    """The inputs as the cluster has them now.

    Args:
        inputs: What the program asked for.
        recorded: The object as it was when the state was written.
        live: The object now.
        path: Where we are in it.

    Returns:
        The inputs, in which only those values changed that differ between `recorded` and `live`: drift. What the server never repeats
        (write-only fields, values that it leaves out) stays as it was asked for.
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
