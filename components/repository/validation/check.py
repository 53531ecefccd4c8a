"""The order of the checks, and those that need a model's files or the deployment that serves it."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import (
    COMPLETING,
    ENSEMBLE,
    FIL_FILES,
    Resolved,
    mismatch,
    platforms_of,
    resolve,
)
from components.repository.validation.config import WILDCARD, check_config, data_type
from components.repository.validation.ensemble import Composable, check_ensemble, cycles
from components.repository.validation.files import LFS_POINTER, UNFINISHED, Repository
from components.repository.validation.images import backends_of
from components.repository.validation.problems import Key, Report
from components.repository.validation.text import MAX_BYTES, parse, schema

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from components.repository.validation.problems import Problem

_CODE_BYTES: Final = 4 << 20
"""Longest model.py that is read, in bytes."""

_STOLL: Final = re.compile(r"^[ \t]*[+-]?\d+")
"""What C++'s ``stoll``, with which Triton reads versions, takes from the front of a folder's name."""

_VERSION: Final = re.compile(r"^[1-9]\d*\Z")
_MAX_VERSION: Final = (1 << 63) - 1
_NOT_VERSIONS: Final = frozenset({"warmup", "initial_state", "configs"})

_NEWER_SYNTAX: Final = re.compile(r"""\b[rR]?[fF]["']|^\s*type\s+\w|\b(?:def|class)\s+\w+\s*\[""", re.MULTILINE)
"""Syntax of Python 3.12 on: an older Python here can't tell whether the image's Python would take it."""

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
"""Bytes of one value."""


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """What a check has to know of a Triton that serves these models."""

    key: str
    """Name in messages, such as ``triton-fleet:serving[0]``."""
    image: str
    gpus: int
    """GPUs, or slices of one, that a pod sees; their ids count from 0."""
    models: Collection[str] | None = None
    """Models that it loads; None: all. Those that an ensemble needs are loaded with it."""
    backends: frozenset[str] | None = None
    """Backends of the image; None: what `components.repository.validation.images` knows of it."""
    arguments: Sequence[str] = ()
    """Further flags of tritonserver, of which those that change the verdict are heeded."""

    @property
    def known_backends(self) -> frozenset[str] | None:
        """Backends of the image; None where nobody knows."""
        if any(argument.startswith("--backend-directory") for argument in self.arguments):
            return None
        return backends_of(self.image) if self.backends is None else self.backends

    @property
    def auto_complete(self) -> bool:
        """Whether backends may fill in what a config.pbtxt leaves out."""
        off = {"--disable-auto-complete-config", "--strict-model-config", "--strict-model-config=true"}
        return off.isdisjoint(self.arguments)


@dataclass(kw_only=True)
class _Model:
    """A model, as far as it could be read."""

    name: str
    root: Path
    report: Report
    config: Any = None
    described: bool = False
    """Whether there is a config.pbtxt."""
    resolved: Resolved | None = None
    versions: list[int] = field(default_factory=list)
    """Versions that Triton loads, newest first."""
    completes_itself: bool = False

    @property
    def steps(self) -> list[str]:
        """Models that an ensemble names."""
        return [] if self.config is None else [step.model_name for step in self.config.ensemble_scheduling.step]


def validate(folder: Path, models: Sequence[str] | None = None, deployments: Sequence[Deployment] = ()) -> list[Problem]:
    """Everything in ``folder`` that would keep Triton from loading ``models`` (None: every sub-folder), or let it serve what was not meant.

    Args:
        folder: the repository, with one sub-folder a model. Nothing outside of it is read.
        models: names of those that are uploaded together. Names without a folder are the scan's to report.
        deployments: who serves them; without one, backends and GPUs are not checked.

    Returns:
        Problems by model; empty where all is well.
    """
    repository = Repository(folder)
    present = [name for name in repository.names(folder) if not name.startswith(".") and repository.kind(folder / name) == "folder"]
    wanted = [name for name in present if models is None or name in models]
    read = {name: _read(repository, name) for name in wanted}
    composables = {
        name: Composable(config=model.config, open=model.completes_itself, versions=model.versions) for name, model in read.items()
    }
    for model in read.values():
        if model.config is not None:
            check_ensemble(model.config, composables, set(present) - set(wanted), model.report)
    for circle in cycles({name: model.steps for name, model in read.items() if model.steps}):
        for name in circle:
            read[name].report.field(
                "ensemble_scheduling",
                what=f"closes a circle of ensembles ({' -> '.join((*circle, circle[0]))})",
                remedy="Take one of the steps out.",
            )
    for deployment in deployments:
        for name in _served(read, deployment):
            _check_deployment(repository, read[name], deployment)
    return [
        problem for name in wanted for problem in sorted(read[name].report.problems, key=lambda problem: (problem.file, problem.line or 0))
    ]


