"""Model repositories with one mistake each, what we say about them, and what the real Triton does with them.

A case's model has the case's name, so that one server can be shown all of them; NAME stands for it.
Names of further models begin with it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from pathlib import Path

Verdict = Literal["refuses", "loads", "hangs", "dies", "not asked"]
"""``hangs``: its load request is never answered. ``dies``: the whole server ends."""

ECHO: Final = """
import triton_python_backend_utils as pb

class TritonPythonModel:
    def execute(self, requests):
        answers = []
        for request in requests:
            tensor = pb.get_input_tensor_by_name(request, "IN")
            answers.append(pb.InferenceResponse([pb.Tensor("OUT", tensor.as_numpy())]))
        return answers
"""
COMPLETING: Final = (
    ECHO
    + """
    @staticmethod
    def auto_complete_config(config):
        config.add_input({"name": "IN", "data_type": "TYPE_FP32", "dims": [4]})
        config.add_output({"name": "OUT", "data_type": "TYPE_FP32", "dims": [4]})
        config.set_max_batch_size(0)
        return config
"""
)
IN: Final = 'input [ { name: "IN" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
OUT: Final = 'output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 4 ] } ]\n'
HEAD: Final = 'name: "NAME"\nbackend: "python"\n'
BATCH: Final = HEAD + "max_batch_size: 8\n"
GOOD: Final = BATCH + IN + OUT
CODE: Final[dict[str, str | bytes | None]] = {"1/model.py": ECHO}


def lines(*texts: str) -> str:
    return "\n".join(texts) + "\n"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A model repository of one mistake."""

    name: str
    config: str | bytes | None = GOOD
    files: dict[str, str | bytes | None] = field(default_factory=lambda: dict(CODE))
    """Content by path below the model's folder; None makes a folder."""
    models: dict[str, str] = field(default_factory=dict)
    """Further models, good ones: config by the part of their name after ``NAME_``."""
    triton: Verdict = "refuses"
    says: str = ""
    """Part of what Triton says, where its reason could be another than ours."""
    gpus: int = 0
    arguments: tuple[str, ...] = ()
    image: str = "triton-fleet.local/tritonserver:2.51.0-cpu"

    def replace(self, text: str, by: str) -> Case:
        """The case with other text in its config.pbtxt."""
        assert isinstance(self.config, str)
        assert text in self.config
        return replace(self, config=self.config.replace(text, by))

    def write(self, folder: Path) -> None:
        """Write the case's models into ``folder``."""
        _write(folder / self.name, {"config.pbtxt": self.config, **self.files} if self.config is not None else self.files, self.name)
        for suffix, config in self.models.items():
            _write(folder / f"{self.name}_{suffix}", {"config.pbtxt": config, "1/model.py": ECHO}, self.name)


