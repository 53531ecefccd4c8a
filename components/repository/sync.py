"""The transfer: a release of models into a bucket and out of it again, as Pulumi dynamic providers.

Layout below the prefix:

    <digest>/<model>/<version>/...    the release, never changed once written
    .manifests/<digest>.json          written last: its presence says that the release is whole
    .owners/<digest>/<stack>          one a stack that uses the release; the last to leave takes the release away

Manifests and owners lie outside of the release because Triton takes every folder in it for a model.

Safe to kill at any moment and to run again: objects are content-checked before anything is sent, so a second run sends what is missing. A
deletion takes only objects that carry this release's mark.

These classes are loaded by name in Pulumi's provider process, from the project folder, and the state holds that name: moving or renaming
them breaks stacks that exist (see docs/upgrading.md). Because only the name is in the state, an edit of this file is no change of any
stack. They hold nothing, for the same reason.
"""

from __future__ import annotations

import json
import logging
import uuid
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

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

from components.errors import FleetError
from components.repository import store
from components.repository.scan import Plan, PlannedFile, scan
from components.repository.store import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")
R = TypeVar("R")

MANIFEST_FORMAT: Final = 1
_PART_BYTES: Final = 64 << 20
"""Size above which a file is sent in parts, and of each part: S3 allows 10,000 parts, so files up to 625 GiB."""


@dataclass(frozen=True, kw_only=True)
class ReleaseKeys:
    """Where a release's objects lie in the bucket."""

    prefix: str
    digest: str
    owner: str

    @property
    def root(self) -> str:
        """Prefix of the models, with its slash."""
        return f"{self.prefix}/{self.digest}/"

    @property
    def manifest(self) -> str:
        """Key of the manifest."""
        return f"{self.prefix}/.manifests/{self.digest}.json"

    @property
    def owners(self) -> str:
        """Prefix of the owners' marks, with its slash."""
        return f"{self.prefix}/.owners/{self.digest}/"

    @property
    def mark(self) -> str:
        """Key of this owner's mark."""
        return f"{self.owners}{self.owner}"


