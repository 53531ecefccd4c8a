"""Check the files that a model's backend loads and those that its config.pbtxt names."""

from __future__ import annotations

import ast
import json
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import BACKENDS, UNKNOWN
from components.repository.validation.config import WILDCARD
from components.repository.validation.files import UNFINISHED, Repository
from components.repository.validation.schema import data_type
from components.repository.validation.text import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.repository.validation.backends import Backend, Resolved
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

_ENVIRONMENT: Final = "EXECUTION_ENV_PATH"
_MODEL_DIRECTORY: Final = "$$TRITON_MODEL_DIRECTORY"

_NEWER_SYNTAX: Final = re.compile(r"""\b[rR]?[fF]["']|^\s*type\s+\w|\b(?:def|class)\s+\w+\s*\[""", re.MULTILINE)
"""Syntax of Python 3.12 and later, which an older Python cannot check for the image's Python."""


def check_model_files(repository: Repository, model: ModelState) -> None:
    """Check the files that the backend opens, in each version that Triton loads, and the parameters that it refuses."""
    config, report, resolved = model.config, model.report, model.resolved
    if resolved is None or not resolved.backend:
        if not model.described:
            report.file(
                "",
                "has no config.pbtxt, and no file shows its backend",
                f"Write {model.name}/config.pbtxt, or name its file as its backend expects, such as model.onnx.",
            )
        return
    row = resolved.row
    if not model.described and not row.outputs:
        what = f"has no config.pbtxt, and backend {resolved.backend} adds no inputs and outputs"
        report.file("", what, f"Write {model.name}/config.pbtxt.")
    if row is UNKNOWN:
        model.unjudged.add(f"files and tensors of backend {resolved.backend}")
    _check_parameters(model, row)
    if row.by_parameter and not resolved.files:
        return  # `_check_parameters` reports the parameter's value
    _check_environment(repository, model, row)
    named = sorted(set(config.cc_model_filenames.values())) if row.files else []
    for version in model.versions:
        _check_version(repository, model, resolved, version, named)


def _check_version(repository: Repository, model: ModelState, resolved: Resolved, version: int, named: Sequence[str]) -> None:
    """Check the files of a version. ``named``: those that cc_model_filenames names."""
    report, entries = model.report, repository.names(model.root / str(version))
    found = [file for file in resolved.files if repository.kind(model.root / f"{version}/{file}") != "absent"]
    for name in named or found[:1]:
        _check_opened(repository, model, f"{version}/{name}")
    if resolved.files and not named and not found:
        _missing(repository, model, f"{version}/{resolved.files[0]}")
    for name in entries:
        if name.lower().endswith(UNFINISHED) and name.rpartition(".")[0] in entries:
            report.file(
                f"{version}/{name}", "is an unfinished download", "Finish or remove it.", warning="it would be uploaded with the model"
            )
    if resolved.backend == "vllm" and str(vllm_arguments(repository, model, version).get("enable_lora")).lower() == "true":
        adapters = f"{version}/multi_lora.json"
        if repository.kind(model.root / adapters) == "absent":
            report.file(adapters, "is missing, but model.json sets enable_lora", "Add the file, which names the adapters.")
    if resolved.backend == "openvino" and found and found[0].endswith(".xml"):
        weights = f"{version}/{found[0].removesuffix('.xml')}.bin"
        if repository.kind(model.root / weights) == "absent":
            what = "is missing, but the .xml file contains only the graph"
            report.file(weights, what, "Add the .bin file that was exported with it.")


def vllm_arguments(repository: Repository, model: ModelState, version: int) -> dict[str, Any]:
    """Arguments of vLLM's engine in a version's model.json; empty if it can't be read."""
    try:
        arguments = json.loads(repository.read(model.root / f"{version}/model.json", MAX_BYTES) or b"null")
    except (ValueError, RecursionError):
        return {}
    return arguments if isinstance(arguments, dict) else {}


