"""The transfer against an S3 server on loopback: what arrives, what is sent twice, what is taken away, and what is said on failure."""

from __future__ import annotations

import base64
import hashlib
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

import dill  # type: ignore[import-untyped]
import pytest
from pulumi.dynamic.dynamic import serialize_provider

from components.base.errors import FleetError
from components.repository import sync
from components.repository.release import Catalog, publish
from components.repository.release.layout import tree_name
from components.repository.rollback import published_plan
from components.repository.scan.folder import scan
from components.repository.settings import RepositorySettings
from components.repository.store import objects
from components.repository.store.objects import PART_BYTES
from components.repository.store.s3 import WHOLE_BYTES, S3Store
from components.repository.store.s3_bucket import includes, tls_only
from components.repository.sync import BucketProvider, ReleaseProvider

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mypy_boto3_s3.client import S3Client

BUCKET = "models"


@pytest.fixture
def server(request: pytest.FixtureRequest) -> str:
    """A real store; moto where a test asks for it, because of what Amazon alone has."""
    return str(request.getfixturevalue("moto" if "moto" in request.fixturenames else "s3_server"))


@pytest.fixture
def s3(server: str, connected: Callable[[str], S3Client], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[S3Client]:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setattr(objects, "PAUSES_S", ())
    monkeypatch.setattr(publish, "PAUSE_S", 0.01)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client = connected(server)
    client.create_bucket(Bucket=BUCKET)
    yield client
    for bucket in client.list_buckets()["Buckets"]:
        for key in keys(client, bucket["Name"]):
            client.delete_object(Bucket=bucket["Name"], Key=key)
        client.delete_bucket(Bucket=bucket["Name"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    for name in ("one", "two"):
        (models / name / "1").mkdir(parents=True)
        (models / name / "config.pbtxt").write_text('backend: "python"\n')
        (models / name / "1" / "model.py").write_text(f"# {name}\n")
    return models


@pytest.fixture
def requests(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Objects that are written, as the name of the operation and the key."""
    sent: list[str] = []

    def noted(name: str, operation: str) -> None:
        real = getattr(S3Store, name)

        def method(self: S3Store, first: Any, key: Any, *rest: Any) -> Any:
            answer = real(self, first, key, *rest)
            if answer is not None:
                sent.append(f"{operation} /{key if operation == 'CopyObject' else first}")
            return answer

        monkeypatch.setattr(S3Store, name, method)

    noted("put_bytes", "PutObject")
    noted("copy", "CopyObject")
    return sent


def keys(client: S3Client, bucket: str = BUCKET) -> list[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return [entry["Key"] for page in pages for entry in page.get("Contents", [])]


def props(folder: Path, endpoint: str, **changes: Any) -> dict[str, Any]:
    plan = scan(folder)
    return {
        "bucket": BUCKET,
        "region": "us-east-1",
        "endpoint": endpoint,
        "prefix": "releases",
        "digest": plan.digest,
        "models": plan.models,
        "source": str(folder),
        "createBucket": False,
        "owner": "organization.triton-fleet.dev.repository",
        "url": "s3://x",
        **changes,
    }


def create(inputs: dict[str, Any]) -> dict[str, Any]:
    outputs = ReleaseProvider().create(inputs).outs
    assert outputs is not None
    return outputs


def root(inputs: dict[str, Any], model: str) -> str:
    return f"releases/models/{tree_name(model, inputs['models'][model])}/"


def model_keys(client: S3Client) -> list[str]:
    return [key for key in keys(client) if key.startswith("releases/models/")]


def test_a_release_arrives_whole(s3: S3Client, server: str, folder: Path) -> None:
    inputs = props(folder, server)
    result = ReleaseProvider().create(inputs)
    digest = inputs["digest"]
    one, two = root(inputs, "one"), root(inputs, "two")
    assert result.id == f"models/releases/{digest}"
    assert keys(s3) == sorted(
        [
            f"releases/.manifests/{digest}.json",
            f"releases/.manifests/{digest}.sums",
            f"releases/.owners/{digest}/organization.triton-fleet.dev.repository",
            f"releases/.trees/{one.split('/')[2]}.json",
            f"releases/.trees/{two.split('/')[2]}.json",
            f"{one}one/1/model.py",
            f"{one}one/config.pbtxt",
            f"{two}two/1/model.py",
            f"{two}two/config.pbtxt",
        ]
    )
    assert s3.get_object(Bucket=BUCKET, Key=f"{two}two/1/model.py")["Body"].read() == b"# two\n"
    manifest = json.loads(s3.get_object(Bucket=BUCKET, Key=f"releases/.manifests/{digest}.json")["Body"].read())
    assert manifest["models"] == inputs["models"]
    sums = s3.get_object(Bucket=BUCKET, Key=f"releases/.manifests/{digest}.sums")["Body"].read()
    assert hashlib.sha256(sums).hexdigest() == digest


def test_the_claim_is_written_first_and_the_manifest_last(s3: S3Client, server: str, folder: Path, requests: list[str]) -> None:
    create(props(folder, server))
    assert ".owners/" in requests[0]
    assert ".manifests/" in requests[-1]


def test_a_second_run_sends_no_model(s3: S3Client, server: str, folder: Path, requests: list[str]) -> None:
    inputs = props(folder, server)
    create(inputs)
    assert sum("/models/" in request for request in requests) == 4
    requests.clear()
    create(inputs)
    assert [request for request in requests if "/models/" in request or ".trees" in request] == []


def test_another_model_changes_and_this_one_is_not_sent(s3: S3Client, server: str, folder: Path, requests: list[str]) -> None:
    create(props(folder, server))
    requests.clear()
    (folder / "one/1/model.py").write_text("# changed\n")
    inputs = props(folder, server)
    create(inputs)
    assert sorted(request for request in requests if "/models/" in request) == sorted(
        [
            f"PutObject /{root(inputs, 'one')}one/1/model.py",
            f"CopyObject /{root(inputs, 'one')}one/config.pbtxt",  # inside of the store, from the tree before
        ]
    )


def test_a_copy_of_what_was_changed_behind_our_back_is_sent_instead(s3: S3Client, server: str, folder: Path) -> None:
    before = props(folder, server)
    create(before)
    s3.put_object(Bucket=BUCKET, Key=f"{root(before, 'one')}one/config.pbtxt", Body=b"evil")
    (folder / "one/1/model.py").write_text("# changed\n")
    inputs = props(folder, server)
    create(inputs)
    assert s3.get_object(Bucket=BUCKET, Key=f"{root(inputs, 'one')}one/config.pbtxt")["Body"].read() == b'backend: "python"\n'


def test_a_run_after_a_kill_sends_what_is_missing_or_different(s3: S3Client, server: str, folder: Path, requests: list[str]) -> None:
    inputs = props(folder, server)
    create(inputs)
    one, two = root(inputs, "one"), root(inputs, "two")
    s3.delete_object(Bucket=BUCKET, Key=f"releases/.manifests/{inputs['digest']}.json")
    for tree in (one, two):
        described = f"releases/.trees/{tree.split('/')[2]}.json"
        content = json.loads(s3.get_object(Bucket=BUCKET, Key=described)["Body"].read())
        s3.put_object(Bucket=BUCKET, Key=described, Body=json.dumps({**content, "whole": False}).encode())
    s3.delete_object(Bucket=BUCKET, Key=f"{one}one/config.pbtxt")
    s3.put_object(Bucket=BUCKET, Key=f"{two}two/1/model.py", Body=b"# twO\n")  # same size, other content
    requests.clear()
    create(inputs)
    assert sorted(request for request in requests if "/models/" in request) == [
        f"PutObject /{one}one/config.pbtxt",
        f"PutObject /{two}two/1/model.py",
    ]
    assert s3.get_object(Bucket=BUCKET, Key=f"{two}two/1/model.py")["Body"].read() == b"# two\n"


def weights(folder: Path, size: int) -> None:
    (folder / "one/1/weights").write_bytes(bytes(range(256)) * (size // 256))


def test_large_files_go_in_parts(s3: S3Client, server: str, folder: Path) -> None:
    weights(folder, WHOLE_BYTES + 256)
    inputs = props(folder, server)
    create(inputs)
    head = s3.head_object(Bucket=BUCKET, Key=f"{root(inputs, 'one')}one/1/weights")
    assert head["ContentLength"] == WHOLE_BYTES + 256
    assert head["ETag"].endswith('-9"')


def test_parts_that_a_kill_left_are_dropped(
    s3: S3Client, server: str, folder: Path, upload_until: Callable[[dict[str, Any], int], int]
) -> None:
    weights(folder, 4 * PART_BYTES)
    inputs = props(folder, server)
    key = f"{root(inputs, 'one')}one/1/weights"
    assert upload_until(inputs, 3) == signal.SIGKILL  # both trees are described then
    s3.create_multipart_upload(Bucket=BUCKET, Key=key)  # as a kill between two parts leaves one
    create(inputs)
    assert s3.get_object(Bucket=BUCKET, Key=key)["Body"].read() == (folder / "one/1/weights").read_bytes()
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


def test_deletion_takes_only_what_was_uploaded(s3: S3Client, server: str, folder: Path) -> None:
    outputs = create(props(folder, server))
    foreign = [f"{root(outputs, 'one')}one/1/notes.txt", "releases/other", "else", "releases/models/stranger/x", "releases/.trees/odd.json"]
    for key in foreign:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"mine")
    replaced = f"{root(outputs, 'one')}one/config.pbtxt"
    s3.put_object(Bucket=BUCKET, Key=replaced, Body=b"somebody else's now")
    ReleaseProvider().delete("", outputs)
    assert keys(s3) == sorted([*foreign, replaced])


def test_a_release_shared_by_two_stacks_goes_with_the_second(s3: S3Client, server: str, folder: Path) -> None:
    first = create(props(folder, server, owner="first"))
    second = create(props(folder, server, owner="second"))
    ReleaseProvider().delete("", first)
    assert ReleaseProvider().read("id", second).outs == {**second, "missing": []}
    ReleaseProvider().delete("", second)
    assert keys(s3) == []


def test_a_late_deletion_leaves_the_same_release_published_anew(s3: S3Client, server: str, folder: Path) -> None:
    """Models go A -> B -> A, and the first A's deletion was put off by a failed rollout of B."""
    first = create(props(folder, server))
    again = create(props(folder, server))
    ReleaseProvider().delete("", first)
    assert ReleaseProvider().read("id", again).outs == {**again, "missing": []}


def successive(folder: Path, server: str, count: int, **changes: Any) -> list[dict[str, Any]]:
    """Releases one after the other, each old one deleted as Pulumi does after a replacement."""
    made: list[dict[str, Any]] = []
    for number in range(count):
        (folder / "one/1/model.py").write_text(f"# {number}\n")
        made.append(create(props(folder, server, **changes)))
        if number:
            ReleaseProvider().delete("", made[-2])
    return made


def test_old_releases_are_kept_and_the_oldest_go(s3: S3Client, server: str, folder: Path) -> None:
    made = successive(folder, server, 5, keep=2)
    there = {key.split("/")[-1].removesuffix(".json") for key in keys(s3) if key.endswith(".json") and ".manifests" in key}
    assert there == {outputs["digest"] for outputs in made[-3:]}
    assert {key.split("/")[2] for key in model_keys(s3)} == {
        root(outputs, model).split("/")[2] for outputs in made[-3:] for model in ("one", "two")
    }
    ReleaseProvider().delete("", made[-1])  # the stack is destroyed
    assert keys(s3) == []


def test_nothing_is_kept_on_request(s3: S3Client, server: str, folder: Path) -> None:
    made = successive(folder, server, 2, keep=0)
    assert {key.split("/")[2] for key in model_keys(s3)} == {root(made[-1], model).split("/")[2] for model in ("one", "two")}


def test_roll_back_to_a_release_that_is_kept(s3: S3Client, server: str, folder: Path, requests: list[str]) -> None:
    made = successive(folder, server, 3, keep=2)
    requests.clear()
    back = create({**made[0], "release": made[0]["digest"][:12], "source": "not-there-any-more"})
    assert [request for request in requests if "/models/" in request] == []
    ReleaseProvider().delete("", made[2])
    assert ReleaseProvider().read("id", back).outs == {**back, "missing": []}
    assert ReleaseProvider().read("id", made[2]).outs == {**made[2], "missing": []}  # kept in its turn


def test_roll_back_by_name(s3: S3Client, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = iter(range(1_700_000_000, 1_800_000_000, 86_400))
    monkeypatch.setattr(publish, "time", SimpleNamespace(time=lambda: float(next(days)), sleep=time.sleep))
    made = successive(folder, server, 3, keep=2)
    assert [outputs["name"] for outputs in made] == ["20231114-221320", "20231115-221320", "20231116-221320"]
    assert made[2]["previous"] == ["20231115-221320", "20231114-221320"]
    settings = {"bucket": BUCKET, "prefix": "releases", "endpoint": server, "clusterEndpoint": "http://10.0.0.1:1"}
    for wanted in ("20231115-221320", made[1]["digest"], made[1]["digest"][:8]):
        plan = published_plan(RepositorySettings.model_validate({**settings, "release": wanted}))
        assert (plan.digest, plan.models) == (made[1]["digest"], made[1]["models"])
    with pytest.raises(FleetError) as caught:
        published_plan(RepositorySettings.model_validate({**settings, "release": "20200101-000000"}))
    assert str(caught.value) == (
        "triton-fleet:repository.release (20200101-000000) is not in the bucket: nothing was changed. "
        f"Set it to a release under s3://{BUCKET}/releases: "
        + ", ".join(f"{outputs['name']} ({outputs['digest'][:12]})" for outputs in reversed(made))
        + "."
    )
    back = create({**made[1], "release": made[1]["name"]})
    assert back["name"] == "20231115-221320"
    assert back["previous"] == ["20231116-221320", "20231114-221320"]


def test_roll_back_to_what_is_gone_or_damaged(s3: S3Client, server: str, folder: Path) -> None:
    made = successive(folder, server, 2, keep=1)
    s3.delete_object(Bucket=BUCKET, Key=f"{root(made[0], 'one')}one/1/model.py")
    with pytest.raises(FleetError, match=r"repository\.release \(.{12}\) is missing one/1/model.py .* nothing was changed"):
        create({**made[0], "release": made[0]["digest"]})
    with pytest.raises(FleetError, match="no longer exists"):
        create({**made[0], "release": "f" * 64, "digest": "f" * 64})


def test_a_killed_run_that_nobody_came_back_for_is_collected(
    s3: S3Client, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = create(props(folder, server))
    (folder / "one/1/model.py").write_text("# never finished\n")
    real = Catalog._finish

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Catalog, "_finish", killed)
    lost = props(folder, server)
    with pytest.raises(KeyboardInterrupt):
        create(lost)
    monkeypatch.setattr(Catalog, "_finish", real)
    assert [key for key in keys(s3) if key.startswith(root(lost, "one"))]
    (folder / "one/1/model.py").write_text("# another\n")
    create(props(folder, server))
    ReleaseProvider().delete("", first)
    assert [key for key in keys(s3) if key.startswith(root(lost, "one"))] == []


def test_a_stable_place_is_brought_to_each_release(s3: S3Client, server: str, folder: Path) -> None:
    inputs = props(folder, server, mode="poll", keep=1)
    outputs = create(inputs)
    live = f"releases/live/{inputs['owner']}/"
    assert [key for key in keys(s3) if key.startswith(live)] == [
        f"{live}{path}" for path in ("one/1/model.py", "one/config.pbtxt", "two/1/model.py", "two/config.pbtxt")
    ]
    s3.put_object(Bucket=BUCKET, Key=f"{live}foreign/1/x", Body=b"")
    shutil.rmtree(folder / "two")
    (folder / "one/2").mkdir()
    (folder / "one/2/model.py").write_text("# two\n")
    news = props(folder, server, mode="poll", keep=1)
    assert ReleaseProvider().diff("id", outputs, news).replaces == []
    updated = ReleaseProvider().update("id", outputs, news).outs
    assert updated is not None
    assert [key for key in keys(s3) if key.startswith(live)] == [
        f"{live}{path}" for path in ("foreign/1/x", "one/1/model.py", "one/2/model.py", "one/config.pbtxt")
    ]
    s3.delete_object(Bucket=BUCKET, Key=f"{live}one/2/model.py")
    seen = ReleaseProvider().read("id", updated).outs
    assert seen is not None
    assert seen["missing"] == ["live/one/2/model.py"]
    mended = ReleaseProvider().update("id", seen, news).outs
    assert f"{live}one/2/model.py" in keys(s3)
    ReleaseProvider().delete("id", mended or {})
    assert keys(s3) == [f"{live}foreign/1/x"]


def test_triton_never_sees_a_config_before_its_version(s3: S3Client, server: str, folder: Path, requests: list[str]) -> None:
    (folder / "one/1/weights.bin").write_bytes(b"w")
    create(props(folder, server, mode="poll"))
    copies = [request.split("/live/")[1].split("/", 1)[1] for request in requests if "/live/" in request and "CopyObject" in request]
    order = [path for path in copies if path.startswith("one/")]
    assert order == ["one/1/weights.bin", "one/1/model.py", "one/config.pbtxt"]


def test_deletion_from_a_bucket_that_is_gone(s3: S3Client, server: str, folder: Path) -> None:
    outputs = create(props(folder, server))
    ReleaseProvider().delete("", {**outputs, "bucket": "gone-already"})


def test_refresh_notes_what_is_missing_and_an_update_mends_it(s3: S3Client, server: str, folder: Path) -> None:
    inputs = props(folder, server)
    outputs = create(inputs)
    key = f"{root(outputs, 'one')}one/1/model.py"
    s3.delete_object(Bucket=BUCKET, Key=key)
    seen = ReleaseProvider().read("id", outputs).outs
    assert seen is not None
    assert seen["missing"] == ["one/1/model.py"]
    diff = ReleaseProvider().diff("id", seen, inputs)
    assert (diff.changes, diff.replaces) == (True, [])
    mended = ReleaseProvider().update("id", seen, inputs).outs
    assert mended == outputs
    assert key in keys(s3)
    assert (ReleaseProvider().read("id", mended).outs or {})["missing"] == []


def test_refresh_of_a_lost_manifest(s3: S3Client, server: str, folder: Path) -> None:
    outputs = create(props(folder, server))
    manifest = f"releases/.manifests/{outputs['digest']}.json"
    s3.put_object(Bucket=BUCKET, Key=manifest, Body=b"{")
    seen = ReleaseProvider().read("id", outputs).outs
    assert seen is not None
    assert seen["missing"] == [manifest]


@pytest.mark.parametrize("bucket", [BUCKET, "gone-already"])
def test_refresh_of_a_release_that_is_gone(s3: S3Client, server: str, folder: Path, bucket: str) -> None:
    outputs = create(props(folder, server))
    for key in keys(s3):
        s3.delete_object(Bucket=BUCKET, Key=key)
    assert not ReleaseProvider().read("id", {**outputs, "bucket": bucket}).id


def test_unchanged_inputs_are_no_difference(s3: S3Client, server: str, folder: Path) -> None:
    inputs = props(folder, server)
    outputs = create(inputs)
    diff = ReleaseProvider().diff("id", outputs, inputs)
    assert (diff.changes, diff.replaces) == (False, [])
    moved = ReleaseProvider().diff("id", outputs, {**inputs, "source": "elsewhere"})
    assert moved.changes is False


@pytest.mark.parametrize("key", ["bucket", "prefix", "digest"])
def test_another_content_or_place_is_made_before_the_old_is_deleted(key: str) -> None:
    olds = {"bucket": "a", "prefix": "b", "digest": "c"}
    diff = ReleaseProvider().diff("id", olds, {**olds, key: "new"})
    assert (diff.changes, diff.replaces, diff.delete_before_replace) == (True, [key], False)


@pytest.mark.parametrize("key", ["region", "endpoint", "owner"])
def test_another_way_to_the_same_place_is_never_a_replacement(key: str) -> None:
    """A replacement would end with the deletion of the old release: the very objects of the new one."""
    olds = {"bucket": "a", "prefix": "b", "digest": "c"}
    diff = ReleaseProvider().diff("id", olds, {**olds, key: "new"})
    assert (diff.changes, diff.replaces) == (True, [])


def test_a_new_owner_takes_the_claim_over(s3: S3Client, server: str, folder: Path) -> None:
    outputs = create(props(folder, server, owner="before"))
    ReleaseProvider().update("id", outputs, props(folder, server, owner="after"))
    assert [key for key in keys(s3) if ".owners/" in key] == [f"releases/.owners/{outputs['digest']}/after"]
    assert len([key for key in keys(s3) if key.startswith("releases/models/")]) == 4


def test_models_that_change_between_preview_and_upload(s3: S3Client, server: str, folder: Path) -> None:
    inputs = props(folder, server)
    (folder / "one/1/model.py").write_text("# changed\n")
    with pytest.raises(FleetError, match=r"triton-fleet:repository\.source .* has changed since this run began \(one\)"):
        create(inputs)
    assert keys(s3) == []


def test_a_file_that_changes_while_it_is_sent(s3: S3Client, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = props(folder, server)
    plan = scan(folder)
    monkeypatch.setattr(sync, "scan", lambda *_: plan)
    (folder / "one/1/model.py").write_text("# changed during the upload\n")
    with pytest.raises(FleetError, match=r"one/1/model\.py changed during the upload: the release would mix old and new files"):
        create(inputs)
    assert not [key for key in keys(s3) if ".manifests/" in key or key.endswith("one/1/model.py")]


def test_check_tells_a_bucket_that_does_not_exist(s3: S3Client, server: str, folder: Path) -> None:
    news = props(folder, server, bucket="not-there")
    (failure,) = ReleaseProvider().check({}, news).failures
    assert failure.property == "bucket"
    assert failure.reason == (
        f"triton-fleet:repository.bucket (not-there) does not exist at {server}: nothing was uploaded. "
        "Create it, correct the name or set createBucket: true."
    )
    assert ReleaseProvider().check({}, {**news, "createBucket": True}).failures == []


def test_check_asks_nobody_about_a_release_that_is_published(folder: Path) -> None:
    inputs = props(folder, "http://127.0.0.1:1")
    assert ReleaseProvider().check(inputs, inputs).failures == []


def test_upload_into_a_bucket_that_vanished(s3: S3Client, server: str, folder: Path) -> None:
    with pytest.raises(FleetError, match=r"triton-fleet:repository\.bucket \(not-there\) does not exist"):
        create(props(folder, server, bucket="not-there"))


def test_a_store_that_stays_away(s3: S3Client, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(FleetError, match=r"does not answer .* Start the store .* only what is missing is sent"):
            create(props(folder, endpoint))


def test_a_store_that_comes_back(s3: S3Client, server: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[float] = []

    def wait(pause: float) -> None:
        tried.append(pause)

    monkeypatch.setattr(time, "sleep", wait)
    real = Catalog.publish

    def publish(self: Catalog, *args: Any, **kwargs: Any) -> None:
        if len(tried) < 2:
            raise objects.StoreUnreachableError("down")
        real(self, *args, **kwargs)

    monkeypatch.setattr(Catalog, "publish", publish)
    monkeypatch.setattr(objects, "PAUSES_S", (1.0, 2.0, 4.0))
    create(props(folder, server))
    assert tried == [1.0, 2.0]


def test_no_credentials(server: str, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(FleetError, match="no usable AWS credentials where Pulumi runs"):
        create(props(folder, server))


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [
        ("InvalidAccessKeyId", 403, "rejects the credentials that Pulumi uses (InvalidAccessKeyId)"),
        ("AccessDenied", 403, "can't be accessed with the credentials that Pulumi uses (AccessDenied)"),
        ("PermanentRedirect", 301, "triton-fleet:repository.region (us-east-1) is not the region of bucket models"),
        ("SlowDown", 503, "does not answer"),
        ("InvalidRequest", 400, "rejected a request for bucket models"),
    ],
)
def test_what_the_store_refuses_is_said_in_words(name: str, status: int, says: str) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415 (as the program does it)

    with pytest.raises(FleetError) as caught, S3Store(BUCKET, region="us-east-1").explained():
        raise ClientError({"Error": {"Code": name}, "ResponseMetadata": {"HTTPStatusCode": status}}, "PutObject")  # type: ignore[typeddict-item]
    assert says in str(caught.value)


def bucket_props(server: str, **changes: Any) -> dict[str, Any]:
    return {"bucket": "own-bucket", "region": "us-east-1", "endpoint": server, **changes}


@pytest.mark.usefixtures("moto")
@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_a_bucket_of_the_stacks_own(s3: S3Client, server: str, region: str) -> None:
    provider = BucketProvider()
    inputs = bucket_props(server, region=region)
    assert provider.create(inputs).id == "own-bucket"
    assert provider.read("own-bucket", inputs).id == "own-bucket"
    provider.create(inputs)  # a run was killed after it made the bucket
    provider.delete("own-bucket", inputs)
    assert not provider.read("own-bucket", inputs).id
    provider.delete("own-bucket", inputs)


def test_a_bucket_with_content_is_neither_taken_over_nor_deleted(s3: S3Client, server: str) -> None:
    provider = BucketProvider()
    inputs = bucket_props(server)
    provider.create(inputs)
    s3.put_object(Bucket="own-bucket", Key="mine", Body=b"")
    with pytest.raises(FleetError, match="exists and contains objects: a bucket that the stack creates is destroyed"):
        provider.create(inputs)
    with pytest.raises(FleetError, match="contains objects that this stack did not upload, such as mine: the bucket was kept"):
        provider.delete("own-bucket", inputs)
    assert keys(s3, "own-bucket") == ["mine"]


@pytest.mark.usefixtures("moto")
def test_what_the_stack_says_about_its_bucket(s3: S3Client, server: str) -> None:
    provider = BucketProvider()
    inputs = bucket_props(server, versioning=True, kmsKey="alias/models")
    outputs = provider.create(inputs).outs
    assert provider.read("own-bucket", inputs).outs == outputs
    assert s3.get_bucket_versioning(Bucket="own-bucket")["Status"] == "Enabled"
    rules = s3.get_bucket_lifecycle_configuration(Bucket="own-bucket")["Rules"]
    assert [rule["ID"] for rule in rules] == ["triton-fleet-unfinished", "triton-fleet-old-versions"]
    encryption = s3.get_bucket_encryption(Bucket="own-bucket")["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert encryption["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"] == "alias/models"
    assert s3.get_public_access_block(Bucket="own-bucket")["PublicAccessBlockConfiguration"]["RestrictPublicBuckets"] is True
    s3.delete_public_access_block(Bucket="own-bucket")
    s3.put_bucket_versioning(Bucket="own-bucket", VersioningConfiguration={"Status": "Suspended"})
    drifted = provider.read("own-bucket", inputs).outs or {}
    assert drifted["drifted"] == ["publicAccessBlock", "versioning"]
    assert provider.diff("own-bucket", drifted, inputs).changes is True
    assert (provider.update("own-bucket", drifted, inputs).outs or {})["drifted"] == []
    assert provider.read("own-bucket", inputs).outs == outputs
    # Old versions of what is deleted don't keep the bucket.
    s3.put_object(Bucket="own-bucket", Key="x", Body=b"")
    s3.delete_object(Bucket="own-bucket", Key="x")
    provider.delete("own-bucket", inputs)
    assert not provider.read("own-bucket", inputs).id


def test_the_policy_lets_nobody_in_without_tls() -> None:
    policy = tls_only("b", "us-east-1")
    assert policy["Statement"][0]["Effect"] == "Deny"
    assert includes({**policy, "Statement": [{"Sid": "theirs"}, *policy["Statement"]]}, policy)
    assert not includes({}, policy)


KILLS: Final = 20

_UPLOADS: Final = """
import boto3, itertools, json, obstore.auth.boto3, os, signal, sys
from components.repository.store.s3 import S3Store
from components.repository.sync import ReleaseProvider

put = S3Store.put_bytes
for line in sys.stdin:
    props, most = json.loads(line)
    process = os.fork()
    if process == 0:
        count = itertools.count(1)
        def counted(self, *args, **more):
            answer = put(self, *args, **more)
            if next(count) >= most:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer
        S3Store.put_bytes = counted
        ReleaseProvider().create(props)
        os._exit(0)
    print(os.waitpid(process, 0)[1], flush=True)
"""
"""Uploads in processes of their own, killed as soon as they have written so many objects: fifteen other requests are under way then.
One that has no threads forks them, so that only it pays for the imports."""


@pytest.fixture
def upload_until() -> Iterator[Callable[[dict[str, Any], int], int]]:
    """Upload, and kill it -9 after so many requests: 0 when it ended before, else the signal."""
    with subprocess.Popen(
        [sys.executable, "-c", _UPLOADS], cwd=Path(__file__).resolve().parents[3], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        told, heard = process.stdin, process.stdout

        def upload(props: dict[str, Any], requests: int) -> int:
            told.write(json.dumps([props, requests]) + "\n")
            told.flush()
            return int(heard.readline())

        yield upload
        told.close()


def test_killed_at_random_and_run_again(
    s3: S3Client, server: str, folder: Path, upload_until: Callable[[dict[str, Any], int], int]
) -> None:
    """The real upload, killed at 20 moments of its way: the old release stays whole, the new one is whole or absent, the last run finishes.

    Moments are numbers of requests, and not of seconds: each falls into the transfer however fast the machine is.
    """
    chance = random.Random(7)  # noqa: S311 (no secret)

    def edit() -> dict[str, Any]:
        for number in range(16):
            (folder / "one/1" / f"{number}.bin").write_bytes(chance.randbytes(20_000))
        return props(folder, server)

    live = create(edit())
    news = edit()
    releases = sync._catalog(live)
    killed = finished = 0
    while killed < KILLS:
        status = upload_until(news, chance.randrange(1, 22))
        assert status in {0, signal.SIGKILL}
        killed += status == signal.SIGKILL
        assert releases.damage(live["digest"]) == []
        damage = releases.damage(news["digest"])
        assert damage in (None, []), "a release is whole or absent"
        if damage is not None:  # pods read it from now on
            finished += 1
            live, news = create(news), edit()
    assert finished < KILLS
    outputs = create(news)
    assert releases.damage(outputs["digest"]) == []
    for path in (folder / "one/1").iterdir():
        assert s3.get_object(Bucket=BUCKET, Key=f"{root(news, 'one')}one/1/{path.name}")["Body"].read() == path.read_bytes()


def test_bucket_diff() -> None:
    olds = bucket_props("http://a")
    assert BucketProvider().diff("", olds, olds).changes is False
    assert BucketProvider().diff("", olds, {**olds, "bucket": "b"}).replaces == ["bucket"]
    assert BucketProvider().diff("", olds, {**olds, "endpoint": "http://b"}).replaces == []


def test_a_bucket_is_handed_over_to_the_clouds_provider(s3: S3Client, server: str) -> None:
    """As a stack on EKS or GKE does it that an earlier version made: one run with adoptBucket, and one without."""
    olds = BucketProvider().create(bucket_props(server, versioning=False)).outs or {}
    news = {**olds, "handedOver": True}
    diff = BucketProvider().diff("own-bucket", olds, news)
    assert (diff.changes, diff.replaces) == (True, [])
    outs = BucketProvider().update("own-bucket", olds, news).outs or {}
    assert not BucketProvider().diff("own-bucket", outs, news).changes
    BucketProvider().delete("own-bucket", outs)
    assert "own-bucket" in {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_a_bucket_of_an_earlier_version_is_not_made_again(folder: Path) -> None:
    olds = props(folder, "http://127.0.0.1:1", createBucket=True)
    (failure,) = ReleaseProvider().check(olds, {**olds, "createBucket": "cloud"}).failures
    assert failure.reason.endswith("Set adoptBucket: true for one run, which imports it; see docs/upgrading.md.")
    assert ReleaseProvider().check(olds, {**olds, "createBucket": "adopt"}).failures == []
    assert ReleaseProvider().check({**olds, "createBucket": "adopt"}, {**olds, "createBucket": "cloud"}).failures == []


@pytest.mark.usefixtures("moto")
def test_the_last_release_leaves_a_bucket_that_can_be_deleted(s3: S3Client, server: str, folder: Path) -> None:
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    outputs = create(props(folder, server, createBucket="cloud"))
    again = create(props(folder, server, createBucket="cloud", owner="second"))
    ReleaseProvider().delete("", outputs)
    assert ReleaseProvider().read("id", again).outs == {**again, "missing": []}
    ReleaseProvider().delete("", again)
    found = s3.list_object_versions(Bucket=BUCKET)
    assert not {"Versions", "DeleteMarkers"} & found.keys()


def test_providers_in_states_of_earlier_versions(s3: S3Client, server: str, folder: Path) -> None:
    """`providers_in_states.json` is what the version before this file was moved wrote into states as ``__provider``."""
    states = json.loads((Path(__file__).parent / "providers_in_states.json").read_text())
    assert {name: type(dill.loads(base64.b64decode(state))) for name, state in states.items()} == {  # noqa: S301 (our own)
        "ReleaseProvider": ReleaseProvider,
        "BucketProvider": BucketProvider,
    }
    assert serialize_provider(ReleaseProvider()) == states["ReleaseProvider"], "another text would be a change of every stack"
    assert serialize_provider(BucketProvider()) == states["BucketProvider"]


@pytest.mark.parametrize("provider", [ReleaseProvider(), BucketProvider()])
def test_the_state_carries_the_providers_name_and_no_code(provider: Any) -> None:
    """Else every edit of the module would show as a change of every stack."""
    pickled = base64.b64decode(serialize_provider(provider))
    assert len(pickled) < 120
    assert b"components.repository.sync" in pickled
    assert type(dill.loads(pickled)) is type(provider)  # noqa: S301 (made two lines above)
    assert provider.serialize_as_secret_always is False


def test_the_digest_of_the_projects_models_survives_a_copy(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[3] / "models"
    shutil.copytree(root, tmp_path / "models")
    assert scan(tmp_path / "models").digest == scan(root).digest