def _served(models: dict[str, _Model], deployment: Deployment) -> list[str]:
    """Models that a deployment loads, those that its ensembles need included."""
    pending = [name for name in models if deployment.models is None or name in deployment.models]
    served: set[str] = set()
    while pending:
        name = pending.pop()
        if name in models and name not in served:
            served.add(name)
            pending.extend(models[name].steps)
    return [name for name in models if name in served]


def _read(repository: Repository, name: str) -> _Model:
    root = repository.folder / name
    model = _Model(name=name, root=root, report=Report(name))
    model.config = _read_config(repository, model)
    folders = [entry for entry in repository.names(root) if repository.kind(root / entry) == "folder"]
    existing = _versions(folders, model)
    if model.config is None:
        return model
    config, report = model.config, model.report
    first = root / folders[0] if folders else None
    content = {entry: repository.kind(first / entry) for entry in repository.names(first)} if first else {}
    model.resolved = resolve(name, config, content)
    model.versions = _loaded(existing, model)
    check_config(config, model.resolved.platform, report, completed=model.resolved.backend in COMPLETING)
    _check_backend(model)
    ensemble = config.platform == ENSEMBLE or config.HasField("ensemble_scheduling")
    if not ensemble:
        _check_model_files(repository, model)
    _check_labels(repository, model)
    if not ensemble:
        _check_warmup(repository, model)
    _check_initial_states(repository, model)
    return model


def _read_config(repository: Repository, model: _Model) -> Any | None:
    path = model.root / "config.pbtxt"
    kind = repository.kind(path)
    if kind == "absent":
        for entry in repository.names(model.root):
            if entry.lower() in {"config.pbtxt", "config.pbtext", "config.txt", "config.pbtxt.txt", "model.pbtxt", "config.pb.txt"}:
                model.report.file(
                    entry,
                    "is not read: Triton looks for config.pbtxt",
                    "Rename it.",
                    consequence=f"{model.name} would have no configuration",
                )
        return schema().ModelConfig()
    model.described = True
    if kind != "file":
        if kind == "folder":
            model.report.file("config.pbtxt", "is a folder", "Make it a file.", consequence="Triton would crash")
        return None
    raw = repository.read(path, MAX_BYTES + 1)
    if raw is None or raw.startswith(LFS_POINTER):
        return None
    if len(raw) > MAX_BYTES:
        model.report.file(
            "config.pbtxt", f"is longer than {MAX_BYTES >> 20} MiB", "Put the configuration there, and the model into a version folder."
        )
        return None
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        model.report.file(
            "config.pbtxt",
            "is not UTF-8",
            "Save it as UTF-8, without a byte order mark.",
            line=line,
            consequence="names and values in it would reach clients and the model as broken text",
            fatal=False,
        )
        text = raw.decode("latin-1")
    if text.startswith("\ufeff"):
        model.report.file("config.pbtxt", "begins with a byte order mark", "Save it as UTF-8 without one.", line=1)
        text = text[1:]
    return parse(text, model.report)


def _versions(folders: Sequence[str], model: _Model) -> list[int]:
    """Numbers of the version folders that Triton sees, newest first; names that it would take for a number and not find again are noted."""
    versions = []
    for name in folders:
        if name == "0" or (_VERSION.match(name) and int(name) <= _MAX_VERSION):
            versions.append(int(name))
        elif name in _NOT_VERSIONS or _STOLL.match(name) is None:
            continue
        elif len(name) > 1 and name.startswith("0"):
            if name.isdigit():
                model.report.file(
                    name,
                    "has a leading zero",
                    f"Rename it to {int(name) or 1}.",
                    consequence="Triton would skip this version",
                    fatal=False,
                )
        elif name.isdigit():
            model.report.file(name, "is a number beyond 64 bits", "Rename it to a smaller one.", consequence="Triton would crash")
        else:
            number = _STOLL.match(name)
            model.report.file(
                name,
                "is no number, but begins like one",
                "Rename it to a number, or let it begin with a letter.",
                consequence=f"Triton would take it for version {int(number[0]) if number else name} and not find that folder",
            )
    return sorted(versions, reverse=True)


