"""What is known about NVIDIA's server: the release and engine of an image, and the command line, read as the server reads it.

The command line goes through GNU getopt_long, which takes abbreviations, and any mistake ends the server. Options and types of values:
SetupOptionGroups and Parse in src/command_line_parser.cc of github.com/triton-inference-server/server (e1db8a6, 2.73).
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal

from components.base.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_RELEASE: Final = re.compile(r"(?:^|/)tritonserver:(?P<year>\d{2})\.(?P<month>\d{2})(?:\.\d+)?(?P<variant>-[\w.-]+)?(?:@.*)?")


@dataclass(frozen=True, kw_only=True)
class ServerImage:
    """What the tag of an image of NVIDIA's server says, under any registry; all None for any other image."""

    release: tuple[int, int] | None = None
    """Year and month, such as (26, 7)."""
    engine: Literal["triton", "vllm", "trtllm"] | None = None
    """Where requests queue: in Triton, or in the engine that the image is for."""


def server_image(image: str) -> ServerImage:
    """Return what the tag of ``image`` says."""
    found = _RELEASE.search(image)
    if found is None:
        return ServerImage()
    variant = found["variant"] or ""
    engine: Literal["triton", "vllm", "trtllm"] = "vllm" if "-vllm-" in variant else "trtllm" if "-trtllm-" in variant else "triton"
    return ServerImage(release=(int(found["year"]), int(found["month"])), engine=engine)


