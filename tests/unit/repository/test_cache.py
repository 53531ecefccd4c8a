"""Digests that are remembered: nothing unchanged is read again, nothing changed is missed, and damage costs a read and no more."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from components.repository.scan.cache import ScanCache, open_cache
from components.repository.scan.folder import scan

OLD_NS = 1_600_000_000 * 10**9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    (root / "one/1").mkdir(parents=True)
    for name in ("config.pbtxt", "1/model.py", "1/weights"):
        (root / "one" / name).write_text(f'backend: "python" # {name}\n')
        os.utime(root / "one" / name, ns=(OLD_NS, OLD_NS))
    return root


def cache(folder: Path, **environ: str) -> ScanCache:
    return open_cache(folder, {"XDG_CACHE_HOME": str(folder.parent / "cache"), **environ})


def reads(folder: Path, **environ: str) -> int:
    known = cache(folder, **environ)
    plan = scan(folder, None, known)
    assert plan == scan(folder)
    return known.reads


def test_nothing_is_read_twice(folder: Path) -> None:
    assert [reads(folder) for _ in range(3)] == [3, 0, 0]


def test_the_same_folder_by_another_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reads(folder) == 3
    monkeypatch.chdir(folder.parent)
    known = open_cache(Path("models"), {"XDG_CACHE_HOME": str(folder.parent / "cache")})
    scan(Path("models"), None, known)
    assert known.reads == 0


def test_all_is_read_on_request(folder: Path) -> None:
    assert [reads(folder), reads(folder, TRITON_FLEET_VERIFY="1"), reads(folder, TRITON_FLEET_VERIFY="0")] == [3, 3, 0]
    known = open_cache(folder, {"XDG_CACHE_HOME": str(folder.parent / "cache")}, verify=True)
    scan(folder, None, known)
    assert known.reads == 3


def test_a_change_is_seen(folder: Path) -> None:
    reads(folder)
    file = folder / "one/1/weights"
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    os.utime(file, ns=(OLD_NS + 1, OLD_NS + 1))
    assert reads(folder) == 1
    # Replaced by another file of the same size and time: another inode.
    other = file.with_name("other")
    other.write_bytes(file.read_bytes()[:-1] + b"Y")
    os.utime(other, ns=(OLD_NS + 1, OLD_NS + 1))
    other.replace(file)
    assert reads(folder) == 1


def test_a_file_just_written_is_not_believed(folder: Path) -> None:
    """It may change again without its time of change showing it."""
    (folder / "one/1/weights").write_text("new")
    assert [reads(folder), reads(folder)] == [3, 1]


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 100, None])
def test_damage_costs_a_read(folder: Path, damage: bytes | None) -> None:
    reads(folder)
    (file,) = (folder.parent / "cache/triton-fleet/scan").glob("*.sqlite")
    content = file.read_bytes()
    file.write_bytes(content[:1000] + os.urandom(len(content) - 1000) if damage is None else damage)
    assert reads(folder) == 3
    assert reads(folder) == 0


def test_a_cache_that_cannot_be_written(folder: Path) -> None:
    (folder.parent / "cache").write_text("in the way")
    assert [reads(folder), reads(folder)] == [3, 3]


def test_several_at_once(folder: Path) -> None:
    for number in range(200):
        (folder / "one/1" / str(number)).write_text(str(number))
        os.utime(folder / "one/1" / str(number), ns=(OLD_NS, OLD_NS))
    failed: list[BaseException] = []

    def run() -> None:
        try:
            for _ in range(3):
                reads(folder)
        except BaseException as error:  # noqa: BLE001 (told below)
            failed.append(error)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert reads(folder) == 0


def test_files_that_are_gone_are_forgotten(folder: Path) -> None:
    reads(folder)
    (folder / "one/1/weights").unlink()
    reads(folder)
    assert len(cache(folder)._kept) == 2
    assert time.time_ns() > OLD_NS