class Release:
    """One release in one bucket."""

    def __init__(self, client: S3Client, location: Location, keys: ReleaseKeys) -> None:
        self.client = client
        self.location = location
        self.keys = keys

    def publish(self, plan: Plan, token: str) -> None:
        """Make the bucket hold all of ``plan`` under its digest, sending only what is missing, and mark it as used.

        The mark comes first, so that no other stack's deletion takes the release away meanwhile; the manifest comes last.

        Raises:
            FleetError: When the store fails or a file changes while it is sent. What has arrived stays and is not sent again.
        """
        with store.explained(self.location):
            self._put(self.keys.mark, token.encode())
            sizes = self.list(self.keys.root)
            missing = _in_parallel(lambda file: None if self._holds(file, sizes) else file, plan.files)
            _in_parallel(self._send, [file for file in missing if file is not None])
            absent = self.absent({file.path: file.size for file in plan.files})
            if absent:
                raise FleetError(
                    f"triton-fleet:repository.bucket ({self.location.bucket}) lacks {_few(absent)} right after the upload: the release "
                    f"is not whole "
                    "and was not published. Something else deletes below the prefix: stop it, then run again."
                )
            self._put(self.keys.manifest, _manifest(plan))

    def absent(self, expected: dict[str, int]) -> list[str]:
        """Paths out of ``expected`` (path -> bytes) that the bucket does not hold in that size."""
        sizes = self.list(self.keys.root)
        return sorted(path for path, size in expected.items() if sizes.get(self.keys.root + path) != size)

    def read_manifest(self) -> dict[str, int] | None:
        """Path -> bytes of the release as published; None when it is not, or not whole."""
        content = self._get(self.keys.manifest)
        if content is None:
            return None
        try:
            manifest = json.loads(content)
            return {file["path"]: file["size"] for file in manifest["files"]}
        except (ValueError, KeyError, TypeError):
            return None

    def withdraw(self, token: str) -> None:
        """Take this owner's mark away and, when it was the last, the release: only objects that `publish` has written.

        Does nothing when the mark is another's by now: the same stack has published the same release again since (models changed and
        were changed back before the deletion of the first came to its turn).
        """
        with store.explained(self.location):
            mark = self._get(self.keys.mark)
            if mark is not None and mark.decode(errors="replace") != token:
                return
            self.client.delete_object(Bucket=self.location.bucket, Key=self.keys.mark)
            if self.list(self.keys.owners):
                return
            # The manifest first: from then on nobody takes what is left for a whole release.
            self.client.delete_object(Bucket=self.location.bucket, Key=self.keys.manifest)
            _in_parallel(self._delete_if_ours, list(self.list(self.keys.root)))

    def list(self, prefix: str) -> dict[str, int]:
        """Key -> bytes of all objects below ``prefix``."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.location.bucket, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def _holds(self, file: PlannedFile, sizes: dict[str, int]) -> bool:
        key = self.keys.root + file.path
        return sizes.get(key) == file.size and self._metadata(key).get("sha256") == file.sha256

    def _metadata(self, key: str) -> dict[str, str]:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return self.client.head_object(Bucket=self.location.bucket, Key=key)["Metadata"]
        except ClientError as error:
            if store.status(error) == 404:  # noqa: PLR2004  # HTTP's own number
                return {}
            raise

    def _send(self, file: PlannedFile) -> None:
        key = self.keys.root + file.path
        metadata = {"sha256": file.sha256, "release": self.keys.digest}
        if file.source is None:
            self._put(key, b"", metadata)
            return
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

        # Files go side by side, each in its own thread; parts within a file would only compete with them.
        transfer = TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, use_threads=False)
        self.client.upload_file(str(file.source), self.location.bucket, key, ExtraArgs={"Metadata": metadata}, Config=transfer)
        now = file.source.stat()
        if (now.st_mtime_ns, now.st_size) != (file.modified_ns, file.size):
            self.client.delete_object(Bucket=self.location.bucket, Key=key)
            raise FleetError(
                f"triton-fleet:repository: {file.source} changed while it was sent: the release would be a mixture, it was not published. "
                "Run again once the folder is at rest."
            )

    def _put(self, key: str, body: bytes, metadata: dict[str, str] | None = None) -> None:
        self.client.put_object(Bucket=self.location.bucket, Key=key, Body=body, Metadata=metadata or {})

    def _get(self, key: str) -> bytes | None:
        from botocore.exceptions import ClientError  # noqa: PLC0415

        try:
            return self.client.get_object(Bucket=self.location.bucket, Key=key)["Body"].read()
        except ClientError as error:
            if store.status(error) == 404 and store.code(error) != "NoSuchBucket":  # noqa: PLR2004  # HTTP's own number
                return None
            raise

    def _delete_if_ours(self, key: str) -> None:
        if self._metadata(key).get("release") == self.keys.digest:
            self.client.delete_object(Bucket=self.location.bucket, Key=key)


class ReleaseProvider(ResourceProvider):
    """Lifecycle of a release. Inputs and outputs are those that `components.repository.s3` declares."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """Keep grpc from printing a traceback beside each error: the error's text says what there is to say."""
        _quiet(req)

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse a bucket that is not there, in the preview already. A release that is published is not asked for."""
        moved = any(_olds.get(key) != news.get(key) for key in ("bucket", "region", "endpoint"))
        if not moved or news.get("createBucket"):
            return CheckResult(news, [])
        location = _location(news)
        problem = None
        try:
            exists = store.patiently(lambda: _bucket_is_there(location), store.SHORT_PAUSES_S)
            problem = None if exists else store.no_such_bucket(location)
        except FleetError as error:
            problem = str(error)
        return CheckResult(news, [] if problem is None else [CheckFailure("bucket", problem)])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another content or place is another release: made first, so that the old one serves until the new one does.

        The same place reached by another address, or objects that a refresh found missing, are mended in place. Where the models lie on the
        uploading machine is no difference.
        """
        replaces = [key for key in ("bucket", "prefix", "digest") if _olds.get(key) != _news.get(key)]
        mend = bool(_olds.get("missing")) or any(_olds.get(key) != _news.get(key) for key in ("region", "endpoint", "owner", "url"))
        return DiffResult(changes=bool(replaces) or mend, replaces=replaces, delete_before_replace=False)

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Publish. Raises FleetError; a run after that sends only what is missing."""
        token = uuid.uuid4().hex
        _publish(props, token)
        return CreateResult(f"s3://{props['bucket']}/{props['prefix']}/{props['digest']}", _outputs(props, token))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Compare with the bucket: nothing left of the release drops it, a part missing is noted and mended by the next update."""
        release = _release(props)
        with store.explained(release.location):
            if not _bucket_exists(release.client, release.location):
                return ReadResult("", {})
            manifest = release.read_manifest()
            if manifest is None:
                if not release.list(release.keys.root):
                    return ReadResult("", {})
                missing = [release.keys.manifest]
            else:
                missing = release.absent(manifest)
        return ReadResult(id_, {**props, "missing": missing})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Publish what is missing."""
        token = str(_olds["token"])
        _publish(_news, token)
        if _olds.get("owner") != _news["owner"]:
            _release({**_news, "owner": _olds["owner"]}).withdraw(token)
        return UpdateResult(_outputs(_news, token))

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Withdraw. A bucket that is gone took the release with it."""
        release = _release(_props)
        if store.patiently(lambda: _bucket_is_there(release.location)):
            store.patiently(lambda: release.withdraw(str(_props["token"])))


