"""What each backend opens, fills in and accepts: one row a backend. docs/model-validation.md shows the table.

A row's ``source`` is a path in the repository triton-inference-server/<backend>_backend, unless it says otherwise (main, August 2026).
`resolve` follows ``AutoCompleteBackendFields``, ``ValidateModelConfig`` and ``constants.h`` of triton-inference-server/core (26.07).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.validation.files import Kind

ENSEMBLE: Final = "ensemble"

Adds = Literal["", "empty", "missing"]
"""Which tensors a backend adds to a side: none, all of them if config.pbtxt lists none, or those that it does not list."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What is known of a backend, or of one of its platforms or runtimes."""

    name: str
    source: str
    platform: str = ""
    """The platform that selects this row. A backend with such rows accepts no other platform; the others accept any."""
    runtime: str = ""
    """The runtime that selects this row."""
    files: tuple[str, ...] = ()
    """Files in a version folder, of which it opens one. ``default_model_filename`` replaces the first one."""
    renamed: bool = True
    """Whether ``default_model_filename`` counts."""
    by_parameter: tuple[str, str, dict[str, str]] | None = None
    """A parameter, its default, and the first file by its value."""
    folder: Literal["", "may", "must"] = ""
    """Whether the file may or must be a folder."""
    inside: tuple[str, ...] = ()
    """Files in that folder, of which it opens one."""
    inputs: Adds = ""
    outputs: Adds = ""
    completes: bool = False
    """Whether it fills in the missing data type and dims of a listed tensor."""
    batch: Literal["", "with a side", "always"] = ""
    """When it fills in a ``max_batch_size`` that is missing or 0: never, only when it fills in a side, or always."""
    by_code: bool = False
    """Whether the model's code decides what is filled in, so that the tensors can't be known."""
    needs_outputs: bool = False
    """Whether it refuses a model without outputs."""
    kinds: tuple[str, ...] = ()
    """Kinds of instance groups that it accepts; none for all."""
    max_batch_size: int | None = None
    """Greatest max_batch_size; None for any."""
    values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Parameters that take certain values only."""
    required: tuple[tuple[str, ...], ...] = ()
    """Parameters of which one must be set."""
    since: tuple[int, int] | None = None
    """First release that has it; None for all."""
    images: tuple[str, ...] = ()
    """NVIDIA's images that include it, by the suffix of their tag."""
    python_based: bool = False
    """Whether its folder in the image has a model.py, so that ``runtime: "model.py"`` works."""

    def adds(self, side: str) -> Adds:
        """Which tensors it adds to ``input`` or ``output``."""
        return self.inputs if side == "input" else self.outputs


FIL_FILES: Final = {
    "xgboost": "xgboost.model",
    "xgboost_json": "xgboost.json",
    "xgboost_ubj": "xgboost.ubj",
    "lightgbm": "model.txt",
    "treelite_checkpoint": "checkpoint.tl",
}
_FULL: Final = ("-py3", "-py3-igpu")
_TENSORFLOW: Final = "-tf2-python-py3"

