"""Broken repositories and all messages about each; messages.txt has the wording."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from components.repository.validation import Deployment, validate
from tests.unit.repository.validation.cases import CASES, FINE, Case

if TYPE_CHECKING:
    from components.base.errors import Problem

MESSAGES: Final = Path(__file__).with_name("messages.txt")
"""``## <case>``, then one message a line."""


def problems(case: Case, folder: Path) -> list[Problem]:
    case.write(folder)
    deployment = Deployment(key="triton-fleet:serving[0]", image=case.image, gpus=case.gpus, arguments=case.arguments)
    return validate(folder, None, [deployment])


def model_of(problem: Problem) -> str:
    return problem.file.split("/")[0]


def expected() -> dict[str, list[str]]:
    messages: dict[str, list[str]] = {}
    for line in MESSAGES.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            messages[line[3:]] = []
        elif line:
            list(messages.values())[-1].append(line)
    return messages


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_message(case: Case, tmp_path: Path) -> None:
    found = problems(case, tmp_path)
    assert [str(problem) for problem in found] == expected()[case.name]
    for problem in found:
        assert problem.file.startswith(case.name)
        assert re.search(r": .+\. .+[.?]$", problem.text)
        assert problem.file != f"{case.name}/config.pbtxt" or problem.line or "missing" in problem.text or "is a folder" in problem.text


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_verdict(case: Case, tmp_path: Path) -> None:
    """A model that Triton loads gets warnings only; every other one gets an error."""
    found = problems(case, tmp_path)
    assert found
    assert any(problem.fatal for problem in found) == (case.triton != "loads")


@pytest.mark.parametrize("case", FINE, ids=lambda case: case.name)
def test_fine(case: Case, tmp_path: Path) -> None:
    assert problems(case, tmp_path) == []


def test_every_message_has_its_case() -> None:
    assert list(expected()) == [case.name for case in CASES]


def test_all_at_once(tmp_path: Path) -> None:
    for case in CASES:
        case.write(tmp_path)
    models = {model_of(problem) for problem in validate(tmp_path, None, [Deployment(key="x", image=CASES[0].image, gpus=0)])}
    assert {case.name for case in CASES if not case.arguments and "gpu_beyond" not in case.name} <= models


def test_no_problem_of_a_model_that_is_left_out(tmp_path: Path) -> None:
    for case in CASES:
        case.write(tmp_path)
    FINE[0].write(tmp_path)
    assert validate(tmp_path, ["fine", "nobody"]) == []


def test_a_step_whose_model_is_not_uploaded(tmp_path: Path) -> None:
    case = next(case for case in FINE if case.name == "fine_ensemble")
    case.write(tmp_path)
    (problem,) = validate(tmp_path, ["fine_ensemble", "fine_ensemble_a"])
    assert "(fine_ensemble_b) is not one of the models to upload" in str(problem)
    assert "repository.models" in problem.text


def test_a_deployment_is_asked_about_its_own_models_and_those_of_its_ensembles(tmp_path: Path) -> None:
    for case in FINE:
        if case.name in {"fine", "fine_ensemble"}:
            case.write(tmp_path)
    empty = {"backends": frozenset[str](), "image": "mine", "gpus": 0}
    found = validate(tmp_path, None, [Deployment(key="here", models=["fine_ensemble"], **empty)])  # type: ignore[arg-type]
    assert [model_of(problem) for problem in found] == ["fine_ensemble_a", "fine_ensemble_b"]


def test_the_projects_own_models_are_good(project: Path) -> None:
    dev = Deployment(key="dev", image="triton-fleet.local/tritonserver:2.51.0-cpu", gpus=0)
    assert validate(project / "models", ["add_sub", "busy", "pipeline", "upper"], [dev]) == []
    found = validate(project / "models", None, [Deployment(key="gpu", image="nvcr.io/nvidia/tritonserver:26.07-py3", gpus=1)])
    # Its engine is built for one kind of GPU and one TensorRT: docs/models.md.
    assert [problem.file for problem in found] == ["bert_large/1/model.plan"]