_FLAGS: Final = {"help", "disable-auto-complete-config"}
_BOOLS: Final = {
    "exit-on-error", "strict-readiness", "model-namespacing", "enable-peer-access", "allow-http", "reuse-http-port", "allow-grpc",
    "reuse-grpc-port", "grpc-use-ssl", "grpc-use-ssl-mutual", "grpc-keepalive-permit-without-calls", "log-info", "log-warning", "log-error",
    "allow-sagemaker", "allow-vertex-ai", "allow-metrics", "allow-gpu-metrics", "allow-cpu-metrics", "allow-client-shm",
    "strict-model-config",
}  # fmt: skip
_INTEGERS: Final = {
    "exit-timeout-secs", "repository-poll-secs", "model-load-thread-count", "model-load-retry-count", "http-port", "http-thread-count",
    "http-max-input-size", "grpc-port", "grpc-infer-thread-count", "grpc-infer-allocation-pool-size", "grpc-max-response-pool-size",
    "grpc-keepalive-time", "grpc-keepalive-timeout", "grpc-http2-max-pings-without-data",
    "grpc-http2-min-recv-ping-interval-without-data", "grpc-http2-max-ping-strikes", "grpc-max-connection-age",
    "grpc-max-connection-age-grace", "sagemaker-port", "sagemaker-thread-count", "vertex-ai-port", "vertex-ai-thread-count", "metrics-port",
    "metrics-interval-ms", "pinned-memory-pool-byte-size", "buffer-manager-thread-count", "response-cache-byte-size", "trace-rate",
    "trace-count", "trace-log-frequency",
}  # fmt: skip
_REPEATABLE: Final = {
    "model-repository", "model-store", "load-model", "http-restricted-api", "grpc-restricted-protocol", "metrics-config", "trace-config",
    "cache-config", "rate-limit-resource", "cuda-memory-pool-byte-size", "cuda-virtual-address-size", "host-policy", "model-load-gpu-limit",
    "backend-config", "trace-level",
}  # fmt: skip
"""Strings of which the server uses all, not the last."""
_STRINGS: Final = {
    "id", "model-control-mode", "model-config-name", "http-address", "http-header-forward-pattern", "grpc-address",
    "grpc-header-forward-pattern", "grpc-server-cert", "grpc-server-key", "grpc-root-cert", "grpc-infer-response-compression-level",
    "log-verbose", "log-format", "log-file", "sagemaker-safe-port-range", "vertex-ai-default-model", "metrics-address", "cache-directory",
    "rate-limit", "min-supported-compute-capability", "backend-directory", "repoagent-directory", "trace-file",
}  # fmt: skip
_CHOICES: Final = {
    "log-format": {"default", "ISO8601"},
    "rate-limit": {"off", "execution_count"},
    "model-control-mode": {"none", "poll", "explicit"},
    "grpc-infer-response-compression-level": {"none", "low", "medium", "high"},
}
_RANGES: Final = {
    "grpc-infer-thread-count": (2, 128),
    "grpc-max-response-pool-size": (1, 2**31 - 1),
    "http-max-input-size": (1, 2**63 - 1),
}
OPTIONS: Final = frozenset(_FLAGS | _BOOLS | _INTEGERS | _REPEATABLE | _STRINGS)
_TRUE: Final = {"true", "on", "1"}
_FALSE: Final = {"false", "off", "0"}
_REFERENCE: Final = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_EXITS: Final = "the server would exit at once"


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One option as the server understands it."""

    option: str
    """Full name without hyphens; ``model-store`` is ``model-repository``."""
    value: str
    """``true`` or ``false`` for a bool, however it is written; empty for an option without value."""
    position: int
    """Of its first word in the arguments."""
    repeated: bool = False
    """Whether an earlier value of the option is lost."""


def parse(arguments: Sequence[str], variables: Mapping[str, str] | None = None) -> tuple[list[Flag], list[Problem]]:
    """Return the options in ``arguments`` and what the server would not accept.

    ``variables`` are the container's environment: Kubernetes replaces ``$(NAME)``. `Problem.at` is the position. An unknown option is a
    warning, because another release of the server may know it.
    """
    words = [_expand(argument, variables or {}) for argument in arguments]
    flags: list[Flag] = []
    problems: list[Problem] = []
    rest = iter(enumerate(words))
    for position, word in rest:
        if word == "--":
            problems += [_problem(later, operand, "is not an option", "Remove it.") for later, operand in rest]
        elif not word.startswith("--"):
            problems.append(_problem(position, word, "is not a long option", "Write --<option>=<value>, or remove it."))
        else:
            flag = _read(position, word, rest)
            if isinstance(flag, Problem):
                problems.append(flag)
            else:
                seen = flag.option not in _REPEATABLE and any(flag.option == other.option for other in flags)
                flags.append(replace(flag, repeated=seen))
    return flags, problems


def _read(position: int, word: str, rest: Iterator[tuple[int, str]]) -> Flag | Problem:
    name, separator, value = word.removeprefix("--").partition("=")
    found = [name] if name in OPTIONS else sorted(option for option in OPTIONS if option.startswith(name))
    if len(found) != 1:
        return _not_one(position, word, name, found)
    option = found[0]
    if option not in _FLAGS and not separator:
        _, value = next(rest, (0, ""))
    if wrong := _wrong(option, value, written=bool(separator)):
        return _problem(position, word, wrong, "Remove it." if option in _FLAGS else f"Write --{option}=<value>.")
    if option in _BOOLS and "$(" not in value:
        value = "true" if value.lower() in _TRUE else "false"
    return Flag(option="model-repository" if option == "model-store" else option, value=value, position=position)


def _wrong(option: str, value: str, *, written: bool) -> str:
    if option in _FLAGS:
        return "takes no value" if written else "prints the server's usage" if option == "help" else ""
    if not (value or written):
        return "has no value"
    return "" if "$(" in value else _wrong_value(option, value)  # from a Secret: unknown


def _wrong_value(option: str, value: str) -> str:
    choices = _CHOICES.get(option, _TRUE | _FALSE if option in _BOOLS else set())
    if choices and value.lower() not in {choice.lower() for choice in choices}:
        return "must be true or false" if option in _BOOLS else f"must be one of {', '.join(sorted(choices))}"
    number = re.match(r"\s*[+-]?\d+", value)
    if option in _INTEGERS and number is None:
        return "must be an integer"
    lowest, highest = _RANGES.get(option, (-(2**63), 2**63))
    return "" if number is None or lowest <= int(number[0]) <= highest else f"must be {lowest} to {highest}"


def _not_one(position: int, word: str, name: str, found: Sequence[str]) -> Problem:
    option, space, value = name.partition(" ")
    if space:
        return _problem(position, word, "is one argument with a space", f"Write --{option}={value.strip()}, or two arguments.")
    if found:
        return _problem(position, word, f"may stand for --{' or --'.join(found[:4])}", "Write the option in full.")
    close = difflib.get_close_matches(name, OPTIONS, n=1)
    remedy = f"Did you mean --{close[0]}?" if close else "Check its spelling against the image's tritonserver --help."
    return _problem(position, word, "is not an option of tritonserver 26.08", remedy, fatal=False)


def _problem(position: int, word: str, wrong: str, remedy: str, *, fatal: bool = True) -> Problem:
    return Problem(at=(position,), text=f"({word}) {wrong}: {_EXITS}. {remedy}", fatal=fatal)


def _expand(argument: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` as Kubernetes does; ``$$`` is a dollar sign, and an unknown name stays."""
    return _REFERENCE.sub(lambda match: "$" if match[1] is None else variables.get(match[1], match[0]), argument)
