"""Find the backend of a model, as Triton's core does, and the files that the backend loads from a version directory.

Follows ``AutoCompleteBackendFields``, ``ValidateModelConfig`` and ``constants.h`` of triton-inference-server/core (main, 26.07), for FIL
its ``src/model.h`` and ``src/serialization.h``, for DALI and vLLM their documentation. TensorRT-LLM names its files in parameters, which
are not checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from components.repository.validation.files import Kind

ENSEMBLE: Final = "ensemble"

FIL_FILES: Final = {
    "xgboost": "xgboost.model",
    "xgboost_json": "xgboost.json",
    "xgboost_ubj": "xgboost.ubj",
    "lightgbm": "model.txt",
    "treelite_checkpoint": "checkpoint.tl",
}
"""File of a FIL model by its parameter ``model_type``."""
FIL_DEFAULT: Final = "xgboost"
"""Default of ``model_type`` (``shared_state.h``)."""

_PLATFORMS: Final = {
    "tensorflow_graphdef": "tensorflow",
    "tensorflow_savedmodel": "tensorflow",
    "tensorrt_plan": "tensorrt",
    "onnxruntime_onnx": "onnxruntime",
    "pytorch_libtorch": "pytorch",
    "torch_aoti": "pytorch",
}
"""Backend of a platform. Triton accepts any other platform for other backends."""

_FILES: Final = {
    "python": "model.py",
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
    "pytorch": "model.pt",
    "openvino": "model.xml",
    "dali": "model.dali",
    "vllm": "model.json",
}
"""Default file name by backend, without default_model_filename."""

COMPLETING: Final = frozenset({"onnxruntime", "tensorrt", "openvino", "tensorflow"})
"""Backends that complete inputs and outputs from the model (Triton's model_configuration.md, "Auto-Generated
Model Configuration": TensorRT, saved models, ONNX, OpenVINO); Python models do so with ``auto_complete_config``."""


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """Backend, platform and model file after Triton has completed the model configuration."""

    backend: str
    """Empty for an ensemble, or if unknown."""
    platform: str
    file: str
    """File or folder in a version directory; empty if the backend's convention is unknown."""


def resolve(name: str, config: Any, content: Mapping[str, Kind]) -> Resolved:  # noqa: C901, PLR0912 (a message; one transcription)
    """Complete the model configuration from ``content``, the entries of the model's first folder by name."""
    backend, platform, file = config.backend, config.platform, config.default_model_filename
    silent = not platform and not file
    if not platform and backend in {"", "tensorflow"}:
        if file == "model.savedmodel" or (not file and content.get("model.savedmodel") == "folder"):
            platform = "tensorflow_savedmodel"
        if file == "model.graphdef" or (not file and content.get("model.graphdef") == "file"):
            platform = "tensorflow_graphdef"
    if platform in {"tensorflow_savedmodel", "tensorflow_graphdef"}:
        file = file or ("model.savedmodel" if platform == "tensorflow_savedmodel" else "model.graphdef")
        return Resolved(backend=backend or "tensorflow", platform=platform, file=file)
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
        platform = {"tensorrt": "tensorrt_plan", "onnxruntime": "onnxruntime_onnx", "pytorch": "pytorch_libtorch"}[backend]
    if not file:
        file = "model.pt2" if platform == "torch_aoti" else _FILES.get(backend, "")
    if backend == "fil" and not file:
        file = FIL_FILES.get(config.parameters["model_type"].string_value if "model_type" in config.parameters else FIL_DEFAULT, "")
    return Resolved(backend=backend, platform=platform, file=file)


def mismatch(resolved: Resolved) -> bool:
    """Whether Triton refuses this pair of platform and backend."""
    if resolved.backend not in set(_PLATFORMS.values()):
        return False
    return _PLATFORMS.get(resolved.platform) != resolved.backend


def platforms_of(backend: str) -> tuple[str, ...]:
    """Return the platforms of a backend."""
    return tuple(platform for platform, owner in _PLATFORMS.items() if owner == backend)
