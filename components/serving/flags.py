"""Flags in ``extraArgs`` that undo what the chart computes: decided by what the server would do with them, not by their spelling."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from components.base.errors import Problem
from components.base.tritonserver import parse

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from components.base.tritonserver import Flag

_ANY_ADDRESS: Final = {"0.0.0.0", "::"}  # noqa: S104  # the server's default
_UNREACHABLE: Final = "probes, Services and the gateway would not reach it. Remove it"
_UNMEASURED: Final = "Prometheus would not reach the metrics, and the autoscaler could not scale. Remove it"
OWNED: Final[dict[str, tuple[set[str], str]]] = {
    "model-repository": (set(), "Triton would load models that are in no release and that nothing has validated. Use repository"),
    "model-control-mode": (set(), "Triton would not load models as the repository is arranged for. Use repository.mode"),
    "repository-poll-secs": (set(), "it has an effect in mode poll only, where the chart sets it. Use repository.mode"),
    "load-model": (set(), "Triton would load other models than those that are checked. Use models"),
    "exit-timeout-secs": (
        set(),
        "Triton would exit before requests have ended, or be killed at the end of the grace period. Use drain.exitTimeout",
    ),
    "strict-readiness": (set(), "pods could become ready before they have loaded their models. Remove it"),
    "grpc-max-connection-age": (set(), "clients could stay connected to a pod that stops, and their calls fail. Use drain.recycleGrpc"),
    "http-port": ({"8000"}, _UNREACHABLE),
    "http-address": (_ANY_ADDRESS, _UNREACHABLE),
    "allow-http": ({"true"}, _UNREACHABLE),
    "grpc-port": ({"8001"}, _UNREACHABLE),
    "grpc-address": (_ANY_ADDRESS, _UNREACHABLE),
    "allow-grpc": ({"true"}, _UNREACHABLE),
    "metrics-port": ({"8002"}, _UNMEASURED),
    "metrics-address": (_ANY_ADDRESS, _UNMEASURED),
    "allow-metrics": ({"true"}, _UNMEASURED),
    "allow-gpu-metrics": (set(), "slices and CPUs have no such metrics. Use gpuMetrics"),
    "log-verbose": (set(), "of two values the last wins. Use logVerbose"),
    "http-restricted-api": (set(), "the server would not start, or probes would need a key. Use admin"),
    "grpc-restricted-protocol": (set(), "the server would not start, or clients would need a key. Use admin"),
    "allow-sagemaker": (set(), "its port takes models from anyone, without the key of the admin endpoints. Remove it"),
    "allow-vertex-ai": (set(), "its port ignores the key of the admin endpoints. Remove it"),
}
"""Option that the chart sets or relies on -> values that change nothing, and the consequence and remedy of any other."""

_TLS: Final = "makes gRPC clients use TLS: the gateway and the client pod don't, and their calls fail. Remove it unless you have neither"
_DOUBTFUL: Final = {
    "grpc-max-connection-age-grace": "ends calls that outlast it when clients reconnect, every 0.6 of drain.preStop: they fail. Remove it",
    "grpc-use-ssl": _TLS,
    "grpc-use-ssl-mutual": _TLS,
    "log-file": "moves the log into the pod's file system: kubectl logs shows nothing, and the log is lost with the pod. Remove it",
    "model-config-name": "makes Triton read other configurations than the preview checks: it may not load them. Use config.pbtxt",
}


def flag_problems(arguments: Sequence[str], variables: Mapping[str, str], *, counted: bool) -> Iterator[Problem]:
    """Yield what the server would not accept in ``arguments``, and what undoes other settings. `Problem.at` is the position.

    ``variables`` are the container's environment. ``counted``: whether the autoscaler reads Triton's counters.
    """
    flags, mistakes = parse(arguments, variables)
    yield from mistakes
    for flag in flags:
        yield from (replace(problem, at=(flag.position,)) for problem in _undone(arguments[flag.position], flag, counted=counted))


def _undone(argument: str, flag: Flag, *, counted: bool) -> Iterator[Problem]:
    full = f"--{flag.option}"
    name = "" if argument.startswith(full) else f" ({full})"
    harmless, why = OWNED.get(flag.option, (set(), ""))
    if why and flag.value not in harmless:
        yield Problem(text=f"({argument}) is a flag that the chart sets{name}: {why}.")
    elif flag.repeated:
        yield Problem(text=f"({argument}) repeats {full}: the server uses the last value. Keep one.", fatal=False)
    if (flag.option, flag.value) == ("metrics-config", "counter_latencies=false"):
        # IncrementCounter in src/metric_model_reporter.cc of triton-inference-server/core: the counters of requests stop too.
        what = "the autoscaler could not scale by them" if counted else "alerts and the dashboard would show nothing"
        yield Problem(text=f"({argument}) stops all of Triton's counters: {what}. Remove it.", fatal=counted)
    if flag.option in _DOUBTFUL and flag.value != "false":
        yield Problem(text=f"({argument}) {_DOUBTFUL[flag.option]}.", fatal=False)
