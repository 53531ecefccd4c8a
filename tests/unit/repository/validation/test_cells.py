"""Each cell of the table of backends, judged by a real tritonserver: which tensors config.pbtxt lists, and what is left of each.

The backends are one library that gives Triton the configuration which the real backend would complete: the functions below follow the
backends' sources, not the table.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

import pytest
from google.protobuf import json_format, text_format

from components.repository.validation import validate
from components.repository.validation.backends import BACKENDS
from components.repository.validation.schema import schema
from tests.conftest import lacks
from tests.unit.repository.validation.cases import COMPLETING, ECHO
from tests.unit.tritonserver import tritonserver

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local.images import box

LIBRARY: Final = """
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
typedef void* P;
P TRITONBACKEND_ModelRepository(P model, int* kind, const char** path);
P TRITONBACKEND_ModelSetConfig(P model, unsigned version, P message);
P TRITONSERVER_MessageNewFromSerializedJson(P* message, const char* text, size_t size);
P TRITONBACKEND_ModelInstanceExecute(P instance, P* requests, unsigned count) { return 0; }
P TRITONBACKEND_ModelInitialize(P model) {
  static __thread char text[65536];
  const char* folder;
  char path[4096];
  int kind;
  P message, error = TRITONBACKEND_ModelRepository(model, &kind, &folder);
  if (error) return error;
  snprintf(path, sizeof path, "%s/completed.json", folder);
  int file = open(path, O_RDONLY);
  if (file < 0) return 0;
  ssize_t size = read(file, text, sizeof text);
  close(file);
  error = TRITONSERVER_MessageNewFromSerializedJson(&message, text, size);
  return error ? error : TRITONBACKEND_ModelSetConfig(model, 1, message);
}
"""
SIDES: Final = {"input": "IN", "output": "OUT"}
TENSORS: Final = {
    "full": "data_type: TYPE_FP32 dims: [ 4 ]",
    "no_dims": "data_type: TYPE_FP32",
    "no_type": "dims: [ 4 ]",
    "bare": "",
    "none": None,
}


def tensor(config: Any, side: str) -> Any:
    """Add the model's own tensor of a side."""
    return getattr(config, side).add(name=SIDES[side], data_type="TYPE_FP32", dims=[4])


def empty_sides(config: Any) -> None:
    """AutoCompleteIO (ONNX Runtime), AutoCompleteInputOrOutput (OpenVINO): a side without tensors, and nothing of a listed tensor."""
    for side in SIDES:
        if not getattr(config, side):
            tensor(config, side)


def every_tensor(config: Any) -> None:
    """FixIO (TensorRT), FillMissingValues (TensorFlow), AutofillIOConfig (DALI), add_input and add_output (Python)."""
    empty_sides(config)
    for listed in (*config.input, *config.output):
        listed.data_type = listed.data_type or schema().TYPE_FP32
        listed.dims[:] = listed.dims or [4]


def nothing(_: Any) -> None:
    """Backends without auto-completion."""


SOURCES: Final[dict[str, Callable[[Any], None]]] = {
    "onnxruntime": empty_sides,
    "openvino": empty_sides,
    "tensorrt": every_tensor,
    "tensorflow_savedmodel": every_tensor,
    "dali": every_tensor,
    "vllm": every_tensor,
    "python": every_tensor,
    "plain_python": nothing,
    "pytorch": nothing,
    "tensorflow_graphdef": nothing,
    "fil": nothing,
    "tensorrtllm": nothing,
    "identity": nothing,
    "square": nothing,
    "repeat": nothing,
}
UNSEEN: Final = {"pytorch"}
"""Refuses a model without outputs when an instance starts."""


