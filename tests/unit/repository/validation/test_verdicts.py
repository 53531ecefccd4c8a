"""The comparison with a real tritonserver (tests/verdicts) finds what is planted, and only that."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.conftest import lacks
from tests.unit.repository.validation.cases import BATCH, GOOD, IN, OUT, warmup
from tests.verdicts import judges, report, roots
from tests.verdicts.__main__ import Comparison

if TYPE_CHECKING:
    from pathlib import Path

    from local.images import box

BROKEN = BATCH + IN.replace("[ 4 ]", "[ 0 ]") + OUT
GPU = GOOD + "instance_group [ { kind: KIND_GPU gpus: [ 0 ] } ]\n"


def write(folder: Path, **configs: str) -> Path:
    for name, config in configs.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "config.pbtxt").write_text(config.replace("NAME", name))
    return folder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    if shutil.which("cc") is None:
        lacks("no C compiler (cc) for the backend that does nothing")
    folder = tmp_path / "work"
    folder.mkdir()
    for path in (folder, *folder.parents[:2]):
        path.chmod(0o755)  # the server runs as another user
    return folder


def test_repositories_and_loose_configurations_are_found(tmp_path: Path) -> None:
    write(tmp_path / "a" / "models", one=GOOD, two=GOOD)
    write(tmp_path / "b", one=GPU)
    (tmp_path / "b" / "bare" / "1").mkdir(parents=True)
    (tmp_path / "b" / "bare" / "1" / "model.onnx").touch()
    for name in ("x", "y"):
        (tmp_path / f"{name}_config.pbtxt").write_text(GOOD.replace("NAME", "same") + f"# {name}\n")
    (tmp_path / "graph.pbtxt").write_text('node {\n name: "x" attr { key: "backend" }\n}\n')
    found = roots.find(tmp_path)
    assert [(root.is_loose, sorted(root.models)) for root in found] == [
        (False, ["one", "two"]),
        (False, ["bare", "one"]),
        (True, ["same"]),
        (True, ["same"]),
    ]
    assert sum(len(root.models) for root in roots.find(tmp_path, each=True)) == 4 + 2 + 3  # of the three in repositories, none is equal


def test_a_copy_runs_on_a_processor_and_has_a_version(tmp_path: Path) -> None:
    write(tmp_path / "models", gpu=GPU, versions=GOOD + "version_policy { specific { versions: [ 3 ] } }\n")
    (root,) = roots.find(tmp_path)
    roots.copy(root, tmp_path / "copy")
    assert "KIND_CPU" in (tmp_path / "copy/gpu/config.pbtxt").read_text()
    assert sorted(str(path.relative_to(tmp_path / "copy")) for path in tmp_path.glob("copy/*/*/*")) == [
        "gpu/1/model.py",
        "versions/3/model.py",
    ]
    assert (tmp_path / "models/gpu/config.pbtxt").read_text() == GPU.replace("NAME", "gpu")
    assert not any(judges.ours(tmp_path / "copy", roots.backends(tmp_path / "copy")).values())


def test_planted_differences_are_named(work: Path, tmp_path: Path, triton_box: box.Box) -> None:
    sample = warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } }')
    write(tmp_path / "models", accepted=BROKEN, fine=GOOD.replace("python", "made_up"), refused=GPU, warm=sample, broken=BROKEN)
    (root,) = roots.find(tmp_path)

    def ours(copied: Path, backends: frozenset[str]) -> dict[str, list[str]]:
        found = judges.ours(copied, backends)
        return found | {"accepted": [], "refused": ["refused/config.pbtxt:2: backend is planted: Triton would not load refused. Wait."]}

    found = Comparison(lambda: triton_box, work, tmp_path / "state", ours).verdicts(root)
    assert {verdict.model: verdict.agrees for verdict in found} == {
        "accepted": False, "broken": True, "fine": True, "refused": False, "warm": True,
    }  # fmt: skip
    text = report.text(found)
    refused, _, accepted = text.partition("We accept, Triton refuses: 1 models")
    assert "3 of 5 verdicts agree: both serve 2 models and refuse 1." in refused
    assert "We refuse, Triton serves: 1 models\n  1 x backend is planted\n" in refused
    assert "dimension must be integer >= 1, or -1" in accepted
    assert report.unexplained(found)


def test_a_server_that_ends_is_replaced_and_an_interrupted_run_goes_on(work: Path, tmp_path: Path, triton_box: box.Box) -> None:
    write(tmp_path / "models", before=GOOD, then=GOOD)
    (tmp_path / "models" / "deadly" / "config.pbtxt").mkdir(parents=True)
    (tmp_path / "models" / "deadly" / "1").mkdir()
    (tmp_path / "models" / "deadly" / "1" / "model.py").touch()
    (root,) = roots.find(tmp_path)
    state = tmp_path / "state"
    found = Comparison(lambda: triton_box, work, state).verdicts(root)
    assert {verdict.model: verdict.triton for verdict in found} == {"before": "", "deadly": judges.DIES, "then": ""}
    assert not report.unexplained(found)
    state.write_text(state.read_text() + '\n{"abc": {"mod')  # cut off

    def started() -> box.Box:
        raise AssertionError("the server's verdicts are known")

    assert Comparison(started, work, state).verdicts(root) == found


def copied(tmp_path: Path, **configs: str) -> Path:
    (root,) = roots.find(write(tmp_path / "from", **configs).parent)
    roots.copy(root, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize(("backend", "is_explained"), [("tensorrt", True), ("onnxruntime", False)])
def test_a_difference_is_explained_only_where_a_complete_backend_would_fill_in(tmp_path: Path, backend: str, is_explained: bool) -> None:
    root = copied(tmp_path, x=GOOD.replace("python", backend))
    found = judges.compare(root, "here", {"x": []}, {"x": "Invalid argument: model input 'IN' must specify 'dims' for x"})
    assert report.unexplained(found) != is_explained
    assert ("Explained: a backend that does nothing fills in no types and shapes: 1 models" in report.text(found)) == is_explained


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        ("x/1/model.onnx: is missing, but backend onnxruntime loads it: ...", "opens no file: 1 problems\n  1 x model.onnx: is missing"),
        ('x/config.pbtxt:3: parameters["EXECUTION_ENV_PATH"] (a) cannot be read: ...', "opens no file: 1 problems\n"),
        ("x/config.pbtxt: output is missing, but backend pytorch requires one: ...", "has no rules of its own: 1 problems\n"),
    ],
)
def test_what_the_server_cannot_see_is_not_compared(tmp_path: Path, problem: str, kind: str) -> None:
    (verdict,) = judges.compare(copied(tmp_path, x=GOOD), "here", {"x": [problem]}, {"x": judges.SERVES})
    assert verdict.agrees
    assert f"Not compared, because a backend that does nothing {kind}" in report.text([verdict])


def test_an_ensemble_has_the_problems_of_its_models(tmp_path: Path) -> None:
    root = copied(tmp_path, e='step { model_name: "inner" }', inner='step { model_name: "m" } step { model_name: "e" }', m=GOOD)
    ours = {"e": [], "inner": [], "m": ["m/config.pbtxt:1: is bad"]}
    found = judges.compare(root, "here", ours, {"e": "ensemble e contains models that are not available"})
    assert [verdict.ours for verdict in found] == [("m/config.pbtxt:1: is bad",)]
    assert json.dumps(vars(found[0]))
