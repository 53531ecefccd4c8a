"""Check the files that a model's backend loads and those that its config.pbtxt names."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import COMPLETING, FIL_FILES
from components.repository.validation.config import WILDCARD
from components.repository.validation.files import UNFINISHED, Repository
from components.repository.validation.text import data_type

if TYPE_CHECKING:
    from components.repository.validation.model import ModelState

_BYTES: Final = {
    "TYPE_BOOL": 1,
    "TYPE_UINT8": 1,
    "TYPE_INT8": 1,
    "TYPE_UINT16": 2,
    "TYPE_INT16": 2,
    "TYPE_FP16": 2,
    "TYPE_BF16": 2,
    "TYPE_UINT32": 4,
    "TYPE_INT32": 4,
    "TYPE_FP32": 4,
    "TYPE_UINT64": 8,
    "TYPE_INT64": 8,
    "TYPE_FP64": 8,
}
"""Bytes per element."""

_CODE_BYTES: Final = 4 << 20
"""Longest model.py that is read, in bytes."""

_NEWER_SYNTAX: Final = re.compile(r"""\b[rR]?[fF]["']|^\s*type\s+\w|\b(?:def|class)\s+\w+\s*\[""", re.MULTILINE)
"""Syntax of Python 3.12 and later, which an older Python cannot check for the image's Python."""


def check_model_files(repository: Repository, model: ModelState) -> None:  # noqa: C901, PLR0912 (one after another)
    """Check the files that the backend loads, in each version that Triton loads."""
    config, report, resolved = model.config, model.report, model.resolved
    if resolved is None or not resolved.backend:
        if not model.described:
            report.file(
                "",
                "has no config.pbtxt, and no file shows its backend",
                f"Write {model.name}/config.pbtxt, or name its file as its backend expects, such as model.onnx.",
            )
        return
    if not model.described and resolved.backend not in COMPLETING | {"python"} and (resolved.backend != "pytorch"):
        report.file("", f"has no config.pbtxt, so its backend would be {resolved.backend}", f"Write {model.name}/config.pbtxt.")
        return
    if not model.described and resolved.backend == "pytorch":
        report.file(
            "", "has no config.pbtxt, and a PyTorch model does not describe its inputs and outputs", f"Write {model.name}/config.pbtxt."
        )
    model.completes_itself = resolved.backend in COMPLETING
    if resolved.backend == "fil" and "model_type" in config.parameters:
        kind = config.parameters["model_type"].string_value
        if kind not in FIL_FILES:
            report.field('parameters["model_type"]', f"({kind}) is unknown", f"It must be one of: {', '.join(FIL_FILES)}.")
            return
    if resolved.backend == "pytorch" and config.runtime == "model.py":  # the Python runtime of PyTorch 2 takes a model.py, weights or both
        return
    names = sorted(set(config.cc_model_filenames.values())) or ([resolved.file] if resolved.file else [])
    for version in model.versions:
        for name in names:
            _check_model_file(repository, model, f"{version}/{name}")
    for version in model.versions:
        folder = model.root / str(version)
        for name in repository.names(folder):
            if name.lower().endswith(UNFINISHED) and name.rpartition(".")[0] in repository.names(folder):
                report.file(
                    f"{version}/{name}", "is an unfinished download", "Finish or remove it.", warning="it would be uploaded with the model"
                )
    if resolved.backend == "openvino":
        for version in model.versions:
            weights = f"{version}/{resolved.file.removesuffix('.xml')}.bin"
            if resolved.file.endswith(".xml") and repository.kind(model.root / weights) == "absent":
                report.file(
                    weights, "is missing, but the .xml file contains only the graph", "Add the .bin file that was exported with it."
                )


