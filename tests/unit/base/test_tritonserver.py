"""The server's command line, judged by a real server: without a repository it ends at once, either by its parser or after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from components.base.tritonserver import ServerImage, parse, server_image

if TYPE_CHECKING:
    from pathlib import Path

    from local.images.box import Box

LINES: dict[str, dict[str, str] | None] = {
    "--exit-timeout=5": {"exit-timeout-secs": "5"},
    "--exit 5": None,
    "--exit-timeout 5": {"exit-timeout-secs": "5"},
    "--model-s=/x": {"model-repository": "/x"},
    "--model-": None,
    "--allow-metrics=0 --allow-cpu-metrics Off": {"allow-metrics": "false", "allow-cpu-metrics": "false"},
    "--allow-h=no": None,
    "--allow-http": None,
    "--metrics-config counter_latencies=false": {"metrics-config": "counter_latencies=false"},
    "--id --http-port=1": {"id": "--http-port=1"},
    "--http-port": None,
    "--http-port=eight": None,
    "--grpc-infer-thread-count=1": None,
    "--http-max-input-size=0": None,
    "--log-format=json": None,
    "--log-format=ISO8601": {"log-format": "ISO8601"},
    "--rate-limit=Execution_Count": {"rate-limit": "Execution_Count"},
    "--model-control-mode=auto": None,
    "--metrics-interval-ms=5x": {"metrics-interval-ms": "5x"},
    "--disable-auto": {"disable-auto-complete-config": ""},
    "--disable-auto=1": None,
    "--help": None,
    "--help=1": None,
    "-v": None,
    "verbose": None,
    "verbose --log-info=1": None,
    "--": {},
    "-- --id=x": None,
    "--no-such-option=1": None,
    "--reuse-http=false --reuse-grpc=TRUE": {"reuse-http-port": "false", "reuse-grpc-port": "true"},
}
"""Command line -> its options; None: the server prints its usage."""


@pytest.mark.parametrize(("line", "options"), LINES.items())
def test_a_command_line_is_read_as_the_server_does(line: str, options: dict[str, str] | None) -> None:
    flags, problems = parse(line.split())
    assert bool(problems) == (options is None)
    if options is not None:
        assert {flag.option: flag.value for flag in flags} == options


def test_a_real_server_agrees(triton_box: Box, tmp_path: Path) -> None:
    for line, options in LINES.items():
        output = tmp_path / "output"
        with output.open("wb") as stream, triton_box.run(["tritonserver", *line.split()], output=stream) as process:
            process.wait(30)
        said = output.read_text()  # whole: the server has ended
        # --model-store=/x gets past the parser and fails for its folder.
        assert ("Usage: " in said) == (options is None), f"{line}: {said}"


def test_kubernetes_replaces_variables_first() -> None:
    arguments = ["--exit-timeout-secs=$(DRAIN)", "--id=$$(DRAIN)", "$(FLAG)", "--log-info=$(SECRET)"]
    flags, problems = parse(arguments, {"DRAIN": "5", "FLAG": "--allow-http=off"})
    assert [(flag.option, flag.value) for flag in flags] == [
        ("exit-timeout-secs", "5"), ("id", "$(DRAIN)"), ("allow-http", "false"), ("log-info", "$(SECRET)"),
    ]  # fmt: skip
    assert problems == []


def test_an_unknown_option_is_a_warning_because_a_newer_server_may_have_it() -> None:
    (problem,) = parse(["--metrics-confg=a=b"])[1]
    assert not problem.fatal
    assert problem.text.endswith("the server would exit at once. Did you mean --metrics-config?")


def test_a_space_within_an_argument_is_no_separator() -> None:
    (problem,) = parse(["--allow-metrics false"])[1]
    assert problem.fatal
    assert problem.text == (
        "(--allow-metrics false) is one argument with a space: the server would exit at once. "
        "Write --allow-metrics=false, or two arguments."
    )


def test_only_a_value_that_replaces_another_repeats_it() -> None:
    flags, _ = parse(["--id=a", "--id=b", "--backend-config=x,y=1", "--backend-config=x,y=2"])
    assert [flag.repeated for flag in flags] == [False, True, False, False]


@pytest.mark.parametrize(
    ("image", "release", "engine"),
    [
        ("nvcr.io/nvidia/tritonserver:26.07-py3", (26, 7), "triton"),
        ("mirror.example:5000/a/tritonserver:23.08.1-py3-igpu", (23, 8), "triton"),
        ("nvcr.io/nvidia/tritonserver:26.07-vllm-python-py3@sha256:ab", (26, 7), "vllm"),
        ("nvcr.io/nvidia/tritonserver:25.03-trtllm-python-py3", (25, 3), "trtllm"),
        ("nvcr.io/nvidia/tritonserver@sha256:ab", None, None),
        ("example.com/mytritonserver:26.07-py3", None, None),
        ("fil", None, None),
    ],
)
def test_what_a_tag_says(image: str, release: tuple[int, int] | None, engine: str | None) -> None:
    found = server_image(image)
    assert (found.release, found.engine) == (release, engine)
    assert (found == ServerImage()) == (release is None)
