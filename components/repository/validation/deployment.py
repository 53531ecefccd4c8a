"""Check models against the deployment that serves them: its backends, GPUs and flags."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from components.base.tritonserver import parse, server_image
from components.repository.validation.backends import BACKENDS, meant_backend
from components.repository.validation.config import kind_of
from components.repository.validation.modelfiles import vllm_arguments

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from components.repository.validation.files import Repository
    from components.repository.validation.model import ModelState

_REPORTERS: Final = {"vllm": "vllm", "trtllm": "tensorrtllm"}
"""Backend that reports the metrics of an engine."""
_BOOLEAN_FROM: Final = (24, 12)
"""First vllm_backend whose REPORT_CUSTOM_METRICS must be "true", in any case; before it, "yes" (src/model.py of r24.11 and r24.12)."""

_TENSORFLOW_LAST: Final = (25, 2)
"""Last release whose images include the TensorFlow backend. From memory of NVIDIA's release notes, not verified."""

_AGENTS: Final = {"-py3": frozenset({"checksum"}), "-py3-igpu": frozenset({"checksum"})}
"""Repository agents by the suffix of the image's tag (``enable_all`` in build.py of triton-inference-server/server, 26.07)."""

_NVIDIA: Final = re.compile(r"^nvcr\.io/nvidia/tritonserver:(?P<year>\d\d)\.(?P<month>\d\d)(?P<flavour>-[a-z0-9-]+?)(@sha256:[0-9a-f]+)?\Z")
_DEV: Final = re.compile(r"^triton-fleet\.local/tritonserver:[\w.-]+-cpu(@sha256:[0-9a-f]+)?\Z")


def backends_of(image: str) -> frozenset[str] | None:
    """Backends in an image; None if the image is unknown, such as a custom build or a mirror.

    Ensembles need no backend. A model can also contain its own backend.
    """
    if _DEV.match(image):
        return frozenset({"python"})
    match = _NVIDIA.match(image)
    if match is None:
        return None
    backends = frozenset(row.name for row in BACKENDS if match["flavour"] in row.images)
    if match["flavour"] in _AGENTS and (int(match["year"]), int(match["month"])) <= _TENSORFLOW_LAST:
        return backends | {"tensorflow"}
    return backends if backends or match["flavour"] == "-py3-min" else None


def agents_of(image: str) -> frozenset[str] | None:
    """Repository agents in an image; None if unknown."""
    match = _NVIDIA.match(image)
    return frozenset() if _DEV.match(image) else _AGENTS.get(match["flavour"]) if match else None


@dataclass(frozen=True, kw_only=True)
class Deployment:
    """A Triton deployment that serves these models."""

    key: str
    """Name in messages, such as ``triton-fleet:serving[0]``."""
    image: str
    gpus: int
    """Number of GPUs, or slices of a GPU, that a pod has. GPU IDs start at 0."""
    models: Collection[str] | None = None
    """Models that it loads, with those of their ensemble steps; None for all."""
    backends: frozenset[str] | None = None
    """Backends in the image; None for those that `backends_of` finds."""
    arguments: Sequence[str] = ()
    """Additional flags of tritonserver."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Metrics of engines that it scales by: kind of the metric -> ``vllm`` or ``trtllm``."""

    @property
    def known_backends(self) -> frozenset[str] | None:
        """Backends in the image; None if unknown."""
        if self.backends is not None:
            return self.backends
        if any(flag.option == "backend-directory" for flag in parse(self.arguments)[0]):
            return None
        return backends_of(self.image)

    @property
    def auto_complete(self) -> bool:
        """Whether backends can complete the model configuration."""
        off = {("disable-auto-complete-config", ""), ("strict-model-config", "true")}
        return off.isdisjoint((flag.option, flag.value) for flag in parse(self.arguments)[0])


def check_deployment(repository: Repository, model: ModelState, deployment: Deployment) -> None:
    """Report what this deployment cannot run."""
    config, report, resolved = model.config, model.report, model.resolved
    if config is None or resolved is None:
        return
    where = f"{deployment.key} ({deployment.image})"
    agents = None if any(flag.option == "repoagent-directory" for flag in parse(deployment.arguments)[0]) else agents_of(deployment.image)
    for index, agent in enumerate(config.model_repository_agents.agents):
        if agents is not None and agent.name not in agents:
            has = f"It has: {', '.join(sorted(agents)) or 'none'}."
            field = f"model_repository_agents.agents[{index}].name"
            report.field(field, f"({agent.name}) is not in the image of {where}", f"Use an image with this agent, or remove it. {has}")
    if model.is_ensemble:
        return
    if resolved.backend:
        _check_backend(repository, model, deployment, where)
    if model.relative_environment:
        _check_relative_environment(model, deployment, where)
    if not deployment.auto_complete:
        _check_completeness(model, deployment)
    _check_instances(model, deployment, where)
    if model.row.name == "vllm":
        _check_devices(repository, model, deployment)


