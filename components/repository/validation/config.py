"""Checks of one config.pbtxt by itself, without looking at any other file.

Each check has a counterpart in triton-inference-server/core: ``ValidateModelConfig``, ``ValidateModelIOConfig``, ``ValidateInstanceGroup``
and the sequence batcher's initial states. Triton stops at the first problem; these report all of them. What Triton accepts but does not do
as intended is a warning.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.source import Key
from components.repository.validation.text import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from components.repository.validation.report import Report

WILDCARD: Final = -1
"""A dimension of variable size."""

_DELAY: Final = 1
"""ModelQueuePolicy.TimeoutAction.DELAY."""

_CORRELATION_TYPES: Final = ("TYPE_UINT64", "TYPE_INT64", "TYPE_UINT32", "TYPE_INT32", "TYPE_STRING")
_BOOLEAN_CONTROLS: Final = ("CONTROL_SEQUENCE_START", "CONTROL_SEQUENCE_END", "CONTROL_SEQUENCE_READY")
_FALSE_TRUE: Final = ("int32_false_true", "fp32_false_true", "bool_false_true")


def data_type(number: int) -> str:
    """Return the name of a data type; its number if it has no name."""
    value = schema().ModelConfig.DESCRIPTOR.file.enum_types_by_name["DataType"].values_by_number.get(number)
    return str(number) if value is None else value.name


def check_config(config: Any, platform: str, report: Report, *, completed: bool = False) -> None:
    """Report everything that is wrong with ``config`` except the steps of an ensemble.

    Args:
        config: the ``ModelConfig``.
        platform: as `components.repository.validation.backends.resolve` found it.
        report: collects the problems.
        completed: whether the backend adds missing types and shapes.
    """
    if config.name and config.name != report.model:
        report.field(
            ("name",), f"is {config.name}, and the folder is {report.model}", f"Write {report.model}, remove name, or rename the folder."
        )
    if config.max_batch_size < 0:
        report.field(("max_batch_size",), f"is {config.max_batch_size}", "Write 0 for a model that does not batch, else the largest batch.")
    if config.version_policy.WhichOneof("policy_choice") == "latest" and config.version_policy.latest.num_versions == 0:
        report.field(("version_policy", "latest"), "asks for 0 versions", "Set num_versions to 1 or more.")
    for kind in ("input", "output"):
        _check_tensors(config, kind, platform, report, completed=completed)
    _check_batch_tensors(config, report)
    _check_dynamic_batching(config, report)
    _check_sequence_batching(config, report)
    _check_instance_groups(config, platform, report)
    _check_metrics(config, report)
    if config.response_cache.enable and config.model_transaction_policy.decoupled:
        report.field(
            ("response_cache", "enable"), "is true for a decoupled model", "Remove response_cache: it can't store several responses."
        )


def _check_tensors(config: Any, kind: str, platform: str, report: Report, *, completed: bool) -> None:  # noqa: C901, PLR0912 (rule by rule)
    seen: set[str] = set()
    for index, tensor in enumerate(getattr(config, kind)):
        where = (kind, index)
        if not tensor.name:
            report.field(where, "has no name", "Name the tensor as the model does.")
        elif tensor.name in seen:
            report.field((*where, "name"), f"is {tensor.name} again", "Choose another name: Triton ignores one of the two.", fatal=False)
        seen.add(tensor.name)
        if data_type(tensor.data_type) in {"TYPE_INVALID", str(tensor.data_type)}:
            given = "TYPE_INVALID" if tensor.data_type == 0 else data_type(tensor.data_type)
            written = _has(report, *where, "data_type")
            if completed and not written:
                continue
            report.field(
                (*where, "data_type"),
                f"is {given}" if written else "is missing",
                "Write the tensor's type, such as TYPE_FP32 or TYPE_STRING.",
            )
        if not tensor.dims and not completed:
            report.field(
                (*where, "dims"), "is missing", "Write the shape without the batch dimension; [ 1 ] for one value, -1 for a variable size."
            )
        if bad := [dim for dim in tensor.dims if dim < 1 and dim != WILDCARD]:
            report.field((*where, "dims"), f"holds {bad[0]}", "Write sizes of 1 or more, or -1 for a variable size.")
        elif tensor.HasField("reshape"):
            _check_reshape(tensor, config.max_batch_size, where, report)
        if platform != "tensorrt_plan":
            for field in ("is_shape_tensor", "is_non_linear_format_io"):
                if getattr(tensor, field):
                    report.field((*where, field), "is true, but only TensorRT has such tensors", "Remove it.")
        elif tensor.is_non_linear_format_io and len(tensor.dims) != 3:  # noqa: PLR2004 (CHW)
            report.field((*where, "dims"), "must have 3 sizes, as is_non_linear_format_io requires", "Write channels, height and width.")
        if kind == "input" and tensor.format and len(tensor.dims) != 3:  # noqa: PLR2004 (HWC)
            report.field(
                (*where, "dims"),
                "must have 3 sizes, as the format of images requires",
                "Write height, width and channels, or remove format.",
            )


def _has(report: Report, *where: str | int) -> bool:
    """Whether the file sets this field of an entry of a repeated message."""
    if report.source is None:
        return False
    *parent, name = where
    kind, index = parent
    groups = [node for node in report.source.root.children if node.name == kind]
    return isinstance(index, int) and index < len(groups) and any(child.name == name for child in groups[index].children)


def _check_reshape(tensor: Any, max_batch_size: int, where: tuple[str, int], report: Report) -> None:
    shape = list(tensor.reshape.shape)
    field = (*where, "reshape", "shape")
    if not shape and max_batch_size == 0:
        report.field(field, "is empty, and the model does not batch", "Write a shape: Triton has no tensors without dimensions.")
    if bad := [dim for dim in shape if dim < 1 and dim != WILDCARD]:
        report.field(field, f"holds {bad[0]}", "Write sizes of 1 or more, or -1 for a variable size.")
        return
    if not tensor.dims or _chunks(tensor.dims) == _chunks(shape):
        return
    report.field(
        field,
        f"{_shape(shape)} has not as many values as dims {_shape(tensor.dims)}",
        "Make both products equal, also between variable sizes.",
    )


def _chunks(dims: Sequence[int]) -> list[int]:
    """Products of the sizes between the variable ones."""
    chunks: list[list[int]] = [[]]
    for dim in dims:
        if dim == WILDCARD:
            chunks.append([])
        else:
            chunks[-1].append(dim)
    return [prod(chunk) for chunk in chunks]


def _shape(dims: Sequence[int]) -> str:
    return f"[{', '.join(str(dim) for dim in dims)}]"


def _check_batch_tensors(config: Any, report: Report) -> None:
    inputs = {tensor.name for tensor in config.input}
    outputs = {tensor.name for tensor in config.output}
    for kind in ("batch_input", "batch_output"):
        for index, tensor in enumerate(getattr(config, kind)):
            where = (kind, index)
            if len(tensor.source_input) != 1:
                report.field((*where, "source_input"), f"names {len(tensor.source_input)} inputs", "Name one.")
            for position, name in enumerate(tensor.source_input):
                if name not in inputs:
                    report.field((*where, "source_input", position), f"is {name}, which is not an input", _listed("an input", inputs))
            if kind == "batch_input" and data_type(tensor.data_type) not in {"TYPE_INT32", "TYPE_FP32"}:
                report.field((*where, "data_type"), f"is {data_type(tensor.data_type)}", "Write TYPE_INT32 or TYPE_FP32.")
            if kind == "batch_output":
                for position, name in enumerate(tensor.target_name):
                    if name not in outputs:
                        report.field((*where, "target_name", position), f"is {name}, which is not an output", _listed("an output", outputs))


def _listed(what: str, names: set[str]) -> str:
    return f"Name {what}: {', '.join(sorted(names)) or 'none'}."


def _check_preferred(sizes: Sequence[int], limit: int, where: tuple[str, ...], report: Report) -> None:
    for index, size in enumerate(sizes):
        if size <= 0:
            report.field((*where, index), f"is {size}", "Write sizes of 1 or more.")
        elif size > limit:
            report.field(
                (*where, index),
                f"is {size}, above max_batch_size ({limit})",
                f"Lower it or raise max_batch_size to {size}." if limit else f"Set max_batch_size to {size} or more.",
            )


def _check_dynamic_batching(config: Any, report: Report) -> None:  # noqa: C901 (rule by rule)
    if not config.HasField("dynamic_batching"):
        return
    batching = config.dynamic_batching
    here = "dynamic_batching"
    _check_preferred(batching.preferred_batch_size, config.max_batch_size, (here, "preferred_batch_size"), report)
    queues = batching.priority_levels or batching.HasField("default_queue_policy") or batching.priority_queue_policy
    if config.max_batch_size == 0 and not batching.preferred_batch_size and not queues:
        report.field(
            (here,),
            "is set, and max_batch_size is 0",
            "Set max_batch_size to the largest batch, or remove dynamic_batching.",
            consequence=f"{report.model} would serve every request alone",
            fatal=False,
        )
    levels = batching.priority_levels
    if levels:
        if not 1 <= batching.default_priority_level <= levels:
            report.field(
                (here, "default_priority_level"),
                f"is {batching.default_priority_level}, and priority_levels is {levels}",
                f"Write a level from 1 to {levels}.",
            )
        for level in batching.priority_queue_policy:
            if not 1 <= level <= levels:
                report.field(
                    (here, "priority_queue_policy", Key(level)),
                    f"is above priority_levels ({levels})",
                    f"Use levels from 1 to {levels}.",
                )
    if not batching.preserve_ordering:
        return
    if levels > 1:
        report.field(
            (here, "preserve_ordering"),
            f"is true, and priority_levels is {levels}",
            "Keep one of the two: requests can't have priorities and stay in order.",
        )
    policies = [((here, "default_queue_policy"), batching.default_queue_policy)]
    policies += [((here, "priority_queue_policy", Key(level)), policy) for level, policy in batching.priority_queue_policy.items()]  # type: ignore[misc]
    for where, policy in policies:
        if policy.default_timeout_microseconds and policy.timeout_action == _DELAY:
            report.field((*where, "timeout_action"), "is DELAY, and preserve_ordering is true", "Use REJECT, or remove preserve_ordering.")


def _check_sequence_batching(config: Any, report: Report) -> None:
    if not config.HasField("sequence_batching"):
        return
    here = "sequence_batching"
    batching = config.sequence_batching
    if config.response_cache.enable:
        report.field(("response_cache", "enable"), "is true for a model with sequence_batching", "Remove response_cache.")
    _check_controls(batching.control_input, report)
    _check_preferred(batching.oldest.preferred_batch_size, config.max_batch_size, (here, "oldest", "preferred_batch_size"), report)
    if batching.HasField("direct") and not 0 <= batching.direct.minimum_slot_utilization <= 1:
        report.field(
            (here, "direct", "minimum_slot_utilization"), f"is {batching.direct.minimum_slot_utilization:g}", "Write a number from 0 to 1."
        )
    for index, state in enumerate(batching.state):
        _check_state(state, (here, "state", index), report)


def _check_controls(controls: Any, report: Report) -> None:  # noqa: C901 (rule by rule)
    names: set[str] = set()
    kinds: dict[int, str] = {}
    for index, tensor in enumerate(controls):
        here = ("sequence_batching", "control_input", index)
        if not tensor.name:
            report.field((*here, "name"), "is missing", "Name the tensor that holds the signal.")
        elif tensor.name in names:
            report.field((*here, "name"), f"is {tensor.name} again", "Choose another tensor.")
        names.add(tensor.name)
        for position, control in enumerate(tensor.control):
            where = (*here, "control", position)
            value = control.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number.get(control.kind)
            kind = str(control.kind) if value is None else value.name
            if control.kind in kinds:
                report.field((*where, "kind"), f"is {kind} again", f"Keep one; {kinds[control.kind]} has it.")
            kinds[control.kind] = tensor.name
            given = [field for field in _FALSE_TRUE if getattr(control, field)]
            if kind in _BOOLEAN_CONTROLS:
                if len(given) != 1:
                    report.field(
                        where,
                        f"({kind}) has {' and '.join(given) or 'no values'}",
                        f"Give one of {', '.join(_FALSE_TRUE)}, such as fp32_false_true: [ 0, 1 ].",
                    )
                elif len(getattr(control, given[0])) != 2:  # noqa: PLR2004 (false and true)
                    report.field((*where, given[0]), "must have 2 values", "Write the value for false, then the one for true.")
            elif kind == "CONTROL_SEQUENCE_CORRID":
                if given:
                    report.field((*where, given[0]), f"is given for {kind}", "Set only data_type: the tensor holds a number or a string.")
                if data_type(control.data_type) not in _CORRELATION_TYPES:
                    report.field(
                        (*where, "data_type"),
                        f"is {data_type(control.data_type)}" if control.data_type else "is missing",
                        f"Write one of {', '.join(_CORRELATION_TYPES)}.",
                    )


def _check_state(state: Any, where: tuple[str, str, int], report: Report) -> None:
    if len(state.initial_state) > 1:
        report.field((*where, "initial_state"), f"is given {len(state.initial_state)} times", "Give it once.")
    for initial in state.initial_state[:1]:
        here = (*where, "initial_state", 0)
        if initial.data_type != state.data_type:
            report.field(
                (*here, "data_type"),
                f"is {data_type(initial.data_type)}, and the state's is {data_type(state.data_type)}",
                "Make both equal.",
            )
        if not initial.name:
            report.field((*here, "name"), "is missing", "Name it.")
        fits = len(initial.dims) == len(state.dims) and all(
            mine != WILDCARD and whole in {WILDCARD, mine} for mine, whole in zip(initial.dims, state.dims, strict=False)
        )
        if not fits:
            report.field(
                (*here, "dims"),
                f"is {_shape(initial.dims)}, and the state's is {_shape(state.dims)}",
                "Write the state's sizes, with a number for each variable one.",
            )
        if initial.WhichOneof("state_data") is None:
            report.field(here, "must have zero_data or data_file", "Give one of them.")


def _check_instance_groups(config: Any, platform: str, report: Report) -> None:
    if config.HasField("ensemble_scheduling"):
        return
    for index, group in enumerate(config.instance_group):
        where = ("instance_group", index)
        kinds = group.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number
        kind = kinds[group.kind].name if group.kind in kinds else str(group.kind)
        if kind in {"KIND_CPU", "KIND_MODEL"} and group.gpus:
            report.field((*where, "gpus"), f"is given for {kind}", "Remove gpus, or write KIND_GPU.")
        if group.count < 0:
            report.field(
                (*where, "count"),
                f"is {group.count}",
                "Write the number of instances, 1 or more.",
                fatal=False,
                consequence="Triton would start its default number of instances",
            )
        if group.profile and platform != "tensorrt_plan":
            report.field((*where, "profile"), "is set, but only TensorRT has profiles", "Remove it.")
        elif bad := [profile for profile in group.profile if not (profile.isascii() and profile.isdigit())]:
            report.field((*where, "profile"), f"holds {bad[0]}", "Write the profile's number in quotes.")


def _check_metrics(config: Any, report: Report) -> None:
    for index, control in enumerate(config.model_metrics.metric_control):
        where = ("model_metrics", "metric_control", index)
        if not control.metric_identifier.family:
            report.field((*where, "metric_identifier"), "names no family", "Set metric_identifier { family: ... }.")
        if not control.histogram_options.buckets:
            report.field((*where, "histogram_options"), "has no buckets", "Set histogram_options { buckets: [ ... ] }.")