def _check_parameters(model: ModelState, row: Backend) -> None:
    """Check what the backend itself refuses in config.pbtxt."""
    config, report = model.config, model.report
    for name, values in row.values.items():
        if name in config.parameters and (value := config.parameters[name].string_value) not in values:
            report.field(f'parameters["{name}"]', f"({value}) is unknown", f"It must be one of: {', '.join(values)}.")
    for names in row.required:
        given = {name: config.parameters[name].string_value for name in names if name in config.parameters}
        if model.described and all(value.startswith("${") for value in given.values()):
            others = f" (or {' or '.join(names[1:])})" if names[1:] else ""
            what = f"({next(iter(given.values()))}) is an unfilled placeholder" if given else "is missing"
            name = next(iter(given), names[0])
            report.field(f'parameters["{name}"]', f"{what}, but backend {row.name} requires it{others}", f"Set {name}.")
    if model.described and row.needs_outputs and not config.output:
        report.field("output", f"is missing, but backend {row.name} requires one", "List all inputs and outputs.")
    if row.max_batch_size is not None and config.max_batch_size > row.max_batch_size:
        what = f"is {config.max_batch_size}, but backend {row.name} accepts at most {row.max_batch_size}"
        report.field("max_batch_size", what, f"Set it to {row.max_batch_size}.")
    if "TRITON_BATCH_STRATEGY_PATH" in config.parameters:
        field, path = 'parameters["TRITON_BATCH_STRATEGY_PATH"]', config.parameters["TRITON_BATCH_STRATEGY_PATH"].string_value
        if config.HasField("sequence_batching"):
            report.field(field, "is set for a model with sequence_batching", "Remove it: only the dynamic batcher takes a strategy.")
        elif not path.startswith("/"):
            what = f"({path}) is relative to the directory in which tritonserver runs"
            report.field(field, what, "Remove it and name the library batchstrategy.so: Triton finds that file in the model's folder.")


def _check_environment(repository: Repository, model: ModelState, row: Backend) -> None:
    """Check the path of the Python environment: an archive, or a folder with bin/activate (``GetPythonEnvironment`` of python_backend)."""
    python = row.name == "python" or (row.python_based and (row.name != "pytorch" or model.config.runtime == "model.py"))
    if not python or _ENVIRONMENT not in model.config.parameters:
        return
    field, value = f'parameters["{_ENVIRONMENT}"]', model.config.parameters[_ENVIRONMENT].string_value
    if value.startswith("/") or "://" in value:  # in the image, or in another bucket
        return
    if not value.startswith(_MODEL_DIRECTORY):
        model.relative_environment = value
        return
    path = value.removeprefix(_MODEL_DIRECTORY).lstrip("/")
    if not check_named_file(repository, model, "", path, field, value=value, folder_allowed=True):
        return
    if repository.kind(model.root / path) == "folder":
        check_named_file(repository, model, "", f"{path}/bin/activate", field, value=value)


def _check_opened(repository: Repository, model: ModelState, path: str) -> None:
    report, resolved = model.report, model.resolved
    if resolved is None:
        return
    target, row = model.root / path, resolved.row
    kind = repository.kind(target)
    if kind == "closed":
        model.code_completes = True
    elif kind == "absent":
        _missing(repository, model, path)
    elif kind == "folder":
        inside = [name for name in resolved.inside if repository.kind(target / name) != "absent"]
        if not row.folder:
            report.file(path, "is a folder", "Replace it with the model's file.")
        elif inside:
            _check_damage(repository, model, f"{path}/{inside[0]}")
        elif resolved.inside:
            remedy = (
                "Save the model with tf.saved_model.save." if row.folder == "must" else f"Name the folder's main file {resolved.inside[0]}."
            )
            report.file(f"{path}/{resolved.inside[0]}", "is missing", remedy)
    elif row.folder == "must":
        report.file(path, "is a file", "Replace it with the folder that tf.saved_model.save writes.")
    else:
        damaged = _check_damage(repository, model, path)
        if resolved.backend == "python" and not damaged:
            _check_code(repository, model, path)


def _check_damage(repository: Repository, model: ModelState, path: str) -> bool:
    if what := repository.broken(model.root / path):
        model.report.file(path, what, "Export or download the model again.")
    return bool(what)