def _loaded(existing: Sequence[int], model: _Model) -> list[int]:
    """Versions that Triton loads under the model's policy (``VersionsToLoad`` in Triton's core)."""
    policy = model.config.version_policy
    choice = policy.WhichOneof("policy_choice")
    if choice == "specific":
        asked = list(policy.specific.versions)
        missing = [version for version in asked if version not in existing]
        if not asked:
            model.report.field("version_policy", "specific", what="names no version", remedy="Name versions, or use latest or all.")
        elif missing and existing:
            model.report.field(
                "version_policy",
                "specific",
                "versions",
                what=f"names {', '.join(map(str, missing))}, which {'is' if len(missing) == 1 else 'are'} not there",
                remedy=f"Add the folder, or name versions that are there: {', '.join(map(str, sorted(existing)))}.",
                fatal=len(missing) == len(asked),
            )
        return [version for version in existing if version in asked]
    if choice == "all":
        return list(existing)
    return list(existing[: policy.latest.num_versions if choice == "latest" else 1])


def _check_backend(model: _Model) -> None:
    config, resolved, report = model.config, model.resolved, model.report
    if resolved is None or config.platform == ENSEMBLE or config.HasField("ensemble_scheduling"):
        return
    if not resolved.backend:
        if not model.described:
            return  # noted with the missing files
        if resolved.platform:
            report.field(
                "platform", what=f"is {resolved.platform}, which tells no backend", remedy='Write the backend, such as backend: "python".'
            )
        else:
            report.field("backend", what="is missing, and no file tells it", remedy='Write it, such as backend: "python".')
    elif mismatch(resolved):
        wanted = " or ".join(platforms_of(resolved.backend))
        report.field(
            "platform",
            what=f"is {resolved.platform or 'missing'}, and backend is {resolved.backend}",
            remedy=f"Write {wanted}" + ("." if resolved.backend == "tensorflow" else ", or leave platform out."),
        )


def _check_model_files(repository: Repository, model: _Model) -> None:  # noqa: C901, PLR0912 (one after another)
    config, report, resolved = model.config, model.report, model.resolved
    if resolved is None or not resolved.backend:
        if not model.described:
            report.file(
                "",
                "has no config.pbtxt, and no file that tells its backend",
                f"Write {model.name}/config.pbtxt, or put the model there under its backend's name, such as model.onnx.",
            )
        return
    if not model.described and resolved.backend not in COMPLETING | {"python"} and (resolved.backend != "pytorch"):
        report.file(
            "",
            f"has no config.pbtxt, which would make its backend {resolved.backend}",
            f"Write {model.name}/config.pbtxt.",
        )
        return
    if not model.described and resolved.backend == "pytorch":
        report.file("", "has no config.pbtxt, and PyTorch models don't tell their inputs and outputs", f"Write {model.name}/config.pbtxt.")
    model.completes_itself = resolved.backend in COMPLETING
    if resolved.backend == "fil" and "model_type" in config.parameters:
        kind = config.parameters["model_type"].string_value
        if kind not in FIL_FILES:
            report.field("parameters", Key("model_type"), what=f"is {kind}", remedy=f"Write one of: {', '.join(FIL_FILES)}.")
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


def _check_model_file(repository: Repository, model: _Model, path: str) -> None:  # noqa: C901, PLR0912
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


