"""Image stores: begun with links, kept at rest, and never in anyone's way."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from local.platform import store
from local.platform.store import Stores, is_filled

if TYPE_CHECKING:
    from pathlib import Path

IMAGES = {"here/a:1": "sha256:aa", "here/b:1": "sha256:bb"}
SNAPSHOTS = "io.containerd.snapshotter.v1.overlayfs"


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return Stores(folder=tmp_path / "cache", runtime="containerd 1", snapshotter="overlayfs")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What containerd leaves after importing."""
    root = tmp_path / "first"
    blob = root / "io.containerd.content.v1.content" / "blobs" / "sha256" / "aa"
    unpacked = root / SNAPSHOTS / "snapshots" / "1" / "fs" / "bin"
    for folder in (blob.parent, unpacked, root / "io.containerd.metadata.v1.bolt"):
        folder.mkdir(parents=True)
    unpacked.chmod(0o511)
    blob.write_text("a blob")
    (unpacked / "tool").write_text("a program")
    (unpacked / "link").symlink_to("tool")
    (unpacked / "data.db").write_text("a file of an image, whatever it is called")
    (root / "io.containerd.metadata.v1.bolt" / "meta.db").write_text("names")
    (root / SNAPSHOTS / "metadata.db").write_text("snapshots")
    return root


def fresh(tmp_path: Path) -> Path:
    folder = tmp_path / "second"
    folder.mkdir(mode=0o700)
    return folder


def test_a_new_instance_begins_with_links_and_databases_of_its_own(stores: Stores, root: Path, tmp_path: Path) -> None:
    assert stores.keep(IMAGES, root)
    second = fresh(tmp_path)
    assert not is_filled(second)
    assert stores.adopt(IMAGES, second)
    assert is_filled(second)
    for name in ("tool", "data.db", "link"):
        file = f"{SNAPSHOTS}/snapshots/1/fs/bin/{name}"
        assert (second / file).lstat().st_ino == (root / file).lstat().st_ino, name
    assert (second / SNAPSHOTS / "snapshots/1/fs/bin").stat().st_mode & 0o777 == 0o511
    assert second.stat().st_mode & 0o777 == 0o700
    for file in ("io.containerd.metadata.v1.bolt/meta.db", f"{SNAPSHOTS}/metadata.db"):
        assert (second / file).read_text() == (root / file).read_text()
        assert (second / file).stat().st_nlink == 1, "two containerds must not write into one database"


def test_the_store_with_most_of_the_images_and_none_that_is_another_is_taken(stores: Stores, root: Path) -> None:
    assert stores.keep(IMAGES, root)
    assert stores.keep({"here/a:1": "sha256:aa"}, root)
    assert stores.keep({**IMAGES, "here/c:1": "sha256:old"}, root)

    def best(images: dict[str, str]) -> object:
        found = stores.best(images)
        return found and json.loads((found / "images.json").read_text())["images"]

    assert best({**IMAGES, "here/c:1": "sha256:new"}) == IMAGES
    assert best({"here/a:1": "sha256:other"}) is None
    assert best({"here/z:1": "sha256:zz"}) is None


def test_another_containerd_or_snapshotter_begins_with_nothing(stores: Stores, root: Path, tmp_path: Path) -> None:
    assert stores.keep(IMAGES, root)
    second = fresh(tmp_path)
    assert not Stores(folder=stores.folder, runtime="containerd 2", snapshotter="overlayfs").adopt(IMAGES, second)
    assert not Stores(folder=stores.folder, runtime="containerd 1", snapshotter="native").adopt(IMAGES, second)
    assert list(second.iterdir()) == []


def test_what_cannot_be_linked_is_left_out_without_a_trace(
    stores: Stores, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stores.keep(IMAGES, root)
    second = fresh(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    assert not stores.adopt(IMAGES, second)
    assert list(second.iterdir()) == []
    assert not stores.keep({"here/a:1": "sha256:aa"}, root)
    assert len(list(stores.folder.iterdir())) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "first", "second"]


def test_databases_that_are_written_to_are_not_kept(stores: Stores, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = root / SNAPSHOTS / "metadata.db"
    moments = iter(range(100))
    monkeypatch.setattr(store, "_QUIET_TRIES", 3)
    monkeypatch.setattr("time.sleep", lambda _: database.write_text(str(next(moments))))
    assert not stores.keep(IMAGES, root)
    assert stores.best(IMAGES) is None


def test_stores_that_nobody_used_for_a_day_go(stores: Stores, root: Path) -> None:
    assert stores.keep({"here/a:1": "sha256:aa"}, root)
    (old,) = stores.folder.iterdir()
    os.utime(old, (0, 0))
    assert stores.keep(IMAGES, root)
    assert not old.exists()
    assert not stores.keep(IMAGES, root), "it is there already"
