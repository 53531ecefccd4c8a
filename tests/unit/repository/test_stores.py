"""One list of behaviours for every object store: what S3 can and Google Cloud Storage can't, or the other way round, fails here.

moto speaks S3 and fake-gcs-server speaks Google's JSON interface, both over real HTTP on loopback.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from components.base.errors import FleetError
from components.repository.store import gcs
from components.repository.store.objects import (
    PART_BYTES,
    Source,
    SourceChangedError,
    Store,
    StoreUnreachableError,
    crc32c,
)
from components.repository.store.select import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


KINDS = ("s3", "gcs")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Store]:
    """Makes a store of the kind under test."""
    s3 = "moto" if "moto" in request.fixturenames else "s3_server"
    endpoint: str = request.getfixturevalue(s3 if kind == "s3" else "gcs_server")
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN", "STORAGE_EMULATOR_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    def make(bucket: str, **props: Any) -> Store:
        return open_store({"store": kind, "bucket": bucket, "region": "us-east-1", "endpoint": endpoint, **props})

    return make


@pytest.fixture
def store(opened: Callable[..., Store]) -> Iterator[Store]:
    """A store with an empty bucket."""
    made = opened(f"fleet-{os.urandom(4).hex()}")
    made.ensure({})
    yield made
    made.delete_many([stat.key for stat in made.list("")])
    made.remove()


def source(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    return Source(path=path, size=len(content), sha256=sha256, crc32c=crc32c(content), modified_ns=path.stat().st_mtime_ns)


def ignore(_: int) -> None:
    pass


def big(path: Path, extra: int = 12_345) -> Source:
    """A file of three parts."""
    return source(path, os.urandom(2 * PART_BYTES + extra))


def test_a_store_has_all_that_a_release_needs(opened: Callable[..., Store]) -> None:
    made = opened("fleet")
    wanted = {name for name in vars(Store) if not name.startswith("_")}
    assert {name for name in wanted if not hasattr(made, name)} == set()


@pytest.mark.parametrize("body", [b"", b"x", os.urandom(300_000)], ids=["empty", "short", "long"])
def test_what_is_put_is_there_at_once(store: Store, body: bytes) -> None:
    written = store.put_bytes("a/b c/ünï.bin", body)
    assert store.get_bytes("a/b c/ünï.bin") == body
    seen = store.head("a/b c/ünï.bin")
    (listed,) = store.list("a/")
    for stat in (written, seen, listed):
        assert stat is not None
        assert (stat.key, stat.size, stat.etag) == (written.key, len(body), written.etag)
    assert listed.modified > 1_700_000_000


def test_the_etag_tells_contents_apart(store: Store) -> None:
    first = store.put_bytes("key", b"one")
    second = store.put_bytes("key", b"two")
    assert first.etag != second.etag
    assert store.put_bytes("key", b"one").etag == first.etag


def test_what_is_not_there_is_none(store: Store) -> None:
    assert store.get_bytes("nope") is None
    assert store.head("nope") is None
    assert list(store.list("nope")) == []
    store.delete_many(["nope", "nor/this"])


def test_listings_are_sorted_by_key_and_bounded_by_the_prefix(store: Store) -> None:
    keys = ["a/1", "a/10", "a/2", "a/B", "a/_", "a/b", "a/é", "ab", "b"]
    for key in reversed(keys):
        store.put_bytes(key, b"")
    assert [stat.key for stat in store.list("")] == keys
    assert [stat.key for stat in store.list("a/")] == keys[:-2]


def test_a_listing_of_several_pages(store: Store) -> None:
    keys = [f"many/{number:04d}" for number in range(1005)]
    threads = [threading.Thread(target=lambda part: [store.put_bytes(key, b"") for key in part], args=(keys[n::8],)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [stat.key for stat in store.list("many/")] == keys
    store.delete_many(keys)
    assert list(store.list("many/")) == []


@pytest.mark.parametrize("size", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_files_of_every_size_arrive_and_are_recognised(store: Store, tmp_path: Path, size: int) -> None:
    file = source(tmp_path / "file", os.urandom(size))
    sent: list[int] = []
    written = store.put_file("file", file, sent.append)
    assert sum(sent) == size
    assert store.get_bytes("file") == file.path.read_bytes()
    (listed,) = store.list("")
    assert (listed.size, listed.etag) == (written.size, written.etag)
    assert store.holds(listed, file)
    if size:
        assert not store.holds(listed, source(tmp_path / "other", os.urandom(size)))
    assert not store.holds(listed, source(tmp_path / "longer", bytes(size + 1)))
    assert store.holds(listed, None) == (size == 0)


def test_a_large_file_is_never_in_memory_as_a_whole(store: Store, tmp_path: Path) -> None:
    file = source(tmp_path / "file", bytes(8 * PART_BYTES))
    tracemalloc.start()
    try:
        store.put_file("file", file, ignore)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    if type(store).__name__ == "GcsStore":  # moto keeps what it gets in this very process
        assert peak < 4 * PART_BYTES
    assert store.head("file") is not None


@pytest.mark.parametrize("make", [lambda path: source(path, b"as scanned"), big], ids=["small", "large"])
def test_a_file_that_changed_since_it_was_scanned_does_not_appear(store: Store, tmp_path: Path, make: Callable[[Path], Source]) -> None:
    scanned = make(tmp_path / "file")
    changed = scanned.path.read_bytes()[:-1] + b"!"
    scanned.path.write_bytes(changed)
    os.utime(scanned.path, ns=(scanned.modified_ns + 10**9, scanned.modified_ns + 10**9))
    with pytest.raises(SourceChangedError, match="changed during the upload"):
        store.put_file("file", scanned, ignore)
    assert store.head("file") is None


def test_a_file_that_changes_while_it_is_sent_does_not_appear(store: Store, tmp_path: Path) -> None:
    file = big(tmp_path / "file")
    first = threading.Event()

    def change(_: int) -> None:
        if not first.is_set():
            first.set()
            with file.path.open("r+b") as stream:
                stream.seek(-1, os.SEEK_END)
                stream.write(b"!")
            os.utime(file.path, ns=(file.modified_ns + 10**9, file.modified_ns + 10**9))

    with pytest.raises(SourceChangedError):
        store.put_file("file", file, change)
    assert store.head("file") is None


def test_a_file_that_is_gone(store: Store, tmp_path: Path) -> None:
    file = source(tmp_path / "file", b"x")
    file.path.unlink()
    with pytest.raises(SourceChangedError):
        store.put_file("file", file, ignore)


def test_interrupted_on_the_way_and_done_again(store: Store, tmp_path: Path) -> None:
    file = source(tmp_path / "file", bytes(4 * PART_BYTES))

    def interrupt(count: int) -> None:
        if count > 0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.put_file("file", file, interrupt)
    assert store.head("file") is None
    sent: list[int] = []
    store.put_file("file", file, sent.append)
    assert sum(sent) == file.size
    assert store.get_bytes("file") == file.path.read_bytes()
    store.abandon("")


def test_copies(store: Store) -> None:
    origin = store.put_bytes("from/a b", b"content")
    copied = store.copy(origin, "to/ü")
    assert copied is not None
    assert (copied.key, copied.size) == ("to/ü", 7)
    assert store.get_bytes("to/ü") == b"content"
    (listed,) = store.list("to/")
    assert listed.etag == copied.etag


def test_a_copy_of_what_is_gone_or_another_thing_by_now_is_none(store: Store, kind: str) -> None:
    origin = store.put_bytes("from", b"one")
    store.put_bytes("from", b"two")
    if kind != "s3":  # moto overlooks the condition that goes along
        assert store.copy(origin, "to") is None
    store.delete_many(["from"])
    assert store.copy(origin, "to") is None
    assert store.head("to") is None


def test_buckets_that_are_not_there(opened: Callable[..., Store]) -> None:
    made = opened("fleet-of-nobody")
    assert not made.exists()
    assert "triton-fleet:repository.bucket (fleet-of-nobody) does not exist" in str(made.failure("no bucket"))
    for request in (lambda: made.put_bytes("k", b""), lambda: made.get_bytes("k"), lambda: list(made.list(""))):
        with pytest.raises(FleetError, match=r"triton-fleet:repository\.bucket \(fleet-of-nobody\) does not exist .* createBucket"):
            request()


@pytest.mark.usefixtures("moto")
def test_a_bucket_of_the_stacks_own(opened: Callable[..., Store]) -> None:
    made = opened(f"fleet-{os.urandom(4).hex()}")
    assert not made.exists()
    made.ensure({"versioning": True})
    assert made.exists()
    assert list(made.drift({"versioning": True})) == []
    made.ensure({"versioning": True})
    made.put_bytes("a", b"1")
    made.put_bytes("a", b"2")
    with pytest.raises(FleetError, match=r"contains objects that this stack did not upload, such as a: the bucket was kept"):
        made.remove()
    made.delete_many(["a"])
    made.remove()
    assert not made.exists()


@pytest.mark.usefixtures("moto")
def test_settings_that_somebody_took_away_are_seen_and_come_back(opened: Callable[..., Store]) -> None:
    made = opened(f"fleet-{os.urandom(4).hex()}")
    made.ensure({})
    assert "versioning" in made.drift({"versioning": True})
    made.ensure({"versioning": True})
    assert list(made.drift({"versioning": True})) == []
    made.remove()


def test_a_store_that_does_not_answer(opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gcs, "_PATIENCE_S", 0.5)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refused
        made = opened("fleet", endpoint=f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(StoreUnreachableError, match=r"does not answer .*only what is missing is sent"):
            made.put_bytes("k", b"x")
        with pytest.raises(StoreUnreachableError):
            made.exists()


def test_addresses_for_people(opened: Callable[..., Store], kind: str) -> None:
    made = opened("fleet")
    assert made.url("a/b") == f"{'s3' if kind == 's3' else 'gs'}://fleet/a/b"
    assert "127.0.0.1" in made.describe()


def test_the_emulator_of_the_environment(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_server)
    made = open_store({"store": "gcs", "bucket": f"fleet-{os.urandom(4).hex()}"})
    made.ensure({})
    assert made.exists()
    made.remove()


def test_no_google_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("STORAGE_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "absent.json"))
    with pytest.raises(FleetError, match=r"no usable Google credentials .*gcloud auth application-default login"):
        open_store({"store": "gcs", "bucket": "fleet"}).exists()


@pytest.mark.parametrize(
    ("status", "text", "said"),
    [
        (403, "x has no storage.objects.create access", r"repository\.bucket \(fleet\) can't be accessed .*roles/storage.objectAdmin"),
        (403, "Permission denied on Cloud KMS key", r"repository\.kmsKey can't be used .*cryptoKeyEncrypterDecrypter"),
        (401, "Invalid Credentials", r"rejects the credentials .*application-default login"),
        (412, "conditionNotMet", r"rejected a request for bucket fleet .*uploaded files are kept"),
        (503, "Backend Error", r"does not answer"),
        (429, "slow down", r"does not answer"),
    ],
)
def test_googles_refusals_in_words(status: int, text: str, said: str) -> None:
    from google.api_core.exceptions import from_http_status  # noqa: PLC0415

    made = gcs.GcsStore("fleet", endpoint="http://127.0.0.1:9")
    with pytest.raises(FleetError, match=said) as caught, made.explained():
        raise from_http_status(status, text)  # type: ignore[no-untyped-call]
    assert isinstance(caught.value, StoreUnreachableError) == (status in {429, 503})


def test_what_arrives_otherwise_is_deleted_and_told(gcs_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = gcs.GcsStore(f"fleet-{os.urandom(4).hex()}", endpoint=gcs_server)
    made.ensure({})
    with monkeypatch.context() as patch:
        patch.setattr(gcs, "crc32c", lambda _: "AAAAAA==")
        with pytest.raises(StoreUnreachableError, match="the data was corrupted in transit"):
            made.put_bytes("k", b"x")
    assert made.head("k") is None
    made.remove()
