"""Warm-up samples: do they fit the model, and are their files there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from components.repository.validation.config import WILDCARD, data_type
from components.repository.validation.modelfiles import check_named_file
from components.repository.validation.source import Key

if TYPE_CHECKING:
    from components.repository.validation.files import Repository
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
"""Bytes of one value."""


def check_warmup(repository: Repository, model: ModelState) -> None:
    """Report samples that Triton would not run, or not as meant."""
    config, report = model.config, model.report
    inputs = {tensor.name: tensor for tensor in config.input}
    for index, sample in enumerate(config.model_warmup):
        if sample.batch_size == 0:
            report.field(
                ("model_warmup", index, "batch_size"),
                "is 0",
                "Set it to 1 or more.",
                consequence="Triton would skip this warm-up",
                fatal=False,
            )
            continue
        if config.max_batch_size and sample.batch_size > config.max_batch_size:
            report.field(
                ("model_warmup", index, "batch_size"),
                f"is {sample.batch_size}, above max_batch_size ({config.max_batch_size})",
                "Lower it.",
                consequence="the model would be run with a batch that no request can have",
                fatal=False,
            )
        for name in sorted(sample.inputs):
            where = ("model_warmup", index, "inputs", Key(name))
            _check_warmup_input(repository, model, sample.inputs[name], inputs.get(name), where)
        if not model.completes_itself:
            for tensor in config.input:
                if tensor.name not in sample.inputs and not tensor.optional:
                    report.field(("model_warmup", index, "inputs"), f"leaves out {tensor.name}", "Give it values: the model needs it.")


def _check_warmup_input(repository: Repository, model: ModelState, sample: Any, tensor: Any, where: tuple[Any, ...]) -> None:  # noqa: C901 (rule by rule)
    report = model.report
    kind = data_type(sample.data_type)
    if any(dim == WILDCARD for dim in sample.dims):
        report.field((*where, "dims"), "holds -1", "Write a number for each size.")
        return
    if tensor is not None and data_type(tensor.data_type) != kind:
        report.field((*where, "data_type"), f"is {kind}, and the input's is {data_type(tensor.data_type)}", "Make both equal.")
    if tensor is not None and tensor.dims:
        fits = len(sample.dims) == len(tensor.dims) and all(
            whole in {WILDCARD, mine} for mine, whole in zip(sample.dims, tensor.dims, strict=False)
        )
        if not fits:
            report.field((*where, "dims"), f"is {list(sample.dims)}, and the input's is {list(tensor.dims)}", "Write the input's sizes.")
    choice = sample.WhichOneof("input_data_type")
    if choice is None:
        report.field(where, "has no values", "Set zero_data, random_data or input_data_file.")
    elif choice == "input_data_file":
        name = sample.input_data_file
        field = (*where, "input_data_file")
        if not name:
            report.field(field, "is empty", f"Name a file in {model.name}/warmup.")
        elif check_named_file(repository, model, "warmup/", name, field) and kind in _BYTES:
            size, wanted = repository.size(model.root / "warmup" / name), _BYTES[kind]
            for dim in sample.dims:
                wanted *= dim
            if size < wanted:
                report.field(
                    field,
                    f"is {name}, which has {size} bytes of the {wanted} that {kind} {list(sample.dims)} takes",
                    "Write the file again.",
                )
