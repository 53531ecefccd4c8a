"""The checks at the end of `up`: readiness, an inference with a known result over HTTP and over gRPC, the custom metric."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from local.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

MODEL: Final = "add_sub"
FIRST: Final = tuple(float(number) for number in range(16))
SECOND: Final = tuple(2.0 + number for number in range(16))
SUM: Final = tuple(2.0 + 2 * number for number in range(16))
DIFFERENCE: Final = (-2.0,) * 16
_REQUEST_TIMEOUT_S: Final = 10.0
_POLL_S: Final = 0.5


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One correct inference."""

    seconds: float
    text: str


def get(url: str, timeout_s: float = _REQUEST_TIMEOUT_S) -> bytes:
    """Body of ``url`` on this machine, without a proxy. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=timeout_s) as answer:
        body: bytes = answer.read()
        return body


def wait(condition: Callable[[], str | None], budget_s: float, what: str, remedy: str) -> None:
    """Call ``condition`` until it returns None; otherwise it returns what is missing.

    Raises:
        CommandError: it does not return None within ``budget_s`` seconds.
    """
    deadline = time.monotonic() + budget_s
    while True:
        missing = condition()
        if missing is None:
            return
        if time.monotonic() > deadline:
            message = f"{what} is not available after {budget_s:.0f} s: {missing}. {remedy}"
            raise CommandError(message)
        time.sleep(_POLL_S)


def readiness(base: str) -> str | None:
    """Why Triton at ``base`` does not serve `MODEL`, or None."""
    try:
        get(f"{base}/v2/models/{MODEL}/ready")
    except urllib.error.HTTPError as error:
        return f"/v2/models/{MODEL}/ready returns {error.code}"
    except OSError as error:
        return f"{base} is unreachable ({error})"
    return None


def compare(outputs: dict[str, tuple[float, ...]], how: str) -> str:
    """Describe the correct result. Raises CommandError if the result is wrong."""
    if outputs != {"OUTPUT0": SUM, "OUTPUT1": DIFFERENCE}:
        message = (
            f"Triton answers over {how}, but {MODEL} of {FIRST} and {SECOND} returned {outputs} instead of the sum {SUM} and the "
            f"difference {DIFFERENCE}: the model or its backend is broken. See `kubectl logs -n triton -l app.kubernetes.io/name=triton`."
        )
        raise CommandError(message)
    return f"{MODEL}: {FIRST[1]:g}+{SECOND[1]:g}={SUM[1]:g}, {FIRST[1]:g}-{SECOND[1]:g}={DIFFERENCE[1]:g}, 16 values correct"


def http_request() -> dict[str, Any]:
    """Body of the HTTP inference request, in the KServe v2 format."""
    tensors = (("INPUT0", FIRST), ("INPUT1", SECOND))
    return {"inputs": [{"name": name, "shape": [1, 16], "datatype": "FP32", "data": list(data)} for name, data in tensors]}


def infer_http(base: str) -> Answer:
    """Run one inference over HTTP. Raises CommandError if the result is wrong, OSError if the request fails."""
    request = urllib.request.Request(  # noqa: S310 (the caller's http:// URL on loopback)
        f"{base}/v2/models/{MODEL}/infer", data=json.dumps(http_request()).encode(), headers={"Content-Type": "application/json"}
    )
    began = time.monotonic()
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=_REQUEST_TIMEOUT_S) as answer:
        body = json.load(answer)
    took = time.monotonic() - began
    outputs = {one["name"]: tuple(float(value) for value in one["data"]) for one in body["outputs"]}
    return Answer(seconds=took, text=compare(outputs, "HTTP"))


def infer_grpc(target: str) -> Answer:
    """Run one inference over gRPC at ``host:port``. Raises CommandError if it fails or the result is wrong."""
    import numpy as np  # noqa: PLC0415 (half a second that other commands need not spend)
    import tritonclient.grpc as client  # noqa: PLC0415

    inputs = []
    for name, data in (("INPUT0", FIRST), ("INPUT1", SECOND)):
        tensor = client.InferInput(name, [1, 16], "FP32")
        tensor.set_data_from_numpy(np.array([data], dtype=np.float32))
        inputs.append(tensor)
    # Otherwise gRPC uses the environment's proxy, even for loopback.
    server = client.InferenceServerClient(target, channel_args=[("grpc.enable_http_proxy", 0)])
    try:
        began = time.monotonic()
        result = server.infer(MODEL, inputs, client_timeout=_REQUEST_TIMEOUT_S)
        took = time.monotonic() - began
        outputs = {name: tuple(float(value) for value in result.as_numpy(name).reshape(-1)) for name in ("OUTPUT0", "OUTPUT1")}
    except client.InferenceServerException as error:
        message = f"The gRPC inference at {target} failed: {error}. HTTP works: check the Service's gRPC port (8001)."
        raise CommandError(message) from error
    finally:
        server.close()
    return Answer(seconds=took, text=compare(outputs, "gRPC"))


def custom_metric_path(namespace: str, metric: str) -> str:
    """Path in the Kubernetes API of ``metric`` for all pods in ``namespace``, served by prometheus-adapter."""
    return f"/apis/custom.metrics.k8s.io/v1beta1/namespaces/{namespace}/pods/*/{metric}"


def metric_values(body: str) -> list[tuple[str, str]]:
    """Pod and value (a Kubernetes quantity) of each item in a response of custom.metrics.k8s.io."""
    return [(one["describedObject"]["name"], str(one["value"])) for one in json.loads(body).get("items", [])]
