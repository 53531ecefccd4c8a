"""Names: auto-naming, resource IDs, type tokens and kinds.

The rules are those of the official provider: an object without `metadata.name` is named `<logical name>-<8 hex digits>` and gets the
annotation `pulumi.com/autonamed`, an ID is `namespace/name` or `name`, and a type token is `kubernetes:<group>/<version>:<Kind>`.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any

from local.plugins.kubernetes.properties import UNKNOWN

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
WAIT_FOR = "pulumi.com/waitFor"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
REPLACE_UNREADY = "pulumi.com/replaceUnready"
MANAGED_BY = "app.kubernetes.io/managed-by"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

RELEASE_TOKEN = "kubernetes:helm.sh/v3:Release"  # noqa: S105  # a Pulumi type token, not a secret

_RANDOM_DIGITS = 8


class NamingError(Exception):
    """A name is missing and must not be generated."""


@dataclass(frozen=True)
class Kind:
    """A group, version and kind, such as `apps`, `v1`, `Deployment`; the core group is the empty string."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


def kind_of(obj: dict[str, Any]) -> Kind:
    """An object's kind; parts that the object does not set are empty."""
    api_version = obj.get("apiVersion")
    kind = obj.get("kind")
    group, version = split_api_version(api_version if isinstance(api_version, str) else "")
    return Kind(group, version, kind if isinstance(kind, str) else "")


def split_api_version(api_version: str) -> tuple[str, str]:
    """`apps/v1` -> (`apps`, `v1`); `v1` and `core/v1` -> (``, `v1`)."""
    group, slash, version = api_version.rpartition("/")
    if not slash:
        return "", api_version
    return ("" if group == "core" else group), version


def urn_type(urn: str) -> str:
    """The type token of a URN: the last one, because a URN also contains its parents' types."""
    return urn.split("::")[2].rsplit("$", maxsplit=1)[-1]


def urn_name(urn: str) -> str:
    """The logical name in a URN."""
    return urn.split("::", 3)[3]


def kind_from_token(token: str) -> Kind:
    """`kubernetes:apps/v1:Deployment` -> its Kind. A `...Patch` token means the kind of the patched object."""
    _, middle, kind = token.split(":", 2)
    group, version = split_api_version(middle)
    return Kind(group, version, kind.removesuffix("Patch") if is_patch_kind(kind) else kind)


def is_patch_kind(kind: str) -> bool:
    """Whether the SDK's class of this name patches an existing object (`DeploymentPatch`)."""
    return kind.endswith("Patch") and kind != "Patch"


def is_patch(urn: str, obj: dict[str, Any]) -> bool:
    """Whether a resource is one of the SDK's Patch resources; a custom kind whose own name ends in Patch is not."""
    token_kind = urn_type(urn).rsplit(":", 1)[-1]
    return is_patch_kind(token_kind) and obj.get("kind") != token_kind


def object_id(obj: dict[str, Any]) -> str:
    """An object's Pulumi ID: `namespace/name`, or `name` for a cluster-scoped object."""
    metadata = obj.get("metadata") or {}
    name, namespace = metadata.get("name", ""), metadata.get("namespace", "")
    return f"{namespace}/{name}" if namespace else str(name)


def parse_id(resource_id: str) -> tuple[str, str]:
    """An ID -> (namespace or "", name)."""
    namespace, _, name = resource_id.rpartition("/")
    return namespace, name


def metadata_of(obj: dict[str, Any]) -> dict[str, Any]:
    """An object's metadata, created if missing; an unattached empty dict if it is unknown."""
    metadata = obj.get("metadata")
    if metadata is None:
        metadata = obj["metadata"] = {}
    return metadata if isinstance(metadata, dict) else {}


def annotation(obj: dict[str, Any], key: str) -> str:
    """An annotation's value, or an empty string."""
    metadata = obj.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    value = annotations.get(key) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def is_true(obj: dict[str, Any], key: str) -> bool:
    """Whether an annotation is `true`."""
    return annotation(obj, key) == "true"


def _mark_autonamed(obj: dict[str, Any]) -> None:
    metadata = metadata_of(obj)
    annotations = metadata.get("annotations")
    if annotations is None:
        annotations = metadata["annotations"] = {}
    if isinstance(annotations, dict):  # otherwise they are unknown
        annotations[AUTONAMED] = "true"


def mark_managed(obj: dict[str, Any]) -> None:
    """Label an object as Pulumi's, like the official provider; only without server-side apply, which has field managers."""
    labels = metadata_of(obj).setdefault("labels", {})
    if isinstance(labels, dict):
        labels[MANAGED_BY] = "pulumi"


def is_named(obj: dict[str, Any]) -> bool:
    """Whether an object has a name, which may be unknown."""
    metadata = obj.get("metadata")
    return metadata is UNKNOWN or (isinstance(metadata, dict) and bool(metadata.get("name")))


