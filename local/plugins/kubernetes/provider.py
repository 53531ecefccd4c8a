"""What the provider does with one Kubernetes object: check, diff, create, read, update, delete.

Free of gRPC: values in, values out, errors as exceptions. Helm releases are in `helm_release`, components in `construct`.

The state of an object is what the official provider keeps: the live object, with `__inputs`, `__initialApiVersion` and `__fieldManager`
beside it. So either plugin goes on from the other's state.
"""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes import await_, kubeconfig, naming, ssa
from local.plugins.kubernetes import diff as diffs
from local.plugins.kubernetes.client import ApiError, Client, NoSuchKind, Object, Unreachable, Warnings
from local.plugins.kubernetes.config import Config
from local.plugins.kubernetes.naming import Kind, kind_of
from local.plugins.kubernetes.properties import Props, Secret, from_object, has_unknown, keep_secret, reveal, to_object, without_none

if TYPE_CHECKING:
    from collections.abc import Sequence

    from local.plugins.kubernetes.logs import Log

INPUTS, INITIAL_API_VERSION, FIELD_MANAGER = "__inputs", "__initialApiVersion", "__fieldManager"
_INTERNAL = (INPUTS, INITIAL_API_VERSION, FIELD_MANAGER)
# A namespace or a CustomResourceDefinition may be on its way: waits of 0.25, 0.5, 1, 2, 4, 8, 16 s, about as long as the official
# provider's.
_CREATE_RETRIES, _RETRY_FIRST_S = 7, 0.25
_APPLY_RETRIES = 5  # somebody wrote between our read and our write

_REMOVED_IN_DELETE = (
    "configured Kubernetes cluster is unreachable. If the cluster was deleted, you can remove this resource from Pulumi state by rerunning "
    'the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment variable set to "true"'
)
_ALREADY_EXISTS = """

The resource already exists in the cluster. This can happen when:

  - Renaming a Pulumi resource: use an alias to preserve the identity,
    or use deleteBeforeReplace if the resource needs replacement.
  - Managing an existing resource: use a Patch resource (e.g. NamespacePatch)
    to manage specific fields without owning the resource lifecycle.
  - Adopting a resource into Pulumi: use `pulumi import`. Note that
    protected resources (e.g. kube-system) cannot be deleted on destroy.
  - Intentional upsert: set upsertExistingObjects on the provider to allow
    server-side apply to update existing objects on create."""


class ProviderError(Exception):
    """The operation failed and changed nothing that the state should know of."""


class InitFailed(Exception):  # noqa: N818
    """The object is there, but not ready: its state is kept, and the next `up` goes on from it."""

    def __init__(self, message: str, *, resource_id: str, state: Props, reasons: list[str], inputs: Props | None = None) -> None:
        super().__init__(message)
        self.resource_id = resource_id
        self.state = state
        self.reasons = reasons
        self.inputs = inputs


@dataclass(frozen=True)
class CheckResult:
    """Inputs as they will be used, and what is wrong with them: (property, reason)."""

    inputs: Props
    failures: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DiffResult:
    """What an update would change."""

    details: dict[diffs.Path, diffs.Difference]
    delete_first: bool = False
    extra_replaces: tuple[str, ...] = ()

    @property
    def replaces(self) -> list[str]:
        """The properties that need a new object, as the engine writes paths."""
        return [diffs.path_text(path) for path, item in self.details.items() if item.replace] + list(self.extra_replaces)

    @property
    def changed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.details or self.extra_replaces)


@dataclass(frozen=True)
class ReadResult:
    """An object as it is now; an empty id: it is gone."""

    resource_id: str = ""
    state: Props = field(default_factory=dict)
    inputs: Props = field(default_factory=dict)


