"""Pulumi dynamic providers for releases and buckets. They translate the engine's requests into calls of `release.Catalog` and the store.

The provider process imports these classes by name, and each stack's state contains the name: moving or renaming them breaks deployed stacks
(docs/upgrading.md). The state contains no code, so editing them changes no stack; for the same reason they have no attributes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pulumi.dynamic import (
    CheckFailure,
    CheckResult,
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    ResourceProvider,
    UpdateResult,
)

from components.base.errors import FleetError
from components.repository.progress import Meter, changes, status_line
from components.repository.release import Catalog
from components.repository.release.layout import tree_name
from components.repository.scan.cache import open_cache
from components.repository.scan.folder import scan
from components.repository.store import objects
from components.repository.store.objects import few, in_parallel, patiently
from components.repository.store.select import PLACE, open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.release.layout import Tree

_BUCKET_SETTINGS: Final = ("versioning", "kmsKey")
_CLOUD_BUCKET: Final = frozenset({"cloud", "adopt"})
"""Values of ``createBucket`` for a bucket that the cloud's Pulumi provider creates or imports. True: `BucketProvider` creates it."""


class ReleaseProvider(ResourceProvider):
    """Publishes and withdraws releases. `components.repository.resource` declares the inputs and outputs."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Turn off grpc's tracebacks: the engine shows the error."""
        _silence_grpc(req)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Report a missing bucket, and what the upload will send. Sends no request if nothing has changed."""
        if _olds.get("digest") != news.get("digest") and not news.get("release"):
            _show_changes(_olds, news)
        problem = None
        if _olds.get("createBucket") is True and news.get("createBucket") == "cloud":
            problem = (
                f"triton-fleet:repository.bucket ({news['bucket']}) was made by an earlier version of this program: the cloud's provider "
                "can't create it again. Set adoptBucket: true for one run, which imports it; see docs/upgrading.md."
            )
        elif not news.get("createBucket") and any(_olds.get(key) != news.get(key) for key in PLACE):
            try:
                store = open_store(news)
                problem = None if patiently(store.exists, objects.SHORT_PAUSES_S) else str(store.failure("no bucket"))
            except FleetError as error:
                problem = str(error)
        return CheckResult(news, [] if problem is None else [CheckFailure("bucket", problem)])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Replace the release if its content, bucket or prefix changes, creating the new one first.

        A changed address or credentials, missing objects and, in the modes poll and explicit, changed content are updates in place. A
        changed ``source`` is no difference.
        """
        stable = _news.get("mode", "release") != "release"
        defaults = {"store": "s3", "mode": "release"}
        places = ("store", "bucket", "prefix", "mode")
        replaces = [key for key in places if _olds.get(key, defaults.get(key)) != _news.get(key, defaults.get(key))]
        if not stable and _olds.get("digest") != _news.get("digest"):
            replaces.append("digest")
        update = bool(_olds.get("missing")) or any(
            _olds.get(key) != _news.get(key)
            for key in ("region", "endpoint", "profile", "project", "owner", "url", "digest", "keep", "subsets")
        )
        return DiffResult(changes=bool(replaces) or update, replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Publish the release. After a FleetError, the next run sends only what is missing."""
        token = uuid.uuid4().hex
        catalog = _publish(props, token)
        return CreateResult(f"{props['bucket']}/{props['prefix']}/{props['digest']}", _outputs(props, token, catalog))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """List objects that are missing or changed, which the next update sends again. A release without objects no longer exists."""
        catalog = _catalog(props)
        if not patiently(catalog.store.exists):
            return ReadResult("", {})
        missing = catalog.damage(props["digest"])
        if missing is None:
            if not any(True for _ in catalog.store.list(f"{props['prefix']}/models/")):
                return ReadResult("", {})
            missing = [catalog.manifest_key(props["digest"])]
        if props.get("mode", "release") != "release":
            missing += [f"live/{path}" for path in catalog.live_damage()]
        return ReadResult(id_, {**props, "missing": missing})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Publish what is missing or, in the modes poll and explicit, new."""
        token = str(_olds["token"])
        catalog = _publish(_news, token, doubt=bool(_olds.get("missing")))
        if _olds.get("owner") != _news["owner"]:
            patiently(lambda: catalog.disown(_olds["digest"], _olds["owner"]))
        if _olds.get("digest") != _news["digest"]:
            patiently(lambda: catalog.withdraw(_olds["digest"], token, _keep(_news)))
        elif _olds.get("keep") != _news.get("keep"):
            patiently(lambda: catalog.collect(_keep(_news)))
        return UpdateResult(_outputs(_news, token, catalog))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Withdraw the release if its bucket exists."""
        catalog = _catalog(_props)
        if not patiently(catalog.store.exists):
            return
        if _props.get("mode", "release") != "release":
            patiently(catalog.deactivate)
        patiently(lambda: catalog.withdraw(_props["digest"], str(_props["token"]), _keep(_props)))
        if _props.get("createBucket") in _CLOUD_BUCKET:
            patiently(open_store(_props).purge)  # otherwise the cloud's provider can't delete the bucket


class BucketProvider(ResourceProvider):
    """Creates a bucket that no Pulumi cloud provider manages, and deletes it if it is empty."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """See `ReleaseProvider.configure`."""
        _silence_grpc(req)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Replace the bucket if its name or location changes; update its settings and address in place."""
        replaces = [key for key in ("store", "bucket", "region", "location") if _olds.get(key) != _news.get(key)]
        # Names are unique: a bucket that only moves to another region can't exist twice.
        moves = bool(replaces) and "bucket" not in replaces
        updated = ("endpoint", "profile", "handedOver", *_BUCKET_SETTINGS)
        changed = bool(_olds.get("drifted")) or any(_olds.get(key) != _news.get(key) for key in updated)
        return DiffResult(changes=bool(replaces) or changed, replaces=replaces, delete_before_replace=moves)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Create the bucket. Adopts an empty one that exists, because a killed run may have created it."""
        if not props.get("handedOver"):
            store = open_store(props)
            if store.exists() and any(True for _ in store.list("")):
                raise FleetError(
                    f"triton-fleet:repository.bucket ({store.bucket}) exists and contains objects: a bucket that the stack creates is "
                    "destroyed with the stack. Set createBucket: false to use the existing bucket, or choose another name."
                )
            store.ensure(_bucket_settings(props))
        return CreateResult(props["bucket"], {**props, "drifted": []})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Check that the bucket exists, and list settings that have changed."""
        store = open_store(props)
        if not store.exists():
            return ReadResult("", {})
        return ReadResult(id_, {**props, "drifted": list(store.drift(_bucket_settings(props)))})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Write the bucket's settings."""
        if not _news.get("handedOver"):
            open_store(_news).ensure(_bucket_settings(_news))
        return UpdateResult({**_news, "drifted": []})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete the bucket unless a Pulumi cloud provider manages it now. Raises FleetError if it contains objects."""
        if _props.get("handedOver"):
            return
        store = open_store(_props)
        if store.exists():
            store.remove()


def _publish(props: dict[str, Any], token: str, *, doubt: bool = False) -> Catalog:
    """Scan the folder again, because it may have changed since the preview, and publish it."""
    catalog = _catalog(props)
    digest, subsets = props["digest"], props.get("subsets") or ()
    if props.get("release"):
        patiently(lambda: catalog.adopt(digest, token, subsets))
    else:
        source = Path(props["source"])
        plan = scan(source, props["models"].keys(), open_cache(source, os.environ, verify=bool(props.get("verify"))))
        if plan.digest != digest:
            changed = sorted(name for name, of in plan.models.items() if props["models"].get(name) != of)
            raise FleetError(
                f"triton-fleet:repository.source ({props['source']}) has changed since this run began ({few(changed)}): the release would "
                "differ from the preview. Run again."
            )
        meter = Meter(status_line(str(props.get("display", ""))))
        patiently(lambda: catalog.publish(plan, token, meter, doubt=doubt, subsets=subsets))
    if props.get("mode", "release") != "release":
        patiently(lambda: catalog.activate(digest))
    return catalog


def _show_changes(olds: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    """Show what will be sent for each model. Ignores errors: a preview must not fail because the old release can't be read."""
    with contextlib.suppress(Exception):
        source = Path(news["source"])
        plan = scan(source, news["models"].keys(), open_cache(source, os.environ))
        before: dict[str, Tree | None] = {}
        if olds and all(olds.get(key) == news.get(key) for key in (*PLACE, "prefix")):
            catalog = _catalog(olds)
            changed = {model: of for model, of in olds["models"].items() if plan.models.get(model) != of}
            before = dict(zip(changed, in_parallel(lambda model: catalog.tree(tree_name(*model)), changed.items()), strict=True))
        status_line(str(news.get("display", "")), lasting=True)("\n".join(changes(plan, olds.get("models") or {}, before)))


def _outputs(props: dict[str, Any], token: str, catalog: Catalog) -> dict[str, Any]:
    """Return the outputs. ``previous``: the releases that remain for rollback after this run."""
    history = patiently(catalog.history)
    name = next((manifest.name for manifest in history if manifest.digest == props["digest"]), None)
    others = [manifest.name for manifest in history if manifest.digest != props["digest"]]
    return {**props, "token": token, "missing": [], "name": name, "previous": others[: _keep(props)]}


def _catalog(props: Mapping[str, Any]) -> Catalog:
    return Catalog(open_store(props), props["prefix"], props["owner"])


def _keep(props: Mapping[str, Any]) -> int:
    return int(props.get("keep", 0))


def _bucket_settings(props: Mapping[str, Any]) -> dict[str, object]:
    return {key: props[key] for key in _BUCKET_SETTINGS if key in props}


def _silence_grpc(_: ConfigureRequest) -> None:
    logging.getLogger("grpc._server").disabled = True  # the engine shows the error's text
