"""Check ensembles: the tensors between the steps, and each ensemble step against its model.

Follows ``ValidateEnsembleSchedulingConfig``, ``ValidateEnsembleConfig`` (types and shapes) and ``CircularDependencyCheck`` of
triton-inference-server/core. Not checked: Triton refuses a step with inputs from different decoupled models.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import ENSEMBLE
from components.repository.validation.config import WILDCARD
from components.repository.validation.text import data_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from components.repository.validation.report import Report

_SCHEDULING: Final = "ensemble_scheduling"


@dataclass(frozen=True, kw_only=True)
class Composable:
    """The model of an ensemble step."""

    config: Any
    """``ModelConfig``; None if it could not be read."""
    open: bool
    """Whether the backend can add inputs, outputs or a batch size to config.pbtxt."""
    versions: Collection[int]
    """Versions that Triton loads."""


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """Type and shape of a tensor, and the model that sets them."""

    model: str
    type: int
    dims: tuple[int, ...]
    batching: bool

    def fits(self, other: _Tensor) -> bool:
        """Whether the shapes are compatible, with or without the batch dimensions."""
        return _fits(self.dims, other.dims) or _fits(self.full, other.full)

    @property
    def full(self) -> tuple[int, ...]:
        return (WILDCARD, *self.dims) if self.batching else self.dims


def _fits(left: Sequence[int], right: Sequence[int]) -> bool:
    return len(left) == len(right) and all(a == b or WILDCARD in {a, b} for a, b in zip(left, right, strict=True))


def check_ensemble(config: Any, models: Mapping[str, Composable], left_out: Collection[str], report: Report) -> None:
    """Check an ensemble's own fields, its tensors and its steps.

    Args:
        config: the ensemble's ``ModelConfig``.
        models: the models to upload, by name.
        left_out: models in the repository that are not uploaded.
        report: collects the problems.
    """
    if config.platform == ENSEMBLE and config.backend:
        report.field("backend", f"({config.backend}) is set, but platform is ensemble", "Remove backend.")
    if not config.HasField(_SCHEDULING):
        if config.platform == ENSEMBLE:
            report.field("platform", "is ensemble, but ensemble_scheduling is missing", "Add ensemble_scheduling { step [ ... ] }.")
        return
    if config.platform != ENSEMBLE:
        what = f"is {config.platform or 'missing'}, but ensemble_scheduling is set"
        report.field("platform", what, 'Set platform: "ensemble", and no backend.')
    for field, given in (
        ("instance_group", bool(config.instance_group)),
        ("optimization", config.HasField("optimization")),
        ("model_warmup", bool(config.model_warmup)),
    ):
        if given:
            report.field(field, "is set for an ensemble", "Move it to the models of its steps.")
    steps = config.ensemble_scheduling.step
    if not steps:
        report.field("ensemble_scheduling", "has no steps", "Add a step for each model.")
        return
    _check_flow(config, report)
    _check_steps(config, models, left_out, report)


def _check_flow(config: Any, report: Report) -> None:  # noqa: C901, PLR0912 (a transcription, in its order)
    """Check that every tensor is written once and read, and that every output can be computed from the inputs."""
    written: dict[str, int] = {}
    read: dict[str, int] = {}
    for index, step in enumerate(config.ensemble_scheduling.step):
        where = f"ensemble_scheduling.step[{index}]"
        if not step.model_name:
            report.field(f"{where}.model_name", "is missing", "Set the step's model.")
        for field in ("input_map", "output_map"):
            if not getattr(step, field):
                report.field(f"{where}.{field}", "is missing", "Map the model's tensors to the ensemble's.")
        for name in step.input_map.values():
            read.setdefault(name, index)
        for key, name in sorted(step.output_map.items()):
            if name in written:
                report.field(
                    f'{where}.output_map["{key}"]',
                    f"writes {name}, but step {written[name]} already writes it",
                    "Give each output its own tensor.",
                )
            else:
                written[name] = index
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for position, tensor in enumerate(config.input):
        if tensor.name not in read and tensor.name not in written:
            report.field(f"input[{position}].name", f"({tensor.name}) is not read by any step", "Map it in a step, or remove it.")
    ready = set(inputs)
    waiting = list(config.ensemble_scheduling.step)
    while runnable := [step for step in waiting if all(name in ready for name in step.input_map.values())]:
        ready |= {name for step in runnable for name in step.output_map.values()}
        waiting = [step for step in waiting if all(step is not done for done in runnable)]
    for position, tensor in enumerate(config.output):
        if tensor.name not in written and tensor.name not in read:
            report.field(
                f"output[{position}].name", f"({tensor.name}) is not written by any step", "Map it in a step's output_map, or remove it."
            )
        elif tensor.name not in ready:
            missing = sorted({name for step in waiting for name in step.input_map.values()} - ready - set(written))
            reason = f"{', '.join(missing)} is neither an input nor written by a step" if missing else "its steps depend on one another"
            report.field(
                f"output[{position}].name", f"({tensor.name}) cannot be computed: {reason}", "Correct the steps' input_map and output_map."
            )
    for name in sorted((set(written) | set(read)) - outputs - inputs):
        if name not in read:
            step = ("output_map", written[name])
            what, remedy = f"writes {name}, which no step reads", "Remove the mapping, or make it an output."
        elif name not in ready and name not in written:
            step = ("input_map", read[name])
            what, remedy = f"reads {name}, which no step writes", "Map a step's output to it, or make it an input."
        elif name not in ready and outputs <= ready:
            step = ("output_map", written[name])
            what, remedy = (
                f"writes {name}, which cannot be computed: its steps depend on one another",
                "Remove these steps, or map other inputs.",
            )
        else:
            continue
        report.field(f"ensemble_scheduling.step[{step[1]}].{step[0]}", what, remedy)


def _check_steps(config: Any, models: Mapping[str, Composable], left_out: Collection[str], report: Report) -> None:
    """Check that each step's model and version exist, and that its tensors match those that they are mapped to."""
    tensors: dict[str, _Tensor] = {}
    for tensor in (*config.input, *config.output):
        dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        tensors.setdefault(
            tensor.name, _Tensor(model=report.model, type=tensor.data_type, dims=tuple(dims), batching=config.max_batch_size > 0)
        )
    for index, step in enumerate(config.ensemble_scheduling.step):
        if not step.model_name or step.model_namespace:
            continue
        where = f"ensemble_scheduling.step[{index}]"
        model = models.get(step.model_name)
        if model is None:
            _absent(step.model_name, f"{where}.model_name", models, left_out, report)
            continue
        if step.model_version != WILDCARD and model.versions and step.model_version not in model.versions:
            served = ", ".join(map(str, sorted(model.versions)))
            report.field(
                f"{where}.model_version",
                f"is {step.model_version or 'missing'}, but Triton serves {step.model_name} in version {served}",
                "Use -1 for the latest version, or a version that is served.",
            )
        if model.config is None:
            continue
        limit = model.config.max_batch_size
        if limit and limit < config.max_batch_size:
            report.field(
                "max_batch_size",
                f"is {config.max_batch_size}, but step {index}'s model {step.model_name} has max_batch_size {limit}",
                f"Lower it to {limit}, or raise {step.model_name}'s.",
            )
        _check_maps(step, model, where, tensors, report)