def _missing(repository: Repository, model: ModelState, path: str) -> None:
    """Report a missing model file, with the likely reason."""
    version, _, name = path.partition("/")
    there = repository.names(model.root / version)
    files = model.resolved.files if model.resolved else ()
    renamed = model.row.renamed
    setting = ", or set default_model_filename" if renamed else ""
    unfinished = [entry for entry in there if entry.lower().endswith(UNFINISHED)]
    same_kind = [entry for entry in there if entry.rpartition(".")[2] == name.rpartition(".")[2] and entry != name]
    other_case = [entry for entry in there if entry.lower() == name.lower()]
    if unfinished:
        remedy = f"{unfinished[0]} is an unfinished download: finish it."
    elif other_case:
        remedy = f"Rename {other_case[0]}: names are case-sensitive."
    elif len(same_kind) == 1 and not model.config.cc_model_filenames:
        remedy = f"Rename {same_kind[0]} to {name}" + (f'{setting}: "{same_kind[0]}".' if renamed else ".")
    elif repository.kind(model.root / name) != "absent":
        remedy = f"Move {model.name}/{name} into {version}."
    elif others := [(entry, row.name) for entry in there for row in BACKENDS if entry in row.files and row.name != model.row.name]:
        remedy = f'{others[0][0]} is a file of backend {others[0][1]}: set backend: "{others[0][1]}", or add {name}.'
    elif not there:
        remedy = f"The folder is empty: put the model's file there{setting}."
    else:
        remedy = f"Give the model's file this name{setting}. The folder contains: {', '.join(there[:5])}."
    report_as = f"is missing, but backend {model.row.name} loads it"
    if model.config.cc_model_filenames:
        report_as = "is missing, but cc_model_filenames names it"
    elif renamed and model.config.default_model_filename:
        report_as = "is missing, but default_model_filename names it"
    elif len(files) > 1:
        report_as += f" (or {' or '.join(files[1:])})"
    model.report.file(path, report_as, remedy)


def _check_code(repository: Repository, model: ModelState, path: str) -> None:
    """Check a Python model's code without running it."""
    raw = repository.read(model.root / path, _CODE_BYTES + 1)
    if raw is None or len(raw) > _CODE_BYTES:
        model.code_completes = True
        return
    report = model.report
    try:
        tree = ast.parse(raw)
    except SyntaxError as error:
        model.code_completes = True
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
        model.code_completes = True
        return
    methods = {node.name for node in classes[0].body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    plain = not classes[0].bases and not classes[0].decorator_list and not classes[0].keywords
    model.code_completes |= "auto_complete_config" in methods or not plain
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


def check_checksums(repository: Repository, model: ModelState) -> None:
    """Report missing files of the repository agent ``checksum`` (src/checksum.cc of checksum_repository_agent)."""
    for index, agent in enumerate(model.config.model_repository_agents.agents):
        for key in sorted(agent.parameters) if agent.name == "checksum" else ():
            where = f'model_repository_agents.agents[{index}].parameters["{key}"]'
            algorithm, _, name = key.partition(":")
            if algorithm.lower() != "md5" or not name:
                model.report.field(where, "is not MD5 and a file", 'Write key: "MD5:<file>", such as "MD5:1/model.onnx".')
            else:
                check_named_file(repository, model, "", name, where)


def check_initial_states(repository: Repository, model: ModelState) -> None:
    """Report missing files of initial states."""
    for index, state in enumerate(model.config.sequence_batching.state):
        if state.initial_state and state.initial_state[0].data_file:
            where = f"sequence_batching.state[{index}].initial_state[0].data_file"
            check_named_file(repository, model, "initial_state/", state.initial_state[0].data_file, where)


def check_named_file(
    repository: Repository, model: ModelState, folder: str, name: str, where: str, *, value: str = "", folder_allowed: bool = False
) -> bool:
    """Whether the file that a field names exists in the model's folder; reports it if not. ``value``: all of the field, if it has more."""
    inside = f"{model.name}/{folder}" if folder else f"{model.name}/"
    depth = 0
    for part in f"{folder}/{name}".split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            model.report.field(
                where,
                f"({value or name}) is outside the model's folder",
                f"Move the file into {inside}.",
                consequence=f"it would not be uploaded, and Triton would not load {model.name}",
            )
            return False
    kind = repository.kind(model.root / folder / name.lstrip("/"))
    if kind == "absent" or (kind == "folder" and not folder_allowed):
        what = "is a folder" if kind == "folder" else "does not exist"
        model.report.field(where, f"({value or name}) cannot be read: {inside}{name} {what}", "Add the file, or remove the field.")
        return False
    return kind in {"file", "folder"}


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
        if not (model.completed and model.row.by_code):
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
    if tensor is not None and tensor.data_type and data_type(tensor.data_type) != kind:
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
