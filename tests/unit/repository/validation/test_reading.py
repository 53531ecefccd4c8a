"""How the checks read: lazily, with bounds, inside the folder alone, and without ever failing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from components.repository.validation import Deployment, validate
from components.repository.validation.deployment import backends_of
from components.repository.validation.files import Repository
from components.repository.validation.reference import PAGE, page
from components.repository.validation.report import Report
from components.repository.validation.schema import schema
from components.repository.validation.text import MAX_BYTES, parse
from tests.unit.repository.validation.cases import CASES, CODE, ECHO, FINE, GOOD, Case

ROOT: Final = Path(__file__).resolve().parents[4]
DEPLOYMENTS: Final = (
    Deployment(key="cpu", image="triton-fleet.local/tritonserver:2.51.0-cpu", gpus=0),
    Deployment(key="gpu", image="nvcr.io/nvidia/tritonserver:26.07-py3", gpus=2, arguments=["--disable-auto-complete-config"]),
)


# ------------------------------------------------------------------------------------------------ cost
def test_importing_it_loads_no_protobuf_and_using_it_no_grpc() -> None:
    program = (
        "import sys; from pathlib import Path; from components.repository.validation import text, check\n"
        "first = 'components.repository.validation' in sys.modules and not any(name.startswith('tritonclient') for name in sys.modules)\n"
        "before = set(sys.modules); check.validate(Path('models')); new = set(sys.modules) - before\n"
        "sys.exit(0 if first and not any(name.split('.')[0] in ('grpc', 'tritonclient', 'numpy') for name in new) else 1)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT).returncode == 0


def test_schema_is_tritons() -> None:
    assert schema().ModelConfig.DESCRIPTOR.full_name == "inference.ModelConfig"
    assert schema() is schema()


# ------------------------------------------------------------------------------------------------ lines
TEXT: Final = """\
name: "x"   # name: "y"
input [
  { name: "A"
    dims: [ 1,
            2 ] },
  {
    name: "B" }
]
input { name: "C" }
parameters { key: "k" value { string_value: "}" } }
parameters [ { key: "l"
  value { string_value: 'a' "b" } } ]