def _missing(repository: Repository, model: _Model, path: str) -> None:
    """Note that a model's file is missing, with the likely reason."""
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
        remedy = f"Rename {other_case[0]}: upper and lower case count."
    elif len(same_kind) == 1 and not model.config.cc_model_filenames:
        remedy = f'Rename {same_kind[0]} to {name}, or set default_model_filename: "{same_kind[0]}".'
    else:
        remedy = f"Put the model there under that name, or name its file in default_model_filename. There: {', '.join(there[:5])}."
    report_as = f"is missing, and backend {backend} looks for it"
    if model.config.cc_model_filenames:
        report_as = "is missing, and cc_model_filenames names it"
    elif model.config.default_model_filename:
        report_as = "is missing, and default_model_filename names it"
    model.report.file(path, report_as, remedy)


def _check_code(repository: Repository, model: _Model, path: str) -> None:
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
            report.file(path, f"is no Python ({error.msg})", "Correct it.", line=error.lineno)
        return
    except (ValueError, RecursionError, MemoryError):
        report.file(path, "is no Python", "Correct it.")
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
            consequence=f"{model.name} would load without inputs and outputs, and could not be asked",
            fatal=False,
        )


def _check_labels(repository: Repository, model: _Model) -> None:
    for index, output in enumerate(model.config.output):
        if output.label_filename:
            _check_named_file(repository, model, "", output.label_filename, ("output", index, "label_filename"))


def _check_named_file(repository: Repository, model: _Model, folder: str, name: str, where: tuple[Any, ...]) -> bool:
    """Note a file that a field names and that is not below the model's folder; True where it is there."""
    inside = f"{model.name}/{folder}" if folder else f"{model.name}/"
    depth = 0
    for part in f"{folder}/{name}".split("/"):
        depth += {"": 0, ".": 0, "..": -1}.get(part, 1)
        if depth < 0:
            model.report.field(
                *where,
                what=f"is {name}, outside the model's folder",
                remedy=f"Put the file into {inside}.",
                consequence=f"Triton would not find it in the store, and not load {model.name}",
            )
            return False
    kind = repository.kind(model.root / folder / name.lstrip("/"))
    if kind in {"absent", "folder"}:
        what = "is a folder" if kind == "folder" else "does not exist"
        model.report.field(*where, what=f"is {name}, and {inside}{name} {what}", remedy="Add the file, or leave the field out.")
        return False
    return kind == "file"


def _check_initial_states(repository: Repository, model: _Model) -> None:
    for index, state in enumerate(model.config.sequence_batching.state):
        for position, initial in enumerate(state.initial_state[:1]):
            if initial.data_file:
                where = ("sequence_batching", "state", index, "initial_state", position, "data_file")
                _check_named_file(repository, model, "initial_state/", initial.data_file, where)


def _check_warmup(repository: Repository, model: _Model) -> None:
    config, report = model.config, model.report
    inputs = {tensor.name: tensor for tensor in config.input}
    for index, sample in enumerate(config.model_warmup):
        if sample.batch_size == 0:
            report.field(
                "model_warmup",
                index,
                "batch_size",
                what="is 0",
                consequence="Triton would skip this warm-up",
                remedy="Set it to 1 or more.",
                fatal=False,
            )
            continue
        if config.max_batch_size and sample.batch_size > config.max_batch_size:
            report.field(
                "model_warmup",
                index,
                "batch_size",
                what=f"is {sample.batch_size}, above max_batch_size ({config.max_batch_size})",
                consequence="the model would be run with a batch that no request can have",
                remedy="Lower it.",
                fatal=False,
            )
        for name in sorted(sample.inputs):
            where = ("model_warmup", index, "inputs", Key(name))
            _check_warmup_input(repository, model, sample.inputs[name], inputs.get(name), where)
        if not model.completes_itself:
            for tensor in config.input:
                if tensor.name not in sample.inputs and not tensor.optional:
                    report.field(
                        "model_warmup", index, "inputs", what=f"leaves out {tensor.name}", remedy="Give it values: the model needs it."
                    )


