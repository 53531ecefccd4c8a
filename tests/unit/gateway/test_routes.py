"""What the routes let through: inference, health and metadata, and none of Triton's admin endpoints.

A small Envoy: the first route that matches counts. Paths and methods are those of Triton's src/http_server.cc and of its
grpc_service.proto (server 2.61).
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from components.gateway.istio import virtual_service_spec

SERVICE = "triton.triton.svc.cluster.local"
MODELS = ("simple", "resnet50.v1-5", "stats", "a b", "%2e%2e", "repository")
OPEN_HTTP = [
    ("GET", "/v2"),
    ("GET", "/v2/health/live"),
    ("GET", "/v2/health/ready"),
    *(
        (method, f"/v2/models/{model}{version}{action}")
        for model in MODELS
        for version in ("", "/versions/3")
        for method, action in [("GET", ""), ("GET", "/ready"), *(("POST", f"/{name}") for name in ("infer", "generate", "generate_stream"))]
        if (model, version, action) != ("stats", "", "")  # the statistics of all models
    ),
]
REGION = ("", "/region/r1")
CLOSED_HTTP = [
    "/v2/models/stats",
    "/v2/logging",
    "/v2/trace/setting",
    "/v2/repository/index",
    "/v2/repository/r1/index",
    "/v2/repository/models/simple/load",
    "/v2/repository/models/simple/unload",
    "/v2/repository/r1/models/simple/load",
    "/v2/repository/r1/models/simple/unload",
    *(f"/v2/models/simple{version}/{action}" for version in ("", "/versions/3") for action in ("stats", "config", "trace/setting")),
    *(
        f"/v2/{kind}sharedmemory{region}/{action}"
        for kind in ("system", "cuda")
        for region in REGION
        for action in ("status", "register", "unregister")
    ),
    "/metrics",
    "/v2/metrics",
    "/invocations",
    "/v1/models",
    "/",
]
"""Every other endpoint, under every method. Model configurations name files, parameters and hosts."""
TRICKS = [
    "/v2/models/simple/infer/../../../repository/index",
    "/v2//models/stats",
    "/v2/models//stats",
    "/v2/models/simple/infer/",
    "/v2/models/simple/inferx",
    "/x/v2/models/simple/infer",
    "/v2/models/simple/versions/x/infer",
    "/v2/models/simple/versions/1/stats",
    "/v2/models/simple\n/infer/x",
]
OPEN_GRPC = [
    *(
        f"/inference.GRPCInferenceService/{name}"
        for name in ("ServerLive", "ServerReady", "ModelReady", "ServerMetadata", "ModelMetadata", "ModelInfer", "ModelStreamInfer")
    ),
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
]
CLOSED_GRPC = [
    *(
        f"/inference.GRPCInferenceService/{name}"
        for name in (
            "ModelConfig",
            "ModelStatistics",
            "RepositoryIndex",
            "RepositoryModelLoad",
            "RepositoryModelUnload",
            "SystemSharedMemoryStatus",
            "SystemSharedMemoryRegister",
            "SystemSharedMemoryUnregister",
            "CudaSharedMemoryStatus",
            "CudaSharedMemoryRegister",
            "CudaSharedMemoryUnregister",
            "TraceSetting",
            "LogSettings",
        )
    ),
    "/inferenceXGRPCInferenceService/ModelInfer",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/inference.GRPCInferenceService/",
]


def routed(port: int, method: str, path: str) -> int | None:
    """Port of the Service that a request to the gateway goes on to; None when the gateway answers itself."""
    for route in virtual_service_spec("triton", SERVICE, ("*",))["http"]:
        for match in route["match"]:
            uri: dict[str, Any] = match["uri"]
            fits = uri["exact"] == path if "exact" in uri else re.fullmatch(uri["regex"], path) is not None
            if match["port"] == port and fits and match.get("method", {"exact": method}) == {"exact": method}:
                return None if "directResponse" in route else int(route["route"][0]["destination"]["port"]["number"])
    return None


@pytest.mark.parametrize(("method", "path"), OPEN_HTTP)
def test_inference_health_and_metadata_are_open(method: str, path: str) -> None:
    assert routed(8000, method, path) == 8000
    assert routed(8001, method, path) is None


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
@pytest.mark.parametrize("path", [*CLOSED_HTTP, *TRICKS])
def test_nothing_else_is_open(method: str, path: str) -> None:
    assert routed(8000, method, path) is None


@pytest.mark.parametrize("path", OPEN_GRPC)
def test_calls_of_inference_health_and_metadata_are_open(path: str) -> None:
    assert routed(8001, "POST", path) == 8001
    assert routed(8000, "POST", path) is None


@pytest.mark.parametrize("path", CLOSED_GRPC)
def test_no_other_call_is_open(path: str) -> None:
    assert routed(8001, "POST", path) is None


def test_metadata_is_read_and_inference_is_sent() -> None:
    assert routed(8000, "POST", "/v2/models/simple") is None
    assert routed(8000, "GET", "/v2/models/simple/infer") is None


def test_every_route_says_its_retries_and_has_no_timeout() -> None:
    """Istio's own default retries what a model has answered with UNAVAILABLE or CANCELLED."""
    routes = [route for route in virtual_service_spec("triton", SERVICE, ("*",))["http"] if "route" in route]
    for route in routes:
        assert "timeout" not in route, "Istio's webhook rejects 0s: `duration must be greater than 1ms`"
        assert "perTryTimeout" not in route["retries"]
        assert set(route["retries"]["retryOn"].split(",")) <= {"connect-failure", "refused-stream"}, "computed twice"
