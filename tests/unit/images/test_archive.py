"""Trees, the OCI archive and the little ELF reader."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from local.images import elf
from local.images.oci import ImageConfig, write_image
from local.images.packages import compile_python
from local.images.tree import Tree

if TYPE_CHECKING:
    from pathlib import Path


def small_tree(extra: str = "") -> Tree:
    tree = Tree()
    tree.file("usr/bin/tool", b"#!/bin/sh\n" + extra.encode(), 0o755)
    tree.file("etc/motd", "grüße\n")
    tree.link("usr/bin/alias", "tool")
    tree.folder("tmp", 0o1777)
    tree.folder("data", owner=65534)
    return tree


def members(tree: Tree) -> list[tarfile.TarInfo]:
    stream = io.BytesIO()
    tree.write(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        return tar.getmembers()


def image(*layers: Tree, config: ImageConfig | None = None) -> tuple[bytes, str]:
    stream = io.BytesIO()
    digest = write_image(
        stream,
        reference="example.local/tool:1",
        layers=layers,
        config=config or ImageConfig(entrypoint=("/usr/bin/tool",)),
        architecture="amd64",
    )
    return stream.getvalue(), digest


def contents(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
        return {info.name: (tar.extractfile(info) or io.BytesIO()).read() for info in tar.getmembers()}


def document(data: bytes) -> Any:
    return json.loads(data)


# ------------------------------------------------------------------------------------------------ trees
def test_tree_is_written_sorted_with_parents_and_without_times_or_names() -> None:
    found = members(small_tree())
    assert [info.name for info in found] == ["data", "etc", "etc/motd", "tmp", "usr", "usr/bin", "usr/bin/alias", "usr/bin/tool"]
    assert {(info.mtime, info.uname, info.gname) for info in found} == {(0, "", "")}
    by_name = {info.name: info for info in found}
    assert by_name["tmp"].mode == 0o1777
    assert (by_name["data"].uid, by_name["data"].gid) == (65534, 65534)
    assert by_name["usr/bin/alias"].linkname == "tool"


def test_paths_through_the_links_of_root_land_in_usr() -> None:
    tree = Tree()
    tree.merge_links()
    tree.file("/lib/x86_64-linux-gnu/libc.so.6", b"c")
    tree.file("bin/sh", b"s")
    assert "usr/lib/x86_64-linux-gnu/libc.so.6" in tree
    assert tree.read("/bin/sh") == b"s"
    static = Tree()
    static.file("bin/prometheus", b"p")  # an image without those links has real folders
    assert [path for path, _ in static.items()] == ["bin", "bin/prometheus"]
    assert [info.name for info in members(tree) if info.name.startswith("bin")] == ["bin"]


def test_later_additions_replace_and_remove_takes_what_is_below() -> None:
    tree = small_tree()
    tree.file("etc/motd", "new")
    assert tree.read("etc/motd") == b"new"
    tree.remove("usr")
    tree.remove("not/there")
    assert [path for path, _ in tree.items()] == ["data", "etc", "etc/motd", "tmp"]
    with pytest.raises(IsADirectoryError):
        tree.read("tmp")


def test_files_on_disk_are_read_when_the_tar_is_written(tmp_path: Path) -> None:
    source = tmp_path / "program"
    tree = Tree()
    tree.file("program", source, 0o755)
    source.write_bytes(b"x" * 100_000)
    stream = io.BytesIO()
    tree.write(stream)
    stream.seek(0)
    with tarfile.open(fileobj=stream) as tar:
        assert (tar.extractfile("program") or io.BytesIO()).read() == b"x" * 100_000


def test_names_longer_than_a_tar_header_survive() -> None:
    tree = Tree()
    path = "/".join(["folder" * 5] * 10) + "/file-ü"
    tree.file(path, b"1")
    assert members(tree)[-1].name == path


# ------------------------------------------------------------------------------------------------ the archive
def test_every_blob_is_named_by_its_digest_and_descriptors_agree() -> None:
    data, digest = image(small_tree(), small_tree("second"))
    files = contents(data)
    assert document(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    blobs = {name: blob for name, blob in files.items() if name.startswith("blobs/sha256/")}
    assert all(hashlib.sha256(blob).hexdigest() == name.rpartition("/")[2] for name, blob in blobs.items())
    (entry,) = document(files["index.json"])["manifests"]
    assert entry["digest"] == digest
    assert entry["annotations"] == {"io.containerd.image.name": "example.local/tool:1", "org.opencontainers.image.ref.name": "1"}
    manifest = document(blobs["blobs/" + digest.replace(":", "/")])
    assert all(
        len(blobs["blobs/" + part["digest"].replace(":", "/")]) == part["size"] for part in [manifest["config"], *manifest["layers"]]
    )
    config = document(blobs["blobs/" + manifest["config"]["digest"].replace(":", "/")])
    # Uncompressed layers: what runtimes call diff ID is the blob's own digest.
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
    assert len(manifest["layers"]) == 2


def test_config_says_how_the_image_runs_and_leaves_out_what_is_not_set() -> None:
    config = ImageConfig(
        entrypoint=("/a",), command=("b",), environment={"X": "1"}, user="65534", folder="/w", ports=(53,), title="t", version="v"
    )
    document_ = config.document("arm64", ["sha256:0"])
    assert document_["architecture"] == "arm64"
    assert document_["config"] == {
        "WorkingDir": "/w", "Env": ["X=1"], "Entrypoint": ["/a"], "Cmd": ["b"], "User": "65534", "ExposedPorts": {"53/tcp": {}},
        "Labels": {"org.opencontainers.image.title": "t", "org.opencontainers.image.version": "v"},
    }  # fmt: skip
    assert not {"Entrypoint", "Cmd", "User", "ExposedPorts"} & set(ImageConfig().document("amd64", [])["config"])


def test_same_inputs_give_the_same_bytes_and_others_another_digest() -> None:
    assert image(small_tree()) == image(small_tree())
    assert image(small_tree())[1] != image(small_tree("x"))[1]
    assert image(small_tree())[1] != image(small_tree(), config=ImageConfig(user="1"))[1]


def test_bytecode_does_not_depend_on_the_process_that_compiles(project: Path) -> None:
    script = """