def _check_backend(repository: Repository, model: ModelState, deployment: Deployment, where: str) -> None:
    """Check that the image has the model's backend and runtime, if the model does not bring them."""
    config, resolved, known = model.config, model.resolved, deployment.known_backends
    if known is None or resolved is None or _brings_backend(repository, model, resolved.backend):
        return
    rows = [row for row in BACKENDS if row.name == resolved.backend]
    usual = {f"libtriton_{resolved.backend}.so", *(["model.py"] if any(row.python_based for row in rows) else [])}
    if resolved.backend in known:
        release = server_image(deployment.image).release
        if model.row.since is not None and release is not None and release < model.row.since:
            what = f"({resolved.platform}) is not in the image of {where}"
            model.report.field("platform", what, "Use release {}.{:02} or later.".format(*model.row.since))
        if config.runtime and rows and config.runtime not in usual:
            remedy = f"Set one of: {', '.join(sorted(usual))}; or add the file to the model's folder."
            model.report.field("runtime", f"({config.runtime}) is not in the image of {where}", remedy)
        return
    field = "backend" if config.backend or not config.platform else "platform"
    meant = meant_backend(resolved.backend)
    elsewhere = f"Serve it from an image with backend {meant or resolved.backend}, or remove {model.name}."
    remedy = " ".join([*([f"Did you mean {meant}?"] if meant else []), *([] if meant in known else [elsewhere])])
    model.report.field(
        field,
        f"({getattr(config, field) or resolved.backend}) is not in the image of {where}",
        f"{remedy} The image has: {', '.join(sorted(known)) or 'no backends'}.",
    )


def _check_relative_environment(model: ModelState, deployment: Deployment, where: str) -> None:
    """Check a Python environment in the directory in which tritonserver runs: known images have none."""
    path = model.relative_environment
    if backends_of(deployment.image) is None and not path.startswith("$"):
        model.unjudged.add(f"the Python environment {path}, which the image may contain")
        return
    what = f"({path}) is relative to the directory in which tritonserver runs, and the image of {where} has no environment"
    remedy = f"Write $$TRITON_MODEL_DIRECTORY/{path.rpartition('/')[2]} for a file in the model's folder."
    model.report.field('parameters["EXECUTION_ENV_PATH"]', what, remedy)


def _check_instances(model: ModelState, deployment: Deployment, where: str) -> None:
    """Check the kinds and GPUs of the instance groups, as ``NormalizeInstanceGroup`` and ``ValidateInstanceGroup`` resolve them."""
    report, gpus = model.report, deployment.gpus
    has = "has no GPU" if gpus == 0 else "has only GPU 0" if gpus == 1 else f"has GPUs 0 to {gpus - 1}"
    for index, group in enumerate(model.config.instance_group):
        here, kind = f"instance_group[{index}]", kind_of(group)
        beyond = [gpu for gpu in group.gpus if not 0 <= gpu < gpus]
        if kind == "KIND_GPU" and gpus == 0:
            what = f"is KIND_GPU, but the pods of {where} have no GPU"
            remedy = f"Use KIND_CPU or KIND_AUTO, set {deployment.key}.resources.gpus, or remove {model.name}."
            report.field(f"{here}.kind", what, remedy)
        elif kind in {"KIND_GPU", "KIND_AUTO"} and beyond:
            what = f"contains {beyond[0]}, but a pod of {where} {has}"
            report.field(f"{here}.gpus", what, f"Use GPUs that it has, or raise {deployment.key}.resources.gpus.")
    for path, kind in _kinds(model, deployment).items():
        accepted = model.row.kinds
        if accepted and kind not in accepted and not (kind == "KIND_GPU" and gpus == 0):
            what = f"{_is(path)} {kind} on the pods of {where}, but backend {model.row.name} runs on {accepted[0]} only"
            remedy = f"Set kind: {accepted[0]}." if accepted[0] == "KIND_CPU" else f"Set {deployment.key}.resources.gpus, and no KIND_CPU."
            report.field(path, what, remedy)


def _kinds(model: ModelState, deployment: Deployment) -> dict[str, str]:
    """Kind of each instance group on the deployment's pods, by the field that sets it."""
    auto = "KIND_GPU" if deployment.gpus else "KIND_CPU"
    if not model.config.instance_group:
        return {"instance_group": "KIND_CPU" if model.row.kinds == ("KIND_CPU",) else auto}  # the backend's preference
    kinds = {}
    for index, group in enumerate(model.config.instance_group):
        there = all(0 <= gpu < deployment.gpus for gpu in group.gpus)
        kind = kind_of(group)
        kinds[f"instance_group[{index}].kind"] = kind if kind != "KIND_AUTO" else auto if there else "KIND_CPU"
    return kinds


def _is(field: str) -> str:
    return "is missing, which means" if field == "instance_group" else "is"