def _write(folder: Path, files: dict[str, str | bytes | None], name: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        path = folder / file
        if content is None:
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes((content if isinstance(content, bytes) else content.encode()).replace(b"NAME", name.encode()))


def ensemble(*body: str, head: str = 'platform: "ensemble"\nmax_batch_size: 8\n', io: str = IN + OUT) -> str:
    return 'name: "NAME"\n' + head + io + "ensemble_scheduling {\n" + "".join(f"  {line}\n" for line in body) + "}\n"


def step(model: str, source: str = "IN", target: str = "OUT", more: str = "model_version: -1") -> str:
    return (
        f'step {{ model_name: "NAME_{model}" {more} input_map {{ key: "IN" value: "{source}" }} '
        f'output_map {{ key: "OUT" value: "{target}" }} }}'
    )


MEMBER: Final = 'name: "NAME_a"\nbackend: "python"\nmax_batch_size: 8\n' + IN + OUT
OTHER: Final = MEMBER.replace("NAME_a", "NAME_b")
OPENVINO: Final[dict[str, str | bytes | None]] = {"1/model.xml": "<net/>", "1/model.bin": "x"}
CHECKSUM: Final = 'model_repository_agents { agents [ { name: "checksum" parameters { key: "MD5:1/model.onnx" value: "0" } } ] }\n'
DECOUPLED: Final = "model_transaction_policy { decoupled: true }\n"
PLAIN: Final[dict[str, str | bytes | None]] = {"1/keep": "x"}


def made_of(name: str, config: str, triton: Verdict = "refuses", says: str = "", **members: str) -> Case:
    """An ensemble."""
    return Case(name=name, config=config, files=dict(PLAIN), models=members or {"a": MEMBER}, triton=triton, says=says)


def sequence(body: str) -> str:
    return BATCH + IN + OUT + "sequence_batching {\n" + body + "\n}\n"


def warmup(body: str) -> str:
    return GOOD + 'model_warmup [ { name: "one" batch_size: 1\n' + body + "\n} ]\n"


def onnx(*fields: bytes) -> bytes:
    return b"\x08\x08" + b"".join(b"\x3a" + bytes([len(field)]) + field for field in fields)


def other(name: str, backend: str, files: dict[str, str | bytes | None], more: str = "", image: str = "26.07-py3") -> Case:
    """A model of a backend that the dev image has not."""
    config = f'name: "NAME"\nbackend: "{backend}"\nmax_batch_size: {0 if backend == "vllm" else 8}\n{more}' + IN + OUT
    config += {"fil": parameter("is_classifier", "true"), "tensorrtllm": parameter("gpt_model_path", "/engines/x")}.get(backend, "")
    return Case(name=name, config=config, files=files, triton="not asked", gpus=1, image=f"nvcr.io/nvidia/tritonserver:{image}")


def parameter(key: str, value: str) -> str:
    return f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'


def environment(path: str) -> str:
    return GOOD + parameter("EXECUTION_ENV_PATH", path)


CASES: Final = (
    # ---------------------------------------------------------------- text
    Case(name="unknown_field", config=GOOD + "max_batchsize: 4\n"),
    Case(name="misplaced_field", config=GOOD + "count: 2\n"),
    Case(name="made_up_field", config=GOOD + "zzz { a: 1 }\n"),
    Case(name="unknown_type", config=BATCH + IN.replace("TYPE_FP32", "TYPE_FLOAT") + OUT),
    Case(name="two_mistakes_of_spelling", config=BATCH.replace("max_batch_size", "maxBatchSize") + IN.replace("dims", "shape") + OUT),
    Case(name="given_twice", config=BATCH + "max_batch_size: 4\n" + IN + OUT),
    Case(name="brace_missing", config=BATCH + IN + 'output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 4 ] ]\n'),
    Case(name="number_as_text", config=HEAD + 'max_batch_size: "8"\n' + IN + OUT),
    Case(name="number_too_large", config=HEAD + "max_batch_size: 99999999999\n" + IN + OUT),
    Case(name="two_schedulers", config=GOOD + "dynamic_batching { }\nsequence_batching { }\n"),
    Case(name="byte_order_mark", config="\ufeff" + GOOD),
    Case(name="not_utf8", config=GOOD.encode() + "# Größe\n".encode("latin-1"), triton="loads"),
    Case(name="invalid_escape", config=GOOD + 'parameters { key: "path" value { string_value: "C:\\models" } }\n'),
    Case(
        name="template",
        config=HEAD
        + "max_batch_size: ${triton_max_batch_size}\n{% if decoupled %}\nmodel_transaction_policy { decoupled: {{ decoupled }} }\n"
        "{% endif %}\n"
        + IN.replace("TYPE_FP32", "TYPE_#DTYPE")
        + 'output [ { name: "${output}" data_type: DTYPE dims: [ <size>, $SIZE ] } ]\n'
        "instance_group [ { count: NUM_INSTANCES } ]\nmaxBatch: ${triton_max_batch_size}\n",
    ),
    Case(
        name="template_of_python",
        config=HEAD + "max_batch_size: {max_batch}\n" + IN.replace("[ 4 ]", "[ %(size)s, @SIZE@ ]") + OUT.replace("4", "__SIZE__"),
    ),
    Case(name="template_of_strings", config=GOOD + parameter("tokenizer_dir", "${tokenizer_dir}/a"), triton="loads"),
    Case(name="template_with_default_types", config=BATCH + IN.replace("TYPE_FP32", "TYPE_DTYPE") + OUT),
    Case(name="word_in_place_of_a_number", config=HEAD + "max_batch_size: none\n" + IN + OUT),
    Case(name="no_break_space", config=GOOD.replace("max_batch_size: ", "max_batch_size:\u00a0")),
    Case(name="number_of_python", config=GOOD.replace(": 8", ": 0b1000")),
    Case(name="config_is_a_folder", config=None, files={"config.pbtxt": None, **CODE}, triton="dies"),
    # ---------------------------------------------------------------- fields
    Case(name="other_name", config=GOOD.replace("NAME", "somebody")),
    Case(name="negative_batch", config=GOOD.replace("max_batch_size: 8", "max_batch_size: -1")),
    Case(name="preferred_above_max", config=GOOD + "dynamic_batching { preferred_batch_size: [ 4, 16 ] }\n"),
    Case(name="preferred_without_batching", config=HEAD + IN + OUT + "dynamic_batching { preferred_batch_size: [ 4 ] }\n"),
    Case(name="preferred_zero", config=GOOD + "dynamic_batching { preferred_batch_size: 0 }\n"),
    Case(name="batcher_without_batches", config=HEAD + IN + OUT + "dynamic_batching { }\n", triton="loads"),
    Case(name="priority_without_default", config=GOOD + "dynamic_batching { priority_levels: 2 }\n"),
    Case(
        name="priority_beyond",
        config=GOOD + "dynamic_batching {\n priority_levels: 2 default_priority_level: 1\n"
        " priority_queue_policy { key: 3 value { max_queue_size: 4 } }\n}\n",
    ),
    Case(
        name="order_and_priorities",
        config=GOOD + "dynamic_batching { preserve_ordering: true priority_levels: 2 default_priority_level: 1 }\n",
    ),
    Case(
        name="order_and_delay",
        config=GOOD + "dynamic_batching {\n preserve_ordering: true\n"
        " default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 10 }\n}\n",
    ),
    Case(name="type_missing", config=BATCH + 'input [ { name: "IN" dims: [ 4 ] } ]\n' + OUT),
    Case(name="type_invalid", config=BATCH + IN.replace("TYPE_FP32", "TYPE_INVALID") + OUT),
    Case(name="dims_missing", config=BATCH + IN + 'output [ { name: "OUT" data_type: TYPE_FP32 } ]\n'),
    Case(name="dims_zero", config=BATCH + IN.replace("[ 4 ]", "[ 4, 0 ]") + OUT),
    Case(name="dims_below", config=BATCH + IN.replace("[ 4 ]", "[ -2 ]") + OUT),
    Case(name="tensor_without_name", config=BATCH + "input [ { data_type: TYPE_FP32 dims: [ 4 ] } ]\n" + OUT),
    Case(name="tensor_twice", config=BATCH + IN + IN + OUT, triton="loads"),
    Case(name="output_twice", config=BATCH + IN + OUT + OUT, triton="loads"),
    Case(
        name="tensor_twice_and_warmup",
        config=BATCH + IN + IN + OUT + 'model_warmup [ { name: "one" batch_size: 1\n'
        'inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } }\n} ]\n',
    ),
    Case(
        name="labels_twice",
        config=BATCH + IN + 2 * OUT.replace('"OUT"', '"OUT" label_filename: "labels.txt"'),
        files={**CODE, "labels.txt": "a\n"},
        says="multiple label files",
    ),
    Case(name="reshape_of_other_size", config=BATCH + IN.replace("dims: [ 4 ]", "dims: [ 4 ] reshape { shape: [ 2, 3 ] }") + OUT),
    Case(name="reshape_to_nothing", config=HEAD + IN.replace("dims: [ 4 ]", "dims: [ 1 ] reshape { }") + OUT),
    Case(name="reshape_of_variable_sizes", config=BATCH + IN.replace("dims: [ 4 ]", "dims: [ -1, 4 ] reshape { shape: [ 4, -1 ] }") + OUT),
    Case(name="shape_tensor", config=BATCH + IN.replace("dims", "is_shape_tensor: true dims") + OUT),
    Case(name="image_of_one_size", config=BATCH + IN.replace("dims", "format: FORMAT_NHWC dims") + OUT),
    Case(
        name="source_is_no_input",
        config=GOOD + 'batch_input [ { kind: BATCH_ITEM_SHAPE data_type: TYPE_FP32 source_input: "X" target_name: "Y" } ]\n',
    ),
    Case(name="metric_without_family", config=GOOD + "model_metrics { metric_control { histogram_options { buckets: [ 1 ] } } }\n"),
    Case(name="cache_and_decoupled", config=GOOD + "response_cache { enable: true }\nmodel_transaction_policy { decoupled: true }\n"),
    # ---------------------------------------------------------------- instances
    Case(name="gpu_without_gpus", config=GOOD + "instance_group [ { kind: KIND_GPU } ]\n"),
    Case(name="cpu_with_gpus", config=GOOD + "instance_group [ { kind: KIND_CPU gpus: [ 0 ] } ]\n"),
    Case(name="auto_with_absent_gpu", config=GOOD + "instance_group [ { kind: KIND_AUTO gpus: [ 0 ] } ]\n", triton="refuses"),
    Case(name="negative_count", config=GOOD + "instance_group [ { count: -2 kind: KIND_CPU } ]\n", triton="loads"),
    Case(name="profile_of_python", config=GOOD + 'instance_group [ { kind: KIND_CPU profile: "0" } ]\n'),
    # ---------------------------------------------------------------- files that fields name
    Case(name="labels_missing", config=GOOD.replace('"OUT"', '"OUT" label_filename: "labels.txt"')),
    Case(name="labels_outside", config=GOOD.replace('"OUT"', '"OUT" label_filename: "../labels.txt"')),
    Case(
        name="warmup_missing",
        config=warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "raw" } }'),
    ),
    Case(
        name="warmup_short",
        config=warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "raw" } }'),
        files={**CODE, "warmup/raw": b"12345678"},
    ),
    Case(name="warmup_variable", config=warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ -1 ] zero_data: true } }')),
    Case(name="warmup_without_values", config=warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 4 ] } }')),
    Case(name="warmup_of_other_type", config=warmup('inputs { key: "IN" value { data_type: TYPE_INT32 dims: [ 4 ] zero_data: true } }')),
    Case(name="warmup_of_other_shape", config=warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 5 ] zero_data: true } }')),
    Case(name="warmup_incomplete", config=warmup("")),
    # ---------------------------------------------------------------- sequences
    Case(
        name="control_without_values",
        config=sequence('control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START } ] } ]'),
    ),
    Case(
        name="control_with_one_value",
        config=sequence('control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0 ] } ] } ]'),
    ),
    Case(
        name="control_twice",
        config=sequence(
            'control_input [ { name: "A" control [ { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] } ] },\n'
            '{ name: "B" control [ { kind: CONTROL_SEQUENCE_END fp32_false_true: [ 0, 1 ] } ] } ]'
        ),
    ),
    Case(
        name="correlation_as_float",
        config=sequence('control_input [ { name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_FP32 } ] } ]'),
    ),
    # Triton 2.51 takes the size for memory that it does not have: it ends, or loads, by chance.
    Case(
        name="state_of_other_shape",
        config=sequence(
            'state [ { input_name: "S" output_name: "T" data_type: TYPE_FP32 dims: [ -1 ]\n'
            'initial_state: { name: "zero" data_type: TYPE_FP32 dims: [ -1 ] zero_data: true } } ]'
        ),
        triton="not asked",
    ),
    Case(
        name="state_file_missing",
        config=sequence(
            'state [ { input_name: "S" output_name: "T" data_type: TYPE_FP32 dims: [ 1 ]\n'
            'initial_state: { name: "one" data_type: TYPE_FP32 dims: [ 1 ] data_file: "one" } } ]'
        ),
    ),
    Case(name="utilization_above_one", config=sequence("direct { minimum_slot_utilization: 1.5 }")),
    Case(name="oldest_above_max", config=sequence("oldest { max_candidate_sequences: 4 preferred_batch_size: 9 }")),
    Case(name="cache_and_sequences", config=sequence("") + "response_cache { enable: true }\n"),
    # ---------------------------------------------------------------- versions
    Case(name="no_version_of_policy", config=GOOD + "version_policy { specific { versions: [ 2 ] } }\n"),
    Case(name="one_version_of_policy", config=GOOD + "version_policy { specific { versions: [ 1, 2 ] } }\n", triton="loads"),
    Case(name="latest_of_none", config=GOOD + "version_policy { latest { num_versions: 0 } }\n"),
    Case(name="version_like_a_number", files={**CODE, "2nd/model.py": ECHO}, triton="hangs"),
    Case(name="version_with_zero", files={**CODE, "02/model.py": ECHO}, triton="loads"),
    Case(name="version_too_large", files={**CODE, "99999999999999999999/model.py": ECHO}, triton="not asked"),  # it ends the server
    # ---------------------------------------------------------------- model files of the Python backend
    Case(name="model_under_other_name", files={"1/main.py": ECHO}, triton="hangs"),
    Case(name="model_in_capitals", files={"1/Model.py": ECHO}, triton="hangs"),
    Case(name="named_file_missing", config=GOOD + 'default_model_filename: "serve.py"\n', triton="hangs"),
    Case(name="model_is_empty", files={"1/model.py": ""}),
    Case(name="model_without_class", files={"1/model.py": "import json\n\nclass Model:\n    pass\n"}),
    Case(name="model_is_no_python", files={"1/model.py": "class TritonPythonModel:\n    def execute(self, requests)\n        return []\n"}),
    Case(name="model_is_unfinished", files={"1/model.py.part": ECHO}, triton="hangs"),
    Case(name="leftover_download", files={**CODE, "1/model.py.part": "class"}, triton="loads"),
    Case(name="no_description", config=None, triton="loads"),
    Case(name="config_is_a_template", config=None, files={"config.pbtxt.j2": GOOD, "1/weights.bin": "x"}),
    Case(name="config_under_other_name", config=None, files={"config.pbtext": GOOD, "1/weights.bin": "x"}),
    # ---------------------------------------------------------------- parameters and the Python environment
    Case(name="environment_missing", config=environment("$$TRITON_MODEL_DIRECTORY/env.tar.gz")),
    Case(name="environment_relative", config=environment("env.tar.gz"), files={**CODE, "env.tar.gz": "x"}),
    Case(name="environment_with_one_dollar", config=environment("$TRITON_MODEL_DIRECTORY/env.tar.gz"), files={**CODE, "env.tar.gz": "x"}),
    Case(name="environment_outside", config=environment("$$TRITON_MODEL_DIRECTORY/../env.tar.gz")),
    Case(name="environment_not_activated", config=environment("$$TRITON_MODEL_DIRECTORY/env"), files={**CODE, "env/bin/python": "x"}),
    Case(name="unknown_value_of_parameter", config=GOOD + parameter("FORCE_CPU_ONLY_INPUT_TENSORS", "true")),
    Case(name="strategy_of_sequences", config=sequence("") + parameter("TRITON_BATCH_STRATEGY_PATH", "/x.so")),
    Case(name="strategy_that_is_relative", config=GOOD + parameter("TRITON_BATCH_STRATEGY_PATH", "strategy.so")),
    Case(
        name="batch_output_twice",
        config=GOOD + 'batch_output [ { kind: BATCH_SCATTER_WITH_INPUT_SHAPE source_input: "IN" target_name: [ "OUT", "OUT" ] } ]\n',
    ),
    Case(name="agent_of_other_image", config=GOOD + 'model_repository_agents { agents [ { name: "checksum" } ] }\n'),
    Case(name="runtime_of_other_image", config=GOOD + 'runtime: "libtriton_other.so"\n'),
    other("runtime_elsewhere", "identity", {"1": None, "lib/libtriton_identity.so": "x"}, 'runtime: "../lib/libtriton_identity.so"\n'),
    Case(name="runtime_of_python", config=GOOD + 'runtime: "model.py"\n'),
    # ---------------------------------------------------------------- backends
    Case(name="no_backend", config='name: "NAME"\n' + IN + OUT, files={"1/weights.bin": "x"}),
    Case(name="platform_without_backend", config='name: "NAME"\nplatform: "python"\n' + IN + OUT),
    Case(name="backend_as_platform", config='name: "NAME"\nplatform: "onnxruntime"\n' + IN + OUT, files={"1/model.onnx": onnx(b"g")}),
    Case(name="misspelt_platform", config='name: "NAME"\nplatform: "tensorrt-plan"\n' + IN + OUT, files={"1/model.plan": "x"}),
    Case(name="misspelt_backend", config=GOOD.replace('"python"', '"pyton"')),
    Case(
        name="backend_of_other_image",
        config=GOOD.replace('"python"', '"onnxruntime"'),
        files={"1/model.onnx": onnx(b"graph")},
    ),
    Case(
        name="onnx_as_plan",
        config=GOOD.replace('"python"', '"onnxruntime"') + 'platform: "tensorrt_plan"\n',
        files={"1/model.onnx": onnx(b"g")},
    ),
    Case(name="libtorch", config='name: "NAME"\nplatform: "libtorch"\n' + IN + OUT, files={"1/model.pt": "x"}),
    # ---------------------------------------------------------------- ensembles
    made_of("step_model_absent", ensemble(step("c"))),
    made_of("step_without_model", ensemble('step { input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" } }')),
    made_of("step_without_outputs", ensemble('step { model_name: "NAME_a" input_map { key: "IN" value: "IN" } }')),
    made_of("step_without_version", ensemble(step("a", more="")), says="required version 0 is not loaded"),
    made_of("step_of_absent_version", ensemble(step("a", more="model_version: 7"))),
    made_of(
        "step_of_unknown_tensor", ensemble(step("a").replace('key: "OUT"', 'key: "RESULT"')), says="mapped from non-existing output RESULT"
    ),
    made_of(
        "step_lacks_input", ensemble(step("a")), a=MEMBER + 'input [ { name: "IN2" data_type: TYPE_FP32 dims: [ 4 ] } ]\n', says="input IN2"
    ),
    made_of("step_of_other_type", ensemble(step("a")), a=MEMBER.replace("TYPE_FP32", "TYPE_INT32"), says="inconsistent data type"),
    made_of("step_of_other_shape", ensemble(step("a")), a=MEMBER.replace("[ 4 ]", "[ 5 ]"), says="inconsistent shape"),
    made_of(
        "step_of_smaller_batch",
        ensemble(step("a")),
        a=MEMBER.replace("max_batch_size: 8", "max_batch_size: 4"),
        says="allows maximum batch size 8",
    ),
    made_of(
        "steps_disagree",
        ensemble(step("a", target="mid"), step("b", source="mid")),
        a=MEMBER,
        b=OTHER.replace("FP32", "FP64"),
        says="inconsistent data type",
    ),
    made_of(
        "step_of_two_decoupled",
        ensemble(
            step("a", target="x"),
            step("b", target="y"),
            'step { model_name: "NAME_c" model_version: -1 input_map [ { key: "IN" value: "x" }, { key: "IN2" value: "y" } ]',
            'output_map { key: "OUT" value: "OUT" } }',
        ),
        a=MEMBER + DECOUPLED,
        b=OTHER + DECOUPLED,
        c=MEMBER.replace("NAME_a", "NAME_c") + IN.replace('"IN"', '"IN2"'),
        says="different decoupled models",
    ),
    made_of(
        "outputs_of_two_decoupled",
        ensemble(step("a"), step("b", target="OUT2"), io=IN + OUT + OUT.replace('"OUT"', '"OUT2"')),
        a=MEMBER + DECOUPLED,
        b=OTHER,
        says="different decoupled models",
    ),
    made_of("output_from_nowhere", ensemble(step("a", source="mid"), io=OUT)),
    made_of(
        "output_in_a_circle", ensemble(step("a", source="x", target="y"), step("b", source="y", target="x"), step("a")), a=MEMBER, b=OTHER
    ),
    made_of("input_unused", ensemble(step("a"), io=IN + 'input [ { name: "IN2" data_type: TYPE_FP32 dims: [ 4 ] } ]\n' + OUT)),
    made_of("tensor_unread", ensemble(step("a"), step("a", target="mid"))),
    made_of("tensor_written_twice", ensemble(step("a"), step("a"))),
    made_of("ensemble_with_instances", ensemble(step("a")) + "instance_group [ { count: 1 } ]\n"),
    made_of("ensemble_with_warmup", ensemble(step("a")) + 'model_warmup [ { name: "x" batch_size: 1 } ]\n'),
    made_of("ensemble_without_steps", ensemble()),
    made_of("ensemble_without_scheduling", 'platform: "ensemble"\n' + IN + OUT),
    made_of("ensemble_without_platform", ensemble(step("a"), head='backend: "python"\n')),
    made_of("ensemble_with_backend", ensemble(step("a"), head='platform: "ensemble"\nbackend: "ensemble"\nmax_batch_size: 8\n')),
    made_of(
        "ensembles_in_a_circle",
        ensemble(step("a")),
        a=ensemble(
            'step { model_name: "NAME" model_version: -1 input_map { key: "IN" value: "IN" } output_map { key: "OUT" value: "OUT" } }'
        ).replace('name: "NAME"\nplatform', 'name: "NAME_a"\nplatform'),
    ),
    # ---------------------------------------------------------------- other backends, judged by their sources and documentation
    other("onnx_cut_off", "onnxruntime", {"1/model.onnx": onnx(b"graph of some length")[:-4]}),
    other("onnx_is_a_web_page", "onnxruntime", {"1/model.onnx": "<!DOCTYPE html><html>Sign in</html>"}),
    other("onnx_is_empty", "onnxruntime", {"1/model.onnx": b""}),
    other("onnx_unfinished", "onnxruntime", {"1/model.onnx.crdownload": b"x"}),
    other("onnx_folder_without_model", "onnxruntime", {"1/model.onnx/weights": b"x"}),
    other("torch_cut_off", "pytorch", {"1/model.pt": b"PK\x03\x04" + bytes(100)}),
    other("plan_missing", "tensorrt", {"1/engine.plan": b"x"}),
    other(
        "plan_of_a_gpu_missing",
        "tensorrt",
        {"1/a100.plan": b"x"},
        'cc_model_filenames [ { key: "8.0" value: "a100.plan" }, { key: "9.0" value: "h100.plan" } ]\n',
    ),
    other("openvino_without_weights", "openvino", {"1/model.xml": "<net/>"}),
    other("savedmodel_without_graph", "tensorflow", {"1/model.savedmodel/variables/x": b"x"}),
    other("fil_of_unknown_type", "fil", {"1/xgboost.json": "{}"}, 'parameters { key: "model_type" value { string_value: "json" } }\n'),
    other("fil_of_other_type", "fil", {"1/xgboost.json": "{}"}, 'parameters { key: "model_type" value { string_value: "xgboost_ubj" } }\n'),
    other(
        "fil_cut_off",
        "fil",
        {"1/xgboost.json": '{"learner": {'},
        'parameters { key: "model_type" value { string_value: "xgboost_json" } }\n',
    ),
    other("vllm_of_other_image", "vllm", {"1/model.json": json.dumps({"model": "x"})}),
    other("empty_version", "onnxruntime", {"1": None}),
    other("model_beside_the_version", "onnxruntime", {"1": None, "model.onnx": onnx(b"g")}),
    other("torch_runtime_without_model", "pytorch", {"1/weights.bin": "x"}, 'runtime: "model.py"\n'),
    other("torch_without_outputs", "pytorch", {"1/model.pt": "x"}).replace(OUT, ""),
    other("onnx_without_shape", "onnxruntime", {"1/model.onnx": onnx(b"g")}, 'output [ { name: "B" data_type: TYPE_FP32 } ]\n'),
    other("fil_without_kind", "fil", {"1/xgboost.model": "x"}).replace(parameter("is_classifier", "true"), ""),
    replace(other("plan_without_gpu", "tensorrt", {"1/model.plan": "x"}), gpus=0),
    other("plan_on_cpu", "tensorrt", {"1/model.plan": "x"}, "instance_group [ { kind: KIND_CPU } ]\n"),
    other("openvino_on_gpu", "openvino", OPENVINO, "instance_group [ { count: 2 } ]\n"),
    other("engine_without_path", "tensorrtllm", {"1": None}, image="26.07-trtllm-python-py3").replace(
        parameter("gpt_model_path", "/engines/x"), ""
    ),
    other("engine_of_a_template", "tensorrtllm", {"1": None}, image="26.07-trtllm-python-py3").replace("/engines/x", "${engine_dir}"),
    other("checksum_of_nothing", "onnxruntime", {"1/model.onnx": onnx(b"g")}, CHECKSUM.replace("1/model.onnx", "model.onnx")),
    other("vllm_of_more_gpus", "vllm", {"1/model.json": '{"tensor_parallel_size": 2}'}, image="26.07-vllm-python-py3"),
    replace(other("vllm_of_one_kind", "vllm", {"1/model.json": '{"tensor_parallel_size": 2}'}, image="26.07-vllm-python-py3"), gpus=2),
    other("vllm_without_adapters", "vllm", {"1/model.json": '{"enable_lora": true}'}, image="26.07-vllm-python-py3"),
    other("vllm_with_batches", "vllm", {"1/model.json": "{}"}, image="26.07-vllm-python-py3").replace(
        "max_batch_size: 0", "max_batch_size: 8"
    ),
    other("vllm_under_other_name", "vllm", {"1/llm.json": "{}"}, 'default_model_filename: "llm.json"\n', image="26.07-vllm-python-py3"),
    other("platform_of_later_release", "pytorch", {"1/model.pt2": "x"}, 'platform: "torch_aoti"\n', image="25.12-py3"),
    other("dali_missing", "dali", {"1/pipeline.dali": b"x"}),
    other("gpu_beyond", "onnxruntime", {"1/model.onnx": onnx(b"g")}, "instance_group [ { kind: KIND_GPU gpus: [ 0, 1 ] } ]\n"),
    Case(
        name="torch_without_config",
        config=None,
        files={"1/model.pt": "x"},
        triton="not asked",
        gpus=1,
        image="nvcr.io/nvidia/tritonserver:26.07-py3",
    ),
    replace(
        other("tensor_completion_disabled", "tensorrt", {"1/model.plan": "x"}, 'output [ { name: "B" } ]\n'),
        arguments=("--disable-auto-complete-config",),
    ),
    replace(
        other("side_completion_disabled", "onnxruntime", {"1/model.onnx": onnx(b"g")}).replace(OUT, ""),
        arguments=("--disable-auto-complete-config",),
    ),
    Case(
        name="completion_disabled",
        config=None,
        files={"1/model.py": COMPLETING},
        arguments=("--disable-auto-complete-config",),
        triton="not asked",
    ),
)

