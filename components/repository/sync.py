"""Releases and buckets as Pulumi dynamic providers: what the engine asks, turned into what `release.py` does.

These classes are loaded by name in Pulumi's provider process, from the project folder, and the state holds that name: moving or renaming
them breaks stacks that exist (see docs/upgrading.md). Because only the name is in the state, an edit of this file is no change of any
stack. They hold nothing, for the same reason.
"""

from __future__ import annotations

import contextlib
import gc
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
from components.repository.announce import announce
from components.repository.layout import tree_name
from components.repository.progress import Meter, heed_cancel, speaker
from components.repository.release import Releases
from components.repository.scan import scan
from components.repository.scancache import open_cache
from components.repository.store import objects
from components.repository.store.objects import few, in_parallel, patiently
from components.repository.store.select import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.layout import Tree
    from components.repository.store.select import Store

PLACE: Final = ("store", "bucket", "region", "endpoint", "project", "location")
"""Properties that say where the bucket is."""

_BUCKET_SETTINGS: Final = ("versioning", "kmsKey")


class ReleaseProvider(ResourceProvider):
    """Lifecycle of a release. Inputs and outputs are those that `components.repository.resource` declares."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Keep grpc from printing a traceback beside each error, and Python from looking for garbage at its exit."""
        _begin(req)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse a bucket that is not there, and say what will be sent, in the preview already.

        Nobody is asked about a release that is published.
        """
        if _olds.get("digest") != news.get("digest") and not news.get("release"):
            _announce(_olds, news)
        if _olds.get("createBucket") is True and news.get("createBucket") == "cloud":
            return CheckResult(
                news,
                [
                    CheckFailure(
                        "bucket",
                        f"triton-fleet:repository.bucket ({news['bucket']}) was made by an earlier version of this program: the cloud's "
                        "provider can't create it again. Set adoptBucket: true for one run, which imports it; see docs/upgrading.md.",
                    )
                ],
            )
        moved = any(_olds.get(key) != news.get(key) for key in PLACE)
        if not moved or news.get("createBucket"):
            return CheckResult(news, [])
        store = open_store(news)
        problem = None
        try:
            problem = None if patiently(store.exists, objects.SHORT_PAUSES_S) else store.no_such_bucket()
        except FleetError as error:
            problem = str(error)
        return CheckResult(news, [] if problem is None else [CheckFailure("bucket", problem)])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another content or place is another release: made first, so that the old one serves until the new one does.

        The same place reached by another address, or objects that a refresh found missing, are mended in place. Where the models lie on the
        uploading machine is no difference. In the modes poll and explicit, another content goes into the place of the old one.
        """
        stable = _news.get("mode", "release") != "release"
        defaults = {"store": "s3", "mode": "release"}
        places = ("store", "bucket", "prefix", "mode")
        replaces = [key for key in places if _olds.get(key, defaults.get(key)) != _news.get(key, defaults.get(key))]
        if not stable and _olds.get("digest") != _news.get("digest"):
            replaces.append("digest")
        mend = bool(_olds.get("missing")) or any(
            _olds.get(key) != _news.get(key) for key in ("region", "endpoint", "owner", "url", "digest", "keep")
        )
        return DiffResult(changes=bool(replaces) or mend, replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Publish. Raises FleetError; a run after that sends only what is missing."""
        token = uuid.uuid4().hex
        releases = _publish(props, token)
        return CreateResult(f"{props['bucket']}/{props['prefix']}/{props['digest']}", _outputs(props, token, releases))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Compare with the bucket: nothing left of the release drops it, a part missing is noted and mended by the next update."""
        releases = _releases(props)
        if not patiently(releases.store.exists):
            return ReadResult("", {})
        missing = releases.damage(props["digest"])
        if missing is None:
            if not any(True for _ in releases.store.list(f"{props['prefix']}/models/")):
                return ReadResult("", {})
            missing = [releases.manifest_key(props["digest"])]
        if props.get("mode", "release") != "release":
            missing += [f"live/{path}" for path in releases.live_damage()]
        return ReadResult(id_, {**props, "missing": missing})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Publish what is missing; in the modes poll and explicit, what is new."""
        token = str(_olds["token"])
        releases = _publish(_news, token, doubt=bool(_olds.get("missing")))
        if _olds.get("owner") != _news["owner"]:
            patiently(lambda: releases.disown(_olds["digest"], _olds["owner"]))
        if _olds.get("digest") != _news["digest"]:
            patiently(lambda: releases.withdraw(_olds["digest"], token, _keep(_news)))
        elif _olds.get("keep") != _news.get("keep"):
            patiently(lambda: releases.collect(_keep(_news)))
        return UpdateResult(_outputs(_news, token, releases))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Withdraw. A bucket that is gone took the release with it."""
        releases = _releases(_props)
        if not patiently(releases.store.exists):
            return
        if _props.get("mode", "release") != "release":
            patiently(releases.deactivate)
        patiently(lambda: releases.withdraw(_props["digest"], str(_props["token"]), _keep(_props)))
        if _props.get("createBucket") in {"cloud", "adopt"}:
            patiently(_open(_props).purge)  # before the cloud's provider deletes the bucket


class BucketProvider(ResourceProvider):
    """Lifecycle of a bucket of the stack's own. It is deleted with the stack once it is empty, and never with content."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """See `ReleaseProvider.configure`."""
        _begin(req)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another name or region is another bucket; another address is the same one, and settings are brought about in place."""
        replaces = [key for key in ("store", "bucket", "region", "location") if _olds.get(key) != _news.get(key)]
        # Names are unique: one that only moves to another region can't exist twice.
        moves = bool(replaces) and "bucket" not in replaces
        changed = bool(_olds.get("drifted")) or any(
            _olds.get(key) != _news.get(key) for key in ("endpoint", "handedOver", *_BUCKET_SETTINGS)
        )
        return DiffResult(changes=bool(replaces) or changed, replaces=replaces, delete_before_replace=moves)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the bucket. One of that name that is ours and empty is taken over: a run that was killed may have made it."""
        if props.get("handedOver"):
            return CreateResult(props["bucket"], {**props, "drifted": []})
        store = open_store(props)
        if store.exists() and any(True for _ in store.list("")):
            raise FleetError(
                f"triton-fleet:repository.bucket ({store.bucket}) exists and holds objects: a bucket of the stack's own would be "
                "destroyed with the stack. Set createBucket: false to use it as it is, or choose another name."
            )
        store.ensure(_bucket_settings(props))
        return CreateResult(store.bucket, {**props, "drifted": []})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """See whether it is still there, and as the stack says."""
        store = open_store(props)
        if not store.exists():
            return ReadResult("", {})
        return ReadResult(id_, {**props, "drifted": list(store.drift(_bucket_settings(props)))})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Bring about what the stack says."""
        if not _news.get("handedOver"):
            open_store(_news).ensure(_bucket_settings(_news))
        return UpdateResult({**_news, "drifted": []})

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete it if it is empty; refuse otherwise. One that the cloud's provider has taken over stays."""
        if _props.get("handedOver"):
            return
        store = open_store(_props)
        if store.exists():
            store.remove()


def _publish(props: dict[str, Any], token: str, *, doubt: bool = False) -> Releases:
    """Scan again where the transfer runs, and send: what a preview was made of may have changed since."""
    heed_cancel()
    releases = _releases(props)
    watch = Meter(speaker(str(props.get("display", "")))).watch()
    digest = props["digest"]
    if props.get("release"):
        patiently(lambda: releases.adopt(digest, token))
    else:
        source = Path(props["source"])
        plan = scan(source, props["models"].keys(), open_cache(source, os.environ, verify=bool(props.get("verify"))))
        if plan.digest != digest:
            changed = sorted(name for name, of in plan.models.items() if props["models"].get(name) != of)
            raise FleetError(
                f"triton-fleet:repository.source ({props['source']}) changed since this run began ({few(changed)}): what would be "
                "published is not what was announced. Run again."
            )
        patiently(lambda: releases.publish(plan, token, watch, doubt=doubt))
    if props.get("mode", "release") != "release":
        patiently(lambda: releases.activate(digest, watch))
    return releases


def _announce(olds: Mapping[str, Any], news: Mapping[str, Any]) -> None:
    """Say by model what will be sent. What was published before is asked for; where it can't be had, less is said, and nothing fails."""
    with contextlib.suppress(Exception):
        source = Path(news["source"])
        plan = scan(source, news["models"].keys(), open_cache(source, os.environ))
        before: dict[str, Tree | None] = {}
        if olds and all(olds.get(key) == news.get(key) for key in (*PLACE, "prefix")):
            releases = _releases(olds)
            changed = {model: of for model, of in olds["models"].items() if plan.models.get(model) != of}
            before = dict(zip(changed, in_parallel(lambda model: releases.tree(tree_name(*model)), changed.items()), strict=True))
        speaker(str(news.get("display", "")), lasting=True)("\n".join(announce(plan, olds.get("models") or {}, before)))


def _outputs(props: dict[str, Any], token: str, releases: Releases) -> dict[str, Any]:
    """What goes into the state. ``previous``: what stays once this run has let go of what it replaces."""
    history = patiently(releases.history)
    name = next((manifest.name for manifest in history if manifest.digest == props["digest"]), None)
    others = [manifest.name for manifest in history if manifest.digest != props["digest"]]
    return {**props, "token": token, "missing": [], "name": name, "previous": others[: _keep(props)]}


def _releases(props: Mapping[str, Any]) -> Releases:
    return Releases(_open(props), props["prefix"], props["owner"])


def _open(props: Mapping[str, Any]) -> Store:
    return open_store(props)


def _keep(props: Mapping[str, Any]) -> int:
    return int(props.get("keep", 0))


def _bucket_settings(props: Mapping[str, Any]) -> dict[str, object]:
    return {key: props[key] for key in _BUCKET_SETTINGS if key in props}


def _begin(_: ConfigureRequest) -> None:
    """Set up the provider's process before its first work."""
    logging.getLogger("grpc._server").disabled = True  # the error's text says what there is to say
    # What is imported by now stays to the end. Python would look through all of it for garbage at its exit, which every command of Pulumi's
    # waits for: 0.1 s.
    gc.freeze()