class Provider:
    """One configured provider."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.config = Config()
        self.client: Client | None = None
        self.access: kubeconfig.Access | None = None
        self.unreachable = "the provider is not configured"
        self.cancelled = threading.Event()
        self._program_kinds: dict[tuple[str, str], bool] = {}  # (group, kind) of CRDs in this program -> namespaced
        self._lock = threading.Lock()

    # --- configuration

    def configure(self, config: Config) -> None:
        """Take a configuration and see whether its cluster answers; if not, say so when something needs it."""
        self.config = config
        self.client = None
        self.unreachable = ""
        try:
            self.access = kubeconfig.access(
                kubeconfig.read(config.kubeconfig or None), context=config.context, cluster=config.cluster, namespace=config.namespace
            )
        except kubeconfig.KubeconfigError as error:
            self.access = None
            self.unreachable = f"unable to load Kubernetes client configuration from kubeconfig file: {error}"
            return
        client = Client(self.access, timeout_s=config.client_timeout_s)
        try:
            client.version()
        except (ApiError, Unreachable, kubeconfig.KubeconfigError, ValueError, OSError) as error:
            self.unreachable = f"unable to load schema information from the API server: {error}"
            return
        self.client = client

    @property
    def default_namespace(self) -> str:
        """Where an object goes that names no namespace."""
        return self.access.namespace if self.access else self.config.namespace or "default"

    def reach(self) -> Client:
        """The cluster.

        Raises:
            ProviderError: It can't be reached.
        """
        if self.client is None:
            raise ProviderError(f"configured Kubernetes cluster is unreachable: {self.unreachable}")
        return self.client

    def note_definition(self, definition: Object) -> None:
        """Remember a CustomResourceDefinition of the program: objects of its kind may come before it exists."""
        spec = definition.get("spec")
        if isinstance(spec, dict) and isinstance(spec.get("names"), dict):
            with self._lock:
                self._program_kinds[(str(spec.get("group")), str(spec["names"].get("kind")))] = spec.get("scope") != "Cluster"

    def is_namespaced(self, kind: Kind, definitions: Sequence[Object] = ()) -> bool | None:
        """Whether a kind lives in namespaces; None if nobody knows yet."""
        known = naming.builtin_namespaced(kind)
        if known is not None:
            return known
        for definition in definitions:
            self.note_definition(definition)
        with self._lock:
            if (kind.group, kind.kind) in self._program_kinds:
                return self._program_kinds[(kind.group, kind.kind)]
        if self.client is None:
            return None
        try:
            return self.client.resource(kind).namespaced
        except NoSuchKind:
            return None

    def _kind_exists(self, kind: Kind) -> bool:
        if self.client is None:
            return False
        try:
            self.client.resource(kind)
        except NoSuchKind:
            return False
        return True

    # --- check

    def check(  # noqa: C901  # one rule after the other
        self, urn: str, olds: Props, news: Props, *, seed: bytes = b"", proposed_name: str = "", autoname_disabled: bool = False
    ) -> CheckResult:
        """The inputs with their name and namespace.

        Raises:
            ProviderError: The object can't be one.
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
        return CheckResult(_secret_data(checked))

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
        """What an update would change, and whether it needs a new object."""
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
            # A program may write down the name that was generated.
            naming.metadata_of(old)["name"] = live["metadata"].get("name", old["metadata"].get("name"))
        rules = diffs.force_new(new, self.config.mutability, patch=patch)
        details = diffs.detailed(old, new, rules, [diffs.parse_path(path) for path in ignored])
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
        self, details: dict[diffs.Path, diffs.Difference], urn: str, olds: Props, new: Object, ignored: Sequence[str]
    ) -> dict[diffs.Path, diffs.Difference]:
        """Ask the API server whether it would take the change; what it calls immutable needs a new object."""
        if self.client is None or has_unknown(new) or not self.config.server_side_apply:
            return details
        kind = kind_of(new)
        try:
            live = self.client.get(kind, new["metadata"].get("namespace", ""), new["metadata"]["name"])
            obj = self._without_ignored(new, live, ignored, self._manager(urn, olds, new))
            self.client.apply(kind, obj, manager=self._manager(urn, olds, new), force=True, dry_run=True)
        except ApiError as error:
            if error.invalid or error.forbidden:
                immutable = diffs.immutable_paths(error.causes, details)
                return {path: diffs.Difference(item.change, path in immutable) for path, item in details.items()}
        except (Unreachable, NoSuchKind):
            return details
        return details

    def _unready(self, urn: str, new: Object, live: Object) -> tuple[str, ...]:
        """The annotation pulumi.com/replaceUnready: a Job that did not succeed is made again."""
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
        ready = await_.judge(found, self.client).state is await_.State.READY
        return () if ready else ('metadata.annotations["pulumi.com/replaceUnready"]',)

    # --- create

    def create(self, urn: str, news: Props, *, timeout_s: float = 0, preview: bool = False) -> tuple[str, Props]:
        """Make an object and wait for it.

        Returns:
            Its id (empty in a preview) and its state.

        Raises:
            ProviderError: It was not made.
            InitFailed: It was made and is not ready.
        """
        if not preview:
            self.reach()
        inputs = to_object(news)
        patch = naming.is_patch(urn, inputs)
        if preview and (has_unknown(inputs) or not self._kind_exists(kind_of(inputs)) or patch or not self.config.server_side_apply):
            return "", news
        manager = self._manager(urn, {}, inputs)
        try:
            live = self._create(urn, inputs, manager, patch=patch, preview=preview)
        except NoSuchKind as error:
            raise ProviderError(
                f"creation of resource {urn!r} with kind {error.kind} failed because the Kubernetes API server reported that the "
                f"apiVersion for this resource does not exist. Verify that any required CRDs have been created: {error}"
            ) from error
        except ApiError as error:
            if preview and (error.forbidden or error.namespace_missing or error.taken or "dry run" in error.message.lower()):
                return "", news
            suffix = _ALREADY_EXISTS if error.already_exists else ""
            raise ProviderError(
                f"resource {urn!r} was not successfully created by the Kubernetes API server: {error.message}{suffix}"
            ) from error
        except Unreachable as error:
            raise ProviderError(f"resource {urn!r} was not created: {error}") from error
        if preview:
            live.pop("status", None)
            return "", self._state(inputs, live, news, manager)
        return naming.object_id(live), self._await(urn, live, inputs, news, manager, timeout_s, "was successfully created, but")

    def _create(self, urn: str, inputs: Object, manager: str, *, patch: bool, preview: bool) -> Object:
        client, kind = self.reach(), kind_of(inputs)
        obj = without_none(inputs)
        warnings = Warnings()
        upsert = patch or (self.config.upsert_existing and self.config.server_side_apply)
        attempt = 0
        while True:
            try:
                if upsert:
                    live = self._apply(urn, kind, obj, manager, force=self._forced(obj), preview=preview, warnings=warnings)
                else:
                    live = client.create(kind, obj, manager=manager, dry_run=preview, warnings=warnings)
                break
            except ApiError as error:
                in_the_way = self._in_the_way(kind, obj) if error.taken and not preview else None
                if in_the_way is not None and in_the_way["metadata"].get("deletionTimestamp"):
                    self._wait_for_old(urn, in_the_way)
                    continue
                if in_the_way is not None and ssa.made_by(in_the_way, manager):
                    self.log.info(urn, "taking up the object that an interrupted update of this resource created")
                    live = self._update(urn, kind, obj, manager, (), preview=False, warnings=warnings)
                    break
                vanished = error.already_exists and in_the_way is None
                if preview or not (error.not_found or vanished) or attempt == _CREATE_RETRIES:
                    raise
                self._retry_later(urn, attempt, error)
            except NoSuchKind as error:
                if preview or attempt == _CREATE_RETRIES:
                    raise
                self._retry_later(urn, attempt, error)
            attempt += 1
        self._say(urn, warnings, preview=preview)
        if kind.kind == "CustomResourceDefinition":
            client.forget_discovery()
        return live

    def _retry_later(self, urn: str, attempt: int, error: Exception) -> None:
        self.log.status(urn, f"Retry #{attempt}; creation failed: {error}")
        if self.cancelled.wait(_RETRY_FIRST_S * 2**attempt):
            raise ProviderError(f"cancelled; the last attempt failed: {error}") from error

    def _in_the_way(self, kind: Kind, obj: Object) -> Object | None:
        """The object that has the name already; None if it has just gone."""
        metadata = obj["metadata"]
        try:
            return self.reach().get(kind, metadata.get("namespace", ""), metadata["name"])
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _wait_for_old(self, urn: str, live: Object) -> None:
        """An object of the name is on its way out, as after an update that was stopped while it deleted: its end comes first."""
        try:
            await_.wait_gone(
                live,
                self.reach(),
                timeout_s=await_.DEFAULT_TIMEOUT_S,
                cancelled=self.cancelled,
                status=lambda text: self.log.status(urn, text and f"{text} (of the object that had the name before)"),
            )
        except (await_.NotReady, await_.Cancelled) as error:
            raise ProviderError(f"resource {urn!r} was not created: {error}") from error

    # --- update

    def update(
        self, urn: str, olds: Props, news: Props, *, ignored: Sequence[str] = (), timeout_s: float = 0, preview: bool = False
    ) -> Props:
        """Change an object and wait for it.

        Returns:
            Its state.

        Raises:
            ProviderError: It was not changed.
            InitFailed: It was changed and is not ready.
        """
        if not preview:
            self.reach()
        inputs = to_object(news)
        kind = kind_of(inputs)
        if preview and (has_unknown(inputs) or not self._kind_exists(kind)):
            return news
        manager = self._manager(urn, olds, inputs)
        _, recorded = parse_state(olds)
        obj = without_none(inputs)
        metadata = obj["metadata"]
        metadata["name"] = recorded.get("metadata", {}).get("name") or metadata["name"]
        warnings = Warnings()
        try:
            live = self._update(urn, kind, obj, manager, ignored, preview=preview, warnings=warnings)
        except NoSuchKind as error:
            raise ProviderError(
                f"update of resource {urn!r} failed because the Kubernetes API server reported that the apiVersion for this resource does "
                f"not exist. Verify that any required CRDs have been created: {error}"
            ) from error
        except ApiError as error:
            if preview and error.forbidden:
                return news
            raise ProviderError(f"update of resource {urn!r} failed: {error.message}") from error
        except Unreachable as error:
            raise ProviderError(f"update of resource {urn!r} failed: {error}") from error
        self._say(urn, warnings, preview=preview)
        if kind.kind == "CustomResourceDefinition" and not preview:
            self.reach().forget_discovery()
        initial = olds.get(INITIAL_API_VERSION)
        if preview:
            return self._state(inputs, live, news, manager, initial)
        return self._await(urn, live, inputs, news, manager, timeout_s, "was updated, but", initial)

    def _update(  # the parts of one call
        self, urn: str, kind: Kind, obj: Object, manager: str, ignored: Sequence[str], *, preview: bool, warnings: Warnings
    ) -> Object:
        client = self.reach()
        namespace, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
        attempt = 0
        while True:
            try:
                live = client.get(kind, namespace, name)
            except ApiError as error:
                if not error.not_found or naming.is_patch(urn, obj):
                    raise
                self.log.warning(urn, "the object was deleted by somebody else; making it again")
                return client.create(kind, obj, manager=manager, dry_run=preview, warnings=warnings)
            wanted = self._without_ignored(obj, live, ignored, manager)
            try:
                if not self.config.server_side_apply:
                    return self._replace(kind, wanted, live, manager, preview=preview, warnings=warnings)
                handover = None if naming.is_patch(urn, obj) else ssa.migrate(live, manager)
                if handover and not preview:
                    client.patch(kind, namespace, name, handover)
                force = self._forced(obj) or bool(handover and preview) or not live["metadata"].get("managedFields")
                return self._apply(urn, kind, wanted, manager, force=force, preview=preview, warnings=warnings)
            except ApiError as error:
                attempt += 1
                if not error.conflict or attempt == _APPLY_RETRIES:
                    raise

    def _replace(self, kind: Kind, obj: Object, live: Object, manager: str, *, preview: bool, warnings: Warnings) -> Object:
        """Without server-side apply: the live object with our fields put over it."""
        merged = _overlay(live, obj)
        merged["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        return self.reach().replace(kind, merged, manager=manager, dry_run=preview, warnings=warnings)

    def _apply(self, urn: str, kind: Kind, obj: Object, manager: str, *, force: bool, preview: bool, warnings: Warnings) -> Object:
        try:
            return self.reach().apply(kind, obj, manager=manager, force=force, dry_run=preview, warnings=warnings)
        except ApiError as error:
            if not error.conflict or not any(cause.reason == "FieldManagerConflict" for cause in error.causes):
                raise
            what = f"{kind.kind} {naming.object_id(obj)} was to be applied"
            raise ProviderError(f"resource {urn!r}: {ssa.conflict_message(error, what, manager)}") from error

    def _forced(self, obj: Object) -> bool:
        return self.config.patch_force or naming.is_true(obj, naming.PATCH_FORCE)

    @staticmethod
    def _without_ignored(obj: Object, live: Object, ignored: Sequence[str], manager: str) -> Object:
        """The object with what `ignore_changes` names as it is in the cluster; left out where another manager owns it."""
        if not ignored:
            return obj
        result = copy.deepcopy(obj)
        for text in ignored:
            path = diffs.parse_path(text)
            if not path or "*" in path or any(isinstance(part, int) for part in path):
                continue  # the engine has put the old inputs there already
            parent = diffs.look(result, path[:-1])
            if not isinstance(parent, dict):
                continue
            found = diffs.look(live, path)
            if found is None or ssa.owned_by_others(live, manager, path):
                parent.pop(path[-1], None)
            else:
                parent[path[-1]] = copy.deepcopy(found)
        return result

    # --- read

    def read(self, urn: str, resource_id: str, olds: Props, old_inputs: Props) -> ReadResult:
        """An object as it is now, for refresh, import and `get`.

        Raises:
            ProviderError: It can't be read.
            InitFailed: It is there and does not work.
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
        state = self._state(new_inputs, live, secrets, manager, olds.get(INITIAL_API_VERSION))
        checked = _secret_data(keep_secret(from_object(new_inputs), secrets))
        self._check_health(live, inputs, resource_id, state, checked, imported=imported)
        return ReadResult(resource_id or naming.object_id(live), state, checked)

    def _check_health(self, live: Object, inputs: Object, resource_id: str, state: Props, checked: Props, *, imported: bool) -> None:
        """A refresh tells of what has failed for good. What is merely on its way (a rollout, an HPA at work) is no finding."""
        if imported or self.client is None or naming.is_true(inputs, naming.SKIP_AWAIT):
            return
        try:
            verdict = await_.judge(live, self.client)
        except (ApiError, Unreachable, NoSuchKind):
            return
        if verdict.state is await_.State.FAILED:
            raise InitFailed(
                f"{kind_of(live).kind} {resource_id} has failed: {verdict.message}",
                resource_id=resource_id,
                state=state,
                reasons=[verdict.message, *await_.pod_reasons(live, self.client)],
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

    def delete(self, urn: str, resource_id: str, olds: Props, *, timeout_s: float = 0) -> None:  # noqa: C901  # the ways it can end
        """Delete an object and wait until it is gone.

        Raises:
            ProviderError: It is still there.
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

    # --- parts

    def _await(  # noqa: PLR0917
        self, urn: str, live: Object, inputs: Object, news: Props, manager: str, timeout_s: float, what: str, initial: Any = None
    ) -> Props:
        client = self.reach()
        try:
            ready = await_.wait_ready(
                live,
                inputs,
                client,
                timeout_s=await_.timeout_of(timeout_s, inputs),
                cancelled=self.cancelled,
                status=lambda text: self.log.status(urn, text),
            )
        except await_.NotReady as error:
            reasons = "".join(f"\n  - {reason}" for reason in error.reasons)
            raise InitFailed(
                f"resource {urn!r} {what} the Kubernetes API server reported that it failed to fully initialize or become live: "
                f"{error}{reasons}",
                resource_id=naming.object_id(error.live),
                state=self._state(inputs, error.live, news, manager, initial),
                reasons=[str(error), *error.reasons],
            ) from error
        except (await_.Cancelled, ApiError, Unreachable) as error:
            raise InitFailed(
                f"resource {urn!r} {what} {error}",
                resource_id=naming.object_id(live),
                state=self._state(inputs, live, news, manager, initial),
                reasons=[str(error)],
            ) from error
        return self._state(inputs, ready, news, manager, initial)

    def _manager(self, urn: str, olds: Props, inputs: Object) -> str:
        if not self.config.server_side_apply:
            return "pulumi-kubernetes"
        recorded = olds.get(FIELD_MANAGER)
        return (
            naming.annotation(inputs, naming.PATCH_FIELD_MANAGER)
            or (recorded if isinstance(recorded, str) else "")
            or naming.field_manager(urn)
        )

    def _say(self, urn: str, warnings: Warnings, *, preview: bool) -> None:
        if preview:
            return
        for text in dict.fromkeys(warnings.messages):
            self.log.warning(urn, text)

    @staticmethod
    def _state(inputs: Object, live: Object, secrets: Props, manager: str, initial: Any = None) -> Props:
        """The checkpoint of an object."""
        shown = copy.deepcopy(live)
        # Bookkeeping of the API server, as long as the object itself and of no use to a program.
        shown.get("metadata", {}).pop("managedFields", None)
        state: Props = _secret_data(keep_secret(from_object(shown), _as_data(secrets)))
        state[INPUTS] = _secret_data(keep_secret(from_object(inputs), secrets))
        state[INITIAL_API_VERSION] = initial if isinstance(initial, str) else str(inputs.get("apiVersion") or live.get("apiVersion"))
        state[FIELD_MANAGER] = manager
        return state


def parse_state(state: Props) -> tuple[Object, Object]:
    """A checkpoint -> (the inputs, the live object), as plain objects."""
    inputs = to_object(reveal(state.get(INPUTS)) or {})
    live = to_object({key: value for key, value in state.items() if key not in _INTERNAL})
    return inputs, live


def _is_secret(obj: Props) -> bool:
    return bool(reveal(obj.get("kind")) == "Secret" and reveal(obj.get("apiVersion")) == "v1")


def _secret_data(obj: Props) -> Props:
    """A Secret's values are secret, whether or not the program said so; also in the copy that `kubectl apply` leaves behind."""
    if not _is_secret(obj):
        return obj
    result = {key: Secret(reveal(value)) if key in ("data", "stringData") and value is not None else value for key, value in obj.items()}
    metadata = result.get("metadata")  # wrapped as a whole or in parts: then it is secret already
    if isinstance(metadata, dict) and isinstance(metadata.get("annotations"), dict) and naming.LAST_APPLIED in metadata["annotations"]:
        annotations = metadata["annotations"]
        result["metadata"] = {**metadata, "annotations": {**annotations, naming.LAST_APPLIED: Secret(annotations[naming.LAST_APPLIED])}}
    return result


def _as_data(inputs: Props) -> Props:
    """Inputs with a Secret's stringData at the place where the live object has it."""
    return {**inputs, "data": Secret(None)} if _is_secret(inputs) and ("stringData" in inputs or "data" in inputs) else inputs


def _importable(live: Object) -> Object:
    """The inputs that would make an object: without what the server filled in about it."""
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


def _overlay(live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: _overlay(live.get(key), value) for key, value in wanted.items()}}
    return wanted


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