FINE: Final = (
    Case(name="fine", triton="loads"),
    Case(name="fine_zero_given_twice", config=HEAD + "max_batch_size: 0\nmax_batch_size: 0\n" + IN + OUT, triton="loads"),
    Case(name="fine_without_name", config=GOOD.replace('name: "NAME"\n', ""), triton="loads"),
    Case(name="fine_without_backend", config=GOOD.replace('backend: "python"\n', ""), triton="loads"),
    Case(name="fine_completed", config=None, files={"1/model.py": COMPLETING}, triton="loads"),
    Case(name="fine_completed_in_part", config=HEAD, files={"1/model.py": COMPLETING}, triton="loads"),
    Case(name="fine_other_file", config=GOOD + 'default_model_filename: "serve.py"\n', files={"1/serve.py": ECHO}, triton="loads"),
    Case(name="fine_platform", config=GOOD + 'platform: "tensorrt_plan"\n', triton="loads"),
    Case(name="fine_without_tensors", config=HEAD, triton="loads"),
    Case(
        name="fine_punctuation",
        config='# a comment\nname: \'NAME\' ""; backend: "python", max_batch_size: 0x08\n'
        "input: < name: 'IN', data_type: 11; dims: [4] >\noutput { name: 'OUT' data_type: TYPE_FP32 dims: 4 }\n",
        triton="loads",
    ),
    Case(
        name="fine_like_a_template",
        config="max_batch_size: #MAX\n 8#MAX_BATCH\n" + GOOD.replace("max_batch_size: 8\n", "") + parameter("a", "<s>%s$X"),
        triton="loads",
    ),
    other(
        "fine_defaults_of_a_template",
        "tensorrtllm",
        {"1": None},
        parameter("max_beam_width", "${max_beam_width}"),
        image="26.07-trtllm-python-py3",
    ),
    Case(name="fine_umlaut", config=GOOD + 'parameters { key: "größe" value { string_value: "ü" } }\n', triton="loads"),
    Case(
        name="fine_folders",
        files={**CODE, "assets/x": "x", "v2/model.py": ECHO, "configs/h100.pbtxt": "x", "labels.txt": "a\nb\n"},
        config=GOOD.replace('"OUT"', '"OUT" label_filename: "labels.txt"'),
        triton="loads",
    ),
    Case(name="fine_versions", config=GOOD + "version_policy { all { } }\n", files={**CODE, "2/model.py": ECHO}, triton="loads"),
    Case(name="fine_old_version_broken", files={**CODE, "0/nothing": "x"}, triton="loads"),
    Case(
        name="fine_environment", config=environment("$$TRITON_MODEL_DIRECTORY/env"), files={**CODE, "env/bin/activate": ""}, triton="loads"
    ),
    other("fine_empty_version", "identity", {"1": None}),
    other("fine_empty_version_with_a_name", "tensorrtllm", {"1": None}, 'default_model_filename: "x"\n', image="26.07-trtllm-python-py3"),
    other("fine_dali_code", "dali", {"1/dali.py": "x"}),
    other("fine_fil_folder", "fil", {"1/trees/xgboost.model": "x"}, 'default_model_filename: "trees"\n'),
    other("fine_torch_runtime", "pytorch", {"1/model.pt": "x"}, 'runtime: "model.py"\n'),
    other("fine_aoti", "pytorch", {"1/model.pt2": "x"}, 'platform: "torch_aoti"\n'),
    other("fine_leftover", "onnxruntime", {"1/model.onnx": onnx(b"g"), "1/model.onnx.tmp": "x"}),
    other("fine_agent", "onnxruntime", {"1/model.onnx": onnx(b"g")}, CHECKSUM),
    other("fine_openvino_on_gpus", "openvino", OPENVINO),
    replace(other("fine_openvino", "openvino", OPENVINO, "instance_group [ { count: 2 } ]\n"), gpus=0),
    replace(
        other(
            "fine_vllm_of_two_gpus",
            "vllm",
            {"1/model.json": '{"tensor_parallel_size": 2}'},
            "instance_group [ { kind: KIND_MODEL } ]\n",
            image="26.07-vllm-python-py3",
        ),
        gpus=2,
    ),
    Case(name="fine_reshape", config=BATCH + IN.replace("[ 4 ]", "[ 1 ] reshape { }") + OUT, triton="loads"),
    Case(
        name="fine_queue",
        config=HEAD + IN + OUT + "dynamic_batching { default_queue_policy { max_queue_size: 8 } }\n",
        triton="loads",
    ),
    Case(
        name="fine_priorities",
        config=GOOD + "dynamic_batching { priority_levels: 2 default_priority_level: 2 priority_queue_policy { key: 1 value { } } }\n",
        triton="loads",
    ),
    Case(
        name="fine_sequence",
        config=sequence(
            'control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START fp32_false_true: [ 0, 1 ] } ] },\n'
            '{ name: "ID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_UINT64 } ] } ]\n'
            'state [ { input_name: "S" output_name: "T" data_type: TYPE_FP32 dims: [ -1 ]\n'
            'initial_state: { name: "zero" data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } ]\n'
            "oldest { max_candidate_sequences: 4 }"
        ),
        triton="loads",
    ),
    Case(
        name="fine_warmup",
        config=warmup('inputs { key: "IN" value { data_type: TYPE_FP32 dims: [ 4 ] input_data_file: "raw" } }'),
        files={**CODE, "warmup/raw": bytes(16)},
        triton="loads",
    ),
    made_of("fine_ensemble", ensemble(step("a", target="mid"), step("b", source="mid")), "loads", a=MEMBER, b=OTHER),
    made_of(
        "fine_ensemble_of_variable_shapes",
        ensemble(step("a"), io=IN.replace("[ 4 ]", "[ -1 ]") + OUT),
        "loads",
        a=MEMBER.replace("max_batch_size: 8\n", "max_batch_size: 0\n").replace("[ 4 ]", "[ -1, 4 ]"),
    ),
    made_of(
        "fine_ensemble_without_an_optional",
        ensemble(step("a")),
        "loads",
        a=MEMBER + 'input [ { name: "IN2" data_type: TYPE_FP32 dims: [ 4 ] optional: true } ]\n',
    ),
)