class BucketProvider(ResourceProvider):
    """Lifecycle of a bucket of the stack's own. It is deleted with the stack once it is empty, and never with content."""

    serialize_as_secret_always = False

    def configure(self, req: ConfigureRequest) -> None:
        """See `ReleaseProvider.configure`."""
        _quiet(req)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """Another name or region is another bucket; another address is the same one."""
        replaces = [key for key in ("bucket", "region") if _olds.get(key) != _news.get(key)]
        # Names are unique: one that only moves to another region can't exist twice.
        return DiffResult(
            changes=bool(replaces) or _olds.get("endpoint") != _news.get("endpoint"),
            replaces=replaces,
            delete_before_replace=replaces == ["region"],
        )

    def create(self, props: dict[str, Any]) -> CreateResult:
        """Make the bucket. One of that name that is ours and empty is taken over: a run that was killed may have made it."""
        location = _location(props)
        client = store.connect(location)
        with store.explained(location):
            if _bucket_exists(client, location):
                if client.list_objects_v2(Bucket=location.bucket, MaxKeys=1).get("KeyCount", 0):
                    raise FleetError(
                        f"triton-fleet:repository.bucket ({location.bucket}) exists and holds objects: a bucket of the stack's own "
                        f"would be "
                        "destroyed with the stack. Set createBucket: false to use it as it is, or choose another name."
                    )
            elif location.region == "us-east-1":
                client.create_bucket(Bucket=location.bucket)  # the one region that S3 refuses as a constraint
            else:
                client.create_bucket(
                    Bucket=location.bucket,
                    CreateBucketConfiguration={"LocationConstraint": location.region},  # type: ignore[typeddict-item]  # any region
                )
        return CreateResult(location.bucket, props)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """See whether it is still there."""
        location = _location(props)
        return ReadResult(id_, props) if _bucket_is_there(location) else ReadResult("", {})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        """Nothing to do but to remember the new address."""
        return UpdateResult(_news)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        """Delete it if it is empty; refuse otherwise."""
        location = _location(_props)
        client = store.connect(location)
        with store.explained(location):
            if not _bucket_exists(client, location):
                return
            left = client.list_objects_v2(Bucket=location.bucket, MaxKeys=3)
            if left.get("KeyCount", 0):
                raise FleetError(
                    f"triton-fleet:repository.bucket ({location.bucket}) holds objects that this stack did not upload, such as "
                    f"{_few([entry['Key'] for entry in left['Contents']])}: it was kept. Move them away and run destroy again."
                )
            client.delete_bucket(Bucket=location.bucket)


def _publish(props: dict[str, Any], token: str) -> None:
    """Scan again where the transfer runs, and send: what a preview was made of may have changed since."""
    plan = scan(Path(props["source"]), props["models"].keys())
    if plan.digest != props["digest"]:
        changed = sorted(name for name, digest in plan.models.items() if props["models"].get(name) != digest)
        raise FleetError(
            f"triton-fleet:repository.source ({props['source']}) changed since this run began ({_few(changed)}): what would be "
            f"published is not what "
            "was announced. Run again."
        )
    release = _release(props)
    store.patiently(lambda: release.publish(plan, token))


def _outputs(props: dict[str, Any], token: str) -> dict[str, Any]:
    return {**props, "token": token, "missing": []}


def _location(props: dict[str, Any]) -> Location:
    return Location(bucket=props["bucket"], region=props["region"], endpoint=props.get("endpoint"))


def _release(props: dict[str, Any]) -> Release:
    location = _location(props)
    keys = ReleaseKeys(prefix=props["prefix"], digest=props["digest"], owner=props["owner"])
    return Release(store.connect(location), location, keys)


def _bucket_is_there(location: Location) -> bool:
    client = store.connect(location)
    with store.explained(location):
        return _bucket_exists(client, location)


def _bucket_exists(client: S3Client, location: Location) -> bool:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        client.head_bucket(Bucket=location.bucket)
    except ClientError as error:
        if store.status(error) == 404:  # noqa: PLR2004  # HTTP's own number
            return False
        raise
    return True


def _manifest(plan: Plan) -> bytes:
    content = {
        "format": MANIFEST_FORMAT,
        "digest": plan.digest,
        "models": plan.models,
        "files": [{"path": file.path, "size": file.size, "sha256": file.sha256} for file in plan.files],
    }
    return json.dumps(content, indent=1, sort_keys=True).encode()


def _in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Results of ``work`` in the order of ``items``. The first failure is raised once what has begun is done; the rest is not begun."""
    with ThreadPoolExecutor(max_workers=store.PARALLEL, thread_name_prefix="triton-fleet-store") as pool:
        futures = [pool.submit(work, item) for item in items]
        wait(futures, return_when=FIRST_EXCEPTION)
        for future in futures:
            future.cancel()
        failed = next((future for future in futures if future.done() and not future.cancelled() and future.exception() is not None), None)
        if failed is not None:
            failed.result()
        return [future.result() for future in futures]


def _few(names: list[str], shown: int = 3) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _quiet(_: ConfigureRequest) -> None:
    logging.getLogger("grpc._server").disabled = True
