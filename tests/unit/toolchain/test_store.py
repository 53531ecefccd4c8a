"""Locks, staging and publishing."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from local.toolchain.errors import ToolchainError
from local.toolchain.store import Store, remove

ROOT = Path(__file__).resolve().parents[3]


def silent(_: str) -> None:
    pass


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = Store(tmp_path, silent)
    with store.lock("thing"), store.staging("thing") as staging:
        (staging / "tree").mkdir()
        (staging / "tree" / "file").write_text("x")
        assert not store.tools.exists()
        store.publish(staging / "tree", store.tools / "thing-1")
    assert (store.tools / "thing-1" / "file").read_text() == "x"
    assert list((tmp_path / "staging").iterdir()) == []


def test_what_is_there_already_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, silent)
    for text in ("first", "second"):
        with store.staging("thing") as staging:
            (staging / "tree").mkdir()
            (staging / "tree" / "file").write_text(text)
            store.publish(staging / "tree", store.tools / "thing-1")
    assert (store.tools / "thing-1" / "file").read_text() == "first"


def stage(root: Path, trouble: Exception) -> None:
    with Store(root, silent).staging("thing") as staging:
        (staging / "half").write_text("x")
        raise trouble


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        stage(tmp_path, RuntimeError())
    assert list((tmp_path / "staging").iterdir()) == []


def test_a_full_disk_is_told_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match=r"disk is full.*TRITON_FLEET_CACHE.*continues where it stopped"):
        stage(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    assert list((tmp_path / "staging").iterdir()) == []


KILLED = """
import sys, time
from pathlib import Path
from local.toolchain.store import Store
store = Store(Path(sys.argv[1]), print)
with store.lock("thing"), store.staging("thing") as staging:
    (staging / "half").write_text("x")
    print("staged", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock_and_no_leftovers(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"staged\n"
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(list((tmp_path / "staging").iterdir())) == 1
    store = Store(tmp_path, silent)
    with store.lock("thing"), store.staging("thing") as staging:
        assert list((tmp_path / "staging").iterdir()) == [staging]


def test_waiting_for_another_process_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    told = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        told.set()

    with subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"staged\n"
        entered = threading.Event()

        def enter() -> None:
            with Store(tmp_path, say).lock("thing"):
                entered.set()

        thread = threading.Thread(target=enter)
        thread.start()
        assert told.wait(30)
        assert not entered.is_set()
        child.kill()
        child.wait()
    thread.join(30)
    assert entered.is_set()
    assert said == [f"Another process is getting thing right now (pid {child.pid}); waiting for it."]


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    store = Store(tmp_path, silent)
    inside = 0
    most = 0
    guard = threading.Lock()

    def work() -> None:
        nonlocal inside, most
        for _ in range(5):
            with store.lock("thing"):
                with guard:
                    inside += 1
                    most = max(most, inside)
                os.sched_yield()
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_remove_takes_read_only_trees(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").write_text("x")
    folder.chmod(0o500)
    (tmp_path / "a").chmod(0o500)
    remove(tmp_path / "a")
    remove(tmp_path / "not there")
    assert not (tmp_path / "a").exists()
