"""The provider's operations on a Kubernetes object: check, diff, create, read, update, delete.

Independent of gRPC: plain values and exceptions. `write` creates and updates objects, `state` defines the state, `helm_release` handles
Helm releases, and `construct` components.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from local.plugins.kubernetes import await_, naming, paths, replacement, ssa
from local.plugins.kubernetes import diff as diffs
from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.judge import State, judge
from local.plugins.kubernetes.naming import Kind, kind_of
from local.plugins.kubernetes.outcome import CheckResult, DiffResult, InitFailed, ProviderError, ReadResult
from local.plugins.kubernetes.podlook import pod_reasons
from local.plugins.kubernetes.properties import Props, from_object, has_unknown, keep_secret, to_object
from local.plugins.kubernetes.state import INITIAL_API_VERSION, INPUTS, parse_state, secret_data, state_of
from local.plugins.kubernetes.write import Writer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plugins.kubernetes.client import Object

__all__ = ["INPUTS", "CheckResult", "DiffResult", "InitFailed", "Provider", "ProviderError", "ReadResult"]

_REMOVED_IN_DELETE = (
    "configured Kubernetes cluster is unreachable. If the cluster was deleted, you can remove this resource from Pulumi state by rerunning "
    'the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
)


class Provider(Writer):
    """A configured provider."""

    # --- check

    def check(  # noqa: C901  # one rule after another
        self, urn: str, olds: Props, news: Props, *, seed: bytes = b"", proposed_name: str = "", autoname_disabled: bool = False
    ) -> CheckResult:
        """The inputs with name and namespace.

        Raises:
            ProviderError: The object is invalid.
        """
        if self.client is None and self.config.skip_update_unreachable:
            self.log.warning(urn, "Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping...")
            return CheckResult(olds)
        obj, old = to_object(news), to_object(olds)
        token = naming.urn_type(urn)
        patch = naming.is_patch(urn, obj)
        if token.rsplit(":", 1)[-1].endswith("List") and isinstance(obj.get("items"), list):
            raise ProviderError(
                "list resources exist for compatibility with YAML manifests and Helm charts, "
                "and cannot be created directly. Use the underlying resource type instead"
            )
        if patch and not self.config.server_side_apply:
            raise ProviderError(
                "patch resources require Server-Side Apply mode, which is enabled using the `enableServerSideApply` Provider config"
            )
        if patch and not naming.is_named(obj):
            raise ProviderError("patch resources require the `.metadata.name` field to be set")
        self._warn_hooks(urn, obj)
        if not isinstance(obj.get("metadata"), dict) and obj.get("metadata") is not None and not has_unknown(obj.get("metadata")):
            return CheckResult(news, (("metadata", f"must be a mapping, not {obj['metadata']!r}"),))
        if old:
            naming.adopt_name(obj, old)
        try:
            naming.assign_name(obj, naming.urn_name(urn), seed, proposed=proposed_name, disabled=autoname_disabled)
        except naming.NamingError as error:
            raise ProviderError(str(error)) from error
        if naming.has_generate_name(obj) and self.config.server_side_apply:
            raise ProviderError("the `.metadata.generateName` field is not supported in Server-Side Apply mode")
        if not self.config.server_side_apply:
            naming.mark_managed(obj)
        kind = kind_of(obj) if obj.get("kind") else naming.kind_from_token(token)
        metadata = naming.metadata_of(obj)
        if not metadata.get("namespace") and self.is_namespaced(kind) is not False:
            metadata["namespace"] = self.default_namespace
        if kind.kind == "CustomResourceDefinition":
            self.note_definition(obj)
        checked = keep_secret(from_object(obj), news)
        return CheckResult(secret_data(checked))

    def _warn_hooks(self, urn: str, obj: Object) -> None:
        annotations = (obj.get("metadata") or {}).get("annotations") if isinstance(obj.get("metadata"), dict) else None
        hooks = [key for key in annotations or {} if isinstance(annotations, dict) and str(key).startswith("helm.sh/hook")]
        if hooks and "test" not in str(naming.annotation(obj, "helm.sh/hook")) and not self.config.suppress_helm_hook_warnings:
            self.log.warning(
                urn,
                "This resource contains Helm hooks that are not currently supported by Pulumi. The resource will be created, but any "
                "hooks will not be executed. This warning can be disabled by setting the "
                "PULUMI_K8S_SUPPRESS_HELM_HOOK_WARNINGS environment variable",
            )

    # --- diff

    def diff(self, urn: str, olds: Props, old_inputs: Props, news: Props, ignored: Sequence[str] = ()) -> DiffResult:
        """The changes of an update, and whether it needs a new object."""
        recorded_inputs, live = parse_state(olds)
        old = diffs.normalize(to_object(old_inputs) if old_inputs else recorded_inputs)
        new = diffs.normalize(to_object(news))
        patch = naming.is_patch(urn, new)
        kind = kind_of(new)
        if self.is_namespaced(kind) is False:
            for obj in (old, new):
                naming.metadata_of(obj).pop("namespace", None)
        else:
            for obj in (old, new):
                metadata = naming.metadata_of(obj)
                metadata["namespace"] = metadata.get("namespace") or "default"
        if naming.is_named(new) and live.get("metadata"):
            # A program may set the generated name explicitly.
            naming.metadata_of(old)["name"] = live["metadata"].get("name", old["metadata"].get("name"))
        rules = replacement.force_new(new, self.config.mutability, patch=patch)
        details = diffs.detailed(old, new, rules, [paths.parse_path(path) for path in ignored])
        if details and not any(item.replace for item in details.values()) and not patch:
            details = self._with_dry_run(details, urn, olds, new, ignored)
        extra = self._unready(urn, new, live)
        replaced = any(item.replace for item in details.values()) or bool(extra)
        metadata, before = naming.metadata_of(new), live.get("metadata") or {}
        delete_first = (
            replaced
            and naming.is_named(new)
            and not naming.is_true(new, naming.AUTONAMED)
            and metadata.get("name") == before.get("name")
            and metadata.get("namespace", "") == before.get("namespace", "")
        )
        return DiffResult(details, delete_first, extra)

    def _with_dry_run(
        self, details: dict[paths.Path, diffs.Difference], urn: str, olds: Props, new: Object, ignored: Sequence[str]
    ) -> dict[paths.Path, diffs.Difference]:
        """Dry-run the change on the API server; a change of a field that it calls immutable needs a new object."""
        if self.client is None or has_unknown(new) or not self.config.server_side_apply:
            return details
        kind = kind_of(new)
        try:
            live = self.client.get(kind, new["metadata"].get("namespace", ""), new["metadata"]["name"])
            obj = self._without_ignored(new, live, ignored, self._manager(urn, olds, new))
            self.client.apply(kind, obj, manager=self._manager(urn, olds, new), force=True, dry_run=True)
        except ApiError as error:
            if error.invalid or error.forbidden:
                immutable = replacement.immutable_paths(error.causes, details)
                return {path: diffs.Difference(item.change, path in immutable) for path, item in details.items()}
        except (Unreachable, NoSuchKind):
            return details
        return details

    def _unready(self, urn: str, new: Object, live: Object) -> tuple[str, ...]:
        """The annotation pulumi.com/replaceUnready: a Job that did not succeed is replaced."""
        if not naming.is_true(new, naming.REPLACE_UNREADY):
            return ()
        if kind_of(new).kind != "Job":
            self.log.warning(urn, "replaceUnready annotation is not supported for this resource")
            return ()
        if self.client is None:
            self.log.warning(urn, "Cluster is unreachable, skipping replaceUnready check")
            return ()
        try:
            found = self.client.get(kind_of(new), live["metadata"].get("namespace", ""), live["metadata"]["name"])
        except (ApiError, Unreachable, NoSuchKind):
            return ()
        ready = judge(found, self.client).state is State.READY
        return () if ready else ('metadata.annotations["pulumi.com/replaceUnready"]',)

    # --- read

    def read(self, urn: str, resource_id: str, olds: Props, old_inputs: Props) -> ReadResult:
        """The current object, for refresh, import and `get`.

        Raises:
            ProviderError: It can't be read.
            InitFailed: It exists but has failed.
        """
        if self.client is None:
            return self._read_unreachable(urn, resource_id, olds, old_inputs)
        namespace, name = naming.parse_id(resource_id)
        if not name:
            raise ProviderError(f"failed to read resource because of a failure to parse resource name from request ID: {resource_id}")
        recorded_inputs, recorded = parse_state(olds)
        inputs = to_object(old_inputs) if old_inputs else recorded_inputs
        imported = not inputs.get("kind") and not recorded.get("kind")
        kind = naming.kind_from_token(naming.urn_type(urn))
        for known in (recorded, inputs):
            if known.get("kind"):
                kind = kind_of(known)
        namespaced = self.is_namespaced(kind)
        if not namespace and namespaced:
            namespace = (recorded.get("metadata") or {}).get("namespace") or self.default_namespace
        try:
            live = self.client.get(kind, namespace if namespaced is not False else "", name)
        except NoSuchKind:
            return ReadResult()
        except ApiError as error:
            if error.not_found:
                return ReadResult()
            raise ProviderError(f"failed to read {kind.kind} {resource_id}: {error.message}") from error
        except Unreachable as error:
            raise ProviderError(f"failed to read {kind.kind} {resource_id}: {error}") from error
        new_inputs: Object = _importable(live) if imported else diffs.refreshed_inputs(inputs, recorded, live)
        secrets = old_inputs or olds
        manager = self._manager(urn, olds, new_inputs)
        state = state_of(new_inputs, live, secrets, manager, olds.get(INITIAL_API_VERSION))
        checked = secret_data(keep_secret(from_object(new_inputs), secrets))
        self._check_health(live, inputs, resource_id, state, checked, imported=imported)
        return ReadResult(resource_id or naming.object_id(live), state, checked)

    def _check_health(self, live: Object, inputs: Object, resource_id: str, state: Props, checked: Props, *, imported: bool) -> None:
        """Report an object that has failed permanently. One that is still progressing (a rollout, an HPA) is not reported."""
        if imported or self.client is None or naming.is_true(inputs, naming.SKIP_AWAIT):
            return
        try:
            verdict = judge(live, self.client)
        except (ApiError, Unreachable, NoSuchKind):
            return
        if verdict.state is State.FAILED:
            raise InitFailed(
                f"{kind_of(live).kind} {resource_id} has failed: {verdict.message}",
                resource_id=resource_id,
                state=state,
                reasons=[verdict.message, *pod_reasons(live, self.client)],
                inputs=checked,
            )

    def _read_unreachable(self, urn: str, resource_id: str, olds: Props, old_inputs: Props) -> ReadResult:
        self.log.warning(urn, f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        if self.config.delete_unreachable:
            self.log.info(
                urn,
                "configured Kubernetes cluster is unreachable and the `deleteUnreachable` option is enabled. "
                "Deleting the unreachable resource from Pulumi state",
            )
            return ReadResult()
        if self.config.skip_update_unreachable:
            return ReadResult(resource_id, olds, old_inputs)
        raise ProviderError(
            "failed to read resource state due to unreachable cluster. If the cluster was deleted, you can remove this resource from "
            'Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
        )

    # --- delete

    def delete(self, urn: str, resource_id: str, olds: Props, *, timeout_s: float = 0) -> None:  # noqa: C901  # one branch per outcome
        """Delete an object and wait until it is gone.

        Raises:
            ProviderError: It still exists.
        """
        if self.client is None:
            self.log.warning(urn, f"configured Kubernetes cluster is unreachable: {self.unreachable}")
            if self.config.delete_unreachable:
                return
            raise ProviderError(_REMOVED_IN_DELETE)
        inputs, live = parse_state(olds)
        kind = kind_of(live) if live.get("kind") else naming.kind_from_token(naming.urn_type(urn))
        namespace, name = naming.parse_id(resource_id)
        namespace = (live.get("metadata") or {}).get("namespace", namespace) or ""
        try:
            if naming.is_patch(urn, inputs or live):
                manager = self._manager(urn, olds, inputs)
                self.client.apply(kind, ssa.relinquish(live), manager=manager, force=True)
                return
            propagation = {"orphan": "Orphan", "background": "Background"}.get(
                naming.annotation(inputs, naming.DELETION_PROPAGATION).lower(), "Foreground"
            )
            self.client.delete(kind, namespace, name, propagation=propagation)
        except NoSuchKind:
            return
        except ApiError as error:
            if error.not_found:
                return
            raise ProviderError(f"deletion of {kind.kind} {resource_id} failed: {error.message}") from error
        except Unreachable as error:
            raise ProviderError(f"deletion of {kind.kind} {resource_id} failed: {error}") from error
        if naming.is_true(inputs, naming.SKIP_AWAIT) and _may_skip_deletion(kind):
            return
        target = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, "namespace": namespace}}
        uid = (live.get("metadata") or {}).get("uid")
        if uid:
            target["metadata"]["uid"] = uid  # type: ignore[index]  # the dict made in the line above
        try:
            await_.wait_gone(
                target,
                self.client,
                timeout_s=await_.timeout_of(timeout_s, inputs),
                cancelled=self.cancelled,
                status=lambda text: self.log.status(urn, text),
            )
        except (await_.NotReady, await_.Cancelled, Unreachable, ApiError) as error:
            raise ProviderError(str(error)) from error
        if kind.kind == "CustomResourceDefinition":
            self.client.forget_discovery()


def _importable(live: Object) -> Object:
    """Inputs that would create an object: without fields that the server sets."""
    result = copy.deepcopy(live)
    result.pop("status", None)
    metadata = result.get("metadata", {})
    for key in ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid", "selfLink", "deletionTimestamp"):
        metadata.pop(key, None)
    annotations = metadata.get("annotations", {})
    annotations.pop("deployment.kubernetes.io/revision", None)
    annotations.pop(naming.LAST_APPLIED, None)
    if not annotations:
        metadata.pop("annotations", None)
    return result


_SKIPPABLE_DELETIONS = frozenset(
    {
        ("", "Namespace"),
        ("", "Pod"),
        ("", "ReplicationController"),
        ("apps", "DaemonSet"),
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("batch", "Job"),
    }
)


def _may_skip_deletion(kind: Kind) -> bool:
    return (kind.group, kind.kind) in _SKIPPABLE_DELETIONS