def _check_model_file(repository: Repository, model: ModelState, path: str) -> None:  # noqa: C901, PLR0912
    report, resolved = model.report, model.resolved
    if resolved is None:
        return
    target = model.root / path
    kind = repository.kind(target)
    backend = resolved.backend
    if kind == "closed":
        return
    if kind == "absent":
        _missing(repository, model, path)
        return
    if kind == "folder":
        if backend == "onnxruntime":
            inner = repository.kind(target / "model.onnx")
            if inner == "absent":
                report.file(f"{path}/model.onnx", "is missing", "Name the folder's main file model.onnx.")
            elif inner == "file" and (what := repository.broken(target / "model.onnx")):
                report.file(f"{path}/model.onnx", what, "Export or download the model again.")
        elif resolved.platform == "tensorflow_savedmodel":
            if {repository.kind(target / file) for file in ("saved_model.pb", "saved_model.pbtxt")} == {"absent"}:
                report.file(f"{path}/saved_model.pb", "is missing", "Save the model with tf.saved_model.save.")
        elif backend in {"python", "tensorrt", "openvino", "fil", "dali", "vllm"} or resolved.platform == "tensorflow_graphdef":
            report.file(path, "is a folder", "Replace it with the model's file.")
        return
    if resolved.platform == "tensorflow_savedmodel":
        report.file(path, "is a file", "Replace it with the folder that tf.saved_model.save writes.")
        return
    if what := repository.broken(target):
        report.file(path, what, "Export or download the model again.")
    elif backend == "python":
        _check_code(repository, model, path)


def _missing(repository: Repository, model: ModelState, path: str) -> None:
    """Report a missing model file, with the likely reason."""
    version, _, name = path.partition("/")
    there = repository.names(model.root / version)
    if not there:
        return  # components.repository.scan reports an empty version directory
    backend = model.resolved.backend if model.resolved else ""
    unfinished = [entry for entry in there if entry.lower().endswith(UNFINISHED)]
    same_kind = [entry for entry in there if entry.rpartition(".")[2] == name.rpartition(".")[2] and entry != name]
    other_case = [entry for entry in there if entry.lower() == name.lower()]
    if unfinished:
        remedy = f"{unfinished[0]} is an unfinished download: finish it."
    elif other_case:
        remedy = f"Rename {other_case[0]}: names are case-sensitive."
    elif len(same_kind) == 1 and not model.config.cc_model_filenames:
        remedy = f'Rename {same_kind[0]} to {name}, or set default_model_filename: "{same_kind[0]}".'
    else:
        remedy = f"Give the model's file this name, or set default_model_filename. The folder contains: {', '.join(there[:5])}."
    report_as = f"is missing, but backend {backend} loads it"
    if model.config.cc_model_filenames:
        report_as = "is missing, but cc_model_filenames names it"
    elif model.config.default_model_filename:
        report_as = "is missing, but default_model_filename names it"
    model.report.file(path, report_as, remedy)


