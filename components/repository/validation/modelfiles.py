"""The files that a model's backend opens, and those that its config.pbtxt names."""

from __future__ import annotations

import ast
import re
import sys
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import COMPLETING, FIL_FILES
from components.repository.validation.files import UNFINISHED, Repository
from components.repository.validation.source import Key

if TYPE_CHECKING:
    from components.repository.validation.model import ModelState

_CODE_BYTES: Final = 4 << 20
"""Longest model.py that is read, in bytes."""

_NEWER_SYNTAX: Final = re.compile(r"""\b[rR]?[fF]["']|^\s*type\s+\w|\b(?:def|class)\s+\w+\s*\[""", re.MULTILINE)
"""Syntax of Python 3.12 on: an older Python here can't tell whether the image's Python would take it."""


def check_model_files(repository: Repository, model: ModelState) -> None:  # noqa: C901, PLR0912 (one after another)
    """Report what is wrong with the files that the backend opens in each version that Triton loads."""
    config, report, resolved = model.config, model.report, model.resolved
    if resolved is None or not resolved.backend:
        if not model.described:
            report.file(
                "",
                "has no config.pbtxt, and no file that determines its backend",
                f"Write {model.name}/config.pbtxt, or put the model there under its backend's name, such as model.onnx.",
            )
        return
    if not model.described and resolved.backend not in COMPLETING | {"python"} and (resolved.backend != "pytorch"):
        report.file("", f"has no config.pbtxt, which would make its backend {resolved.backend}", f"Write {model.name}/config.pbtxt.")
        return
    if not model.described and resolved.backend == "pytorch":
        report.file(
            "", "has no config.pbtxt, and PyTorch models don't describe their inputs and outputs", f"Write {model.name}/config.pbtxt."
        )
    model.completes_itself = resolved.backend in COMPLETING
    if resolved.backend == "fil" and "model_type" in config.parameters:
        kind = config.parameters["model_type"].string_value
        if kind not in FIL_FILES:
            report.field(("parameters", Key("model_type")), f"is {kind}", f"Write one of: {', '.join(FIL_FILES)}.")
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
                    f"{version}/{name}",
                    "is an unfinished download",
                    "Finish or remove it.",
                    fatal=False,
                    consequence="it would be uploaded with the model",
                )
    if resolved.backend == "openvino":
        for version in model.versions:
            weights = f"{version}/{resolved.file.removesuffix('.xml')}.bin"
            if resolved.file.endswith(".xml") and repository.kind(model.root / weights) == "absent":
                report.file(weights, "is missing: the .xml holds the graph alone", "Add the .bin file that was written with it.")


def _check_model_file(repository: Repository, model: ModelState, path: str) -> None:  # noqa: C901, PLR0912
    report, resolved = model.report, model.resolved
    if resolved is None:
        return
    target = model.root / path
    kind = repository.kind(target)
    backend, name = resolved.backend, path.partition("/")[2]
    if kind == "closed":
        return
    if kind == "absent":
        _missing(repository, model, path)
        return
    if kind == "folder":
        if backend == "onnxruntime":
            inner = repository.kind(target / "model.onnx")
            if inner == "absent":
                report.file(f"{path}/model.onnx", "is missing", "Name the main file in the folder model.onnx.")
            elif inner == "file" and (what := repository.broken(target / "model.onnx")):
                report.file(f"{path}/model.onnx", what, "Export or download the model again.")
        elif resolved.platform == "tensorflow_savedmodel":
            if {repository.kind(target / file) for file in ("saved_model.pb", "saved_model.pbtxt")} == {"absent"}:
                report.file(f"{path}/saved_model.pb", "is missing", "Save the model with tf.saved_model.save.")
        elif backend in {"python", "tensorrt", "openvino", "fil", "dali", "vllm"} or resolved.platform == "tensorflow_graphdef":
            report.file(path, "is a folder", f"Make {name} the model's file.")
        return
    if resolved.platform == "tensorflow_savedmodel":
        report.file(path, "is a file", "Make it the folder that tf.saved_model.save writes.")
        return
    if what := repository.broken(target):
        report.file(path, what, "Export or download the model again.")
    elif backend == "python":
        _check_code(repository, model, path)


