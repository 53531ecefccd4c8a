"""docs/model-mistakes.md: each mistake of its tables gives the messages beside it, and no others."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from components.repository.validation import Deployment, validate
from tests.unit.repository.validation.cases import onnx

PAGE: Final = (Path(__file__).resolve().parents[4] / "docs/model-mistakes.md").read_text(encoding="utf-8")
CONFIG: Final = PAGE.partition("```protobuf\n")[2].partition("```")[0]
"""The correct config.pbtxt of the page."""
CONTENTS: Final = {"an HTML page": b"<!DOCTYPE html><html>", "empty": b"", "truncated": onnx(b"graph")[:-2]}
ROWS: Final = [tuple(cell.strip() for cell in row[1:-1].split(" | ")) for row in PAGE.splitlines() if row.startswith("| `")]


def code(cell: str) -> list[str]:
    return [span.strip("`").strip() for span in re.findall(r"``.+?``|`[^`]+`", cell)]


def mistaken(cell: str) -> str:
    """The page's config.pbtxt with a row's mistake: its lines in place of those that set the same field, or at the end."""
    spans, lines = code(cell), CONFIG.splitlines()
    other = spans.pop() if " in place of `" in cell else None
    for span in spans:
        field = other or re.split(r"\W", span)[0]
        places = [number for number, line in enumerate(lines) if re.split(r"\W", line)[0] == field and not cell.endswith(" again")]
        lines[slice(places[0], places[0] + 1) if places else slice(len(lines), None)] = [span]
    return "\n".join(lines) + "\n"


def write(folder: Path, cell: str) -> None:
    files: dict[str, bytes]
    if "/" in code(cell)[0] or code(cell)[0].startswith("config"):
        content = next((content for what, content in CONTENTS.items() if cell.endswith(what)), onnx(b"graph"))
        files = {name: CONFIG.encode() if "config" in name else content for name in code(cell)}
    else:
        files = {"config.pbtxt": mistaken(cell).encode(), "1/model.onnx": onnx(b"graph")}
    for name, text in files.items():
        path = folder / "ranker" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


def found(folder: Path) -> list[str]:
    deployment = Deployment(key="triton-fleet:serving[0]", image="nvcr.io/nvidia/tritonserver:26.07-py3", gpus=1)
    return [str(problem) for problem in validate(folder, None, [deployment])]


@pytest.mark.parametrize(("mistake", "messages"), ROWS, ids=[row[0].replace("`", "")[:60] for row in ROWS])
def test_the_page_has_its_message(mistake: str, messages: str, tmp_path: Path) -> None:
    write(tmp_path, mistake)
    assert [message.removeprefix("ranker/") for message in found(tmp_path)] == code(messages)


def test_the_page_has_forty_mistakes_and_a_model_without_any(tmp_path: Path) -> None:
    assert len(ROWS) == len(set(ROWS)) >= 40
    write(tmp_path, "`config.pbtxt`, `1/model.onnx`")
    assert found(tmp_path) == []
