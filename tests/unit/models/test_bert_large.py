"""Reference 001's sample: a model whose engine is not in the tree, and which says so."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from components.repository.validation import Deployment, validate

if TYPE_CHECKING:
    from pathlib import Path

    from components.base.errors import Problem

IMAGE = "nvcr.io/nvidia/tritonserver:26.07-py3"


@pytest.fixture
def models(project: Path, tmp_path: Path) -> Path:
    shutil.copytree(project / "models" / "bert_large", tmp_path / "models" / "bert_large")
    return tmp_path / "models"


def found(models: Path, image: str = IMAGE, gpus: int = 1) -> list[Problem]:
    deployment = Deployment(key="triton-fleet:serving[0]", image=image, gpus=gpus, models=("bert_large",), arguments=())
    return list(validate(models, ("bert_large",), [deployment]))


def test_without_its_engine_it_is_refused_with_the_files_name(models: Path) -> None:
    (problem,) = found(models)
    assert problem.fatal
    assert str(problem).startswith(
        "bert_large/1/model.plan: is missing, but backend tensorrt loads it: Triton would not load bert_large. Give the model's file"
    )


def test_with_an_engine_there_is_nothing_to_say(models: Path) -> None:
    (models / "bert_large" / "1" / "model.plan").write_bytes(b"ftrt" + bytes(1024))
    assert found(models) == []


def test_an_engine_that_was_cut_off_while_it_was_fetched_is_none(models: Path) -> None:
    (models / "bert_large" / "1" / "model.plan").write_bytes(b"<!DOCTYPE html><html>404</html>")
    assert [problem.fatal for problem in found(models)] == [True]


def test_it_needs_a_gpu(models: Path) -> None:
    (models / "bert_large" / "1" / "model.plan").write_bytes(b"ftrt" + bytes(1024))
    assert any("KIND_GPU" in str(problem) for problem in found(models, gpus=0))


def test_the_config_takes_the_walk_throughs_request(models: Path) -> None:
    """Names, kinds and shapes of its client's bert_request.json."""
    config = (models / "bert_large" / "config.pbtxt").read_text(encoding="utf-8")
    inputs = re.findall(r'name: "(\w+)" data_type: TYPE_INT32 dims: \[ 1, 128 \]', config)
    assert sorted(inputs) == ["input_ids", "input_mask", "segment_ids"]
    assert 'name: "cls_squad_logits" data_type: TYPE_FP32' in config
    assert "max_batch_size: 0" in config, "the engine is built for one request: its first dimension is no batch's"