def _check_warmup_input(repository: Repository, model: _Model, sample: Any, tensor: Any, where: tuple[Any, ...]) -> None:  # noqa: C901 (rule by rule)
    report = model.report
    kind = data_type(sample.data_type)
    if any(dim == WILDCARD for dim in sample.dims):
        report.field(*where, "dims", what="holds -1", remedy="Write a number for every size.")
        return
    if tensor is not None and data_type(tensor.data_type) != kind:
        report.field(*where, "data_type", what=f"is {kind}, and the input's is {data_type(tensor.data_type)}", remedy="Make both equal.")
    if tensor is not None and tensor.dims:
        fits = len(sample.dims) == len(tensor.dims) and all(
            whole in {WILDCARD, mine} for mine, whole in zip(sample.dims, tensor.dims, strict=False)
        )
        if not fits:
            report.field(
                *where, "dims", what=f"is {list(sample.dims)}, and the input's is {list(tensor.dims)}", remedy="Write the input's sizes."
            )
    choice = sample.WhichOneof("input_data_type")
    if choice is None:
        report.field(*where, what="has no values", remedy="Set zero_data, random_data or input_data_file.")
    elif choice == "input_data_file":
        name = sample.input_data_file
        field = (*where, "input_data_file")
        if not name:
            report.field(*field, what="is empty", remedy=f"Name a file in {model.name}/warmup.")
        elif _check_named_file(repository, model, "warmup/", name, field) and kind in _BYTES:
            size, wanted = repository.size(model.root / "warmup" / name), _BYTES[kind]
            for dim in sample.dims:
                wanted *= dim
            if size < wanted:
                report.field(
                    *field,
                    what=f"is {name}, which has {size} bytes of the {wanted} that {kind} {list(sample.dims)} takes",
                    remedy="Write it again.",
                )


def _check_deployment(repository: Repository, model: _Model, deployment: Deployment) -> None:
    """Note what this deployment can't run: its backends, its GPUs, its flags."""
    config, report, resolved = model.config, model.report, model.resolved
    if config is None or resolved is None or config.platform == ENSEMBLE or config.HasField("ensemble_scheduling"):
        return
    where = f"{deployment.key} ({deployment.image})"
    known = deployment.known_backends
    if (
        resolved.backend
        and known is not None
        and resolved.backend not in known
        and not _brings_backend(repository, model, resolved.backend)
    ):
        field = "backend" if config.backend or not config.platform else "platform"
        what = f"is {getattr(config, field) or resolved.backend}, which the image of {where} does not have"
        close = difflib.get_close_matches(resolved.backend, known, 1, 0.75)
        remedy = (
            f"Did you mean {close[0]}?" if close else f"Serve it from an image with backend {resolved.backend}, or leave {model.name} out."
        )
        remedy += f" There: {', '.join(sorted(known)) or 'none'}."
        report.field(field, what=what, remedy=remedy)
    if not deployment.auto_complete and not model.described:
        report.file(
            "", f"has no config.pbtxt, and {deployment.key} runs with --disable-auto-complete-config", f"Write {model.name}/config.pbtxt."
        )
    kinds = schema().ModelConfig.DESCRIPTOR.file.message_types_by_name["ModelInstanceGroup"].enum_types_by_name["Kind"].values_by_number
    for index, group in enumerate(config.instance_group):
        kind = kinds[group.kind].name if group.kind in kinds else ""
        beyond = [gpu for gpu in group.gpus if not 0 <= gpu < deployment.gpus]
        here = ("instance_group", index)
        if kind == "KIND_GPU" and deployment.gpus == 0:
            report.field(
                *here,
                "kind",
                what=f"is KIND_GPU, and the pods of {where} have no GPU",
                remedy=f"Write KIND_CPU or KIND_AUTO, set {deployment.key}.resources.gpus, or leave {model.name} out.",
            )
        elif kind in {"KIND_GPU", "KIND_AUTO"} and beyond:
            ids = "has none" if deployment.gpus == 0 else f"has ids 0 to {deployment.gpus - 1}" if deployment.gpus > 1 else "has id 0 alone"
            report.field(
                *here,
                "gpus",
                what=f"names {beyond[0]}, and a pod of {where} {ids}",
                remedy=f"Name ids that are there, or raise {deployment.key}.resources.gpus.",
            )


def _brings_backend(repository: Repository, model: _Model, backend: str) -> bool:
    """Whether the model has its backend's library with it: in its folder or in a version's (``GetBackendLibrarySearchPaths``)."""
    library = model.config.runtime or f"libtriton_{backend}.so"
    folders = [model.root, *(model.root / str(version) for version in model.versions)]
    return any(repository.kind(folder / library) in {"file", "closed"} for folder in folders if "\0" not in library)