import hashlib, io, random, sys
from pathlib import Path
from local.images.packages import compile_python
from local.images.tree import Tree
held = [sys.intern(f"name_{n}") for n in range(random.randrange(1000))]
tree = Tree()
for source in sorted(Path("local/images").glob("*.py")) + [Path("local/progress.py")]:
    tree.file(f"usr/lib/python/{source.name}", source.read_bytes())
compile_python(tree, "{}.{}".format(*sys.version_info), ("usr/lib/python/",))
stream = io.BytesIO()
tree.write(stream)
print(len(list(tree.items())), hashlib.sha256(stream.getvalue()).hexdigest())
"""
    outputs = {
        subprocess.run(
            [sys.executable, "-c", script], cwd=project, env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(outputs) == 1
    assert int(outputs.pop().split()[0]) > 15  # sources and bytecode


def test_the_image_s_own_python_compiles_where_another_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "python3.99").symlink_to(sys.executable)
    for path, compiled in ((str(tmp_path), True), ("", False)):
        monkeypatch.setenv("PATH", path)
        tree = Tree()
        tree.file("usr/lib/a.py", b"x = 1\n")
        compile_python(tree, "3.99", ("usr/",))
        assert (f"usr/lib/__pycache__/a.{sys.implementation.cache_tag}.pyc" in tree) == compiled


# ------------------------------------------------------------------------------------------------ ELF
def test_a_python_program_wants_a_loader_and_libc() -> None:
    with open(sys.executable, "rb") as stream:  # noqa: PTH123 - may be a link
        parsed = elf.parse(stream.read())
    assert parsed is not None
    assert parsed.interpreter
    assert any(name.startswith("libc.so") for name in parsed.needed)


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100)])
def test_what_is_no_elf_file_is_none(data: bytes) -> None:
    assert elf.parse(data) is None


def test_a_damaged_elf_file_is_an_error() -> None:
    header = b"\x7fELF\x02\x01\x01" + bytes(9) + bytes.fromhex("0200 3e00 01000000") + bytes(8) + (1 << 20).to_bytes(8, "little") + bytes(8)
    header += bytes(4) + (64).to_bytes(2, "little") + (56).to_bytes(2, "little") + (3).to_bytes(2, "little") + bytes(6)
    with pytest.raises(ValueError, match="corrupt ELF"):
        elf.parse(header)
