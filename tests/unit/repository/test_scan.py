"""What a folder of models becomes, and which folders are refused."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.base.errors import FleetError
from components.repository.scan.folder import PLACEHOLDER, scan
from components.repository.scan.plan import parse_sums
from components.repository.store.objects import crc32c

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parents[3]
ENSEMBLE = 'name: "pipeline"\nplatform: "ensemble"\nensemble_scheduling { step [] }\n'


def write(folder: Path, *files: str, content: str = "content") -> None:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if not file.endswith(".pbtxt") else 'backend: "python"\n', encoding="utf-8")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    models = tmp_path / "models"
    write(models, "one/config.pbtxt", "one/1/model.py", "two/config.pbtxt", "two/1/model.py", "two/2/model.py")
    return models


def problems(folder: Path, *models: str) -> tuple[str, ...]:
    with pytest.raises(FleetError) as caught:
        scan(folder, models or None)
    return tuple(map(str, caught.value.problems))


def test_the_projects_own_models_are_good() -> None:
    plan = scan(ROOT / "models")
    assert {"add_sub", "busy", "upper"} <= set(plan.models)


def test_plan_of_a_folder(folder: Path) -> None:
    plan = scan(folder)
    assert [file.path for file in plan.files] == [
        "one/1/model.py",
        "one/config.pbtxt",
        "two/1/model.py",
        "two/2/model.py",
        "two/config.pbtxt",
    ]
    assert list(plan.models) == ["one", "two"]
    assert len(plan.digest) == 64
    assert sum(plan.sizes.values()) == sum(file.size for file in plan.files) > 0


def test_only_named_models(folder: Path) -> None:
    plan = scan(folder, ["two"])
    assert list(plan.models) == ["two"]
    assert plan.digest != scan(folder).digest
    assert plan.models["two"] == scan(folder).models["two"]


def test_digest_is_the_same_for_ever(tmp_path: Path) -> None:
    """Else an upgrade of this program would publish all models anew. Names that sort before and after the slash are among them."""
    for name in ("a", "a-b", "a.b"):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "1" / "model.py").write_text(f"{name}\n")
        (tmp_path / name / "config.pbtxt").write_text('backend: "python"\n')
    assert scan(tmp_path).digest == "18203dd4dc9f424976eaf7b677d9544d6b922e4815fc23a1d53c271e9cfd3a11"


def test_digest_is_of_paths_and_contents_only(folder: Path, tmp_path: Path) -> None:
    before = scan(folder)
    other = tmp_path / "elsewhere"
    shutil.copytree(folder, other)
    os.utime(other / "one/1/model.py", (1, 1))
    (other / "one/1/model.py").chmod(0o755)
    write(other, "one/1/__pycache__/model.cpython-311.pyc", "one/.DS_Store", ".git/config")
    assert scan(other).digest == before.digest
    assert scan(folder, ["two", "one"]).digest == before.digest


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "one/1/model.py").write_text("contenT"),
        lambda folder: (folder / "one/1/model.py").rename(folder / "one/1/other.py"),
        lambda folder: write(folder, "one/1/more.txt", content=""),
        lambda folder: (folder / "two/2").rename(folder / "two/3"),
    ],
)
def test_digest_tells_every_change(folder: Path, change: Callable[[Path], object]) -> None:
    before = scan(folder)
    change(folder)
    assert scan(folder).digest != before.digest


def test_a_link_inside_is_followed(folder: Path) -> None:
    (folder / "two/2/model.py").unlink()
    (folder / "two/2/model.py").symlink_to(folder / "one/1/model.py")
    assert "two/2/model.py" in [file.path for file in scan(folder).files]


def test_an_empty_version_of_an_ensemble_becomes_an_object(folder: Path) -> None:
    (folder / "pipeline/1").mkdir(parents=True)
    (folder / "pipeline/1/.gitkeep").touch()
    (folder / "pipeline/config.pbtxt").write_text(ENSEMBLE, encoding="utf-8")
    plan = scan(folder, ["pipeline"])
    (placeholder,) = [file for file in plan.files if file.source is None]
    assert (placeholder.path, placeholder.size) == (f"pipeline/1/{PLACEHOLDER}", 0)


def test_a_model_that_describes_itself_needs_no_config(folder: Path) -> None:
    write(folder, "net/1/model.onnx")
    assert "net" in scan(folder).models


def test_missing_folder(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path / "nowhere")
    assert problem.startswith(f"triton-fleet:repository.source ({tmp_path / 'nowhere'}) is not a folder: there are no models to upload.")


def test_empty_folder(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path)
    assert "holds no model folder: there is nothing to serve" in problem


def test_a_model_that_is_named_but_absent(folder: Path) -> None:
    (problem,) = problems(folder, "one", "three")
    assert problem.startswith("triton-fleet:repository.models names three")
    assert "Found: one, two." in problem


def test_no_version_folder(folder: Path) -> None:
    shutil.rmtree(folder / "one/1")
    write(folder, "one/model.py", "one/01/model.py")  # Triton skips versions with a leading zero
    (problem,) = problems(folder)
    assert "models/one has no version folder: Triton would not serve one as intended. Put the model into" in problem


def test_no_version_folder_of_an_ensemble(folder: Path) -> None:
    (folder / "pipeline").mkdir()
    (folder / "pipeline/config.pbtxt").write_text(ENSEMBLE, encoding="utf-8")
    (problem,) = problems(folder)
    assert "has no version folder" in problem
    assert "an ensemble needs an empty folder" in problem


def test_empty_version_of_another_kind(folder: Path) -> None:
    (folder / "one/2").mkdir()
    assert [(file.path, file.source) for file in scan(folder).files if file.path.startswith("one/2")] == [(f"one/2/{PLACEHOLDER}", None)]


def test_link_out_of_the_repository(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    (folder / "one/1/weights").symlink_to(tmp_path / "secret")
    (problem,) = problems(folder)
    assert f"models/one/1/weights is a link to {tmp_path / 'secret'}, outside the repository" in problem


def test_link_to_nothing_and_around(folder: Path) -> None:
    (folder / "one/1/gone").symlink_to(folder / "one/1/nothing")
    (folder / "two/1/loop").symlink_to(folder / "two")
    found = problems(folder)
    assert "models/one/1/gone is a broken link" in found[0]
    assert "models/two/1/loop is a link to one of its parent folders" in found[1]


def test_a_version_that_is_a_link_to_itself(folder: Path) -> None:
    (folder / "one/2").symlink_to("2")
    (problem,) = problems(folder)
    assert "models/one/2 is a broken link" in problem


def test_git_lfs_pointer(folder: Path) -> None:
    (folder / "one/1/weights.bin").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    (problem,) = problems(folder)
    assert (
        "models/one/1/weights.bin is a Git LFS pointer, not the model: Triton would not serve one as intended. Run `git lfs pull`."
        in problem
    )


@pytest.mark.parametrize("name", ["line\nbreak", "back\\slash", "bell\x07"])
def test_names_that_stores_read_differently(folder: Path, name: str) -> None:
    (folder / "one/1" / name).touch()
    (problem,) = problems(folder)
    assert "has a control character or backslash in its name" in problem


def test_a_name_that_is_not_utf8(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder / "one/1") + b"/bad\xff")).touch()
    (problem,) = problems(folder)
    assert "has a name that is not UTF-8" in problem
    assert problem.encode()


def test_a_model_name_that_labels_cannot_carry(folder: Path) -> None:
    write(folder, "my model/config.pbtxt", "my model/1/model.py")
    (problem,) = problems(folder)
    assert "models/my model has a name that is not valid in object keys, URLs or metric labels" in problem


def test_a_path_that_is_too_long(folder: Path) -> None:
    write(folder, "/".join(["one/1", *["d" * 200] * 4, "model.py"]))
    (problem,) = problems(folder)
    assert "has a path of" in problem


def test_neither_file_nor_folder(folder: Path) -> None:
    os.mkfifo(folder / "one/1/pipe")
    (problem,) = problems(folder)
    assert "models/one/1/pipe is neither a file nor a folder" in problem


def test_all_problems_at_once(folder: Path) -> None:
    (folder / "one/1/model.py").write_text("version https://git-lfs.github.com/spec/v1\n")
    shutil.rmtree(folder / "two")
    (folder / "two").mkdir()
    assert len(problems(folder, "one", "two", "three")) == 3


# ------------------------------------------------------------------ anything at all
NAMES = st.one_of(
    st.sampled_from(
        ["1", "2", "01", "config.pbtxt", "model.py", ".git", "a~", "..a", "x.pyc", "one", "two", "ü", "a b", "line\nbreak", "b\\c"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
        lambda name: name not in {".", ".."}
    ),
    st.binary(min_size=1, max_size=6)
    .filter(lambda name: b"/" not in name and b"\0" not in name and name not in {b".", b".."})
    .map(os.fsdecode),
)
KINDS = st.sampled_from(
    ["file", "file", "empty", "folder", "folder", "pointer", "ensemble", "inside", "outside", "loop", "nothing", "fifo", "closed"]
)


def grow(root: Path, outside: Path, steps: list[tuple[list[str], str, bytes]]) -> None:
    for parts, kind, content in steps:
        path = root.joinpath(*parts)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            match kind:
                case "folder":
                    path.mkdir()
                case "inside":
                    path.symlink_to(root / "one")
                case "outside":
                    path.symlink_to(outside)
                case "loop":
                    path.symlink_to(path.parent)
                case "nothing":
                    path.symlink_to(path.name)
                case "fifo":
                    os.mkfifo(path)
                case _:
                    text = {"empty": b"", "pointer": b"version https://git-lfs.github.com/spec/v1\n", "ensemble": b'platform: "ensemble"\n'}
                    with path.open("xb") as stream:  # over a pipe that is there already it would wait for a reader
                        stream.write(text.get(kind, content))
                    if kind == "closed":
                        path.chmod(0)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.tuples(st.lists(NAMES, min_size=1, max_size=4), KINDS, st.binary(max_size=64)), max_size=14))
def test_no_folder_makes_it_crash_or_leave_the_folder(steps: list[tuple[list[str], str, bytes]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root, outside = Path(name) / "models", Path(name) / "outside"
        root.mkdir()
        (outside / "1").mkdir(parents=True)
        (outside / "1" / "secret").write_text("secret")
        grow(root, outside, steps)
        try:
            plan = scan(root)
        except FleetError as error:
            for problem in map(str, error.problems):
                problem.encode()  # it can be printed
                assert "triton-fleet:repository" in problem
            return
        for file in plan.files:
            assert not file.path.startswith("/")
            assert ".." not in file.path.split("/")
            if file.source is not None:
                real = Path(file.source).resolve()
                assert real.is_relative_to(root.resolve())
                assert hashlib.sha256(real.read_bytes()).hexdigest() == file.sha256
                assert crc32c(real.read_bytes()) == file.crc32c
        assert plan == scan(root)
        assert parse_sums(plan.sums) == [file._replace(source=None, crc32c="", modified_ns=0) for file in plan.files]


def test_a_model_that_is_a_link_out_of_the_repository(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", "config.pbtxt", "1/model.py")
    (folder / "three").symlink_to(tmp_path / "elsewhere")
    (problem,) = problems(folder)
    assert f"{folder / 'three'} is a link to {tmp_path / 'elsewhere'}, outside the repository" in problem


def test_large_files_have_the_digests_of_their_content(folder: Path) -> None:
    for number in range(5):
        (folder / f"one/1/{number}.bin").write_bytes(os.urandom((1 << 20) + number))
    for file in scan(folder).files:
        content = Path(file.source or "").read_bytes()
        assert (file.size, file.sha256, file.crc32c) == (len(content), hashlib.sha256(content).hexdigest(), crc32c(content))