def _check_code(repository: Repository, model: ModelState, path: str) -> None:
    """Check a Python model's code without running it."""
    raw = repository.read(model.root / path, _CODE_BYTES + 1)
    if raw is None or len(raw) > _CODE_BYTES:
        return
    report = model.report
    try:
        tree = ast.parse(raw)
    except SyntaxError as error:
        older = sys.version_info < (3, 12)
        if not (older and _NEWER_SYNTAX.search(raw.decode("utf-8", "replace"))):
            report.file(path, f"is not valid Python ({error.msg})", "Correct the code.", line=error.lineno)
        return
    except (ValueError, RecursionError, MemoryError):
        report.file(path, "is not valid Python", "Correct the code.")
        return
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TritonPythonModel"]
    if not classes:
        simple = all(isinstance(node, ast.Import | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Expr) for node in tree.body)
        if simple:
            report.file(path, "defines no class TritonPythonModel", "Define it with a method execute(self, requests).")
        model.completes_itself = True
        return
    methods = {node.name for node in classes[0].body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    plain = not classes[0].bases and not classes[0].decorator_list and not classes[0].keywords
    model.completes_itself |= "auto_complete_config" in methods or not plain
    if not model.described and plain and "auto_complete_config" not in methods:
        report.file(
            "",
            "has no config.pbtxt, and its model.py has no auto_complete_config",
            f"Write {model.name}/config.pbtxt, or define the method.",
            warning=f"{model.name} would load without inputs and outputs and could not serve requests",
        )


def check_labels(repository: Repository, model: ModelState) -> None:
    """Report missing label files."""
    for index, output in enumerate(model.config.output):
        if output.label_filename:
            check_named_file(repository, model, "", output.label_filename, f"output[{index}].label_filename")


def check_initial_states(repository: Repository, model: ModelState) -> None:
    """Report missing files of initial states."""
    for index, state in enumerate(model.config.sequence_batching.state):
        if state.initial_state and state.initial_state[0].data_file:
            where = f"sequence_batching.state[{index}].initial_state[0].data_file"
            check_named_file(repository, model, "initial_state/", state.initial_state[0].data_file, where)


def check_named_file(repository: Repository, model: ModelState, folder: str, name: str, where: str) -> bool:
    """Whether the file that a field names exists in the model's folder; reports it if not."""
    inside = f"{model.name}/{folder}" if folder else f"{model.name}/"
    depth = 0
    for part in f"{folder}/{name}".split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            model.report.field(
                where,
                f"({name}) is outside the model's folder",
                f"Move the file into {inside}.",
                consequence=f"it would not be uploaded, and Triton would not load {model.name}",
            )
            return False
    kind = repository.kind(model.root / folder / name.lstrip("/"))
    if kind in {"absent", "folder"}:
        what = "is a folder" if kind == "folder" else "does not exist"
        model.report.field(where, f"({name}) cannot be read: {inside}{name} {what}", "Add the file, or remove the field.")
        return False
    return kind == "file"


def check_warmup(repository: Repository, model: ModelState) -> None:
    """Check warm-up samples and their files."""
    config, report = model.config, model.report
    inputs = {tensor.name: tensor for tensor in config.input}
    for index, sample in enumerate(config.model_warmup):
        if sample.batch_size == 0:
            report.field(f"model_warmup[{index}].batch_size", "is 0", "Set it to 1 or more.", warning="Triton would skip this warm-up")
            continue
        if config.max_batch_size and sample.batch_size > config.max_batch_size:
            report.field(
                f"model_warmup[{index}].batch_size",
                f"({sample.batch_size}) is above max_batch_size ({config.max_batch_size})",
                "Lower it.",
                warning="the model would run with a larger batch than requests can have",
            )
        for name in sorted(sample.inputs):
            where = f'model_warmup[{index}].inputs["{name}"]'
            _check_warmup_input(repository, model, sample.inputs[name], inputs.get(name), where)
        if not model.completes_itself:
            for tensor in config.input:
                if tensor.name not in sample.inputs and not tensor.optional:
                    report.field(
                        f"model_warmup[{index}].inputs", f"has no values for {tensor.name}", "Set them: the model requires this input."
                    )


def _check_warmup_input(repository: Repository, model: ModelState, sample: Any, tensor: Any, where: str) -> None:  # noqa: C901 (rule by rule)
    report = model.report
    kind = data_type(sample.data_type)
    if any(dim == WILDCARD for dim in sample.dims):
        report.field(f"{where}.dims", "contains -1", "Set a fixed size for each dimension.")
        return
    if tensor is not None and data_type(tensor.data_type) != kind:
        report.field(f"{where}.data_type", f"is {kind}, but the input's is {data_type(tensor.data_type)}", "Make them equal.")
    if tensor is not None and tensor.dims:
        fits = len(sample.dims) == len(tensor.dims) and all(
            whole in {WILDCARD, mine} for mine, whole in zip(sample.dims, tensor.dims, strict=False)
        )
        if not fits:
            report.field(f"{where}.dims", f"is {list(sample.dims)}, but the input's is {list(tensor.dims)}", "Set the input's shape.")
    choice = sample.WhichOneof("input_data_type")
    if choice is None:
        report.field(where, "has no values", "Set zero_data, random_data or input_data_file.")
    elif choice == "input_data_file":
        name = sample.input_data_file
        field = f"{where}.input_data_file"
        if not name:
            report.field(field, "is empty", f"Set the name of a file in {model.name}/warmup.")
        elif check_named_file(repository, model, "warmup/", name, field) and kind in _BYTES:
            size, wanted = repository.size(model.root / "warmup" / name), _BYTES[kind]
            for dim in sample.dims:
                wanted *= dim
            if size < wanted:
                report.field(field, f"({name}) has {size} bytes, but {kind} {list(sample.dims)} takes {wanted}", "Replace the file.")