BACKENDS: Final = (
    Backend(
        name="onnxruntime",
        source="src/onnxruntime.cc (LoadModel, AutoCompleteConfig)",
        platform="onnxruntime_onnx",
        files=("model.onnx",),
        folder="may",
        inside=("model.onnx",),
        inputs="empty",
        outputs="empty",
        batch="with a side",
        images=_FULL,
    ),
    Backend(
        name="tensorrt",
        source="src/model_state.cc (AutoCompleteConfigHelper, FixIO), src/instance_state.cc",
        kinds=("KIND_GPU", "KIND_MODEL"),
        platform="tensorrt_plan",
        files=("model.plan",),
        inputs="empty",
        outputs="empty",
        completes=True,
        batch="always",
        images=_FULL,
    ),
    Backend(
        name="pytorch",
        source="src/pt/model_state.cc (LoadModel, AutoCompleteConfig)",
        platform="pytorch_libtorch",
        files=("model.pt",),
        needs_outputs=True,
        images=(*_FULL, "-pyt-python-py3"),
        python_based=True,
    ),
    Backend(
        name="pytorch",
        source="src/model.py (_get_model_path)",
        platform="pytorch_libtorch",
        runtime="model.py",
        files=("", "model.py", "model.pt"),
    ),
    Backend(
        name="pytorch",
        source="src/pt2/model_state.cc (AutoCompleteConfig), README.md (AOT Inductor Support)",
        platform="torch_aoti",
        files=("model.pt2",),
        needs_outputs=True,
        since=(26, 3),
    ),
    Backend(
        name="tensorflow",
        source="src/tensorflow.cc (AutoCompleteHelper)",
        platform="tensorflow_savedmodel",
        files=("model.savedmodel",),
        folder="must",
        inside=("saved_model.pb", "saved_model.pbtxt"),
        inputs="missing",
        outputs="empty",
        completes=True,
        batch="always",
        images=(_TENSORFLOW,),
    ),
    Backend(
        name="tensorflow",
        source="src/tensorflow.cc (AutoCompleteConfig)",
        platform="tensorflow_graphdef",
        files=("model.graphdef",),
    ),
    Backend(
        name="openvino",
        source="src/openvino.cc (ReadModel, AutoCompleteConfig, ModelInstanceState)",
        kinds=("KIND_CPU",),
        files=("model.xml",),
        folder="may",
        inputs="empty",
        outputs="empty",
        batch="always",
        images=_FULL,
    ),
    Backend(
        name="python",
        source="src/python_be.cc, src/resources/triton_python_backend_utils.py (ModelConfig)",
        files=("model.py",),
        inputs="missing",
        outputs="missing",
        completes=True,
        batch="always",
        by_code=True,
        values={"FORCE_CPU_ONLY_INPUT_TENSORS": ("yes", "no")},
        images=(*_FULL, "-vllm-python-py3", "-trtllm-python-py3", "-pyt-python-py3", _TENSORFLOW),
    ),
    Backend(
        name="dali",
        source="src/dali_model.h (LoadModel), src/config_tools/config_tools.cc (AutofillConfig)",
        files=("model.dali", "dali.py"),
        inputs="missing",
        outputs="missing",
        completes=True,
        batch="always",
        by_code=True,
        images=_FULL,
    ),
    Backend(
        name="fil",
        source="src/model.h (model_file), src/shared_state.h (load), src/serialization.h",
        by_parameter=("model_type", "xgboost", FIL_FILES),
        files=("xgboost.model",),
        folder="may",
        values={"model_type": tuple(FIL_FILES)},
        required=(("is_classifier", "output_class"),),
        images=_FULL,
    ),
    Backend(
        name="vllm",
        source="src/model.py (auto_complete_config, _init_engine_args)",
        files=("model.json",),
        renamed=False,
        inputs="missing",
        outputs="missing",
        completes=True,
        by_code=True,
        max_batch_size=0,
        images=("-vllm-python-py3",),
        python_based=True,
    ),
    Backend(
        name="tensorrtllm",
        source="triton_backend/inflight_batcher_llm/src/model_instance_state.cc of NVIDIA/TensorRT-LLM",
        required=(("gpt_model_path", "encoder_model_path"),),
        images=("-trtllm-python-py3",),
    ),
    Backend(name="identity", source="src/identity.cc (ValidateModelConfig)", images=_FULL),
    Backend(name="square", source="src/square.cc (ValidateModelConfig)", images=_FULL),
    Backend(name="repeat", source="src/repeat.cc (ValidateModelConfig)", max_batch_size=0, images=_FULL),
)

UNKNOWN: Final = Backend(
    name="", source="", renamed=False, inputs="missing", outputs="missing", completes=True, batch="always", by_code=True
)
"""Any other backend: its library decides everything."""

NO_BACKEND: Final = Backend(name="", source="")
"""For an ensemble, or a model whose backend is not set."""

PLATFORMS: Final = {row.platform: row.name for row in BACKENDS if row.platform}
"""Backend by platform, where the backend accepts no other platform."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Backend, platform and files after Triton has completed the model configuration."""

    backend: str
    """Empty for an ensemble, or if unknown."""
    platform: str
    row: Backend
    files: tuple[str, ...]
    """Files or folders in a version folder, of which the backend opens one; none if it opens none, or if that is not known."""
    inside: tuple[str, ...]
    """Files, of which the backend opens one if it finds a folder."""


