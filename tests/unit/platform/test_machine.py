"""Sockets, identity, mounts, network requests, images and status: what reads the machine."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from local.images import box
from local.platform import identity, images, mounts, network, preflight, sockets, status
from local.platform.config import Forward, PlatformConfig
from local.platform.errors import PlatformError
from local.platform.layout import Layout
from tests.servers import eventually, free_port

if TYPE_CHECKING:
    from pathlib import Path


def forward(port: int, name: str = "apiserver") -> Forward:
    return Forward(name=name, port=port, target="10.111.0.1", target_port=1, scheme="https")


def test_a_taken_port_names_port_owner_and_remedy_and_leaves_nothing_open() -> None:
    free = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = int(holder.getsockname()[1])
        with pytest.raises(PlatformError, match=rf"Port {taken} .*process {os.getpid()} \(.*TRITON_FLEET_PORT_OFFSET"):
            sockets.bind_all([forward(free), forward(taken, "object-store")])
    with socket.socket() as again:
        again.bind(("127.0.0.1", free))


def test_bound_sockets_listen_on_loopback_only() -> None:
    ((_, listener),) = sockets.bind_all([forward(free_port())])
    with listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        assert not listener.get_inheritable()
        with socket.create_connection(listener.getsockname(), timeout=2):
            pass


def test_only_listeners_on_the_port_count() -> None:
    table = (
        "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
        "   0: 0100007F:403B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 111 1\n"
        "   1: 0100007F:403B 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 222 1\n"
        "   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 333 1\n"
    )
    assert sockets.listening_inodes(table, 0x403B) == {"111"}
    assert sockets.owner(free_port()) is None


@pytest.fixture
def sleeper() -> object:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def test_only_the_recorded_process_is_signalled(sleeper: subprocess.Popen[bytes]) -> None:
    true = identity.record(sleeper.pid, port_offset=0, control_plane_only=True)
    assert identity.is_alive(true)
    for stranger in (
        replace(true, start_time=true.start_time - 1),
        replace(true, boot_id="another boot"),
        replace(true, namespaces={**true.namespaces, "pid": 1}),
    ):
        assert not identity.is_alive(stranger)
        assert not identity.send(stranger, signal.SIGKILL)
        assert identity.wait_gone(stranger, 0)
    assert sleeper.poll() is None
    assert not identity.wait_gone(true, 0)
    assert identity.send(true, signal.SIGKILL)
    assert identity.wait_gone(true, 30)
    sleeper.wait(30)
    assert not identity.is_alive(true)
    assert not identity.send(true, signal.SIGKILL)


def test_a_zombie_is_not_alive() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    started = identity.start_time(pid)
    assert started is not None
    record = identity.NodeRecord(
        pid=pid,
        start_time=started,
        boot_id=identity.boot_id(),
        namespaces=identity.namespaces(os.getpid()),
        port_offset=0,
        control_plane_only=False,
    )
    assert not identity.is_alive(record)
    os.waitpid(pid, 0)


def test_a_record_survives_its_file_and_a_torn_one_is_none(tmp_path: Path) -> None:
    path = tmp_path / "node.json"
    assert identity.NodeRecord.read(path) is None
    record = identity.record(os.getpid(), port_offset=5, control_plane_only=True)
    path.write_text(record.to_json(), encoding="utf-8")
    assert identity.NodeRecord.read(path) == record
    path.write_text(record.to_json()[:20], encoding="utf-8")
    assert identity.NodeRecord.read(path) is None
    path.write_text(json.dumps({"pid": 1}), encoding="utf-8")
    assert identity.NodeRecord.read(path) is None


def test_the_start_time_is_now_for_a_new_process(sleeper: subprocess.Popen[bytes]) -> None:
    record = identity.record(sleeper.pid, port_offset=0, control_plane_only=True)
    assert abs(identity.started_at(record) - time.time()) < 60


def test_inhabitants_are_counted_by_namespace() -> None:
    record = identity.record(os.getpid(), port_offset=0, control_plane_only=True)
    assert os.getpid() in identity.inhabitants(record).values()
    assert identity.inhabitants(replace(record, namespaces={"pid": 1, "mnt": 1, "net": 1})) == {}


@pytest.mark.skipif(bool(box.unusable()), reason="namespaces can't be created here")
def test_a_newer_namespace_with_the_number_of_the_nodes_is_another_programs() -> None:
    with subprocess.Popen(["unshare", "--pid", "--mount", "--fork", "--kill-child", "sleep", "600"]) as process:
        first = eventually(lambda: box.first_pid(process), "process 1")
        node = identity.record(first, port_offset=0, control_plane_only=True)
        assert identity.inhabitants(node) == {1: first}
        assert identity.inhabitants(replace(node, start_time=node.start_time - 1)) == {}
        os.kill(first, signal.SIGKILL)


def test_only_what_would_be_hidden_is_mounted_again() -> None:
    assert mounts.needed_again(["/usr/bin", "/opt/x", "/home/u/.cache"]) == []
    assert mounts.needed_again(["/variable/x", "/running"]) == []
    assert mounts.needed_again(["/var/cache/tf/tools/a", "/var/cache/tf", "/run/user/0/tf", "/var/cache/tf"]) == [
        "/run/user/0/tf",
        "/var/cache/tf",
    ]


def test_the_route_request_is_a_struct_rtentry() -> None:
    request, keep = network.route_request("10.113.0.0/16", b"node0")
    assert len(request) >= 114  # x86_64 and aarch64: 120 with the padding at the end
    family, address = struct.unpack_from("=HH4s", request, 8)[0::2]
    assert (family, address) == (socket.AF_INET, bytes([10, 113, 0, 0]))
    assert struct.unpack_from("=4s", request, 8 + 32 + 4)[0] == bytes([255, 255, 0, 0])
    assert keep.value == b"node0"  # type: ignore[attr-defined]


def layout_tar(path: Path, index: object) -> Path:
    with tarfile.open(path, "w") as archive:
        content = json.dumps(index).encode()
        member = tarfile.TarInfo("index.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return path


def test_names_and_digests_of_an_image_file(tmp_path: Path) -> None:
    index = {
        "manifests": [
            {"digest": "sha256:1", "annotations": {"io.containerd.image.name": "a/b:1", "org.opencontainers.image.ref.name": "1"}},
            {"digest": "sha256:2", "annotations": {"org.opencontainers.image.ref.name": "c/d:2"}},
            {"digest": "sha256:3"},
        ]
    }
    assert images.contents(layout_tar(tmp_path / "x.tar", index)) == {"a/b:1": "sha256:1", "c/d:2": "sha256:2"}


@pytest.mark.parametrize("content", [b"", b"not a tar", b"\0" * 2048])
def test_a_file_that_is_no_image_says_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.tar"
    path.write_bytes(content)
    with pytest.raises(PlatformError, match=r"broken.tar is not an OCI image layout"):
        images.contents(path)


def test_the_listing_of_ctr() -> None:
    text = (
        "REF                             TYPE                                       DIGEST       SIZE     PLATFORMS   LABELS\n"
        "triton-fleet.local/pause:3.10   application/vnd.oci.image.manifest.v1+json sha256:86 1.9 MiB  linux/amd64 io.cri=managed\n"
    )
    assert images.parse_listing(text) == {"triton-fleet.local/pause:3.10": "sha256:86"}
    assert images.parse_listing("REF TYPE\n") == {}


def test_only_absent_or_changed_images_are_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def file(name: str, digest: str) -> Path:
        index = {"manifests": [{"digest": digest, "annotations": {"io.containerd.image.name": name}}]}
        return layout_tar(tmp_path / f"{name}.tar", index)

    same, changed, absent = file("same", "sha256:1"), file("changed", "sha256:2"), file("absent", "sha256:3")
    importer = images.Importer(1, "ctr")
    monkeypatch.setattr(importer, "present", lambda: {"same": "sha256:1", "changed": "sha256:9"})
    assert importer.missing([same, changed, absent]) == [changed, absent]


def test_a_stopped_instance_has_a_status_too(tmp_path: Path) -> None:
    found = status.read(PlatformConfig(root=tmp_path / "none"))
    assert (found.phase, found.running, found.components) == ("stopped", False, ())
    assert str(found) == "platform dev: stopped"


def test_status_reads_the_supervisors_words(tmp_path: Path) -> None:
    config = PlatformConfig(root=tmp_path, control_plane_only=True)
    layout = Layout(tmp_path)
    layout.create()
    layout.node_record.write_text(identity.record(os.getpid(), port_offset=0, control_plane_only=True).to_json(), encoding="utf-8")
    assert status.read(config).phase == "starting"

    def say(age_s: float = 0.0, *, ready: bool = True, restarts: int = 0, phase: str = "running") -> None:
        inside = next(
            number
            for number, outside in identity.inhabitants(identity.record(os.getpid(), port_offset=0, control_plane_only=True)).items()
            if outside == os.getpid()
        )
        word = {"name": "etcd", "pid": inside, "started_at": time.time() - 3700, "restarts": restarts, "ready": ready, "last_end": None}
        layout.status.write_text(
            json.dumps({"phase": phase, "time": time.time() - age_s, "notes": ["n"], "components": [word]}), encoding="utf-8"
        )

    say()
    found = status.read(config)
    assert found.running
    assert found.components[0].pid == os.getpid()
    text = str(found)
    assert "etcd" in text
    assert "1 h 1 min" in text
    assert "note: n" in text
    assert "https://127.0.0.1:16443" in text
    say(ready=False)
    assert status.read(config).phase == "starting"
    say(ready=False, restarts=2)
    assert status.read(config).phase == "degraded"
    say(age_s=3600)
    assert status.read(config).phase == "hung"
    say(phase="stopping")
    assert status.read(config).phase == "stopping"


def test_a_check_says_what_to_do_only_when_it_fails() -> None:
    good = preflight.Check(name="disk", ok=True, detail="lots", remedy="free some")
    assert str(good) == "ok   disk: lots"
    assert str(replace(good, ok=False)) == "FAIL disk: lots. free some"
    optional = replace(good, ok=False, required=False)
    assert str(optional).startswith("note")
    assert preflight.failures([good, optional, replace(good, ok=False)]) == [replace(good, ok=False)]


def test_without_root_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from local.platform import Platform  # noqa: PLC0415

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    platform = Platform(PlatformConfig(root=tmp_path / "s"))
    with pytest.raises(PlatformError, match=r"uid 1000(.|\n)*make up KUBE_CONTEXT=kind-x"):
        platform.start()
    assert not (tmp_path / "s").exists()


def test_on_another_system_the_error_names_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from local.platform import Platform  # noqa: PLC0415

    monkeypatch.setattr(sys, "platform", "darwin")
    platform = Platform(PlatformConfig(root=tmp_path / "s"))
    with pytest.raises(PlatformError, match=r"this is darwin(.|\n)*make up KUBE_CONTEXT=kind-x"):
        platform.start()


def test_stopping_what_never_ran_is_quiet(tmp_path: Path) -> None:
    from local.platform import Platform  # noqa: PLC0415

    Platform(PlatformConfig(root=tmp_path / "s")).stop()
    assert not (tmp_path / "s").exists()


def test_inotify_is_counted_for_this_user(monkeypatch: pytest.MonkeyPatch) -> None:
    config = PlatformConfig()
    found = preflight._inotify(config)
    free = int(found.detail.split()[0])
    limit = int(found.detail.split()[2])
    assert 0 <= free <= limit
    assert found.ok == (free >= preflight.INOTIFY_NODE)
    monkeypatch.setattr(preflight, "INOTIFY_NODE", limit + 1)
    assert not preflight._inotify(config).ok