def _absent(name: str, where: str, models: Mapping[str, Composable], left_out: Collection[str], report: Report) -> None:
    if name in left_out:
        report.field(where, f"({name}) is not one of the models to upload", f"Add {name} to repository.models.")
        return
    close = difflib.get_close_matches(name, models, 1, 0.6)
    remedy = f"Did you mean {close[0]}?" if close else f"Add the model, or use one of: {', '.join(sorted(models))}."
    report.field(where, f"({name}) does not exist", remedy)


def _check_maps(step: Any, model: Composable, where: str, tensors: dict[str, _Tensor], report: Report) -> None:
    config = model.config
    for field, members in (("input_map", config.input), ("output_map", config.output)):
        known = {member.name: member for member in members}
        mapping = dict(getattr(step, field))
        for key in sorted(mapping):
            member = known.get(key)
            if member is None:
                if not model.open:
                    report.field(
                        f'{where}.{field}["{key}"]',
                        f"is not an {field.removesuffix('_map')} of {step.model_name}",
                        f"It must be one of: {', '.join(sorted(known)) or '(none)'}.",
                    )
                continue
            mine = _Tensor(model=step.model_name, type=member.data_type, dims=tuple(member.dims), batching=config.max_batch_size > 0)
            other = tensors.setdefault(mapping[key], mine)
            if other.type != mine.type:
                what = f"maps {key} ({data_type(mine.type)}) to {mapping[key]}, which is {data_type(other.type)} in {other.model}"
                report.field(f'{where}.{field}["{key}"]', what, "Map tensors of one type, or add a step that converts.")
            elif not other.fits(mine):
                what = f"maps {key} {_text(mine)} to {mapping[key]}, which is {_text(other)} in {other.model}"
                report.field(
                    f'{where}.{field}["{key}"]', what, "Make the shapes equal, including the batch dimension (-1 if the model batches)."
                )
        if field == "input_map":
            for member in members:
                if member.name not in mapping and not member.optional:
                    what = f"has no entry for {member.name}, which {step.model_name} requires"
                    report.field(f"{where}.{field}", what, "Map a tensor to it.")


def _text(tensor: _Tensor) -> str:
    return f"[{', '.join(str(dim) for dim in tensor.full)}]"


def cycles(steps: Mapping[str, Iterable[str]]) -> list[tuple[str, ...]]:
    """Circular dependencies between ensembles, each once, from its smallest name on; ``steps`` has each ensemble's models."""
    found: set[tuple[str, ...]] = set()
    finished: set[str] = set()
    for start in sorted(steps):
        path: list[str] = []
        stack = [(start, iter(sorted(set(steps[start]))))] if start not in finished else []
        path.extend(name for name, _ in stack)
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                finished.add(name)
                stack.pop()
                path.pop()
            elif following in path:
                circle = path[path.index(following) :]
                first = circle.index(min(circle))
                found.add((*circle[first:], *circle[:first]))
            elif following in steps and following not in finished:
                stack.append((following, iter(sorted(set(steps[following])))))
                path.append(following)
    return sorted(found)