def resolve(name: str, config: Any, content: Mapping[str, Kind]) -> Resolved:
    """Complete the model configuration from ``content``, the entries of the model's first folder by name."""
    backend, platform, file = _complete(name, config, content)
    rows = [row for row in BACKENDS if row.name == backend]
    fitting = [row for row in rows if row.platform in {"", platform}] or rows
    row = next((row for row in fitting if row.runtime and row.runtime == config.runtime), fitting[0] if fitting else None)
    if row is None:
        return Resolved(backend=backend, platform=platform, row=UNKNOWN if backend else NO_BACKEND, files=(), inside=())
    (first, *others), inside = row.files or ("",), row.inside
    if row.by_parameter:
        parameter, default, files = row.by_parameter
        first = files.get(config.parameters[parameter].string_value if parameter in config.parameters else default, "")
        inside = (first,)
    if row.renamed and row.files and file:
        first = file
    return Resolved(backend=backend, platform=platform, row=row, files=tuple(filter(None, (first, *others))), inside=inside)


def _complete(name: str, config: Any, content: Mapping[str, Kind]) -> tuple[str, str, str]:  # noqa: C901, PLR0912 (one transcription)
    """Backend, platform and default_model_filename, as Triton's core completes them."""
    backend, platform, file = config.backend, config.platform, config.default_model_filename
    silent = not platform and not file
    if not platform and backend in {"", "tensorflow"}:
        if file == "model.savedmodel" or (not file and content.get("model.savedmodel") == "folder"):
            platform = "tensorflow_savedmodel"
        if file == "model.graphdef" or (not file and content.get("model.graphdef") == "file"):
            platform = "tensorflow_graphdef"
    if platform in {"tensorflow_savedmodel", "tensorflow_graphdef"}:
        return backend or "tensorflow", platform, file
    if not backend:
        if platform == "tensorrt_plan" or file == "model.plan" or (silent and content.get("model.plan") == "file"):
            backend = "tensorrt"
        elif platform == "onnxruntime_onnx" or file == "model.onnx" or (silent and "model.onnx" in content):
            backend = "onnxruntime"
        elif file == "model.xml" or (silent and "model.xml" in content):
            backend = "openvino"
        elif platform in {"pytorch_libtorch", "libtorch"} or file == "model.pt" or (silent and content.get("model.pt") == "file"):
            backend = "pytorch"
        elif platform == "torch_aoti" or file == "model.pt2" or (silent and content.get("model.pt2") == "file"):
            backend, platform = "pytorch", "torch_aoti"
        elif file == "model.py" or (silent and "model.py" in content):
            backend = "python"
        elif silent and "." in name:
            backend = name.partition(".")[2]
            file = f"model.{backend}"
    if backend in {"tensorrt", "onnxruntime", "pytorch"} and not platform:
        platform = next(row.platform for row in BACKENDS if row.name == backend)
    return backend, platform, file


_OTHER_NAMES: Final = {
    "onnxruntime": {"onnx", "onnx_runtime", "ort"},
    "pytorch": {"torch", "libtorch", "torchscript"},
    "tensorrt": {"trt"},
    "tensorrtllm": {"tensorrt_llm", "trtllm"},
    "tensorflow": {"tf"},
    "fil": {"xgboost", "lightgbm", "sklearn"},
}
"""Names by which users call a backend, in lower case."""


def mismatch(resolved: Resolved) -> bool:
    """Whether Triton refuses this pair of platform and backend."""
    return bool(resolved.row.platform) and PLATFORMS.get(resolved.platform) != resolved.backend


def platforms_of(backend: str) -> tuple[str, ...]:
    """Return the platforms of a backend."""
    return tuple(platform for platform, owner in PLATFORMS.items() if owner == backend)


def meant_backend(name: str) -> str | None:
    """Return the backend that an unknown backend's name probably means; None for a known one."""
    names = {row.name for row in BACKENDS}
    if name in names:
        return None
    other = next((backend for backend, others in _OTHER_NAMES.items() if name.lower() in others), PLATFORMS.get(name))
    return other or next(iter(difflib.get_close_matches(name.lower(), sorted(names), 1, 0.75)), None)


def backend_of_platform(platform: str) -> str:
    """Return what to write in place of a platform that does not determine the backend."""
    names = sorted({row.name for row in BACKENDS})
    close = difflib.get_close_matches(platform.lower(), [*PLATFORMS, *names, ENSEMBLE], 1, 0.6)
    if not close:
        return 'Set the backend, such as backend: "python".'
    if close[0] == ENSEMBLE:
        return 'Set platform: "ensemble".'
    if close[0] in PLATFORMS:
        return f'Set platform: "{close[0]}", or backend: "{PLATFORMS[close[0]]}".'
    instead = "".join(f', or platform: "{platform}"' for platform in platforms_of(close[0])[:1])
    return f'Set backend: "{close[0]}"{instead}.'