def has_generate_name(obj: dict[str, Any]) -> bool:
    """Whether the API server generates the name."""
    metadata = obj.get("metadata")
    return not is_named(obj) and isinstance(metadata, dict) and bool(metadata.get("generateName"))


def unique_name(logical: str, seed: bytes) -> str:
    """`<logical>-<8 hex digits>`, the same in a preview and its update because of the engine's seed."""
    digits = hashlib.sha256(seed + logical.encode()).hexdigest()[:_RANDOM_DIGITS] if seed else secrets.token_hex(_RANDOM_DIGITS // 2)
    return f"{logical}-{digits}"


def assign_name(obj: dict[str, Any], logical: str, seed: bytes, *, proposed: str = "", disabled: bool = False) -> None:
    """Give a new object a name, unless it has one.

    Args:
        obj: The object, changed in place.
        logical: The resource's name in the program.
        seed: The engine's random seed for this resource; may be empty.
        proposed: The name from the engine's auto-naming settings.
        disabled: Whether these settings forbid generated names.

    Raises:
        NamingError: The object has no name, and generated names are forbidden.
    """
    if is_named(obj) or has_generate_name(obj):
        return
    if disabled:
        raise NamingError("autonaming is disabled, resource requires the .metadata.name field to be set")
    metadata_of(obj)["name"] = proposed or unique_name(logical, seed)
    _mark_autonamed(obj)


def adopt_name(new: dict[str, Any], old: dict[str, Any]) -> None:
    """Keep the generated name of the existing object."""
    if not is_named(new) and is_true(old, AUTONAMED):
        metadata_of(new)["name"] = old["metadata"]["name"]
        _mark_autonamed(new)


def field_manager(urn: str) -> str:
    """The manager's name in `managedFields`: `pulumi-kubernetes-<8 hex digits>`.

    The official provider's digits are random. Here they are derived from the URN, so that the next `up` recognizes an object that a killed
    `up` created before it wrote its state.
    """
    return f"pulumi-kubernetes-{hashlib.sha256(urn.encode()).hexdigest()[:_RANDOM_DIGITS]}"


# Cluster-scoped kinds of Kubernetes itself (1.36, including alpha and beta), for when the API server is unreachable.
_CLUSTER_SCOPED: dict[str, frozenset[str]] = {
    "": frozenset({"Namespace", "Node", "PersistentVolume", "ComponentStatus"}),
    "admissionregistration.k8s.io": frozenset(
        {
            "MutatingWebhookConfiguration",
            "ValidatingWebhookConfiguration",
            "ValidatingAdmissionPolicy",
            "ValidatingAdmissionPolicyBinding",
            "MutatingAdmissionPolicy",
            "MutatingAdmissionPolicyBinding",
        }
    ),
    "apiextensions.k8s.io": frozenset({"CustomResourceDefinition"}),
    "apiregistration.k8s.io": frozenset({"APIService"}),
    "authentication.k8s.io": frozenset({"TokenReview", "SelfSubjectReview"}),
    "authorization.k8s.io": frozenset({"SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview"}),
    "certificates.k8s.io": frozenset({"CertificateSigningRequest", "ClusterTrustBundle"}),
    "flowcontrol.apiserver.k8s.io": frozenset({"FlowSchema", "PriorityLevelConfiguration"}),
    "networking.k8s.io": frozenset({"IngressClass", "IPAddress", "ServiceCIDR"}),
    "node.k8s.io": frozenset({"RuntimeClass"}),
    "rbac.authorization.k8s.io": frozenset({"ClusterRole", "ClusterRoleBinding"}),
    "resource.k8s.io": frozenset({"DeviceClass", "ResourceSlice", "DeviceTaintRule"}),
    "scheduling.k8s.io": frozenset({"PriorityClass"}),
    "storage.k8s.io": frozenset({"CSIDriver", "CSINode", "StorageClass", "VolumeAttachment", "VolumeAttributesClass"}),
    "storagemigration.k8s.io": frozenset({"StorageVersionMigration"}),
    "internal.apiserver.k8s.io": frozenset({"StorageVersion"}),
}
_NAMESPACED_GROUPS = frozenset({"apps", "autoscaling", "batch", "coordination.k8s.io", "discovery.k8s.io", "events.k8s.io", "policy"})


def is_builtin(kind: Kind) -> bool:
    """Whether a kind belongs to Kubernetes itself and needs no CustomResourceDefinition."""
    return kind.group in _CLUSTER_SCOPED or kind.group in _NAMESPACED_GROUPS


def builtin_namespaced(kind: Kind) -> bool | None:
    """Whether a kind of Kubernetes itself is namespaced; None for other kinds."""
    if kind.group in _CLUSTER_SCOPED:
        return kind.kind not in _CLUSTER_SCOPED[kind.group]
    return True if kind.group in _NAMESPACED_GROUPS else None
