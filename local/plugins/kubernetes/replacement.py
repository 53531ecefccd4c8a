"""Which changes need a new object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes.naming import kind_of
from local.plugins.kubernetes.paths import contains, look, parse_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from local.plugins.kubernetes.client import Object
    from local.plugins.kubernetes.errors import Cause
    from local.plugins.kubernetes.paths import Path


@dataclass(frozen=True)
class Mutability:
    """The provider's options for kinds that are otherwise replaced when their data changes."""

    config_map: bool = False
    secret: bool = False


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
# The official provider's list. Other immutable fields are found by the dry-run (`immutable_paths`).
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
    """The properties of an object whose change needs a new object."""
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
    """Whether a change at `path` affects a property in `rules`."""
    for rule in rules:
        if contains(rule, path):
            return True
        # A whole parent was added or removed: does it contain the property?
        inner = rule[len(path) :]
        if (
            contains(path, rule)
            and "*" not in inner
            and (look(look(old, path), inner) is not None or look(look(new, path), inner) is not None)
        ):
            return True
    return False


_IMMUTABLE = re.compile(r"immutable|may not be changed|cannot be changed|updates to .* for fields other than|may not change", re.IGNORECASE)


def immutable_paths(causes: Sequence[Cause], found: Iterable[Path]) -> set[Path]:
    """The changes that the API server refuses because a field is immutable (HTTP 422 of a dry-run).

    Any other error is an error in the program, which a new object would not fix. So is a claim that must not shrink: replacing it would
    delete its data.
    """
    refused = [parse_path(cause.field) for cause in causes if _IMMUTABLE.search(cause.message)]
    changed = [path for path in found if path[:1] != ("metadata",)]
    result = {path for path in changed for field in refused if contains(field, path) or contains(path, field)}
    if refused and not result:
        # The server uses another name for the field (a Secret's `data` for `stringData`): take all changes.
        result = set(changed)
    return result
