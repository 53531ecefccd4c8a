"""Create and update an object."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from local.plugins.kubernetes import await_, naming, paths, ssa
from local.plugins.kubernetes.client import Object, Warnings
from local.plugins.kubernetes.errors import ApiError, NoSuchKind, Unreachable
from local.plugins.kubernetes.naming import Kind, kind_of
from local.plugins.kubernetes.outcome import ProviderError
from local.plugins.kubernetes.properties import Props, has_unknown, to_object, without_none
from local.plugins.kubernetes.reach import Reach
from local.plugins.kubernetes.state import INITIAL_API_VERSION, parse_state, state_of

if TYPE_CHECKING:
    from collections.abc import Sequence

# A namespace or a CustomResourceDefinition may not exist yet: retry after 0.25, 0.5, 1, 2, 4, 8 and 16 s, about as long as the official
# provider.
_CREATE_RETRIES, _RETRY_FIRST_S = 7, 0.25
_APPLY_RETRIES = 5  # the object changed between read and write
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


class Writer(Reach):
    """Creates and updates objects."""

    # --- create

    def create(self, urn: str, news: Props, *, timeout_s: float = 0, preview: bool = False) -> tuple[str, Props]:
        """Create an object and wait for it.

        Returns:
            Its ID (empty in a preview) and its state.

        Raises:
            ProviderError: It was not created.
            InitFailed: It was created but is not ready.
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
            return "", state_of(inputs, live, news, manager)
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
                    self.log.info(urn, "adopting the object that an interrupted update of this resource created")
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
        """The existing object of the same name; None if it has just been deleted."""
        metadata = obj["metadata"]
        try:
            return self.reach().get(kind, metadata.get("namespace", ""), metadata["name"])
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _wait_for_old(self, urn: str, live: Object) -> None:
        """Wait for a terminating object of the same name, as after an update that was interrupted during a deletion."""
        try:
            await_.wait_gone(
                live,
                self.reach(),
                timeout_s=await_.DEFAULT_TIMEOUT_S,
                cancelled=self.cancelled,
                status=lambda text: self.log.status(urn, text and f"{text} (the previous object of this name)"),
            )
        except (await_.NotReady, await_.Cancelled) as error:
            raise ProviderError(f"resource {urn!r} was not created: {error}") from error

    # --- update

    def update(
        self, urn: str, olds: Props, news: Props, *, ignored: Sequence[str] = (), timeout_s: float = 0, preview: bool = False
    ) -> Props:
        """Update an object and wait for it.

        Returns:
            Its state.

        Raises:
            ProviderError: It was not updated.
            InitFailed: It was updated but is not ready.
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
            return state_of(inputs, live, news, manager, initial)
        return self._await(urn, live, inputs, news, manager, timeout_s, "was updated, but", initial)

    def _update(
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
                self.log.warning(urn, "the object was deleted outside Pulumi; creating it again")
                return client.create(kind, obj, manager=manager, dry_run=preview, warnings=warnings)
            wanted = self._without_ignored(obj, live, ignored, manager)
            try:
                if not self.config.server_side_apply:
                    return self._replace(kind, wanted, live, manager, preview=preview, warnings=warnings)
                handover = None if preview or naming.is_patch(urn, obj) else ssa.migrate(live, manager)
                if handover:
                    client.patch(kind, namespace, name, handover)
                forced = preview and not naming.is_patch(urn, obj) and ssa.forced_in_preview(live, manager)
                force = self._forced(obj) or forced or not live["metadata"].get("managedFields")
                return self._apply(urn, kind, wanted, manager, force=force, preview=preview, warnings=warnings)
            except ApiError as error:
                attempt += 1
                if not error.conflict or attempt == _APPLY_RETRIES:
                    raise

    def _replace(self, kind: Kind, obj: Object, live: Object, manager: str, *, preview: bool, warnings: Warnings) -> Object:
        """Without server-side apply: replace the live object with itself and the program's fields."""
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
        """The object with the live values of fields in `ignore_changes`, or without those that another manager owns."""
        if not ignored:
            return obj
        result = copy.deepcopy(obj)
        for text in ignored:
            path = paths.parse_path(text)
            if not path or "*" in path or any(isinstance(part, int) for part in path):
                continue  # the engine has already restored the old inputs
            parent = paths.look(result, path[:-1])
            if not isinstance(parent, dict):
                continue
            found = paths.look(live, path)
            if found is None or ssa.owned_by_others(live, manager, path):
                parent.pop(path[-1], None)
            else:
                parent[path[-1]] = copy.deepcopy(found)
        return result


def _overlay(live: Any, wanted: Any) -> Any:
    if isinstance(live, dict) and isinstance(wanted, dict):
        return {**live, **{key: _overlay(live.get(key), value) for key, value in wanted.items()}}
    return wanted
