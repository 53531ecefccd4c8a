"""Check ensembles: the tensors between the steps, and each ensemble step against its model.

Follows ``ValidateEnsembleSchedulingConfig``, ``ValidateEnsembleConfig`` (types and shapes) and ``CircularDependencyCheck`` of
triton-inference-server/core.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.backends import ENSEMBLE
from components.repository.validation.config import WILDCARD
from components.repository.validation.schema import data_type

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from components.repository.validation.model import ModelState
    from components.repository.validation.report import Report

_SCHEDULING: Final = "ensemble_scheduling"


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    """Type and shape of a tensor, and the model that sets them."""

    model: str
    type: int
    dims: tuple[int, ...]
    batching: tuple[bool, ...]
    """Whether the model batches; both if its backend decides."""

    def fits(self, other: _Tensor) -> bool:
        """Whether the shapes are compatible, with or without the batch dimensions."""
        return _fits(self.dims, other.dims) or any(_fits(mine, theirs) for mine in self.full for theirs in other.full)

    @property
    def full(self) -> list[tuple[int, ...]]:
        return [(WILDCARD, *self.dims) if batching else self.dims for batching in self.batching]


def _fits(left: Sequence[int], right: Sequence[int]) -> bool:
    return len(left) == len(right) and all(a == b or WILDCARD in {a, b} for a, b in zip(left, right, strict=True))


def check_ensemble(ensemble: ModelState, models: Mapping[str, ModelState], left_out: Collection[str]) -> None:
    """Check an ensemble's own fields, its tensors and its steps; nothing for any other model.

    Args:
        ensemble: the ensemble, whose configuration could be read.
        models: the models to upload, by name.
        left_out: models in the repository that are not uploaded.
    """
    config, report = ensemble.config, ensemble.report
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
    _check_steps(ensemble, models, left_out)
    _check_decoupled(config, models, report)


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


def _check_steps(ensemble: ModelState, models: Mapping[str, ModelState], left_out: Collection[str]) -> None:
    """Check that each step's model and version exist, and that its tensors match those that they are mapped to."""
    config, report = ensemble.config, ensemble.report
    tensors: dict[str, _Tensor] = {}
    for tensor in (*config.input, *config.output):
        dims = tensor.reshape.shape if tensor.HasField("reshape") else tensor.dims
        tensors.setdefault(
            tensor.name, _Tensor(model=report.model, type=tensor.data_type, dims=tuple(dims), batching=(config.max_batch_size > 0,))
        )
    for index, step in enumerate(config.ensemble_scheduling.step):
        if not step.model_name or step.model_namespace:
            continue
        where = f"ensemble_scheduling.step[{index}]"
        model = models.get(step.model_name)
        if model is None:
            _absent(step.model_name, f"{where}.model_name", models.keys() - {report.model}, left_out, report)
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
        _check_maps(step, model, where, tensors, ensemble)


def _absent(name: str, where: str, models: Collection[str], left_out: Collection[str], report: Report) -> None:
    if name in left_out:
        report.field(where, f"({name}) is not one of the models to upload", f"Add {name} to repository.models.")
        return
    close = difflib.get_close_matches(name, models, 1, 0.6)
    remedy = f"Did you mean {close[0]}?" if close else f"Add the model, or use one of: {', '.join(sorted(models))}."
    report.field(where, f"({name}) does not exist", remedy)


def _check_maps(step: Any, model: ModelState, where: str, tensors: dict[str, _Tensor], ensemble: ModelState) -> None:  # noqa: C901
    config, report = model.config, ensemble.report
    batching = (True,) if config.max_batch_size > 0 else (False, True) if model.sets_batch else (False,)
    for field, members in (("input_map", config.input), ("output_map", config.output)):
        side = field.removesuffix("_map")
        known = {member.name: member for member in members}
        mapping = dict(getattr(step, field))
        for key in sorted(mapping):
            member = known.get(key)
            if member is None:
                if model.adds(side):
                    ensemble.unjudged.add(f"tensors that the backend of {step.model_name} adds")
                else:
                    report.field(
                        f'{where}.{field}["{key}"]',
                        f"is not an {side} of {step.model_name}",
                        f"It must be one of: {', '.join(sorted(known)) or '(none)'}.",
                    )
                continue
            mine = _Tensor(model=step.model_name, type=member.data_type, dims=tuple(member.dims), batching=batching)
            if model.completes_tensors and not (mine.type and mine.dims):
                ensemble.unjudged.add(f"types and shapes that {step.model_name} leaves out")
                continue
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
    return f"[{', '.join(str(dim) for dim in tensor.full[0])}]"


def _check_decoupled(config: Any, models: Mapping[str, ModelState], report: Report) -> None:
    """Check that no step, and not the ensemble's response, combines tensors of different decoupled models."""
    _, mixed = _decoupled(config, models, frozenset())
    if mixed is not None:
        where = f"ensemble_scheduling.step[{mixed}].input_map" if mixed >= 0 else "output"
        what = "combines tensors of different decoupled models, which send different numbers of responses"
        report.field(where, what, "Use tensors of one decoupled model only.")


def _decoupled(config: Any, models: Mapping[str, ModelState], above: frozenset[str]) -> tuple[bool | None, int | None]:
    """Whether an ensemble is decoupled (None if that is not known), and the first step that combines tensors (-1: its outputs)."""
    labels = {tensor.name: 0 for tensor in config.input}
    waiting = list(enumerate(config.ensemble_scheduling.step))
    last = 0
    while ready := [(index, step) for index, step in waiting if all(name in labels for name in step.input_map.values())]:
        waiting = [entry for entry in waiting if entry not in ready]
        for index, step in ready:
            model = models.get(step.model_name)
            if model is None or model.config is None or step.model_name in above:
                return None, None
            decoupled = _decoupled(model.config, models, above | {step.model_name})[0] if model.is_ensemble else model.decoupled
            if decoupled is None:
                return None, None
            found = {labels[name] for name in step.input_map.values()}
            if len(found) > 1:
                return None, index
            last += decoupled
            labels |= dict.fromkeys(step.output_map.values(), last if decoupled else next(iter(found), 0))
    mixed = len({labels[tensor.name] for tensor in config.output if tensor.name in labels}) > 1
    return last > 0, -1 if mixed else None


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