def write(folder: Path, kind: str, given: dict[str, str]) -> str:
    """Write a model and an ensemble of it; return its name."""
    row = next(row for row in BACKENDS if kind.removeprefix("plain_") in {row.platform, row.name} and not row.runtime)
    name = "-".join((kind, *given.values()))
    tensors = [f'{side} {{ name: "{SIDES[side]}" {TENSORS[what]} }}' for side, what in given.items() if TENSORS[what] is not None]
    platform = f'platform: "{row.platform}"' if row.platform else ""
    config = "\n".join((f'name: "{name}" backend: "{row.name}" {platform}', *tensors))
    if row.required:
        config += f'\nparameters {{ key: "{row.required[0][0]}" value {{ string_value: "true" }} }}'
    message = text_format.Parse(config, schema().ModelConfig())
    SOURCES[kind](message)
    files = {"config.pbtxt": config, "completed.json": json.dumps(json_format.MessageToDict(message, preserving_proto_field_name=True))}
    opened = f"1/{row.files[0]}" + (f"/{row.inside[0]}" if row.folder == "must" else "") if row.files else "1/nothing"
    files |= {opened: {"python": COMPLETING, "plain_python": ECHO, "openvino": "<net/>", "vllm": "{}"}.get(kind, "\x08\x08")}
    files |= {"1/model.bin": "x"} if kind == "openvino" else {}
    step = " ".join(f'{side}_map {{ key: "{tensor}" value: "{tensor}" }}' if given[side] else "" for side, tensor in SIDES.items())
    io = " ".join(f'{side} {{ name: "{tensor}" {TENSORS["full"]} }}' for side, tensor in SIDES.items())
    ensemble = f'platform: "ensemble" {io} ensemble_scheduling {{ step {{ model_name: "{name}" model_version: -1 {step} }} }}'
    for path, text in ((f"{name}/{path}", text) for path, text in files.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    (folder / f"{name}-ensemble/1").mkdir(parents=True)
    (folder / f"{name}-ensemble/config.pbtxt").write_text(ensemble)
    return name


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``models`` with all cells and ``backends`` with the library."""
    if shutil.which("cc") is None:
        lacks("no C compiler (cc) for the backends")
    folder = tmp_path_factory.mktemp("cells")
    (folder / "library.c").write_text(LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "library.so", folder / "library.c"], check=True, timeout=60)
    for backend in {row.name for row in BACKENDS}:
        (folder / "backends" / backend).mkdir(parents=True)
        shutil.copyfile(folder / "library.so", folder / "backends" / backend / f"libtriton_{backend}.so")
    for kind, *given in itertools.product(SOURCES, TENSORS, TENSORS):
        write(folder / "models", kind, dict(zip(SIDES, given, strict=True)))
    for path in (folder, *folder.parents[:2], *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)  # the server runs as another user
    return folder


def test_every_cell(work: Path, triton_box: box.Box, tmp_path: Path) -> None:
    problems = validate(work / "models")
    refused = {problem.file.split("/")[0] for problem in problems if problem.fatal}
    names = sorted(path.name for path in (work / "models").iterdir())
    flags = ("--model-control-mode=explicit", "--backend-directory=/models/backends")
    with (
        tritonserver(triton_box, tmp_path / "log", "/models/models", *flags, models=work, until="live") as server,
        ThreadPoolExecutor(4) as threads,
    ):
        loaded = dict(zip(names, threads.map(lambda name: server.ask(f"repository/models/{name}/load", b"{}")[0], names), strict=True))
    ours = {name: name not in refused and name.removesuffix("-ensemble") not in refused for name in names}
    unseen = {name for name in names if name.split("-")[0] in UNSEEN and name.split("-")[2] == "none"}
    assert {name: ours[name] for name in names if ours[name] != loaded[name] and name not in unseen} == {}
    assert not any(ours[name] for name in unseen)
    assert sum(loaded.values()) > 200
    (note,) = (problem for problem in problems if problem.note)
    noted = {name for name in names if f" {name} (" in note.text}
    assert {name.split("-")[0] for name in noted} == {"dali", "vllm", "python", *(kind for kind in SOURCES if SOURCES[kind] is not nothing)}
