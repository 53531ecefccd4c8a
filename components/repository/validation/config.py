"""Check a model configuration by itself, without the model's files.

Follows ``ValidateModelConfig``, ``ValidateModelIOConfig``, ``ValidateInstanceGroup`` and the sequence batcher's initial states in
triton-inference-server/core. Triton stops at the first problem; these checks report all, and warn of settings that Triton ignores.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.schema import data_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.repository.validation.report import Report

WILDCARD: Final = -1
"""A variable dimension."""

_DELAY: Final = 1
"""ModelQueuePolicy.TimeoutAction.DELAY."""

_CORRELATION_TYPES: Final = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
_BOOLEAN_CONTROLS: Final = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY")
_FALSE_TRUE: Final = ("int32_false_true", "fp32_false_true", "bool_false_true")


def check_config(config: Any, platform: str, report: Report, *, completed: bool = False) -> None:
    """Check ``config``, except an ensemble's steps.

    Args:
        config: the ``ModelConfig``.
        platform: the result of `components.repository.validation.backends.resolve`.
        report: collects the problems.
        completed: whether the backend fills in the missing types and shapes of listed tensors.
    """
    if config.name and config.name != report.model:
        report.field(
            "name",
            f"({config.name}) differs from the folder's name ({report.model})",
            f"Set it to {report.model}, remove it, or rename the folder.",
        )
    if config.max_batch_size < 0:
        report.field(
            "max_batch_size",
            f"({config.max_batch_size}) is negative",
            "Set the largest batch size, or 0 for no batching.",
        )
    if config.version_policy.WhichOneof("policy_choice") == "latest" and config.version_policy.latest.num_versions == 0:
        report.field("version_policy.latest", "selects no version: num_versions is 0", "Set num_versions to 1 or more.")
    for kind in ("input", "output"):
        _check_tensors(config, kind, platform, report, completed=completed)
    _check_batch_tensors(config, report)
    _check_dynamic_batching(config, report)
    _check_sequence_batching(config, report)
    _check_instance_groups(config, platform, report)
    _check_metrics(config, report)
    if config.response_cache.enable and config.model_transaction_policy.decoupled:
        report.field("response_cache.enable", "is true for a decoupled model", "Remove response_cache: it cannot store several responses.")


def _check_tensors(config: Any, kind: str, platform: str, report: Report, *, completed: bool) -> None:  # noqa: C901, PLR0912 (rule by rule)
    seen: set[str] = set()
    for index, tensor in enumerate(getattr(config, kind)):
        where = f"{kind}[{index}]"
        if not tensor.name:
            report.field(where, "has no name", "Set the tensor's name as the model has it.")
        elif tensor.name in seen:
            same = [other for other in getattr(config, kind) if other.name == tensor.name]
            counted = kind == "input" and sum(not other.optional for other in same) > 1
            labels = [other.label_filename for other in same if other.label_filename] if kind == "output" else []
            refused = len(labels) > 1 or (counted and any(sample.batch_size for sample in config.model_warmup))
            report.field(
                f"{where}.name",
                f"({tensor.name}) is used twice",
                "Give each tensor its own name.",
                warning="" if refused else f"Triton would {'reject every request' if counted else 'ignore one of the two'}",
            )
        seen.add(tensor.name)
        if data_type(tensor.data_type) in {"TYPE_INVALID", str(tensor.data_type)}:
            given = "TYPE_INVALID" if tensor.data_type == 0 else data_type(tensor.data_type)
            written = f"{where}.data_type" in report.lines
            if tensor.data_type or not completed:
                report.field(
                    f"{where}.data_type",
                    f"is {given}" if written else "is missing",
                    "Set the tensor's data type, such as TYPE_FP32 or TYPE_STRING.",
                )
        if not tensor.dims and not completed:
            report.field(
                f"{where}.dims",
                "is missing",
                "Set the shape without the batch dimension, with -1 for variable dimensions.",
            )
        if bad := [dim for dim in tensor.dims if dim < 1 and dim != WILDCARD]:
            report.field(f"{where}.dims", f"contains {bad[0]}", "Use sizes of 1 or more, or -1 for a variable dimension.")
        elif tensor.HasField("reshape"):
            _check_reshape(tensor, config.max_batch_size, where, report)
        if platform != "tensorrt_plan":
            for field in ("is_shape_tensor", "is_non_linear_format_io"):
                if getattr(tensor, field):
                    report.field(f"{where}.{field}", "is true, but only TensorRT has such tensors", "Remove it.")
        elif tensor.is_non_linear_format_io and len(tensor.dims) != 3:  # noqa: PLR2004 (CHW)
            report.field(f"{where}.dims", "must have 3 dimensions with is_non_linear_format_io", "Set channels, height and width.")
        if kind == "input" and tensor.format and len(tensor.dims) != 3:  # noqa: PLR2004 (HWC)
            report.field(f"{where}.dims", "must have 3 dimensions with format", "Set height, width and channels, or remove format.")


def _check_reshape(tensor: Any, max_batch_size: int, where: str, report: Report) -> None:
    shape = list(tensor.reshape.shape)
    field = f"{where}.reshape.shape"
    if not shape and max_batch_size == 0:
        report.field(field, "is empty, but the model does not batch", "Set a shape: a tensor needs at least one dimension.")
    if bad := [dim for dim in shape if dim < 1 and dim != WILDCARD]:
        report.field(field, f"contains {bad[0]}", "Use sizes of 1 or more, or -1 for a variable dimension.")
        return
    if not tensor.dims or _chunks(tensor.dims) == _chunks(shape):
        return
    report.field(
        field,
        f"{_shape(shape)} has a different number of elements than dims {_shape(tensor.dims)}",
        "Make the products of both equal, also between variable dimensions.",
    )


def _chunks(dims: Sequence[int]) -> list[int]:
    """Products of the sizes between variable dimensions."""
    chunks: list[list[int]] = [[]]
    for dim in dims:
        if dim == WILDCARD:
            chunks.append([])
        else:
            chunks[-1].append(dim)
    return [prod(chunk) for chunk in chunks]


def _shape(dims: Sequence[int]) -> str:
    return f"[{', '.join(str(dim) for dim in dims)}]"


def _check_batch_tensors(config: Any, report: Report) -> None:  # noqa: C901 (rule by rule)
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for kind in ("batch_input", "batch_output"):
        for index, tensor in enumerate(getattr(config, kind)):
            where = f"{kind}[{index}]"
            if len(tensor.source_input) != 1:
                report.field(f"{where}.source_input", f"has {len(tensor.source_input)} entries", "Name exactly one input.")
            for position, name in enumerate(tensor.source_input):
                if name not in inputs:
                    report.field(f"{where}.source_input[{position}]", f"({name}) is not an input", _listed(inputs))
            if kind == "batch_input" and data_type(tensor.data_type) not in {"TYPE_INT32", "TYPE_FP32"}:
                report.field(f"{where}.data_type", f"is {data_type(tensor.data_type)}", "It must be TYPE_INT32 or TYPE_FP32.")
            if kind == "batch_output":
                for position, name in enumerate(tensor.target_name):
                    if name not in outputs:
                        report.field(f"{where}.target_name[{position}]", f"({name}) is not an output", _listed(outputs))
                    elif name in tensor.target_name[:position]:
                        report.field(f"{where}.target_name[{position}]", f"({name}) is used twice", "Name each output once.")


def _listed(names: set[str]) -> str:
    return f"It must be one of: {', '.join(sorted(names)) or '(none)'}."


def _check_preferred(sizes: Sequence[int], limit: int, where: str, report: Report) -> None:
    for index, size in enumerate(sizes):
        if size <= 0:
            report.field(f"{where}[{index}]", f"({size}) is below 1", "Use sizes of 1 or more.")
        elif size > limit:
            report.field(
                f"{where}[{index}]",
                f"({size}) is above max_batch_size ({limit})",
                f"Lower it or raise max_batch_size to {size}." if limit else f"Set max_batch_size to {size} or more.",
            )


def _check_dynamic_batching(config: Any, report: Report) -> None:  # noqa: C901 (rule by rule)
    if not config.HasField("dynamic_batching"):
        return
    batching = config.dynamic_batching
    here = "dynamic_batching"
    _check_preferred(batching.preferred_batch_size, config.max_batch_size, f"{here}.preferred_batch_size", report)
    queues = batching.priority_levels or batching.HasField("default_queue_policy") or batching.priority_queue_policy
    if config.max_batch_size == 0 and not batching.preferred_batch_size and not queues:
        report.field(
            here,
            "is set, but max_batch_size is 0",
            "Set max_batch_size to the largest batch, or remove dynamic_batching.",
            warning=f"{report.model} would not batch any requests",
        )
    levels = batching.priority_levels
    if levels:
        if not 1 <= batching.default_priority_level <= levels:
            report.field(
                f"{here}.default_priority_level",
                f"({batching.default_priority_level}) is not one of the {levels} priority_levels",
                f"Set a level from 1 to {levels}.",
            )
        for level in batching.priority_queue_policy:
            if not 1 <= level <= levels:
                report.field(
                    f"{here}.priority_queue_policy[{level}]",
                    f"is not one of the {levels} priority_levels",
                    f"Use levels from 1 to {levels}.",
                )
    if not batching.preserve_ordering:
        return
    if levels > 1:
        report.field(
            f"{here}.preserve_ordering",
            f"is true, but priority_levels is {levels}",
            "Remove one: priorities change the order of requests.",
        )
    policies = {"default_queue_policy": batching.default_queue_policy}
    policies |= {f"priority_queue_policy[{level}]": policy for level, policy in batching.priority_queue_policy.items()}
    for field, policy in policies.items():
        if policy.default_timeout_microseconds and policy.timeout_action == _DELAY:
            report.field(
                f"{here}.{field}.timeout_action", "is DELAY, but preserve_ordering is true", "Use REJECT, or remove preserve_ordering."
            )


def _check_sequence_batching(config: Any, report: Report) -> None:
    if not config.HasField("sequence_batching"):
        return
    here = "sequence_batching"
    batching = config.sequence_batching
    if config.response_cache.enable:
        report.field("response_cache.enable", "is true for a model with sequence_batching", "Remove response_cache.")
    _check_controls(batching.control_input, report)
    _check_preferred(batching.oldest.preferred_batch_size, config.max_batch_size, f"{here}.oldest.preferred_batch_size", report)
    if batching.HasField("direct") and not 0 <= batching.direct.minimum_slot_utilization <= 1:
        report.field(
            f"{here}.direct.minimum_slot_utilization",
            f"({batching.direct.minimum_slot_utilization:g}) is out of range",
            "Use a number from 0 to 1.",
        )
    for index, state in enumerate(batching.state):
        _check_state(state, f"{here}.state[{index}]", report)


def _check_controls(controls: Any, report: Report) -> None:  # noqa: C901 (rule by rule)
    names: set[str] = set()
    kinds: dict[int, str] = {}
    for index, tensor in enumerate(controls):
        here = f"sequence_batching.control_input[{index}]"
        if not tensor.name:
            report.field(f"{here}.name", "is missing", "Set the name of the control tensor.")
        elif tensor.name in names:
            report.field(f"{here}.name", f"({tensor.name}) is used twice", "Give each control_input its own tensor.")
        names.add(tensor.name)
        for position, control in enumerate(tensor.control):
            where = f"{here}.control[{position}]"
            value = control.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number.get(control.kind)
            kind = str(control.kind) if value is None else value.name
            if control.kind in kinds:
                report.field(f"{where}.kind", f"({kind}) is used twice", f"Remove one; control_input {kinds[control.kind]} has it too.")
            kinds[control.kind] = tensor.name
            given = [field for field in _FALSE_TRUE if getattr(control, field)]
            if kind in _BOOLEAN_CONTROLS:
                if len(given) != 1:
                    report.field(
                        where,
                        f"({kind}) has {' and '.join(given) or 'no values'}",
                        f"Set one of {', '.join(_FALSE_TRUE)}, such as fp32_false_true: [ 0, 1 ].",
                    )
                elif len(getattr(control, given[0])) != 2:  # noqa: PLR2004 (false and true)
                    report.field(f"{where}.{given[0]}", "must have 2 values", "Set the value for false, then the value for true.")
            elif kind == "CONTROL_SEQUENCE_CORRID":
                if given:
                    report.field(f"{where}.{given[0]}", f"is set for {kind}", "Set only data_type: the tensor carries the correlation ID.")
                if data_type(control.data_type) not in _CORRELATION_TYPES:
                    report.field(
                        f"{where}.data_type",
                        f"is {data_type(control.data_type)}" if control.data_type else "is missing",
                        f"It must be one of: {', '.join(_CORRELATION_TYPES)}.",
                    )


def _check_state(state: Any, where: str, report: Report) -> None:
    if len(state.initial_state) > 1:
        report.field(f"{where}.initial_state", f"is set {len(state.initial_state)} times", "Keep one.")
    for initial in state.initial_state[:1]:
        here = f"{where}.initial_state[0]"
        if initial.data_type != state.data_type:
            report.field(
                f"{here}.data_type",
                f"is {data_type(initial.data_type)}, but the state's is {data_type(state.data_type)}",
                "Make them equal.",
            )
        if not initial.name:
            report.field(f"{here}.name", "is missing", "Set a name.")
        fits = len(initial.dims) == len(state.dims) and all(
            mine != WILDCARD and whole in {WILDCARD, mine} for mine, whole in zip(initial.dims, state.dims, strict=False)
        )
        if not fits:
            report.field(
                f"{here}.dims",
                f"is {_shape(initial.dims)}, but the state's is {_shape(state.dims)}",
                "Set the state's shape, with a fixed size for each variable dimension.",
            )
        if initial.WhichOneof("state_data") is None:
            report.field(here, "has neither zero_data nor data_file", "Set one of them.")


def _check_instance_groups(config: Any, platform: str, report: Report) -> None:
    if config.HasField("ensemble_scheduling"):
        return
    for index, group in enumerate(config.instance_group):
        where, kind = f"instance_group[{index}]", kind_of(group)
        if kind in {"KIND_CPU", "KIND_MODEL"} and group.gpus:
            report.field(f"{where}.gpus", f"is set for {kind}", "Remove gpus, or use KIND_GPU.")
        if group.count < 0:
            report.field(
                f"{where}.count",
                f"({group.count}) is negative",
                "Set the number of instances, 1 or more.",
                warning="Triton would start its default number of instances",
            )
        if group.profile and platform != "tensorrt_plan":
            report.field(f"{where}.profile", "is set, but only TensorRT has profiles", "Remove it.")
        elif bad := [profile for profile in group.profile if not (profile.isascii() and profile.isdigit())]:
            report.field(f"{where}.profile", f"contains {bad[0]}", "Use the profile's index as a string.")


def kind_of(group: Any) -> str:
    """Kind of an instance group, or its number if Triton has no such kind."""
    value = group.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number.get(group.kind)
    return str(group.kind) if value is None else str(value.name)


def _check_metrics(config: Any, report: Report) -> None:
    for index, control in enumerate(config.model_metrics.metric_control):
        where = f"model_metrics.metric_control[{index}]"
        if not control.metric_identifier.family:
            report.field(f"{where}.metric_identifier", "has no family", "Set metric_identifier { family: ... }.")
        if not control.histogram_options.buckets:
            report.field(f"{where}.histogram_options", "has no buckets", "Set histogram_options { buckets: [ ... ] }.")
