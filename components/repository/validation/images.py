"""What a Triton image can run, by its name."""

from __future__ import annotations

import re
from typing import Final

_FULL: Final = frozenset({"dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch", "repeat", "square", "tensorrt"})
"""Backends of ``nvcr.io/nvidia/tritonserver:<xx.yy>-py3`` (``enable_all`` in build.py of triton-inference-server/server, 26.07)."""

_TENSORFLOW_LAST: Final = (25, 2)
"""Last release whose images brought the TensorFlow backend. From memory of NVIDIA's release notes, not verified; newer images would name it
as a missing backend themselves."""

_FLAVOURS: Final = {
    "-py3": _FULL,
    "-py3-igpu": _FULL,
    "-vllm-python-py3": frozenset({"python", "vllm"}),
    "-trtllm-python-py3": frozenset({"python", "tensorrtllm"}),
    "-pyt-python-py3": frozenset({"python", "pytorch"}),
    "-tf2-python-py3": frozenset({"python", "tensorflow"}),
    "-py3-min": frozenset[str](),
}
_NVIDIA: Final = re.compile(r"^nvcr\.io/nvidia/tritonserver:(?P<year>\d\d)\.(?P<month>\d\d)(?P<flavour>-[a-z0-9-]+?)(@sha256:[0-9a-f]+)?\Z")
_DEV: Final = re.compile(r"^triton-fleet\.local/tritonserver:[\w.-]+-cpu(@sha256:[0-9a-f]+)?\Z")


def backends_of(image: str) -> frozenset[str] | None:
    """Names of the backends in an image; None for an image that is not known (one's own build, a mirror), of which nothing is claimed.

    Ensembles need none. A model may bring a backend of its own beside these.
    """
    if _DEV.match(image):
        return frozenset({"python"})
    match = _NVIDIA.match(image)
    if match is None or match["flavour"] not in _FLAVOURS:
        return None
    backends = _FLAVOURS[match["flavour"]]
    if backends is _FULL and (int(match["year"]), int(match["month"])) <= _TENSORFLOW_LAST:
        return backends | {"tensorflow"}
    return backends