"""


@pytest.mark.parametrize(
    ("field", "line"),
    [
        ("name", 1),
        ("input[0]", 3),
        ("input[0].dims", 4),
        ("input[0].dims[1]", 5),
        ("input[1].name", 7),
        ("input[1].dims", 6),
        ("input[2].name", 9),
        ("input[3]", None),
        ('parameters["k"]', 10),
        ('parameters["l"].string_value', 12),
        ("backend", None),
    ],
)
def test_line(field: str, line: int | None) -> None:
    report = Report("x")
    parse(TEXT, report)
    assert report.line(field) == line


# ------------------------------------------------------------------------------------------------ bounds
def test_a_huge_config_is_not_read(tmp_path: Path) -> None:
    Case(name="huge").write(tmp_path)
    with (tmp_path / "huge/config.pbtxt").open("wb") as stream:
        stream.truncate(1 << 40)  # a hole: takes no disk
    (problem,) = validate(tmp_path)
    assert str(problem).startswith(f"huge/config.pbtxt: is longer than {MAX_BYTES >> 20} MiB: Triton would not load huge.")


@pytest.mark.parametrize("backend", ["onnxruntime", "pytorch", "fil", "openvino", "tensorrt", "python"])
def test_huge_model_files_are_read_in_part(backend: str, tmp_path: Path) -> None:
    file = {"onnxruntime": "model.onnx", "pytorch": "model.pt", "fil": "xgboost.json", "openvino": "model.xml", "tensorrt": "model.plan"}
    Case(
        name="huge",
        config=GOOD.replace("python", backend) + 'parameters { key: "model_type" value { string_value: "xgboost_json" } }\n',
        files={f"1/{file.get(backend, 'model.py')}": "PK\x03\x04"},
    ).write(tmp_path)
    (path,) = (tmp_path / "huge/1").iterdir()
    os.truncate(path, 1 << 40)
    size = 0
    original = Path.open

    def count(self: Path, *arguments: object, **options: object) -> object:
        stream = original(self, *arguments, **options)  # type: ignore[call-overload]
        real = stream.read

        def counted(limit: int = -1) -> bytes:
            nonlocal size
            assert limit >= 0
            data: bytes = real(limit)
            size += len(data)
            return data

        wrapped = mock.MagicMock(wraps=stream)
        wrapped.__enter__.return_value = wrapped
        wrapped.__exit__.side_effect = lambda *_: stream.close()
        wrapped.read = counted
        return wrapped

    with mock.patch.object(Path, "open", count):
        validate(tmp_path, None, DEPLOYMENTS)
    assert 0 < size <= 10 << 20


# ------------------------------------------------------------------------------------------------ inside the folder
def test_nothing_outside_is_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("zzz_secret: 1\n")
    (outside / "config.pbtxt").write_text("zzz_secret: 1\n")
    models = tmp_path / "models"
    Case(name="linked").write(models)
    (models / "linked/config.pbtxt").unlink()
    (models / "linked/config.pbtxt").symlink_to(outside / "config.pbtxt")
    (models / "linked/1/model.py").unlink()
    (models / "linked/1/model.py").symlink_to("../../../outside/secret")
    Case(name="labels", config=GOOD.replace('"OUT"', '"OUT" label_filename: "../../outside/secret"')).write(models)
    (models / "whole").symlink_to(outside)
    (models / "pipe").mkdir()
    os.mkfifo(models / "pipe/config.pbtxt")
    opened: list[Path] = []
    original = Path.open

    def note(self: Path, *arguments: object, **options: object) -> object:
        opened.append(self.resolve())
        return original(self, *arguments, **options)  # type: ignore[call-overload]

    with mock.patch.object(Path, "open", note):
        found = validate(models, None, DEPLOYMENTS)
    assert "zzz" not in "".join(map(str, found))
    assert opened
    assert all(path.is_relative_to(models) for path in opened)
    assert [problem.file.split("/")[0] for problem in found if problem.fatal] == ["labels"]


def test_a_loop_of_links_and_odd_names(tmp_path: Path) -> None:
    models = tmp_path / "models"
    Case(name="loop").write(models)
    (models / "loop/1/model.py").unlink()
    (models / "loop/1/model.py").symlink_to("model.py")
    (models / "loop/2").symlink_to(".")
    Case(name="odd", config=GOOD + 'default_model_filename: "a\\000b"\n').write(models)
    Case(name="long", config=GOOD + f'default_model_filename: "{"x" * 5000}"\n').write(models)
    os.mkdir(os.fsencode(models) + b"/\xff\xfe")  # noqa: PTH102 (a name that is no text)
    for problem in validate(models, None, DEPLOYMENTS):
        assert str(problem).isprintable()


def test_a_file_as_repository_or_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert validate(tmp_path / "file") == []
    assert validate(tmp_path / "nothing") == []
    assert Repository(tmp_path).kind(tmp_path / "file" / "below") == "absent"


# ------------------------------------------------------------------------------------------------ images
@pytest.mark.parametrize(
    ("image", "some", "none"),
    [
        ("triton-fleet.local/tritonserver:2.51.0-cpu", "python", "onnxruntime"),
        ("nvcr.io/nvidia/tritonserver:26.07-py3", "fil", "vllm"),
        ("nvcr.io/nvidia/tritonserver:24.10-py3", "tensorflow", "tensorrtllm"),
        ("nvcr.io/nvidia/tritonserver:26.07-vllm-python-py3", "vllm", "fil"),
        ("nvcr.io/nvidia/tritonserver:26.07-trtllm-python-py3", "tensorrtllm", "fil"),
    ],
)
def test_backends_of_known_images(image: str, some: str, none: str) -> None:
    backends = backends_of(image)
    assert backends is not None
    assert some in backends
    assert none not in backends


@pytest.mark.parametrize("image", ["mine:1", "registry.example.com/tritonserver:26.07-py3", "nvcr.io/nvidia/tritonserver:latest", ""])
def test_of_other_images_nothing_is_claimed(image: str, tmp_path: Path) -> None:
    assert backends_of(image) is None
    Case(name="own", config=GOOD.replace("python", "own"), files={"1/model.own": "x"}).write(tmp_path)
    (note,) = validate(tmp_path, None, [Deployment(key="x", image=image, gpus=0)])
    assert note.note
    assert "own (files and tensors of backend own)" in note.text


@pytest.mark.parametrize("place", ["", "1/"])
def test_a_backend_that_comes_with_the_model(place: str, tmp_path: Path) -> None:
    Case(name="own", config=GOOD.replace("python", "own"), files={"1/x": "x", f"{place}libtriton_own.so": "x"}).write(tmp_path)
    assert [problem for problem in validate(tmp_path, None, DEPLOYMENTS) if not problem.note] == []


# ------------------------------------------------------------------------------------------------ what backends fill in
def test_the_page_shows_the_table() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text) == text, "run `python -m components.repository.validation.reference`"


def test_types_and_shapes_may_be_left_to_the_model(tmp_path: Path) -> None:
    config = 'backend: "{}"\nmax_batch_size: 8\ninput {{ name: "IN" }}\noutput {{ name: "OUT" label_filename: "labels.txt" }}\n'
    for backend, file in (("tensorrt", "model.plan"), ("onnxruntime", "model.onnx"), ("pytorch", "model.pt")):
        Case(name=backend, config=config.format(backend), files={f"1/{file}": b"\x08\x08", "labels.txt": "a"}).write(tmp_path)
    assert {problem.file.split("/")[0] for problem in validate(tmp_path)} == {"onnxruntime", "pytorch"}


def test_pytorchs_python_runtime_needs_no_model_pt(tmp_path: Path) -> None:
    config = GOOD.replace('"python"', '"pytorch"') + 'runtime: "model.py"\n'
    Case(name="torch", config=config, files={"1/model.py": "class Net: ..."}).write(tmp_path)
    assert validate(tmp_path) == []


# ------------------------------------------------------------------------------------------------ whatever comes
TOKENS: Final = (
    *(
        "{",
        "}",
        "[",
        "]",
        "<",
        ">",
        ":",
        ",",
        ";",
        '"',
        "'",
        "\\",
        "#",
        "\n",
        " ",
        "-",
        "-1",
        "0",
        "8",
        "1e9",
        "0x",
        "99999999999999999999",
        "\0",
    ),
    *(
        "name",
        "input",
        "output",
        "dims",
        "data_type",
        "TYPE_FP32",
        "TYPE_INVALID",
        "ensemble_scheduling",
        "step",
        "model_name",
        "input_map",
    ),
    *(
        "key",
        "value",
        "parameters",
        "string_value",
        "version_policy",
        "specific",
        "versions",
        "reshape",
        "shape",
        "instance_group",
        "kind",
        "gpus",
    ),
    *(
        "sequence_batching",
        "state",
        "initial_state",
        "dynamic_batching",
        "model_warmup",
        "inputs",
        '"x"',
        "'y'",
        "true",
        "nan",
        "inf",
        "ü",
        "\ufeff",
    ),
)
CONFIGS: Final = [case.config for case in (*CASES, *FINE) if isinstance(case.config, str)]


def damaged(text: str, cuts: list[tuple[float, str]]) -> str:
    for place, token in cuts:
        at = int(place * len(text))
        text = text[:at] + token + text[at + len(token) :]
    return text


configs = st.one_of(
    st.lists(st.sampled_from(TOKENS)).map(" ".join),
    st.text(),
    st.builds(
        damaged,
        st.sampled_from(CONFIGS),
        st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(TOKENS)), min_size=1, max_size=4),
    ),
)


@settings(deadline=None, max_examples=400)
@given(configs)
def test_any_text_is_parsed_or_refused(text: str) -> None:
    report = Report("x")
    config = parse(text, report)
    assert config is not None or report.problems
    for problem in report.problems:
        assert problem.line is None or 1 <= problem.line <= text.count("\n") + 1


@pytest.mark.parametrize(
    "text", ["input {" * 100_000, "input [" * 100_000, "[" * 100_000, '"' * 100_000, "a: " * 100_000, "# " * 100_000 + "\n" * 100_000]
)
def test_deep_and_long_texts(text: str) -> None:
    parse(text, Report("x"))


names = st.one_of(
    st.sampled_from(
        ["1", "2", "01", "1a", "-1", "0", "config.pbtxt", "model.py", "model.onnx", "warmup", "configs", "model.savedmodel", " 1", "+1"]
    ),
    st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
        lambda name: name not in {".", ".."}
    ),
)
contents = st.one_of(
    st.binary(max_size=40), configs.map(str.encode), st.just(ECHO.encode()), st.just(b"version https://git-lfs.github.com/spec/v1\n")
)
layouts = st.dictionaries(st.lists(names, min_size=1, max_size=3).map(tuple), st.one_of(contents, st.none()), max_size=8)


def build(folder: Path, layout: dict[tuple[str, ...], bytes | None]) -> None:
    for parts, content in layout.items():
        path = folder.joinpath(*parts)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                path.mkdir(exist_ok=True)
            else:
                path.write_bytes(content)
        except OSError:  # a folder where a file is, or the other way round
            continue


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(layout=layouts)
def test_any_layout_gives_printable_problems(layout: dict[tuple[str, ...], bytes | None], tmp_path: Path) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    folder.mkdir()
    build(folder / "model", layout)
    for problem in validate(folder, None, DEPLOYMENTS):
        assert str(problem).isprintable()
        assert problem.text[-1] in ".?"
        assert problem.file.split("/")[0] == "model"


@settings(deadline=None, max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(config=configs)
def test_any_config_of_a_good_model(config: str, tmp_path: Path) -> None:
    folder = tmp_path / str(len(list(tmp_path.iterdir())))
    build(
        folder / "model", {("config.pbtxt",): config.encode("utf-8", "surrogatepass"), ("1", "model.py"): str(CODE["1/model.py"]).encode()}
    )
    for problem in validate(folder, None, DEPLOYMENTS):
        assert str(problem).isprintable()