def _check_devices(repository: Repository, model: ModelState, deployment: Deployment) -> None:
    """Check the GPUs that a vLLM model asks for (``_validate_device_config`` of vllm_backend)."""
    for version in model.versions:
        arguments = vllm_arguments(repository, model, version)
        sizes = [arguments.get(name, 1) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
        if not all(isinstance(size, int) for size in sizes) or (wanted := sizes[0] * sizes[1]) <= 1:
            continue
        path = f"{version}/model.json"
        if wanted > deployment.gpus:
            product = "tensor_parallel_size x pipeline_parallel_size"
            what = f"asks for {wanted} GPUs ({product}), but a pod of {deployment.key} has {deployment.gpus}"
            model.report.file(path, what, f"Lower them, or set {deployment.key}.resources.gpus to {wanted}.")
        for instances, kind in _kinds(model, deployment).items():
            if kind == "KIND_GPU":
                what = f"{_is(instances)} KIND_GPU, which is for one GPU, but {path} asks for {wanted}"
                model.report.field(instances, what, "Set instance_group [ { kind: KIND_MODEL } ].")


def _check_completeness(model: ModelState, deployment: Deployment) -> None:
    """Report what only auto-completion would fill in."""
    report, off = model.report, f"{deployment.key} runs with --disable-auto-complete-config"
    if not model.described:
        report.file("", f"has no config.pbtxt, and {off}", f"Write {model.name}/config.pbtxt.")
        return
    for side in ("input", "output"):
        for index, tensor in enumerate(getattr(model.config, side) if model.completes_tensors else ()):
            for name in ("data_type", "dims"):
                if not getattr(tensor, name):
                    report.field(f"{side}[{index}].{name}", f"is missing, and {off}", "Set it: no backend completes the tensor.")
    if model.row.name not in {"", "python"} and model.adds("output") and not model.config.output:
        report.field("output", f"is missing, and {off}", "List all inputs and outputs.")


def check_metrics(repository: Repository, served: Sequence[ModelState], deployment: Deployment) -> None:
    """Report models that don't report the metrics of their engine that the deployment scales by."""
    still = "the metric would never exist and the autoscaler could not scale"
    for kind, engine in deployment.metrics.items():
        scales = f"and {deployment.key} scales by {kind}"
        found = [model for model in served if model.resolved is not None and model.resolved.backend == _REPORTERS[engine]]
        silent = [(model, *why) for model in found if (why := _silent(repository, model, deployment, engine))]
        some = len(silent) < len(found)
        fatal = not some and server_image(deployment.image).engine == engine  # another image's backend may always report
        for model, path, what, remedy in silent:
            consequence = "its requests would not count" if some else still
            model.report.file(path, f"{what}, {scales}", remedy, consequence=consequence, warning="" if fatal else consequence)
        if served and not found:
            # Not an error: a Python model may report metrics of this name itself.
            what = f"is served by {deployment.key}, which scales by {kind}, but none of its models has backend {_REPORTERS[engine]}"
            served[0].report.file("", what, "Scale by requestRate or gpuUtilization.", warning=still)


def _silent(repository: Repository, model: ModelState, deployment: Deployment, engine: str) -> tuple[str, str, str] | None:
    """Return the file that keeps a model from reporting the metrics of its engine, what it says, and the remedy.

    vLLM: src/model.py of triton-inference-server/vllm_backend. TensorRT-LLM: inflight_batcher_llm/src/model_instance_state.cc of
    triton-inference-server/tensorrtllm_backend (r25.05), which reports the executor's statistics, by default those of 1000 iterations.
    """

    def parameter(name: str) -> str:
        return str(model.config.parameters[name].string_value) if name in model.config.parameters else ""

    if engine == "trtllm":
        off = parameter("iter_stats_max_iterations").strip() == "0"
        return ("config.pbtxt", 'parameters["iter_stats_max_iterations"] is 0', "Remove it.") if off else None
    release, value = server_image(deployment.image).release, parameter("REPORT_CUSTOM_METRICS")
    old = release is not None and release < _BOOLEAN_FROM
    if not (value == "yes" if old else value.lower() == "true" or (release is None and value == "yes")):
        what = f'parameters["REPORT_CUSTOM_METRICS"] is {value or "missing"}'
        return "config.pbtxt", what, f'Set its string_value to "{"yes" if old else "true"}".'
    for version in model.versions:
        if vllm_arguments(repository, model, version).get("disable_log_stats"):
            return f"{version}/model.json", "sets disable_log_stats", "Remove it."
    return None


def _brings_backend(repository: Repository, model: ModelState, backend: str) -> bool:
    """Whether the model's folder or a version directory contains the backend's library (``GetBackendLibrarySearchPaths``)."""
    library = model.config.runtime or f"libtriton_{backend}.so"
    if library == "model.py":  # Triton looks for it in the image only
        return False
    folders = [model.root, *(model.root / str(version) for version in model.versions)]
    return any(repository.kind(folder / library) in {"file", "closed"} for folder in folders if "\0" not in library)