def _missing(repository: Repository, model: ModelState, path: str) -> None:
    """Report that a model's file is missing, with the likely reason."""
    version, _, name = path.partition("/")
    there = repository.names(model.root / version)
    if not there:
        return  # an empty version folder is the scan's
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
        remedy = f"Put the model there under that name, or name its file in default_model_filename. Available: {', '.join(there[:5])}."
    report_as = f"is missing, and backend {backend} requires it"
    if model.config.cc_model_filenames:
        report_as = "is missing, and cc_model_filenames names it"
    elif model.config.default_model_filename:
        report_as = "is missing, and default_model_filename names it"
    model.report.file(path, report_as, remedy)


def _check_code(repository: Repository, model: ModelState, path: str) -> None:
    """Look at a Python model's top level, without running it."""
    raw = repository.read(model.root / path, _CODE_BYTES + 1)
    if raw is None or len(raw) > _CODE_BYTES:
        return
    report = model.report
    try:
        tree = ast.parse(raw)
    except SyntaxError as error:
        older = sys.version_info < (3, 12)
        if not (older and _NEWER_SYNTAX.search(raw.decode("utf-8", "replace"))):
            report.file(path, f"is not valid Python ({error.msg})", "Correct it.", line=error.lineno)
        return
    except (ValueError, RecursionError, MemoryError):
        report.file(path, "is not valid Python", "Correct it.")
        return
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "TritonPythonModel"]
    if not classes:
        simple = all(isinstance(node, ast.Import | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Expr) for node in tree.body)
        if simple:
            report.file(path, "defines no class TritonPythonModel", "Write one with a method execute(self, requests).")
        model.completes_itself = True
        return
    methods = {node.name for node in classes[0].body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    plain = not classes[0].bases and not classes[0].decorator_list and not classes[0].keywords
    model.completes_itself |= "auto_complete_config" in methods or not plain
    if not model.described and plain and "auto_complete_config" not in methods:
        report.file(
            "",
            "has no config.pbtxt, and its model.py no auto_complete_config",
            f"Write {model.name}/config.pbtxt, or add the method.",
            consequence=f"{model.name} would load without inputs and outputs, and requests to it would fail",
            fatal=False,
        )


def check_labels(repository: Repository, model: ModelState) -> None:
    """Report files of labels that are not there."""
    for index, output in enumerate(model.config.output):
        if output.label_filename:
            check_named_file(repository, model, "", output.label_filename, ("output", index, "label_filename"))


def check_initial_states(repository: Repository, model: ModelState) -> None:
    """Report files of initial states that are not there."""
    for index, state in enumerate(model.config.sequence_batching.state):
        for position, initial in enumerate(state.initial_state[:1]):
            if initial.data_file:
                where = ("sequence_batching", "state", index, "initial_state", position, "data_file")
                check_named_file(repository, model, "initial_state/", initial.data_file, where)


def check_named_file(repository: Repository, model: ModelState, folder: str, name: str, where: tuple[Any, ...]) -> bool:
    """Report a file that a field names and that is not below the model's folder; True where it is there."""
    inside = f"{model.name}/{folder}" if folder else f"{model.name}/"
    depth = 0
    for part in f"{folder}/{name}".split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            model.report.field(
                where,
                f"is {name}, outside the model's folder",
                f"Move the file to {inside}.",
                consequence=f"Triton would not find it in the store, and not load {model.name}",
            )
            return False
    kind = repository.kind(model.root / folder / name.lstrip("/"))
    if kind in {"absent", "folder"}:
        what = "is a folder" if kind == "folder" else "does not exist"
        model.report.field(where, f"is {name}, and {inside}{name} {what}", "Add the file, or remove the field.")
        return False
    return kind == "file"
